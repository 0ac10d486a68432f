//! Options of IPv4 and IPv6 headers: those that hold addresses or are not known become padding of the same length.
//!
//! Record route, source routes and timestamps list hosts on the way; security labels and stream identifiers name the
//! original network. Only the router alert is kept, which IGMP and MLD need.

use netssm_wire::ipv4::ROUTER_ALERT;
use netssm_wire::options::{END, Item, NOP, item_at};

/// Cleans the options of an IPv4 header, `header` being exactly that header.
pub(crate) fn clean_v4(header: &mut [u8]) {
    let list = header.get_mut(20..).unwrap_or_default();
    let mut at = 0;
    while let Some(item) = item_at(list, at) {
        match item {
            Item::End => return list[at..].fill(END),
            // A length that leads nowhere: nothing after it can be read.
            Item::Broken => return list[at..].fill(NOP),
            Item::Nop => at += 1,
            Item::Option { kind: ROUTER_ALERT, len: 4 } => {
                list[at + 2..at + 4].fill(0); // the only value defined (RFC 2113)
                at += 4;
            }
            Item::Option { len, .. } => {
                list[at..at + len].fill(NOP);
                at += len;
            }
        }
    }
}

/// Cleans a hop-by-hop or destination options header of IPv6, `header` being exactly that header.
pub(crate) fn clean_v6(header: &mut [u8]) {
    const PAD_ONE: u8 = 0;
    const PAD_N: u8 = 1;
    const ROUTER_ALERT: u8 = 5;
    let mut rest = header.get_mut(2..).unwrap_or_default();
    while let Some(&kind) = rest.first() {
        let len = match (kind, rest.get(1)) {
            (PAD_ONE, _) | (_, None) => 1,
            (_, Some(len)) => 2 + usize::from(*len),
        };
        if len > rest.len() {
            pad(rest);
            return;
        }
        let (option, after) = rest.split_at_mut(len);
        if !(kind == ROUTER_ALERT && len == 4) {
            pad(option);
        }
        rest = after;
    }
    fn pad(option: &mut [u8]) {
        let len = option.len();
        option.fill(0);
        if len >= 2 {
            option[0] = PAD_N;
            option[1] = (len - 2).min(255) as u8; // an option was read with a length byte
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_ipv4_options_become_padding() {
        let mut header = [0u8; 40];
        // Record route of two addresses, router alert, end, junk.
        header[20..].copy_from_slice(&[7, 11, 4, 8, 8, 8, 8, 1, 1, 1, 1, 148, 4, 0, 0, 0, 9, 9, 9, 9]);
        clean_v4(&mut header);
        assert_eq!(header[20..], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 0, 0, 0, 0, 0]);
        let mut broken = [0u8; 28];
        broken[20..].copy_from_slice(&[1, 7, 99, 4, 8, 8, 8, 8]);
        clean_v4(&mut broken);
        assert_eq!(broken[20..], [1; 8]);
        let mut alert = [0u8; 24];
        alert[20..].copy_from_slice(&[148, 9, 8, 8]);
        clean_v4(&mut alert);
        assert_eq!(alert[20..], [1; 4]);
    }

    #[test]
    fn home_addresses_in_ipv6_options_become_padding() {
        let mut header = [0u8; 24];
        header[2..8].copy_from_slice(&[5, 2, 0, 0, 0, 201]);
        header[8] = 15; // one byte short of an address, and beyond the header
        header[9..].fill(0xaa);
        clean_v6(&mut header);
        assert_eq!(header[2..7], [5, 2, 0, 0, 0]);
        assert_eq!(header[7..9], [1, 15]);
        assert!(header[9..].iter().all(|b| *b == 0));
        let mut pads = [0, 0, 0, 0, 1, 2, 7, 7];
        clean_v6(&mut pads);
        assert_eq!(pads, [0, 0, 0, 0, 1, 2, 0, 0]);
    }
}
