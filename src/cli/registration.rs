//! Registrations as commands write them: one instance a file, `instances/<app>/<component>.<number>.json`, put there whole.
//!
//! The writer of FILES: beside its place under a name that is passed over, synced, renamed, its directory synced. Whoever
//! reads sees the old file or the new one, and so does whoever starts after a power failure. JSON, because no part of it
//! parses: even a copy that was cut off is no shorter list.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;

use super::{FAILURE, complain};
use crate::name::Label;
use crate::spec::{self, Document, Fault, Format, InstanceSpec};

/// Which instance.
#[derive(Debug, Clone, Args)]
pub(crate) struct InstanceArgs {
    /// The app
    #[arg(value_name = "APP")]
    pub(crate) app: String,
    /// The component, or process type
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: String,
    /// Which of them, from 1
    #[arg(value_name = "NUMBER", value_parser = number)]
    pub(crate) number: u32,
}

/// Reads the number of an instance; whether there can be one of that number is for who reads registrations.
pub(crate) fn number(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "expected the number of an instance, as in 1")
}

/// Reads an address.
pub(crate) fn address(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address without a port, as in 10.0.130.56")
}

/// Where below the spec directory.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UnderArgs {
    /// Keep the file below this directory of the spec directory, that of its space where each has one
    #[arg(long, value_name = "DIRECTORY", value_parser = under)]
    pub(crate) under: Option<String>,
}

fn under(text: &str) -> Result<String, &'static str> {
    let text = text.trim_end_matches('/');
    let passed_over = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('~');
    if text.split('/').any(passed_over) {
        return Err(
            "expected a directory of the spec directory, as in acme, no part of which begins with a dot or ends with ~",
        );
    }
    Ok(text.to_owned())
}

/// What a registration says of its instance, besides which it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct DetailArgs {
    /// A port as SRV records tell it, where the app spec's do not hold; without a name it is http; may be repeated
    #[arg(long = "port", value_name = "[NAME=]PORT")]
    pub(crate) ports: Vec<Port>,
    /// Let other apps register the same address
    #[arg(long)]
    pub(crate) shared_address: bool,
}

/// A port, and its name if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// Its name; without, it is `http`.
    pub(crate) name: Option<String>,
    /// Its number.
    pub(crate) number: u16,
}

impl FromStr for Port {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, number) = text.split_once('=').map_or((None, text), |(name, number)| (Some(name), number));
        let number = number.parse().ok().filter(|number| *number > 0);
        let number = number.ok_or("expected a port from 1 to 65535, or NAME=PORT, as in 8080 or metrics=9100")?;
        Ok(Self { name: name.map(ToOwned::to_owned), number })
    }
}

/// A registration as it is written.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Registration {
    pub(crate) app: String,
    pub(crate) component: String,
    pub(crate) number: u32,
    pub(crate) addresses: Vec<IpAddr>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) ports: BTreeMap<String, u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<String>,
    #[serde(skip_serializing_if = "is_not")]
    pub(crate) shared_address: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_not(flag: &bool) -> bool {
    !flag
}

impl Registration {
    /// Of an instance, at these addresses.
    pub(crate) fn new(instance: &InstanceArgs, addresses: Vec<IpAddr>, details: &DetailArgs) -> Self {
        let named = |port: &Port| (port.name.clone().unwrap_or_else(|| "http".to_owned()), port.number);
        Self {
            app: instance.app.clone(),
            component: instance.component.clone(),
            number: instance.number,
            addresses,
            ports: details.ports.iter().map(named).collect(),
            state: None,
            lease: None,
            shared_address: details.shared_address,
        }
    }

    /// Its octets, and what they mean to the server.
    ///
    /// # Errors
    ///
    /// The server would not take it; the faults.
    pub(crate) fn octets(&self) -> Result<(Vec<u8>, Meant), Faults> {
        // Only a map whose keys are no text fails, and there is none.
        let mut octets = serde_json::to_vec_pretty(self).unwrap_or_default();
        octets.push(b'\n');
        let meant = Meant::read(&octets)?;
        Ok((octets, meant))
    }
}

/// What a registration of one instance means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meant {
    /// The app.
    pub(crate) app: Label,
    /// The instance.
    pub(crate) instance: InstanceSpec,
}

impl Meant {
    /// Reads a file as the server does.
    ///
    /// # Errors
    ///
    /// There are faults in it, or it is something else.
    pub(crate) fn read(octets: &[u8]) -> Result<Self, Faults> {
        let reading = spec::read(octets, Format::Json, "");
        if !reading.faults.is_empty() {
            return Err(Faults(reading.faults));
        }
        let [Document::App(app)] = reading.documents.as_slice() else { return Err(Faults(Vec::new())) };
        let [instance] = app.instances.as_slice() else { return Err(Faults(Vec::new())) };
        Ok(Self { app: app.app.value.clone(), instance: instance.value.clone() })
    }

    /// The names of an instance in the form that the server gives them.
    ///
    /// # Errors
    ///
    /// They are no names.
    pub(crate) fn of(instance: &InstanceArgs) -> Result<Self, Faults> {
        // Any address that an instance may have: what is asked for are the names.
        let details = DetailArgs { ports: Vec::new(), shared_address: false };
        Ok(Registration::new(instance, vec![IpAddr::from([10, 0, 0, 1])], &details).octets()?.1)
    }

    /// Where its file is, relative to the spec directory, `/` between the parts.
    pub(crate) fn file(&self, under: &UnderArgs) -> String {
        let under = under.under.as_ref().map(|under| format!("{under}/")).unwrap_or_default();
        format!("{under}instances/{}/{}.{}.json", self.app, self.instance.component, self.instance.number)
    }
}

/// What is wrong with a registration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Error for Faults {}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join(", and "))
    }
}

impl Faults {
    /// Says them on standard error, a line each.
    pub(crate) fn tell(&self) -> ExitCode {
        self.lines().map(|line| complain(&line, FAILURE)).last().unwrap_or_else(|| ExitCode::from(FAILURE))
    }

    /// Without places: there is no file yet in which to look.
    fn lines(&self) -> impl Iterator<Item = String> {
        let nothing = self.0.is_empty().then(|| "it does not register one instance".to_owned());
        let lines = self.0.iter().map(|Fault { field, fault, remedy, .. }| match field.as_str() {
            "" => format!("{fault}; {remedy}"),
            field => format!("{field}: {fault}; {remedy}"),
        });
        nothing.into_iter().chain(lines)
    }
}

/// How a file is put into its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Over what is there.
    Replace,
    /// Only where nothing is.
    Claim,
}

/// Puts a file into the spec directory, whole and for good.
///
/// # Errors
///
/// The spec directory is not there, something in it cannot be written, or, of a claim, the file is there already.
pub(crate) fn put(dir: &Path, file: &str, octets: &[u8], manner: Manner) -> io::Result<()> {
    let place = dir.join(file);
    make_directories(dir, file)?;
    let (parent, name) = parts(&place)?;
    let beside = parent.join(format!(".{name}.{}.tmp", random()?));
    let written = write(&beside, octets).and_then(|()| match manner {
        Manner::Replace => fs::rename(&beside, &place),
        Manner::Claim => fs::hard_link(&beside, &place),
    });
    if written.is_err() || manner == Manner::Claim {
        // What is left over has a name that is passed over.
        let _ = fs::remove_file(&beside);
    }
    written.and_then(|()| sync(parent))
}

/// Removes a file of the spec directory for good.
///
/// # Errors
///
/// It is not there, or cannot be removed.
pub(crate) fn remove(dir: &Path, file: &str) -> io::Result<()> {
    let place = dir.join(file);
    fs::remove_file(&place)?;
    sync(parts(&place)?.0)
}

fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(octets)?;
    file.sync_all()
}

/// Makes the directories that a file of the spec directory is in; the spec directory itself has to be there.
///
/// # Errors
///
/// It is not, or one cannot be made.
pub(crate) fn make_directories(dir: &Path, file: &str) -> io::Result<()> {
    if !fs::metadata(dir)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut path = dir.to_owned();
    let directories = file.rsplit_once('/').map_or("", |(directories, _)| directories);
    for part in directories.split('/').filter(|part| !part.is_empty()) {
        let above = path.clone();
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => sync(&above)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the names in a directory last.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn parts(place: &Path) -> io::Result<(&Path, &str)> {
    let name = place.file_name().and_then(|name| name.to_str());
    place.parent().zip(name).ok_or_else(|| io::ErrorKind::InvalidFilename.into())
}

fn random() -> io::Result<String> {
    let mut octets = [0; 8];
    let filled = SystemRandom::new().fill(&mut octets);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// The path of a file in a spec directory, as it was given.
pub(crate) fn shown(dir: &Path, file: &str) -> PathBuf {
    dir.join(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(app: &str, component: &str, number: u32) -> InstanceArgs {
        InstanceArgs { app: app.to_owned(), component: component.to_owned(), number }
    }

    fn faults(instance: &InstanceArgs, address: &str) -> String {
        let details = DetailArgs { ports: Vec::new(), shared_address: false };
        Registration::new(instance, vec![address.parse().unwrap()], &details).octets().unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_what_the_server_reads() {
        let ports = ["8080", "metrics=9100"].map(|port| port.parse().unwrap()).into();
        let details = DetailArgs { ports, shared_address: true };
        let addresses = ["10.0.0.1", "fd00::1"].map(|address| address.parse().unwrap()).to_vec();
        let mut registration = Registration::new(&instance("shop", "Extra_Worker", 7), addresses, &details);
        registration.state = Some("starting".to_owned());
        registration.lease = Some("30s".to_owned());
        let (octets, meant) = registration.octets().unwrap();
        assert_eq!(Meant::read(&octets), Ok(meant.clone()));
        assert_eq!(meant.file(&UnderArgs::default()), "instances/shop/extra-worker.7.json");
        assert_eq!(meant.file(&UnderArgs { under: under("acme/").ok() }), "acme/instances/shop/extra-worker.7.json");
        for wrong in ["", "/", "/etc", "../b", "a//b", ".a"] {
            assert!(under(wrong).is_err(), "{wrong}");
        }
        assert_eq!((meant.instance.addresses.len(), meant.instance.ports.len()), (2, 2));
        assert!(meant.instance.shared_address);
        let text = String::from_utf8(octets).unwrap();
        assert!(text.starts_with("{\n  \"app\": \"shop\",") && text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn what_the_server_would_not_take_is_told_before_it_is_written() {
        assert!(faults(&instance("shop", "web", 1), "203.0.113.1").starts_with("addresses[0]: `203.0.113.1` is "));
        assert!(faults(&instance("../shop", "web", 1), "10.0.0.1").starts_with("app: "));
        assert!(faults(&instance("shop", "../web", 0), "10.0.0.1").contains(", and number: `0` is out of range; "));
    }

    #[test]
    fn a_file_is_put_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = "instances/shop/web.1.json";
        put(dir.path(), file, b"one", Manner::Claim).unwrap();
        assert_eq!(put(dir.path(), file, b"two", Manner::Claim).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join(file)).unwrap(), b"one");
        put(dir.path(), file, b"three", Manner::Replace).unwrap();
        assert_eq!(fs::read(dir.path().join(file)).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path().join("instances/shop")).unwrap().count(), 1);
        remove(dir.path(), file).unwrap();
        assert_eq!(remove(dir.path(), file).unwrap_err().kind(), io::ErrorKind::NotFound);
        let nowhere = dir.path().join("nowhere");
        assert_eq!(put(&nowhere, file, b"", Manner::Replace).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!nowhere.exists(), "a slip in its name makes no directory");
    }
}
