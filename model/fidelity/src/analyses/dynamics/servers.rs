//! The choice of servers: which end of which flow is a server whose downloads are measured.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netssm_wire::frame::protocol;

use super::names;
use crate::input::session::{CapturedSession, Direction};
use crate::side::Side;

/// How servers are chosen. Flows are TCP or UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// By address, among those that DNS answers in the same session give for names that are one of these or below one
    /// (NetSSM takes `nflxvideo.net`, `netflix.com` and the like). A side in which no answer names any server takes the
    /// real side's addresses, as the paper does for generated captures.
    Names(Vec<String>),
    /// By address.
    Prefixes(Vec<IpNet>),
    /// By port, of TCP and UDP: works where addresses were replaced and DNS is not in the capture.
    Ports(Vec<u16>),
}

impl Default for Servers {
    /// The web: TLS, QUIC, plain HTTP.
    fn default() -> Self {
        Self::Ports(vec![443, 80])
    }
}

impl Servers {
    /// In words.
    pub(super) fn words(&self) -> String {
        let list = |items: Vec<String>| items.join(", ");
        match self {
            Self::Names(names) => format!("names below {}", list(names.clone())),
            Self::Prefixes(prefixes) => {
                format!("addresses in {}", list(prefixes.iter().map(IpNet::to_string).collect()))
            }
            Self::Ports(ports) => format!("ports {}", list(ports.iter().map(u16::to_string).collect())),
        }
    }
}

/// A flow to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) server: IpAddr,
    /// Which way the server's packets go.
    pub(super) down: Direction,
}

/// What a side knows of its servers: the addresses of each session, where names choose them.
#[derive(Debug)]
pub(super) struct Known {
    by_session: Vec<BTreeSet<IpAddr>>,
    /// The addresses are the real side's.
    pub(super) borrowed: bool,
}

impl Known {
    /// Of a side; `real` is what the real side knows, if this is another one.
    pub(super) fn of(side: &Side, servers: &Servers, real: Option<&Known>) -> Self {
        let Servers::Names(suffixes) = servers else {
            return Self { by_session: Vec::new(), borrowed: false };
        };
        let by_session: Vec<_> = side.sessions().iter().map(|s| names::addresses(s, suffixes)).collect();
        match real {
            Some(real) if by_session.iter().all(BTreeSet::is_empty) => {
                let all: BTreeSet<IpAddr> = real.by_session.iter().flatten().copied().collect();
                Self { by_session: vec![all; by_session.len()], borrowed: true }
            }
            _ => Self { by_session, borrowed: false },
        }
    }

    /// For every flow of session `number`, whether a server is an end of it. Where both ends match, the one that did
    /// not open the flow is the server.
    pub(super) fn served(
        &self,
        number: usize,
        session: &CapturedSession,
        servers: &Servers,
    ) -> Vec<Option<Served>> {
        let named = self.by_session.get(number);
        let is_server = |(address, port): (IpAddr, u16)| match servers {
            Servers::Names(_) => named.is_some_and(|named| named.contains(&address)),
            Servers::Prefixes(prefixes) => prefixes.iter().any(|prefix| prefix.contains(&address)),
            Servers::Ports(ports) => ports.contains(&port),
        };
        let served = |flow: &crate::input::session::Flow| {
            if !matches!(flow.first.protocol, protocol::TCP | protocol::UDP) {
                return None;
            }
            let ends = [(flow.responder(), Direction::Backward), (flow.initiator(), Direction::Forward)];
            let (end, down) = ends.into_iter().find(|(end, _)| is_server(*end))?;
            Some(Served { server: end.0, down })
        };
        session.flows.iter().map(served).collect()
    }
}
