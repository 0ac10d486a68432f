//! `netssmd check`: prints OK with a summary of the profile, or every problem in it.

use serde::Serialize;

use super::tell;
use crate::app::check_interfaces;
use crate::cli::CheckArgs;
use crate::exit::{Failure, Outcome};
use crate::models;
use crate::profile::{Problems, Profile};

#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    profile: String,
    /// What a run with this profile does.
    summary: Vec<String>,
    /// What this host lacks for it, such as an interface.
    warnings: Vec<String>,
    problems: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    line: Option<usize>,
    column: Option<usize>,
    what: String,
    help: String,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    let file = args.profile.display().to_string();
    let profile = match Profile::load(&args.profile, &models::labels) {
        Ok(profile) => profile,
        Err(problems) => {
            if args.json {
                tell(true, &refused(file, &problems), |_| String::new())?;
            }
            return Err(Failure::config(problems));
        }
    };
    let missing = check_interfaces(&profile);
    if args.host && !missing.is_empty() {
        return Err(Failure::Config(anyhow::anyhow!(missing.join("\n"))));
    }
    let checked = Checked {
        ok: true,
        profile: file,
        summary: summary(&profile),
        warnings: missing,
        problems: Vec::new(),
    };
    tell(args.json, &checked, |checked| {
        let mut text = format!("OK {}\n", checked.profile);
        checked.summary.iter().for_each(|line| text += &format!("  {line}\n"));
        checked.warnings.iter().for_each(|line| text += &format!("warning: {line}\n"));
        text
    })
}

fn refused(profile: String, problems: &Problems) -> Checked {
    let told = problems.list.iter().map(|p| Told {
        line: p.place.map(|(line, _)| line),
        column: p.place.map(|(_, column)| column),
        what: p.what.clone(),
        help: p.help.clone(),
    });
    Checked { ok: false, profile, summary: Vec::new(), warnings: Vec::new(), problems: told.collect() }
}

/// The profile in words, one fact per line.
fn summary(profile: &Profile) -> Vec<String> {
    let total: f64 = profile.traffic.iter().map(|t| t.weight).sum();
    let labels: Vec<String> = profile
        .traffic
        .iter()
        .map(|t| format!("{} {:.0} % of up to {} packets", t.label, 100.0 * t.weight / total, t.packets))
        .collect();
    let arrivals = &profile.arrivals;
    let limit = if arrivals.limit > 0 { format!(", {} in all", arrivals.limit) } else { String::new() };
    let list = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut lines = vec![
        format!("profile {}, seed {}", profile.name, profile.seed),
        format!("sessions: {}", labels.join("; ")),
        format!(
            "schedule: {} sessions/s, at most {} at a time{limit}",
            arrivals.rate, arrivals.max_concurrent
        ),
        format!("pool: {} sessions, each played up to {} times", profile.pool_sessions, profile.reuse),
        format!("clients in {}", list(&profile.addresses.clients)),
        format!("servers in {}", list(&profile.addresses.servers)),
    ];
    for interface in &profile.outputs.interfaces {
        lines.push(format!("sends {:?} on interface {}", interface.sends, interface.name));
    }
    if let Some(pcap) = &profile.outputs.pcap {
        lines.push(format!("writes captures to {}", pcap.directory.display()));
    }
    lines.push(match profile.metrics {
        Some(address) => format!("metrics at http://{address}/metrics"),
        None => "no metrics server".into(),
    });
    lines
}
