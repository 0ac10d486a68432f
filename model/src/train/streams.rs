//! Sessions laid into parallel streams: what each step of training reads.
//!
//! A batch has `rows` streams. Each stream walks through one session after the other, a window of `window` tokens per
//! step. It carries its recurrent state from window to window. This is truncated back-propagation: the state reaches
//! back to the session's first token, the gradient to the window's. A row that has used up its session takes the next
//! one from a shared order (a fresh permutation each epoch). So rows never wait for each other, and a long session
//! costs no padding in other rows.
//!
//! A session's last window is short. The rest of the row is padding that no loss term reads. The alternative is to
//! start the next session inside the window, which needs a state reset between two positions of one scan. Padding
//! wastes half a window per session on average, and [`Streams::next`] reports exactly how much. The window is cut to
//! the longest row.
//!
//! Rows that walk through long sessions show the optimiser the same few sessions for many updates in a row. The weights
//! then drift towards these sessions and away from the rest. So several batches of sessions are open at once and take
//! turns ([`Streams::interleaved`]). An update reads one of them, and the next window of the same sessions comes only
//! after all other batches.
//!
//! Everything here is a function of (seed, lengths, rows, window, turns). So a position in the data is the small
//! [`Cursor`], which a checkpoint stores.

use std::sync::Arc;

use netssm_tokens::codec::Codec;
use netssm_tokens::context::ContextShape;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::network::context::HIDDEN;
pub(super) use crate::network::input::IGNORE;
use crate::walk::Walk;

/// The position of a run in its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Permutations begun, minus one.
    pub(super) epoch: u64,
    /// Sessions of the current permutation already given to a row.
    pub(super) dealt: usize,
    /// Session and next input position of each row, batch by batch. `None` before the row's first session.
    pub(super) rows: Vec<Option<(usize, usize)>>,
    /// The batch that is read next.
    #[serde(default)]
    pub(super) turn: usize,
    /// Whether the label of each row's session is hidden, batch by batch. Empty where labels are never hidden.
    #[serde(default)]
    pub(super) hidden: Vec<bool>,
}

/// One step's input, row-major, `width` tokens per row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Tokens per row in this window. At most the configured window.
    pub(super) width: usize,
    /// Input tokens, `rows * width`. Padding is token 0.
    pub(super) inputs: Vec<u32>,
    /// Rows of side information, `rows * width * fields`. Padding is row 0.
    pub(super) context: Vec<u32>,
    /// Next tokens, [`IGNORE`] where there is none.
    pub(super) targets: Vec<u32>,
    /// Valid positions of each row, at least 1.
    pub(super) lengths: Vec<usize>,
    /// Rows that begin a session here. Their carried state must be zeroed first.
    pub(super) fresh: Vec<bool>,
    /// Index of the open batch that these rows belong to. Each batch has its own carried states.
    pub(super) turn: usize,
}

impl Window {
    /// Positions with a target.
    pub(super) fn valid(&self) -> usize {
        counted(&self.targets)
    }
}

/// Number of targets that are not [`IGNORE`].
pub(super) fn counted(targets: &[u32]) -> usize {
    targets.iter().filter(|&&target| target != IGNORE).count()
}

/// The sessions' tokens, the order and the rows.
pub(super) struct Streams<'a> {
    sessions: Vec<&'a [u16]>,
    rows: usize,
    window: usize,
    seed: u64,
    order: Vec<u32>,
    dropout: Option<Dropout>,
    side_information: Option<SideInformation>,
    cursor: Cursor,
}

/// The source of the rows' side information.
struct SideInformation {
    codec: Arc<dyn Codec>,
    shape: ContextShape,
    /// Probability that a field is hidden from a token.
    hidden: f64,
    /// The decoder of each row, at the row's position. As many as the cursor has rows.
    walks: Vec<Option<Walk>>,
}

/// How labels are hidden. It lets the model also learn what traffic looks like when no label is given.
#[derive(Clone, Debug)]
pub(super) struct Dropout {
    /// Probability that a session has no label, 0 to 1.
    pub(super) p: f64,
    /// The id that replaces a label. No session has it.
    pub(super) token: u16,
    /// Which ids are labels.
    pub(super) labels: Vec<bool>,
}

impl<'a> Streams<'a> {
    /// Streams over `sessions`, each cut to `sequence` tokens. Sessions of fewer than 2 tokens have nothing to predict
    /// and are left out. `None` if no session is left or a size is 0.
    pub(super) fn new(
        sessions: impl IntoIterator<Item = &'a [u16]>,
        (rows, window, sequence): (usize, usize, usize),
        seed: u64,
    ) -> Option<Self> {
        let sessions: Vec<&[u16]> =
            sessions.into_iter().map(|s| &s[..s.len().min(sequence)]).filter(|s| s.len() >= 2).collect();
        if sessions.is_empty() || rows == 0 || window == 0 {
            return None;
        }
        let order = permutation(sessions.len(), seed, 0);
        let cursor = Cursor { epoch: 0, dealt: 0, rows: vec![None; rows], turn: 0, hidden: Vec::new() };
        Some(Self { sessions, rows, window, seed, order, dropout: None, side_information: None, cursor })
    }

    /// The same streams with labels hidden in some sessions. The choice is made anew each time a session is read.
    #[must_use]
    pub(super) fn with_dropout(mut self, dropout: Dropout) -> Self {
        self.dropout = Some(dropout).filter(|dropout| dropout.p > 0.0);
        self
    }

    /// The same streams with side information of `shape`, which the decoders of `codec` give. Each field but the label
    /// is hidden from a token with the probability `hidden`.
    #[must_use]
    pub(super) fn with_context(
        mut self,
        codec: Arc<dyn Codec>,
        shape: Option<ContextShape>,
        hidden: f64,
    ) -> Self {
        self.side_information =
            shape.map(|shape| SideInformation { codec, shape, hidden, walks: Vec::new() });
        self
    }

    /// The same streams with up to `turns` batches open at once. There are fewer where the sessions do not suffice to
    /// give each row its own. Starts from the beginning.
    #[must_use]
    pub(super) fn interleaved(mut self, turns: usize) -> Self {
        let turns = turns.min(self.sessions.len() / self.rows).max(1);
        self.cursor =
            Cursor { epoch: 0, dealt: 0, rows: vec![None; self.rows * turns], turn: 0, hidden: Vec::new() };
        self.order = permutation(self.sessions.len(), self.seed, 0);
        self
    }

    /// Number of batches that are open at once.
    pub(super) fn turns(&self) -> usize {
        self.cursor.rows.len() / self.rows
    }

    /// The position of the streams.
    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Moves the streams to a position of other streams with the same sessions, sizes and seed. Returns false and
    /// changes nothing if the cursor cannot belong to such streams.
    pub(super) fn seek(&mut self, cursor: Cursor) -> bool {
        let fits = cursor.rows.len() == self.cursor.rows.len()
            && cursor.turn < self.turns()
            && cursor.dealt <= self.sessions.len()
            && cursor
                .rows
                .iter()
                .flatten()
                .all(|&(s, at)| self.sessions.get(s).is_some_and(|tokens| at < tokens.len()));
        if fits {
            self.order = permutation(self.sessions.len(), self.seed, cursor.epoch);
            self.cursor = cursor;
            self.walk_again();
        }
        fits
    }

    /// Positions with a target in one epoch.
    pub(super) fn tokens(&self) -> u64 {
        self.sessions.iter().map(|s| s.len() as u64 - 1).sum()
    }

    /// The next window. The streams never end: the first session of the next epoch follows the last of an epoch.
    pub(super) fn next(&mut self) -> Window {
        let (rows, turn) = (self.rows, self.cursor.turn);
        let first = turn * rows;
        let mut fresh = vec![false; rows];
        for (row, fresh) in fresh.iter_mut().enumerate() {
            let used_up =
                self.cursor.rows[first + row].is_none_or(|(s, at)| at + 1 >= self.sessions[s].len());
            if used_up {
                self.cursor.rows[first + row] = Some((self.deal(), 0));
                self.hide(first + row);
                self.walk_anew(first + row);
                *fresh = true;
            }
        }
        let here: Vec<(usize, usize)> =
            self.cursor.rows[first..first + rows].iter().copied().flatten().collect();
        let lengths: Vec<usize> =
            here.iter().map(|&(s, at)| self.window.min(self.sessions[s].len() - 1 - at)).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut inputs = vec![0u32; rows * width];
        let mut targets = vec![IGNORE; rows * width];
        let fields =
            self.side_information.as_ref().map_or(0, |side_information| side_information.shape.fields);
        let mut context = Vec::with_capacity(rows * width * fields);
        for (row, (&(s, at), &n)) in here.iter().zip(&lengths).enumerate() {
            let session = self.sessions[s];
            let first_id = context.len();
            for (i, place) in (at..at + n).enumerate() {
                let token = self.shown(first + row, session[place]);
                inputs[row * width + i] = u32::from(token);
                if let Some(walk) = self.walk(first + row) {
                    walk.push(token, &mut context);
                }
                targets[row * width + i] = u32::from(session[place + 1]);
            }
            self.cursor.rows[first + row] = Some((s, at + n));
            self.hide_fields((s, at), &mut context[first_id..]);
            context.resize((row + 1) * width * fields, 0);
        }
        self.cursor.turn = (turn + 1) % self.turns();
        Window { width, inputs, context, targets, lengths, fresh, turn }
    }

    /// Hides fields of the side information at random. The last field of a token, its label, is never hidden. The
    /// choice differs from epoch to epoch.
    fn hide_fields(&self, (session, at): (usize, usize), ids: &mut [u32]) {
        let Some(side_information) =
            self.side_information.as_ref().filter(|side_information| side_information.hidden > 0.0)
        else {
            return;
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x0066_6965_6c64_7373 ^ (at as u64) << 32);
        rng.set_stream(self.cursor.epoch * self.sessions.len() as u64 + session as u64);
        for ids in ids.chunks_exact_mut(side_information.shape.fields) {
            let (_, fields) = ids.split_last_mut().unzip();
            for id in fields.into_iter().flatten() {
                if rng.random_bool(side_information.hidden) {
                    *id = HIDDEN;
                }
            }
        }
    }

    /// A token as the model sees it: a label may be hidden.
    fn shown(&self, row: usize, token: u16) -> u16 {
        let is_hidden = self.cursor.hidden.get(row) == Some(&true);
        match self.dropout.as_ref().filter(|_| is_hidden) {
            Some(dropout) if dropout.labels.get(usize::from(token)) == Some(&true) => dropout.token,
            _ => token,
        }
    }

    fn walk(&mut self, row: usize) -> Option<&mut Walk> {
        self.side_information.as_mut()?.walks.get_mut(row)?.as_mut()
    }

    /// Starts a new decoder for a row that has begun a session.
    fn walk_anew(&mut self, row: usize) {
        let Some(side_information) = &mut self.side_information else { return };
        side_information.walks.resize_with(self.cursor.rows.len(), || None);
        side_information.walks[row] =
            Some(Walk::new(side_information.codec.as_ref(), Some(side_information.shape)));
    }

    /// Brings every row's decoder to the position of the cursor.
    fn walk_again(&mut self) {
        if self.side_information.is_none() {
            return;
        }
        let mut unused = Vec::new();
        for (row, place) in self.cursor.rows.clone().into_iter().enumerate() {
            let Some((session, at)) = place else { continue };
            self.walk_anew(row);
            for &token in &self.sessions[session][..at] {
                let token = self.shown(row, token);
                if let Some(walk) = self.walk(row) {
                    walk.push(token, &mut unused);
                    unused.clear();
                }
            }
        }
    }

    fn deal(&mut self) -> usize {
        if self.cursor.dealt == self.order.len() {
            self.cursor.epoch += 1;
            self.cursor.dealt = 0;
            self.order = permutation(self.sessions.len(), self.seed, self.cursor.epoch);
        }
        self.cursor.dealt += 1;
        self.order[self.cursor.dealt - 1] as usize
    }

    /// Decides whether the session that a row has just begun shows its label.
    fn hide(&mut self, row: usize) {
        let Some(dropout) = &self.dropout else { return };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x6c61_6265_6c73);
        // The count of dealt sessions identifies this session among all sessions of the run.
        rng.set_stream(self.cursor.epoch * self.sessions.len() as u64 + self.cursor.dealt as u64);
        self.cursor.hidden.resize(self.cursor.rows.len(), false);
        self.cursor.hidden[row] = rng.random_bool(dropout.p.min(1.0));
    }

    /// Number of windows until `epochs` epochs are dealt out and the first row would begin the next one. This is the
    /// length of a run that is given in epochs. It reads the sessions' lengths only.
    pub(super) fn windows_in(&self, epochs: u64) -> u64 {
        let mut left = vec![0usize; self.cursor.rows.len()];
        let (mut epoch, mut dealt) = (0, 0);
        let mut order = permutation(self.sessions.len(), self.seed, 0);
        for step in 0.. {
            let first = (step % self.turns() as u64) as usize * self.rows;
            let rows = &mut left[first..first + self.rows];
            for left in &mut *rows {
                if *left > 0 {
                    continue;
                }
                if dealt == order.len() {
                    (epoch, dealt) = (epoch + 1, 0);
                    if epoch >= epochs {
                        return step;
                    }
                    order = permutation(self.sessions.len(), self.seed, epoch);
                }
                *left = self.sessions[order[dealt] as usize].len() - 1;
                dealt += 1;
            }
            for left in rows {
                *left -= self.window.min(*left);
            }
        }
        0
    }
}

/// The order of `n` sessions in an epoch.
fn permutation(n: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(&mut rng);
    order
}

#[cfg(test)]
mod tests;
