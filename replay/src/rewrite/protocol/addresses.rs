//! A visitor of the addresses inside messages.
//!
//! Each protocol that carries addresses (ARP, neighbour discovery, group membership, quoted packets) has one walk
//! over them. The survey runs it with a visitor that notes each address; rewriting runs it with a visitor that
//! replaces each address. So the two always see the same addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use netssm_wire::MacAddr;

use crate::rewrite::dropped::Dropped;

/// What happens to each address that a walk finds.
pub(crate) trait Addresses {
    /// The IPv4 address to write instead. Unspecified and group addresses come here too.
    fn v4(&mut self, ip: Ipv4Addr) -> Result<Ipv4Addr, Dropped>;
    /// The IPv6 address to write instead.
    fn v6(&mut self, ip: Ipv6Addr) -> Result<Ipv6Addr, Dropped>;
    /// The Ethernet address to write instead. Zero and group addresses come here too.
    fn mac(&mut self, mac: MacAddr) -> Result<MacAddr, Dropped>;

    /// Visits the IPv4 address in these four bytes.
    fn v4_at(&mut self, bytes: &mut [u8]) -> Result<(), Dropped> {
        if let Ok(octets) = <[u8; 4]>::try_from(&*bytes) {
            bytes.copy_from_slice(&self.v4(octets.into())?.octets());
        }
        Ok(())
    }

    /// Visits the IPv6 address in these sixteen bytes.
    fn v6_at(&mut self, bytes: &mut [u8]) -> Result<(), Dropped> {
        if let Ok(octets) = <[u8; 16]>::try_from(&*bytes) {
            bytes.copy_from_slice(&self.v6(octets.into())?.octets());
        }
        Ok(())
    }

    /// Visits the Ethernet address in these six bytes.
    fn mac_at(&mut self, bytes: &mut [u8]) -> Result<(), Dropped> {
        if let Ok(octets) = <[u8; 6]>::try_from(&*bytes) {
            bytes.copy_from_slice(&self.mac(MacAddr(octets))?.0);
        }
        Ok(())
    }
}
