//! `spacedns wait`: returns once exactly these octets are served.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::args::InDirectory;
use super::clock;
use super::config::HiArgs;
use super::register::tell;
use super::server::{self, Server, ServerArgs, WAIT, Waited, patience};
use crate::control::{Contents, Hash};
use crate::spec::REGISTRATION_MAX;

/// What to wait for.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The files, below the spec directory
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Wait until nothing of the files is served any more
    #[arg(long)]
    gone: bool,
    /// Give up after this time, and exit 3
    #[arg(long, value_name = "TIME", default_value = WAIT, value_parser = patience)]
    timeout: Duration,
    #[command(flatten)]
    pub(super) directory: InDirectory,
    #[command(flatten)]
    server: ServerArgs,
}

/// Waits for every file. What is in them is read once, at the start.
///
/// # Errors
///
/// A file is not below the spec directory, cannot be read, or the server does not understand.
pub(crate) fn run(args: &HiArgs, wait: &Wait) -> Result<ExitCode, Box<dyn Error>> {
    let server = Server::choose(&wait.server, args)?;
    let mut wanted = Vec::new();
    for path in &wait.files {
        let contents = if wait.gone { Contents::Gone } else { Contents::Octets(hash(path)?) };
        wanted.push((relative(&args.dir, path)?, contents));
    }
    let runtime = server::runtime()?;
    let elapsed = clock::monotonic();
    let mut code = ExitCode::SUCCESS;
    for (file, contents) in wanted {
        let left = wait.timeout.saturating_sub(elapsed());
        match runtime.block_on(server::wait(&server, &file, contents, left))? {
            Waited::Served { .. } => {}
            rejected @ Waited::Rejected(_) => code = tell(&args.dir, &rejected),
            late @ Waited::TimedOut(_) => return Ok(tell(&args.dir, &late)),
        }
    }
    Ok(code)
}

fn hash(path: &Path) -> Result<Hash, String> {
    let unread = |error: io::Error| format!("{}: cannot be read: {error}", path.display());
    let most = u64::try_from(REGISTRATION_MAX).unwrap_or(u64::MAX);
    // Opening a FIFO waits for its writer, and the server reads none.
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(format!("{}: is no regular file, and the server reads nothing else", path.display()));
    }
    let mut octets = Vec::new();
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut octets)).map_err(unread)?;
    if octets.len() > REGISTRATION_MAX {
        return Err(format!("{}: is larger than any file that is read ({REGISTRATION_MAX} octets)", path.display()));
    }
    Ok(Hash::of(&octets))
}

/// The path of a file relative to the spec directory. The file itself may be a link, or gone; what is above it is resolved.
fn relative(dir: &Path, path: &Path) -> Result<String, String> {
    let outside = || {
        let (path, dir) = (path.display(), dir.display());
        format!("{path}: is not below the spec directory {dir}; name the directory with -C DIR")
    };
    let resolve = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let root = resolve(dir)?;
    let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(outside)?;
    let whole = resolve(parent)?.join(name);
    let below = whole.strip_prefix(&root).map_err(|_| outside())?;
    below.to_str().map(ToOwned::to_owned).ok_or_else(|| format!("{}: its name is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_opened() {
        let top = tempfile::tempdir().unwrap();
        let fifo = top.path().join("web.1.json");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Opened, it would be waited for without an end.
        for path in [&fifo, Path::new("/dev/null"), top.path()] {
            let error = hash(path).unwrap_err();
            assert!(error.contains("is no regular file"), "{error}");
        }
    }

    #[test]
    fn a_file_is_told_by_its_path_below_the_spec_directory() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("zones");
        fs::create_dir_all(dir.join("instances/shop")).unwrap();
        std::os::unix::fs::symlink(&dir, top.path().join("link")).unwrap();
        let file = "instances/shop/web.1.json";
        assert_eq!(relative(&dir, &dir.join(file)).as_deref(), Ok(file));
        assert_eq!(
            relative(&dir, &top.path().join("link/instances/../instances/shop/web.1.json")).as_deref(),
            Ok(file)
        );
        assert_eq!(relative(&top.path().join("link"), &dir.join("a.yaml")).as_deref(), Ok("a.yaml"));
        let error = relative(&dir, &top.path().join("a.yaml")).unwrap_err();
        assert!(error.contains("is not below the spec directory"), "{error}");
    }
}
