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
//! the numbered hosts of generated sessions) get new addresses that share them too. Solicited-node groups are made of these
//! bits (RFC 4291 section 2.7.1), so one map of 24-bit values is right for hosts and groups alike.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::keys::{Draw, draw};
use super::plan::{AddressPlan, Side};
use crate::error::RewriteError;

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

/// A host that needs an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// An IPv4 address of this side.
    V4(Side),
    /// An IPv6 address of this side; hosts with the same value share their new low 24 bits.
    V6(Side, u32),
    /// A link-local IPv6 address.
    LinkLocal(u32),
    /// Nothing: the plan has no prefix for it.
    Nothing,
}

/// The addresses of one running replay; they are free again when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    allocator: Arc<Allocator>,
    /// One per [`Want`], in order.
    addresses: Vec<Option<IpAddr>>,
}

impl Lease {
    pub(super) fn addresses(&self) -> &[Option<IpAddr>] {
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
    pub(super) fn next_replay(&self) -> u64 {
        // Only uniqueness matters, not order with other memory.
        self.replays.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A set of addresses is valid after every single insert and removal, so a panic elsewhere cannot break it.
    fn lock(&self) -> MutexGuard<'_, HashSet<IpAddr>> {
        self.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases one address for each of `wants`.
    pub(super) fn lease(
        self: &Arc<Self>,
        plan: &AddressPlan,
        wants: &[Want],
        replay_seed: u64,
    ) -> Result<Lease, RewriteError> {
        let mut leased = self.lock();
        // Dropping it on an early return gives back what was taken; that needs the lock, so it is declared after.
        let mut taken: Vec<Option<IpAddr>> = vec![None; wants.len()];
        let result = take_v4(&mut leased, plan, wants, replay_seed, &mut taken)
            .and_then(|()| take_v6(&mut leased, plan, wants, replay_seed, &mut taken));
        if let Err(error) = result {
            for address in taken.iter().flatten() {
                leased.remove(address);
            }
            return Err(error);
        }
        drop(leased);
        Ok(Lease { allocator: Arc::clone(self), addresses: taken })
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

fn take_v4(
    leased: &mut HashSet<IpAddr>,
    plan: &AddressPlan,
    wants: &[Want],
    seed: u64,
    taken: &mut [Option<IpAddr>],
) -> Result<(), RewriteError> {
    for side in [Side::Client, Side::Server] {
        let wanted = wants.iter().filter(|w| **w == Want::V4(side)).count() as u64;
        if wanted == 0 {
            continue;
        }
        let pool = PoolV4::new(plan.prefixes(side));
        let in_use =
            leased.iter().filter(|ip| matches!(ip, IpAddr::V4(ip) if pool.contains(*ip))).count() as u64;
        let free = pool.len().saturating_sub(in_use);
        if free < wanted {
            return Err(RewriteError::AddressesExhausted {
                side,
                wanted: wanted.into(),
                free: free.into(),
                in_use: in_use.into(),
            });
        }
        for (i, _) in wants.iter().enumerate().filter(|(_, w)| **w == Want::V4(side)) {
            let start = draw(seed, Draw::Address, i as u64, side as u64) % pool.len();
            // Enough are free, so one turn around the pool finds one.
            taken[i] = (0..pool.len())
                .filter_map(|step| pool.get((start + step) % pool.len()).map(IpAddr::V4))
                .find(|ip| leased.insert(*ip));
        }
    }
    Ok(())
}

/// The 24 bits of an IPv6 address that its solicited-node group is made of.
pub(super) fn low24(ip: Ipv6Addr) -> u32 {
    (u128::from(ip) & 0xff_ffff) as u32
}

fn take_v6(
    leased: &mut HashSet<IpAddr>,
    plan: &AddressPlan,
    wants: &[Want],
    seed: u64,
    taken: &mut [Option<IpAddr>],
) -> Result<(), RewriteError> {
    let nets = |side| -> Vec<Ipv6Net> {
        let v6 = plan.prefixes(side).iter().filter_map(|p| match p {
            IpNet::V6(net) => Some(*net),
            IpNet::V4(_) => None,
        });
        v6.collect()
    };
    let (clients, servers) = (nets(Side::Client), nets(Side::Server));
    let low_of = |want: &Want| match want {
        Want::V6(_, low) | Want::LinkLocal(low) => Some(*low),
        Want::V4(_) | Want::Nothing => None,
    };
    // Groups of hosts with the same low bits, in order of their first host.
    let mut groups: Vec<(u32, Vec<usize>)> = Vec::new();
    let mut group_of: std::collections::HashMap<u32, usize> = std::collections::HashMap::new();
    for (i, want) in wants.iter().enumerate() {
        if let Some(low) = low_of(want) {
            let group = *group_of.entry(low).or_insert_with(|| {
                groups.push((low, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(i);
        }
    }
    let mut low_used = HashSet::new();
    for (number, (_, members)) in groups.iter().enumerate() {
        let mut tries = 0;
        loop {
            let low = draw(seed, Draw::InterfaceId, number as u64, u64::from(tries)) & 0xff_ffff;
            // Not 0: with nothing but zeros before it, it would be the subnet-router anycast address.
            let fresh = low != 0 && !low_used.contains(&low);
            if fresh && take_group(leased, (&clients, &servers), wants, members, low, seed, taken) {
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
fn take_group(
    leased: &mut HashSet<IpAddr>,
    (clients, servers): (&[Ipv6Net], &[Ipv6Net]),
    wants: &[Want],
    members: &[usize],
    low: u64,
    seed: u64,
    taken: &mut [Option<IpAddr>],
) -> bool {
    for (done, &i) in members.iter().enumerate() {
        let (high, more) =
            (draw(seed, Draw::Address, i as u64, low), draw(seed, Draw::Address, i as u64, !low));
        let random = (u128::from(high) << 64) | u128::from(more);
        let pick = |nets: &[Ipv6Net]| {
            let net = nets.get(usize::try_from(high % nets.len().max(1) as u64).unwrap_or(0))?;
            Some((u128::from(net.network()), u128::from(net.hostmask())))
        };
        let place = match wants[i] {
            Want::V6(Side::Client, _) => pick(clients),
            Want::V6(Side::Server, _) => pick(servers),
            Want::LinkLocal(_) => Some((LINK_LOCAL, u128::from(u64::MAX))),
            Want::V4(_) | Want::Nothing => None,
        };
        let address = place
            .map(|(base, hosts)| IpAddr::V6((base | (random & hosts & !0xff_ffff) | u128::from(low)).into()));
        if !address.is_some_and(|a| leased.insert(a)) {
            for &member in &members[..done] {
                if let Some(address) = taken[member].take() {
                    leased.remove(&address);
                }
            }
            return false;
        }
        taken[i] = address;
    }
    true
}
