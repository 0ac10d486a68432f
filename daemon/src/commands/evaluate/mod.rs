//! `netssmd evaluate`: compares synthetic captures with real ones, or computes a checkpoint's likelihood of real ones.

mod encode;
mod ids;
mod likelihood;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use netssm_fidelity::analyses::utility::Services;
use netssm_fidelity::page::{self, Chapter};
use netssm_fidelity::{Captures, Evaluation, FidelityError, Input, Side};
use netssm_wire::capture::InputError;
use serde::Serialize;

use self::ids::Ids;
use super::follow::Follower;
use super::{files, tell};
use crate::cli::evaluate::{EvaluateArgs, IDS};
use crate::device;
use crate::exit::{Failure, Outcome};
use crate::signals::StopFlag;

/// Most rows of a table on a terminal. Only long lists of labels or fields have more.
const TERMINAL_ROWS: usize = 60;

/// The content of report.json.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    evaluation: Evaluation,
    /// What the IDSs say about both sides. Absent if they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Ids>,
}

impl Whole {
    fn chapters(&self) -> Vec<Chapter> {
        let mut chapters = self.evaluation.chapters();
        chapters.extend(self.ids.as_ref().map(Ids::chapter));
        chapters
    }
}

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> Outcome {
    // Created first: a failure here must come before hours of work, not after.
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    }
    let stop = StopFlag::install()?;
    if args.likelihood {
        return likelihood::run(args, stop);
    }
    let threads = device::threads(args.threads)?;
    let whole = threads.install(|| measure(args, &stop))?;
    let chapters = whole.chapters();
    let mut pages = String::new();
    if let Some(out) = &args.out {
        write(out, "report.json", &whole)?;
        put(out, "index.html", page::html("netssmd evaluate", &facts(args), &chapters).as_bytes())?;
        pages = format!(
            "\n{} has the plots, report.json beside it every number.",
            out.join("index.html").display()
        );
    }
    tell(args.json, &whole, |_| {
        format!("{}\n{}{pages}", page::lines(&chapters, TERMINAL_ROWS), page::verdicts(&chapters))
    })?;
    // Checked last, so that the report exists and says why.
    if args.gate {
        whole.evaluation.gate().map_err(|why| Failure::Run(anyhow!("the gate is closed: {why}")))?;
    }
    Ok(())
}

fn measure(args: &EvaluateArgs, stop: &StopFlag) -> Outcome<Whole> {
    // Read before the captures, so that a fault in the list costs no minutes of reading.
    let services = args.services.as_deref().map(Services::read).transpose();
    let services = services.map_err(|error| failure(error.into()))?;
    let side = |what: &str, inputs: &[PathBuf]| {
        let follower = Follower::new(what, stop.clone(), args.json);
        let side = Side::measure(&captures(args, inputs), &follower);
        follower.finish();
        side.map_err(|error| failure(error).context(format!("{what} captures")))
    };
    let real = side("real", &args.real)?;
    let synthetic = side("synthetic", &args.synthetic)?;
    let maybe = |what: &str, inputs: &[PathBuf]| {
        if inputs.is_empty() { Ok(None) } else { side(what, inputs).map(Some) }
    };
    let floor = maybe("floor", &args.floor)?;
    let (training, prompts) = (maybe("training", &args.training)?, maybe("prompt", &args.prompts)?);
    let mut input = Input { max_packets: args.max_packets, ..Input::new(&real, &synthetic, floor.as_ref()) };
    input.memorise.training = training.as_ref();
    input.memorise.prompts = prompts.as_ref();
    input.memorise.allow.clone_from(&args.allow);
    input.similarity.skip = args.seed_packets;
    input.dynamics.servers = args.servers();
    input.utility.services = services.unwrap_or_default();
    let follower = Follower::new("analyse", stop.clone(), args.json);
    let evaluation = Evaluation::of(&input, &|part| args.wants(part), &mut |part| follower.part(part));
    let evaluation = evaluation.map_err(failure)?;
    let ids = if args.wants(IDS) {
        if !follower.part(IDS) {
            return Err(failure(FidelityError::Stopped));
        }
        let sides = [("real", &args.real), ("synthetic", &args.synthetic), ("floor", &args.floor)];
        let given = sides.into_iter().filter(|(_, inputs)| !inputs.is_empty());
        let sides: Vec<_> = given.map(|(name, inputs)| (name, captures(args, inputs))).collect();
        Some(ids::ask(&sides, args.ids_rules.as_deref(), args.ids_limit, &|| stop.is_set())?)
    } else {
        None
    };
    follower.finish();
    Ok(Whole { evaluation, ids })
}

/// The facts about the evaluation that its page shows.
fn facts(args: &EvaluateArgs) -> Vec<String> {
    let sides =
        [("Real", &args.real), ("Synthetic", &args.synthetic), ("Floor, a second real set", &args.floor)];
    let paths = |paths: &[PathBuf]| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut facts: Vec<String> = sides
        .into_iter()
        .filter(|(_, inputs)| !inputs.is_empty())
        .map(|(name, inputs)| format!("{name}: {}", paths(inputs)))
        .collect();
    facts.push(format!("netssmd {}", env!("CARGO_PKG_VERSION")));
    facts
}

fn captures(args: &EvaluateArgs, inputs: &[PathBuf]) -> Captures {
    Captures {
        inputs: inputs.to_vec(),
        labels: args.labels.clone(),
        max_packets: args.max_packets,
        silence: (!args.gap.is_zero()).then_some(args.gap),
    }
}

/// Decides what the user must mend: a label list (configuration), or the captures.
fn failure(error: FidelityError) -> Failure {
    match error {
        FidelityError::Input(InputError::Labels { .. }) => Failure::Config(error.into()),
        other => Failure::Run(other.into()),
    }
}

/// Writes a result as JSON.
fn write<T: Serialize>(dir: &Path, name: &str, result: &T) -> Outcome {
    let mut text = serde_json::to_vec_pretty(result)?;
    text.push(b'\n');
    put(dir, name, &text)
}

/// Writes a file. It appears under its name only when it is complete.
fn put(dir: &Path, name: &str, content: &[u8]) -> Outcome {
    let path = dir.join(name);
    let part = dir.join(format!(".{name}.part"));
    std::fs::write(&part, content)
        .and_then(|()| files::put(&part, &path))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(())
}
