//! Small sessions and profiles for the tests of the pipeline.

use std::sync::Arc;
use std::time::Duration;

use netssm_wire::session::{Origin, Packet, Session, Timing};

use crate::profile::Traffic;

/// Traffic entries with these labels and weights.
pub(crate) fn traffic(entries: &[(&str, f64)]) -> Vec<Traffic> {
    entries
        .iter()
        .map(|(label, weight)| Traffic { label: Arc::from(*label), weight: *weight, packets: 10 })
        .collect()
}

/// A session of `packets` UDP packets between 10.0.0.1:49152 and 198.18.0.1:9999. They are 10 ms apart and alternate in
/// direction.
pub(crate) fn session(label: &str, seed: u64, packets: u64) -> Session {
    let packets = (0..packets)
        .map(|i| Packet { time: Duration::from_millis(10 * i), wire_len: 74, header: udp_header(i % 2 == 1) })
        .collect();
    Session {
        label: label.into(),
        seed,
        origin: Origin::Generated { model: "0".repeat(64), precision: String::new(), timing: Timing::Drawn },
        packets,
    }
}

/// Ethernet, IPv4 and UDP headers of a 74-byte frame. Checksums are zero, as in the canonical form.
fn udp_header(back: bool) -> Vec<u8> {
    let (client, server) = ([10, 0, 0, 1], [198, 18, 0, 1]);
    let (client_port, server_port) = (49152_u16.to_be_bytes(), 9999_u16.to_be_bytes());
    let mut h = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 17, 0, 0];
    let (src, dst, sport, dport) = if back {
        (server, client, server_port, client_port)
    } else {
        (client, server, client_port, server_port)
    };
    h.extend(src);
    h.extend(dst);
    h.extend(sport);
    h.extend(dport);
    h.extend([0, 40, 0, 0]);
    if back {
        let (a, b) = h.split_at_mut(6);
        a.swap_with_slice(&mut b[..6]);
    }
    h
}
