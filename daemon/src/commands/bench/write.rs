//! `netssmd bench write`: how many packets and bytes per second go into rolling captures that are synced to disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use netssm_replay::clock::{Clock, SystemClock};
use netssm_replay::sink::Sink;
use netssm_replay::sink::rolling::{RollingConfig, RollingSink};
use serde::Serialize;

use super::traffic;
use crate::cli::bench::BenchWriteArgs;
use crate::commands::tell;
use crate::exit::{Failure, Outcome};

/// Number of different frames, written over and over.
const FRAMES: usize = 64;

#[derive(Debug, Serialize)]
struct Measured {
    size: usize,
    packets: u64,
    seconds: f64,
    packets_per_second: f64,
    bytes_per_second: f64,
    files: u64,
}

/// A directory that is removed when this is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the command.
pub(super) fn run(args: &BenchWriteArgs) -> Outcome {
    let mut temporary = None;
    let directory = match &args.directory {
        Some(directory) => directory.clone(),
        None => {
            let path = std::env::temp_dir().join(format!("netssmd-bench-{}", std::process::id()));
            std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
            temporary.insert(Temporary(path)).0.clone()
        }
    };
    let mut rows = Vec::new();
    for &size in &args.sizes {
        rows.push(measure(&directory, size, args.packets)?);
    }
    tell(args.json, &rows, |rows| {
        let mut text = format!("{:>8} {:>12} {:>12} {:>6}\n", "bytes", "packets/s", "MB/s", "files");
        for r in rows {
            text += &format!(
                "{:>8} {:>12.0} {:>12.1} {:>6}\n",
                r.size,
                r.packets_per_second,
                r.bytes_per_second / 1e6,
                r.files
            );
        }
        text
    })
}

fn measure(directory: &std::path::Path, size: usize, packets: u64) -> Outcome<Measured> {
    let traffic = traffic::frames(size, FRAMES, &[])?;
    let clock = SystemClock::new();
    let config = RollingConfig { prefix: format!("bench-{size}"), ..RollingConfig::new(directory) };
    let mut sink = RollingSink::open(config, traffic.guard, Arc::new(clock))?;
    let start = clock.wall();
    let begun = clock.now();
    for (i, frame) in (0..packets).zip(traffic.frames.iter().cycle()) {
        sink.send_frame(frame, start + Duration::from_micros(i))?;
    }
    let stats = Box::new(sink).close().map_err(|error| error.error)?;
    let seconds = clock.now().since(begun).as_secs_f64();
    if stats.frames != packets {
        return Err(Failure::Run(anyhow::anyhow!("{} of {packets} frames were written", stats.frames)));
    }
    Ok(Measured {
        size,
        packets,
        seconds,
        packets_per_second: packets as f64 / seconds,
        bytes_per_second: stats.bytes as f64 / seconds,
        files: stats.files.map_or(0, |files| files.finished),
    })
}
