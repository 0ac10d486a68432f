//! Ports and identifiers by order of first use.
//!
//! The port of a service stays, because it says what the flow is for. A port that a client drew at random becomes 49152
//! plus its order at that host. Identifiers of DNS and of ICMP echoes become their order in the session.

use std::{collections::HashMap, net::IpAddr};

use netssm_wire::{
    initiator,
    ports::{FIRST_DYNAMIC, FIRST_EPHEMERAL, is_service},
};

/// Port and identifier maps of one session.
#[derive(Debug, Default)]
pub(super) struct Ports {
    mapped: HashMap<(IpAddr, u16), u16>,
    per_host: HashMap<IpAddr, u16>,
    /// The initiator of each flow, by the flow's two ends in order.
    initiators: HashMap<FlowEnds, End>,
    ids: HashMap<(IdSpace, u16), u16>,
    id_counts: HashMap<IdSpace, u16>,
}

/// One end of a flow, by its original address.
pub(super) type End = (IpAddr, u16);
type FlowEnds = (u8, End, End);

/// The kinds of identifiers, each with an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum IdSpace {
    Dns,
    Echo,
}

impl Ports {
    /// Maps both ports of a packet. `opens` is `Some(true)` for a SYN, which opens the flow, `Some(false)` for a
    /// SYN-ACK, and `None` for a packet that does not say who opened the flow.
    pub(super) fn pair(
        &mut self,
        protocol: u8,
        source: End,
        destination: End,
        opens: Option<bool>,
    ) -> (u16, u16) {
        let ends = (protocol, source.min(destination), source.max(destination));
        let initiator = match opens {
            Some(true) => source,
            Some(false) => destination,
            // Mid-stream, or no handshake.
            None if initiator::by_system_port(source.1, destination.1) => source,
            None => destination,
        };
        let initiator = *self.initiators.entry(ends).or_insert(initiator);
        (
            self.port(source, destination.1, initiator == source),
            self.port(destination, source.1, initiator == destination),
        )
    }

    fn port(&mut self, end: End, other_port: u16, is_initiator: bool) -> u16 {
        let port = end.1;
        let service = is_service(port) || port == other_port && port < FIRST_EPHEMERAL;
        if service || port < FIRST_EPHEMERAL && !is_initiator && !self.mapped.contains_key(&end) {
            return port;
        }
        if let Some(&known) = self.mapped.get(&end) {
            return known;
        }
        let count = self.per_host.entry(end.0).or_default();
        // A host has 16,384 such ports. Then the numbers start again, as those of a real system do.
        let mapped = FIRST_DYNAMIC + *count % (u16::MAX - FIRST_DYNAMIC + 1);
        *count = count.wrapping_add(1);
        self.mapped.insert(end, mapped);
        mapped
    }

    /// An identifier by its order in the session, from 1; 0 (which multicast DNS uses for "none") stays.
    pub(super) fn id(&mut self, space: IdSpace, id: u16) -> u16 {
        if id == 0 {
            return 0;
        }
        let count = self.id_counts.entry(space).or_default();
        *self.ids.entry((space, id)).or_insert_with(|| {
            *count = count.wrapping_add(1).max(1);
            *count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(last: u8, port: u16) -> End {
        ([10, 0, 0, last].into(), port)
    }

    #[test]
    fn the_initiators_port_is_mapped_and_the_service_stays() {
        let mut ports = Ports::default();
        assert_eq!(ports.pair(6, end(1, 2047), end(2, 8080), Some(true)), (49_152, 8080));
        assert_eq!(ports.pair(6, end(2, 8080), end(1, 2047), Some(false)), (8080, 49_152));
        assert_eq!(ports.pair(6, end(1, 60_123), end(2, 443), None), (49_153, 443));
        // Seen first from the server's side.
        assert_eq!(ports.pair(17, end(3, 443), end(1, 3000), None), (443, 49_154));
        // Services that talk to each other.
        assert_eq!(ports.pair(17, end(1, 5353), end(9, 5353), None), (5353, 5353));
        assert_eq!(ports.pair(17, end(1, 68), end(9, 67), None), (68, 67));
        // An ephemeral port that listens.
        assert_eq!(ports.pair(6, end(1, 40_000), end(4, 49_153), Some(true)), (49_155, 49_152));
    }

    #[test]
    fn identifiers_go_by_order() {
        let mut ports = Ports::default();
        assert_eq!(ports.id(IdSpace::Dns, 0xbeef), 1);
        assert_eq!(ports.id(IdSpace::Dns, 0x1234), 2);
        assert_eq!(ports.id(IdSpace::Dns, 0xbeef), 1);
        assert_eq!(ports.id(IdSpace::Echo, 0xbeef), 1);
        assert_eq!(ports.id(IdSpace::Dns, 0), 0);
    }
}
