//! Who a table belongs to, written in its name.
//!
//! `netssmd_PIDNS_PID_START_N`: the PID alone could belong to another process by now, so the start time
//! stands beside it; and a PID of another namespace (a container on the host's network) says nothing here, so
//! such tables are left alone.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "netssmd_";

/// The process that made a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Inode of the PID namespace.
    namespace: u64,
    pid: u32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat`.
    start: u64,
}

impl Owner {
    pub(super) fn of_this_process() -> io::Result<Owner> {
        let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let link = fs::read_link("/proc/self/ns/pid")?;
        let text = link.to_string_lossy(); // pid:[4026531836]
        let inode = text.trim_start_matches("pid:[").trim_end_matches(']');
        let namespace = inode.parse().map_err(|_| bad("unreadable /proc/self/ns/pid"))?;
        let pid = std::process::id();
        let start = start_of(pid).ok_or_else(|| bad("unreadable /proc/self/stat"))?;
        Ok(Owner { namespace, pid, start })
    }

    /// A name that no other table of this process has.
    pub(super) fn table_name(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}{}_{}_{}_{n}", self.namespace, self.pid, self.start)
    }

    /// `None` for a name that is not of this form.
    pub(super) fn parse(table: &str) -> Option<Owner> {
        let mut parts = table.strip_prefix(PREFIX)?.split('_');
        let namespace = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        let start = parts.next()?.parse().ok()?;
        let _n: u32 = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Owner { namespace, pid, start })
    }

    /// Whether the PIDs of `other` mean anything to this process.
    pub(super) fn can_judge(&self, other: &Owner) -> bool {
        self.namespace == other.namespace
    }

    /// Whether the process still runs.
    pub(super) fn is_alive(&self) -> bool {
        start_of(self.pid) == Some(self.start)
    }
}

fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may itself hold spaces and parentheses.
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace(); // from field 3 on
    if fields.next()? == "Z" {
        return None; // dead, only not yet waited for
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        let me = Owner::of_this_process().unwrap();
        let (a, b) = (me.table_name(), me.table_name());
        assert_ne!(a, b);
        assert_eq!(Owner::parse(&a), Some(me));
        assert!(me.can_judge(&me) && me.is_alive());
        for foreign in ["netssmd_", "netssmd_1_2_3", "netssmd_1_2_3_4_5", "netssmd_a_2_3_4", "filter"] {
            assert_eq!(Owner::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_reused_pid_is_not_the_same_process() {
        let me = Owner::of_this_process().unwrap();
        assert!(!Owner { start: me.start + 1, ..me }.is_alive());
        assert!(!Owner { pid: 4_194_304, ..me }.is_alive(), "beyond the largest PID");
        assert!(!me.can_judge(&Owner { namespace: me.namespace + 1, ..me }));
    }

    #[test]
    fn a_process_that_only_waits_to_be_collected_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let until =
            crate::clock::Clock::now(&crate::clock::SystemClock::new()) + std::time::Duration::from_secs(10);
        while start_of(child.id()).is_some() {
            let now = crate::clock::Clock::now(&crate::clock::SystemClock::new());
            assert!(now < until, "true(1) runs on");
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
