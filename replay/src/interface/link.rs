//! One interface, asked over rtnetlink: MTU, state, counters.
//!
//! Written by hand because it is one question with a fixed answer, asked after every batch that goes through
//! a queueing discipline: the request is 32 bytes, the answer is read in place, nothing is allocated. The
//! message layout is that of rtnetlink(7); numbers are in the byte order of the host.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// `ARPHRD_ETHER`: takes Ethernet frames.
pub const HARDWARE_ETHERNET: u16 = 1;
/// `ARPHRD_LOOPBACK`: takes them too.
pub const HARDWARE_LOOPBACK: u16 = 772;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IFF_UP: u32 = 1;

/// Operational state (RFC 2863).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OperState {
    /// The driver does not say: loopback, TUN, dummy. Counts as up.
    #[default]
    Unknown,
    /// Frames pass.
    Up,
    /// They do not, for the reason of this number in the kernel's `if.h` (2 down, 3 lower layer down, 5
    /// dormant ...).
    Other(u8),
}

/// What the kernel says of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Largest network-layer packet in bytes; the Ethernet header comes on top.
    pub mtu: u32,
    /// `ARPHRD_*` type.
    pub hardware: u16,
    /// Administratively up.
    pub admin_up: bool,
    /// Operational state.
    pub oper: OperState,
    /// Carrier of the physical layer.
    pub carrier: bool,
    /// How often the carrier came or went since the interface exists.
    pub carrier_changes: u32,
    /// One end of a veth pair.
    pub veth: bool,
    /// Index of the interface that this one hangs on: the far end of a veth pair, the parent of a VLAN.
    pub lower: Option<u32>,
    /// Whether [`Link::lower`] is in another network namespace.
    pub lower_elsewhere: bool,
    /// Frames received.
    pub rx_packets: u64,
    /// Frames that were dropped on reception.
    pub rx_dropped: u64,
    /// Frames transmitted.
    pub tx_packets: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Frames dropped on transmission.
    pub tx_dropped: u64,
    /// Frames whose transmission failed.
    pub tx_errors: u64,
}

impl Link {
    /// Whether a frame sent now would leave: up, with a carrier, and its queue in operation.
    pub fn passes(&self) -> bool {
        self.admin_up && self.carrier && matches!(self.oper, OperState::Up | OperState::Unknown)
    }
}

/// A socket to ask with. It asks in the network namespace in which it was opened.
#[derive(Debug)]
pub struct LinkReader {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl LinkReader {
    /// Opens a socket; takes no privilege.
    ///
    /// # Errors
    /// What `socket(2)` says, for example where a sandbox forbids `AF_NETLINK`.
    pub fn open() -> io::Result<LinkReader> {
        let route = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(route))?;
        // The kernel answers within the call; a timeout only keeps a broken one from hanging the sink.
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(LinkReader { socket, buffer: vec![0; 32 * 1024], sequence: 0 })
    }

    /// Asks for the interface with this index.
    ///
    /// # Errors
    /// `ENODEV` if it is gone; otherwise what the socket says, or `InvalidData` for an answer that is none.
    pub fn read(&mut self, index: u32) -> io::Result<Link> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(index, self.sequence))?;
        loop {
            let n = (&self.socket).read(&mut self.buffer)?;
            // An answer to an earlier question that had timed out is passed over.
            if let Some(link) = parse(&self.buffer[..n], self.sequence)? {
                return Ok(link);
            }
        }
    }
}

fn request(index: u32, sequence: u32) -> [u8; 32] {
    let mut m = [0; 32];
    m[0..4].copy_from_slice(&32u32.to_ne_bytes());
    m[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    m[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    m[8..12].copy_from_slice(&sequence.to_ne_bytes());
    m[20..24].copy_from_slice(&index.to_ne_bytes()); // ifinfomsg.ifi_index; the rest of it is zero
    m
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(b.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(b.get(at..at + 8)?.try_into().ok()?))
}

/// The answer to question `sequence`; `None` if the message answers another one.
fn parse(message: &[u8], sequence: u32) -> io::Result<Option<Link>> {
    let cut = || invalid("netlink answer cut short");
    let len = u32_at(message, 0).ok_or_else(cut)? as usize;
    let kind = u16_at(message, 4).ok_or_else(cut)?;
    if u32_at(message, 8).ok_or_else(cut)? != sequence {
        return Ok(None);
    }
    let message = message.get(..len).ok_or_else(cut)?;
    match kind {
        NLMSG_ERROR => {
            let errno = u32_at(message, 16).ok_or_else(cut)? as i32;
            Err(io::Error::from_raw_os_error(-errno))
        }
        RTM_NEWLINK => {
            let mut link = Link {
                hardware: u16_at(message, 18).ok_or_else(cut)?,
                admin_up: u32_at(message, 24).ok_or_else(cut)? & IFF_UP != 0,
                carrier: true, // of a driver that does not say
                ..Link::default()
            };
            for (kind, value) in attributes(message.get(32..).ok_or_else(cut)?) {
                take_attribute(&mut link, kind, value);
            }
            Ok(Some(link))
        }
        _ => Err(invalid("netlink answer of an unexpected type")),
    }
}

fn take_attribute(link: &mut Link, kind: u16, value: &[u8]) {
    let first_u32 = || u32_at(value, 0);
    match kind {
        4 => link.mtu = first_u32().unwrap_or(0),
        5 => link.lower = first_u32().filter(|&i| i != 0),
        16 => {
            link.oper = match value.first() {
                None | Some(0) => OperState::Unknown,
                Some(6) => OperState::Up,
                Some(&other) => OperState::Other(other),
            }
        }
        18 => link.veth = attributes(value).any(|(kind, v)| kind == 1 && v.starts_with(b"veth")),
        23 => {
            // struct rtnl_link_stats64: rx/tx packets, rx/tx bytes, rx/tx errors, rx/tx dropped, ...
            let stat = |i: usize| u64_at(value, i * 8).unwrap_or(0);
            (link.rx_packets, link.tx_packets, link.tx_bytes) = (stat(0), stat(1), stat(3));
            (link.tx_errors, link.rx_dropped, link.tx_dropped) = (stat(5), stat(6), stat(7));
        }
        33 => link.carrier = value.first() != Some(&0),
        35 => link.carrier_changes = first_u32().unwrap_or(0),
        37 => link.lower_elsewhere = true,
        _ => {}
    }
}

/// Walks attributes (length, type, value, padding to 4 bytes); ends at the first that does not fit.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff; // without the flags for nesting and byte order
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn answer(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut out = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend([0; 2]);
        out.extend(sequence.to_ne_bytes());
        out.extend([0; 4]);
        out.extend(body);
        out
    }

    #[test]
    fn an_answer_is_read_field_by_field() {
        let mut body = vec![0, 0];
        body.extend(HARDWARE_ETHERNET.to_ne_bytes());
        body.extend(7u32.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        body.extend([0; 4]);
        body.extend(attribute(3, b"veth0\0"));
        body.extend(attribute(4, &1400u32.to_ne_bytes()));
        body.extend(attribute(5, &9u32.to_ne_bytes()));
        body.extend(attribute(16, &[2]));
        body.extend(attribute(18, &attribute(1, b"veth\0")));
        body.extend(attribute(23, &(1..=24u64).flat_map(u64::to_ne_bytes).collect::<Vec<_>>()));
        body.extend(attribute(33, &[0]));
        body.extend(attribute(35, &3u32.to_ne_bytes()));
        body.extend(attribute(37, &0u32.to_ne_bytes()));
        let link = parse(&answer(RTM_NEWLINK, 5, &body), 5).unwrap().unwrap();
        let expected = Link {
            mtu: 1400,
            hardware: HARDWARE_ETHERNET,
            admin_up: true,
            oper: OperState::Other(2),
            carrier: false,
            carrier_changes: 3,
            veth: true,
            lower: Some(9),
            lower_elsewhere: true,
            rx_packets: 1,
            rx_dropped: 7,
            tx_packets: 2,
            tx_bytes: 4,
            tx_dropped: 8,
            tx_errors: 6,
        };
        assert_eq!(link, expected);
        assert!(!link.passes());
        assert!(Link { carrier: true, oper: OperState::Up, ..link }.passes());
        assert_eq!(parse(&answer(RTM_NEWLINK, 4, &body), 5).unwrap(), None, "an older answer");
    }

    #[test]
    fn an_error_is_the_kernels_own() {
        let body = (-libc::ENODEV).to_ne_bytes();
        let error = parse(&answer(NLMSG_ERROR, 1, &body), 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let gone = LinkReader::open().unwrap().read(0x7fff_fff0).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ENODEV));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 14u16..18) {
            let _ = parse(&bytes, 1);
            let _ = parse(&answer(kind, 1, &bytes), 1);
        }
    }
}
