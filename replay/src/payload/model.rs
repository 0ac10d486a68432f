//! [`Builtin`]: content by port.

use netssm_wire::frame::protocol;

use super::keystream::{Keystream, mask};
use super::ports::{self, Filler, Tcp, Udp};
use super::streams::{SSH_LEAST, Streams};
use super::{Datagram, FlowFacts, FlowPayload, FlowShape, PayloadModel, dhcp, dns, ntp, text};
use crate::draw::{Draw, draw};

/// The payload model that comes with the product; the module docs say what it makes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builtin;

impl PayloadModel for Builtin {
    fn fits(&self, number: u8, port: u16, shape: FlowShape) -> bool {
        let Some(payload) = shape.least_payload else { return true };
        match number {
            protocol::TCP => {
                ports::tcp(port).is_none_or(|content| tcp_content(content, port, shape) != Tcp::Unfit)
            }
            protocol::UDP => {
                ports::udp(port).is_none_or(|(content, least)| content != Udp::Unfit && payload >= least)
            }
            _ => true,
        }
    }

    fn agree(&self, number: u8, a: u16, b: u16) -> bool {
        let content = |port| ports::udp(port).map(|(content, _)| content);
        match number {
            protocol::TCP => ports::tcp(a) == ports::tcp(b),
            _ => content(a) == content(b),
        }
    }

    fn flow(&self, facts: &FlowFacts) -> Box<dyn FlowPayload> {
        let (a, b) = (facts.initiator.src_port, facts.initiator.dst_port);
        if facts.initiator.protocol == protocol::TCP {
            let content = |port| ports::tcp(port).map(|content| tcp_content(content, port, facts.shape));
            let content = ports::by_ports(content, a, b).unwrap_or(Tcp::Filler(Filler::Masked));
            Box::new(Streams::new(content, facts.seed))
        } else {
            let content =
                ports::by_ports(ports::udp, a, b).map_or(Udp::Filler(Filler::Random), |(content, _)| content);
            let random = Keystream::new(facts.seed);
            Box::new(Datagrams { content, facts: facts.clone(), random, memory: dns::Memory::default() })
        }
    }
}

/// The content of a known TCP port in a flow of this shape.
fn tcp_content(content: Tcp, port: u16, shape: FlowShape) -> Tcp {
    /// What a dissector of records needs to see that something is none.
    const RECORD: usize = 6;
    let least = shape.least_payload.unwrap_or(usize::MAX);
    match content {
        // Each segment holds one message after its length.
        Tcp::Dns if least < 2 + dns::HEADER => Tcp::Unfit,
        Tcp::Ssh if least < SSH_LEAST => Tcp::Unfit,
        _ if shape.orderly => content,
        _ if least < RECORD => Tcp::Unfit,
        // A body without a head: no dissector takes it for the beginning of a message.
        Tcp::Http => Tcp::Filler(Filler::Zeros),
        Tcp::Tls | Tcp::Ssh | Tcp::Filler(Filler::Masked) if ports::takes_any_order(port) => {
            Tcp::Filler(Filler::Masked)
        }
        _ => Tcp::Unfit,
    }
}

/// A UDP flow, or an ICMP one.
struct Datagrams {
    content: Udp,
    facts: FlowFacts,
    random: Keystream,
    memory: dns::Memory,
}

/// How many first bytes of a random datagram are masked: as many as a detector looks at before it knows a length.
const MASKED_START: usize = 8;

impl FlowPayload for Datagrams {
    fn stream(&mut self, from_initiator: bool, offset: u64, out: &mut [u8]) {
        self.random.fill(u64::from(from_initiator), offset, out);
    }

    fn datagram(&mut self, datagram: &Datagram<'_>, out: &mut [u8]) {
        if out.is_empty() {
            return;
        }
        let content = match self.content {
            Udp::Dns | Udp::MulticastDns | Udp::NetBiosName if out.len() < dns::HEADER => {
                Udp::Filler(Filler::Zeros)
            }
            Udp::Dhcp if out.len() < dhcp::LEAST => Udp::Filler(Filler::Zeros),
            Udp::Ssdp if out.len() < text::SSDP_LEAST => Udp::Filler(Filler::Masked),
            Udp::Ntp if !ntp::is_length(out.len()) => Udp::Filler(Filler::Ones),
            Udp::Unfit => Udp::Filler(Filler::Random),
            content => content,
        };
        match content {
            Udp::Dns => self.dns(dns::Flavour::Unicast, datagram, out),
            Udp::MulticastDns => self.dns(dns::Flavour::Multicast, datagram, out),
            Udp::NetBiosName => self.dns(dns::Flavour::NetBios, datagram, out),
            Udp::Dhcp => dhcp::fill(&self.facts, datagram, out),
            Udp::Ntp => ntp::fill(&self.facts, datagram, out),
            Udp::Ssdp => text::ssdp(&self.facts, datagram, out),
            Udp::Filler(filler) => self.filler(filler, datagram, out),
            Udp::Unfit => {} // replaced above
        }
    }
}

impl Datagrams {
    fn dns(&mut self, flavour: dns::Flavour, datagram: &Datagram<'_>, out: &mut [u8]) {
        let wish = dns::Wish {
            flavour,
            header: datagram.prefix.first_chunk(),
            from_initiator: datagram.from_initiator,
            key: self.facts.seed,
            ordinal: datagram.ordinal,
        };
        dns::fill(&wish, &mut self.memory, out);
    }

    fn filler(&mut self, filler: Filler, datagram: &Datagram<'_>, out: &mut [u8]) {
        match filler {
            Filler::Zeros => out.fill(0),
            Filler::Ones => out.fill(0xff),
            Filler::Text => text::lines(0, out),
            Filler::Random | Filler::Masked => {
                // A stream for each datagram.
                let stream = draw(0, Draw::Payload, datagram.ordinal, u64::from(datagram.from_initiator));
                self.random.fill(stream, 0, out);
                let len = if filler == Filler::Masked { out.len() } else { MASKED_START.min(out.len()) };
                mask(&mut out[..len]);
            }
        }
    }
}
