//! Streams over made-up sessions: every token once per epoch, in its order, for any number of rows.

use netssm_tokens::codec::flow::Parameters;
use netssm_tokens::codec::{FlowCodec, Vocab};
use proptest::prelude::*;

use super::*;

/// Session i holds i*100, i*100 + 1, ...
fn sessions(lengths: &[usize]) -> Vec<Vec<u16>> {
    lengths.iter().enumerate().map(|(i, &n)| (0..n).map(|k| (i * 100 + k) as u16).collect()).collect()
}

#[test]
fn a_session_is_read_in_order_with_its_next_tokens() {
    let data = sessions(&[8]);
    let mut streams = Streams::new(data.iter().map(Vec::as_slice), (1, 3, 1000), 1).unwrap();
    let w = streams.next();
    assert_eq!((w.inputs, w.targets), (vec![0, 1, 2], vec![1, 2, 3]));
    assert_eq!(w.fresh, [true]);
    let w = streams.next();
    assert_eq!((w.inputs, w.fresh), (vec![3, 4, 5], vec![false]));
    let w = streams.next();
    assert_eq!((w.width, w.inputs, w.targets), (1, vec![6], vec![7]), "the short tail");
    assert!(streams.next().fresh[0]);
    assert_eq!(streams.cursor().epoch, 1);
}

#[test]
fn short_rows_are_padded_and_ignored() {
    let data = sessions(&[9, 3]);
    let mut streams = Streams::new(data.iter().map(Vec::as_slice), (2, 4, 1000), 1).unwrap();
    let w = streams.next();
    assert_eq!(w.width, 4);
    let short = w.lengths.iter().position(|&n| n == 2).unwrap();
    assert_eq!(w.inputs[short * 4..short * 4 + 4], [100, 101, 0, 0]);
    assert_eq!(w.targets[short * 4..short * 4 + 4], [101, 102, IGNORE, IGNORE]);
    assert_eq!(w.valid(), 6);
    assert!(Streams::new([&[1u16][..]], (1, 4, 10), 1).is_none(), "nothing to predict");
}

#[test]
fn fields_are_hidden_by_chance_but_for_the_label() {
    let labels = ["a", "b"];
    let codec = FlowCodec::new(Vocab::flow(&labels).unwrap(), Parameters::default()).unwrap();
    let (shape, tokens) = (codec.context(), codec.prompt("a").unwrap().repeat(400));
    let codec: Arc<dyn Codec> = Arc::new(codec);
    let windows = |hidden: f64| {
        let streams = Streams::new([&tokens[..]], (1, 1_000, 1_000), 1).unwrap();
        let mut streams = streams.with_context(codec.clone(), shape, hidden);
        [streams.next().context, streams.next().context]
    };
    let [shown, again] = windows(0.0);
    assert_eq!(shown, again);
    let [first, second] = windows(0.25);
    assert_ne!(first, second, "another epoch hides others");
    assert_eq!(windows(0.25)[0], first);
    let fields = shape.unwrap().fields;
    let mut hidden = 0;
    for (i, (&id, &full)) in first.iter().zip(&shown).enumerate() {
        assert!(id == full || id == HIDDEN && (i + 1) % fields != 0, "place {i}");
        hidden += usize::from(id == HIDDEN);
    }
    let share = hidden as f64 / (first.len() / fields * (fields - 1)) as f64;
    assert!((share - 0.25).abs() < 0.02, "{share}");
}

#[test]
fn hidden_labels_are_hidden_as_long_as_the_session_lasts() {
    // Labels are the ids from 900 on. Each session repeats its own label in the middle.
    let data = [vec![900, 1, 2, 3, 900, 7, 8, 9, 4, 5], vec![901, 1, 2, 3, 901, 7, 8, 9, 4, 5]];
    let streams = |p| {
        let dropout = Dropout { p, token: 999, labels: (0..1000).map(|id| id >= 900).collect() };
        Streams::new(data.iter().map(Vec::as_slice), (2, 3, 1000), 1).unwrap().with_dropout(dropout)
    };
    let read = |mut streams: Streams<'_>| (0..9).flat_map(|_| streams.next().inputs).collect::<Vec<_>>();
    let labels = |inputs: &[u32]| inputs.iter().copied().filter(|&t| t >= 900).collect::<Vec<_>>();
    let shown = read(streams(0.0));
    assert!(labels(&shown).iter().all(|&t| t < 999));
    let hidden = read(streams(1.0));
    assert!(labels(&hidden).iter().all(|&t| t == 999));
    let others = |inputs: &[u32]| inputs.iter().copied().filter(|&t| t < 900).collect::<Vec<_>>();
    assert_eq!(others(&shown), others(&hidden));
    // With probability one half, each session shows both of its labels or none. A cursor remembers which.
    let mut some = streams(0.5);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let (a, b) = (some.next(), some.next());
        let mut other = streams(0.5);
        assert!(other.seek(some.cursor().clone()));
        assert_eq!(some.next(), other.next());
        for row in 0..2 {
            let at = |w: &Window, i: usize| w.inputs[row * w.width + i];
            assert_eq!(at(&a, 0) == 999, at(&b, 1) == 999);
            seen.insert(at(&a, 0) == 999);
        }
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn open_batches_take_turns_and_each_goes_on_where_it_stopped() {
    let data = sessions(&[8, 8, 8]);
    let all = || data.iter().map(Vec::as_slice);
    let mut streams = Streams::new(all(), (1, 3, 1000), 1).unwrap().interleaved(2);
    let (a, b, c) = (streams.next(), streams.next(), streams.next());
    assert_eq!((a.turn, b.turn, c.turn), (0, 1, 0));
    assert_ne!(a.inputs[0] / 100, b.inputs[0] / 100, "two sessions are open");
    assert_eq!(c.inputs[0], a.targets[2], "the first one goes on");
    assert!(a.fresh[0] && b.fresh[0] && !c.fresh[0]);
    assert_eq!(Streams::new(all(), (2, 3, 1000), 1).unwrap().interleaved(9).turns(), 1, "3 sessions, 2 rows");
}

proptest! {
    #[test]
    fn an_epoch_predicts_every_token_once(
        lengths in prop::collection::vec(0usize..90, 1..20),
        rows in 1usize..5, window in 1usize..20, turns in 1usize..4, seed in any::<u64>(),
    ) {
        let data = sessions(&lengths);
        let make = || Streams::new(data.iter().map(Vec::as_slice), (rows, window, 60), seed);
        let Some(mut streams) = make().map(|s| s.interleaved(turns)) else {
            prop_assert!(lengths.iter().all(|&n| n < 2));
            return Ok(());
        };
        let open = streams.turns() * rows;
        let epochs = 3;
        let steps = streams.windows_in(epochs);
        let mut seen = std::collections::HashMap::new();
        let mut middle = None;
        for step in 0..steps {
            if step == steps / 2 { middle = Some((streams.cursor().clone(), step)); }
            for t in streams.next().targets { if t != IGNORE { *seen.entry(t).or_insert(0u64) += 1; } }
        }
        // Up to the end every session was dealt `epochs` times. Only rows that are still busy fall short.
        prop_assert!(streams.cursor().epoch < epochs);
        prop_assert_eq!(seen.values().sum::<u64>() <= epochs * streams.tokens(), true);
        prop_assert!(seen.values().sum::<u64>() + (open as u64) * 60 >= epochs * streams.tokens());
        for (t, n) in seen { prop_assert!(n <= epochs, "target {} {} times", t, n); }
        if let Some((cursor, step)) = middle {
            let mut other = make().unwrap().interleaved(turns);
            prop_assert!(other.seek(cursor.clone()));
            let mut again = make().unwrap().interleaved(turns);
            for _ in 0..step { again.next(); }
            for _ in 0..20 { prop_assert_eq!(other.next(), again.next()); }
            let mut bad = cursor;
            bad.rows.push(None);
            prop_assert!(!other.seek(bad));
        }
    }
}
