//! Content of TCP flows.
//!
//! Most ports get a filler, which is a function of the offset in the stream. Framed protocols get **one message
//! for each segment**: the first time that a range of the stream is sent, it becomes a record or message of
//! exactly that length, and the [`Pieces`] of a direction remember where each began. So a retransmission repeats
//! its bytes however it is cut, and no analyser has to put messages together from segments, which Wireshark gives
//! up on (and calls malformed) when a retransmission straddles the end of a message.

use std::collections::BTreeMap;

use crate::draw::{Draw, draw};

use super::dns;
use super::keystream::{Keystream, mask};
use super::ports::{Filler, Tcp};
use super::{Datagram, FlowPayload, text};

/// A TCP flow.
#[derive(Debug)]
pub(super) struct Streams {
    content: Tcp,
    key: u64,
    /// The initiator's direction, then the responder's.
    ways: [Way; 2],
    asked: dns::Memory,
}

/// One direction.
#[derive(Debug)]
struct Way {
    from_initiator: bool,
    random: Keystream,
    pieces: Pieces,
}

/// Where the messages of a direction are, by their start.
#[derive(Debug, Default)]
struct Pieces {
    list: BTreeMap<u64, Piece>,
}

#[derive(Debug)]
struct Piece {
    end: u64,
    /// Number of the message in its direction.
    number: u64,
    /// The bytes, where they cannot be made again from the place alone.
    bytes: Vec<u8>,
}

impl Streams {
    pub(super) fn new(content: Tcp, key: u64) -> Streams {
        let way =
            |from_initiator| Way { from_initiator, random: Keystream::new(key), pieces: Pieces::default() };
        Streams { content, key, ways: [way(true), way(false)], asked: dns::Memory::default() }
    }
}

impl FlowPayload for Streams {
    fn stream(&mut self, from_initiator: bool, offset: u64, out: &mut [u8]) {
        let way = &mut self.ways[usize::from(!from_initiator)];
        match self.content {
            Tcp::Filler(filler) => way.filler(filler, offset, out),
            // The rewriter moves such flows away; a caller that does not gets what unknown ports get.
            Tcp::Unfit => way.filler(Filler::Masked, offset, out),
            Tcp::Tls | Tcp::Http | Tcp::Ssh | Tcp::Dns => {
                way.framed(self.content, self.key, &mut self.asked, offset, out)
            }
        }
    }

    /// TCP has no datagrams; a caller that has them gets the stream's start.
    fn datagram(&mut self, datagram: &Datagram<'_>, out: &mut [u8]) {
        self.stream(datagram.from_initiator, 0, out);
    }
}

impl Way {
    fn filler(&mut self, filler: Filler, offset: u64, out: &mut [u8]) {
        match filler {
            Filler::Zeros => out.fill(0),
            Filler::Ones => out.fill(0xff),
            Filler::Text => text::lines(offset, out),
            Filler::Random => self.random.fill(u64::from(self.from_initiator), offset, out),
            Filler::Masked => {
                self.random.fill(u64::from(self.from_initiator), offset, out);
                mask(out);
            }
        }
    }

    /// Fills a range from the messages that it lies in, and makes new ones where nothing was sent before.
    fn framed(&mut self, content: Tcp, key: u64, asked: &mut dns::Memory, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        let mut at = offset;
        while at < end {
            let known = self.pieces.list.range(..=at).next_back().filter(|(_, piece)| piece.end > at);
            let (start, stop, number) = match known {
                Some((start, piece)) => (*start, piece.end, piece.number),
                None => {
                    let next = self.pieces.list.range(at..).next().map_or(u64::MAX, |(start, _)| *start);
                    let (stop, number) = (end.min(next), self.pieces.list.len() as u64);
                    let bytes = match content {
                        Tcp::Dns => self.dns(key, asked, number, (stop - at) as usize), // within `out`
                        _ => Vec::new(),
                    };
                    self.pieces.list.insert(at, Piece { end: stop, number, bytes });
                    (at, stop, number)
                }
            };
            let upto = stop.min(end);
            let part = &mut out[(at - offset) as usize..(upto - offset) as usize];
            let inside = (at - start) as usize..(upto - start) as usize; // a message is as long as a segment
            match content {
                Tcp::Dns => {
                    if let Some(piece) = self.pieces.list.get(&start) {
                        part.copy_from_slice(&piece.bytes[inside]);
                    }
                }
                // Usually a segment is one new message, made in place.
                _ if inside.start == 0 && upto == stop => self.message(content, key, start, number, part),
                _ => {
                    let mut whole = vec![0; (stop - start) as usize];
                    self.message(content, key, start, number, &mut whole);
                    part.copy_from_slice(&whole[inside]);
                }
            }
            at = upto;
        }
    }

    fn message(&mut self, content: Tcp, key: u64, start: u64, number: u64, out: &mut [u8]) {
        self.filler(Filler::Random, start, out);
        match (content, self.from_initiator) {
            (Tcp::Tls, _) => tls_records(out),
            (Tcp::Ssh, _) => ssh_packets(number == 0, out),
            (_, true) => http_request(draw(key, Draw::Payload, number, 31), out),
            (_, false) => {
                mask(out);
                if number == 0 {
                    http_response(out);
                }
            }
        }
    }

    /// A DNS message after its length (RFC 1035 section 4.2.2). The answer with a number repeats the question
    /// with it.
    fn dns(&self, key: u64, asked: &mut dns::Memory, number: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        let Some(size) =
            len.checked_sub(2).filter(|size| (dns::HEADER..=usize::from(u16::MAX)).contains(size))
        else {
            // No message fits; ports whose segments are so short are moved (`Builtin::fits`).
            out.fill(0xff);
            return out;
        };
        out[..2].copy_from_slice(&(size as u16).to_be_bytes()); // filtered to fit
        let (flavour, from_initiator) = (dns::Flavour::Unicast, self.from_initiator);
        let wish = dns::Wish { flavour, header: None, from_initiator, key, ordinal: number };
        dns::fill(&wish, asked, &mut out[2..]);
        out
    }
}

/// TLS application data records (RFC 8446 section 5.1), as seen after a handshake, over random bytes.
fn tls_records(mut out: &mut [u8]) {
    const HEAD: usize = 5;
    const LONGEST: usize = 1 << 14;
    while out.len() > HEAD {
        let mut size = (out.len() - HEAD).min(LONGEST);
        // The rest must hold a record too.
        if (1..=HEAD).contains(&(out.len() - HEAD - size)) {
            size -= HEAD;
        }
        let (record, rest) = out.split_at_mut(HEAD + size);
        let [high, low] = (size as u16).to_be_bytes(); // at most 16,384
        record[..HEAD].copy_from_slice(&[23, 3, 3, high, low]);
        out = rest;
    }
    // Too short for a record.
    mask(out);
}

/// One request (RFC 9112), with a body where there is room for its head.
fn http_request(random: u64, out: &mut [u8]) {
    let head = |body: usize| {
        format!("POST /{random:016x} HTTP/1.1\r\nHost: www.example\r\nContent-Length: {body:05}\r\n\r\n")
    };
    let len = head(0).len();
    const START: &[u8] = b"GET /";
    const END: &[u8] = b" HTTP/1.1\r\n\r\n";
    mask(out);
    if out.len() >= len {
        let body = out.len() - len; // of five digits: a segment is shorter than 65,536 bytes
        out[..len].copy_from_slice(head(body).as_bytes());
    } else if let Some(name) = out.len().checked_sub(START.len() + END.len()) {
        out.fill(b'a' + (random % 26) as u8);
        out[..START.len()].copy_from_slice(START);
        out[START.len() + name..].copy_from_slice(END);
    }
}

/// The head of the response that everything after it is the body of. No capture holds its announced end, so that no
/// analyser waits for more than it can keep, nor takes what follows for another response.
fn http_response(out: &mut [u8]) {
    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000000000\r\n\r\n";
    if out.len() >= HEAD.len() {
        out[..HEAD.len()].copy_from_slice(HEAD);
    }
}

/// Shortest segment of an SSH flow: a packet with nothing in it.
pub(super) const SSH_LEAST: usize = 14;

/// A version line, if this is the first message (RFC 4253 section 4.2), and packets that the receiver ignores
/// (section 11.2) over random bytes.
fn ssh_packets(first: bool, mut out: &mut [u8]) {
    const VERSION: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";
    const IGNORE: u8 = 2;
    const PADDING: u8 = 4;
    /// What every receiver takes (section 6.1).
    const LONGEST: usize = 32_768;
    if first && (out.len() < VERSION.len() || out.len() >= VERSION.len() + SSH_LEAST) {
        let len = VERSION.len().min(out.len());
        let (line, rest) = out.split_at_mut(len);
        line.copy_from_slice(&VERSION[..len]);
        if let [.., a, b] = line {
            (*a, *b) = (b'\r', b'\n');
        }
        out = rest;
    } else if first {
        // The line takes it all.
        out.fill(b'x');
        out[..VERSION.len() - 2].copy_from_slice(&VERSION[..VERSION.len() - 2]);
        let end = out.len() - 2;
        out[end..].copy_from_slice(b"\r\n");
        return;
    }
    while out.len() >= SSH_LEAST {
        let mut len = out.len().min(LONGEST);
        if (1..SSH_LEAST).contains(&(out.len() - len)) {
            len -= SSH_LEAST;
        }
        let (packet, rest) = out.split_at_mut(len);
        packet[..4].copy_from_slice(&((len - 4) as u32).to_be_bytes()); // at most LONGEST
        packet[4..6].copy_from_slice(&[PADDING, IGNORE]);
        packet[6..10].copy_from_slice(&((len - SSH_LEAST) as u32).to_be_bytes());
        out = rest;
    }
    mask(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENTS: [Tcp; 6] =
        [Tcp::Tls, Tcp::Ssh, Tcp::Http, Tcp::Dns, Tcp::Filler(Filler::Masked), Tcp::Filler(Filler::Text)];

    #[test]
    fn what_was_sent_is_sent_again_however_it_is_cut() {
        for content in CONTENTS {
            for from_initiator in [true, false] {
                let mut streams = Streams::new(content, 5);
                let mut sent = vec![0; 9000];
                // Out of order, with a gap that is filled by a segment which overlaps both sides.
                for (from, to) in
                    [(0, 300), (300, 1760), (3000, 4460), (1700, 3100), (4460, 4461), (4461, 9000)]
                {
                    let mut segment = vec![0; to - from];
                    streams.stream(from_initiator, from as u64, &mut segment);
                    for (at, byte) in (from..to).zip(segment) {
                        assert!(
                            sent[at] == 0 || sent[at] == byte,
                            "{content:?} {from}..{to} differs at {at}"
                        );
                        sent[at] = byte;
                    }
                }
                for (from, len) in [(0, 3), (1, 1), (3, 40), (1999, 3000), (20, 1460), (8999, 1), (77, 5)] {
                    let mut again = vec![0; len];
                    streams.stream(from_initiator, from as u64, &mut again);
                    assert_eq!(again, sent[from..from + len], "{content:?} {from}+{len}");
                }
            }
        }
    }

    #[test]
    fn tls_segments_are_whole_records() {
        for len in [1, 5, 6, 7, 517, 1460, 16_389, 16_390, 16_394, 16_395, 60_000] {
            let mut streams = Streams::new(Tcp::Tls, 5);
            let mut out = vec![0; len];
            streams.stream(true, 0, &mut out);
            let mut at = 0;
            while at + 5 < len {
                assert_eq!(out[at..at + 3], [23, 3, 3], "{len} at {at}");
                let size = usize::from(u16::from_be_bytes([out[at + 3], out[at + 4]]));
                assert!((1..=1 << 14).contains(&size));
                at += 5 + size;
            }
            assert!(at == len || len <= 5, "{len}: ends at {at}");
        }
    }

    #[test]
    fn ssh_segments_are_a_line_and_whole_packets() {
        for len in (SSH_LEAST..200).chain([32_767, 32_768, 32_769, 32_781, 32_782, 60_000]) {
            let mut streams = Streams::new(Tcp::Ssh, 5);
            for first in [true, false] {
                let mut out = vec![0; len];
                streams.stream(true, if first { 0 } else { 70_000 }, &mut out);
                let line = if first {
                    out.windows(2).position(|w| w == b"\r\n").map(|at| at + 2).unwrap()
                } else {
                    0
                };
                assert_eq!(out.starts_with(b"SSH-2.0-Ope"), first);
                let mut at = line;
                while at < len {
                    let size = u32::from_be_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]) as usize;
                    let text =
                        u32::from_be_bytes([out[at + 6], out[at + 7], out[at + 8], out[at + 9]]) as usize;
                    assert_eq!((out[at + 4], out[at + 5], text + 10), (4, 2, size), "{len}");
                    at += 4 + size;
                }
                assert_eq!(at, len);
            }
        }
    }

    #[test]
    fn http_messages_have_the_length_that_they_say() {
        for len in 18..3000 {
            let mut streams = Streams::new(Tcp::Http, 5);
            let mut out = vec![0; len];
            streams.stream(true, 0, &mut out);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let said = head.rsplit_once("Content-Length: ").map_or(0, |(_, n)| n.parse().unwrap());
            assert_eq!(body.len(), said, "{len}");
        }
    }

    #[test]
    fn a_dns_answer_over_tcp_repeats_its_question() {
        let mut streams = Streams::new(Tcp::Dns, 11);
        let (mut query, mut answer) = ([0; 45], [0; 120]);
        for start in [0, 1000] {
            streams.stream(true, start, &mut query);
            streams.stream(false, start, &mut answer);
            assert_eq!((query[..2].to_vec(), answer[..2].to_vec()), (vec![0, 43], vec![0, 118]));
            assert_eq!(query[2..4], answer[2..4], "identifier");
            assert_eq!(query[14..], answer[14..45], "question");
        }
    }
}
