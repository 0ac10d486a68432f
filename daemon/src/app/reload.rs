//! What a reload may change. Pure.
//!
//! Traffic, schedule, pool, seed, addresses, model and grace period may change: they only concern new sessions. What is
//! open stays open: outputs, what may leave, the guard's rules and the metrics' address need a restart, and a profile
//! that changes them is refused as a whole, so that nothing is half in effect.

use netssm_replay::guard::Allowlist;

use crate::profile::Profile;

/// What is different and needs a restart, in words. Empty if the new profile can take effect.
pub(crate) fn needs_restart(
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
            // The same interface on another line of the file.
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
