//! Random walks through the masks: what a model without any sense might write.

use super::{Parameters, Random, names};
use crate::codec::flow::{
    Pushed, Recorder, SessionReader,
    decoder::FlowDecoder,
    mask::Mask,
    record::Record,
    side_channel::Discard,
    vocab::{self, CLASSES, EOS, FLOW_BACK, FLOW_FORTH, closes},
};

/// A session being sampled.
pub(super) struct Walk {
    parameters: Parameters,
    pub(super) session: SessionReader,
    random: Random,
    /// Tokens of the packets so far; the head is not among them.
    pub(super) packets: Vec<Vec<u16>>,
    pub(super) records: Vec<Record>,
}

/// A legal token: first the class, so that rare ones occur, then the member. Ends packets and stays with known flows
/// more often than chance would, or no session had a course.
pub(super) fn choose(mask: &Mask, random: &mut Random) -> u16 {
    let legal: Vec<u16> = mask.tokens().filter(|&token| !EOS.has(token)).collect();
    assert!(!legal.is_empty(), "nothing but the end may follow");
    let with =
        |pick: &dyn Fn(u16) -> bool| legal.iter().copied().filter(|&token| pick(token)).collect::<Vec<_>>();
    let (ends, flows) = (with(&closes), with(&|token| FLOW_FORTH.has(token) || FLOW_BACK.has(token)));
    if !ends.is_empty() && random.below(10) < 7 {
        return ends[random.below(ends.len())];
    }
    if !flows.is_empty() && random.below(10) < 7 {
        return flows[random.below(flows.len())];
    }
    let classes: Vec<_> =
        CLASSES.iter().filter(|class| legal.iter().any(|&token| class.has(token))).collect();
    let members = with(&|token| classes[0].has(token));
    let class = if classes.len() == 1 {
        members
    } else {
        let class = classes[random.below(classes.len())];
        with(&|token| class.has(token))
    };
    class[random.below(class.len())]
}

impl Walk {
    pub(super) fn new(parameters: Parameters, seed: u64, strict: bool) -> Self {
        Self {
            parameters,
            session: SessionReader::new(parameters, seed, strict),
            random: Random(seed << 32 | 1),
            packets: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Samples a token and takes it. Panics when the mask is empty, or has a token that is ignored.
    pub(super) fn step(&mut self) -> u16 {
        let token = choose(&self.session.legal(), &mut self.random);
        self.take(token);
        token
    }

    fn take(&mut self, token: u16) {
        let taken = self.session.push(token);
        let before = || self.packets.last().map(|tokens| names(tokens)).unwrap_or_default();
        assert_ne!(
            taken,
            Pushed::Ignored,
            "{} is legal and means nothing after {}",
            vocab::name(token),
            before()
        );
        if let Pushed::Record(record) = taken {
            self.records.push(*record);
        }
        if closes(token) {
            self.packets.push(Vec::new());
        }
        if let Some(open) = self.packets.last_mut() {
            open.push(token);
        }
    }

    /// Ends the session where it may end; gives the number of its tokens.
    pub(super) fn end(&mut self) -> usize {
        while !self.session.legal().has(EOS.at(0)) {
            self.step();
        }
        if let Pushed::End(Some(record)) = self.session.push(EOS.at(0)) {
            self.records.push(*record);
        }
        assert_eq!(self.session.legal().tokens().collect::<Vec<_>>(), [EOS.at(0)]);
        self.packets.iter().map(Vec::len).sum()
    }

    /// Encodes what was sampled and expects the same tokens.
    pub(super) fn assert_canonical(&self) {
        assert_eq!(self.records.len(), self.packets.len());
        let mut recorder = Recorder::new(self.parameters);
        for (at, (record, tokens)) in self.records.iter().zip(&self.packets).enumerate() {
            let bytes = super::emitted(record);
            let parsed = Record::parse(record.time_us, record.wire_len, &bytes);
            let mut again = Vec::new();
            let seen = recorder.push(&parsed, &mut again, &mut Discard);
            assert_eq!(super::emitted(&seen), bytes, "packet {at}: {}", names(tokens));
            assert_eq!(names(&again), names(tokens), "packet {at}: {record:?}");
        }
    }
}

/// The decoder that generation uses, beside the walk.
pub(super) fn decoder(parameters: Parameters, seed: u64) -> FlowDecoder {
    FlowDecoder::new(parameters, seed)
}
