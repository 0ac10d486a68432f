//! Reports of the flow codec: what packets cost, without the few tokens that open and close a session.

use std::path::Path;

use netssm_wire::capture::Record as Captured;

use super::{Packets, ReportError, Tally, Trip, parting};
use crate::codec::flow::{
    Parameters, RecordReader, Recorder,
    record::Record,
    side_channel::{SideClass, SideTable},
    vocab::{BYTE, CLASSES, ESC},
};

/// What the codec keeps of a captured packet.
fn kept(captured: &Captured) -> Record {
    Record::parse(captured.time_ns.div_euclid(1_000), captured.wire_len, &captured.frame)
}

/// Encodes a capture; shows each packet, what is kept of it and its tokens to `look`.
fn record(
    parameters: Parameters,
    mut packets: Packets,
    side: &mut SideTable,
    mut look: impl FnMut(&Captured, &[u16], &mut SideTable),
) -> (Trip, Vec<u16>) {
    let mut recorder = Recorder::new(parameters);
    let (mut trip, mut tokens) = (Trip::default(), Vec::new());
    for captured in packets.by_ref() {
        trip.packets += 1;
        trip.encoded += 1;
        let before = tokens.len();
        recorder.push(&kept(&captured), &mut tokens, side);
        let new = &tokens[before..];
        trip.escapes += u64::from(escaped(new));
        look(&captured, new, side);
    }
    trip.tokens = tokens.len() as u64;
    trip.side_bits = side.bits().iter().sum();
    trip.damage = packets.damage;
    (trip, tokens)
}

fn escaped(tokens: &[u16]) -> bool {
    tokens.iter().any(|&token| ESC.has(token))
}

/// Reads the capture twice: once to encode it, once to compare it with what the tokens give back.
pub(super) fn roundtrip(
    parameters: Parameters,
    path: &Path,
    limit: Option<u64>,
) -> Result<Trip, ReportError> {
    let mut side = SideTable::default();
    let (mut trip, tokens) = record(parameters, Packets::open(path, limit)?, &mut side, |_, _, _| ());
    let mut reader = RecordReader::new(parameters, &tokens, &mut side);
    let mut got = Vec::new();
    for (captured, number) in Packets::open(path, limit)?.zip(1..) {
        match reader.next_record() {
            Ok(Some(record)) => {
                got.clear();
                record.emit(&mut got);
                if let Some(field) = difference(&captured, &record, &got) {
                    trip.differs(number, field);
                }
            }
            Ok(None) => trip.differs(number, "it did not come back".to_owned()),
            Err(_) => {
                // Nothing after this packet can be read either.
                let lost = trip.packets + 1 - number;
                trip.differs(number, format!("token {} is none that belongs there", reader.position()));
                trip.differing += lost - 1;
                return Ok(trip);
            }
        }
    }
    if reader.position() < tokens.len() {
        trip.differs(trip.packets, "tokens are left when all packets have come back".to_owned());
    }
    Ok(trip)
}

/// Compares the time in microseconds, the length on the wire, and the header bytes, which must begin the captured
/// frame.
fn difference(captured: &Captured, record: &Record, got: &[u8]) -> Option<String> {
    let expected = kept(captured);
    if record.time_us != expected.time_us {
        return Some(format!("time: expected {} us, got {}", expected.time_us, record.time_us));
    }
    if record.wire_len != captured.wire_len {
        let (expected, got) = (captured.wire_len, record.wire_len);
        return Some(format!("length on the wire: expected {expected}, got {got}"));
    }
    let mut bytes = Vec::new();
    expected.emit(&mut bytes);
    if bytes != got {
        return Some(parting(&bytes, got));
    }
    let captured = captured.frame.get(..got.len()).unwrap_or(&captured.frame);
    (captured != got).then(|| parting(captured, got))
}

pub(super) fn measure(parameters: Parameters, packets: Packets, tally: &mut Tally) -> Trip {
    let mut side = SideTable::default();
    let (trip, _) = record(parameters, packets, &mut side, |captured, tokens, side| {
        tally.packet(&captured.frame, tokens.len(), escaped(tokens));
        for (index, class) in CLASSES.iter().enumerate().filter(|(_, class)| class.first != BYTE.first) {
            if tokens.iter().any(|&token| class.has(token)) {
                tally.class(index, class.name);
            }
        }
        // Only its number of bits is needed here.
        side.clear();
    });
    for (index, class) in SideClass::ALL.into_iter().enumerate() {
        match side.bits()[index] {
            0 => {}
            bits => tally.hidden(index, class.as_str(), bits),
        }
    }
    trip
}
