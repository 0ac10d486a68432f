//! The strict encoder: it writes only tokens that the strict mask allows.
//!
//! A model must not learn tokens that its mask will forbid. In generation their probability would go to other tokens,
//! and the model would reach states that no training session has. So all tokens of a corpus are legal in the strict
//! mask. An optional token that is not legal is left out, and the field becomes what the prediction says: a second MAC
//! address of a host, a checksum that looks wrong because of the capture length, a sequence number after a loss in the
//! capture. If a mandatory token is not legal, the packet is refused. This happens to the first packet of a connection
//! that is not a SYN, and so to all packets of a connection whose SYN was not captured.

use super::{
    io::{Coded, Io, Presence, Stop},
    mask::Mask,
    side_channel::{SideClass, SideSink, Spread},
    vocab::Class,
};

/// Writes tokens that the strict mask allows.
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
