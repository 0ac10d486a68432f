//! Transport headers of a record.

use arrayvec::ArrayVec;
use netssm_wire::frame::protocol;
use netssm_wire::tcp::Flags;

use super::record::{WINDOW_BYTES, be16, be32, head};

/// A transport header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Udp),
    /// ICMP, ICMPv6 or IGMP.
    Icmp(Icmp),
    /// Another protocol, or a fragment without a header: the first bytes, which count as payload.
    Other(Window),
}

/// The first bytes of a payload.
pub type Window = ArrayVec<u8, WINDOW_BYTES>;

/// A TCP header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source and destination port.
    pub ports: (u16, u16),
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags and reserved bits.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Checksum.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options. Those parsed from a capture end where the capture does.
    pub options: ArrayVec<u8, 40>,
    /// Bytes of options that the header declares.
    pub options_len: u8,
}

/// A UDP header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    /// Source and destination port.
    pub ports: (u16, u16),
    /// Length field.
    pub len: u16,
    /// Checksum.
    pub checksum: u16,
    /// First payload bytes.
    pub window: Window,
}

/// The first eight bytes of ICMP or ICMPv6, twelve of IGMP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Icmp {
    /// Type and code.
    pub kind: u16,
    /// Checksum.
    pub checksum: u16,
    /// The two words that follow; identifier and sequence number in an echo.
    pub words: (u16, u16),
    /// IGMP: up to four bytes more, which count as payload.
    pub window: Window,
}

/// Stands for a protocol whose headers the grammar does not know: IANA reserves this number.
pub(super) const OTHER_PROTOCOL: u8 = 255;

/// Whether the grammar knows the headers of a protocol over this version of IP.
pub(super) fn known_protocol(v6: bool, protocol: u8) -> bool {
    match protocol {
        protocol::TCP | protocol::UDP => true,
        protocol::ICMP | protocol::IGMP => !v6,
        protocol::ICMPV6 => v6,
        _ => false,
    }
}

/// Bytes of payload that a record of this protocol keeps.
pub(super) fn window_len(protocol: u8, payload_len: u32) -> usize {
    let most = match protocol {
        protocol::ICMP | protocol::ICMPV6 => 0,
        protocol::IGMP => 4,
        _ => WINDOW_BYTES,
    };
    most.min(payload_len as usize)
}

impl Transport {
    /// Bytes of the header that do not count as payload.
    pub fn header_len(&self) -> usize {
        match self {
            Transport::Tcp(tcp) => 20 + usize::from(tcp.options_len),
            Transport::Udp(_) | Transport::Icmp(_) => 8,
            Transport::Other(_) => 0,
        }
    }

    /// Source and destination port in the key of a flow: the ports of TCP and UDP, the identifier of an echo twice,
    /// else zeros.
    pub fn ports(&self, v6: bool) -> (u16, u16) {
        match self {
            Transport::Tcp(tcp) => tcp.ports,
            Transport::Udp(udp) => udp.ports,
            Transport::Icmp(icmp) if is_echo(icmp.kind, v6) => (icmp.words.0, icmp.words.0),
            _ => (0, 0),
        }
    }

    /// Reads the header at the start of `rest`, the captured bytes behind the IP header. There were `len` of them on
    /// the wire. Returns the header, its payload length and the number of missing bytes; `None` if the fixed part is
    /// cut or impossible.
    pub(super) fn parse(
        protocol: u8,
        first: bool,
        v6: bool,
        rest: &[u8],
        len: u32,
    ) -> Option<(Transport, u32, u8)> {
        let icmp = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
        let (transport, header_len, seen, end) = match protocol {
            protocol::TCP if first => {
                let (tcp, header_len) = Tcp::parse(rest, len)?;
                let seen = 20 + tcp.options.len();
                (Transport::Tcp(tcp), header_len, seen, header_len as usize)
            }
            protocol::UDP if first && len >= 8 && rest.len() >= 8 => {
                let end = 8 + window_len(protocol::UDP, len - 8);
                let window: Window = head(&rest[8..end.min(rest.len())]);
                let ports = (be16(rest, 0), be16(rest, 2));
                let seen = 8 + window.len();
                (
                    Transport::Udp(Udp { ports, len: be16(rest, 4), checksum: be16(rest, 6), window }),
                    8,
                    seen,
                    end,
                )
            }
            _ if first
                && (protocol == icmp || protocol == protocol::IGMP && !v6)
                && len >= 8
                && rest.len() >= 8 =>
            {
                let end = 8 + window_len(protocol, len - 8);
                let window: Window = head(&rest[8..end.min(rest.len())]);
                let seen = 8 + window.len();
                let words = (be16(rest, 4), be16(rest, 6));
                (
                    Transport::Icmp(Icmp { kind: be16(rest, 0), checksum: be16(rest, 2), words, window }),
                    8,
                    seen,
                    end,
                )
            }
            protocol::TCP | protocol::UDP if first => return None,
            _ if first && protocol == icmp => return None,
            _ => {
                let end = window_len(OTHER_PROTOCOL, len);
                let window: Window = head(&rest[..end.min(rest.len())]);
                let seen = window.len();
                (Transport::Other(window), 0, seen, end)
            }
        };
        Some((transport, len - header_len, (end - seen) as u8))
    }

    /// Appends the header bytes. `checksum`, if given, replaces the checksum of the header.
    pub(super) fn emit(&self, checksum: Option<u16>, out: &mut impl Extend<u8>) {
        let mut put = |value: u16| out.extend(value.to_be_bytes());
        match self {
            Transport::Tcp(tcp) => {
                for word in [tcp.ports.0, tcp.ports.1, (tcp.seq >> 16) as u16, tcp.seq as u16] {
                    put(word);
                }
                put((tcp.ack >> 16) as u16);
                put(tcp.ack as u16);
                put((5 + u16::from(tcp.options_len) / 4) << 12 | tcp.flags.bits());
                put(tcp.window);
                put(checksum.unwrap_or(tcp.checksum));
                put(tcp.urgent);
                out.extend(tcp.options.iter().copied());
            }
            Transport::Udp(udp) => {
                for word in [udp.ports.0, udp.ports.1, udp.len, checksum.unwrap_or(udp.checksum)] {
                    put(word);
                }
                out.extend(udp.window.iter().copied());
            }
            Transport::Icmp(icmp) => {
                for word in [icmp.kind, checksum.unwrap_or(icmp.checksum), icmp.words.0, icmp.words.1] {
                    put(word);
                }
                out.extend(icmp.window.iter().copied());
            }
            Transport::Other(window) => out.extend(window.iter().copied()),
        }
    }
}

/// Whether an ICMP message has an identifier: echo and echo reply. `kind` is type and code.
pub(super) fn is_echo(kind: u16, v6: bool) -> bool {
    matches!((v6, kind >> 8), (false, 0 | 8) | (true, 128 | 129))
}

impl Tcp {
    fn parse(rest: &[u8], len: u32) -> Option<(Tcp, u32)> {
        if len < 20 || rest.len() < 20 {
            return None;
        }
        let offset = be16(rest, 12);
        let header_len = u32::from(offset >> 12) * 4;
        if header_len < 20 || len < header_len {
            return None;
        }
        let end = rest.len().min(header_len as usize);
        let tcp = Tcp {
            ports: (be16(rest, 0), be16(rest, 2)),
            seq: be32(rest, 4),
            ack: be32(rest, 8),
            flags: Flags::from_bits(offset),
            window: be16(rest, 14),
            checksum: be16(rest, 16),
            urgent: be16(rest, 18),
            options: head(&rest[20..end]),
            options_len: header_len as u8 - 20,
        };
        Some((tcp, header_len))
    }
}
