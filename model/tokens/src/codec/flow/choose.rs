//! An optional field with a prediction, cheap candidates and a literal form.
//!
//! Most fields of a header have the same form in the grammar. There is no token if the prediction is right, one token
//! if the value is that of a candidate (a retransmission, a recent window), and otherwise a token that announces a
//! literal, with the value behind it. Candidates are in order of preference. A token is never legal if an earlier form
//! has the same value. That keeps streams canonical: encoding a decoded packet gives the same tokens.

use std::cell::OnceCell;

use arrayvec::ArrayVec;

use super::{
    io::{Coded, Io, Presence},
    vocab::Class,
};

/// Candidates: token and value, by preference.
pub(super) type Candidates = ArrayVec<(u16, u32), 32>;

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The prediction, without a token.
    Predicted(u32),
    /// A candidate, by this token.
    Candidate(u16, u32),
    /// A literal form follows this token.
    Literal(u16),
}

/// What is legal at the field besides candidates. It is asked for when a mask is collected.
pub(super) struct Rules {
    /// Literal tokens that are legal.
    pub(super) literals: ArrayVec<u16, 4>,
    /// Whether the prediction may stand.
    pub(super) default: bool,
}

impl Rules {
    /// The prediction may stand, and these literals are legal.
    pub(super) fn with(literals: impl IntoIterator<Item = u16>) -> Self {
        Self { literals: literals.into_iter().collect(), default: true }
    }
}

/// Codes a field. `want` is the value to write, `literal` gives the token of its literal form, and `allows` says
/// whether a candidate is legal.
///
/// Without a prediction there must be a token.
#[allow(clippy::too_many_arguments)] // each is one part of the field's definition
pub(super) fn choose<I: Io>(
    io: &mut I,
    class: Class,
    want: Option<u32>,
    predicted: Option<u32>,
    candidates: impl Fn(&mut Candidates),
    literal: impl FnOnce(u32) -> u16,
    rules: impl FnOnce() -> Rules,
    allows: impl Fn(u16, u32) -> bool,
) -> Coded<Chosen> {
    // The prediction is right most of the time, and then candidates are not needed.
    let list = OnceCell::new();
    let list = || {
        list.get_or_init(|| {
            let mut list = Candidates::new();
            candidates(&mut list);
            list
        })
    };
    let token = io.maybe(
        class,
        || {
            let want = want?;
            if predicted == Some(want) {
                return None;
            }
            let found = list().iter().find(|(_, value)| *value == want).map(|(token, _)| *token);
            Some(found.unwrap_or_else(|| literal(want)))
        },
        |mask| {
            let list = list();
            for (at, &(token, value)) in list.iter().enumerate() {
                let first = predicted != Some(value) && !list[..at].iter().any(|&(_, other)| other == value);
                if first && allows(token, value) {
                    mask.add(token);
                }
            }
            let rules = rules();
            rules.literals.iter().for_each(|&token| mask.add(token));
            Presence::needed(predicted.is_none() || !rules.default)
        },
    )?;
    let Some(token) = token else {
        return predicted.map(Chosen::Predicted).ok_or(io.lack());
    };
    let found = list().iter().find(|(known, _)| *known == token);
    Ok(found.map_or(Chosen::Literal(token), |&(token, value)| Chosen::Candidate(token, value)))
}
