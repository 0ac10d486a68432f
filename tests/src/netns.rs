//! Networks for a test: namespaces without names. A file handle keeps each open, and it is gone when the handle is
//! closed.
//!
//! A Linux namespace belongs to a thread. So a thread makes a namespace by unsharing it, and hands out
//! `/proc/thread-self/ns/*`. To work in the namespace, spawn a thread that enters it. A child process inherits the
//! namespaces of the thread that spawns it. Nothing is left behind if the test is killed: the kernel removes the
//! namespace and its interfaces with the last handle.
//!
//! See namespaces(7), network_namespaces(7), mount_namespaces(7).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, with a mount namespace whose `/sys` shows its interfaces.
#[derive(Debug)]
pub struct Namespace {
    network: File,
    mounts: File,
}

impl Namespace {
    /// Makes a new namespace with loopback up. IPv6 is off on every later interface, so that the kernel sends nothing
    /// there by itself.
    ///
    /// # Panics
    /// Without root, or if the kernel refuses.
    #[must_use]
    pub fn new() -> Self {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("unshare network and mounts");
            // Mounts made here must not propagate to the host. /sys shows the interfaces of the namespace that mounted
            // it.
            shell("mount --make-rprivate / && mount -t sysfs sysfs /sys");
            shell("ip link set dev lo up");
            for which in ["all", "default"] {
                // The file does not exist if the kernel has no IPv6, which serves as well.
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
            }
            Self {
                network: File::open("/proc/thread-self/ns/net").expect("our network namespace"),
                mounts: File::open("/proc/thread-self/ns/mnt").expect("our mount namespace"),
            }
        })
    }

    /// Runs `work` on a thread inside this namespace and gives its result. The working directory there is `/`, so paths
    /// must be absolute.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            // A thread may not change its mounts while it shares root and working directory with other threads.
            unshare(CloneFlags::CLONE_FS).expect("unshare the working directory");
            setns(&self.network, CloneFlags::CLONE_NEWNET).expect("enter the network namespace");
            setns(&self.mounts, CloneFlags::CLONE_NEWNS).expect("enter the mount namespace");
            work()
        })
    }

    /// Starts `command` inside the namespace.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.within(|| command.spawn())
    }

    /// Runs a shell line inside the namespace and gives its standard output.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn shell(&self, line: &str) -> String {
        self.within(|| shell(line))
    }

    /// The kernel's counters of an interface in this namespace.
    #[track_caller]
    pub fn counters(&self, interface: &str) -> Counters {
        let text = self.shell(&format!("ip -j -s link show dev {interface}"));
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip -j prints JSON");
        let number = |side: &str, what: &str| {
            links[0]["stats64"][side][what].as_u64().unwrap_or_else(|| panic!("no {side} {what} in {text}"))
        };
        Counters {
            tx_packets: number("tx", "packets"),
            tx_bytes: number("tx", "bytes"),
            tx_dropped: number("tx", "dropped"),
            rx_packets: number("rx", "packets"),
            rx_bytes: number("rx", "bytes"),
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

/// Counters of an interface, as the kernel keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Frames given to the device.
    pub tx_packets: u64,
    /// Bytes of these frames, from the Ethernet header on.
    pub tx_bytes: u64,
    /// Frames that the device refused.
    pub tx_dropped: u64,
    /// Frames that arrived.
    pub rx_packets: u64,
    /// Bytes of these frames.
    pub rx_bytes: u64,
}

/// Two namespaces joined by a veth pair: the daemon's side and the sensor's.
#[derive(Debug)]
pub struct Testbed {
    /// The namespace that `netssmd` runs in. It has the interface [`NEAR`].
    pub near: Namespace,
    /// The namespace of the sensor, which listens on the interface [`FAR`].
    pub far: Namespace,
}

/// The interface that the daemon sends on. It has the same name in `systemd/netssmd-testbed@.service`.
pub const NEAR: &str = "nssm0";
/// The interface that the sensor listens on.
pub const FAR: &str = "nssm0-sensor";

impl Testbed {
    /// Makes the pair: both ends up, no address on either, MTU 1500.
    ///
    /// # Panics
    /// Without root, or if the kernel has no veth.
    #[must_use]
    pub fn new() -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        let far_handle = format!("/proc/{}/fd/{}", std::process::id(), far.network.as_raw_fd());
        near.shell(&format!("ip link add {NEAR} type veth peer name {FAR} netns {far_handle}"));
        far.shell(&format!("ip link set dev {FAR} up promisc on"));
        near.shell(&format!("ip link set dev {NEAR} up"));
        Self { near, far }
    }
}

impl Default for Testbed {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs `work` on a thread of its own. The thread's namespaces end with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[track_caller]
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("start sh");
    assert!(
        output.status.success(),
        "`{line}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
