//! The evaluation of two sides: the rows, and every analysis that was asked for.
//!
//! The list at the end of the code is the only place that knows all analyses. A line there is a field of [`Evaluation`]
//! (and so a key of report.json), a field of [`Input`] with its options, a name to choose it by, and a chapter of the
//! page.

use serde::Serialize;

use crate::analyses::baseline;
use crate::analyses::compare::{Report, compare};
use crate::analyses::compliance;
use crate::analyses::discriminate;
use crate::analyses::dynamics;
use crate::analyses::memorise;
use crate::analyses::overtime;
use crate::analyses::similarity;
use crate::analyses::utility;
use crate::error::FidelityError;
use crate::page::Chapter;
use crate::side::Side;

/// Name of the comparison row by row among the chapters to choose from. It is in the report in any case.
pub const ROWS: &str = "rows";

/// The verdict of the gate: whether every analysis with a gate passed, and an error if none ran.
fn judged(gates: &[(Option<bool>, &str)]) -> Result<(), String> {
    let failed: Vec<&str> =
        gates.iter().filter(|(passed, _)| *passed == Some(false)).map(|(_, why)| *why).collect();
    if !failed.is_empty() {
        return Err(failed.join("; "));
    }
    // A caller that asks for the gate must not take the absence of analyses as success.
    if gates.iter().all(|(passed, _)| passed.is_none()) {
        return Err("no analysis has run that could tell".to_owned());
    }
    Ok(())
}

macro_rules! analyses {
    ($($(#[$about:meta])+ $name:ident: $module:ident::$result:ident, $options:ty $(, gate $why:literal)?;)+) => {
        /// Names of the analyses, in the order of the report.
        pub const ANALYSES: &[&str] = &[$(stringify!($name)),+];

        /// What is compared, and how.
        #[derive(Clone, Debug)]
        pub struct Input<'a> {
            /// The real side.
            pub real: &'a Side,
            /// The synthetic side.
            pub synthetic: &'a Side,
            /// A second real side, if there is one.
            pub floor: Option<&'a Side>,
            /// Packets of a session that were looked at, 0 = all. Only recorded.
            pub max_packets: u64,
            $($(#[$about])+ pub $name: $options,)+
        }

        impl<'a> Input<'a> {
            /// Two sides with the default options.
            pub fn new(real: &'a Side, synthetic: &'a Side, floor: Option<&'a Side>) -> Self {
                Self { real, synthetic, floor, max_packets: 0, $($name: <$options>::default(),)+ }
            }
        }

        /// The whole result. An analysis that was not asked for is no key of the JSON.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct Evaluation {
            /// The comparison row by row; its keys stand beside those of the analyses.
            #[serde(flatten)]
            pub report: Report,
            $($(#[$about])+ #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$module::$result>,)+
            #[serde(skip)]
            show_rows: bool,
        }

        impl Evaluation {
            /// Compares row by row and runs the analyses whose names `wanted` accepts. `begin` gets each name before
            /// the analysis starts and says whether to go on.
            ///
            /// # Errors
            /// [`FidelityError::Stopped`], if `begin` returned false.
            pub fn of(
                input: &Input<'_>,
                wanted: &dyn Fn(&str) -> bool,
                begin: &mut dyn FnMut(&'static str) -> bool,
            ) -> Result<Self, FidelityError> {
                let mut go = |name| if begin(name) { Ok(()) } else { Err(FidelityError::Stopped) };
                go(ROWS)?;
                let mut all = Self {
                    report: compare(input.real, input.synthetic, input.floor, input.max_packets),
                    $($name: None,)+
                    show_rows: wanted(ROWS),
                };
                $(if wanted(stringify!($name)) {
                    go(stringify!($name))?;
                    all.$name = Some($module::analyse(input.real, input.synthetic, input.floor, &input.$name));
                })+
                Ok(all)
            }

            /// The chapters of what was asked for.
            pub fn chapters(&self) -> Vec<Chapter> {
                let mut chapters = if self.show_rows { self.report.chapters() } else { Vec::new() };
                $(chapters.extend(self.$name.as_ref().map(|result| result.chapter()));)+
                chapters
            }

            /// Checks the gates of all analyses that have one: whether the synthetic captures may be passed on.
            ///
            /// # Errors
            /// The reasons against it, as text. It is also an error if no analysis with a gate has run.
            pub fn gate(&self) -> Result<(), String> {
                judged(&[$($((self.$name.as_ref().map(|result| result.gate()), $why),)?)+])
            }
        }
    };
}

analyses! {
    /// All rows with times drawn independently.
    baseline: baseline::Baseline, baseline::Options;
    /// Throughput and open flows over session time.
    overtime: overtime::OverTime, overtime::Options;
    /// Header fields as distributions of their values.
    similarity: similarity::Similarity, similarity::Options;
    /// TCP sessions against the rules of TCP.
    compliance: compliance::Compliance, compliance::Options;
    /// Download segments of servers.
    dynamics: dynamics::Dynamics, dynamics::Options;
    /// What classifiers learn from synthetic sessions.
    utility: utility::Utility, utility::Options;
    /// Whether a classifier tells synthetic from real.
    discriminate: discriminate::Discriminate, discriminate::Options;
    /// Whether training sessions or their identifiers come back.
    memorise: memorise::Memorising, memorise::Options<'a>, gate "identifiers of the training set are in the synthetic captures";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    fn side() -> Side {
        let mut frames = Frames::new();
        (0..50).for_each(|i| frames.udp(i * 100_000, (40001, 443), 58));
        Side::of(vec![frames.session("a")])
    }

    #[test]
    fn what_was_asked_for_is_in_the_report_and_in_order() {
        let side = side();
        let input = Input { max_packets: 9, ..Input::new(&side, &side, None) };
        let mut begun = Vec::new();
        let mut begin = |name| {
            begun.push(name);
            true
        };
        let all = Evaluation::of(&input, &|_| true, &mut begin).expect("not stopped");
        assert_eq!(begun[0], ROWS);
        assert_eq!(&begun[1..], ANALYSES);
        let json = serde_json::to_value(&all).expect("plain values");
        assert_eq!((&json["format"], &json["max_packets"]), (&2.into(), &9.into()));
        assert!(json["overall"]["size.all"]["distance"]["ks"] == 0.0 && json["show_rows"].is_null());
        for name in ANALYSES {
            assert!(json[name].is_object(), "{name}");
        }
        assert!(all.chapters().len() > ANALYSES.len());

        let some = Evaluation::of(&input, &|name| name == "overtime", &mut |_| true).expect("not stopped");
        let json = serde_json::to_value(&some).expect("plain values");
        assert!(json["baseline"].is_null() && json["overall"].is_object());
        let titles: Vec<_> = some.chapters().into_iter().map(|chapter| chapter.title).collect();
        assert_eq!(titles, ["Over session time"]);
    }

    #[test]
    fn a_stop_ends_it() {
        let side = side();
        let input = Input::new(&side, &side, None);
        let stopped = Evaluation::of(&input, &|_| true, &mut |name| name == ROWS);
        assert!(matches!(stopped, Err(FidelityError::Stopped)));
    }

    #[test]
    fn a_gate_that_nobody_kept_is_closed() {
        assert_eq!(judged(&[(Some(true), "a"), (None, "b")]), Ok(()));
        assert_eq!(
            judged(&[(Some(false), "a"), (Some(true), "b"), (Some(false), "c")]),
            Err("a; c".to_owned())
        );
        assert!(judged(&[]).is_err() && judged(&[(None, "a")]).is_err());
        let side = side();
        let none = Evaluation::of(&Input::new(&side, &side, None), &|_| false, &mut |_| true);
        assert!(none.expect("not stopped").gate().is_err());
    }
}
