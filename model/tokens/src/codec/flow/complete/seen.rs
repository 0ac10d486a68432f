//! Hosts and groups that a session has used lately.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use crate::codec::flow::{hosts::HostClass, record::IpFrame, transport::Transport};

/// One report can name this many groups.
const KEPT: usize = 8;

/// The latest of each kind, newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    neighbours: ArrayVec<Ipv6Addr, KEPT>,
    groups_v4: ArrayVec<Ipv4Addr, KEPT>,
    groups_v6: ArrayVec<Ipv6Addr, KEPT>,
}

impl Seen {
    /// Remembers the IPv6 hosts on the link and the groups that a packet shows.
    pub(super) fn note(&mut self, ip: &IpFrame) {
        for host in [ip.src, ip.dst] {
            if let (IpAddr::V6(v6), HostClass::LinkLocalV6 | HostClass::UniqueLocalV6) =
                (host, HostClass::of(host))
            {
                to_front(&mut self.neighbours, v6);
            }
        }
        if !matches!(ip.transport, Transport::Udp(_)) {
            return;
        }
        match ip.dst {
            IpAddr::V4(v4) if v4.is_multicast() => to_front(&mut self.groups_v4, v4),
            IpAddr::V6(v6) if v6.is_multicast() => to_front(&mut self.groups_v6, v6),
            _ => {}
        }
    }

    /// The last neighbour, other than `asker`.
    pub(super) fn neighbour(&self, asker: IpAddr) -> Option<Ipv6Addr> {
        self.neighbours.iter().copied().find(|&host| IpAddr::V6(host) != asker)
    }

    /// A neighbour with these low three bytes.
    pub(super) fn neighbour_ending(&self, low: [u8; 3]) -> Option<Ipv6Addr> {
        self.neighbours.iter().copied().find(|host| host.octets().ends_with(&low))
    }

    /// Groups that datagrams went to.
    pub(super) fn groups_v4(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.groups_v4.iter().copied()
    }

    /// The same of IPv6.
    pub(super) fn groups_v6(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.groups_v6.iter().copied()
    }
}

fn to_front<T: PartialEq + Copy>(kept: &mut ArrayVec<T, KEPT>, value: T) {
    let at = kept.iter().position(|&other| other == value);
    match at {
        Some(at) => kept[..=at].rotate_right(1),
        None => {
            if kept.is_full() {
                kept.pop();
            }
            kept.insert(0, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_comes_first_and_the_oldest_goes() {
        let mut kept = ArrayVec::new();
        for value in [1, 2, 3, 1, 4, 5, 6, 7, 8, 9] {
            to_front(&mut kept, value);
        }
        assert_eq!(kept[..], [9, 8, 7, 6, 5, 4, 1, 3]);
    }
}
