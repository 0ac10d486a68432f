//! Which side of the testbed each host and MAC endpoint is on.
//!
//! The rule, in order:
//!
//! 1. **Initiator of a flow**: the sender of a SYN, the receiver of a SYN and ACK, the sender of an ICMP request or
//!    of anything to a group; else the end whose peer has a port below 1024; else the one with a port of 32768 or
//!    more; else the end with a private address; else who sent first (`survey`).
//! 2. **Near and far**: if flows join private hosts with global ones, all private hosts that take part in such flows
//!    are on one side and their peers across: private hosts are clients if they opened at least as many of these
//!    flows as they accepted. So each flow that crossed the edge of the captured network crosses the testbed.
//! 3. **Other hosts** are clients if they opened more flows than they accepted, servers if fewer. On a tie
//!    private hosts are clients (or servers, if rule 2 made private hosts servers), global ones across.
//! 4. **MAC endpoints** (Ethernet addresses) are where most of the hosts seen behind them are, on a tie where the
//!    first is; so a home router is on the server side with the hosts that it stands for.
//! 5. **Link-local IPv6 hosts** are where their MAC endpoint is, if other hosts were seen behind it; else by rule 3.
//!
//! The canonical sessions that models are trained on have local hosts 10.0.0.k, `fd00::k`, `fe80::k` and global ones
//! 198.18.x.y, `2001:db8::k`; rule 1 and 2 read these scopes as they read those of a capture.

use netssm_wire::address_class::Scope;

use crate::rewrite::plan::Side;
use crate::rewrite::survey::Survey;
use crate::rewrite::survey::ids::HostId;

/// The sides of a session's hosts and MAC endpoints, by number.
#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) hosts: Vec<Side>,
    pub(crate) mac_endpoints: Vec<Side>,
}

/// Flows that a host opened and accepted.
#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    opened: u32,
    accepted: u32,
    crosses: bool,
}

impl Roles {
    pub(crate) fn of(survey: &Survey) -> Roles {
        let near = |host: HostId| survey.hosts[host.index()].scope.is_near();
        let mut votes = vec![Votes::default(); survey.hosts.len()];
        let (mut crossing, mut near_opened) = (0u32, 0u32);
        for flow in &survey.flows {
            let (Some(initiator), Some(responder)) = flow.roles() else { continue };
            if initiator == responder {
                continue;
            }
            votes[initiator.index()].opened += 1;
            votes[responder.index()].accepted += 1;
            if near(initiator) != near(responder) {
                crossing += 1;
                near_opened += u32::from(near(initiator));
                votes[initiator.index()].crosses = true;
                votes[responder.index()].crosses = true;
            }
        }
        let near_side = if near_opened * 2 >= crossing { Side::Client } else { Side::Server };
        let by_votes = |host: HostId| {
            let vote = votes[host.index()];
            let by_scope = if near(host) { near_side } else { near_side.other() };
            match vote.opened.cmp(&vote.accepted) {
                _ if vote.crosses => by_scope,
                std::cmp::Ordering::Greater => Side::Client,
                std::cmp::Ordering::Less => Side::Server,
                std::cmp::Ordering::Equal => by_scope,
            }
        };
        let mut hosts: Vec<Side> = (0..survey.hosts.len()).map(HostId::at).map(by_votes).collect();
        let link_local = |host: HostId| survey.hosts[host.index()].scope == Scope::LinkLocal;
        let mac_endpoints = mac_endpoints(survey, &hosts, &link_local);
        for &(mac_endpoint, host) in &survey.bindings {
            if link_local(host) {
                hosts[host.index()] = mac_endpoints[mac_endpoint.index()];
            }
        }
        Roles { hosts, mac_endpoints }
    }
}

/// Rule 4; hosts that follow their MAC endpoint do not vote, unless it has no others.
fn mac_endpoints(survey: &Survey, hosts: &[Side], link_local: &dyn Fn(HostId) -> bool) -> Vec<Side> {
    #[derive(Clone, Default)]
    struct Balance {
        clients_over_servers: i64,
        first: Option<Side>,
    }
    let mut balances = vec![(Balance::default(), Balance::default()); survey.mac_endpoints.len()];
    for &(mac_endpoint, host) in &survey.bindings {
        let (others, locals) = &mut balances[mac_endpoint.index()];
        let balance = if link_local(host) { locals } else { others };
        let side = hosts[host.index()];
        balance.clients_over_servers += if side == Side::Client { 1 } else { -1 };
        balance.first.get_or_insert(side);
    }
    let side = |balance: &Balance| match balance.clients_over_servers.signum() {
        1 => Some(Side::Client),
        -1 => Some(Side::Server),
        _ => balance.first,
    };
    balances.iter().map(|(others, locals)| side(others).or(side(locals)).unwrap_or(Side::Client)).collect()
}
