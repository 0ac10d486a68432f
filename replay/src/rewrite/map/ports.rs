//! Ports: service ports stay, ephemeral ones are drawn anew, one to one per host and protocol.
//!
//! A port is **ephemeral** if it is 1024 or more, no service that devices also send from
//! ([`SYMMETRIC_SERVICES`](netssm_wire::ports::SYMMETRIC_SERVICES)), and either 32768 or more, or its host opened every
//! flow that it is used in and the peer's port differs. Everything else is a service port. The canonical form of
//! training sessions draws the same line.
//!
//! A service port is **moved** to one that no analyser knows when the payload model cannot make content that is
//! well formed for it ([`PayloadModel::fits`]): a protocol that it does not know, or datagrams shorter than the
//! protocol's header. Moves happen with [`PortPolicy::Keep`] too, and are counted.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use netssm_wire::frame::protocol;
use netssm_wire::ports::{FIRST_DYNAMIC, FIRST_EPHEMERAL, FIRST_USER, is_service};

use crate::draw::{Draw, draw};
use crate::payload::{PayloadModel, is_known_port};
use crate::rewrite::RewriteError;
use crate::rewrite::plan::PortPolicy;
use crate::rewrite::survey::Survey;
use crate::rewrite::survey::flows::Flow;

/// Where fresh ephemeral ports come from: IANA's dynamic range first, then what systems also use.
const FRESH: [RangeInclusive<u16>; 3] =
    [FIRST_DYNAMIC..=u16::MAX, FIRST_EPHEMERAL..=FIRST_DYNAMIC - 1, FIRST_USER..=FIRST_EPHEMERAL - 1];
/// Where moved service ports go: registered ports that are seldom used.
const MOVED: [RangeInclusive<u16>; 3] =
    [20_000..=FIRST_EPHEMERAL - 1, FIRST_USER..=19_999, FIRST_EPHEMERAL..=u16::MAX];

/// An end of flows: original address, protocol, original port.
pub(crate) type End = (IpAddr, u8, u16);

/// The map of a session's ports.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    map: HashMap<End, u16>,
    moved: u32,
}

/// What all flows of an end say about its port.
#[derive(Clone, Copy, Debug)]
struct Use {
    end: End,
    always_opens: bool,
    meets_itself: bool,
    keeps: Keeps,
}

/// What happens to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Keeps {
    /// It stays.
    Yes,
    /// It is ephemeral, and the policy draws such ports anew.
    Ephemeral,
    /// It is a service that no content can be made for.
    Moved,
}

impl Ports {
    /// Decides on every port of the session. `address` gives a host's new address for messages.
    pub(crate) fn of(
        survey: &Survey,
        policy: PortPolicy,
        payload: Option<&dyn PayloadModel>,
        replay_seed: u64,
        address: &dyn Fn(IpAddr) -> IpAddr,
    ) -> Result<Ports, RewriteError> {
        let flows: Vec<&Flow> =
            survey.flows.iter().filter(|f| protocol::has_ports(f.first.protocol)).collect();
        let (mut uses, ends) = uses(&flows);
        for used in &mut uses {
            if used.is_ephemeral() && policy == PortPolicy::Fresh {
                used.keeps = Keeps::Ephemeral;
            }
        }
        if let Some(model) = payload {
            move_unfit(model, &flows, &ends, &mut uses);
        }
        let mut ports = Ports::default();
        let mut taken: HashSet<End> = HashSet::new();
        for used in uses.iter().filter(|used| used.keeps == Keeps::Yes) {
            taken.insert(used.end);
            ports.map.insert(used.end, used.end.2);
        }
        // How many ranges of an end's host are used up, so that a scan's thousands of ports do not search them again.
        let mut full: HashMap<(IpAddr, u8, Keeps), usize> = HashMap::new();
        for (number, used) in uses.iter().enumerate() {
            let ranges = match used.keeps {
                Keeps::Yes => continue,
                Keeps::Ephemeral => &FRESH,
                Keeps::Moved => &MOVED,
            };
            ports.moved += u32::from(used.keeps == Keeps::Moved);
            let (ip, number_of_protocol, _) = used.end;
            let seed = draw(replay_seed, Draw::Port, number as u64, 0);
            let free = |port: &u16| {
                !is_known_port(number_of_protocol, *port) && !taken.contains(&(ip, number_of_protocol, *port))
            };
            let full = full.entry((ip, number_of_protocol, used.keeps)).or_default();
            let new = loop {
                let Some(range) = ranges.get(*full) else {
                    let all = ranges.iter().cloned().flatten();
                    let available = all.filter(|port| !is_known_port(number_of_protocol, *port)).count();
                    let host = address(ip);
                    return Err(RewriteError::PortsExhausted {
                        host,
                        protocol: number_of_protocol,
                        available,
                    });
                };
                match candidates(range, seed).find(free) {
                    Some(port) => break port,
                    None => *full += 1,
                }
            };
            taken.insert((ip, number_of_protocol, new));
            ports.map.insert(used.end, new);
        }
        Ok(ports)
    }

    /// The new port of an end; the same one for an end that the survey did not see.
    pub(crate) fn get(&self, end: End) -> u16 {
        self.map.get(&end).copied().unwrap_or(end.2)
    }

    /// How many service ports were moved.
    pub(crate) fn moved(&self) -> u32 {
        self.moved
    }
}

impl Use {
    fn is_ephemeral(&self) -> bool {
        let port = self.end.2;
        !is_service(port) && (port >= FIRST_EPHEMERAL || (self.always_opens && !self.meets_itself))
    }
}

/// Every end in the session, in order of appearance, and the numbers of each flow's two.
fn uses(flows: &[&Flow]) -> (Vec<Use>, Vec<[usize; 2]>) {
    let mut uses: Vec<Use> = Vec::new();
    let mut index: HashMap<End, usize> = HashMap::new();
    let mut ends = Vec::with_capacity(flows.len());
    for flow in flows {
        let initiator = flow.initiator();
        let meets_itself = initiator.src_port == initiator.dst_port;
        let mut number = |ip, port, opens| {
            let end = (ip, initiator.protocol, port);
            let number = *index.entry(end).or_insert_with(|| {
                uses.push(Use { end, always_opens: true, meets_itself: false, keeps: Keeps::Yes });
                uses.len() - 1
            });
            uses[number].always_opens &= opens;
            uses[number].meets_itself |= meets_itself;
            number
        };
        ends.push([
            number(initiator.src, initiator.src_port, true),
            number(initiator.dst, initiator.dst_port, false),
        ]);
    }
    (uses, ends)
}

/// Marks the ports that content does not fit. An analyser takes the lower known port of a flow, and the higher
/// one if what it finds is not what it expects there; so a port is also moved away from a peer's that wants other
/// content. Each move may leave the decision to another port, in this flow or in another of the same end: until
/// nothing changes.
fn move_unfit(model: &dyn PayloadModel, flows: &[&Flow], ends: &[[usize; 2]], uses: &mut [Use]) {
    loop {
        let mut changed = false;
        for (flow, pair) in flows.iter().zip(ends) {
            let mut pair = *pair;
            pair.sort_by_key(|number| uses[*number].end.2);
            let number = flow.first.protocol;
            let port = |end: usize| uses[end].end.2;
            let mut known = pair
                .into_iter()
                .filter(|end| uses[*end].keeps == Keeps::Yes && is_known_port(number, port(*end)));
            let (low, high) = (known.next(), known.next());
            let unfit = low
                .filter(|low| !model.fits(number, port(*low), flow.shape))
                .or(high.filter(|high| !model.agree(number, port(low.unwrap_or(*high)), port(*high))));
            if let Some(end) = unfit {
                uses[end].keeps = Keeps::Moved;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// Every port of a range once, from a drawn start.
fn candidates(range: &RangeInclusive<u16>, seed: u64) -> impl Iterator<Item = u16> + use<> {
    let (low, len) = (u64::from(*range.start()), u64::from(range.end() - range.start()) + 1);
    let start = seed % len;
    (0..len).map(move |step| (low + (start + step) % len) as u16) // below 65,536 by construction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_give_each_port_once() {
        for ranges in [FRESH, MOVED] {
            let all: Vec<u16> = ranges.iter().flat_map(|range| candidates(range, u64::MAX)).collect();
            let distinct: HashSet<u16> = all.iter().copied().collect();
            assert_eq!((all.len(), distinct.len()), (65_536 - 1024, 65_536 - 1024));
        }
    }
}
