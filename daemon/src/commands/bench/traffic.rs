//! Frames for the benchmarks: UDP packets of one length, from a client to a server of the default address plan.

use std::sync::Arc;
use std::time::Duration;

use netssm_replay::guard::Guard;
use netssm_replay::rewrite::{Allocator, Rewriter, TestbedFrame};
use netssm_wire::session::{Origin, Packet, Session};

use crate::commands::addresses;
use crate::exit::{Failure, Outcome};
use crate::profile::default_addresses;

/// Bytes of the Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 42;
/// Bytes of the longest frame on a link with an MTU of 1500.
const LONGEST: usize = 1514;

/// Frames, and a guard that lets them pass.
pub(super) struct Traffic {
    /// The frames, all of one length.
    pub frames: Vec<TestbedFrame>,
    /// The guard of the address plan that the frames were made with, and of `interfaces`.
    pub guard: Guard,
}

/// Makes `count` frames of `size` bytes each.
///
/// # Errors
/// If a UDP frame cannot have this size.
pub(super) fn frames(size: usize, count: usize, interfaces: &[String]) -> Outcome<Traffic> {
    if !(HEADERS..=LONGEST).contains(&size) {
        return Err(Failure::usage(format_args!("--sizes {size}; expected {HEADERS} to {LONGEST} bytes")));
    }
    let packet = |i: usize| Packet {
        time: Duration::from_micros(i as u64),
        wire_len: size as u32,
        header: header(size),
    };
    let packets = (0..count).map(packet).collect();
    let session = Session { label: "bench".into(), seed: 1, origin: Origin::Captured, packets };
    let plan = default_addresses();
    let allow = addresses::allowlist(&plan)?.with_interfaces(interfaces.iter().cloned());
    let guard = Guard::new(Arc::new(allow), Arc::default());
    let rewriter = Rewriter::new(plan, Allocator::new()).map_err(Failure::config)?;
    let frames: Result<Vec<_>, _> = rewriter.begin_replay(Arc::new(session), 1)?.collect();
    let frames =
        frames.map_err(|dropped| anyhow::anyhow!("a frame to measure with was dropped: {dropped}"))?;
    Ok(Traffic { frames, guard })
}

/// The headers of such a frame in canonical form. The rewriter fills in the rest.
fn header(size: usize) -> Vec<u8> {
    let ip_len = (size - 14) as u16;
    let mut h = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    h.extend([0x45, 0]);
    h.extend(ip_len.to_be_bytes());
    h.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 198, 18, 0, 1]);
    h.extend(49152_u16.to_be_bytes());
    h.extend(9_u16.to_be_bytes()); // discard, RFC 863
    h.extend((ip_len - 20).to_be_bytes());
    h.extend([0, 0]);
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_length_that_was_asked_for_and_pass_the_guard() {
        for size in [HEADERS, 72, LONGEST] {
            let traffic = frames(size, 3, &[]).unwrap();
            assert_eq!(traffic.frames.len(), 3);
            for frame in &traffic.frames {
                assert_eq!(frame.len(), size);
                traffic.guard.admit_frame(frame).unwrap();
            }
        }
        assert!(frames(LONGEST + 1, 1, &[]).is_err());
    }
}
