//! What repair did, and why it dropped packets. The names are few and fixed, so they can be metric labels.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// A kind of repair. A packet may need several.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RepairKind {
            $($(#[$doc])* $name,)*
        }

        impl RepairKind {
            /// Every kind, in the order of declaration.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// Its name in reports and metrics, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// The source MAC named a group.
    SourceMac "source_mac";
    /// The destination MAC did not fit the destination address.
    DestinationMac "destination_mac";
    /// The VLAN id was the reserved 4095.
    VlanId "vlan_id";
    /// Types, lengths, operation or sender of ARP.
    ArpFields "arp_fields";
    /// The version nibble disagreed with the Ethernet type.
    IpVersion "ip_version";
    /// The IPv4 header length was below 20 bytes or beyond the end of the header bytes.
    IpHeaderLength "ip_header_length";
    /// IPv4 options other than router alert were removed.
    IpOptions "ip_options";
    /// The IP length disagreed with the headers, the message, or the largest frame.
    IpLength "ip_length";
    /// The reserved flag of IPv4 was set.
    IpReservedFlag "ip_reserved_flag";
    /// The packet claimed to be a fragment.
    Fragment "fragment";
    /// TTL or hop limit was 0, or not the value that the protocol demands.
    Ttl "ttl";
    /// IPv6 extension headers were removed.
    ExtensionHeader "extension_header";
    /// The data offset was below 5 or beyond the end of the header bytes.
    TcpDataOffset "tcp_data_offset";
    /// Options that are broken, repeated or out of place became padding.
    TcpOptions "tcp_options";
    /// A set of flags that no TCP sends.
    TcpFlags "tcp_flags";
    /// Reserved header bits were set.
    TcpReserved "tcp_reserved";
    /// Urgent pointer without URG, or URG without data.
    TcpUrgent "tcp_urgent";
    /// A SYN or RST with payload.
    TcpPayload "tcp_payload";
    /// An acknowledgement number without ACK.
    TcpAcknowledgement "tcp_acknowledgement";
    /// The UDP length disagreed with the IP length.
    UdpLength "udp_length";
    /// The declared length was below the shortest message of the service.
    UdpPayload "udp_payload";
    /// A DNS header promised more questions or records than its payload can hold.
    DnsCounts "dns_counts";
    /// A code that the ICMP type does not have.
    IcmpCode "icmp_code";
    /// A field of an ICMP message that must be zero, or must not be zero.
    IcmpFields "icmp_fields";
    /// An error message got the quote of an earlier packet.
    IcmpQuote "icmp_quote";
    /// Broken options of neighbour discovery or broken records of a listener report were removed.
    MessageBody "message_body";
}

impl fmt::Display for RepairKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! drops {
    ($($name:ident $text:literal $meaning:literal;)*) => {
        /// Why repair dropped a packet. A model's output needs such drops: they are a value, not an error.
        ///
        /// The names differ from those of `netssm_replay`'s reasons, so that both can be labels of one metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RepairDrop {
            $(#[doc = concat!("`", $text, "`: ", $meaning, ".")] $name,)*
        }

        impl RepairDrop {
            /// Every reason, in the order of declaration.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// Its name in reports and metrics, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What it means, as half a sentence without a full stop, for documents and help.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

drops! {
    Short "short" "a header ends before its fixed part does";
    Ethertype "ethertype" "neither IPv4, IPv6 nor ARP, or more than two VLAN tags";
    Address "impossible_address" "from or to an address that no packet can have, or from an address to itself";
    Protocol "protocol_not_generated" "a transport protocol or a type of message that is not generated";
    Port "port" "TCP or UDP with port 0";
    NothingToQuote "nothing_to_quote" "an ICMP error, and no earlier packet of the session that it could be about";
    Message "message" "a neighbour, listener or group message without a usable body";
    Unrepairable "unrepairable" "not whole after all repairs; no input is known that leads here";
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_in_snake_case() {
        let kinds: BTreeSet<_> = RepairKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let drops: BTreeSet<_> = RepairDrop::ALL.iter().map(|drop| drop.as_str()).collect();
        assert_eq!(
            (kinds.len(), drops.len()),
            (RepairKind::ALL.len(), RepairDrop::ALL.len()),
            "a label each"
        );
        let snake = |name: &&&str| name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
        assert!(kinds.union(&drops).all(|name| snake(&name)));
        assert!(RepairDrop::ALL.iter().all(|drop| !drop.meaning().ends_with('.')));
    }
}
