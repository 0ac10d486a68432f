//! What repair did and what it gave up on: bounded names, so that they can be metric labels.

use std::fmt;

/// A kind of repair. A packet may need several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RepairKind {
    /// The source MAC named a group.
    SourceMac,
    /// The destination MAC did not fit the destination address.
    DestinationMac,
    /// The VLAN id was the reserved 4095.
    VlanId,
    /// Types, lengths, operation or sender of ARP.
    ArpFields,
    /// The version nibble disagreed with the Ethernet type.
    IpVersion,
    /// The IPv4 header length was below 20 bytes or beyond what there is.
    IpHeaderLength,
    /// IPv4 options other than router alert were removed.
    IpOptions,
    /// The IP length disagreed with the headers, the message, or the largest frame.
    IpLength,
    /// The reserved flag of IPv4 was set.
    IpReservedFlag,
    /// The packet claimed to be a fragment.
    Fragment,
    /// TTL or hop limit was 0, or not what the protocol demands.
    Ttl,
    /// IPv6 extension headers were removed.
    ExtensionHeader,
    /// The data offset was below 5 or beyond what there is.
    TcpDataOffset,
    /// Options that are broken, repeated or out of place became padding.
    TcpOptions,
    /// A set of flags that no TCP sends.
    TcpFlags,
    /// Reserved header bits were set.
    TcpReserved,
    /// Urgent pointer without URG, or URG without data.
    TcpUrgent,
    /// A SYN or RST with payload.
    TcpPayload,
    /// An acknowledgement number without ACK.
    TcpAcknowledgement,
    /// The UDP length disagreed with the IP length.
    UdpLength,
    /// A service's shortest message is longer than what was declared.
    UdpPayload,
    /// A DNS header promised more questions or records than its payload can hold.
    DnsCounts,
    /// A code that the ICMP type does not have.
    IcmpCode,
    /// A field of an ICMP message that must be zero, or must not.
    IcmpFields,
    /// An error message got the quote of an earlier packet.
    IcmpQuote,
    /// Options of neighbour discovery, or records of a listener report, that are broken were removed.
    MessageBody,
}

impl RepairKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 26] = [
        Self::SourceMac,
        Self::DestinationMac,
        Self::VlanId,
        Self::ArpFields,
        Self::IpVersion,
        Self::IpHeaderLength,
        Self::IpOptions,
        Self::IpLength,
        Self::IpReservedFlag,
        Self::Fragment,
        Self::Ttl,
        Self::ExtensionHeader,
        Self::TcpDataOffset,
        Self::TcpOptions,
        Self::TcpFlags,
        Self::TcpReserved,
        Self::TcpUrgent,
        Self::TcpPayload,
        Self::TcpAcknowledgement,
        Self::UdpLength,
        Self::UdpPayload,
        Self::DnsCounts,
        Self::IcmpCode,
        Self::IcmpFields,
        Self::IcmpQuote,
        Self::MessageBody,
    ];

    /// A short name for reports and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceMac => "source-mac",
            Self::DestinationMac => "destination-mac",
            Self::VlanId => "vlan-id",
            Self::ArpFields => "arp-fields",
            Self::IpVersion => "ip-version",
            Self::IpHeaderLength => "ip-header-length",
            Self::IpOptions => "ip-options",
            Self::IpLength => "ip-length",
            Self::IpReservedFlag => "ip-reserved-flag",
            Self::Fragment => "fragment",
            Self::Ttl => "ttl",
            Self::ExtensionHeader => "extension-header",
            Self::TcpDataOffset => "tcp-data-offset",
            Self::TcpOptions => "tcp-options",
            Self::TcpFlags => "tcp-flags",
            Self::TcpReserved => "tcp-reserved",
            Self::TcpUrgent => "tcp-urgent",
            Self::TcpPayload => "tcp-payload",
            Self::TcpAcknowledgement => "tcp-acknowledgement",
            Self::UdpLength => "udp-length",
            Self::UdpPayload => "udp-payload",
            Self::DnsCounts => "dns-counts",
            Self::IcmpCode => "icmp-code",
            Self::IcmpFields => "icmp-fields",
            Self::IcmpQuote => "icmp-quote",
            Self::MessageBody => "message-body",
        }
    }
}

impl fmt::Display for RepairKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a packet was given up. Normal life for a model's output: a value, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RepairDrop {
    /// A header ends before its fixed part does.
    Short,
    /// Neither IPv4, IPv6 nor ARP, or more than two VLAN tags.
    Ethertype,
    /// A source or destination address that nothing sends from or to, or both the same.
    Address,
    /// A transport protocol or message type that is not generated.
    Protocol,
    /// Port 0.
    Port,
    /// An error message with no earlier packet that it could answer.
    NothingToQuote,
    /// A discovery or group message without a usable body.
    Message,
    /// Still not whole after every repair. Nothing leads here as far as is known; it fails closed.
    Unrepairable,
}

impl RepairDrop {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Short,
        Self::Ethertype,
        Self::Address,
        Self::Protocol,
        Self::Port,
        Self::NothingToQuote,
        Self::Message,
        Self::Unrepairable,
    ];

    /// A short name for reports and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Ethertype => "ethertype",
            Self::Address => "address",
            Self::Protocol => "protocol",
            Self::Port => "port",
            Self::NothingToQuote => "nothing-to-quote",
            Self::Message => "message",
            Self::Unrepairable => "unrepairable",
        }
    }
}

impl fmt::Display for RepairDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a [`Repair`](super::Repair) did so far. Sums over the sessions of a label with [`merge`](Self::merge).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairCounts {
    packets: u64,
    repaired: u64,
    kinds: [u64; RepairKind::ALL.len()],
    drops: [u64; RepairDrop::ALL.len()],
}

impl RepairCounts {
    /// Packets looked at.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets that needed at least one repair and were not dropped.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    /// Packets dropped.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// How often a kind of repair was made (on packets that were then kept).
    pub fn kind(&self, kind: RepairKind) -> u64 {
        self.kinds[kind as usize]
    }

    /// How often a packet was dropped for a reason.
    pub fn drops(&self, why: RepairDrop) -> u64 {
        self.drops[why as usize]
    }

    /// Every kind of repair that was made, with its count.
    pub fn kinds(&self) -> impl Iterator<Item = (RepairKind, u64)> {
        RepairKind::ALL.into_iter().map(|kind| (kind, self.kind(kind))).filter(|&(_, count)| count > 0)
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.repaired += other.repaired;
        self.kinds.iter_mut().zip(other.kinds).for_each(|(sum, count)| *sum += count);
        self.drops.iter_mut().zip(other.drops).for_each(|(sum, count)| *sum += count);
    }

    pub(super) fn add<T>(&mut self, outcome: &Result<T, RepairDrop>, fixes: &Fixes) {
        self.packets += 1;
        match outcome {
            Err(why) => self.drops[*why as usize] += 1,
            Ok(_) => {
                self.repaired += u64::from(fixes.0 != 0);
                let made = |&kind: &RepairKind| fixes.0 & 1 << kind as u32 != 0;
                RepairKind::ALL.into_iter().filter(made).for_each(|kind| self.kinds[kind as usize] += 1);
            }
        }
    }
}

/// The kinds of repair that one packet needed, as a bit set.
#[derive(Debug, Default)]
pub(super) struct Fixes(u32);

impl Fixes {
    pub(super) fn note(&mut self, kind: RepairKind) {
        self.0 |= 1 << kind as u32;
    }

    /// Sets `slot` to `value` and notes it if that changed anything.
    pub(super) fn set<T: PartialEq>(&mut self, kind: RepairKind, slot: &mut T, value: T) {
        if *slot != value {
            *slot = value;
            self.note(kind);
        }
    }

    /// The same for bytes within a header; out of range is left alone.
    pub(super) fn put(&mut self, kind: RepairKind, bytes: &mut [u8], at: usize, value: &[u8]) {
        if let Some(slot) = bytes.get_mut(at..at + value.len())
            && slot != value
        {
            slot.copy_from_slice(value);
            self.note(kind);
        }
    }
}
