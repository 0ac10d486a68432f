//! Addresses for sessions that run at the same time.
//!
//! Each running replay leases addresses that no other one has, on both sides, so two sessions never share a host, and
//! their ports and sequence numbers need no coordination. [`Allocator`] knows only which addresses are out: the
//! plan comes with each request, so one allocator serves the old and the new plan across a reload of the profile.
//!
//! Which address a host gets is drawn from the replay seed and the host's number in its session, then moved to
//! the next free one. So the result is a pure function of seed, session, plan and what is leased at that moment, and
//! it holds nothing of the original address.
//!
//! IPv6 hosts whose originals share their low 24 bits (one interface with a link-local and a global address, or
//! the numbered hosts of generated sessions) get new addresses that share them too. Solicited-node groups are
//! made of these bits (RFC 4291 section 2.7.1), so one map of 24-bit values is right for hosts and groups alike.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{AddressPlan, Side};
use crate::draw::{Draw, draw};
use crate::rewrite::RewriteError;

/// Candidates tried for the low bits of one interface identifier. With /64 prefixes the first is free but for
/// one case in 2^60; with the shortest host part allowed (32 bits) and 1,000,000 leased hosts 999 of 1,000 are.
const IDENTIFIER_TRIES: u32 = 10_000;

/// `fe80::/64`, where link-local hosts live.
const LINK_LOCAL: u128 = 0xfe80 << 112;

/// The registry of leased addresses; share one between all rewriters whose frames meet on a wire.
#[derive(Debug, Default)]
pub struct Allocator {
    leased: Mutex<HashSet<IpAddr>>,
    replays: AtomicU64,
}

/// What a host asks the allocator for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressRequest {
    /// An IPv4 address of this side.
    V4(Side),
    /// An IPv6 address of this side; hosts with the same value share their new low 24 bits.
    V6(Side, u32),
    /// A link-local IPv6 address.
    LinkLocal(u32),
    /// No address: the plan has no prefix for it.
    None,
}

/// The addresses of one running replay; they are free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    allocator: Arc<Allocator>,
    /// One per [`AddressRequest`], in order.
    addresses: Vec<Option<IpAddr>>,
}

impl Lease {
    pub(crate) fn addresses(&self) -> &[Option<IpAddr>] {
        &self.addresses
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leased = self.allocator.lock();
        for address in self.addresses.iter().flatten() {
            leased.remove(address);
        }
    }
}

impl Allocator {
    /// An allocator with nothing leased.
    pub fn new() -> Arc<Allocator> {
        Arc::default()
    }

    /// How many addresses running replays hold.
    pub fn leased(&self) -> usize {
        self.lock().len()
    }

    /// The next replay number, from 1.
    pub(crate) fn next_replay(&self) -> u64 {
        // Only uniqueness matters, not order with other memory.
        self.replays.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A set of addresses is valid after every single insert and removal, so a panic elsewhere cannot break it.
    fn lock(&self) -> MutexGuard<'_, HashSet<IpAddr>> {
        self.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases one address for each of `requests`. Addresses of `originals` are not given, so that a session captured in
    /// the testbed's own prefixes does not get its old addresses in new roles.
    pub(crate) fn lease<H>(
        self: &Arc<Self>,
        plan: &AddressPlan,
        requests: &[AddressRequest],
        originals: &HashMap<IpAddr, H>,
        replay_seed: u64,
    ) -> Result<Lease, RewriteError> {
        let mut leased = self.lock();
        let taken = vec![None; requests.len()];
        let mut allocation =
            Allocation { leased: &mut leased, plan, requests, originals, seed: replay_seed, taken };
        match allocation.v4().and_then(|()| allocation.v6()) {
            Ok(()) => {
                let addresses = allocation.taken;
                drop(leased);
                Ok(Lease { allocator: Arc::clone(self), addresses })
            }
            Err(error) => {
                allocation.give_back();
                Err(error)
            }
        }
    }
}

/// The IPv4 addresses of a list of prefixes that hosts can have, as one range.
struct PoolV4 {
    nets: Vec<Ipv4Net>,
}

impl PoolV4 {
    fn new(prefixes: &[IpNet]) -> PoolV4 {
        let nets = prefixes.iter().filter_map(|p| match p {
            IpNet::V4(net) => Some(*net),
            IpNet::V6(_) => None,
        });
        PoolV4 { nets: nets.collect() }
    }

    /// Hosts of one prefix: all but the network's and the broadcast address. The plan allows /30 at most.
    fn hosts(net: &Ipv4Net) -> u64 {
        (1u64 << (32 - u32::from(net.prefix_len()))).saturating_sub(2)
    }

    fn len(&self) -> u64 {
        self.nets.iter().map(PoolV4::hosts).sum()
    }

    fn get(&self, mut index: u64) -> Option<Ipv4Addr> {
        for net in &self.nets {
            let hosts = PoolV4::hosts(net);
            if index < hosts {
                let base = u64::from(u32::from(net.network()));
                return u32::try_from(base + 1 + index).ok().map(Ipv4Addr::from);
            }
            index -= hosts;
        }
        None
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        self.nets.iter().any(|net| net.contains(&ip))
    }
}

/// The allocation for one replay, under way.
struct Allocation<'a, H> {
    leased: &'a mut HashSet<IpAddr>,
    plan: &'a AddressPlan,
    requests: &'a [AddressRequest],
    originals: &'a HashMap<IpAddr, H>,
    seed: u64,
    taken: Vec<Option<IpAddr>>,
}

impl<H> Allocation<'_, H> {
    /// Takes an address if nobody has it.
    fn take(&mut self, request: usize, ip: IpAddr) -> bool {
        let free = !self.originals.contains_key(&ip) && self.leased.insert(ip);
        if free {
            self.taken[request] = Some(ip);
        }
        free
    }

    /// Undoes everything.
    fn give_back(&mut self) {
        for address in self.taken.drain(..).flatten() {
            self.leased.remove(&address);
        }
    }

    fn v4(&mut self) -> Result<(), RewriteError> {
        for side in [Side::Client, Side::Server] {
            let members: Vec<usize> =
                (0..self.requests.len()).filter(|i| self.requests[*i] == AddressRequest::V4(side)).collect();
            if members.is_empty() {
                continue;
            }
            let pool = PoolV4::new(self.plan.prefixes(side));
            let in_pool = |ip: &&IpAddr| matches!(ip, IpAddr::V4(ip) if pool.contains(*ip));
            let in_use = self.leased.iter().filter(in_pool).count() as u64;
            let original =
                self.originals.keys().filter(in_pool).filter(|ip| !self.leased.contains(ip)).count() as u64;
            let free = pool.len().saturating_sub(in_use + original);
            if free < members.len() as u64 {
                return Err(RewriteError::AddressesExhausted {
                    side,
                    wanted: members.len() as u64,
                    free,
                    in_use,
                });
            }
            for i in members {
                let start = draw(self.seed, Draw::Address, i as u64, side as u64) % pool.len();
                // Enough are free, so one turn around the pool finds one.
                for step in 0..pool.len() {
                    if pool.get((start + step) % pool.len()).is_some_and(|ip| self.take(i, ip.into())) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn v6(&mut self) -> Result<(), RewriteError> {
        let nets = |side| -> Vec<Ipv6Net> {
            let v6 = self.plan.prefixes(side).iter().filter_map(|p| match p {
                IpNet::V6(net) => Some(*net),
                IpNet::V4(_) => None,
            });
            v6.collect()
        };
        let nets = [nets(Side::Client), nets(Side::Server)];
        let mut low_used = HashSet::new();
        for (number, members) in groups(self.requests).into_iter().enumerate() {
            let mut tries = 0;
            loop {
                let low = draw(self.seed, Draw::InterfaceId, number as u64, u64::from(tries)) & 0xff_ffff;
                // Not 0: with nothing but zeros before it, it would be the subnet-router anycast address.
                if low != 0 && !low_used.contains(&low) && self.take_group(&nets, &members, low) {
                    low_used.insert(low);
                    break;
                }
                tries += 1;
                if tries == IDENTIFIER_TRIES {
                    return Err(RewriteError::IdentifiersExhausted { hosts: members.len(), tries });
                }
            }
        }
        Ok(())
    }

    /// Takes an address ending in `low` for every member, or for none.
    fn take_group(&mut self, nets: &[Vec<Ipv6Net>; 2], members: &[usize], low: u64) -> bool {
        for &i in members {
            let high = draw(self.seed, Draw::Address, i as u64, low);
            let random =
                (u128::from(high) << 64) | u128::from(draw(self.seed, Draw::Address, i as u64, !low));
            let place = match self.requests[i] {
                AddressRequest::V6(side, _) => {
                    let nets = &nets[side as usize];
                    let net = nets.get((high % nets.len().max(1) as u64) as usize); // below the length of a list
                    net.map(|net| (u128::from(net.network()), u128::from(net.hostmask())))
                }
                AddressRequest::LinkLocal(_) => Some((LINK_LOCAL, u128::from(u64::MAX))),
                AddressRequest::V4(_) | AddressRequest::None => None,
            };
            let ip = place.map(|(base, hosts)| base | (random & hosts & !0xff_ffff) | u128::from(low));
            if !ip.is_some_and(|ip| self.take(i, Ipv6Addr::from(ip).into())) {
                for &member in members {
                    if let Some(address) = self.taken[member].take() {
                        self.leased.remove(&address);
                    }
                }
                return false;
            }
        }
        true
    }
}

/// The IPv6 requests, in groups of the same low bits, in order of their first host.
fn groups(requests: &[AddressRequest]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<u32, usize> = HashMap::new();
    for (i, request) in requests.iter().enumerate() {
        if let AddressRequest::V6(_, low) | AddressRequest::LinkLocal(low) = request {
            let group = *group_of.entry(*low).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(i);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use netssm_wire::address_class::low24;

    use super::*;
    use crate::rewrite::{GroupPolicy, MacPolicy, PortPolicy};

    fn plan(clients: &[&str], servers: &[&str]) -> AddressPlan {
        let nets = |list: &[&str]| list.iter().map(|p| p.parse().unwrap()).collect();
        AddressPlan {
            clients: nets(clients),
            servers: nets(servers),
            client_mac: MacPolicy::PerHost,
            server_mac: MacPolicy::PerHost,
            vlan: None,
            ports: PortPolicy::Fresh,
            multicast: GroupPolicy::Keep,
        }
    }

    #[test]
    fn a_pool_is_used_up_exactly_and_returned() {
        let allocator = Allocator::new();
        let plan = plan(&["10.0.0.0/29", "10.0.1.0/30"], &["10.1.0.0/24"]);
        let none = HashMap::<IpAddr, ()>::new();
        let requests = [AddressRequest::V4(Side::Client); 4];
        let first = allocator.lease(&plan, &requests, &none, 1).unwrap();
        let second = allocator.lease(&plan, &requests, &none, 1).unwrap();
        let mut all: Vec<_> =
            first.addresses().iter().chain(second.addresses()).map(|a| a.unwrap()).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8); // 6 hosts of the /29 and 2 of the /30, no network or broadcast address
        assert!(
            all.iter()
                .all(|ip| !["10.0.0.0", "10.0.0.7", "10.0.1.0", "10.0.1.3"].contains(&&*ip.to_string()))
        );
        let error = allocator
            .lease(&plan, &[AddressRequest::V4(Side::Server), AddressRequest::V4(Side::Client)], &none, 2)
            .unwrap_err();
        assert_eq!(
            error,
            RewriteError::AddressesExhausted { side: Side::Client, wanted: 1, free: 0, in_use: 8 }
        );
        assert_eq!(allocator.leased(), 8, "the server address that was taken first is back");
        drop(first);
        assert_eq!(allocator.leased(), 4);
        assert!(allocator.lease(&plan, &requests, &none, 3).is_ok());
    }

    #[test]
    fn leases_depend_on_the_seed_alone_when_nothing_else_runs() {
        let plan = plan(&["10.0.0.0/8"], &["10.64.0.0/10"]);
        let requests = [AddressRequest::V4(Side::Client), AddressRequest::V4(Side::Server)];
        let lease = |seed| {
            Allocator::new()
                .lease(&plan, &requests, &HashMap::<IpAddr, ()>::new(), seed)
                .unwrap()
                .addresses()
                .to_vec()
        };
        assert_eq!(lease(5), lease(5));
        assert_ne!(lease(5), lease(6));
    }

    #[test]
    fn original_addresses_are_not_given_again() {
        let plan = plan(&["192.168.0.0/30"], &["10.1.0.0/24"]);
        let originals = HashMap::from([("192.168.0.1".parse().unwrap(), ())]);
        let allocator = Allocator::new();
        for seed in 0..20 {
            let lease =
                allocator.lease(&plan, &[AddressRequest::V4(Side::Client)], &originals, seed).unwrap();
            assert_eq!(lease.addresses()[0].unwrap().to_string(), "192.168.0.2");
        }
        let error =
            allocator.lease(&plan, &[AddressRequest::V4(Side::Client); 2], &originals, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "client prefixes have 1 free addresses for the 2 hosts of the session (0 are leased to running sessions)"
        );
    }

    #[test]
    fn hosts_with_shared_low_bits_keep_sharing_them() {
        let plan = plan(&["fd11::/64", "10.0.0.0/24"], &["fd22::/96"]);
        let requests = [
            AddressRequest::LinkLocal(1),
            AddressRequest::V6(Side::Client, 1),
            AddressRequest::V6(Side::Server, 1),
            AddressRequest::V6(Side::Server, 2),
        ];
        let allocator = Allocator::new();
        let lease = allocator.lease(&plan, &requests, &HashMap::<IpAddr, ()>::new(), 9).unwrap();
        let low: Vec<u32> = lease
            .addresses()
            .iter()
            .map(|a| match a {
                Some(IpAddr::V6(ip)) => low24(*ip),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(low[0] == low[1] && low[1] == low[2] && low[2] != low[3], "{low:x?}");
        assert!(lease.addresses()[0].unwrap().to_string().starts_with("fe80::"));
    }

    #[test]
    fn more_hosts_than_identifiers_is_an_error() {
        let plan = plan(&["fd11::/64"], &["fd22::/96"]);
        // 257 hosts with the same low 24 bits do not fit in 8 bits before them.
        let requests = vec![AddressRequest::V6(Side::Server, 1); 257];
        let allocator = Allocator::new();
        let error = allocator.lease(&plan, &requests, &HashMap::<IpAddr, ()>::new(), 9).unwrap_err();
        assert!(matches!(error, RewriteError::IdentifiersExhausted { hosts: 257, .. }), "{error}");
        assert_eq!(allocator.leased(), 0);
    }
}
