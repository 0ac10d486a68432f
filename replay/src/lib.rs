//! Sessions rewritten for a testbed, paced, and put on an interface or into rolling captures.

pub mod error;
pub mod label;
pub mod rewrite;
