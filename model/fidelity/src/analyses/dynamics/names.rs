//! Addresses that names were resolved to: the answers of DNS and multicast DNS in a session (RFC 1035, RFC 6762).
//!
//! simple-dns reads the messages; a message with anything in it that it cannot read gives nothing, and so does one that
//! the capture cut. Answers to encrypted questions are not seen.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netssm_wire::bytes::be16;
use netssm_wire::frame::{Layout, Transport, protocol};
use netssm_wire::ports::{DNS, MDNS};
use simple_dns::rdata::RData;
use simple_dns::{Packet, PacketFlag};

use crate::input::session::CapturedSession;

/// Ports whose answers are read.
const PORTS: [u16; 2] = [DNS, MDNS];

/// Addresses in the answers to a session's questions for names below one of the suffixes. Where the question matches,
/// every address of the answer counts, whatever aliases are in between; else those of the records whose own name
/// matches.
pub(super) fn addresses(session: &CapturedSession, suffixes: &[String]) -> BTreeSet<IpAddr> {
    let mut out = BTreeSet::new();
    for (number, packet) in session.packets.iter().enumerate() {
        let Some(flow) = packet.flow.and_then(|flow| session.flows.get(flow as usize)) else { continue };
        let named = PORTS.contains(&flow.first.src_port) || PORTS.contains(&flow.first.dst_port);
        if flow.first.protocol == protocol::UDP && named {
            let frame = session.frame(number);
            let layout = Layout::parse(frame);
            if let (Transport::Udp { .. }, Some(at)) = (layout.transport, layout.payload_at()) {
                out.extend(of_message(frame.get(at..).unwrap_or_default(), suffixes));
            }
        }
    }
    out
}

/// The same of one message.
fn of_message(message: &[u8], suffixes: &[String]) -> Vec<IpAddr> {
    // The parser makes room for as many records as the header claims; the least one has 11 bytes, the least question 5.
    let count = |at| be16(message, at).map_or(0, usize::from);
    if count(4) * 5 + (count(6) + count(8) + count(10)) * 11 > message.len() {
        return Vec::new();
    }
    let Ok(packet) = Packet::parse(message) else { return Vec::new() };
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Vec::new();
    }
    let matches = |name: &simple_dns::Name<'_>| is_below(&name.to_string(), suffixes);
    let asked = packet.questions.iter().any(|question| matches(&question.qname));
    let records = packet.answers.iter().chain(&packet.additional_records);
    let records = records.filter(|record| asked || matches(&record.name));
    records
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
            RData::AAAA(a) => Some(IpAddr::V6(Ipv6Addr::from(a.address))),
            _ => None,
        })
        .collect()
}

/// Whether a name is one of the suffixes or below it. Letter case and a dot at either end do not matter.
fn is_below(name: &str, suffixes: &[String]) -> bool {
    let name = name.trim_matches('.').to_ascii_lowercase();
    suffixes.iter().any(|suffix| {
        let suffix = suffix.trim_matches('.').to_ascii_lowercase();
        !suffix.is_empty()
            && name.strip_suffix(&suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer for `www.video.example`, an alias of `edge.cdn.example`, with one address of each family.
    pub(in super::super) fn answer() -> Vec<u8> {
        let mut message = vec![0, 7, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0];
        message.extend(b"\x03www\x05video\x07example\x00\x00\x01\x00\x01");
        message.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x0b\x04edge\x03cdn\xc0\x16");
        message.extend(b"\xc0\x2f\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x12\x00\x01");
        message.extend(b"\xc0\x2f\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10");
        message.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        message
    }

    fn suffixes(list: &[&str]) -> Vec<String> {
        list.iter().map(|suffix| (*suffix).to_owned()).collect()
    }

    #[test]
    fn answers_count_by_question_and_by_their_own_name() {
        let both: Vec<IpAddr> = vec!["198.18.0.1".parse().unwrap(), "2001:db8::9".parse().unwrap()];
        for matching in ["video.example", "www.video.example", ".VIDEO.example.", "cdn.example", "example"] {
            assert_eq!(of_message(&answer(), &suffixes(&[matching])), both, "{matching}");
        }
        for other in ["deo.example", "video", "", "elsewhere.example"] {
            assert!(of_message(&answer(), &suffixes(&[other])).is_empty(), "{other}");
        }
        let mut question = answer();
        question[2] = 1;
        assert!(of_message(&question, &suffixes(&["example"])).is_empty(), "no answer");
        for cut in 0..answer().len() {
            assert!(of_message(&answer()[..cut], &suffixes(&["example"])).is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            changes in prop::collection::vec((0_usize..120, any::<u8>()), 0..6),
        ) {
            let list = suffixes(&["example"]);
            let _ = of_message(&bytes, &list);
            let mut changed = answer();
            for (at, byte) in changes {
                let len = changed.len();
                changed[at % len] = byte;
            }
            let _ = of_message(&changed, &list);
            // Headers that claim few records get further.
            for at in [4, 6, 8, 10] {
                if let Some(count) = bytes.get_mut(at..at + 2) {
                    count.copy_from_slice(&[0, 1]);
                }
            }
            let _ = of_message(&bytes, &list);
        }
    }
}
