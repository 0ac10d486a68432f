//! Checks of `[addresses]`, `[output]`, `[guard]` and `[metrics]`.

use std::net::SocketAddr;
use std::ops::Range;

use ipnet::IpNet;
use netssm_replay::rewrite::PlanError;
use netssm_replay::rewrite::{AddressPlan, GroupPolicy, MacPolicy, PortPolicy, Side, VlanId};
use netssm_wire::MacAddr;
use toml::Spanned;

use super::{choice, given, whole};
use crate::profile::problem::Collector;
use crate::profile::raw::{RawAddresses, RawInterface, RawPcap, RawProfile};
use crate::profile::validated::{Interface, MtuChoice, Pcap, Sends};

/// The prefixes of a list, each with its place. Notes and leaves out those that do not parse.
fn prefixes(list: &[Spanned<String>], key: &str, problems: &mut Collector<'_>) -> Vec<(IpNet, Range<usize>)> {
    let mut parsed = Vec::new();
    for item in list {
        match item.get_ref().parse::<IpNet>() {
            Ok(net) => parsed.push((net, item.span())),
            Err(_) => problems.at(
                item.span(),
                format!("\"{}\" in {key} is not a prefix", item.get_ref()),
                "expected a form such as \"10.10.0.0/16\" or \"fd00:10:10::/64\"",
            ),
        }
    }
    parsed
}

pub(super) fn check_addresses(raw: &RawAddresses, problems: &mut Collector<'_>) -> Option<AddressPlan> {
    let clients = prefixes(&raw.clients, "addresses.clients", problems);
    let servers = prefixes(&raw.servers, "addresses.servers", problems);
    let complete = clients.len() == raw.clients.len() && servers.len() == raw.servers.len();
    let vlan = match whole(&raw.vlan, "addresses.vlan", 0, 4094, problems) {
        0 => None,
        id => u16::try_from(id).ok().and_then(|id| VlanId::new(id).ok()),
    };
    let plan = AddressPlan {
        clients: clients.iter().map(|(net, _)| *net).collect(),
        servers: servers.iter().map(|(net, _)| *net).collect(),
        client_mac: mac_policy(&raw.client_mac, "addresses.client_mac", problems),
        server_mac: mac_policy(&raw.server_mac, "addresses.server_mac", problems),
        vlan,
        ports: choice(
            &raw.ports,
            "addresses.ports",
            &[("fresh", PortPolicy::Fresh), ("keep", PortPolicy::Keep)],
            problems,
        ),
        multicast: choice(
            &raw.multicast,
            "addresses.multicast",
            &[("keep", GroupPolicy::Keep), ("drop", GroupPolicy::Drop)],
            problems,
        ),
    };
    if !complete {
        return None;
    }
    if let Err(error) = plan.validate() {
        let of =
            |side: Side| if side == Side::Client { (&clients, "clients") } else { (&servers, "servers") };
        // For a prefix that is given twice, the place is the last one, because that one should be removed.
        let span_of = |side: Side, prefix: &IpNet| {
            of(side).0.iter().rev().find(|(net, _)| net == prefix).map_or(0..0, |(_, span)| span.clone())
        };
        let (span, help) = match &error {
            PlanError::NoPrefix { side } => (0..0, format!("that is the key addresses.{}", of(*side).1)),
            PlanError::TooSmall { side, prefix, longest } => {
                (span_of(*side, prefix), format!("expected /{longest} or shorter"))
            }
            PlanError::HostBits { side, prefix, network } => {
                (span_of(*side, prefix), format!("did you mean \"{network}\"?"))
            }
            PlanError::Reserved { side, prefix, .. } => {
                (span_of(*side, prefix), "use a private prefix such as \"10.10.0.0/16\"".into())
            }
            PlanError::Overlap { side, prefix, .. } => {
                (span_of(*side, prefix), "each address must belong to one side and one prefix".into())
            }
            PlanError::Mac { side: Side::Client, .. } => {
                (raw.client_mac.span(), "a form such as \"02:00:00:00:00:01\" is right".into())
            }
            PlanError::Mac { .. } => {
                (raw.server_mac.span(), "a form such as \"02:00:00:00:00:01\" is right".into())
            }
            _ => (0..0, String::new()),
        };
        problems.at(span, error.to_string(), help);
        return None;
    }
    Some(plan)
}

fn mac_policy(value: &Spanned<String>, key: &str, problems: &mut Collector<'_>) -> MacPolicy {
    let typed = value.get_ref();
    if typed == "per-host" {
        return MacPolicy::PerHost;
    }
    typed.parse::<MacAddr>().map(MacPolicy::Fixed).unwrap_or_else(|_| {
        problems.at(
            value.span(),
            format!("{key} is \"{typed}\""),
            "expected \"per-host\" or an address such as \"02:00:00:00:00:01\"",
        );
        MacPolicy::PerHost
    })
}

pub(super) fn check_interfaces(
    list: &[Spanned<RawInterface>],
    problems: &mut Collector<'_>,
) -> Vec<Interface> {
    let mut checked: Vec<Interface> = Vec::new();
    for entry in list {
        let raw = entry.get_ref();
        if !given(&raw.name, "name", entry.span(), problems) {
            continue;
        }
        let name = interface_name(&raw.name, problems);
        if checked.iter().any(|i| i.name == name) {
            problems.at(
                raw.name.span(),
                format!("interface \"{name}\" occurs twice"),
                "use one entry with sends = \"both\"",
            );
        }
        checked.push(Interface {
            name: name.to_owned(),
            sends: choice(
                &raw.sends,
                "output.interface.sends",
                &[("both", Sends::Both), ("to-server", Sends::ToServer), ("to-client", Sends::ToClient)],
                problems,
            ),
            mtu: choice(
                &raw.mtu_policy,
                "output.interface.mtu_policy",
                &[("drop", MtuChoice::Drop), ("refuse", MtuChoice::Refuse)],
                problems,
            ),
            place: problems.place(raw.name.span()),
        });
    }
    checked
}

/// The name of an interface. Notes a problem if no interface can have this name.
fn interface_name<'n>(name: &'n Spanned<String>, problems: &mut Collector<'_>) -> &'n str {
    let text = name.get_ref().as_str();
    // IFNAMSIZ is 16 with the terminating zero. The kernel refuses '/' and white space.
    if text.is_empty() || text.len() > 15 || text.contains('/') || text.contains(char::is_whitespace) {
        problems.at(
            name.span(),
            format!("\"{text}\" cannot be the name of an interface"),
            "expected 1 to 15 characters without '/' and spaces, as `ip link` shows them",
        );
    }
    text
}

/// Names of the quiet interfaces with their places.
pub(super) fn check_quiet(list: &[Spanned<String>], problems: &mut Collector<'_>) -> Vec<(String, String)> {
    list.iter().map(|name| (interface_name(name, problems).to_owned(), problems.place(name.span()))).collect()
}

pub(super) fn check_pcap(table: &Spanned<RawPcap>, problems: &mut Collector<'_>) -> Pcap {
    let raw = table.get_ref();
    if given(&raw.directory, "directory", table.span(), problems) && raw.directory.get_ref().is_empty() {
        problems.at(
            raw.directory.span(),
            "output.pcap.directory is empty",
            "expected the path of a directory",
        );
    }
    let prefix = raw.prefix.get_ref();
    if prefix.is_empty() || prefix.starts_with('.') || prefix.contains('/') {
        problems.at(
            raw.prefix.span(),
            format!("output.pcap.prefix is \"{prefix}\""),
            "expected the start of a file name, without '/' and not hidden",
        );
    }
    Pcap {
        directory: raw.directory.get_ref().into(),
        prefix: prefix.clone(),
        max_bytes: no_or_at_least(&raw.max_bytes, "output.pcap.max_bytes", 10_000, problems),
        max_seconds: whole(&raw.max_seconds, "output.pcap.max_seconds", 0, 86_400, problems),
        max_packets: raw.max_packets,
        directory_bytes: no_or_at_least(
            &raw.directory_bytes,
            "output.pcap.directory_bytes",
            10_000,
            problems,
        ),
    }
}

/// The value. Notes a problem unless it is 0 (no limit) or at least `low`.
fn no_or_at_least(value: &Spanned<u64>, key: &str, low: u64, problems: &mut Collector<'_>) -> u64 {
    let got = *value.get_ref();
    if got != 0 && got < low {
        problems.at(
            value.span(),
            format!("{key} is {got}"),
            format!("expected 0 for no limit, or {low} or more"),
        );
    }
    got
}

pub(super) fn check_allow(
    raw: &RawProfile,
    plan: Option<&AddressPlan>,
    needed: bool,
    problems: &mut Collector<'_>,
) -> Vec<IpNet> {
    let planned = || plan.iter().flat_map(|p| p.clients.iter().chain(&p.servers)).copied();
    let Some(list) = &raw.guard.allow else {
        if needed {
            let known: Vec<String> = planned().map(|net| format!("\"{net}\"")).collect();
            problems.whole(
                "guard.allow is missing, and an interface sends",
                format!("say what may leave: [guard] allow = [{}]", known.join(", ")),
            );
        }
        return planned().collect();
    };
    let allow: Vec<IpNet> =
        prefixes(list.get_ref(), "guard.allow", problems).into_iter().map(|(net, _)| net).collect();
    if allow.len() == list.get_ref().len() {
        for net in planned().filter(|net| !allow.iter().any(|a| a.contains(net))) {
            problems.at(
                list.span(),
                format!("guard.allow does not cover {net} of [addresses]"),
                format!("add \"{net}\", or change [addresses]"),
            );
        }
    }
    allow
}

pub(super) fn check_listen(value: &Spanned<String>, problems: &mut Collector<'_>) -> Option<SocketAddr> {
    let typed = value.get_ref();
    if typed == "off" {
        return None;
    }
    typed
        .parse()
        .inspect_err(|_| {
            problems.at(
                value.span(),
                format!("metrics.listen is \"{typed}\""),
                "expected \"off\" or an address and port such as \"127.0.0.1:9477\"",
            );
        })
        .ok()
}
