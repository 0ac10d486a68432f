//! Reports of a codec over captures: whether every packet comes back, and how many tokens packets cost.
//!
//! [`roundtrip`] encodes a capture as one session, decodes the tokens and compares every packet with what was captured.
//! [`measure`] only encodes, and counts tokens by kind of packet and class of token in a [`Tally`]. Both serve users
//! who want to know a corpus before they train on it, and the tests of the codecs.
//!
//! Of a damaged capture the packets before the damage are read, and the report says so ([`Trip::damage`]).

mod bytes;
mod flow;
mod kind;
mod tally;

use std::collections::BTreeMap;
use std::path::Path;

use netssm_wire::capture::{Capture, CaptureError, Record};
use serde::Serialize;

pub use self::kind::PacketKind;
pub use self::tally::{ClassRow, KindRow, SideRow, Tally};
use super::{BytesCodec, CodecChoice, FrameRef, Skip, Vocab};
use crate::error::DataError;

/// Label of the stream, which must begin with one.
const LABEL: &str = "capture";

/// Why there is no report of a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The capture cannot be opened.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The codec cannot be made.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// What a round trip of one capture showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trip {
    /// Packets read from the capture.
    pub packets: u64,
    /// Packets encoded.
    pub encoded: u64,
    /// Tokens of the whole stream.
    pub tokens: u64,
    /// Packets that the grammar could only carry byte by byte.
    pub escapes: u64,
    /// Bits in the side channel.
    pub side_bits: u64,
    /// Packets that the codec does not carry, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Packets that came back different, or not at all.
    pub differing: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Difference>,
    /// Why the capture was not read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl Trip {
    /// Tokens per encoded packet, including those that open and close the stream.
    pub fn tokens_per_packet(&self) -> f64 {
        self.tokens as f64 / self.encoded.max(1) as f64
    }

    /// Bits per encoded packet in the side channel.
    pub fn side_bits_per_packet(&self) -> f64 {
        self.side_bits as f64 / self.encoded.max(1) as f64
    }

    /// Adds the numbers of another capture.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.encoded += other.encoded;
        self.tokens += other.tokens;
        self.escapes += other.escapes;
        self.side_bits += other.side_bits;
        self.differing += other.differing;
        for (&reason, n) in &other.skipped {
            *self.skipped.entry(reason).or_default() += n;
        }
    }

    fn skip(&mut self, skip: Skip) {
        *self.skipped.entry(skip.as_str()).or_default() += 1;
    }

    fn differs(&mut self, packet: u64, field: String) {
        self.differing += 1;
        self.first.get_or_insert(Difference { packet, field });
    }
}

/// Where a packet came back different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Number of the packet in the capture, from 1 as Wireshark counts.
    pub packet: u64,
    /// The field that differs, with the expected and the decoded value.
    pub field: String,
}

/// Encodes a capture, decodes the tokens, and compares. It reads the first `limit` packets; `None`: all.
///
/// # Errors
/// [`ReportError`]: the capture cannot be opened.
pub fn roundtrip(codec: &CodecChoice, path: &Path, limit: Option<u64>) -> Result<Trip, ReportError> {
    match *codec {
        CodecChoice::Flow(parameters) => flow::roundtrip(parameters, path, limit),
        CodecChoice::Bytes { width, form } => {
            let codec = BytesCodec::new(Vocab::new(&[LABEL])?, width, form);
            bytes::roundtrip(&codec, Packets::open(path, limit)?)
        }
    }
}

/// Encodes a capture, adds its costs to `tally`, and gives the counts. It decodes nothing.
///
/// # Errors
/// [`ReportError`]: the capture cannot be opened.
pub fn measure(
    codec: &CodecChoice,
    path: &Path,
    limit: Option<u64>,
    tally: &mut Tally,
) -> Result<Trip, ReportError> {
    let packets = Packets::open(path, limit)?;
    tally.begin_capture();
    match *codec {
        CodecChoice::Flow(parameters) => Ok(flow::measure(parameters, packets, tally)),
        CodecChoice::Bytes { width, form } => {
            let codec = BytesCodec::new(Vocab::new(&[LABEL])?, width, form);
            bytes::measure(&codec, packets, tally)
        }
    }
}

/// The records of a capture up to a limit, and why they ended early if they did.
struct Packets {
    capture: Capture,
    left: u64,
    damage: Option<String>,
}

impl Packets {
    fn open(path: &Path, limit: Option<u64>) -> Result<Self, CaptureError> {
        Ok(Self { capture: Capture::open(path)?, left: limit.unwrap_or(u64::MAX), damage: None })
    }
}

impl Iterator for Packets {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.left = self.left.checked_sub(1)?;
        self.capture.next_record().unwrap_or_else(|error| {
            self.damage = Some(error.to_string());
            None
        })
    }
}

/// Says where two byte strings differ, for [`Difference::field`].
fn parting(expected: &[u8], got: &[u8]) -> String {
    match expected.iter().zip(got).position(|(a, b)| a != b) {
        Some(at) => format!("byte {at}: expected {:#04x}, got {:#04x}", expected[at], got[at]),
        None => format!("header length: expected {}, got {}", expected.len(), got.len()),
    }
}

#[cfg(test)]
mod tests;
