//! A port of a new flow.
//!
//! ```text
//! port := PORT | PORT_HIGH | PORT_MID | PORT_LOW byte byte
//! ```

use crate::codec::flow::{
    io::{Coded, Io, Stop},
    ports::{PORTS, place},
    side_channel::{SideClass, Spread},
    vocab::{BYTE, PORT, PORT_HIGH, PORT_LOW, PORT_MID},
};

/// Codes a port. `legal` is asked for each port that has a token and for one port of each range. `is_taken` says
/// whether a live flow has the port.
pub(super) fn port<I: Io>(
    io: &mut I,
    want: Option<u16>,
    legal: impl Fn(u16) -> bool,
    is_taken: impl Fn(u16) -> bool,
) -> Coded<u16> {
    let is_low = |port: u16| (1..1_024).contains(&port) && place(port).is_none() && !is_taken(port);
    let token = io.pick(
        || {
            let want = want.unwrap_or_default();
            match place(want) {
                Some(place) => PORT.at(place),
                None if want < 1_024 => PORT_LOW.at(0),
                None if want < 32_768 => PORT_MID.at(0),
                None => PORT_HIGH.at(0),
            }
        },
        |mask| {
            let table = PORTS.iter().enumerate().filter(|&(_, &port)| legal(port) && !is_taken(port));
            table.for_each(|(k, _)| mask.add(PORT.at(k)));
            if legal(40_000) {
                mask.add_class(PORT_HIGH);
                mask.add_class(PORT_MID);
            }
            if legal(1_001) && (1..1_024).any(is_low) {
                mask.add_class(PORT_LOW);
            }
        },
    )?;
    if let Some(place) = PORT.index(token) {
        return Ok(PORTS[place]);
    }
    if PORT_LOW.has(token) {
        let want = want.unwrap_or_default();
        let high = io.pick(
            || BYTE.at(usize::from(want >> 8)),
            |mask| {
                let any = |high: &u16| (0..256).any(|low| is_low(high << 8 | low));
                (0..4).filter(any).for_each(|high| mask.add(BYTE.at(high.into())));
            },
        )?;
        let high = BYTE.index(high).ok_or(Stop::Illegal)? as u16;
        let low = io.pick(
            || BYTE.at(usize::from(want & 255)),
            |mask| {
                (0..256).filter(|low| is_low(high << 8 | low)).for_each(|low| mask.add(BYTE.at(low.into())))
            },
        )?;
        return Ok(high << 8 | BYTE.index(low).ok_or(Stop::Illegal)? as u16);
    }
    let (side, spread) = if PORT_HIGH.has(token) {
        (SideClass::PortHigh, Spread::PortHigh)
    } else if PORT_MID.has(token) {
        (SideClass::PortMid, Spread::PortMid)
    } else {
        return Err(Stop::Illegal);
    };
    let mut port = io.side(side, || want.unwrap_or_default().into(), spread)? as u16;
    // A drawn port may be in use by chance. A recorded port of a new flow never is. There are more ports than flows, so
    // the search ends.
    let range = if PORT_HIGH.has(token) { 32_768..=u16::MAX } else { 1_024..=32_767 };
    while !I::EMITS && (is_taken(port) || place(port).is_some()) {
        port = if port == *range.end() { *range.start() } else { port + 1 };
    }
    Ok(port)
}
