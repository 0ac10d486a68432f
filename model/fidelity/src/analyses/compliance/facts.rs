//! Facts of a flow for compliance: how often each rule applied, and how often it held.

use serde::Serialize;

use super::options::OptionCounts;
use crate::rows::collect::Share;

/// One question about a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The flow counts for the row.
    pub holds: bool,
    /// Cases that the row judged (segments, ACKs or connections), and in how many it holds.
    pub cases: Share,
}

impl Fact {
    /// Counts a case; the row holds once one of them does.
    pub(super) fn any(&mut self, hit: bool) {
        self.cases.count(hit);
        self.holds |= hit;
    }
}

/// How the last connection of a flow stood when its capture ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// No FIN and no RST: open, or never opened.
    #[default]
    Open,
    /// One end sent a FIN.
    HalfClosed,
    /// Both ends sent a FIN, not both of which were acknowledged.
    Closing,
    /// Both ends sent a FIN and acknowledged the other's.
    Closed,
    /// A RST before it was established: refused, or given up.
    Refused,
    /// A RST in the established state.
    Reset,
    /// A RST after a FIN.
    ResetAfterFin,
}

impl End {
    /// All, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::HalfClosed,
        Self::Closing,
        Self::Closed,
        Self::Refused,
        Self::Reset,
        Self::ResetAfterFin,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Open => "open (no FIN, no RST)",
            Self::HalfClosed => "half closed (FIN of one end)",
            Self::Closing => "closing (FIN of both, not both acknowledged)",
            Self::Closed => "closed (FIN of both, both acknowledged)",
            Self::Refused => "refused (RST before established)",
            Self::Reset => "reset (RST in the established state)",
            Self::ResetAfterFin => "reset after a FIN",
        }
    }
}

/// Compliance of one TCP flow, over all connections that used its five-tuple.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowFacts {
    /// Segments with a whole fixed header.
    pub segments: u64,
    /// Segments whose options were not captured to their end.
    pub cut_options: u64,
    /// Options by kind.
    pub options: OptionCounts,
    /// SYNs without ACK.
    pub syns: u64,
    /// SYNs with ACK.
    pub syn_acks: u64,
    /// FINs.
    pub fins: u64,
    /// RSTs.
    pub rsts: u64,
    /// Segments with data.
    pub data: u64,
    /// Segments that start beyond the end of what their direction has sent, one a gap.
    pub jumps: u64,
    /// Segments with data, SYN or FIN that start before the end of what their direction has sent, keep-alives left out:
    /// retransmitted, or overtaken.
    pub behind: u64,
    /// How it stood at the end.
    pub end: End,
    /// Cases: connections that began with a SYN in the capture.
    pub handshake: Fact,
    /// Cases: ACKs after the first one of a direction.
    pub ack_progress: Fact,
    /// Cases: segments after the first one of a direction.
    pub seq_progress: Fact,
    /// Cases: segments.
    pub fin: Fact,
    /// Cases: connections with a FIN.
    pub fin_ack: Fact,
    /// Cases: connections with a FIN.
    pub closed: Fact,
    /// Cases: segments with SYN.
    pub late_syn: Fact,
    /// Cases: RSTs.
    pub rst_established: Fact,
    /// Cases: segments that must have timestamps.
    pub timestamps_gone: Fact,
    /// Cases: segments.
    pub conflict: Fact,
    /// Cases: ACKs of a direction that was seen.
    pub ack_beyond: Fact,
    /// Cases: segments without SYN.
    pub mss_outside: Fact,
    /// Cases: segments without SYN.
    pub wscale_outside: Fact,
    /// Cases: segments without SYN.
    pub sack_ok_outside: Fact,
    /// Cases: segments with SACK whose peer's SYN is known.
    pub sack_unasked: Fact,
    /// Cases: segments whose options were captured to their end.
    pub options_broken: Fact,
}
