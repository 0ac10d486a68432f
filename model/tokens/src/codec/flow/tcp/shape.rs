//! Flag set and payload length class in one token.

use netssm_wire::tcp::Flags;

use super::TcpContext;
use crate::codec::flow::{
    io::{Coded, Io, Stop},
    lengths::{CLASSES, LITERAL, Limit, NONE},
    mask::Mask,
    number::{Range, number},
    vocab::SHAPE,
};

/// Flag sets with a token, in the order of the alphabet: ., P., F., FP., R, R., S, S., SEW, S.E, .E, .W in tcpdump's
/// notation.
pub(in crate::codec::flow) const FLAGS: [Flags; 12] = [
    Flags::from_byte(0x10),
    Flags::from_byte(0x18),
    Flags::from_byte(0x11),
    Flags::from_byte(0x19),
    Flags::from_byte(0x04),
    Flags::from_byte(0x14),
    Flags::from_byte(0x02),
    Flags::from_byte(0x12),
    Flags::from_byte(0xc2),
    Flags::from_byte(0x52),
    Flags::from_byte(0x50),
    Flags::from_byte(0x90),
];
const OTHER: usize = FLAGS.len();

const _: () = assert!((FLAGS.len() + 1) * CLASSES == SHAPE.len as usize);

/// State of the connection, as the sender of the segment sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec::flow) enum Stage {
    /// Neither end has sent a segment.
    Fresh,
    /// The peer's SYN waits for an answer.
    Asked,
    /// The sender's own SYN waits for an answer.
    Waiting,
    /// Both ends have sent segments.
    Open,
    /// The connection is over. The initiator may use its ports again.
    Closed,
}

impl TcpContext<'_> {
    fn stage(&self) -> Stage {
        match (self.this.started(), self.other.started()) {
            _ if self.closed => Stage::Closed,
            (false, false) => Stage::Fresh,
            (false, true) => Stage::Asked,
            (true, false) => Stage::Waiting,
            (true, true) => Stage::Open,
        }
    }

    /// Longest payload of a generated segment with the options that were agreed, or are predicted.
    pub(super) fn most_payload(&self) -> u32 {
        let expected = || super::options::expects_timestamps(self);
        let options = if self.this.agreed_timestamps(self.other).unwrap_or_else(expected) {
            super::options::TIMESTAMPS_LEN as u32
        } else {
            0
        };
        self.room - 20 - options
    }

    fn limit(&self, strict: bool) -> Limit {
        if strict { Limit::up_to(self.most_payload()) } else { Limit::ANY }
    }

    /// Whether the strict rules allow these flags now. For example, a connection begins with a SYN, and the answer is a
    /// SYN-ACK or an RST.
    fn may_send(&self, flags: Flags) -> bool {
        let (syn, ack, rst) =
            (flags.contains(Flags::SYN), flags.contains(Flags::ACK), flags.contains(Flags::RST));
        match self.stage() {
            Stage::Fresh => syn && !ack && !self.back,
            Stage::Asked => ack && (syn || rst),
            Stage::Waiting => syn && !ack && !self.back || rst && !ack,
            Stage::Open if syn && ack => self.back && self.this.segments.len() == 1 && self.this.sent_syn(),
            Stage::Open => !syn && (ack || rst),
            Stage::Closed if syn => !ack && !self.back,
            // After the end of a connection, late acknowledgements and resets.
            Stage::Closed => {
                self.other.started() && ack && (rst || self.this.started() && !flags.contains(Flags::FIN))
            }
        }
    }

    fn collect(&self, strict: bool, mask: &mut Mask) {
        let classes = self.limit(strict).classes(self.lengths, self.next_length);
        for (index, &flags) in FLAGS.iter().enumerate() {
            if strict && !self.may_send(flags) {
                continue;
            }
            // No new data follows a FIN.
            let bare =
                strict && (flags.intersects(Flags::SYN | Flags::RST) || self.closed || self.this.finished());
            for &class in classes.iter().filter(|&&class| !bare || class == NONE) {
                mask.add(SHAPE.at(index * CLASSES + class));
            }
        }
        for class in classes.iter().filter(|_| !strict) {
            mask.add(SHAPE.at(OTHER * CLASSES + class));
        }
    }
}

impl super::TcpDir {
    /// Whether the first segment remembered was a bare SYN.
    fn sent_syn(&self) -> bool {
        self.segments.front().is_some_and(|&(start, end)| end.wrapping_sub(start) == 1)
    }
}

pub(super) fn code<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    flags: Option<Flags>,
    length: Option<u32>,
) -> Coded<(Flags, u32)> {
    let strict = io.strict();
    let token = io.pick(
        || {
            let index = FLAGS.iter().position(|&known| Some(known) == flags).unwrap_or(OTHER);
            let class = cx.lengths.class(length.unwrap_or_default(), cx.next_length);
            SHAPE.at(index * CLASSES + class)
        },
        |mask| cx.collect(strict, mask),
    )?;
    let shape = SHAPE.index(token).ok_or(Stop::Illegal)?;
    let (index, class) = (shape / CLASSES, shape % CLASSES);
    if class != LITERAL && cx.lengths.value(class, cx.next_length).is_none() {
        return Err(Stop::Illegal);
    }
    let flags = match FLAGS.get(index) {
        Some(&known) => known,
        None => {
            let range = || Range::new(0, 0xfff).except(FLAGS.iter().map(|flags| flags.bits().into()));
            Flags::from_bits(number(io, 2, || flags.unwrap_or_default().bits().into(), range)? as u16)
        }
    };
    let length = cx.lengths.code(io, class, cx.next_length, length, cx.limit(strict))?;
    Ok((flags, length))
}
