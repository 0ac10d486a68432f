//! Autocorrelation of gaps at lag 1, one value per session: whether gaps follow each other as in real traffic.
//!
//! Real gaps come in trains: short after short, long after long. Gaps drawn one by one from the right distribution have
//! an autocorrelation near 0 however well that distribution fits, which no row of `gap` can see. Gaps span six decades,
//! and over plain gaps the few longest decide; so the rows are over the logarithm, log10(1 us + gap), and `lag1.plain`
//! is beside them for comparison with papers. Gaps are those of `gap.session`: between packets that go the same way,
//! over all flows.
//!
//! `r = sum (x[i] - m)(x[i+1] - m) / sum (x[i] - m)^2` with m the mean over all: the usual estimate (Box, Jenkins,
//! Reinsel, "Time series analysis", section 2.1), from -1 to 1. Sessions with fewer than [`FEWEST`] gaps or with equal
//! gaps only have no value.

use crate::input::session::{CapturedSession, Direction};
use crate::rows::collect::{Collected, Measure, Row};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 4] = [
    Row::sample("lag1.all", "correlation", "of the logarithms of consecutive gaps of a session"),
    Row::sample("lag1.forward", "correlation", "the same of packets sent by initiators of flows"),
    Row::sample("lag1.backward", "correlation", "the same of packets sent to initiators of flows"),
    Row::sample("lag1.plain", "correlation", "of consecutive gaps of a session, without the logarithm"),
];

/// With this many gaps the estimate of independent ones is off by a quarter (1 / sqrt(n)); with fewer it says nothing.
const FEWEST: usize = 16;

fn add(session: &CapturedSession, out: &mut Collected) {
    let all = gaps(session, None);
    let logarithms = |gaps: &[f64]| gaps.iter().map(|gap| (1.0 + gap).log10()).collect::<Vec<_>>();
    out.extend(&ROWS[0], lag1(&logarithms(&all)));
    for (row, direction) in [(&ROWS[1], Direction::Forward), (&ROWS[2], Direction::Backward)] {
        out.extend(row, lag1(&logarithms(&gaps(session, Some(direction)))));
    }
    out.extend(&ROWS[3], lag1(&all));
}

/// Gaps in microseconds between consecutive packets of a session, or of those that go one way. A clock set back counts
/// as 0.
pub(crate) fn gaps(session: &CapturedSession, way: Option<Direction>) -> Vec<f64> {
    let goes = |packet: &&crate::input::session::Packet| way.is_none() || session.direction(packet) == way;
    let times: Vec<i64> = session.packets.iter().filter(goes).map(|packet| packet.time_us).collect();
    times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).max(0) as f64).collect()
}

fn lag1(series: &[f64]) -> Option<f64> {
    let n = series.len();
    if n < FEWEST || series.iter().all(|x| *x == series[0]) {
        return None;
    }
    let mean = series.iter().sum::<f64>() / n as f64;
    let variance: f64 = series.iter().map(|x| (x - mean).powi(2)).sum();
    let beside: f64 = series.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    (variance > 0.0).then(|| beside / variance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn known_series_have_their_autocorrelation() {
        // By hand: 1 and -1 in turn, n terms, give -(n - 1) / n; a ramp 1..n gives 1 - 3 / n roughly, and of 1..20
        // 0.85.
        let turns: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!((lag1(&turns).expect("a value") + 19.0 / 20.0).abs() < 1e-12);
        let ramp: Vec<f64> = (1..=20).map(f64::from).collect();
        assert!((lag1(&ramp).expect("a value") - 0.85).abs() < 1e-12);
        assert_eq!((lag1(&[0.1; 30]), lag1(&ramp[..FEWEST - 1])), (None, None));
    }

    #[test]
    fn trains_of_gaps_are_correlated_and_sessions_give_a_value_each() {
        let mut frames = Frames::new();
        let mut at = 0;
        for i in 0..80 {
            at += if (i / 10) % 2 == 0 { 10 } else { 50_000 };
            frames.udp(at, if i % 2 == 0 { (40001, 443) } else { (443, 40001) }, 10);
        }
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        for row in &ROWS {
            let [value] = out.values(row) else { panic!("{}: {:?}", row.name, out.values(row)) };
            assert!((0.5..=1.0).contains(value), "{}: {value}", row.name);
        }
    }
}
