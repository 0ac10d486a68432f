//! Content that is text: SSDP messages, and lines without meaning.

use std::net::SocketAddr;

use super::{Datagram, FlowFacts};
use crate::draw::{Draw, draw};

/// What the lines say.
const LINE: &[u8] = b"synthetic payload of netssmd; no meaning\r\n";

/// Fills `out` with the lines' bytes from `offset` on.
pub(super) fn lines(offset: u64, out: &mut [u8]) {
    let start = (offset % LINE.len() as u64) as usize;
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = LINE[(start + i) % LINE.len()];
    }
}

/// Shortest SSDP message made.
pub(super) const SSDP_LEAST: usize = 28;

/// Fills `out`, of at least [`SSDP_LEAST`] bytes, with an SSDP message (UPnP device architecture 1.1) of exactly
/// its length: as many header lines as there is room for, and a last one that takes the rest.
pub(super) fn ssdp(facts: &FlowFacts, datagram: &Datagram<'_>, out: &mut [u8]) {
    let device = draw(facts.seed, Draw::Payload, 0, 20);
    let host = SocketAddr::new(facts.initiator.dst, facts.initiator.dst_port);
    let lines = match (datagram.from_initiator, out.len() < 200) {
        (true, true) => [
            "M-SEARCH * HTTP/1.1\r\n".to_owned(),
            format!("HOST: {host}\r\n"),
            "MAN: \"ssdp:discover\"\r\n".to_owned(),
            "MX: 2\r\n".to_owned(),
            "ST: ssdp:all\r\n".to_owned(),
        ],
        (true, false) => [
            "NOTIFY * HTTP/1.1\r\n".to_owned(),
            format!("HOST: {host}\r\n"),
            "CACHE-CONTROL: max-age=1800\r\n".to_owned(),
            "NT: upnp:rootdevice\r\nNTS: ssdp:alive\r\n".to_owned(),
            format!("USN: uuid:{device:016x}\r\n"),
        ],
        (false, _) => [
            "HTTP/1.1 200 OK\r\n".to_owned(),
            "CACHE-CONTROL: max-age=1800\r\n".to_owned(),
            "EXT:\r\n".to_owned(),
            "ST: ssdp:all\r\n".to_owned(),
            format!("USN: uuid:{device:016x}\r\n"),
        ],
    };
    // The last line and the empty one.
    const PAD: &[u8] = b"X: ";
    const END: &[u8] = b"\r\n\r\n";
    out.fill(b'-');
    let mut at = 0;
    for line in lines {
        if at + line.len() + PAD.len() + END.len() > out.len() {
            break;
        }
        out[at..at + line.len()].copy_from_slice(line.as_bytes());
        at += line.len();
    }
    out[at..at + PAD.len()].copy_from_slice(PAD);
    let end = out.len() - END.len();
    out[end..].copy_from_slice(END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::FlowShape;
    use netssm_wire::MacAddr;
    use netssm_wire::flow::FiveTuple;

    #[test]
    fn lines_are_a_function_of_the_offset() {
        let (mut whole, mut part) = ([0; 200], [0; 50]);
        lines(0, &mut whole);
        lines(33, &mut part);
        assert_eq!(whole[33..83], part);
    }

    #[test]
    fn ssdp_messages_are_lines_to_their_end() {
        let initiator = FiveTuple {
            src: [10, 0, 0, 1].into(),
            dst: [239, 255, 255, 250].into(),
            src_port: 50_000,
            dst_port: 1900,
            protocol: 17,
        };
        let shape = FlowShape { least_payload: None, orderly: true };
        let facts = FlowFacts { seed: 1, initiator, shape, label: "test".into() };
        for len in SSDP_LEAST..400 {
            for from_initiator in [true, false] {
                let (sender, receiver) = (MacAddr::ZERO, MacAddr::ZERO);
                let mut out = vec![0; len];
                ssdp(
                    &facts,
                    &Datagram { from_initiator, ordinal: 2, prefix: &[], sender, receiver },
                    &mut out,
                );
                let text = String::from_utf8(out).unwrap();
                let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
                assert!(lines[0].contains("HTTP/1.1"), "{text:?}");
                assert!(lines[1..].iter().all(|line| line.contains(':')), "{text:?}");
            }
        }
    }
}
