//! The codec as a whole: what goes in comes out, what may come out goes in again, and nothing makes it panic.
//!
//! * `round_trip`: frames of every protocol, sound and broken; `simulated`: TCP as networks treat it.
//! * `legal`: random walks through the masks; `garbage`: tokens that nobody checked.
//! * `context`: what a decoder tells a model.
//! * `strict_encoder`: what a model sees of a capture is what it may write.
//! * `pitfalls`: a test for each mistake that a codec of this kind invites.
//!
//! Numbers are small enough for every day. `NETSSM_FLOW_TOKENS=10000000` makes the walks as long as a release deserves.

mod context;
mod frames;
mod garbage;
mod legal;
mod pitfalls;
mod round_trip;
mod simulated;
mod strict_encoder;
mod tcp;
mod walk;

use tcp::Scenario;

use super::{
    Parameters, Slots,
    coder::{RecordReader, Recorder},
    io::{Collect, Emit},
    mask::Mask,
    packet,
    record::{Frame, Record},
    side_channel::SideTable,
    state::State,
    transport::Transport,
    vocab::{self, ESC, closes},
};

/// A source of numbers that is the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        netssm_wire::splitmix::mix(self.0)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// A frame as a capture holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Captured {
    time_us: i64,
    wire_len: u32,
    bytes: Vec<u8>,
}

impl Captured {
    fn new(time_us: i64, bytes: Vec<u8>) -> Self {
        Self { time_us, wire_len: bytes.len() as u32, bytes }
    }

    /// The frame as a capture with this snapshot length holds it.
    fn cut(&self, snap_len: usize) -> Self {
        let mut cut = self.clone();
        cut.bytes.truncate(snap_len);
        cut
    }

    fn record(&self) -> Record {
        Record::parse(self.time_us, self.wire_len, &self.bytes)
    }
}

/// All ways to write a session.
const PARAMETERS: [Parameters; 4] = [
    Parameters { fine: true, slots: Slots::Recent },
    Parameters { fine: false, slots: Slots::Recent },
    Parameters { fine: true, slots: Slots::Fixed },
    Parameters { fine: false, slots: Slots::Fixed },
];

fn emitted(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.emit(&mut bytes);
    bytes
}

fn names(tokens: &[u16]) -> String {
    tokens.iter().map(|&token| vocab::name(token)).collect::<Vec<_>>().join(" ")
}

/// Encodes and decodes a session; gives its tokens by packet.
///
/// Panics where a record does not come back with its time, its length on the wire and its bytes, where a decoder ends a
/// packet elsewhere than the encoder, and where a record keeps other bytes than the frame's first.
#[track_caller]
fn round_trip(parameters: Parameters, frames: &[Captured]) -> Vec<Vec<u16>> {
    let (mut recorder, mut side) = (Recorder::new(parameters), SideTable::default());
    let (mut tokens, mut ends) = (Vec::new(), vec![0]);
    for frame in frames {
        let record = frame.record();
        let bytes = emitted(&record);
        assert!(frame.bytes.starts_with(&bytes), "{record:?} is not the start of {:x?}", frame.bytes);
        assert!(bytes.len() >= frame.bytes.len().min(14), "{record:?} lost {:x?}", frame.bytes);
        let seen = recorder.push(&record, &mut tokens, &mut side);
        assert_eq!(emitted(&seen), bytes, "what the encoder says that a decoder sees");
        ends.push(tokens.len());
    }
    let mut reader = RecordReader::new(parameters, &tokens, &mut side);
    for (at, frame) in frames.iter().enumerate() {
        let written = &tokens[ends[at]..ends[at + 1]];
        assert!(written.first().is_some_and(|&token| closes(token)), "packet {at} begins with its time");
        let record = match reader.next_record() {
            Ok(Some(record)) => record,
            other => panic!("packet {at}: {other:?}: {} for {:?}", names(written), frame.record()),
        };
        assert_eq!(reader.position(), ends[at + 1], "packet {at}: {}", names(written));
        assert_eq!((record.time_us, record.wire_len), (frame.time_us, frame.wire_len), "packet {at}");
        assert_eq!(emitted(&record), emitted(&frame.record()), "packet {at}: {}", names(written));
    }
    assert_eq!(reader.next_record(), Ok(None));
    ends.windows(2).map(|pair| tokens[pair[0]..pair[1]].to_vec()).collect()
}

/// Tokens a packet of sessions that round-trip.
#[track_caller]
fn price(frames: &[Captured]) -> f64 {
    let tokens: usize = round_trip(Parameters::default(), frames).iter().map(Vec::len).sum();
    tokens as f64 / frames.len() as f64
}

fn escapes(packets: &[Vec<u16>]) -> usize {
    packets.iter().filter(|tokens| tokens.iter().take(3).any(|&token| ESC.has(token))).count()
}

/// Holds every token that the encoder writes against the faithful mask. `exempt` are classes that only encoders write.
#[track_caller]
fn assert_legal(parameters: Parameters, frames: &[Captured], exempt: &[vocab::Class]) {
    let mut state = State::default();
    for frame in frames {
        let (record, mut tokens, mut side) = (frame.record(), Vec::new(), SideTable::default());
        let coded = packet::code(&state, &mut Emit::new(&mut tokens, &mut side), parameters, Some(&record));
        let other = match &record.frame {
            Frame::Ip(ip) => matches!(ip.transport, Transport::Other(_)),
            frame => matches!(frame, Frame::Link(_)),
        };
        if !other && !tokens.iter().any(|&token| exempt.iter().any(|class| class.has(token))) {
            for at in 0..tokens.len() {
                let mut mask = Mask::default();
                let _ = packet::code(
                    &state,
                    &mut Collect::new(&tokens[..at], &side, false, &mut mask),
                    parameters,
                    None,
                );
                assert!(mask.has(tokens[at]), "token {at} of {} for {record:?}", names(&tokens));
            }
        }
        packet::apply(&mut state, coded.expect("every record has a form"));
    }
}
