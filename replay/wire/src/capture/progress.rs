//! Following a run over capture files.

/// Follows a run over capture files and may stop it. Called from several threads.
pub trait Progress: Sync {
    /// Reading begins: so many files, so many bytes in them.
    fn begin(&self, _files: u64, _bytes: u64) {}

    /// A file of `bytes` is done and gave so many packets.
    fn file(&self, _bytes: u64, _packets: u64) {}

    /// Asked between files; `true` ends the run with the error that says "stopped".
    fn stop(&self) -> bool {
        false
    }
}

/// No progress, never stops.
impl Progress for () {}
