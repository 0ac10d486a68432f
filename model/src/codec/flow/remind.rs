//! Reminders: what a session is, said again every so many packets.
//!
//! ```text
//! packet := time [label RATE byte] ...        with every 32nd packet: label and link rate of the head, the session's age
//! ```
//! A state-space model forgets: what it reads decays within some hundred tokens, and a label that was said once at the
//! start is gone long before the session is over. A model without it goes on with whatever traffic the last packets look like.
//! A reminder costs three tokens in 32 packets. It holds nothing that the tokens before do not say, so nothing of it is ever
//! drawn or counted in a loss: the grammar gives it.

use arrayvec::ArrayVec;

use super::vocab::{BYTE, GRAMMAR_SIZE, RATE};

/// Tokens behind the label of a reminder.
pub(super) const AFTER_LABEL: usize = 2;
/// The first age ends after so many microseconds, as a power of two (a sixteenth of a second); each further one lasts as
/// long as all before it.
const FIRST_AGE_BITS: u32 = 16;
/// Ages from below 65 milliseconds to beyond 17 minutes.
const AGES: u16 = 16;

/// The tokens of a reminder.
pub(super) type Reminder = ArrayVec<u16, 3>;

/// The reminder that belongs behind the time of packet `number` of a session (its first one is 0), if one does. `age_us`:
/// from the session's first packet to the one before this one.
pub(super) fn reminder(
    number: u64,
    every: u16,
    label: Option<u16>,
    rate: u16,
    age_us: i64,
) -> Option<Reminder> {
    if number == 0 || every == 0 || !number.is_multiple_of(u64::from(every)) {
        return None;
    }
    let age = u64::try_from(age_us).unwrap_or(0) >> FIRST_AGE_BITS;
    let age = (64 - age.leading_zeros()).min(u32::from(AGES) - 1);
    Some(label.into_iter().chain([rate, BYTE.at(age as usize)]).collect())
}

/// Tokens of all reminders of a session of so many packets.
pub fn reminder_tokens(packets: u64, every: u16) -> u64 {
    let reminders = packets.saturating_sub(1).checked_div(every.into()).unwrap_or(0);
    reminders * (1 + AFTER_LABEL as u64)
}

/// Whether a reader takes `token` for `given` of a reminder. Times of a decoder are not to the microsecond those of the
/// encoder that wrote a prompt, so an age may differ.
pub(super) fn fits(token: u16, given: u16) -> bool {
    if given >= GRAMMAR_SIZE {
        token >= GRAMMAR_SIZE
    } else if RATE.has(given) {
        RATE.has(token)
    } else {
        BYTE.index(token).is_some_and(|age| age < usize::from(AGES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_reminders_are_three_each() {
        let of = |packets| reminder_tokens(packets, 32);
        assert_eq!([0, 1, 32, 33, 64, 65].map(of), [0, 0, 0, 3, 3, 6]);
        assert_eq!(reminder_tokens(1000, 0), 0);
    }

    #[test]
    fn every_so_many_packets_with_an_age_in_octaves() {
        let of = |number, age_us| reminder(number, 32, Some(1030), RATE.at(3), age_us);
        assert_eq!((of(0, 0), of(31, 0), of(33, 0)), (None, None, None));
        assert_eq!(reminder(32, 0, None, RATE.at(3), 0), None);
        let age = |age_us| of(64, age_us).and_then(|tokens| tokens.last().copied());
        for (age_us, expected) in [
            (-5, 0),
            (0, 0),
            (65_535, 0),
            (65_536, 1),
            (131_072, 2),
            (1 << 29, 14),
            (1 << 30, 15),
            (i64::MAX, 15),
        ] {
            assert_eq!(age(age_us), Some(BYTE.at(expected)), "{age_us}");
        }
        assert_eq!(of(32, 0).as_deref(), Some(&[1030, RATE.at(3), BYTE.at(0)][..]));
        assert_eq!(reminder(32, 32, None, RATE.at(3), 0).as_deref(), Some(&[RATE.at(3), BYTE.at(0)][..]));
    }
}
