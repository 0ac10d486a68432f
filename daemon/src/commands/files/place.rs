//! What stands at the name of an output: nothing, a file, a link to one, or something that must not be replaced.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Seek};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::exit::{Failure, Outcome};

/// Most links that are followed before a chain counts as a loop. The kernel has the same limit.
const LINKS: usize = 40;

/// What stands at a name after following links.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing, or a regular file, at this path. The path is not a link.
    File(PathBuf),
    /// Something that is opened and never replaced.
    Opened(Opened),
}

/// A thing that is written into and not replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Standard output, under any name.
    StandardOutput,
    /// A pipe, a character device or a descriptor in /proc, under the name that the user gave.
    Path,
}

impl Place {
    /// Examines what stands at `name`.
    ///
    /// # Errors
    /// A usage failure if a capture cannot be written there.
    pub(super) fn of(name: &Path) -> Outcome<Self> {
        if name == Path::new("-") {
            return standard_output();
        }
        if name.file_name().is_none() {
            return Err(Failure::usage(format_args!("{} is not the name of a file", name.display())));
        }
        let refuse = |what: &str| {
            Err(Failure::usage(format_args!(
                "{} is {what}; expected the name of a file, a pipe, a character device or -",
                name.display()
            )))
        };
        let found = match fs::metadata(name) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::File(resolve(name)?)),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("look at {}", name.display()))
                    .map_err(Failure::from);
            }
        };
        let kind = found.file_type();
        if kind.is_dir() {
            return refuse("a folder");
        }
        if kind.is_block_device() {
            return refuse("a disk");
        }
        if kind.is_socket() {
            return refuse("a socket");
        }
        // `generate --out /dev/stdout >file` must not rename a new file over the file that the shell has opened.
        if is_same(&found, 1) && (!kind.is_char_device() || io::stdout().is_terminal()) {
            return standard_output();
        }
        if kind.is_char_device() || kind.is_fifo() {
            return Ok(Self::Opened(Opened::Path));
        }
        if is_same(&found, 2) {
            return refuse("standard error, which messages go to");
        }
        let path = resolve(name)?;
        // A program may hold this descriptor open. Only bytes written into it reach that program.
        let below = path.parent().unwrap_or(&path);
        if below.starts_with("/proc") || names_a_descriptor(name) {
            return Ok(Self::Opened(Opened::Path));
        }
        Ok(Self::File(path))
    }
}

fn standard_output() -> Outcome<Place> {
    if io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is a terminal; send a capture into a pipe or a file"));
    }
    Ok(Place::Opened(Opened::StandardOutput))
}

/// Whether `found` is the file that is open as `descriptor`.
fn is_same(found: &Metadata, descriptor: u8) -> bool {
    fs::metadata(format!("/proc/self/fd/{descriptor}"))
        .is_ok_and(|open| (open.dev(), open.ino()) == (found.dev(), found.ino()))
}

/// Whether the name is that of an open descriptor, such as /dev/fd/5 or /proc/self/fd/5.
fn names_a_descriptor(name: &Path) -> bool {
    name.parent()
        .and_then(|parent| parent.canonicalize().ok())
        .is_some_and(|parent| parent.starts_with("/proc"))
}

/// The name at the end of all links. It does not matter whether a file exists there.
fn resolve(name: &Path) -> Outcome<PathBuf> {
    let mut path = name.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            // The target is relative to the folder of the link.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(Failure::usage(format_args!("{} is a link that leads back to itself", name.display())))
}

/// Opens something that must not be replaced, for writing. Opening a pipe waits until it has a reader.
pub(super) fn open(name: &Path) -> Outcome<File> {
    let file = OpenOptions::new().write(true).open(name);
    Ok(file.with_context(|| format!("open {}", name.display()))?)
}

/// Moves the finished file `part` to the name `to`, whatever stands there. A regular file is replaced in one step, and
/// the new file takes over its permissions. Into anything else, and into a file with other names (hard links), the
/// bytes are written instead. `part` is gone afterwards.
///
/// # Errors
/// The error of the file system.
pub(in crate::commands) fn put(part: &Path, to: &Path) -> io::Result<()> {
    let to = resolve(to).map_err(|failure| io::Error::other(failure.to_string()))?;
    match fs::symlink_metadata(&to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::rename(part, &to).or_else(|e| across(e, part, &to))
        }
        Err(error) => Err(error),
        Ok(there) if there.is_file() && there.nlink() == 1 => {
            fs::set_permissions(part, there.permissions())?;
            fs::rename(part, &to).or_else(|error| across(error, part, &to))
        }
        Ok(there) => {
            let mut into = OpenOptions::new().write(true).truncate(there.is_file()).open(&to)?;
            copy(part, &mut into)
        }
    }
}

/// Copies instead if the rename failed because the two names are on different file systems.
fn across(error: io::Error, part: &Path, to: &Path) -> io::Result<()> {
    if error.kind() != io::ErrorKind::CrossesDevices {
        return Err(error);
    }
    copy(part, &mut File::create(to)?)
}

fn copy(part: &Path, into: &mut File) -> io::Result<()> {
    let mut from = File::open(part)?;
    from.rewind()?;
    io::copy(&mut from, into)?;
    fs::remove_file(part)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn part(dir: &Path) -> PathBuf {
        let part = dir.join(".part");
        fs::write(&part, "new").unwrap();
        part
    }

    #[test]
    fn links_are_followed_to_files_that_are_there_and_that_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, far) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("far"));
        symlink("file", &link).unwrap();
        symlink(&link, &far).unwrap();
        assert_eq!(Place::of(&far).unwrap(), Place::File(file.clone()));
        put(&part(dir.path()), &far).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        fs::write(&file, "old").unwrap();
        assert_eq!(Place::of(&far).unwrap(), Place::File(file.clone()));
        put(&part(dir.path()), &link).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        for link in [&link, &far] {
            assert!(fs::symlink_metadata(link).unwrap().file_type().is_symlink());
        }
        symlink("round", dir.path().join("round")).unwrap();
        assert!(resolve(&dir.path().join("round")).is_err());
    }

    #[test]
    fn a_successor_keeps_permissions_and_other_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        put(&part(dir.path()), &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let other = dir.path().join("other");
        fs::hard_link(&file, &other).unwrap();
        fs::write(&file, "a longer text than the new one").unwrap();
        put(&part(dir.path()), &file).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"new");
        assert!(!dir.path().join(".part").exists());
    }

    #[test]
    fn folders_and_sockets_are_refused_and_devices_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let refused = Place::of(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("is a folder"), "{refused}");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(Place::of(&socket).unwrap_err().to_string().contains("is a socket"));
        assert_eq!(Place::of(Path::new("/dev/full")).unwrap(), Place::Opened(Opened::Path));
        let file = File::create(dir.path().join("held")).unwrap();
        let name = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(Place::of(Path::new(&name)).unwrap(), Place::Opened(Opened::Path));
    }
}
