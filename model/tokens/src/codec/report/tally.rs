//! Sums of costs: tokens by kind of packet, packets by class of token, bits of the side channel by class.

use std::collections::{BTreeMap, HashSet};

use netssm_wire::flow::FlowKey;
use netssm_wire::frame::Layout;
use serde::Serialize;

use super::PacketKind;

/// Packets by the number of their tokens.
#[derive(Clone, Debug, Default)]
struct Histogram(BTreeMap<usize, u64>);

impl Histogram {
    fn add(&mut self, tokens: usize) {
        *self.0.entry(tokens).or_default() += 1;
    }

    fn packets(&self) -> u64 {
        self.0.values().sum()
    }

    fn mean(&self) -> f64 {
        let tokens: u64 = self.0.iter().map(|(&tokens, n)| tokens as u64 * n).sum();
        tokens as f64 / self.packets().max(1) as f64
    }

    /// The least number of tokens that a share of the packets does not exceed (nearest rank).
    fn quantile(&self, share: f64) -> usize {
        let rank = (share * self.packets() as f64).ceil() as u64;
        let mut seen = 0;
        let at = self.0.iter().find(|(_, n)| {
            seen += **n;
            seen >= rank
        });
        at.map_or(0, |(&tokens, _)| tokens)
    }
}

/// What packets of one kind cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindRow {
    /// Name of the kind.
    pub kind: &'static str,
    /// Packets of it.
    pub packets: u64,
    /// Tokens a packet on average.
    pub mean: f64,
    /// Half of the packets take at most this many.
    pub median: usize,
    /// 99 % of the packets take at most this many.
    pub p99: usize,
}

/// How many packets have a token of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// Name of the class in the grammar.
    pub class: &'static str,
    /// Packets with at least one.
    pub packets: u64,
    /// The same as a share of all packets.
    pub share: f64,
}

/// One class of the side channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideRow {
    /// Name of the class.
    pub class: &'static str,
    /// Bits per packet.
    pub bits_per_packet: f64,
}

/// The sums of any number of captures.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    all: Histogram,
    kinds: BTreeMap<PacketKind, Histogram>,
    opening: Histogram,
    escapes: Histogram,
    /// Flows of the current capture.
    flows: HashSet<FlowKey>,
    classes: BTreeMap<(usize, &'static str), u64>,
    side: BTreeMap<(usize, &'static str), u64>,
}

impl Tally {
    /// Forgets the flows of the capture before.
    pub(super) fn begin_capture(&mut self) {
        self.flows.clear();
    }

    /// Adds a packet of so many tokens.
    pub(super) fn packet(&mut self, frame: &[u8], tokens: usize, escaped: bool) {
        let layout = Layout::parse(frame);
        self.all.add(tokens);
        self.kinds.entry(PacketKind::of(frame, &layout)).or_default().add(tokens);
        if layout.five_tuple(frame).is_some_and(|tuple| self.flows.insert(tuple.key())) {
            self.opening.add(tokens);
        }
        if escaped {
            self.escapes.add(tokens);
        }
    }

    /// Counts that the last packet has a token of this class, the `index`-th of its grammar.
    pub(super) fn class(&mut self, index: usize, name: &'static str) {
        *self.classes.entry((index, name)).or_default() += 1;
    }

    /// Adds bits of the side channel.
    pub(super) fn hidden(&mut self, index: usize, name: &'static str, bits: u64) {
        *self.side.entry((index, name)).or_default() += bits;
    }

    /// Costs of each kind of packet; then, over all kinds, of the first packets of flows, of escapes, and of all
    /// packets.
    pub fn kinds(&self) -> Vec<KindRow> {
        let kinds = PacketKind::ALL.iter().filter_map(|kind| Some((kind.as_str(), self.kinds.get(kind)?)));
        let over_all = [
            ("first packet of a flow", &self.opening),
            ("escaped", &self.escapes),
            ("all packets", &self.all),
        ];
        let rows = kinds.chain(over_all).map(|(kind, histogram)| KindRow {
            kind,
            packets: histogram.packets(),
            mean: histogram.mean(),
            median: histogram.quantile(0.5),
            p99: histogram.quantile(0.99),
        });
        rows.filter(|row| row.packets > 0).collect()
    }

    /// How many packets have a token of each class, in the order of the grammar; empty for a codec without classes.
    pub fn classes(&self) -> Vec<ClassRow> {
        let all = self.all.packets().max(1) as f64;
        let row = |(&(_, class), &packets): (&(usize, &'static str), &u64)| ClassRow {
            class,
            packets,
            share: packets as f64 / all,
        };
        self.classes.iter().map(row).collect()
    }

    /// Bits in the side channel, by class; empty for a codec without one.
    pub fn side(&self) -> Vec<SideRow> {
        let all = self.all.packets().max(1) as f64;
        let row = |(&(_, class), &bits): (&(usize, &'static str), &u64)| SideRow {
            class,
            bits_per_packet: bits as f64 / all,
        };
        self.side.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.packets(), histogram.mean(), histogram.quantile(0.5)), (0, 0.0, 0));
        (1..=200).for_each(|tokens| histogram.add(tokens));
        assert_eq!((histogram.mean(), histogram.quantile(0.5), histogram.quantile(0.99)), (100.5, 100, 198));
        histogram.add(1_000);
        assert_eq!(histogram.quantile(1.0), 1_000);
    }

    #[test]
    fn a_flow_opens_once_a_capture() {
        let frame = [
            &[2; 12][..],
            &[8, 0, 0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
            &[0x9c, 0x40, 1, 0xbb, 0, 8, 0, 0],
        ]
        .concat();
        let mut tally = Tally::default();
        for tokens in [20, 4] {
            tally.packet(&frame, tokens, false);
        }
        tally.begin_capture();
        tally.packet(&frame, 18, true);
        let rows = tally.kinds();
        let row = |kind: &str| rows.iter().find(|row| row.kind == kind).cloned().expect("a row");
        assert_eq!((row("first packet of a flow").packets, row("first packet of a flow").mean), (2, 19.0));
        assert_eq!((row("QUIC (UDP 443)").packets, row("escaped").packets), (3, 1));
        assert_eq!(rows.last().map(|row| (row.kind, row.p99)), Some(("all packets", 20)));
        assert!(rows.iter().all(|row| row.kind != "DNS"), "kinds that do not occur have no row");
    }
}
