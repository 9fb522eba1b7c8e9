//! Writes HTML in which nothing that came from outside can be markup.
//!
//! Markup is `&'static str`: only what is written in this program can be that. Everything else is text, and escaped wherever it
//! goes: as content, and in attributes, which always stand in quotes. Control characters and those that turn the direction of text
//! are shown by their numbers. A template engine was weighed: it would escape no better, and there is one page.

use std::fmt::{self, Display, Write};

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing into a string cannot fail.
        let _ = write!(Escape(&mut self.0), "{text}");
        self
    }

    /// Adds an element that has text in it.
    pub(super) fn element(&mut self, open: &'static str, text: impl Display, close: &'static str) -> &mut Self {
        self.raw(open).text(text).raw(close)
    }

    /// What was written.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escape<'h>(&'h mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' => self.0.push('\n'),
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    self.0.extend(character.escape_default());
                }
                _ if character.is_control() => self.0.extend(character.escape_default()),
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut html = Html::default();
        html.raw("<p title=\"").text("a\"b'c&").raw("\">").text("<script>\u{1b}\u{202e}é\n</script>").raw("</p>");
        assert_eq!(
            html.finish(),
            "<p title=\"a&quot;b&#39;c&amp;\">&lt;script&gt;\\u{1b}\\u{202e}é\n&lt;/script&gt;</p>"
        );
    }
}
