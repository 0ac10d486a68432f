//! netssmd: synthetic network sessions on a wire and in rolling captures.
//!
//! This crate is the one program: command line, profiles, the pipeline from the model to the sinks, metrics, signals.
//! It joins `netssm-tokens`, `netssm-model` and `netssm-fidelity` with `netssm-replay`, which knows none of these.
//! Reading order: [`cli`], [`profile`], [`app`], [`pipeline`].
//!
//! Exit codes: 0 ok, 1 run time, 64 usage, 78 configuration. [`exit`] decides.

#![forbid(unsafe_code)]

mod admin;
mod app;
mod cli;
mod commands;
mod device;
mod drops;
mod exit;
mod health;
mod logging;
mod metrics;
mod models;
mod notices;
mod pipeline;
mod profile;
mod progress;
mod seeds;
mod signals;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::command_line(&error),
    };
    logging::start(&cli.log);
    exit::finish(&commands::run(cli.command))
}
