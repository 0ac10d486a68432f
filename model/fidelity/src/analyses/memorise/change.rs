//! Change against the prompt: packet by packet and field by field, the difference between a session and the capture
//! that its generation began with.
//!
//! Source: A. Chu et al., NAIC'24 (`naic24-ssm-feasibility`), section 5.2 "Learning versus memorization" and appendix
//! B.2, Table 2. As there the k-th packets of both are compared, the first 100 of a session, and a field's *average
//! change* is the mean absolute difference over all packets compared. Where the paper leaves it open:
//! * addresses, options and payload are no numbers: their change is 1 where they differ, so the average is the share
//!   that does (the paper's values of these, 0.48 to 1.00, fit no other reading). Flags are compared as the number they
//!   are;
//! * a field counts where both packets have it; the report also says how often only one has it;
//! * a packet is *identical* if all its header bytes and its length on the wire are. *Differing bytes* are those of the
//!   headers, of the packets that are not identical; a byte that only the longer has differs. Payload counts in
//!   `Raw_load` only, because some generators make it from a seed and it has many more bytes than the headers.
//!
//! Units: that of the field; shares from 0 to 1; packets.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::fields::{self, Value};
use super::held_out::Numbered;
use crate::input::session::CapturedSession;

/// One field over all packets compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// Name as in the paper's Table 2.
    pub field: &'static str,
    /// Pairs of packets that both have it.
    pub compared: u64,
    /// Pairs of which only one has it.
    pub only_one: u64,
    /// Share of `compared` that differs.
    pub differs: f64,
    /// Mean absolute difference; for what is no number, `differs`.
    pub change: f64,
}

/// Sessions against the captures that they were generated from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Sessions that have a seed's capture.
    pub sessions: u64,
    /// Pairs of packets.
    pub packets: u64,
    /// Pairs that are identical, mean over sessions.
    pub identical: f64,
    /// Mean share of header bytes that differ, over the pairs that are not identical.
    pub differing_bytes: Option<f64>,
    /// Fields that occur, in the order of the headers.
    pub fields: Vec<FieldChange>,
}

#[derive(Default)]
struct Sum {
    compared: u64,
    only_one: u64,
    differs: u64,
    change: f64,
}

/// Compares every session of `side` with its seed's capture; `None` if none has one.
pub(super) fn change(seeds: &[Numbered<'_>], side: &[Numbered<'_>], compared: usize) -> Option<Change> {
    let mut sums = BTreeMap::<&'static str, Sum>::new();
    let (mut sessions, mut packets, mut identical) = (0_u64, 0_u64, 0_u64);
    let mut bytes: Vec<f64> = Vec::new();
    for (seed, session) in pairs(seeds, side) {
        sessions += 1;
        for i in 0..compared.min(seed.packets.len()).min(session.packets.len()) {
            let (a, b) = (seed.frame(i), session.frame(i));
            packets += 1;
            add(&mut sums, a, b);
            let share = differing(fields::headers(a), fields::headers(b));
            if share == 0.0 && seed.packets[i].wire_len == session.packets[i].wire_len {
                identical += 1;
            } else {
                bytes.push(share);
            }
        }
    }
    if packets == 0 {
        return None;
    }
    let names = fields::NAMES.iter().chain([&fields::LOAD]);
    let rows = names.filter_map(|&field| {
        let sum = sums.get(field)?;
        let of = sum.compared.max(1) as f64; // nothing compared: 0
        Some(FieldChange {
            field,
            compared: sum.compared,
            only_one: sum.only_one,
            differs: sum.differs as f64 / of,
            change: sum.change / of,
        })
    });
    Some(Change {
        sessions,
        packets,
        identical: identical as f64 / sessions as f64,
        differing_bytes: (!bytes.is_empty()).then(|| bytes.iter().sum::<f64>() / bytes.len() as f64),
        fields: rows.collect(),
    })
}

/// The prompt of each session: the only one, or else the k-th prompt of a label for its k-th session, starting again
/// after the last.
fn pairs<'a>(
    seeds: &[Numbered<'a>],
    side: &[Numbered<'a>],
) -> Vec<(&'a CapturedSession, &'a CapturedSession)> {
    if let [(_, seed)] = seeds {
        return side.iter().map(|(_, session)| (*seed, *session)).collect();
    }
    let mut by_label = HashMap::<_, Vec<&CapturedSession>>::new();
    for (_, seed) in seeds {
        by_label.entry(&seed.label).or_default().push(seed);
    }
    let mut next = HashMap::<_, usize>::new();
    let pair = |(_, session): &Numbered<'a>| {
        let of_label = by_label.get(&session.label)?;
        let turn = next.entry(&session.label).or_default();
        let seed = of_label[*turn % of_label.len()]; // no label without a session
        *turn += 1;
        Some((seed, *session))
    };
    side.iter().filter_map(pair).collect()
}

fn add(sums: &mut BTreeMap<&'static str, Sum>, a: &[u8], b: &[u8]) {
    let (left, right) = (fields::fields(a), fields::fields(b));
    for (name, value) in &left {
        let sum = sums.entry(name).or_default();
        match (value, right.iter().find(|(other, _)| other == name).map(|(_, value)| value)) {
            (_, None) => sum.only_one += 1,
            (Value::Number(x), Some(Value::Number(y))) => {
                sum.compared += 1;
                sum.differs += u64::from(x != y);
                sum.change += f64::from(x.abs_diff(*y));
            }
            (x, Some(y)) => {
                sum.compared += 1;
                sum.differs += u64::from(x != y);
                sum.change += f64::from(u8::from(x != y));
            }
        }
    }
    for (name, _) in right.iter().filter(|(name, _)| left.iter().all(|(other, _)| other != name)) {
        sums.entry(name).or_default().only_one += 1;
    }
}

/// Share of bytes that differ, place by place. Bytes that only the longer string has differ.
fn differing(a: &[u8], b: &[u8]) -> f64 {
    let longest = a.len().max(b.len());
    let same = a.iter().zip(b).filter(|(x, y)| x == y).count();
    if longest == 0 { 0.0 } else { (longest - same) as f64 / longest as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::held_out::numbered;
    use super::*;
    use crate::side::Side;
    use crate::testing::Frames;

    fn of<'a>(change: &'a Change, field: &str) -> &'a FieldChange {
        change.fields.iter().find(|row| row.field == field).expect("the field")
    }

    #[test]
    fn changes_are_mean_absolute_differences() {
        let mut seed = Frames::new();
        seed.handshake(0, 50000);
        seed.udp(50, (40000, 53), 10);
        let mut other = Frames::new();
        other.tcp(0, (50000, 443), "S", (100, 0), 0); // identical
        other.tcp(10, (443, 50100), "SA", (200, 101), 0); // dport by 100, seq by 300
        other.tcp(20, (50000, 443), "PA", (101, 501), 4); // flags by 8, length, load
        other.tcp(50, (50000, 443), "A", (101, 501), 0); // no UDP
        other.arp(60); // nothing to compare with
        let (seed, other) = (Side::of(vec![seed.session("x")]), Side::of(vec![other.session("y")]));
        let change = change(&numbered(&seed), &numbered(&other), 100).expect("a pair");
        assert_eq!((change.sessions, change.packets, change.identical), (1, 4, 1.0));
        let third = |x: f64| x / 3.0;
        for (field, differs, mean) in [
            ("TCP_dport", third(1.0), third(100.0)),
            ("TCP_seq", third(1.0), third(300.0)),
            ("TCP_ack", 0.0, 0.0),
            ("TCP_flags", third(1.0), third(8.0)),
            ("TCP_options", 0.0, 0.0),
            ("IP_len", 0.5, (4.0 + 2.0) / 4.0),
            ("IP_proto", 0.25, 11.0 / 4.0),
            ("IP_src", 0.0, 0.0),
            ("Raw_load", 0.5, 0.5),
        ] {
            let row = of(&change, field);
            assert!((row.differs - differs).abs() < 1e-12 && (row.change - mean).abs() < 1e-12, "{row:?}");
        }
        assert_eq!((of(&change, "TCP_seq").compared, of(&change, "TCP_seq").only_one), (3, 1));
        assert_eq!((of(&change, "UDP_len").compared, of(&change, "UDP_len").only_one), (0, 1));
        assert!(change.fields.iter().all(|row| !row.field.starts_with("ARP")));
        // dport and seq: 2 + 2 of 54 bytes (443 to 50100 as bytes: both, 500 to 200: one of two that differ is 0x01 and
        // 0x00).
        assert!(change.differing_bytes.is_some_and(|share| share > 0.0 && share < 0.3));
        assert!((differing(&[1, 2, 3], &[1, 9, 3, 4]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn several_seeds_are_paired_by_label_round_and_round() {
        let session = |label: &str, size| {
            let mut frames = Frames::new();
            frames.udp(0, (40000, 53), size);
            frames.session(label)
        };
        let seeds = Side::of(vec![session("a", 1), session("b", 2), session("a", 3)]);
        let made = Side::of(["a", "a", "c", "a", "b"].into_iter().map(|label| session(label, 9)).collect());
        let (seeds, made) = (numbered(&seeds), numbered(&made));
        let sizes: Vec<_> =
            pairs(&seeds, &made).iter().map(|(seed, _)| seed.packets[0].wire_len - 42).collect();
        assert_eq!(sizes, [1, 3, 1, 2]);
        assert_eq!(change(&[], &made, 100), None);
        assert_eq!(change(&seeds, &[], 100), None);
    }
}
