//! Distances of two sets of packets, byte by byte, and their means.

use std::collections::BTreeMap;

use serde::Serialize;

use super::counts::{ABSENT, Counts, OUTCOMES};
use super::nprint::{HEADERS, Piece, fields};
use crate::stats::{hellinger, js_distance, total_variation};

/// The three distances, of one distribution or in the mean over many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distances {
    /// Jensen-Shannon distance with natural logarithms, 0 to 0.8326.
    pub jsd: f64,
    /// Total variation distance, 0 to 1.
    pub tvd: f64,
    /// Hellinger distance, 0 to 1.
    pub hd: f64,
}

impl Distances {
    fn of(p: &[f64], q: &[f64]) -> Option<Self> {
        Some(Self { jsd: js_distance(p, q)?, tvd: total_variation(p, q)?, hd: hellinger(p, q)? })
    }

    /// Plain mean; `None` of nothing.
    pub(super) fn mean(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        let (mut sum, mut n) = (Self { jsd: 0.0, tvd: 0.0, hd: 0.0 }, 0.0);
        for one in all {
            sum = Self { jsd: sum.jsd + one.jsd, tvd: sum.tvd + one.tvd, hd: sum.hd + one.hd };
            n += 1.0;
        }
        (n > 0.0).then(|| Self { jsd: sum.jsd / n, tvd: sum.tvd / n, hd: sum.hd / n })
    }
}

/// One header over the packets that have it. Without any on one side there is no distance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeaderCompared {
    /// Packets with this header on the real side (mean over splits for halves).
    pub real: u64,
    /// And on the other.
    pub other: u64,
    /// Mean over all bytes of the header as nPrint lays it out: our reading of the paper's number.
    pub bytes: Option<Distances>,
    /// Mean over the bytes that a packet of either side has: without option bytes that nobody uses, whose distance is
    /// always 0.
    pub seen: Option<Distances>,
    /// Mean over the fields, each of one weight.
    pub by_field: Option<Distances>,
    /// Mean over the bits, with the outcomes 0, 1 and absent.
    pub by_bit: Option<Distances>,
    /// By nPrint's name: mean over the bytes, or parts of bytes, of the field.
    pub fields: BTreeMap<&'static str, Distances>,
}

/// One set of packets against another.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Compared {
    /// Which packets there are: shares of IPv4 and IPv6 with TCP, UDP, ICMP and others.
    pub mix: Option<Distances>,
    /// Mean over all bytes of all headers over all packets, an absent header being an outcome as in nPrint's rows: the
    /// mix and the values together, and small where most packets lack most headers.
    pub all_headers: Option<Distances>,
    /// By header.
    pub headers: BTreeMap<&'static str, HeaderCompared>,
}

impl Compared {
    /// Compares counts.
    pub(super) fn of(real: &Counts, other: &Counts) -> Self {
        let rows = (0..HEADERS.len()).flat_map(|header| {
            let byte = move |byte| {
                let row = |counts: &Counts| {
                    let mut row = counts.byte(header, byte).map(|count| count as f64);
                    row[ABSENT] += (counts.packets - counts.headers[header]) as f64;
                    row
                };
                Distances::of(&row(real), &row(other))
            };
            (0..HEADERS[header].len).filter_map(byte)
        });
        Self {
            mix: Distances::of(&real.mix.map(|n| n as f64), &other.mix.map(|n| n as f64)),
            all_headers: Distances::mean(rows),
            headers: (0..HEADERS.len())
                .map(|header| (HEADERS[header].name, HeaderCompared::of(header, real, other)))
                .collect(),
        }
    }

    /// The mean of several comparisons, number by number, over those that have it.
    pub(super) fn mean(all: &[&Self]) -> Option<Self> {
        let over = |of: fn(&Self) -> Option<Distances>| Distances::mean(all.iter().filter_map(|one| of(one)));
        (!all.is_empty()).then(|| Self {
            mix: over(|one| one.mix),
            all_headers: over(|one| one.all_headers),
            headers: HEADERS
                .iter()
                .map(|header| {
                    let of: Vec<_> = all.iter().filter_map(|one| one.headers.get(header.name)).collect();
                    (header.name, HeaderCompared::mean(&of))
                })
                .collect(),
        })
    }

    /// A header by name.
    pub(super) fn header(&self, name: &str) -> Option<&HeaderCompared> {
        self.headers.get(name)
    }
}

/// Distance of every byte of a header, over the packets that have it on either side.
fn bytes<'a>(
    header: usize,
    real: &'a Counts,
    other: &'a Counts,
) -> impl Iterator<Item = (usize, Distances)> + 'a {
    let floats = |counts: &[u64; OUTCOMES]| counts.map(|count| count as f64);
    (0..HEADERS[header].len).filter_map(move |byte| {
        let (p, q) = (floats(real.byte(header, byte)), floats(other.byte(header, byte)));
        Some((byte, Distances::of(&p, &q)?))
    })
}

/// [`HeaderCompared::bytes`] alone.
pub(super) fn mean_over_bytes(header: usize, real: &Counts, other: &Counts) -> Option<Distances> {
    Distances::mean(bytes(header, real, other).map(|(_, distances)| distances))
}

impl HeaderCompared {
    fn of(header: usize, real: &Counts, other: &Counts) -> Self {
        let about = &HEADERS[header];
        let has = |counts: &Counts, byte| counts.byte(header, byte)[..ABSENT].iter().any(|&n| n > 0);
        let bytes: Vec<(usize, Distances)> = bytes(header, real, other).collect();
        let piece = |piece: &Piece| Distances::of(&real.piece(header, *piece), &other.piece(header, *piece));
        let fields: BTreeMap<_, _> = fields(about)
            .into_iter()
            .filter_map(|(name, pieces)| Some((name, Distances::mean(pieces.iter().filter_map(piece))?)))
            .collect();
        let bits = (0..about.len).flat_map(|byte| (0..8).map(move |shift| Piece { byte, shift, width: 1 }));
        Self {
            real: real.headers[header],
            other: other.headers[header],
            bytes: Distances::mean(bytes.iter().map(|(_, distances)| *distances)),
            seen: Distances::mean(
                bytes
                    .iter()
                    .filter(|(byte, _)| has(real, *byte) || has(other, *byte))
                    .map(|(_, distances)| *distances),
            ),
            by_field: Distances::mean(fields.values().copied()),
            by_bit: Distances::mean(bits.filter_map(|bit| piece(&bit))),
            fields,
        }
    }

    fn mean(all: &[&Self]) -> Self {
        let n = (all.len() as u64).max(1);
        let over = |of: fn(&Self) -> Option<Distances>| Distances::mean(all.iter().filter_map(|one| of(one)));
        let names = all.iter().flat_map(|one| one.fields.keys().copied());
        let field = |name: &'static str| {
            let of = all.iter().filter_map(|one| one.fields.get(name).copied());
            Some((name, Distances::mean(of)?))
        };
        Self {
            real: all.iter().map(|one| one.real).sum::<u64>() / n,
            other: all.iter().map(|one| one.other).sum::<u64>() / n,
            bytes: over(|one| one.bytes),
            seen: over(|one| one.seen),
            by_field: over(|one| one.by_field),
            by_bit: over(|one| one.by_bit),
            fields: names.filter_map(field).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::nprint::TCP;
    use super::*;
    use crate::testing::Frames;

    fn near(got: Option<f64>, expected: f64) {
        assert!(got.is_some_and(|got| (got - expected).abs() < 1e-12), "{got:?}, {expected}");
    }

    fn counts(letters: &[&str]) -> Counts {
        let mut frames = Frames::new();
        for letters in letters {
            frames.tcp(0, (50_001, 443), letters, (7, 9), 0);
        }
        Counts::of(&[&frames.session("x")], &Options::default())
    }

    #[test]
    fn the_same_is_0_and_known_differences_are_known_distances() {
        let real = counts(&["S", "S", "A", "A"]);
        let same = Compared::of(&real, &counts(&["A", "S", "A", "S"]));
        let zero = Some(Distances { jsd: 0.0, tvd: 0.0, hd: 0.0 });
        assert_eq!((same.mix, same.all_headers, same.headers["tcp"].bytes), (zero, zero, zero));
        assert_eq!(same.headers["udp"], HeaderCompared::default());

        // Real: half SYN, half ACK. Other: SYN only. A half of the flags byte differs, and so do two of its bits.
        let tcp = &Compared::of(&real, &counts(&["S"])).headers["tcp"];
        assert_eq!((tcp.real, tcp.other), (4, 1));
        let half = (1.0 - 0.5_f64.sqrt()).sqrt(); // Hellinger distance of (1/2, 1/2) from (1, 0)
        near(tcp.fields.get("tcp_syn").map(|d| d.tvd), 0.5);
        near(tcp.fields.get("tcp_syn").map(|d| d.hd), half);
        near(tcp.fields.get("tcp_ackf").map(|d| d.tvd), 0.5);
        near(tcp.fields.get("tcp_sprt").map(|d| d.tvd), 0.0);
        near(tcp.bytes.map(|d| d.tvd), 0.5 / 60.0);
        near(tcp.bytes.map(|d| d.hd), half / 60.0);
        near(tcp.seen.map(|d| d.tvd), 0.5 / 20.0);
        near(tcp.by_field.map(|d| d.tvd), 2.0 * 0.5 / 19.0);
        near(tcp.by_bit.map(|d| d.tvd), 2.0 * 0.5 / 480.0);
        // Jensen-Shannon divergence of (1/2, 1/2) from (1, 0), whose mean is (3/4, 1/4).
        let divergence: f64 =
            0.5 * (0.5 * (0.5_f64 / 0.75).ln() + 0.5 * (0.5_f64 / 0.25).ln() + (1.0_f64 / 0.75).ln());
        near(tcp.fields.get("tcp_syn").map(|d| d.jsd), divergence.sqrt());
    }

    #[test]
    fn an_absent_header_is_an_outcome_over_all_packets_only() {
        let mut frames = Frames::new();
        frames.tcp(0, (50_001, 443), "S", (7, 9), 0);
        frames.udp(0, (50_001, 443), 0);
        let mixed = Counts::of(&[&frames.session("x")], &Options::default());
        let compared = Compared::of(&counts(&["S"]), &mixed);
        assert_eq!(compared.headers["tcp"].bytes.map(|d| d.tvd), Some(0.0));
        assert_eq!(compared.headers["udp"].bytes, None);
        near(compared.mix.map(|d| d.tvd), 0.5);
        // Half of the packets differ in 20 bytes of TCP and 8 of UDP, and in the length and protocol bytes of IPv4.
        near(compared.all_headers.map(|d| d.tvd), 0.5 * (20.0 + 8.0 + 2.0) / 176.0);
        assert_eq!(mixed.headers[TCP], 1);
    }

    #[test]
    fn means_are_over_what_there_is() {
        let (one, two) = (counts(&["S"]), counts(&["A"]));
        let all =
            [Compared::of(&one, &one), Compared::of(&one, &two), Compared::of(&one, &Counts::default())];
        let mean = Compared::mean(&all.iter().collect::<Vec<_>>()).expect("a mean");
        near(mean.headers["tcp"].fields.get("tcp_syn").map(|d| d.tvd), 0.5);
        assert_eq!(mean.headers["icmp"].bytes, None);
        assert_eq!(Compared::mean(&[]), None);
    }
}
