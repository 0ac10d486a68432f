//! Names for DNS messages: of exactly a given length, under the domains that are reserved for examples.

use crate::draw::{Draw, draw};

/// A name of letters whose encoding takes `len` bytes.
pub(super) fn domain_name(random: u64, len: usize) -> Option<Vec<u8>> {
    let long: &[u8] = if random & 1 == 0 { b"\x07example\0" } else { b"\x07invalid\0" };
    // A label takes two bytes or more; the shorter domain serves where one would be left.
    let domain = [long, b"\x04test\0"].into_iter().find(|d| len >= d.len() && len - d.len() != 1)?;
    if len > 255 {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut left = len - domain.len();
    let mut number = 0;
    while left > 0 {
        // Labels of at most 63 bytes; usual ones are shorter. One byte must not be left over.
        let usual = 4 + (draw(random, Draw::Payload, number, 14) % 12) as usize;
        let size = match left - 1 {
            last if last <= usual => last,
            more if more == usual + 1 => usual - 1,
            _ => usual,
        };
        out.push(size as u8);
        out.extend((0..size as u64).map(|i| b'a' + (draw(random, Draw::Payload, number, 15 + i) % 26) as u8));
        left -= 1 + size;
        number += 1;
    }
    out.extend(domain);
    Some(out)
}

/// Bytes of an encoded NetBIOS name: a label of 32 and the root.
pub(super) const NETBIOS_NAME: usize = 34;

/// A first-level encoded NetBIOS name (RFC 1001 section 14.1): each of 16 bytes as two letters from `A`.
pub(super) fn netbios_name(random: u64) -> Vec<u8> {
    let mut name = *b"WORKSTATION     ";
    for (i, place) in name[11..15].iter_mut().enumerate() {
        *place = b'0' + (draw(random, Draw::Payload, i as u64, 16) % 10) as u8;
    }
    name[15] = 0; // a workstation
    let mut out = vec![32];
    out.extend(name.iter().flat_map(|byte| [b'A' + (byte >> 4), b'A' + (byte & 15)]));
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_exactly_their_length() {
        for len in 0..300 {
            for random in 0..20 {
                match domain_name(random, len) {
                    Some(name) => {
                        assert_eq!(name.len(), len);
                        let text = String::from_utf8_lossy(&name).into_owned();
                        assert!(
                            ["example\0", "invalid\0", "test\0"].iter().any(|d| text.ends_with(d)),
                            "{text:?}"
                        );
                    }
                    None => assert!(!(9..=255).contains(&len), "{len}"),
                }
            }
        }
    }
}
