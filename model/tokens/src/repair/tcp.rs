//! TCP headers (RFC 9293): flags that a TCP sends, options that parse, and a length that holds them.

use super::{Dropped, Part, RepairKind, clear_checksum, counts::Fixes, ip::Around};
use crate::packet::shape::{TCP_BYTES, be16, put};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMP: u8 = 8;
/// RFC 7323 section 2.3.
const MAX_WINDOW_SHIFT: u8 = 14;

pub(super) fn repair(rest: &[u8], around: &Around, fixes: &mut Fixes) -> Result<Part, Dropped> {
    let mut header = rest.get(..TCP_BYTES).ok_or(Dropped::Short)?.to_vec();
    if be16(&header, 0) == Some(0) || be16(&header, 2) == Some(0) {
        return Err(Dropped::Port);
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

    let flags = legal_flags(header[13]);
    fixes.set(RepairKind::TcpFlags, &mut header[13], flags);
    if flags & ACK == 0 {
        fixes.put(RepairKind::TcpAcknowledgement, &mut header, 8, &[0; 4]);
    }
    let options = &rest[TCP_BYTES..header_len];
    header.extend(legal_options(options, flags));
    if header[TCP_BYTES..] != *options {
        fixes.note(RepairKind::TcpOptions);
    }
    clear_checksum(&mut header, 16);

    let mut len = around.length(header_len);
    if flags & (SYN | RST) != 0 && len > header_len {
        len = header_len;
        fixes.note(RepairKind::TcpPayload);
    }
    // URG says that there is urgent data: without payload there is none.
    if flags & URG != 0 && len == header_len {
        header[13] &= !URG;
        fixes.note(RepairKind::TcpUrgent);
    }
    if header[13] & URG == 0 {
        fixes.put(RepairKind::TcpUrgent, &mut header, 18, &[0, 0]);
    }
    Ok(Part { header, len })
}

/// The nearest set of flags that a TCP sends: one of SYN, FIN and RST at most, ACK on everything but the first SYN and a
/// bare RST. The two ECN flags may accompany anything.
fn legal_flags(flags: u8) -> u8 {
    if flags & SYN != 0 {
        flags & !(FIN | RST | PSH | URG)
    } else if flags & RST != 0 {
        flags & !(FIN | PSH | URG)
    } else {
        flags | ACK
    }
}

/// The same number of option bytes with everything illegal turned into padding: unknown kinds, wrong lengths, repeated
/// options, options that only a SYN carries (or must not).
fn legal_options(options: &[u8], flags: u8) -> Vec<u8> {
    let mut out = options.to_vec();
    let (syn, ack) = (flags & SYN != 0, flags & ACK != 0);
    let mut seen = 0_u16;
    let mut at = 0;
    while let Some(&kind) = out.get(at) {
        match kind {
            END => {
                out[at..].fill(END);
                break;
            }
            NOP => at += 1,
            _ => {
                let len = out.get(at + 1).map_or(0, |&len| usize::from(len));
                if len < 2 || at + len > out.len() {
                    // Nothing after this can be told apart.
                    out[at..].fill(NOP);
                    break;
                }
                let fits = match (kind, len) {
                    (MSS, 4) | (SACK_PERMITTED, 2) => syn,
                    (WINDOW_SCALE, 3) => syn && out[at + 2] <= MAX_WINDOW_SHIFT,
                    (SACK, 10 | 18 | 26 | 34) => ack && !syn,
                    (TIMESTAMP, 10) => true,
                    _ => false,
                };
                if !fits || seen & 1 << kind != 0 {
                    out[at..at + len].fill(NOP);
                } else {
                    seen |= 1 << kind;
                    // Without ACK there is nothing to echo (RFC 7323 section 3.2).
                    if kind == TIMESTAMP && !ack {
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

    #[test]
    fn flags_become_the_nearest_legal_set() {
        for (flags, legal) in [
            (SYN, SYN),
            (SYN | ACK, SYN | ACK),
            (ACK, ACK),
            (PSH | ACK, PSH | ACK),
            (FIN | PSH | ACK, FIN | PSH | ACK),
            (RST, RST),
            (RST | ACK, RST | ACK),
            (SYN | 0xc0, SYN | 0xc0),
            (0, ACK),
            (FIN, FIN | ACK),
            (PSH, PSH | ACK),
            (SYN | FIN, SYN),
            (SYN | RST | ACK, SYN | ACK),
            (FIN | RST | ACK, RST | ACK),
            (0xff, SYN | ACK | 0xc0),
        ] {
            assert_eq!(legal_flags(flags), legal, "{flags:#04x}");
            assert_eq!(legal_flags(legal), legal);
        }
    }

    #[test]
    fn options_that_do_not_parse_become_padding() {
        let syn = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(legal_options(&syn, SYN), syn);
        assert_eq!(legal_options(&[2, 4, 5, 180], ACK), [1; 4], "only a SYN has an MSS");
        assert_eq!(legal_options(&[4, 2, 4, 2], SYN), [4, 2, 1, 1], "twice");
        assert_eq!(legal_options(&[3, 3, 200, 0], SYN), [1, 1, 1, 0], "shift too large");
        assert_eq!(legal_options(&[1, 1, 8, 10], ACK), [1; 4], "cut");
        assert_eq!(legal_options(&[99, 1, 1, 1], ACK), [1; 4], "length below two");
        assert_eq!(legal_options(&[0, 7, 7, 7], ACK), [0; 4]);
        let stamps = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7];
        assert_eq!(legal_options(&stamps, ACK), stamps);
        assert_eq!(legal_options(&stamps, RST)[8..], [0; 4]);
    }
}
