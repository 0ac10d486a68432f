//! [`Rewriter`]: a validated plan, an allocator and a payload model; each replay of a session begins here.

use std::sync::Arc;

use netssm_wire::session::Session;

use super::allocator::Allocator;
use super::plan::AddressPlan;
use super::replay::SessionReplay;
use crate::error::{PlanError, RewriteError};

/// Which payload a frame gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadPolicy {
    /// Made up, whatever the session carries beyond its headers. The only policy for generated sessions: payload of a
    /// training capture is never replayed.
    #[default]
    Synthesise,
    /// Kept for packets whose whole frame is in the session, made up for those that a snaplen cut. For the captures
    /// that a user replays as their own: addresses that the *payload* spells out (DNS answers, DHCP, FTP) stay in it.
    Keep,
}

/// Begins replays of sessions in the testbed of one plan.
#[derive(Debug)]
pub struct Rewriter {
    plan: Arc<AddressPlan>,
    allocator: Arc<Allocator>,
    policy: PayloadPolicy,
}

impl Rewriter {
    /// A rewriter for this plan. Rewriters whose frames meet on a wire share one allocator.
    ///
    /// # Errors
    /// What [`AddressPlan::validate`] finds.
    pub fn new(plan: AddressPlan, allocator: Arc<Allocator>) -> Result<Rewriter, PlanError> {
        plan.validate()?;
        Ok(Rewriter { plan: Arc::new(plan), allocator, policy: PayloadPolicy::default() })
    }

    /// The same with another payload policy.
    #[must_use]
    pub fn payload(mut self, policy: PayloadPolicy) -> Rewriter {
        self.policy = policy;
        self
    }

    /// The plan.
    pub fn plan(&self) -> &AddressPlan {
        &self.plan
    }

    /// Leases addresses for one replay of `session`. The frames are made while the replay is iterated; they
    /// are a pure function of session, plan, leased addresses and `replay_seed`.
    ///
    /// # Errors
    /// The prefixes have too few free addresses, or a host uses more ports than there are. Try again when a running
    /// replay has ended, or with larger prefixes.
    pub fn begin(&self, session: Arc<Session>, replay_seed: u64) -> Result<SessionReplay, RewriteError> {
        SessionReplay::new(&self.plan, &self.allocator, self.policy, session, replay_seed)
    }
}
