//! Networks for a test: namespaces without names, held open by a file handle and gone when it is closed.
//!
//! A Linux namespace belongs to a thread. So a namespace is made by a thread that unshares it and hands out
//! `/proc/thread-self/ns/*`; whoever wants to work in it spawns a thread, enters, and works. A child
//! process inherits the namespaces of the thread that spawns it. Nothing is left behind if the test is
//! killed: the last handle takes the namespace, and with it the interfaces, along.
//!
//! See namespaces(7), network_namespaces(7), mount_namespaces(7).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace with a mount namespace that shows its `/sys`.
#[derive(Debug)]
pub struct Namespace {
    network: File,
    mounts: File,
}

impl Namespace {
    /// A new one, with loopback up and IPv6 switched off on every interface to come, so that the kernel sends
    /// nothing there that we did not ask for.
    ///
    /// # Panics
    /// Without root, or where the kernel refuses.
    #[must_use]
    pub fn new() -> Self {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("unshare network and mounts");
            // The mounts made here must not travel back to the host; /sys shows the interfaces of
            // the namespace that mounted it.
            shell("mount --make-rprivate / && mount -t sysfs sysfs /sys");
            shell("ip link set dev lo up");
            for which in ["all", "default"] {
                // Absent where the kernel has no IPv6, which is as good.
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
            }
            Self {
                network: File::open("/proc/thread-self/ns/net").expect("our network namespace"),
                mounts: File::open("/proc/thread-self/ns/mnt").expect("our mount namespace"),
            }
        })
    }

    /// Runs `work` on a thread inside this namespace and gives back its result. The working directory is `/`
    /// there, so paths must be absolute.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            // A thread that shares its root and working directory with others may not change mounts.
            unshare(CloneFlags::CLONE_FS).expect("unshare the working directory");
            setns(&self.network, CloneFlags::CLONE_NEWNET).expect("enter the network namespace");
            setns(&self.mounts, CloneFlags::CLONE_NEWNS).expect("enter the mount namespace");
            work()
        })
    }

    /// Starts `command` inside.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.within(|| command.spawn())
    }

    /// Runs a shell line inside and gives back its standard output.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn shell(&self, line: &str) -> String {
        self.within(|| shell(line))
    }

    /// The kernel's own counters of an interface in this namespace.
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
    /// Their bytes, from the Ethernet header on.
    pub tx_bytes: u64,
    /// Frames that the device refused.
    pub tx_dropped: u64,
    /// Frames that arrived.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
}

/// Two namespaces joined by a veth pair: the daemon's side and the sensor's.
#[derive(Debug)]
pub struct Testbed {
    /// Where `netssmd` runs; it has the interface [`NEAR`].
    pub near: Namespace,
    /// Where the sensor listens, on the interface [`FAR`].
    pub far: Namespace,
}

/// The interface that the daemon sends into. The same name as in `systemd/netssmd-testbed@.service`.
pub const NEAR: &str = "nssm0";
/// The interface that the sensor listens on.
pub const FAR: &str = "nssm0-sensor";

impl Testbed {
    /// Both ends up, no address on either, MTU 1500.
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

/// Runs `work` on a thread of its own, which takes its namespaces with it when it ends.
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
