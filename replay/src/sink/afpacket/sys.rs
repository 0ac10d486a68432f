//! The system calls that no safe crate wraps: the only file of the crate with unsafe code.
//!
//! Each function is a thin call; a negative return becomes an [`io::Error`] and nothing is decided here. The
//! socket is borrowed for the length of the call, so its descriptor is open throughout.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Frames in one system call, at most: their descriptors (80 bytes a frame) live on the stack.
pub(super) const MAX_BATCH: usize = 64;

/// Binds a packet socket to one interface, for sending only: with protocol 0 the kernel hands it no frame.
pub(super) fn bind(socket: &Socket, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is to a live sockaddr_ll and `len` is its size; the kernel only reads it.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })
}

/// `PACKET_QDISC_BYPASS`.
pub(super) fn set_qdisc_bypass(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = mem::size_of_val(&on) as libc::socklen_t;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
    // SAFETY: the pointer is to a live c_int and `len` is its size; the kernel only reads it.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), len) })
}

/// Bytes (with the kernel's overhead) of frames that the driver has not let go of yet: `SIOCOUTQ`.
pub(super) fn unsent(socket: &Socket) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (= TIOCOUTQ) writes one int to the address it is given, and this one is live and ours.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Sends up to [`MAX_BATCH`] frames in order with one `sendmmsg(2)`; the frames are those between consecutive
/// `ends` in `arena`, the first from `start`. Says how many the kernel took: the first so many. The error is
/// that of the first frame; an error of a later one shows when it is offered again.
pub(super) fn send_batch(socket: &Socket, arena: &[u8], start: usize, ends: &[usize]) -> io::Result<usize> {
    // SAFETY: iovec and mmsghdr are plain C structs of integers and pointers, for which all-zero bytes are
    // valid.
    let mut slices: [libc::iovec; MAX_BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut messages: [libc::mmsghdr; MAX_BATCH] = unsafe { mem::zeroed() };
    let (mut from, mut count) = (start, 0);
    for ((&end, slice), message) in ends.iter().zip(&mut slices).zip(&mut messages) {
        let frame = &arena[from..end];
        *slice = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        message.msg_hdr.msg_iov = slice;
        message.msg_hdr.msg_iovlen = 1;
        (from, count) = (end, count + 1);
    }
    // SAFETY: `messages` holds `count` headers; each points at one iovec of `slices`, which points into
    // `arena`. All of them outlive the call. sendmmsg reads the frames (the pointer is mutable only because
    // iovec serves reading too) and writes msg_len of the headers, which are ours.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn check(returned: libc::c_int) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
