//! Collects every address in a set of captures, and searches for them in another capture.
//!
//! With this a test shows that no identifying address of the training data comes back in generated traffic. It looks
//! for MAC addresses, IPv6 addresses and IPv4 addresses of hosts. Addresses that identify no host are left out: group
//! and broadcast addresses, the unspecified address, loopback.
//!
//! The search covers every byte offset of every packet for MAC and IPv6 addresses, payload included. For IPv4 addresses
//! it covers the IP headers, ARP, the headers that an ICMP error quotes, and dotted text in payload. It does not search
//! every offset for IPv4: four random bytes of payload equal one of some thousand addresses too often, about ten times
//! in ten megabytes.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use netssm_wire::capture::Capture;
use netssm_wire::frame::{Layout, Net, Transport};

use crate::captures;

/// Addresses of hosts, each once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Unicast MAC addresses.
    pub macs: HashSet<[u8; 6]>,
    /// IPv4 addresses of hosts.
    pub v4: HashSet<Ipv4Addr>,
    /// IPv6 addresses of hosts.
    pub v6: HashSet<Ipv6Addr>,
}

impl Addresses {
    /// Collects all addresses in all captures below `folder`.
    ///
    /// # Panics
    /// If the folder cannot be read or holds no packet.
    #[track_caller]
    #[must_use]
    pub fn of_folder(folder: &Path) -> Self {
        let mut addresses = Self::default();
        for file in files_below(folder) {
            // A capture that breaks off counts up to that point. prepare reads no more of it either.
            let Ok(mut capture) = Capture::open(&file) else { continue };
            while let Ok(Some(record)) = capture.next_record() {
                addresses.add_frame(&record.frame);
            }
        }
        assert!(!addresses.macs.is_empty(), "no packet below {}", folder.display());
        addresses
    }

    /// Adds the addresses in the header fields of one frame.
    pub fn add_frame(&mut self, frame: &[u8]) {
        for at in [0, 6] {
            self.add_mac(frame, at);
        }
        let layout = Layout::parse(frame);
        match layout.net {
            Net::Arp { at } => {
                // RFC 826 with Ethernet and IPv4: sender and target, hardware then protocol address.
                for at in [at + 8, at + 18] {
                    self.add_mac(frame, at);
                }
            }
            Net::Ipv6(ip) => {
                for at in [ip.at + 8, ip.at + 24] {
                    self.add_v6(frame, at);
                }
                if let Transport::Icmpv6 { at } = layout.transport {
                    match frame.get(at) {
                        // Errors quote a packet (RFC 4443); solicitations and redirects name a target (RFC 4861).
                        Some(1..=4) => [at + 16, at + 32].map(|at| self.add_v6(frame, at)),
                        Some(135..=137) => [at + 8, at + 24].map(|at| self.add_v6(frame, at)),
                        _ => [(), ()],
                    };
                }
            }
            _ => {}
        }
        self.v4.extend(v4_fields(frame).into_iter().filter(|address| is_host_v4(*address)));
    }

    fn add_mac(&mut self, frame: &[u8], at: usize) {
        if let Some(mac) = read::<6>(frame, at)
            && mac[0] & 1 == 0
            && mac != [0; 6]
        {
            self.macs.insert(mac);
        }
    }

    fn add_v6(&mut self, frame: &[u8], at: usize) {
        let Some(address) = read::<16>(frame, at).map(Ipv6Addr::from) else { return };
        if !address.is_multicast() && !address.is_unspecified() && !address.is_loopback() {
            self.v6.insert(address);
        }
    }

    /// The places in `capture` where addresses of this set occur: one line each, at most a hundred.
    ///
    /// `expected` names the IP addresses that may occur although they are in the set. The plan of the capture may use
    /// the same private ranges as the training data.
    ///
    /// # Panics
    /// If the capture cannot be read.
    #[track_caller]
    #[must_use]
    pub fn found_in(&self, capture: &Path, expected: impl Fn(IpAddr) -> bool) -> Vec<String> {
        let mut found = BTreeSet::new();
        let mut number = 0_u64;
        captures::for_each(capture, |_, _, frame| {
            number += 1;
            for (at, window) in frame.windows(6).enumerate() {
                if self.macs.contains(window) {
                    found.insert(format!("packet {number}: mac {window:02x?} at byte {at}"));
                }
            }
            for (at, window) in frame.windows(16).enumerate() {
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(window).expect("windows of 16"));
                if self.v6.contains(&address) && !expected(address.into()) {
                    found.insert(format!("packet {number}: {address} at byte {at}"));
                }
            }
            for address in v4_fields(frame).into_iter().chain(dotted_quads(frame)) {
                if self.v4.contains(&address) && !expected(address.into()) {
                    found.insert(format!("packet {number}: {address}"));
                }
            }
        });
        found.into_iter().take(100).collect()
    }
}

/// The IPv4 addresses in the fields of a frame: IP header, ARP, and the header that an ICMP error quotes.
fn v4_fields(frame: &[u8]) -> Vec<Ipv4Addr> {
    let layout = Layout::parse(frame);
    let mut places = Vec::new();
    match layout.net {
        Net::Arp { at } => places.extend([at + 14, at + 24]),
        Net::Ipv4(ip) => places.extend([ip.at + 12, ip.at + 16]),
        _ => {}
    }
    if let Transport::Icmp { at } = layout.transport
        && matches!(frame.get(at), Some(3 | 4 | 5 | 11 | 12))
    {
        places.extend([at + 8 + 12, at + 8 + 16]);
        places.push(at + 4); // a redirect's gateway (RFC 792)
    }
    places.into_iter().filter_map(|at| read::<4>(frame, at)).map(Ipv4Addr::from).collect()
}

fn is_host_v4(address: Ipv4Addr) -> bool {
    // 0.0.0.0/8 is "this network", and 255.255.255.255 is broadcast. Without the mask of a subnet, its .0 and .255 look
    // like hosts, so they count as hosts.
    address.octets()[0] != 0 && !address.is_multicast() && !address.is_broadcast() && !address.is_loopback()
}

/// The IPv4 addresses that occur as dotted text.
fn dotted_quads(bytes: &[u8]) -> Vec<Ipv4Addr> {
    bytes
        .split(|byte| !byte.is_ascii_digit() && *byte != b'.')
        .filter(|run| run.len() >= 7)
        .filter_map(|run| std::str::from_utf8(run).ok()?.trim_matches('.').parse().ok())
        .collect()
}

fn read<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("read the folder").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet, IPv4 and ICMP "port unreachable", which quotes a UDP packet from 10.1.2.3 to 192.0.2.77 and has `text`
    /// after it.
    fn icmp_error(text: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xb8, 0x27, 0xeb, 1, 2, 3, 0, 0x1b, 0x21, 4, 5, 6, 8, 0];
        let length = 20 + 8 + 28 + u8::try_from(text.len()).expect("short");
        frame.extend([0x45, 0, 0, length, 0, 0, 0, 0, 64, 1, 0, 0, 198, 51, 100, 9, 10, 1, 2, 3]);
        frame.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 2, 3, 192, 0, 2, 77]);
        frame.extend([0, 53, 0x9c, 0x40, 0, 8, 0, 0]);
        frame.extend(text);
        frame
    }

    fn write(frames: &[Vec<u8>]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("f.pcap");
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
            bytes.extend(word.to_le_bytes());
        }
        for frame in frames {
            let length = u32::try_from(frame.len()).expect("short");
            for word in [0, 0, length, length] {
                bytes.extend(u32::to_le_bytes(word));
            }
            bytes.extend(frame);
        }
        std::fs::write(&file, bytes).expect("write");
        (folder, file)
    }

    #[test]
    fn headers_and_quoted_headers_are_collected() {
        let mut addresses = Addresses::default();
        addresses.add_frame(&icmp_error(b""));
        let expected: HashSet<Ipv4Addr> =
            ["198.51.100.9", "10.1.2.3", "192.0.2.77"].map(|text| text.parse().expect("an address")).into();
        assert_eq!(addresses.v4, expected);
        assert_eq!(addresses.macs, HashSet::from([[0xb8, 0x27, 0xeb, 1, 2, 3], [0, 0x1b, 0x21, 4, 5, 6]]));
    }

    #[test]
    fn every_kind_is_found_again_and_the_expected_one_is_not_reported() {
        let mut secret = Addresses::default();
        secret.macs.insert([0xb8, 0x27, 0xeb, 1, 2, 3]);
        secret.v4.insert(Ipv4Addr::new(192, 0, 2, 77));
        secret.v4.insert(Ipv4Addr::new(203, 0, 113, 5));
        secret.v6.insert("2001:db8::17".parse().expect("an address"));
        let mut frame = icmp_error(b"host=203.0.113.5 ");
        frame.extend(Ipv6Addr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x17]).octets());
        let (_folder, file) = write(&[frame]);
        let found = secret.found_in(&file, |_| false);
        assert_eq!(found.len(), 4, "{found:?}");
        let all_but_text = secret.found_in(&file, |address| address == Ipv4Addr::new(203, 0, 113, 5));
        assert_eq!(all_but_text.len(), 3, "{all_but_text:?}");
        assert_eq!(Addresses::default().found_in(&file, |_| false), Vec::<String>::new());
    }
}
