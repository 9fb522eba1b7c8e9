//! The certificate that TLS and QUIC show, and its key: read from two files, and again when these change.
//!
//! Whoever renews a certificate replaces two files, one after the other, so for a moment they do not fit each other. What cannot
//! be used is never taken: the certificate before it stays, one log line says why, and the next change is another try.
//! Looking at both files every other second was preferred to watching them: it is two system calls, and holds for symbolic links,
//! whole directories that are swapped, and file systems without events.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::hmac;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys};
use tracing::{info, warn};

use super::phase::Phase;
use crate::observe::{Counters, Event};

/// A certificate with its key, and the files that they are read from.
#[derive(Debug, Clone)]
pub struct Credentials {
    files: Files,
    shown: Arc<Shown>,
    /// What the files were when they were read last, whether or not what they held could be used.
    seen: Seen,
    /// The key that was read first, to make others of.
    secret: hmac::Key,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Credentials {
    /// Reads a certificate with those that it is signed by, and its key, both in PEM.
    ///
    /// # Errors
    /// When either file cannot be read, does not hold what it should, or they do not fit each other.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let seen = files.look();
        let shown = Shown(ArcSwap::from_pointee(files.read()?));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, files.read_key()?.secret_der());
        Ok(Self { files, shown: Arc::new(shown), seen, secret })
    }

    /// A secret for one purpose, which whoever reads the same key file has as well: the server after this one.
    pub(super) fn secret(&self, purpose: &str) -> hmac::Tag {
        hmac::sign(&self.secret, purpose.as_bytes())
    }

    /// What clients are shown, now and after every change.
    pub(super) fn shown(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::<Shown>::clone(&self.shown)
    }

    /// Reads the files again if they are not what they were; `None` when they are.
    fn refresh(&mut self) -> Option<Result<(), CertificateError>> {
        let seen = self.files.look();
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        Some(self.files.read().map(|key| self.shown.0.store(Arc::new(key))))
    }
}

/// Follows the files of `credentials` until `stop` says so.
pub(super) async fn follow(mut credentials: Credentials, counters: Arc<Counters>, mut stop: watch::Receiver<Phase>) {
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(Phase::is_over) => return,
            () = sleep(LOOK_EVERY) => {}
        }
        // On a thread of its own: a file system that does not answer holds up no query.
        let looking = spawn_blocking(move || {
            let refreshed = credentials.refresh();
            (credentials, refreshed)
        });
        let looked = tokio::select! {
            biased;
            _ = stop.wait_for(Phase::is_over) => return,
            looked = looking => looked,
        };
        // It panicked, and the credentials went with it: what is shown stays.
        let Ok((returned, refreshed)) = looked else { return };
        credentials = returned;
        match refreshed {
            None => {}
            Some(Ok(())) => {
                counters.event(Event::CertificateTaken, 1);
                info!("{}: the new certificate is shown from now on", credentials.files.certificate.display());
            }
            Some(Err(error)) => {
                counters.event(Event::CertificateRefused, 1);
                warn!("{error}; until then the certificate before it stays");
            }
        }
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {reason}; name a file that this process may read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {fault}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        fault: String,
    },
}

impl Files {
    fn look(&self) -> Seen {
        Seen { certificate: Stamp::of(&self.certificate), key: Stamp::of(&self.key) }
    }

    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        let unusable = |file: &Path, fault: String| CertificateError::Unusable { file: file.to_owned(), fault };
        let chain = read(&self.certificate)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .map(|certificate| certificate.map(CertificateDer::into_owned))
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(&self.certificate, of_pem(&error, "CERTIFICATE")))?;
        if chain.is_empty() {
            return Err(unusable(&self.certificate, of_pem(&PemError::NoItemsFound, "CERTIFICATE")));
        }
        let key = self.read_key()?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let certificate = self.certificate.display();
                unusable(&self.key, format!("it is not the key of {certificate}; put both files of one pair in place"))
            }
            TlsError::InvalidCertificate(_) => {
                unusable(&self.certificate, format!("{error}; write it again, the certificate of this server first"))
            }
            error => unusable(&self.key, format!("{error}; use an RSA, ECDSA (P-256, P-384) or Ed25519 key")),
        })
    }
}

impl Files {
    fn read_key(&self) -> Result<PrivateKeyDer<'static>, CertificateError> {
        PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| CertificateError::Unusable {
            file: self.key.clone(),
            fault: of_pem(&error, "PRIVATE KEY"),
        })
    }
}

fn of_pem(error: &PemError, what: &str) -> String {
    match error {
        PemError::NoItemsFound => format!("there is no \"-----BEGIN {what}-----\" in it; write it as PEM"),
        error => format!("it is no PEM: {error}; write it again"),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |reason| CertificateError::Unreadable { file: file.to_owned(), reason };
    let mut octets = Vec::new();
    let limited = File::open(file).map(|file| file.take(FILE_MAX)).map_err(unreadable)?.read_to_end(&mut octets);
    match limited {
        Ok(_) if octets.len() as u64 >= FILE_MAX => Err(unreadable(io::ErrorKind::FileTooLarge.into())),
        Ok(_) => Ok(octets),
        Err(reason) => Err(unreadable(reason)),
    }
}

/// What both files looked like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    certificate: Option<Stamp>,
    key: Option<Stamp>,
}

/// What changes when a file does; of what a symbolic link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` when the file is not there, or not to be looked at.
    fn of(file: &Path) -> Option<Self> {
        let file = std::fs::metadata(file).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// The certificate that is shown to whoever asks, by whatever name.
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Says nothing of the key.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Octets that a file may have: a chain of certificates has some ten thousand.
const FILE_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["ns.app.localspace".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn fault(certificate: &str, key: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let (certificate_file, key_file) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
        fs::write(&certificate_file, certificate).unwrap();
        fs::write(&key_file, key).unwrap();
        let text = Credentials::load(&certificate_file, &key_file).unwrap_err().to_string();
        text.strip_prefix(&format!("{}/", directory.path().display())).unwrap().to_owned()
    }

    #[test]
    fn each_fault_names_its_file_and_a_remedy() {
        let (certificate, key) = pair();
        assert!(fault("", &key).starts_with("c.pem: there is no \"-----BEGIN CERTIFICATE-----\" in it; "));
        assert!(fault(&certificate, "").starts_with("k.pem: there is no \"-----BEGIN PRIVATE KEY-----\" in it; "));
        let half = certificate.split_at(certificate.len() / 2).0;
        assert!(fault(half, &key).starts_with("c.pem: "), "{}", fault(half, &key));
        assert!(fault(&certificate, &pair().1).contains("k.pem: it is not the key of "));
        let text = Credentials::load(Path::new("/nowhere/c.pem"), Path::new("/nowhere/k.pem")).unwrap_err().to_string();
        assert!(text.starts_with("/nowhere/c.pem: cannot be read: "), "{text}");
        assert!(fault(&"x".repeat(1 << 20), &key).contains("cannot be read"));
    }

    #[test]
    fn a_pair_that_is_replaced_file_by_file_is_taken_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
        let place = |file: &Path, text: &str| {
            fs::write(directory.path().join("new"), text).unwrap();
            fs::rename(directory.path().join("new"), file).unwrap();
        };
        let (first, second) = (pair(), pair());
        place(&certificate, &first.0);
        place(&key, &first.1);
        let mut credentials = Credentials::load(&certificate, &key).unwrap();
        let shown = |credentials: &Credentials| credentials.shown.0.load().cert.clone();
        let before = shown(&credentials);
        assert!(credentials.refresh().is_none());
        place(&certificate, &second.0);
        assert!(credentials.refresh().unwrap().is_err());
        assert!(credentials.refresh().is_none(), "said once");
        assert_eq!(shown(&credentials), before);
        place(&key, &second.1);
        assert!(credentials.refresh().unwrap().is_ok());
        assert_ne!(shown(&credentials), before);
        fs::remove_file(&key).unwrap();
        assert!(credentials.refresh().unwrap().is_err());
        assert!(credentials.refresh().is_none());
    }
}
