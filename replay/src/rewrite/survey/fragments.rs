//! Fragmented datagrams: which packets of a session are parts of one, so that the parts get one identification, one
//! content and one checksum.
//!
//! Generated sessions have identification 0 everywhere, so a datagram is told from the next one by its first
//! fragment: a second one with offset 0 begins the next. In captures this cuts a datagram whose first fragment was
//! sent twice in two, of which one is then incomplete, as the original was after the loss.

use std::collections::HashMap;
use std::net::IpAddr;

use netssm_wire::frame::Fragment;

use super::NONE;

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
    flow: u32,
    forward: bool,
}

/// The datagrams of a session.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    list: Vec<Datagram>,
    open: HashMap<Key, u32>,
    of_packet: HashMap<usize, u32>,
}

impl Datagrams {
    /// Notes one fragment of `len` bytes after the IP headers; gives its datagram's number.
    pub(crate) fn observe(
        &mut self,
        packet: usize,
        key: Key,
        fragment: Fragment,
        len: usize,
        (flow, forward): (u32, bool),
    ) -> u32 {
        let known = self.open.get(&key).copied();
        let is_first = fragment.offset == 0;
        let number = match known {
            Some(number) if !(is_first && self.list[number as usize].first.is_some()) => number,
            _ => {
                let number = self.list.len() as u32;
                self.list.push(Datagram { first: None, total: None, reach: 0, flow: NONE, forward: true });
                self.open.insert(key, number);
                number
            }
        };
        let datagram = &mut self.list[number as usize];
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
    pub(crate) fn flow(&self, number: u32) -> (u32, bool) {
        self.list.get(number as usize).map_or((NONE, true), |d| (d.flow, d.forward))
    }

    /// Forgets what only the survey needs.
    pub(crate) fn finish(&mut self) {
        self.open = HashMap::new();
    }

    /// The datagram of a packet that is a fragment.
    pub(crate) fn of(&self, packet: usize) -> Option<u32> {
        self.of_packet.get(&packet).copied()
    }

    /// First fragment and length of a datagram of which both ends are there and nothing is beyond them. Fragments of
    /// others are not put together by any receiver, and get identifications of their own so that none tries.
    pub(crate) fn whole(&self, number: u32) -> Option<(usize, usize)> {
        let datagram = self.list.get(number as usize)?;
        datagram.first.zip(datagram.total.filter(|total| datagram.reach <= *total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> Key {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, id)
    }

    fn part(offset: usize, more: bool) -> Fragment {
        Fragment { offset, more, id: 0 }
    }

    #[test]
    fn fragments_join_in_any_order_and_ids_may_repeat() {
        let mut d = Datagrams::default();
        // In order.
        assert_eq!(d.observe(0, key(0), part(0, true), 1480, (3, true)), 0);
        assert_eq!(d.observe(1, key(0), part(1480, false), 20, (NONE, true)), 0);
        assert_eq!((d.whole(0), d.flow(0)), (Some((0, 1500)), (3, true)));
        // The same identification again: the next datagram.
        assert_eq!(d.observe(2, key(0), part(0, true), 1480, (3, true)), 1);
        assert_eq!(d.whole(1), None);
        // Last fragment first, as Linux once sent them.
        assert_eq!(d.observe(3, key(9), part(1480, false), 8, (NONE, true)), 2);
        assert_eq!(d.observe(4, key(9), part(0, true), 1480, (5, false)), 2);
        assert_eq!((d.whole(2), d.flow(2)), (Some((4, 1488)), (5, false)));
        assert_eq!((d.of(3), d.of(7)), (Some(2), None));
        // One that would be longer than a datagram can be never is whole.
        assert_eq!(d.observe(5, key(10), part(65_528, false), 1480, (NONE, true)), 3);
        assert_eq!(d.observe(6, key(10), part(0, true), 1480, (6, true)), 3);
        assert_eq!(d.whole(3), None);
        // Nor one whose first fragment reaches beyond its last.
        assert_eq!(d.observe(7, key(11), part(0, true), 552, (7, true)), 4);
        assert_eq!(d.observe(8, key(11), part(24, false), 10, (NONE, true)), 4);
        assert_eq!(d.whole(4), None);
    }
}
