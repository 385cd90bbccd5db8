// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that are whole or not there: written beside, synced, renamed over, and the folder synced, so that a loss of power at
//! any byte leaves the old one or the new one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes `path` hold `bytes`. A file that is there keeps its mode, a new one gets 0600.
pub fn replace(path: &Path, bytes: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
    put(path, Some(path), bytes.as_ref())
}

/// As [`replace`], with mode 0600 whatever was there, which must have been a regular file: no device, no link.
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other("there is something that is no regular file")),
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        Ok(_) | Err(_) => put(path, None, bytes),
    }
}

fn put(path: &Path, like: Option<&Path>, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let beside = folder.join(name);
    steps(&mut Real { file: None }, folder, &beside, path, like, bytes)
}

/// What is done to a disk; tests have one that loses power.
trait Disk {
    /// Removes a file that may be there.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Makes a file, with the mode of `like` where that is there, and goes on with it.
    fn create(&mut self, path: &Path, like: Option<&Path>) -> io::Result<()>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;
}

fn steps(
    disk: &mut impl Disk,
    folder: &Path,
    beside: &Path,
    path: &Path,
    like: Option<&Path>,
    text: &[u8],
) -> io::Result<()> {
    // A leftover of a death in between, perhaps with another mode.
    disk.remove(beside)?;
    let mut write = || {
        disk.create(beside, like)?;
        disk.write(text)?;
        disk.sync()?;
        disk.rename(beside, path)
    };
    if let Err(why) = write() {
        // The first error is the one to tell.
        let _ = disk.remove(beside);
        return Err(why);
    }
    disk.sync_folder(folder)
}

struct Real {
    file: Option<File>,
}

impl Disk for Real {
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn create(&mut self, path: &Path, like: Option<&Path>) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        if let Some(Ok(meta)) = like.map(std::fs::metadata) {
            file.set_permissions(Permissions::from_mode(meta.permissions().mode() & 0o777))?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.take().map_or(Ok(()), |file| file.sync_all())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
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
    fn what_is_private_is_so_over_an_open_file_and_replaces_no_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.pcapng");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        replace_private(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (link, socket) = (folder.path().join("link"), folder.path().join("socket"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for odd in [link.as_path(), &socket, folder.path()] {
            let why = replace_private(odd, b"two").unwrap_err();
            assert!(why.to_string().contains("no regular file"), "{why}");
        }
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_failure_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(&folder.path().join("no/such/file"), "x").is_err());
        assert!(replace(Path::new("/"), "x").is_err());
    }

    const OLD: &[u8] = b"the old configuration";
    const NEW: &[u8] = b"the new one, which is longer than the old";

    /// A disk whose power goes after so many steps, a byte written being one. Names change in the order asked for, and may
    /// have come to the platters or not until the folder is synced; of bytes that were not synced any beginning may have.
    #[derive(Default)]
    struct Failing {
        steps: usize,
        /// Contents of files, and how much of each is sure.
        files: Vec<(Vec<u8>, usize)>,
        /// Which file each name is: on the platters first, then each change since the folder was synced.
        names: Vec<std::collections::BTreeMap<std::path::PathBuf, usize>>,
    }

    impl Failing {
        fn step(&mut self) -> io::Result<()> {
            self.steps = self.steps.checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
            Ok(())
        }

        fn change(
            &mut self,
            change: impl FnOnce(&mut std::collections::BTreeMap<std::path::PathBuf, usize>),
        ) {
            let mut names = self.names.last().unwrap().clone();
            change(&mut names);
            self.names.push(names);
        }

        /// What may be found at `path` afterwards.
        fn found(&self, path: &Path) -> Vec<Vec<u8>> {
            let files = self.names.iter().map(|names| names.get(path).map(|at| &self.files[*at]));
            let found = files.flat_map(|file| match file {
                Some((bytes, sure)) => (*sure..=bytes.len()).map(|len| bytes[..len].to_vec()).collect(),
                None => vec![b"nothing is there".to_vec()],
            });
            found.collect()
        }
    }

    impl Disk for Failing {
        fn remove(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            self.change(|names| _ = names.remove(path));
            Ok(())
        }

        fn create(&mut self, path: &Path, _: Option<&Path>) -> io::Result<()> {
            self.step()?;
            self.files.push((Vec::new(), 0));
            let at = self.files.len() - 1;
            self.change(|names| _ = names.insert(path.to_owned(), at));
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            bytes.iter().try_for_each(|byte| {
                self.step()?;
                self.files.last_mut().unwrap().0.push(*byte);
                Ok(())
            })
        }

        fn sync(&mut self) -> io::Result<()> {
            self.step()?;
            let (bytes, sure) = self.files.last_mut().unwrap();
            *sure = bytes.len();
            Ok(())
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            self.change(|names| {
                let file = names.remove(from).unwrap();
                names.insert(to.to_owned(), file);
            });
            Ok(())
        }

        fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
            self.step()?;
            self.names.drain(..self.names.len() - 1);
            Ok(())
        }
    }

    #[test]
    fn power_that_goes_at_any_byte_leaves_the_old_one_or_the_new_one() {
        let (folder, beside, path) = (Path::new("/"), Path::new("/a.new"), Path::new("/a"));
        let mut seen = [false; 2];
        for power in 0.. {
            let names = [(path.to_owned(), 0), (beside.to_owned(), 1)].into();
            let files = vec![(OLD.to_vec(), OLD.len()), (b"left over".to_vec(), 9)];
            let mut disk = Failing { steps: power, files, names: vec![names] };
            let done = steps(&mut disk, folder, beside, path, Some(path), NEW).is_ok();
            for found in disk.found(path) {
                assert!(
                    found == NEW || (found == OLD && !done),
                    "{power} steps: {}",
                    String::from_utf8_lossy(&found)
                );
                seen[usize::from(found == NEW)] = true;
            }
            if done {
                assert_eq!((seen, power), ([true; 2], NEW.len() + 5));
                return;
            }
        }
    }
}
