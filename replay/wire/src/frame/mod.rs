//! The layout of a frame: where each header starts, found in one walk that cannot fail.
//!
//! [`Layout::parse`] is what rewriting, checksums, codecs and flow keys stand on. It gives offsets into the
//! frame, so fields are changed in place, and it keeps these promises for every input:
//!
//! * [`Net::Ipv4`] and [`Net::Ipv6`] are only given when the fixed header (20, 40 bytes) is in the frame and has the right
//!   version, [`Net::Arp`] when its first 8 bytes are;
//! * [`Transport::Tcp`] is only given when 20 bytes of it are in the frame, [`Transport::Udp`],
//!   [`Transport::Icmp`], [`Transport::Icmpv6`] and [`Transport::Igmp`] when 8 are. A shorter one is
//!   [`Transport::Other`] with the number of the protocol, and [`Layout::stop`] says that it was cut;
//! * [`Layout::payload_at`] is at most the length of the frame.
//!
//! ```
//! use netssm_wire::frame::{Layout, Stop, Transport};
//! let layout = Layout::parse(&[0; 9]); // a frame cut inside the Ethernet header is a value too
//! assert_eq!(layout.transport, Transport::None);
//! assert_eq!(layout.stop.to_string(), "ethernet header cut");
//! ```

mod walk;

pub(crate) use walk::{extension_len, is_extension};

use std::fmt;
use std::net::IpAddr;

use crate::bytes::{array, be16};
use crate::flow::FiveTuple;

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Bytes that one 802.1Q tag adds.
pub const TAG_LEN: usize = 4;

/// IP protocol numbers that this crate knows by name (IANA).
pub mod protocol {
    #![allow(missing_docs)] // the names are IANA's
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT: u8 = 59;
    pub const DESTINATION: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const UDP_LITE: u8 = 136;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;

    /// Whether the protocol's header starts with a source and a destination port.
    pub fn has_ports(protocol: u8) -> bool {
        matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE)
    }
}

/// Ethertypes that this crate knows by name.
pub mod ethertype {
    #![allow(missing_docs)] // the names are IEEE's
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const QINQ: u16 = 0x88a8;
    /// What came before 802.1ad, still seen.
    pub const QINQ_OLD: u16 = 0x9100;
    /// Below this the field is an 802.3 length.
    pub const FIRST: u16 = 0x0600;
}

/// One 802.1Q or 802.1ad tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Frame offset of the tag protocol identifier.
    pub at: usize,
    /// Tag protocol identifier: 0x8100, 0x88a8 or 0x9100.
    pub tpid: u16,
    /// Tag control information: priority, drop bit, VLAN.
    pub tci: u16,
}

impl Tag {
    /// VLAN identifier, 0 to 4095.
    pub fn vlan_id(&self) -> u16 {
        self.tci & 0x0fff
    }

    /// Priority code point, 0 to 7.
    pub fn priority(&self) -> u8 {
        (self.tci >> 13) as u8
    }

    /// Drop eligible indicator.
    pub fn drop_eligible(&self) -> bool {
        self.tci & 0x1000 != 0
    }
}

/// The tags of a frame, outermost first; at most two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    list: [Tag; Tags::MAX],
    len: usize,
}

impl Tags {
    /// How many tags are read. A third one is an ethertype of its own: [`Net::Other`].
    pub const MAX: usize = 2;

    fn push(&mut self, tag: Tag) {
        self.list[self.len] = tag; // the walk checks for room first
        self.len += 1;
    }
}

impl std::ops::Deref for Tags {
    type Target = [Tag];

    fn deref(&self) -> &[Tag] {
        &self.list[..self.len]
    }
}

/// The network layer of a frame. Offsets are from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// The frame ends before it.
    None,
    /// ARP, its first 8 bytes present.
    Arp {
        /// Offset of the ARP packet.
        at: usize,
    },
    /// IPv4, fixed header present.
    Ipv4(Ipv4Layout),
    /// IPv6, fixed header present.
    Ipv6(Ipv6Layout),
    /// Anything else: another ethertype, an 802.3 length, a third tag, or an IP header that cannot be read.
    Other {
        /// Offset of the first byte after the ethertype.
        at: usize,
    },
}

/// Where an IPv4 packet is and what its header claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Layout {
    /// Offset of the header.
    pub at: usize,
    /// Length of the header with options, 20 to 60 bytes.
    pub header_len: usize,
    /// Total length as the header says, in bytes; may be less than `header_len` and more than the frame has.
    pub total_len: usize,
    /// Protocol number.
    pub protocol: u8,
    /// Set when this is a fragment: an offset, or more to come.
    pub fragment: Option<Fragment>,
}

/// Where an IPv6 packet is and what its header claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Layout {
    /// Offset of the fixed header.
    pub at: usize,
    /// Payload length as the header says, in bytes, extension headers included.
    pub payload_len: usize,
    /// The last next-header value of the chain; where the chain is cut or malformed, that of the header which is.
    pub upper: u8,
    /// Offset of what `upper` names.
    pub upper_at: usize,
    /// From the last fragment header that fragments; an atomic one (RFC 6946) leaves it empty.
    pub fragment: Option<Fragment>,
}

/// The place of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset in bytes of this fragment's data.
    pub offset: usize,
    /// Whether more fragments follow.
    pub more: bool,
    /// Identification; 16 bits in IPv4.
    pub id: u32,
}

/// The transport layer of a frame. Offsets are from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// None in this frame: not IP, a fragment that is not the first, "no next header", or never reached.
    None,
    /// TCP, fixed header present.
    Tcp {
        /// Offset of the header.
        at: usize,
        /// Length with options, 20 to 60 bytes. Where the data offset is below 5 words, 20.
        header_len: usize,
    },
    /// UDP, header present.
    Udp {
        /// Offset of the header.
        at: usize,
    },
    /// ICMP, first 8 bytes present.
    Icmp {
        /// Offset of the header.
        at: usize,
    },
    /// ICMPv6, first 8 bytes present.
    Icmpv6 {
        /// Offset of the header.
        at: usize,
    },
    /// IGMP, first 8 bytes present.
    Igmp {
        /// Offset of the header.
        at: usize,
    },
    /// Another protocol, or one of the above whose fixed header is not all there.
    Other {
        /// Offset of what follows the IP headers; may be the end of the frame.
        at: usize,
        /// Protocol number.
        protocol: u8,
    },
}

/// A layer that the walk can stop at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Ethernet addresses and ethertype.
    Ethernet,
    /// 802.1Q or 802.1ad tag.
    Vlan,
    /// ARP.
    Arp,
    /// IPv4 header with options.
    Ipv4,
    /// IPv6 header or its extension headers.
    Ipv6,
    /// TCP header with options.
    Tcp,
    /// UDP header.
    Udp,
    /// ICMP header.
    Icmp,
    /// ICMPv6 header.
    Icmpv6,
    /// IGMP header.
    Igmp,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Ethernet => "ethernet",
            Layer::Vlan => "vlan",
            Layer::Arp => "arp",
            Layer::Ipv4 => "ipv4",
            Layer::Ipv6 => "ipv6",
            Layer::Tcp => "tcp",
            Layer::Udp => "udp",
            Layer::Icmp => "icmp",
            Layer::Icmpv6 => "icmpv6",
            Layer::Igmp => "igmp",
        })
    }
}

/// How the walk over the headers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// Every header that this crate knows is in the frame and well formed. Payload may still be cut.
    Whole,
    /// The frame ends inside this header.
    Cut(Layer),
    /// This header contradicts itself or the one around it.
    Invalid(Layer, &'static str),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Whole => f.write_str("all headers whole"),
            Stop::Cut(layer) => write!(f, "{layer} header cut"),
            Stop::Invalid(layer, why) => write!(f, "{layer} header invalid: {why}"),
        }
    }
}

/// Where the headers of one frame are. See the module docs for what each value promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// VLAN tags.
    pub tags: Tags,
    /// The ethertype after the tags, or an 802.3 length below 0x0600; 0 when the frame ends before it.
    pub ethertype: u16,
    /// Network layer.
    pub net: Net,
    /// Transport layer.
    pub transport: Transport,
    /// How the walk ended.
    pub stop: Stop,
}

impl Layout {
    /// Walks the headers of `frame`. Never panics, allocates nothing, and looks at no payload.
    pub fn parse(frame: &[u8]) -> Layout {
        walk::walk(frame)
    }

    /// Offset of the first byte after the transport header; at most the length of the frame.
    ///
    /// `None` without a whole transport header. For [`Transport::Other`] nothing is known of a header, so it
    /// is where that protocol starts.
    pub fn payload_at(&self) -> Option<usize> {
        match self.transport {
            Transport::None => None,
            Transport::Tcp { at, header_len } => (self.stop == Stop::Whole).then_some(at + header_len),
            Transport::Udp { at }
            | Transport::Icmp { at }
            | Transport::Icmpv6 { at }
            | Transport::Igmp { at } => Some(at + 8),
            Transport::Other { at, .. } => Some(at),
        }
    }

    /// Offset where the IP length says that the packet ends; more than the frame's length when
    /// the capture cut it, less when the frame is padded.
    pub fn l3_end(&self) -> Option<usize> {
        match self.net {
            Net::Ipv4(ip) => Some(ip.at + ip.total_len),
            Net::Ipv6(ip) => Some(ip.at + 40 + ip.payload_len),
            _ => None,
        }
    }

    /// Offset of the first byte after the IP headers, present also for later fragments.
    pub fn l4_at(&self) -> Option<usize> {
        match self.net {
            Net::Ipv4(ip) => Some(ip.at + ip.header_len),
            Net::Ipv6(ip) => Some(ip.upper_at),
            _ => None,
        }
    }

    /// The fragment's place, if this is one.
    pub fn fragment(&self) -> Option<Fragment> {
        match self.net {
            Net::Ipv4(ip) => ip.fragment,
            Net::Ipv6(ip) => ip.fragment,
            _ => None,
        }
    }

    /// Source and destination address of an IP packet. `frame` must be the one that was parsed.
    pub fn addresses(&self, frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
        match self.net {
            Net::Ipv4(ip) => {
                let src: [u8; 4] = array(frame, ip.at + 12)?;
                let dst: [u8; 4] = array(frame, ip.at + 16)?;
                Some((src.into(), dst.into()))
            }
            Net::Ipv6(ip) => {
                let src: [u8; 16] = array(frame, ip.at + 8)?;
                let dst: [u8; 16] = array(frame, ip.at + 24)?;
                Some((src.into(), dst.into()))
            }
            _ => None,
        }
    }

    /// The five-tuple as sent. `frame` must be the one that was parsed.
    ///
    /// TCP, UDP, SCTP, DCCP and UDP-Lite give ports, ICMP and ICMPv6 type and code, later fragments and everything else
    /// zeros. `None` without IP addresses, when the ports were cut off, and when a cut or malformed
    /// chain of IPv6 headers hides the protocol.
    pub fn five_tuple(&self, frame: &[u8]) -> Option<FiveTuple> {
        let (src, dst) = self.addresses(frame)?;
        let number = match self.net {
            Net::Ipv4(ip) => ip.protocol,
            Net::Ipv6(ip) => match self.stop {
                Stop::Cut(Layer::Ipv6) | Stop::Invalid(Layer::Ipv6, _) => return None,
                _ => ip.upper,
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
