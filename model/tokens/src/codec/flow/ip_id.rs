//! IPv4 identification: a counter of the flow or of the host, a constant, zero, or random.

use super::{
    choose::{Candidates, Chosen, Rules, choose},
    io::{Coded, Io, Stop},
    side_channel::{SideClass, Spread},
    vocab::IP_ID,
};

const MODES: usize = 5;
const STEP: usize = 5;
const STEPS: u16 = 8;
const RANDOM: u16 = IP_ID.at(13);
const ZERO: u8 = 3;
const HOST: u8 = 1;
/// After this many wrong predictions in a row, ids count as random.
const GIVE_UP: u8 = 3;
/// After this many structured ids in a row, they do not count as random any more.
const COME_BACK: u8 = 2;

/// How one direction, or a host, numbers its packets.
#[derive(Clone, Debug, Default)]
pub(super) struct IdState {
    last: Option<u16>,
    mode: u8,
    misses: u8,
    random: bool,
    hits: u8,
}

/// A coded id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdCoded {
    pub(super) value: u16,
    mode: Option<u8>,
    missed: bool,
    structured: bool,
}

fn swapped_next(value: u16) -> u16 {
    value.swap_bytes().wrapping_add(1).swap_bytes()
}

impl IdState {
    /// What a new host inherits from a host of its class: that ids are zero, or random.
    pub(super) fn inherited(&self) -> Self {
        let mode = if self.mode == ZERO { ZERO } else { 0 };
        Self { mode, random: self.random, ..Self::default() }
    }

    fn modes(&self, host: Option<u16>) -> [u16; MODES] {
        let last = self.last.or(host).unwrap_or_default();
        let own = self.last.unwrap_or_default();
        let host = host.unwrap_or_default();
        [last.wrapping_add(1), host.wrapping_add(1), own, 0, swapped_next(own)]
    }

    /// Codes an id; `host` is the last one that the host sent in any flow.
    pub(super) fn code<I: Io>(&self, io: &mut I, want: Option<u16>, host: Option<u16>) -> Coded<IdCoded> {
        let modes = self.modes(host);
        if self.random {
            let value =
                io.side(SideClass::IpId, || want.unwrap_or_default().into(), Spread::Bits(16))? as u16;
            let structured = value == modes[0] || value == modes[1] || value == 0;
            return Ok(IdCoded { value, mode: None, missed: false, structured });
        }
        let unknown = self.last.is_none() && host.is_none();
        let predicted = modes[usize::from(self.mode) % MODES];
        let base = if self.mode == HOST { host.or(self.last) } else { self.last.or(host) };
        let candidates = |list: &mut Candidates| {
            if unknown {
                // There is nothing to count from. A first id is zero or random.
                list.push((IP_ID.at(ZERO.into()), 0));
                return;
            }
            for (k, &value) in modes.iter().enumerate() {
                list.push((IP_ID.at(k), value.into()));
            }
            for k in 0..STEPS {
                list.push((
                    IP_ID.at(STEP + usize::from(k)),
                    base.unwrap_or_default().wrapping_add(k + 2).into(),
                ));
            }
        };
        let rules = || Rules::with([RANDOM]);
        let chosen = choose(
            io,
            IP_ID,
            want.map(u32::from),
            Some(predicted.into()),
            candidates,
            |_| RANDOM,
            rules,
            |_, _| true,
        )?;
        Ok(match chosen {
            Chosen::Predicted(value) => {
                IdCoded { value: value as u16, mode: None, missed: false, structured: true }
            }
            Chosen::Candidate(token, value) => {
                let mode = IP_ID.index(token).filter(|&k| k < MODES).map(|k| k as u8);
                IdCoded { value: value as u16, mode, missed: false, structured: mode.is_some() }
            }
            Chosen::Literal(RANDOM) => {
                let mut value =
                    io.side(SideClass::IpId, || want.unwrap_or_default().into(), Spread::Bits(16))? as u16;
                // A drawn id may be one that has another form. A recorded id here never has.
                let mut list = Candidates::new();
                candidates(&mut list);
                while value == predicted || list.iter().any(|&(_, other)| other == u32::from(value)) {
                    value = value.wrapping_add(1);
                }
                IdCoded { value, mode: None, missed: !unknown, structured: false }
            }
            Chosen::Literal(_) => return Err(Stop::Illegal),
        })
    }

    /// Changes the direction's state, and the host's.
    pub(super) fn apply(&mut self, host: &mut IdState, coded: IdCoded, host_last: Option<u16>) {
        if self.random {
            self.hits = if coded.structured { self.hits + 1 } else { 0 };
            if self.hits >= COME_BACK {
                let modes = self.modes(host_last);
                self.random = false;
                self.misses = 0;
                self.mode = if coded.value == 0 {
                    ZERO
                } else if coded.value == modes[0] {
                    0
                } else {
                    HOST
                };
            }
        } else {
            if let Some(mode) = coded.mode {
                self.mode = mode;
            }
            self.misses = match (coded.missed, coded.structured) {
                (true, _) => self.misses + 1,
                (false, true) => 0,
                (false, false) => self.misses,
            };
            if self.misses >= GIVE_UP {
                (self.random, self.hits) = (true, 0);
            }
        }
        self.last = Some(coded.value);
        (host.last, host.mode, host.random) = (self.last, self.mode, self.random);
    }

    pub(super) fn last(&self) -> Option<u16> {
        self.last
    }

    /// What a new flow inherits from its host: the way of counting, but not the count.
    pub(super) fn for_flow(&self) -> Self {
        Self { last: None, mode: self.mode, random: self.random, ..Self::default() }
    }
}
