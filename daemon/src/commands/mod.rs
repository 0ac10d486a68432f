//! The commands, one file each. A command takes the parsed arguments, checks them against the host and the files, calls
//! the libraries, and prints the result.

mod addresses;
mod bench;
mod capture;
mod check;
mod codec;
mod evaluate;
mod files;
mod follow;
mod generate;
mod prepare;
mod replay;
mod rewrite;
mod train;

use std::io::Write;

use serde::Serialize;

use crate::app;
use crate::cli::Command;
use crate::cli::codec::CodecCommand;
use crate::exit::Outcome;

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Run(args) => app::run_daemon(&args),
        Command::Check(args) => check::run(&args),
        Command::Generate(args) => generate::generate_capture(&args),
        Command::Prepare(args) => prepare::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Codec(CodecCommand::Roundtrip(args)) => codec::roundtrip(&args),
        Command::Codec(CodecCommand::Stats(args)) => codec::stats(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Rewrite(args) => rewrite::run(&args),
        Command::Bench(command) => bench::run(&command),
    }
}

/// Prints a result as JSON for programs, or as lines for people.
fn tell<T: Serialize>(json: bool, result: &T, lines: impl FnOnce(&T) -> String) -> Outcome {
    tell_on(std::io::stdout().lock(), json, result, lines)
}

/// Prints the result like [`tell`]. If the capture goes to standard output, the result goes to standard error.
fn tell_beside<T: Serialize>(
    capture: &files::CaptureFile,
    json: bool,
    result: &T,
    lines: impl FnOnce(&T) -> String,
) -> Outcome {
    if capture.is_standard_output() {
        tell_on(std::io::stderr().lock(), json, result, lines)
    } else {
        tell(json, result, lines)
    }
}

fn tell_on<T: Serialize>(
    mut out: impl Write,
    json: bool,
    result: &T,
    lines: impl FnOnce(&T) -> String,
) -> Outcome {
    if json {
        serde_json::to_writer_pretty(&mut out, result)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", lines(result).trim_end())?;
    }
    Ok(())
}
