//! Download segments: what a server sends between one request and the next.
//!
//! NetSSM takes the term from F. Bronzino et al., "Inferring streaming video quality from encrypted traffic", Proc. ACM
//! on Measurement and Analysis of Computing Systems 3(3), 2019. In an adaptive stream the client requests a piece of
//! video, gets it, and requests the next. An observer sees a *request* as a packet of the client with payload. Over TCP
//! any payload makes a request. Over UDP, where QUIC sends acknowledgements as payload too, only a large enough one
//! does: 300 bytes, above what acknowledgements take in our captures. (C. Gutterman et al., "Requet", Proc. ACM MMSys
//! 2019, find YouTube's requests over QUIC by size as well.)
//!
//! A segment's size is the payload that the server sends in the flow from a request up to the next, in bytes, without
//! headers; retransmitted payload counts again. A request that nothing follows makes no segment, so a request of
//! several packets makes one. What comes before a flow's first request belongs to a request that was not captured and
//! does not count; the last segment counts as far as the capture has it.

use std::net::IpAddr;

use netssm_wire::frame::{Layout, Transport};
use netssm_wire::udp;

use super::servers::Served;
use crate::input::session::{CapturedSession, Packet};

/// A request's least payload in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Requests {
    pub(super) tcp: u32,
    pub(super) udp: u32,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Download {
    pub(super) server: IpAddr,
    pub(super) bytes: u64,
}

/// The segments of a session in the order of their requests' flows.
pub(super) fn downloads(
    session: &CapturedSession,
    served: &[Option<Served>],
    requests: Requests,
) -> Vec<Download> {
    let mut flows = vec![(None::<u64>, Vec::<u64>::new()); session.flows.len()];
    for (number, packet) in session.packets.iter().enumerate() {
        let Some(flow) = packet.flow.map(|flow| flow as usize) else { continue };
        let Some(&Some(server)) = served.get(flow) else { continue };
        let Some(payload) = payload(session, number, packet).filter(|&payload| payload > 0) else { continue };
        let (open, done) = &mut flows[flow]; // as many as flows
        let least = if packet.tcp.is_some() { requests.tcp } else { requests.udp };
        if session.direction(packet) == Some(server.down) {
            if let Some(bytes) = open {
                *bytes += u64::from(payload);
            }
        } else if payload >= least {
            done.extend(open.replace(0).filter(|&bytes| bytes > 0));
        }
    }
    let mut all = Vec::new();
    for ((open, mut done), server) in flows.into_iter().zip(served) {
        done.extend(open.filter(|&bytes| bytes > 0));
        if let Some(Served { server, .. }) = *server {
            all.extend(done.into_iter().map(|bytes| Download { server, bytes }));
        }
    }
    all
}

/// Payload of a TCP or UDP packet as its lengths have it, captured or not.
fn payload(session: &CapturedSession, number: usize, packet: &Packet) -> Option<u32> {
    if let Some(segment) = packet.tcp {
        return Some(segment.payload);
    }
    let frame = session.frame(number);
    let Transport::Udp { at } = Layout::parse(frame).transport else { return None };
    let length = udp::View::new(frame.get(at..)?)?.length();
    Some(u32::from(length).saturating_sub(udp::View::LEN as u32))
}

#[cfg(test)]
mod tests {
    use super::super::servers::{Known, Servers};
    use super::*;
    use crate::side::Side;
    use crate::testing::Frames;

    const REQUESTS: Requests = Requests { tcp: 1, udp: 300 };

    fn sizes(frames: &Frames, servers: &Servers) -> Vec<u64> {
        let side = Side::of(vec![frames.session("x")]);
        let session = &side.sessions()[0];
        let served = Known::of(&side, servers, None).served(0, session, servers);
        downloads(session, &served, REQUESTS).iter().map(|segment| segment.bytes).collect()
    }

    #[test]
    fn a_request_ends_a_segment_and_begins_the_next() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.tcp(30, (443, 50001), "A", (501, 101), 50); // nobody asked
        frames.tcp(40, (50001, 443), "PA", (101, 551), 200);
        frames.tcp(41, (50001, 443), "PA", (301, 551), 100); // the request goes on
        frames.tcp(50, (443, 50001), "A", (551, 401), 1000);
        frames.tcp(51, (50001, 443), "A", (401, 1551), 0);
        frames.tcp(52, (443, 50001), "A", (1551, 401), 400);
        frames.tcp(60, (50001, 443), "PA", (401, 1951), 200);
        frames.tcp(70, (443, 50001), "A", (1951, 601), 7);
        frames.tcp(80, (50001, 443), "PA", (601, 1958), 9); // unanswered
        assert_eq!(sizes(&frames, &Servers::default()), [1400, 7]);
        assert!(sizes(&frames, &Servers::Ports(vec![80])).is_empty());
        let prefix = |text: &str| Servers::Prefixes(vec![text.parse().expect("a prefix")]);
        assert_eq!(sizes(&frames, &prefix("198.18.0.0/16")), [1400, 7]);
        assert!(sizes(&frames, &prefix("192.0.2.0/24")).is_empty());
        // Seen from the other end: the client's bytes, each answered by some of the server's.
        assert_eq!(sizes(&frames, &prefix("10.0.0.2/32")), [300, 200, 9]);
    }

    #[test]
    fn over_udp_only_a_large_packet_asks() {
        let mut frames = Frames::new();
        frames.udp(0, (50001, 443), 1200);
        frames.udp(10, (443, 50001), 900);
        frames.udp(20, (50001, 443), 40); // acknowledges
        frames.udp(30, (443, 50001), 600);
        frames.udp(40, (50001, 443), 300);
        frames.udp(50, (443, 50001), 1);
        frames.arp(60);
        assert_eq!(sizes(&frames, &Servers::default()), [1500, 1]);
        // The flow's first packet may be the server's.
        frames.records.remove(0);
        assert_eq!(sizes(&frames, &Servers::default()), [1]);
    }
}
