//! Opens a profile's guard and outputs in the right order: allowlist, rules in the kernel, then sockets and files.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use netssm_replay::clock::{Clock, SystemClock};
use netssm_replay::guard::nft::{NftGuard, NftPlan};
use netssm_replay::guard::watch::Watch;
use netssm_replay::guard::{Allowlist, Gate, Guard};
use netssm_replay::interface::Interface;
use netssm_replay::sink::afpacket::{InterfaceConfig, InterfaceSink, MtuPolicy};
use netssm_replay::sink::rolling::{RollingConfig, RollingSink};

use crate::exit::{Failure, Outcome};
use crate::pipeline::{Output, OutputKind, Outputs};
use crate::profile::{self, MtuChoice, Pcap, Profile, Sends};

/// How often the rules in the kernel are verified. Sending must stop within a second after their removal. Four checks
/// per second leave room for a late one.
const VERIFY_EVERY: std::time::Duration = std::time::Duration::from_millis(250);

/// Everything that touches the host, open and behind the guard.
pub(crate) struct Testbed {
    /// The outputs.
    pub outputs: Outputs,
    /// The gate. It shuts when a check of the guard fails.
    pub gate: Arc<Gate>,
    /// The rules in the kernel and the thread that verifies them. `None` if the profile wants no rules or no interface
    /// sends.
    pub watch: Option<Watch>,
    allow: Arc<Allowlist>,
}

impl Testbed {
    /// Installs the guard and opens the outputs. The nftables rules are installed if `nftables` is set and an interface
    /// sends. They also keep the host from answering on the `quiet` interfaces.
    ///
    /// # Errors
    /// The first thing that cannot be opened. Whatever was opened before is closed again.
    pub(crate) fn open(
        outputs: &profile::Outputs,
        allow: Allowlist,
        nftables: bool,
        quiet: &[String],
    ) -> Outcome<Self> {
        let allow = Arc::new(allow);
        let gate = Arc::new(Gate::new());
        let guard = Guard::new(Arc::clone(&allow), Arc::clone(&gate));
        let names: Vec<String> = outputs.interfaces.iter().map(|i| i.name.clone()).collect();
        let (watch, mark) = if nftables && !names.is_empty() {
            let rules = NftGuard::install(NftPlan { send: &names, quiet, allow: &allow })
                .context("put up the guard's rules")?;
            tracing::info!(table = rules.table(), interfaces = names.join(","), "guard is up");
            let mark = rules.mark();
            (Some(Watch::start(rules, Arc::clone(&gate), VERIFY_EVERY)?), Some(mark))
        } else {
            (None, None)
        };
        let mut opened = Vec::new();
        for interface in &outputs.interfaces {
            opened.push(open_interface(interface, mark, &guard)?);
        }
        if let Some(pcap) = &outputs.pcap {
            opened.push(open_captures(pcap, &guard)?);
        }
        Ok(Self { outputs: Outputs::new(opened), gate, watch, allow })
    }

    /// The allowlist.
    pub(crate) fn allowlist(&self) -> Arc<Allowlist> {
        Arc::clone(&self.allow)
    }
}

/// The allowlist of a profile.
///
/// # Errors
/// If the plan has a prefix that is not allowed. A checked profile has none.
pub(crate) fn allowlist(profile: &Profile) -> Outcome<Allowlist> {
    let list = Allowlist::for_plan(&profile.addresses, &profile.allow).map_err(Failure::config)?;
    Ok(list.with_interfaces(profile.outputs.interfaces.iter().map(|i| i.name.clone())))
}

/// One message for each interface that the profile names and this host lacks.
pub(crate) fn check_interfaces(profile: &Profile) -> Vec<String> {
    let outputs = profile.outputs.interfaces.iter().map(|i| (&i.name, &i.place));
    let quiet = profile.quiet.iter().map(|(name, place)| (name, place));
    outputs
        .chain(quiet)
        .filter_map(|(name, place)| {
            let error = Interface::find(name).err()?;
            Some(format!("{place}: {}", Failure::from(error)))
        })
        .collect()
}

fn open_interface(interface: &profile::Interface, mark: Option<u32>, guard: &Guard) -> Outcome<Output> {
    let config = InterfaceConfig {
        mtu_policy: match interface.mtu {
            MtuChoice::Drop => MtuPolicy::Drop,
            MtuChoice::Refuse => MtuPolicy::Refuse,
        },
        mark,
        ..InterfaceConfig::new(&interface.name)
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let sink = InterfaceSink::open(config, guard.clone(), clock)
        .with_context(|| format!("open output interface {} ({})", interface.name, interface.place))?;
    Ok(Output { sink: Box::new(sink), sends: interface.sends, kind: OutputKind::Interface })
}

fn open_captures(pcap: &Pcap, guard: &Guard) -> Outcome<Output> {
    let config = RollingConfig {
        prefix: pcap.prefix.clone(),
        max_bytes: pcap.max_bytes,
        max_seconds: pcap.max_seconds,
        max_packets: pcap.max_packets,
        directory_bytes: pcap.directory_bytes,
        ..RollingConfig::new(Path::new(&pcap.directory))
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let sink = RollingSink::open(config, guard.clone(), clock)
        .with_context(|| format!("open capture directory {}", pcap.directory.display()))?;
    Ok(Output { sink: Box::new(sink), sends: Sends::Both, kind: OutputKind::Capture })
}
