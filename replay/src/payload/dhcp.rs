//! DHCP for IPv4 (RFC 2131): a message of any length from 244 bytes on, with the testbed's own addresses inside.

use std::net::IpAddr;

use netssm_wire::address_class::is_group;
use netssm_wire::ports::DHCP_SERVER;

use super::{Datagram, FlowFacts};
use crate::draw::{Draw, draw};

/// Shortest message: the fixed part, the magic cookie, a message type and the end option.
pub(super) const LEAST: usize = 244;

/// Fills `out`, of at least [`LEAST`] bytes, with a message between port 68 and port 67.
pub(super) fn fill(facts: &FlowFacts, datagram: &Datagram<'_>, out: &mut [u8]) {
    let initiator = facts.initiator;
    let (from, to) = if datagram.from_initiator {
        (initiator.src, (initiator.dst, initiator.dst_port))
    } else {
        (initiator.dst, (initiator.src, initiator.src_port))
    };
    let is_request = to.1 == DHCP_SERVER;
    let number = draw(facts.seed, Draw::Payload, datagram.ordinal / 2, 1);
    out.fill(0);
    out[..4].copy_from_slice(&[if is_request { 1 } else { 2 }, 1, 6, 0]);
    out[4..8].copy_from_slice(&(number as u32).to_be_bytes());
    out[10] = 0x80; // answer by broadcast
    let client = if is_request { datagram.sender } else { datagram.receiver };
    if !client.is_group() {
        out[28..34].copy_from_slice(&client.0);
    } else {
        let [_, _, mac @ ..] = number.to_be_bytes();
        out[28..34].copy_from_slice(&mac);
        out[28] = out[28] & 0xfc | 2;
    }
    if let (false, IpAddr::V4(yours)) = (is_request, to.0)
        && !is_group(to.0)
    {
        out[16..20].copy_from_slice(&yours.octets());
    }
    out[236..240].copy_from_slice(&[99, 130, 83, 99]);
    // DISCOVER, REQUEST; OFFER, ACK.
    let kind = match (is_request, datagram.ordinal % 2) {
        (true, 0) => 1,
        (true, _) => 3,
        (false, 0) => 2,
        (false, _) => 5,
    };
    let mut options = vec![53, 1, kind];
    if let (false, IpAddr::V4(server)) = (is_request, from) {
        options.extend([54, 4]);
        options.extend(server.octets());
        options.extend([51, 4, 0, 1, 0x51, 0x80]); // a lease of one day
    } else {
        options.extend([55, 4, 1, 3, 6, 15]); // asks for mask, router, name servers, domain
    }
    let room = out.len() - 241;
    if options.len() > room {
        options.truncate(3); // the message type always has room
    }
    out[240..240 + options.len()].copy_from_slice(&options);
    out[240 + options.len()] = 255;
}
