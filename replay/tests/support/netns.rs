//! Network namespaces for tests: each test makes its own, uses nothing else, and leaves nothing behind.
//!
//! Two namespaces joined by a veth pair are a wire with two hosts. IPv6, ARP and address generation are off
//! at both ends, so that the kernel sends nothing of its own and every counter is the test's.

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

/// A network namespace that is deleted when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

/// Whether this process may make namespaces: root with the `ip` tool. A test that may not says so and
/// returns; where `NETSSMD_REQUIRE_ALL` is 1 it fails instead, so that CI cannot skip in silence.
pub fn available(test: &str) -> bool {
    let probe = Netns::make("probe");
    match probe {
        Ok(_) => true,
        Err(why) => {
            let required = std::env::var("NETSSMD_REQUIRE_ALL").is_ok_and(|v| v == "1");
            assert!(!required, "{test} needs network namespaces: {why}");
            eprintln!("SKIPPED: {test} needs root and network namespaces: {why}");
            false
        }
    }
}

impl Netns {
    /// Makes one; `tag` shows in its name.
    pub fn new(tag: &str) -> Netns {
        Netns::make(tag).unwrap()
    }

    fn make(tag: &str) -> Result<Netns, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nt-{tag}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name])?;
        let namespace = Netns { name };
        namespace.ip("link set lo up");
        // Interfaces made from here on start silent.
        for key in ["net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"] {
            run("ip", &["netns", "exec", &namespace.name, "sysctl", "-qw", &format!("{key}=1")])?;
        }
        Ok(namespace)
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside with these arguments, split at spaces; it must succeed.
    pub fn ip(&self, arguments: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_whitespace());
        run("ip", &all).unwrap()
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a command inside to its end.
    pub fn exec(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().unwrap()
    }

    /// Runs a function inside, on a thread of its own: a namespace belongs to a thread.
    pub fn within<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                self.enter();
                function()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a function inside, on a thread of its own.
    pub fn spawn<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let file = self.file();
        thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            function()
        })
    }

    /// A counter of an interface inside, from `/sys/class/net`.
    pub fn counter(&self, interface: &str, counter: &str) -> u64 {
        let path = format!("/sys/class/net/{interface}/statistics/{counter}");
        let output = self.exec("cat", &[&path]);
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    fn enter(&self) {
        setns(self.file(), CloneFlags::CLONE_NEWNET).unwrap();
    }

    fn file(&self) -> File {
        File::open(format!("/run/netns/{}", self.name)).unwrap()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(why) = run("ip", &["netns", "del", &self.name]) {
            eprintln!("namespace {} stays behind: {why}", self.name);
        }
    }
}

/// Two namespaces and a silent wire between them: `tx0` in the first, `rx0` in the second, both up.
#[derive(Debug)]
pub struct Wire {
    /// Where frames are sent, on `tx0`.
    pub near: Netns,
    /// Where they arrive, on `rx0`.
    pub far: Netns,
}

impl Wire {
    /// Makes both.
    pub fn new(tag: &str) -> Wire {
        let wire = Wire { near: Netns::new(&format!("{tag}-a")), far: Netns::new(&format!("{tag}-b")) };
        let far = &wire.far.name;
        wire.near.ip(&format!("link add tx0 type veth peer name rx0 netns {far}"));
        for (namespace, interface) in [(&wire.near, "tx0"), (&wire.far, "rx0")] {
            namespace.ip(&format!("link set {interface} arp off addrgenmode none"));
            namespace.ip(&format!("link set {interface} up"));
        }
        wire
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(format!("{program} {}: {told}", arguments.join(" ")))
    }
}
