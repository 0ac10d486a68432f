//! Facts about the host's network interfaces.
//!
//! Names, indices, Ethernet addresses, IP addresses and flags come from pnet. What it does not know (MTU,
//! carrier, counters, the far end of a veth pair) comes from one rtnetlink question, [`link::LinkReader`], in
//! the network namespace of the calling thread; `/sys/class/net` would answer for the namespace that mounted
//! it.

pub mod link;

use std::io;
use std::net::IpAddr;

use netssm_wire::MacAddr;

use link::{Link, LinkReader};

/// An interface as it was when asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, `veth0` for example.
    pub name: String,
    /// Kernel index; changes when an interface is made anew under the same name.
    pub index: u32,
    /// Ethernet address, if it has one.
    pub mac: Option<MacAddr>,
    /// IP addresses that the host itself has on it.
    pub ips: Vec<IpAddr>,
    /// Administratively up.
    pub up: bool,
    /// Up and with a carrier, as far as the driver tells.
    pub running: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// Everything else.
    pub link: Link,
}

/// Why nothing is known of an interface.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No interface has that name.
    #[error("there is no interface {name:?} (there are: {})", present.join(", "))]
    Missing {
        /// The name asked for.
        name: String,
        /// Names that exist.
        present: Vec<String>,
    },
    /// The kernel did not answer.
    #[error("cannot read the facts of interface {name:?}")]
    Netlink {
        /// The name asked for.
        name: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl Interface {
    /// Looks one up by name.
    ///
    /// # Errors
    /// [`LookupError`]; a name that is not there is told with those that are.
    pub fn find(name: &str) -> Result<Interface, LookupError> {
        let found = pnet::datalink::interfaces();
        let Some(facts) = found.iter().find(|i| i.name == name) else {
            let present = found.into_iter().map(|i| i.name).collect();
            return Err(LookupError::Missing { name: name.to_owned(), present });
        };
        let failed = |source| LookupError::Netlink { name: name.to_owned(), source };
        let link = LinkReader::open().and_then(|mut r| r.read(facts.index)).map_err(failed)?;
        Ok(from_parts(facts, link))
    }

    /// All of them, loopback included. One that goes away in between is left out.
    ///
    /// # Errors
    /// What opening a netlink socket says.
    pub fn all() -> io::Result<Vec<Interface>> {
        let mut reader = LinkReader::open()?;
        let found = pnet::datalink::interfaces();
        Ok(found.iter().filter_map(|facts| Some(from_parts(facts, reader.read(facts.index).ok()?))).collect())
    }
}

fn from_parts(facts: &pnet::datalink::NetworkInterface, link: Link) -> Interface {
    Interface {
        name: facts.name.clone(),
        index: facts.index,
        mac: facts.mac.map(|m| MacAddr(m.octets())),
        ips: facts.ips.iter().map(|net| net.ip()).collect(),
        up: facts.is_up(),
        running: facts.is_running(),
        loopback: facts.is_loopback(),
        link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there_and_known() {
        let lo = Interface::find("lo").unwrap();
        assert!(lo.loopback && lo.index > 0);
        assert_eq!(lo.link.hardware, link::HARDWARE_LOOPBACK);
        assert!(lo.link.mtu >= 1500, "{lo:?}");
        assert!(Interface::all().unwrap().iter().any(|i| i.name == "lo"));
    }

    #[test]
    fn a_missing_name_is_told_with_those_that_exist() {
        let error = Interface::find("nope0").unwrap_err().to_string();
        assert!(error.starts_with("there is no interface \"nope0\" (there are: "), "{error}");
        assert!(error.contains("lo"), "{error}");
    }
}
