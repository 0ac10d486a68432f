//! [`SessionReplay`]: the frames of one replay, made one by one.
//!
//! The survey ran once, in [`SessionReplay::new`]; after that each packet is looked at when its frame is asked
//! for, and only the state of flows and hosts is kept between packets. Ethernet and IP are here; `transport` has
//! what is above.

mod errors;
mod rewriter;
mod testbed;
mod transport;

pub use rewriter::{PayloadPolicy, Rewriter};
pub use testbed::{Direction, FlowTag, SessionFacts, SessionTag, TestbedFrame};

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netssm_wire::MacAddr;
use netssm_wire::checksum;
use netssm_wire::frame::{ETHERNET_LEN, Extension, Layout, Net, TAG_LEN, Transport, ethertype, protocol};
use netssm_wire::session::{Packet, Session};

use crate::draw::{Draw, draw};
use crate::payload::PayloadModel;
use crate::rewrite::RewriteError;
use crate::rewrite::dropped::Dropped;
use crate::rewrite::map::SessionMap;
use crate::rewrite::plan::{AddressPlan, Allocator, Side};
use crate::rewrite::protocol::addresses::Addresses;
use crate::rewrite::protocol::{arp, options};
use crate::rewrite::survey::admit::{Admitted, admit, to_mac};
use crate::rewrite::survey::ids::{DatagramId, FlowId, HostId, draw_key};
use crate::rewrite::survey::{PacketFacts, Survey};
use testbed::Tagged;
use transport::FlowState;

/// How many fragmented datagrams are kept for their later fragments; the oldest goes first. Fragments of one follow
/// each other, so that this is far more than are ever under way, and bounds memory at 4 MiB.
const ASSEMBLED: usize = 64;

/// One replay of one session: an iterator over its frames in sending order. Packets that give no frame come as
/// [`Dropped`], so each packet of the session gives exactly one item.
pub struct SessionReplay {
    session: Arc<Session>,
    plan: Arc<AddressPlan>,
    policy: PayloadPolicy,
    payload: Arc<dyn PayloadModel>,
    tag: SessionTag,
    map: SessionMap,
    flows: Vec<FlowState>,
    /// The next IPv4 identification of each host, and one for packets without a host as source.
    ids: Vec<u16>,
    /// Transport segments of fragmented datagrams, whole.
    assembled: VecDeque<(DatagramId, Vec<u8>)>,
    /// IPv4 identifications of fragmented datagrams.
    fragment_ids: VecDeque<(DatagramId, u16)>,
    spare: Vec<u8>,
    next: usize,
}

impl SessionReplay {
    fn new(
        plan: &Arc<AddressPlan>,
        allocator: &Arc<Allocator>,
        policy: PayloadPolicy,
        payload: &Arc<dyn PayloadModel>,
        session: Arc<Session>,
        replay_seed: u64,
    ) -> Result<SessionReplay, RewriteError> {
        let survey = Survey::of(&session, plan.multicast);
        // Kept payload is what it is, so there is nothing to move a port for.
        let model = (policy == PayloadPolicy::Synthesise).then_some(&**payload);
        let (map, lease) = SessionMap::new(survey, plan, allocator, model, replay_seed)?;
        let facts = Arc::new(SessionFacts {
            id: allocator.next_replay(),
            label: session.label.as_str().into(),
            origin: session.origin.clone(),
            seed: session.seed,
            replay_seed,
        });
        let first_id = |host: usize| draw(replay_seed, Draw::IpId, host as u64, 0) as u16;
        Ok(SessionReplay {
            plan: Arc::clone(plan),
            policy,
            payload: Arc::clone(payload),
            tag: SessionTag(Arc::new(Tagged { facts, _lease: lease })),
            flows: std::iter::repeat_with(FlowState::default).take(map.flows.len()).collect(),
            ids: (0..=map.hosts.len()).map(first_id).collect(),
            assembled: VecDeque::new(),
            fragment_ids: VecDeque::new(),
            spare: Vec::new(),
            next: 0,
            map,
            session,
        })
    }

    /// The replay's tag.
    pub fn tag(&self) -> &SessionTag {
        &self.tag
    }

    /// When the next packet is due, from the start of the session; `None` at the end.
    pub fn peek_time(&self) -> Option<Duration> {
        self.session.packets.get(self.next).map(|p| p.time)
    }

    /// How many addresses the replay holds.
    pub fn leased(&self) -> usize {
        self.map.hosts.iter().filter(|h| h.ip.is_some()).count()
    }

    /// How many service ports were moved to one that no analyser knows, because payload for them could not be
    /// well formed.
    pub fn moved_ports(&self) -> u32 {
        self.map.ports.moved()
    }

    /// Takes the buffer of a frame that was sent, so that the next one needs no allocation.
    pub fn recycle(&mut self, frame: TestbedFrame) {
        self.spare = frame.into_bytes();
    }

    fn frame(&mut self, index: usize) -> Result<TestbedFrame, Dropped> {
        let session = Arc::clone(&self.session);
        let packet = &session.packets[index];
        let admitted = admit(packet, self.plan.multicast)?;
        let facts = self.map.packets[index];
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let made = self.fill(index, packet, &admitted, facts, &mut bytes);
        if let Err(dropped) = made {
            self.spare = bytes;
            return Err(dropped);
        }
        let side = match facts.src.map(|id| self.map.hosts[id.index()].side) {
            Some(side) => side,
            None => self.sending_endpoint(facts)?.1,
        };
        Ok(TestbedFrame {
            bytes,
            offset: packet.time,
            direction: Direction::from_sender(side),
            session: self.tag.clone(),
            flow: self.flow_tag(facts),
        })
    }

    fn flow_tag(&self, facts: PacketFacts) -> Option<FlowTag> {
        let id = facts.flow?;
        let flow = &self.map.flows[id.index()];
        let from_initiator = facts.forward == flow.initiator_is_first;
        Some(FlowTag { id, initiator: flow.initiator?, from_initiator })
    }

    fn fill(
        &mut self,
        index: usize,
        packet: &Packet,
        admitted: &Admitted,
        facts: PacketFacts,
        out: &mut Vec<u8>,
    ) -> Result<(), Dropped> {
        let frame = packet.header.as_slice();
        let net_at = admitted.net_at;
        let layout = &admitted.layout;
        // What the session has of the network layer, without what follows it (padding, a trailer), then zeros.
        let end = match layout.l3_end() {
            Some(end) => end,
            None => (net_at + arp::LEN).min(packet.wire_len as usize),
        };
        let have = frame.get(net_at..end.min(frame.len())).unwrap_or_default();
        let ethernet = self.ethernet(frame, layout.ethertype, facts, out)?;
        out.extend_from_slice(have);
        out.resize(out.len() - have.len() + packet.wire_len as usize - net_at, 0);
        if admitted.protocol == 0 && matches!(layout.net, Net::Arp { .. }) {
            return arp::visit(&mut out[ethernet..], &mut &self.map);
        }
        let layout = moved(layout, net_at, ethernet);
        let have = ethernet + have.len();
        let (src, dst) = self.ip_header(index, admitted, facts, &layout, out)?;
        let at = layout.l4_at().unwrap_or(have);
        let end = layout.l3_end().unwrap_or(out.len());
        let link = [self.sending_endpoint(facts)?.0, to_mac(out)];
        let ends = Ends { facts, src, dst, protocol: admitted.protocol, link };
        if let Some(fragment) = layout.fragment() {
            self.fragment(index, fragment.offset, &ends, have - at, &mut out[at..end]);
        } else {
            let keep = self.policy == PayloadPolicy::Keep && frame.len() == packet.wire_len as usize;
            self.segment(&ends, have - at, keep, &mut out[at..end])?;
        }
        // Cannot fail: the headers are whole, and the frame is as long as they say.
        checksum::fill_parsed(out, &layout)
            .map_err(|_| Dropped::Length("the frame is shorter than its headers say"))
    }

    /// The sender's new Ethernet address, and its side.
    fn sending_endpoint(&self, facts: PacketFacts) -> Result<(MacAddr, Side), Dropped> {
        facts.from.map(|id| self.map.mac_endpoints[id.index()]).ok_or(Dropped::Address)
    }

    /// Writes the Ethernet header with the plan's tag; gives its length.
    fn ethernet(
        &mut self,
        frame: &[u8],
        kind: u16,
        facts: PacketFacts,
        out: &mut Vec<u8>,
    ) -> Result<usize, Dropped> {
        let to = match facts.to {
            Some(id) => self.map.mac_endpoints[id.index()].0,
            None => self.map.mac_endpoint(to_mac(frame))?,
        };
        let (from, _) = self.sending_endpoint(facts)?;
        out.extend(to.0);
        out.extend(from.0);
        if let Some(vlan) = self.plan.vlan {
            out.extend(ethertype::VLAN.to_be_bytes());
            out.extend(vlan.get().to_be_bytes());
        }
        out.extend(kind.to_be_bytes());
        debug_assert!(matches!(out.len(), ETHERNET_LEN) || out.len() == ETHERNET_LEN + TAG_LEN);
        Ok(out.len())
    }

    /// Rewrites the IP header and its options; gives the new addresses.
    fn ip_header(
        &mut self,
        index: usize,
        admitted: &Admitted,
        facts: PacketFacts,
        layout: &Layout,
        out: &mut [u8],
    ) -> Result<(IpAddr, IpAddr), Dropped> {
        let new = |id: Option<HostId>, original: IpAddr| match id {
            Some(id) => self.map.hosts[id.index()].ip.ok_or(Dropped::NoPrefix),
            None => self.map.ip(original),
        };
        let (src, dst) = (new(facts.src, admitted.src)?, new(facts.dst, admitted.dst)?);
        match (layout.net, src, dst) {
            (Net::Ipv4(ip), IpAddr::V4(from), IpAddr::V4(to)) => {
                let id = self.identification(index, facts, layout);
                let header = &mut out[ip.at..ip.at + ip.header_len];
                header[4..6].copy_from_slice(&id.to_be_bytes());
                header[12..16].copy_from_slice(&from.octets());
                header[16..20].copy_from_slice(&to.octets());
                options::clean_v4(header);
            }
            (Net::Ipv6(ip), IpAddr::V6(from), IpAddr::V6(to)) => {
                let extensions: Vec<_> = ip.extensions(out).collect();
                for Extension { number, at, len } in extensions {
                    match number {
                        protocol::FRAGMENT => {
                            let id = self.fragment_id(index);
                            out[at + 4..at + 8].copy_from_slice(&id.to_be_bytes());
                        }
                        _ => options::clean_v6(&mut out[at..at + len]),
                    }
                }
                let header = &mut out[ip.at..ip.at + 40];
                self.flow_label(facts, header);
                header[8..24].copy_from_slice(&from.octets());
                header[24..40].copy_from_slice(&to.octets());
            }
            _ => return Err(Dropped::Address),
        }
        Ok((src, dst))
    }

    /// The IPv4 identification: the next of its source's counter; for fragments of one datagram the same.
    fn identification(&mut self, index: usize, facts: PacketFacts, layout: &Layout) -> u16 {
        let datagram = layout.fragment().and_then(|_| self.whole_datagram(index));
        if let Some((_, id)) =
            datagram.and_then(|number| self.fragment_ids.iter().find(|(n, _)| *n == number))
        {
            return *id;
        }
        let nobody = self.ids.len() - 1;
        let counter = &mut self.ids[facts.src.map_or(nobody, HostId::index)];
        *counter = counter.wrapping_add(1);
        let id = *counter;
        if let Some(number) = datagram {
            if self.fragment_ids.len() == ASSEMBLED {
                self.fragment_ids.pop_front();
            }
            self.fragment_ids.push_back((number, id));
        }
        if let Some(flow) = facts.flow.map(|id| &mut self.flows[id.index()]) {
            flow.last_id[usize::from(facts.forward)] = Some(id);
        }
        id
    }

    /// The datagram that a packet is a fragment of, if that can be put together.
    fn whole_datagram(&self, index: usize) -> Option<DatagramId> {
        self.map.datagrams.of(index).filter(|number| self.map.datagrams.whole(*number).is_some())
    }

    /// The IPv6 identification of a fragment header, also of one around a whole datagram (RFC 6946).
    fn fragment_id(&self, index: usize) -> u32 {
        let seed = self.tag.facts().replay_seed;
        let of = match self.whole_datagram(index) {
            Some(id) => (id.index() as u64, 0),
            None => (index as u64, 1),
        };
        draw(seed, Draw::FragmentId, of.0, of.1) as u32
    }

    /// Replaces a flow label that is not zero by the flow's.
    fn flow_label(&self, facts: PacketFacts, header: &mut [u8]) {
        let label = u32::from_be_bytes([0, header[1] & 0x0f, header[2], header[3]]);
        if label != 0 {
            let seed = self.tag.facts().replay_seed;
            let [_, b, c, d] = (draw(
                seed,
                Draw::FlowLabel,
                draw_key(facts.flow.map(FlowId::index)),
                u64::from(facts.forward),
            ) as u32)
                .to_be_bytes();
            header[1] = header[1] & 0xf0 | b & 0x0f;
            header[2..4].copy_from_slice(&[c, d]);
        }
    }

    /// Fills one fragment's data from its whole datagram, or with a filler if that is not whole.
    fn fragment(&mut self, index: usize, offset: usize, ends: &Ends, have: usize, out: &mut [u8]) {
        let at = self.whole_datagram(index).and_then(|id| {
            let known = self.assembled.iter().position(|(other, _)| *other == id);
            known.or_else(|| {
                let (first, total) = self.map.datagrams.whole(id)?;
                let segment = self.assemble(first, total, ends)?;
                if self.assembled.len() == ASSEMBLED {
                    self.assembled.pop_front();
                }
                self.assembled.push_back((id, segment));
                Some(self.assembled.len() - 1)
            })
        });
        let data = at.and_then(|at| self.assembled[at].1.get(offset..offset + out.len()));
        match data {
            Some(data) => out.copy_from_slice(data),
            None => self.lone_fragment(offset, ends, have, out),
        }
    }

    /// The transport segment of a datagram, from the headers in its first fragment.
    fn assemble(&mut self, first: usize, total: usize, ends: &Ends) -> Option<Vec<u8>> {
        let session = Arc::clone(&self.session);
        let packet = session.packets.get(first)?;
        let admitted = admit(packet, self.plan.multicast).ok()?;
        let at = admitted.layout.l4_at()?;
        let end = admitted.layout.l3_end()?.min(packet.header.len());
        let mut segment = packet.header.get(at..end)?.to_vec();
        let have = segment.len().min(total);
        segment.resize(total, 0);
        self.segment(ends, have, false, &mut segment).ok()?;
        transport::fill_checksum(ends, &mut segment);
        Some(segment)
    }
}

/// Who a packet is from and to, original by number and new by address.
#[derive(Clone, Copy, Debug)]
struct Ends {
    facts: PacketFacts,
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    /// New Ethernet addresses of sender and receiver.
    link: [MacAddr; 2],
}

/// A layout whose network layer moved from `from` to `to`. Tags are not moved.
fn moved(layout: &Layout, from: usize, to: usize) -> Layout {
    let shift = |at: &mut usize| *at = *at - from + to;
    let mut layout = *layout;
    match &mut layout.net {
        Net::Arp { at } | Net::Other { at } => shift(at),
        Net::Ipv4(ip) => shift(&mut ip.at),
        Net::Ipv6(ip) => {
            shift(&mut ip.at);
            shift(&mut ip.transport_at);
        }
        Net::None => {}
    }
    match &mut layout.transport {
        Transport::Tcp { at, .. }
        | Transport::Udp { at }
        | Transport::Icmp { at }
        | Transport::Icmpv6 { at }
        | Transport::Igmp { at }
        | Transport::Other { at, .. } => shift(at),
        Transport::None => {}
    }
    layout
}

impl Iterator for SessionReplay {
    type Item = Result<TestbedFrame, Dropped>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.session.packets.len() {
            return None;
        }
        self.next += 1;
        Some(self.frame(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.session.packets.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for SessionReplay {}

impl fmt::Debug for SessionReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionReplay")
            .field("tag", &self.tag)
            .field("next", &self.next)
            .field("packets", &self.session.packets.len())
            .finish_non_exhaustive()
    }
}

/// The map as a visitor, for callers that have only a shared reference.
fn visitor(map: &SessionMap) -> impl Addresses + use<'_> {
    map
}
