//! DNS messages (RFC 1035) of exactly a given length: unicast DNS, multicast DNS, LLMNR, and NetBIOS names.
//!
//! Every length from 12 bytes on has a well-formed message. The question takes what names allow, records take the
//! rest, a query's rest goes into an OPT record with padding (RFC 7830), and lengths that nothing fits are a
//! header with zero counts and zeros after it, which parsers skip. Names end in `example.`, `invalid.` or `test.`
//! (RFC 2606, 6761).
//!
//! Of the header that the session's model made, the identifier (moved by a key of the flow's session), the response
//! bit, the legal flags and the wish for a number of answers are used; counts say what the message has.

use std::collections::VecDeque;

use super::names::{NETBIOS_NAME, domain_name, netbios_name};
use crate::draw::{Draw, draw};

/// Bytes of the fixed header.
pub(super) const HEADER: usize = 12;
/// Type and class after a question's name.
const QUESTION_TAIL: usize = 4;
/// A record with a compressed owner: pointer, type, class, time to live, length.
const RECORD: usize = 12;
/// An OPT record without options, and the head of an option in it.
const OPT: usize = 11;
const OPTION: usize = 4;

mod kind {
    pub(super) const A: u16 = 1;
    pub(super) const TXT: u16 = 16;
    pub(super) const AAAA: u16 = 28;
    pub(super) const NETBIOS: u16 = 32;
    pub(super) const OPT: u16 = 41;
}

/// Which protocol of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Port 53.
    Unicast,
    /// Port 5353 (RFC 6762) and 5355 (RFC 4795).
    Multicast,
    /// Port 137 (RFC 1002).
    NetBios,
}

/// The questions that a flow asked last, so that an answer repeats its own.
#[derive(Debug, Default)]
pub(super) struct Memory {
    asked: VecDeque<(u16, Vec<u8>)>,
}

/// As many queries as a resolver usually has under way on one port.
const REMEMBERED: usize = 8;

/// Flags.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const RESERVED: u16 = 0x0040;
const CODE: u16 = 0x000f;
const NAME_ERROR: u16 = 3;

/// What a message is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) flavour: Flavour,
    /// The model's header, if it made one.
    pub(super) header: Option<&'a [u8; HEADER]>,
    /// Whether the flow's initiator sends it.
    pub(super) from_initiator: bool,
    /// Key of the flow.
    pub(super) key: u64,
    /// Number of the message in its direction.
    pub(super) ordinal: u64,
}

impl Wish<'_> {
    fn word(&self, at: usize) -> Option<u16> {
        self.header.map(|h| u16::from_be_bytes([h[at], h[at + 1]]))
    }

    /// The identifier: the model's counts from 1 in canonical sessions, so it is moved, one to one and 0 to 0.
    fn id(&self) -> u16 {
        let key = draw(self.key, Draw::Payload, 0, 10) as u16 | 1;
        match (self.word(0), self.flavour) {
            (Some(0), _) => 0,
            (Some(id), _) => {
                if id == key {
                    key
                } else {
                    id ^ key
                }
            }
            (None, Flavour::Multicast) => 0,
            (None, _) => (key as u64 ^ self.ordinal.wrapping_add(1)) as u16,
        }
    }

    fn flags(&self) -> u16 {
        let response = match (self.flavour, self.word(2)) {
            // Who serves is known from the port; multicast peers are equal.
            (Flavour::Unicast, _) | (_, None) => !self.from_initiator,
            (_, Some(flags)) => flags & RESPONSE != 0,
        };
        let default = if self.flavour == Flavour::Unicast { RECURSION_DESIRED } else { 0 };
        let wished = self.word(2).unwrap_or(default) & !(RESPONSE | OPCODE | RESERVED | TRUNCATED | CODE);
        match (response, self.flavour) {
            (true, Flavour::Unicast) => wished | RESPONSE | RECURSION_AVAILABLE,
            (true, _) => wished | RESPONSE | AUTHORITATIVE,
            (false, _) => wished & !(AUTHORITATIVE | RECURSION_AVAILABLE),
        }
    }
}

/// Fills `out` with a message. `out` must have 12 bytes or more.
pub(super) fn fill(wish: &Wish<'_>, memory: &mut Memory, out: &mut [u8]) {
    out.fill(0);
    let (id, mut flags) = (wish.id(), wish.flags());
    let mut message = Message { out, at: HEADER, counts: [0; 4] };
    let is_response = flags & RESPONSE != 0;
    let asked = if is_response {
        message.answer(wish, memory.asked.iter().rev().find(|(other, _)| *other == id).map(|(_, q)| &**q));
        if message.counts[1] == 0 && wish.flavour == Flavour::Unicast {
            flags |= NAME_ERROR;
        }
        None
    } else {
        message.ask(wish)
    };
    let Message { counts, .. } = message;
    if let Some(question) = asked {
        if memory.asked.len() == REMEMBERED {
            memory.asked.pop_front();
        }
        memory.asked.push_back((id, question));
    }
    out[..2].copy_from_slice(&id.to_be_bytes());
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    for (count, place) in counts.iter().zip(out[4..HEADER].chunks_exact_mut(2)) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}

/// A message under construction.
struct Message<'a> {
    out: &'a mut [u8],
    at: usize,
    /// Questions, answers, authorities, additional records.
    counts: [u16; 4],
}

impl Message<'_> {
    fn room(&self) -> usize {
        self.out.len() - self.at
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn question(&mut self, question: &[u8]) {
        self.put(question);
        self.counts[0] += 1;
    }

    /// A query that fills the message; gives the question that was asked.
    fn ask(&mut self, wish: &Wish<'_>) -> Option<Vec<u8>> {
        let room = self.room();
        let padded = |name: usize| room.checked_sub(name + QUESTION_TAIL);
        let usual = 12 + (draw(wish.key, Draw::Payload, wish.ordinal, 11) % 20) as usize;
        let wants_opt =
            wish.flavour == Flavour::Unicast && wish.word(10).is_some_and(|additional| additional > 0);
        // The whole room is the name; or the name, and an OPT record without options; or a usual name, and the rest
        // in one record.
        let exact = padded(0).filter(|len| *len <= 120);
        let with_opt = padded(OPT).filter(|len| wants_opt && *len <= 120);
        let candidates = match wish.flavour {
            Flavour::NetBios => [Some(NETBIOS_NAME), None, None],
            _ => [with_opt, exact, Some(usual)],
        };
        let question = candidates.into_iter().flatten().find_map(|len| {
            let rest = padded(len)?;
            let fits = match wish.flavour {
                Flavour::Unicast => rest == 0 || rest == OPT || rest >= OPT + OPTION,
                Flavour::Multicast => rest == 0 || rest > RECORD,
                Flavour::NetBios => rest == 0 || rest > RECORD,
            };
            if fits { question(wish, len) } else { None }
        })?;
        self.question(&question);
        match (self.room(), wish.flavour) {
            (0, _) => {}
            (_, Flavour::Unicast) => self.opt(),
            // Multicast DNS lists the answers that it knows.
            _ => self.records(wish, 1),
        }
        Some(question)
    }

    /// A response that fills the message, with the question if there is room for it.
    fn answer(&mut self, wish: &Wish<'_>, asked: Option<&[u8]>) {
        let room = self.room();
        let fits = |question: &Vec<u8>| {
            let rest = room.checked_sub(question.len());
            rest.is_some_and(|rest| rest == 0 || rest == OPT || rest > RECORD)
        };
        let own = || {
            // Without a remembered question: one as long as such a message usually has.
            let usual = 12 + (draw(wish.key, Draw::Payload, wish.ordinal, 12) % 20) as usize;
            match wish.flavour {
                Flavour::NetBios => question(wish, NETBIOS_NAME).filter(fits),
                _ => [usual, 15, room.saturating_sub(QUESTION_TAIL)]
                    .into_iter()
                    .filter_map(|len| question(wish, len))
                    .find(fits),
            }
        };
        let Some(question) = asked.map(<[u8]>::to_vec).filter(fits).or_else(own) else {
            return self.bare_record();
        };
        self.question(&question);
        match self.room() {
            0 => {}
            OPT => self.opt(),
            _ => {
                let wished = usize::from(wish.word(6).unwrap_or(1)).max(1);
                self.records(wish, wished);
            }
        }
    }

    /// Fills the room, of more than [`RECORD`] bytes, with about `wished` records about the question's name.
    fn records(&mut self, wish: &Wish<'_>, wished: usize) {
        let tail = usize::from(u16::from_be_bytes([self.out[self.at - 4], self.out[self.at - 3]]));
        let (kind, size): (u16, usize) =
            if tail == usize::from(kind::AAAA) { (kind::AAAA, 16) } else { (kind::A, 4) };
        for number in 0..wished {
            let left = self.room();
            // Whole addresses as long as one more record fits after them.
            if left != RECORD + size && left < 2 * RECORD + size + 1 {
                break;
            }
            if number + 1 == wished && left != RECORD + size {
                break;
            }
            let random = draw(wish.key, Draw::Payload, wish.ordinal, 100 + number as u64).to_be_bytes();
            // 198.51.100.0/24 and 2001:db8::/32 are for documentation (RFC 5737, 3849).
            let address: [u8; 16] = match size {
                4 => [198, 51, 100, random[0], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                _ => {
                    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, random[0], random[1], random[2], random[3], 0, 0, 0, 1]
                }
            };
            self.record(kind, &address[..size]);
            if self.room() == 0 {
                return;
            }
        }
        let len = self.room() - RECORD;
        let text = character_strings(len);
        match wish.flavour {
            // A node status of unknown length would be parsed; a null record is skipped.
            Flavour::NetBios => self.record(10, &text),
            _ => self.record(kind::TXT, &text),
        }
    }

    fn record(&mut self, kind: u16, data: &[u8]) {
        self.put(&[0xc0, HEADER as u8]); // the name at offset 12
        self.put(&kind.to_be_bytes());
        self.put(&[0, 1, 0, 0, 1, 44]); // Internet, 300 seconds
        self.put(&(data.len() as u16).to_be_bytes()); // a datagram is shorter than 65,536 bytes
        self.put(data);
        self.counts[1] += 1;
    }

    /// An OPT record that takes the room, which is 11 bytes or at least 15.
    fn opt(&mut self) {
        let data = self.room() - OPT;
        self.put(&[0]);
        self.put(&kind::OPT.to_be_bytes());
        self.put(&[0x10, 0, 0, 0, 0, 0]); // 4096 bytes accepted, no extended code
        self.put(&(data as u16).to_be_bytes());
        if data > 0 {
            const PADDING: u16 = 12;
            self.put(&PADDING.to_be_bytes());
            self.put(&((data - OPTION) as u16).to_be_bytes());
            self.at = self.out.len(); // the padding itself is zeros
        }
        self.counts[3] += 1;
    }

    /// A response without question: one record about the root, if it fits.
    fn bare_record(&mut self) {
        const ROOT_RECORD: usize = 11;
        if self.room() > ROOT_RECORD {
            let data = self.room() - ROOT_RECORD;
            self.put(&[0]);
            self.put(&kind::TXT.to_be_bytes());
            self.put(&[0, 1, 0, 0, 1, 44]);
            self.put(&(data as u16).to_be_bytes());
            self.put(&character_strings(data));
            self.counts[1] += 1;
        }
    }
}

/// Strings with their length bytes, `len` bytes in all, at least 1.
fn character_strings(len: usize) -> Vec<u8> {
    let mut out = vec![b'x'; len];
    let mut at = 0;
    while at < len {
        let size = (len - at - 1).min(255);
        out[at] = size as u8; // at most 255
        at += 1 + size;
    }
    out
}

/// A question whose encoded name takes `name` bytes; `None` where no name under the reserved domains does.
fn question(wish: &Wish<'_>, name: usize) -> Option<Vec<u8>> {
    let random = draw(wish.key, Draw::Payload, wish.ordinal, 13);
    let mut out = match wish.flavour {
        Flavour::NetBios => netbios_name(random),
        _ => domain_name(random, name)?,
    };
    let kind = match (wish.flavour, random >> 62) {
        (Flavour::NetBios, _) => kind::NETBIOS,
        (_, 0) => kind::AAAA,
        _ => kind::A,
    };
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a message back by RFC 1035, and gives its counts and its first question.
    fn read(message: &[u8]) -> Result<([u16; 4], Vec<u8>), String> {
        let word = |at: usize| -> Result<u16, String> {
            let bytes = message.get(at..at + 2).ok_or(format!("ends at {at}"))?;
            Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        let name_end = |mut at: usize| -> Result<usize, String> {
            let mut total = 0;
            loop {
                match *message.get(at).ok_or("name ends")? {
                    0 => return Ok(at + 1),
                    p if p & 0xc0 == 0xc0 => return Ok(at + 2),
                    n if n < 64 => (at, total) = (at + 1 + usize::from(n), total + 1 + n),
                    n => return Err(format!("label of {n}")),
                }
                if total > 254 {
                    return Err("name too long".into());
                }
            }
        };
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        let mut at = HEADER;
        let mut first = Vec::new();
        for i in 0..counts[0] {
            let end = name_end(at)? + 4;
            if i == 0 {
                first = message.get(at..end).ok_or("question ends")?.to_vec();
            }
            at = end;
        }
        for _ in 0..counts[1] + counts[2] + counts[3] {
            at = name_end(at)? + 8;
            at += 2 + usize::from(word(at)?);
        }
        if counts != [0; 4] && at != message.len() {
            return Err(format!("{counts:?} end at {at} of {}", message.len()));
        }
        Ok((counts, first))
    }

    fn wish(flavour: Flavour, header: Option<&[u8; 12]>, from_initiator: bool, ordinal: u64) -> Wish<'_> {
        Wish { flavour, header, from_initiator, key: 77, ordinal }
    }

    #[test]
    fn every_length_is_well_formed() {
        let asks = [0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let answers = [0, 9, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0];
        for flavour in [Flavour::Unicast, Flavour::Multicast, Flavour::NetBios] {
            for header in [None, Some(&asks), Some(&answers), Some(&[0xff; 12])] {
                for from_initiator in [true, false] {
                    let mut full = 0;
                    for len in HEADER..1500 {
                        let mut out = vec![0xee; len];
                        fill(
                            &wish(flavour, header, from_initiator, len as u64),
                            &mut Memory::default(),
                            &mut out,
                        );
                        let (counts, _) =
                            read(&out).unwrap_or_else(|e| panic!("{flavour:?} {header:?} {len}: {e}"));
                        full += usize::from(counts != [0; 4]);
                    }
                    assert!(
                        full > 1400,
                        "{flavour:?} {header:?} {from_initiator}: only {full} lengths have content"
                    );
                }
            }
        }
    }

    #[test]
    fn an_answer_repeats_its_question() {
        let mut memory = Memory::default();
        let (asks, answers) =
            ([0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], [0, 9, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        let other = [0, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (mut query, mut second, mut answer) = ([0; 41], [0; 60], [0; 150]);
        fill(&wish(Flavour::Unicast, Some(&asks), true, 0), &mut memory, &mut query);
        fill(&wish(Flavour::Unicast, Some(&other), true, 1), &mut memory, &mut second);
        fill(&wish(Flavour::Unicast, Some(&answers), false, 0), &mut memory, &mut answer);
        let (asked, got) = (read(&query).unwrap(), read(&answer).unwrap());
        assert_eq!((asked.0, asked.1.len()), ([1, 0, 0, 0], 29));
        assert_eq!(asked.1, got.1);
        assert_eq!(query[..2], answer[..2]);
        assert_ne!(query[..2], second[..2]);
        assert_eq!((query[2] & 0x80, answer[2] & 0x80), (0, 0x80));
        assert_eq!(got.0[1], 2);
    }
}
