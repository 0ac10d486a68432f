//! What the model is: its configuration, its parameters by the reference's names, its state. No computation.

pub mod config;
pub mod context;
pub mod init;
pub mod input;
pub mod masks;
pub mod params;
pub mod scan;
pub mod state;
pub mod weights;
