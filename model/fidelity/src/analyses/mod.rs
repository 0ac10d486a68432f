//! Comparisons that do not fit in a row, because they need sessions of both sides or more than one number.
//!
//! An analysis is a module with `Options`, a function `analyse` of both sides and the floor, and a result that
//! serialises and makes a [`Chapter`](crate::page::Chapter). [`Evaluation`](crate::Evaluation) runs them. [`compare`]
//! is the comparison row by row, which every report has. `classify` (learners) and `features` (what they learn from)
//! serve several analyses.

pub mod baseline;
mod classify;
pub mod compare;
pub mod compliance;
pub mod discriminate;
pub mod dynamics;
mod features;
pub mod memorise;
pub mod overtime;
pub mod similarity;
pub mod utility;
