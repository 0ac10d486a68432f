//! The packet that an ICMP error quotes: where it stands, and what can be read of it.
//!
//! An error repeats the head of the packet that caused it: its IP header and at least 8 bytes (RFC 792), in ICMPv6 as
//! much as fits (RFC 4443 section 2.4). There are three questions with an answer each:
//!
//! * [`range`] tells where in an error the quote stands, by the error's own lengths. It reads no byte of the quote.
//! * [`Quoted::read`] reads a quote's headers for rewriting. It needs only the 8 transport bytes that RFC 792 promises.
//!   ([`Layout::parse_ip`] gives no ports for a quote, because its TCP header is nearly always cut.)
//! * [`is_quote_for`] tells whether bytes can be the quote of a generated error, for repair. It follows IPv6 extension
//!   headers, which rewriting drops, and accepts TCP and UDP only, because repair quotes these two alone.

use std::net::IpAddr;
use std::ops::Range;

use crate::address_class::Scope;
use crate::bytes::{array, be16};
use crate::flow::FiveTuple;
use crate::frame::{Layout, Net, Stop, Transport, protocol};
use crate::icmp::{Version, View};
use crate::{ipv4, ipv6, tcp};

/// Offset of the packet that an error quotes from the error's type on, in both versions.
pub const AT: usize = View::LEN;
/// Bytes after a quoted IP header that every error has (RFC 792).
pub const LEAST: usize = 8;

/// Whether messages of this type are errors, which quote a packet. A redirect of ICMPv6 (137) is none: it quotes inside
/// an option, see [`neighbour_options`](crate::icmp::neighbour_options).
pub fn is_error(version: Version, kind: u8) -> bool {
    match version {
        Version::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        Version::V6 => matches!(kind, 1..=4),
    }
}

/// Where in `message` (from the ICMP header on) the packet stands that an error quotes.
///
/// It goes to the end of the message, or to where the length of RFC 4884 says that extensions begin. `None` for
/// messages that are not errors, and for an error cut before the first byte of the quote.
pub fn range(version: Version, message: &[u8]) -> Option<Range<usize>> {
    let view = View::new(message)?;
    let [first, second, ..] = view.word().to_be_bytes();
    if !is_error(version, view.kind()) || view.rest().is_empty() {
        return None;
    }
    let len = match (version, view.kind()) {
        (Version::V4, 3 | 11 | 12) => usize::from(second) * 4,
        (Version::V6, 1 | 3) => usize::from(first) * 8,
        _ => 0,
    };
    let end = if len == 0 { message.len() } else { (AT + len).min(message.len()) };
    Some(AT..end)
}

/// What a quote's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Addresses, ports (or ICMP type and code) and protocol.
    pub tuple: FiveTuple,
    /// Bytes of the IP header.
    pub header_len: usize,
    /// Bytes after it that the quoted packet had, by its length field.
    pub rest_len: usize,
}

impl Quoted {
    /// Reads a quote from its IP header on. `None` for a later fragment, for an IPv6 packet with extension headers, for
    /// a protocol other than TCP, UDP and the version's own ICMP, for addresses that no packet has, and for a quote
    /// that is shorter than RFC 792 asks.
    pub fn read(quote: &[u8]) -> Option<Quoted> {
        let (src, dst, number, header_len, rest_len): (IpAddr, IpAddr, u8, usize, usize) =
            match quote.first()? >> 4 {
                4 => {
                    let ip = ipv4::View::new(quote)?;
                    let header_len = ip.header_len();
                    if header_len < ipv4::View::LEN || ip.fragment_offset() != 0 {
                        return None;
                    }
                    let rest_len = usize::from(ip.total_len()).checked_sub(header_len)?;
                    (ip.src().into(), ip.dst().into(), ip.protocol(), header_len, rest_len)
                }
                6 => {
                    let ip = ipv6::View::new(quote)?;
                    let rest_len = usize::from(ip.payload_len());
                    (ip.src().into(), ip.dst().into(), ip.next_header(), ipv6::View::LEN, rest_len)
                }
                _ => return None,
            };
        let known =
            |ip| Scope::of(ip).is_host() || matches!(Scope::of(ip), Scope::Group | Scope::Unspecified);
        let rest: [u8; LEAST] = array(quote, header_len)?;
        if !known(src) || !known(dst) || rest_len < LEAST {
            return None;
        }
        let (src_port, dst_port) = match (number, src.is_ipv4()) {
            (protocol::TCP, _) if rest_len >= tcp::View::LEN => (be16(&rest, 0)?, be16(&rest, 2)?),
            (protocol::UDP, _) => (be16(&rest, 0)?, be16(&rest, 2)?),
            (protocol::ICMP, true) | (protocol::ICMPV6, false) => (rest[0].into(), rest[1].into()),
            _ => return None,
        };
        let tuple = FiveTuple { src, dst, src_port, dst_port, protocol: number };
        Some(Quoted { tuple, header_len, rest_len })
    }

    /// Bytes of the TCP header: what its data offset says (`offset`, its byte 12, where that is known), if the packet
    /// had as much. Else all that there is if that may be a header, as of a SYN with options, and else the least.
    pub fn tcp_header_len(&self, offset: Option<u8>) -> usize {
        const MOST: usize = 60;
        let said = offset.map(|byte| usize::from(byte >> 4) * 4);
        if let Some(said) = said.filter(|said| (tcp::View::LEN..=self.rest_len).contains(said)) {
            return said;
        }
        if self.rest_len <= MOST { (self.rest_len / 4 * 4).max(tcp::View::LEN) } else { tcp::View::LEN }
    }
}

/// Whether `bytes` are the quote of an error that `receiver` gets: an IP header of its family that it is the source of,
/// and 8 bytes or more of TCP or UDP.
pub fn is_quote_for(bytes: &[u8], receiver: IpAddr) -> bool {
    let layout = Layout::parse_ip(bytes);
    let header_len = match (&layout.net, receiver) {
        (Net::Ipv4(ip), IpAddr::V4(_)) => ip.header_len,
        (Net::Ipv6(ip), IpAddr::V6(_)) => ip.transport_at,
        _ => return false,
    };
    let legal = matches!(layout.stop, Stop::Whole | Stop::Cut(_));
    let known = matches!(
        layout.transport,
        Transport::Tcp { .. }
            | Transport::Udp { .. }
            | Transport::Other { protocol: protocol::TCP | protocol::UDP, .. }
    );
    legal
        && known
        && bytes.len() >= header_len + LEAST
        && layout.addresses(bytes).is_some_and(|(source, _)| source == receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Destination unreachable, next hop's MTU 1500, about 200 zeros.
    fn unreachable() -> Vec<u8> {
        let mut message = vec![3, 4, 0x12, 0x34, 0xab, 0xcd, 5, 0xdc];
        message.resize(208, 0);
        message
    }

    #[test]
    fn quotes_end_where_extensions_begin() {
        let mut message = unreachable();
        assert_eq!(range(Version::V4, &message[..8]), None);
        message[5] = 32;
        assert_eq!(range(Version::V4, &message), Some(8..136));
        message[5] = 0;
        assert_eq!(range(Version::V4, &message), Some(8..208));
        message[5] = 255;
        assert_eq!(range(Version::V4, &message), Some(8..208));
        message[0] = 8;
        assert_eq!(range(Version::V4, &message), None);
        (message[0], message[4]) = (1, 3);
        assert_eq!(range(Version::V6, &message), Some(8..32));
    }

    /// A SYN of 60 bytes from 10.0.0.1:49152 to 198.18.0.1:443, cut after 8 bytes of TCP.
    const SYN: [u8; 28] = [
        0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 198, 18, 0, 1, 0xc0, 0, 1, 0xbb, 0, 0, 0, 7,
    ];

    #[test]
    fn eight_bytes_are_enough_for_the_flow() {
        let quoted = Quoted::read(&SYN).unwrap();
        assert_eq!((quoted.tuple.src_port, quoted.tuple.dst_port), (49_152, 443));
        assert_eq!((quoted.header_len, quoted.rest_len), (20, 40));
        assert_eq!(Quoted::read(&SYN[..27]), None);
        let mut fragment = SYN;
        fragment[7] = 1;
        assert_eq!(Quoted::read(&fragment), None);
        let mut loopback = SYN;
        loopback[12] = 127;
        assert_eq!(Quoted::read(&loopback), None);
    }

    #[test]
    fn a_tcp_header_is_what_its_offset_says_or_all_that_can_be_one() {
        let quoted = Quoted::read(&SYN).unwrap();
        assert_eq!([Some(0x50), Some(0xf0), None].map(|offset| quoted.tcp_header_len(offset)), [20, 40, 40]);
        let long = Quoted { rest_len: 1480, ..quoted };
        assert_eq!((long.tcp_header_len(Some(0x80)), long.tcp_header_len(None)), (32, 20));
    }

    #[test]
    fn a_quote_is_from_whom_the_error_is_for() {
        assert!(is_quote_for(&SYN, [10, 0, 0, 1].into()));
        assert!(!is_quote_for(&SYN, [198, 18, 0, 1].into()));
        assert!(!is_quote_for(&SYN[..27], [10, 0, 0, 1].into()));
        assert!(!is_quote_for(&[0; 40], [0, 0, 0, 0].into()));
    }
}
