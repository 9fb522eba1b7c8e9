//! How log lines look: for a person on a terminal, JSON for everybody else.
//!
//! File names and what stands in files come from strangers. Nothing of theirs may move a cursor or begin a line, so control
//! characters are escaped here, once, for every line.
//!
//! Nobody may fill a disk with it either: each place in the program that logs has so many lines a second, and the first line
//! after that is preceded by how many were left out. Lines of the query log have their own bound.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::io::{IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::callsite::Identifier;
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::observe::{Allowance, Silenced};

/// What lines of the query log are marked with.
pub(crate) const QUERIES: &str = "queries";

/// Sends the log to standard error, from `level` up, by `clock`.
pub(crate) fn start(level: LevelFilter, clock: impl Fn() -> Duration + Send + Sync + 'static) {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let is_terminal = std::io::stderr().is_terminal();
    let pace = Pace { clock, is_terminal, sites: Mutex::default() };
    let registry = tracing_subscriber::registry().with(level);
    if is_terminal {
        registry.with(layer.fmt_fields(debug_fn(write_field)).with_filter(pace)).init();
    } else {
        registry.with(layer.json().flatten_event(true).with_filter(pace)).init();
    }
}

/// Holds each place in the program that logs to so many lines a second.
struct Pace<C> {
    clock: C,
    is_terminal: bool,
    /// As many as there are such places.
    sites: Mutex<HashMap<Identifier, Allowance>>,
}

impl<C: Fn() -> Duration> Pace<C> {
    fn ask(&self, metadata: &Metadata<'_>) -> Option<Silenced> {
        if metadata.target() == QUERIES {
            return Some(Silenced(0));
        }
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = || Allowance::new(PER_SECOND, Duration::from_secs(1));
        sites.entry(metadata.callsite()).or_insert_with(allowance).ask((self.clock)())
    }
}

impl<S: Subscriber, C: Fn() -> Duration + 'static> Filter<S> for Pace<C> {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let Some(Silenced(silenced)) = self.ask(event.metadata()) else { return false };
        if silenced > 0 {
            // Not through the log: it does not take a line while it makes up its mind about another.
            let text = format!("{silenced} lines like the next were left out");
            let line = if self.is_terminal { text } else { format!("{{\"level\":\"INFO\",\"message\":\"{text}\"}}") };
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
        true
    }
}

/// Lines of one place in a second: enough to see what goes on, and 50 MB an hour at the most.
const PER_SECOND: u32 = 20;

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
