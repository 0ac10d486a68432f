//! Writes a corpus directory.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{CorpusMeta, META_FILE, SessionEntry, Split, SplitMeta, paths};
use crate::error::DataError;

/// Writes a corpus under a hidden name and renames it at the end, so that a directory with the final name is whole.
pub(crate) struct CorpusWriter {
    partial: PathBuf,
    dir: PathBuf,
    train: SplitWriter,
    val: SplitWriter,
}

struct SplitWriter {
    tokens: Output,
    index: Output,
    hash: Sha256,
    meta: SplitMeta,
}

struct Output {
    path: PathBuf,
    file: std::io::BufWriter<fs::File>,
}

impl Output {
    fn create(path: PathBuf) -> Result<Self, DataError> {
        let file = fs::File::create(&path).map_err(DataError::io("create", &path))?;
        Ok(Self { path, file: std::io::BufWriter::new(file) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.file.write_all(bytes).map_err(DataError::io("write", &self.path))
    }

    fn close(mut self) -> Result<(), DataError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(DataError::io("write", &self.path))
    }
}

impl CorpusWriter {
    /// Starts a corpus at `dir`, which must not exist or be an empty directory. A link is followed.
    pub(crate) fn create(dir: &Path) -> Result<Self, DataError> {
        let occupied = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if occupied || (dir.exists() && !dir.is_dir()) {
            return Err(DataError::Options(format!("{} exists: choose another or remove it", dir.display())));
        }
        let dir = match fs::canonicalize(dir) {
            Ok(behind) => behind,
            Err(_) if dir.is_symlink() => {
                let what = format!("{} is a link to nothing: remove it or make the directory", dir.display());
                return Err(DataError::Options(what));
            }
            Err(_) => dir.to_owned(),
        };
        let Some(name) = dir.file_name() else {
            return Err(DataError::Options(format!("'{}' is not a directory name", dir.display())));
        };
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(DataError::io("create", parent))?;
        let partial = parent.join(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(DataError::io("remove", &partial))?;
        }
        fs::create_dir(&partial).map_err(DataError::io("create", &partial))?;
        let split = |split| {
            let (tokens, index) = paths(&partial, split);
            let (tokens, index) = (Output::create(tokens)?, Output::create(index)?);
            Ok::<_, DataError>(SplitWriter { tokens, index, hash: Sha256::new(), meta: SplitMeta::default() })
        };
        let (train, val) = (split(Split::Train)?, split(Split::Val)?);
        Ok(Self { partial, dir, train, val })
    }

    /// Appends a session.
    pub(crate) fn push(
        &mut self,
        split: Split,
        label: &str,
        tokens: &[u16],
        packets: u64,
        source: usize,
    ) -> Result<(), DataError> {
        let part = match split {
            Split::Train => &mut self.train,
            Split::Val => &mut self.val,
        };
        let offset = part.meta.total.tokens;
        let entry =
            SessionEntry { label: label.to_owned(), offset, tokens: tokens.len() as u64, packets, source };
        let mut line = serde_json::to_vec(&entry).map_err(DataError::json(&part.index.path))?;
        line.push(b'\n');
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        part.hash.update(&bytes);
        part.tokens.write(&bytes)?;
        part.index.write(&line)?;
        part.meta.total.add(packets, entry.tokens);
        part.meta.labels.entry(entry.label).or_default().add(packets, entry.tokens);
        Ok(())
    }

    /// Completes `meta` with the counts and hashes, writes it, and gives the corpus its name.
    pub(crate) fn finish(self, mut meta: CorpusMeta) -> Result<CorpusMeta, DataError> {
        for (split, part) in [(Split::Train, self.train), (Split::Val, self.val)] {
            let SplitWriter { tokens, index, hash, meta: counted } = part;
            tokens.close()?;
            index.close()?;
            *meta.split_mut(split) = SplitMeta { sha256: hex::encode(hash.finalize()), ..counted };
        }
        let mut output = Output::create(self.partial.join(META_FILE))?;
        let mut text = serde_json::to_vec_pretty(&meta).map_err(DataError::json(&output.path))?;
        text.push(b'\n');
        output.write(&text)?;
        output.close()?;
        // An empty directory of the final name may be in the way.
        if self.dir.exists() {
            fs::remove_dir(&self.dir).map_err(DataError::io("replace", &self.dir))?;
        }
        fs::rename(&self.partial, &self.dir).map_err(DataError::io("rename", &self.partial))?;
        Ok(meta)
    }

    /// Removes what was written.
    pub(crate) fn abandon(self) {
        let Self { partial, train, val, .. } = self;
        drop((train, val));
        if let Err(error) = fs::remove_dir_all(&partial) {
            tracing::warn!(path = %partial.display(), %error, "cannot remove the unfinished corpus");
        }
    }
}
