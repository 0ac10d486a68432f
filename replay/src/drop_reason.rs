//! Why a packet was dropped: one list of reasons for rewriting and for sinks, used by metrics and reports.
//!
//! Reasons are counted. The details are in [`Dropped`](crate::rewrite::Dropped) and in the errors of sinks.

macro_rules! reasons {
    ($($name:ident $text:literal $meaning:literal;)*) => {
        /// Why a packet of a session, or a finished frame, was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $(#[doc = concat!("`", $text, "`: ", $meaning, ".")] $name,)*
        }

        impl DropReason {
            /// All of them, in the order of [`DropReason::index`].
            pub const ALL: [DropReason; [$($text),*].len()] = [$(DropReason::$name),*];

            /// Its name in metrics and reports, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(DropReason::$name => $text,)*
                }
            }

            /// What it means, as half a sentence without a full stop, for documents and help.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(DropReason::$name => $meaning,)*
                }
            }
        }
    };
}

reasons! {
    // The rewriter makes no frame.
    Headers "headers" "the header bytes do not hold whole, well-formed headers";
    Length "length" "lengths in the headers and the length of the frame contradict each other";
    NotIp "not_ip" "neither IP nor ARP for IPv4 over Ethernet, so nothing proves that it holds no address";
    UnknownProtocol "unknown_protocol" "an IP protocol other than TCP, UDP, ICMP, ICMPv6 and IGMP, or one of these \
        over the wrong version of IP";
    IcmpType "icmp_type" "an ICMP or ICMPv6 type whose body is not known";
    SourceRoute "source_route" "an IPv6 routing header, which lists addresses of hosts on the way";
    Loopback "loopback" "from or to a loopback address, which no wire carries";
    Group "group" "group or link-scope traffic, and the plan drops it";
    NoHost "no_host" "from or to an address that no host can have, a group as source for example";
    NoPrefix "no_prefix" "the plan has no prefix of this address family for the side of the host";
    // A sink does not deliver the frame.
    OverMtu "over_mtu" "longer than the interface takes, with `mtu_policy = \"drop\"`";
    Guard "guard" "refused by the guard, or queued when it stopped sending";
    Interface "interface" "the interface failed with this frame queued or offered";
    Lost "lost" "the kernel took it and then lost it: the link went down, or (a veth before Linux 6.6) \
        the far end had no room";
    DiskFull "disk_full" "the capture directory had no room";
    Time "time" "its time cannot be written in a capture: before 1970 or after 2106";
    Stream "stream" "the pipe or device that it was queued for failed, or its reader went away";
}

impl DropReason {
    /// Place in [`DropReason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Frames dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// Counts `frames` more.
    pub fn add(&mut self, reason: DropReason, frames: u64) {
        self.0[reason.index()] += frames;
    }

    /// Frames dropped for one reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason.index()]
    }

    /// Frames dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason with its count, zero or not.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_kept_by_reason() {
        let mut drops = Drops::default();
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), i);
            drops.add(reason, i as u64 + 1);
        }
        let all = DropReason::ALL.len() as u64;
        assert_eq!(drops.get(DropReason::NotIp), 3);
        assert_eq!((drops.total(), drops.iter().map(|(_, n)| n).sum()), (all * (all + 1) / 2, drops.total()));
    }

    #[test]
    fn names_are_distinct_and_in_snake_case() {
        let names: std::collections::BTreeSet<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), DropReason::ALL.len(), "a metric label each");
        assert!(names.iter().all(|name| name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')));
        assert!(DropReason::ALL.iter().all(|reason| !reason.meaning().ends_with('.')));
    }
}
