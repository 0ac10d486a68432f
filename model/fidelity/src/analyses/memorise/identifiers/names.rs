//! Names as messages write them: DNS names with pointers, NetBIOS names, host names as text.
//!
//! A name that the capture length cut is not used, because its part would be found in other names. Names are in lower
//! case, as DNS compares them (RFC 4343). Bytes other than printable ASCII become `\` and three digits (RFC 1035
//! section 5.1).

/// Number of pointers that are followed in one name. A message with more has a loop.
const JUMPS: usize = 16;

/// Longest name, in bytes of its labels (RFC 1035 section 3.1).
const LONGEST: usize = 255;

fn push(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_graphic() || byte == b' ' {
            out.push(byte.to_ascii_lowercase().into());
        } else {
            out.push_str(&format!("\\{byte:03}"));
        }
    }
}

/// The name at `at` of a DNS message and where what follows it begins. `None` if it is cut or in circles.
pub(super) fn dns(message: &[u8], at: usize) -> Option<(String, usize)> {
    let (mut name, mut bytes) = (String::new(), 0);
    let (mut at, mut after, mut jumps) = (at, None, 0);
    loop {
        let length = usize::from(*message.get(at)?);
        match length >> 6 {
            0 if length == 0 => return Some((name, after.unwrap_or(at + 1))),
            0 => {
                let label = message.get(at + 1..at + 1 + length)?;
                bytes += 1 + length;
                if bytes > LONGEST {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                push(&mut name, label);
                at += 1 + length;
            }
            3 => {
                jumps += 1;
                if jumps > JUMPS {
                    return None;
                }
                let low = usize::from(*message.get(at + 1)?);
                after.get_or_insert(at + 2);
                at = (length & 0x3f) << 8 | low;
            }
            _ => return None,
        }
    }
}

/// A NetBIOS name in first-level encoding (RFC 1001 section 14.1) as its 15 characters without padding; `None` for
/// anything else. The 16th character says what the name is for.
pub(super) fn netbios(encoded: &str) -> Option<String> {
    let letters = encoded.split('.').next()?.as_bytes();
    if letters.len() != 32 || !letters.iter().all(|letter| (b'a'..=b'p').contains(letter)) {
        return None;
    }
    let bytes: Vec<u8> =
        letters.chunks_exact(2).map(|pair| (pair[0] - b'a') << 4 | (pair[1] - b'a')).collect();
    // Padding, and the two bytes before __MSBROWSE__, are no part of the name.
    let first = bytes.iter().position(|byte| byte.is_ascii_graphic())?;
    let last = bytes[..15].iter().rposition(|byte| byte.is_ascii_graphic())?;
    let mut name = String::new();
    push(&mut name, bytes.get(first..=last)?);
    Some(name)
}

/// Text that a field holds as a name: without the zeros and spaces around it; `None` if nothing is left.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let blank = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let first = bytes.iter().position(|byte| !blank(byte))?;
    let last = bytes.iter().rposition(|byte| !blank(byte))?;
    let mut name = String::new();
    push(&mut name, &bytes[first..=last]);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_follow_pointers_and_end() {
        let message = b"xx\x03WwW\x06Google\x03com\0\x04mail\xc0\x06\xff";
        assert_eq!(dns(message, 2), Some(("www.google.com".to_owned(), 18)));
        assert_eq!(dns(message, 18), Some(("mail.google.com".to_owned(), 25)));
        assert_eq!(dns(message, 17), Some((String::new(), 18)));
        assert_eq!(dns(message, 25), None); // a pointer cut in the middle
        assert_eq!(dns(b"\x80", 0), None);
        assert_eq!(dns(b"\xc0\x00", 0), None); // points at itself
        assert_eq!(dns(b"\x03ab", 0), None);
        assert_eq!(dns(b"", 0), None);
        assert_eq!(dns(b"\x02a\x01\0", 0), Some(("a\\001".to_owned(), 4)));
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4);
        assert_eq!(dns(&[&long[..], b"\0"].concat(), 0), None);
    }

    #[test]
    fn netbios_names_are_decoded() {
        assert_eq!(netbios("fhepfcelehfcepfffacacacacacacaaa").as_deref(), Some("workgroup"));
        assert_eq!(netbios("abacfpfpenfdecfcepfhfdefpfpacab.x").as_deref(), None); // 31 letters
        assert_eq!(netbios("abacfpfpenfdecfcepfhfdeffpfpacab").as_deref(), Some("__msbrowse__"));
        assert_eq!(netbios("zz"), None);
        assert_eq!(netbios(&"ca".repeat(16)), None); // blanks only
    }

    #[test]
    fn text_is_trimmed() {
        assert_eq!(text(b" iPhone-5\0\0").as_deref(), Some("iphone-5"));
        assert_eq!(text(b"\0 "), None);
        assert_eq!(text(b""), None);
    }
}
