//! Protocol numbers and ethertypes that this crate knows by name.

/// IP protocol numbers that this crate knows by name (IANA).
pub mod protocol {
    #![allow(missing_docs)] // the names are IANA's
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ESP: u8 = 50;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT: u8 = 59;
    pub const DESTINATION: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const UDP_LITE: u8 = 136;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;

    /// Whether the protocol's header starts with a source and a destination port.
    pub fn has_ports(protocol: u8) -> bool {
        matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE)
    }
}

/// Ethertypes that this crate knows by name.
pub mod ethertype {
    #![allow(missing_docs)] // the names are IEEE's
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const QINQ: u16 = 0x88a8;
    /// What came before 802.1ad, still seen.
    pub const QINQ_OLD: u16 = 0x9100;
    /// Below this the field is an 802.3 length.
    pub const FIRST: u16 = 0x0600;

    /// Whether a type announces a tag: 802.1Q, 802.1ad, or what came before it.
    pub fn is_tag(ethertype: u16) -> bool {
        matches!(ethertype, VLAN | QINQ | QINQ_OLD)
    }
}
