//! Completion makes a whole header of a record: it adds the bytes that no token holds, before repair would have to.
//!
//! A record keeps eight bytes of an ICMP message. The session determines what follows: an error quotes a packet that
//! was sent, a solicitation asks for a host that exists, a report names groups that are in use. [`crate::repair`]
//! leaves the header of a record that keeps the [strict](super::strict) rules as it is.
//!
//! All fields of a record stay, with these exceptions.
//! * Checksums become zeros; they are computed when the payload is there.
//! * UDP payload is removed, except a DNS header, as in repair: payload is made later. The counts of a DNS header are
//!   lowered to what the payload can hold, because their tokens come after its length.
//! * The first record of an IGMP report is made legal: see [`window`](super::strict::window).
//! * The *group* that a message of neighbour discovery, listener discovery or IGMP goes to, and its MAC address, follow
//!   from the message if its RFC says so. The group of the record was drawn before the message was known.
//!
//! Contract: any record gives a header of the declared length or a shorter one. Nothing panics. Memory is bounded.

mod icmp6;
mod igmp;
mod quote;
mod seen;
#[cfg(test)]
mod tests;

use netssm_wire::bytes::put;
use netssm_wire::frame::protocol;
use netssm_wire::ports::is_dns;
use std::net::IpAddr;

use self::{quote::History, seen::Seen};
use super::{
    record::{Frame, IpFrame, Record},
    strict::group_mac,
    transport::{Icmp, Transport},
};
use crate::packet::{
    RawPacket,
    shape::{UDP_BYTES, UDP_PREFIX_BYTES},
    udp::{fit_dns_counts, is_dns_header},
};

/// The facts about a session that later messages refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Completion {
    history: History,
    seen: Seen,
}

impl Completion {
    /// The header of a record with its completed message. The caller sets the gap.
    pub(super) fn complete(&mut self, record: &Record) -> RawPacket {
        let mut header = Vec::with_capacity(128);
        record.emit(&mut header);
        if let Frame::Ip(ip) = &record.frame {
            self.ip(ip, &mut header);
        }
        RawPacket { header, wire_len: Some(record.wire_len), gap: None }
    }

    /// Whether `receiver` recently sent a packet that an error from `reporter` may be about. If not, completion quotes
    /// a datagram that the session does not have.
    #[cfg(test)]
    pub(super) fn may_quote(&self, reporter: IpAddr, receiver: IpAddr) -> bool {
        self.history.latest(reporter, receiver, true).is_some()
    }

    fn ip(&mut self, ip: &IpFrame, header: &mut Vec<u8>) {
        // A record that the capture length cut gets at least its fixed fields.
        let transport_at = ip.ether.header_len() + ip.header_len() - ip.transport.header_len();
        header.resize(header.len().max(transport_at + ip.transport.header_len()), 0);
        match &ip.transport {
            Transport::Tcp(_) => {
                self.history.remember(ip, header);
                clear(header, transport_at + 16);
            }
            Transport::Udp(udp) => {
                self.history.remember(ip, header);
                clear(header, transport_at + 6);
                let dns = udp.window.len() == UDP_PREFIX_BYTES
                    && is_dns(udp.ports.0, udp.ports.1)
                    && is_dns_header(&udp.window);
                if dns {
                    let room = (ip.payload_len as usize).saturating_sub(UDP_PREFIX_BYTES);
                    fit_dns_counts(&mut header[transport_at + UDP_BYTES..], room);
                } else {
                    header.truncate(transport_at + UDP_BYTES);
                }
            }
            Transport::Icmp(icmp) => {
                self.message(ip, icmp, header);
                clear(header, transport_at + 2);
            }
            Transport::Other(_) => {}
        }
        if ip.is_v4() {
            clear(header, ip.ether.header_len() + 10);
        }
        self.seen.note(ip);
    }

    /// Appends the rest of a message up to its declared length, and sets the group that it goes to.
    fn message(&self, ip: &IpFrame, icmp: &Icmp, header: &mut Vec<u8>) {
        let mut body = Vec::new();
        let group = match ip.protocol {
            protocol::ICMP | protocol::ICMPV6 if is_error(ip.protocol, icmp.kind) => {
                self.history.quote(ip, icmp.kind, &mut body);
                None
            }
            protocol::ICMPV6 => icmp6::body(ip, icmp.kind, &self.seen, &mut body),
            protocol::IGMP => igmp::body(ip, icmp, &self.seen, &mut body),
            // The data of an echo is made later, as payload.
            _ => None,
        };
        header.truncate(header.len() - icmp.window.len().min(header.len()));
        body.truncate(ip.payload_len as usize);
        header.extend_from_slice(&body);
        let Some(mac) = group.and_then(group_mac) else { return };
        put(header, 0, &mac);
        match group {
            Some(IpAddr::V4(v4)) => put(header, ip.ether.header_len() + 16, &v4.octets()),
            Some(IpAddr::V6(v6)) => put(header, ip.ether.header_len() + 24, &v6.octets()),
            None => {}
        }
    }
}

fn is_error(protocol: u8, kind: u16) -> bool {
    match (protocol, kind >> 8) {
        (protocol::ICMP, kind) => matches!(kind, 3 | 5 | 11 | 12),
        (_, kind) => kind < 128,
    }
}

fn clear(header: &mut [u8], at: usize) {
    put(header, at, &[0, 0]);
}
