//! Neighbour discovery (RFC 4861): targets, link-layer address options, prefixes and name servers.
//!
//! Options whose body is not known, or that hold names or random values of the original hosts, become the
//! experimental option 253 (RFC 4727) of the same length. Reserved fields become zeros: that of a prefix has the size
//! of an IPv4 address. Options that the captured bytes cut off are made anew.

use netssm_wire::MacAddr;

use super::addresses::Addresses;
use crate::rewrite::dropped::Dropped;

/// Option types.
mod option {
    pub(crate) const SOURCE_LINK: u8 = 1;
    pub(crate) const TARGET_LINK: u8 = 2;
    pub(crate) const PREFIX: u8 = 3;
    pub(crate) const MTU: u8 = 5;
    pub(crate) const NAME_SERVERS: u8 = 25;
    pub(crate) const FLAGS: u8 = 26;
    pub(crate) const EXPERIMENT: u8 = 253;
}

/// Message types.
const ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Visits the addresses of a message whose options start at `fixed`.
pub(crate) fn visit(message: &mut [u8], fixed: usize, addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    if fixed >= 24 {
        addresses.v6_at(message.get_mut(8..24).unwrap_or_default())?;
    }
    if fixed >= 40 {
        addresses.v6_at(message.get_mut(24..40).unwrap_or_default())?;
    }
    let mut at = fixed;
    while let Some(len) = option_len(message, at) {
        visit_option(&mut message[at..at + len], addresses)?;
        at += len;
    }
    Ok(())
}

/// Length of the option at `at`, if it is whole.
fn option_len(message: &[u8], at: usize) -> Option<usize> {
    let len = usize::from(*message.get(at + 1)?) * 8;
    (len > 0 && at + len <= message.len()).then_some(len)
}

fn visit_option(option: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    match (option[0], option.len()) {
        (option::SOURCE_LINK | option::TARGET_LINK, 8) => addresses.mac_at(&mut option[2..8]),
        (option::MTU, 8) => {
            option[2..4].fill(0);
            Ok(())
        }
        // None of its 48 flags is assigned (RFC 5175).
        (option::FLAGS, 8) => {
            option[2..].fill(0);
            Ok(())
        }
        // The prefix itself is `finish`'s: it is no host.
        (option::PREFIX, 32) => {
            option[12..16].fill(0);
            Ok(())
        }
        (option::NAME_SERVERS, len) if len >= 24 && (len - 8) % 16 == 0 => {
            option[2..4].fill(0);
            option[8..].chunks_exact_mut(16).try_for_each(|server| addresses.v6_at(server))
        }
        _ => {
            blank(option);
            Ok(())
        }
    }
}

fn blank(option: &mut [u8]) {
    option[0] = option::EXPERIMENT;
    option[2..].fill(0);
}

/// Completes a message: replaces announced prefixes by the testbed's, and makes the options that are missing from
/// `have` to its end.
///
/// `sender` is the sender's new Ethernet address; `prefix` the address and length of the clients' first IPv6 prefix.
pub(crate) fn finish(message: &mut [u8], fixed: usize, have: usize, sender: MacAddr, prefix: ([u8; 16], u8)) {
    let mut at = fixed.min(message.len());
    let mut has_link = false;
    while let Some(len) = option_len(&message[..have.min(message.len())], at) {
        let option = &mut message[at..at + len];
        match option[0] {
            option::PREFIX => {
                option[2] = prefix.1;
                option[16..32].copy_from_slice(&prefix.0);
            }
            option::SOURCE_LINK | option::TARGET_LINK => has_link = true,
            _ => {}
        }
        at += len;
    }
    let kind = message[0];
    if !has_link && message.len() >= at + 8 {
        let number = match kind {
            ADVERTISEMENT | REDIRECT => option::TARGET_LINK,
            _ => option::SOURCE_LINK,
        };
        message[at..at + 2].copy_from_slice(&[number, 1]);
        message[at + 2..at + 8].copy_from_slice(&sender.0);
        at += 8;
    }
    while message.len() >= at + 8 {
        // An option is at most 255 units of 8 bytes.
        let len = (message.len() - at).min(255 * 8) / 8 * 8;
        message[at + 1] = (len / 8) as u8;
        blank(&mut message[at..at + len]);
        at += len;
    }
}
