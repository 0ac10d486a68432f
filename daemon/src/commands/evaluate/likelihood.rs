//! `netssmd evaluate --likelihood`: how well a checkpoint predicts real captures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZero;

use netssm_fidelity::Found;
use netssm_model::likelihood::{Likelihood, Nats, likelihood};
use netssm_model::precision::Precision;
use serde::Serialize;

use super::encode::{Encoded, encode};
use super::{captures, write};
use crate::cli::evaluate::EvaluateArgs;
use crate::commands::follow::Follower;
use crate::commands::tell;
use crate::device;
use crate::exit::{Failure, Outcome};
use crate::models;
use crate::signals::StopFlag;

#[derive(Debug, Serialize)]
struct Report {
    /// Hex sha256 of the weights.
    model: String,
    parameters: usize,
    precision: Precision,
    /// Codec of the checkpoint, as text.
    codec: String,
    /// Most packets read of a session. 0 means all.
    max_packets: u64,
    #[serde(flatten)]
    likelihood: Likelihood,
    /// What the folders held.
    found: Found,
    /// Packets that the codec does not carry, by reason.
    skipped: BTreeMap<&'static str, u64>,
    /// Labels that the checkpoint does not know. Their sessions are left out.
    unknown_labels: Vec<String>,
    seconds: f64,
}

/// Runs the command.
pub(super) fn run(args: &EvaluateArgs, stop: StopFlag) -> Outcome {
    let checkpoint = models::open(&args.checkpoint())?;
    let device = device::open(args.device)?;
    let mut model = checkpoint.model(&device).map_err(Failure::config)?;
    model.set_precision(args.precision).map_err(Failure::config)?;
    // One thread keeps a GPU busy.
    let threads = match args.threads {
        _ if !device.is_cpu() => 1,
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    let reading = Follower::new("encode", stop.clone(), args.json);
    let predicting = Follower::new("predict", stop, args.json);
    let clock = crate::progress::Progress::new("", "", 0, true);
    let follow = |done, all| predicting.predicted(done, all);
    let codec = checkpoint.codec().as_ref();
    let encoded = encode(codec, &captures(args, &args.real), &reading);
    reading.finish();
    let Encoded { sessions, found, skipped, unknown_labels } = encoded?;
    let result = likelihood((&model, codec), sessions, threads, &follow);
    predicting.finish();
    let likelihood = result?;
    let parameters = checkpoint.weights().values().map(|tensor| tensor.elem_count()).sum();
    let result = Report {
        model: checkpoint.sha256().to_owned(),
        parameters,
        precision: args.precision,
        codec: codec.id().to_string(),
        max_packets: args.max_packets,
        likelihood,
        found,
        skipped,
        unknown_labels,
        seconds: clock.finish().as_secs_f64(),
    };
    if let Some(out) = &args.out {
        write(out, "likelihood.json", &result)?;
    }
    tell(args.json, &result, lines)
}

fn lines(result: &Report) -> String {
    let likelihood = &result.likelihood;
    let mut text = String::new();
    for (path, why) in &result.found.faults {
        let _ = writeln!(text, "damaged: {}: {why}", path.display());
    }
    if !result.unknown_labels.is_empty() {
        let _ = writeln!(
            text,
            "left out, labels that the checkpoint does not know: {}",
            result.unknown_labels.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "model {}, {} parameters in {}, codec {}, {:.1} s",
        &result.model[..result.model.len().min(12)],
        result.parameters,
        result.precision,
        result.codec,
        result.seconds
    );
    let _ = writeln!(
        text,
        "{:<20} {:>8} {:>9} {:>10} {:>9} {:>10} {:>11} {:>10} {:>11}",
        "label",
        "sessions",
        "packets",
        "tokens",
        "tok/pkt",
        "nats/token",
        "nats/packet",
        "of it time",
        "other"
    );
    let mut line = |name: &str, nats: &Nats| {
        let _ = writeln!(
            text,
            "{name:<20} {:>8} {:>9} {:>10} {:>9.2} {:>10.4} {:>11.3} {:>10.3} {:>11.3}",
            nats.sessions,
            nats.packets,
            nats.tokens,
            nats.tokens_per_packet,
            nats.nats_per_token,
            nats.nats_per_packet,
            nats.time_nats_per_packet,
            nats.other_nats_per_packet
        );
    };
    for (label, nats) in &likelihood.labels {
        line(label, nats);
    }
    line("all", &likelihood.total);
    let total = &likelihood.total;
    let _ = writeln!(
        text,
        "introducing the sessions: {:.1} nats in all; beside the tokens, in no loss: {:.2} bits a packet of time, {:.2} of \
         other values",
        total.head_nats, total.beside_time_bits_per_packet, total.beside_other_bits_per_packet
    );
    let skipped: Vec<String> =
        result.skipped.iter().map(|(reason, packets)| format!("{reason} {packets}")).collect();
    if !skipped.is_empty() {
        let _ = writeln!(text, "packets that the codec does not carry: {}", skipped.join(", "));
    }
    text
}
