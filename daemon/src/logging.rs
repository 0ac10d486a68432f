//! Logs on standard error: text for people, text for the journal, or JSON lines.
//!
//! Under systemd (`JOURNAL_STREAM` is set) a text line has no time and no colour, since the journal adds the time. It
//! starts with its priority as `<4>` (sd-daemon(3)), so that `journalctl -p warning` works. `NETSSMD_LOG` filters by
//! module and level in the syntax of tracing-subscriber's `EnvFilter`, `netssmd=debug` for example.

use std::fmt;
use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The logging flags, which every command has.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogOptions {
    /// Form of the log lines on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, help_heading = "Logging")]
    log_format: LogFormat,
    /// Least important level shown: error, warn, info, debug or trace. NETSSMD_LOG overrides it.
    #[arg(long, default_value = "info", global = true, help_heading = "Logging")]
    log_level: Level,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One line of text. Under systemd with a priority and without a time.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. Call it once, before the first log line.
pub(crate) fn start(options: &LogOptions) {
    let filter = EnvFilter::try_from_env("NETSSMD_LOG")
        .unwrap_or_else(|_| EnvFilter::new(options.log_level.as_str().to_lowercase()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    match options.log_format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
        LogFormat::Text if journal => builder.event_format(Priority::new()).init(),
        LogFormat::Text => {
            builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
        }
    }
}

/// Formats a line with its syslog priority in front.
struct Priority(Format<Full, ()>);

impl Priority {
    fn new() -> Self {
        Self(Format::default().without_time().with_target(false).with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Priority
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", syslog_priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

fn syslog_priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn journal_lines_start_with_their_priority_and_have_no_time() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Priority::new())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(free = 3, "disk is nearly full");
            tracing::info!("ready");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<4>disk is nearly full free=3\n<6>ready\n");
    }
}
