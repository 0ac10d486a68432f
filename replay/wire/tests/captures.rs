//! Captures made here byte by byte: both byte orders, both resolutions, pcapng, every link type, odd lengths
//! and times, and damaged files.

mod common;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use netssm_wire::MacAddr;
use netssm_wire::capture::{Capture, CaptureError, LinkType, Record, host_mac};
use netssm_wire::frame::{Layout, Net, Stop, protocol};
use netssm_wire::tcp::Flags;

/// Writes integers in the byte order of a file.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

const LITTLE: Order = Order { big: false };
const BIG: Order = Order { big: true };
const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;

struct Rec<'a> {
    time: (u32, u32),
    caplen: u32,
    len: u32,
    data: &'a [u8],
}

fn rec(data: &[u8]) -> Rec<'_> {
    Rec { time: (1, 2), caplen: data.len() as u32, len: data.len() as u32, data }
}

fn pcap(order: Order, magic: u32, link: u32, records: &[Rec<'_>]) -> Vec<u8> {
    let mut out = order.u32(magic).to_vec();
    out.extend(order.u16(2));
    out.extend(order.u16(4));
    for word in [0, 0, 65535, link] {
        out.extend(order.u32(word));
    }
    for record in records {
        for word in [record.time.0, record.time.1, record.caplen, record.len] {
            out.extend(order.u32(word));
        }
        out.extend(record.data);
    }
    out
}

/// One block of a pcapng file: type, body, and the length around it.
fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let len = order.u32(body.len() as u32 + 12);
    [&order.u32(kind)[..], &len, &body, &len].concat()
}

/// Section header, an interface with nanoseconds per link type, and one enhanced packet block.
fn pcapng(order: Order, links: &[u16], nanoseconds: u64, data: &[u8]) -> Vec<u8> {
    let mut out = block(
        order,
        0x0a0d_0d0a,
        &[&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &[0; 2], &[0xff; 8]].concat(),
    );
    for link in links {
        let option = [&order.u16(9)[..], &order.u16(1), &[9, 0, 0, 0], &[0; 4]].concat();
        out.extend(block(order, 1, &[&order.u16(*link)[..], &[0; 2], &order.u32(65535), &option].concat()));
    }
    let lens = [order.u32(data.len() as u32), order.u32(data.len() as u32)].concat();
    let time = [order.u32((nanoseconds >> 32) as u32), order.u32(nanoseconds as u32)].concat();
    out.extend(block(order, 6, &[&[0; 4], &time[..], &lens, data].concat()));
    out
}

/// Reads all of a file made of `bytes`.
fn read(name: &str, bytes: &[u8]) -> (Result<LinkType, String>, Vec<Record>, Option<String>, u64) {
    // A directory each: the tests of this file run at the same time.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = format!("captures-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(own);
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut capture = match Capture::open(&path) {
        Ok(capture) => capture,
        Err(error) => {
            std::fs::remove_dir_all(&dir).unwrap();
            return (Err(error.to_string()), vec![], None, 0);
        }
    };
    let mut records = Vec::new();
    let error = loop {
        match capture.next_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    assert!(matches!(capture.next_record(), Ok(None)));
    std::fs::remove_dir_all(&dir).unwrap();
    (Ok(capture.link_type()), records, error, capture.unmapped())
}

fn syn() -> Vec<u8> {
    common::frame(&[], &common::v4(protocol::TCP, &common::tcp(Flags::SYN, &[], b"")))
}

#[test]
fn byte_orders_and_resolutions_give_the_same_record() {
    let frame = syn();
    for (name, order) in [("le", LITTLE), ("be", BIG)] {
        for (magic, time_ns) in [(MICRO, 1_000_002_000), (NANO, 1_000_000_002)] {
            let (link, records, error, _) = read(name, &pcap(order, magic, 1, &[rec(&frame)]));
            assert_eq!((link, error), (Ok(LinkType::Ethernet), None));
            let wire_len = frame.len() as u32;
            assert_eq!(records, [Record { time_ns, wire_len, frame: frame.clone() }]);
        }
        let time = 1_700_000_000_123_456_789;
        let (link, records, error, _) = read(name, &pcapng(order, &[1], time, &frame));
        assert_eq!((link, error, records.len()), (Ok(LinkType::Ethernet), None, 1));
        assert_eq!((records[0].time_ns, &records[0].frame), (time as i64, &frame));
    }
}

#[test]
fn every_link_type_comes_in_ethernet_form() {
    let v4 = &syn()[14..];
    let v6 = &common::frame(&[], &common::v6(protocol::UDP, &common::udp(0, b"x")))[14..];
    let sll = |kind: u16, proto: u16| {
        [
            &[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0][..],
            &proto.to_be_bytes(),
            if kind == 4 { v4 } else { v6 },
        ]
        .concat()
    };
    let sll2 = [&[0x86, 0xdd, 0, 0, 0, 0, 0, 1, 0, 1, 4, 6, 2, 0, 0, 0, 0, 9, 0, 0], v6].concat();
    let null = |family: [u8; 4], body: &[u8]| [&family[..], body].concat();
    let cases: [(&str, u32, Vec<u8>, &[u8]); 14] = [
        ("raw 12", 12, v4.to_vec(), v4),
        ("raw 14", 14, v6.to_vec(), v6),
        ("raw 101", 101, v6.to_vec(), v6),
        ("ipv4", 228, v4.to_vec(), v4),
        ("ipv6", 229, v6.to_vec(), v6),
        ("sll 4", 113, sll(4, 0x0800), v4),
        ("sll 6", 113, sll(6, 0x86dd), v6),
        ("sll2", 276, sll2, v6),
        ("null little", 0, null([2, 0, 0, 0], v4), v4),
        ("null big", 0, null([0, 0, 0, 2], v4), v4),
        ("null darwin", 0, null([30, 0, 0, 0], v6), v6),
        ("null freebsd", 0, null([28, 0, 0, 0], v6), v6),
        ("loop", 108, null([0, 0, 0, 24], v6), v6),
        ("null linux", 0, null([10, 0, 0, 0], v6), v6),
    ];
    for (name, number, data, body) in cases {
        let header = data.len() - body.len();
        // Captured whole, said to be 100 bytes longer on the wire.
        let long = Rec { len: data.len() as u32 + 100, ..rec(&data) };
        let (link, records, error, unmapped) = read("link", &pcap(LITTLE, MICRO, number, &[long]));
        assert_eq!((link.map(|l| l.header_len()), error, unmapped), (Ok(header), None, 0), "{name}");
        let [record] = &records[..] else { panic!("{name}: {records:?}") };
        assert_eq!((&record.frame[14..], record.wire_len as usize), (body, body.len() + 114), "{name}");
        let layout = Layout::parse(&record.frame);
        assert_eq!(layout.stop, Stop::Whole, "{name}");
        let (src, dst) = layout.addresses(&record.frame).unwrap();
        assert_eq!(record.frame[..6], host_mac(dst).0, "{name}");
        assert_eq!(record.frame[6..12], host_mac(src).0, "{name}");
    }
}

#[test]
fn cooked_arp_and_llc_keep_what_they_know() {
    let arp = &common::arp_frame()[14..42];
    let header = |kind: u8, hardware: u16, proto: u16| {
        let mut out = vec![0, kind];
        out.extend(hardware.to_be_bytes());
        out.extend([0, 6, 2, 0, 0, 0, 0, 9, 0, 0]);
        out.extend(proto.to_be_bytes());
        out
    };
    let file = |head: Vec<u8>, body: &[u8]| {
        read("cooked", &pcap(LITTLE, MICRO, 113, &[rec(&[&head[..], body].concat())]))
    };
    let (_, records, _, _) = file(header(1, 1, 0x0806), arp);
    assert_eq!(records[0].frame[..6], MacAddr::BROADCAST.0);
    assert_eq!(records[0].frame[6..12], [2, 0, 0, 0, 0, 1]);
    assert!(matches!(Layout::parse(&records[0].frame).net, Net::Arp { at: 14 }));
    let (_, records, _, _) = file(header(2, 1, 0x0004), &[0x42, 0x42, 3, 0, 0]);
    assert_eq!(records[0].frame[6..14], [2, 0, 0, 0, 0, 9, 0, 5]);
    // Netlink's protocol field is no ethertype; a protocol below 0x0600 that Ethernet has no length for.
    for (hardware, proto) in [(824, 0), (1, 0x000c)] {
        let (_, records, error, unmapped) = file(header(0, hardware, proto), &[1; 20]);
        assert_eq!((records.len(), error, unmapped), (0, None, 1));
    }
}

#[test]
fn records_without_ethernet_form_are_counted() {
    for (link, data) in
        [(101, &[][..]), (101, &[0x50, 1]), (0, &[2, 0]), (0, &[7, 0, 0, 0, 1]), (276, &[8; 19])]
    {
        let (_, records, error, unmapped) =
            read("unmapped", &pcap(LITTLE, MICRO, link, &[rec(data), rec(data)]));
        assert_eq!((records.len(), error, unmapped), (0, None, 2), "{link} {data:?}");
    }
    // An empty Ethernet record is a frame of which nothing was kept.
    let empty = Rec { len: 60, ..rec(&[]) };
    let (_, records, _, unmapped) = read("empty", &pcap(LITTLE, MICRO, 1, &[empty]));
    assert_eq!((records[0].wire_len, records[0].frame.len(), unmapped), (60, 0, 0));
}

#[test]
fn odd_lengths_and_times_are_values() {
    let frame = syn();
    let short = Rec { len: 3, ..rec(&frame) };
    let huge = Rec { len: u32::MAX, time: (u32::MAX, 999_999), ..rec(&frame) };
    let carried = Rec { time: (7, 1_500_000), ..rec(&frame) };
    let (_, records, error, _) = read("odd", &pcap(LITTLE, MICRO, 1, &[short, huge, carried]));
    assert_eq!(error, None);
    assert_eq!(records[0].wire_len as usize, frame.len());
    assert_eq!((records[1].wire_len, records[1].time_ns), (u32::MAX, 4_294_967_295_999_999_000));
    assert_eq!(records[2].time_ns, 8_500_000_000);
    let (_, records, _, _) =
        read("raw", &pcap(LITTLE, MICRO, 101, &[Rec { len: u32::MAX, ..rec(&frame[14..]) }]));
    assert_eq!(records[0].wire_len, u32::MAX);
}

#[test]
fn damaged_files_give_their_records_and_a_clear_error() {
    let frame = syn();
    let whole = pcap(LITTLE, MICRO, 1, &[rec(&frame), rec(&frame)]);
    for cut in [whole.len() - 1, whole.len() - frame.len() - 1] {
        let (_, records, error, _) = read("cut.pcap", &whole[..cut]);
        let error = error.unwrap();
        assert_eq!(records.len(), 1);
        assert!(error.contains("cut.pcap, record 1: ") && error.contains("truncated dump file"), "{error}");
    }
    let claims = Rec { caplen: u32::MAX, ..rec(&frame) };
    let (_, records, error, _) = read("claims", &pcap(LITTLE, MICRO, 1, &[rec(&frame), claims]));
    assert_eq!(records.len(), 1);
    assert!(error.unwrap().contains("invalid packet capture length 4294967295"));
    let (open, ..) = read("text", b"this is no capture, but long enough to be one");
    assert!(open.unwrap_err().contains("unknown file format"));
    let (open, ..) = read("link", &pcap(LITTLE, MICRO, 104, &[]));
    assert!(open.unwrap_err().contains("has link type 104 (C_HDLC): expected ethernet (1)"));
    let (_, records, error, _) = read("mixed", &pcapng(LITTLE, &[1, 113], 5, &frame));
    assert_eq!(records.len(), 0);
    assert!(error.unwrap().contains("type"), "interfaces of different types must not be silently dropped");
}

#[test]
fn paths_that_libpcap_would_misread_are_errors() {
    let error = Capture::open("-".as_ref()).unwrap_err();
    assert!(
        matches!(error, CaptureError::Open { .. }) && error.to_string().contains("No such file"),
        "{error}"
    );
    let bytes = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"caf\xe9.pcap");
    let error = Capture::open(bytes.as_ref()).unwrap_err();
    assert!(error.to_string().contains("not valid utf-8"), "{error}");
    assert!(Capture::open(env!("CARGO_MANIFEST_DIR").as_ref()).is_err());
}
