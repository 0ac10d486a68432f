//! TCP sequence numbers and timestamps relative to where each direction began.
//!
//! A SYN gets sequence number 0. If the SYN was not captured, the first byte gets 1, as it would have behind a SYN.
//! Acknowledgements and SACK blocks count from the origin of the other direction. Timestamps count from 1 at the first
//! one of their host, so connections that share a clock still share it. A host may draw a new offset for each
//! connection (RFC 7323 section 5.4); such a clock gets an origin of its own.
//!
//! A number far from the last one of its direction would disclose the origin if it were made relative, for example a
//! reset with sequence number 0. Such a number continues from the last relative one instead.

use std::{collections::HashMap, net::IpAddr};

use netssm_wire::tcp::Flags;

use super::ports::End;

/// Sequence numbers further apart than this do not belong to one stream. This is a quarter of the largest window (RFC
/// 7323).
const SEQ_PLAUSIBLE: u32 = 1 << 28;
/// Timestamps further apart than this do not belong to one clock: a day and a half in ticks of a millisecond.
const TS_PLAUSIBLE: u32 = 1 << 27;

/// An origin and the last number seen, both original.
#[derive(Clone, Copy, Debug)]
struct Counter {
    origin: u32,
    last: u32,
}

impl Counter {
    fn relative(&mut self, value: u32, plausible: u32) -> u32 {
        let ahead = value.wrapping_sub(self.last);
        if ahead > plausible && ahead.wrapping_neg() > plausible {
            // Continue from the last relative number.
            self.origin = value.wrapping_sub(self.last.wrapping_sub(self.origin));
            self.last = value;
        } else if ahead <= plausible {
            self.last = value;
        }
        value.wrapping_sub(self.origin)
    }

    fn peek(&self, value: u32, plausible: u32) -> Option<u32> {
        let ahead = value.wrapping_sub(self.last);
        (ahead <= plausible || ahead.wrapping_neg() <= plausible).then(|| value.wrapping_sub(self.origin))
    }
}

/// One direction: who sends, to whom.
pub(super) type Direction = (End, End);

/// Sequence and timestamp origins of one session.
#[derive(Debug, Default)]
pub(super) struct Streams {
    sequence: HashMap<Direction, Counter>,
    clocks: HashMap<Direction, Counter>,
    host_clocks: HashMap<IpAddr, Counter>,
}

impl Streams {
    /// The packet's sequence and acknowledgement numbers, relative.
    pub(super) fn numbers(
        &mut self,
        direction: Direction,
        flags: Flags,
        sequence: u32,
        acknowledgement: u32,
    ) -> (u32, u32) {
        let reverse = (direction.1, direction.0);
        let opens = flags.contains(Flags::SYN);
        if opens && self.sequence.get(&direction).is_none_or(|counter| counter.origin != sequence) {
            self.sequence.insert(direction, Counter { origin: sequence, last: sequence });
            if !flags.contains(Flags::ACK) {
                // A new connection on old ports: the other side will start anew too.
                self.sequence.remove(&reverse);
            }
        }
        let relative = match self.sequence.get_mut(&direction) {
            Some(counter) if flags.contains(Flags::RST) => counter.peek(sequence, SEQ_PLAUSIBLE).unwrap_or(0),
            Some(counter) => counter.relative(sequence, SEQ_PLAUSIBLE),
            None if flags.contains(Flags::RST) => 0,
            None => {
                self.sequence.insert(direction, Counter { origin: sequence.wrapping_sub(1), last: sequence });
                1
            }
        };
        let acknowledged =
            if !flags.contains(Flags::ACK) { 0 } else { self.acknowledged(reverse, acknowledgement) };
        (relative, acknowledged)
    }

    /// A number of the direction `of`, seen in its acknowledgements.
    pub(super) fn acknowledged(&mut self, of: Direction, value: u32) -> u32 {
        match self.sequence.get_mut(&of) {
            Some(counter) => match counter.peek(value, SEQ_PLAUSIBLE) {
                Some(relative) => relative,
                None => counter.relative(value, SEQ_PLAUSIBLE),
            },
            None => {
                self.sequence.insert(of, Counter { origin: value.wrapping_sub(1), last: value });
                1
            }
        }
    }

    /// A SACK edge, relative. An edge that is not near the acknowledgement becomes the acknowledgement itself.
    pub(super) fn sack_edge(&self, of: Direction, value: u32, acknowledged: u32) -> u32 {
        self.sequence.get(&of).and_then(|counter| counter.peek(value, SEQ_PLAUSIBLE)).unwrap_or(acknowledged)
    }

    /// TSval of a packet in `direction`, relative.
    pub(super) fn timestamp(&mut self, direction: Direction, value: u32) -> u32 {
        let host = direction.0.0;
        let shared =
            self.host_clocks.get(&host).filter(|clock| clock.peek(value, TS_PLAUSIBLE).is_some()).copied();
        let fresh = Counter { origin: value.wrapping_sub(1), last: value };
        let clock = self.clocks.entry(direction).or_insert_with(|| shared.unwrap_or(fresh));
        let relative = clock.relative(value, TS_PLAUSIBLE);
        let clock = *clock;
        self.host_clocks.entry(host).or_insert(clock);
        relative
    }

    /// TSecr of a packet that goes against `of`. Zero means "nothing to echo" and stays.
    pub(super) fn echo(&mut self, of: Direction, value: u32) -> u32 {
        if value == 0 { 0 } else { self.timestamp(of, value) }
    }

    /// Forgets the clocks of both directions: a SYN on old ports is a new connection, maybe with a new offset.
    pub(super) fn reopen(&mut self, direction: Direction) {
        self.clocks.remove(&direction);
        self.clocks.remove(&(direction.1, direction.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: End = (IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 50_000);
    const SERVER: End = (IpAddr::V4(std::net::Ipv4Addr::new(1, 1, 1, 1)), 443);
    const UP: Direction = (CLIENT, SERVER);
    const DOWN: Direction = (SERVER, CLIENT);

    #[test]
    fn a_handshake_counts_from_zero() {
        let mut streams = Streams::default();
        let (client, server) = (0xffff_fff0, 0x1234_5678_u32);
        assert_eq!(streams.numbers(UP, Flags::SYN, client, 0), (0, 0));
        assert_eq!(streams.numbers(DOWN, Flags::SYN | Flags::ACK, server, client.wrapping_add(1)), (0, 1));
        assert_eq!(streams.numbers(UP, Flags::ACK, client.wrapping_add(1), server + 1), (1, 1));
        assert_eq!(streams.numbers(UP, Flags::ACK, client.wrapping_add(0x101), server + 1), (0x101, 1));
        assert_eq!(streams.sack_edge(UP, client.wrapping_add(0x201), 1), 0x201);
        // The same ports again.
        assert_eq!(streams.numbers(UP, Flags::SYN, 77, 0), (0, 0));
        assert_eq!(streams.numbers(DOWN, Flags::SYN | Flags::ACK, 9_999, 78), (0, 1));
    }

    #[test]
    fn a_stream_joined_late_starts_at_one() {
        let mut streams = Streams::default();
        assert_eq!(streams.numbers(DOWN, Flags::ACK, 5_000, 700), (1, 1));
        assert_eq!(streams.numbers(UP, Flags::ACK, 700, 6_400), (1, 1_401));
        assert_eq!(streams.numbers(DOWN, Flags::ACK, 6_400, 700), (1_401, 1));
    }

    #[test]
    fn an_absurd_number_does_not_spell_the_origin() {
        let mut streams = Streams::default();
        let origin = 0x7654_3210;
        streams.numbers(UP, Flags::SYN, origin, 0);
        assert_eq!(streams.numbers(UP, Flags::RST, 0, 0), (0, 0));
        let (relative, _) = streams.numbers(UP, Flags::ACK, 5, 1);
        assert_ne!(relative, 5_u32.wrapping_sub(origin));
        assert_eq!(streams.sack_edge(UP, 0x4000_0000_u32.wrapping_add(5), 42), 42);
    }

    #[test]
    fn timestamps_share_a_hosts_clock_unless_it_jumps() {
        let mut streams = Streams::default();
        let other = ((CLIENT.0, 50_001), SERVER);
        assert_eq!(streams.timestamp(UP, 1_000_000), 1);
        assert_eq!(streams.echo(UP, 1_000_000), 1);
        assert_eq!(streams.echo(DOWN, 0), 0);
        assert_eq!(streams.timestamp(other, 1_000_500), 501);
        let jumped = ((CLIENT.0, 50_002), SERVER);
        assert_eq!(streams.timestamp(jumped, 0xc000_0000), 1);
        assert_eq!(streams.timestamp(jumped, 0xc000_0010), 17);
        assert_eq!(streams.timestamp(UP, 1_000_020), 21);
    }
}
