//! netssm-fidelity: how good synthetic traffic is, by measures over captures, real beside synthetic.
//!
//! ```text
//! captures -> sessions -> every measure -> rows (samples, shares) by label -> real against synthetic -> Report
//!                     \-> every analysis ------------------------------------------------------------> Evaluation -> page
//! ```
//! [`Evaluation`] takes two [`Side`]s and says in which respects they differ.
//!
//! # Reading order
//! 1. `input`: captures to [`Session`]s; `rows`: what is gathered from each; [`Side`]: both for one side of a comparison.
//! 2. [`analyses`]: what is made of two sides, [`analyses::compare`] first; `evaluation` runs them all.
//! 3. [`stats`]: distances, tests and summaries of samples, which know nothing of captures. [`page`]: the report for people.
//!
//! # Adding a measure
//! One file in `rows` a measure, with its definition, units and source in its docs: a table of rows and a function that
//! takes from one session what these rows gather. `rows::MEASURES` lists them all, and a group of chapters takes the rows by the
//! beginning of their name; nothing else changes. Distances are those of [`stats`] for samples and the difference for shares.
//!
//! # Adding an analysis
//! What has no place in a row (it needs sessions of both sides, or more than one number) is a module of [`analyses`] with `Options`, a
//! function `analyse` of both sides and the floor, and a result that serialises and makes a [`page::Chapter`]. A line
//! in `evaluation` makes it part of everything: the report, the page, the choice of chapters.
//!
//! # Contract
//! Nothing here panics on any capture. What cannot be measured is named in the report and left out. Results do not depend
//! on the number of threads or on the order of files in a folder.

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

pub use self::analyses::compare::{About, Compared, Distance, FORMAT, LabelMean, Report, Value, compare};
pub use self::error::FidelityError;
pub use self::evaluation::{ANALYSES, Evaluation, Input, ROWS};
pub use self::input::read::{Captures, File, Found, Part, Take, each_session, read};
pub use self::input::session::{Direction, Flow, Packet, Segment, Session, SessionBuilder};
pub use self::rows::collect::{Kind, Row, Share};
pub use self::side::Side;
