//! TCP headers (RFC 9293). Repair gives them flags that a TCP sends, options that parse, and a length that holds them.

use super::{Part, RepairDrop, RepairKind, clear_checksum, counts::Fixes, ip::Around};
use crate::packet::{shape::TCP_BYTES, tcp::option_fits};
use netssm_wire::bytes::{be16, put};
use netssm_wire::options::{END, Item, NOP, item_at};
use netssm_wire::tcp::{Flags, kind};

pub(super) fn repair(rest: &[u8], around: &Around, fixes: &mut Fixes) -> Result<Part, RepairDrop> {
    let mut header = rest.get(..TCP_BYTES).ok_or(RepairDrop::Short)?.to_vec();
    if be16(&header, 0) == Some(0) || be16(&header, 2) == Some(0) {
        return Err(RepairDrop::Port);
    }
    let declared_len = usize::from(header[12] >> 4) * 4;
    let available = rest.len().min(60) / 4 * 4;
    let header_len = declared_len.clamp(TCP_BYTES, available);
    if header_len != declared_len {
        fixes.note(RepairKind::TcpDataOffset);
    }
    // Three bits are reserved; the fourth is accurate ECN's.
    if header[12] & 0x0e != 0 {
        fixes.note(RepairKind::TcpReserved);
    }
    header[12] = ((header_len / 4) as u8) << 4 | header[12] & 0x01;

    let flags = legal_flags(Flags::from_byte(header[13]));
    fixes.set(RepairKind::TcpFlags, &mut header[13], flags.byte());
    if !flags.contains(Flags::ACK) {
        fixes.put(RepairKind::TcpAcknowledgement, &mut header, 8, &[0; 4]);
    }
    let options = &rest[TCP_BYTES..header_len];
    header.extend(legal_options(options, flags));
    if header[TCP_BYTES..] != *options {
        fixes.note(RepairKind::TcpOptions);
    }
    clear_checksum(&mut header, 16);

    let mut len = around.length(header_len);
    if flags.intersects(Flags::SYN | Flags::RST) && len > header_len {
        len = header_len;
        fixes.note(RepairKind::TcpPayload);
    }
    // URG says that there is urgent data: without payload there is none.
    if flags.contains(Flags::URG) && len == header_len {
        header[13] = (flags & !Flags::URG).byte();
        fixes.note(RepairKind::TcpUrgent);
    }
    if !Flags::from_byte(header[13]).contains(Flags::URG) {
        fixes.put(RepairKind::TcpUrgent, &mut header, 18, &[0, 0]);
    }
    Ok(Part { header, len })
}

/// The nearest set of flags that a TCP sends: one of SYN, FIN and RST at most, ACK on everything but the first SYN and
/// a bare RST. The two ECN flags may accompany anything.
fn legal_flags(flags: Flags) -> Flags {
    if flags.contains(Flags::SYN) {
        flags & !(Flags::FIN | Flags::RST | Flags::PSH | Flags::URG)
    } else if flags.contains(Flags::RST) {
        flags & !(Flags::FIN | Flags::PSH | Flags::URG)
    } else {
        flags | Flags::ACK
    }
}

/// The same number of option bytes with padding in place of what is illegal: unknown kinds, wrong lengths, repeated
/// options, and options that do not belong to these flags.
fn legal_options(options: &[u8], flags: Flags) -> Vec<u8> {
    let mut out = options.to_vec();
    let mut seen = 0_u16;
    let mut at = 0;
    while let Some(item) = item_at(&out, at) {
        match item {
            Item::End => {
                out[at..].fill(END);
                break;
            }
            // Nothing after this can be parsed.
            Item::Broken => {
                out[at..].fill(NOP);
                break;
            }
            Item::Nop => at += 1,
            Item::Option { kind, len } => {
                if !option_fits(&out[at..at + len], flags) || seen & 1 << kind != 0 {
                    out[at..at + len].fill(NOP);
                } else {
                    seen |= 1 << kind;
                    // Without ACK there is nothing to echo (RFC 7323 section 3.2).
                    if kind == kind::TIMESTAMPS && !flags.contains(Flags::ACK) {
                        put(&mut out, at + 6, &[0; 4]);
                    }
                }
                at += len;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECN: Flags = Flags::from_byte(0xc0);

    #[test]
    fn flags_become_the_nearest_legal_set() {
        for (flags, legal) in [
            (Flags::SYN, Flags::SYN),
            (Flags::SYN | Flags::ACK, Flags::SYN | Flags::ACK),
            (Flags::ACK, Flags::ACK),
            (Flags::PSH | Flags::ACK, Flags::PSH | Flags::ACK),
            (Flags::FIN | Flags::PSH | Flags::ACK, Flags::FIN | Flags::PSH | Flags::ACK),
            (Flags::RST, Flags::RST),
            (Flags::RST | Flags::ACK, Flags::RST | Flags::ACK),
            (Flags::SYN | ECN, Flags::SYN | ECN),
            (Flags::NONE, Flags::ACK),
            (Flags::FIN, Flags::FIN | Flags::ACK),
            (Flags::PSH, Flags::PSH | Flags::ACK),
            (Flags::SYN | Flags::FIN, Flags::SYN),
            (Flags::SYN | Flags::RST | Flags::ACK, Flags::SYN | Flags::ACK),
            (Flags::FIN | Flags::RST | Flags::ACK, Flags::RST | Flags::ACK),
            (Flags::from_byte(0xff), Flags::SYN | Flags::ACK | ECN),
        ] {
            assert_eq!(legal_flags(flags), legal, "{flags:?}");
            assert_eq!(legal_flags(legal), legal);
        }
    }

    #[test]
    fn options_that_do_not_parse_become_padding() {
        let syn = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(legal_options(&syn, Flags::SYN), syn);
        assert_eq!(legal_options(&[2, 4, 5, 180], Flags::ACK), [1; 4], "only a Flags::SYN has an MSS");
        assert_eq!(legal_options(&[4, 2, 4, 2], Flags::SYN), [4, 2, 1, 1], "twice");
        assert_eq!(legal_options(&[3, 3, 200, 0], Flags::SYN), [1, 1, 1, 0], "shift too large");
        assert_eq!(legal_options(&[1, 1, 8, 10], Flags::ACK), [1; 4], "cut");
        assert_eq!(legal_options(&[99, 1, 1, 1], Flags::ACK), [1; 4], "length below two");
        assert_eq!(legal_options(&[0, 7, 7, 7], Flags::ACK), [0; 4]);
        let timestamps = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7];
        assert_eq!(legal_options(&timestamps, Flags::ACK), timestamps);
        assert_eq!(legal_options(&timestamps, Flags::RST)[8..], [0; 4]);
    }
}
