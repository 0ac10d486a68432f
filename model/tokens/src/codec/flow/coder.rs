//! Records of a session to tokens and side table, and back.

use super::{
    io::{Emit, Read, Stop},
    packet::{self, Parameters},
    record::Record,
    side_channel::{SideSink, SideSource, SideTable},
    state::State,
    strict_encoder::StrictEmit,
    vocab::{EOS, closes},
};

/// Writes the packets of a session.
#[derive(Debug, Default)]
pub struct Recorder {
    state: State,
    rules: Parameters,
}

impl Recorder {
    /// A recorder of a new session.
    pub fn new(rules: Parameters) -> Self {
        Self { state: State::default(), rules }
    }

    /// Appends the tokens of a record and puts its side values into `side`. Returns the record as a decoder gives it.
    pub fn push(&mut self, record: &Record, out: &mut Vec<u16>, side: &mut dyn SideSink) -> Record {
        let from = out.len();
        match packet::code(&self.state, &mut Emit::new(out, side), self.rules, Some(record)) {
            Ok(coded) => packet::apply(&mut self.state, coded),
            Err(stop) => {
                // The grammar has a form for every record.
                debug_assert!(false, "{stop:?} at {record:?}");
                out.truncate(from);
                record.clone()
            }
        }
    }
}

impl Recorder {
    /// Appends tokens that the strict mask allows ([`super::strict_encoder`]) and returns the record as a decoder gives
    /// it. `None` if the mask does not allow the record; then only `side` has changed.
    pub(super) fn push_strict(
        &mut self,
        record: &Record,
        out: &mut Vec<u16>,
        side: &mut dyn SideSink,
    ) -> Option<Record> {
        let from = out.len();
        match packet::code(&self.state, &mut StrictEmit::new(out, side), self.rules, Some(record)) {
            Ok(coded) => Some(packet::apply(&mut self.state, coded)),
            Err(_) => {
                out.truncate(from);
                None
            }
        }
    }
}

/// Reads packets from tokens and their side table.
#[derive(Debug)]
pub struct RecordReader<'a> {
    state: State,
    rules: Parameters,
    tokens: &'a [u16],
    at: usize,
    side: &'a mut SideTable,
}

impl<'a> RecordReader<'a> {
    /// Reads `tokens`, which begin with the first packet, behind the head of the session.
    pub fn new(rules: Parameters, tokens: &'a [u16], side: &'a mut SideTable) -> Self {
        Self { state: State::default(), rules, tokens, at: 0, side }
    }

    /// Tokens read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// [`Stop`] if the tokens are no packet, or if the side table lacks a value.
    pub fn next_record(&mut self) -> Result<Option<Record>, Stop> {
        let rest = &self.tokens[self.at..];
        if rest.first().is_none_or(|&token| EOS.has(token)) {
            return Ok(None);
        }
        let mut io = Read::new(rest, &*self.side);
        let coded = packet::code(&self.state, &mut io, self.rules, None)?;
        let (length, taken) = (io.position(), *io.taken());
        if rest.get(length).is_some_and(|&token| !closes(token)) {
            return Err(Stop::Illegal);
        }
        self.side.advance(&taken);
        self.at += length;
        Ok(Some(packet::apply(&mut self.state, coded)))
    }
}
