//! The key of a flow, and the form of it that both directions share.

use std::{
    hash::{BuildHasher, BuildHasherDefault},
    net::IpAddr,
};

use super::FlowKind;
use crate::codec::flow::{
    hash::Mixer,
    record::{Mac, Tags},
};

/// The identity of a flow, as its initiator sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::codec::flow) struct FlowKey {
    pub(in crate::codec::flow) kind: FlowKind,
    pub(in crate::codec::flow) protocol: u8,
    pub(in crate::codec::flow) src: IpAddr,
    pub(in crate::codec::flow) dst: IpAddr,
    pub(in crate::codec::flow) ports: (u16, u16),
    /// VLAN ids.
    pub(in crate::codec::flow) vlans: Tags,
    /// Link flows: the two MAC addresses stand for the hosts.
    pub(in crate::codec::flow) macs: Option<(Mac, Mac)>,
}

/// A key that both directions share.
type Sorted = (u8, u8, IpAddr, IpAddr, (u16, u16), Tags, Option<(Mac, Mac)>);

pub(super) fn digest(key: &Sorted) -> u64 {
    BuildHasherDefault::<Mixer>::default().hash_one(key)
}

impl FlowKey {
    /// Whether the shared order of both directions reverses the ends.
    fn is_reversed(&self) -> bool {
        (self.src, self.ports.0) > (self.dst, self.ports.1) || self.macs.is_some_and(|(dst, src)| src > dst)
    }

    /// The key in the order that both directions share, and whether it reverses the ends.
    pub(super) fn sorted(&self) -> (Sorted, bool) {
        let (a, b) = ((self.src, self.ports.0), (self.dst, self.ports.1));
        let (kind, protocol, vlans) = (self.kind as u8, self.protocol, self.vlans.clone());
        let reversed = self.is_reversed();
        let macs = self.macs.map(|(dst, src)| if reversed { (src, dst) } else { (dst, src) });
        if reversed {
            ((kind, protocol, b.0, a.0, (b.1, a.1), vlans, macs), true)
        } else {
            ((kind, protocol, a.0, b.0, (a.1, b.1), vlans, macs), false)
        }
    }

    /// The port by which a service is known, or zero.
    pub(in crate::codec::flow) fn service(&self) -> u16 {
        let low = self.ports.0.min(self.ports.1);
        if low < 32_768 { low } else { 0 }
    }
}
