//! ARP.
//!
//! ```text
//! arp := ARP host host [MAC mac] [ICMP_TYPE mac] [WIRE_LEN varint]
//!      | ARP(odd) host host byte n (byte byte){n} mac mac mac mac [WIRE_LEN varint]
//! ```

use std::net::{IpAddr, Ipv4Addr};

use super::{BROADCAST, NewMacs, ZERO, mac, new_mac};
use crate::codec::flow::{
    endpoints::{NewHosts, Slots, host, vlan_tags},
    hosts::HostClass,
    io::{Coded, Io, Stop},
    number::varint,
    record::{ArpFrame, Ether, Mac, Tags},
    state::{MAX_HOSTS, Role, State},
    strict,
    vocab::{BYTE, Class, ICMP_TYPE, MAC, WIRE_LEN},
};

/// Forms of an ARP frame, in the order of the alphabet.
pub(in crate::codec::flow) const ARP_ODD: usize = 2;

/// The form of a frame, which is the member of the ARP class that it is written with: request, reply, or odd.
pub(in crate::codec::flow) fn arp_form(arp: &ArpFrame, state: &State) -> usize {
    let to = if arp.op == 1 { BROADCAST } else { arp.tha };
    let plain = arp.ether.src == arp.sha
        && arp.ether.dst == to
        && arp.ether.tags == state.tags
        && (arp.op == 2 || arp.tha == ZERO);
    if plain { usize::from(arp.op == 2) } else { ARP_ODD }
}

/// An ARP frame behind its token.
pub(in crate::codec::flow) fn arp<I: Io>(
    state: &State,
    io: &mut I,
    (form, slots): (usize, Slots),
    want: Option<(&ArpFrame, u32)>,
) -> Coded<(ArpFrame, u32)> {
    let wanted = want.map(|(arp, _)| arp);
    let strict = io.strict();
    let mut hosts = NewHosts::default();
    let v4 = |address: [u8; 4]| IpAddr::V4(Ipv4Addr::from(address));
    let asks = form == 0;
    let sender = |class: HostClass, address: Option<IpAddr>| {
        let new = address.is_some()
            || matches!(class, HostClass::Private | HostClass::Public | HostClass::LinkLocal);
        let usable = address.is_none_or(strict::usable);
        class.is_v4() && new && (!strict || usable && (class.may_send() || class == HostClass::Zero && asks))
    };
    // Hosts of the site open flows, so they are first in this order, and the gateway follows soon.
    let by = (slots, Role::Initiator);
    let spa = host(state, &mut hosts, io, by, wanted.map(|arp| v4(arp.spa)), sender)?;
    if !spa.is_ipv4() {
        return Err(Stop::Illegal);
    }
    let target = |class: HostClass, address: Option<IpAddr>| {
        let new = address.is_some()
            || matches!(class, HostClass::Private | HostClass::Public | HostClass::LinkLocal);
        let usable = address.is_none_or(strict::usable);
        class.is_v4() && new && (!strict || usable && class.may_send())
    };
    let tpa = host(state, &mut hosts, io, by, wanted.map(|arp| v4(arp.tpa)), target)?;
    let (IpAddr::V4(spa_v4), IpAddr::V4(tpa_v4)) = (spa, tpa) else { return Err(Stop::Illegal) };
    let mut new = NewMacs::new();
    let mac_of = |address: IpAddr| state.host(address).and_then(|host| host.mac);
    let mut frame = ArpFrame {
        ether: Ether { dst: BROADCAST, src: ZERO, tags: state.tags.clone() },
        op: if form == 1 { 2 } else { 1 },
        sha: ZERO,
        spa: spa_v4.octets(),
        tha: ZERO,
        tpa: tpa_v4.octets(),
    };
    if form == ARP_ODD {
        odd_arp(state, &mut new, io, wanted, &mut frame)?;
    } else {
        frame.sha = one_mac(state, &mut new, io, MAC, wanted.map(|arp| arp.sha), mac_of(spa))?;
        frame.ether.src = frame.sha;
        if form == 1 {
            let known = if tpa == spa { Some(frame.sha) } else { mac_of(tpa) };
            frame.tha = one_mac(state, &mut new, io, ICMP_TYPE, wanted.map(|arp| arp.tha), known)?;
            frame.ether.dst = frame.tha;
        }
    }
    let usual = state.arp_len.get(&frame.ether.src).copied().unwrap_or(60);
    let told = frame.ether.header_len() as u32 + 28;
    let mut wire_len = usual.max(told);
    if io.flag(WIRE_LEN, || want.is_some_and(|(_, len)| len != wire_len), || false)? {
        let expected = i64::from(wire_len);
        let taken = || [0].into_iter().collect();
        let by = varint(io, || want.map_or(0, |(_, len)| i64::from(len) - expected), taken)?;
        wire_len = (expected + by).clamp(0, u32::MAX.into()) as u32;
    }
    Ok((frame, wire_len))
}

fn one_mac<I: Io>(
    state: &State,
    new: &mut NewMacs,
    io: &mut I,
    class: Class,
    want: Option<Mac>,
    expected: Option<Mac>,
) -> Coded<Mac> {
    let fits = |want: Mac| match expected {
        Some(mac) => mac == want,
        None => state.mac_slot(want).is_none() && !new.contains(&want),
    };
    if io.flag(class, || want.is_some_and(|want| !fits(want)), || false)? {
        return mac(state, new, io, want, expected);
    }
    match expected {
        Some(mac) => Ok(mac),
        None => new_mac(state, new, io, want),
    }
}

fn odd_arp<I: Io>(
    state: &State,
    new: &mut NewMacs,
    io: &mut I,
    want: Option<&ArpFrame>,
    frame: &mut ArpFrame,
) -> Coded<()> {
    let token =
        io.pick(|| BYTE.at(want.map_or(1, |arp| arp.op.into())), |mask| mask.add_members(BYTE, 1, 3))?;
    frame.op = BYTE.index(token).filter(|op| (1..=2).contains(op)).ok_or(Stop::Illegal)? as u16;
    // `u64::MAX` equals no count, so every count is legal.
    let never: Tags = [0, 0].into_iter().collect();
    frame.ether.tags = vlan_tags(io, want.map(|arp| &arp.ether.tags), &never)?;
    frame.ether.dst = mac(state, new, io, want.map(|arp| arp.ether.dst), None)?;
    frame.ether.src = mac(state, new, io, want.map(|arp| arp.ether.src), None)?;
    frame.sha = mac(state, new, io, want.map(|arp| arp.sha), None)?;
    frame.tha = mac(state, new, io, want.map(|arp| arp.tha), None)?;
    Ok(())
}

/// Updates the state by an ARP frame.
pub(in crate::codec::flow) fn apply_arp(state: &mut State, arp: &ArpFrame, wire_len: u32) {
    for mac in [arp.ether.dst, arp.ether.src, arp.sha, arp.tha] {
        if mac != BROADCAST && mac != ZERO {
            state.add_mac(mac);
        }
    }
    if arp.sha != ZERO {
        state.host_mut(IpAddr::from(arp.spa)).mac = Some(arp.sha);
    } else {
        state.host_mut(IpAddr::from(arp.spa));
    }
    let target = state.host_mut(IpAddr::from(arp.tpa));
    if arp.op == 2 && arp.tha != ZERO && arp.tha != BROADCAST {
        target.mac = Some(arp.tha);
    }
    if state.arp_len.len() < MAX_HOSTS || state.arp_len.contains_key(&arp.ether.src) {
        state.arp_len.insert(arp.ether.src, wire_len);
    }
}
