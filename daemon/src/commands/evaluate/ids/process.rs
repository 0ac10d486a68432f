//! Runs an external program without input. Its output goes to a file. It is killed if it takes too long.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netssm_replay::clock::{Clock, SystemClock};

/// How often the program is looked at. It is short enough for short runs and long enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end. Its output goes to `log`.
///
/// # Errors
/// A text for people: the program could not be started, failed (with its last line), did not end within `limit`, or was
/// stopped by `stop`.
pub(super) fn run(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot be run: {error}");
    let file = File::create(log).map_err(cannot)?;
    let both = file.try_clone().map_err(cannot)?;
    let child = command.stdin(Stdio::null()).stdout(file).stderr(both).spawn().map_err(cannot)?;
    let mut running = Running(child);
    let clock = SystemClock::new();
    let start = clock.now();
    loop {
        if let Some(status) = running.0.try_wait().map_err(cannot)? {
            if status.success() {
                return Ok(());
            }
            let said = std::fs::read(log).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            return Err(format!("it failed ({status}): {last}"));
        }
        if stop() {
            return Err("stopped".to_owned());
        }
        let now = clock.now();
        if now.since(start) >= limit {
            return Err(format!(
                "it did not end in {:.0} s (--ids-limit) and was stopped",
                limit.as_secs_f64()
            ));
        }
        clock.sleep_until(now + LOOK_EVERY);
    }
}

/// The first line that `program` prints when asked for its version. `None` if it is not installed.
pub(super) fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration, stop: bool) -> Result<(), String> {
        let dir = tempfile::tempdir().expect("a folder");
        run(Command::new("sh").args(["-c", script]), &dir.path().join("log"), limit, &|| stop)
    }

    #[test]
    fn it_ends_by_itself_by_failing_or_by_being_killed() {
        let long = Duration::from_secs(60);
        assert_eq!(shell("exit 0", long, false), Ok(()));
        let failed = shell("echo first; echo last >&2; exit 3", long, false).expect_err("it failed");
        assert!(failed.contains('3') && failed.ends_with("last"), "{failed}");
        let late = shell("exec sleep 600", Duration::from_millis(30), false).expect_err("too long");
        assert!(late.contains("did not end"), "{late}");
        assert_eq!(shell("exec sleep 600", long, true), Err("stopped".to_owned()));
    }

    #[test]
    fn programs_that_are_not_there_have_no_version() {
        assert_eq!(version("no-such-program-of-ours", "-V"), None);
        assert!(version("sh", "-c").is_none(), "it does not know itself");
    }
}
