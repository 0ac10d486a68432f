//! Tokens to packets, one token at a time, and the mask of what may come next.
//!
//! A packet is complete when the first token of the next one, or the end token, comes. Tokens that do not fit the
//! grammar are ignored and change nothing. Tokens that [`Decoder::legal`] allows are never ignored. The mask is the
//! strict one; a prompt from a capture may hold other tokens.
//!
//! # Encoder only
//! Some tokens are in no mask, not even in the faithful one. What they write has other forms too, so a sampled packet
//! could encode to other tokens. A decoder reads them, and packets of a capture that were encoded with them come back
//! unchanged. These tokens are escapes, other link and IP protocols (their free bytes may spell a frame that has
//! another form), unusual ARP, MAC addresses and VLAN tags that differ, lengths on the wire beyond padding, cut records
//! (the missing bytes are filled as predicted), IP options that appear, and TCP options as bytes.

use std::{cell::OnceCell, time::Duration};

use super::{
    codec::HEAD,
    complete::Completion,
    context::{self, Note},
    io::{Collect, Read, Stop},
    mask::Mask,
    packet::{self, PacketCoded, Parameters},
    record::{Frame, Record},
    side_channel::{Drawn, SideSource},
    state::State,
    transport::Transport,
    vocab::{DIR, EOS, GRAMMAR_SIZE, RATE, closes},
};
use crate::codec::{Decoder, RawPacket, Step};

/// Reads the tokens of one session and draws what they leave open.
#[derive(Debug)]
pub struct SessionReader {
    state: State,
    rules: Parameters,
    side: Drawn,
    /// Tokens of the open packet.
    open: Vec<u16>,
    /// Number of tokens of the head that were read.
    head: usize,
    label: Option<u16>,
    rate: u16,
    first_us: i64,
    /// The open packet's flow.
    note: Option<Note>,
    ended: bool,
    strict: bool,
}

/// Whether the open packet is complete, and whether it can become so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The packet is complete as it stands.
    Whole,
    /// More tokens must follow.
    Further,
    /// No token can follow. Only tokens that no mask allows lead here.
    Nowhere,
}

/// What a token did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It does not fit here and was ignored.
    Ignored,
    /// It was taken; no packet is complete yet.
    More,
    /// It begins the next packet. The packet before it is complete.
    Record(Box<Record>),
    /// It ends the session, and completes the open packet, if there is one.
    End(Option<Box<Record>>),
}

impl SessionReader {
    /// Reads a session and draws its side values from `seed`. `strict` chooses the mask that [`SessionReader::legal`]
    /// gives: the strict or the faithful one.
    pub fn new(rules: Parameters, seed: u64, strict: bool) -> Self {
        Self {
            state: State::default(),
            rules,
            side: Drawn::new(seed),
            open: Vec::new(),
            // The label is optional.
            head: 1,
            label: None,
            rate: RATE.at(0),
            first_us: 0,
            note: None,
            ended: false,
            strict,
        }
    }

    /// Takes a token.
    pub fn push(&mut self, token: u16) -> Pushed {
        if self.ended {
            return Pushed::Ignored;
        }
        if self.head < HEAD {
            if self.head == 1 && token >= GRAMMAR_SIZE {
                self.label = Some(token);
                return Pushed::More;
            }
            let fits = if self.head == 1 { DIR.has(token) } else { RATE.has(token) };
            self.head += usize::from(fits);
            if self.head == HEAD {
                self.rate = token;
            }
            return if fits { Pushed::More } else { Pushed::Ignored };
        }
        if token >= GRAMMAR_SIZE {
            return Pushed::Ignored;
        }
        if !closes(token) {
            self.open.push(token);
            let mut io = Read::new(&self.open, &self.side);
            let fits = match packet::code(&self.state, &mut io, self.rules, None) {
                Ok(_) => io.position() == self.open.len(),
                Err(stop) => stop == Stop::More,
            };
            let note = io.noted();
            if fits {
                self.note = note;
            } else {
                self.open.pop();
            }
            return if fits { Pushed::More } else { Pushed::Ignored };
        }
        let mut record = None;
        if !self.open.is_empty() {
            match self.read() {
                Ok((coded, length, taken)) if length == self.open.len() => {
                    self.side.advance(&taken);
                    self.open.clear();
                    record = Some(Box::new(packet::apply(&mut self.state, coded)));
                }
                // A packet that no token can complete is given up.
                _ if self.collect(&mut Mask::default()) == Reach::Nowhere => self.open.clear(),
                // A packet cannot end here.
                _ => return Pushed::Ignored,
            }
        } else if EOS.has(token) && self.state.packets() == 0 {
            return Pushed::Ignored;
        }
        self.note = None;
        if EOS.has(token) {
            self.ended = true;
            return Pushed::End(record);
        }
        self.open.push(token);
        if self.state.packets() == 1 {
            self.first_us = self.state.clock.since(0);
        }
        record.map_or(Pushed::More, Pushed::Record)
    }

    /// Appends the side information (see [`crate::context`]) of the next token.
    pub fn context(&self, out: &mut Vec<u32>) {
        let rate = (self.head == HEAD).then_some(self.rate);
        let age_us = if self.state.packets() > 1 { self.state.clock.since(self.first_us) } else { 0 };
        context::write(&self.state, (self.label, rate), age_us, self.note.as_ref(), out);
    }

    /// The open packet, if it is complete.
    pub fn flush(&mut self) -> Option<Record> {
        let (coded, length, taken) = self.read().ok()?;
        if self.open.is_empty() || length != self.open.len() {
            return None;
        }
        self.side.advance(&taken);
        self.open.clear();
        self.note = None;
        Some(packet::apply(&mut self.state, coded))
    }

    fn read(&self) -> Result<(PacketCoded, usize, [u32; super::side_channel::SideClass::COUNT]), Stop> {
        let mut io = Read::new(&self.open, &self.side);
        let coded = packet::code(&self.state, &mut io, self.rules, None)?;
        Ok((coded, io.position(), *io.taken()))
    }

    /// Gathers what may come next.
    pub fn legal(&self) -> Mask {
        let mut mask = Mask::default();
        if self.ended {
            // Nothing follows; the end itself keeps the mask from being empty.
            mask.add(EOS.at(0));
            return mask;
        }
        if self.head < HEAD {
            mask.add_class(if self.head == 1 { DIR } else { RATE });
            return mask;
        }
        let reach = self.collect(&mut mask);
        if self.open.is_empty() && self.state.packets() > 0 {
            mask.add(EOS.at(0));
        }
        if reach != Reach::Further {
            self.state.clock.collect_next(self.strict, &mut mask);
            if reach == Reach::Whole || self.state.packets() > 0 {
                mask.add(EOS.at(0));
            }
        }
        mask
    }

    /// Adds to `mask` what may follow the tokens of the open packet.
    fn collect(&self, mask: &mut Mask) -> Reach {
        // Tokens of a prompt that the strict mask does not allow may lead to a place where only such tokens follow.
        for strict in [self.strict, false] {
            let mut io = Collect::new(&self.open, &self.side, strict, mask);
            if packet::code(&self.state, &mut io, self.rules, None).is_ok() {
                return Reach::Whole;
            }
            if !mask.is_empty() {
                return Reach::Further;
            }
        }
        Reach::Nowhere
    }
}

/// The decoder of one generated session.
#[derive(Debug)]
pub(super) struct FlowDecoder {
    session: SessionReader,
    completion: Completion,
    legal: OnceCell<Mask>,
    last_us: Option<i64>,
}

impl FlowDecoder {
    pub(super) fn new(rules: Parameters, seed: u64) -> Self {
        Self {
            session: SessionReader::new(rules, seed, true),
            completion: Completion::default(),
            legal: OnceCell::new(),
            last_us: None,
        }
    }

    fn packet(&mut self, mut record: Record) -> RawPacket {
        if let Frame::Ip(ip) = &mut record.frame
            && matches!(ip.transport, Transport::Tcp(_))
        {
            // Options that a capture length cut are made whole for the wire.
            ip.missing = 0;
        }
        let mut packet = self.completion.complete(&record);
        let gap = self.last_us.map_or(0, |last| record.time_us.saturating_sub(last).max(0));
        self.last_us = Some(record.time_us);
        packet.gap = Some(Duration::from_micros(gap.unsigned_abs()));
        packet
    }
}

impl Decoder for FlowDecoder {
    fn push(&mut self, token: u32) -> Step {
        let Ok(token) = u16::try_from(token) else { return Step::Need };
        let taken = self.session.push(token);
        if taken != Pushed::Ignored {
            self.legal.take();
        }
        match taken {
            Pushed::Ignored | Pushed::More => Step::Need,
            Pushed::Record(record) => Step::Packet(self.packet(*record)),
            Pushed::End(record) => Step::End(record.map(|record| self.packet(*record))),
        }
    }

    fn legal(&self) -> Option<&[u64]> {
        Some(self.legal.get_or_init(|| self.session.legal()).words())
    }

    fn context(&self, out: &mut Vec<u32>) {
        self.session.context(out);
    }

    fn flush(&mut self) -> Option<RawPacket> {
        self.legal.take();
        let record = self.session.flush()?;
        Some(self.packet(record))
    }
}
