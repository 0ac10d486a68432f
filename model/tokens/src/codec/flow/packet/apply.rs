//! The change of the state by a whole packet.

use super::{Change, PacketCoded, Place, TransportCoded};
use crate::codec::flow::{
    datagram,
    hosts::HostClass,
    link::arp,
    network_tail::{self, TailCoded},
    record::{Frame, IpFrame, LinkFrame, Record},
    state::{ChecksumMode, FlowKind, State},
    tcp,
};

/// Updates the state by a whole packet and returns its record.
pub(in crate::codec::flow) fn apply(state: &mut State, coded: PacketCoded) -> Record {
    let PacketCoded { record, change } = coded;
    state.clock.set(record.time_us);
    state.count_packet();
    match (change, &record.frame) {
        (Change::Ip { place, back, coded, tail, before, snap }, Frame::Ip(frame)) => {
            apply_ip(state, frame, record.time_us, place, back, &coded, &tail);
            state.follows.apply(before, frame.payload_len);
            snap.apply(state);
        }
        (Change::Link { place, back, padded, snap }, Frame::Link(frame)) => {
            apply_link(state, frame, place, back, padded, record.time_us);
            snap.apply(state);
        }
        (Change::Arp, Frame::Arp(arp)) => arp::apply_arp(state, arp, record.wire_len),
        _ => {}
    }
    record
}

fn settle(state: &mut State, place: Place) -> u16 {
    match place {
        Place::Known(slot) => slot,
        Place::New(flow) => {
            state.tags = flow.tags.clone();
            if flow.key.kind != FlowKind::Link {
                state.opened(&flow.key);
            }
            state.add_flow(flow)
        }
    }
}

fn apply_ip(
    state: &mut State,
    frame: &IpFrame,
    time_us: i64,
    place: Place,
    back: bool,
    coded: &TransportCoded,
    tail: &TailCoded,
) {
    let slot = settle(state, place);
    let macs = (frame.ether.dst, frame.ether.src);
    learn_macs(state, frame);
    let host = state.make_host(frame.src);
    let Some(kind) = state.flow(slot).map(|flow| flow.key.kind) else { return };
    let mut defaults = state.take_defaults(host, kind);
    let Some(flow) = state.touch(slot) else { return };
    flow.tags.clone_from(&frame.ether.tags);
    flow.sent(back, frame.payload_len, time_us);
    let [forth, return_] = &mut flow.dirs;
    let (this, other) = if back { (return_, forth) } else { (forth, return_) };
    this.seen = true;
    this.macs = Some(macs);
    this.lengths.apply(frame.payload_len);
    let mut template = None;
    match coded {
        TransportCoded::Tcp(coded) => {
            if let (Some(this), Some(other)) = (this.tcp.as_deref_mut(), other.tcp.as_deref_mut()) {
                tcp::apply(this, other, coded, time_us);
                (defaults.window, defaults.rate) = (this.window(), this.rate());
            }
            template = coded.template().cloned();
        }
        TransportCoded::Datagram(_) => {}
    }
    network_tail::apply(this, &mut defaults, frame, tail);
    let (service, mut profile) = (flow.key.service(), None);
    if let TransportCoded::Datagram(coded) = coded {
        datagram::apply(flow, back, &frame.transport, coded);
        profile = coded.payload.as_ref().map(|payload| payload.profile);
    }
    if let Some(template) = &template {
        defaults.template = Some(template.clone());
        state.add_template(template);
    }
    if let Some(profile) = profile {
        state.set_profile(service, profile);
    }
    state.set_defaults(host, kind, defaults);
}

/// Learns the MAC addresses of hosts and of the gateway.
fn learn_macs(state: &mut State, frame: &IpFrame) {
    let (dst, src) = (frame.ether.dst, frame.ether.src);
    state.add_mac(dst);
    state.add_mac(src);
    state.host_mut(frame.src).mac = Some(src);
    let (src_class, dst_class) = (HostClass::of(frame.src), HostClass::of(frame.dst));
    if !dst_class.is_group() {
        state.host_mut(frame.dst).mac.get_or_insert(dst);
    }
    if src_class.is_remote() {
        state.gateway = Some(src);
    } else if dst_class.is_remote() {
        state.gateway = Some(dst);
    }
}

fn apply_link(state: &mut State, frame: &LinkFrame, place: Place, back: bool, padded: bool, time_us: i64) {
    let slot = settle(state, place);
    state.add_mac(frame.ether.dst);
    state.add_mac(frame.ether.src);
    if let Some(flow) = state.touch(slot) {
        flow.tags.clone_from(&frame.ether.tags);
        flow.sent(back, frame.payload_len, time_us);
        flow.body = frame.body.as_slice().into();
        let dir = &mut flow.dirs[usize::from(back)];
        dir.lengths.apply(frame.payload_len);
        dir.padded = padded;
        dir.checksum = ChecksumMode::Right;
    }
    state.bodies.retain(|(kind, _)| *kind != frame.kind);
    if state.bodies.is_full() {
        state.bodies.pop();
    }
    state.bodies.insert(0, (frame.kind, frame.body.clone()));
}
