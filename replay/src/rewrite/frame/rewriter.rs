//! [`Rewriter`]: a validated plan, an allocator and a payload model; each replay of a session begins here.

use std::sync::Arc;

use netssm_wire::session::Session;

use super::SessionReplay;
use crate::payload::{Builtin, PayloadModel};
use crate::rewrite::plan::{AddressPlan, Allocator};
use crate::rewrite::{PlanError, RewriteError};

/// Which payload a frame gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadPolicy {
    /// Made up, whatever the session carries beyond its headers. The only policy for generated sessions: payload of a
    /// training capture is never replayed.
    #[default]
    Synthesise,
    /// Kept for packets whose whole frame is in the session, made up for those that a snaplen cut and for
    /// fragments. For the captures that a user replays as their own: addresses that the *payload* spells out (DNS
    /// answers, DHCP, FTP) stay in it. Service ports are then not moved.
    Keep,
}

/// Begins replays of sessions in the testbed of one plan.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use netssm_replay::rewrite::*;
/// use netssm_wire::session::{Origin, Packet, Session};
///
/// let plan = AddressPlan {
///     clients: vec!["10.10.0.0/16".parse().unwrap()],
///     servers: vec!["10.20.0.0/16".parse().unwrap()],
///     client_mac: MacPolicy::PerHost,
///     server_mac: MacPolicy::PerHost,
///     vlan: None,
///     ports: PortPolicy::Fresh,
///     multicast: GroupPolicy::Keep,
/// };
/// let rewriter = Rewriter::new(plan, Allocator::new()).unwrap();
/// // A SYN of 54 bytes from 10.0.0.1 to 198.18.0.1, without addresses of anybody.
/// let mut header = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
/// header.extend([10, 0, 0, 1, 198, 18, 0, 1, 192, 0, 1, 187, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
/// let packets = vec![Packet { time: Duration::ZERO, wire_len: 54, header }];
/// let session = Session { label: "web".into(), seed: 1, origin: Origin::Captured, packets };
/// let frame = rewriter.begin_replay(Arc::new(session), 7).unwrap().next().unwrap().unwrap();
/// assert_eq!((frame.len(), frame.direction()), (54, Direction::ToServer));
/// assert_eq!(frame.bytes()[26..28], [10, 10]);
/// assert_eq!(frame.bytes()[30..32], [10, 20]);
/// ```
#[derive(Debug)]
pub struct Rewriter {
    plan: Arc<AddressPlan>,
    allocator: Arc<Allocator>,
    policy: PayloadPolicy,
    payload: Arc<dyn PayloadModel>,
}

impl Rewriter {
    /// A rewriter for this plan. Rewriters whose frames meet on a wire share one allocator.
    ///
    /// # Errors
    /// What [`AddressPlan::validate`] finds.
    pub fn new(plan: AddressPlan, allocator: Arc<Allocator>) -> Result<Rewriter, PlanError> {
        plan.validate()?;
        Ok(Rewriter {
            plan: Arc::new(plan),
            allocator,
            policy: PayloadPolicy::default(),
            payload: Arc::new(Builtin),
        })
    }

    /// The same with another payload policy.
    #[must_use]
    pub fn payload(mut self, policy: PayloadPolicy) -> Rewriter {
        self.policy = policy;
        self
    }

    /// The same with another payload model.
    #[must_use]
    pub fn payload_model(mut self, model: Arc<dyn PayloadModel>) -> Rewriter {
        self.payload = model;
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
    pub fn begin_replay(
        &self,
        session: Arc<Session>,
        replay_seed: u64,
    ) -> Result<SessionReplay, RewriteError> {
        SessionReplay::new(&self.plan, &self.allocator, self.policy, &self.payload, session, replay_seed)
    }
}
