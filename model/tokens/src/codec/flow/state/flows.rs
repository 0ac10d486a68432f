//! The flows: found by key, numbered by recent use.

use super::{Dir, Flow, FlowKey, FlowKind, MAX_FLOWS, State, key::digest};
use crate::codec::flow::{datagram, payload::FlowPayload, record::Tags};

impl State {
    pub(in crate::codec::flow) fn flow(&self, slot: u16) -> Option<&Flow> {
        self.flows.get(usize::from(slot))?.as_deref()
    }

    /// The flow of a key in either direction, and whether the key has the direction of the responder.
    pub(in crate::codec::flow) fn find(&self, key: &FlowKey) -> Option<(u16, bool)> {
        let (sorted, reversed) = key.sorted();
        let slot = *self.by_key.get(&digest(&sorted))?;
        let (known, initiator_reversed) = self.flow(slot)?.key.sorted();
        if known != sorted {
            return None;
        }
        let back = if key.src == key.dst && key.ports.0 == key.ports.1 && key.macs.is_none() {
            false
        } else {
            reversed != initiator_reversed
        };
        Some((slot, back))
    }

    /// The slot at a rank of use.
    pub(in crate::codec::flow) fn at_rank(&self, rank: usize) -> Option<u16> {
        self.order.get(rank).copied()
    }

    /// The rank of a slot.
    pub(in crate::codec::flow) fn rank(&self, slot: u16) -> Option<usize> {
        self.order.iter().position(|&other| other == slot)
    }

    /// Flows in use.
    pub(in crate::codec::flow) fn live(&self) -> usize {
        self.order.len()
    }

    /// Whether a slot is in use.
    pub(in crate::codec::flow) fn is_live(&self, slot: usize) -> bool {
        self.flows.get(slot).is_some_and(Option::is_some)
    }

    /// A flow without packets. It is not part of the state yet.
    pub(in crate::codec::flow) fn open(&self, key: FlowKey, tags: Tags) -> Flow {
        let dirs = [key.src, key.dst].map(|address| Dir::new(&self.defaults(address, key.kind), key.kind));
        let like = if key.kind == FlowKind::Udp { self.like_flow(&key) } else { None };
        let payload = like.map_or_else(FlowPayload::default, |like| FlowPayload::inherit(&like.payload));
        let body = Box::default();
        let (opened_us, last_us, last_back, run) = (0, 0, false, 0);
        let may_go = [false, true].map(|back| datagram::may_go(&key, back));
        Flow { may_go, tags, dirs, payload, templates: None, body, opened_us, last_us, last_back, run, key }
    }

    /// The flow of the same service that was used last, if it is among the 16 flows used last.
    fn like_flow(&self, key: &FlowKey) -> Option<&Flow> {
        let service = key.service();
        let like = |flow: &&Flow| service != 0 && flow.key.kind == key.kind && flow.key.service() == service;
        self.order.iter().take(16).filter_map(|&slot| self.flow(slot)).find(like)
    }

    /// Adds a flow. It replaces a flow with the same key, or the one idle longest if there are too many.
    pub(in crate::codec::flow) fn add_flow(&mut self, flow: Box<Flow>) -> u16 {
        let (sorted, _) = flow.key.sorted();
        let digest = digest(&sorted);
        if let Some(&old) = self.by_key.get(&digest) {
            self.remove(old);
        }
        if self.order.len() >= MAX_FLOWS
            && let Some(&idle) = self.order.last()
        {
            self.remove(idle);
        }
        let free = self.flows.iter().position(Option::is_none).unwrap_or(self.flows.len());
        if free == self.flows.len() {
            self.flows.push(None);
        }
        self.flows[free] = Some(flow);
        self.by_key.insert(digest, free as u16);
        self.order.insert(0, free as u16);
        self.newest = Some((free as u16, self.packets));
        self.streak = 0;
        free as u16
    }

    fn remove(&mut self, slot: u16) {
        if let Some(flow) = self.flows.get_mut(usize::from(slot)).and_then(Option::take) {
            self.by_key.remove(&digest(&flow.key.sorted().0));
        }
        self.order.retain(|&other| other != slot);
    }

    /// The flow of a slot, which becomes the one used last.
    pub(in crate::codec::flow) fn touch(&mut self, slot: u16) -> Option<&mut Flow> {
        if let Some(rank) = self.rank(slot) {
            self.order[..=rank].rotate_right(1);
            self.streak = if rank == 0 { self.streak + 1 } else { 1 };
        }
        self.flows.get_mut(usize::from(slot))?.as_deref_mut()
    }

    pub(in crate::codec::flow) fn count_packet(&mut self) {
        self.packets += 1;
    }
}
