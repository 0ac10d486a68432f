//! The packet that an ICMP error quotes: what can be read of it.
//!
//! A quote is rewritten with the same map as the packet it comes from. One that is too short, a later fragment,
//! or of a protocol that is not rewritten is replaced: see `errors`.

use std::net::IpAddr;

use netssm_wire::flow::FiveTuple;
use netssm_wire::frame::protocol;

use super::addresses::Addresses;
use super::dropped::Dropped;
use super::scope::Scope;

/// What a quote's IP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    /// Addresses, ports (or ICMP type and code) and protocol.
    pub(super) tuple: FiveTuple,
    /// Bytes of the IP header.
    pub(super) header_len: usize,
    /// Bytes after it that the quoted packet had, by its length field.
    pub(super) rest_len: usize,
}

impl Quoted {
    /// Bytes of the TCP header: what its data offset says (its byte 12, where the session has that), if the packet had as much.
    /// Else all that there is if that may be a header, as of a SYN with options, and else the least.
    pub(super) fn tcp_header(&self, offset: Option<u8>) -> usize {
        const LEAST: usize = 20;
        const MOST: usize = 60;
        let said = offset.map(|byte| usize::from(byte >> 4) * 4);
        if let Some(said) = said.filter(|said| (LEAST..=self.rest_len).contains(said)) {
            return said;
        }
        if self.rest_len <= MOST { (self.rest_len / 4 * 4).max(LEAST) } else { LEAST }
    }
}

/// Reads a quote; `None` when it cannot be rewritten.
pub(super) fn parse(quoted: &[u8]) -> Option<Quoted> {
    let (src, dst, number, header_len, rest_len): (IpAddr, IpAddr, u8, usize, usize) =
        match quoted.first()? >> 4 {
            4 => {
                let head = quoted.first_chunk::<20>()?;
                let header_len = usize::from(head[0] & 0x0f) * 4;
                let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
                let offset = u16::from_be_bytes([head[6], head[7]]) & 0x1fff;
                if header_len < 20 || offset != 0 {
                    return None;
                }
                let ip = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]].into();
                (ip(12), ip(16), head[9], header_len, total.checked_sub(header_len)?)
            }
            6 => {
                let head = quoted.first_chunk::<40>()?;
                let ip = |at: usize| <[u8; 16]>::try_from(&head[at..at + 16]).map(IpAddr::from).ok();
                (ip(8)?, ip(24)?, head[6], 40, usize::from(u16::from_be_bytes([head[4], head[5]])))
            }
            _ => return None,
        };
    let known = |ip| Scope::of(ip).is_host() || matches!(Scope::of(ip), Scope::Group | Scope::Unspecified);
    let rest = quoted.get(header_len..header_len + 8)?;
    if !known(src) || !known(dst) || rest_len < 8 {
        return None;
    }
    let (src_port, dst_port) = match (number, src.is_ipv4()) {
        (protocol::TCP, _) if rest_len >= 20 => ports(rest),
        (protocol::UDP, _) => ports(rest),
        (protocol::ICMP, true) | (protocol::ICMPV6, false) => (rest[0].into(), rest[1].into()),
        _ => return None,
    };
    Some(Quoted { tuple: FiveTuple { src, dst, src_port, dst_port, protocol: number }, header_len, rest_len })
}

fn ports(rest: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([rest[0], rest[1]]), u16::from_be_bytes([rest[2], rest[3]]))
}

/// Visits the addresses of a quote that [`parse`] reads.
pub(super) fn visit(quoted: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    match parse(quoted) {
        Some(Quoted { tuple: FiveTuple { src: IpAddr::V4(_), .. }, .. }) => {
            addresses.v4_at(&mut quoted[12..16])?;
            addresses.v4_at(&mut quoted[16..20])
        }
        Some(_) => {
            addresses.v6_at(&mut quoted[8..24])?;
            addresses.v6_at(&mut quoted[24..40])
        }
        None => Ok(()),
    }
}
