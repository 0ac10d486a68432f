//! What reading one header gives: values, or the bytes with the reason why not. Nothing is ever lost.

use std::fmt;

use crate::frame::{Layer, Stop};

/// A header type whose `parse` and `emit` are inverses.
///
/// For every `bytes`, emitting `Self::parse(bytes)` gives back the bytes that were taken; for every legal
/// value, parsing what it emits gives that value. Checksums and lengths are values like others: use
/// [`crate::checksum::fill`] and [`crate::packet::IpPacket::set_lengths`] to make them right.
pub trait Wire: Sized {
    /// The layer, for messages.
    const LAYER: Layer;

    /// Reads the header at the start of `bytes`.
    fn parse(bytes: &[u8]) -> Header<Self>;

    /// Length of the header in bytes: what `emit` appends.
    fn emit_len(&self) -> usize;

    /// Appends the header's bytes.
    fn emit(&self, out: &mut Vec<u8>);
}

/// A header as read.
#[derive(Clone, PartialEq, Eq)]
pub enum Header<R> {
    /// All of it.
    Whole(R),
    /// The bytes ended inside it. A protocol's `View` may still read the fields of its fixed part.
    Cut {
        /// All bytes that there are.
        bytes: Vec<u8>,
        /// How many the header has, as far as its bytes tell.
        need: usize,
    },
    /// It contradicts itself, so where it ends is unknown.
    Invalid {
        /// All bytes from its start.
        bytes: Vec<u8>,
        /// What is wrong.
        why: &'static str,
    },
}

impl<R: Wire> Header<R> {
    /// Reads the header at the start of `bytes`; the same as `R::parse`.
    pub fn parse(bytes: &[u8]) -> Header<R> {
        R::parse(bytes)
    }

    /// Appends the bytes that were taken.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Header::Whole(header) => header.emit(out),
            Header::Cut { bytes, .. } | Header::Invalid { bytes, .. } => out.extend_from_slice(bytes),
        }
    }

    /// How many bytes were taken.
    pub fn emit_len(&self) -> usize {
        match self {
            Header::Whole(header) => header.emit_len(),
            Header::Cut { bytes, .. } | Header::Invalid { bytes, .. } => bytes.len(),
        }
    }

    /// The header, if it is whole.
    pub fn whole(&self) -> Option<&R> {
        match self {
            Header::Whole(header) => Some(header),
            _ => None,
        }
    }

    /// The header for changing, if it is whole.
    pub fn whole_mut(&mut self) -> Option<&mut R> {
        match self {
            Header::Whole(header) => Some(header),
            _ => None,
        }
    }

    /// The same in the terms of [`crate::frame::Layout`].
    pub fn stop(&self) -> Stop {
        match self {
            Header::Whole(_) => Stop::Whole,
            Header::Cut { .. } => Stop::Cut(R::LAYER),
            Header::Invalid { why, .. } => Stop::Invalid(R::LAYER, why),
        }
    }

    pub(crate) fn cut(bytes: &[u8], need: usize) -> Header<R> {
        Header::Cut { bytes: bytes.to_vec(), need }
    }

    pub(crate) fn invalid(bytes: &[u8], why: &'static str) -> Header<R> {
        Header::Invalid { bytes: bytes.to_vec(), why }
    }
}

impl<R: fmt::Debug> fmt::Debug for Header<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Header::Whole(header) => header.fmt(f),
            Header::Cut { bytes, need } => write!(f, "Cut({} of {need} bytes: {bytes:02x?})", bytes.len()),
            Header::Invalid { bytes, why } => write!(f, "Invalid({why}: {bytes:02x?})"),
        }
    }
}
