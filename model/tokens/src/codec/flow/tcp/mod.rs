//! TCP: shape, sequence and acknowledgement number, window, options, urgent pointer.
//!
//! ```text
//! tcp := SHAPE [byte byte] [length] [seq] [ack] [window] options [URGENT byte byte]
//! ```
//! `SHAPE` names a set of flags and a class of payload lengths together. A set of flags without a token is written as
//! two bytes.

mod ack;
mod options;
mod sack;
mod sequence;
mod shape;
mod syn;
mod timestamps;
mod window;

use std::collections::VecDeque;

#[cfg(test)]
pub(super) use self::syn::LAYOUTS;
use self::{ack::AckCoded, sequence::SeqCoded, timestamps::Timestamps};
use self::{options::OptionsCoded, window::WindowState};
pub(super) use self::{
    syn::{SynTemplate, raw as raw_options},
    timestamps::Rate,
};
use netssm_wire::tcp::{Flags, Seq};

use super::{
    io::{Coded, Io},
    lengths::Lengths,
    number::{Range, number},
    transport::Tcp,
    vocab::URGENT,
};

/// Segments and holes that are remembered of a direction.
const SEGMENTS: usize = 64;
const HOLES: usize = 16;
/// Acknowledged segments that are kept because they may still be sent again.
const REPEATABLE: usize = 8;

/// Signed distance from `b` to `a` in sequence space.
pub(super) fn distance(a: u32, b: u32) -> i64 {
    i64::from(Seq(b).distance(Seq(a)))
}

/// Frees the memory that a burst needed.
fn let_go<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > 16 + 2 * queue.len() {
        queue.shrink_to(4 + queue.len() * 3 / 2);
    }
}

/// State of one direction of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct TcpDir {
    /// Highest end sent: the next sequence number.
    next: Option<u32>,
    /// Segments by time of sending, start and end.
    segments: VecDeque<(u32, u32)>,
    /// Ranges skipped and not sent since, oldest first; at most [`HOLES`]. Most connections have none.
    holes: Vec<(u32, u32)>,
    /// Last acknowledgement sent.
    acked: Option<u32>,
    /// Whether the last named acknowledgement repeated the one before, for segments without and with payload.
    ack_repeats: [bool; 2],
    window: WindowState,
    timestamps: Timestamps,
    /// Whether options carry timestamps, once known.
    timestamped: Option<bool>,
    /// What its SYN offered.
    offered: Option<syn::Offered>,
    /// Blocks of the last selective acknowledgement, four at most.
    sack: Vec<(u32, u32)>,
    fin: bool,
    rst: bool,
}

impl TcpDir {
    /// A new direction, with the last window and timestamp rate of its host.
    pub(super) fn new(window: u16, rate: Rate) -> Self {
        Self { window: WindowState::new(window), timestamps: Timestamps::new(rate), ..Self::default() }
    }

    /// Whether it has sent a segment, or the peer has acknowledged one.
    fn started(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn window(&self) -> u16 {
        self.window.last()
    }

    pub(super) fn rate(&self) -> Rate {
        self.timestamps.rate()
    }

    /// Whether the ends agreed on timestamps, if both SYNs are known. If both SYNs had them, all segments except resets
    /// must have them; otherwise none may (RFC 7323 section 3.2).
    fn agreed_timestamps(&self, other: &Self) -> Option<bool> {
        Some(self.offered?.timestamps && other.offered?.timestamps)
    }

    pub(super) fn finished(&self) -> bool {
        self.fin
    }
}

/// The context of a TCP header.
pub(super) struct TcpContext<'a> {
    pub(super) this: &'a TcpDir,
    pub(super) other: &'a TcpDir,
    pub(super) lengths: &'a Lengths,
    /// Length that followed the last pair of lengths before.
    pub(super) next_length: Option<u16>,
    pub(super) time_us: i64,
    /// SYN options that the host sent last, and those of the session's hosts.
    pub(super) host_template: Option<&'a SynTemplate>,
    pub(super) templates: &'a [SynTemplate],
    pub(super) back: bool,
    /// The connection was reset or closed from both sides.
    pub(super) closed: bool,
    /// Bytes that a generated packet can hold behind its IP header.
    pub(super) room: u32,
}

/// The coded values of a TCP header.
#[derive(Clone, Debug)]
pub(super) struct TcpCoded {
    pub(super) payload_len: u32,
    flags: Flags,
    window: u16,
    seq: SeqCoded,
    ack: AckCoded,
    options: OptionsCoded,
}

impl TcpCoded {
    /// The options of a SYN without their timestamps.
    pub(super) fn template(&self) -> Option<&SynTemplate> {
        self.options.template.as_ref()
    }
}

/// Codes the TCP header. The caller sets the ports, which are those of the flow.
pub(super) fn code<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<(&Tcp, u32)>,
) -> Coded<(Tcp, TcpCoded)> {
    let tcp = want.map(|(tcp, _)| tcp);
    let (flags, payload_len) = shape::code(cx, io, tcp.map(|tcp| tcp.flags), want.map(|(_, len)| len))?;
    let seq = sequence::code(cx, io, tcp.map(|tcp| tcp.seq), flags, payload_len)?;
    let ack = ack::code(cx, io, tcp.map(|tcp| tcp.ack), flags, payload_len)?;
    let window = window::code(&cx.this.window, io, tcp.map(|tcp| tcp.window), flags, ack.value)?;
    let (bytes, options) = options::code(cx, io, tcp, flags, payload_len, seq.value, ack.value)?;
    let strict = io.strict();
    let urgent = if io.flag(URGENT, || tcp.is_some_and(|tcp| tcp.urgent != 0), || !strict)? {
        number(io, 2, || tcp.map_or(0, |tcp| tcp.urgent.into()), || Range::new(1, 0xffff))? as u16
    } else {
        0
    };
    let header = Tcp {
        ports: (0, 0),
        seq: seq.value,
        ack: ack.value,
        flags,
        window,
        checksum: 0,
        urgent,
        options_len: bytes.len() as u8,
        options: bytes,
    };
    Ok((header, TcpCoded { payload_len, flags, window, seq, ack, options }))
}

/// Updates both directions by a coded segment.
pub(super) fn apply(this: &mut TcpDir, other: &mut TcpDir, coded: &TcpCoded, time_us: i64) {
    let flags = coded.flags;
    let payload = coded.payload_len > 0;
    if coded.seq.restarts() && !flags.contains(Flags::ACK) {
        // The ports are used again. Nothing of the old connection stays except the defaults of its hosts.
        for dir in [&mut *this, &mut *other] {
            *dir = TcpDir::new(dir.window.last(), dir.timestamps.rate());
        }
    }
    sequence::apply(this, other, &coded.seq, flags, coded.payload_len);
    ack::apply(this, other, &coded.ack, flags, payload);
    this.window.apply(coded.window, flags, coded.ack.value);
    options::apply(this, other, &coded.options, flags, time_us);
    this.fin |= flags.contains(Flags::FIN);
    this.rst |= flags.contains(Flags::RST);
    if flags.contains(Flags::SYN) && !flags.contains(Flags::ACK) {
        (this.fin, this.rst) = (false, false);
    }
}

/// Whether a connection is over.
pub(super) fn is_closed(a: &TcpDir, b: &TcpDir) -> bool {
    a.rst || b.rst || a.fin && b.fin
}

/// Feeds the tables that tokens refer to into the hash of the codec's id.
pub(super) fn tables(hash: &mut dyn FnMut(&[u8])) {
    shape::FLAGS.iter().for_each(|flags| hash(&flags.bits().to_le_bytes()));
    syn::LAYOUTS.iter().for_each(|layout| hash(&[&[layout.len() as u8], *layout].concat()));
    syn::SIZES.iter().for_each(|size| hash(&size.to_le_bytes()));
}
