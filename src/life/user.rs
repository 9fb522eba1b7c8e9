//! The user that the server becomes once every socket is bound.
//!
//! `/etc/passwd` is read here: the C library's look-up loads modules when it runs, which a static binary cannot do.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A user as it is written: a name of `/etc/passwd`, or `UID` or `UID:GID`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UserName(String);

/// A user as the system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub user: u32,
    /// The number of its group.
    pub group: u32,
}

/// Why there is no such user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The name is not one.
    #[error("expected the name of a user, or UID, or UID:GID")]
    Malformed,
    /// It is root, which has every right.
    #[error("`{0}` is root, which keeps every right: name another user")]
    Root(String),
    /// Nobody is called so.
    #[error("`{0}` is not in /etc/passwd: create it (useradd --system --no-create-home {0}), or give UID:GID")]
    Unknown(String),
}

impl FromStr for UserName {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let is_word = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let is_number = |text: &str| text.parse::<u32>().is_ok_and(|number| number != u32::MAX);
        let is_good = match group {
            Some(group) => is_number(user) && is_number(group),
            None if user.bytes().all(|octet| octet.is_ascii_digit()) => is_number(user),
            None => !user.starts_with('-') && user.chars().all(is_word),
        };
        if is_good { Ok(Self(text.to_owned())) } else { Err(UserError::Malformed) }
    }
}

impl TryFrom<String> for UserName {
    type Error = UserError;

    fn try_from(text: String) -> Result<Self, UserError> {
        text.parse()
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl UserName {
    /// Finds the user in the text of `/etc/passwd`. A number need not be there; its group is the same number then.
    ///
    /// # Errors
    /// When it is not there, or is root.
    pub fn find(&self, passwd: &str) -> Result<User, UserError> {
        let Self(text) = self;
        let (name, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
        let number = name.parse().ok();
        let listed = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [own, _, user, group, ..] = fields.as_slice() else { return None };
            let found = User { user: user.parse().ok()?, group: group.parse().ok()? };
            (*own == name || Some(found.user) == number).then_some(found)
        });
        let found = match (listed, number) {
            (Some(found), _) => found,
            (None, Some(user)) => User { user, group: user },
            (None, None) => return Err(UserError::Unknown(name.to_owned())),
        };
        let found = User { group: group.and_then(|group| group.parse().ok()).unwrap_or(found.group), ..found };
        if found.user == 0 || found.group == 0 { Err(UserError::Root(text.clone())) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\ndns:x:53:54::/nonexistent:/usr/sbin/nologin\n";

    fn find(text: &str) -> Result<User, UserError> {
        text.parse::<UserName>()?.find(PASSWD)
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        assert_eq!(find("dns"), Ok(User { user: 53, group: 54 }));
        assert_eq!(find("53"), Ok(User { user: 53, group: 54 }));
        assert_eq!(find("65532"), Ok(User { user: 65532, group: 65532 }));
        assert_eq!(find("65532:7"), Ok(User { user: 65532, group: 7 }));
    }

    #[test]
    fn who_is_not_there_is_root_or_is_no_user_is_said_so() {
        assert_eq!(find("nobody-here"), Err(UserError::Unknown("nobody-here".to_owned())));
        assert_eq!(find("root"), Err(UserError::Root("root".to_owned())));
        assert_eq!(find("5:0"), Err(UserError::Root("5:0".to_owned())));
        for wrong in ["", "-x", "a b", "a:b", "1:", ":1", "99999999999", "1:2:3", "\u{e9}"] {
            assert_eq!(find(wrong), Err(UserError::Malformed), "{wrong}");
        }
    }
}
