//! The held-out sessions: real sessions that the generator has not seen. They show what is normal.
//!
//! A caller may give the training captures as the real side, as the floor, or separately, and the sides may overlap. So
//! the code compares: two sessions are the same recording if their first packets have the same bytes at the same
//! absolute times. It compares the first packets only, because sides can be cut to different lengths.

use std::collections::HashSet;

use crate::input::session::CapturedSession;
use crate::side::Side;

/// Packets that tell a recording. Two recordings do not share eight packets to the microsecond and the byte.
const FIRST: usize = 8;

/// A session and its place in [`Side::sessions`].
pub(super) type Numbered<'a> = (usize, &'a CapturedSession);

/// All sessions of a side.
pub(super) fn numbered(side: &Side) -> Vec<Numbered<'_>> {
    side.sessions().iter().enumerate().collect()
}

/// The sessions of `real` that are not in training, or if there is none, those of `floor`; and how many sessions of
/// that side were in training.
pub(super) fn held_out<'a>(
    training: &[Numbered<'_>],
    real: &'a Side,
    floor: Option<&'a Side>,
) -> (Vec<Numbered<'a>>, usize) {
    let seen: HashSet<_> = training.iter().map(|(_, session)| recording(session)).collect();
    let mut left_out = 0;
    for side in [Some(real), floor].into_iter().flatten() {
        let all = numbered(side);
        let count = all.len();
        let unseen: Vec<_> =
            all.into_iter().filter(|(_, session)| !seen.contains(&recording(session))).collect();
        left_out = count - unseen.len();
        if !unseen.is_empty() {
            return (unseen, left_out);
        }
    }
    (Vec::new(), left_out)
}

fn recording(session: &CapturedSession) -> Vec<(i64, u32, &[u8])> {
    let first = session.packets.iter().take(FIRST).enumerate();
    first.map(|(i, packet)| (packet.time_us, packet.wire_len, session.frame(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    fn session(at_us: i64, packets: u32) -> CapturedSession {
        let mut frames = Frames::new();
        for i in 0..packets {
            frames.udp(at_us + i64::from(i), (40001, 53), 8);
        }
        frames.session("x")
    }

    #[test]
    fn training_is_never_held_out_whichever_side_it_is() {
        let training = Side::of(vec![session(0, 20), session(1000, 20)]);
        let other = || Side::of(vec![session(1000, 12), session(2000, 20)]); // the first is a recording of training, cut
        let numbers = |(sessions, left): (Vec<Numbered<'_>>, usize)| {
            (sessions.iter().map(|(number, _)| *number).collect::<Vec<_>>(), left)
        };
        let seen = numbered(&training);
        assert_eq!(numbers(held_out(&seen, &other(), Some(&training))), (vec![1], 1));
        assert_eq!(numbers(held_out(&seen, &training, Some(&other()))), (vec![1], 1));
        assert_eq!(numbers(held_out(&seen, &training, None)), (vec![], 2));
        assert_eq!(numbers(held_out(&[], &Side::default(), None)), (vec![], 0));
    }
}
