//! One capture to encoded sessions: where a session starts and ends, and which of its packets are written.
//!
//! The file is read once, record by record. Only open sessions are in memory. If sessions are split by flow, each flow
//! has its own encoder and its own canonical maps, as if it had been captured alone.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use netssm_wire::{
    capture::{Capture, Record},
    flow::FlowKey,
    frame::{Layout, Transport},
    tcp::Flags,
};

use super::{Phase, PrepareOptions, SplitBy};
use crate::{
    codec::{Codec, Encoder, SessionEnd},
    error::DataError,
    packet::{FrameRef, tcp},
};

/// Reason for leaving out a record that belongs to no flow (ARP, for example) when flows are split.
const NO_FLOW: &str = "no-flow";

/// What was read from a file.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) sessions: Vec<EncodedSession>,
    pub(super) records: u64,
    pub(super) skipped: BTreeMap<&'static str, u64>,
    pub(super) short_sessions: u64,
    /// Why the file could not be read, or not to its end.
    pub(super) fault: Option<String>,
}

pub(super) struct EncodedSession {
    pub(super) tokens: Vec<u16>,
    pub(super) packets: u64,
    /// Nanoseconds between its packets.
    pub(super) gaps: Vec<u64>,
}

impl Encoded {
    pub(super) fn packets(&self) -> u64 {
        self.sessions.iter().map(|session| session.packets).sum()
    }
}

/// Encodes one capture.
///
/// # Errors
/// [`DataError::UnknownLabel`]; a file that cannot be read is a fault in the result instead.
pub(super) fn encode_file(
    path: &Path,
    label: &str,
    codec: &dyn Codec,
    options: &PrepareOptions,
) -> Result<Encoded, DataError> {
    let mut cutter = Cutter {
        label,
        codec,
        options,
        open: HashMap::new(),
        order: 0,
        closed: Vec::new(),
        out: Encoded::default(),
    };
    let mut end = SessionEnd::Ended;
    match Capture::open(path) {
        Ok(mut capture) => loop {
            match capture.next_record() {
                Ok(Some(record)) => cutter.record(&record)?,
                Ok(None) => break,
                Err(fault) => {
                    cutter.out.fault = Some(fault.to_string());
                    end = SessionEnd::Cut;
                    break;
                }
            }
        },
        Err(fault) => cutter.out.fault = Some(fault.to_string()),
    }
    Ok(cutter.finish(end))
}

/// A session being written.
struct Open {
    /// Position among the file's sessions, by first packet.
    order: usize,
    encoder: Box<dyn Encoder>,
    /// All tokens of the session: the encoder may complete the first ones at the end.
    tokens: Vec<u16>,
    packets: u64,
    gaps: Vec<u64>,
    last_ns: Option<i64>,
    /// Set once the packet limit was met and more packets came.
    full: bool,
    progress: FlowProgress,
}

struct Cutter<'a> {
    label: &'a str,
    codec: &'a dyn Codec,
    options: &'a PrepareOptions,
    /// By flow, or under `None` when sessions are not split.
    open: HashMap<Option<FlowKey>, Open>,
    order: usize,
    closed: Vec<(usize, EncodedSession)>,
    out: Encoded,
}

impl Cutter<'_> {
    fn record(&mut self, record: &Record) -> Result<(), DataError> {
        self.out.records += 1;
        let layout = Layout::parse(&record.frame);
        let key = match self.options.split {
            SplitBy::Sessions => None,
            SplitBy::Flows => match layout.five_tuple(&record.frame) {
                Some(tuple) => Some(tuple.key()),
                None => {
                    *self.out.skipped.entry(NO_FLOW).or_default() += 1;
                    return Ok(());
                }
            },
        };
        let silence = |open: &Open| open.last_ns.map_or(0, |last| record.time_ns.saturating_sub(last));
        let limit =
            self.options.gap.map_or(i64::MAX, |gap| i64::try_from(gap.as_nanos()).unwrap_or(i64::MAX));
        if self.open.get(&key).is_some_and(|open| silence(open) > limit)
            && let Some(open) = self.open.remove(&key)
        {
            self.close(open, SessionEnd::Ended);
        }
        let open = match self.open.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                self.order += 1;
                entry.insert(Open {
                    order: self.order,
                    encoder: self.codec.encoder(self.label)?,
                    tokens: Vec::new(),
                    packets: 0,
                    gaps: Vec::new(),
                    last_ns: None,
                    full: false,
                    progress: FlowProgress::default(),
                })
            }
        };
        if let Err(skip) = open.take(record, &layout, self.options) {
            *self.out.skipped.entry(skip).or_default() += 1;
        }
        Ok(())
    }

    fn close(&mut self, mut open: Open, end: SessionEnd) {
        if open.packets == 0 || open.packets < self.options.min_packets {
            self.out.short_sessions += 1;
            return;
        }
        open.encoder.finish(if open.full { SessionEnd::Cut } else { end }, &mut open.tokens);
        let Open { order, tokens, packets, gaps, .. } = open;
        self.closed.push((order, EncodedSession { tokens, packets, gaps }));
    }

    fn finish(mut self, end: SessionEnd) -> Encoded {
        for (_, open) in std::mem::take(&mut self.open) {
            self.close(open, end);
        }
        self.closed.sort_by_key(|(order, _)| *order);
        self.out.sessions = self.closed.into_iter().map(|(_, session)| session).collect();
        self.out
    }
}

impl Open {
    fn take(
        &mut self,
        record: &Record,
        layout: &Layout,
        options: &PrepareOptions,
    ) -> Result<(), &'static str> {
        let phase = self.progress.phase(record, layout);
        let frame = FrameRef::from(record);
        let before = self.last_ns.replace(record.time_ns);
        if options.phase != Phase::All && options.phase != phase {
            // The encoder must see the packet all the same: data starts after the sequence numbers of the handshake.
            return self.encoder.observe(frame).map_err(|skip| skip.as_str());
        }
        if options.max_packets.is_some_and(|max| self.packets >= max) {
            self.full = true;
            return Ok(());
        }
        if let Err(skip) = self.encoder.push(frame, &mut self.tokens) {
            // The next gap counts from the last packet that was carried.
            self.last_ns = before;
            return Err(skip.as_str());
        }
        self.packets += 1;
        if self.packets > 1
            && let Some(before) = before
        {
            // If the clock was set back, the gap is 0.
            self.gaps.push(u64::try_from(record.time_ns.saturating_sub(before)).unwrap_or(0));
        }
        Ok(())
    }
}

/// How far a TCP flow got. Flows without a SYN, and other protocols, are all data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FlowProgress {
    #[default]
    New,
    Syn,
    SynAck,
    Established,
    Closing,
}

impl FlowProgress {
    /// Moves on with a packet and says which phase the packet belongs to.
    fn phase(&mut self, record: &Record, layout: &Layout) -> Phase {
        let flags = match layout.transport {
            Transport::Tcp { at, .. } => tcp::flags(&record.frame, at),
            _ => None,
        };
        let Some(flags) = flags else { return Phase::Data };
        let (phase, next) = match (*self, flags.contains(Flags::SYN), flags.contains(Flags::ACK)) {
            (Self::Closing, ..) => (Phase::Teardown, Self::Closing),
            _ if flags.contains(Flags::FIN) || flags.contains(Flags::RST) => (Phase::Teardown, Self::Closing),
            (Self::New | Self::Syn, true, false) => (Phase::Handshake, Self::Syn),
            (Self::New | Self::Syn | Self::SynAck, true, true) => (Phase::Handshake, Self::SynAck),
            (Self::SynAck, true, false) => (Phase::Handshake, Self::SynAck),
            (Self::SynAck, false, true) => (Phase::Handshake, Self::Established),
            _ => (Phase::Data, Self::Established),
        };
        *self = next;
        phase
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(flags: u8) -> Record {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&[0, 40]);
        frame[23] = 6;
        frame[46] = 0x50;
        frame[47] = flags;
        Record { time_ns: 0, wire_len: 54, frame }
    }

    #[test]
    fn a_connection_has_three_phases() {
        let mut progress = FlowProgress::default();
        let mut phases = |flags: &[u8]| {
            flags
                .iter()
                .map(|&flags| {
                    let record = packet(flags);
                    progress.phase(&record, &Layout::parse(&record.frame))
                })
                .collect::<Vec<_>>()
        };
        use Phase::{Data, Handshake, Teardown};
        assert_eq!(phases(&[0x02, 0x02, 0x12, 0x10]), [Handshake; 4]);
        assert_eq!(phases(&[0x18, 0x10, 0x18]), [Data; 3]);
        assert_eq!(phases(&[0x11, 0x10, 0x11, 0x10]), [Teardown; 4]);
    }

    #[test]
    fn a_flow_joined_late_is_data() {
        let record = packet(0x10);
        assert_eq!(FlowProgress::default().phase(&record, &Layout::parse(&record.frame)), Phase::Data);
    }
}
