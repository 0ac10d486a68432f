//! Checksums of whole frames: filled in, and checked.
//!
//! [`fill`] is the last thing that happens to a frame before a sink takes it; [`verify`] tells what a
//! receiver would say. [`Sum`] and [`Stored`] are the arithmetic (RFC 1071, 1624), for callers that change a
//! few bytes of a packet which is not whole, the one quoted in an ICMP error for example.
//!
//! The word sum is etherparse's. Its `calc_checksum` methods are not used, because they want header structs
//! and know neither source routes nor what a cut frame leaves open; here the frame's own bytes are summed in
//! place.

mod destination;
mod sum;

pub use sum::{Stored, Sum};

use std::net::IpAddr;

use crate::bytes::be16;
use crate::frame::{Layout, Net, Stop, Transport, protocol};
use crate::icmp::Version;
use crate::quote;

/// Why a frame's checksums cannot be filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A header is cut or malformed, so what it covers is unknown.
    #[error("checksums not filled: {0}")]
    Headers(Stop),
    /// The frame ends before the IP packet does.
    #[error("checksums not filled: the ip packet ends at byte {need} and the frame at byte {have}")]
    Cut {
        /// Where the IP length says that the packet ends.
        need: usize,
        /// Length of the frame.
        have: usize,
    },
}

/// What a receiver would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// Right.
    Good,
    /// Wrong.
    Bad,
    /// There is none: another protocol, IPv6 (no header checksum), or UDP over IPv4 with checksum 0.
    Absent,
    /// The frame does not hold all that the checksum covers: cut, a fragment, or malformed.
    Unverifiable,
}

/// The result of [`verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checks {
    /// The IPv4 header's.
    pub ipv4: Check,
    /// The transport's: TCP, UDP, ICMP, ICMPv6, IGMP.
    pub transport: Check,
}

/// Writes every checksum of a whole frame: IPv4 header, TCP, UDP (also where it was 0), ICMP, ICMPv6, IGMP,
/// and the IPv4 header that an ICMP error quotes, where it is whole.
///
/// A fragment's transport checksum covers bytes of other frames and is left alone. A frame without IP has
/// none.
///
/// # Errors
/// A cut or malformed frame; nothing is written then.
pub fn fill(frame: &mut [u8]) -> Result<(), Error> {
    let layout = Layout::parse(frame);
    fill_parsed(frame, &layout)
}

/// As [`fill`], for a caller that has the layout already. `layout` must be that of `frame`.
///
/// # Errors
/// As [`fill`].
pub fn fill_parsed(frame: &mut [u8], layout: &Layout) -> Result<(), Error> {
    let Some(end) = layout.l3_end() else {
        return match layout.stop {
            Stop::Whole => Ok(()),
            stop => Err(Error::Headers(stop)),
        };
    };
    if layout.stop != Stop::Whole {
        return Err(Error::Headers(layout.stop));
    }
    if end > frame.len() {
        return Err(Error::Cut { need: end, have: frame.len() });
    }
    if let Transport::Icmp { at } = layout.transport {
        fill_quoted(&mut frame[at..end]);
    }
    if let Some(covered) = Covered::of(frame, layout) {
        put(frame, covered.field, Stored(0));
        let stored = covered.sum(frame).stored();
        put(frame, covered.field, if covered.udp { stored.udp() } else { stored });
    }
    if let Net::Ipv4(ip) = layout.net {
        fill_ipv4_header(&mut frame[ip.at..ip.at + ip.header_len]);
    }
    Ok(())
}

/// Writes the header checksum of the IPv4 header in `header`, which is exactly the header with its options. A
/// slice shorter than 20 bytes is left alone.
pub fn fill_ipv4_header(header: &mut [u8]) {
    if header.len() >= 20 {
        put(header, 10, Stored(0));
        let stored = Sum::default().bytes(header).stored();
        put(header, 10, stored);
    }
}

/// Writes the checksum of a transport segment that is not in a frame, of which `segment` is all. Protocols that have the
/// field elsewhere than TCP and UDP are taken for ICMP, ICMPv6 or IGMP. A segment that ends before the field, and one
/// between addresses of two IP versions, are left alone.
pub fn fill_transport(src: IpAddr, dst: IpAddr, number: u8, segment: &mut [u8]) {
    let field = match number {
        protocol::TCP => 16,
        protocol::UDP => 6,
        _ => 2,
    };
    let pseudo = match number {
        protocol::ICMP | protocol::IGMP => Some(Sum::default()),
        _ => Sum::default().pseudo(src, dst, number, segment.len() as u32),
    };
    let Some(pseudo) = pseudo else { return };
    put(segment, field, Stored(0));
    let stored = pseudo.bytes(segment).stored();
    put(segment, field, if number == protocol::UDP { stored.udp() } else { stored });
}

/// Says for each checksum of the frame whether a receiver would accept it.
pub fn verify(frame: &[u8]) -> Checks {
    let layout = Layout::parse(frame);
    let ipv4 = match layout.net {
        Net::Ipv4(ip) => match frame.get(ip.at..ip.at + ip.header_len) {
            Some(header) => check(Sum::default().bytes(header)),
            None => Check::Unverifiable,
        },
        _ => Check::Absent,
    };
    Checks { ipv4, transport: verify_transport(frame, &layout) }
}

fn verify_transport(frame: &[u8], layout: &Layout) -> Check {
    let number = match layout.net {
        Net::Ipv4(ip) => ip.protocol,
        Net::Ipv6(ip) => ip.protocol,
        _ => return Check::Absent,
    };
    let known = [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ICMPV6, protocol::IGMP];
    if layout.stop != Stop::Whole {
        return Check::Unverifiable;
    }
    if !known.contains(&number) {
        return Check::Absent;
    }
    if let Transport::Udp { at } = layout.transport
        && be16(frame, at + 6) == Some(0)
    {
        // RFC 8200 section 8.1: over IPv6 a zero checksum is an error.
        return if matches!(layout.net, Net::Ipv6(_)) { Check::Bad } else { Check::Absent };
    }
    match Covered::of(frame, layout) {
        Some(covered) if covered.end <= frame.len() => check(covered.sum(frame)),
        _ => Check::Unverifiable,
    }
}

fn check(sum: Sum) -> Check {
    if sum.folded() == 0xffff { Check::Good } else { Check::Bad }
}

/// What a transport checksum covers, and where it stands.
struct Covered {
    at: usize,
    end: usize,
    /// Offset of the checksum field.
    field: usize,
    udp: bool,
    /// The pseudo-header's sum.
    pseudo: Sum,
}

impl Covered {
    /// `None` where there is no checksum that this frame alone covers.
    fn of(frame: &[u8], layout: &Layout) -> Option<Covered> {
        if layout.fragment().is_some() || layout.stop != Stop::Whole {
            return None;
        }
        let mut end = layout.l3_end()?;
        let (at, field, number) = match layout.transport {
            Transport::Tcp { at, .. } => (at, at + 16, protocol::TCP),
            Transport::Udp { at } => {
                // Bytes between the UDP length and the IP length are not UDP's; the walk checked that the
                // former is not beyond the latter.
                end = at + usize::from(be16(frame, at + 4)?);
                (at, at + 6, protocol::UDP)
            }
            Transport::Icmp { at } => (at, at + 2, protocol::ICMP),
            Transport::Icmpv6 { at } => (at, at + 2, protocol::ICMPV6),
            Transport::Igmp { at } => (at, at + 2, protocol::IGMP),
            Transport::None | Transport::Other { .. } => return None,
        };
        // ICMP and IGMP have no pseudo-header, over whatever they are sent (RFC 792, RFC 3376).
        let pseudo = if matches!(number, protocol::ICMP | protocol::IGMP) {
            Sum::default()
        } else {
            let (src, dst) = destination::pseudo_addresses(frame, layout)?;
            Sum::default().pseudo(src, dst, number, u32::try_from(end - at).ok()?)?
        };
        Some(Covered { at, end, field, udp: number == protocol::UDP, pseudo })
    }

    /// Sum of pseudo-header and covered bytes; those past the frame's end count as absent.
    fn sum(&self, frame: &[u8]) -> Sum {
        self.pseudo.bytes(&frame[self.at.min(frame.len())..self.end.min(frame.len())])
    }
}

/// Writes the header checksum of the IPv4 packet that an ICMP error quotes. `icmp` is the whole message.
fn fill_quoted(icmp: &mut [u8]) {
    if !icmp.first().is_some_and(|kind| quote::is_error(Version::V4, *kind)) {
        return;
    }
    let Some(quoted) = icmp.get_mut(quote::AT..) else { return };
    let Some(&first) = quoted.first() else { return };
    let len = usize::from(first & 0x0f) * 4;
    if first >> 4 == 4 && len >= 20 && len <= quoted.len() {
        fill_ipv4_header(&mut quoted[..len]);
    }
}

fn put(bytes: &mut [u8], at: usize, stored: Stored) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&stored.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Layer;

    /// UDP over IPv4 with all checksums zero.
    fn udp(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 28 + payload.len() as u8, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8 + payload.len() as u8, 0, 0]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_segment_alone_gets_the_checksum_that_its_frame_gives_it() {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 198, 18, 0, 1]);
        frame.extend([0xc3, 0x50, 0, 53, 0, 11, 0xee, 0xee, 1, 2, 3]);
        let mut segment = frame[34..].to_vec();
        fill(&mut frame).unwrap();
        fill_transport([10, 0, 0, 1].into(), [198, 18, 0, 1].into(), protocol::UDP, &mut segment);
        assert_eq!(segment, frame[34..]);
        let (v4, v6) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([0; 16]));
        let mut short = [1; 7];
        fill_transport(v4, v4, protocol::UDP, &mut short);
        assert_eq!(short, [1; 7]);
        fill_transport(v4, v6, protocol::UDP, &mut segment);
        assert_eq!(segment, frame[34..]);
    }

    #[test]
    fn the_ipv4_header_of_a_textbook_is_filled() {
        // The worked example that most texts use; its checksum is 0xb861.
        let mut header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xff, 0xff, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        fill_ipv4_header(&mut header);
        assert_eq!(header[10..12], [0xb8, 0x61]);
        fill_ipv4_header(&mut header[..19]);
        assert_eq!(header[10..12], [0xb8, 0x61]);
    }

    #[test]
    fn udp_zero_is_sent_as_all_ones_and_received_as_absent() {
        let mut frame = udp(&[0, 0]);
        fill(&mut frame).unwrap();
        // The payload that makes the sum come out as zero is what the checksum was.
        let checksum = [frame[40], frame[41]];
        let mut frame = udp(&checksum);
        assert_eq!(verify(&frame).transport, Check::Absent);
        fill(&mut frame).unwrap();
        assert_eq!(frame[40..42], [0xff, 0xff]);
        assert_eq!(verify(&frame), Checks { ipv4: Check::Good, transport: Check::Good });
        frame[43] ^= 1;
        assert_eq!(verify(&frame), Checks { ipv4: Check::Good, transport: Check::Bad });
        frame[15] ^= 1;
        assert_eq!(verify(&frame).ipv4, Check::Bad);
    }

    #[test]
    fn frames_that_cannot_be_filled_say_why_and_stay() {
        let mut whole = udp(&[1, 2, 3]);
        whole[40] = 1;
        let mut cut = whole[..44].to_vec();
        assert_eq!(fill(&mut cut), Err(Error::Cut { need: 45, have: 44 }));
        assert_eq!(cut, whole[..44]);
        assert_eq!(verify(&cut).transport, Check::Unverifiable);
        let mut cut = whole[..40].to_vec();
        assert_eq!(fill(&mut cut), Err(Error::Headers(Stop::Cut(Layer::Udp))));
        assert_eq!(fill(&mut [0; 10]), Err(Error::Headers(Stop::Cut(Layer::Ethernet))));
        let mut other = [&[2; 12][..], &[0x88, 0xcc, 1]].concat();
        assert_eq!(fill(&mut other), Ok(()));
        let error = Error::Cut { need: 45, have: 44 }.to_string();
        assert_eq!(error, "checksums not filled: the ip packet ends at byte 45 and the frame at byte 44");
    }

    #[test]
    fn a_fragment_keeps_its_transport_checksum() {
        let mut frame = udp(&[1, 2, 3, 4]);
        frame[20] = 0x20;
        (frame[40], frame[41]) = (0xab, 0xcd);
        fill(&mut frame).unwrap();
        assert_eq!(frame[40..42], [0xab, 0xcd]);
        assert_eq!(verify(&frame), Checks { ipv4: Check::Good, transport: Check::Unverifiable });
    }

    #[test]
    fn the_quoted_header_of_an_error_is_filled_where_it_is_whole() {
        let inner = &udp(&[9])[14..];
        let mut frame = vec![2; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 28 + inner.len() as u8, 0, 0, 0, 0, 64, 1, 0, 0]);
        frame.extend([10, 0, 0, 2, 10, 0, 0, 1, 3, 3, 0, 0, 0, 0, 0, 0]);
        frame.extend(inner);
        fill(&mut frame).unwrap();
        assert_eq!(Sum::default().bytes(&frame[42..62]).folded(), 0xffff);
        assert_eq!(verify(&frame), Checks { ipv4: Check::Good, transport: Check::Good });
    }
}
