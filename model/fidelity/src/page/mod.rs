//! The report as plain data: chapters of text, tables and plots.
//!
//! Every analysis makes a [`Chapter`] of its result. The code that shows the report, on a terminal or as HTML, knows
//! nothing of the analyses. [`html`](html()) makes one page of chapters, [`lines`] and [`verdicts`] text lines for a
//! terminal. Both take any strings and any numbers, those of a capture's label or name included, and never panic.

mod html;
mod markup;
mod number;
mod plot;
mod scale;
mod text;

pub use self::html::html;
pub(crate) use self::number::number;
pub use self::text::{lines, verdicts};

/// One analysis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chapter {
    /// Short title, stable: also its anchor.
    pub title: String,
    /// What the question is and how the answer is defined, in a few sentences.
    pub about: String,
    /// The answer in one line for the terminal summary; empty: none.
    pub verdict: String,
    /// Text, tables and plots in order.
    pub items: Vec<Item>,
}

/// A part of a chapter.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A paragraph.
    Text(String),
    /// A table.
    Table(Table),
    /// A plot.
    Plot(Plot),
}

/// A table. Rows may be shorter than the head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it shows, with the unit.
    pub caption: String,
    /// Column titles.
    pub head: Vec<String>,
    /// Cells; the first column is text, the others are aligned as numbers.
    pub rows: Vec<Vec<String>>,
}

/// Curves over one pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plot {
    /// What it shows.
    pub caption: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The curves, the real one first.
    pub curves: Vec<Curve>,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// Quantity and unit.
    pub label: String,
    /// Logarithmic: values of 0 and below are left out.
    pub log: bool,
}

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// How it is drawn.
    pub style: Style,
    /// Its points, ascending in x; values that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Straight from point to point.
    Line,
    /// Steps, constant up to the next point: distribution functions.
    Steps,
    /// A mark a point, and a line.
    Marks,
}
