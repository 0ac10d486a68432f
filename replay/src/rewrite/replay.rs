//! [`SessionReplay`]: the frames of one replay, made one by one.

use std::sync::Arc;
use std::time::Duration;

use netssm_wire::frame::Layout;
use netssm_wire::session::Session;

use super::allocator::Allocator;
use super::dropped::Dropped;
use super::plan::AddressPlan;
use super::rewriter::PayloadPolicy;
use super::testbed::{SessionFacts, SessionTag, Tagged, TestbedFrame};
use crate::error::RewriteError;

/// One replay of one session: an iterator over its frames in sending order.
pub struct SessionReplay {
    session: Arc<Session>,
    tag: SessionTag,
    next: usize,
}

impl SessionReplay {
    pub(super) fn new(
        plan: &Arc<AddressPlan>,
        allocator: &Arc<Allocator>,
        _policy: PayloadPolicy,
        session: Arc<Session>,
        replay_seed: u64,
    ) -> Result<SessionReplay, RewriteError> {
        let lease = allocator.lease(plan, &[], replay_seed)?;
        let facts = Arc::new(SessionFacts {
            id: allocator.next_replay(),
            label: session.label.as_str().into(),
            model: session.model.as_str().into(),
            seed: session.seed,
            replay_seed,
            timing: session.timing,
        });
        Ok(SessionReplay { session, tag: SessionTag(Arc::new(Tagged { facts, _lease: lease })), next: 0 })
    }

    /// The replay's tag.
    pub fn tag(&self) -> &SessionTag {
        &self.tag
    }

    /// When the next packet is due, from the start of the session; `None` at the end.
    pub fn peek_time(&self) -> Option<Duration> {
        self.session.packets.get(self.next).map(|p| p.time)
    }

    /// Gives the buffer of a sent frame back, so that the next frame needs no allocation.
    pub fn recycle(&mut self, _frame: TestbedFrame) {}
}

impl Iterator for SessionReplay {
    type Item = Result<TestbedFrame, Dropped>;

    fn next(&mut self) -> Option<Self::Item> {
        let packet = self.session.packets.get(self.next)?;
        self.next += 1;
        Some(Err(Dropped::Headers(Layout::parse(&packet.header).stop)))
    }
}
