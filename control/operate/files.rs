// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that are whole or not there: written beside, synced, renamed over, and the folder synced, so that a loss of power at
//! any byte leaves the old one or the new one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes `path` hold `text`. A file that is there keeps its mode, a new one gets 0600.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let beside = folder.join(name);
    // A leftover of a death in between, perhaps with another mode.
    match std::fs::remove_file(&beside) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => {}
    }
    let written = write_new(&beside, path, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&beside);
    }
    written.and_then(|()| File::open(folder)?.sync_all())
}

fn write_new(beside: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    if let Ok(meta) = std::fs::metadata(path) {
        file.set_permissions(Permissions::from_mode(meta.permissions().mode() & 0o777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_keeps_the_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running-config");
        replace(&path, "one\n").unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::fs::write(folder.path().join("running-config.new"), "left over").unwrap();
        replace(&path, "two\n").unwrap();
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode()), ("two\n", 0o640));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(&folder.path().join("no/such/file"), "x").is_err());
        assert!(replace(Path::new("/"), "x").is_err());
    }
}
