//! Writes packets as a strict generator could have written them.
//!
//! A model must not learn what its masks will not let it write: the probability that it gives to such tokens goes
//! elsewhere when it generates, and it finds itself in places where no training session ever was. So the tokens that it is
//! taught are legal, each of them. An optional token that is not legal is left out, and the packet becomes what the
//! prediction says (a second MAC address of a host, a checksum that the capture length made look wrong, a sequence number
//! behind a loss in the capture). Where a token must be there and is not legal, the packet is not taught: the first packet of
//! a connection that is not its SYN, and so the whole of a connection whose opening was not captured.

use super::{
    io::{Coded, Io, Presence, Stop},
    mask::Mask,
    side_channel::{SideClass, SideSink, Spread},
    vocab::Class,
};

/// Writes tokens that the strict mask has.
pub(super) struct StrictEmit<'a> {
    tokens: &'a mut Vec<u16>,
    side: &'a mut dyn SideSink,
}

impl<'a> StrictEmit<'a> {
    /// Appends to `tokens`; side values go to `side`.
    pub(super) fn new(tokens: &'a mut Vec<u16>, side: &'a mut dyn SideSink) -> Self {
        Self { tokens, side }
    }
}

impl Io for StrictEmit<'_> {
    const EMITS: bool = true;

    fn strict(&self) -> bool {
        true
    }

    fn pick(&mut self, want: impl FnOnce() -> u16, legal: impl FnOnce(&mut Mask)) -> Coded<u16> {
        let (token, mut mask) = (want(), Mask::default());
        legal(&mut mask);
        if !mask.has(token) {
            return Err(Stop::Illegal);
        }
        self.tokens.push(token);
        Ok(token)
    }

    fn maybe(
        &mut self,
        class: Class,
        want: impl FnOnce() -> Option<u16>,
        legal: impl FnOnce(&mut Mask) -> Presence,
    ) -> Coded<Option<u16>> {
        let (want, mut mask) = (want(), Mask::default());
        debug_assert!(want.is_none_or(|token| class.has(token)));
        let presence = legal(&mut mask);
        let token = want.filter(|&token| mask.has(token));
        if token.is_none() && presence == Presence::Needed {
            return Err(Stop::Illegal);
        }
        self.tokens.extend(token);
        Ok(token)
    }

    fn side(&mut self, class: SideClass, want: impl FnOnce() -> u64, spread: Spread) -> Coded<u64> {
        let value = want();
        self.side.put(class, value, spread);
        Ok(value)
    }
}
