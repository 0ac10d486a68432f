//! The TCP header: fresh sequence numbers, shifted clocks, and options without identifiers.
//!
//! Sequence numbers of a direction move by one offset, which its peer's acknowledgements and SACK blocks follow,
//! so every relation between them is what it was (arithmetic is modulo 2^32, RFC 9293 section 3.4). Timestamps
//! (RFC 7323) move by one offset per host; an echo of 0 means "nothing to echo" and stays.

use netssm_wire::bytes::{be32, put};
use netssm_wire::options::{END, Item, NOP, item_at};
use netssm_wire::tcp::{Flags, Seq, kind};

use crate::draw::{Draw, draw};

/// What moves, and by how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    /// The sender's sequence numbers.
    pub(crate) own: u32,
    /// The receiver's, which the sender acknowledges.
    pub(crate) peer: u32,
    /// The sender's clock.
    pub(crate) own_clock: u32,
    /// The receiver's clock.
    pub(crate) peer_clock: u32,
    /// The sender has sent nothing in this flow yet.
    pub(crate) silent: bool,
    /// Where a Fast Open cookie is drawn from.
    pub(crate) cookie: u64,
}

/// The sequence number as it stands in a header; 0 where that is cut before it.
pub(crate) fn sequence(header: &[u8]) -> Seq {
    Seq(be32(header, 4).unwrap_or_default())
}

/// The flags of a whole header, without NS and the reserved bits.
pub(crate) fn flags(header: &[u8]) -> Flags {
    Flags::from_byte(header[13])
}

/// Moves the number at `at`, modulo 2^32; one that is cut stays.
fn add(bytes: &mut [u8], at: usize, by: u32) {
    if let Some(value) = be32(bytes, at) {
        put(bytes, at, &value.wrapping_add(by).to_be_bytes());
    }
}

/// Rewrites a header, `header` being exactly that header with its options (at least 20 bytes); ports are not touched.
pub(crate) fn rewrite(header: &mut [u8], shift: &Shift) {
    let flags = flags(header);
    // A host that refuses a connection resets with sequence number 0 (RFC 9293 section 3.10.7.1), which is no
    // place in a stream.
    let refuses = flags.contains(Flags::RST) && shift.silent && sequence(header) == Seq(0);
    if !refuses {
        add(header, 4, shift.own);
    }
    if flags.contains(Flags::ACK) {
        add(header, 8, shift.peer);
    } else {
        header[8..12].fill(0);
    }
    options(&mut header[20..], shift);
}

/// Rewrites what a quote holds of a header: the sequence number, and the rest as far as it goes.
pub(crate) fn rewrite_quoted(header: &mut [u8], shift: &Shift) {
    let len = header.get(12).map_or(20, |byte| usize::from(byte >> 4) * 4).max(20);
    match header.get_mut(..len) {
        Some(whole) => rewrite(whole, shift),
        None => {
            add(header, 4, shift.own);
            // Neither acknowledgement nor options can be told from flags that are not there.
            if let Some(rest) = header.get_mut(8..) {
                rest.fill(0);
            }
            // Still the whole header's length, so that what there is of its options is not read as data.
            if let Some(offset) = header.get_mut(12) {
                *offset = (len as u8 / 4) << 4; // at most 60 bytes
            }
        }
    }
}

fn options(list: &mut [u8], shift: &Shift) {
    let mut at = 0;
    while let Some(item) = item_at(list, at) {
        match item {
            Item::End => return list[at..].fill(END),
            Item::Broken => return list[at..].fill(NOP),
            Item::Nop => at += 1,
            Item::Option { kind, len } => {
                option(kind, &mut list[at..at + len], shift);
                at += len;
            }
        }
    }
}

fn option(number: u8, option: &mut [u8], shift: &Shift) {
    match (number, option.len()) {
        (kind::MSS, 4) | (kind::WINDOW_SCALE, 3) | (kind::SACK_PERMITTED, 2) | (kind::USER_TIMEOUT, 4) => {}
        // Pairs of edges in the peer's stream.
        (kind::SACK, len) if len > 2 && (len - 2) % 8 == 0 => {
            for edge in (2..len).step_by(4) {
                add(option, edge, shift.peer);
            }
        }
        (kind::TIMESTAMPS, 10) => {
            add(option, 2, shift.own_clock);
            if be32(option, 6) != Some(0) {
                add(option, 6, shift.peer_clock);
            }
        }
        // A Fast Open cookie is the server's secret for one address (RFC 7413).
        (kind::FAST_OPEN, len) if len == 2 || (6..=18).contains(&len) => {
            for (i, byte) in option[2..].iter_mut().enumerate() {
                *byte = draw(shift.cookie, Draw::Cookie, i as u64, 0) as u8;
            }
        }
        // Anything else may be an address (Multipath TCP), a key or a signature.
        _ => option.fill(NOP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], at: usize) -> u32 {
        be32(bytes, at).unwrap()
    }

    const SHIFT: Shift = Shift {
        own: 0xffff_fff0,
        peer: 1000,
        own_clock: 7,
        peer_clock: 0xffff_ffff,
        silent: false,
        cookie: 1,
    };

    fn header(flags: Flags, seq: u32, ack: u32, options: &[u8]) -> Vec<u8> {
        let mut h = vec![0u8; 20];
        h[4..8].copy_from_slice(&seq.to_be_bytes());
        h[8..12].copy_from_slice(&ack.to_be_bytes());
        h[12] = (((20 + options.len()) / 4) as u8) << 4;
        h[13] = flags.byte();
        h.extend_from_slice(options);
        h
    }

    #[test]
    fn numbers_move_modulo_two_to_the_32() {
        let mut h = header(Flags::ACK, 32, 5, &[]);
        rewrite(&mut h, &SHIFT);
        assert_eq!((read(&h, 4), read(&h, 8)), (16, 1005));
        let mut syn = header(Flags::SYN, 0, 77, &[]);
        rewrite(&mut syn, &SHIFT);
        assert_eq!((read(&syn, 4), read(&syn, 8)), (0xffff_fff0, 0));
    }

    #[test]
    fn a_refusal_keeps_its_zero() {
        let mut h = header(Flags::RST | Flags::ACK, 0, 1, &[]);
        rewrite(&mut h, &Shift { silent: true, ..SHIFT });
        assert_eq!((read(&h, 4), read(&h, 8)), (0, 1001));
        let mut h = header(Flags::RST | Flags::ACK, 0, 1, &[]);
        rewrite(&mut h, &SHIFT);
        assert_eq!(read(&h, 4), 0xffff_fff0);
    }

    #[test]
    fn options_follow_and_identifiers_go() {
        let stamps = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let sack = [5, 10, 0, 0, 0, 10, 0, 0, 0, 20];
        let mptcp = [30, 4, 9, 9];
        let mut options = vec![2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2];
        options.extend(stamps);
        options.extend(sack);
        options.extend(mptcp);
        options.extend([0, 9]);
        let mut h = header(Flags::ACK, 0, 0, &options);
        rewrite(&mut h, &SHIFT);
        let o = &h[20..];
        assert_eq!(o[..10], [2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2]);
        assert_eq!((read(o, 12), read(o, 16)), (8, 1));
        assert_eq!((read(o, 22), read(o, 26)), (1010, 1020));
        assert_eq!(o[30..], [1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn an_echo_of_zero_stays_and_cookies_are_new() {
        let mut h = header(Flags::SYN, 0, 0, &[8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 34, 6, 1, 2, 3, 4]);
        rewrite(&mut h, &SHIFT);
        assert_eq!((read(&h, 22), read(&h, 26)), (8, 0));
        assert_eq!(h[30..32], [34, 6]);
        assert_ne!(h[32..], [1, 2, 3, 4]);
    }

    #[test]
    fn broken_options_become_padding() {
        for broken in [[8, 0, 1, 2], [8, 99, 1, 2], [2, 3, 9, 9], [1, 1, 1, 8]] {
            let mut h = header(Flags::ACK, 0, 0, &broken);
            rewrite(&mut h, &SHIFT);
            let legal = h[20..].iter().all(|b| *b == 1) || h[20..] == [1, 1, 1, 1];
            assert!(legal || broken == [2, 3, 9, 9], "{broken:?}: {:?}", &h[20..]);
        }
    }

    #[test]
    fn cut_quotes_keep_what_they_have() {
        let mut eight = header(Flags::ACK, 32, 5, &[])[..8].to_vec();
        rewrite_quoted(&mut eight, &SHIFT);
        assert_eq!(read(&eight, 4), 16);
        let mut cut = header(Flags::ACK, 32, 5, &[1; 12])[..28].to_vec();
        rewrite_quoted(&mut cut, &SHIFT);
        assert_eq!((read(&cut, 4), read(&cut, 8), cut[12]), (16, 0, 0x80));
    }
}
