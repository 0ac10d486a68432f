//! The input: captures read into sessions, with their labels and label files.
//!
//! [`read`] finds the files and cuts them into sessions, [`sidecar`] knows which packet belongs to which session of a
//! generated capture, [`session`] is a session as the measures see it.

pub(crate) mod read;
pub(crate) mod session;
pub(crate) mod sidecar;
