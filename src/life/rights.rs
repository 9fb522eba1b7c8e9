//! Gives up every right that answering does not need: after everything is bound, before any thread starts.
//!
//! 1. The process becomes another user, where one is named, and keeps no capability: no later system call can bind a low port, read
//!    what is another's, or look into other processes. Sockets that an upgrade needs are passed on and never bound again.
//! 2. `no_new_privs`: no program that it might be made to run gains a right.
//! 3. Landlock: what lies outside the directories that it reads and writes does not open any more, nothing is bound over TCP, no
//!    signal goes to another process. Rules bind inodes, so it is the parent of the spec directory that is allowed: a directory
//!    that is made anew must stay in reach.
//!
//! Rights are a thread's, and threads inherit them, which is why this comes before the first. Seccomp was left out: what it would
//! forbid beyond this is little, and a C library that begins to use another system call would end the server.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use serde::Deserialize;

use super::user::User;

/// How much is given up besides the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Sandbox {
    /// Landlock, and `no_new_privs`, which it needs.
    #[default]
    Full,
    /// `no_new_privs` alone.
    NoNewPrivileges,
    /// Nothing.
    Off,
}

impl FromStr for Sandbox {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "full" => Ok(Self::Full),
            "no-new-privileges" => Ok(Self::NoNewPrivileges),
            "off" => Ok(Self::Off),
            _ => Err("expected full, no-new-privileges or off"),
        }
    }
}

impl TryFrom<String> for Sandbox {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What the server has to reach from now on. What lies below a directory is in reach with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files and directories that are read.
    pub read: Vec<PathBuf>,
    /// Directories that are written to.
    pub write: Vec<PathBuf>,
}

/// What came of it, to be said in the log.
#[derive(Debug)]
pub struct Restricted {
    user: Option<User>,
    sandbox: Sandbox,
    landlock: Landlock,
    missing: Vec<PathBuf>,
}

/// Why rights could not be given up. The server does not start then.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// Another user, and not root.
    #[error("only root can become user {0}: start as root, or as that user without --user")]
    NotRoot(u32),
    /// The system did not let go of a right.
    #[error("{what} could not be given up: {reason}")]
    Kept {
        /// Which.
        what: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// Landlock is there and does not take the rules.
    #[error("Landlock: {0}; --sandbox no-new-privileges does without it")]
    Landlock(#[from] landlock::RulesetError),
}

/// What the kernel made of the Landlock rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Landlock {
    Off,
    Absent,
    Partly,
    Fully,
}

/// Gives up what is to be given up.
///
/// # Errors
/// When that does not work. A kernel without Landlock is no error, it is said in the log.
pub fn restrict(user: Option<User>, sandbox: Sandbox, reach: &Reach) -> Result<Restricted, RightsError> {
    if let Some(user) = user {
        become_user(user)?;
    }
    if !geteuid().is_root() {
        drop_capabilities()?;
    }
    if sandbox != Sandbox::Off {
        set_no_new_privs(true).map_err(kept("the gain of rights by running programs"))?;
    }
    let mut restricted = Restricted { user, sandbox, landlock: Landlock::Off, missing: Vec::new() };
    if sandbox == Sandbox::Full {
        restricted.landlock = lock(reach, &mut restricted.missing)?;
    }
    Ok(restricted)
}

fn become_user(User { user, group }: User) -> Result<(), RightsError> {
    if geteuid().as_raw() == user {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(RightsError::NotRoot(user));
    }
    // While there is the right to do so: nothing that is run later can have any of these.
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability).map_err(kept("a capability"))?,
            Ok(false) => {}
            // The kernel knows no more.
            Err(_) => break,
        }
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    set_thread_groups(&[group]).map_err(kept("the groups of root"))?;
    set_thread_res_gid(group, group, group).map_err(kept("the group of root"))?;
    set_thread_res_uid(user, user, user).map_err(kept("the user root"))
}

fn drop_capabilities() -> Result<(), RightsError> {
    // Kernels before 4.3 have none.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(kept("capabilities"))
}

fn kept(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> RightsError {
    move |errno| RightsError::Kept { what, reason: errno.into() }
}

fn lock(reach: &Reach, missing: &mut Vec<PathBuf>) -> Result<Landlock, RightsError> {
    let handled = AccessFs::from_all(KNOWN);
    let mut rules = Ruleset::default()
        .handle_access(handled)?
        // Nothing is bound over TCP from now on; so there is no rule for it.
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    for path in &reach.read {
        rules = allow(rules, path, READ, missing)?;
    }
    for path in &reach.write {
        rules = allow(rules, path, READ | WRITE, missing)?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Fully,
        RulesetStatus::PartiallyEnforced => Landlock::Partly,
        RulesetStatus::NotEnforced => Landlock::Absent,
    })
}

fn allow(
    rules: RulesetCreated,
    path: &PathBuf,
    access: BitFlags<AccessFs>,
    missing: &mut Vec<PathBuf>,
) -> Result<RulesetCreated, RightsError> {
    let Ok(opened) = PathFd::new(path) else {
        missing.push(path.clone());
        return Ok(rules);
    };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    Ok(rules.add_rule(PathBeneath::new(opened, access))?)
}

impl Restricted {
    /// What to say: a line each, and what is worth a warning.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        match self.user {
            Some(User { user, group }) => {
                lines.push(Line::Info(format!("running as user {user} of group {group}, without capabilities")));
            }
            None if geteuid().is_root() => {
                lines.push(Line::Info(
                    "running as root; --user NAME would end that once everything is bound".to_owned(),
                ));
            }
            None => lines.push(Line::Info("capabilities were given up".to_owned())),
        }
        lines.push(Line::Info(match (self.sandbox, self.landlock) {
            (Sandbox::Off, _) => "the sandbox is off".to_owned(),
            (Sandbox::NoNewPrivileges, _) => "no_new_privs is set; Landlock is off".to_owned(),
            (_, Landlock::Fully) => "no_new_privs is set; Landlock keeps everything else out of reach".to_owned(),
            (_, Landlock::Partly) => "no_new_privs is set; Landlock is on, as far as this kernel has it".to_owned(),
            (_, Landlock::Off | Landlock::Absent) => {
                "no_new_privs is set; this kernel has no Landlock (5.13 and later have, if it is turned on)".to_owned()
            }
        }));
        let missing = self.missing.iter().map(|path| {
            let path = path.display();
            Line::Warning(format!("{path}: is not there, and the sandbox keeps it out of reach if it is made later"))
        });
        lines.extend(missing);
        lines
    }
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// All is well.
    Info(String),
    /// Something could be better.
    Warning(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Info(text) | Self::Warning(text)) = self;
        f.write_str(text)
    }
}

/// The rights that Landlock of Linux 6.12 knows; of an older kernel, those that it has.
const KNOWN: ABI = ABI::V6;

/// To read what is there.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// To keep files and sockets: whole ones are written beside their place and renamed into it.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | RemoveDir | Refer
});

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Runs on a thread of its own, which keeps what it was restricted to.
    fn restricted<T: Send + 'static>(reach: Reach, run: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let thread = std::thread::spawn(move || {
            let restricted = restrict(None, Sandbox::Full, &reach).unwrap();
            if restricted.landlock == Landlock::Absent {
                assert!(std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_none(), "this kernel has no Landlock");
                return None;
            }
            Some(run())
        });
        thread.join().unwrap()
    }

    #[test]
    fn what_is_not_allowed_is_out_of_reach() {
        let home = tempfile::tempdir().unwrap();
        let [spec, state, other] = ["spec", "state", "other"].map(|name| home.path().join(name));
        for directory in [&spec, &state, &other] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("file"), "text").unwrap();
        }
        let reach = Reach { read: vec![spec.clone()], write: vec![state.clone()] };
        let denied = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::PermissionDenied;
        restricted(reach, move || {
            assert_eq!(fs::read_to_string(spec.join("file")).unwrap(), "text");
            assert!(denied(fs::write(spec.join("file"), "other")));
            fs::write(state.join("new"), "text").unwrap();
            fs::rename(state.join("new"), state.join("file")).unwrap();
            assert!(denied(fs::read(other.join("file")).map(drop)));
            assert!(denied(fs::read_dir(&other).map(drop)));
            assert!(denied(fs::read("/etc/passwd").map(drop)));
            assert!(denied(std::net::TcpListener::bind("127.0.0.1:0").map(drop)));
            let deeper = std::thread::spawn(|| fs::read("/etc/passwd").map(drop)).join().unwrap();
            assert!(denied(deeper), "threads inherit it");
        });
    }

    #[test]
    fn a_directory_that_is_made_anew_stays_in_reach_of_its_parent() {
        let home = tempfile::tempdir().unwrap();
        let parent = home.path().join("parent");
        fs::create_dir_all(parent.join("spec")).unwrap();
        let reach = Reach { read: vec![parent.clone()], write: Vec::new() };
        // Another thread makes it, for this one may not write.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let spec = parent.join("spec");
        let thread = std::thread::spawn(move || {
            restricted(reach, move || {
                receiver.recv().unwrap();
                fs::read_to_string(spec.join("new")).unwrap()
            })
        });
        fs::remove_dir(parent.join("spec")).unwrap();
        fs::create_dir(parent.join("spec")).unwrap();
        fs::write(parent.join("spec/new"), "text").unwrap();
        // Without Landlock nobody listens.
        let _ = sender.send(());
        assert!(thread.join().unwrap().is_none_or(|text| text == "text"));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let reach = Reach { read: vec![PathBuf::from("/nowhere/at/all")], write: Vec::new() };
        let thread = std::thread::spawn(move || restrict(None, Sandbox::Full, &reach).unwrap().lines());
        let lines = thread.join().unwrap();
        assert!(lines.iter().any(|line| line.to_string().starts_with("/nowhere/at/all: is not there")), "{lines:?}");
    }

    #[test]
    fn a_sandbox_is_told_by_its_name() {
        assert_eq!("full".parse(), Ok(Sandbox::Full));
        assert_eq!("no-new-privileges".parse(), Ok(Sandbox::NoNewPrivileges));
        assert_eq!("off".parse(), Ok(Sandbox::Off));
        assert!("none".parse::<Sandbox>().is_err());
    }
}
