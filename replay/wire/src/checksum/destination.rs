//! The addresses of the pseudo-header, which are not always those of the IP header.
//!
//! A source route means that the packet is still on its way: the checksum was made for the final destination
//! (RFC 8200 section 8.1; IPv4's routes likewise). A home address option means that the sender's address is
//! in the option (RFC 6275 section 11.3.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::array;
use crate::frame::{Extension, Ipv4Layout, Ipv6Layout, Layout, Net, protocol};
use crate::ipv4;

/// Source and destination that the transport checksum was made with.
pub(super) fn pseudo_addresses(frame: &[u8], layout: &Layout) -> Option<(IpAddr, IpAddr)> {
    let (src, dst) = layout.addresses(frame)?;
    Some(match (layout.net, src, dst) {
        (Net::Ipv4(ip), IpAddr::V4(_), IpAddr::V4(dst)) => {
            (src, IpAddr::V4(source_route(frame, ip).unwrap_or(dst)))
        }
        (Net::Ipv6(ip), IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (home, last) = extensions(frame, ip);
            (IpAddr::V6(home.unwrap_or(src)), IpAddr::V6(last.unwrap_or(dst)))
        }
        _ => (src, dst),
    })
}

/// The last address of a source route that is not used up.
fn source_route(frame: &[u8], ip: Ipv4Layout) -> Option<Ipv4Addr> {
    let options = frame.get(ip.at + 20..ip.at + ip.header_len)?;
    ipv4::Options::new(options).find_map(|option| option.final_destination())
}

/// Home address of a destination option, and the final address of a routing header with segments left.
fn extensions(frame: &[u8], ip: Ipv6Layout) -> (Option<Ipv6Addr>, Option<Ipv6Addr>) {
    let (mut home, mut last) = (None, None);
    for Extension { number, at, len } in ip.extensions(frame) {
        let header = frame.get(at..at + len).unwrap_or_default();
        match (number, header) {
            (protocol::ROUTING, &[_, _, kind, left, ..]) if left > 0 => {
                last = final_segment(header, kind).or(last);
            }
            (protocol::DESTINATION, _) => home = home_address(header).or(home),
            _ => {}
        }
    }
    (home, last)
}

/// Types 0 (RFC 2460) and 2 (RFC 6275) list the final address last, segment routing (4, RFC 8754) first.
fn final_segment(header: &[u8], kind: u8) -> Option<Ipv6Addr> {
    let at = match kind {
        0 | 2 => header.len().checked_sub(16).filter(|at| *at >= 8)?,
        4 => 8,
        _ => return None,
    };
    array::<16>(header, at).map(Ipv6Addr::from)
}

/// The home address option (type 201) of a destination options header.
fn home_address(header: &[u8]) -> Option<Ipv6Addr> {
    let mut at = 2;
    loop {
        match *header.get(at)? {
            0 => at += 1, // Pad1 has no length
            201 if header.get(at + 1) == Some(&16) => return array::<16>(header, at + 2).map(Ipv6Addr::from),
            _ => at += 2 + usize::from(*header.get(at + 1)?),
        }
    }
}
