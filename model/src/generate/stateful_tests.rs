//! Generation with a toy codec. Its packets end where the next one begins, carry time, and are counted from packet to
//! packet. So each expectation fits on one line.
//!
//! ```text
//! session := LABEL 258 ( 262 | 263 ) packet* 257        packet := 300+milliseconds byte
//! ```

use std::sync::Arc;

use netssm_tokens::codec::{Decoder, Encoder, FrameRef, RawPacket, SessionEnd, Skip, Step, Vocab};
use netssm_tokens::timing::TimingTable;

use super::*;
use crate::network::config::ModelConfig;

const END: u32 = 257;
const TIME: std::ops::Range<u32> = 300..310;

#[derive(Debug)]
struct Toy(Vocab);

struct ToyDecoder {
    seed: u64,
    mask: Vec<u64>,
    /// Tokens of the head that are still to come, without the label.
    head: u32,
    gap: Option<u32>,
    open: Option<RawPacket>,
    packets: u16,
    ended: bool,
}

impl ToyDecoder {
    fn allow(&mut self) {
        let legal: Vec<u32> = match (self.head, self.gap, &self.open) {
            _ if self.ended => vec![END],
            (2, ..) => vec![258],
            (1, ..) => vec![262, 263],
            (_, Some(_), _) => (0..256).collect(),
            (_, None, None) if self.packets == 0 => TIME.collect(),
            (_, None, _) => TIME.chain([END]).collect(),
        };
        self.mask.fill(0);
        legal.iter().for_each(|id| self.mask[*id as usize / 64] |= 1 << (id % 64));
    }

    /// UDP from a port that counts packets, with the seed in the source address.
    fn packet(&mut self, millis: u32, byte: u32) -> RawPacket {
        self.packets += 1;
        let mut header = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 28 + (byte & 7) as u8];
        header.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, self.seed as u8, 9, 10, 2, 0, 1]);
        header.extend([&(5_000 + self.packets).to_be_bytes()[..], &[0x1f, 0x90, 0]].concat());
        header.extend([8 + (byte & 7) as u8, 0, 0]);
        RawPacket { header, wire_len: Some(60), gap: Some(Duration::from_millis(millis.into())) }
    }
}

impl Decoder for ToyDecoder {
    fn push(&mut self, token: u32) -> Step {
        let step = match (token, self.gap) {
            (1024.., _) => Step::Need,
            (258..=263, _) => {
                self.head -= 1;
                Step::Need
            }
            (END, _) => {
                self.ended = true;
                Step::End(self.open.take())
            }
            (300..310, _) => {
                self.gap = Some(token - 300);
                self.open.take().map_or(Step::Need, Step::Packet)
            }
            (byte, Some(millis)) => {
                self.gap = None;
                self.open = Some(self.packet(millis, byte));
                Step::Need
            }
            _ => unreachable!("{token} is not legal"),
        };
        self.allow();
        step
    }

    fn legal(&self) -> Option<&[u64]> {
        Some(&self.mask)
    }

    fn flush(&mut self) -> Option<RawPacket> {
        let open = self.open.take();
        self.allow();
        open
    }
}

impl Encoder for Toy {
    fn push(&mut self, _: FrameRef<'_>, _: &mut Vec<u16>) -> Result<(), Skip> {
        Err(Skip::Malformed)
    }

    fn observe(&mut self, _: FrameRef<'_>) -> Result<(), Skip> {
        Err(Skip::Malformed)
    }

    fn finish(&mut self, _: SessionEnd, _: &mut Vec<u16>) {}
}

impl Codec for Toy {
    fn id(&self) -> netssm_tokens::codec::CodecId {
        netssm_tokens::codec::CodecId { name: "toy".into(), version: 1, params: BTreeMap::new() }
    }

    fn vocab(&self) -> &Vocab {
        &self.0
    }

    fn prompt(&self, label: &str) -> Result<Vec<u16>, DataError> {
        Ok(vec![self.0.require_label(label)?])
    }

    fn encoder(&self, _: &str) -> Result<Box<dyn Encoder>, DataError> {
        Ok(Box::new(Toy(self.0.clone())))
    }

    fn decoder(&self, seed: u64) -> Box<dyn Decoder> {
        let mask = vec![0; self.0.size().div_ceil(64)];
        let mut decoder = ToyDecoder { seed, mask, head: 2, gap: None, open: None, packets: 0, ended: false };
        decoder.allow();
        Box::new(decoder)
    }

    fn timed(&self) -> bool {
        true
    }

    fn stateful(&self) -> bool {
        true
    }

    fn head(&self) -> usize {
        3
    }
}

/// Untrained models over the toy's alphabet, one per stage.
pub(super) fn generator(stages: &[u64], ignore_end: bool) -> Generator {
    let vocab = Vocab::flow(&["x"]).unwrap();
    let config = ModelConfig {
        d_model: 16,
        n_layer: 1,
        d_state: 8,
        headdim: 8,
        vocab_size: vocab.size(),
        ..ModelConfig::default()
    };
    let stage = |(i, &packets): (usize, &u64)| StageModel {
        model: Mamba2::init(&config, i as u64, &Device::Cpu).unwrap(),
        packets,
    };
    Generator {
        stages: stages.iter().enumerate().map(stage).collect(),
        seed_packets: 2,
        codec: Arc::new(Toy(vocab)),
        timing: TimingTable::default(),
        name: "toy".into(),
        reads_context: false,
        options: GenerateOptions { batch: 3, ignore_end, ..GenerateOptions::default() },
    }
}

pub(super) fn run(generator: &mut Generator, limit: Limit) -> Vec<Generated> {
    let requests =
        (0..4).map(|id| SessionRequest { id, label: "x".into(), seed: 7 + id, limit, prompt: None });
    let mut out = Vec::new();
    let mut sink = |generated| out.push(generated);
    generator.run(&mut requests.into_iter(), &mut sink, &mut |_| ControlFlow::Continue(())).unwrap();
    out.sort_by_key(|generated: &Generated| generated.id);
    out
}

/// The numbers of the packets, from their source ports.
fn numbers(generated: &Generated) -> Vec<u16> {
    let port = |header: &[u8]| u16::from_be_bytes([header[34], header[35]]) - 5_000;
    generated.session.packets.iter().map(|packet| port(&packet.header)).collect()
}

#[test]
fn as_many_packets_as_asked_for_come_out_and_one_token_more() {
    for generated in run(&mut generator(&[0], true), Limit::Packets(6)) {
        assert_eq!(numbers(&generated), [1, 2, 3, 4, 5, 6]);
        assert_eq!((generated.counts.tokens, generated.ending), (3 + 2 * 6 + 1, Ending::Limit));
        assert_eq!(generated.repairs.repaired(), 0, "{:?}", generated.repairs);
        generated.session.check().unwrap();
    }
}

#[test]
fn in_eight_bits_the_mask_is_followed_as_strictly() {
    let mut generator = generator(&[0], true);
    generator.stages[0].model.set_precision(Precision::Int8).unwrap();
    for generated in run(&mut generator, Limit::Packets(40)) {
        assert_eq!(numbers(&generated), (1..=40).collect::<Vec<_>>());
        assert_eq!((generated.counts.tokens, generated.ending), (3 + 2 * 40 + 1, Ending::Limit));
        assert_eq!(generated.repairs.repaired(), 0, "{:?}", generated.repairs);
        assert!(generated.counts.drops.is_empty(), "{:?}", generated.counts.drops);
        generated.session.check().unwrap();
    }
}

#[test]
fn the_last_packet_comes_out_at_the_end_and_at_a_limit_of_tokens() {
    for generated in run(&mut generator(&[0], true), Limit::Tokens(3 + 2 * 4)) {
        assert_eq!((numbers(&generated), generated.ending), (vec![1, 2, 3, 4], Ending::Limit));
    }
    for generated in run(&mut generator(&[0], true), Limit::Tokens(3 + 2 * 4 + 1)) {
        assert_eq!(numbers(&generated), [1, 2, 3, 4], "half a packet is none");
    }
    let ended = run(&mut generator(&[0], false), Limit::Packets(10_000));
    for generated in ended {
        assert_eq!(generated.ending, Ending::EndToken);
        assert_eq!(generated.counts.tokens, 3 + 2 * generated.counts.packets + 1);
    }
}

#[test]
fn times_are_the_models_and_need_no_table() {
    let mut generator = generator(&[0], true);
    generator.check_label("x").unwrap();
    for generated in run(&mut generator, Limit::Packets(40)) {
        let packets = &generated.session.packets;
        assert_eq!(generated.session.origin.timing(), "learned");
        assert_eq!(packets[0].time, Duration::ZERO, "a session begins with its first packet");
        let gaps: Vec<u128> = packets.windows(2).map(|p| (p[1].time - p[0].time).as_micros()).collect();
        assert!(gaps.iter().all(|gap| gap % 1_000 == 0 && *gap < 10_000), "{gaps:?}");
        assert!(gaps.iter().any(|gap| *gap > 0));
        assert!(packets.iter().all(|packet| packet.wire_len == 60), "the padding is kept");
    }
}

#[test]
fn the_seed_of_the_request_is_the_decoders_too() {
    let sessions = run(&mut generator(&[0], true), Limit::Packets(2));
    let address = |generated: &Generated| generated.session.packets[0].header[28];
    let all: std::collections::HashSet<u8> = sessions.iter().map(address).collect();
    assert!(all.len() > 1, "{all:?}");
    assert_eq!(sessions[1].session, run(&mut generator(&[0], true), Limit::Packets(2))[1].session);
}

#[test]
fn a_chain_keeps_the_decoder() {
    let chained = run(&mut generator(&[3, 4, 0], true), Limit::Packets(12));
    let single = run(&mut generator(&[0], true), Limit::Packets(12));
    for (chained, single) in chained.iter().zip(&single) {
        assert_eq!(numbers(chained), (1..=12).collect::<Vec<_>>());
        assert_eq!(chained.session.packets[..3], single.session.packets[..3], "the first stage is the same");
    }
    assert!(chained.iter().zip(&single).any(|(a, b)| a.session.packets != b.session.packets));
    // A stage that ends with its own token also hands over. Only the last stage's end token ends the session.
    for generated in run(&mut generator(&[1_000, 1_000, 0], false), Limit::Packets(100_000)) {
        let packets = generated.session.packets.len() as u16;
        assert_eq!(numbers(&generated), (1..=packets).collect::<Vec<_>>());
        assert_eq!(generated.ending, Ending::EndToken);
        assert_eq!(generated.counts.tokens, 3 + 2 * generated.counts.packets + 3, "an end for each stage");
    }
}
