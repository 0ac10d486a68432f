//! netssm-fidelity: how good synthetic traffic is, by measures that compare real and synthetic captures.
//!
//! ```text
//! captures -> sessions -> every measure -> rows (samples, shares) by label -> real against synthetic -> Report
//!                     \-> every analysis ------------------------------------------------------------> Evaluation -> page
//! ```
//! [`Evaluation`] takes two [`Side`]s and says in which respects they differ.
//!
//! # Floors
//! ```text
//! stats (samples), page (text and plots) | input (captures to sessions) <- rows <- side <- analyses <- evaluation
//! ```
//! Imports go from right to left only, and [`stats`] and [`page`] import nothing of this crate.
//!
//! 1. `input`: finds [`Captures`], cuts them into sessions and labels these; a [`CapturedSession`] is what the measures
//!    see.
//! 2. `rows`: the ten measures; a [`Side`] is the sessions of one side with what the rows gathered from them.
//! 3. [`analyses`]: comparisons of two sides, above all the one row by row; [`Evaluation`] runs them.
//!
//! # Adding a measure
//! A measure is a file in `rows` with its definition, units and source in its docs: a table of rows, and a function
//! that takes from one session what these rows gather. `rows::MEASURES` lists them all, and a group of chapters takes
//! the rows by the beginning of their name; nothing else changes. Samples are compared by the distances of [`stats`],
//! shares by their difference.
//!
//! # Adding an analysis
//! An analysis does not fit in a row: it needs sessions of both sides, or more than one number. It is a module of
//! [`analyses`] with `Options`, a function `analyse` of both sides and the floor, and a result that serialises and
//! makes a [`page::Chapter`]. A line in `evaluation` makes it part of the report, the page and the choice of chapters.
//!
//! # Contract
//! Nothing here panics on any capture. What cannot be measured is named in the report and left out. Results do not
//! depend on the number of threads or on the order of files in a folder.

pub mod analyses;
mod error;
mod evaluation;
mod input;
pub mod page;
mod rows;
mod side;
pub mod stats;
#[cfg(test)]
mod testing;

pub use self::analyses::compare::{Compared, Distance, FORMAT, LabelMean, Report, Value, compare};
pub use self::error::FidelityError;
pub use self::evaluation::{ANALYSES, Evaluation, Input, ROWS};
pub use self::input::read::{Captures, File, Found, Part, Take, each_session, read};
pub use self::input::session::{CapturedSession, Direction, Flow, Packet, Segment, SessionBuilder};
pub use self::rows::collect::{Row, RowKind, Share};
pub use self::side::{About, Side};
