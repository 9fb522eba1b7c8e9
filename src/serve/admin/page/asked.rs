//! What the page was asked for: its forms show it again, and every form and link keeps what the others were asked.

use form_urlencoded::Serializer;

use super::super::html::Html;
use super::super::pages::{Parameters, Refusal};

/// What the page was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// Which apps: those with this in their `space/app`, and after this one.
    pub(super) search: String,
    pub(super) after: String,
    /// Which files: the word that the form has for them, and after this path.
    pub(super) files: String,
    pub(super) files_after: String,
    /// What is to be resolved, and for whom.
    pub(super) name: String,
    pub(super) qtype: String,
    pub(super) from: String,
}

impl Asked {
    /// Reads it.
    ///
    /// # Errors
    /// When there is a parameter that no form of the page has.
    pub(super) fn of(parameters: &Parameters<'_>) -> Result<Self, Refusal> {
        let names = FIELDS.map(|(name, _)| name);
        parameters.only(&names)?;
        let [search, after, files, files_after, name, qtype, from] =
            FIELDS.map(|(name, default)| parameters.value(name).unwrap_or(default).to_owned());
        Ok(Self { search, after, files, files_after, name, qtype, from })
    }

    /// The address of the page as it is, but for one value.
    pub(super) fn link(&self, changed: (&'static str, &str)) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in self.but(&[changed.0]).chain(Some(changed).filter(|(_, value)| !value.is_empty())) {
            query.append_pair(name, value);
        }
        format!("/?{}", query.finish())
    }

    /// Writes into a form whatever it does not ask for itself, and does not begin anew.
    pub(super) fn write_others(&self, html: &mut Html, own: &[&str]) {
        for (name, value) in self.but(own) {
            html.raw("<input type=\"hidden\" name=\"").raw(name).raw("\" value=\"").text(value).raw("\">");
        }
    }

    /// Writes where to go from a part of a list: on, where there is more, and back to its beginning, where this is not that.
    pub(super) fn write_pages(
        &self,
        html: &mut Html,
        (name, after): (&'static str, &str),
        next: Option<&str>,
        what: &'static str,
    ) {
        let link = |html: &mut Html, rel: &'static str, value: &str, words: &'static str| {
            html.raw("<a rel=\"").raw(rel).raw("\" data-name=\"").raw(name).raw("\" data-value=\"").text(value);
            html.raw("\" href=\"").text(self.link((name, value))).raw("#").raw(what);
            html.raw("\">").raw(words).raw(what).raw("</a> ");
        };
        if next.is_none() && after.is_empty() {
            return;
        }
        html.raw("<p class=\"pages\">");
        if !after.is_empty() {
            link(html, "first", "", "The first ");
        }
        if let Some(next) = next {
            link(html, "next", next, "More ");
        }
        html.raw("</p>\n");
    }

    /// What was asked but for these, as far as it is not what is shown unasked.
    fn but<'a>(&'a self, without: &'a [&str]) -> impl Iterator<Item = (&'static str, &'a str)> {
        let values: [&str; FIELDS.len()] =
            [&self.search, &self.after, &self.files, &self.files_after, &self.name, &self.qtype, &self.from];
        let said = FIELDS.into_iter().zip(values).filter(|((_, default), value)| default != value);
        said.map(|((name, _), value)| (name, value)).filter(|(name, _)| !without.contains(name))
    }
}

/// The parameters of the page, and what they are unasked.
const FIELDS: [(&str, &str); 7] = [
    ("search", ""),
    ("after", ""),
    ("files", "faulty"),
    ("files-after", ""),
    ("name", ""),
    ("type", "A"),
    ("from", ""),
];
