//! The case folders `tests/cases/<name>/`. Each has a README, and whatever the case needs, such as a profile and what
//! to expect.
//!
//! A file of a case may use two placeholders that only the running test can fill in: `@OUT@` for the folder that the
//! test writes into, and `@CASE@` for the case folder itself.

use std::path::{Path, PathBuf};

use crate::need;

/// One case folder, and a folder that the case may write into.
#[derive(Debug)]
pub struct Case {
    /// The folder `tests/cases/<name>`.
    pub folder: PathBuf,
    /// The folder that this run may write into. It is removed at the end.
    pub out: tempfile::TempDir,
}

impl Case {
    /// Opens the case `name`.
    ///
    /// # Panics
    /// If there is no such folder, or it has no README.
    #[track_caller]
    #[must_use]
    pub fn open(name: &str) -> Self {
        let folder = need::workspace().join("tests/cases").join(name);
        assert!(folder.join("README.md").is_file(), "{} has no README.md", folder.display());
        Self {
            folder,
            out: tempfile::Builder::new().prefix("netssmd-test-").tempdir().expect("a temporary folder"),
        }
    }

    /// A path below the output folder, as text.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.out.path().join(name).to_string_lossy().into_owned()
    }

    /// Copies a file of the case, usually a profile, into the output folder, fills in its placeholders, and gives the
    /// path of the copy.
    ///
    /// # Panics
    /// If the file does not exist.
    #[track_caller]
    pub fn fill(&self, name: &str) -> String {
        let source = self.folder.join(name);
        let text = std::fs::read_to_string(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        self.write(name, &self.filled(&text))
    }

    /// Like [`Case::fill`], with further replacements.
    ///
    /// # Panics
    /// If the file does not exist, or a text to replace does not occur in it.
    #[track_caller]
    pub fn fill_with(&self, name: &str, replace: &[(&str, &str)]) -> String {
        let path = self.fill(name);
        let mut text = std::fs::read_to_string(&path).expect("just written");
        for (from, to) in replace {
            assert!(text.contains(from), "{name} has no {from:?} to replace");
            text = text.replace(from, to);
        }
        self.write(name, &text)
    }

    /// Fills in the placeholders of a text.
    #[must_use]
    pub fn filled(&self, text: &str) -> String {
        let out = self.out.path().to_string_lossy();
        text.replace("@OUT@", &out).replace("@CASE@", &self.folder.to_string_lossy())
    }

    /// Writes a file into the output folder and gives its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.out.path().join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path.to_string_lossy().into_owned()
    }
}

/// The folder of the checkpoint that ships with netssmd.
///
/// # Panics
/// If it does not exist.
#[track_caller]
#[must_use]
pub fn shipped_model() -> PathBuf {
    shipped("default")
}

/// The folder of the checkpoint that ships as the baseline: trained on the same data with the bytes codec.
///
/// # Panics
/// If it does not exist.
#[track_caller]
#[must_use]
pub fn baseline_model() -> PathBuf {
    shipped("bytes")
}

#[track_caller]
fn shipped(name: &str) -> PathBuf {
    let folder = need::workspace().join("configs/models").join(name);
    assert!(folder.join("model.safetensors").is_file(), "no checkpoint at {}", folder.display());
    folder
}

/// Copies a folder of plain files.
///
/// # Panics
/// If a file cannot be copied.
#[track_caller]
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("read the folder").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        std::fs::copy(&path, &target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
    }
}
