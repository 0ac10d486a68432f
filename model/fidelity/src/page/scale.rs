//! An axis in numbers: the range that its values need, where it has ticks, and how these read.
//!
//! Log axes count in decades. A range without width is widened, so that a single value has a place. Values that are not
//! finite or beyond 1e300, and on a log axis those below 1e-300, are not drawn.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// Values beyond this are not drawn: the width of the range between them must be a number.
const LARGEST: f64 = 1e300;

/// Ranges narrower than this share of their values have no width that could be told in ticks.
const NARROWEST: f64 = 1e-9;

/// About so many ticks.
const TICKS: f64 = 6.0;

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// The ends, in the unit of the axis, or of a log axis in decades.
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// For all of `values` that can be drawn; `None` if none can.
    pub(super) fn of(values: impl Iterator<Item = f64>, log: bool) -> Option<Self> {
        let (low, high) = values
            .filter_map(|value| place(value, log))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return None;
        }
        let far = low.abs().max(high.abs());
        let (low, high) = if log {
            if high - low < NARROWEST { (low - 0.5, high + 0.5) } else { (low, high) }
        } else if far < 1.0 / LARGEST {
            (-1.0, 1.0)
        } else if high - low < far * NARROWEST {
            (low - 0.5 * far, high + 0.5 * far)
        } else if low > 0.0 && low < 0.5 * high {
            (0.0, high) // quantities that reach near 0 are read against it
        } else {
            (low, high)
        };
        Some(Self { low, high, log })
    }

    /// Where `value` is, 0 (low end) to 1; `None` if it cannot be drawn.
    pub(super) fn share(&self, value: f64) -> Option<f64> {
        Some(((place(value, self.log)? - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }

    fn ticks(&self) -> Vec<f64> {
        let inside = |x: &f64| (self.low..=self.high).contains(x);
        // A range that was widened may reach where nothing is drawn.
        let drawn = |value: &f64| place(*value, self.log).is_some();
        if !self.log {
            return steps(self.low, self.high).filter(inside).filter(drawn).collect();
        }
        let (first, last) = (self.low.ceil() as i32, self.high.floor() as i32);
        if last - first >= 1 {
            let every = ((last - first) as f64 / TICKS).ceil().max(1.0) as usize;
            return (first..=last).step_by(every).map(|decade| 10_f64.powi(decade)).filter(drawn).collect();
        }
        // Within a decade or so: some of its values.
        let whole = self.low.floor() as i32..=self.high.floor() as i32;
        let values =
            whole.flat_map(|decade| [1.0, 2.0, 3.0, 5.0, 7.0].map(|digit| digit * 10_f64.powi(decade)));
        values.filter(|value| drawn(value) && inside(&value.log10())).collect()
    }
}

/// Where `value` lies on the axis: itself, or its decade.
fn place(value: f64, log: bool) -> Option<f64> {
    if log {
        (value > 1.0 / LARGEST && value < LARGEST).then(|| value.log10())
    } else {
        (value.abs() < LARGEST).then_some(value)
    }
}

/// Multiples of a round step (1, 2 or 5 times a power of ten) from `low` to `high`.
fn steps(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let raw = (high - low) / TICKS;
    let decade = 10_f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 5.0].into_iter().map(|x| x * decade).find(|&step| step >= raw).unwrap_or(10.0 * decade);
    let first = (low / step).ceil();
    // Never more, whatever rounding does.
    (0..=2 * TICKS as u32).map(move |i| (first + f64::from(i)) * step).map(|x| if x == 0.0 { 0.0 } else { x })
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = self.share(*value).unwrap_or(0.0); // callers leave out what has no place
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks()
    }

    fn range(&self) -> Range<f64> {
        if self.log { 10_f64.powf(self.low)..10_f64.powf(self.high) } else { self.low..self.high }
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(value: &f64) -> String {
        number(*value)
    }
}

/// A number in at most six digits that matter.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{value:.5e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trimmed(digits));
    }
    let whole = if size < 1.0 { 0 } else { size.log10() as usize };
    trimmed(&format!("{value:.*}", 6 - whole)).to_owned()
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticks(values: &[f64], log: bool) -> Vec<String> {
        Scale::of(values.iter().copied(), log).expect("a scale").ticks().iter().map(Scale::format).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(&[0.0, 1.0], false), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(ticks(&[3.0, 1500.0], false), ["0", "500", "1000", "1500"]);
        assert_eq!(ticks(&[-30.0, 70.0], false), ["-20", "0", "20", "40", "60"]);
        assert_eq!(ticks(&[1.0, 1e3], true), ["1", "10", "100", "1000"]);
        assert_eq!(ticks(&[0.0, 2.0, 6.0], true), ["2", "3", "5"]);
        assert_eq!(ticks(&[1e-3, 1e9], true), ["0.001", "0.1", "10", "1000", "100000", "1e7", "1e9"]);
        assert_eq!(ticks(&[7.0], false), ["4", "6", "8", "10"]);
    }

    #[test]
    fn what_cannot_be_drawn_has_no_place() {
        let nothing = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(Scale::of(nothing.into_iter(), false), None);
        assert_eq!(Scale::of([0.0, -1.0].into_iter(), true), None);
        let scale = Scale::of([1.0, 100.0].into_iter(), true).expect("a scale");
        assert_eq!((scale.share(10.0), scale.share(0.0), scale.share(f64::NAN)), (Some(0.5), None, None));
    }

    #[test]
    fn a_range_widened_beyond_what_is_drawn_has_no_ticks_there() {
        for (value, log) in [(4.3e299, true), (10_f64.powf(299.5), true), (9e299, false)] {
            let scale = Scale::of([value].into_iter(), log).expect("a scale");
            let ticks = scale.ticks();
            assert!(!ticks.is_empty() && ticks.iter().all(|&tick| scale.share(tick).is_some()), "{ticks:?}");
        }
    }

    proptest! {
        #[test]
        fn any_values_have_a_scale_with_few_ticks_inside(
            values in prop::collection::vec(any::<f64>(), 0..6), log in any::<bool>(),
        ) {
            let Some(scale) = Scale::of(values.iter().copied(), log) else { return Ok(()) };
            prop_assert!(scale.low < scale.high, "{:?}", scale);
            let ticks = scale.ticks();
            prop_assert!(ticks.len() <= 14, "{:?}", ticks);
            for tick in ticks {
                prop_assert!(scale.share(tick).is_some() && Scale::format(&tick).len() < 16);
            }
            for value in values {
                prop_assert!(scale.share(value).is_none_or(|share| (0.0..=1.0).contains(&share)));
            }
        }
    }
}
