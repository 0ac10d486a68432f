//! Dynamics as a chapter: what was found, the distances, the paper's Table 5, and the curves of its Figures 3 and 4.

use super::{Distances, Dynamics, DynamicsEvaluation, Looked, PUBLISHED, Pick, Values};
use crate::page::{Axis, Chapter, Curve, Item, Plot, Style, Table};
use crate::stats::{Kde, ecdf};

const ABOUT: &str = "What do clients download from servers, in how many pieces of which size (NetSSM section 5.3.3)? A \
                     segment is the payload that a server sends in a flow between one request of the client and the next; a \
                     sender is a server within a session. All sessions of a side together, and session by session in the \
                     order of the files, as the paper has it. Random is the paper's baseline: right-skewed values \
                     between the least and the largest real one.";

/// Points of a density curve.
const DENSITY_POINTS: usize = 200;
/// Most steps of a distribution curve; more are thinned out evenly.
const STEPS: usize = 400;

/// A title, and what stands below it.
type Column = (&'static str, fn(&Distances) -> Option<f64>);

/// Columns of the distances, in the order of [`Published::values`](super::Published).
const COLUMNS: [Column; 9] = [
    ("mean Δ", |d| d.mean_delta),
    ("median Δ", |d| d.median_delta),
    ("std. dev. Δ", |d| d.std_delta),
    ("K-S", |d| d.ks),
    ("K-S p", |d| d.ks_p),
    ("A-D", |d| d.ad),
    ("A-D p", |d| d.ad_p),
    ("KL (nats)", |d| d.kl),
    ("EMD", |d| d.emd),
];

/// Three digits or so, whatever the size.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn title(name: &str) -> &'static str {
    match name {
        "average" => "average size per sender",
        "raw" => "size of a segment",
        _ => "segments per sender",
    }
}

impl Dynamics {
    /// What a reader sees.
    pub fn chapter(&self) -> Chapter {
        let mut items = vec![Item::Table(self.found())];
        items.extend(self.reasons().map(Item::Text));
        items.push(Item::Table(self.summaries()));
        items.push(Item::Table(self.distances("All sessions of a side together", |e| {
            [e.together.synthetic, e.together.random, e.together.floor]
        })));
        items.extend(self.unpaired().map(Item::Text));
        items.push(Item::Table(self.distances(
            "Session by session: medians over the pairs (mean Δ: the mean of the differences of medians)",
            |e| [e.pairs.synthetic, e.pairs.random, e.pairs.floor],
        )));
        items.push(Item::Table(published()));
        items.extend(self.plots().into_iter().map(Item::Plot));
        Chapter {
            title: "Application dynamics".to_owned(),
            about: ABOUT.to_owned(),
            verdict: self.verdict(),
            items,
        }
    }

    fn sides(&self) -> impl Iterator<Item = (&'static str, &Looked)> {
        let floor = self.floor.as_ref().map(|floor| ("floor", floor));
        [("real", &self.real), ("synthetic", &self.synthetic)].into_iter().chain(floor)
    }

    fn verdict(&self) -> String {
        let of = |name| self.evaluations.iter().find(|e| e.name == name).map(|e| e.together);
        let line = |name| {
            let together = of(name)?;
            let ks = together.synthetic?.ks?;
            let beside = |what: &str, d: Option<Distances>| {
                d.and_then(|d| d.ks).map(|ks| format!("{what} {ks:.2}")).into_iter().collect::<Vec<_>>()
            };
            let others =
                [beside("floor", together.floor), beside("random", together.random)].concat().join(", ");
            Some(format!("{} K-S {ks:.2} ({others})", title(name)))
        };
        let parts: Vec<String> = ["raw", "count"].into_iter().filter_map(line).collect();
        if parts.is_empty() {
            return "Downloads: not both sides have segments".to_owned();
        }
        format!("Downloads: {}", parts.join("; "))
    }

    /// Why something has no value, or was found in another way.
    fn reasons(&self) -> impl Iterator<Item = String> {
        self.sides().filter_map(|(name, side)| {
            if side.segments == 0 {
                let why = match side.flows {
                    0 => format!("none of its flows goes to a server ({})", self.servers),
                    flows => format!("its {flows} flows to servers have no request that is followed by an answer"),
                };
                return Some(format!("The {name} side has no segments: {why}. Nothing can be compared with it."));
            }
            side.borrowed_addresses.then(|| {
                format!(
                    "No DNS answer of the {name} side names a server; the addresses that the real side's answers \
                     name were looked for, as the paper does."
                )
            })
        })
    }

    /// Why there are no pairs of sessions though there are segments.
    fn unpaired(&self) -> Option<String> {
        let pairs = self.evaluations.iter().any(|e| e.pairs.synthetic.is_some());
        (!pairs && self.real.segments > 0 && self.synthetic.segments > 0).then(|| {
            "No real session has a synthetic one of the same label with segments in both, so none could be paired.".to_owned()
        })
    }

    fn found(&self) -> Table {
        let head = ["side", "sessions", "with segments", "flows to servers", "senders", "segments", "MB"];
        let row = |(name, side): (&str, &Looked)| {
            let counts = [side.sessions, side.with_segments, side.flows, side.senders, side.segments];
            let mut cells = vec![name.to_owned()];
            cells.extend(counts.map(|count| count.to_string()));
            cells.push(format!("{:.1}", side.bytes as f64 / 1e6));
            cells
        };
        Table {
            caption: format!("What was found: servers by {}", self.servers),
            head: head.map(str::to_owned).to_vec(),
            rows: self.sides().map(row).collect(),
        }
    }

    fn summaries(&self) -> Table {
        let head = ["", "side", "n", "mean", "std. dev.", "10 %", "median", "90 %", "largest"];
        let mut rows = Vec::new();
        for e in &self.evaluations {
            let sides = [("real", e.real), ("synthetic", e.synthetic), ("floor", e.floor)];
            for (name, summary) in sides {
                let Some(s) = summary else { continue };
                let mut cells =
                    vec![format!("{} ({})", title(e.name), e.unit), name.to_owned(), s.n.to_string()];
                cells.extend([s.mean, s.std, s.p10, s.p50, s.p90, s.max].map(number));
                rows.push(cells);
            }
        }
        Table { caption: "Values".to_owned(), head: head.map(str::to_owned).to_vec(), rows }
    }

    fn distances(&self, caption: &str, of: fn(&DynamicsEvaluation) -> [Option<Distances>; 3]) -> Table {
        let mut head = vec!["".to_owned(), "real against".to_owned(), "pairs".to_owned()];
        head.extend(COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
        let mut rows = Vec::new();
        for e in &self.evaluations {
            for (name, distances) in ["synthetic", "random", "floor"].into_iter().zip(of(e)) {
                let Some(d) = distances else { continue };
                let mut cells =
                    vec![format!("{} ({})", title(e.name), e.unit), name.to_owned(), d.pairs.to_string()];
                cells.extend(
                    COLUMNS.iter().map(|(_, value)| value(&d).map_or_else(|| "-".to_owned(), number)),
                );
                rows.push(cells);
            }
        }
        Table { caption: caption.to_owned(), head, rows }
    }

    fn plots(&self) -> Vec<Plot> {
        vec![
            self.density("Average size of the segments of a sender", "bytes", |v| &v.average, false),
            self.density("Size of a segment, logarithm", "ln(bytes)", |v| &v.raw, true),
            self.steps("Size of a segment", "bytes", |v| &v.raw),
            self.density("Segments of a sender, logarithm", "ln(segments)", |v| &v.count, true),
            self.steps("Segments of a sender", "segments", |v| &v.count),
        ]
    }

    fn samples(&self, pick: Pick) -> Vec<(&'static str, &Vec<f64>)> {
        let of = |values: &Values| !pick(values).is_empty();
        let all = [
            ("real", Some(&self.samples.real)),
            ("synthetic", Some(&self.samples.synthetic)),
            ("floor", self.samples.floor.as_ref()),
        ];
        all.into_iter()
            .filter_map(|(name, values)| Some((name, values.filter(|v| of(v))?)))
            .map(|(name, values)| (name, pick(values)))
            .collect()
    }

    /// Kernel densities with Scott's bandwidth.
    fn density(&self, caption: &str, unit: &str, pick: Pick, log: bool) -> Plot {
        let scaled = |sample: &[f64]| -> Vec<f64> {
            sample.iter().map(|&x| if log { x.max(1.0).ln() } else { x }).collect()
        };
        let samples: Vec<_> =
            self.samples(pick).into_iter().map(|(name, sample)| (name, scaled(sample))).collect();
        let low = samples.iter().filter_map(|(_, s)| s.first()).copied().fold(f64::INFINITY, f64::min);
        let high = samples.iter().filter_map(|(_, s)| s.last()).copied().fold(f64::NEG_INFINITY, f64::max);
        let at: Vec<f64> = (0..DENSITY_POINTS)
            .map(|i| low + (high - low) * i as f64 / (DENSITY_POINTS - 1) as f64)
            .filter(|x| x.is_finite())
            .collect();
        let curve = |(name, sample): &(&str, Vec<f64>)| Curve {
            name: (*name).to_owned(),
            style: Style::Line,
            points: Kde::scott(sample)
                .map(|kde| at.iter().map(|&x| (x, kde.density(x))).collect())
                .unwrap_or_default(),
        };
        Plot {
            caption: format!("{caption}: density (Gaussian kernel, Scott's bandwidth)"),
            x: Axis { label: unit.to_owned(), log: false },
            y: Axis { label: "density".to_owned(), log: false },
            curves: samples.iter().map(curve).filter(|curve| !curve.points.is_empty()).collect(),
        }
    }

    /// Empirical distribution functions.
    fn steps(&self, caption: &str, unit: &str, pick: Pick) -> Plot {
        let curve = |(name, sample): (&str, &Vec<f64>)| Curve {
            name: name.to_owned(),
            style: Style::Steps,
            points: ecdf(sample, STEPS),
        };
        Plot {
            caption: format!("{caption}: distribution"),
            x: Axis { label: unit.to_owned(), log: true },
            y: Axis { label: "share at most".to_owned(), log: false },
            curves: self.samples(pick).into_iter().map(curve).collect(),
        }
    }
}

fn published() -> Table {
    let mut head = vec!["".to_owned(), "real against".to_owned()];
    head.extend(COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
    let row = |row: &super::Published| {
        let mut cells = vec![title(row.evaluation).to_owned(), row.of.to_owned()];
        cells.extend(row.values.map(|value| format!("{value:.2}")));
        cells
    };
    Table {
        caption: "As published (NetSSM Table 5): on 100 pairs of Netflix sessions, in units that the paper does not name, with \
                  bins of KL and a random law that it does not name"
            .to_owned(),
        head,
        rows: PUBLISHED.iter().map(row).collect(),
    }
}
