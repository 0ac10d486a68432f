//! Content of TCP streams, each a function of key, direction and offset.
//!
//! A stream is a prologue, its first bytes, and then frames of one size without end. So the byte at any offset is found
//! without looking at those before it, wherever a segment starts.

use crate::rewrite::keys::{Draw, draw};

use super::dns;
use super::keystream::{Keystream, mask};
use super::ports::{Filler, Tcp};
use super::text;

/// The stream of one direction.
#[derive(Debug)]
pub(super) struct Stream {
    prologue: Vec<u8>,
    body: Body,
    key: u64,
    from_opener: bool,
    random: Keystream,
}

#[derive(Debug)]
enum Body {
    /// Random bytes after a head that each frame begins with.
    Records {
        head: Vec<u8>,
        size: u64,
    },
    /// DNS messages of one length, each after its length (RFC 1035 section 4.2.2).
    Dns {
        size: u64,
        last: Option<(u64, Vec<u8>)>,
    },
    Filler(Filler),
}

impl Stream {
    pub(super) fn new(content: Tcp, key: u64, from_opener: bool) -> Stream {
        let random = draw(key, Draw::Payload, u64::from(from_opener), 30);
        let (prologue, body) = match content {
            Tcp::Tls => (Vec::new(), tls_records(random)),
            Tcp::Ssh => (ssh_opening(random), Body::Filler(Filler::Random)),
            Tcp::Http => (http_opening(random, from_opener), Body::Filler(Filler::Masked)),
            Tcp::Dns => {
                let size = if from_opener { 40 + random % 20 } else { 90 + random % 200 };
                (Vec::new(), Body::Dns { size: size + 2, last: None })
            }
            Tcp::Filler(filler) => (Vec::new(), Body::Filler(filler)),
            // The rewriter moves such flows away; a caller that does not gets what unknown ports get.
            Tcp::Unfit => (Vec::new(), Body::Filler(Filler::Masked)),
        };
        Stream { prologue, body, key, from_opener, random: Keystream::new(key) }
    }

    /// Fills `out` with the bytes from `offset` on.
    pub(super) fn fill(&mut self, offset: u64, out: &mut [u8]) {
        let prologue =
            usize::try_from(offset).ok().and_then(|at| self.prologue.get(at..)).unwrap_or_default();
        let len = prologue.len().min(out.len());
        let (head, rest) = out.split_at_mut(len);
        head.copy_from_slice(&prologue[..len]);
        if !rest.is_empty() {
            let at = offset + len as u64 - self.prologue.len() as u64;
            self.fill_body(at, rest);
        }
    }

    fn fill_body(&mut self, at: u64, out: &mut [u8]) {
        let stream = u64::from(self.from_opener);
        match &mut self.body {
            Body::Filler(Filler::Zeros) => out.fill(0),
            Body::Filler(Filler::Ones) => out.fill(0xff),
            Body::Filler(Filler::Text) => text::lines(at, out),
            Body::Filler(Filler::Random) => self.random.fill(stream, at, out),
            Body::Filler(Filler::Masked) => {
                self.random.fill(stream, at, out);
                mask(out);
            }
            Body::Records { head, size } => {
                self.random.fill(stream, at, out);
                overlay(head, *size, at, out);
            }
            Body::Dns { size, last } => {
                let mut done = 0;
                while done < out.len() {
                    let place = at + done as u64;
                    let (number, inside) = (place / *size, (place % *size) as usize);
                    if last.as_ref().is_none_or(|(n, _)| *n != number) {
                        *last = Some((number, dns_frame(self.key, self.from_opener, number, *size)));
                    }
                    let frame = last.as_ref().map_or(&[][..], |(_, frame)| frame);
                    let len = (frame.len() - inside).min(out.len() - done);
                    out[done..done + len].copy_from_slice(&frame[inside..inside + len]);
                    done += len;
                }
            }
        }
    }
}

/// Writes `head` over the start of each frame that `out`, which begins at offset `at`, holds a part of.
fn overlay(head: &[u8], size: u64, at: u64, out: &mut [u8]) {
    let end = at + out.len() as u64;
    let mut frame = at / size * size;
    while frame < end {
        for (i, byte) in head.iter().enumerate() {
            let place = frame + i as u64;
            if place >= at
                && let Some(target) = out.get_mut((place - at) as usize)
            {
                *target = *byte;
            }
        }
        frame += size;
    }
}

/// TLS application data records (RFC 8446 section 5.1), as seen after a handshake.
fn tls_records(random: u64) -> Body {
    let len = 1100 + random % 3000; // a record holds at most 16,384 bytes
    let mut head = vec![23, 3, 3];
    head.extend((len as u16).to_be_bytes());
    Body::Records { head, size: len + 5 }
}

/// Version line, key exchange offer and the change to new keys (RFC 4253 sections 4.2, 7.1, 7.3); what follows
/// is encrypted.
fn ssh_opening(random: u64) -> Vec<u8> {
    let mut offer = vec![20];
    offer.extend(random.to_be_bytes());
    offer.extend(random.rotate_left(29).to_be_bytes());
    const LISTS: [&str; 10] = [
        "curve25519-sha256",
        "ssh-ed25519",
        "aes256-ctr",
        "aes256-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ];
    for list in LISTS {
        offer.extend((list.len() as u32).to_be_bytes());
        offer.extend(list.as_bytes());
    }
    offer.extend([0; 5]);
    let mut out = b"SSH-2.0-OpenSSH_9.6\r\n".to_vec();
    for message in [&offer[..], &[21]] {
        // Padded to a multiple of 8 with at least 4 bytes.
        let padding = 4 + (8 - (5 + message.len() + 4) % 8) % 8;
        out.extend(((1 + message.len() + padding) as u32).to_be_bytes());
        out.push(padding as u8);
        out.extend(message);
        out.extend(std::iter::repeat_n(0, padding));
    }
    out
}

/// The head of one request, or of a response whose body ends with the connection (RFC 9112 section 6.3).
fn http_opening(random: u64, from_opener: bool) -> Vec<u8> {
    if from_opener {
        format!("GET /{random:016x} HTTP/1.1\r\nHost: www.example\r\nAccept: */*\r\n\r\n").into_bytes()
    } else {
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n".to_vec()
    }
}

/// The frame with this number: both directions make the same question for it.
fn dns_frame(key: u64, from_opener: bool, number: u64, size: u64) -> Vec<u8> {
    let len = size as usize - 2; // sizes are below 300
    let wish = |from_opener| dns::Wish {
        flavour: dns::Flavour::Unicast,
        header: None,
        from_opener,
        key,
        ordinal: number,
    };
    let mut memory = dns::Memory::default();
    let mut frame = vec![0; len + 2];
    if !from_opener {
        let asked = 40 + draw(key, Draw::Payload, 1, 30) % 20;
        dns::fill(&wish(true), &mut memory, &mut vec![0; asked as usize]);
    }
    frame[..2].copy_from_slice(&(len as u16).to_be_bytes());
    dns::fill(&wish(from_opener), &mut memory, &mut frame[2..]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_is_a_window_on_the_same_stream() {
        for content in
            [Tcp::Tls, Tcp::Ssh, Tcp::Http, Tcp::Dns, Tcp::Filler(Filler::Masked), Tcp::Filler(Filler::Text)]
        {
            for from_opener in [true, false] {
                let mut stream = Stream::new(content, 5, from_opener);
                let mut whole = vec![0; 9000];
                stream.fill(0, &mut whole);
                for (from, len) in [(0, 3), (1, 1), (3, 40), (2000, 3000), (20, 1460), (8999, 1), (77, 5)] {
                    let mut part = vec![0; len];
                    stream.fill(from as u64, &mut part);
                    assert_eq!(part, whole[from..from + len], "{content:?} {from}+{len}");
                }
            }
        }
    }

    #[test]
    fn the_two_sides_of_a_dns_stream_speak_of_the_same_names() {
        let frames = |from_opener| -> Vec<Vec<u8>> {
            let mut stream = Stream::new(Tcp::Dns, 11, from_opener);
            let mut bytes = vec![0; 2000];
            stream.fill(0, &mut bytes);
            let (mut at, mut out) = (0, Vec::new());
            while out.len() < 3 {
                let len = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
                out.push(bytes[at + 2..at + 2 + len].to_vec());
                at += 2 + len;
            }
            out
        };
        for (query, answer) in frames(true).iter().zip(frames(false)) {
            assert_eq!(query[..2], answer[..2]);
            assert_eq!(query[12..], answer[12..query.len()], "question");
        }
    }
}
