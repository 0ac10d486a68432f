//! What stands at the name of an output: nothing, a file, a link to one, or something that must not be replaced.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Seek};
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return resolve(name)?.map(Self::File).ok_or_else(|| {
                    Failure::usage(format_args!("{} names a descriptor that is not open", name.display()))
                });
            }
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
        // `generate --out /dev/stdout >file` must not rename a new file over the file that the shell has opened. Two
        // descriptors on /dev/null have nothing to do with each other.
        if is_same(&found, 1) && (!kind.is_char_device() || io::stdout().is_terminal()) {
            return standard_output();
        }
        if is_same(&found, 2) && (!kind.is_char_device() || io::stderr().is_terminal()) {
            return refuse("standard error, which messages go to");
        }
        if kind.is_socket() {
            return refuse("a socket");
        }
        if kind.is_char_device() || kind.is_fifo() {
            return Ok(Self::Opened(Opened::Path));
        }
        Ok(match resolve(name)? {
            Some(path) => Self::File(path),
            None => Self::Opened(Opened::Path),
        })
    }
}

fn standard_output() -> Outcome<Place> {
    if io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is a terminal; send a capture into a pipe or a file"));
    }
    let shared = fs::metadata("/proc/self/fd/1")
        .is_ok_and(|out| !out.file_type().is_char_device() && is_same(&out, 2));
    if shared {
        return Err(Failure::usage(
            "standard output and standard error are one; messages would be in the capture",
        ));
    }
    Ok(Place::Opened(Opened::StandardOutput))
}

/// Whether `found` is the file that is open as `descriptor`.
fn is_same(found: &Metadata, descriptor: u8) -> bool {
    fs::metadata(format!("/proc/self/fd/{descriptor}"))
        .is_ok_and(|open| (open.dev(), open.ino()) == (found.dev(), found.ino()))
}

/// The name at the end of all links, whether a file exists there or not. `None` if the way leads through an open
/// descriptor, such as /dev/fd/5: a program may hold it, and only bytes written into it reach that program.
fn resolve(name: &Path) -> Outcome<Option<PathBuf>> {
    let mut path = name.to_owned();
    for _ in 0..LINKS {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if folder.canonicalize().is_ok_and(|folder| folder.starts_with("/proc")) {
            return Ok(None);
        }
        match fs::read_link(&path) {
            // The target is relative to the folder of the link.
            Ok(target) => path = folder.join(target),
            Err(_) => return Ok(Some(path)),
        }
    }
    Err(Failure::usage(format_args!("{} is a link that leads back to itself", name.display())))
}

/// Opens something that must not be replaced, for writing. Opening a pipe waits until it has a reader. A file behind a
/// descriptor is appended to, as that descriptor's own writer would.
///
/// # Errors
/// It cannot be opened, or it is a terminal.
pub(super) fn open(name: &Path) -> Outcome<File> {
    let file =
        OpenOptions::new().append(true).open(name).with_context(|| format!("open {}", name.display()))?;
    if file.is_terminal() {
        return Err(Failure::usage(format_args!(
            "{} is a terminal; send a capture into a pipe or a file",
            name.display()
        )));
    }
    Ok(file)
}

/// Moves the finished file `part` to the name `to`, whatever stands there. A regular file is replaced in one step, and
/// the new file takes over its permissions. Into anything else, and into a file with other names (hard links), the
/// bytes are written instead. `part` is gone afterwards.
///
/// # Errors
/// The error of the file system.
pub(in crate::commands) fn put(part: &Path, to: &Path) -> io::Result<()> {
    let resolved = resolve(to).map_err(|failure| io::Error::other(failure.to_string()))?;
    let Some(to) = resolved else { return write_into(part, to) };
    let there = match fs::symlink_metadata(&to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return move_to(part, &to),
        found => found?,
    };
    if !there.is_file() || there.nlink() > 1 {
        return write_into(part, &to);
    }
    // Only root may give a file away. For everybody else the file was theirs, or is now.
    let _ = chown(part, Some(there.uid()), Some(there.gid()));
    fs::set_permissions(part, there.permissions())?;
    move_to(part, &to)
}

/// Renames, or copies where no rename is possible: onto another file system, or onto a file that is mounted by itself.
fn move_to(part: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(part, to) {
        Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy) => {
            copy(part, &mut File::create(to)?)
        }
        renamed => renamed,
    }
}

/// Writes into what is there: a pipe, a character device, a descriptor, or a file that has other names.
fn write_into(part: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::metadata(to)?.file_type();
    if !(kind.is_file() || kind.is_fifo() || kind.is_char_device()) {
        return Err(io::Error::other("it is no file, pipe or character device"));
    }
    copy(part, &mut OpenOptions::new().write(true).truncate(kind.is_file()).open(to)?)
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
        let link = dir.path().join("link");
        symlink(&name, &link).unwrap();
        assert_eq!(Place::of(&link).unwrap(), Place::Opened(Opened::Path), "also behind a link");
        assert!(Place::of(Path::new("/dev/fd/999999")).is_err());
    }
}
