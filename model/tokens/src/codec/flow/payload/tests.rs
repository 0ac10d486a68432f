//! Windows of payload there and back, legal tokens, and what the usual course of a protocol costs.

use super::{
    super::{
        io::{Collect, Emit, Read},
        mask::Mask,
        side_channel::{Drawn, SideSource, SideTable},
        tests::Random,
        transport::Window,
    },
    *,
};

const PORTS: [(u16, u16); 8] = [
    (40_000, 53),
    (5353, 5353),
    (50_000, 443),
    (40_000, 123),
    (50_000, 50_001),
    (137, 137),
    (40_001, 3478),
    (5355, 60_000),
];

/// One packet of a test: direction, payload length, window length.
fn packet(random: &mut Random) -> (bool, u32, usize) {
    let len = if random.below(6) == 0 { random.below(13) } else { 12 };
    (random.below(2) == 1, len as u32 + random.below(60) as u32, len)
}

fn ask(state: &FlowPayload, (back, payload_len, len): (bool, u32, usize), flow: usize) -> Ask<'_> {
    let expected = Profile::ALL[flow / PORTS.len() % Profile::ALL.len()];
    Ask { state, back, ports: PORTS[flow % PORTS.len()], expected, payload_len, len }
}

fn emit(ask: &Ask<'_>, window: &Window, side: &mut SideTable) -> Vec<u16> {
    let mut tokens = Vec::new();
    let payload = code(ask, &mut Emit::new(&mut tokens, side), Some(window)).expect("emitting never stops");
    assert_eq!(payload.window, *window);
    tokens
}

fn collect(ask: &Ask<'_>, tokens: &[u16], side: &dyn SideSource, strict: bool) -> (Mask, Coded<Payload>) {
    let mut mask = Mask::default();
    let coded = code(ask, &mut Collect::new(tokens, side, strict, &mut mask), None);
    (mask, coded)
}

/// A window that often resembles earlier ones, or a protocol.
fn window(random: &mut Random, len: usize, seen: &[Window]) -> Window {
    let mut bytes: [u8; WINDOW_BYTES] = std::array::from_fn(|_| random.next() as u8);
    match random.below(10) {
        0 => bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]),
        1 => (bytes[0], bytes[1]) = (0x80, bytes[1] & 0x7f),
        2 => bytes[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
        3 => {
            let count = bytes[0] & 3;
            bytes[2..].copy_from_slice(&[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
        }
        4 => bytes.fill(0),
        _ if !seen.is_empty() => {
            let old = &seen[random.below(seen.len())];
            bytes[..old.len()].copy_from_slice(old);
            for _ in 0..random.below(4) {
                let at = random.below(WINDOW_BYTES);
                bytes[at] =
                    if random.below(2) == 0 { bytes[at].wrapping_add(1) } else { random.next() as u8 };
            }
        }
        _ => {}
    }
    bytes[..len].iter().copied().collect()
}

#[test]
fn any_windows_come_back_and_their_tokens_are_legal() {
    let mut random = Random(7);
    for flow in 0..200 {
        let (mut writer, mut reader) = (FlowPayload::default(), FlowPayload::default());
        let mut seen = Vec::new();
        for _ in 0..40 {
            let packet = packet(&mut random);
            let window = window(&mut random, packet.2, &seen);
            let mut side = SideTable::default();
            let ask_writer = ask(&writer, packet, flow);
            let tokens = emit(&ask_writer, &window, &mut side);
            for (at, &token) in tokens.iter().enumerate() {
                let (mask, _) = collect(&ask_writer, &tokens[..at], &side, false);
                assert!(
                    mask.has(token),
                    "{flow}: {} after {:?}",
                    super::super::vocab::name(token),
                    &tokens[..at]
                );
            }
            let mut read = Read::new(&tokens, &side);
            let payload =
                code(&ask(&reader, packet, flow), &mut read, None).expect("what was written can be read");
            assert_eq!((&payload.window, read.position()), (&window, tokens.len()), "{flow}");
            reader.apply(packet.0, &payload);
            writer.apply(packet.0, &payload);
            seen.push(window);
            if random.below(30) == 0 {
                (writer, reader) = (FlowPayload::inherit(&writer), FlowPayload::inherit(&reader));
            }
        }
    }
}

/// Tokens that a sampler might choose, drawn evenly from the legal ones.
fn sample(random: &mut Random, ask: &Ask<'_>, side: &Drawn, strict: bool) -> (Vec<u16>, Payload) {
    let mut tokens = Vec::new();
    loop {
        let (mask, coded) = collect(ask, &tokens, side, strict);
        assert!(coded != Err(Stop::Illegal), "{ask:?} {tokens:?}");
        let open = mask.count() as usize;
        match coded {
            Ok(payload) if open == 0 || random.below(3) > 0 => return (tokens, payload),
            _ => assert!(open > 0, "a dead end: {ask:?} {tokens:?}"),
        }
        tokens.extend(mask.tokens().nth(random.below(open)));
        assert!(tokens.len() < 60);
    }
}

#[test]
fn what_is_sampled_is_encoded_to_the_same_tokens() {
    let mut random = Random(77);
    for flow in 0..300 {
        let mut state = FlowPayload::default();
        let mut drawn = Drawn::new(flow as u64);
        for _ in 0..30 {
            let packet = packet(&mut random);
            let now = ask(&state, packet, flow);
            let (tokens, payload) = sample(&mut random, &now, &drawn, flow % 3 == 0);
            let again = emit(&now, &payload.window, &mut SideTable::default());
            let names = |tokens: &[u16]| {
                tokens.iter().map(|&token| super::super::vocab::name(token)).collect::<Vec<_>>()
            };
            assert_eq!(
                names(&again),
                names(&tokens),
                "flow {flow} {packet:?} {:?} {:x?}",
                payload.profile,
                payload.window
            );
            let mut read = Read::new(&tokens, &drawn);
            assert_eq!(code(&now, &mut read, None).as_ref(), Ok(&payload));
            let taken = *read.taken();
            drawn.advance(&taken);
            state.apply(packet.0, &payload);
            if random.below(30) == 0 {
                state = FlowPayload::inherit(&state);
            }
        }
    }
}

#[test]
fn garbage_is_refused_without_a_panic() {
    let mut random = Random(777);
    let drawn = Drawn::new(3);
    for flow in 0..200 {
        let mut state = FlowPayload::default();
        for _ in 0..300 {
            let packet = packet(&mut random);
            let tokens: Vec<u16> = (0..random.below(12))
                .map(|_| match random.below(3) {
                    0 => random.below(256) as u16,
                    1 => random.below(1024) as u16,
                    _ => PROFILE.first + random.below(90) as u16,
                })
                .collect();
            let coded = code(&ask(&state, packet, flow), &mut Read::new(&tokens, &drawn), None);
            if let Ok(payload) = coded {
                state.apply(packet.0, &payload);
            }
        }
    }
}

#[test]
fn strict_samples_are_well_formed() {
    let mut random = Random(5);
    for flow in 0..300 {
        let mut state = FlowPayload::default();
        let drawn = Drawn::new(flow as u64);
        let mut asked = false;
        for _ in 0..20 {
            let (back, payload_len, _) = packet(&mut random);
            let packet = (back, payload_len.max(12), 12);
            let now = ask(&state, packet, flow);
            let (_, payload) = sample(&mut random, &now, &drawn, true);
            let window = &payload.window;
            match payload.profile {
                Profile::Quic => assert_ne!(window[0] & 0x40, 0),
                Profile::Rtp => assert_eq!(window[0] >> 6, 2),
                Profile::Stun => {
                    assert_eq!((window[0] >> 6, &window[4..8]), (0, &[0x21, 0x12, 0xa4, 0x42][..]));
                    assert_eq!(u32::from(window[2]) << 8 | u32::from(window[3]), packet.1 - 20);
                    assert_eq!(window[3] % 4, 0);
                }
                Profile::Dns if now.ports.1 != 5353 => {
                    let response = window[2] & 0x80 != 0;
                    assert!(asked || !response);
                    asked = true;
                }
                _ => {}
            }
            state.apply(back, &payload);
        }
    }
}

/// Tokens of windows sent in turn on one flow.
fn tokens_of(ports: (u16, u16), windows: &[(bool, [u8; 12])]) -> Vec<usize> {
    let mut state = FlowPayload::default();
    let mut counts = Vec::new();
    for (back, bytes) in windows {
        let window: Window = bytes.iter().copied().collect();
        let now =
            Ask { state: &state, back: *back, ports, expected: Profile::Generic, payload_len: 172, len: 12 };
        let mut tokens = Vec::new();
        let coded = code(&now, &mut Emit::new(&mut tokens, &mut SideTable::default()), Some(&window));
        state.apply(*back, &coded.expect("emitting never stops"));
        counts.push(tokens.len());
    }
    counts
}

#[test]
fn the_usual_course_of_a_protocol_costs_nothing() {
    let query = [7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let answer = [7, 9, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    assert_eq!(tokens_of((40_000, 53), &[(false, query), (true, answer)]), [0, 0]);
    let rtp = |sequence: u8, time: u8| [0x80, 0, 0, sequence, 0, 0, 0, time, 1, 2, 3, 4];
    assert_eq!(
        tokens_of((40_000, 50_000), &[(false, rtp(1, 1)), (false, rtp(2, 161)), (true, rtp(9, 3))]),
        [1, 0, 0]
    );
    let request = [0, 1, 0, 152, 0x21, 0x12, 0xa4, 0x42, 5, 6, 7, 8];
    let mut success = request;
    success[0] = 1;
    assert_eq!(tokens_of((40_000, 3478), &[(false, request), (true, success), (false, request)]), [1, 0, 1]);
    assert_eq!(tokens_of((1024, 1900), &[(false, *b"NOTIFY * HTT"), (false, *b"M-SEARCH * H")]), [0, 1]);
}
