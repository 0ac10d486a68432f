//! Ports that are known by name, and the borders of the port ranges.
//!
//! Ports below 1024 belong to services: listening on them needs a privilege. Client ports begin at one of two borders.
//! IANA's dynamic ports begin at 49152 (RFC 6335 section 6), where Windows and BSD draw from; Linux draws from 32768
//! on. Each rule about ports says which border it takes: see [`initiator`](crate::initiator).

/// Ports below this belong to services that a privileged process offers (RFC 6335 section 6: System Ports).
pub const FIRST_USER: u16 = 1_024;
/// Common systems give ports from here on to clients; Linux begins lowest.
pub const FIRST_EPHEMERAL: u16 = 32_768;
/// IANA's first dynamic port (RFC 6335 section 6).
pub const FIRST_DYNAMIC: u16 = 49_152;

/// DNS (RFC 1035).
pub const DNS: u16 = 53;
/// DHCP for IPv4, server (RFC 2131).
pub const DHCP_SERVER: u16 = 67;
/// DHCP for IPv4, client (RFC 2131).
pub const DHCP_CLIENT: u16 = 68;
/// HTTP (RFC 9110).
pub const HTTP: u16 = 80;
/// NTP (RFC 5905).
pub const NTP: u16 = 123;
/// NetBIOS name service (RFC 1002).
pub const NETBIOS_NAME: u16 = 137;
/// NetBIOS datagram service (RFC 1002).
pub const NETBIOS_DATAGRAM: u16 = 138;
/// HTTP over TLS or QUIC (RFC 9110, RFC 9114).
pub const HTTPS: u16 = 443;
/// SSDP (UPnP device architecture).
pub const SSDP: u16 = 1_900;
/// STUN (RFC 8489).
pub const STUN: u16 = 3_478;
/// Multicast DNS (RFC 6762).
pub const MDNS: u16 = 5_353;
/// LLMNR (RFC 4795).
pub const LLMNR: u16 = 5_355;
/// Where traceroute sends its first datagram.
pub const TRACEROUTE: u16 = 33_434;

/// Services whose messages have the header of DNS and nothing before it.
pub const DNS_FORMAT: [u16; 3] = [DNS, MDNS, LLMNR];

/// Registered services that devices also use as source port, so "the initiator's port was drawn" fails for them:
/// OpenVPN, L2TP, SSDP, STUN, Teredo, WS-Discovery, IPsec NAT traversal, SIP, multicast DNS, LLMNR, CoAP and BitTorrent
/// local peer discovery.
pub const SYMMETRIC_SERVICES: [u16; 12] =
    [1_194, 1_701, SSDP, STUN, 3_544, 3_702, 4_500, 5_060, MDNS, LLMNR, 5_683, 6_771];

/// Whether one of a packet's ports is that of a service in the format of DNS: [`DNS_FORMAT`].
#[inline]
pub fn is_dns(src_port: u16, dst_port: u16) -> bool {
    DNS_FORMAT.contains(&src_port) || DNS_FORMAT.contains(&dst_port)
}

/// Whether a port belongs to a service even as a source port: a system port, or one of [`SYMMETRIC_SERVICES`].
#[inline]
pub fn is_service(port: u16) -> bool {
    port < FIRST_USER || SYMMETRIC_SERVICES.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_from_drawn_ports() {
        assert!(is_service(443) && is_service(1023) && is_service(5353));
        assert!(!is_service(1024) && !is_service(49_152));
        assert!(is_dns(50_000, 53) && is_dns(5355, 60_000) && !is_dns(137, 137));
        assert!(SYMMETRIC_SERVICES.iter().all(|port| (FIRST_USER..FIRST_EPHEMERAL).contains(port)));
    }
}
