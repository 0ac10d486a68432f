//! The parts of a [`Layout`](super::Layout): tags, network layer, transport layer, and where the walk
//! stopped.

use std::fmt;

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

    pub(super) fn push(&mut self, tag: Tag) {
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
    /// The last next-header value of the chain; where the chain is cut or malformed, that of the header which
    /// is.
    pub protocol: u8,
    /// Offset of what `protocol` names.
    pub transport_at: usize,
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
