//! Hand-made frames and sessions for the tests of the rewriter.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::Duration;

use netssm_replay::rewrite::*;
use netssm_wire::frame::Layout;
use netssm_wire::session::{Origin, Packet, Session, Timing};

use super::replay;

/// Local hosts 10.0.0.k and global ones 198.18.0.k, as canonical sessions have them.
pub(crate) const LOCAL: [u8; 4] = [10, 0, 0, 1];
pub(crate) const GATEWAY: [u8; 4] = [10, 0, 0, 2];
pub(crate) const GLOBAL: [u8; 4] = [198, 18, 0, 1];
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const EVERYBODY: [u8; 6] = [0xff; 6];

pub(crate) fn ethernet(from: [u8; 6], to: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), body].concat()
}

pub(crate) fn ipv4_with(
    id: u16,
    fragment: u16,
    protocol: u8,
    src: [u8; 4],
    dst: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    let total = (20 + body.len()) as u16;
    let mut out = vec![0x45, 0];
    for word in [total, id, fragment] {
        out.extend(word.to_be_bytes());
    }
    out.extend([64, protocol, 0, 0]);
    [&out[..], &src, &dst, body].concat()
}

pub(crate) fn ipv4(protocol: u8, src: [u8; 4], dst: [u8; 4], body: &[u8]) -> Vec<u8> {
    ipv4_with(0, 0x4000, protocol, src, dst, body)
}

pub(crate) fn ipv6(next: u8, src: [u8; 16], dst: [u8; 16], body: &[u8]) -> Vec<u8> {
    [&[0x60, 0, 0, 0][..], &(body.len() as u16).to_be_bytes(), &[next, 255], &src, &dst, body].concat()
}

pub(crate) fn udp(src: u16, dst: u16, payload: usize) -> Vec<u8> {
    let mut out = [src, dst, (8 + payload) as u16, 0].map(u16::to_be_bytes).concat();
    out.resize(8 + payload, 0x77);
    out
}

pub(crate) fn tcp(
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    options: &[u8],
    payload: usize,
) -> Vec<u8> {
    let mut out = [ports.0, ports.1].map(u16::to_be_bytes).concat();
    out.extend(seq.to_be_bytes());
    out.extend(ack.to_be_bytes());
    out.extend([((20 + options.len()) / 4 * 16) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(options);
    out.resize(out.len() + payload, 0x77);
    out
}

/// From the local host through the gateway, or back.
pub(crate) fn up(protocol: u8, body: &[u8]) -> Vec<u8> {
    ethernet(MAC, GATEWAY_MAC, 0x0800, &ipv4(protocol, LOCAL, GLOBAL, body))
}

pub(crate) fn down(protocol: u8, body: &[u8]) -> Vec<u8> {
    ethernet(GATEWAY_MAC, MAC, 0x0800, &ipv4(protocol, GLOBAL, LOCAL, body))
}

pub(crate) fn session(frames: Vec<Vec<u8>>) -> Session {
    let packet = |(i, header): (usize, Vec<u8>)| Packet {
        time: Duration::from_millis(i as u64),
        wire_len: header.len() as u32,
        header,
    };
    let packets = frames.into_iter().enumerate().map(packet).collect();
    Session {
        label: "test".into(),
        seed: 5,
        origin: Origin::Generated { model: "abcd".into(), precision: String::new(), timing: Timing::Drawn },
        packets,
    }
}

pub(crate) fn rewriter(plan: AddressPlan) -> Rewriter {
    Rewriter::new(plan, Allocator::new()).unwrap()
}

pub(crate) fn frames(plan: AddressPlan, frames: Vec<Vec<u8>>) -> Vec<TestbedFrame> {
    replay(&rewriter(plan), &session(frames), 1).into_iter().map(Result::unwrap).collect()
}

pub(crate) fn source(frame: &TestbedFrame) -> String {
    Layout::parse(frame.bytes()).addresses(frame.bytes()).unwrap().0.to_string()
}

pub(crate) fn destination(frame: &TestbedFrame) -> String {
    Layout::parse(frame.bytes()).addresses(frame.bytes()).unwrap().1.to_string()
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
