//! Compliance as a chapter: Table 3 by capture, by flow and by case, Table 4, and how flows end.

use super::{Compliance, End, OptionCounts, PUBLISHED_OPTIONS, Published, ROWS, RowCounts, RowGroup, Totals};
use crate::page::{Chapter, Item, Table};
use crate::rows::collect::Share;

const ABOUT: &str = "Do TCP connections open, move on and close by the rules? The rows are those of NetSSM's Tables 3 and 4, \
                     with definitions of our own from the RFCs, as the paper's checker is not published. By capture a row \
                     counts if one flow of a session has it, by flow if the flow has it. Real captures break the rules \
                     too: compare with the real column, not with 0 or 100 %. The columns called published are the \
                     paper's, on other data.";

/// A title, and what stands below it.
type Column<Of, Is> = (&'static str, fn(&Of) -> Is);

/// A share in per cent with one decimal.
fn percent(share: Share) -> String {
    share.value().map_or_else(|| "-".to_owned(), |value| format!("{:.1} %", 100.0 * value))
}

fn quoted(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1} %"))
}

impl Compliance {
    /// What a reader sees.
    pub fn chapter(&self) -> Chapter {
        let mut items = vec![Item::Table(self.definitions())];
        if let Some(why) = self.nothing() {
            items.push(Item::Text(why));
        }
        let many: [Column<Published, f64>; 2] =
            [("published real", |p| p.multi_real), ("published NetSSM", |p| p.multi_netssm)];
        let one: [Column<Published, f64>; 3] = [
            ("published real", |p| p.single_real),
            ("published NetSSM", |p| p.single_netssm),
            ("published NetDiffusion", |p| p.single_netdiffusion),
        ];
        items.push(Item::Table(self.table(
            "By capture: sessions in which a flow has it",
            |f| f.captures,
            &many,
        )));
        items.push(Item::Table(self.table("By flow: TCP flows that have it", |f| f.flows, &one)));
        items.push(Item::Table(self.table("By case: share of what each row judges", |f| f.cases, &[])));
        items.push(Item::Table(self.options()));
        items.push(Item::Table(self.ends()));
        if self.sides().any(|(_, side)| side.cut_options > 0) {
            let cut =
                |(name, side): (_, &Totals)| format!("{name} {} of {}", side.cut_options, side.segments);
            let cut: Vec<_> = self.sides().map(cut).collect();
            items.push(Item::Text(format!(
                "Some segments were captured without the end of their options: {}. Options that are missing there count \
                 neither as absent nor as present.",
                cut.join(", ")
            )));
        }
        Chapter {
            title: "TCP compliance".to_owned(),
            about: ABOUT.to_owned(),
            verdict: self.verdict(),
            items,
        }
    }

    fn sides(&self) -> impl Iterator<Item = (&'static str, &Totals)> {
        let floor = self.floor.as_ref().map(|floor| ("floor", floor));
        [("real", &self.real), ("synthetic", &self.synthetic)].into_iter().chain(floor)
    }

    fn nothing(&self) -> Option<String> {
        let empty: Vec<_> = self.sides().filter(|(_, s)| s.flows == 0).map(|(name, _)| name).collect();
        (!empty.is_empty()).then(|| format!("No TCP flow to judge on: {}.", empty.join(", ")))
    }

    /// Mean distance of shares by flow from the real side's over the paper's rows, and the row that is farthest.
    pub(super) fn distance(&self, other: &Totals) -> Option<(f64, &'static str, f64)> {
        let rows = ROWS.iter().filter(|row| row.kind != RowGroup::Further);
        let each: Vec<(f64, &str)> = rows
            .filter_map(|row| {
                let share = |side: &Totals| side.rows.get(row.name)?.flows.value();
                Some(((share(other)? - share(&self.real)?).abs(), row.title))
            })
            .collect();
        let (worst, name) = each.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some((each.iter().map(|(size, _)| size).sum::<f64>() / each.len() as f64, name, worst))
    }

    fn verdict(&self) -> String {
        let Some((mean, name, worst)) = self.distance(&self.synthetic) else {
            return "TCP compliance: not both sides have TCP flows".to_owned();
        };
        let floor = self.floor.as_ref().and_then(|floor| self.distance(floor));
        let floor = floor.map_or_else(String::new, |(mean, ..)| format!(" (floor {:.1})", 100.0 * mean));
        format!(
            "TCP compliance: {:.1} points from real by flow in the mean of the rows{floor}; farthest: {name}, {:.1}",
            100.0 * mean,
            100.0 * worst
        )
    }

    fn definitions(&self) -> Table {
        Table {
            caption: "What the rows mean".to_owned(),
            head: ["row", "kind", "a flow counts if it has", "cases", "source"].map(str::to_owned).to_vec(),
            rows: ROWS
                .iter()
                .map(|row| {
                    let kind = match row.kind {
                        RowGroup::Correct => "correct",
                        RowGroup::Deviation => "deviation",
                        RowGroup::Further => "further",
                    };
                    [row.title, kind, row.about, row.cases, row.source].map(str::to_owned).to_vec()
                })
                .collect(),
        }
    }

    fn table(
        &self,
        caption: &str,
        share: fn(&RowCounts) -> Share,
        published: &[Column<Published, f64>],
    ) -> Table {
        let mut head = vec!["row".to_owned()];
        head.extend(self.sides().map(|(name, _)| name.to_owned()));
        head.extend(published.iter().map(|(name, _)| (*name).to_owned()));
        let rows = ROWS.iter().map(|row| {
            let mut cells = vec![row.title.to_owned()];
            cells.extend(self.sides().map(|(_, side)| {
                side.rows.get(row.name).map_or_else(|| "-".to_owned(), |found| percent(share(found)))
            }));
            cells.extend(published.iter().map(|(_, of)| quoted(row.published.as_ref().map(of))));
            cells
        });
        Table { caption: caption.to_owned(), rows: rows.collect(), head }
    }

    fn options(&self) -> Table {
        let mut head = vec!["option".to_owned()];
        head.extend(self.sides().flat_map(|(name, _)| [name.to_owned(), format!("{name} / 1,000 segments")]));
        let published = [
            "many flows real",
            "many flows NetSSM",
            "one flow real",
            "one flow NetSSM",
            "one flow NetDiffusion",
        ];
        head.extend(published.map(|name| format!("published {name}")));
        let counts: [Column<OptionCounts, u64>; 6] = [
            ("MSS", |c| c.mss),
            ("WScale", |c| c.wscale),
            ("SACKOK", |c| c.sack_ok),
            ("Timestamp", |c| c.timestamps),
            ("SACK", |c| c.sack),
            ("others", |c| c.other),
        ];
        let rows = counts.iter().map(|(name, count)| {
            let mut cells = vec![(*name).to_owned()];
            cells.extend(self.sides().flat_map(|(_, side)| {
                let n = count(&side.options);
                let rate = Share { hits: n, of: side.segments };
                [n.to_string(), rate.value().map_or_else(|| "-".to_owned(), |x| format!("{:.1}", 1000.0 * x))]
            }));
            let quoted = PUBLISHED_OPTIONS.iter().find(|(of, _)| of == name);
            cells.extend(quoted.into_iter().flat_map(|(_, numbers)| numbers.map(|n| n.to_string())));
            cells
        });
        Table {
            caption: "TCP options: occurrences (the paper's totals are of other captures, of another number and length)"
                .to_owned(),
            rows: rows.collect(),
            head,
        }
    }

    fn ends(&self) -> Table {
        let mut head = vec!["at its end a flow is".to_owned()];
        head.extend(self.sides().map(|(name, _)| name.to_owned()));
        let rows = End::ALL.iter().map(|end| {
            let mut cells = vec![end.words().to_owned()];
            cells.extend(self.sides().map(|(_, side)| {
                percent(Share { hits: side.ends.get(end).copied().unwrap_or(0), of: side.flows })
            }));
            cells
        });
        Table { caption: "How flows end: share of TCP flows".to_owned(), rows: rows.collect(), head }
    }
}
