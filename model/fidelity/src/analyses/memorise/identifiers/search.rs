//! Identifiers anywhere among the bytes of a packet, whatever header or payload they are in.
//!
//! Three patterns of bytes: a MAC address (6), the interface identifier that hosts make of it (modified EUI-64, 8
//! bytes, RFC 4291 appendix A), an IPv6 address (16); and host names as text. Patterns of few different bytes are left
//! to the fields: zeros and counters look like them.

use std::collections::{BTreeSet, HashMap, HashSet};

use netssm_wire::MacAddr;

use super::Identifier;

/// Fewest different bytes of a MAC that is searched for, and of an IPv6 address.
const VARIED_MAC: usize = 4;
const VARIED_V6: usize = 6;

/// Shortest name that is searched for as text. It also has a dot: a word alone is no name.
const SHORTEST: usize = 6;

/// What is searched for.
pub(super) struct Patterns {
    /// One bit for the first three bytes of every pattern, to pass over most places with one look.
    first: Vec<u64>,
    macs: HashSet<[u8; 6]>,
    interfaces: HashMap<[u8; 8], MacAddr>,
    v6: HashSet<[u8; 16]>,
    names: HashSet<String>,
}

fn varied(bytes: &[u8], least: usize) -> bool {
    bytes.iter().collect::<BTreeSet<_>>().len() >= least
}

/// The interface identifier made of a MAC.
pub(super) fn interface(MacAddr([a, b, c, d, e, f]): MacAddr) -> [u8; 8] {
    [a ^ 2, b, c, 0xff, 0xfe, d, e, f]
}

fn word_and_bit(bytes: &[u8]) -> Option<(usize, u64)> {
    let &[a, b, c] = bytes.first_chunk()?;
    let at = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    Some((at >> 6, 1 << (at & 63)))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl Patterns {
    /// Of the identifiers that training has.
    pub(super) fn of(known: &BTreeSet<Identifier>) -> Self {
        let mut patterns = Self {
            first: vec![0; 1 << 18],
            macs: HashSet::new(),
            interfaces: HashMap::new(),
            v6: HashSet::new(),
            names: HashSet::new(),
        };
        for identifier in known {
            match identifier {
                Identifier::Mac(mac) if varied(&mac.0, VARIED_MAC) => {
                    patterns.mark(&mac.0);
                    patterns.macs.insert(mac.0);
                    patterns.mark(&interface(*mac));
                    patterns.interfaces.insert(interface(*mac), *mac);
                }
                Identifier::Ipv6(ip) if varied(&ip.octets(), VARIED_V6) => {
                    patterns.mark(&ip.octets());
                    patterns.v6.insert(ip.octets());
                }
                Identifier::Name(name) if name.len() >= SHORTEST && name.contains('.') => {
                    patterns.names.insert(name.clone());
                }
                _ => {}
            }
        }
        patterns
    }

    fn mark(&mut self, pattern: &[u8]) {
        if let Some((word, bit)) = word_and_bit(pattern) {
            self.first[word] |= bit;
        }
    }

    /// Visits every place of `frame` that begins with a pattern, and every name.
    pub(super) fn search(&self, frame: &[u8], found: &mut dyn FnMut(Identifier, usize)) {
        for at in 0..frame.len() {
            let rest = &frame[at..];
            if word_and_bit(rest).is_some_and(|(word, bit)| self.first[word] & bit != 0) {
                self.look(rest, at, found);
            }
        }
        if !self.names.is_empty() {
            self.words(frame, found);
        }
    }

    fn look(&self, rest: &[u8], at: usize, found: &mut dyn FnMut(Identifier, usize)) {
        if let Some(mac) = rest.first_chunk().filter(|mac| self.macs.contains(*mac)) {
            found(Identifier::Mac(MacAddr(*mac)), at);
        }
        if let Some(mac) = rest.first_chunk().and_then(|interface| self.interfaces.get(interface)) {
            found(Identifier::Mac(*mac), at);
        }
        if let Some(ip) = rest.first_chunk().filter(|ip| self.v6.contains(*ip)) {
            found(Identifier::Ipv6((*ip).into()), at);
        }
    }

    /// Names between bytes that no host name has.
    fn words(&self, frame: &[u8], found: &mut dyn FnMut(Identifier, usize)) {
        let mut at = 0;
        for word in frame.split(|byte| !is_host_byte(*byte)) {
            if word.len() >= SHORTEST
                && word.contains(&b'.')
                && let Ok(text) = std::str::from_utf8(word)
            {
                let text = text.trim_matches('.').to_ascii_lowercase();
                if self.names.contains(&text) {
                    found(Identifier::Name(text), at);
                }
            }
            at += word.len() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_at_every_place() {
        let mac = MacAddr([0, 0xc, 0x29, 1, 2, 3]);
        let plain = MacAddr([0, 0, 0, 0, 0, 1]);
        let ip: std::net::Ipv6Addr = "2001:4860:1234:5678:9abc::8".parse().unwrap();
        let known = BTreeSet::from([
            Identifier::Mac(mac),
            Identifier::Mac(plain),
            Identifier::Ipv6(ip),
            Identifier::Ipv4([1, 2, 3, 4].into()),
            Identifier::Name("www.Secret.org".to_lowercase()),
            Identifier::Name("desktop".to_owned()),
        ]);
        let patterns = Patterns::of(&known);
        let search = |frame: &[u8]| {
            let mut all = Vec::new();
            patterns.search(frame, &mut |identifier, at| all.push((identifier.text(), at)));
            all
        };
        for before in 0..40 {
            let with = |pattern: &[u8]| [&vec![0; before], pattern].concat();
            assert_eq!(search(&with(&mac.0)), [(mac.to_string(), before)]);
            assert_eq!(search(&with(&interface(mac))), [(mac.to_string(), before)]);
            assert_eq!(search(&with(&ip.octets())), [(ip.to_string(), before)]);
            assert_eq!(search(&with(b"WWW.secret.org.")), [("www.secret.org".to_owned(), before)]);
            assert!(search(&with(&mac.0[..5])).is_empty());
            assert!(search(&with(&plain.0)).is_empty()); // looks like padding
            assert!(search(&with(&[1, 2, 3, 4])).is_empty());
            assert!(search(&with(b"xwww.secret.org desktop")).is_empty());
        }
        assert!(search(&[]).is_empty());
        assert_eq!(interface(mac), [2, 0xc, 0x29, 0xff, 0xfe, 1, 2, 3]);
    }
}
