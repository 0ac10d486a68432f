//! Which capture files there are below some folders, and why such an input cannot be used.

use std::path::{Path, PathBuf};

/// Why the files that say what to read cannot be used: captures and their folders, and the lists that belong to them.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or folder could not be read or listed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted: "read" or "list".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A list of labels (`labels.csv`, `FILE.labels.jsonl`) that cannot be used.
    #[error("label list {}: {reason}", path.display())]
    Labels {
        /// The list.
        path: PathBuf,
        /// The line and what is wrong with it.
        reason: String,
    },
}

impl InputError {
    /// For `map_err`: an I/O error while doing `action` ("read", "list") to `path`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Every capture below `inputs` (files themselves, or `.pcap`, `.pcapng` and `.cap` in folders), in order of path. In a
/// folder links to captures count, links to folders do not.
///
/// # Errors
/// [`InputError::Io`]: an input is not there, a folder cannot be listed, or a link leads nowhere.
pub fn find_captures(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut found = Vec::new();
    for input in inputs {
        let kind = std::fs::metadata(input).map_err(InputError::io("read", input))?;
        if kind.is_dir() { walk(input, &mut found)? } else { found.push(input.clone()) }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), InputError> {
    for entry in std::fs::read_dir(dir).map_err(InputError::io("list", dir))? {
        let entry = entry.map_err(InputError::io("list", dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(InputError::io("read", &path))?;
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        // Links to folders are not followed: a loop would never end.
        if kind.is_dir() {
            walk(&path, found)?;
        } else if extension.is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap")
            && std::fs::metadata(&path).map_err(InputError::io("read", &path))?.is_file()
        {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_captures_are_found_and_loops_are_not_walked() {
        let dir = tempfile::tempdir().expect("a folder");
        let below = dir.path().join("below");
        std::fs::create_dir(&below).expect("a folder");
        let capture = dir.path().join("a.pcap");
        std::fs::write(&capture, b"").expect("written");
        std::fs::write(below.join("notes.txt"), b"").expect("written");
        let link = below.join("b.pcap");
        std::os::unix::fs::symlink(&capture, &link).expect("a link");
        std::os::unix::fs::symlink(dir.path(), below.join("up")).expect("a link");
        let inputs = [dir.path().to_owned()];
        assert_eq!(find_captures(&inputs).expect("found"), [capture.clone(), link.clone()]);

        std::fs::remove_file(&capture).expect("removed");
        let error = find_captures(&inputs).expect_err("a link that leads nowhere").to_string();
        assert!(error.contains(&link.display().to_string()), "{error}");
    }
}
