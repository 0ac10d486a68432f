//! Learning or memorising on real captures: real sessions that a generator never saw copy nothing, and a copy is one.

#[path = "../../tokens/tests/support/mod.rs"]
mod support;

use std::path::Path;

use netssm_fidelity::analyses::memorise::{Options, analyse};
use netssm_fidelity::{Captures, Side};
use support::data;

fn side(dir: &Path, max_packets: u64) -> Side {
    let captures = Captures { max_packets, ..Captures::of(vec![dir.to_owned()]) };
    Side::measure(&captures, &()).expect("captures")
}

#[test]
fn held_out_captures_copy_nothing_and_copies_all() {
    let Some(dir) = data() else { return };
    for set in ["requet", "iot"] {
        let training = side(&dir.join(set).join("train"), 300);
        let held_out = side(&dir.join(set).join("val"), 300);
        let fresh = analyse(&training, &held_out, Some(&held_out), &Options::default());
        assert!(fresh.runs.iter().all(|runs| runs.copied == Some(false)), "{set}");
        assert!(fresh.neighbours.iter().all(|level| level.copied == Some(false)), "{set}");
        assert_eq!(fresh.basis.in_training, 0, "{set}");
        // The same networks, so the same gateway: held-out is not free of identifiers, and would not pass the gate.
        assert!(!fresh.gate(), "{set}");
        let copy = analyse(
            &held_out,
            &training,
            Some(&training),
            &Options { training: Some(&training), ..Options::default() },
        );
        assert_eq!(copy.basis.held_out, held_out.sessions().len(), "{set}");
        assert!(copy.runs.iter().all(|runs| runs.copied == Some(true)), "{set}");
        assert!(copy.neighbours.iter().all(|level| level.copied == Some(true)), "{set}");
        assert!(!copy.gate(), "{set}");
        let count = |of: fn(&netssm_fidelity::analyses::memorise::identifiers::Count) -> usize| -> usize {
            copy.identifiers.counts.iter().map(of).sum()
        };
        assert_eq!(count(|c| c.training), count(|c| c.synthetic), "{set}");
    }
}
