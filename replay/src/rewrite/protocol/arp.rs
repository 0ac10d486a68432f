//! ARP for IPv4 over Ethernet (RFC 826): two pairs of addresses.
//!
//! A request's target Ethernet address is zero, since it is what is asked for, and a probe's sender address is
//! 0.0.0.0 (RFC 5227). Both stay.

use netssm_wire::MacAddr;
use netssm_wire::frame::ethertype;

use super::addresses::Addresses;
use crate::rewrite::dropped::Dropped;

/// Length of an ARP packet for IPv4 over Ethernet in bytes.
pub(crate) const LEN: usize = 28;

/// Whether `packet` is whole and is for IPv4 over Ethernet. Other kinds have addresses of other lengths.
pub(crate) fn check(packet: &[u8]) -> Result<(), Dropped> {
    // Hardware type 1, protocol type 0x0800, address lengths 6 and 4.
    match packet.get(..LEN) {
        Some([0, 1, 8, 0, 6, 4, ..]) => Ok(()),
        _ => Err(Dropped::NotIp(ethertype::ARP)),
    }
}

/// Visits the addresses of a packet that [`check`] accepts.
pub(crate) fn visit(packet: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    check(packet)?;
    for (mac, ip) in [(8, 14), (18, 24)] {
        let zero = packet[mac..mac + 6] == MacAddr::ZERO.0;
        if !zero {
            addresses.mac_at(&mut packet[mac..mac + 6])?;
        }
        addresses.v4_at(&mut packet[ip..ip + 4])?;
    }
    Ok(())
}
