//! `netssmd rewrite`: rewrites a capture into the addresses of a testbed. Packet times stay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use netssm_replay::rewrite::{Allocator, PayloadPolicy, Rewriter};
use serde::Serialize;

use super::files::{CaptureFile, say_labels};
use super::{addresses, capture, tell_beside};
use crate::cli::wire::RewriteArgs;
use crate::exit::{Failure, Outcome};

#[derive(Debug, Serialize)]
struct Report {
    input: PathBuf,
    output: PathBuf,
    /// `null` if the capture went into a pipe or a device.
    labels_file: Option<PathBuf>,
    packets_read: usize,
    packets_written: u64,
    bytes_written: u64,
    /// Packets that cannot be rewritten safely and were dropped, by reason.
    dropped: BTreeMap<&'static str, u64>,
}

/// Runs the command.
pub(crate) fn run(args: &RewriteArgs) -> Outcome {
    let plan = addresses::plan(&args.addresses)?;
    let out = CaptureFile::at(&args.output)?;
    let recording = capture::read(&args.input, args.seed)?;
    let (guard, _gate) = addresses::guard(&plan)?;
    let policy = payload_policy(args.synthetic_payload);
    let rewriter = Rewriter::new(plan, Allocator::new()).map_err(Failure::config)?.payload(policy);
    let packets_read = recording.session.packets.len();
    let mut replay = rewriter.begin_replay(Arc::new(recording.session), args.seed)?;
    let mut sink = out.open(guard)?.sink;
    let mut dropped: BTreeMap<&'static str, u64> = BTreeMap::new();
    while let Some(packet) = replay.next() {
        match packet {
            Ok(frame) => {
                sink.send_frame(&frame, recording.start + frame.offset())?;
                replay.recycle(frame);
            }
            Err(reason) => *dropped.entry(reason.reason().as_str()).or_default() += 1,
        }
    }
    let stats = sink.close().map_err(|error| error.error)?;
    let report = Report {
        input: args.input.clone(),
        output: args.output.clone(),
        labels_file: out.labels(),
        packets_read,
        packets_written: stats.frames,
        bytes_written: stats.bytes,
        dropped,
    };
    tell_beside(&out, args.json, &report, |r| {
        let dropped: Vec<String> = r.dropped.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        let dropped = if dropped.is_empty() { "none".to_owned() } else { dropped.join(", ") };
        format!(
            "{}: {} of {} packets, {} bytes; {}; dropped: {dropped}",
            r.output.display(),
            r.packets_written,
            r.packets_read,
            r.bytes_written,
            say_labels(r.labels_file.as_deref())
        )
    })?;
    match recording.damage {
        None => Ok(()),
        Some(error) => Err(Failure::from(error).context("the capture was rewritten up to its damage only")),
    }
}

/// What happens to the payload of the user's own capture: it is kept unless the user asks for synthetic payload.
pub(super) fn payload_policy(synthetic: bool) -> PayloadPolicy {
    if synthetic { PayloadPolicy::Synthesise } else { PayloadPolicy::Keep }
}
