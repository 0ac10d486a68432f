//! Frames made the only way there is: sessions through the rewriter.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use netssm_replay::guard::{Allowlist, Gate, Guard};
use netssm_replay::rewrite::{
    AddressPlan, Allocator, GroupPolicy, MacPolicy, PortPolicy, Rewriter, TestbedFrame, VlanId,
};
use netssm_wire::session::{Origin, Packet, Session, Timing};

/// The prefixes of [`plan`].
pub const CLIENTS: &str = "10.10.0.0/16";
pub const SERVERS: &str = "10.20.0.0/16";

pub fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

pub fn plan() -> AddressPlan {
    AddressPlan {
        clients: nets(&[CLIENTS]),
        servers: nets(&[SERVERS]),
        client_mac: MacPolicy::PerHost,
        server_mac: MacPolicy::PerHost,
        vlan: None,
        ports: PortPolicy::Fresh,
        multicast: GroupPolicy::Keep,
    }
}

/// A guard that allows what [`plan`] makes, on these interfaces.
pub fn guard(interfaces: &[&str]) -> Guard {
    let allow = Allowlist::for_plan(&plan(), &nets(&[CLIENTS, SERVERS])).unwrap();
    let allow = allow.with_interfaces(interfaces.iter().copied());
    Guard::new(Arc::new(allow), Arc::new(Gate::new()))
}

/// A UDP packet of a client to a server (or back), whose frame is `wire_len` bytes.
fn packet(time: Duration, from_client: bool, wire_len: u32) -> Packet {
    let (client, server) = ([10, 0, 0, 1], [198, 18, 0, 1]);
    let (client_mac, server_mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let (client_port, server_port) = (49_152u16, 4_433u16);
    let mut header = Vec::new();
    let ends = [(client_mac, client, client_port), (server_mac, server, server_port)];
    let [from, to] = if from_client { ends } else { [ends[1], ends[0]] };
    header.extend(to.0);
    header.extend(from.0);
    header.extend([8, 0, 0x45, 0]);
    header.extend((wire_len as u16 - 14).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    header.extend(from.1);
    header.extend(to.1);
    header.extend(from.2.to_be_bytes());
    header.extend(to.2.to_be_bytes());
    header.extend((wire_len as u16 - 34).to_be_bytes());
    header.extend([0, 0]);
    Packet { time, wire_len, header }
}

/// A session of `packets` packets, a millisecond apart, to and fro.
pub fn session(label: &str, packets: usize, wire_len: u32) -> Arc<Session> {
    let packets =
        (0..packets).map(|i| packet(Duration::from_millis(i as u64), i % 2 == 0, wire_len)).collect();
    Arc::new(Session {
        label: label.into(),
        seed: 7,
        origin: Origin::Generated { model: "00".repeat(32), precision: String::new(), timing: Timing::Drawn },
        packets,
    })
}

/// `count` frames of `wire_len` bytes of one replay in `plan`'s testbed.
pub fn frames_of(plan: AddressPlan, count: usize, wire_len: u32) -> Vec<TestbedFrame> {
    let rewriter = Rewriter::new(plan, Allocator::new()).unwrap();
    let replay = rewriter.begin_replay(session("test", count, wire_len), 11).unwrap();
    let frames: Vec<_> = replay.map(|frame| frame.unwrap()).collect();
    assert_eq!(frames.len(), count);
    assert!(frames.iter().all(|f| f.len() == wire_len as usize + usize::from(f.bytes()[12] == 0x81) * 4));
    frames
}

/// `count` frames of `wire_len` bytes in [`plan`]'s testbed.
pub fn frames(count: usize, wire_len: u32) -> Vec<TestbedFrame> {
    frames_of(plan(), count, wire_len)
}

/// The same behind a VLAN tag.
pub fn tagged_frames(count: usize, wire_len: u32) -> Vec<TestbedFrame> {
    frames_of(AddressPlan { vlan: Some(VlanId::new(7).unwrap()), ..plan() }, count, wire_len)
}
