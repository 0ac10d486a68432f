//! The first payload bytes of UDP.
//!
//! A flow follows one *profile* at a time: a small grammar that knows where a protocol has counters, identifiers and
//! ciphertext. Ports and bytes decide the profile. A window that fits the profile of its flow keeps it; a new flow
//! begins with the last profile of its service. Any other window is classified again, and a PROFILE token says so. A
//! grammar function only writes windows of its own profile, so every window has one form. There is one exception:
//! generic bytes that have a STUN cookie or a known QUIC version by chance are read as generic bytes, but encoded as
//! that protocol.
//!
//! [`FlowPayload::apply`] depends on the finished window alone.

mod dns;
mod generic;
mod gquic;
mod quic;
mod rtp;
mod stun;
#[cfg(test)]
mod tests;

pub use generic::{PayloadTemplate, code_generic};

use netssm_wire::ports::{DNS_FORMAT, HTTPS, NETBIOS_NAME};

use super::{
    io::{Coded, Io, Presence, Stop},
    record::WINDOW_BYTES,
    transport::Window,
    vocab::{Class, PROFILE},
};

/// A window padded with zeros.
type Bytes = [u8; WINDOW_BYTES];

/// The grammar of a window. The order is that of the PROFILE class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Profile {
    /// Bytes that stay, count, or are noise.
    Generic,
    /// DNS, mDNS, LLMNR, NetBIOS names.
    Dns,
    /// QUIC before its standard.
    Gquic,
    /// QUIC (RFC 9000).
    Quic,
    /// RTP with RTCP (RFC 3550).
    Rtp,
    /// STUN and TURN (RFC 8489).
    Stun,
}

impl Profile {
    /// All profiles in the order of the alphabet.
    pub const ALL: [Profile; 6] = [Self::Generic, Self::Dns, Self::Gquic, Self::Quic, Self::Rtp, Self::Stun];
}

/// The context of a window.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The flow so far.
    pub state: &'a FlowPayload,
    /// Sent against the initiator's direction.
    pub back: bool,
    /// Source and destination port, as the initiator sends.
    pub ports: (u16, u16),
    /// The last profile on this service port in the session.
    pub expected: Profile,
    /// Payload bytes on the wire.
    pub payload_len: u32,
    /// Window bytes to code, at most [`WINDOW_BYTES`].
    pub len: usize,
}

/// A coded window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The bytes.
    pub window: Window,
    /// The grammar that they were written in.
    pub profile: Profile,
    ports: (u16, u16),
}

/// State of the payload of a flow, for both directions.
#[derive(Clone, Debug, Default)]
pub struct FlowPayload(Option<Box<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    profile: Option<Profile>,
    generic: generic::Generic,
    dns: Option<Box<dns::Dns>>,
    gquic: Option<Box<gquic::Gquic>>,
    quic: Option<Box<quic::Quic>>,
    rtp: Option<Box<rtp::Rtp>>,
    stun: Option<Box<stun::Stun>>,
}

/// A part of a class, with a meaning of its own.
const fn part(class: Class, from: u16, len: u16) -> Class {
    Class { first: class.first + from, len, name: class.name }
}

/// The port of the service: the only port with a token, or else the lower one.
fn service(ports: (u16, u16)) -> u16 {
    let known = |port| super::ports::place(port).is_some();
    match (known(ports.0), known(ports.1)) {
        (true, false) => ports.0,
        (false, true) => ports.1,
        _ => ports.0.min(ports.1),
    }
}

/// The direction of a packet: 0 to the service, 1 from it. It means the same in every flow of a service, whichever end
/// is the initiator.
fn sender(ports: (u16, u16), back: bool) -> usize {
    let from = if back { ports.1 } else { ports.0 };
    usize::from(if ports.0 == ports.1 { back } else { from == service(ports) })
}

/// The profiles that the ports allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// Messages in the format of DNS.
    Names,
    /// Some form of QUIC, or STUN.
    Https,
    /// A known protocol without a profile of its own. RTP is not possible.
    Plain,
    /// Anything.
    Open,
}

impl Ports {
    fn of(ports: (u16, u16)) -> Self {
        let either = |known: &[u16]| known.contains(&ports.0) || known.contains(&ports.1);
        if either(&DNS_FORMAT) || either(&[NETBIOS_NAME]) {
            Self::Names
        } else if either(&[HTTPS]) {
            Self::Https
        } else if either(&[67, 68, 69, 80, 123, 138, 161, 162, 500, 514, 547, 1900, 3702, 4500, 5683, 17_500])
        {
            Self::Plain
        } else {
            Self::Open
        }
    }

    /// The first profile of a flow, if `expected` is the last one of its service.
    fn narrow(self, expected: Profile) -> Profile {
        match (self, expected) {
            (Self::Names, _) => Profile::Dns,
            (Self::Plain, _) => Profile::Generic,
            (Self::Https, Profile::Gquic | Profile::Stun) => expected,
            (Self::Https, _) => Profile::Quic,
            (Self::Open, Profile::Dns | Profile::Gquic) => Profile::Generic,
            (Self::Open, _) => expected,
        }
    }

    /// The profile of a window of `len` bytes, from its bytes alone.
    fn classify(self, bytes: &Bytes, len: usize) -> Profile {
        let whole = len == WINDOW_BYTES;
        match self {
            Self::Names => Profile::Dns,
            Self::Plain => Profile::Generic,
            _ if whole && stun::fits(bytes) => Profile::Stun,
            Self::Https if bytes[0] & 0xc0 == 0 => Profile::Gquic,
            Self::Https => Profile::Quic,
            Self::Open if whole && quic::is_known_long(bytes) => Profile::Quic,
            Self::Open if whole && rtp::begins(bytes[0]) => Profile::Rtp,
            Self::Open => Profile::Generic,
        }
    }

    /// Whether a window keeps the profile of its flow. `fresh`: it is the first window of the flow.
    fn fits(self, profile: Profile, bytes: &Bytes, len: usize, fresh: bool) -> bool {
        let whole = len == WINDOW_BYTES;
        match profile {
            Profile::Dns => true,
            Profile::Gquic => bytes[0] & 0xc0 == 0 && !(whole && stun::fits(bytes)),
            Profile::Quic => bytes[0] & 0xc0 != 0,
            Profile::Rtp => whole && rtp::fits(bytes[0]),
            Profile::Stun => whole && stun::fits(bytes),
            Profile::Generic => {
                let found = self.classify(bytes, len);
                found == Profile::Generic || found == Profile::Rtp && !fresh
            }
        }
    }

    /// The profiles of windows that do not fit `profile`, and whether no window can fit it.
    fn others(self, profile: Profile, len: usize, fresh: bool) -> (&'static [Profile], Presence) {
        use Profile::{Generic, Gquic, Quic, Rtp, Stun};
        let whole = len == WINDOW_BYTES;
        let needed = Presence::needed(!whole && matches!(profile, Rtp | Stun));
        let others: &[Profile] = match (self, profile) {
            (Self::Names | Self::Plain, _) => &[],
            (Self::Https, Gquic) if whole => &[Quic, Stun],
            (Self::Https, Gquic) => &[Quic],
            (Self::Https, Quic) if whole => &[Gquic, Stun],
            (Self::Https, Quic) => &[Gquic],
            (Self::Https, _) => &[Gquic, Quic],
            (Self::Open, Quic) if whole => &[Generic, Stun],
            (Self::Open, Quic) => &[Generic],
            (Self::Open, Rtp) if whole => &[Generic, Stun, Quic],
            (Self::Open, Stun) if whole => &[Generic, Rtp, Quic],
            (Self::Open, Rtp | Stun) => &[Generic],
            (Self::Open, _) if whole && fresh => &[Stun, Quic, Rtp],
            (Self::Open, _) if whole => &[Stun, Quic],
            (Self::Open, _) => &[],
        };
        (others, needed)
    }
}

/// How the profile was chosen. The legal bytes of the window depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// The window is classified by its bytes, not kept in the flow's profile.
    classified: bool,
    /// The profile that it did not fit.
    left: Option<Profile>,
    /// The whole window is there.
    whole: bool,
}

/// Codes the window of one packet.
pub fn code<I: Io>(ask: &Ask<'_>, io: &mut I, want: Option<&Window>) -> Coded<Payload> {
    let len = ask.len.min(WINDOW_BYTES);
    let empty = State::default();
    let state = ask.state.0.as_deref().unwrap_or(&empty);
    let ports = Ports::of(ask.ports);
    let now = ports.narrow(state.profile.unwrap_or(ask.expected));
    if len == 0 {
        return Ok(Payload { window: Window::new(), profile: now, ports: ask.ports });
    }
    let mut bytes = Bytes::default();
    for (to, from) in bytes.iter_mut().zip(want.into_iter().flatten()) {
        *to = *from;
    }
    let fresh = state.profile.is_none();
    // The strict rules allow no STUN message that is longer than the payload.
    let holds_stun = !io.strict() || stun::is_length(ask.payload_len);
    let told = io.maybe(
        PROFILE,
        || (!ports.fits(now, &bytes, len, fresh)).then(|| PROFILE.at(ports.classify(&bytes, len) as usize)),
        |mask| {
            let (others, presence) = ports.others(now, len, fresh);
            let legal = others.iter().filter(|&&other| other != Profile::Stun || holds_stun);
            legal.for_each(|&other| mask.add(PROFILE.at(other as usize)));
            if now == Profile::Stun && !holds_stun { Presence::Needed } else { presence }
        },
    )?;
    let profile = match told {
        None => now,
        Some(token) => PROFILE.index(token).map(|index| Profile::ALL[index]).ok_or(Stop::Illegal)?,
    };
    let (others, presence) = ports.others(now, len, fresh);
    if told.is_none() && presence == Presence::Needed {
        return Err(io.lack());
    }
    if told.is_some() && !others.contains(&profile) {
        return Err(Stop::Illegal);
    }
    let entry = Entry {
        classified: told.is_some() || fresh && profile == Profile::Generic,
        left: told.map(|_| now),
        whole: len == WINDOW_BYTES,
    };
    let from = sender(ask.ports, ask.back);
    let whole = entry.whole;
    match profile {
        Profile::Dns if whole => {
            dns::code(state.dns.as_deref().unwrap_or(&dns::Dns::default()), ask, from, io, &mut bytes)
        }
        Profile::Gquic => {
            gquic::code(state.gquic.as_deref().unwrap_or(&gquic::Gquic::default()), from, len, io, &mut bytes)
        }
        Profile::Quic => {
            let https = ports == Ports::Https;
            quic::code(
                state.quic.as_deref().unwrap_or(&quic::Quic::default()),
                from,
                len,
                entry.classified && !https,
                io,
                &mut bytes,
            )
        }
        Profile::Rtp => rtp::code(
            state.rtp.as_deref().unwrap_or(&rtp::Rtp::default()),
            from,
            entry.classified,
            io,
            &mut bytes,
        ),
        Profile::Stun => stun::code(
            state.stun.as_deref().unwrap_or(&stun::Stun::default()),
            ask.payload_len,
            from,
            io,
            &mut bytes,
        ),
        Profile::Generic | Profile::Dns => {
            let bars = |byte| ports == Ports::Open && entry.bars(byte);
            state.generic.code(ask.ports, from, len, &bars, io, &mut bytes)
        }
    }?;
    Ok(Payload { window: bytes[..len].iter().copied().collect(), profile, ports: ask.ports })
}

impl Entry {
    /// Whether a generic window must not begin with `byte`, because the window would be classified as another profile.
    fn bars(self, byte: u8) -> bool {
        let classified = self.classified && self.whole && rtp::begins(byte);
        classified
            || match self.left {
                Some(Profile::Rtp) => self.whole && rtp::fits(byte),
                Some(Profile::Quic) => byte & 0xc0 != 0,
                _ => false,
            }
    }
}

impl FlowPayload {
    /// The predictions for a new flow, from the last flow of the same service.
    #[must_use]
    pub fn inherit(last: &FlowPayload) -> FlowPayload {
        FlowPayload(last.0.as_deref().map(|last| {
            Box::new(State {
                profile: None,
                generic: last.generic.clone(),
                dns: last.dns.as_deref().map(|dns| Box::new(dns.inherit())),
                gquic: last.gquic.as_deref().map(|gquic| Box::new(gquic.inherit())),
                quic: last.quic.as_deref().map(|quic| Box::new(quic.inherit())),
                rtp: None,
                stun: None,
            })
        }))
    }

    /// Updates the state by a packet.
    pub fn apply(&mut self, back: bool, payload: &Payload) {
        let len = payload.window.len();
        if len == 0 {
            return;
        }
        let mut bytes = Bytes::default();
        bytes[..len].copy_from_slice(&payload.window);
        let from = sender(payload.ports, back);
        let state = self.0.get_or_insert_default();
        state.profile = Some(payload.profile);
        match payload.profile {
            Profile::Dns if len == WINDOW_BYTES => {
                state.dns.get_or_insert_default().apply(payload.ports, from, &bytes)
            }
            Profile::Gquic => state.gquic.get_or_insert_default().apply(from, len, &bytes),
            Profile::Quic => state.quic.get_or_insert_default().apply(from, len, &bytes),
            Profile::Rtp => state.rtp.get_or_insert_default().apply(from, &bytes),
            Profile::Stun => state.stun.get_or_insert_default().apply(from, &bytes),
            Profile::Generic | Profile::Dns => state.generic.apply(payload.ports, from, &payload.window),
        }
    }

    /// The profile of the last window.
    pub fn profile(&self) -> Option<Profile> {
        self.0.as_deref().and_then(|state| state.profile)
    }
}

/// Feeds the tables that tokens refer to into the hash of the codec's id.
pub(super) fn tables(hash: &mut dyn FnMut(&[u8])) {
    dns::FLAGS.iter().for_each(|flags| hash(&flags.to_le_bytes()));
    stun::TYPES.iter().for_each(|kind| hash(&kind.to_le_bytes()));
    quic::TABLE.iter().for_each(|version| hash(&version.to_le_bytes()));
    generic::BEGINNINGS.iter().for_each(|bytes| hash(&bytes[..]));
}
