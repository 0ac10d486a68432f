//! Content that is text: SSDP messages, and lines without meaning.

use crate::rewrite::keys::{Draw, draw};

/// What the lines say.
const LINE: &[u8] = b"synthetic payload of netssmd; no meaning\r\n";

/// Fills `out` with the lines' bytes from `offset` on.
pub(super) fn lines(offset: u64, out: &mut [u8]) {
    let start = (offset % LINE.len() as u64) as usize;
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = LINE[(start + i) % LINE.len()];
    }
}

/// Fills `out` with an SSDP message (UPnP device architecture 1.1) of exactly its length; what is too short for one gets
/// its beginning.
pub(super) fn ssdp(key: u64, ordinal: u64, from_opener: bool, out: &mut [u8]) {
    let device = draw(key, Draw::Payload, 0, 20);
    let head = match (from_opener, out.len() < 200) {
        (true, true) => "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\nST: ssdp:all\r\n".to_owned(),
        (true, false) => format!(
            "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nUSN: uuid:{device:016x}\r\n"
        ),
        (false, _) => format!(
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nST: ssdp:all\r\nUSN: uuid:{device:016x}-{ordinal}\r\n"
        ),
    };
    const PAD: &[u8] = b"X-PAD: ";
    const END: &[u8] = b"\r\n\r\n";
    out.fill(b'-');
    let head = head.as_bytes();
    let len = head.len().min(out.len());
    out[..len].copy_from_slice(&head[..len]);
    let Some(rest) = out.get_mut(len..) else { return };
    let pad = PAD.len().min(rest.len());
    rest[..pad].copy_from_slice(&PAD[..pad]);
    if rest.len() >= PAD.len() + END.len() {
        let end = rest.len() - END.len();
        rest[end..].copy_from_slice(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_a_function_of_the_offset() {
        let (mut whole, mut part) = ([0; 200], [0; 50]);
        lines(0, &mut whole);
        lines(33, &mut part);
        assert_eq!(whole[33..83], part);
    }

    #[test]
    fn ssdp_messages_end_at_their_end() {
        for len in 0..400 {
            for from_opener in [true, false] {
                let mut out = vec![0; len];
                ssdp(1, 2, from_opener, &mut out);
                if len > 250 {
                    assert!(out.ends_with(b"\r\n\r\n") && out.is_ascii());
                }
            }
        }
    }
}
