//! Sessions rewritten for a testbed, paced, and put on an interface or into rolling captures.

pub mod error;
pub mod label;
pub mod rewrite;
pub mod clock;
pub mod guard;
pub mod interface;
pub mod pace;
pub mod sink;
