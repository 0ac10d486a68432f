//! Reports of the bytes codec. It carries headers only: neither time nor the length on the wire is compared.

use std::collections::VecDeque;

use super::{FrameRef, LABEL, Packets, ReportError, Tally, Trip, parting};
use crate::canonical::Canonical;
use crate::codec::{BytesCodec, Codec, Form, SessionEnd, Step, Width};

/// What the decoder must give for each packet that was encoded and not decoded yet.
struct Expected {
    canonical: Option<Canonical>,
    width: Width,
    pending: VecDeque<(u64, Header)>,
}

enum Header {
    /// The captured frame. The decoded header must be its beginning, with zeros up to a fixed width.
    Captured(Vec<u8>),
    /// The canonical header, as it was before it became tokens.
    Canonical(Vec<u8>),
}

impl Expected {
    fn of(codec: &BytesCodec) -> Self {
        let canonical = (codec.form() == Form::Canonical).then(Canonical::new);
        Self { canonical, width: codec.width(), pending: VecDeque::new() }
    }

    /// The header that encoding starts from. The canonical maps must see every frame, including refused ones.
    fn header(&mut self, frame: FrameRef<'_>) -> Header {
        let Some(canonical) = &mut self.canonical else { return Header::Captured(frame.bytes.to_vec()) };
        let mut header = canonical.apply(frame.bytes, frame.wire_len).unwrap_or_default();
        if let Width::Fixed(width) = self.width {
            header.resize(usize::from(width), 0);
        }
        Header::Canonical(header)
    }

    fn came(&mut self, got: &[u8], trip: &mut Trip) {
        let Some((packet, header)) = self.pending.pop_front() else {
            trip.differs(trip.packets, "a packet more than was encoded".to_owned());
            return;
        };
        if let Some(field) = header.difference(got) {
            trip.differs(packet, field);
        }
    }
}

impl Header {
    fn difference(&self, got: &[u8]) -> Option<String> {
        match self {
            Self::Canonical(bytes) => (bytes != got).then(|| parting(bytes, got)),
            Self::Captured(frame) => {
                let same = frame.iter().zip(got).take_while(|(a, b)| a == b).count();
                let whole = same > 0 && got[same..].iter().all(|&byte| byte == 0);
                (!whole).then(|| parting(frame, got))
            }
        }
    }
}

/// Feeds each packet's tokens to the decoder as they are made, in constant memory.
pub(super) fn roundtrip(codec: &BytesCodec, mut packets: Packets) -> Result<Trip, ReportError> {
    let mut encoder = codec.encoder(LABEL)?;
    let mut decoder = codec.decoder(0);
    let mut expected = Expected::of(codec);
    let (mut trip, mut tokens) = (Trip::default(), Vec::new());
    let mut decode = |tokens: &[u16], expected: &mut Expected, trip: &mut Trip| {
        trip.tokens += tokens.len() as u64;
        for &token in tokens {
            if let Step::Packet(packet) | Step::End(Some(packet)) = decoder.push(token.into()) {
                expected.came(&packet.header, trip);
            }
        }
    };
    for record in packets.by_ref() {
        trip.packets += 1;
        let frame = FrameRef::from(&record);
        let header = expected.header(frame);
        match encoder.push(frame, &mut tokens) {
            Err(skip) => trip.skip(skip),
            Ok(()) => {
                trip.encoded += 1;
                decode(&tokens, &mut expected, &mut trip);
                expected.pending.push_back((trip.packets, header));
                tokens.clear();
            }
        }
    }
    encoder.finish(SessionEnd::Ended, &mut tokens);
    decode(&tokens, &mut expected, &mut trip);
    for (packet, _) in expected.pending.drain(..) {
        trip.differs(packet, "it did not come back".to_owned());
    }
    trip.damage = packets.damage;
    Ok(trip)
}

pub(super) fn measure(
    codec: &BytesCodec,
    mut packets: Packets,
    tally: &mut Tally,
) -> Result<Trip, ReportError> {
    let mut encoder = codec.encoder(LABEL)?;
    let (mut trip, mut tokens) = (Trip::default(), Vec::new());
    for record in packets.by_ref() {
        trip.packets += 1;
        match encoder.push(FrameRef::from(&record), &mut tokens) {
            Err(skip) => trip.skip(skip),
            Ok(()) => {
                trip.encoded += 1;
                trip.tokens += tokens.len() as u64;
                tally.packet(&record.frame, tokens.len(), false);
                tokens.clear();
            }
        }
    }
    encoder.finish(SessionEnd::Ended, &mut tokens);
    trip.tokens += tokens.len() as u64;
    trip.damage = packets.damage;
    Ok(trip)
}
