//! Side information for a model: facts about the session, the flows used last, the hosts, and the flow of the open
//! packet.
//!
//! Tokens name flows and hosts by how recently they were used. Such names are short, but to know what the third flow of
//! the order *is*, a model would have to repeat all changes of the order. The decoder does that anyway. So with every
//! token it gives the fields of [`SIZES`] (see [`crate::context`]), each a small number: counts and times by octave,
//! services by the place of their port in the table. One thing in them is not in the tokens: times include the drawn
//! remainders of gaps, which sometimes move a time across the edge of an octave.

use super::{
    hosts::HostClass,
    payload::Profile,
    ports::{PORTS, place},
    state::{Flow, FlowKind, Role, Service, State},
    vocab::{GRAMMAR_SIZE, RATE},
};
use crate::context::ContextShape;

/// What the fields mean.
const VERSION: u32 = 2;

/// Classes of the ports of TCP or UDP: each port of the table, others below 1024, others below 32768, all others.
const PORT_CLASSES: usize = PORTS.len() + 3;
/// Classes of services: none; TCP and UDP by class of port; the other kinds of flow.
const SERVICES: usize = 1 + 2 * PORT_CLASSES + 4;
/// Number of flows used last that have fields.
const NEAR: usize = 5;
/// Octaves of packets, bytes, lengths and microseconds, each with 0. Numbers that grow with a session stop at 512
/// packets, 64 KiB, a minute and 256 flows. Few sessions of a corpus reach the octaves beyond, and a model would learn
/// these sessions by heart.
const PACKETS: usize = 11;
const BYTES: usize = 18;
const LENGTHS: usize = 17;
const GAPS: usize = 34;
const AGES: usize = 28;
/// Halves of octaves of the session's packets and flows, to 512 and 256.
const MANY_PACKETS: usize = 20;
const MANY_FLOWS: usize = 18;
/// Halves of octaves of packets in a row, to 64.
const RUNS: usize = 14;
/// States of a connection: none, or which ends have sent and whether it is closed.
const CONNECTIONS: usize = 9;

/// Fields of the session: link rate, age, packets, flows, time and packets since the last new flow, packets in a row of
/// one flow.
const OF_SESSION: [usize; 7] = [1 + RATE.len as usize, AGES, MANY_PACKETS, MANY_FLOWS, AGES, PACKETS, RUNS];
/// Fields of each flow used last: service, the last sender and its packets in a row, time since then, packets and bytes
/// in both directions, last length of the last sender, state of the connection.
const OF_NEAR: [usize; 8] = [SERVICES, 3, RUNS, GAPS, PACKETS, BYTES, 1 + LENGTHS, CONNECTIONS];
/// Fields of the open packet's flow: service, direction, earlier packets in a row in that direction, packets, bytes,
/// last and largest length of this and of the other direction, state of the connection, profile of the payload, time
/// since its last packet and since its first.
const OF_OPEN: [usize; 15] = [
    SERVICES,
    5,
    RUNS,
    PACKETS,
    PACKETS,
    BYTES,
    BYTES,
    1 + LENGTHS,
    1 + LENGTHS,
    1 + LENGTHS,
    1 + LENGTHS,
    CONNECTIONS,
    8,
    GAPS,
    AGES,
];
/// Fields of each host, ordered by the last flow that it opened, and again by the last flow that was opened to it:
/// class of its address, service of that flow.
const OF_HOST: [usize; 2] = [1 + HostClass::ALL.len(), SERVICES];
/// Number of hosts of each order that have fields.
const INITIATORS: usize = 3;
const RESPONDERS: usize = 4;
/// Where the fields of the hosts, and those of the open packet, begin.
const HOSTS_AT: usize = OF_SESSION.len() + NEAR * OF_NEAR.len();
const OPEN_AT: usize = HOSTS_AT + (INITIATORS + RESPONDERS) * OF_HOST.len();
const FIELDS: usize = OPEN_AT + OF_OPEN.len();

/// Rows of each field except the label.
const SIZES: [usize; FIELDS] = {
    let mut sizes = [0; FIELDS];
    let mut at = 0;
    while at < FIELDS {
        sizes[at] = if at < OF_SESSION.len() {
            OF_SESSION[at]
        } else if at < HOSTS_AT {
            OF_NEAR[(at - OF_SESSION.len()) % OF_NEAR.len()]
        } else if at < OPEN_AT {
            OF_HOST[(at - HOSTS_AT) % OF_HOST.len()]
        } else {
            OF_OPEN[at - OPEN_AT]
        };
        at += 1;
    }
    sizes
};

/// The open packet's flow, as values of [`OF_OPEN`].
pub(super) type Note = [u16; OF_OPEN.len()];

/// Shape of the side information of a codec with `labels` labels.
pub(super) fn shape(labels: usize) -> ContextShape {
    // One more row for a session without a known label.
    ContextShape { version: VERSION, fields: FIELDS + 1, rows: SIZES.iter().sum::<usize>() + 1 + labels }
}

/// The values of a flow at the start of a packet at `time_us`.
pub(super) fn note(flow: &Flow, back: bool, is_new: bool, time_us: i64) -> Note {
    let (this, other) = (&flow.dirs[usize::from(back)], &flow.dirs[usize::from(!back)]);
    [
        service((flow.key.kind, flow.key.ports)),
        1 + if is_new { 3 } else { u16::from(back) },
        if back == flow.last_back { half_octave(flow.run.into()) } else { 0 },
        octave(u64::from(this.packets)),
        octave(u64::from(other.packets)),
        octave(u64::from(this.bytes)),
        octave(u64::from(other.bytes)),
        length(this.lengths.last(), this.packets),
        length(other.lengths.last(), other.packets),
        length(this.lengths.max(), this.packets),
        length(other.lengths.max(), other.packets),
        connection(flow),
        flow.payload.profile().map_or(0, |profile| 1 + profile as u16),
        if is_new { 0 } else { gap(time_us, flow) },
        if is_new { 0 } else { octave(u64::try_from(time_us.saturating_sub(flow.opened_us)).unwrap_or(0)) },
    ]
}

/// The state of a TCP connection as a value of the field.
fn connection(flow: &Flow) -> u16 {
    let seen = u16::from(flow.dirs[0].seen) | u16::from(flow.dirs[1].seen) << 1;
    if flow.key.kind == FlowKind::Tcp { 1 + (seen | u16::from(flow.closed()) << 2) } else { 0 }
}

/// Writes rows, field by field.
struct Rows<'a> {
    out: &'a mut Vec<u32>,
    field: usize,
    first: usize,
}

impl Rows<'_> {
    fn put(&mut self, value: u16) {
        let size = SIZES[self.field];
        self.out.push((self.first + usize::from(value).min(size - 1)) as u32);
        self.first += size;
        self.field += 1;
    }
}

/// Appends the rows of a session. `rate` is the token of the link rate, once it was read.
pub(super) fn write(
    state: &State,
    (label, rate): (Option<u16>, Option<u16>),
    age_us: i64,
    note: Option<&Note>,
    out: &mut Vec<u32>,
) {
    let mut rows = Rows { out, field: 0, first: 0 };
    rows.put(rate.and_then(|rate| RATE.index(rate)).map_or(0, |class| 1 + class as u16));
    rows.put(octave(u64::try_from(age_us).unwrap_or(0)));
    rows.put(half_octave(state.packets()));
    rows.put(half_octave(state.live() as u64));
    let (time_us, packets) = state.since_opening().unwrap_or_default();
    rows.put(octave(time_us));
    rows.put(octave(packets));
    rows.put(half_octave(state.streak));
    for rank in 0..NEAR {
        match state.at_rank(rank).and_then(|slot| state.flow(slot)) {
            Some(flow) => {
                rows.put(service((flow.key.kind, flow.key.ports)));
                rows.put(1 + u16::from(flow.last_back));
                rows.put(half_octave(flow.run.into()));
                rows.put(gap(state.clock.since(0), flow));
                rows.put(octave(flow.packets()));
                rows.put(octave(flow.bytes()));
                let dir = &flow.dirs[usize::from(flow.last_back)];
                rows.put(length(dir.lengths.last(), dir.packets));
                rows.put(connection(flow));
            }
            None => OF_NEAR.iter().for_each(|_| rows.put(0)),
        }
    }
    let initiators = (0..INITIATORS).map(|place| (Role::Initiator, place));
    for (role, place) in initiators.chain((0..RESPONDERS).map(|place| (Role::Responder, place))) {
        let host = state.host_in(role, place);
        rows.put(host.map_or(0, |host| 1 + HostClass::of(host.address) as u16));
        rows.put(host.and_then(|host| host.last[role as usize]).map_or(0, service));
    }
    note.unwrap_or(&Note::default()).iter().for_each(|&value| rows.put(value));
    let label = label.and_then(|label| label.checked_sub(GRAMMAR_SIZE)).map_or(0, |label| 1 + label);
    let first = rows.first;
    out.push((first + usize::from(label)) as u32);
}

/// 0 for 0, and one more an octave.
fn octave(x: u64) -> u16 {
    (u64::BITS - x.leading_zeros()) as u16
}

/// 0 for 0, 1 for 1, and two more an octave.
fn half_octave(x: u64) -> u16 {
    match octave(x) {
        0 => 0,
        1 => 1,
        n => 2 * (n - 1) + (x >> (n - 2) & 1) as u16,
    }
}

/// Time since a flow's last packet.
fn gap(time_us: i64, flow: &Flow) -> u16 {
    1 + octave(u64::try_from(time_us.saturating_sub(flow.last_us)).unwrap_or(0))
}

/// The octave of a length; a direction that has not sent has a value of its own.
fn length(length: u16, packets: u32) -> u16 {
    if packets == 0 { 0 } else { 1 + octave(length.into()) }
}

/// The service of a flow, from its ports.
fn service((kind, (from, to)): Service) -> u16 {
    let class = |port: u16| match port {
        0..1_024 => PORTS.len(),
        1_024..32_768 => PORTS.len() + 1,
        _ => PORTS.len() + 2,
    };
    let port = place(to).or_else(|| place(from)).unwrap_or_else(|| class(to.min(from)));
    let value = match kind {
        FlowKind::Tcp => port,
        FlowKind::Udp => PORT_CLASSES + port,
        other => 2 * PORT_CLASSES + other as usize - FlowKind::Icmp as usize,
    };
    1 + value as u16
}

const _: () = assert!(Profile::Stun as usize + 1 < 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_rows_and_the_label_the_last() {
        let shape = shape(3);
        let mut out = Vec::new();
        let note = [u16::MAX; OF_OPEN.len()];
        write(&State::default(), (Some(GRAMMAR_SIZE + 2), Some(RATE.at(7))), i64::MAX, Some(&note), &mut out);
        assert_eq!(out.len(), shape.fields);
        assert_eq!(*out.last().unwrap() as usize, shape.rows - 1);
        let mut first = 0;
        for (&row, size) in out.iter().zip(SIZES) {
            assert!((first..first + size).contains(&(row as usize)), "{row} of {first} + {size}");
            first += size;
        }
        let mut none = Vec::new();
        write(&State::default(), (None, None), 0, None, &mut none);
        assert_eq!(none.last(), Some(&(first as u32)));
        assert_eq!(none.first(), Some(&0));
    }
}
