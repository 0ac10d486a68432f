//! What the tests of sinks and guard share: namespaces, frames, the far end of a wire.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

pub mod capture;
pub mod frames;
pub mod netns;
