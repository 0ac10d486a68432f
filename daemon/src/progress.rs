//! Shows the progress of long commands: a bar with rate and time left on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netssm_replay::clock::{Clock, MonoTime, SystemClock};

/// Shortest time between two plain lines. It is short enough to show life and long enough for a log.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Progress of one job.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    unit: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    start: MonoTime,
    shown: MonoTime,
    clock: SystemClock,
}

impl Progress {
    /// Starts a job of `total` `unit`s. A `total` of 0 means that it is not known. With `quiet` nothing is shown.
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, total: u64, quiet: bool) -> Self {
        let what = what.into();
        let clock = SystemClock::new();
        let now = clock.now();
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let template = if total > 0 {
                "{prefix} {wide_bar} {human_pos}/{human_len} {per_sec}, {eta} left {msg}"
            } else {
                "{prefix} {spinner} {human_pos} {per_sec} {msg}"
            };
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar =
                ProgressBar::with_draw_target((total > 0).then_some(total), ProgressDrawTarget::stderr());
            bar.with_style(style).with_prefix(what.clone())
        });
        // A quiet job has its next line in the far future, so no line is ever due.
        let shown = if quiet { MonoTime(u64::MAX) } else { now };
        Self { what, unit, total, bar, start: now, shown, clock }
    }

    /// Notes that `done` units are done. Shows `note` beside them.
    pub(crate) fn set(&mut self, done: u64, note: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            if !note.is_empty() {
                bar.set_message(note.to_owned());
            }
            return;
        }
        let now = self.clock.now();
        if now.since(self.shown) >= PLAIN_EVERY {
            self.shown = now;
            eprintln!("{}", self.line(done, now.since(self.start), note));
        }
    }

    /// Prints a line without breaking the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None if self.shown.0 < u64::MAX => eprintln!("{line}"),
            None => {}
        }
    }

    /// Ends the job. Gives how long it took.
    pub(crate) fn finish(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.clock.now().since(self.start)
    }

    fn line(&self, done: u64, took: Duration, note: &str) -> String {
        let Self { what, unit, total, .. } = self;
        let rate = done as f64 / took.as_secs_f64().max(1e-9);
        let mut line = if *total > 0 {
            let left = total.saturating_sub(done) as f64 / rate;
            let left = if left.is_finite() { format!(", {left:.0} s left") } else { String::new() };
            format!("{what}: {done} of {total} {unit}, {rate:.1}/s{left}")
        } else {
            format!("{what}: {done} {unit}, {rate:.1}/s")
        };
        if !note.is_empty() {
            line.push_str(", ");
            line.push_str(note);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_have_rate_and_time_left() {
        let known = Progress::new("generate", "packets", 1000, true);
        assert_eq!(
            known.line(250, Duration::from_secs(10), "7 sessions"),
            "generate: 250 of 1000 packets, 25.0/s, 30 s left, 7 sessions"
        );
        assert_eq!(known.line(0, Duration::from_secs(10), ""), "generate: 0 of 1000 packets, 0.0/s");
        let open = Progress::new("prepare", "files", 0, true);
        assert_eq!(open.line(9, Duration::from_secs(3), ""), "prepare: 9 files, 3.0/s");
    }
}
