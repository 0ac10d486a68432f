//! One of each kind is planted and found, and what looks like it is not.

use proptest::prelude::*;

use super::super::held_out::numbered;
use super::*;
use crate::input::session::{CapturedSession, SessionBuilder};
use crate::side::Side;
use crate::testing::Frames;
use netssm_wire::capture::Record;

/// A frame over Ethernet and IPv4 with this transport and payload; its addresses are the same everywhere.
fn frame(protocol: u8, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![1; 12];
    frame.extend([8, 0]);
    let transport = if protocol == 6 { 20 } else { 8 };
    let length = (20 + transport + payload.len()) as u16;
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2]);
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    if protocol == 6 {
        frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    } else {
        frame.extend(((8 + payload.len()) as u16).to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend(payload);
    frame
}

fn session(frames: &[Vec<u8>]) -> CapturedSession {
    let mut builder = SessionBuilder::new(Some("x".to_owned()));
    for (i, frame) in frames.iter().enumerate() {
        let record = Record { time_ns: i as i64, wire_len: frame.len() as u32, frame: frame.clone() };
        builder.push(&record);
    }
    builder.finish()
}

/// What of `training` is found in `synthetic`: value and field.
fn found(training: &[Vec<u8>], synthetic: &[Vec<u8>]) -> Vec<(String, String)> {
    found_but(training, synthetic, &[])
}

fn found_but(training: &[Vec<u8>], synthetic: &[Vec<u8>], allow: &[&str]) -> Vec<(String, String)> {
    let (training, synthetic) = (Side::of(vec![session(training)]), Side::of(vec![session(synthetic)]));
    let options =
        Options { allow: allow.iter().map(|&entry| entry.to_owned()).collect(), ..Options::default() };
    let found = identifiers(&numbered(&training), &numbered(&synthetic), &[], &options);
    assert_eq!(found.gate(), found.findings.is_empty());
    found.findings.into_iter().map(|f| (f.value, f.places[0].field.clone())).collect()
}

fn dns_name(name: &str) -> Vec<u8> {
    let labels =
        name.split('.').flat_map(|label| [vec![label.len() as u8], label.as_bytes().to_vec()].concat());
    labels.chain([0]).collect()
}

fn dns_message(question: &str, answers: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut message = vec![0, 7, 0x81, 0x80, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0];
    message.extend(dns_name(question));
    message.extend([0, 1, 0, 1]);
    for (kind, data) in answers {
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
    }
    message
}

fn netbios(name: &str) -> Vec<u8> {
    let letters = name.bytes().chain(std::iter::repeat(b' ')).take(15).chain([0]);
    let encoded: Vec<u8> = letters.flat_map(|byte| [b'A' + (byte >> 4), b'A' + (byte & 15)]).collect();
    [&[32], &encoded[..], &[0]].concat()
}

fn dhcp(options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[16..20].copy_from_slice(&[192, 168, 7, 50]);
    message[28..34].copy_from_slice(&[0, 0xc, 0x29, 7, 8, 9]);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend(options);
    message
}

fn client_hello(host: &str) -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3];
    hello.extend([9; 32]);
    hello.push(0);
    hello.extend([0, 2, 0x13, 1, 1, 0, 0, 0]); // one suite, no compression, extensions
    hello.extend([0x1a, 0x1a, 0, 0]); // one before the name
    let length = host.len() as u16;
    hello.extend([0, 0]);
    for part in [length + 5, length + 3] {
        hello.extend(part.to_be_bytes());
    }
    hello.push(0);
    hello.extend(length.to_be_bytes());
    hello.extend(host.as_bytes());
    hello
}

#[test]
fn names_and_addresses_of_every_service_are_found() {
    let a = dns_message("cam.home.arpa", &[(1, vec![192, 168, 7, 9]), (5, dns_name("cam-7.vendor.io"))]);
    let aaaa = dns_message(
        "v.vendor.io",
        &[(28, [0x20, 1, 0x48, 0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3].to_vec())],
    );
    let srv = dns_message(
        "_printer._tcp.local",
        &[
            (12, dns_name("office._printer._tcp.local")),
            (33, [&[0; 6][..], &dns_name("martin.local")].concat()),
        ],
    );
    let name_service =
        [&[0, 1, 1, 0x10, 0, 1, 0, 0, 0, 0, 0, 0][..], &netbios("MARTIN-PC"), &[0, 32, 0, 1]].concat();
    let datagram = [
        &[0x11, 2, 0, 1, 192, 168, 7, 60, 0, 138, 0, 80, 0, 0][..],
        &netbios("LAPTOP"),
        &netbios("WORKGROUP"),
    ]
    .concat();
    let ssdp =
        b"NOTIFY * HTTP/1.1\r\nSERVER: Linux/3.1 Hub/1.1\r\nUSN: uuid:2f40-77::upnp:rootdevice\r\nCUT: x";
    let lease = dhcp(&[
        12, 7, b'i', b'P', b'h', b'o', b'n', b'e', 0, 50, 4, 192, 168, 7, 51, 0, 54, 4, 192, 168, 7, 1, 81,
        6, 4, 0, 0, 2, b'm', b'y', 15, 3, b'l', b'a', b'n', 61, 7, 1, 0, 0xc, 0x29, 7, 8, 8, 255, 12, 1,
        b'z',
    ]);
    let request = b"GET / HTTP/1.1\r\nhOST: Api.Vendor.io:8080\r\n\r\n";
    let reverse = dns_message("5.7.168.192.in-addr.arpa", &[]);
    let frames = [
        frame(17, (53, 40000), &a),
        frame(17, (53, 40000), &aaaa),
        frame(17, (5353, 5353), &srv),
        frame(17, (137, 137), &name_service),
        frame(17, (138, 138), &datagram),
        frame(17, (1900, 50000), ssdp),
        frame(17, (68, 67), &lease),
        frame(6, (40000, 443), &client_hello("Mail.Vendor.io")),
        frame(6, (40000, 80), request),
        frame(17, (40000, 53), &reverse),
    ];
    let expected = [
        ("00:0c:29:07:08:08", "DHCP client identifier"),
        ("00:0c:29:07:08:09", "DHCP client hardware"),
        ("192.168.7.1", "DHCP server identifier"),
        ("192.168.7.5", "DNS question"),
        ("192.168.7.9", "DNS A record"),
        ("192.168.7.50", "DHCP offered address"),
        ("192.168.7.51", "DHCP requested address"),
        ("192.168.7.60", "NetBIOS datagram source"),
        ("2001:4860:102:304:506:708:901:203", "DNS AAAA record"),
        ("2f40-77", "SSDP device"),
        ("5.7.168.192.in-addr.arpa", "DNS question"),
        ("api.vendor.io", "HTTP host"),
        ("cam-7.vendor.io", "DNS record data"),
        ("cam.home.arpa", "DNS question"),
        ("iphone", "DHCP host name"),
        ("lan", "DHCP domain name"),
        ("laptop", "NetBIOS source name"),
        ("linux/3.1 hub/1.1", "SSDP server"),
        ("mail.vendor.io", "TLS server name"),
        ("martin-pc", "NetBIOS name"),
        ("martin.local", "DNS record data"),
        ("my", "DHCP full name"),
        ("office._printer._tcp.local", "DNS record data"),
        ("v.vendor.io", "DNS question"),
    ];
    let got = found(&frames, &frames);
    let got: Vec<_> = got.iter().map(|(value, field)| (value.as_str(), field.as_str())).collect();
    assert_eq!(got, expected);
    // Each of them alone, in another place: a packet is found by what it has, not by where training had it.
    assert_eq!(found(&frames, &[frame(17, (40001, 53), &dns_message("MARTIN.local", &[]))]).len(), 1);
    let text = frame(6, (8000, 40000), b"see http://cam.home.arpa/ and 00:0c");
    assert_eq!(found(&frames, &[text])[0].1, "bytes at 65");
    let mac = frame(17, (7, 7), &[5, 5, 0, 0xc, 0x29, 7, 8, 9, 5]);
    assert_eq!(found(&frames, &[mac]), [("00:0c:29:07:08:09".to_owned(), "bytes at 44".to_owned())]);
    let slaac = frame(17, (7, 7), &[2, 0xc, 0x29, 0xff, 0xfe, 7, 8, 9]);
    assert_eq!(found(&frames, &[slaac])[0].0, "00:0c:29:07:08:09");
    // IPv4 in payload is no finding, and what is allowed is none.
    assert!(found(&frames, &[frame(17, (7, 7), &[192, 168, 7, 9])]).is_empty());
    let allow = ["192.168.7.0/24", "2001:4860::/32", ".vendor.io", ".local", "00:0c:29:07:08:08"];
    assert_eq!(found_but(&frames, &frames, &allow).len(), expected.len() - 6 - 1 - 4 - 2 - 1);
}

#[test]
fn lookalikes_are_not_found() {
    let mut frames = Frames::new();
    frames.udp(0, (40001, 5353), 8);
    let mut group = frames.records[0].frame.clone();
    group[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 0xfb]);
    group[26..30].fill(0);
    group[30..34].copy_from_slice(&[224, 0, 0, 251]);
    let mut broadcast = group.clone();
    broadcast[..6].fill(0xff);
    broadcast[30..34].copy_from_slice(&[192, 168, 7, 255]); // of a subnet
    let mut loopback = group.clone();
    loopback[26..34].copy_from_slice(&[127, 0, 0, 1, 127, 0, 0, 53]);
    let mut six = vec![0x33, 0x33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 59, 1];
    six.extend([0; 16]);
    six.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let query = frame(17, (5353, 5353), &dns_message("_services._dns-sd._udp.local", &[]));
    let example = frame(17, (40000, 53), &dns_message("www.example.com", &[(1, vec![203, 0, 113, 9])]));
    let frames = [group, broadcast, loopback, six, query, example];
    assert_eq!(found(&frames, &frames), []);
}

#[test]
fn findings_are_counted_placed_and_limited() {
    let one = |last: u8| {
        let mut frame = frame(17, (7, 7), &[0; 8]);
        frame[26..30].copy_from_slice(&[10, 0, 0, last]);
        frame
    };
    let training = Side::of(vec![session(&(1..=9).map(one).collect::<Vec<_>>())]);
    let synthetic = Side::of(vec![
        session(&[one(50), one(51)]),
        session(&[one(60), one(2), one(2)]),
        session(&[one(2), one(2), one(3), one(4)]),
    ]);
    let held_out = Side::of(vec![session(&[one(9), one(70)])]);
    let options = Options { listed: 2, ..Options::default() };
    let got = identifiers(&numbered(&training), &numbered(&synthetic), &numbered(&held_out), &options);
    let [_, v4, ..] = &got.counts[..] else { panic!("four kinds") };
    assert_eq!((v4.training, v4.synthetic, v4.held_out), (9, 3, Some(1)));
    assert_eq!((got.found, got.packets, got.findings.len(), got.gate()), (3, 6, 2, false));
    let first = &got.findings[0];
    assert_eq!((first.value.as_str(), first.packets), ("10.0.0.2", 4));
    let places: Vec<_> = first.places.iter().map(|spot| (spot.place.session, spot.place.packet)).collect();
    assert_eq!(places, [(1, 1), (1, 2), (2, 0)]);
    assert_eq!(
        (first.places[0].field.as_str(), first.places[0].place.label.as_deref()),
        ("IP source", Some("x"))
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        port in prop::sample::select(vec![53_u16, 67, 137, 138, 1900, 5353, 80]),
        cut in 0_usize..400,
    ) {
        let mut frames = vec![payload.clone(), frame(17, (port, 4000), &payload), frame(6, (port, 4000), &payload)];
        frames.push(frame(17, (67, 68), &[&dhcp(&[])[..], &payload].concat()));
        frames.push(frame(6, (4000, 443), &[&client_hello("a")[..47], &payload].concat()));
        frames.push(frame(17, (4000, 53), &[&[0, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0], &payload[..]].concat()));
        for frame in &mut frames {
            frame.truncate(cut);
        }
        let _ = found(&frames, &frames);
    }
}
