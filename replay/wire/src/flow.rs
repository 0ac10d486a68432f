//! Flows: the five-tuple of a packet, its direction-free key, and the Community ID that ties our labels to
//! the logs of Zeek and Suricata.
//!
//! ICMP has no ports, so type and code stand in, and the counterpart of a request's type pairs it with the
//! reply, as the Community ID v1 specification (github.com/corelight/community-id-spec) takes it from Zeek.
//! Types without a counterpart are one-way: both directions are then flows of their own.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::bytes::{array, be16};
use crate::frame::{Layer, Layout, Net, Stop, Transport, protocol};

/// Addresses and ports of one packet, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FiveTuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; the type for ICMP and ICMPv6; 0 for protocols without ports.
    pub src_port: u16,
    /// Destination port; the code for ICMP and ICMPv6; 0 for protocols without ports.
    pub dst_port: u16,
    /// IP protocol number; in IPv6 that after the extension headers.
    pub protocol: u8,
}

impl FiveTuple {
    /// The tuple of an answer to this packet.
    ///
    /// For ICMP the type becomes its counterpart and the code stays; a one-way type stays itself.
    pub fn reversed(&self) -> Self {
        let (src_port, dst_port) = match (is_icmp(self.protocol), self.icmp_counterpart()) {
            (false, _) => (self.dst_port, self.src_port),
            (true, Some(answer)) => (answer, self.dst_port),
            (true, None) => (self.src_port, self.dst_port),
        };
        FiveTuple { src: self.dst, dst: self.src, src_port, dst_port, protocol: self.protocol }
    }

    /// The key that both directions of the flow share.
    pub fn key(&self) -> FlowKey {
        let (src_port, dst_port, one_way) = match (is_icmp(self.protocol), self.icmp_counterpart()) {
            (false, _) => (self.src_port, self.dst_port, false),
            (true, Some(answer)) => (self.src_port, answer, false),
            (true, None) => (self.src_port, self.dst_port, true),
        };
        let forward = FlowKey {
            protocol: self.protocol,
            low: self.src,
            high: self.dst,
            low_port: src_port,
            high_port: dst_port,
        };
        if one_way || (self.src, src_port) <= (self.dst, dst_port) {
            forward
        } else {
            FlowKey { low: self.dst, high: self.src, low_port: dst_port, high_port: src_port, ..forward }
        }
    }

    /// The ICMP type that answers, or is answered by, this packet's type.
    fn icmp_counterpart(&self) -> Option<u16> {
        // Pairs of Zeek's src/analyzer/protocol/icmp/ICMP.cc, which the specification names as its source.
        const V4: [(u16, u16); 5] = [(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)];
        const V6: [(u16, u16); 6] = [(128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)];
        let pairs: &[(u16, u16)] = match self.protocol {
            protocol::ICMP => &V4,
            protocol::ICMPV6 => &V6,
            _ => return None,
        };
        pairs.iter().find_map(|&(ask, answer)| match self.src_port {
            kind if kind == ask => Some(answer),
            kind if kind == answer => Some(ask),
            _ => None,
        })
    }
}

fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

/// A flow without direction: the numerically smaller endpoint first. For one-way ICMP the sender is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowKey {
    /// IP protocol number.
    pub protocol: u8,
    /// Address of the smaller endpoint.
    pub low: IpAddr,
    /// Address of the larger endpoint.
    pub high: IpAddr,
    /// Port of the smaller endpoint; for ICMP as the module docs say.
    pub low_port: u16,
    /// Port of the larger endpoint.
    pub high_port: u16,
}

/// Community ID version 1 of the packet's flow: `1:` and the Base64 of a SHA-1. The usual `seed` is 0.
///
/// ```
/// use netssm_wire::flow::{FiveTuple, community_id};
/// let dns = FiveTuple {
///     src: [192, 168, 1, 52].into(),
///     dst: [8, 8, 8, 8].into(),
///     src_port: 54585,
///     dst_port: 53,
///     protocol: 17,
/// };
/// assert_eq!(community_id(&dns, 0), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
/// assert_eq!(community_id(&dns.reversed(), 0), community_id(&dns, 0));
/// ```
pub fn community_id(tuple: &FiveTuple, seed: u16) -> String {
    let key = tuple.key();
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    for address in [key.low, key.high] {
        match address {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
    }
    hash.update([key.protocol, 0]);
    // Version 1 hashes ports for these only: DCCP and UDP-Lite have ports but are not in its list.
    if is_icmp(key.protocol) || matches!(key.protocol, protocol::TCP | protocol::UDP | protocol::SCTP) {
        hash.update(key.low_port.to_be_bytes());
        hash.update(key.high_port.to_be_bytes());
    }
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

impl Layout {
    /// The five-tuple as sent. `frame` must be the one that was parsed.
    ///
    /// TCP, UDP, SCTP, DCCP and UDP-Lite give ports, ICMP and ICMPv6 type and code, later fragments and
    /// everything else zeros. `None` without IP addresses, when the ports were cut off, and when a cut or
    /// malformed chain of IPv6 headers hides the protocol.
    pub fn five_tuple(&self, frame: &[u8]) -> Option<FiveTuple> {
        let (src, dst) = self.addresses(frame)?;
        let number = match self.net {
            Net::Ipv4(ip) => ip.protocol,
            Net::Ipv6(ip) => match self.stop {
                Stop::Cut(Layer::Ipv6) | Stop::Invalid(Layer::Ipv6, _) => return None,
                _ => ip.protocol,
            },
            _ => return None,
        };
        let ports = |at| Some((be16(frame, at)?, be16(frame, at + 2)?));
        let (src_port, dst_port) = match self.transport {
            Transport::Tcp { at, .. } | Transport::Udp { at } => ports(at)?,
            Transport::Icmp { at } | Transport::Icmpv6 { at } => {
                let [kind, code] = array(frame, at)?;
                (u16::from(kind), u16::from(code))
            }
            Transport::Other { at, protocol } if protocol::has_ports(protocol) => ports(at)?,
            Transport::Other { at, protocol: protocol::ICMP | protocol::ICMPV6 } => {
                let [kind, code] = array(frame, at)?;
                (u16::from(kind), u16::from(code))
            }
            Transport::Igmp { .. } | Transport::Other { .. } | Transport::None => (0, 0),
        };
        Some(FiveTuple { src, dst, src_port, dst_port, protocol: number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(protocol: u8, src: &str, dst: &str, src_port: u16, dst_port: u16) -> FiveTuple {
        FiveTuple { src: src.parse().unwrap(), dst: dst.parse().unwrap(), src_port, dst_port, protocol }
    }

    /// The reference data of the specification (`baseline/` in its repository) and of its reference
    /// implementation's tests: protocol, source, destination, ports, ID with seed 0, ID with seed 1 ("" = not
    /// given).
    #[rustfmt::skip]
    const VECTORS: [(u8, &str, &str, u16, u16, &str, &str); 26] = [
        (58, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=", "1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY="),
        (58, "fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 136, 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=", "1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY="),
        (58, "fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 135, 0, "1:zavyT/cezQr1fmImYCwYnMXbgck=", ""),
        (58, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 136, 0, "1:zavyT/cezQr1fmImYCwYnMXbgck=", ""),
        (58, "3ffe:507:0:1:260:97ff:fe07:69ea", "3ffe:507:0:1:200:86ff:fe05:80da", 3, 0, "1:NdobDX8PQNJbAyfkWxhtL2Pqp5w=", "1:OlOWx9psIbBFi7lOCw/4MhlKR9M="),
        (58, "3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:507:0:1:260:97ff:fe07:69ea", 3, 0, "1:/OGBt9BN1ofenrmSPWYicpij2Vc=", "1:Ij4ZxnC87/MXzhOjvH2vHu7LRmE="),
        (58, "3ffe:501:410:0:2c0:dfff:fe47:33e", "3ffe:507:0:1:200:86ff:fe05:80da", 1, 4, "1:hLZd0XGWojozrvxqE0dWB1iM6R0=", ""),
        (58, "3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:501:0:1001::2", 128, 0, "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=", ""),
        (58, "3ffe:501:0:1001::2", "3ffe:507:0:1:200:86ff:fe05:80da", 129, 0, "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=", ""),
        (58, "fe80::200:86ff:fe05:80da", "ff02::2", 133, 0, "1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0=", ""),
        (58, "fe80::260:97ff:fe07:69ea", "ff02::1", 134, 0, "1:pkvHqCL88/tg1k4cPigmZXUtL00=", ""),
        (1, "192.168.0.89", "192.168.0.1", 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="),
        (1, "192.168.0.1", "192.168.0.89", 0, 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="),
        (1, "192.168.0.89", "192.168.0.1", 20, 0, "1:3o2RFccXzUgjl7zDpqmY7yJi8rI=", "1:lCXHHxavE1Vq3oX9NH5ladQg02o="),
        (1, "192.168.0.89", "192.168.0.1", 20, 1, "1:tz/fHIDUHs19NkixVVoOZywde+I=", "1:Ie3wmFyxiEyikbsbcO03d2nh+PM="),
        (1, "192.168.0.1", "192.168.0.89", 0, 20, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="),
        (1, "10.0.0.1", "10.0.0.2", 11, 0, "1:YHxtAirCG//0OzkcVAukqKQN9xM=", ""),
        (6, "2001:470:e5bf:dead:4957:2174:e82c:4887", "2607:f8b0:400c:c03::1a", 63943, 25, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=", ""),
        (6, "2607:f8b0:400c:c03::1a", "2001:470:e5bf:dead:4957:2174:e82c:4887", 25, 63943, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=", ""),
        (132, "192.168.170.8", "192.168.170.56", 7, 80, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ=", "1:Y1/0jQg6e+I3ZwZZ9LP65DNbTXU="),
        (132, "192.168.170.56", "192.168.170.8", 7, 7, "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=", ""),
        (6, "128.232.110.120", "66.35.250.204", 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:3V71V58M3Ksw/yuFALMcW0LAHvc="),
        (6, "66.35.250.204", "128.232.110.120", 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:3V71V58M3Ksw/yuFALMcW0LAHvc="),
        (6, "10.0.0.1", "10.0.0.2", 10, 11569, "1:SXBGMX1lBOwhhoDrZynfROxnhnM=", "1:HmBRGR+fUyXF4t8WEtal7Y0gEAo="),
        (17, "8.8.8.8", "192.168.1.52", 53, 54585, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=", "1:Q9We8WO3piVF8yEQBNJF4uiSVrI="),
        (46, "10.1.24.4", "10.1.12.1", 0, 0, "1:/nQI4Rh/TtY3mf0R2gJFBkVlgS4=", "1:BK3BVW3U2eemuwVQVN3zd/GULno="),
    ];

    #[test]
    fn community_ids_equal_the_published_ones() {
        for (protocol, src, dst, sport, dport, seed_0, seed_1) in VECTORS {
            let t = tuple(protocol, src, dst, sport, dport);
            assert_eq!(community_id(&t, 0), seed_0, "{t:?}");
            if !seed_1.is_empty() {
                assert_eq!(community_id(&t, 1), seed_1, "{t:?}");
            }
        }
    }

    #[test]
    fn keys_join_directions_except_one_way_icmp() {
        for (protocol, src, dst, sport, dport, ..) in VECTORS {
            let t = tuple(protocol, src, dst, sport, dport);
            let one_way = is_icmp(protocol) && t.icmp_counterpart().is_none();
            assert_eq!(t.key() == t.reversed().key(), !one_way, "{t:?}");
            assert_eq!(t.reversed().reversed(), t);
        }
    }

    #[test]
    fn equal_addresses_are_ordered_by_port() {
        let t = tuple(6, "10.0.0.1", "10.0.0.1", 80, 79);
        assert_eq!((t.key().low_port, t.key().high_port), (79, 80));
        assert_eq!(t.key(), t.reversed().key());
    }

    #[test]
    fn ports_outside_version_1_are_in_the_key_but_not_in_the_id() {
        let (a, b) = (tuple(33, "10.0.0.1", "10.0.0.2", 1, 2), tuple(33, "10.0.0.1", "10.0.0.2", 3, 4));
        assert_ne!(a.key(), b.key());
        assert_eq!(community_id(&a, 0), community_id(&b, 0));
    }
}
