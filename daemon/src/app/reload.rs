//! What a reload may change, and how it is read without delaying the other threads.
//!
//! Traffic, schedule, pool, seed, addresses, model and grace period may change, because they concern new sessions only.
//! Outputs, the allowlist, the guard's rules and the address of the metrics are open already, so a change of these
//! needs a restart. A profile that changes one of them is refused as a whole, so it never takes effect by half.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use netssm_replay::guard::Allowlist;

use super::testbed;
use crate::models::{self, Facts};
use crate::pipeline::{Event, Model};
use crate::profile::Profile;

/// A profile that can take effect.
pub(crate) struct Loaded {
    /// The profile.
    pub profile: Profile,
    /// The profile's model, if it is not the current one.
    pub model: Option<(Model, Facts)>,
}

/// A reload that is read on its own thread, because opening a large checkpoint takes longer than the watchdog waits.
pub(crate) struct Reading(Receiver<Result<Loaded, String>>);

impl Reading {
    /// Starts to read the profile at `path`, which will replace `old`. [`Event::ReloadRead`] says when it has been
    /// read.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(
        path: &Path,
        old: &Profile,
        allow: &Arc<Allowlist>,
        said: Sender<Event>,
    ) -> std::io::Result<Self> {
        let (give, loaded) = channel();
        let (path, old, allow) = (path.to_owned(), old.clone(), Arc::clone(allow));
        std::thread::Builder::new().name("reload".into()).spawn(move || {
            let result = std::panic::catch_unwind(|| load(&path, &old, &allow));
            let result = result.unwrap_or_else(|_| Err("reading it failed; the log says how".into()));
            // The receivers are gone only when the process is about to end.
            let _ = give.send(result);
            let _ = said.send(Event::ReloadRead);
        })?;
        Ok(Self(loaded))
    }

    /// The profile that was read. Call it after [`Event::ReloadRead`].
    ///
    /// # Errors
    /// Why the profile cannot take effect, one problem per line.
    pub(crate) fn finish(self) -> Result<Loaded, String> {
        self.0.recv().unwrap_or_else(|_| Err("reading it ended without a result".into()))
    }
}

/// Reads and checks a profile, cheap checks first, and opens its model if that is not the current one.
fn load(path: &Path, old: &Profile, allow: &Allowlist) -> Result<Loaded, String> {
    let profile = Profile::load(path, &models::labels).map_err(|problems| problems.to_string())?;
    let new_allow = testbed::allowlist(&profile).map_err(|error| error.to_string())?;
    let changes = needs_restart(old, &profile, allow, &new_allow);
    if !changes.is_empty() {
        return Err(format!("a change of {} needs a restart", changes.join(" and ")));
    }
    let model = if profile.model == old.model {
        None
    } else {
        let labels: Vec<&str> = profile.traffic.iter().map(|t| &*t.label).collect();
        Some(models::load(&profile.model, &labels).map_err(|error| error.to_string())?)
    };
    Ok(Loaded { profile, model })
}

/// The changes that need a restart, in words. Empty if the new profile can take effect.
fn needs_restart(
    old: &Profile,
    new: &Profile,
    old_allow: &Allowlist,
    new_allow: &Allowlist,
) -> Vec<&'static str> {
    let mut changes = Vec::new();
    let outputs = |p: &Profile| {
        let interfaces = p.outputs.interfaces.iter().map(|i| (i.name.clone(), i.sends, i.mtu));
        (interfaces.collect::<Vec<_>>(), p.outputs.pcap.clone())
    };
    if outputs(old) != outputs(new) {
        changes.push("[output]");
    } else if old_allow != new_allow {
        changes.push(
            "what may leave ([guard] allow, by default the prefixes of [addresses]; multicast; fixed MACs)",
        );
    }
    let quiet = |p: &Profile| p.quiet.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if old.nftables != new.nftables || quiet(old) != quiet(new) {
        changes.push("[guard] nftables or quiet");
    }
    if old.metrics != new.metrics {
        changes.push("[metrics] listen");
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const BASE: &str = r#"
        [[traffic]]
        label = "a"
        [addresses]
        clients = ["10.1.0.0/16"]
        servers = ["10.2.0.0/16"]
        [[output.interface]]
        name = "veth0"
        [guard]
        allow = ["10.0.0.0/8"]
    "#;

    fn profile(text: &str) -> Profile {
        Profile::from_text(Path::new("p.toml"), text, &crate::profile::any_label).unwrap()
    }

    fn changes(from: &str, to: &str) -> Vec<&'static str> {
        assert_eq!(BASE.matches(from).count(), 1, "{from}");
        let (old, new) = (profile(BASE), profile(&BASE.replace(from, to)));
        let allow = |p| super::super::testbed::allowlist(p).unwrap();
        needs_restart(&old, &new, &allow(&old), &allow(&new))
    }

    #[test]
    fn what_concerns_new_sessions_only_may_change() {
        for (from, to) in [
            ("label = \"a\"", "label = \"b\""),
            ("label = \"a\"", "label = \"a\"\npackets = 7"),
            ("10.1.0.0/16", "10.7.0.0/16"),
            ("[guard]", "[schedule]\nrate = 9\n[guard]"),
            ("[guard]", "[model]\ntemperature = 0.5\n[guard]"),
            ("[guard]", "[shutdown]\ngrace_seconds = 1\n[guard]"),
            ("[guard]", "[pool]\nreuse = 9\n[guard]"),
            // The same interface, on another line of the file.
            ("[guard]", "\n\n[guard]"),
        ] {
            assert_eq!(changes(from, to), Vec::<&str>::new(), "{to}");
        }
    }

    #[test]
    fn what_is_open_may_not() {
        let allow =
            "what may leave ([guard] allow, by default the prefixes of [addresses]; multicast; fixed MACs)";
        for (from, to, expected) in [
            ("veth0", "veth1", "[output]"),
            ("[guard]", "[output.pcap]\ndirectory = \"x\"\n[guard]", "[output]"),
            ("10.0.0.0/8", "10.0.0.0/7", allow),
            ("servers =", "multicast = \"drop\"\nservers =", allow),
            ("servers =", "client_mac = \"02:00:00:00:00:09\"\nservers =", allow),
            ("allow =", "nftables = false\nallow =", "[guard] nftables or quiet"),
            ("allow =", "quiet = [\"veth1\"]\nallow =", "[guard] nftables or quiet"),
            ("[guard]", "[metrics]\nlisten = \"off\"\n[guard]", "[metrics] listen"),
        ] {
            assert_eq!(changes(from, to), [expected], "{to}");
        }
    }
}
