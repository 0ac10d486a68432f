//! The layout of a frame: where each header starts, found in one walk that cannot fail.
//!
//! Rewriting, checksums, codecs and flow keys are built on [`Layout::parse`]. It gives offsets into the
//! frame, so fields are changed in place, and it keeps these promises for every input:
//!
//! * [`Net::Ipv4`] and [`Net::Ipv6`] are only given when the fixed header (20, 40 bytes) is in the frame and
//!   has the right version, [`Net::Arp`] when its first 8 bytes are;
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

mod extensions;
mod numbers;
mod parts;
mod walk;

pub use extensions::Extension;
pub use numbers::{ethertype, protocol};
pub use parts::{Fragment, Ipv4Layout, Ipv6Layout, Layer, Net, Stop, Tag, Tags, Transport};

use std::net::IpAddr;

use crate::bytes::array;

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Bytes that one 802.1Q tag adds.
pub const TAG_LEN: usize = 4;

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

    /// As [`Layout::parse`] for a packet without link header, the one quoted in an ICMP error for example:
    /// offsets are from its first byte, and the version says which IP it is.
    pub fn parse_ip(packet: &[u8]) -> Layout {
        walk::walk_ip(packet)
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
            Net::Ipv6(ip) => Some(ip.transport_at),
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
}
