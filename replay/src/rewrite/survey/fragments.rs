//! Fragmented datagrams: which packets of a session are parts of one, so that the parts get one identification, one
//! content and one checksum.
//!
//! Generated sessions have identification 0 everywhere, so a datagram is told from the next one by its first
//! fragment: a second one with offset 0 begins the next. In captures this cuts a datagram whose first fragment was
//! sent twice in two, of which one is then incomplete, as the original was after the loss.

use std::collections::HashMap;
use std::net::IpAddr;

use netssm_wire::frame::Fragment;

use super::ids::{DatagramId, FlowId};

/// Longest payload of an IP packet in bytes.
const MAX_LEN: usize = 65_535;

/// What fragments of one datagram have in common: source, destination, protocol, identification.
pub(crate) type Key = (IpAddr, IpAddr, u8, u32);

/// One datagram, by its fragments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    /// Packet that is its first fragment.
    first: Option<usize>,
    /// Length of the whole transport segment, from the last fragment.
    total: Option<usize>,
    /// Where the fragment that reaches farthest ends.
    reach: usize,
    flow: Option<FlowId>,
    forward: bool,
}

/// The datagrams of a session.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    list: Vec<Datagram>,
    open: HashMap<Key, DatagramId>,
    of_packet: HashMap<usize, DatagramId>,
}

impl Datagrams {
    /// Notes one fragment of `len` bytes after the IP headers; gives its datagram.
    pub(crate) fn observe(
        &mut self,
        packet: usize,
        key: Key,
        fragment: Fragment,
        len: usize,
        (flow, forward): (Option<FlowId>, bool),
    ) -> DatagramId {
        let known = self.open.get(&key).copied();
        let is_first = fragment.offset == 0;
        let number = match known {
            Some(number) if !(is_first && self.list[number.index()].first.is_some()) => number,
            _ => {
                let number = DatagramId::at(self.list.len());
                self.list.push(Datagram { first: None, total: None, reach: 0, flow: None, forward: true });
                self.open.insert(key, number);
                number
            }
        };
        let datagram = &mut self.list[number.index()];
        if is_first {
            (datagram.first, datagram.flow, datagram.forward) = (Some(packet), flow, forward);
        }
        let end = fragment.offset + len;
        datagram.reach = datagram.reach.max(end);
        if !fragment.more && end <= MAX_LEN {
            datagram.total.get_or_insert(end);
        }
        self.of_packet.insert(packet, number);
        number
    }

    /// The flow of a datagram and its direction there, as far as known.
    pub(crate) fn flow(&self, number: DatagramId) -> (Option<FlowId>, bool) {
        self.list.get(number.index()).map_or((None, true), |d| (d.flow, d.forward))
    }

    /// Forgets what only the survey needs.
    pub(crate) fn finish(&mut self) {
        self.open = HashMap::new();
    }

    /// The datagram of a packet that is a fragment.
    pub(crate) fn of(&self, packet: usize) -> Option<DatagramId> {
        self.of_packet.get(&packet).copied()
    }

    /// First fragment and length of a datagram of which both ends are there and nothing is beyond them. Fragments of
    /// others are not put together by any receiver, and get identifications of their own so that none tries.
    pub(crate) fn whole(&self, number: DatagramId) -> Option<(usize, usize)> {
        let datagram = self.list.get(number.index())?;
        datagram.first.zip(datagram.total.filter(|total| datagram.reach <= *total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> Key {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, id)
    }

    fn id(index: usize) -> DatagramId {
        DatagramId::at(index)
    }

    fn part(offset: usize, more: bool) -> Fragment {
        Fragment { offset, more, id: 0 }
    }

    #[test]
    fn fragments_join_in_any_order_and_ids_may_repeat() {
        let mut d = Datagrams::default();
        // In order.
        assert_eq!(d.observe(0, key(0), part(0, true), 1480, (Some(FlowId::at(3)), true)), id(0));
        assert_eq!(d.observe(1, key(0), part(1480, false), 20, (None, true)), id(0));
        assert_eq!((d.whole(id(0)), d.flow(id(0))), (Some((0, 1500)), (Some(FlowId::at(3)), true)));
        // The same identification again: the next datagram.
        assert_eq!(d.observe(2, key(0), part(0, true), 1480, (Some(FlowId::at(3)), true)), id(1));
        assert_eq!(d.whole(id(1)), None);
        // Last fragment first, as Linux once sent them.
        assert_eq!(d.observe(3, key(9), part(1480, false), 8, (None, true)), id(2));
        assert_eq!(d.observe(4, key(9), part(0, true), 1480, (Some(FlowId::at(5)), false)), id(2));
        assert_eq!((d.whole(id(2)), d.flow(id(2))), (Some((4, 1488)), (Some(FlowId::at(5)), false)));
        assert_eq!((d.of(3), d.of(7)), (Some(id(2)), None));
        // One that would be longer than a datagram can be never is whole.
        assert_eq!(d.observe(5, key(10), part(65_528, false), 1480, (None, true)), id(3));
        assert_eq!(d.observe(6, key(10), part(0, true), 1480, (Some(FlowId::at(6)), true)), id(3));
        assert_eq!(d.whole(id(3)), None);
        // Nor one whose first fragment reaches beyond its last.
        assert_eq!(d.observe(7, key(11), part(0, true), 552, (Some(FlowId::at(7)), true)), id(4));
        assert_eq!(d.observe(8, key(11), part(24, false), 10, (None, true)), id(4));
        assert_eq!(d.whole(id(4)), None);
    }
}
