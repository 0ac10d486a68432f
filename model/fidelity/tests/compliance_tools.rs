//! The TCP facts of `fidelity::compliance` against two programs that nobody here wrote: tshark (Wireshark's analysis)
//! and tcptrace, flow by flow, on real captures. Where a fact is defined alike, the numbers are the same, without
//! tolerance.
//!
//! # tshark
//! Of every flow: segments, SYNs, SYN-ACKs, FINs, RSTs, segments with data, options by kind, and the handshake
//! (`tcp.completeness` has SYN, SYN-ACK and ACK). Of flows whose headers were captured whole: segments beyond what was
//! sent (`tcp.analysis.lost_segment`), behind it (`retransmission`, `fast_retransmission`, `spurious_retransmission`,
//! `out_of_order`), and whether any ACK is of what was not seen (`ack_lost_segment`). Where the definitions differ:
//!
//! - tshark's handshake wants an ACK without data; here data acknowledges as well (RFC 9293 section 3.5). And it takes
//!   a RST with ACK for one. Flows without a plain ACK in which data or such a RST comes instead are counted, not
//!   compared.
//! - Its dissectors of FTP and H.225 open the connections that they negotiate before their SYN, which then counts for
//!   nothing; both are switched off.
//! - It stops at the end of a cut header and then has no analysis of that segment.
//! - An ACK of what was not seen it reports once and then takes for sent; here every one counts. And what lies behind a
//!   gap it does not take for seen until the gap is filled; here it was sent. So whether there is such an ACK is
//!   compared of flows without gaps.
//! - The octet of a zero-window probe it does not take for sent, so the data after it is a gap; flows with probes are
//!   left out.
//! - A SYN in the established state is not taken in here, as no TCP would; tshark follows its numbers. Such flows are
//!   left out.
//! - Data beyond the end of the frame on the wire (an IP length that is larger) it leaves out; such flows are left out.
//! - TCP in tunnels and in quotes of ICMP errors it counts too; only what the outermost IP header carries is compared.
//! - The fragments of a datagram it puts together; that is switched off.
//!
//! # tcptrace
//! Of every flow: packets, ACKs, RSTs, SYNs, FINs and segments with data; with SACK where headers were captured whole.
//! It calls packets longer than an Ethernet frame too short and drops them; flows with any are left out. Its
//! retransmissions and reordering are of octets, not segments, its *complete* connections are those with SYNs and FINs
//! of both ends without regard to numbers: neither is a fact of ours.

#[path = "../../tokens/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rayon::prelude::*;

use netssm_fidelity::analyses::compliance::facts;
use netssm_fidelity::{CapturedSession, Packet, Segment, SessionBuilder};
use netssm_wire::capture::Capture;
use netssm_wire::flow::{FiveTuple, FlowKey};
use netssm_wire::frame::Layout;
use netssm_wire::tcp::Flags;
use support::{captures, data, skipped};

fn read(path: &Path) -> CapturedSession {
    let mut session = SessionBuilder::new(None);
    let mut capture = Capture::open(path).expect("a capture");
    while let Ok(Some(record)) = capture.next_record() {
        session.push(&record);
    }
    session.finish()
}

/// Packets of a flow, with their numbers.
fn packets(session: &CapturedSession, flow: usize) -> impl Iterator<Item = (usize, &Packet)> {
    session.packets.iter().enumerate().filter(move |(_, packet)| packet.flow == Some(flow as u32))
}

/// Whether every packet of a flow is on the wire as long as its IP header says.
fn lengths_fit(session: &CapturedSession, flow: usize) -> bool {
    packets(session, flow).all(|(number, packet)| {
        let end = Layout::parse(session.frame(number)).l3_end();
        end.is_none_or(|end| end <= packet.wire_len as usize)
    })
}

/// Whether a flow has a RST with ACK.
fn has_rst_ack(session: &CapturedSession, flow: usize) -> bool {
    packets(session, flow).any(|(_, packet)| packet.tcp.is_some_and(|tcp| tcp.flags.bits() & 0x14 == 0x14))
}

/// Whether a SYN of a flow is answered, and the answer acknowledged by a segment without data: by its own walk, with
/// none of the code under test.
fn has_bare_ack(session: &CapturedSession, flow: usize) -> bool {
    let segments: Vec<_> = packets(session, flow)
        .filter_map(|(_, packet)| Some((session.direction(packet)?, packet.tcp?)))
        .collect();
    let is = |segment: &Segment, flags| segment.flags.bits() & 0x17 == flags;
    segments.iter().enumerate().any(|(i, (client, syn))| {
        is(syn, 0x02)
            && segments[i..].iter().enumerate().any(|(j, (server, answer))| {
                server != client
                    && is(answer, 0x12)
                    && answer.ack == syn.seq + 1
                    && segments[i + j..].iter().any(|(by, ack)| {
                        by == client
                            && is(ack, 0x10)
                            && ack.payload == 0
                            && (ack.seq, ack.ack) == (syn.seq + 1, answer.seq + 1)
                    })
            })
    })
}

/// What a program prints; `None`, said aloud, where it is not installed.
fn output(program: &str, arguments: &[&str], file: &Path) -> Option<String> {
    let Ok(out) = Command::new(program).args(arguments).arg(file).output() else {
        skipped(&format!("{program} is not installed"));
        return None;
    };
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The same of many files.
fn outputs(program: &str, arguments: &[&str], files: Vec<PathBuf>) -> Vec<(PathBuf, Option<String>)> {
    // Once, so that a missing program is told once.
    if files.first().is_none_or(|file| output(program, arguments, file).is_none()) {
        return Vec::new();
    }
    files.into_par_iter().map(|file| (file.clone(), output(program, arguments, &file))).collect()
}

fn corpus(dir: &Path) -> Vec<PathBuf> {
    ["requet/val", "iot/val", "apps"].iter().flat_map(|part| captures(&dir.join(part))).collect()
}

/// Differences by fact.
#[derive(Default)]
struct Ledger {
    compared: BTreeMap<&'static str, u64>,
    differences: BTreeMap<&'static str, Vec<String>>,
}

impl Ledger {
    fn same<T: PartialEq + Debug>(&mut self, fact: &'static str, at: &str, ours: T, theirs: T) {
        *self.compared.entry(fact).or_default() += 1;
        if ours != theirs {
            self.differences.entry(fact).or_default().push(format!("{at}: {ours:?}, theirs {theirs:?}"));
        }
    }

    fn settle(&self, tool: &str) {
        for (fact, n) in &self.compared {
            let differ = self.differences.get(fact).map_or(0, Vec::len);
            eprintln!("{tool}: {fact}: {n} compared, {differ} differ");
        }
        for (fact, list) in &self.differences {
            for line in list.iter().take(12) {
                eprintln!("{tool}: {fact}: {line}");
            }
        }
        assert!(self.differences.is_empty(), "{tool} disagrees");
    }
}

const FIELDS: [&str; 14] = [
    "frame.number",
    "frame.protocols",
    "tcp.stream",
    "tcp.completeness",
    "tcp.flags",
    "tcp.len",
    "tcp.option_kind",
    "tcp.analysis.lost_segment",
    "tcp.analysis.retransmission",
    "tcp.analysis.fast_retransmission",
    "tcp.analysis.spurious_retransmission",
    "tcp.analysis.out_of_order",
    "tcp.analysis.ack_lost_segment",
    "tcp.analysis.zero_window_probe",
];

/// Per flow, as tshark has it.
#[derive(Clone, Default)]
struct Theirs {
    segments: u64,
    syns: u64,
    syn_acks: u64,
    fins: u64,
    rsts: u64,
    data: u64,
    /// MSS, window scale, SACK permitted, SACK, timestamps.
    options: [u64; 5],
    handshake: bool,
    jumps: u64,
    behind: u64,
    beyond: bool,
    probes: bool,
}

/// Whether TCP is what the outermost IP header carries.
fn is_outermost(protocols: &str) -> bool {
    let mut after_ip = protocols.split(':').skip_while(|name| !matches!(*name, "ip" | "ipv6")).skip(1);
    after_ip.find(|name| !name.starts_with("ipv6.")).is_some_and(|name| name == "tcp")
}

fn of_tshark(session: &CapturedSession, text: &str) -> BTreeMap<usize, Theirs> {
    let mut flows = BTreeMap::<usize, Theirs>::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name: &str| {
            let at = FIELDS.iter().position(|field| *field == name).expect("a field");
            cells.get(at).copied().unwrap_or_default()
        };
        if !is_outermost(cell("frame.protocols")) {
            continue;
        }
        let number = cell("frame.number").parse::<usize>().expect("a number") - 1;
        let Some(flow) = session.packets[number].flow else { continue };
        // What has no whole fixed header is judged by nobody here.
        if session.packets[number].tcp.is_none() {
            continue;
        }
        let theirs = flows.entry(flow as usize).or_default();
        let bits =
            u16::from_str_radix(cell("tcp.flags").split(',').next().unwrap().trim_start_matches("0x"), 16);
        let flags = Flags::from_bits(bits.expect("flags"));
        let has = |flag| flags.contains(flag);
        theirs.segments += 1;
        theirs.syns += u64::from(has(Flags::SYN) && !has(Flags::ACK));
        theirs.syn_acks += u64::from(has(Flags::SYN) && has(Flags::ACK));
        theirs.fins += u64::from(has(Flags::FIN));
        theirs.rsts += u64::from(has(Flags::RST));
        theirs.data += u64::from(cell("tcp.len").split(',').next().is_some_and(|n| !matches!(n, "" | "0")));
        for kind in cell("tcp.option_kind").split(',') {
            let kinds = ["2", "3", "4", "5", "8"];
            if let Some(at) = kinds.iter().position(|known| *known == kind) {
                theirs.options[at] += 1;
            }
        }
        let completeness: u32 = cell("tcp.completeness").split(',').next().unwrap().parse().unwrap_or(0);
        theirs.handshake |= completeness & 7 == 7;
        theirs.jumps += u64::from(!cell("tcp.analysis.lost_segment").is_empty());
        let behind = ["retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order"];
        let behind = behind.iter().any(|name| !cell(&format!("tcp.analysis.{name}")).is_empty());
        theirs.behind += u64::from(behind);
        theirs.probes |= !cell("tcp.analysis.zero_window_probe").is_empty();
        theirs.beyond |= !cell("tcp.analysis.ack_lost_segment").is_empty();
    }
    flows
}

#[test]
fn tshark_says_the_same_of_every_flow() {
    let Some(dir) = data() else { return };
    let mut arguments = vec![
        "-n",
        "-2",
        "--disable-protocol",
        "ftp",
        "--disable-protocol",
        "h225",
        "-Y",
        "tcp",
        "-T",
        "fields",
    ];
    for option in ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"] {
        arguments.extend(["-o", option]);
    }
    FIELDS.iter().for_each(|field| arguments.extend(["-e", field]));
    arguments.push("-r");
    let (mut ledger, mut otherwise) = (Ledger::default(), 0);
    for (path, text) in outputs("tshark", &arguments, corpus(&dir)) {
        let Some(text) = text else { return };
        let session = read(&path);
        let mut theirs = of_tshark(&session, &text);
        for (number, ours) in facts(&session) {
            let theirs = theirs.remove(&number).unwrap_or_default();
            if !lengths_fit(&session, number) {
                continue;
            }
            let at =
                format!("{} {:?}", path.strip_prefix(&dir).unwrap().display(), session.flows[number].first);
            ledger.same("segments", &at, ours.segments, theirs.segments);
            ledger.same("SYNs", &at, (ours.syns, ours.syn_acks), (theirs.syns, theirs.syn_acks));
            ledger.same("FINs and RSTs", &at, (ours.fins, ours.rsts), (theirs.fins, theirs.rsts));
            ledger.same("segments with data", &at, ours.data, theirs.data);
            let o = ours.options;
            let options = [o.mss, o.wscale, o.sack_ok, o.sack, o.timestamps];
            ledger.same("options", &at, options, theirs.options);
            let instead = ours.handshake.holds || has_rst_ack(&session, number);
            if instead && !has_bare_ack(&session, number) {
                otherwise += 1;
            } else {
                ledger.same("handshakes", &at, ours.handshake.holds, theirs.handshake);
            }
            if ours.cut_options == 0 && !ours.late_syn.holds && !theirs.probes {
                ledger.same("jumps", &at, ours.jumps, theirs.jumps);
                ledger.same("behind", &at, ours.behind, theirs.behind);
                if ours.jumps == 0 {
                    ledger.same("ACKs beyond", &at, ours.ack_beyond.holds, theirs.beyond);
                }
            }
        }
        assert!(theirs.is_empty(), "{}: TCP that was not seen here", path.display());
    }
    eprintln!("tshark: {otherwise} handshakes without a plain ACK were not compared");
    ledger.settle("tshark");
}

/// Numbers of both directions together: packets, ACKs, RSTs, SYNs, FINs, data, SACKs.
fn of_tcptrace(text: &str) -> BTreeMap<FlowKey, [u64; 7]> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let Some(head) = lines.next() else { return BTreeMap::new() };
    let names: Vec<&str> = head.split(',').map(str::trim).collect();
    let mut flows = BTreeMap::<FlowKey, [u64; 7]>::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let cell = |name: &str| cells[names.iter().position(|n| *n == name).expect("a column")];
        let address = |name: &str| cell(name).parse::<IpAddr>().expect("an address");
        let port = |name: &str| cell(name).parse::<u16>().expect("a port");
        let tuple = FiveTuple {
            src: address("host_a"),
            dst: address("host_b"),
            src_port: port("port_a"),
            dst_port: port("port_b"),
            protocol: 6,
        };
        let both = |name: &str| -> u64 {
            ["a2b", "b2a"].iter().map(|way| cell(&format!("{name}_{way}")).parse::<u64>().unwrap_or(0)).sum()
        };
        let part = |at: usize| -> u64 {
            let cells = ["a2b", "b2a"].map(|way| cell(&format!("SYN/FIN_pkts_sent_{way}")));
            cells.iter().filter_map(|cell| cell.split('/').nth(at)?.parse::<u64>().ok()).sum()
        };
        let sums = flows.entry(tuple.key()).or_default();
        let found = [
            both("total_packets"),
            both("ack_pkts_sent"),
            both("resets_sent"),
            part(0),
            part(1),
            both("actual_data_pkts"),
            both("sack_pkts_sent"),
        ];
        sums.iter_mut().zip(found).for_each(|(sum, n)| *sum += n);
    }
    flows
}

fn acks(session: &CapturedSession, flow: usize) -> u64 {
    let has_ack = |packet: &Packet| packet.tcp.is_some_and(|tcp| tcp.flags.contains(Flags::ACK));
    packets(session, flow).filter(|(_, packet)| has_ack(packet)).count() as u64
}

#[test]
fn tcptrace_says_the_same_of_every_flow() {
    let Some(dir) = data() else { return };
    let mut ledger = Ledger::default();
    for (path, text) in outputs("tcptrace", &["-n", "-l", "--csv"], corpus(&dir)) {
        let Some(text) = text else { return };
        let session = read(&path);
        let mut theirs = of_tcptrace(&text);
        for (number, ours) in facts(&session) {
            let at =
                format!("{} {:?}", path.strip_prefix(&dir).unwrap().display(), session.flows[number].first);
            let key = session.flows[number].first.key();
            let [sent, ack, resets, syns, fins, data, sacks] = theirs.remove(&key).unwrap_or_default();
            if packets(&session, number).any(|(_, packet)| packet.wire_len > 1514) {
                continue;
            }
            ledger.same("packets", &at, ours.segments, sent);
            ledger.same("ACKs", &at, acks(&session, number), ack);
            ledger.same("RSTs", &at, ours.rsts, resets);
            ledger.same("SYNs", &at, ours.syns + ours.syn_acks, syns);
            ledger.same("FINs", &at, ours.fins, fins);
            ledger.same("data", &at, ours.data, data);
            if ours.cut_options == 0 {
                ledger.same("SACKs", &at, ours.options.sack, sacks);
            }
        }
        assert!(theirs.is_empty(), "{}: TCP that was not seen here", path.display());
    }
    ledger.settle("tcptrace");
}
