//! TCP and IP options. Those that tell how the connection works stay. Those that carry addresses, cookies or keys
//! become padding of the same length.

use super::stream::{Direction, Streams};
use netssm_wire::bytes::{be32, put};
use netssm_wire::ipv4::ROUTER_ALERT;
use netssm_wire::options::{END, Item, NOP, item_at};
use netssm_wire::tcp::kind;

const V6_PAD1: u8 = 0;
const V6_PADN: u8 = 1;
/// RFC 2711; multicast listener discovery sends it.
const V6_ROUTER_ALERT: u8 = 5;

/// Maps TCP options; `options` is what was captured of them. The length of the result is a multiple of four and at most
/// that of the original list. An option that the capture length cut is dropped. An option with an impossible length
/// ends the list.
pub(super) fn tcp(options: &[u8], streams: &mut Streams, direction: Direction, acknowledged: u32) -> Vec<u8> {
    let reverse = (direction.1, direction.0);
    let mut out = Vec::with_capacity(options.len());
    let mut from = 0;
    while let Some(item) = item_at(options, from) {
        let (kind, len) = match item {
            // What follows is padding; real systems use zeros.
            Item::End => {
                out.resize(out.len() + options.len() - from, END);
                break;
            }
            Item::Broken => break,
            Item::Nop => {
                out.push(NOP);
                from += 1;
                continue;
            }
            Item::Option { kind, len } => (kind, len),
        };
        let option = &options[from..from + len];
        from += len;
        let at = out.len();
        match (kind, len) {
            (kind::MSS, 4) | (kind::WINDOW_SCALE, 3) | (kind::SACK_PERMITTED, 2) => {
                out.extend_from_slice(option)
            }
            (kind::TIMESTAMPS, 10) => {
                out.extend_from_slice(option);
                let value = be32(option, 2).unwrap_or_default();
                let echo = be32(option, 6).unwrap_or_default();
                put(&mut out, at + 2, &streams.timestamp(direction, value).to_be_bytes());
                put(&mut out, at + 6, &streams.echo(reverse, echo).to_be_bytes());
            }
            (kind::SACK, 10 | 18 | 26 | 34) => {
                out.extend_from_slice(option);
                for edge in (2..len).step_by(4) {
                    let value = be32(option, edge).unwrap_or_default();
                    put(&mut out, at + edge, &streams.sack_edge(reverse, value, acknowledged).to_be_bytes());
                }
            }
            // Fast Open cookies, Multipath keys, signatures, experiments.
            _ => out.resize(at + len, NOP),
        }
    }
    // Only a cut or broken list leaves a remainder. There is always room, because the length of the full list was a
    // multiple of four.
    out.resize(out.len().next_multiple_of(4), NOP);
    out
}

/// Blanks IPv4 options in place, except router alert and padding.
pub(super) fn ipv4(options: &mut [u8]) {
    let mut at = 0;
    while let Some(item) = item_at(options, at) {
        match item {
            Item::End | Item::Broken => return options[at..].fill(END),
            Item::Nop => at += 1,
            Item::Option { kind: ROUTER_ALERT, len: 4 } => at += 4,
            Item::Option { len, .. } => {
                options[at..at + len].fill(NOP);
                at += len;
            }
        }
    }
}

/// Blanks the options of a hop-by-hop header in place, except router alert. `options` starts after its two header
/// bytes.
pub(super) fn hop_by_hop(options: &mut [u8]) {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        if kind == V6_PAD1 {
            at += 1;
            continue;
        }
        let Some(len) =
            options.get(at + 1).map(|&len| usize::from(len)).filter(|len| at + 2 + len <= options.len())
        else {
            return options[at..].fill(V6_PAD1);
        };
        if (kind, len) != (V6_ROUTER_ALERT, 2) {
            options[at] = V6_PADN;
            options[at + 2..at + 2 + len].fill(0);
        }
        at += 2 + len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(options: &[u8]) -> Vec<u8> {
        let end = |last, port| (std::net::IpAddr::from([10, 0, 0, last]), port);
        tcp(options, &mut Streams::default(), (end(1, 1), end(2, 2)), 7)
    }

    #[test]
    fn a_linux_syn_keeps_its_layout() {
        let syn = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
        let expected = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(map(&syn), expected);
        // Cut at 72 bytes, as the Requet captures are: the window scale is lost, nothing else.
        assert_eq!(map(&syn[..18]), [&expected[..17], &[1, 1, 1]].concat());
    }

    #[test]
    fn cookies_and_broken_lists_become_padding() {
        assert_eq!(map(&[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]), [1; 12]);
        assert_eq!(map(&[2, 4, 5, 180, 99, 0, 0, 0]), [2, 4, 5, 180]);
        assert_eq!(map(&[0, 9, 9, 9]), [0; 4]);
        assert_eq!(map(&[]), Vec::<u8>::new());
    }

    #[test]
    fn ip_options_lose_their_addresses() {
        let mut options = [7, 7, 4, 1, 2, 3, 4, 0];
        ipv4(&mut options);
        assert_eq!(options, [1, 1, 1, 1, 1, 1, 1, 0]);
        let mut alert = [148, 4, 0, 0];
        ipv4(&mut alert);
        assert_eq!(alert, [148, 4, 0, 0]);
        let mut broken = [7, 0, 1, 2];
        ipv4(&mut broken);
        assert_eq!(broken, [0; 4]);
        let mut v6 = [5, 2, 0, 0, 201, 2, 9, 9, 1, 200];
        hop_by_hop(&mut v6);
        assert_eq!(v6, [5, 2, 0, 0, 1, 2, 0, 0, 0, 0]);
    }
}
