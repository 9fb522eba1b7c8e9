//! How log lines look: for a person on a terminal, JSON for everybody else.
//!
//! File names and what stands in files come from strangers. Nothing of theirs may move a cursor or begin a line, so control
//! characters are escaped here, once, for every line.

use std::fmt::{self, Write};
use std::io::IsTerminal;

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Sends the log to standard error, from `level` up.
pub(crate) fn start(level: LevelFilter) {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).fmt_fields(debug_fn(write_field)).init();
    } else {
        builder.with_target(false).json().flatten_event(true).init();
    }
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", Escaped(&value)),
        name => write!(writer, "{name}={}", Escaped(&value)),
    }
}

/// Prints text with its control characters escaped.
pub(crate) struct Escaped<'t>(pub(crate) &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            // Characters that turn the direction of text can make one name look like another.
            let turns =
                matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if character.is_control() || turns {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(Escaped("a\nb\u{1b}[31mé\u{202e}\u{9b}").to_string(), "a\\nb\\u{1b}[31mé\\u{202e}\\u{9b}");
    }
}
