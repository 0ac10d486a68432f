//! A test for each mistake that a codec of this kind invites, in the order in which they were met.

use netssm_wire::{capture::Capture, checksum};

use super::{Captured, Random, Scenario, emitted, escapes, names, price, round_trip, tcp};
use crate::codec::{
    Codec, FlowCodec, FrameRef, Vocab,
    flow::{
        Parameters, Recorder,
        hosts::COMMON_HOSTS,
        io::Stop,
        record::{Frame, Record},
        side_channel::{Discard, SideTable},
        transport::Transport,
        vocab::{
            ACK, Class, ESC, FRAGMENT, HOST, HOST_NEW, NEW, SACK, SNAP, SYN_OPTIONS, TS_ECHO, TS_VALUE, TTL,
            WIRE_LEN,
        },
    },
};

/// How many of a session's tokens are of a class.
fn count(packets: &[Vec<u16>], class: Class) -> usize {
    packets.iter().flatten().filter(|&&token| class.has(token)).count()
}

fn cut(frames: &[Captured], snap_len: usize) -> Vec<Captured> {
    frames.iter().map(|frame| frame.cut(snap_len)).collect()
}

/// An IPv4 packet between two MAC endpoints.
fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, ttl: u8, fragment: u16, transport: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, dst[3], 2, 0, 0, 0, 0, src[3], 8, 0, 0x45, 0];
    frame.extend((20 + transport.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([ttl, protocol, 0, 0]);
    frame.extend([src, dst].concat());
    frame.extend(transport);
    // What cannot have checksums has none.
    let _ = checksum::fill(&mut frame);
    frame
}

fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let len = 8 + payload.len() as u16;
    let mut transport = [ports.0, ports.1, len, 0].map(u16::to_be_bytes).concat();
    transport.extend(payload);
    transport
}

/// 1: a token that two neighbouring optional fields share would be read by the wrong one. Every decoder's packet ends
/// where the encoder's did ([`round_trip`] asserts it), on sessions that use all fields.
#[test]
fn p01_decoders_end_packets_where_encoders_did() {
    let mut used = std::collections::HashSet::new();
    for seed in 0..150_u64 {
        let frames = super::frames::session(&mut Random(seed << 32 | 11), 80);
        used.extend(round_trip(Parameters::default(), &frames).concat());
        let frames = tcp::capture(&mut Random(seed << 32 | 11), 150, [usize::MAX, 72][seed as usize % 2]);
        used.extend(round_trip(Parameters::default(), &frames).concat());
    }
    used.extend(round_trip(Parameters::default(), &super::frames::crowd(&mut Random(12), 1_500)).concat());
    // What stands before the first packet, and what never stands in a stream.
    let apart = ["PAD", "EOS", "DIR", "RATE"];
    let unused =
        crate::codec::flow::vocab::CLASSES.iter().filter(|class| !used.iter().any(|&token| class.has(token)));
    let unused: Vec<_> = unused.map(|class| class.name).filter(|name| !apart.contains(name)).collect();
    assert!(unused.is_empty(), "no session used {unused:?}");
}

/// 1, too: an echo without an identifier once had no form at all.
#[test]
fn p01_an_echo_with_identifier_zero_has_a_form() {
    let (a, b) = ([192, 168, 1, 5], [192, 168, 1, 9]);
    let frames: Vec<_> = [(8, 0), (8, 7), (0, 0), (3, 0)]
        .into_iter()
        .enumerate()
        .map(|(at, (kind, id))| {
            Captured::new(at as i64, ipv4(a, b, 1, 64, 0, &[kind, 0, 0, 0, 0, id, 0, at as u8]))
        })
        .collect();
    round_trip(Parameters::default(), &frames);
}

/// 2: a snapshot of 72 bytes cuts selective acknowledgements and the options of SYNs. Neither is escaped, and a cut
/// packet costs no more than a whole one.
#[test]
fn p02_cut_options_are_cheap() {
    let scenario = Scenario { lost: 5, ..Scenario::default() };
    let whole = tcp::connection(&mut Random(5), scenario, 0);
    let cuts = cut(&whole, 72);
    let packets = round_trip(Parameters::default(), &cuts);
    assert!(count(&packets, SACK) > 5, "loss makes selective acknowledgements");
    assert_eq!(escapes(&packets), 0);
    assert!(count(&packets, SNAP) <= 2, "the snapshot length is learned once");
    assert!(price(&cuts) <= price(&whole) + 0.2, "{} against {}", price(&cuts), price(&whole));
    // Of a SYN the first half of its options can be seen, and the rest follows.
    assert!(
        SYN_OPTIONS
            .has(packets[0][packets[0].iter().position(|&token| SYN_OPTIONS.has(token)).expect("one")])
    );
    let mut recorder = Recorder::new(Parameters::default());
    let seen = recorder.push(&cuts[0].record(), &mut Vec::new(), &mut Discard);
    let Frame::Ip(ip) = &seen.frame else { panic!("{seen:?}") };
    let Transport::Tcp(header) = &ip.transport else { panic!("{seen:?}") };
    assert_eq!(
        (header.options.len(), &header.options[16..18]),
        (20, &[1, 3][..]),
        "a usual layout is completed"
    );
}

/// 3: acknowledgements follow the edge of what arrived in order, so a loss costs no literal.
#[test]
fn p03_acknowledgements_after_a_loss_are_predicted() {
    let scenario = Scenario { lost: 4, bytes: [300, 200_000], ..Scenario::default() };
    let frames = tcp::connection(&mut Random(6), scenario, 0);
    let packets = round_trip(Parameters::default(), &frames);
    let literals = packets.iter().flatten().filter(|&&token| token == ACK.at(14)).count();
    assert!(literals * 100 <= packets.len(), "{literals} literals in {} packets", packets.len());
    assert!(count(&packets, ACK) * 3 < packets.len());
}

/// 4: a clock that ticks at no nominal rate is measured, in integers.
#[test]
fn p04_an_odd_clock_rate_is_measured() {
    let spent = |hz| {
        let mut random = Random(8);
        let mut frames = tcp::connection(
            &mut random,
            Scenario { ticks_hz: [hz, hz], bytes: [300, 3_000_000], ..Scenario::default() },
            0,
        );
        frames.truncate(3_000);
        let packets = round_trip(Parameters::default(), &frames);
        let literals = packets.iter().flatten().filter(|&&token| token == TS_VALUE.at(24)).count();
        assert!(literals * 50 < packets.len(), "{literals} literals at {hz} Hz");
        count(&packets, TS_VALUE) as f64 / packets.len() as f64
    };
    let (common, odd) = (spent(1_000), spent(950));
    assert!(odd < common + 0.2, "{odd} residuals a packet, against {common}");
}

/// 5: echoes lag by a round trip; all values of that time are remembered.
#[test]
fn p05_late_echoes_need_no_literal() {
    let scenario =
        Scenario { ticks_hz: [1_000_000, 1_000_000], bytes: [300, 400_000], ..Scenario::default() };
    let frames = tcp::connection(&mut Random(9), scenario, 0);
    let packets = round_trip(Parameters::default(), &frames);
    let literals = packets.iter().flatten().filter(|&&token| token == TS_ECHO.at(10)).count();
    assert!(literals * 50 <= packets.len(), "{literals} literals in {} packets", packets.len());
}

/// 6: a host may have one TTL for DNS and another for TCP, and fragment one only.
#[test]
fn p06_ttl_and_fragment_flags_are_kept_by_host_and_protocol() {
    let (phone, server) = ([192, 168, 1, 5], [93, 184, 216, 34]);
    let mut frames = Vec::new();
    for at in 0..20_u16 {
        let query = udp((50_000 + at, 53), &[7, at as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
        frames.push(Captured::new(frames.len() as i64, ipv4(phone, [192, 168, 1, 1], 17, 255, 0, &query)));
        let mut syn =
            [40_000 + at, 443, 0, at, 0, 0, 5 << 12 | 2, 0xffff, 0, 0].map(u16::to_be_bytes).concat();
        syn.truncate(20);
        frames.push(Captured::new(frames.len() as i64, ipv4(phone, server, 6, 64, 0x4000, &syn)));
    }
    let packets = round_trip(Parameters::default(), &frames);
    assert_eq!(count(&packets, NEW), 40);
    assert!(count(&packets, TTL) <= 2 && count(&packets, FRAGMENT) <= 2, "said once and then known");
}

/// 7: lengths on the wire may be any number, and an offloaded packet's total length may be zero.
#[test]
fn p07_lengths_beyond_sixteen_bits_and_zero_come_back() {
    let frame = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, 64, 0, &udp((1000, 2000), &[1; 40]));
    let mut frames: Vec<_> = [0, 1, 59, 60, 82, 65_535, 65_536, 1 << 24, u32::MAX]
        .into_iter()
        .map(|wire_len| Captured { time_us: 0, wire_len, bytes: frame.clone() })
        .collect();
    let mut offloaded = frame;
    offloaded[16..18].fill(0);
    frames.push(Captured::new(0, offloaded));
    let packets = round_trip(Parameters::default(), &frames);
    assert_eq!(escapes(&packets), 1);
    assert_eq!(count(&packets, WIRE_LEN), 8);
}

/// 8: what the model must not see is never taught: encoders refuse what would be escaped, and LLC and EAPOL are not
/// escaped.
#[test]
fn p08_raw_bytes_are_not_accepted_and_link_protocols_not_escaped() {
    let mut llc = vec![1, 128, 194, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 38, 0x42, 0x42, 3];
    llc.resize(60, 0);
    let mut eapol = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0x8e, 2, 3, 0, 95];
    eapol.resize(113, 1);
    let frames: Vec<_> = [&llc, &eapol, &llc, &eapol]
        .into_iter()
        .enumerate()
        .map(|(at, bytes)| Captured::new(at as i64 * 2_000_000, bytes.clone()))
        .collect();
    let packets = round_trip(Parameters::default(), &frames);
    assert_eq!(escapes(&packets), 0);
    assert!(
        packets[2].len() <= 6 && packets[3].len() <= 6,
        "{} / {}",
        names(&packets[2]),
        names(&packets[3])
    );

    let mut broken = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 6, 64, 0, &[0; 20]);
    broken[46] = 0x10;
    let codec =
        FlowCodec::new(Vocab::flow(&["a"]).expect("a vocabulary"), Parameters::default()).expect("a codec");
    let mut encoder = codec.encoder("a").expect("an encoder");
    let mut tokens = Vec::new();
    for bytes in [&broken, &llc, &eapol] {
        let frame = FrameRef { time_ns: 0, wire_len: bytes.len() as u32, bytes };
        assert!(encoder.push(frame, &mut tokens).is_err());
    }
    assert!(tokens.is_empty());
    assert!(
        round_trip(Parameters::default(), &[Captured::new(0, broken)])[0].iter().any(|&token| ESC.has(token))
    );
}

/// 9: timestamps are predicted from exact times, so what is left of a gap comes before the packet, without fine tokens
/// too.
#[test]
fn p09_the_rest_of_a_gap_is_read_before_the_packet() {
    let scenario = Scenario { ticks_hz: [1_000_000, 1_000_000], ..Scenario::default() };
    let frames = tcp::connection(&mut Random(12), scenario, 0);
    for parameters in super::PARAMETERS {
        round_trip(parameters, &frames);
    }
    // Without its side table a session is an error, not another session.
    let (mut recorder, mut tokens) = (Recorder::new(Parameters::default()), Vec::new());
    frames.iter().for_each(|frame| {
        recorder.push(&frame.record(), &mut tokens, &mut Discard);
    });
    let mut empty = SideTable::default();
    let mut reader = super::RecordReader::new(Parameters::default(), &tokens, &mut empty);
    assert_eq!(reader.next_record(), Err(Stop::Illegal));
}

/// 10: captures of other links come as Ethernet from the reader, and back from the codec.
#[test]
fn p10_raw_ip_captures_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("raw.pcap");
    let packet = &ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, 64, 0, &udp((1000, 2000), &[1; 40]))[14..];
    // Link type 101: packets begin with the IP header.
    let mut bytes: Vec<u8> = [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 101].map(u32::to_le_bytes).concat();
    for at in 0..5_u32 {
        bytes.extend([9, at, packet.len() as u32, packet.len() as u32].map(u32::to_le_bytes).concat());
        bytes.extend(packet);
    }
    std::fs::write(&file, bytes).expect("written");
    let mut capture = Capture::open(&file).expect("a capture");
    let mut frames = Vec::new();
    while let Some(record) = capture.next_record().expect("a record") {
        let time_us = record.time_ns.div_euclid(1_000);
        frames.push(Captured { time_us, wire_len: record.wire_len, bytes: record.frame.to_vec() });
    }
    let packets = round_trip(Parameters::default(), &frames);
    assert_eq!((packets.len(), escapes(&packets)), (5, 0));
}

/// 11: every layout of SYN options that a sampler may choose is a list of a legal length. (That walks through the masks
/// make sound packets that encode to the same tokens is in `legal`.)
#[test]
fn p11_every_syn_layout_fills_whole_words() {
    for layout in crate::codec::flow::tcp::LAYOUTS {
        let bytes: usize = layout.iter().map(|&kind| [1, 1, 4, 3, 2, 0, 0, 0, 10][usize::from(kind)]).sum();
        assert!(bytes.is_multiple_of(4) && bytes <= 40, "{layout:?} has {bytes} bytes");
    }
}

/// 11, too: a flow that lives is not opened again, and a length that has a name is not spelled out.
#[test]
fn p11_there_is_one_way_to_write_a_packet() {
    let frame = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, 64, 0, &udp((50_000, 4_433), &[1; 40]));
    let packets =
        round_trip(Parameters::default(), &[Captured::new(0, frame.clone()), Captured::new(1, frame)]);
    assert_eq!((count(&packets[..1], NEW), count(&packets[1..], NEW)), (1, 0));
    assert_eq!(names(&packets[1]), "TIME_EXACT1 FLOW_FORTH0 LENGTH1");
}

/// 12: sessions of a few packets cost more a packet than long ones, but neither is dear.
#[test]
fn p12_short_and_long_sessions_cost_what_is_claimed() {
    let mut random = Random(21);
    let mut short = Vec::new();
    for at in 0..40_i64 {
        let scenario = Scenario { port: 41_000 + at as u16, bytes: [200, 2_000], ..Scenario::default() };
        short.extend(tcp::connection(&mut random, scenario, at * 700_000));
    }
    let long = tcp::connection(&mut random, Scenario { bytes: [500, 2_000_000], ..Scenario::default() }, 0);
    assert!(price(&short) < 8.0, "{} tokens a packet", price(&short));
    assert!(price(&long) < 5.5, "{} tokens a packet", price(&long));
    let record = Record::parse(0, 60, &short[0].bytes);
    assert!(short[0].bytes.starts_with(&emitted(&record)));
}

/// Whoever opens flows keeps the first number of its role, however many servers there are; so does the server called
/// last.
#[test]
fn a_client_has_one_number_and_servers_go_by_how_lately_they_were_called() {
    let to = |server: u8, port: u16| {
        Captured::new(
            i64::from(port),
            ipv4([10, 0, 0, 1], [198, 18, 0, server], 17, 64, 0, &udp((port, 443), &[1; 40])),
        )
    };
    let frames: Vec<_> = [(1, 50_001), (2, 50_002), (3, 50_003), (3, 50_004), (1, 50_005), (1, 50_006)]
        .map(|(a, b)| to(a, b))
        .into();
    let rules = Parameters { fine: false, ..Parameters::default() };
    let hosts: Vec<Vec<u16>> = round_trip(rules, &frames)
        .iter()
        .map(|tokens| tokens.iter().copied().filter(|&t| HOST.has(t) || HOST_NEW.has(t)).collect())
        .collect();
    let first = COMMON_HOSTS.len();
    let (client, server) = (HOST.at(first), |rank: usize| HOST.at(first + rank));
    assert!(HOST_NEW.has(hosts[0][0]) && HOST_NEW.has(hosts[0][1]));
    assert!(hosts[1..].iter().all(|hosts| hosts[0] == client), "{hosts:?}");
    assert_eq!([hosts[3][1], hosts[4][1], hosts[5][1]], [server(0), server(2), server(0)]);
}
