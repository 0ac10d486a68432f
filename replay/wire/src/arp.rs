//! ARP. The Repr is etherparse's packet, which keeps addresses of any length.

use std::net::Ipv4Addr;

pub use etherparse::ArpPacket as Repr;

use crate::MacAddr;
use crate::frame::Layer;
use crate::header::{Header, Wire};
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

impl Wire for Repr {
    const LAYER: Layer = Layer::Arp;

    fn parse(bytes: &[u8]) -> Header<Repr> {
        match Repr::from_slice(bytes) {
            Ok(packet) => Header::Whole(packet),
            Err(error) => Header::cut(bytes, error.required_len),
        }
    }

    fn emit_len(&self) -> usize {
        self.packet_len()
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{ArpHardwareId, ArpOperation, EtherType};

    #[rustfmt::skip]
    const REQUEST: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 1,
        2, 0, 0, 0, 0, 1, 10, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
    ];

    #[test]
    fn reads_and_builds_a_request() {
        let built = Repr::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REQUEST,
            &[2, 0, 0, 0, 0, 1],
            &[10, 0, 0, 1],
            &[0; 6],
            &[10, 0, 0, 2],
        )
        .unwrap();
        assert_eq!(Header::parse(&REQUEST), Header::Whole(built.clone()));
        let mut out = vec![0xee];
        built.emit(&mut out);
        assert_eq!((&out[1..], Wire::emit_len(&built)), (&REQUEST[..], 28));
    }

    #[test]
    fn long_addresses_cut_before_their_end_allocate_what_is_there() {
        let claims = [0, 1, 8, 0, 255, 255, 0, 1, 9, 9];
        assert_eq!(
            Header::<Repr>::parse(&claims),
            Header::Cut { bytes: claims.to_vec(), need: 8 + 2 * (255 + 255) }
        );
        assert_eq!(Header::<Repr>::parse(&claims[..7]), Header::Cut { bytes: claims[..7].to_vec(), need: 8 });
    }

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
