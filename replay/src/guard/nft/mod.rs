//! The guard in the kernel: nftables rules in a table of our own.
//!
//! While test traffic runs on an interface, the host's own stack must stay out of it: a reset for a
//! connection that it does not know, an answer to an ARP request for an address that happens to be its own, a
//! port-unreachable, a packet forwarded elsewhere. One transaction puts up, for every interface in use:
//!
//! * a netdev **ingress** chain that drops everything. Nothing reaches the host's stack, so nothing is
//!   answered or forwarded. Packet taps come before this hook: Zeek, Suricata and tcpdump still see every
//!   frame.
//! * a netdev **egress** chain that drops everything except frames that carry our mark, which only
//!   [`InterfaceSink`](crate::sink::afpacket::InterfaceSink)'s socket sets, *and* whose addresses lie in the
//!   allowed prefixes. This hook sees `AF_PACKET` frames, those around the queueing discipline included
//!   (Linux 5.16 and later), and everything else that the host would send there, whatever its protocol.
//!
//! Why not inet `output` and `forward` hooks: they do not see ARP or `AF_PACKET`, and what they would block
//! never gets there, since ingress and egress of the interface are both shut.
//!
//! **Life of the table.** Its name says who made it (PID namespace, PID, start time), so that two instances
//! live side by side on different interfaces, and the next start removes what a killed process left. Until
//! then those interfaces stay shut: it fails closed. [`NftGuard::verify`] compares the kernel's generation
//! counter, one netlink question; only when something has changed in any table, and at every tenth look, is
//! our table listed and compared with what was installed.
//!
//! Rules are built with the nftables crate and go through `nft -j`; `run.rs` says why not through its own
//! runner.

mod generation;
mod owner;
mod rules;
mod run;

use serde_json::Value;

use super::Allowlist;
use crate::interface::{Interface, LookupError};
use generation::Generation;
use owner::Owner;
use run::Nft;

/// Looks that trust the generation counter between two that do not. The counter does not move when a chain
/// goes because its interface went.
const FULL_EVERY: u32 = 10;

/// Why the rules are not, or no longer, in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NftError {
    /// There is no nft program.
    #[error("cannot run nft (install nftables, or set guard.nftables = false to go without it)")]
    NoProgram(#[source] std::io::Error),
    /// The privilege is missing.
    #[error("nft may not change rules: this needs CAP_NET_ADMIN, or root")]
    Privilege,
    /// nft, or the kernel, refuses.
    #[error("nft failed while {what}: {message}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The first lines of what it said.
        message: String,
    },
    /// nft said something that cannot be understood.
    #[error("nft gave an answer that is not the JSON expected while {what}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// The parser's complaint.
        #[source]
        source: serde_json::Error,
    },
    /// An interface to be guarded is not there.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Another live process guards the interface; each would drop the other's frames.
    #[error("interface {interface} is guarded by another running netssmd (table netdev {table})")]
    Taken {
        /// The interface.
        interface: String,
        /// The other's table.
        table: String,
    },
    /// The rules are gone.
    #[error("the guard's rules are gone: table netdev {table} no longer exists")]
    Gone {
        /// Our table.
        table: String,
    },
    /// The rules are not what was installed.
    #[error("the guard's rules were changed by someone else: table netdev {table}")]
    Changed {
        /// Our table.
        table: String,
    },
    /// The kernel cannot be asked whether anything changed.
    #[error("cannot ask the kernel for the generation of its nftables rules")]
    Generation(#[source] std::io::Error),
}

/// What is to be guarded.
#[derive(Clone, Copy, Debug)]
pub struct NftPlan<'a> {
    /// Interfaces that test traffic is sent on.
    pub send: &'a [String],
    /// Interfaces of this host that it arrives on, if any (the far end of a veth pair in the same namespace):
    /// they are shut in both directions. Leave out those that a middlebox under test forwards between.
    pub quiet: &'a [String],
    /// What may be sent.
    pub allow: &'a Allowlist,
}

/// The rules, in force from [`NftGuard::install`] until [`NftGuard::remove`] or drop.
///
/// Works in the network namespace of the thread that installs it; call the other methods in the same one.
#[derive(Debug)]
pub struct NftGuard {
    nft: Nft,
    table: String,
    mark: u32,
    generation: Generation,
    /// Generation in which our rules were last seen whole.
    seen: u32,
    /// The rules as listed right after they were installed, without counters and handles.
    installed: Value,
    looks: u32,
    removed: bool,
}

/// Frames that the rules have kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Frames that arrived and were kept from the host's stack.
    pub ingress: u64,
    /// Frames of the host's own that were kept from leaving, and ours outside the allowed prefixes.
    pub egress: u64,
}

impl NftGuard {
    /// Removes what dead instances left, then puts up the rules in one transaction.
    ///
    /// # Errors
    /// [`NftError`]; nothing is then in force.
    pub fn install(plan: NftPlan<'_>) -> Result<NftGuard, NftError> {
        Self::install_with(Nft::find(), plan)
    }

    fn install_with(nft: Nft, plan: NftPlan<'_>) -> Result<NftGuard, NftError> {
        for name in plan.send.iter().chain(plan.quiet) {
            Interface::find(name)?;
        }
        remove_stale(&nft)?;
        check_free(&nft, &plan)?;
        let owner = Owner::of_this_process().map_err(NftError::NoProgram)?;
        let table = owner.table_name();
        let mark = rules::mark(&table);
        // Opened first: without it the rules could not be watched.
        let generation = Generation::open().map_err(NftError::Generation)?;
        nft.apply(&rules::build(&table, mark, &plan), "putting up the rules")?;
        // From here on dropping the guard, as an error below does, removes the table.
        let mut guard = NftGuard {
            nft,
            table,
            mark,
            generation,
            seen: 0,
            installed: Value::Null,
            looks: 0,
            removed: false,
        };
        guard.seen = guard.generation.read().map_err(NftError::Generation)?;
        guard.installed = guard.list()?;
        Ok(guard)
    }

    /// Name of the table, in family netdev.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The mark that frames must carry to leave.
    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// Whether the rules are still what was installed. Costs microseconds as long as nobody touches any rule
    /// on the host.
    ///
    /// # Errors
    /// [`NftError::Gone`] or [`NftError::Changed`]; any other error means that it cannot be told, which is to
    /// be treated alike.
    pub fn verify(&mut self) -> Result<(), NftError> {
        self.looks = self.looks.wrapping_add(1);
        let now = self.generation.read().map_err(NftError::Generation)?;
        if now == self.seen && !self.looks.is_multiple_of(FULL_EVERY) {
            return Ok(());
        }
        if self.list()? != self.installed {
            return Err(NftError::Changed { table: self.table.clone() });
        }
        self.seen = now;
        Ok(())
    }

    /// What the rules have blocked so far.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn blocked(&self) -> Result<Blocked, NftError> {
        let listed = self.nft.list(&["table", "netdev", &self.table], "reading counters")?;
        Ok(rules::blocked(&listed))
    }

    /// Takes the rules down.
    ///
    /// # Errors
    /// [`NftError`]; the table may then still be there. That it was gone already is none.
    pub fn remove(mut self) -> Result<(), NftError> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<(), NftError> {
        if self.removed {
            return Ok(());
        }
        self.removed = true;
        self.nft.delete_table(&self.table)
    }

    fn list(&self) -> Result<Value, NftError> {
        match self.nft.list(&["table", "netdev", &self.table], "checking the rules") {
            Ok(listed) => Ok(rules::without_state(listed)),
            Err(NftError::Failed { message, .. }) if run::says_missing(&message) => {
                Err(NftError::Gone { table: self.table.clone() })
            }
            Err(other) => Err(other),
        }
    }
}

impl Drop for NftGuard {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            tracing::warn!(table = self.table, %error, "guard rules stay behind; the next start will remove them");
        }
    }
}

/// Removes the tables of instances that no longer run.
fn remove_stale(nft: &Nft) -> Result<(), NftError> {
    let here = Owner::of_this_process().map_err(NftError::NoProgram)?;
    for table in nft.tables()? {
        let Some(owner) = Owner::parse(&table) else { continue };
        if here.can_judge(&owner) && !owner.is_alive() {
            tracing::info!(table, "removing the guard rules of a process that no longer runs");
            nft.delete_table(&table)?;
        }
    }
    Ok(())
}

/// No other live instance may guard an interface of ours.
fn check_free(nft: &Nft, plan: &NftPlan<'_>) -> Result<(), NftError> {
    for table in nft.tables()?.into_iter().filter(|t| Owner::parse(t).is_some()) {
        let listed = match nft.list(&["table", "netdev", &table], "looking for other guards") {
            Ok(listed) => listed,
            // It ended in this moment.
            Err(NftError::Failed { message, .. }) if run::says_missing(&message) => continue,
            Err(other) => return Err(other),
        };
        let guarded = rules::guarded_interfaces(&listed);
        if let Some(interface) = plan.send.iter().chain(plan.quiet).find(|name| guarded.contains(*name)) {
            return Err(NftError::Taken { interface: interface.clone(), table });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::GroupPolicy;

    #[test]
    fn a_missing_program_or_interface_is_said_plainly() {
        let allow = Allowlist::new(&[], GroupPolicy::Drop);
        let lo = ["lo".to_owned()];
        let plan = NftPlan { send: &lo, quiet: &[], allow: &allow };
        let error = NftGuard::install_with(Nft::at("/nonexistent/nft"), plan).unwrap_err();
        assert!(error.to_string().starts_with("cannot run nft (install nftables, or "), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with("No such file or directory"), "{source}");
        let nope = ["nope0".to_owned()];
        let plan = NftPlan { send: &nope, quiet: &[], allow: &allow };
        let error = NftGuard::install_with(Nft::at("/nonexistent/nft"), plan).unwrap_err().to_string();
        assert!(error.starts_with("there is no interface \"nope0\""), "{error}");
    }
}
