//! ARP (RFC 826), as IPv4 over Ethernet has it.

use std::net::Ipv4Addr;

use crate::MacAddr;
use crate::view::views;

views! {
    28;
    /// Hardware type; 1 is Ethernet.
    hardware, set_hardware: u16 = 0..2;
    /// Ethertype of the protocol addresses.
    protocol, set_protocol: u16 = 2..4;
    /// Length of a hardware address in bytes.
    hardware_len, set_hardware_len: u8 = 4..5;
    /// Length of a protocol address in bytes.
    protocol_len, set_protocol_len: u8 = 5..6;
    /// 1 asks, 2 answers.
    operation, set_operation: u16 = 6..8;
    /// Sender's Ethernet address; see [`View::is_ethernet_ipv4`].
    sender_mac, set_sender_mac: MacAddr = 8..14;
    /// Sender's IPv4 address; see [`View::is_ethernet_ipv4`].
    sender_ip, set_sender_ip: Ipv4Addr = 14..18;
    /// Target's Ethernet address, zero where it is asked for; see [`View::is_ethernet_ipv4`].
    target_mac, set_target_mac: MacAddr = 18..24;
    /// Target's IPv4 address; see [`View::is_ethernet_ipv4`].
    target_ip, set_target_ip: Ipv4Addr = 24..28;
}

impl View<'_> {
    /// Whether the addresses are Ethernet and IPv4, without which the address fields of the view mean
    /// nothing.
    pub fn is_ethernet_ipv4(&self) -> bool {
        self.head[..6] == [0, 1, 0x08, 0x00, 6, 4]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const REQUEST: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 1,
        2, 0, 0, 0, 0, 1, 10, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
    ];

    #[test]
    fn views_set_in_place() {
        let mut bytes = REQUEST;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        assert!(view.view().is_ethernet_ipv4());
        view.set_target_mac(MacAddr([2, 0, 0, 0, 0, 9]));
        view.set_sender_ip(Ipv4Addr::new(192, 0, 2, 1));
        view.set_operation(2);
        assert_eq!(bytes[6..8], [0, 2]);
        assert_eq!(bytes[14..24], [192, 0, 2, 1, 2, 0, 0, 0, 0, 9]);
    }
}
