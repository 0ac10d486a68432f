//! Turns errors into exit codes. The process ends from here only.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, or stopped as asked |
//! | 1 | something failed at run time |
//! | 64 | the command line is wrong (EX_USAGE of sysexits.h) |
//! | 78 | a profile, checkpoint or training configuration is wrong (EX_CONFIG) |
//!
//! systemd does not restart after 78: the same configuration would fail again.

use std::fmt;
use std::process::ExitCode;

use clap::error::ErrorKind;

/// An error, by what the user must mend.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(anyhow::Error),
    /// A profile, checkpoint or configuration file is wrong.
    Config(anyhow::Error),
    /// Something failed at run time.
    Run(anyhow::Error),
}

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure of the command line.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(anyhow::anyhow!("{message}"))
    }

    /// A failure of the configuration.
    pub(crate) fn config(error: impl Into<anyhow::Error>) -> Self {
        Self::Config(error.into())
    }

    /// Adds what the program was doing.
    pub(crate) fn context(self, what: impl fmt::Display + Send + Sync + 'static) -> Self {
        match self {
            Self::Usage(error) => Self::Usage(error.context(what)),
            Self::Config(error) => Self::Config(error.context(what)),
            Self::Run(error) => Self::Run(error.context(what)),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Usage(_) => 64,
            Self::Config(_) => 78,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(error) | Self::Config(error) | Self::Run(error)) = self;
        // The chain of causes on one line, outermost first. A cause that only repeats its parent is left out.
        let mut previous = error.to_string();
        f.write_str(&previous)?;
        for cause in error.chain().skip(1) {
            let text = cause.to_string();
            if !previous.contains(&text) {
                write!(f, ": {text}")?;
            }
            previous = text;
        }
        Ok(())
    }
}

/// The exit code of a finished command. Prints the message if it failed.
pub(crate) fn finish(outcome: &Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure),
    }
}

/// Ends the process now and closes nothing. This is for cases where waiting is no choice: a second signal, or outputs
/// that do not close. Captures have a hidden name until they are complete, so no half-written one becomes visible.
pub(crate) fn at_once(why: impl fmt::Display) -> ! {
    let failure = Failure::Run(anyhow::anyhow!("{why}"));
    report(&failure);
    std::process::exit(failure.code().into())
}

/// Prints clap's message. Help and version are not errors, everything else exits with 64.
pub(crate) fn command_line(error: &clap::Error) -> ExitCode {
    // If even this cannot be printed, nothing useful is left to do.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(64),
    }
}

/// Prints a failure and gives its code. It is plain text on standard error, even with `--log-format json`, because the
/// last line of a failed run is for people.
fn report(failure: &Failure) -> ExitCode {
    eprintln!("netssmd: {failure}");
    ExitCode::from(failure.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_code() {
        assert_eq!(Failure::from(std::io::Error::other("x")).code(), 1);
        assert_eq!(Failure::usage("x").code(), 64);
        assert_eq!(Failure::config(std::io::Error::other("x")).context("y").code(), 78);
    }

    #[test]
    fn the_chain_is_told_without_repeats() {
        let inner = anyhow::anyhow!("no such device");
        let failure = Failure::Run(inner.context("open veth0: no such device").context("start output"));
        assert_eq!(failure.to_string(), "start output: open veth0: no such device");
    }

    #[test]
    fn wrong_flags_are_usage_and_help_is_not() {
        use clap::Parser;
        let kind = |args: &[&str]| crate::cli::Cli::try_parse_from(args).unwrap_err().kind();
        assert_eq!(kind(&["netssmd", "--help"]), ErrorKind::DisplayHelp);
        assert_ne!(kind(&["netssmd", "generate"]), ErrorKind::DisplayHelp);
    }
}
