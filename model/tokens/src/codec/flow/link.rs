//! Ethernet: MAC addresses, ARP (in [`arp`]), other link protocols, and frames that fit no other form.
//!
//! ```text
//! macs := [MAC mac mac]                                        destination, source
//! mac  := byte | 254 byte byte | 255                           known, known beyond 250, new
//! link := LENGTH [length] [PADDING | WIRE_LEN varint] [SNAP byte] (DIFF_ALL byte* | (DIFF_AT byte byte)*)
//! esc  := ESC n byte{n} varint
//! ```

pub(super) mod arp;

use std::net::IpAddr;

use arrayvec::ArrayVec;
use netssm_wire::MacAddr;

use super::{
    endpoints::vlan_tags,
    hosts::HostClass,
    io::{Coded, Io, Stop},
    lengths::Limit,
    number::{Range, number, varint},
    record::{Ether, LinkFrame, Mac, RAW_BYTES, Tags},
    side_channel::{SideClass, Spread},
    state::{Flow, State},
    strict,
    vocab::{BYTE, DIFF_ALL, DIFF_AT, ESC, MAC, PADDING, WIRE_LEN},
};

const FAR: usize = 254;
const NEW: usize = 255;
/// Number of slots with a byte of their own.
const NEAR: usize = 250;
const BROADCAST: Mac = MacAddr::BROADCAST.0;
const ZERO: Mac = [0; 6];

fn to_bits(mac: Mac) -> u64 {
    mac.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte))
}

fn from_bits(bits: u64) -> Mac {
    let bytes = bits.to_be_bytes();
    [bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
}

/// MAC addresses met in a packet that the state does not know yet.
type NewMacs = ArrayVec<Mac, 4>;

/// A new address from the side table.
fn new_mac<I: Io>(state: &State, new: &mut NewMacs, io: &mut I, want: Option<Mac>) -> Coded<Mac> {
    let bits = io.side(SideClass::Mac, || want.map_or(0, to_bits), Spread::Mac)?;
    let mut mac = from_bits(bits);
    while state.mac_slot(mac).is_some() || new.contains(&mac) {
        mac = from_bits(to_bits(mac).wrapping_add(1) & 0xffff_ffff_ffff);
    }
    if !new.is_full() {
        new.push(mac);
    }
    Ok(mac)
}

/// Codes a MAC address by its place in the address book.
fn mac<I: Io>(
    state: &State,
    new: &mut NewMacs,
    io: &mut I,
    want: Option<Mac>,
    not: Option<Mac>,
) -> Coded<Mac> {
    // Addresses that are new in this packet can be named again. Their places follow those of the known ones.
    let known = state.mac_count();
    let at = |slot: usize| state.mac_at(slot);
    let slot = want.and_then(|want| state.mac_slot(want)).map(usize::from);
    let again = want.and_then(|want| new.iter().position(|&mac| mac == want));
    let token = io.pick(
        || match (slot, again) {
            (Some(slot), _) if slot < NEAR => BYTE.at(slot),
            (Some(_), _) => BYTE.at(FAR),
            (None, Some(again)) => BYTE.at(NEAR + again.min(3)),
            (None, None) => BYTE.at(NEW),
        },
        |mask| {
            for slot in (0..known.min(NEAR)).filter(|&slot| at(slot) != not) {
                mask.add(BYTE.at(slot));
            }
            for (k, mac) in new.iter().enumerate() {
                if Some(*mac) != not {
                    mask.add(BYTE.at(NEAR + k));
                }
            }
            if known > NEAR {
                mask.add(BYTE.at(FAR));
            }
            mask.add(BYTE.at(NEW));
        },
    )?;
    match BYTE.index(token).ok_or(Stop::Illegal)? {
        NEW => new_mac(state, new, io, want),
        FAR => {
            let range = || Range::new(NEAR as u64, known.saturating_sub(1) as u64);
            at(number(io, 2, || slot.unwrap_or_default() as u64, range)? as usize).ok_or(Stop::Illegal)
        }
        slot if slot < NEAR => at(slot).ok_or(Stop::Illegal),
        again => new.get(again - NEAR).copied().ok_or(Stop::Illegal),
    }
}

/// The predicted MAC address of a host. `None`: a new one from the side table.
fn expect(state: &State, address: IpAddr) -> Option<Mac> {
    strict::group_mac(address)
        .or_else(|| state.host(address).and_then(|host| host.mac))
        .or_else(|| state.gateway.filter(|_| HostClass::of(address).is_remote()))
}

/// Destination and source address of an IP packet from `src` to `dst`.
pub(super) fn macs<I: Io>(
    state: &State,
    io: &mut I,
    flow: &Flow,
    back: bool,
    want: Option<&Ether>,
) -> Coded<(Mac, Mac)> {
    let (src, dst) = if back { (flow.key.dst, flow.key.src) } else { (flow.key.src, flow.key.dst) };
    let wanted = want.map(|ether| (ether.dst, ether.src));
    let last = flow.dirs[usize::from(back)].macs;
    let reversed = flow.dirs[usize::from(!back)].macs.map(|(to, from)| (from, to));
    let known = last.or(reversed);
    let (to, from) = match known {
        Some((to, from)) => (Some(to), Some(from)),
        None => (expect(state, dst), expect(state, src)),
    };
    // An unknown address is predicted to be new.
    let fits =
        |expected: Option<Mac>, want: Mac| expected.map_or(state.mac_slot(want).is_none(), |mac| mac == want);
    let differs = || {
        wanted.is_some_and(|(want_to, want_from)| {
            let same_new = to.is_none() && from.is_none() && want_to == want_from;
            !fits(to, want_to) || !fits(from, want_from) || same_new
        })
    };
    let mut new = NewMacs::new();
    if io.flag(MAC, differs, || false)? {
        let dst = mac(state, &mut new, io, wanted.map(|(to, _)| to), None)?;
        // If the destination is as predicted, the source must differ from its prediction.
        let not = if to == Some(dst) { from } else { None };
        return Ok((dst, mac(state, &mut new, io, wanted.map(|(_, from)| from), not)?));
    }
    let dst = match to {
        Some(to) => to,
        None => new_mac(state, &mut new, io, wanted.map(|(to, _)| to))?,
    };
    let src = match from {
        Some(from) => from,
        None => new_mac(state, &mut new, io, wanted.map(|(_, from)| from))?,
    };
    Ok((dst, src))
}

// --- Other link protocols --------------------------------------------------------------------------------------------

/// A link frame of a flow, behind its length.
pub(super) fn link<I: Io>(
    state: &State,
    io: &mut I,
    flow: &Flow,
    back: bool,
    tags: Tags,
    want: Option<(&LinkFrame, u32)>,
) -> Coded<(LinkFrame, u32, u8, bool)> {
    let frame = want.map(|(frame, _)| frame);
    let key = &flow.key;
    let (dst, src) = key.macs.ok_or(Stop::Illegal)?;
    let (dst, src) = if back { (src, dst) } else { (dst, src) };
    let ether = Ether { dst, src, tags };
    let kind = key.ports.0;
    let dir = &flow.dirs[usize::from(back)];
    let most = if kind == 0 { 1_535 } else { u32::from(u16::MAX) };
    let payload_len =
        dir.lengths.code_with_class(io, None, frame.map(|frame| frame.payload_len), Limit::up_to(most))?;
    let told = ether.header_len() as u32 + payload_len;
    let lens = [told, told.max(60)];
    let (expected, other) = (lens[usize::from(dir.padded)], lens[usize::from(!dir.padded)]);
    let (mut wire_len, mut padded) = (expected, dir.padded);
    let wanted = want.map(|(_, len)| len);
    if kind == 0
        && io.flag(PADDING, || wanted != Some(expected) && wanted == Some(other), || expected != other)?
    {
        (wire_len, padded) = (other, !padded);
    } else if kind == 0 && io.flag(WIRE_LEN, || wanted.is_some_and(|want| want != expected), || true)? {
        let taken = || lens.iter().map(|&len| i64::from(len) - i64::from(told)).collect();
        let by = varint(io, || wanted.map_or(0, |want| i64::from(want) - i64::from(told)), taken)?;
        wire_len = (i64::from(told) + by).clamp(0, u32::MAX.into()) as u32;
    }
    let bytes = (RAW_BYTES - ether.header_len()).min((wire_len as usize).saturating_sub(ether.header_len()));
    let lacks = frame.map(|frame| bytes.saturating_sub(frame.body.len()) as u8);
    let missing = super::datagram::snap(state, io, lacks, ether.header_len() + bytes, bytes)?;
    let body = body(state, io, flow, bytes - usize::from(missing), frame.map(|frame| &frame.body))?;
    Ok((LinkFrame { ether, kind, payload_len, body }, wire_len, missing, padded))
}

fn body<I: Io>(
    state: &State,
    io: &mut I,
    flow: &Flow,
    bytes: usize,
    want: Option<&ArrayVec<u8, 50>>,
) -> Coded<ArrayVec<u8, 50>> {
    let like =
        state.bodies.iter().find(|(kind, _)| *kind == flow.key.ports.0).map(|(_, body)| body.as_slice());
    let old = if flow.body.is_empty() { like } else { Some(&*flow.body) };
    let old = |at: usize| old.and_then(|body| body.get(at)).copied().unwrap_or_default();
    let want = |at: usize| want.and_then(|body| body.get(at)).copied().unwrap_or_default();
    let differ = (0..bytes).filter(|&at| want(at) != old(at)).count();
    let mut body: ArrayVec<u8, 50> = (0..bytes).map(old).collect();
    // A difference takes three tokens. If more than a third of the bytes differ, writing all bytes is shorter.
    if io.flag(DIFF_ALL, || differ * 3 > bytes, || bytes > 0)? {
        for (at, byte) in body.iter_mut().enumerate() {
            *byte = io.byte(256, || want(at))?;
        }
        return Ok(body);
    }
    let mut from = 0;
    loop {
        let next = (from..bytes).find(|&at| want(at) != old(at));
        if !io.flag(DIFF_AT, || next.is_some(), || from < bytes)? {
            return Ok(body);
        }
        let range = || Range::new(from as u64, bytes.saturating_sub(1) as u64);
        let at = number(io, 1, || next.unwrap_or_default() as u64, range)? as usize;
        let range = || Range::bytes(1).except([u64::from(old(at))]);
        let value = number(io, 1, || want(at).into(), range)? as u8;
        *body.get_mut(at).filter(|_| at >= from).ok_or(Stop::Illegal)? = value;
        from = at + 1;
    }
}

/// The two addresses of a new link flow and its protocol.
pub(super) fn new_link<I: Io>(
    state: &State,
    io: &mut I,
    want: Option<&LinkFrame>,
) -> Coded<(Mac, Mac, u16, Tags)> {
    let mut new = NewMacs::new();
    let dst = mac(state, &mut new, io, want.map(|frame| frame.ether.dst), None)?;
    let src = mac(state, &mut new, io, want.map(|frame| frame.ether.src), None)?;
    let mut tags = state.tags.clone();
    if io.flag(super::vocab::VLAN, || want.is_some_and(|frame| frame.ether.tags != state.tags), || true)? {
        tags = vlan_tags(io, want.map(|frame| &frame.ether.tags), &state.tags)?;
    }
    // IP and ARP have forms of their own. Below 1536 only 0 is legal, which means LLC.
    let range = || {
        let known = [0x0800_u64, 0x0806, 0x86dd, 0x8100];
        Range::bytes(2).gap(1, 1_535).except(known)
    };
    let kind = number(io, 2, || want.map_or(0, |frame| frame.kind.into()), range)? as u16;
    Ok((dst, src, kind, tags))
}

// --- Escape ----------------------------------------------------------------------------------------------------------

/// A frame byte by byte, behind its token.
pub(super) fn escape<I: Io>(
    io: &mut I,
    want: Option<(&ArrayVec<u8, RAW_BYTES>, u32)>,
) -> Coded<(ArrayVec<u8, RAW_BYTES>, u32)> {
    debug_assert_eq!(ESC.len, 1);
    let bytes = want.map(|(bytes, _)| bytes);
    let len = io.byte(RAW_BYTES as u16 + 1, || bytes.map_or(0, |bytes| bytes.len() as u8))?;
    let mut out = ArrayVec::new();
    for at in 0..usize::from(len) {
        out.push(io.byte(256, || bytes.map_or(0, |bytes| bytes[at]))?);
    }
    let wire_len = varint(io, || want.map_or(0, |(_, len)| len.into()), ArrayVec::new)?;
    Ok((out, wire_len.clamp(0, u32::MAX.into()) as u32))
}
