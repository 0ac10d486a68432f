//! Runs Suricata on a directory that fills with captures.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::judges::{self, Suricata};
use crate::need;
use crate::wait::{Stopwatch, pause};

/// A Suricata that reads every capture that appears in a directory. It is killed when this is dropped.
#[derive(Debug)]
pub struct Follower {
    child: Child,
    logs: tempfile::TempDir,
}

impl Follower {
    /// Starts Suricata on an existing directory. `None` if Suricata is not installed; the test has then said so.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(directory: &Path) -> Option<Self> {
        if !need::tool("suricata") {
            return None;
        }
        let logs = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("suricata");
        judges::arguments(&mut command, directory, logs.path());
        // By default Suricata skips files that changed in the last 30 seconds.
        command.args([
            "--pcap-file-continuous",
            "--set",
            "pcap-file.delay=2",
            "--set",
            "pcap-file.poll-interval=1",
        ]);
        command.args(["--set", "stats.interval=1"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Some(Self { child, logs })
    }

    /// The verdict so far. `None` before the first statistics.
    #[must_use]
    pub fn so_far(&self) -> Option<Suricata> {
        judges::verdict(self.logs.path())
    }

    /// Waits for `catch_up`, so that Suricata can read the rest, then stops it and gives its verdict. Its statistics
    /// lag behind what it has read until it stops, so they cannot show that it has read everything.
    ///
    /// # Panics
    /// If it ends before it is told to, or does not end then.
    #[track_caller]
    #[must_use]
    pub fn finish(mut self, catch_up: Duration) -> Suricata {
        pause(catch_up);
        let ended = self.child.try_wait().expect("wait for a child of ours");
        assert!(ended.is_none(), "suricata ended by itself: {ended:?}");
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit"));
        kill(pid, Signal::SIGINT).expect("stop suricata");
        let told = Stopwatch::start();
        while self.child.try_wait().expect("wait for a child of ours").is_none() {
            assert!(told.elapsed() < Duration::from_secs(60), "suricata does not stop");
            pause(Duration::from_millis(50));
        }
        self.so_far().expect("statistics at the end")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
