//! Longest matches between sequences: a suffix array with its longest common prefixes.
//!
//! It is exact for any sequence of symbols and uses no hashes. Sorting by doubled prefixes (Manber and Myers, SIAM
//! Journal on Computing 22, 1993; only groups that are not in order yet are sorted again, after Larsson and Sadakane,
//! Theoretical Computer Science 387, 2007) takes n log n steps a doubling, and as many doublings as the logarithm of
//! the longest repeat; the prefixes (Kasai et al., CPM 2001) and the matches are linear.

use rayon::prelude::*;

/// Groups above this are sorted on all cores, smaller ones each on one.
const LARGE: usize = 1 << 16;

/// A stretch that also begins at `at` in the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Match {
    /// Symbols.
    pub(super) len: u32,
    /// Where it is in the reference. Of several places any; the same for equal input.
    pub(super) at: u32,
}

/// For every position from `reference` on, the longest stretch from there that begins somewhere before `reference`.
///
/// Sequences in `text` end with a symbol that occurs once, so that no stretch goes beyond its end; so does `text` as a
/// whole. Its length must be below 2^32.
pub(super) fn matches(text: &[u32], reference: usize) -> Vec<Match> {
    let (order, rank) = suffix_array(text);
    let shared = common_prefixes(text, &order, &rank);
    let mut found = vec![Match::default(); text.len().saturating_sub(reference)];
    // The longest match of a suffix is with one of its two neighbours in order that begin in the reference.
    let mut visit = |positions: &mut dyn Iterator<Item = (u32, u32)>| {
        let mut nearest = Match::default();
        for (position, shared) in positions {
            nearest.len = nearest.len.min(shared);
            match (position as usize).checked_sub(reference) {
                None => nearest = Match { len: u32::MAX, at: position },
                Some(asked) if nearest.len > found[asked].len => found[asked] = nearest,
                Some(_) => {}
            }
        }
    };
    // shared[i] is between the suffixes i - 1 and i in order.
    visit(&mut order.iter().copied().zip(shared.iter().copied()));
    visit(&mut order.iter().rev().copied().zip([0].into_iter().chain(shared.iter().rev().copied())));
    found
}

/// The start of every suffix in order, and the place of every suffix in that order.
fn suffix_array(text: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let n = text.len();
    let mut order: Vec<u32> = vec![0; n];
    let mut rank: Vec<u32> = vec![0; n];
    // Places of suffixes whose first symbols are the same: start and length.
    let mut groups: Vec<(usize, usize)> = if n > 0 { vec![(0, n)] } else { Vec::new() };
    for (place, suffix) in order.iter_mut().zip(0..) {
        *place = suffix;
    }
    let mut sorted = 0; // symbols that the order so far looks at
    let mut pairs: Vec<u64> = Vec::with_capacity(n);
    while !groups.is_empty() {
        pairs.clear();
        for &(start, len) in &groups {
            pairs.extend(order[start..start + len].iter().map(|&suffix| {
                let at = suffix as usize + sorted;
                // A suffix that ends here is less than all that go on; it is alone if the last symbol is.
                let next = if sorted == 0 { text[at] } else { rank.get(at).map_or(0, |r| r + 1) };
                u64::from(next) << 32 | u64::from(suffix)
            }));
        }
        sort_groups(&mut pairs, &groups);
        let mut rest = pairs.as_slice();
        let mut unsorted = Vec::new();
        for &(start, len) in &groups {
            let (group, after) = rest.split_at(len);
            rest = after;
            let mut place = start;
            for equal in group.chunk_by(|a, b| a >> 32 == b >> 32) {
                for (i, pair) in equal.iter().enumerate() {
                    let suffix = *pair as u32; // the lower half
                    order[place + i] = suffix;
                    rank[suffix as usize] = place as u32;
                }
                if equal.len() > 1 {
                    unsorted.push((place, equal.len()));
                }
                place += equal.len();
            }
        }
        groups = unsorted;
        sorted = if sorted == 0 { 1 } else { 2 * sorted };
    }
    (order, rank)
}

fn sort_groups(pairs: &mut [u64], groups: &[(usize, usize)]) {
    let mut slices = Vec::with_capacity(groups.len());
    let mut rest = pairs;
    for &(_, len) in groups {
        let (group, after) = rest.split_at_mut(len);
        rest = after;
        slices.push(group);
    }
    slices.par_iter_mut().with_min_len(64).for_each(|group| {
        if group.len() > LARGE { group.par_sort_unstable() } else { group.sort_unstable() }
    });
}

/// How many symbols each suffix shares with the one before it in order.
fn common_prefixes(text: &[u32], order: &[u32], rank: &[u32]) -> Vec<u32> {
    let mut shared = vec![0; text.len()];
    let mut len = 0_usize;
    for (suffix, &place) in rank.iter().enumerate() {
        let Some(before) = (place as usize).checked_sub(1) else {
            len = 0;
            continue;
        };
        let other = order[before] as usize;
        len += text[suffix + len..].iter().zip(&text[other + len..]).take_while(|(a, b)| a == b).count();
        shared[place as usize] = len as u32;
        len = len.saturating_sub(1);
    }
    shared
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Joins sequences, each with an end of its own.
    fn join(sequences: &[Vec<u32>]) -> Vec<u32> {
        let ends = (0..).map(|i| u32::MAX - i);
        sequences.iter().zip(ends).flat_map(|(s, end)| s.iter().copied().chain([end])).collect()
    }

    #[test]
    fn banana_is_sorted() {
        let text = join(&["banana".bytes().map(u32::from).collect()]);
        let (order, rank) = suffix_array(&text);
        assert_eq!(order, [1, 3, 5, 0, 2, 4, 6]); // the end sorts last: anana, ana, a, banana, ...
        assert!(order.iter().enumerate().all(|(i, &s)| rank[s as usize] == i as u32));
        assert_eq!(common_prefixes(&text, &order, &rank), [0, 3, 1, 0, 0, 2, 0]);
        assert_eq!(suffix_array(&[]), (vec![], vec![]));
        assert_eq!(matches(&[], 0), []);
    }

    #[test]
    fn long_repeats_are_matched_to_their_end() {
        let same = vec![7; 5000];
        let text = join(&[same.clone(), same]);
        let found = matches(&text, 5001);
        assert_eq!(found[0], Match { len: 5000, at: 0 });
        assert_eq!(found[4999].len, 1);
        assert_eq!(found[5000].len, 0);
    }

    proptest! {
        #[test]
        fn matches_are_those_of_a_plain_search(
            reference in prop::collection::vec(prop::collection::vec(0u32..3, 0..30), 0..4),
            asked in prop::collection::vec(prop::collection::vec(0u32..3, 0..30), 0..4),
        ) {
            let all: Vec<_> = reference.iter().chain(&asked).cloned().collect();
            let text = join(&all);
            let border: usize = reference.iter().map(|s| s.len() + 1).sum();
            let found = matches(&text, border);
            for (i, got) in found.iter().enumerate() {
                let common = |at: usize| text[at..].iter().zip(&text[border + i..]).take_while(|(a, b)| a == b).count();
                let longest = (0..border).map(common).max().unwrap_or(0);
                prop_assert_eq!(got.len as usize, longest);
                prop_assert!(longest == 0 || common(got.at as usize) == longest);
            }
        }
    }
}
