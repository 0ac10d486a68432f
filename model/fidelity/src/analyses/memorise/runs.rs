//! The longest copied run: how many packets in a row of a session occur in the same order in one training session.
//!
//! Unit: packets. Four equalities, since what counts as a copy depends on what a generator may change:
//! * *exact*: all kept bytes and the length on the wire. A run of these is a copy of a recording.
//! * *shape*: direction, ethertype, IP protocol, length on the wire, TCP flags. What remains of a copy once addresses,
//!   ports, numbers and payload are rewritten.
//! * *shape and time*: the same, and the gap to the session's packet before, in classes of a factor of four.
//! * *shape without repeats*: shape, of only those packets whose shape is not one of the eight before in the session.
//!
//! Independent real sessions share runs too: a long download is a sequence of acknowledgements, and it hides a copy of
//! the same length. So the report also has the number of different packets (`kinds`) and the runs of held-out sessions,
//! and the last equality leaves repeats out. The papers have no such measure: NAIC'24 only compares with the prompt,
//! place by place. The packets of a prompt are a copy too, so a run of that length is no fault.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use netssm_wire::frame::{Layout, Net};
use rayon::prelude::*;
use serde::Serialize;

use super::held_out::Numbered;
use super::suffix::{self, Match};
use super::{Options, Place};
use crate::input::session::CapturedSession;
use crate::stats::{self, Summary};

/// Packets before one whose shape makes it a repeat: enough for data and acknowledgements of three connections in turn.
const BEFORE: usize = 8;

/// A session is copied as a whole if one run takes this share of it.
const WHOLE: f64 = 0.9;

/// Fewest share of whole copies that counts, where held-out sessions have none.
const WHOLE_SHARE: f64 = 0.1;

/// When two packets are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Equality {
    /// All kept bytes and the length.
    Exact,
    /// What is left without identifiers: direction, protocol, length, flags.
    Shape,
    /// Shape, and the class of the gap before it.
    ShapeTime,
    /// Shape, of packets that bring something new.
    ShapeNews,
}

impl Equality {
    /// All, from the strictest on.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Shape, Self::ShapeTime, Self::ShapeNews];
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Packets in a row, of those that the equality looks at.
    pub packets: u32,
    /// Different ones among them, under the same equality.
    pub kinds: usize,
    /// Its first packet.
    pub at: Place,
    /// The packet of training that it begins with.
    pub from: Place,
}

/// Runs that one side shares with training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shared {
    /// Sessions with a packet.
    pub sessions: usize,
    /// The longest run of all; `None` where no packet occurs in training.
    pub longest: Option<Run>,
    /// The longest run of each session, packets.
    pub by_session: Option<Summary>,
    /// Share of packets in runs of at least [`Options::min_run`].
    pub covered: Option<f64>,
    /// Sessions of which one run of at least [`Options::min_run`] packets takes nine tenths (of those looked at).
    pub whole: usize,
    /// The same as `by_session`, every value, sorted.
    #[serde(skip)]
    pub(super) values: Vec<f64>,
}

impl Shared {
    fn len(&self) -> u32 {
        self.longest.as_ref().map_or(0, |run| run.packets)
    }

    fn whole_share(&self) -> f64 {
        if self.sessions == 0 { 0.0 } else { self.whole as f64 / self.sessions as f64 }
    }
}

/// Copied runs under one equality.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Runs {
    /// When two packets are the same.
    pub equality: Equality,
    /// The synthetic side.
    pub synthetic: Shared,
    /// Held-out real sessions; `None` if there are none.
    pub held_out: Option<Shared>,
    /// Whether the synthetic side copies: its longest run has more than [`Options::min_run`] packets and more than
    /// [`Options::factor`] times those of the held-out sessions, or so many times as many of its sessions are whole
    /// copies, a tenth at least. Without held-out sessions only exact runs are judged; `None`: not judged.
    pub copied: Option<bool>,
}

/// Every equality.
pub(super) fn runs(
    training: &[Numbered<'_>],
    synthetic: &[Numbered<'_>],
    held_out: &[Numbered<'_>],
    options: &Options<'_>,
) -> Vec<Runs> {
    let sides = [training, synthetic, held_out];
    let one = |&equality: &Equality| {
        let text = match equality {
            Equality::Exact => Text::of(sides, |s, i| Some((s.frame(i), s.packets[i].wire_len))),
            Equality::Shape => Text::of(sides, |s, i| Some(shape(s, i))),
            Equality::ShapeTime => Text::of(sides, |s, i| Some((shape(s, i), gap_class(s, i)))),
            Equality::ShapeNews => Text::of(sides, news),
        };
        let found = suffix::matches(&text.symbols, text.reference);
        let synthetic = text.shared(&sides, 1, &found, options.min_run);
        let held_out = (!held_out.is_empty()).then(|| text.shared(&sides, 2, &found, options.min_run));
        let copied = copied(equality, &synthetic, held_out.as_ref(), options);
        Runs { equality, synthetic, held_out, copied }
    };
    Equality::ALL.par_iter().map(one).collect()
}

fn copied(
    equality: Equality,
    synthetic: &Shared,
    held_out: Option<&Shared>,
    options: &Options<'_>,
) -> Option<bool> {
    if synthetic.sessions == 0 || held_out.is_none() && equality != Equality::Exact {
        return None;
    }
    let (len, whole) = held_out.map_or((0, 0.0), |side| (side.len(), side.whole_share()));
    let long =
        synthetic.len() > options.min_run && f64::from(synthetic.len()) > options.factor * f64::from(len);
    let share = synthetic.whole_share();
    Some(long || share >= WHOLE_SHARE && share > options.factor * whole)
}

/// What is left of a packet without its identifiers: direction, ethertype, protocol, flags; length.
fn shape(session: &CapturedSession, number: usize) -> (u64, u32) {
    let packet = &session.packets[number];
    let layout = Layout::parse(session.frame(number));
    let protocol = match layout.net {
        Net::Ipv4(ip) => ip.protocol,
        Net::Ipv6(ip) => ip.protocol,
        _ => 0,
    };
    let direction = session.direction(packet).map_or(0, |d| 1 + d as u64);
    let flags = packet.tcp.map_or(0, |segment| u64::from(segment.flags.bits()));
    (direction << 48 | u64::from(layout.ethertype) << 32 | u64::from(protocol) << 16 | flags, packet.wire_len)
}

/// The shape of a packet, if none of those before has it.
fn news(session: &CapturedSession, number: usize) -> Option<(u64, u32)> {
    let here = shape(session, number);
    (number.saturating_sub(BEFORE)..number).all(|before| shape(session, before) != here).then_some(here)
}

/// Class of the time since the packet before: the number of base-4 digits of the microseconds; a clock set back counts
/// as 0.
fn gap_class(session: &CapturedSession, number: usize) -> u8 {
    let Some(before) = number.checked_sub(1) else { return u8::MAX };
    let gap = session.packets[number].time_us.saturating_sub(session.packets[before].time_us).max(0);
    (64 - gap.leading_zeros()).div_ceil(2) as u8
}

/// All sessions as one sequence of symbols: training, synthetic, held-out, each with an end of its own.
struct Text {
    symbols: Vec<u32>,
    /// The packet of each symbol in its session; 0 for an end.
    packets: Vec<u32>,
    sessions: Vec<Stretch>,
    /// Where training ends.
    reference: usize,
}

/// Where the symbols of one session are.
struct Stretch {
    start: usize,
    len: usize,
    side: usize,
    /// Place in that side.
    session: usize,
}

impl Text {
    /// `key` says which packets are equal, and leaves out those that it has none for.
    fn of<'a, K: Hash + Eq>(
        sides: [&[Numbered<'a>]; 3],
        key: impl Fn(&'a CapturedSession, usize) -> Option<K>,
    ) -> Self {
        // Numbers are given, not hashes: equal symbols are equal packets.
        let mut numbers = HashMap::new();
        let mut text = Self { symbols: Vec::new(), packets: Vec::new(), sessions: Vec::new(), reference: 0 };
        for (side, sessions) in sides.into_iter().enumerate() {
            for (i, &(_, session)) in sessions.iter().enumerate() {
                let start = text.symbols.len();
                for packet in 0..session.packets.len() {
                    let next = numbers.len() as u32; // at most one a packet in memory: fewer than 2^32
                    if let Some(key) = key(session, packet) {
                        text.symbols.push(*numbers.entry(key).or_insert(next));
                        text.packets.push(packet as u32);
                    }
                }
                let len = text.symbols.len() - start;
                text.symbols.push(u32::MAX - text.sessions.len() as u32);
                text.packets.push(0);
                text.sessions.push(Stretch { start, len, side, session: i });
            }
            if side == 0 {
                text.reference = text.symbols.len();
            }
        }
        text
    }

    /// The packet that a symbol stands for.
    fn place(&self, sides: &[&[Numbered<'_>]; 3], at: usize) -> Option<Place> {
        let before = self.sessions.partition_point(|session| session.start <= at).checked_sub(1)?;
        let of = &self.sessions[before];
        Some(Place::of(sides[of.side][of.session], self.packets[at] as usize))
    }

    /// What one side shares with training.
    fn shared(&self, sides: &[&[Numbered<'_>]; 3], side: usize, found: &[Match], min_run: u32) -> Shared {
        let mut best: Option<(Match, usize)> = None;
        let mut values = Vec::new();
        let (mut packets, mut covered, mut whole) = (0_usize, 0_usize, 0_usize);
        for &Stretch { start, len, .. } in self.sessions.iter().filter(|of| of.side == side && of.len > 0) {
            let mut longest = 0;
            let mut reach = 0; // where the runs so far end
            for (i, run) in found[start - self.reference..][..len].iter().enumerate() {
                longest = longest.max(run.len);
                if run.len >= min_run {
                    reach = reach.max(i + run.len as usize);
                }
                covered += usize::from(i < reach);
                if run.len > best.map_or(0, |(best, _)| best.len) {
                    best = Some((*run, start + i));
                }
            }
            packets += len;
            whole += usize::from(longest >= min_run && f64::from(longest) >= WHOLE * len as f64);
            values.push(f64::from(longest));
        }
        let sessions = values.len();
        stats::sort(&mut values);
        let longest = best.and_then(|(run, at)| {
            let kinds: HashSet<_> = self.symbols[at..at + run.len as usize].iter().collect();
            let (at, from) = (self.place(sides, at)?, self.place(sides, run.at as usize)?);
            Some(Run { packets: run.len, kinds: kinds.len(), at, from })
        });
        Shared {
            sessions,
            longest,
            by_session: Summary::of(&values),
            covered: (packets > 0).then(|| covered as f64 / packets as f64),
            whole,
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::held_out::numbered;
    use super::*;
    use crate::side::Side;
    use crate::testing::Frames;

    /// UDP packets of these sizes, a millisecond apart.
    fn session(at_us: i64, sizes: impl IntoIterator<Item = usize>) -> CapturedSession {
        let mut frames = Frames::new();
        for (i, size) in sizes.into_iter().enumerate() {
            frames.udp(at_us + 1000 * i as i64, (40001, 443), size);
        }
        frames.session("x")
    }

    fn of(
        training: Vec<CapturedSession>,
        synthetic: Vec<CapturedSession>,
        held_out: Vec<CapturedSession>,
    ) -> Vec<Runs> {
        let [training, synthetic, held_out] = [training, synthetic, held_out].map(Side::of);
        runs(&numbered(&training), &numbered(&synthetic), &numbered(&held_out), &Options::default())
    }

    #[test]
    fn the_longest_run_is_found_and_placed() {
        let training = vec![session(0, [1, 2, 3]), session(0, [9, 4, 5, 6, 7, 8])];
        let synthetic = vec![session(500, [1, 3]), session(77, [2, 2, 4, 5, 6, 7, 1, 1])];
        let all = of(training, synthetic, vec![session(5, [1, 6, 7, 9])]);
        for runs in &all {
            let run = runs.synthetic.longest.as_ref().expect("a run");
            assert_eq!((run.packets, run.kinds), (4, 4), "{:?}", runs.equality);
            assert_eq!((run.at.session, run.at.packet, run.from.session, run.from.packet), (1, 2, 1, 1));
            assert_eq!(runs.held_out.as_ref().map(Shared::len), Some(2));
            assert_eq!(runs.synthetic.by_session.map(|s| (s.min, s.max)), Some((1.0, 4.0)));
            assert_eq!(
                (runs.synthetic.covered, runs.synthetic.whole, runs.copied),
                (Some(0.0), 0, Some(false))
            );
        }
    }

    #[test]
    fn a_run_ends_with_its_session() {
        // 1 2 | 3 4 in training is no run of four.
        let all = of(vec![session(0, [1, 2]), session(0, [3, 4])], vec![session(0, [1, 2, 3, 4])], vec![]);
        assert!(all.iter().all(|runs| runs.synthetic.len() == 2 && runs.held_out.is_none()));
        let judged: Vec<_> = all.iter().map(|runs| runs.copied).collect();
        assert_eq!(judged, [Some(false), None, None, None]);
    }

    #[test]
    fn equalities_tell_bytes_shape_and_time_apart() {
        let sizes = || (0..40).map(|i| i * 7 % 31);
        let training = || vec![session(0, sizes())];
        let longest = |session: CapturedSession| {
            of(training(), vec![session], vec![]).iter().map(|runs| runs.synthetic.len()).collect::<Vec<_>>()
        };
        assert_eq!(longest(session(0, sizes())), [40, 40, 40, 40]);
        let mut frames = Frames::new();
        for (i, size) in sizes().enumerate() {
            frames.udp(8000 * i as i64, (45678, 443), size); // another port, and slower
        }
        assert_eq!(longest(frames.session("x")), [0, 40, 1, 40]);
    }

    #[test]
    fn repeats_do_not_hide_a_copy() {
        let download = |n: usize| std::iter::repeat_n(1200, n);
        let varied = |seed: usize| (0..40).map(move |i| (i * seed) % 97);
        let training = (1..30).map(|seed| session(0, varied(seed).chain(download(100)))).collect();
        let fresh = (40..50).map(|seed| session(0, varied(seed).chain(download(90)))).collect();
        let partly =
            (3..9).map(|seed| session(9, download(20).chain(varied(seed)).chain(varied(55)))).collect();
        let all = of(training, partly, fresh);
        let [_, shape, _, news] = &all[..] else { panic!("four equalities") };
        assert_eq!((shape.held_out.as_ref().map(Shared::len), shape.copied), (Some(90), Some(false)));
        assert_eq!((news.synthetic.len(), news.copied), (40, Some(true)));
        let run = news.synthetic.longest.as_ref().expect("a run");
        assert_eq!((run.kinds, run.at.packet, run.from.packet), (40, 20, 0));
    }

    #[test]
    fn gaps_have_classes_of_a_factor_of_four() {
        let classes = |gap: i64| {
            let mut frames = Frames::new();
            frames.arp(100);
            frames.arp(100 + gap);
            gap_class(&frames.session("x"), 1)
        };
        assert_eq!([-5, 0, 1, 3, 4, 15, 16, 63, 64].map(classes), [0, 0, 1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(gap_class(&session(0, [1]), 0), u8::MAX);
    }

    #[test]
    fn whole_copies_are_copied_though_none_is_long() {
        let sizes = |seed: usize| (0..20).map(move |i| (i * seed) % 97);
        let training: Vec<_> = (1..30).map(|seed| session(0, sizes(seed))).collect();
        let fresh: Vec<_> = (40..50).map(|seed| session(0, sizes(seed).take(15))).collect();
        let shape = |synthetic| of(training.clone(), synthetic, fresh.clone()).swap_remove(1);
        assert_eq!(shape((3..9).map(|seed| session(9, sizes(seed))).collect()).copied, Some(true));
        assert_eq!(shape((61..69).map(|seed| session(9, sizes(seed))).collect()).copied, Some(false));
        assert_eq!(shape(vec![]).copied, None);
    }
}
