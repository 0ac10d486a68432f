//! Ethernet addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 48-bit Ethernet address in transmission order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
    /// `00:00:00:00:00:00`.
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// Whether the group bit is set: multicast or broadcast.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether the address is locally administered, so no vendor's.
    pub fn is_local(self) -> bool {
        self.0[0] & 2 == 2
    }

    /// Whether this is an address that IP sends groups to: broadcast, `01:00:5e:00:00:00` to `01:00:5e:7f:ff:ff` (RFC
    /// 1112 section 6.4) or `33:33:...` (RFC 2464 section 7). Other group addresses are of other protocols, or made up.
    pub fn is_ip_group(self) -> bool {
        self == MacAddr::BROADCAST || matches!(self.0, [0x01, 0x00, 0x5e, 0..=0x7f, ..] | [0x33, 0x33, ..])
    }

    /// The group address that a multicast or broadcast IP address is sent to (RFC 1112 section 6.4, RFC 2464
    /// section 7); `None` for a unicast address.
    pub fn of_group(ip: IpAddr) -> Option<MacAddr> {
        match ip {
            IpAddr::V4(ip) if ip.is_broadcast() => Some(MacAddr::BROADCAST),
            IpAddr::V4(ip) if ip.is_multicast() => {
                let [_, b, c, d] = ip.octets();
                Some(MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
            }
            IpAddr::V6(ip) if ip.is_multicast() => {
                let o = ip.octets();
                Some(MacAddr([0x33, 0x33, o[12], o[13], o[14], o[15]]))
            }
            _ => None,
        }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Why a text is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no ethernet address: expected six hexadecimal bytes joined by colons")]
pub struct MacParseError {
    /// The text that was given.
    pub text: String,
}

impl FromStr for MacAddr {
    type Err = MacParseError;

    fn from_str(text: &str) -> Result<Self, MacParseError> {
        let bad = || MacParseError { text: text.to_owned() };
        let mut out = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut out {
            let part = parts.next().ok_or_else(bad)?;
            // from_str_radix alone would also take "+1".
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(MacAddr(out)) }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = MacParseError;

    fn try_from(text: String) -> Result<Self, MacParseError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_rejects_junk() {
        let mac = MacAddr([2, 0, 0xab, 0, 0, 0xff]);
        assert_eq!(mac.to_string(), "02:00:ab:00:00:ff");
        assert_eq!("02:00:AB:00:00:ff".parse(), Ok(mac));
        for bad in ["", "02:00:ab:00:00", "02:00:ab:00:00:ff:01", "2:0:ab:0:0:ff", "02:00:+b:00:00:ff", "x"] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn group_addresses_follow_the_rfcs() {
        let of = |ip: &str| MacAddr::of_group(ip.parse().unwrap()).map(|m| m.to_string());
        assert_eq!(of("224.128.0.251").as_deref(), Some("01:00:5e:00:00:fb"));
        assert_eq!(of("255.255.255.255").as_deref(), Some("ff:ff:ff:ff:ff:ff"));
        assert_eq!(of("ff02::1:ff00:2").as_deref(), Some("33:33:ff:00:00:02"));
        assert_eq!(of("10.0.0.1"), None);
        let ip_group = |mac: &str| mac.parse::<MacAddr>().unwrap().is_ip_group();
        assert!(
            ip_group("ff:ff:ff:ff:ff:ff") && ip_group("01:00:5e:7f:00:01") && ip_group("33:33:00:00:00:01")
        );
        assert!(!ip_group("01:00:5e:80:00:01") && !ip_group("01:80:c2:00:00:00"));
        assert!(MacAddr::BROADCAST.is_group() && !MacAddr::ZERO.is_group());
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_local());
    }
}
