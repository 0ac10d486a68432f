//! The memory that steps work in: made once, kept by the engine, so that a token allocates nothing.
//!
//! A step splits its rows among threads; each share has a [`Share`], all of one step a [`Workspace`]. The engine keeps
//! the workspaces that are not in use in a [`Pool`]: one for each step that ever ran at the same time, commonly one. A
//! workspace grows when a step has more rows than any before, and never shrinks: its size is that of the largest batch.

use std::sync::{Mutex, PoisonError};

use super::packed::Scratch;
use crate::network::config::ModelConfig;
use crate::network::masks::Masks;

/// What one thread's rows of a step need.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) tokens: Vec<u32>,  // (rows)
    pub(crate) context: Vec<u32>, // (rows, fields)
    pub(crate) wanted: Masks,     // (rows), or none: all is wanted
    pub(crate) x: Vec<f32>,       // (rows, d)
    pub(crate) normed: Vec<f32>,  // (rows, d)
    pub(crate) zx: Vec<f32>,      // (rows, J)
    pub(crate) gated: Vec<f32>,   // (rows, E)
    pub(crate) logits: Vec<f32>,  // (rows, vocabulary)
    pub(crate) mixing: Mixing,
    pub(crate) scratch: Scratch,
}

/// What one row needs between the products of a layer.
#[derive(Debug, Default)]
pub(crate) struct Mixing {
    pub(crate) xbc: Vec<f32>, // (C)
    pub(crate) dtx: Vec<f32>, // (E)
    pub(crate) y: Vec<f32>,   // (E)
}

impl Share {
    /// Allocates for `rows` rows of a model whose output projection has `outputs` rows.
    fn reserve(&mut self, cfg: &ModelConfig, outputs: usize, rows: usize) {
        let room = |vec: &mut Vec<f32>, len: usize| vec.reserve(len.saturating_sub(vec.len()));
        let (d, e) = (cfg.d_model, cfg.d_inner());
        self.tokens.reserve(rows.saturating_sub(self.tokens.len()));
        self.context.reserve((rows * cfg.context_fields()).saturating_sub(self.context.len()));
        self.wanted.reserve(rows, outputs);
        room(&mut self.x, rows * d);
        room(&mut self.normed, rows * d);
        room(&mut self.zx, rows * cfg.d_in_proj());
        room(&mut self.gated, rows * e);
        room(&mut self.logits, rows * outputs);
        self.mixing.xbc.resize(cfg.conv_dim(), 0.0);
        self.mixing.dtx.resize(e, 0.0);
        self.mixing.y.resize(e, 0.0);
        // The products' inputs have width d or E.
        self.scratch.reserve(rows, d.max(e));
    }

    /// Empties what a step's rows are read into.
    pub(crate) fn clear(&mut self, outputs: usize) {
        self.tokens.clear();
        self.context.clear();
        self.wanted.clear(outputs);
    }

    /// Gives the buffers between products the size of the rows that were read. What is in them is left over.
    pub(crate) fn fit(&mut self, cfg: &ModelConfig, outputs: usize) {
        let rows = self.tokens.len();
        self.normed.resize(rows * cfg.d_model, 0.0);
        self.zx.resize(rows * cfg.d_in_proj(), 0.0);
        self.gated.resize(rows * cfg.d_inner(), 0.0);
        self.logits.resize(rows * outputs, 0.0);
    }
}

/// The shares of one step.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) shares: Vec<Share>,
}

/// Workspaces that no step is using. A clone has none of them.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<Workspace>>);

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Pool {
    /// A workspace with room for so many shares of so many rows: the same room in each, since which thread takes which
    /// share is chance.
    pub(crate) fn take(
        &self,
        cfg: &ModelConfig,
        outputs: usize,
        (shares, rows): (usize, usize),
    ) -> Workspace {
        let mut workspace = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if workspace.shares.len() < shares {
            workspace.shares.resize_with(shares, Share::default);
        }
        workspace.shares[..shares].iter_mut().for_each(|share| share.reserve(cfg, outputs, rows));
        workspace
    }

    /// Keeps a workspace for the next step.
    pub(crate) fn give_back(&self, workspace: Workspace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}
