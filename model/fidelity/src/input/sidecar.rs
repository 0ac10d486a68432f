//! The label file of a generated capture: which packets belong to which session.
//!
//! A generated capture holds many overlapping sessions. `FILE.labels.jsonl` next to it has one JSON object per flow:
//! number and label of the session, the five-tuple, and the times of the first and the last packet. A packet belongs to
//! the session of its flow, if only one session has that flow. Two hosts that use DHCP at a time have the same
//! five-tuple, and ARP and later fragments have no flow. In these cases the Ethernet addresses decide, which are drawn
//! for each session: [`Sidecar::learn`] assigns them in a first reading. Any other packet belongs to the session that
//! its flow, sender or receiver takes part in at that time or nearest to it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use netssm_wire::capture::{InputError, Record};
use netssm_wire::flow::{FiveTuple, FlowKey};
use netssm_wire::frame::{Layout, Net};
use netssm_wire::{MacAddr, arp, ethernet};
use serde::Deserialize;

/// The fields of a line that are read.
#[derive(Deserialize)]
struct Line {
    session: u64,
    label: String,
    #[serde(flatten)]
    initiator: FiveTuple,
    first_ns: i64,
    last_ns: i64,
}

/// When a flow or a host was part of a session.
#[derive(Clone, Copy)]
struct Span {
    first_ns: i64,
    last_ns: i64,
    session: u64,
}

impl Span {
    /// Nanoseconds from `at_ns` to this span; 0 within.
    fn distance(&self, at_ns: i64) -> i64 {
        let before = self.first_ns.saturating_sub(at_ns);
        let after = at_ns.saturating_sub(self.last_ns);
        before.max(after).max(0)
    }
}

/// The sessions of one capture.
#[derive(Default)]
pub(crate) struct Sidecar {
    /// Labels by session.
    pub(crate) labels: BTreeMap<u64, String>,
    flows: HashMap<FlowKey, Vec<Span>>,
    hosts: HashMap<IpAddr, Vec<Span>>,
    /// The session of an Ethernet address; `None` if more than one session uses it.
    macs: HashMap<MacAddr, Option<u64>>,
}

impl Sidecar {
    /// The label file that belongs to `capture`, if there is one.
    pub(crate) fn beside(capture: &Path) -> Option<PathBuf> {
        let path = capture.with_extension("labels.jsonl");
        path.is_file().then_some(path)
    }

    /// Reads a label file.
    ///
    /// # Errors
    /// [`InputError::Io`], or [`InputError::Labels`] that names the line.
    pub(crate) fn read(path: &Path) -> Result<Self, InputError> {
        let text = std::fs::read_to_string(path).map_err(InputError::io("read", path))?;
        let mut sidecar = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: Line = serde_json::from_str(line).map_err(|error| InputError::Labels {
                path: path.to_owned(),
                reason: format!("line {}: {error}", number + 1),
            })?;
            let span = Span { first_ns: line.first_ns, last_ns: line.last_ns, session: line.session };
            sidecar.flows.entry(line.initiator.key()).or_default().push(span);
            for host in [line.initiator.src, line.initiator.dst] {
                sidecar.hosts.entry(host).or_default().push(span);
            }
            sidecar.labels.insert(line.session, line.label);
        }
        Ok(sidecar)
    }

    /// Assigns the Ethernet addresses of a packet to its session.
    pub(crate) fn learn(&mut self, record: &Record) {
        let Some(session) = self.spans(record).and_then(only) else { return };
        for mac in macs(&record.frame) {
            let owner = self.macs.entry(mac).or_insert(Some(session));
            if *owner != Some(session) {
                *owner = None;
            }
        }
    }

    /// The session of a packet, `None` if nothing in the file fits it.
    pub(crate) fn session(&self, record: &Record) -> Option<u64> {
        let spans = self.spans(record);
        if let Some(session) = spans.and_then(only) {
            return Some(session);
        }
        let mut owners = macs(&record.frame).filter_map(|mac| self.macs.get(&mac).copied().flatten());
        let fits = |session: &u64| spans.is_none_or(|spans| spans.iter().any(|s| s.session == *session));
        if let Some(session) = owners.find(fits) {
            return Some(session);
        }
        let nearest =
            |spans: &[Span]| spans.iter().map(|span| (span.distance(record.time_ns), span.session)).min();
        if let Some(spans) = spans {
            return nearest(spans).map(|(_, session)| session);
        }
        let ends = hosts(&Layout::parse(&record.frame), &record.frame)?;
        let spans = ends.iter().filter_map(|host| self.hosts.get(host));
        spans.filter_map(|spans| nearest(spans)).min().map(|(_, session)| session)
    }

    /// The spans of a packet's flow.
    fn spans(&self, record: &Record) -> Option<&[Span]> {
        let tuple = Layout::parse(&record.frame).five_tuple(&record.frame)?;
        self.flows.get(&tuple.key()).map(Vec::as_slice)
    }
}

/// The session of all spans, if it is one.
fn only(spans: &[Span]) -> Option<u64> {
    let first = spans.first()?.session;
    spans.iter().all(|span| span.session == first).then_some(first)
}

/// Source and destination of a frame, without groups and zero.
fn macs(frame: &[u8]) -> impl Iterator<Item = MacAddr> {
    let view = ethernet::View::new(frame);
    let both = view.map_or([MacAddr::ZERO; 2], |view| [view.src(), view.dst()]);
    both.into_iter().filter(|mac| mac.0[0] & 1 == 0 && *mac != MacAddr::ZERO)
}

fn hosts(layout: &Layout, frame: &[u8]) -> Option<[IpAddr; 2]> {
    if let Net::Arp { at } = layout.net {
        let view = arp::View::new(frame.get(at..)?)?;
        return view.is_ethernet_ipv4().then(|| [view.sender_ip().into(), view.target_ip().into()]);
    }
    let (src, dst) = layout.addresses(frame)?;
    Some([src, dst])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    fn sidecar(text: &str) -> Result<Sidecar, InputError> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.labels.jsonl");
        std::fs::write(&path, text).expect("written");
        assert_eq!(Sidecar::beside(&dir.path().join("a.pcap")), Some(path.clone()));
        Sidecar::read(&path)
    }

    const FLOWS: &str = r#"
{"session":3,"label":"a","src":"10.0.0.2","src_port":50001,"dst":"198.18.0.1","dst_port":443,"protocol":6,"first_ns":0,"last_ns":20000,"model":"m"}
{"session":4,"label":"b","src":"10.0.0.2","src_port":50001,"dst":"198.18.0.1","dst_port":443,"protocol":6,"first_ns":1000000,"last_ns":1020000}
{"session":4,"label":"b","src":"10.0.0.2","src_port":40001,"dst":"198.18.0.1","dst_port":53,"protocol":17,"first_ns":900000,"last_ns":900000}
"#;

    #[test]
    fn packets_go_to_the_session_of_their_flow_or_host() {
        let sidecar = sidecar(FLOWS).expect("a good file");
        assert_eq!(sidecar.labels.values().collect::<Vec<_>>(), ["a", "b"]);
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.handshake(1000, 50001); // the same ports in the later session
        frames.udp(900, (53, 40001), 9);
        frames.arp(5);
        frames.arp(899);
        frames.udp(5, (40099, 53), 9); // in no line: by its hosts
        let got: Vec<_> = frames.records.iter().map(|record| sidecar.session(record)).collect();
        let of = |numbers: &[u64]| numbers.iter().map(|&n| Some(n)).collect::<Vec<_>>();
        assert_eq!(got, of(&[3, 3, 3, 4, 4, 4, 4, 3, 4, 3]));
        let mut odd = frames.records[0].clone();
        odd.frame.truncate(20);
        assert_eq!(sidecar.session(&odd), None);
    }

    #[test]
    fn ethernet_addresses_decide_between_sessions() {
        let line = |session: u64, src: &str, port: u16, dst: &str| {
            format!(
                "{{\"session\":{session},\"label\":\"a\",\"src\":\"{src}\",\"src_port\":{port},\"dst\":\"{dst}\",\
                 \"dst_port\":67,\"protocol\":17,\"first_ns\":0,\"last_ns\":9000}}\n"
            )
        };
        let both = |session| line(session, "10.0.0.2", 40068, "198.18.0.1");
        let text = both(1) + &both(2) + &line(2, "10.0.0.2", 40069, "198.18.0.1");
        let mut sidecar = sidecar(&text).expect("a good file");
        let mut frames = Frames::new();
        frames.udp(0, (40068, 67), 9);
        frames.udp(0, (40069, 67), 9);
        frames.udp(0, (40068, 67), 9);
        frames.arp(0);
        let hosts = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 2]];
        for (record, host) in frames.records.iter_mut().zip(hosts) {
            record.frame[6..12].copy_from_slice(&host);
        }
        frames.records.iter().for_each(|record| sidecar.learn(record));
        let got: Vec<_> = frames.records.iter().map(|record| sidecar.session(record)).collect();
        assert_eq!(got, [Some(1), Some(2), Some(2), Some(2)]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let text = sidecar("{\"session\":1}\n").err().expect("an error").to_string();
        assert!(text.contains("line 1: missing field"), "{text}");
    }
}
