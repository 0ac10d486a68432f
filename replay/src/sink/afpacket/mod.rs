//! An interface as a sink: a raw `AF_PACKET` socket that only sends.
//!
//! Frames are copied into one buffer and handed to the kernel with `sendmmsg`, up to 64 in a call. When the
//! kernel takes only the first few, the rest is offered again from the first that it did not take: order is
//! kept, and no frame is counted before the kernel has taken it.
//!
//! **What "taken" means.** The call succeeds when the frame has passed the driver's transmit function or has
//! entered its queue. A refusal (`ENOBUFS`) means that the frame went nowhere; it is offered again. In two cases
//! the call succeeds and the frame is lost. The sink detects both:
//!
//! * Behind a queueing discipline, a link that has just lost its carrier drops frames without an error. The sink
//!   therefore reads the link's state after each batch. If the carrier changed, the interface's counter tells how
//!   many frames left, and the sink fails.
//! * A veth before Linux 6.6 reports success when its far end has no room. On a veth the sink therefore compares
//!   its count with the interface's counter at every [`Sink::tick`] and at the end. Missing frames move from sent
//!   to dropped ([`DropReason::Lost`]).
//!
//! **`qdisc_bypass`.** With it (the default) frames go straight to the driver: it is faster (`benches/inject.rs`
//! has how much), and a refusal is always told. The price: packet taps *on the sending interface* (tcpdump,
//! Zeek, Suricata listening on the sender's side) do not see such frames, and a shaper on the interface (`tc`)
//! does not apply. Turn it off if you need either.

mod batch;
mod config;
mod error;
mod sys;

pub use config::{InterfaceConfig, MtuPolicy};
pub use error::InterfaceError;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::{CloseError, DropReason, Sink, SinkError, SinkStats, WireCounters};
use crate::clock::{Clock, WallTime};
use crate::guard::Guard;
use crate::interface::Interface;
use crate::interface::link::{HARDWARE_ETHERNET, HARDWARE_LOOPBACK, Link, LinkReader};
use crate::rewrite::TestbedFrame;
use batch::{Batch, Wait};

/// Bytes of an Ethernet header and of one VLAN tag, which an MTU does not include.
const ETHERNET_HEADER: usize = 14;
const VLAN_TAG: usize = 4;
/// How long closing waits for the driver to let go of the last frames.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// An interface to send on.
#[derive(Debug)]
pub struct InterfaceSink {
    config: InterfaceConfig,
    interface: Interface,
    socket: Socket,
    reader: LinkReader,
    guard: Guard,
    clock: Arc<dyn Clock>,
    batch: Batch,
    stats: SinkStats,
    /// The link when the sink was opened: counters start from here.
    first: Link,
    /// The link as last looked at: what was queued since went through it in this state.
    last: Link,
    /// Why the sink has ended, once it has.
    ended: Option<String>,
}

impl InterfaceSink {
    /// Opens a socket on an interface that is up.
    ///
    /// # Errors
    /// [`SinkError::Refused`] if the allowlist does not name the interface; [`InterfaceError`] if it is
    /// missing, down, without carrier or not Ethernet, or if the privilege to open the socket is missing.
    pub fn open(config: InterfaceConfig, guard: Guard, clock: Arc<dyn Clock>) -> Result<Self, SinkError> {
        let name = &config.name;
        guard.allowlist().check_interface(name).map_err(crate::guard::Refusal::from)?;
        let interface = Interface::find(name).map_err(InterfaceError::from)?;
        let link = interface.link;
        if ![HARDWARE_ETHERNET, HARDWARE_LOOPBACK].contains(&link.hardware) {
            return Err(InterfaceError::NotEthernet { name: name.clone(), hardware: link.hardware }.into());
        }
        if !link.passes() {
            return Err(InterfaceError::Down { name: name.clone(), admin_up: link.admin_up }.into());
        }
        let socket = open_socket(&config, interface.index)?;
        let failed = |source| open_error(name, "netlink socket", source);
        let reader = LinkReader::open().map_err(failed)?;
        Ok(InterfaceSink {
            batch: Batch::default(),
            stats: SinkStats { wire: Some(WireCounters::default()), ..SinkStats::default() },
            first: link,
            last: link,
            ended: None,
            interface,
            socket,
            reader,
            guard,
            clock,
            config,
        })
    }

    /// The facts of the interface when it was opened.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    fn name_owned(&self) -> String {
        self.config.name.clone()
    }

    /// Longest frame that passes, with the tags that this one has.
    fn limit(&self, frame: &[u8]) -> usize {
        let mut tags = 0;
        while let Some(&[a, b]) = frame.get(12 + tags * VLAN_TAG..14 + tags * VLAN_TAG) {
            if tags == 2 || ![0x8100, 0x88a8, 0x9100].contains(&u16::from_be_bytes([a, b])) {
                break;
            }
            tags += 1;
        }
        self.interface.link.mtu as usize + ETHERNET_HEADER + tags * VLAN_TAG
    }

    /// A frame too long: drop or refuse.
    fn over_mtu(&mut self, len: usize, limit: usize) -> Result<(), InterfaceError> {
        self.stats.dropped.add(DropReason::OverMtu, 1);
        match self.config.mtu_policy {
            MtuPolicy::Drop => Ok(()),
            MtuPolicy::Refuse => Err(InterfaceError::OverMtu { name: self.name_owned(), len, limit }),
        }
    }

    /// Ends the sink: what is queued from frame `from` on is dropped.
    fn end<E: Into<SinkError>>(&mut self, from: usize, reason: DropReason, error: E) -> SinkError {
        let error = error.into();
        self.stats.dropped.add(reason, (self.batch.len() - from) as u64);
        self.stats.queued = 0;
        self.batch.clear();
        self.ended = Some(describe(&error));
        error
    }

    fn check_ended(&mut self) -> Result<(), SinkError> {
        match &self.ended {
            None => Ok(()),
            Some(reason) => {
                Err(InterfaceError::Ended { name: self.name_owned(), reason: reason.clone() }.into())
            }
        }
    }

    /// Hands the batch to the kernel, all of it or until something ends the sink.
    fn push_out(&mut self) -> Result<(), SinkError> {
        let total = self.batch.len();
        let (mut done, mut taken) = (0, 0);
        let mut wait = Wait::default();
        while done < total {
            if let Err(tripped) = self.guard.gate().check() {
                return Err(self.end(done, DropReason::Guard, tripped));
            }
            let upto = total.min(done + self.config.batch.clamp(1, sys::MAX_BATCH));
            let start = self.batch.start(done);
            match sys::send_batch(&self.socket, &self.batch.arena, start, &self.batch.ends[done..upto]) {
                Ok(n) => {
                    self.count_taken(done, n);
                    done += n;
                    taken += n;
                    wait = Wait::default();
                }
                Err(error) => match self.refused(done, error, &mut wait) {
                    Ok(skip) => done += skip,
                    Err((skip, error)) => return Err(self.end(done + skip, DropReason::Interface, error)),
                },
            }
        }
        self.batch.clear();
        self.stats.queued = 0;
        if taken > 0 && !self.config.qdisc_bypass {
            self.check_carrier()?;
        }
        Ok(())
    }

    fn count_taken(&mut self, from: usize, n: usize) {
        let bytes = self.batch.start(from + n) - self.batch.start(from);
        self.stats.frames += n as u64;
        self.stats.bytes += bytes as u64;
        self.stats.queued -= n as u64;
    }

    /// The kernel did not take frame `at`. Says how many frames are done with (0: offer it again), and what
    /// ends the sink if something does.
    fn refused(
        &mut self,
        at: usize,
        error: io::Error,
        wait: &mut Wait,
    ) -> Result<usize, (usize, InterfaceError)> {
        let name = self.name_owned();
        let ended = |error| Err((0, error));
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EINTR => Ok(0),
            Errno::ENOBUFS | Errno::EAGAIN | Errno::ENOMEM => {
                self.stats.retries += 1;
                // A link without carrier refuses everything; do not wait for what cannot come.
                match self.reader.read(self.interface.index) {
                    Ok(link) if !link.passes() => {
                        return ended(InterfaceError::Down { name, admin_up: link.admin_up });
                    }
                    Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {
                        return ended(InterfaceError::Gone { name });
                    }
                    _ => {}
                }
                match wait.pause(&*self.clock, self.config.patience) {
                    Ok(()) => Ok(0),
                    Err(waited) => ended(InterfaceError::Stuck { name, waited }),
                }
            }
            Errno::EMSGSIZE => {
                // The MTU was lowered since the sink was opened, or the driver takes no second tag.
                let len = self.batch.ends[at] - self.batch.start(at);
                self.stats.queued -= 1;
                self.over_mtu(len, len - 1).map(|()| 1).map_err(|error| (1, error))
            }
            Errno::ENETDOWN => ended(InterfaceError::Down { name, admin_up: false }),
            Errno::ENXIO | Errno::ENODEV => ended(InterfaceError::Gone { name }),
            _ => ended(InterfaceError::Send { name, source: error }),
        }
    }

    /// Whether the link stayed up while the last batch went through its queue.
    fn check_carrier(&mut self) -> Result<(), SinkError> {
        let link = self.look()?;
        let steady = link.passes() && link.carrier_changes == self.last.carrier_changes;
        if !steady {
            self.drain();
            let link = self.look()?;
            self.reconcile(&link);
            let error = InterfaceError::Down { name: self.name_owned(), admin_up: link.admin_up };
            return Err(self.end(0, DropReason::Interface, error));
        }
        self.last = link;
        Ok(())
    }

    /// Reads the link; a vanished interface ends the sink.
    fn look(&mut self) -> Result<Link, SinkError> {
        match self.reader.read(self.interface.index) {
            Ok(link) => {
                self.stats.wire = Some(counters(&self.first, &link));
                Ok(link)
            }
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {
                let name = self.name_owned();
                Err(self.end(0, DropReason::Interface, InterfaceError::Gone { name }))
            }
            Err(source) => {
                let name = self.name_owned();
                Err(self.end(0, DropReason::Interface, InterfaceError::Send { name, source }))
            }
        }
    }

    /// Frames that the kernel took and the interface never counted were lost.
    fn reconcile(&mut self, link: &Link) {
        let lost = lost(self.stats.frames, &self.first, link);
        if lost > 0 {
            // Which ones is not known, so neither are their bytes; take those that the interface counted.
            let bytes = link.tx_bytes.saturating_sub(self.first.tx_bytes);
            self.stats.frames -= lost;
            self.stats.bytes = self.stats.bytes.min(bytes);
            self.stats.dropped.add(DropReason::Lost, lost);
        }
    }

    /// Waits until the driver has let go of every frame.
    fn drain(&mut self) {
        let give_up = self.clock.now() + DRAIN_LIMIT;
        while self.clock.now() < give_up && sys::unsent(&self.socket).is_ok_and(|bytes| bytes > 0) {
            self.clock.sleep_until(self.clock.now() + Duration::from_micros(100));
        }
    }
}

impl Sink for InterfaceSink {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn send_frame(&mut self, frame: &TestbedFrame, _at: WallTime) -> Result<(), SinkError> {
        self.stats.offered += 1;
        if let Err(error) = self.check_ended() {
            self.stats.dropped.add(DropReason::Interface, 1);
            return Err(error);
        }
        if let Err(refusal) = self.guard.admit_frame(frame) {
            self.stats.dropped.add(DropReason::Guard, 1);
            return Err(self.end(0, DropReason::Guard, refusal));
        }
        let (len, limit) = (frame.len(), self.limit(frame.bytes()));
        if len > limit {
            return match self.over_mtu(len, limit) {
                Ok(()) => Ok(()),
                Err(error) => {
                    // The frames before it are as good as they were.
                    let flushed = self.push_out();
                    let error = self.end(0, DropReason::Interface, error);
                    flushed.and(Err(error))
                }
            };
        }
        self.batch.push(frame.bytes());
        self.stats.queued += 1;
        if self.batch.len() >= self.config.batch.clamp(1, sys::MAX_BATCH) { self.push_out() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.check_ended()?;
        if self.batch.len() == 0 { Ok(()) } else { self.push_out() }
    }

    fn tick(&mut self, _now: WallTime) -> Result<(), SinkError> {
        self.flush()?;
        let link = self.look()?;
        if !link.passes() {
            let error = InterfaceError::Down { name: self.name_owned(), admin_up: link.admin_up };
            return Err(self.end(0, DropReason::Interface, error));
        }
        if link.veth {
            self.reconcile(&link); // a veth counts within the call, so nothing is under way
        }
        self.last = link;
        Ok(())
    }

    fn stats(&self) -> SinkStats {
        self.stats
    }

    fn close(mut self: Box<Self>) -> Result<SinkStats, CloseError> {
        let mut result = if self.ended.is_none() { self.flush() } else { Ok(()) };
        self.drain();
        match self.reader.read(self.interface.index) {
            Ok(link) => {
                self.stats.wire = Some(counters(&self.first, &link));
                if link.veth {
                    self.reconcile(&link);
                }
            }
            Err(source) if result.is_ok() && self.ended.is_none() => {
                result = Err(InterfaceError::Send { name: self.name_owned(), source }.into());
            }
            Err(_) => {}
        }
        match result {
            Ok(()) => Ok(self.stats),
            Err(error) => Err(CloseError { stats: Box::new(self.stats), error }),
        }
    }
}

fn open_socket(config: &InterfaceConfig, index: u32) -> Result<Socket, InterfaceError> {
    let failed = |step| move |source| open_error(&config.name, step, source);
    // Protocol 0: a socket that receives nothing, so that no buffer fills up with what others send.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).map_err(failed("socket"))?;
    sys::bind(&socket, index).map_err(failed("bind"))?;
    if config.qdisc_bypass {
        sys::set_qdisc_bypass(&socket).map_err(failed("PACKET_QDISC_BYPASS"))?;
    }
    // A stopped queue must not hold the caller for good: then the kernel says EAGAIN, and patience decides.
    socket.set_write_timeout(Some(Duration::from_millis(20))).map_err(failed("SO_SNDTIMEO"))?;
    // Beyond the limit of net.core.wmem_max with CAP_NET_ADMIN, up to it without.
    if setsockopt(&socket, sockopt::SndBufForce, &config.send_buffer).is_err() {
        socket.set_send_buffer_size(config.send_buffer).map_err(failed("SO_SNDBUF"))?;
    }
    if let Some(mark) = config.mark {
        socket.set_mark(mark).map_err(failed("SO_MARK"))?;
    }
    Ok(socket)
}

fn open_error(name: &str, step: &'static str, source: io::Error) -> InterfaceError {
    let privilege = source.kind() == io::ErrorKind::PermissionDenied;
    InterfaceError::Open { name: name.to_owned(), step, privilege, source }
}

/// Frames that were taken but that the interface has not counted since `first`. What others sent there
/// meanwhile can hide some losses, but never adds any.
fn lost(taken: u64, first: &Link, now: &Link) -> u64 {
    taken.saturating_sub(now.tx_packets.saturating_sub(first.tx_packets))
}

fn counters(first: &Link, now: &Link) -> WireCounters {
    WireCounters {
        tx_packets: now.tx_packets.saturating_sub(first.tx_packets),
        tx_bytes: now.tx_bytes.saturating_sub(first.tx_bytes),
        tx_dropped: now.tx_dropped.saturating_sub(first.tx_dropped),
        tx_errors: now.tx_errors.saturating_sub(first.tx_errors),
    }
}

/// An error with its sources on one line.
fn describe(error: &SinkError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_interface_did_not_count_was_lost() {
        let link = |tx_packets| Link { tx_packets, ..Link::default() };
        assert_eq!(lost(100, &link(7), &link(107)), 0);
        assert_eq!(lost(100, &link(7), &link(97)), 10);
        assert_eq!(lost(100, &link(7), &link(200)), 0, "someone else sent too");
        assert_eq!(lost(100, &link(7), &link(0)), 100, "the counter began anew");
    }
}
