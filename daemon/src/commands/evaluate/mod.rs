//! `netssmd evaluate`: synthetic captures against real ones, or a checkpoint's likelihood of real ones.

mod follow;
mod likelihood;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context;
use netssm_model::codec::DataError;
use netssm_model::fidelity::{Captures, Report, Side, compare};
use serde::Serialize;

use self::follow::Follower;
use super::tell;
use crate::cli::evaluate::EvaluateArgs;
use crate::device;
use crate::exit::{Failure, Outcome};
use crate::signals::StopFlag;

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> Outcome {
    // Before hours of work, not after.
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    }
    let stop = StopFlag::install()?;
    if args.likelihood {
        return likelihood::run(args, stop);
    }
    let threads = device::threads(args.threads)?;
    let report = threads.install(|| measure(args, &stop))?;
    if let Some(out) = &args.out {
        write(out, "report.json", &report)?;
    }
    tell(args.json, &report, table::lines)
}

fn measure(args: &EvaluateArgs, stop: &StopFlag) -> Outcome<Report> {
    let side = |what: &str, inputs: &[PathBuf]| {
        let follower = Follower::new(what, stop.clone(), args.json);
        let side = Side::measure(&captures(args, inputs), &follower);
        follower.finish();
        side.map_err(|error| failure(error).context(format!("{what} captures")))
    };
    let real = side("real", &args.real)?;
    let synthetic = side("synthetic", &args.synthetic)?;
    let floor = if args.floor.is_empty() { None } else { Some(side("floor", &args.floor)?) };
    Ok(compare(&real, &synthetic, floor.as_ref(), args.max_packets))
}

fn captures(args: &EvaluateArgs, inputs: &[PathBuf]) -> Captures {
    Captures {
        inputs: inputs.to_vec(),
        labels: args.labels.clone(),
        max_packets: args.max_packets,
        silence: (!args.gap.is_zero()).then_some(args.gap),
    }
}

/// What went wrong with captures or label lists.
fn failure(error: DataError) -> Failure {
    match error {
        DataError::Labels { .. } => Failure::Config(error.into()),
        other => Failure::Run(other.into()),
    }
}

/// Writes a result as JSON; the file is there once it is complete.
fn write<T: Serialize>(dir: &Path, name: &str, result: &T) -> Outcome {
    let path = dir.join(name);
    let part = dir.join(format!(".{name}.part"));
    let mut text = serde_json::to_vec_pretty(result)?;
    text.push(b'\n');
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, &path))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(())
}
