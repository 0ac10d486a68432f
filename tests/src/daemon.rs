//! Runs `netssmd run` as a child process: starts it, waits until it is ready, reads its metrics, signals it, and waits
//! for its end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binary::netssmd;
use crate::netns::Namespace;
use crate::summary::Summary;
use crate::wait::{Stopwatch, pause};

/// The address of the metrics page in a namespace of its own: the program's default.
pub const METRICS: &str = "127.0.0.1:9477";

/// A running daemon. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon<'a> {
    child: Child,
    namespace: Option<&'a Namespace>,
    metrics: SocketAddr,
    stdout: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
}

impl<'a> Daemon<'a> {
    /// Starts `netssmd` with `args` in `namespace`, with the variables of `env` added to its environment. Its metrics
    /// are read at [`METRICS`].
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(args: &[&str], namespace: Option<&'a Namespace>, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(netssmd());
        command.args(args).envs(env.iter().copied());
        Self::start_command(command, namespace)
    }

    /// Starts a prepared command, for example one in which a wrapper program starts `netssmd`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_command(mut command: Command, namespace: Option<&'a Namespace>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match namespace {
            Some(namespace) => namespace.spawn(&mut command),
            None => command.spawn(),
        }
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let (stdout, log) = (Arc::default(), Arc::default());
        follow(child.stdout.take().expect("stdout is piped"), Arc::clone(&stdout));
        follow(child.stderr.take().expect("stderr is piped"), Arc::clone(&log));
        let metrics = METRICS.parse().expect("a socket address");
        Self { child, namespace, metrics, stdout, log }
    }

    /// The summary that `--json` prints on standard output at the end.
    ///
    /// # Panics
    /// If standard output is not a summary.
    #[track_caller]
    #[must_use]
    pub fn summary(&self) -> Summary {
        let text = self.stdout.lock().expect("no reader panics").clone();
        Summary::parse(&text)
    }

    /// Everything that the daemon has logged so far on standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Process id of the daemon.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends GET `path` to its admin server. Gives status and body.
    ///
    /// # Errors
    /// If nothing listens or the answer is not HTTP.
    pub fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let ask = || http_get(self.metrics, path);
        self.namespace.map_or_else(ask, |namespace| namespace.within(ask))
    }

    /// Waits until `/ready` answers 200.
    ///
    /// # Panics
    /// If that takes longer than `limit`, or if the daemon ends before.
    #[track_caller]
    pub fn wait_ready(&mut self, limit: Duration) {
        self.wait_until("/ready answers 200", limit, |daemon| matches!(daemon.get("/ready"), Ok((200, _))));
    }

    /// Waits until `test` holds, and checks it every 20 ms.
    ///
    /// # Panics
    /// If it does not hold within `limit`, or if the daemon ends before.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut test: impl FnMut(&Self) -> bool) {
        let began = Stopwatch::start();
        loop {
            if test(self) {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("wait for a child of ours") {
                pause(Duration::from_millis(50)); // its last words are still on the way
                panic!("the daemon ended ({status}) before {what}; it said:\n{}", self.log());
            }
            assert!(began.elapsed() < limit, "{limit:?} went by before {what}; it said:\n{}", self.log());
            pause(Duration::from_millis(20));
        }
    }

    /// The metrics now.
    ///
    /// # Panics
    /// If `/metrics` does not answer 200.
    #[track_caller]
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let (status, body) = self.get("/metrics").unwrap_or_else(|e| panic!("/metrics: {e}; {}", self.log()));
        assert_eq!(status, 200, "/metrics said {body}");
        Metrics::parse(&body)
    }

    /// Sends the daemon a signal.
    ///
    /// # Panics
    /// If the daemon has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit"));
        kill(pid, signal).unwrap_or_else(|error| panic!("send {signal}: {error}; it said:\n{}", self.log()));
    }

    /// Waits until the daemon ends.
    ///
    /// # Panics
    /// If it still runs after `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let began = Stopwatch::start();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child of ours") {
                pause(Duration::from_millis(50)); // its last words are still on the way
                return status;
            }
            assert!(began.elapsed() < limit, "still running after {limit:?}; it said:\n{}", self.log());
            pause(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM, then waits for exit code 0.
    ///
    /// # Panics
    /// If it ends in another way, or not within `limit`.
    #[track_caller]
    pub fn terminate(&mut self, limit: Duration) {
        self.signal(Signal::SIGTERM);
        let status = self.wait(limit);
        assert_eq!(status.code(), Some(0), "after SIGTERM: {status}; it said:\n{}", self.log());
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page of metrics in Prometheus' text format.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The page as the daemon sent it.
    pub text: String,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Parses the text format, version 0.0.4.
    ///
    /// # Panics
    /// If a line is not a sample, a comment or empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
                (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
            })
            .collect();
        Self { text: text.to_owned(), samples }
    }

    /// The sum of a family over all its labels. 0 if it has no sample.
    #[must_use]
    pub fn sum(&self, family: &str) -> f64 {
        self.of(family, "").map(|(_, value)| value).sum()
    }

    /// The sum over the samples whose labels contain `label`, such as `reason="mtu"`.
    #[must_use]
    pub fn sum_where(&self, family: &str, label: &str) -> f64 {
        self.of(family, label).map(|(_, value)| value).sum()
    }

    /// The names of all families that have a sample.
    #[must_use]
    pub fn families(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.samples.keys().map(|name| name.split('{').next().unwrap_or(name)).collect();
        names.dedup();
        names
    }

    fn of<'a>(&'a self, family: &'a str, label: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.samples.iter().filter_map(move |(name, value)| {
            let (own, labels) = name.split_once('{').unwrap_or((name, ""));
            (own == family && labels.contains(label)).then_some((name.as_str(), *value))
        })
    }
}

/// Sends one HTTP/1.1 GET over a connection of its own.
fn http_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let bad = || std::io::Error::other(format!("not an HTTP answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok((status, dechunk(body).ok_or_else(bad)?));
    }
    Ok((status, body.to_owned()))
}

/// Joins the chunks of a body (RFC 9112, section 7.1, without trailers).
fn dechunk(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..size)?);
        body = rest.get(size + 2..)?;
    }
}

/// Copies a pipe into the log line by line, on a thread of its own.
fn follow(pipe: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            let mut log = log.lock().expect("no reader panics");
            log.push_str(&String::from_utf8_lossy(&line));
            log.push('\n');
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_family_and_label() {
        let page = "# HELP a b\na_total{sink=\"x\",reason=\"y\"} 3\na_total{sink=\"z\"} 4\nab_total 9\n";
        let metrics = Metrics::parse(page);
        assert_eq!(metrics.sum("a_total"), 7.0);
        assert_eq!(metrics.sum_where("a_total", "reason=\"y\""), 3.0);
        assert_eq!(metrics.sum("nothing_total"), 0.0);
        assert_eq!(metrics.families(), ["a_total", "ab_total"]);
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(dechunk("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").as_deref(), Some("abcde"));
        assert_eq!(dechunk("9\r\nabc"), None);
    }
}
