//! ICMP (RFC 792) and ICMPv6 (RFC 4443): which types are understood, and the addresses that they carry themselves.
//!
//! The packet that an error quotes is [`quote`](super::quote)'s, neighbour discovery [`ndp`](super::ndp)'s and
//! listener discovery [`groups`](super::groups)'s.

use netssm_wire::frame::{Layer, Stop};
use netssm_wire::icmp::{Version, neighbour_fixed_len};
use netssm_wire::quote;

use super::addresses::Addresses;
use super::groups;
use super::ndp;
use crate::rewrite::dropped::Dropped;

/// What an ICMP message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Identifier, sequence number, data that the reply repeats.
    Echo,
    /// A quoted packet from byte 8 on.
    Error,
    /// Three times since midnight (RFC 792), bytes 8 to 20.
    Timestamp,
    /// Neighbour discovery (RFC 4861); the length of the fixed part, after which options follow.
    Neighbour(usize),
    /// Multicast listener discovery, version 1, and queries of version 2 (RFC 2710, 3810).
    Listener,
    /// Version 2 reports (RFC 3810).
    ListenerReport,
}

/// What an ICMP type of IPv4 is. Types that list addresses of their own (router advertisement 9) or are obsolete
/// are not understood.
pub(crate) fn kind_v4(kind: u8) -> Option<Kind> {
    match kind {
        0 | 8 => Some(Kind::Echo),
        _ if quote::is_error(Version::V4, kind) => Some(Kind::Error),
        13 | 14 => Some(Kind::Timestamp),
        _ => None,
    }
}

/// What an ICMPv6 type is.
pub(crate) fn kind_v6(kind: u8) -> Option<Kind> {
    match kind {
        _ if quote::is_error(Version::V6, kind) => Some(Kind::Error),
        128 | 129 => Some(Kind::Echo),
        130..=132 => Some(Kind::Listener),
        143 => Some(Kind::ListenerReport),
        _ => neighbour_fixed_len(kind).map(Kind::Neighbour),
    }
}

/// Whether an ICMPv6 type never leaves its link: neighbour and listener discovery.
pub(crate) fn is_link_scope(kind: u8) -> bool {
    matches!(kind_v6(kind), Some(Kind::Neighbour(_) | Kind::Listener | Kind::ListenerReport))
}

/// Whether an ICMP message of `total` bytes, of which `have` are there, can be rewritten.
pub(crate) fn check_v4(have: &[u8], total: usize) -> Result<(), Dropped> {
    let number = have.first().copied().unwrap_or_default();
    let least = match kind_v4(number).ok_or(Dropped::IcmpType(number))? {
        // A quote has at least its IP header and 8 bytes more (RFC 792).
        Kind::Error => quote::AT + 20 + quote::LEAST,
        Kind::Timestamp => 20,
        _ => 8,
    };
    long_enough(total, least)
}

/// The same for ICMPv6.
pub(crate) fn check_v6(have: &[u8], total: usize) -> Result<(), Dropped> {
    let number = have.first().copied().unwrap_or_default();
    let kind = kind_v6(number).ok_or(Dropped::IcmpType(number))?;
    let least = match kind {
        Kind::Error => quote::AT + 40 + quote::LEAST,
        Kind::Neighbour(fixed) => fixed,
        Kind::Listener => 24,
        _ => 8,
    };
    long_enough(total, least)?;
    match kind {
        // A target or group that was cut off cannot be made up.
        Kind::Neighbour(fixed @ 24..) if have.len() < fixed => {
            Err(Dropped::Headers(Stop::Cut(Layer::Icmpv6)))
        }
        Kind::Listener if have.len() < 24 => Err(Dropped::Headers(Stop::Cut(Layer::Icmpv6))),
        Kind::Neighbour(fixed) if !(total - fixed).is_multiple_of(8) => {
            Err(Dropped::Length("neighbour discovery options are multiples of 8 bytes"))
        }
        _ => Ok(()),
    }
}

fn long_enough(total: usize, least: usize) -> Result<(), Dropped> {
    if total < least { Err(Dropped::Length("the icmp message is too short for its type")) } else { Ok(()) }
}

/// Visits the addresses of the message itself, in the bytes that are there.
pub(crate) fn visit_v4(message: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    // A redirect names the better router.
    match message.first() {
        Some(5) => addresses.v4_at(message.get_mut(4..8).unwrap_or_default()),
        _ => Ok(()),
    }
}

/// The same for ICMPv6.
pub(crate) fn visit_v6(message: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    let Some(kind) = message.first().and_then(|kind| kind_v6(*kind)) else { return Ok(()) };
    match kind {
        Kind::Neighbour(fixed) => ndp::visit(message, fixed, addresses),
        Kind::Listener => groups::visit_query(message, groups::Family::V6, addresses),
        Kind::ListenerReport => groups::visit_report(message, groups::Family::V6, addresses),
        Kind::Echo | Kind::Error | Kind::Timestamp => Ok(()),
    }
}

/// Moves the times of a timestamp message (RFC 792) by one offset per host, as its TCP timestamps: they tell a host's
/// clock, and are as long as an IPv4 address, so a packet that a model took for one must not carry them over. `sender`
/// and `receiver` are the offsets of the packet's. The first time is the asking host's, the two others are the
/// answering one's; a request leaves them 0, which stays.
pub(crate) fn move_times(message: &mut [u8], sender: u32, receiver: u32) {
    let (asking, answering) = if message[0] == REQUEST { (sender, receiver) } else { (receiver, sender) };
    let times = message.get_mut(8..).unwrap_or_default().chunks_exact_mut(4);
    for (time, by) in times.zip([asking, answering, answering]) {
        if let Ok(bytes) = <[u8; 4]>::try_from(&*time) {
            time.copy_from_slice(&moved_time(u32::from_be_bytes(bytes), by).to_be_bytes());
        }
    }
}

/// Timestamp request.
const REQUEST: u8 = 13;

fn moved_time(time: u32, by: u32) -> u32 {
    /// Milliseconds of a day: standard times are those since midnight.
    const DAY: u32 = 86_400_000;
    /// Says that the other bits are a time of some other kind.
    const NOT_STANDARD: u32 = 1 << 31;
    match time {
        0 => 0,
        1..DAY => (time + by % DAY) % DAY,
        _ => time & NOT_STANDARD | time.wrapping_add(by) & !NOT_STANDARD,
    }
}

/// Clears the parts of a message's head that no RFC gives a meaning, and the length field that RFC 4884 puts into
/// errors: it would announce extensions after the quote, and what follows the quoted headers is made up.
pub(crate) fn clear_unused_v4(head: &mut [u8; 8]) {
    let [kind, code, .., pointer, _, _, _] = *head;
    match (kind, code) {
        // The next hop's MTU (RFC 1191).
        (3, 4) => head[4..6].fill(0),
        (3 | 4 | 11, _) => head[4..8].fill(0),
        (12, _) => head[4..8].copy_from_slice(&[pointer, 0, 0, 0]),
        _ => {}
    }
}

/// The same for ICMPv6.
pub(crate) fn clear_unused_v6(head: &mut [u8; 8]) {
    match head[0] {
        1 | 3 | 133 | 135 | 137 => head[4..8].fill(0),
        // A pointer into the quote.
        4 => head[4..7].fill(0),
        // Router, solicited, override.
        136 => {
            head[4] &= 0xe0;
            head[5..8].fill(0);
        }
        // The maximum response delay is a query's alone; receivers look at no code (RFC 2710 section 3).
        130 => {
            head[1] = 0;
            head[6..8].fill(0);
        }
        131 | 132 => {
            head[1] = 0;
            head[4..8].fill(0);
        }
        143 => {
            head[1] = 0;
            head[4..6].fill(0);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(message: &[u8]) -> [u32; 3] {
        [8, 12, 16].map(|at| u32::from_be_bytes([0, 1, 2, 3].map(|i| message[at + i])))
    }

    fn message(kind: u8, times: [u32; 3]) -> Vec<u8> {
        [&[kind, 0, 0, 0, 0, 1, 0, 1][..], &times.map(u32::to_be_bytes).concat()].concat()
    }

    #[test]
    fn times_move_with_the_clock_of_their_host() {
        let (mut ask, mut answer) = (message(13, [86_399_999, 0, 0]), message(14, [86_399_999, 5, 7]));
        move_times(&mut ask, 3, 1_000);
        move_times(&mut answer, 1_000, 3);
        assert_eq!(times(&ask), [2, 0, 0]);
        assert_eq!(times(&answer), [2, 1_005, 1_007]);
        // 192.168.0.1 and 10.0.0.1 as times: no times of a day, and not kept either.
        let mut odd = message(14, [0xc0a8_0001, 0x0a00_0001, 0xffff_ffff]);
        move_times(&mut odd, 3, 2);
        assert_eq!(times(&odd), [0xc0a8_0003, 0x0a00_0004, 0x8000_0002]);
        // Cut ones.
        move_times(&mut odd[..8], 3, 2);
        move_times(&mut odd[..15], 0, 1);
        assert_eq!(times(&odd), [0xc0a8_0004, 0x0a00_0004, 0x8000_0002]);
    }
}
