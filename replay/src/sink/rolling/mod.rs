//! Rolling captures.

mod config;

pub use config::{RollingConfig, RollingError};
