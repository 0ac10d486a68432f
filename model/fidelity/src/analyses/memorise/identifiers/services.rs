//! Names and addresses in messages: DNS, multicast DNS, LLMNR, NetBIOS, DHCP, SSDP, TLS server names, HTTP hosts.
//!
//! TLS and HTTP are recognised by their first bytes, the other services by their ports. A message may be cut: its
//! captured part is read.

use std::net::{Ipv4Addr, Ipv6Addr};

use netssm_wire::MacAddr;
use netssm_wire::bytes::{array, be16};
use netssm_wire::frame::{Layout, Transport};
use netssm_wire::ports::{DHCP_CLIENT, DHCP_SERVER, NETBIOS_DATAGRAM, NETBIOS_NAME, SSDP, is_dns};
use netssm_wire::udp;

use super::{Identifier, Visit, common, names};

/// Records of one message that are read; no message of 64 KiB has more that matter.
const RECORDS: usize = 256;

/// Visits what the payload of a frame names.
pub(super) fn visit(frame: &[u8], found: &mut Visit<'_>) {
    let layout = Layout::parse(frame);
    let end = layout.l3_end().map_or(frame.len(), |end| end.min(frame.len()));
    let Some(payload) = layout.payload_at().and_then(|at| frame.get(at..end)) else { return };
    match layout.transport {
        Transport::Udp { at } => {
            let Some(header) = frame.get(at..).and_then(udp::View::new) else { return };
            let ports = [header.src_port(), header.dst_port()];
            let uses = |port: u16| ports.contains(&port);
            if is_dns(header.src_port(), header.dst_port()) {
                dns(payload, Form::Dns, found);
            } else if uses(NETBIOS_NAME) {
                dns(payload, Form::NetBios, found);
            } else if uses(NETBIOS_DATAGRAM) {
                datagram(payload, found);
            } else if uses(DHCP_SERVER) || uses(DHCP_CLIENT) {
                dhcp(payload, found);
            } else if uses(SSDP) {
                ssdp(payload, found);
            }
        }
        Transport::Tcp { .. } => {
            tls(payload, found);
            http(payload, found);
        }
        _ => {}
    }
}

fn name(name: String, field: &'static str, found: &mut Visit<'_>) {
    if let Some(ip) = common::reverse(&name) {
        found(Identifier::Ipv4(ip), field);
    }
    found(Identifier::Name(name), field);
}

/// A length or count of two bytes.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    be16(bytes, at).map(usize::from)
}

fn v4(bytes: &[u8], at: usize, field: &'static str, found: &mut Visit<'_>) {
    if let Some(octets) = array::<4>(bytes, at) {
        found(Identifier::Ipv4(Ipv4Addr::from(octets)), field);
    }
}

/// How a message writes its names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Dns,
    NetBios,
}

/// A message of DNS (RFC 1035 section 4), or of the NetBIOS name service, which has the same form (RFC 1002 section
/// 4.2).
fn dns(message: &[u8], form: Form, found: &mut Visit<'_>) {
    read_dns(message, form, found);
}

/// Ends with `None` where the message does.
fn read_dns(message: &[u8], form: Form, found: &mut Visit<'_>) -> Option<()> {
    let count = |at: usize| number(message, at);
    let (questions, records) = (count(4)?, count(6)? + count(8)? + count(10)?);
    let mut take = |text: String, field: &'static str| match form {
        Form::Dns => name(text, field, found),
        Form::NetBios => {
            if let Some(text) = names::netbios(&text) {
                name(text, "NetBIOS name", found);
            }
        }
    };
    let mut at = 12;
    for _ in 0..questions.min(RECORDS) {
        let (text, after) = names::dns(message, at)?;
        take(text, "DNS question");
        at = after + 4;
    }
    let mut addresses = Vec::new();
    for _ in 0..records.min(RECORDS) {
        let (text, after) = names::dns(message, at)?;
        take(text, "DNS record");
        let (kind, length) = (number(message, after)?, number(message, after + 8)?);
        let data = after + 10;
        let at_name = match kind {
            2 | 5 | 6 | 12 => Some(data),              // NS, CNAME, SOA, PTR
            15 => Some(data + 2),                      // MX
            33 if form == Form::Dns => Some(data + 6), // SRV; in NetBIOS 33 is the status of a node
            _ => None,
        };
        if let Some((text, _)) = at_name.and_then(|at| names::dns(message, at)) {
            take(text, "DNS record data");
        }
        match (form, kind, length) {
            (Form::Dns, 1, 4) | (Form::Dns, 28, 16) => addresses.push((data, length)),
            (Form::NetBios, 32, _) => addresses.extend((0..length / 6).map(|i| (data + 6 * i + 2, 4))),
            _ => {}
        }
        at = data + length;
    }
    for (at, length) in addresses {
        match length {
            16 => {
                if let Some(octets) = array::<16>(message, at) {
                    found(Identifier::Ipv6(Ipv6Addr::from(octets)), "DNS AAAA record");
                }
            }
            _ => v4(message, at, if form == Form::Dns { "DNS A record" } else { "NetBIOS address" }, found),
        }
    }
    Some(())
}

/// A NetBIOS datagram (RFC 1002 section 4.4.2): source address, then the names of both ends.
fn datagram(message: &[u8], found: &mut Visit<'_>) {
    if !matches!(message.first(), Some(0x10..=0x12)) {
        return;
    }
    v4(message, 4, "NetBIOS datagram source", found);
    let mut at = 14;
    for field in ["NetBIOS source name", "NetBIOS destination name"] {
        let Some((text, after)) = names::dns(message, at) else { return };
        if let Some(text) = names::netbios(&text) {
            name(text, field, found);
        }
        at = after;
    }
}

/// DHCP (RFC 2131 section 2, options of RFC 2132 and 4702).
fn dhcp(message: &[u8], found: &mut Visit<'_>) {
    for (at, field) in [
        (12, "DHCP client address"),
        (16, "DHCP offered address"),
        (20, "DHCP server address"),
        (24, "DHCP relay address"),
    ] {
        v4(message, at, field, found);
    }
    if message.get(1..3) == Some(&[1, 6])
        && let Some(octets) = array::<6>(message, 28)
    {
        found(Identifier::Mac(MacAddr(octets)), "DHCP client hardware");
    }
    if message.get(236..240) != Some(&[99, 130, 83, 99]) {
        return;
    }
    let mut at = 240;
    while let Some(&kind) = message.get(at) {
        if kind == 0 {
            at += 1;
            continue;
        }
        let Some(&length) = message.get(at + 1) else { return };
        let Some(data) = message.get(at + 2..at + 2 + usize::from(length)) else { return };
        match kind {
            255 => return,
            12 => names::text(data).into_iter().for_each(|text| name(text, "DHCP host name", found)),
            15 => names::text(data).into_iter().for_each(|text| name(text, "DHCP domain name", found)),
            81 => {
                // Flags, two bytes that mean nothing any more, the name: as labels if flag E says so.
                let in_labels = data.first().is_some_and(|flags| flags & 4 != 0);
                let rest = data.get(3..).unwrap_or_default();
                let labels = [rest, &[0]].concat(); // a part of a name has no end
                let text = if in_labels { names::dns(&labels, 0).map(|(n, _)| n) } else { names::text(rest) };
                text.into_iter().for_each(|text| name(text, "DHCP full name", found));
            }
            50 => v4(data, 0, "DHCP requested address", found),
            54 => v4(data, 0, "DHCP server identifier", found),
            3 | 6 | 42 => (0..data.len() / 4).for_each(|i| v4(data, 4 * i, "DHCP router or server", found)),
            61 => {
                if let Some([1, octets @ ..]) = array::<7>(data, 0) {
                    found(Identifier::Mac(MacAddr(octets)), "DHCP client identifier");
                }
            }
            _ => {}
        }
        at += 2 + usize::from(length);
    }
}

/// SSDP (UPnP Device Architecture 1.1, section 1): the server's description of itself, and the identifier of a device.
fn ssdp(message: &[u8], found: &mut Visit<'_>) {
    // The last line may be cut: it counts if it has its end.
    for line in message.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (field, value) = (&line[..colon], &line[colon + 1..]);
        if field.eq_ignore_ascii_case(b"server") {
            names::text(value).into_iter().for_each(|text| name(text, "SSDP server", found));
        } else if (field.eq_ignore_ascii_case(b"usn") || field.eq_ignore_ascii_case(b"nt"))
            && let Some(text) = names::text(value)
            && let Some(device) = text.strip_prefix("uuid:")
        {
            let device = device.split("::").next().unwrap_or(device);
            name(device.to_owned(), "SSDP device", found);
        }
    }
}

/// The server name of a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), if it is among the kept bytes.
fn tls(payload: &[u8], found: &mut Visit<'_>) {
    if let (Some([22, 3]), Some(1)) = (array(payload, 0), payload.get(5))
        && let Some(host) = server_name(payload).and_then(names::text)
    {
        name(host, "TLS server name", found);
    }
}

fn server_name(record: &[u8]) -> Option<&[u8]> {
    let mut at = 5 + 4 + 2 + 32; // record, handshake, version, random
    at += 1 + usize::from(*record.get(at)?); // session
    at += 2 + number(record, at)?; // cipher suites
    at += 1 + usize::from(*record.get(at)?); // compression
    at += 2; // length of all extensions
    loop {
        let (kind, length) = (number(record, at)?, number(record, at + 2)?);
        if kind == 0 {
            // Length of the list, type 0, length, name.
            let host = number(record, at + 7)?;
            return (record.get(at + 6) == Some(&0)).then(|| record.get(at + 9..at + 9 + host))?;
        }
        at += 4 + length;
    }
}

/// The Host line of an HTTP/1 request.
fn http(payload: &[u8], found: &mut Visit<'_>) {
    let methods: [&[u8]; 6] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT "];
    if !methods.iter().any(|method| payload.starts_with(method)) {
        return;
    }
    for line in payload.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        if line.get(..5).is_some_and(|field| field.eq_ignore_ascii_case(b"host:")) {
            let value = &line[5..];
            let host = value.split(|byte| *byte == b':').next().unwrap_or(value);
            if let Some(text) = names::text(host) {
                match text.parse() {
                    Ok(ip) => found(Identifier::Ipv4(ip), "HTTP host"),
                    Err(_) => name(text, "HTTP host", found),
                }
            }
        }
    }
}
