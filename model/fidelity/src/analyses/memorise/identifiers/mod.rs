//! Identifiers of training in the synthetic captures: addresses and names. There must be none.
//!
//! What training has is read from header fields (`fields`) and from messages that carry names (`services`): unicast MAC
//! addresses, IPv4 and IPv6 addresses, host names of DNS, multicast DNS, DHCP, NetBIOS, TLS and HTTP, SSDP's server
//! strings and device identifiers. Identifiers with the same meaning everywhere are left out (`common` has the list),
//! and so are those that [`Options::allow`] names. Each synthetic packet is then read in the same way, and besides
//! searched byte by byte (`search`) for MAC addresses, for the IPv6 interface identifiers made of them, for IPv6
//! addresses, and for names as text.
//!
//! Looked at are the bytes that a session keeps: the first 192 of a packet, and the whole of services that carry names.
//!
//! An IPv4 address is only searched in fields and answers. In ciphertext, one place in four million matches one of a
//! thousand addresses by chance, which is several per capture. A MAC address has six bytes, so one of a thousand
//! matches only once in 3 * 10^11 places. Addresses with few different bytes, such as padding and counters have, are
//! only searched in fields.
//!
//! Held-out real captures of the same network have identifiers in common with training (their gateway, their resolver):
//! the report has their number, and the gate ignores it. A private address can be a coincidence if the synthetic side
//! draws from a prefix that training uses: name that prefix in [`Options::allow`].
//!
//! The result names what it finds, so a report with findings is as confidential as the training captures.

mod common;
mod fields;
mod names;
mod search;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use netssm_wire::MacAddr;
use rayon::prelude::*;
use serde::Serialize;

use self::common::Allow;
use self::search::Patterns;
use super::held_out::Numbered;
use super::{Options, Place};

/// Number of places that the report lists for a finding.
const PLACES: usize = 3;

/// One identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Identifier {
    Mac(MacAddr),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    /// In lower case.
    Name(String),
}

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentifierKind {
    /// Ethernet address.
    Mac,
    /// IPv4 address.
    Ipv4,
    /// IPv6 address.
    Ipv6,
    /// Name of a host, server or device.
    Name,
}

impl IdentifierKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Mac, Self::Ipv4, Self::Ipv6, Self::Name];
}

impl Identifier {
    fn kind(&self) -> IdentifierKind {
        match self {
            Self::Mac(_) => IdentifierKind::Mac,
            Self::Ipv4(_) => IdentifierKind::Ipv4,
            Self::Ipv6(_) => IdentifierKind::Ipv6,
            Self::Name(_) => IdentifierKind::Name,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Mac(mac) => mac.to_string(),
            Self::Ipv4(ip) => ip.to_string(),
            Self::Ipv6(ip) => ip.to_string(),
            Self::Name(name) => name.clone(),
        }
    }
}

/// Takes identifiers with the field that they are in.
pub(super) type Visit<'a> = dyn FnMut(Identifier, &'static str) + 'a;

/// Where a finding is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The packet.
    #[serde(flatten)]
    pub place: Place,
    /// The field, or `bytes at N` (from the start of the frame) where no field that is read ends there.
    pub field: String,
}

/// An identifier of training that the synthetic side has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: IdentifierKind,
    /// Its value.
    pub value: String,
    /// Packets that it is in.
    pub packets: u64,
    /// The first of them.
    pub places: Vec<Spot>,
}

/// How many identifiers of a kind there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What is counted.
    pub kind: IdentifierKind,
    /// Different ones of training that are looked for.
    pub training: usize,
    /// Different ones of these that the synthetic side has.
    pub synthetic: usize,
    /// Different ones of these that held-out real sessions have; `None` if there are no such sessions.
    pub held_out: Option<usize>,
}

/// The findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identifiers {
    /// By kind.
    pub counts: Vec<Count>,
    /// Different identifiers found.
    pub found: usize,
    /// Synthetic packets that have one.
    pub packets: u64,
    /// What was found, by kind and value, up to [`Options::listed`].
    pub findings: Vec<Finding>,
    /// Entries of [`Options::allow`] that are an address, a prefix or a name in no form that is understood, and allow
    /// nothing.
    pub not_understood: Vec<String>,
}

impl Identifiers {
    /// Whether nothing was found.
    pub fn gate(&self) -> bool {
        self.found == 0
    }
}

pub(super) fn identifiers(
    training: &[Numbered<'_>],
    synthetic: &[Numbered<'_>],
    held_out: &[Numbered<'_>],
    options: &Options<'_>,
) -> Identifiers {
    let (allow, not_understood) = Allow::of(&options.allow);
    let known = known(training, &allow);
    let patterns = Patterns::of(&known);
    let synthetic = search(synthetic, &known, &patterns);
    let fresh = (!held_out.is_empty()).then(|| search(held_out, &known, &patterns));
    let of = |found: &Occurrences, kind| found.by_value.keys().filter(|found| found.kind() == kind).count();
    let count = |kind| Count {
        kind,
        training: known.iter().filter(|known| known.kind() == kind).count(),
        synthetic: of(&synthetic, kind),
        held_out: fresh.as_ref().map(|fresh| of(fresh, kind)),
    };
    let findings = synthetic.by_value.iter().take(options.listed).map(|(identifier, seen)| Finding {
        kind: identifier.kind(),
        value: identifier.text(),
        packets: seen.packets,
        places: seen.spots.clone(),
    });
    Identifiers {
        counts: IdentifierKind::ALL.into_iter().map(count).collect(),
        found: synthetic.by_value.len(),
        packets: synthetic.packets,
        findings: findings.collect(),
        not_understood,
    }
}

/// Whether an entry of [`Options::allow`] is an address, a prefix, a MAC, a name or a name's end.
pub fn may_be_allowed(entry: &str) -> bool {
    Allow::default().add(entry.trim())
}

/// Every identifier of these sessions that is not common.
fn known(sessions: &[Numbered<'_>], allow: &Allow) -> BTreeSet<Identifier> {
    let of_session = |(_, session): &Numbered<'_>| {
        let mut known = BTreeSet::new();
        for i in 0..session.packets.len() {
            visit(session.frame(i), &mut |identifier, _| {
                if !known.contains(&identifier) && !common::is_common(&identifier) {
                    known.insert(identifier);
                }
            });
        }
        known
    };
    let each: Vec<BTreeSet<_>> = sessions.par_iter().map(of_session).collect();
    let mut all: BTreeSet<_> = each.into_iter().flatten().collect();
    all.retain(|identifier| !allow.has(identifier));
    all
}

fn visit(frame: &[u8], found: &mut Visit<'_>) {
    fields::visit(frame, found);
    services::visit(frame, found);
}

#[derive(Default)]
struct Seen {
    packets: u64,
    spots: Vec<Spot>,
}

#[derive(Default)]
struct Occurrences {
    packets: u64,
    by_value: BTreeMap<Identifier, Seen>,
}

fn search(sessions: &[Numbered<'_>], known: &BTreeSet<Identifier>, patterns: &Patterns) -> Occurrences {
    let each: Vec<Occurrences> =
        sessions.par_iter().map(|session| search_session(*session, known, patterns)).collect();
    let mut all = Occurrences::default();
    for found in each {
        all.packets += found.packets;
        for (identifier, seen) in found.by_value {
            let entry = all.by_value.entry(identifier).or_default();
            entry.packets += seen.packets;
            entry.spots.extend(seen.spots);
            entry.spots.truncate(PLACES);
        }
    }
    all
}

fn search_session(session: Numbered<'_>, known: &BTreeSet<Identifier>, patterns: &Patterns) -> Occurrences {
    let mut all = Occurrences::default();
    let mut here: Vec<(Identifier, String)> = Vec::new();
    for packet in 0..session.1.packets.len() {
        let frame = session.1.frame(packet);
        here.clear();
        let mut add = |identifier: Identifier, field: &dyn Fn() -> String| {
            if here.iter().all(|(other, _)| *other != identifier) {
                here.push((identifier, field()));
            }
        };
        visit(frame, &mut |identifier, field| {
            if known.contains(&identifier) {
                add(identifier, &|| field.to_owned());
            }
        });
        patterns.search(frame, &mut |identifier, at| add(identifier, &|| format!("bytes at {at}")));
        all.packets += u64::from(!here.is_empty());
        for (identifier, field) in here.drain(..) {
            let seen = all.by_value.entry(identifier).or_default();
            seen.packets += 1;
            if seen.spots.len() < PLACES {
                seen.spots.push(Spot { place: Place::of(session, packet), field });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
