//! How an interface is to be used.

use std::time::Duration;

use super::sys;

/// What to do with a frame that is longer than the interface takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MtuPolicy {
    /// Drop and count it.
    #[default]
    Drop,
    /// Stop with [`InterfaceError::OverMtu`](super::InterfaceError::OverMtu).
    Refuse,
}

/// How to use an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Its name.
    pub name: String,
    /// Frames above its MTU.
    pub mtu_policy: MtuPolicy,
    /// Straight to the driver, around the queueing discipline; see the module docs for what that costs.
    pub qdisc_bypass: bool,
    /// Frames in one system call, 1 to 64. [`Sink::flush`](crate::sink::Sink::flush) sends a
    /// batch that is not full.
    pub batch: usize,
    /// Bytes that the kernel may hold for this socket. Only used as far as the caller's privileges go.
    pub send_buffer: usize,
    /// How long to offer a frame again that the kernel has no room for, before giving up.
    pub patience: Duration,
    /// Mark on every frame (`SO_MARK`), by which the rules of [`NftGuard`](crate::guard::nft::NftGuard) know
    /// them from the host's own; needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
}

impl InterfaceConfig {
    /// Defaults for the interface called `name`: drop above MTU, bypass the queueing discipline, 64 frames a
    /// call, 4 MiB, two seconds, no mark.
    pub fn new(name: impl Into<String>) -> InterfaceConfig {
        InterfaceConfig {
            name: name.into(),
            mtu_policy: MtuPolicy::default(),
            qdisc_bypass: true,
            batch: sys::MAX_BATCH,
            send_buffer: 4 << 20,
            patience: Duration::from_secs(2),
            mark: None,
        }
    }
}
