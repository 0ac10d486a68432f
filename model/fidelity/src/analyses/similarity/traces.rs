//! The same distances trace by trace: one TCP flow against one other.
//!
//! The paper has a real trace, a single TCP flow, for every synthetic one, and sets each beside "its ground truth". A
//! distribution is then over the packets of one flow, in which most bytes have few values. Its random row shows that
//! the table was made in this way: uniform bytes against flows of real captures have about its 0.82, 0.99 and 0.95, and
//! much less against all packets of a set together (see the tests).
//!
//! A synthetic set has no pairs in general, so a synthetic flow is set beside a random real one of the same label, and
//! the floor is a real flow beside another one, of another session (of any label where the sides share none). *That is
//! far from the paper's 0.02*: two real flows have other ports, sequence numbers and checksums. Only a flow that
//! repeats the values of the very one that it is compared with comes near.

use std::collections::BTreeMap;

use netssm_wire::frame::protocol;
use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::compare::{Distances, mean_over_bytes};
use super::counts::Counts;
use super::nprint::TCP;
use super::{Groups, Options, baseline};
use crate::input::session::CapturedSession;

/// Pairs of a comparison at most: with 300 the mean is within about 0.02.
const PAIRS: usize = 300;
/// A single packet is no trace.
const LEAST_PACKETS: u32 = 2;
/// Streams of the seed; those before are other baselines'.
const STREAM: u64 = 1 << 32;

/// Mean over pairs of TCP flows of the mean over the bytes of the TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Traces {
    /// Pairs of a synthetic and a real flow.
    pub pairs: u64,
    /// Synthetic against real flows.
    pub synthetic: Option<Distances>,
    /// Pairs of real flows.
    pub floor_pairs: u64,
    /// Real flows against real flows of other sessions, or of the second real set.
    pub floor: Option<Distances>,
    /// Uniform bytes, as many packets, against real flows.
    pub random_bytes: Option<Distances>,
}

#[derive(Clone, Copy)]
struct Trace<'a> {
    session: &'a CapturedSession,
    flow: u32,
}

type ByLabel<'a> = BTreeMap<Option<&'a str>, Vec<Trace<'a>>>;

pub(super) fn analyse(
    real: &Groups<'_>,
    synthetic: &Groups<'_>,
    floor: Option<&Groups<'_>>,
    options: &Options,
) -> Traces {
    let of_real = traces(real);
    let floor = floor.map(traces);
    let synthetic = pairs(&of_real, &traces(synthetic), options, STREAM);
    let floor = pairs(&of_real, floor.as_ref().unwrap_or(&of_real), options, STREAM + 1);
    let alone: Vec<Trace<'_>> = floor.iter().map(|(real, _)| *real).collect();
    let random = alone.par_iter().enumerate().filter_map(|(number, real)| {
        let real = real.counts(options);
        let seed = options.seed.wrapping_add(number as u64);
        mean_over_bytes(TCP, &real, &baseline::random_tcp(real.headers[TCP], seed))
    });
    Traces {
        pairs: synthetic.len() as u64,
        synthetic: mean(&synthetic, options),
        floor_pairs: floor.len() as u64,
        floor: mean(&floor, options),
        random_bytes: Distances::mean(random.collect::<Vec<_>>()),
    }
}

fn traces<'a>(groups: &Groups<'a>) -> ByLabel<'a> {
    let of = |session: &&'a CapturedSession| {
        let session = *session;
        (0..).zip(&session.flows).filter_map(move |(flow, about)| {
            let is = about.first.protocol == protocol::TCP && about.packets >= LEAST_PACKETS;
            is.then_some(Trace { session, flow })
        })
    };
    groups.iter().map(|(label, sessions)| (*label, sessions.iter().flat_map(of).collect())).collect()
}

/// Flows of `other` at random, each with one of `real` of the same label and another session; of any label where the
/// sides have no label in common.
fn pairs<'a>(
    real: &ByLabel<'a>,
    other: &ByLabel<'a>,
    options: &Options,
    stream: u64,
) -> Vec<(Trace<'a>, Trace<'a>)> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(stream);
    let common = other.keys().any(|label| real.contains_key(label));
    let everything: Vec<Trace<'_>> = real.values().flatten().copied().collect();
    let mut all: Vec<(Option<&str>, Trace<'_>)> =
        other.iter().flat_map(|(label, traces)| traces.iter().map(|trace| (*label, *trace))).collect();
    all.shuffle(&mut rng);
    let mut pairs = Vec::new();
    for (label, trace) in all {
        if pairs.len() == PAIRS {
            break;
        }
        let of_label = real.get(&label).map_or(&[][..], Vec::as_slice);
        let real = if common { of_label } else { &everything };
        // A few tries: where nearly all flows are of one session, the pair is given up.
        let drawn = (0..8).filter_map(|_| real.choose(&mut rng)).collect::<Vec<_>>();
        if let Some(real) = drawn.into_iter().find(|real| !std::ptr::eq(real.session, trace.session)) {
            pairs.push((*real, trace));
        }
    }
    pairs
}

fn mean(pairs: &[(Trace<'_>, Trace<'_>)], options: &Options) -> Option<Distances> {
    let one = |(real, other): &(Trace<'_>, Trace<'_>)| {
        mean_over_bytes(TCP, &real.counts(options), &other.counts(options))
    };
    Distances::mean(pairs.par_iter().filter_map(one).collect::<Vec<_>>())
}

impl Trace<'_> {
    fn counts(&self, options: &Options) -> Counts {
        let mut counts = Counts::default();
        let packets = self.session.packets.iter().enumerate().skip(options.skip);
        for (number, _) in packets.filter(|(_, packet)| packet.flow == Some(self.flow)) {
            if options.packets > 0 && counts.packets >= options.packets {
                break;
            }
            counts.frame(self.session.frame(number));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    fn sessions(label: &str, seqs: &[u32]) -> Vec<CapturedSession> {
        let session = |seq: &u32| {
            let mut frames = Frames::new();
            frames.tcp(0, (50_001, 443), "S", (*seq, 0), 0);
            frames.tcp(5, (50_001, 443), "A", (*seq, 7), 0);
            frames.tcp(6, (50_002, 443), "S", (*seq, 0), 0); // one packet: no trace
            frames.udp(9, (50_001, 53), 0);
            frames.session(label)
        };
        seqs.iter().map(session).collect()
    }

    fn groups(sessions: &[CapturedSession]) -> Groups<'_> {
        let mut groups = Groups::new();
        sessions.iter().for_each(|s| groups.entry(s.label.as_deref()).or_default().push(s));
        groups
    }

    #[test]
    fn flows_are_paired_within_the_label_and_across_sessions() {
        let real = [sessions("a", &[1, 1, 1, 1]), sessions("b", &[2])].concat();
        let synthetic = [sessions("a", &[1, 1]), sessions("c", &[9])].concat();
        let got = analyse(&groups(&real), &groups(&synthetic), None, &Options::default());
        assert_eq!((got.pairs, got.floor_pairs), (2, 4), "b has one session, c is not real");
        let zero = Some(Distances { jsd: 0.0, tvd: 0.0, hd: 0.0 });
        assert_eq!((got.synthetic, got.floor), (zero, zero));
        assert!(got.random_bytes.is_some_and(|d| d.tvd > 0.95), "{got:?}");
        assert_eq!(got, analyse(&groups(&real), &groups(&synthetic), None, &Options::default()));
    }

    #[test]
    fn a_flow_is_compared_over_its_own_packets() {
        let (real, synthetic) = (sessions("a", &[1]), sessions("a", &[0x0100_0001]));
        let got =
            analyse(&groups(&real), &groups(&synthetic), Some(&groups(&synthetic)), &Options::default());
        let one_byte = got.synthetic.expect("a pair");
        assert!((one_byte.tvd - 1.0 / 60.0).abs() < 1e-12, "{one_byte:?}");
        assert_eq!((got.floor, got.floor_pairs), (got.synthetic, 1));
    }

    #[test]
    fn without_a_common_label_any_real_flow_will_do() {
        let (real, synthetic) = (sessions("a", &[1, 1]), sessions("b", &[1, 1, 1]));
        let got = analyse(&groups(&real), &groups(&synthetic), None, &Options::default());
        assert_eq!((got.pairs, got.synthetic.map(|d| d.tvd)), (3, Some(0.0)));
    }

    #[test]
    fn without_flows_there_is_no_value() {
        let nothing = Groups::new();
        let got = analyse(&nothing, &nothing, None, &Options::default());
        assert_eq!((got.pairs, got.synthetic, got.floor, got.random_bytes), (0, None, None, None));
    }
}
