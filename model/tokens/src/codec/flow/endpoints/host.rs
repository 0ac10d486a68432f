//! A host of a new flow or of ARP: a known one by its number, or a new one by its class.
//!
//! ```text
//! host := HOST | HOST_FAR byte byte | HOST_NEW
//! ```
//! The common hosts have the first numbers. The others follow by how recently they had the role, initiator or responder.

use std::net::IpAddr;

use super::Slots;
use crate::codec::flow::{
    hosts::{COMMON_HOSTS, HostClass, from_halves, to_halves},
    io::{Coded, Io, Stop},
    side_channel::{SideClass, Spread},
    state::{Role, State},
    vocab::{BYTE, HOST, HOST_FAR, HOST_NEW},
};

/// Hosts met in a packet that the state does not know yet.
#[derive(Clone, Debug, Default)]
pub(in crate::codec::flow) struct NewHosts(arrayvec::ArrayVec<IpAddr, 2>);

impl NewHosts {
    /// Whether a host that is new in this packet will take this slot from its present owner.
    fn displaces(&self, state: &State, slot: u16) -> bool {
        (0..self.0.len()).any(|ahead| state.next_host(ahead) == slot)
    }

    fn knows(&self, state: &State, address: IpAddr) -> bool {
        self.0.contains(&address) || state.host_slot(address).is_some_and(|slot| !self.displaces(state, slot))
    }

    /// The number of an address.
    fn number(&self, state: &State, (slots, role): (Slots, Role), address: IpAddr) -> Option<usize> {
        if let Some(ahead) = self.0.iter().position(|&known| known == address) {
            return Some(match slots {
                Slots::Fixed => usize::from(state.next_host(ahead)),
                Slots::Recent => COMMON_HOSTS.len() + state.order_of(role).len() + ahead,
            });
        }
        let slot = state.host_slot(address).filter(|&slot| !self.displaces(state, slot))?;
        match slots {
            Slots::Recent if usize::from(slot) >= COMMON_HOSTS.len() => {
                Some(COMMON_HOSTS.len() + state.order_of(role).iter().position(|&other| other == slot)?)
            }
            _ => Some(usize::from(slot)),
        }
    }

    /// The address of a number.
    fn at(&self, state: &State, (slots, role): (Slots, Role), number: usize) -> Option<IpAddr> {
        let place = match slots {
            Slots::Recent => number.checked_sub(COMMON_HOSTS.len()),
            Slots::Fixed => None,
        };
        let Some(place) = place else {
            let ahead = (0..self.0.len()).find(|&ahead| usize::from(state.next_host(ahead)) == number);
            return ahead.map(|ahead| self.0[ahead]).or_else(|| state.host_at(number));
        };
        let order = state.order_of(role);
        match order.get(place) {
            Some(&slot) => state.host_at(slot.into()).filter(|_| !self.displaces(state, slot)),
            None => self.0.get(place - order.len()).copied(),
        }
    }
}

/// Codes a host. `legal` says which known addresses and which classes of new hosts are legal.
pub(in crate::codec::flow) fn host<I: Io>(
    state: &State,
    new: &mut NewHosts,
    io: &mut I,
    by: (Slots, Role),
    want: Option<IpAddr>,
    legal: impl Fn(HostClass, Option<IpAddr>) -> bool,
) -> Coded<IpAddr> {
    let slot = want.and_then(|want| new.number(state, by, want));
    let near = HOST.len as usize;
    let known = state.host_count() + new.0.len();
    let fits = |slot: usize| {
        new.at(state, by, slot).is_some_and(|address| legal(HostClass::of(address), Some(address)))
    };
    let token = io.pick(
        || match slot {
            Some(slot) if slot < near => HOST.at(slot),
            Some(_) => HOST_FAR.at(0),
            None => HOST_NEW.at(want.map_or(0, |want| HostClass::of(want) as usize)),
        },
        |mask| {
            (0..known.min(near)).filter(|&slot| fits(slot)).for_each(|slot| mask.add(HOST.at(slot)));
            if (near..known).any(fits) {
                mask.add_class(HOST_FAR);
            }
            for (index, &class) in HostClass::ALL.iter().enumerate() {
                if legal(class, None) {
                    mask.add(HOST_NEW.at(index));
                }
            }
        },
    )?;
    if let Some(slot) = HOST.index(token) {
        return new.at(state, by, slot).ok_or(Stop::Illegal);
    }
    if HOST_FAR.has(token) {
        let slot = slot.unwrap_or_default();
        let far = |slot: usize| (near..known).contains(&slot) && fits(slot);
        let high = io.pick(
            || BYTE.at(slot >> 8),
            |mask| (near..known).filter(|&slot| fits(slot)).for_each(|slot| mask.add(BYTE.at(slot >> 8))),
        )?;
        let high = BYTE.index(high).ok_or(Stop::Illegal)? << 8;
        let low = io.pick(
            || BYTE.at(slot & 255),
            |mask| (0..256).filter(|low| far(high | low)).for_each(|low| mask.add(BYTE.at(low))),
        )?;
        return new.at(state, by, high | BYTE.index(low).ok_or(Stop::Illegal)?).ok_or(Stop::Illegal);
    }
    let class = HostClass::ALL[HOST_NEW.index(token).ok_or(Stop::Illegal)?];
    let halves = want.map(to_halves).unwrap_or_default();
    let side = if class.is_v4() { SideClass::AddressV4 } else { SideClass::AddressV6 };
    let first = io.side(side, || halves.0, Spread::Host(class))?;
    let second = if class.is_v4() { 0 } else { io.side(side, || halves.1, Spread::Host(class))? };
    let mut address = from_halves(class, first, second);
    // A drawn address may be known by chance. A recorded new address never is.
    while new.knows(state, address) {
        let (first, second) = to_halves(address);
        address = if class.is_v4() {
            from_halves(class, first.wrapping_add(1), 0)
        } else {
            from_halves(class, first, second.wrapping_add(1))
        };
    }
    if !new.0.is_full() {
        new.0.push(address);
    }
    Ok(address)
}
