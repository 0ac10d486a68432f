//! The `netssmd` program under test: where it is, and how to run it to its end.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::netns::Namespace;
use crate::wait::{Stopwatch, pause};

/// The program that `cargo build --release` made. It lies in `target/<profile>/`, above the folder of this test
/// executable.
///
/// # Panics
/// If it does not exist. cargo does not build another package's program for a test, so `make test` builds it first.
#[must_use]
pub fn netssmd() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps");
    let program = folder.join("netssmd");
    assert!(
        program.is_file(),
        "{} is not there: run `cargo build --release` first, or `make test`, which does both",
        program.display()
    );
    program
}

/// The outcome of a finished run.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// The exit code.
    ///
    /// # Panics
    /// If a signal ended the run. The message shows the output.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal ({}): {self:?}", self.status))
    }

    /// Asserts that the run ended with this exit code. The message of a failure shows the output.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `netssmd` with `args` to its end, in `namespace` if one is given.
///
/// # Panics
/// If it has not ended after `limit`. It is killed then.
#[track_caller]
pub fn run(args: &[&str], namespace: Option<&Namespace>, limit: Duration) -> Finished {
    let mut command = Command::new(netssmd());
    command.args(args);
    finish(command, namespace, limit)
}

/// Runs any command to its end, in `namespace` if one is given.
///
/// # Panics
/// As [`run`].
#[track_caller]
pub fn finish(mut command: Command, namespace: Option<&Namespace>, limit: Duration) -> Finished {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Stopwatch::start();
    let mut child = match namespace {
        Some(namespace) => namespace.spawn(&mut command),
        None => command.spawn(),
    }
    .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let stdout = drain(child.stdout.take().expect("stdout is piped"));
    let stderr = drain(child.stderr.take().expect("stderr is piped"));
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for a child of ours") {
            break status;
        }
        if began.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            let (out, err) = (stdout.join(), stderr.join());
            panic!("{command:?} still ran after {limit:?}\n--- stdout\n{out:?}\n--- stderr\n{err:?}");
        }
        pause(Duration::from_millis(10));
    };
    Finished {
        status,
        stdout: stdout.join().expect("a reader does not panic"),
        stderr: stderr.join().expect("a reader does not panic"),
        took: began.elapsed(),
    }
}

/// Reads a pipe to its end on a thread of its own, so that the child never blocks on a full pipe.
fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
