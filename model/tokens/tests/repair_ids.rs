//! Repair against the tools that judge it: headers of real captures, damaged as a model might damage them, repaired,
//! and read by tshark and Suricata.
//!
//! Needs the captures (`NETSSMD_DATA`, else `../shared/data` beside the workspace) and both tools. Payload is zero here
//! and is made well formed elsewhere, so tshark looks at the headers only.

mod support;

use std::{fs, path::Path, process::Command};

use netssm_tokens::{
    codec::{BytesCodec, Codec, Decoder, Form, FrameRef, RawPacket, Step, Vocab, Width},
    repair::Repair,
};
use netssm_wire::{
    capture::Capture,
    checksum,
    frame::{Layout, Stop},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{
    captures, data, skipped,
    tshark::{only_headers, output},
    write_pcap,
};

const PACKETS: usize = 20_000;
/// Packets of one repair stage, as in a generated session.
const SESSION_PACKETS: usize = 200;

/// Header bytes of every kind of packet in the captures, in both forms.
fn headers(data: &Path) -> Vec<Vec<u8>> {
    let files = ["apps", "iot/val", "requet/val"].iter().flat_map(|folder| captures(&data.join(folder)));
    let mut headers = Vec::new();
    for path in files {
        let Ok(mut capture) = Capture::open(&path) else { continue };
        for (form, width) in [(Form::Canonical, Width::Variable), (Form::Raw, Width::Fixed(106))] {
            let codec = BytesCodec::new(Vocab::new(&["x"]).expect("a label"), width, form);
            let mut encoder = codec.encoder("x").expect("a label");
            let mut decoder = codec.decoder(0);
            let mut tokens = Vec::new();
            // The first packets of a capture are the most varied.
            for _ in 0..150 {
                let Ok(Some(record)) = capture.next_record() else { break };
                tokens.clear();
                if encoder.push(FrameRef::from(&record), &mut tokens).is_ok() {
                    tokens.extend(codec.vocab().packet());
                    headers.extend(packets(&mut *decoder, &tokens));
                }
            }
        }
    }
    headers
}

fn packets(decoder: &mut dyn Decoder, tokens: &[u16]) -> Vec<Vec<u8>> {
    let steps = tokens.iter().map(|&token| decoder.push(token.into()));
    steps
        .filter_map(|step| if let Step::Packet(packet) = step { Some(packet.header) } else { None })
        .collect()
}

/// Damages a header: nothing, a few bytes, a bit, two headers spliced, a cut, or noise.
fn damage(headers: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut header = headers[rng.random_range(0..headers.len())].clone();
    let len = header.len();
    match rng.random_range(0..10) {
        0 => {}
        1..=4 => {
            for _ in 0..rng.random_range(1..=4) {
                // Behind the addresses there is more to get wrong.
                header[rng.random_range(12..len)] = rng.random();
            }
        }
        5 | 6 => header[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8),
        7 => {
            let other = &headers[rng.random_range(0..headers.len())];
            let at = rng.random_range(12..len);
            header.truncate(at);
            header.extend(other.iter().skip(at));
        }
        8 => header.truncate(rng.random_range(0..len)),
        _ => header[rng.random_range(14..len)..].fill_with(|| rng.random()),
    }
    header
}

/// A tshark that checks every checksum in the headers and prints the packets that have a fault.
fn faults(config: &Path) -> Option<Command> {
    let mut tshark = only_headers(config)?;
    let mut faults = "_ws.malformed || _ws.expert.severity == 0x00800000".to_owned();
    for protocol in ["ip", "tcp", "udp"] {
        tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    for protocol in ["ip", "tcp", "udp", "icmp", "icmpv6", "igmp"] {
        faults += &format!(" || {protocol}.checksum.status == 0");
    }
    tshark.args(["-Y", &faults]);
    Some(tshark)
}

#[test]
fn repaired_packets_are_valid_to_tshark_and_suricata() {
    let Some(data) = data() else { return };
    let headers = headers(&data);
    assert!(headers.len() > 20_000, "only {} headers were found", headers.len());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut total = netssm_tokens::repair::RepairCounts::default();
    let mut frames = Vec::new();
    while frames.len() < PACKETS {
        let mut repair = Repair::new();
        for _ in 0..SESSION_PACKETS {
            let Ok(packet) = repair.repair(&RawPacket::new(damage(&headers, &mut rng))) else {
                continue;
            };
            let mut frame = packet.header;
            frame.resize(packet.wire_len as usize, 0);
            checksum::fill(&mut frame).expect("a whole frame");
            assert_eq!(Layout::parse(&frame).stop, Stop::Whole);
            frames.push(frame);
        }
        total.merge(repair.counts());
    }
    eprintln!("{} packets in, {} kept, {} of them repaired", total.packets(), frames.len(), total.repaired());
    eprintln!(
        "repairs: {:?}",
        total.kinds().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>()
    );
    let drops = netssm_tokens::repair::RepairDrop::ALL.map(|why| format!("{why} {}", total.drops(why)));
    eprintln!("drops: {drops:?}");
    assert_eq!(total.drops(netssm_tokens::repair::RepairDrop::Unrepairable), 0);

    let dir = tempfile::tempdir().expect("a folder");
    let capture = dir.path().join("repaired.pcap");
    let timed =
        |(index, frame): (usize, &Vec<u8>)| (1_700_000_000_000_000 + 500 * index as u64, frame.clone());
    write_pcap(&capture, &frames.iter().enumerate().map(timed).collect::<Vec<_>>());

    match faults(dir.path()) {
        None => skipped("tshark is not installed"),
        Some(mut tshark) => {
            let lines = output(tshark.arg("-r").arg(&capture)).expect("tshark ran before");
            assert!(lines.is_empty(), "tshark:\n{lines}");
            // The same question about two frames with a fault each, so that silence means something.
            let mut bad = frames
                .iter()
                .find(|frame| frame.len() > 60 && frame[12..15] == [8, 0, 0x45])
                .expect("one")
                .clone();
            bad[24] ^= 0x40;
            let mut short = frames
                .iter()
                .find(|frame| frame[12..15] == [8, 0, 0x45] && frame[23] == 6)
                .expect("one")
                .clone();
            short[46] = 0x10 | short[46] & 0x0f;
            let faulty = dir.path().join("faulty.pcap");
            write_pcap(&faulty, &[(0, bad), (1, short)]);
            let lines = output(faults(dir.path()).expect("tshark ran before").arg("-r").arg(&faulty));
            assert_eq!(lines.expect("tshark ran before").lines().count(), 2);
        }
    }

    let mut suricata = Command::new("suricata");
    suricata
        .args(["-k", "all", "-S", "/dev/null", "--set", "stats.decoder-events=true", "-l"])
        .arg(dir.path());
    match output(suricata.arg("-r").arg(&capture)) {
        None => skipped("suricata is not installed"),
        Some(_) => {
            let log = fs::read_to_string(dir.path().join("eve.json")).expect("suricata's log");
            let stats = log
                .lines()
                .rev()
                .find(|line| line.contains("\"event_type\":\"stats\""))
                .expect("its statistics");
            let stats: serde_json::Value = serde_json::from_str(stats).expect("json");
            let decoder = &stats["stats"]["decoder"];
            assert_eq!(decoder["pkts"], frames.len(), "suricata read them all");
            assert_eq!(decoder["invalid"], 0, "{decoder:#}");
            eprintln!("suricata: {} packets, {} invalid", decoder["pkts"], decoder["invalid"]);
            eprintln!("events: {}", decoder["event"]);
            for counter in ["tcp", "udp"] {
                let failed = &stats["stats"][counter]["invalid_checksum"];
                assert!(failed.is_null() || *failed == 0, "{counter}: {failed}");
            }
        }
    }
}
