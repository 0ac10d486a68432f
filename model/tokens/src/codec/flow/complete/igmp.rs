//! Bodies of IGMP messages (RFC 2236, 3376).

use std::net::{IpAddr, Ipv4Addr};

use super::seen::Seen;
use crate::codec::flow::{record::IpFrame, strict::window, transport::Icmp};

const RECORD_BYTES: usize = 8;
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const REPORTS_V3: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// Groups that hosts of a local network join: multicast DNS, UPnP, LLMNR.
const COMMON: [Ipv4Addr; 3] =
    [Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::new(239, 255, 255, 250), Ipv4Addr::new(224, 0, 0, 252)];

/// Appends what follows the first eight bytes. Returns the group that the message goes to, if its RFC names one.
///
/// A report has as many records as its length holds. All have the type of the first one and different groups: first
/// those that datagrams of the session went to, then the usual ones.
pub(super) fn body(ip: &IpFrame, icmp: &Icmp, seen: &Seen, out: &mut Vec<u8>) -> Option<IpAddr> {
    let head = window(icmp.kind, &icmp.window);
    let group = match icmp.kind >> 8 {
        0x11 => {
            out.extend_from_slice(&head);
            // A query about one group goes to that group.
            (icmp.words == (0, 0)).then_some(ALL_SYSTEMS)
        }
        0x17 => Some(ALL_ROUTERS),
        0x22 => {
            let groups = groups(seen);
            for group in groups.take(ip.payload_len as usize / RECORD_BYTES) {
                out.extend_from_slice(&head);
                out.extend_from_slice(&group.octets());
            }
            Some(REPORTS_V3)
        }
        _ => None,
    };
    group.map(IpAddr::V4)
}

/// An endless list of distinct groups. Those of all hosts, of all routers and of version 3 reports are left out,
/// because hosts do not report them.
fn groups(seen: &Seen) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let used = || seen.groups_v4().filter(|group| ![ALL_SYSTEMS, ALL_ROUTERS, REPORTS_V3].contains(group));
    let common = COMMON.into_iter().filter(move |common| !used().any(|group| group == *common));
    // Then site-local groups (RFC 2365) without an assigned use.
    let more = (1..=u16::MAX).map(|low| Ipv4Addr::from(0xefff_0000 | u32::from(low)));
    used().chain(common).chain(more.filter(move |more| !used().any(|group| group == *more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_do_not_repeat() {
        let seen = Seen::default();
        let groups: Vec<_> = groups(&seen).take(40).collect();
        let distinct: std::collections::HashSet<_> = groups.iter().collect();
        assert_eq!(distinct.len(), 40);
        assert_eq!(groups[0], COMMON[0]);
        assert!(groups.iter().all(|group| group.is_multicast()));
    }
}
