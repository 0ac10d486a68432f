//! Repair makes a legal header with a length of what a model wrote, or drops it with a reason.
//!
//! ```text
//! Decoder -> RawPacket -> Repair -> Packet { header, wire_len } -> rewriting, payload, checksums -> wire
//! ```
//! A model trained on header bytes gets most fields right and some wrong. Repair keeps what is legal, changes as little
//! as possible of the rest, and counts each kind of change. A report can therefore say how much of a session the model
//! wrote. After repair, once the payload fills `wire_len` and checksums are computed, [`Layout`] finds the frame whole,
//! all lengths agree, and neither Suricata's decoder nor tshark finds it malformed. A second repair changes nothing.
//!
//! Repair looks at single packets. It does not mend errors across packets, such as an acknowledgement of data that was
//! never sent. An IDS has to cope with these.
//!
//! Contract: no input makes it panic. It uses constant memory per session. Each session needs a value of its own,
//! because error messages quote earlier packets. Checksum fields come out as zero. Of UDP payload only a DNS header is
//! kept; `netssm-replay` makes all other payload.

mod counts;
mod discovery;
mod icmp;
mod igmp;
mod ip;
mod quote;
mod tcp;
mod udp;

use netssm_wire::bytes::{be16, put};
use netssm_wire::frame::ethertype;
use std::time::Duration;

use netssm_wire::address_class::is_group;
use netssm_wire::{
    frame::{Layout, Stop},
    session::Packet,
};

pub use self::counts::{RepairCounts, RepairDrop, RepairKind};
use self::{counts::Fixes, quote::History};
use crate::packet::{
    RawPacket,
    shape::{ARP_BYTES, ARP_KIND, ETHERNET_BYTES, ETHERTYPE_AT, TAG_BYTES},
};

/// Ethernet's largest frame without tags and frame check sequence.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 1514;
/// The least MTU of IPv6 (RFC 8200). Every message of repair fits in it. IPv4 demands less (RFC 791).
const MIN_MAX_FRAME_BYTES: usize = ETHERNET_BYTES + 1280;

/// The repair stage of one session.
#[derive(Debug)]
pub struct Repair {
    max_packet_bytes: usize,
    history: History,
    counts: RepairCounts,
}

impl Default for Repair {
    fn default() -> Self {
        Self::new()
    }
}

impl Repair {
    /// For frames of at most [`DEFAULT_MAX_FRAME_BYTES`], without tags.
    pub fn new() -> Self {
        Self::with_max_frame(DEFAULT_MAX_FRAME_BYTES)
    }

    /// For frames of at most `bytes` bytes without tags. Values outside 1,294 to 65,549 are moved to the nearest end of
    /// this range.
    pub fn with_max_frame(bytes: usize) -> Self {
        let max_frame = bytes.clamp(MIN_MAX_FRAME_BYTES, usize::from(u16::MAX) + ETHERNET_BYTES);
        Self {
            max_packet_bytes: max_frame - ETHERNET_BYTES,
            history: History::default(),
            counts: RepairCounts::default(),
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> &RepairCounts {
        &self.counts
    }

    /// Makes a packet legal. Its time is zero: the caller sets it.
    ///
    /// # Errors
    /// [`RepairDrop`] if the packet cannot be made legal.
    pub fn repair(&mut self, raw: &RawPacket) -> Result<Packet, RepairDrop> {
        let mut fixes = Fixes::default();
        let outcome = self.frame(&raw.header, &mut fixes).and_then(checked);
        self.counts.add(&outcome, &fixes);
        if let Ok(packet) = &outcome {
            self.history.remember(&packet.header);
        }
        outcome
    }

    fn frame(&self, bytes: &[u8], fixes: &mut Fixes) -> Result<Packet, RepairDrop> {
        let mut link = bytes.get(..ETHERNET_BYTES).ok_or(RepairDrop::Short)?.to_vec();
        let mut rest = &bytes[ETHERNET_BYTES..];
        while be16(&link, link.len() - 2).is_some_and(ethertype::is_tag) {
            if link.len() > ETHERTYPE_AT + 2 * TAG_BYTES {
                return Err(RepairDrop::Ethertype);
            }
            let (tag, after) = rest.split_at_checked(TAG_BYTES).ok_or(RepairDrop::Short)?;
            let at = link.len();
            link.extend_from_slice(tag);
            // 4095 is reserved (IEEE 802.1Q, table 9-2).
            let control = be16(tag, 0).unwrap_or_default();
            if control & 0x0fff == 0x0fff {
                fixes.put(RepairKind::VlanId, &mut link, at, &(control & 0xf001).to_be_bytes());
            }
            rest = after;
        }
        let group = link[6] & !1;
        fixes.set(RepairKind::SourceMac, &mut link[6], group);
        let (net, destination_mac) = match be16(&link, link.len() - 2) {
            Some(ethertype::ARP) => {
                // The only group of ARP is the broadcast address.
                let other_group = link[0] & 1 == 1 && !link.starts_with(&[0xff; 6]);
                (arp(rest, &link, fixes)?, other_group.then_some([0xff; 6]))
            }
            Some(ethertype::IPV4) => self.ipv4(rest, &link, fixes)?,
            Some(ethertype::IPV6) => self.ipv6(rest, &link, fixes)?,
            _ => return Err(RepairDrop::Ethertype),
        };
        if let Some(mac) = destination_mac {
            fixes.put(RepairKind::DestinationMac, &mut link, 0, &mac);
        }
        let wire_len = (link.len() + net.len) as u32;
        link.extend(net.header);
        Ok(Packet { time: Duration::ZERO, wire_len, header: link })
    }
}

/// A repaired part of a frame: its header bytes, and its length with the payload that follows them.
#[derive(Debug)]
struct Part {
    header: Vec<u8>,
    len: usize,
}

impl Part {
    /// A part without payload.
    fn whole(header: Vec<u8>) -> Self {
        let len = header.len();
        Self { header, len }
    }
}

fn arp(rest: &[u8], link: &[u8], fixes: &mut Fixes) -> Result<Part, RepairDrop> {
    let mut arp = rest.get(..ARP_BYTES).ok_or(RepairDrop::Short)?.to_vec();
    fixes.put(RepairKind::ArpFields, &mut arp, 0, &ARP_KIND);
    if !matches!(be16(&arp, 6), Some(1 | 2)) {
        fixes.put(RepairKind::ArpFields, &mut arp, 6, &[0, 1]);
    }
    // Nobody sends ARP from a group or from no address at all.
    if arp[8] & 1 == 1 || arp[8..14] == [0; 6] {
        fixes.put(RepairKind::ArpFields, &mut arp, 8, &link[6..12]);
    }
    if arp[18] & 1 == 1 && arp[18..24] != [0xff; 6] {
        fixes.put(RepairKind::ArpFields, &mut arp, 18, &[0; 6]);
    }
    let ip = |at: usize| arp[at..].first_chunk::<4>().map(|&octets| std::net::Ipv4Addr::from(octets));
    for ip in [ip(14), ip(24)].into_iter().flatten() {
        if is_group(ip.into()) || ip.is_loopback() {
            return Err(RepairDrop::Address);
        }
    }
    Ok(Part::whole(arp))
}

/// The last check: [`Layout`] must find the frame whole.
fn checked(packet: Packet) -> Result<Packet, RepairDrop> {
    let whole =
        Layout::parse(&packet.header).stop == Stop::Whole && packet.header.len() <= packet.wire_len as usize;
    if whole { Ok(packet) } else { Err(RepairDrop::Unrepairable) }
}

/// Zeroes a checksum field; it is computed over the final bytes later, so this is no repair.
fn clear_checksum(bytes: &mut [u8], at: usize) {
    put(bytes, at, &[0, 0]);
}

#[cfg(test)]
mod tests;
