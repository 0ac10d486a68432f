//! The interface between grammar functions and tokens. The same function writes tokens, reads them, and collects the
//! mask.
//!
//! Every part of the grammar is a function over an [`Io`]. With [`Emit`] it turns a packet into tokens. With [`Read`]
//! it turns tokens into a packet. With [`Collect`] it reads the tokens of an unfinished packet and then adds what may
//! come next to a mask, up to the first token that must come. Encoder, decoder and mask are the same code, so they
//! cannot disagree.
//!
//! These functions read the state of the session and never change it; `packet::apply` does, after a whole packet. An
//! unfinished packet can therefore be read again from its start with every new token.

use super::{
    context::Note,
    mask::Mask,
    side_channel::{SideClass, SideSink, SideSource, Spread},
    vocab::{BYTE, Class},
};

/// Why a grammar function stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The tokens ended before the packet did.
    More,
    /// A token that does not fit here, or a side table that ended early.
    Illegal,
}

/// Result of a grammar function.
pub type Coded<T> = Result<T, Stop>;

/// Where tokens and side values go to or come from.
pub trait Io {
    /// Whether this writes tokens of a known packet.
    const EMITS: bool;

    /// Whether the strict mask applies. It matters to [`Collect`] and to the strict encoder.
    fn strict(&self) -> bool {
        false
    }

    /// Why a token that must be there is missing: the tokens ended, or there is another token.
    fn lack(&self) -> Stop {
        Stop::Illegal
    }

    /// Is told the values of the packet's flow, once the flow is known.
    fn note(&mut self, _about: impl FnOnce() -> Note) {}

    /// A mandatory token. `want` gives it when writing; `legal` adds the legal ones to a mask when collecting.
    fn pick(&mut self, want: impl FnOnce() -> u16, legal: impl FnOnce(&mut Mask)) -> Coded<u16>;

    /// An optional token of `class`. `legal` adds the legal ones to a mask and says whether the token may be absent.
    fn maybe(
        &mut self,
        class: Class,
        want: impl FnOnce() -> Option<u16>,
        legal: impl FnOnce(&mut Mask) -> Presence,
    ) -> Coded<Option<u16>>;

    /// A side value, which the model never sees. `spread` says how to draw one.
    fn side(&mut self, class: SideClass, want: impl FnOnce() -> u64, spread: Spread) -> Coded<u64>;

    /// An optional token of a class with one member. It is legal if `legal` holds.
    fn flag(
        &mut self,
        class: Class,
        want: impl FnOnce() -> bool,
        legal: impl FnOnce() -> bool,
    ) -> Coded<bool> {
        let token = class.at(0);
        let there = self.maybe(
            class,
            || want().then_some(token),
            |mask| {
                if legal() {
                    mask.add(token);
                }
                Presence::Optional
            },
        )?;
        Ok(there.is_some())
    }

    /// A mandatory byte below `end`.
    fn byte(&mut self, end: u16, want: impl FnOnce() -> u8) -> Coded<u8> {
        let token =
            self.pick(|| BYTE.at(usize::from(want())), |mask| mask.add_members(BYTE, 0, usize::from(end)))?;
        let index = BYTE.index(token).filter(|&index| index < usize::from(end)).ok_or(Stop::Illegal)?;
        Ok(index as u8)
    }
}

/// Whether an optional token may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It may be left out.
    Optional,
    /// It must be there: what its absence stands for is not legal here.
    Needed,
}

impl Presence {
    /// `Needed` when `needed` holds.
    pub fn needed(needed: bool) -> Self {
        if needed { Self::Needed } else { Self::Optional }
    }
}

/// Writes tokens.
pub struct Emit<'a> {
    tokens: &'a mut Vec<u16>,
    side: &'a mut dyn SideSink,
}

impl<'a> Emit<'a> {
    /// Appends to `tokens`; side values go to `side`.
    pub fn new(tokens: &'a mut Vec<u16>, side: &'a mut dyn SideSink) -> Self {
        Self { tokens, side }
    }
}

impl Io for Emit<'_> {
    const EMITS: bool = true;

    fn pick(&mut self, want: impl FnOnce() -> u16, _: impl FnOnce(&mut Mask)) -> Coded<u16> {
        let token = want();
        self.tokens.push(token);
        Ok(token)
    }

    fn maybe(
        &mut self,
        class: Class,
        want: impl FnOnce() -> Option<u16>,
        _: impl FnOnce(&mut Mask) -> Presence,
    ) -> Coded<Option<u16>> {
        let token = want();
        debug_assert!(token.is_none_or(|token| class.has(token)));
        self.tokens.extend(token);
        Ok(token)
    }

    fn side(&mut self, class: SideClass, want: impl FnOnce() -> u64, spread: Spread) -> Coded<u64> {
        let value = want();
        self.side.put(class, value, spread);
        Ok(value)
    }
}

/// Reads tokens from a slice. It stops before the first token that does not belong to the packet.
pub struct Read<'a> {
    tokens: &'a [u16],
    at: usize,
    side: SideCursor<'a>,
    note: Option<Note>,
}

impl<'a> Read<'a> {
    /// Reads from the start of `tokens`.
    pub fn new(tokens: &'a [u16], side: &'a dyn SideSource) -> Self {
        Self { tokens, at: 0, side: SideCursor::new(side), note: None }
    }

    /// Tokens read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Side values taken so far, by class.
    pub fn taken(&self) -> &[u32; SideClass::COUNT] {
        &self.side.taken
    }

    /// The values of the packet's flow, if the flow is known.
    pub(super) fn noted(&self) -> Option<Note> {
        self.note
    }

    fn next_in(&mut self, class: Class) -> Option<u16> {
        let token = self.tokens.get(self.at).copied().filter(|&token| class.has(token))?;
        self.at += 1;
        Some(token)
    }
}

impl Io for Read<'_> {
    const EMITS: bool = false;

    fn note(&mut self, about: impl FnOnce() -> Note) {
        self.note = Some(about());
    }

    fn lack(&self) -> Stop {
        if self.at == self.tokens.len() { Stop::More } else { Stop::Illegal }
    }

    fn pick(&mut self, _: impl FnOnce() -> u16, _: impl FnOnce(&mut Mask)) -> Coded<u16> {
        let token = self.tokens.get(self.at).copied().ok_or(Stop::More)?;
        self.at += 1;
        Ok(token)
    }

    fn maybe(
        &mut self,
        class: Class,
        _: impl FnOnce() -> Option<u16>,
        _: impl FnOnce(&mut Mask) -> Presence,
    ) -> Coded<Option<u16>> {
        Ok(self.next_in(class))
    }

    fn side(&mut self, class: SideClass, _: impl FnOnce() -> u64, spread: Spread) -> Coded<u64> {
        self.side.take(class, spread)
    }
}

/// Reads the tokens of an unfinished packet and collects the mask of what may follow.
pub struct Collect<'a> {
    read: Read<'a>,
    strict: bool,
    mask: &'a mut Mask,
}

impl<'a> Collect<'a> {
    /// Adds to `mask` what may follow `tokens`.
    pub fn new(tokens: &'a [u16], side: &'a dyn SideSource, strict: bool, mask: &'a mut Mask) -> Self {
        Self { read: Read::new(tokens, side), strict, mask }
    }

    fn at_end(&self) -> bool {
        self.read.at == self.read.tokens.len()
    }
}

impl Io for Collect<'_> {
    const EMITS: bool = false;

    fn strict(&self) -> bool {
        self.strict
    }

    fn lack(&self) -> Stop {
        self.read.lack()
    }

    fn pick(&mut self, want: impl FnOnce() -> u16, legal: impl FnOnce(&mut Mask)) -> Coded<u16> {
        if self.at_end() {
            legal(self.mask);
        }
        self.read.pick(want, |_| ())
    }

    fn maybe(
        &mut self,
        class: Class,
        want: impl FnOnce() -> Option<u16>,
        legal: impl FnOnce(&mut Mask) -> Presence,
    ) -> Coded<Option<u16>> {
        if self.at_end() && legal(self.mask) == Presence::Needed {
            return Err(Stop::More);
        }
        self.read.maybe(class, want, |_| Presence::Optional)
    }

    fn side(&mut self, class: SideClass, want: impl FnOnce() -> u64, spread: Spread) -> Coded<u64> {
        self.read.side(class, want, spread)
    }
}

/// Counts what a packet takes from the side table. The table itself moves on only after a whole packet.
struct SideCursor<'a> {
    source: &'a dyn SideSource,
    taken: [u32; SideClass::COUNT],
}

impl<'a> SideCursor<'a> {
    fn new(source: &'a dyn SideSource) -> Self {
        Self { source, taken: [0; SideClass::COUNT] }
    }

    fn take(&mut self, class: SideClass, spread: Spread) -> Coded<u64> {
        let ahead = &mut self.taken[class as usize];
        let value = self.source.peek(class, *ahead, spread).ok_or(Stop::Illegal)?;
        *ahead += 1;
        Ok(value)
    }
}
