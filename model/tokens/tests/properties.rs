//! Properties of codec, canonical form and repair under arbitrary bytes and tokens.

use std::net::{Ipv4Addr, Ipv6Addr};

use netssm_tokens::{
    canonical::Canonical,
    codec::{BytesCodec, Codec, Form, FrameRef, RawPacket, SessionEnd, Step, Vocab, Width},
    repair::Repair,
};
use netssm_wire::{
    checksum::{self, Check},
    frame::{Layout, Stop},
    session::Packet,
};
use proptest::{collection::vec, prelude::*};

// --- Frames that are nearly right ------------------------------------------------------------------------------------

fn ethernet(ethertype: u16, rest: Vec<u8>) -> Vec<u8> {
    let macs = [0x3c, 0x5a, 0xb4, 0x11, 0x22, 0x33, 0xa4, 0x77, 0x33, 0x44, 0x55, 0x66];
    [&macs[..], &ethertype.to_be_bytes(), &rest].concat()
}

fn ipv4(protocol: u8, source: [u8; 4], destination: [u8; 4], body: &[u8]) -> Vec<u8> {
    let total = (20 + body.len()) as u16;
    let mut header = vec![0x45, 0, 0, 0, 0x9a, 0xbc, 0x40, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    ethernet(0x0800, [&header[..], &source, &destination, body].concat())
}

fn ipv6(next: u8, source: [u8; 16], destination: [u8; 16], body: &[u8]) -> Vec<u8> {
    let mut header = [0x60, 0x01, 0x23, 0x45, 0, 0, next, 255];
    header[4..6].copy_from_slice(&(body.len() as u16).to_be_bytes());
    ethernet(0x86dd, [&header[..], &source, &destination, body].concat())
}

/// A frame of every kind that the codecs carry, with arbitrary contents.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let address =
        prop_oneof![any::<[u8; 4]>(), Just([192, 168, 1, 77]), Just([8, 8, 4, 4]), Just([224, 0, 0, 251])];
    let address6 = prop_oneof![
        any::<[u8; 16]>(),
        any::<[u8; 3]>().prop_map(|[a, b, c]| [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0xff, 0xfe, a, b, c]),
        any::<[u8; 3]>().prop_map(|[a, b, c]| [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]),
    ];
    let tcp =
        (any::<[u8; 12]>(), 5_u8..=15, any::<u8>(), any::<[u8; 6]>(), vec(any::<u8>(), 40), 0..100_usize)
            .prop_map(|(head, words, flags, tail, options, payload)| {
                let options = &options[..usize::from(words) * 4 - 20];
                [&head[..], &[words << 4, flags], &tail, options, &vec![0xee; payload]].concat()
            });
    let port = prop_oneof![any::<u16>(), Just(53), Just(5353), Just(443)];
    let udp = (port.clone(), port, vec(any::<u8>(), 0..40)).prop_map(|(source, destination, payload)| {
        let len = (8 + payload.len()) as u16;
        [&source.to_be_bytes()[..], &destination.to_be_bytes(), &len.to_be_bytes(), &[1, 2], &payload]
            .concat()
    });
    let message = (
        prop_oneof![any::<u8>(), Just(3), Just(8), Just(0x22), Just(135), Just(143)],
        vec(any::<u8>(), 7..90),
    )
        .prop_map(|(kind, rest)| [&[kind][..], &rest].concat());
    let body = prop_oneof![
        tcp.prop_map(|body| (6_u8, body)),
        udp.prop_map(|body| (17, body)),
        message.clone().prop_map(|body| (1, body)),
        message.clone().prop_map(|body| (2, body)),
        message.prop_map(|body| (58, body)),
    ];
    let v4 = (address.clone(), address, body.clone())
        .prop_map(|(s, d, (protocol, body))| ipv4(protocol, s, d, &body));
    let v6 =
        (address6.clone(), address6, body).prop_map(|(s, d, (protocol, body))| ipv6(protocol, s, d, &body));
    let arp = any::<[u8; 20]>()
        .prop_map(|addresses| ethernet(0x0806, [&[0, 1, 8, 0, 6, 4, 0, 1][..], &addresses].concat()));
    let tagged = v4.clone().prop_map(|frame| [&frame[..12], &[0x81, 0, 0x0a, 0xbc], &frame[12..]].concat());
    prop_oneof![3 => v4, 2 => v6, 1 => arp, 1 => tagged]
}

/// The same with a few bytes changed, or cut: what a model writes.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    (frame(), vec((0..120_usize, any::<u8>()), 0..5), prop::option::of(0..160_usize)).prop_map(
        |(mut frame, edits, cut)| {
            let len = frame.len();
            for (at, byte) in edits {
                frame[at % len] = byte;
            }
            frame.truncate(cut.unwrap_or(len));
            frame
        },
    )
}

fn codec(form: Form, width: Width) -> BytesCodec {
    BytesCodec::new(Vocab::new(&["x"]).expect("a label"), width, form)
}

fn reference(frame: &[u8]) -> FrameRef<'_> {
    FrameRef { time_ns: 0, wire_len: frame.len() as u32, bytes: frame }
}

/// Every legal frame made of a repaired packet: zero payload, checksums filled.
fn complete(packet: &Packet) -> Vec<u8> {
    let mut frame = packet.header.clone();
    frame.resize(packet.wire_len as usize, 0);
    checksum::fill(&mut frame).expect("a whole frame");
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_encoded_is_decoded(frames in vec(frame(), 1..20), raw in any::<bool>(), fixed in any::<bool>()) {
        let form = if raw { Form::Raw } else { Form::Canonical };
        let codec = codec(form, if fixed { Width::Fixed(106) } else { Width::Variable });
        let mut encoder = codec.encoder("x").expect("a label");
        let mut canonical = Canonical::new();
        let (mut tokens, mut expected) = (Vec::new(), Vec::new());
        for frame in &frames {
            let before = tokens.len();
            let pushed = encoder.push(reference(frame), &mut tokens);
            if pushed.is_err() {
                prop_assert_eq!(tokens.len(), before, "a refused frame leaves nothing behind");
            }
            match form {
                Form::Raw if pushed.is_ok() => expected.push(None),
                Form::Raw => {}
                Form::Canonical => {
                    let header = canonical.apply(frame, frame.len() as u32);
                    prop_assert_eq!(header.is_ok(), pushed.is_ok());
                    expected.extend(header.map(Some));
                }
            }
        }
        encoder.finish(SessionEnd::Ended, &mut tokens);
        let mut decoder = codec.decoder(0);
        let (mut packets, mut ended) = (0, false);
        for (index, &token) in tokens.iter().enumerate() {
            if index > 0 {
                let mask = decoder.legal().expect("this codec has one");
                prop_assert!(mask[usize::from(token) / 64] >> (token % 64) & 1 == 1, "token {index} is masked");
            }
            match decoder.push(token.into()) {
                Step::Need => {}
                Step::End(_) => ended = true,
                Step::Packet(RawPacket { header, gap, .. }) => {
                    prop_assert_eq!(gap, None);
                    if let Some(wanted) = &expected[packets] {
                        let mut wanted = wanted.clone();
                        if fixed {
                            wanted.resize(106, 0);
                        }
                        prop_assert_eq!(&header, &wanted);
                    }
                    packets += 1;
                }
            }
        }
        prop_assert_eq!(packets, expected.len());
        prop_assert_eq!(ended, packets > 0);
    }

    #[test]
    fn any_tokens_decode_without_panic(tokens in vec(prop_oneof![any::<u32>(), 0..262_u32], 0..600), raw in any::<bool>()) {
        let form = if raw { Form::Raw } else { Form::Canonical };
        for width in [Width::Variable, Width::Fixed(94)] {
            let mut decoder = codec(form, width).decoder(0);
            let mut repair = Repair::new();
            for &token in &tokens {
                prop_assert!(decoder.legal().expect("a mask").iter().any(|&word| word != 0));
                if let Step::Packet(packet) = decoder.push(token) {
                    prop_assert!(packet.header.len() <= 256);
                    let _ = repair.repair(&packet);
                }
            }
        }
    }

    #[test]
    fn canonical_frames_parse_and_keep_their_lengths(frames in vec(nearly(), 1..20)) {
        let mut canonical = Canonical::new();
        for frame in &frames {
            let Ok(header) = canonical.apply(frame, frame.len() as u32) else { continue };
            let layout = Layout::parse(&header);
            prop_assert_eq!(layout.stop, Stop::Whole);
            let before = Layout::parse(frame);
            prop_assert_eq!(layout.ethertype, before.ethertype);
            // Nothing is added: the end of the packet may only come nearer, by options and records left out. (A total
            // length of zero stands for the frame's.)
            prop_assert!(layout.l3_end() <= before.l3_end().max(Some(frame.len())));
        }
    }

    #[test]
    fn repair_makes_legal_frames_and_is_idempotent(frames in vec(nearly(), 1..30)) {
        let mut repair = Repair::new();
        for bytes in frames {
            let Ok(packet) = repair.repair(&RawPacket::new(bytes)) else { continue };
            prop_assert!(packet.wire_len <= 1522 && packet.header.len() <= packet.wire_len as usize);
            let frame = complete(&packet);
            let layout = Layout::parse(&frame);
            prop_assert_eq!(layout.stop, Stop::Whole);
            if let Some(end) = layout.l3_end() {
                prop_assert_eq!(end, frame.len());
            }
            let checks = checksum::verify(&frame);
            prop_assert!(!matches!(checks.ipv4, Check::Bad) && !matches!(checks.transport, Check::Bad));

            let before = repair.counts().clone();
            let again = repair.repair(&RawPacket::new(packet.header.clone()));
            prop_assert_eq!(again.as_ref(), Ok(&packet));
            let kinds = |counts: &netssm_tokens::repair::RepairCounts| counts.kinds().collect::<Vec<_>>();
            prop_assert_eq!(kinds(repair.counts()), kinds(&before));
        }
    }

    #[test]
    fn repair_survives_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        let mut repair = Repair::with_max_frame(0);
        let outcome = repair.repair(&RawPacket::new(bytes));
        prop_assert_eq!(repair.counts().packets(), 1);
        prop_assert_eq!(repair.counts().dropped(), u64::from(outcome.is_err()));
    }

    #[test]
    fn no_identifier_survives(
        frames in vec(frame(), 1..30),
        macs in any::<[u8; 10]>(),
    ) {
        // Whole random identifiers, far from everything that canonical frames hold.
        let mac = |tail: &[u8]| [0xa8, tail[0] | 1, tail[1] | 1, tail[2] | 1, tail[3] | 1, tail[4] | 1];
        let (a, b) = (mac(&macs[..5]), mac(&macs[5..]));
        let mut canonical = Canonical::new();
        for mut frame in frames {
            frame[..6].copy_from_slice(&a);
            frame[6..12].copy_from_slice(&b);
            let layout = Layout::parse(&frame);
            let addresses = layout.addresses(&frame);
            let Ok(header) = canonical.apply(&frame, frame.len() as u32) else { continue };
            let holds = |needle: &[u8]| header.windows(needle.len()).any(|window| window == needle);
            prop_assert!(!holds(&a) && !holds(&b));
            for address in addresses.map(|(s, d)| [s, d]).into_iter().flatten() {
                let (kept, octets) = match address {
                    std::net::IpAddr::V4(ip) => (kept_v4(ip), ip.octets().to_vec()),
                    std::net::IpAddr::V6(ip) => (kept_v6(ip), ip.octets().to_vec()),
                };
                // Only where the header has addresses: four bytes may occur in options by chance.
                let at = Layout::parse(&header).net;
                let span = match at {
                    netssm_wire::frame::Net::Ipv4(ip) => ip.at + 12..ip.at + 20,
                    netssm_wire::frame::Net::Ipv6(ip) => ip.at + 8..ip.at + 40,
                    _ => 0..0,
                };
                let found = header[span].windows(octets.len()).any(|window| window == octets);
                prop_assert!(kept || !found, "{address} is still there");
            }
        }
    }
}

fn kept_v4(ip: Ipv4Addr) -> bool {
    let canonical = matches!(ip.octets(), [10, 0, ..] | [198, 18 | 19, ..] | [169, 254, ..]);
    canonical || ip.is_multicast() || ip.is_broadcast() || ip.is_loopback() || ip.is_unspecified()
}

fn kept_v6(ip: Ipv6Addr) -> bool {
    let solicited = ip.octets()[..13] == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
    ip.is_multicast() && !solicited || ip.is_unspecified() || ip.is_loopback()
}
