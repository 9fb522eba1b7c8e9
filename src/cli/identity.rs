//! What the server says of itself, and the secret that its cookies are made with.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use tokio_rustls::rustls::crypto::ring;

use crate::engine::{Secrets, Text, TextError};

/// Words that the operator chose.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Words(pub(crate) Text);

impl FromStr for Words {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Text::new(text.as_bytes()).map(Self)
    }
}

impl TryFrom<String> for Words {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}; name a file that this process may read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The file does not hold secrets.
    #[error("{}:{line}: a secret is 32 hexadecimal digits, one secret a line, two at most; `openssl rand -hex 16` makes one", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers for the secret of cookies; put one in a file: --cookie-secret FILE")]
    NoRandom,
}

/// Reads the secrets of server cookies from `file`, or makes one that lasts as long as this process.
///
/// # Errors
/// When the file cannot be read or holds something else, or there are no random numbers.
pub(crate) fn secrets(file: Option<&Path>) -> Result<Secrets, SecretError> {
    let Some(file) = file else {
        let mut current = [0; 16];
        ring::default_provider().secure_random.fill(&mut current).map_err(|_| SecretError::NoRandom)?;
        return Ok(Secrets { current, previous: None });
    };
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|reason| SecretError::Unreadable { file: file.to_owned(), reason })?;
    let malformed = |line| SecretError::Malformed { file: file.to_owned(), line };
    let mut secrets = Vec::new();
    for (line, digits) in text.lines().enumerate() {
        let secret = secret(digits.trim()).filter(|_| line < 2).ok_or_else(|| malformed(line + 1))?;
        secrets.push(secret);
    }
    let mut secrets = secrets.into_iter();
    Ok(Secrets { current: secrets.next().ok_or_else(|| malformed(1))?, previous: secrets.next() })
}

fn secret(digits: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(digits, 16).ok()?;
    let mut written = String::new();
    write!(written, "{number:032x}").ok()?;
    // The parser takes a sign, and fewer digits.
    written.eq_ignore_ascii_case(digits).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Secrets, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        secrets(Some(file.path())).map_err(|error| error.to_string().replace(file.path().to_str().unwrap(), "FILE"))
    }

    #[test]
    fn a_file_holds_a_secret_and_perhaps_the_one_before_it() {
        let one = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        let first = read(&format!("{one}\n")).unwrap();
        assert_eq!(first.current[..3], [0xe5, 0xe9, 0x73]);
        assert_eq!(first.previous, None);
        let both = read(&format!("00000000000000000000000000000001\n{}", one.to_uppercase())).unwrap();
        assert_eq!((both.current[15], both.previous), (1, Some(first.current)));
    }

    #[test]
    fn what_is_no_secret_is_said_with_its_line() {
        let good = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        for (text, line) in [
            (String::new(), 1),
            ("secret".to_owned(), 1),
            (format!("+{}", &good[1..]), 1),
            (good[1..].to_owned(), 1),
            (format!("{good}\n\n"), 2),
            (format!("{good}\n{good}\n{good}"), 3),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.starts_with(&format!("FILE:{line}: a secret is 32 hexadecimal digits")), "{text}: {said}");
        }
        let said = secrets(Some(Path::new("/nowhere/secret"))).unwrap_err().to_string();
        assert!(said.starts_with("/nowhere/secret: cannot be read: "), "{said}");
    }

    #[test]
    fn a_secret_that_is_made_differs_every_time() {
        assert_ne!(secrets(None).unwrap(), secrets(None).unwrap());
    }
}
