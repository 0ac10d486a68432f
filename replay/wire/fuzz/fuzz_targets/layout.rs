//! The walk over a frame's headers ends, and keeps the promises of `netssm_wire::frame`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_wire::flow::community_id;
use netssm_wire::frame::{Layout, Net, Transport};

fuzz_target!(|frame: &[u8]| {
    for layout in [Layout::parse(frame), Layout::parse_ip(frame)] {
        match layout.net {
            Net::None => {}
            Net::Arp { at } => assert!(at + 8 <= frame.len()),
            Net::Ipv4(ip) => assert!(ip.at + 20 <= frame.len() && (20..=60).contains(&ip.header_len)),
            Net::Ipv6(ip) => assert!(ip.at + 40 <= ip.transport_at && ip.transport_at <= frame.len()),
            Net::Other { at } => assert!(at <= frame.len()),
        }
        match layout.transport {
            Transport::None => {}
            Transport::Tcp { at, header_len } => {
                assert!(at + 20 <= frame.len() && (20..=60).contains(&header_len))
            }
            Transport::Udp { at }
            | Transport::Icmp { at }
            | Transport::Icmpv6 { at }
            | Transport::Igmp { at } => assert!(at + 8 <= frame.len()),
            Transport::Other { at, .. } => assert!(at <= frame.len()),
        }
        assert!(layout.payload_at().is_none_or(|at| at <= frame.len()));
        let _ = (layout.l3_end(), layout.l4_at(), layout.fragment(), layout.stop.to_string());
        if let Some(tuple) = layout.five_tuple(frame) {
            assert_eq!(community_id(&tuple, 0).len(), 30);
            assert_eq!(tuple.reversed().reversed(), tuple);
        }
    }
});
