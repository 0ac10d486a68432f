//! The address book: hosts with their defaults, and MAC addresses.

use std::net::IpAddr;

use super::{FlowKey, FlowKind, Host, HostDefaults, MAX_HOSTS, Role, State};
use crate::codec::flow::{
    hosts::{COMMON_HOSTS, HostClass},
    record::Mac,
};

impl State {
    pub(in crate::codec::flow) fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// The slot that a new host will get after `ahead` other new hosts.
    pub(in crate::codec::flow) fn next_host(&self, ahead: usize) -> u16 {
        let made = self.hosts_made + ahead;
        let (common, ring) = (COMMON_HOSTS.len(), MAX_HOSTS - COMMON_HOSTS.len());
        (if made < MAX_HOSTS { made } else { common + (made - common) % ring }) as u16
    }

    pub(in crate::codec::flow) fn host_slot(&self, address: IpAddr) -> Option<u16> {
        self.by_address.get(&address).copied()
    }

    pub(in crate::codec::flow) fn host_at(&self, slot: usize) -> Option<IpAddr> {
        self.hosts.get(slot).map(|host| host.address)
    }

    pub(in crate::codec::flow) fn host(&self, address: IpAddr) -> Option<&Host> {
        self.hosts.get(usize::from(self.host_slot(address)?))
    }

    /// The host of an address, made if it is new.
    pub(in crate::codec::flow) fn host_mut(&mut self, address: IpAddr) -> &mut Host {
        let slot = self.make_host(address);
        &mut self.hosts[slot]
    }

    /// The slot of an address; a new one gets the next.
    pub(in crate::codec::flow) fn make_host(&mut self, address: IpAddr) -> usize {
        if let Some(slot) = self.host_slot(address) {
            return usize::from(slot);
        }
        let slot = self.next_host(0);
        let host = Host { address, mac: None, last: Default::default(), defaults: Default::default() };
        if let Some(old) = self.hosts.get_mut(usize::from(slot)) {
            self.by_address.remove(&old.address);
            *old = host;
        } else {
            if self.hosts.len() == self.hosts.capacity() {
                // The vector grows by a quarter, because there are many sessions at a time and each has few hosts.
                self.hosts.reserve_exact(8 + self.hosts.len() / 4);
            }
            self.hosts.push(host);
        }
        self.hosts_made += 1;
        self.by_address.insert(address, slot);
        if usize::from(slot) >= COMMON_HOSTS.len() {
            for order in [&mut self.initiators, &mut self.responders] {
                order.retain(|&other| other != slot);
                if order.len() == order.capacity() {
                    order.reserve_exact(8 + order.len() / 4);
                }
                order.push(slot);
            }
        }
        usize::from(slot)
    }

    /// Host slots without those of the common hosts, ordered by how recently a host had this role. Hosts that never had
    /// it come last.
    pub(in crate::codec::flow) fn order_of(&self, role: Role) -> &[u16] {
        match role {
            Role::Initiator => &self.initiators,
            Role::Responder => &self.responders,
        }
    }

    /// The host at a place in the order of a role.
    pub(in crate::codec::flow) fn host_in(&self, role: Role, place: usize) -> Option<&Host> {
        self.hosts.get(usize::from(*self.order_of(role).get(place)?))
    }

    /// Two hosts have a new flow: both move to the front of the order of their role.
    pub(in crate::codec::flow) fn opened(&mut self, key: &FlowKey) {
        let slots = [self.make_host(key.src), self.make_host(key.dst)];
        for (role, (order, slot)) in
            [&mut self.initiators, &mut self.responders].into_iter().zip(slots).enumerate()
        {
            if let Some(at) = order.iter().position(|&other| usize::from(other) == slot) {
                order[..=at].rotate_right(1);
            }
            self.hosts[slot].last[role] = Some((key.kind, key.ports));
        }
    }

    /// The defaults of a host: its own, or else those of the last host of its class.
    pub(in crate::codec::flow) fn defaults(&self, address: IpAddr, kind: FlowKind) -> HostDefaults {
        self.own_defaults(address, kind).cloned().unwrap_or_else(|| self.defaults_like(address, kind))
    }

    /// The defaults of a host that has sent in such a flow.
    pub(in crate::codec::flow) fn own_defaults(
        &self,
        address: IpAddr,
        kind: FlowKind,
    ) -> Option<&HostDefaults> {
        self.host(address)?.defaults.get(kind as usize)?.as_deref()
    }

    fn defaults_like(&self, address: IpAddr, kind: FlowKind) -> HostDefaults {
        let like = self.like[kind as usize][HostClass::of(address) as usize].as_deref();
        like.map_or_else(|| HostDefaults::new(kind, address.is_ipv6()), HostDefaults::like)
    }

    /// Takes the defaults of the host in a slot, to change them. The host has none until [`Self::set_defaults`] gives
    /// them back.
    pub(in crate::codec::flow) fn take_defaults(&mut self, slot: usize, kind: FlowKind) -> Box<HostDefaults> {
        let host = &mut self.hosts[slot];
        let (address, own) = (host.address, host.defaults[kind as usize].take());
        own.unwrap_or_else(|| Box::new(self.defaults_like(address, kind)))
    }

    /// Sets the defaults of the host in a slot.
    pub(in crate::codec::flow) fn set_defaults(
        &mut self,
        slot: usize,
        kind: FlowKind,
        defaults: Box<HostDefaults>,
    ) {
        let host = &mut self.hosts[slot];
        match &mut self.like[kind as usize][HostClass::of(host.address) as usize] {
            Some(like) => like.clone_from(&defaults),
            like => *like = Some(defaults.clone()),
        }
        host.defaults[kind as usize] = Some(defaults);
    }

    pub(in crate::codec::flow) fn mac_count(&self) -> usize {
        self.macs.len()
    }

    pub(in crate::codec::flow) fn mac_slot(&self, mac: Mac) -> Option<u16> {
        self.by_mac.get(&mac).copied()
    }

    pub(in crate::codec::flow) fn mac_at(&self, slot: usize) -> Option<Mac> {
        self.macs.get(slot).copied()
    }

    /// Remembers an address.
    pub(in crate::codec::flow) fn add_mac(&mut self, mac: Mac) {
        if self.by_mac.contains_key(&mac) {
            return;
        }
        let slot = self.macs_made % MAX_HOSTS;
        if let Some(old) = self.macs.get_mut(slot) {
            self.by_mac.remove(old);
            *old = mac;
        } else {
            self.macs.push(mac);
        }
        self.macs_made += 1;
        self.by_mac.insert(mac, slot as u16);
    }
}
