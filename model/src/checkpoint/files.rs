//! Files that are either complete or absent: write under a hidden name, sync, rename.
//!
//! A directory of several files is made under a hidden name in the same parent and then renamed. A reader never sees
//! half a checkpoint, and a crash leaves at most a hidden directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// Writes `bytes` to `path` atomically: it writes under a hidden name in the same directory, syncs and renames.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let hidden = hidden(path, "tmp");
    write_synced(&hidden, bytes)?;
    fs::rename(&hidden, path).map_err(CheckpointError::io("rename", &hidden))?;
    sync_directory(path)
}

/// Makes the directory `path`. `fill` writes the files into the path that it is given. A directory that stands at
/// `path` is replaced only once the new one is complete.
pub(crate) fn directory<E: From<CheckpointError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let fresh = hidden(path, "tmp");
    let old = hidden(path, "old");
    remove(&fresh)?;
    fs::create_dir_all(&fresh).map_err(CheckpointError::io("create", &fresh))?;
    if let Err(error) = fill(&fresh) {
        // Report the error of `fill`, not that of the cleanup.
        let _ = fs::remove_dir_all(&fresh);
        return Err(error);
    }
    sync(&fresh)?;
    // Renaming over a directory that is not empty is an error, so this takes two steps. Between them a reader finds
    // nothing and reports an error. It never sees a mixture of both directories.
    remove(&old)?;
    if path.exists() {
        fs::rename(path, &old).map_err(CheckpointError::io("rename", path))?;
    }
    fs::rename(&fresh, path).map_err(CheckpointError::io("rename", &fresh))?;
    sync_directory(path)?;
    remove(&old)?;
    Ok(())
}

/// Writes and syncs a file of a directory that [`directory`] is filling.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = File::create(path).map_err(CheckpointError::io("create", path))?;
    file.write_all(bytes).map_err(CheckpointError::io("write", path))?;
    file.sync_all().map_err(CheckpointError::io("sync", path))
}

/// `dir/name` becomes `dir/.name.suffix`.
fn hidden(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{suffix}"))
}

fn remove(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(CheckpointError::Io { action: "remove", path: path.to_owned(), source: e })
        }
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(CheckpointError::io("sync", path))
}

/// Syncs the directory that holds `path`, so that a rename in it survives a power failure.
fn sync_directory(path: &Path) -> Result<(), CheckpointError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => sync(Path::new(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fill_leaves_the_old_directory_and_nothing_else() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("model");
        directory::<CheckpointError>(&path, |dir| write_synced(&dir.join("a"), b"first")).unwrap();
        let failed = directory::<CheckpointError>(&path, |dir| {
            write_synced(&dir.join("a"), b"second")?;
            Err(CheckpointError::format(dir, "stop"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(path.join("a")).unwrap(), b"first");
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1, "no hidden directory is left");
        directory::<CheckpointError>(&path, |dir| write_synced(&dir.join("b"), b"third")).unwrap();
        assert!(!path.join("a").exists() && path.join("b").exists());
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_replaced_as_one() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("f.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }
}
