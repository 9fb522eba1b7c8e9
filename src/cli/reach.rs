//! What a server has to reach once it runs, of all that the settings name.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::HiArgs;
use crate::life::rights::Reach;

/// What is read and written after the start. What is read once before that (the configuration, the secret of cookies, the
/// certificates of upstreams, `resolv.conf`) is not among it.
pub(crate) fn of(args: &HiArgs, root: &Path) -> Reach {
    let mut reach = Reach::default();
    directory(&mut reach.read, root);
    for file in args.certificate.iter().flat_map(|files| [&files.certificate, &files.key]) {
        // A renewed certificate is another file, by the same name or behind the same link.
        place(&mut reach.read, file);
    }
    reach.read.extend(args.also_read.iter().cloned());
    // What this process uses of the machine.
    reach.read.push(PathBuf::from("/proc"));
    reach.write.extend(args.state_dir.clone());
    if let Some(directory) = args.handover.as_deref().and_then(parent) {
        reach.write.push(directory);
    }
    for paths in [&mut reach.read, &mut reach.write] {
        paths.sort();
        paths.dedup();
    }
    reach
}

/// The directory that may be made anew, and so what holds it; where it is a link, the same of what it leads to.
fn directory(paths: &mut Vec<PathBuf>, directory: &Path) {
    for directory in [Some(directory.to_owned()), fs::canonicalize(directory).ok()].into_iter().flatten() {
        // The root of all would be everything.
        let holder = directory.parent().filter(|parent| parent.parent().is_some()).map(Path::to_owned);
        paths.push(holder.unwrap_or(directory));
    }
}

/// What holds the file, and what holds the file that it is a link to.
fn place(paths: &mut Vec<PathBuf>, file: &Path) {
    paths.extend(parent(file));
    paths.extend(fs::canonicalize(file).ok().as_deref().and_then(parent));
}

fn parent(file: &Path) -> Option<PathBuf> {
    std::path::absolute(file).ok()?.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_reached_by_what_holds_it_but_not_by_the_root_of_all() {
        let mut paths = Vec::new();
        directory(&mut paths, Path::new("/srv/spacedns/zones"));
        assert_eq!(paths, [Path::new("/srv/spacedns")]);
        paths.clear();
        directory(&mut paths, Path::new("/zones"));
        assert_eq!(paths, [Path::new("/zones")]);
    }

    #[test]
    fn what_is_behind_a_link_is_reached_too() {
        let home = fs::canonicalize(tempfile::tempdir().unwrap().keep()).unwrap();
        let [real, seen] = ["real", "seen"].map(|name| home.join(name));
        for directory in [&real, &seen] {
            fs::create_dir(directory).unwrap();
        }
        fs::create_dir(real.join("zones")).unwrap();
        std::os::unix::fs::symlink(real.join("zones"), seen.join("zones")).unwrap();
        let mut paths = Vec::new();
        directory(&mut paths, &seen.join("zones"));
        assert_eq!(paths, [&*seen, &*real]);
        fs::remove_dir_all(home).unwrap();
    }
}
