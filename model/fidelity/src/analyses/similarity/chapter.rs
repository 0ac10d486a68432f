//! The result as a chapter of the report.

use super::compare::{Compared, Distances, HeaderCompared};
use super::nprint::HEADERS;
use super::{FloorFrom, Similarity, Traces};
use crate::page::{Axis, Chapter, Curve, Item, Plot, Style, Table};

const ABOUT: &str = "Do header bytes have the values that real ones have, as often? Headers are laid out as nPrint does; for every \
    byte, the distribution of its values over the packets with that header is compared by Jensen-Shannon distance (JSD, natural logarithm, \
    at most 0.833), total variation distance (TVD) and Hellinger distance (HD, both at most 1). 0 is the same. Every byte is looked at \
    alone: order, and agreement between fields, do not show here.";

const FLOWS: &str = "The paper compares single flows: each synthetic TCP flow with the real one whose first packet it begins with. \
    A set of captures has no such pairs, so here each synthetic flow is compared with a random real one of its label (of any, where the sides share \
    none), and the floor is a real flow against one of another session. Two real flows differ in ports, sequence numbers and checksums; values as \
    small as the paper's need a flow that repeats those of its partner. Rows marked with * are quoted from Table 2 of the NetSSM paper \
    (arXiv 2503.22663), measured on other data: they show what the number looks like, not who is better.";

/// Fields that are named as the worst.
const WORST: usize = 5;
/// Only fields of headers that so many packets of both sides have: as many as a byte has values. Fewer are apart by
/// chance.
const ENOUGH: u64 = 256;

impl Similarity {
    /// As a chapter of the report.
    pub fn chapter(&self) -> Chapter {
        let mut items = vec![Item::Text(self.looked_at()), Item::Table(self.together())];
        items.push(Item::Table(self.by_header()));
        items.extend(self.missing().map(Item::Text));
        items.extend(self.worst().map(Item::Text));
        items.extend(HEADERS.iter().filter_map(|header| self.by_field(header.name)).map(Item::Table));
        items.extend(["ipv4", "tcp"].into_iter().filter_map(|header| self.bits(header)).map(Item::Plot));
        if self.labels.len() > 1 {
            items.push(Item::Table(self.by_label()));
        }
        items.extend([Item::Text(FLOWS.to_owned()), Item::Table(self.flow_by_flow())]);
        Chapter {
            title: "Statistical similarity".to_owned(),
            about: ABOUT.to_owned(),
            verdict: self.verdict(),
            items,
        }
    }

    /// The header that stands for all: TCP as in the paper, else another transport, else IP.
    fn headline(&self) -> Option<&'static str> {
        let both = |name: &&str| self.compared.header(name).is_some_and(|header| header.bytes.is_some());
        ["tcp", "udp", "icmp", "ipv4", "ipv6"].into_iter().find(both)
    }

    fn verdict(&self) -> String {
        let Some(name) = self.headline() else {
            return "no header that both sides have".to_owned();
        };
        let of = |compared: Option<&Compared>| compared.and_then(|c| c.header(name)).and_then(|h| h.bytes);
        let values = |d: Option<Distances>| {
            d.map_or("none".to_owned(), |d| format!("{:.3} / {:.3} / {:.3}", d.jsd, d.tvd, d.hd))
        };
        format!(
            "{} header bytes, JSD / TVD / HD: {} (floor {}, random bytes {})",
            title(name),
            values(of(Some(&self.compared))),
            values(of(self.floor.as_ref())),
            values(of(self.random_bytes.as_ref())),
        )
    }

    fn looked_at(&self) -> String {
        let limit = match self.options.packets {
            0 => "All packets of every session".to_owned(),
            n => format!("The first {n} packets of every session"),
        };
        let skip = match self.options.skip {
            0 => String::new(),
            1 => " after the first one, which is left out".to_owned(),
            n => format!(" after the first {n}, which are left out"),
        };
        let floor = match self.floor_from {
            Some(FloorFrom::SecondSet) => "The floor is a second real set against the first.".to_owned(),
            Some(FloorFrom::Halves) => format!(
                "The floor is one half of the real sessions against the other, in the mean over {} splits: with half the \
                 sessions it is higher than that of a second set of full size.",
                self.options.splits
            ),
            None => "There is no floor: the real side has one session and there is no second set.".to_owned(),
        };
        let side = |name: &str, side: &super::Counted| {
            format!(
                "{name}: {} sessions, {} packets, {} without IP passed over",
                side.sessions, side.packets, side.without_ip
            )
        };
        format!(
            "{limit}{skip}. {}; {}. {floor}",
            side("Real", &self.real),
            side("synthetic", &self.synthetic)
        )
    }

    fn together(&self) -> Table {
        let name = self.headline().unwrap_or("tcp");
        let row = |set: &str, compared: Option<&Compared>| {
            let distances = compared.and_then(|c| c.header(name)).and_then(|h| h.bytes);
            [vec![set.to_owned()], cells(distances).to_vec()].concat()
        };
        let mut rows = vec![row("synthetic", Some(&self.compared))];
        if self.labels.len() > 1 {
            rows.push(row("synthetic, mean over labels", self.label_mean.as_ref()));
        }
        rows.push(row("floor: real against real", self.floor.as_ref()));
        rows.push(row("random fields in real structure", self.random_fields.as_ref()));
        rows.push(row("random bytes", self.random_bytes.as_ref()));
        Table {
            caption: format!(
                "Mean over the bytes of the {} header in nPrint's layout, against real packets",
                title(name)
            ),
            head: ["set", "JSD", "TVD", "HD"].map(str::to_owned).to_vec(),
            rows,
        }
    }

    fn flow_by_flow(&self) -> Table {
        let row = |set: String, distances| [vec![set], cells(distances).to_vec()].concat();
        let Traces { pairs, synthetic, floor_pairs, floor, random_bytes } = self.traces;
        let mut rows = vec![
            row(format!("synthetic, {pairs} pairs"), synthetic),
            row(format!("floor: real flows, {floor_pairs} pairs"), floor),
            row("random bytes".to_owned(), random_bytes),
        ];
        let two = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        rows.extend(self.published.iter().map(|quoted| {
            vec![format!("* {}", quoted.name), two(Some(quoted.jsd)), two(quoted.tvd), two(quoted.hd)]
        }));
        Table {
            caption: "Flow by flow: mean over the bytes of the TCP header, one TCP flow against another"
                .to_owned(),
            head: ["set", "JSD", "TVD", "HD"].map(str::to_owned).to_vec(),
            rows,
        }
    }

    fn by_header(&self) -> Table {
        let floor = |name: &str| self.floor.as_ref().and_then(|floor| floor.header(name));
        let mut rows: Vec<Vec<String>> = HEADERS
            .iter()
            .filter_map(|header| Some((header.name, self.compared.header(header.name)?)))
            .filter(|(_, header)| header.real + header.other > 0)
            .map(|(name, header)| {
                let tvd = |of: fn(&HeaderCompared) -> Option<Distances>| digits(of(header).map(|d| d.tvd));
                let mut row = vec![title(name).to_owned(), header.real.to_string(), header.other.to_string()];
                row.extend(cells(header.bytes));
                row.extend(cells(floor(name).and_then(|header| header.bytes)));
                row.extend([tvd(|h| h.seen), tvd(|h| h.by_field), tvd(|h| h.by_bit)]);
                row
            })
            .collect();
        let mut whole = |name: &str, of: fn(&Compared) -> Option<Distances>| {
            let packets = [self.real.packets, self.synthetic.packets].map(|n| n.to_string());
            let mut row = [vec![name.to_owned()], packets.to_vec()].concat();
            row.extend(cells(of(&self.compared)));
            row.extend(cells(self.floor.as_ref().and_then(of)));
            rows.push(row);
        };
        whole("all headers of all packets", |compared| compared.all_headers);
        whole("which headers (mix)", |compared| compared.mix);
        Table {
            caption: "By header: mean over the bytes, and TVD in the mean over the bytes in use, the fields, the bits".to_owned(),
            head: [
                "header", "packets", "synthetic", "JSD", "TVD", "HD", "floor JSD", "floor TVD", "floor HD", "TVD in use",
                "TVD fields", "TVD bits",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        }
    }

    /// Headers that have no distance, and why.
    fn missing(&self) -> Option<String> {
        let only = |header: &HeaderCompared| match (header.real, header.other) {
            (0, 0) => Some("on neither side"),
            (0, _) => Some("on the synthetic side only"),
            (_, 0) => Some("on the real side only"),
            _ => None,
        };
        let missing: Vec<String> = HEADERS
            .iter()
            .filter_map(|header| Some((header.name, only(self.compared.header(header.name)?)?)))
            .map(|(name, why)| format!("{} {why}", title(name)))
            .collect();
        (!missing.is_empty())
            .then(|| format!("No distance for headers that one side lacks: {}.", missing.join("; ")))
    }

    /// The fields that are farthest above the floor.
    fn worst(&self) -> Option<String> {
        let mut fields: Vec<(f64, &str, Distances)> = self
            .compared
            .headers
            .iter()
            .filter(|(_, header)| header.real.min(header.other) >= ENOUGH)
            .flat_map(|(name, header)| {
                header.fields.iter().map(move |(field, distances)| (*name, *field, *distances))
            })
            .filter_map(|(name, field, distances)| {
                let floor = self.floor.as_ref().and_then(|floor| floor.header(name)?.fields.get(field));
                Some((distances.tvd - floor?.tvd, field, distances))
            })
            .filter(|(above, ..)| *above > 0.0)
            .collect();
        fields.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let names: Vec<String> = fields
            .iter()
            .take(WORST)
            .map(|(above, field, distances)| format!("{field} {:.3} ({above:+.3})", distances.tvd))
            .collect();
        (!names.is_empty()).then(|| format!("Farthest above the floor in TVD: {}.", names.join(", ")))
    }

    fn by_field(&self, name: &str) -> Option<Table> {
        let header = self.compared.header(name)?;
        let of = |compared: &Option<Compared>, field: &str| {
            compared.as_ref().and_then(|c| c.header(name)?.fields.get(field).copied())
        };
        let about = HEADERS.iter().find(|header| header.name == name)?;
        let rows: Vec<Vec<String>> = about
            .fields
            .iter()
            .filter_map(|(field, bits)| {
                let mut row = vec![(*field).to_owned(), bits.to_string()];
                row.extend(cells(Some(*header.fields.get(field)?)));
                row.extend(cells(of(&self.floor, field)));
                row.extend(
                    [&self.random_fields, &self.random_bytes].map(|c| digits(of(c, field).map(|d| d.tvd))),
                );
                Some(row)
            })
            .collect();
        (!rows.is_empty()).then(|| Table {
            caption: format!(
                "Fields of the {} header: mean over the field's bytes, or parts of bytes",
                title(name)
            ),
            head: [
                "field",
                "bits",
                "JSD",
                "TVD",
                "HD",
                "floor JSD",
                "floor TVD",
                "floor HD",
                "TVD random fields",
                "TVD random bytes",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        })
    }

    fn bits(&self, name: &str) -> Option<Plot> {
        let [real, synthetic] = self.ones.get(name)?;
        let curve = |name: &str, shares: &[Option<f64>]| Curve {
            name: name.to_owned(),
            style: Style::Steps,
            points: shares
                .iter()
                .enumerate()
                .filter_map(|(bit, share)| Some((bit as f64, (*share)?)))
                .collect(),
        };
        Some(Plot {
            caption: format!("Bits of the {} header: how often each is 1", title(name)),
            x: Axis { label: "bit, in the order of the wire".to_owned(), log: false },
            y: Axis { label: "share of the packets that have the bit".to_owned(), log: false },
            curves: vec![curve("real", real), curve("synthetic", synthetic)],
        })
    }

    fn by_label(&self) -> Table {
        let name = self.headline().unwrap_or("tcp");
        let bytes = |compared: &Compared| compared.header(name).and_then(|header| header.bytes);
        let rows = self.labels.iter().map(|(label, one)| {
            let mut row = vec![label.clone(), one.real.to_string(), one.synthetic.to_string()];
            row.extend(cells(bytes(&one.compared)));
            row.extend(cells(one.floor.as_ref().and_then(bytes)));
            row.push(digits(one.compared.all_headers.map(|d| d.tvd)));
            row.push(digits(one.floor.as_ref().and_then(|floor| floor.all_headers).map(|d| d.tvd)));
            row
        });
        Table {
            caption: format!(
                "By label: mean over the bytes of the {} header; over all headers of all packets",
                title(name)
            ),
            head: [
                "label",
                "sessions",
                "synthetic",
                "JSD",
                "TVD",
                "HD",
                "floor JSD",
                "floor TVD",
                "floor HD",
                "TVD all",
                "floor TVD all",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: rows.collect(),
        }
    }
}

fn title(header: &str) -> &'static str {
    match header {
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        "tcp" => "TCP",
        "udp" => "UDP",
        _ => "ICMP",
    }
}

fn digits(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.3}"))
}

fn cells(distances: Option<Distances>) -> [String; 3] {
    [distances.map(|d| d.jsd), distances.map(|d| d.tvd), distances.map(|d| d.hd)].map(digits)
}
