//! Payload of protocols without a grammar of their own. Each byte stays, counts, echoes the other end, or is noise.
//!
//! A byte whose predictions often fail is *noise*. It goes into the side table, and windows are compared without it. If
//! few bytes of a window differ from the prediction, the tokens give them one by one. Otherwise a token names one of
//! the last windows or a well-known beginning. If none fits, the window is *fresh* from the first different byte on: a
//! token gives that place, and the bytes go into the side table.

use arrayvec::ArrayVec;

use super::{
    super::{
        io::{Coded, Io, Presence, Stop},
        record::WINDOW_BYTES,
        side_channel::{SideClass, Spread},
        transport::Window,
        vocab::{BYTE, Class, DIFF, DIFF_ALL},
    },
    Bytes, part, service,
};

/// Largest number of different bytes that are written one by one. Each costs two tokens, a whole window costs one.
const FEW: usize = 2;
/// This many wrong predictions among the last [`MEMORY`] make a byte noise.
const NOISE: u32 = 3;
const MEMORY: u8 = 0b1111;

/// Fresh from the place of the member on. Behind the last of these places there are only [`FEW`] bytes.
const FRESH: Class = part(DIFF_ALL, 0, (WINDOW_BYTES - FEW) as u16);
/// One of the windows before.
const RECENT: Class = part(DIFF_ALL, FRESH.len, RECENTS as u16);
/// A well-known beginning.
const KNOWN: Class = part(DIFF_ALL, FRESH.len + RECENT.len, BEGINNINGS.len() as u16);
const _: () = assert!(FRESH.len + RECENT.len + KNOWN.len == DIFF_ALL.len);

const RECENTS: usize = 3;

/// Beginnings of messages of UPnP discovery, WS-Discovery, SIP, BitTorrent's DHT and Dropbox's LAN sync.
pub(super) const BEGINNINGS: [&Bytes; 8] = [
    b"NOTIFY * HTT",
    b"M-SEARCH * H",
    b"HTTP/1.1 200",
    b"<?xml versio",
    b"SIP/2.0 200 ",
    b"d1:ad2:id20:",
    b"d1:rd2:id20:",
    b"{\"host_int\":",
];

/// The usual first window of a service: NTP (version 3 client, version 4 server), DHCP, NetBIOS datagrams.
fn beginning(ports: (u16, u16), from: usize) -> Bytes {
    match (service(ports), from) {
        (67 | 68, 0) => [1, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        (67 | 68, _) => [2, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        (123, 0) => [0x1b, 0, 4, 0xfa, 0, 1, 0, 0, 0, 1, 0, 0],
        (123, _) => [0x1c, 2, 4, 0xec, 0, 0, 0, 0, 0, 0, 0, 0],
        (138, _) => [0x11, 2, 0, 0, 0, 0, 0, 0, 0, 138, 0, 0],
        (1900, 0) => *BEGINNINGS[0],
        (1900, _) => *BEGINNINGS[2],
        (3702, _) => *BEGINNINGS[3],
        (5060, 0) => *b"REGISTER sip",
        (5060, _) => *BEGINNINGS[4],
        (17_500, _) => *BEGINNINGS[7],
        _ => Bytes::default(),
    }
}

/// The predictions for the bytes that one end sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadTemplate {
    last: Bytes,
    step: Bytes,
    /// The last difference. If it comes twice in a row, it becomes the step.
    delta: Bytes,
    /// One bit per window, the latest lowest: whether "last plus step" was wrong.
    missed: Bytes,
    /// The same for the prediction "as the other end's last byte".
    unlike: Bytes,
    seen: bool,
}

/// The templates of a flow.
#[derive(Clone, Debug, Default)]
pub(super) struct Generic {
    senders: [PayloadTemplate; 2],
    recent: ArrayVec<Window, RECENTS>,
}

/// The prediction of a window.
struct Forecast<'a> {
    bytes: Bytes,
    noise: [bool; WINDOW_BYTES],
    len: usize,
    recent: &'a [Window],
}

/// What a token says of a whole window.
#[derive(Clone, Copy)]
enum Whole {
    Recent(usize),
    Known(usize),
    Fresh(usize),
}

impl PayloadTemplate {
    fn forecast<'a>(
        &self,
        other: Option<&PayloadTemplate>,
        first: &Bytes,
        len: usize,
        recent: &'a [Window],
    ) -> Forecast<'a> {
        let other = other.filter(|other| other.seen);
        let mut forecast = Forecast { bytes: *first, noise: [false; WINDOW_BYTES], len, recent };
        for at in 0..len {
            let own = (self.missed[at] & MEMORY).count_ones();
            let echo = other.map_or(NOISE, |_| (self.unlike[at] & MEMORY).count_ones());
            if self.seen {
                forecast.bytes[at] = self.last[at].wrapping_add(self.step[at]);
                forecast.noise[at] = own.min(echo) >= NOISE;
            }
            if let Some(other) = other
                && (self.seen && echo < own || !self.seen && *first == Bytes::default())
            {
                forecast.bytes[at] = other.last[at];
            }
        }
        forecast
    }

    /// Updates the predictions by a window. `other` is the template of the other end.
    fn note(&mut self, window: &[u8], other: Option<&PayloadTemplate>) {
        let other = other.filter(|other| other.seen);
        for (at, &byte) in window.iter().enumerate().take(WINDOW_BYTES) {
            let delta = byte.wrapping_sub(self.last[at]);
            let wrong = |history: u8, wrong: bool| history << 1 | u8::from(wrong);
            if self.seen {
                self.missed[at] = wrong(self.missed[at], delta != self.step[at]);
                self.step[at] = if delta <= 1 || delta == self.delta[at] { delta } else { 0 };
                self.delta[at] = delta;
            } else {
                // If the end has a history of its own, echoes must be right before they are predicted.
                self.unlike[at] = 0b11;
            }
            if let Some(other) = other {
                self.unlike[at] = wrong(self.unlike[at], byte != other.last[at]);
            }
            self.last[at] = byte;
        }
        self.seen = true;
    }

    /// Updates the predictions by a window of a protocol without ports.
    pub fn apply_generic(&mut self, window: &Window) {
        self.note(window, None);
    }
}

/// Codes a window by the template of its direction alone.
pub fn code_generic<I: Io>(
    template: &PayloadTemplate,
    len: usize,
    io: &mut I,
    want: Option<&Window>,
) -> Coded<Window> {
    let len = len.min(WINDOW_BYTES);
    let mut bytes = Bytes::default();
    for (to, from) in bytes.iter_mut().zip(want.into_iter().flatten()) {
        *to = *from;
    }
    template.forecast(None, &Bytes::default(), len, &[]).code(&|_| false, io, &mut bytes)?;
    Ok(bytes[..len].iter().copied().collect())
}

impl Generic {
    /// Codes a window into `bytes`. `bars` says which first bytes it must not have.
    pub(super) fn code<I: Io>(
        &self,
        ports: (u16, u16),
        from: usize,
        len: usize,
        bars: &dyn Fn(u8) -> bool,
        io: &mut I,
        bytes: &mut Bytes,
    ) -> Coded<()> {
        self.forecast(ports, from, len).code(bars, io, bytes)
    }

    fn forecast(&self, ports: (u16, u16), from: usize, len: usize) -> Forecast<'_> {
        let first = beginning(ports, from);
        self.senders[from].forecast(Some(&self.senders[1 - from]), &first, len, &self.recent)
    }

    pub(super) fn apply(&mut self, ports: (u16, u16), from: usize, window: &Window) {
        let mut bytes = Bytes::default();
        bytes[..window.len()].copy_from_slice(window);
        if self.forecast(ports, from, window.len()).surprises(&bytes).count() > FEW {
            self.recent.retain(|known| known != window);
            self.recent.truncate(RECENTS - 1);
            self.recent.insert(0, window.clone());
        }
        let other = self.senders[1 - from].clone();
        self.senders[from].note(window, Some(&other));
    }
}

impl Forecast<'_> {
    /// Places that are not noise.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len).filter(|&at| !self.noise[at])
    }

    fn surprises<'b>(&'b self, bytes: &'b Bytes) -> impl Iterator<Item = usize> + 'b {
        self.places().filter(|&at| bytes[at] != self.bytes[at])
    }

    fn same(&self, one: &Bytes, two: &Bytes) -> bool {
        self.places().all(|at| one[at] == two[at])
    }

    /// The window that a token stands for, if the token is legal here.
    fn named(&self, whole: Whole, bars: &dyn Fn(u8) -> bool) -> Option<Bytes> {
        let bytes = match whole {
            Whole::Recent(index) => {
                let window = self.recent.get(index).filter(|window| window.len() >= self.len)?;
                let mut bytes = Bytes::default();
                bytes[..window.len()].copy_from_slice(window);
                bytes
            }
            Whole::Known(index) => **BEGINNINGS.get(index)?,
            Whole::Fresh(_) => return None,
        };
        let barred = self.len > 0 && !self.noise[0] && bars(bytes[0]);
        (!barred && self.surprises(&bytes).count() > FEW).then_some(bytes)
    }

    fn candidates() -> impl Iterator<Item = Whole> {
        (0..RECENTS).map(Whole::Recent).chain((0..BEGINNINGS.len()).map(Whole::Known))
    }

    /// The first name of a window.
    fn name(&self, bytes: &Bytes, bars: &dyn Fn(u8) -> bool) -> Option<Whole> {
        Self::candidates()
            .find(|&whole| self.named(whole, bars).is_some_and(|named| self.same(&named, bytes)))
    }

    /// Whether a window may be fresh from place `at` on.
    fn may_freshen(&self, at: usize, bars: &dyn Fn(u8) -> bool) -> bool {
        !self.noise[at]
            && self.places().filter(|&place| place >= at).count() > FEW
            && (at == 0 || self.noise[0] || !bars(self.bytes[0]))
    }

    fn code<I: Io>(&self, bars: &dyn Fn(u8) -> bool, io: &mut I, bytes: &mut Bytes) -> Coded<()> {
        let wanted = *bytes;
        let token = io.maybe(
            DIFF_ALL,
            || self.choose(&wanted, bars),
            |mask| {
                for whole in Self::candidates() {
                    let first = self.named(whole, bars).and_then(|bytes| self.name(&bytes, bars));
                    if first.is_some_and(|first| token_of(first) == token_of(whole)) {
                        mask.add(token_of(whole));
                    }
                }
                for at in
                    (0..usize::from(FRESH.len)).filter(|&at| at < self.len && self.may_freshen(at, bars))
                {
                    mask.add(FRESH.at(at));
                }
                Presence::Optional
            },
        )?;
        let mut fresh = self.len;
        if let Some(token) = token {
            if let Some(at) = FRESH.index(token) {
                if at >= self.len || !self.may_freshen(at, bars) {
                    return Err(Stop::Illegal);
                }
                *bytes = self.bytes;
                fresh = at;
            } else {
                let whole =
                    RECENT.index(token).map(Whole::Recent).or_else(|| KNOWN.index(token).map(Whole::Known));
                *bytes = whole.and_then(|whole| self.named(whole, bars)).ok_or(Stop::Illegal)?;
            }
        } else {
            *bytes = self.bytes;
            self.few(&wanted, bars, io, bytes)?;
        }
        for at in 0..self.len {
            if self.noise[at] || at >= fresh {
                bytes[at] = io.side(SideClass::Opaque, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
            }
        }
        if !I::EMITS {
            self.settle(fresh, bars, bytes);
        }
        Ok(())
    }

    /// The token of a window with more different bytes than [`FEW`].
    fn choose(&self, bytes: &Bytes, bars: &dyn Fn(u8) -> bool) -> Option<u16> {
        let first = self.surprises(bytes).next()?;
        if self.surprises(bytes).count() <= FEW {
            return None;
        }
        Some(token_of(self.name(bytes, bars).unwrap_or(Whole::Fresh(first))))
    }

    /// Codes bytes that differ, one by one.
    fn few<I: Io>(
        &self,
        wanted: &Bytes,
        bars: &dyn Fn(u8) -> bool,
        io: &mut I,
        bytes: &mut Bytes,
    ) -> Coded<()> {
        let barred = self.len > 0 && !self.noise[0] && bars(self.bytes[0]);
        let mut next = 0;
        for count in 0..FEW {
            let needed = barred && count == 0;
            let token = io.maybe(
                DIFF,
                || self.surprises(wanted).find(|&at| at >= next).map(|at| DIFF.at(at)),
                |mask| {
                    self.places()
                        .filter(|&at| at >= next && (!needed || at == 0))
                        .for_each(|at| mask.add(DIFF.at(at)));
                    Presence::needed(needed)
                },
            )?;
            let Some(at) = token.and_then(|token| DIFF.index(token)) else {
                return if needed { Err(io.lack()) } else { Ok(()) };
            };
            if at < next || at >= self.len || self.noise[at] || needed && at != 0 {
                return Err(Stop::Illegal);
            }
            let legal = |byte: u8| byte != self.bytes[at] && !(at == 0 && bars(byte));
            let token = io.pick(
                || BYTE.at(usize::from(wanted[at])),
                |mask| {
                    (0..=255)
                        .filter(|&byte| legal(byte))
                        .for_each(|byte| mask.add(BYTE.at(usize::from(byte))));
                },
            )?;
            let byte = BYTE.index(token).ok_or(Stop::Illegal)? as u8;
            if !legal(byte) {
                return Err(Stop::Illegal);
            }
            bytes[at] = byte;
            next = at + 1;
        }
        Ok(())
    }

    /// Changes drawn bytes that would have another form. Bytes of a recording stay as they are.
    fn settle(&self, fresh: usize, bars: &dyn Fn(u8) -> bool, bytes: &mut Bytes) {
        // Only the six low bits: no barred byte begins with two zero bits.
        if self.len > 0 && (self.noise[0] || fresh == 0) && bars(bytes[0]) {
            bytes[0] &= 0x3f;
        }
        if fresh >= self.len {
            return;
        }
        if bytes[fresh] == self.bytes[fresh] {
            bytes[fresh] = bytes[fresh].wrapping_add(1) & if fresh == 0 { 0x3f } else { 0xff };
        }
        for at in self.places().filter(|&at| at > fresh) {
            if self.surprises(bytes).count() > FEW {
                break;
            }
            if bytes[at] == self.bytes[at] {
                bytes[at] = !bytes[at];
            }
        }
    }
}

fn token_of(whole: Whole) -> u16 {
    match whole {
        Whole::Recent(index) => RECENT.at(index),
        Whole::Known(index) => KNOWN.at(index),
        Whole::Fresh(at) => FRESH.at(at),
    }
}
