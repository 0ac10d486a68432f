//! Ports: service ports stay, ephemeral ones are drawn anew, one to one per host and protocol.
//!
//! A port is **ephemeral** if it is 1024 or more, no service that devices also send from (`SERVICES`), and either 32768 or more, or
//! its host opened every flow that it is used in and the peer's port differs. Everything else is a service port. The
//! canonical form of training sessions draws the same line.
//!
//! A service port is **moved** to one that no analyser knows when the payload model cannot make content that is well formed
//! for it ([`PayloadModel::fits`]): a protocol that it does not know, or datagrams shorter than the protocol's header. Moves happen
//! with [`PortPolicy::Keep`] too, and are counted.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use netssm_wire::frame::protocol;

use super::keys::{Draw, draw};
use super::plan::PortPolicy;
use super::survey::{Flow, Survey};
use crate::error::RewriteError;
use crate::payload::PayloadModel;

/// Ports at or above this are given to clients by every common system.
const EPHEMERAL: u16 = 32_768;
const WELL_KNOWN: u16 = 1024;
/// Registered services that devices also use as source port.
const SERVICES: [u16; 12] = [1194, 1701, 1900, 3478, 3544, 3702, 4500, 5060, 5353, 5355, 5683, 6771];

/// Where fresh ephemeral ports come from: IANA's dynamic range first, then what systems also use.
const FRESH: [std::ops::RangeInclusive<u16>; 3] = [49_152..=65_535, 32_768..=49_151, 1_024..=32_767];
/// Where moved service ports go: registered ports that are seldom used.
const MOVED: [std::ops::RangeInclusive<u16>; 3] = [20_000..=32_767, 1_024..=19_999, 32_768..=65_535];

/// An end of flows: original address, protocol, original port.
pub(super) type End = (IpAddr, u8, u16);

/// The map of a session's ports.
#[derive(Debug, Default)]
pub(super) struct Ports {
    map: HashMap<End, u16>,
    moved: u32,
}

/// What all flows of an end say about its port.
#[derive(Clone, Copy, Debug)]
struct Use {
    end: End,
    always_opens: bool,
    meets_itself: bool,
    fits: bool,
}

impl Ports {
    /// Decides on every port of the session. `address` gives a host's new address for messages.
    pub(super) fn of(
        survey: &Survey,
        policy: PortPolicy,
        payload: Option<&dyn PayloadModel>,
        replay_seed: u64,
        address: &dyn Fn(IpAddr) -> IpAddr,
    ) -> Result<Ports, RewriteError> {
        let uses = uses(survey, payload);
        let mut ports = Ports::default();
        let mut taken: HashSet<End> = HashSet::new();
        let mut fresh = Vec::new();
        for (number, used) in uses.iter().enumerate() {
            let is_ephemeral = used.is_ephemeral();
            if (is_ephemeral && policy == PortPolicy::Fresh) || !used.fits {
                fresh.push((number, is_ephemeral));
                ports.moved += u32::from(!is_ephemeral);
            } else {
                taken.insert(used.end);
                ports.map.insert(used.end, used.end.2);
            }
        }
        for (number, is_ephemeral) in fresh {
            let (ip, protocol, port) = uses[number].end;
            let ranges = if is_ephemeral { &FRESH } else { &MOVED };
            let seed = draw(replay_seed, Draw::Port, number as u64, 0);
            let free = |port: u16| {
                !crate::payload::is_known_port(protocol, port) && !taken.contains(&(ip, protocol, port))
            };
            let Some(new) = candidates(ranges, seed).find(|p| free(*p)) else {
                let available =
                    candidates(ranges, 0).filter(|p| !crate::payload::is_known_port(protocol, *p)).count();
                return Err(RewriteError::PortsExhausted { host: address(ip), protocol, available });
            };
            taken.insert((ip, protocol, new));
            ports.map.insert((ip, protocol, port), new);
        }
        Ok(ports)
    }

    /// The new port of an end; the same one for an end that the survey did not see.
    pub(super) fn get(&self, end: End) -> u16 {
        self.map.get(&end).copied().unwrap_or(end.2)
    }

    /// How many service ports were moved.
    pub(super) fn moved(&self) -> u32 {
        self.moved
    }
}

impl Use {
    fn is_ephemeral(&self) -> bool {
        let port = self.end.2;
        port >= WELL_KNOWN
            && !SERVICES.contains(&port)
            && (port >= EPHEMERAL || (self.always_opens && !self.meets_itself))
    }
}

/// Every end in the session, in order of appearance.
fn uses(survey: &Survey, payload: Option<&dyn PayloadModel>) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    let mut index: HashMap<End, usize> = HashMap::new();
    for flow in survey.flows.iter().filter(|f| protocol::has_ports(f.first.protocol)) {
        let opener = flow.opener();
        let meets_itself = opener.src_port == opener.dst_port;
        let unfit = payload.and_then(|model| unfit_port(model, flow));
        for (ip, port, opens) in [(opener.src, opener.src_port, true), (opener.dst, opener.dst_port, false)] {
            let end = (ip, opener.protocol, port);
            let number = *index.entry(end).or_insert_with(|| {
                uses.push(Use { end, always_opens: true, meets_itself: false, fits: true });
                uses.len() - 1
            });
            let used = &mut uses[number];
            used.always_opens &= opens;
            used.meets_itself |= meets_itself;
            used.fits &= unfit != Some(port);
        }
    }
    uses
}

/// The port of a flow that the payload model has no content for. Analysers look at the lower one first.
fn unfit_port(model: &dyn PayloadModel, flow: &Flow) -> Option<u16> {
    let FiveTupleEnds { low, high, protocol } = FiveTupleEnds::of(flow);
    [low, high].into_iter().find(|port| {
        crate::payload::is_known_port(protocol, *port) && !model.fits(protocol, *port, flow.least_payload)
    })
}

/// Both ports of a flow in numerical order.
struct FiveTupleEnds {
    low: u16,
    high: u16,
    protocol: u8,
}

impl FiveTupleEnds {
    fn of(flow: &Flow) -> Self {
        let (a, b) = (flow.first.src_port, flow.first.dst_port);
        FiveTupleEnds { low: a.min(b), high: a.max(b), protocol: flow.first.protocol }
    }
}

/// Every port of `ranges` once, each range from a drawn start.
fn candidates(ranges: &[std::ops::RangeInclusive<u16>], seed: u64) -> impl Iterator<Item = u16> {
    ranges.iter().flat_map(move |range| {
        let (low, len) = (u64::from(*range.start()), u64::from(range.end() - range.start()) + 1);
        (0..len).map(move |step| (low + (seed + step) % len) as u16) // below 65,536 by construction
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_give_each_port_once() {
        let all: HashSet<u16> = candidates(&FRESH, 12_345).collect();
        assert_eq!(all.len(), 65_536 - 1024);
        assert_eq!(candidates(&FRESH, u64::from(u32::MAX)).count(), all.len());
        assert!(candidates(&FRESH, 7).take(16_384).all(|p| p >= 49_152));
    }
}
