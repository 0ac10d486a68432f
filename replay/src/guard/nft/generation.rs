//! The kernel's generation counter of nftables rules: moves with every transaction, in any table of the
//! namespace.
//!
//! One nfnetlink question (`NFT_MSG_GETGEN`), by hand for the reason given in
//! [`link`](crate::interface::link): it is asked twice a second for weeks, and starting a process each time
//! would not do.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWGEN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 15;
const NFT_MSG_GETGEN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 16;
const NFTA_GEN_ID: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;

/// A socket to ask with, in the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Generation {
    socket: Socket,
    sequence: u32,
}

impl Generation {
    pub(super) fn open() -> io::Result<Generation> {
        let netfilter = Protocol::from(libc::NETLINK_NETFILTER);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(netfilter))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Generation { socket, sequence: 0 })
    }

    /// The counter; needs `CAP_NET_ADMIN`.
    pub(super) fn read(&mut self) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(self.sequence))?;
        let mut buffer = [0; 1024];
        loop {
            let n = (&self.socket).read(&mut buffer)?;
            if let Some(generation) = parse(&buffer[..n], self.sequence)? {
                return Ok(generation);
            }
        }
    }
}

/// nlmsghdr (16 bytes) and nfgenmsg (4 bytes, zero: any family).
fn request(sequence: u32) -> [u8; 20] {
    let mut m = [0; 20];
    m[0..4].copy_from_slice(&20u32.to_ne_bytes());
    m[4..6].copy_from_slice(&NFT_MSG_GETGEN.to_ne_bytes());
    m[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    m[8..12].copy_from_slice(&sequence.to_ne_bytes());
    m
}

/// The counter in the answer to question `sequence`; `None` if the message answers another one.
fn parse(message: &[u8], sequence: u32) -> io::Result<Option<u32>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "unexpected answer to NFT_MSG_GETGEN");
    let u16_at = |at: usize| Some(u16::from_ne_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(message.get(at..at + 4)?.try_into().ok()?));
    if u32_at(8).ok_or_else(bad)? != sequence {
        return Ok(None);
    }
    match u16_at(4) {
        Some(NLMSG_ERROR) => Err(io::Error::from_raw_os_error(-(u32_at(16).ok_or_else(bad)? as i32))),
        Some(NFT_MSG_NEWGEN) => {
            let mut at = 20;
            while let (Some(len), Some(kind)) = (u16_at(at), u16_at(at + 2)) {
                if kind == NFTA_GEN_ID && len == 8 {
                    // Netfilter attributes are in network byte order.
                    return u32_at(at + 4).map(u32::from_be).map(Some).ok_or_else(bad);
                }
                at += usize::from(len.max(4)).next_multiple_of(4);
            }
            Err(bad())
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(kind: u16, rest: &[u8]) -> Vec<u8> {
        let mut m = ((16 + rest.len()) as u32).to_ne_bytes().to_vec();
        m.extend(kind.to_ne_bytes());
        m.extend([0, 0]);
        m.extend(9u32.to_ne_bytes());
        m.extend([0; 4]);
        m.extend(rest);
        m
    }

    #[test]
    fn an_answer_gives_the_counter() {
        let mut rest = vec![0; 4];
        rest.extend([8u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat()); // another attribute first
        rest.extend([1, 2, 3, 4]);
        rest.extend([8u16.to_ne_bytes(), NFTA_GEN_ID.to_ne_bytes()].concat());
        rest.extend(77u32.to_be_bytes());
        assert_eq!(parse(&answer(NFT_MSG_NEWGEN, &rest), 9).unwrap(), Some(77));
        assert_eq!(parse(&answer(NFT_MSG_NEWGEN, &rest), 8).unwrap(), None);
        let denied = parse(&answer(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes()), 9).unwrap_err();
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        parse(&answer(NFT_MSG_NEWGEN, &[0; 4]), 9).unwrap_err();
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(rest in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&rest, 9);
            let _ = parse(&answer(NFT_MSG_NEWGEN, &rest), 9);
        }
    }
}
