//! The peak memory of this process.

/// Peak resident bytes since the process began (`VmHWM` on Linux). `None` if the system does not tell.
pub(super) fn peak_bytes() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Bytes from the line `VmHWM:     1234 kB`, see proc_pid_status(5).
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The peak as a line for people.
pub(super) fn words(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "peak resident memory not known here".into(),
        |bytes| format!("peak resident memory {:.0} MB", bytes as f64 / 1e6),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        assert_eq!(parse("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(parse("Name:\tx\n"), None);
        assert!(peak_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
