//! The rows of NetSSM's Table 3 and what each one means here.
//!
//! The paper names its rows and says in a sentence or two what they are after; the program that it counted with is not
//! published. The definitions here follow the RFC that has the rule. In some rows the paper's numbers show that it
//! counted something else; for example, *all* of its real captures have ACKs beyond the data sent. The rule of the RFC
//! decides.

use serde::Serialize;

use super::facts::{Fact, FlowFacts};

/// The part of the table that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowGroup {
    /// Correct behaviour: part (a) of the table.
    Correct,
    /// A deviation: part (b).
    Deviation,
    /// Not in the paper; the same kind of question.
    Further,
}

/// Per cent that the paper reports, on its own data. `None`: the paper has no such row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Published {
    /// Real captures of many flows (Netflix, 100).
    pub multi_real: f64,
    /// NetSSM's captures of many flows (100).
    pub multi_netssm: f64,
    /// Real captures of one flow (1,108).
    pub single_real: f64,
    /// NetSSM's captures of one flow (803).
    pub single_netssm: f64,
    /// NetDiffusion's captures of one flow (1,000), without its repairs afterwards.
    pub single_netdiffusion: f64,
}

/// A row of the table. Rows are equal if their names are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ComplianceRow {
    /// Stable name.
    pub name: &'static str,
    /// As the paper calls it.
    pub title: &'static str,
    /// Which part.
    pub kind: RowGroup,
    /// When a flow counts.
    pub about: &'static str,
    /// What the cases are.
    pub cases: &'static str,
    /// Where the rule stands.
    pub source: &'static str,
    /// The paper's numbers.
    pub published: Option<Published>,
    /// Takes the row's fact from a flow; `None`: the row is about packets, not flows.
    #[serde(skip)]
    pub(super) fact: Option<fn(&FlowFacts) -> Fact>,
}

impl PartialEq for ComplianceRow {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const fn published(numbers: [f64; 5]) -> Option<Published> {
    let [multi_netssm, multi_real, single_netssm, single_real, single_netdiffusion] = numbers;
    Some(Published { multi_real, multi_netssm, single_real, single_netssm, single_netdiffusion })
}

/// All rows, in the paper's order. Its numbers are in its order too: NetSSM and real of many flows, NetSSM, real and
/// NetDiffusion of one.
pub const ROWS: [ComplianceRow; 17] = [
    ComplianceRow {
        name: "handshake",
        title: "Correct handshakes found",
        kind: RowGroup::Correct,
        about: "a SYN, a SYN-ACK of the other end that acknowledges ISN + 1, and an ACK of the first end that acknowledges the \
                answer's ISN + 1 and starts at its own ISN + 1 or later, in this order",
        cases: "connections with a SYN",
        source: "RFC 9293 section 3.5",
        published: published([100.0, 100.0, 64.4, 70.2, 0.0]),
        fact: Some(|f| f.handshake),
    },
    ComplianceRow {
        name: "ip.version",
        title: "Correct IPv4 version",
        kind: RowGroup::Correct,
        about: "every packet whose EtherType says IPv4 (IPv6) has 4 (6) in the version field; a packet that has not belongs to no \
                flow, so only captures are judged",
        cases: "packets with an IP EtherType",
        source: "RFC 791 section 3.1, RFC 8200 section 3",
        published: published([92.0, 100.0, 100.0, 100.0, 100.0]),
        fact: None,
    },
    ComplianceRow {
        name: "ack.progress",
        title: "ACK progress",
        kind: RowGroup::Correct,
        about: "acknowledgement numbers never move back in either direction, and at least one acknowledges something that the capture \
                shows to be sent",
        cases: "ACKs after a direction's first",
        source: "RFC 9293 section 3.4",
        published: published([99.0, 100.0, 63.1, 69.6, 0.0]),
        fact: Some(|f| f.ack_progress),
    },
    ComplianceRow {
        name: "seq.progress",
        title: "SEQ progress",
        kind: RowGroup::Correct,
        about: "no segment starts beyond the end of what its direction has sent, none before its first number (keep-alives may, by \
                one), and at least one direction moves on; retransmissions are no fault",
        cases: "segments after a direction's first",
        source: "RFC 9293 section 3.4",
        published: published([99.0, 100.0, 60.6, 68.9, 0.0]),
        fact: Some(|f| f.seq_progress),
    },
    ComplianceRow {
        name: "fin",
        title: "FIN seen",
        kind: RowGroup::Correct,
        about: "a segment with FIN",
        cases: "segments",
        source: "RFC 9293 section 3.6",
        published: published([63.0, 13.0, 15.3, 5.9, 51.6]),
        fact: Some(|f| f.fin),
    },
    ComplianceRow {
        name: "fin.ack",
        title: "FIN-ACK observed",
        kind: RowGroup::Correct,
        about: "a FIN is answered by a segment of the other end with FIN and ACK that acknowledges it",
        cases: "connections with a FIN",
        source: "RFC 9293 section 3.6",
        published: published([3.0, 7.0, 3.1, 0.5, 0.0]),
        fact: Some(|f| f.fin_ack),
    },
    ComplianceRow {
        name: "syn.late",
        title: "Unexpected SYN after estab.",
        kind: RowGroup::Deviation,
        about: "a SYN, with ACK or without, in the established state that repeats neither SYN of the handshake",
        cases: "segments with SYN",
        source: "RFC 9293 section 3.10.7.4",
        published: published([6.0, 0.0, 0.0, 0.0, 0.0]),
        fact: Some(|f| f.late_syn),
    },
    ComplianceRow {
        name: "rst.established",
        title: "RST in established state",
        kind: RowGroup::Deviation,
        about: "a RST after the handshake (or after both ends sent ACKs, where the beginning is not in the capture) and before any \
                FIN",
        cases: "RSTs",
        source: "RFC 9293 section 3.10.7.4",
        published: published([6.0, 22.0, 35.7, 35.7, 0.0]),
        fact: Some(|f| f.rst_established),
    },
    ComplianceRow {
        name: "timestamps.gone",
        title: "Timestamps disappeared",
        kind: RowGroup::Deviation,
        about: "a segment without timestamps, neither SYN nor RST, although both SYNs offered them or an earlier segment had them",
        cases: "segments that must have timestamps",
        source: "RFC 7323 section 3.2",
        published: published([5.0, 10.0, 23.2, 24.5, 0.0]),
        fact: Some(|f| f.timestamps_gone),
    },
    ComplianceRow {
        name: "flags.conflict",
        title: "Conflicting flags",
        kind: RowGroup::Deviation,
        about: "SYN with FIN, SYN with RST, FIN with RST, or none of SYN, ACK and RST",
        cases: "segments",
        source: "RFC 9293 sections 3.5.2 and 3.10.7",
        published: published([57.0, 0.0, 0.5, 0.0, 34.4]),
        fact: Some(|f| f.conflict),
    },
    ComplianceRow {
        name: "ack.beyond",
        title: "ACK beyond sent data",
        kind: RowGroup::Deviation,
        about: "an ACK of what the other direction has not sent by then, as far as the capture shows",
        cases: "ACKs of a direction that was seen",
        source: "RFC 9293 section 3.10.7.4",
        published: published([99.0, 100.0, 56.3, 46.9, 0.0]),
        fact: Some(|f| f.ack_beyond),
    },
    ComplianceRow {
        name: "mss.outside",
        title: "MSS outside handshake",
        kind: RowGroup::Deviation,
        about: "a maximum segment size in a segment without SYN",
        cases: "segments without SYN",
        source: "RFC 9293 section 3.7.1",
        published: published([22.0, 17.0, 3.4, 2.0, 0.0]),
        fact: Some(|f| f.mss_outside),
    },
    ComplianceRow {
        name: "wscale.outside",
        title: "WScale outside handshake",
        kind: RowGroup::Deviation,
        about: "a window scale in a segment without SYN",
        cases: "segments without SYN",
        source: "RFC 7323 section 2.2",
        published: published([22.0, 17.0, 3.4, 2.0, 0.0]),
        fact: Some(|f| f.wscale_outside),
    },
    ComplianceRow {
        name: "sack.unasked",
        title: "SACK used w/o OK",
        kind: RowGroup::Deviation,
        about: "a SACK option although the peer's SYN did not permit it; not judged where that SYN, or the end of its options, was not \
                captured",
        cases: "segments with SACK whose peer's SYN is known",
        source: "RFC 2018 section 2",
        published: published([58.0, 14.0, 1.1, 2.9, 18.7]),
        fact: Some(|f| f.sack_unasked),
    },
    ComplianceRow {
        name: "sackok.outside",
        title: "SACK permitted outside handshake",
        kind: RowGroup::Further,
        about: "SACK permitted in a segment without SYN",
        cases: "segments without SYN",
        source: "RFC 2018 section 2",
        published: None,
        fact: Some(|f| f.sack_ok_outside),
    },
    ComplianceRow {
        name: "options.broken",
        title: "Options that cannot be read",
        kind: RowGroup::Further,
        about: "an option whose length leads beyond the header, or a header shorter than its fixed part; only of headers that were \
                captured whole",
        cases: "segments with a whole header",
        source: "RFC 9293 section 3.1",
        published: None,
        fact: Some(|f| f.options_broken),
    },
    ComplianceRow {
        name: "closed",
        title: "Closed by both ends",
        kind: RowGroup::Further,
        about: "both ends sent a FIN, and each was acknowledged",
        cases: "connections with a FIN",
        source: "RFC 9293 section 3.6",
        published: None,
        fact: Some(|f| f.closed),
    },
];

/// A row of Table 4: option counts as the paper has them, in the order of [`Published`] (many flows real and NetSSM,
/// one flow real, NetSSM and NetDiffusion). They are totals of captures of unequal number and length.
pub const PUBLISHED_OPTIONS: [(&str, [u64; 5]); 5] = [
    ("MSS", [10_844, 47_607, 1_654, 2_183, 47_497]),
    ("WScale", [10_824, 47_402, 1_654, 2_181, 66_981]),
    ("SACKOK", [10_824, 47_333, 1_638, 2_165, 350_189]),
    ("Timestamp", [718_878, 786_569, 1_856_168, 39_993, 451_055]),
    ("SACK", [75_353, 32_251, 39_097, 1_025, 132_688]),
];
