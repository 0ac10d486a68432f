//! `netssmd run`: the daemon. This is the one place that knows every part.
//!
//! ```text
//! start:  profile -> admin -> model -> generator -> signals -> guard -> sockets, files -> warm-up -> player -> READY
//! stop:   no new sessions -> live ones finish or are cut -> outputs closed -> generator -> guard removed -> admin
//! ```
//! No frame is sent before the guard is up, and the guard is removed only when nothing can be sent any more. The main
//! thread waits for signals and ended threads, and feeds the watchdog, see [`control`].

mod control;
mod notify;
mod reload;
mod summary;
mod testbed;

use std::sync::Arc;
use std::time::Duration;

use netssm_replay::rewrite::{Allocator, Rewriter};

use crate::admin::Admin;
use crate::cli::RunArgs;
use crate::cli::values::Start;
use crate::exit::{Failure, Outcome};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::models;
use crate::pipeline::{Engine, Finished, Limits, Parts, Plan, Schedule, Timeline};
use crate::profile::Profile;
use crate::signals;

pub(crate) use summary::{OutputSummary, Summary};
pub(crate) use testbed::{Testbed, check_interfaces};

use control::Controller;
use notify::Notifier;

/// Runs the daemon until it ends by itself or a signal stops it.
pub(crate) fn run_daemon(args: &RunArgs) -> Outcome {
    let profile = Profile::load(&args.profile, &models::labels).map_err(Failure::config)?;
    check_clock(args, &profile)?;
    let missing = check_interfaces(&profile);
    if !missing.is_empty() {
        return Err(Failure::Config(anyhow::anyhow!(missing.join("\n"))));
    }
    let (metrics, health, notifier) = (Metrics::new(), Arc::new(Health::default()), Notifier::new());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("NETSSMD_COMMIT"),
        profile = %args.profile.display(),
        name = profile.name,
        seed = profile.seed,
        "netssmd starts"
    );
    let admin = match profile.metrics {
        None => None,
        Some(address) => {
            let admin = Admin::start(address, metrics.clone(), Arc::clone(&health))?;
            tracing::info!("metrics at http://{}/metrics", admin.address());
            Some(admin)
        }
    };
    let outcome = play_profile(args, profile, &metrics, &health, &notifier);
    // Stopped last, so that the final numbers and the reason of a failure can still be read.
    if let Some(admin) = admin {
        admin.stop();
    }
    outcome
}

/// Checks that a run on the virtual clock only writes captures, and that it has an end.
fn check_clock(args: &RunArgs, profile: &Profile) -> Outcome {
    if !args.virtual_clock {
        return Ok(());
    }
    if !profile.outputs.interfaces.is_empty() {
        return Err(Failure::usage(
            "--virtual-clock writes captures only, and this profile has an [[output.interface]]",
        ));
    }
    if args.stop_after.is_none() && profile.arrivals.limit == 0 {
        return Err(Failure::usage("--virtual-clock needs an end: give --for, or [schedule] sessions"));
    }
    Ok(())
}

fn play_profile(
    args: &RunArgs,
    profile: Profile,
    metrics: &Metrics,
    health: &Arc<Health>,
    notifier: &Notifier,
) -> Outcome {
    let labels: Vec<&str> = profile.traffic.iter().map(|t| &*t.label).collect();
    let (model, facts) = models::load(&profile.model, &labels)?;
    metrics.set_model(&facts.sha256, &facts.codec, facts.labels.len());
    let allocator = Allocator::new();
    let plan = plan(&profile, &allocator)?;
    let depth = profile.pool_sessions;
    let stop_after = args.stop_after.map(|at| (at, profile.grace));
    let limits = plan.limits.clone();
    let mut engine = Engine::start_generator(model, &limits, metrics, health, |pool| {
        if args.virtual_clock {
            let ahead = Schedule::labels(plan.arrivals.clone(), profile.seed, args.stop_after);
            pool.follow(Box::new(ahead), depth);
        }
    })?;
    // Signals come before the guard. Without a handler a signal would end the process and leave the guard's rules
    // behind.
    signals::channel(engine.sender())?;
    let quiet: Vec<String> = profile.quiet.iter().map(|(name, _)| name.clone()).collect();
    let testbed = Testbed::open(&profile.outputs, testbed::allowlist(&profile)?, profile.nftables, &quiet)?;
    let mut controller =
        Controller::new(args, profile, allocator, testbed.allowlist(), metrics, health, notifier);
    let time = match (args.virtual_clock, args.start) {
        (true, Start::At(start)) => Some(Timeline::from(start)),
        (true, Start::Now) => {
            Some(Timeline::from(netssm_replay::clock::Clock::wall(&netssm_replay::clock::SystemClock::new())))
        }
        (false, _) => None,
    };
    let warm = time.is_some() || controller.warm_up(&engine);
    let Testbed { outputs, gate, watch, .. } = testbed;
    if warm {
        // Offset 0 is now, so the time that the start took does not make the first packet late.
        let time = time.unwrap_or_else(Timeline::real);
        let metrics = metrics.clone();
        engine.start_player(|pool, pulse| Parts {
            time,
            pool,
            plan,
            outputs,
            gate,
            metrics,
            pulse,
            stop_after,
        })?;
        controller.ready();
        controller.control_until_played(&engine);
    } else {
        let (closed, _) = outputs.close(metrics);
        tracing::info!(outputs = closed.len(), "stopped before the first session");
    }
    let finished = engine.finish()?;
    let removed = watch.map_or(Ok(()), |watch| watch.stop());
    conclude(args, &mut controller, finished, removed.map_err(anyhow::Error::new))
}

/// The part of a profile that the player needs.
fn plan(profile: &Profile, allocator: &Arc<Allocator>) -> Outcome<Plan> {
    let rewriter =
        Rewriter::new(profile.addresses.clone(), Arc::clone(allocator)).map_err(Failure::config)?;
    Ok(Plan {
        arrivals: profile.arrivals.clone(),
        limits: Limits {
            traffic: profile.traffic.clone(),
            depth: profile.pool_sessions,
            reuse: profile.reuse,
            seed: profile.seed,
        },
        speed: profile.speed,
        rewriter,
    })
}

/// How long the metrics stay up at most after the guard stopped a run, so that Prometheus can read the reason.
const LINGER: Duration = Duration::from_secs(5);

/// Reports how the run went. Gives its failure, which decides the exit code.
fn conclude(
    args: &RunArgs,
    controller: &mut Controller<'_>,
    finished: Finished,
    guard: anyhow::Result<()>,
) -> Outcome {
    let forced = controller.was_forced();
    let Finished { played, generated, failure } = finished;
    let mut outcome = Ok(());
    if let Some(played) = played {
        let summary = Summary::new(controller.profile_name(), &played, &generated);
        summary.log();
        if args.json {
            summary.print()?;
        }
        if let Some(error) = Summary::failure(played.end) {
            if error.guard {
                controller.guard_failed(&error.failure, LINGER);
            }
            outcome = Err(error.failure);
        }
    }
    if let Err(error) = guard {
        tracing::warn!("the guard's rules could not be removed: {error:#}");
        outcome = outcome.and(Err(Failure::Run(error.context("remove the guard's rules"))));
    }
    if let Some(error) = failure {
        outcome = outcome.and(Err(Failure::Run(error)));
    }
    if forced {
        outcome = outcome.and(Err(Failure::Run(anyhow::anyhow!("stopped at once by a second signal"))));
    }
    outcome
}
