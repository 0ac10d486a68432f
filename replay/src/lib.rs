//! Sessions rewritten for a testbed, paced, and put on an interface or into rolling captures.
//!
//! A [`Session`](netssm_wire::session::Session) holds headers, lengths and times, made by a model or read from a
//! capture. This crate turns it into frames that a sensor or a middlebox accepts, and sends them:
//!
//! ```text
//! Session ─> rewrite ─> payload ─> TestbedFrame ─> pace ─> guard ─> sink (interface | rolling captures)
//!                                      └─> label (who each flow is, beside each capture)
//! ```
//!
//! * [`rewrite`] maps hosts, ports and numbers into the testbed and is the only maker of
//!   [`TestbedFrame`](rewrite::TestbedFrame), which is all that a sink takes. So no address of a training capture
//!   can reach a wire or a file.
//! * [`payload`] fills what headers declare, behind a trait.
//! * [`label`] says what every flow of the output is.
//! * [`pace`] and [`clock`] say when a frame leaves; [`guard`] whether it may; [`sink`] and [`interface`] how.
//!
//! No input makes this crate panic. It imports nothing of the model's crate; `netssmd` joins the two.

pub mod clock;
mod draw;
pub mod drop_reason;
pub mod guard;
pub mod interface;
pub mod label;
pub mod pace;
pub mod payload;
pub mod rewrite;
pub mod sink;
