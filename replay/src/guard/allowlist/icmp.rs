//! Addresses inside ICMP and ICMPv6 messages: quoted packets, redirects, neighbour discovery.
//!
//! The quoted header of an ICMP error is where other rewriting tools have leaked addresses.

use super::{Allowlist, Place, Violation, mac_at, v4_at, v6_at};
use netssm_wire::MacAddr;

impl Allowlist {
    /// An ICMP message from its type on (RFC 792).
    pub(super) fn check_icmp(&self, message: &[u8]) -> Result<(), Violation> {
        match message.first() {
            Some(5) => {
                self.mentioned(Place::Icmp, "redirect gateway", v4_at(message, 4))?;
                self.quoted_v4(message)
            }
            Some(3 | 4 | 11 | 12) => self.quoted_v4(message),
            _ => Ok(()),
        }
    }

    /// The IPv4 packet that an error quotes from its ninth byte on.
    fn quoted_v4(&self, message: &[u8]) -> Result<(), Violation> {
        let quoted = &message[8.min(message.len())..];
        if quoted.len() < 20 || quoted[0] >> 4 != 4 {
            return Err(Violation::Unreadable(Place::Icmp));
        }
        self.mentioned(Place::Icmp, "quoted source", v4_at(quoted, 12))?;
        self.mentioned(Place::Icmp, "quoted destination", v4_at(quoted, 16))
    }

    /// An ICMPv6 message from its type on (RFC 4443, RFC 4861).
    pub(super) fn check_icmpv6(&self, message: &[u8]) -> Result<(), Violation> {
        match message.first() {
            Some(1..=4) => self.quoted_v6(message),
            Some(133) => self.nd_options(message, 8),
            Some(134) => self.nd_options(message, 16),
            Some(135 | 136) => {
                self.mentioned(Place::Icmpv6, "neighbour target", v6_at(message, 8))?;
                self.nd_options(message, 24)
            }
            Some(137) => {
                self.mentioned(Place::Icmpv6, "redirect target", v6_at(message, 8))?;
                self.mentioned(Place::Icmpv6, "redirect destination", v6_at(message, 24))?;
                self.nd_options(message, 40)
            }
            _ => Ok(()),
        }
    }

    /// The IPv6 packet that an error quotes from its ninth byte on.
    fn quoted_v6(&self, message: &[u8]) -> Result<(), Violation> {
        let quoted = &message[8.min(message.len())..];
        if quoted.len() < 40 || quoted[0] >> 4 != 6 {
            return Err(Violation::Unreadable(Place::Icmpv6));
        }
        self.mentioned(Place::Icmpv6, "quoted source", v6_at(quoted, 8))?;
        self.mentioned(Place::Icmpv6, "quoted destination", v6_at(quoted, 24))
    }

    /// The options of a neighbour discovery message (RFC 4861 section 4.6).
    fn nd_options(&self, message: &[u8], at: usize) -> Result<(), Violation> {
        let mut options = message.get(at..).ok_or(Violation::Unreadable(Place::Icmpv6))?;
        // Frames are padded to 60 bytes and more by some drivers; what follows the options then is zeros.
        while options.len() >= 8 {
            let len = usize::from(options[1]) * 8;
            if options[0] == 0 && options.iter().all(|&b| b == 0) {
                return Ok(());
            }
            if len == 0 || len > options.len() {
                return Err(Violation::Unreadable(Place::Icmpv6));
            }
            let option = &options[..len];
            match option[0] {
                1 | 2 => {
                    let mac = mac_at(option, 2).unwrap_or(MacAddr::ZERO);
                    self.any_mac(Place::Icmpv6, "link-layer address", mac)?;
                }
                3 => self.advertised_prefix(option)?,
                4 => {
                    let quoted = option.get(8..).unwrap_or(&[]);
                    if quoted.len() >= 40 {
                        self.mentioned(Place::Icmpv6, "redirected source", v6_at(quoted, 8))?;
                        self.mentioned(Place::Icmpv6, "redirected destination", v6_at(quoted, 24))?;
                    }
                }
                25 => {
                    // Recursive DNS servers (RFC 8106): 8 bytes, then addresses.
                    for server in option[8..].chunks_exact(16) {
                        self.mentioned(Place::Icmpv6, "advertised dns server", v6_at(server, 0))?;
                    }
                }
                _ => {}
            }
            options = &options[len..];
        }
        Ok(())
    }

    /// Prefix information: 32 bytes, the prefix in the last 16.
    fn advertised_prefix(&self, option: &[u8]) -> Result<(), Violation> {
        let prefix = v6_at(option, 16).ok_or(Violation::Unreadable(Place::Icmpv6))?;
        let ok = self.prefixes.iter().any(|p| p.contains(&prefix) || p.network() == prefix);
        if ok || super::is_link_local(prefix) {
            Ok(())
        } else {
            Err(Violation::Ip { place: Place::Icmpv6, role: "advertised prefix", ip: prefix })
        }
    }
}
