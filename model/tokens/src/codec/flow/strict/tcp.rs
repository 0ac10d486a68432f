//! The strict rules of TCP (RFC 9293).

use netssm_wire::options::{Item, item_at};
use netssm_wire::tcp::{Flags, kind};

#[cfg(test)]
use super::{Lengths, room};
use crate::packet::tcp::option_fits;

/// Reserved bits. The lowest of the four above the flags is accurate ECN's.
#[cfg(test)]
const RESERVED: Flags = Flags::from_bits(0x0e00);

/// Whether a TCP sends this set of flags: one of SYN, FIN and RST at most, no PSH with SYN or RST, ACK on everything
/// but the first SYN and a bare RST. URG is left out (RFC 6093 deprecates it), and with it the urgent pointer is 0.
/// ECN flags may accompany anything. All twelve sets of the alphabet's table are legal.
#[cfg(test)]
pub(in super::super) fn tcp_flags_ok(flags: Flags) -> bool {
    let alone = match flags & (Flags::SYN | Flags::FIN | Flags::RST) {
        Flags::NONE | Flags::FIN => flags.contains(Flags::ACK),
        Flags::SYN | Flags::RST => !flags.contains(Flags::PSH),
        _ => false,
    };
    alone && !flags.intersects(RESERVED | Flags::URG)
}

/// Payload lengths of a segment: none with SYN or RST, else what fits behind a header without options.
#[cfg(test)]
pub(in super::super) fn tcp_lengths(v6: bool, flags: Flags) -> Lengths {
    if flags.intersects(Flags::SYN | Flags::RST) {
        Lengths::only(0)
    } else {
        Lengths::new(0, (room(v6) - 20) as u16, 1)
    }
}

/// Bytes of options that fit in a packet with this payload.
#[cfg(test)]
pub(in super::super) fn options_room(v6: bool, payload_len: u32) -> u32 {
    room(v6).saturating_sub(20 + payload_len).min(40) / 4 * 4
}

/// Whether options parse to their end and belong to these flags ([`option_fits`]). No kind occurs twice, without ACK
/// the echo is zero, and after the end of options there are zeros.
pub(in super::super) fn options_ok(options: &[u8], flags: Flags) -> bool {
    let mut seen = 0_u16;
    let mut at = 0;
    while let Some(item) = item_at(options, at) {
        match item {
            Item::End => return options[at + 1..].iter().all(|&byte| byte == 0),
            Item::Broken => return false,
            Item::Nop => at += 1,
            Item::Option { kind, len } => {
                let option = &options[at..at + len];
                let echoes = kind == kind::TIMESTAMPS && !flags.contains(Flags::ACK) && option[6..] != [0; 4];
                if !option_fits(option, flags) || echoes || seen & 1 << kind != 0 {
                    return false;
                }
                seen |= 1 << kind;
                at += len;
            }
        }
    }
    options.len().is_multiple_of(4) && options.len() <= 40
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_the_alphabet_are_legal() {
        for flags in [0x10, 0x18, 0x11, 0x19, 0x04, 0x14, 0x02, 0x12, 0xc2, 0x52, 0x50, 0x90] {
            assert!(tcp_flags_ok(Flags::from_bits(flags)), "{flags:#x}");
        }
        for flags in [0, 0x01, 0x08, 0x03, 0x06, 0x16, 0x15, 0x1a, 0x1c, 0x38, 0x210] {
            assert!(!tcp_flags_ok(Flags::from_bits(flags)), "{flags:#x}");
        }
    }

    #[test]
    fn options_belong_to_flags() {
        let syn = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert!(options_ok(&syn, Flags::SYN) && !options_ok(&syn, Flags::ACK) && options_ok(&[], Flags::RST));
        let timestamps = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7];
        assert!(options_ok(&timestamps, Flags::ACK) && !options_ok(&timestamps, Flags::RST));
        let sack = [1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        assert!(options_ok(&sack, Flags::ACK) && !options_ok(&sack, Flags::SYN | Flags::ACK));
        for broken in [
            &[4, 2, 4, 2][..],
            &[3, 3, 15, 1],
            &[8, 10, 0, 0],
            &[99, 1, 1, 1],
            &[0, 1, 0, 0],
            &[1, 1],
            &[34, 2, 1, 1],
        ] {
            assert!(!options_ok(broken, Flags::SYN), "{broken:?}");
        }
        assert_eq!(
            (options_room(false, 1460), options_room(false, 1448), options_room(true, 0)),
            (0, 12, 40)
        );
    }
}
