//! Limits as they are typed: `--limit NAME=VALUE`, or a table in the configuration file.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use super::config::Period;
use crate::serve::{LIMITS, Limits, Row, Unit};

/// A limit and what it is to be, known to be within its bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitSetting {
    row: &'static Row,
    amount: u64,
}

impl LimitSetting {
    fn new(name: &str, amount: &Amount) -> Result<Self, String> {
        let Some(row) = LIMITS.iter().find(|row| row.limit.name() == name) else {
            let names: Vec<_> = LIMITS.iter().map(|row| row.limit.name()).collect();
            return Err(format!("there is no limit `{name}`; there are {}", names.join(", ")));
        };
        let amount = amount.of(row.unit()).ok_or_else(|| format!("{name} is {}", expected(row.unit())))?;
        if !row.bounds.contains(&amount) {
            let (least, most) = (shown(*row.bounds.start(), row.unit()), shown(*row.bounds.end(), row.unit()));
            return Err(format!("{name} is {least} at least and {most} at most"));
        }
        Ok(Self { row, amount })
    }

    /// Puts it among `limits`.
    pub(crate) fn apply(&self, limits: &mut Limits) {
        // It is within its bounds, so there is nothing to refuse.
        let _ = self.row.set(limits, self.amount);
    }
}

impl FromStr for LimitSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, as in idle=30s")?;
        Self::new(name, &Amount::Text(value.to_owned()))
    }
}

/// The limits of the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "BTreeMap<String, Amount>")]
pub(crate) struct LimitTable(pub(crate) Vec<LimitSetting>);

impl TryFrom<BTreeMap<String, Amount>> for LimitTable {
    type Error = String;

    fn try_from(table: BTreeMap<String, Amount>) -> Result<Self, String> {
        table.iter().map(|(name, amount)| LimitSetting::new(name, amount)).collect::<Result<_, _>>().map(Self)
    }
}

/// How much, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    /// A bare number: of things or octets.
    Number(u64),
    /// A number as text, with a unit or without.
    Text(String),
}

impl Amount {
    /// How much it is in this unit; `None` when it is not written as that unit is.
    fn of(&self, unit: Unit) -> Option<u64> {
        match (self, unit) {
            (Self::Number(number), Unit::Count | Unit::Octets) => Some(*number),
            (Self::Number(_), Unit::Milliseconds) => None,
            (Self::Text(text), Unit::Count) => text.parse().ok(),
            (Self::Text(text), Unit::Octets) => {
                let (number, shift) = SIZES
                    .iter()
                    .find_map(|(suffix, shift)| Some((text.strip_suffix(suffix)?, *shift)))
                    .unwrap_or((text, 0));
                number.parse::<u64>().ok()?.checked_mul(1 << shift)
            }
            (Self::Text(text), Unit::Milliseconds) => {
                let Period(period) = text.parse().ok()?;
                period.as_millis().try_into().ok()
            }
        }
    }
}

const fn expected(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "a whole number",
        Unit::Octets => "a number of octets, as in 65536, 64KiB or 1MiB",
        Unit::Milliseconds => "a time, as in 250ms, 90s or 5m",
    }
}

/// An amount as it would be written.
fn shown(amount: u64, unit: Unit) -> String {
    let suffixes: &[(u64, &str)] = match unit {
        Unit::Count => &[],
        Unit::Octets => &[(1 << 20, "MiB"), (1 << 10, "KiB")],
        Unit::Milliseconds => &[(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")],
    };
    let fits = suffixes.iter().find(|(size, _)| amount >= *size && amount.is_multiple_of(*size));
    fits.map_or_else(|| amount.to_string(), |(size, suffix)| format!("{}{suffix}", amount / size))
}

/// The suffixes of octets, and how many bits they stand for.
const SIZES: [(&str, u32); 2] = [("KiB", 10), ("MiB", 20)];

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        text.parse::<LimitSetting>().unwrap_err()
    }

    #[test]
    fn a_limit_is_set_by_its_name_in_its_unit() {
        let mut limits = Limits::default();
        for text in ["idle=5m", "connections=17", "unsent=1MiB", "drain=0s"] {
            text.parse::<LimitSetting>().unwrap().apply(&mut limits);
        }
        assert_eq!((limits.idle.as_secs(), limits.connections, limits.unsent), (300, 17, 1 << 20));
        assert!(limits.drain.is_zero());
    }

    #[test]
    fn what_is_wrong_with_a_limit_is_said_with_what_would_be_right() {
        assert_eq!(fault("idle"), "expected NAME=VALUE, as in idle=30s");
        assert!(fault("idel=3s").starts_with("there is no limit `idel`; there are connections, "));
        assert_eq!(fault("idle=3"), "idle is a time, as in 250ms, 90s or 5m");
        assert_eq!(fault("connections=2s"), "connections is a whole number");
        assert_eq!(fault("unsent=1GB"), "unsent is a number of octets, as in 65536, 64KiB or 1MiB");
        assert_eq!(fault("unsent=18446744073709551615MiB"), "unsent is a number of octets, as in 65536, 64KiB or 1MiB");
        assert_eq!(fault("connections=0"), "connections is 1 at least and 65536 at most");
        assert_eq!(fault("idle=2h"), "idle is 100ms at least and 1h at most");
        assert_eq!(fault("unsent=1KiB"), "unsent is 4KiB at least and 64MiB at most");
    }
}
