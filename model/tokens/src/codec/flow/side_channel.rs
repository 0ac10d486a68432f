//! The side channel: values without behaviour, which the model never sees.
//!
//! These are addresses, ephemeral ports, initial sequence numbers, ciphertext, checksums over payload that is not kept,
//! and the remainder of a gap below the resolution of its token. An encoder puts them into the *side table*, one queue
//! per class, and a decoder takes them in the same order. In generation there is no recording, and the decoder *draws*
//! them: [`Drawn`] is a pure function of seed, class and place in the queue, so the order of requests does not matter.

use netssm_wire::splitmix::mix;

/// The classes of side values. Each has a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SideClass {
    /// Time of the first packet, microseconds since the epoch (two's complement).
    Start,
    /// Gap below the resolution of its tokens, microseconds.
    GapRest,
    /// Gap beyond the tokens, microseconds (two's complement).
    GapFar,
    /// IPv4 address of a new host.
    AddressV4,
    /// IPv6 address of a new host, two values.
    AddressV6,
    /// MAC address.
    Mac,
    /// Port from 32768 on, or an ICMP identifier.
    PortHigh,
    /// Port from 1024 to 32767.
    PortMid,
    /// Initial sequence number, or a first acknowledgement number if none was seen.
    Isn,
    /// First TCP timestamp of a direction.
    Timestamp,
    /// Random IP identification.
    IpId,
    /// IPv6 flow label.
    FlowLabel,
    /// Transport checksum over payload that the record lacks.
    Checksum,
    /// Payload byte without meaning.
    Opaque,
    /// Byte of a connection id, transaction id or source id.
    Identifier,
    /// DNS query id.
    DnsId,
}

impl SideClass {
    /// Number of classes.
    pub const COUNT: usize = 16;
    /// All classes in order.
    pub const ALL: [SideClass; Self::COUNT] = [
        Self::Start,
        Self::GapRest,
        Self::GapFar,
        Self::AddressV4,
        Self::AddressV6,
        Self::Mac,
        Self::PortHigh,
        Self::PortMid,
        Self::Isn,
        Self::Timestamp,
        Self::IpId,
        Self::FlowLabel,
        Self::Checksum,
        Self::Opaque,
        Self::Identifier,
        Self::DnsId,
    ];

    /// Name for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::GapRest => "gap-rest",
            Self::GapFar => "gap-far",
            Self::AddressV4 => "address-v4",
            Self::AddressV6 => "address-v6",
            Self::Mac => "mac",
            Self::PortHigh => "port-high",
            Self::PortMid => "port-mid",
            Self::Isn => "isn",
            Self::Timestamp => "timestamp",
            Self::IpId => "ip-id",
            Self::FlowLabel => "flow-label",
            Self::Checksum => "checksum",
            Self::Opaque => "opaque",
            Self::Identifier => "identifier",
            Self::DnsId => "dns-id",
        }
    }
}

/// The possible values of a side value, and how one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All values of so many bits.
    Bits(u8),
    /// From 0 up to, but without, the number. All are equally likely.
    Below(u64),
    /// The same range, with the density of gaps that are uniform in the logarithm within a bin of a quarter octave.
    LogBelow(u64),
    /// An address of this host class ([`super::hosts::HostClass`]).
    Host(super::hosts::HostClass),
    /// Ports from 32768 on.
    PortHigh,
    /// Ports from 1024 to 32767 that have no token of their own.
    PortMid,
    /// A unicast MAC address.
    Mac,
}

impl Spread {
    /// Bits that a value takes, given its spread.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits(bits) => u32::from(bits),
            Self::Below(end) | Self::LogBelow(end) => end.max(1).next_power_of_two().trailing_zeros(),
            Self::Host(class) if class.is_v4() => 32,
            Self::Host(_) => 64,
            Self::PortHigh | Self::PortMid => 15,
            Self::Mac => 48,
        }
    }
}

/// Takes side values from an encoder.
pub trait SideSink {
    /// The next value of a class.
    fn put(&mut self, class: SideClass, value: u64, spread: Spread);
}

/// Gives side values to a decoder.
pub trait SideSource {
    /// The value `ahead` places behind the front of the queue; `None` if the queue is shorter.
    fn peek(&self, class: SideClass, ahead: u32, spread: Spread) -> Option<u64>;

    /// Moves the fronts on.
    fn advance(&mut self, taken: &[u32; SideClass::COUNT]);
}

/// Discards side values, as training does.
pub struct Discard;

impl SideSink for Discard {
    fn put(&mut self, _: SideClass, _: u64, _: Spread) {}
}

/// A recorded side table.
#[derive(Clone, Debug, Default)]
pub struct SideTable {
    queues: [Vec<u64>; SideClass::COUNT],
    bits: [u64; SideClass::COUNT],
    front: [u32; SideClass::COUNT],
}

impl SideTable {
    /// Bits of all values by class, in the order of [`SideClass::ALL`].
    pub fn bits(&self) -> &[u64; SideClass::COUNT] {
        &self.bits
    }

    /// Forgets the values. It keeps the memory and the count of bits.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(Vec::clear);
        self.front = [0; SideClass::COUNT];
    }
}

impl SideSink for SideTable {
    fn put(&mut self, class: SideClass, value: u64, spread: Spread) {
        self.queues[class as usize].push(value);
        self.bits[class as usize] += u64::from(spread.bits());
    }
}

impl SideSource for SideTable {
    fn peek(&self, class: SideClass, ahead: u32, _: Spread) -> Option<u64> {
        let at = self.front[class as usize].checked_add(ahead)?;
        self.queues[class as usize].get(at as usize).copied()
    }

    fn advance(&mut self, taken: &[u32; SideClass::COUNT]) {
        for (front, taken) in self.front.iter_mut().zip(taken) {
            *front = front.saturating_add(*taken);
        }
    }
}

/// Draws side values from a seed.
#[derive(Clone, Debug)]
pub struct Drawn {
    seed: u64,
    front: [u32; SideClass::COUNT],
}

impl Drawn {
    /// Draws by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, front: [0; SideClass::COUNT] }
    }

    fn random(&self, class: SideClass, index: u32) -> u64 {
        mix(mix(self.seed ^ (u64::from(class as u8) << 56)) ^ u64::from(index))
    }

    /// The `index`-th number of a walk over `0..count` that meets every number once before it repeats one.
    fn walk(&self, class: SideClass, index: u32, count: u64) -> u64 {
        let random = mix(self.seed ^ (u64::from(class as u8) << 56) ^ 0x5bd1);
        // A prime near the golden section of the ranges in use. It is coprime to each of them, and consecutive numbers
        // are far apart.
        const STEP: u64 = 17_389;
        (random % count + u64::from(index) * STEP) % count
    }
}

impl SideSource for Drawn {
    fn peek(&self, class: SideClass, ahead: u32, spread: Spread) -> Option<u64> {
        let index = self.front[class as usize].wrapping_add(ahead);
        let random = self.random(class, index);
        // 32 random bits as a share of `count`.
        let below = |count: u64| ((random >> 32) * count.max(1)) >> 32;
        Some(match spread {
            // A generated session starts at time zero.
            Spread::Bits(_) if class == SideClass::Start => 0,
            Spread::Bits(bits) => random >> (64 - u32::from(bits.clamp(1, 64))),
            Spread::Below(end) => below(end),
            Spread::LogBelow(end) => {
                // Second-order expansion of 2^(u/4) between 1 and 2^(1/4), in units of the bin: 0.916 u + 0.084 u^2.
                let u = random >> 32; // u32 fraction
                let square = (u * u) >> 32;
                let share = (u * 3_753 + square * 343) >> 12;
                (share * end.max(1)) >> 32
            }
            Spread::Host(class) => class.draw(self.seed, index, random),
            Spread::PortHigh => 32_768 + self.walk(class, index, 28_233),
            Spread::PortMid => {
                u64::from(super::ports::mid_port(self.walk(class, index, super::ports::MID_PORTS)))
            }
            // Locally administered, unicast, and different for each index.
            Spread::Mac => (0x02 << 40) | (random & 0xff_ffff) << 16 | u64::from(index & 0xffff),
        })
    }

    fn advance(&mut self, taken: &[u32; SideClass::COUNT]) {
        for (front, taken) in self.front.iter_mut().zip(taken) {
            *front = front.wrapping_add(*taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_back_what_was_put_in() {
        let mut table = SideTable::default();
        for value in [7, 9, 11] {
            table.put(SideClass::Isn, value, Spread::Bits(32));
        }
        assert_eq!(table.bits()[SideClass::Isn as usize], 96);
        assert_eq!(table.peek(SideClass::Isn, 1, Spread::Bits(32)), Some(9));
        let mut taken = [0; SideClass::COUNT];
        taken[SideClass::Isn as usize] = 2;
        table.advance(&taken);
        assert_eq!(table.peek(SideClass::Isn, 0, Spread::Bits(32)), Some(11));
        assert_eq!(table.peek(SideClass::Isn, 1, Spread::Bits(32)), None);
        assert_eq!(table.peek(SideClass::Mac, 0, Spread::Mac), None);
    }

    #[test]
    fn draws_depend_on_seed_class_and_place_only() {
        let mut a = Drawn::new(1);
        let first = a.peek(SideClass::Isn, 3, Spread::Bits(32));
        let mut taken = [0; SideClass::COUNT];
        taken[SideClass::Isn as usize] = 3;
        taken[SideClass::Mac as usize] = 5;
        a.advance(&taken);
        assert_eq!(a.peek(SideClass::Isn, 0, Spread::Bits(32)), first);
        assert_ne!(Drawn::new(2).peek(SideClass::Isn, 3, Spread::Bits(32)), first);
        assert!(first.is_some_and(|value| value < 1 << 32));
    }

    #[test]
    fn drawn_ports_do_not_repeat_and_stay_in_range() {
        let drawn = Drawn::new(99);
        let high: std::collections::HashSet<_> =
            (0..28_233).filter_map(|i| drawn.peek(SideClass::PortHigh, i, Spread::PortHigh)).collect();
        assert_eq!(high.len(), 28_233);
        assert!(high.iter().all(|port| (32_768..61_001).contains(port)));
        let mid: std::collections::HashSet<_> =
            (0..20_000).filter_map(|i| drawn.peek(SideClass::PortMid, i, Spread::PortMid)).collect();
        assert_eq!(mid.len(), 20_000);
        assert!(mid.iter().all(|port| (1_024..32_768).contains(port)));
    }

    #[test]
    fn spreads_keep_their_bounds() {
        let drawn = Drawn::new(5);
        for index in 0..5_000 {
            for end in [1, 2, 3, 17, 1 << 31] {
                for spread in [Spread::Below(end), Spread::LogBelow(end)] {
                    assert!(drawn.peek(SideClass::GapRest, index, spread).is_some_and(|value| value < end));
                }
            }
        }
    }
}
