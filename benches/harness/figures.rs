//! Medians, percentiles, and how they are told.

use std::time::Duration;

/// Several measures of one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self { median, least: values[0], most: values[values.len() - 1] }
    }

    /// The median, and in brackets how far the rounds went.
    pub(crate) fn print(&self, places: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.places$} ({least:.places$} to {most:.places$})")
    }
}

/// How long something took, each time, in order.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Of at least one.
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "there is nothing to tell");
        times.sort_unstable();
        Self(times)
    }

    /// What so many of a hundred stayed within.
    pub(crate) fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }

    /// Milliseconds against the percentage of all that took no longer.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let all = self.0.len() as f64;
        let point = |(place, took): (usize, &Duration)| (took.as_secs_f64() * 1e3, 100.0 * (place + 1) as f64 / all);
        self.0.iter().enumerate().map(point).collect()
    }

    /// The columns of [`LATENCY_COLUMNS`], in milliseconds.
    pub(crate) fn columns(&self) -> String {
        [50, 90, 99, 100].map(|percent| format!("{:.2} ms", self.at(percent).as_secs_f64() * 1e3)).join(" | ")
    }
}

/// The columns that [`Latencies::columns`] prints.
pub(crate) const LATENCY_COLUMNS: &str = "p50 | p90 | p99 | max";

/// What was to be reached, and what was: printed together at the end of a run.
#[derive(Debug, Default)]
pub(crate) struct Reach(Vec<String>);

impl Reach {
    /// One row: the figure should be at most the target.
    pub(crate) fn add(&mut self, what: &str, target: f64, figure: f64, unit: &str) {
        let verdict = if figure <= target { "reached" } else { "**missed**" };
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        self.0.push(format!("| {what} | {} | {}{unit} | {verdict} |", told(target), told(figure)));
    }

    /// Not for smoke tests, whose figures say nothing.
    pub(crate) fn print(&self) {
        if !self.0.is_empty() {
            println!("\n| To reach | at most | measured | |\n|---|---|---|---|\n{}", self.0.join("\n"));
        }
    }
}

/// With as many decimal places as say something.
fn told(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() { format!("{value:.0}") } else { format!("{value:.2}") }
}
