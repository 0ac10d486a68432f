//! Frames built byte by byte, with an oracle that knows what was put where.

use super::*;
use proptest::prelude::*;

const LOCAL: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VENDOR: [u8; 6] = [0x00, 0x1b, 0x21, 1, 2, 3];

fn list(groups: GroupPolicy) -> Allowlist {
    let prefixes = ["10.10.0.0/16", "10.20.0.0/25", "fd00:10::/64"].map(|p| p.parse().unwrap());
    Allowlist::new(&prefixes, groups)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ethernet(dst: [u8; 6], src: [u8; 6], tags: usize, ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = [dst, src].concat();
    for tag in 0..tags {
        frame.extend([0x81, 0x00, 0, tag as u8 + 5]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(body);
    frame
}

/// An IP header with its upper layer, whichever family the addresses are of.
fn packet(src: IpAddr, dst: IpAddr, protocol: u8, upper: &[u8]) -> (u16, Vec<u8>) {
    let mut out = Vec::new();
    let ethertype = if src.is_ipv4() {
        out.extend([0x45, 0]);
        out.extend(((20 + upper.len()) as u16).to_be_bytes());
        out.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
        0x0800
    } else {
        out.extend([0x60, 0, 0, 0]);
        out.extend((upper.len() as u16).to_be_bytes());
        out.extend([protocol, 64]);
        0x86dd
    };
    out.extend(octets(src));
    out.extend(octets(dst));
    out.extend(upper);
    (ethertype, out)
}

fn frame(src: &str, dst: &str, protocol: u8, upper: &[u8]) -> Vec<u8> {
    let (ethertype, body) = packet(ip(src), ip(dst), protocol, upper);
    ethernet(LOCAL, LOCAL, 0, ethertype, &body)
}

fn arp(sha: [u8; 6], spa: &str, tha: [u8; 6], tpa: &str) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend(sha);
    body.extend(octets(ip(spa)));
    body.extend(tha);
    body.extend(octets(ip(tpa)));
    ethernet([0xff; 6], LOCAL, 0, 0x0806, &body)
}

fn icmp(kind: u8, rest: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0];
    out.extend(rest);
    out.extend(quoted);
    out
}

fn refused(list: &Allowlist, frame: &[u8]) -> String {
    list.check(frame).expect_err("must be refused").to_string()
}

#[test]
fn hosts_of_the_prefixes_pass_and_others_are_named() {
    let list = list(GroupPolicy::Drop);
    list.check(&frame("10.10.255.255", "10.20.0.127", 17, &[0; 8])).unwrap();
    list.check(&frame("fd00:10::1", "fd00:10::ffff:ffff:ffff:ffff", 6, &[0; 20])).unwrap();
    assert_eq!(
        refused(&list, &frame("10.10.0.1", "8.8.8.8", 17, &[0; 8])),
        "ipv4 destination 8.8.8.8 is in no allowed prefix"
    );
    assert_eq!(
        refused(&list, &frame("10.20.0.128", "10.10.0.1", 17, &[0; 8])),
        "ipv4 source 10.20.0.128 is in no allowed prefix"
    );
    assert_eq!(
        refused(&list, &frame("fd00:10::1", "fd00:11::1", 17, &[0; 8])),
        "ipv6 destination fd00:11::1 is in no allowed prefix"
    );
}

#[test]
fn groups_and_link_local_hosts_depend_on_the_policy() {
    let (keep, drop) = (list(GroupPolicy::Keep), list(GroupPolicy::Drop));
    for f in [
        frame("10.10.0.1", "224.0.0.251", 17, &[0; 8]),
        frame("10.10.0.1", "255.255.255.255", 17, &[0; 8]),
        frame("0.0.0.0", "255.255.255.255", 17, &[0; 8]),
        frame("fe80::1", "ff02::fb", 17, &[0; 8]),
        frame("::", "ff02::1:ff00:1", 58, &icmp(143, [0; 4], &[])),
        frame("fe80::1", "fe80::2", 6, &[0; 20]),
        arp(LOCAL, "0.0.0.0", [0; 6], "10.10.0.1"),
        arp(LOCAL, "10.10.0.1", [0; 6], "0.0.0.0"),
        arp(LOCAL, "10.10.0.1", [0; 6], "224.0.0.1"),
        arp([0xff; 6], "224.0.0.1", [0; 6], "10.10.0.1"),
        arp(LOCAL, "10.10.0.1", [0; 6], "255.255.255.255"),
        arp(LOCAL, "10.10.0.1", LOCAL, "10.10.0.1"),
    ] {
        keep.check(&f).unwrap();
        drop.check(&f).unwrap_err();
    }
    for f in [
        frame("224.0.0.1", "10.10.0.1", 17, &[0; 8]),
        frame("10.10.0.1", "0.0.0.0", 17, &[0; 8]),
        frame("fe80:0:0:1::1", "ff02::1", 17, &[0; 8]),
        frame("169.254.0.1", "10.10.0.1", 17, &[0; 8]),
        arp(LOCAL, "10.10.0.1", [0; 6], "192.168.0.1"),
        arp(LOCAL, "1.1.1.1", [0; 6], "10.10.0.1"),
    ] {
        keep.check(&f).unwrap_err();
    }
}

#[test]
fn ethernet_addresses_are_local_fixed_or_ip_groups() {
    let keep = list(GroupPolicy::Keep);
    let (ethertype, body) = packet(ip("10.10.0.1"), ip("10.10.0.2"), 17, &[0; 8]);
    let with = |dst, src| ethernet(dst, src, 1, ethertype, &body);
    keep.check(&with(LOCAL, LOCAL)).unwrap();
    let text = refused(&keep, &with(LOCAL, VENDOR));
    assert_eq!(text, "ethernet source 00:1b:21:01:02:03 is not an address of the testbed");
    keep.check(&with(VENDOR, LOCAL)).unwrap_err();
    keep.clone().with_macs([MacAddr(VENDOR)]).check(&with(VENDOR, VENDOR)).unwrap();
    for group in [[0xff; 6], [0x01, 0, 0x5e, 0, 0, 0xfb], [0x33, 0x33, 0, 0, 0, 1]] {
        keep.check(&with(group, LOCAL)).unwrap();
        list(GroupPolicy::Drop).check(&with(group, LOCAL)).unwrap_err();
        keep.check(&with(LOCAL, group)).unwrap_err();
    }
    for protocol_group in
        [[0x01, 0x80, 0xc2, 0, 0, 0], [0x01, 0, 0x0c, 0xcc, 0xcc, 0xcc], [0x01, 0, 0x5e, 0x80, 0, 0]]
    {
        keep.check(&with(protocol_group, LOCAL)).unwrap_err(); // spanning tree, CDP, not RFC 1112's half
    }
    keep.check(&arp(VENDOR, "10.10.0.1", [0; 6], "10.10.0.2")).unwrap_err();
    keep.check(&arp(LOCAL, "10.10.0.1", VENDOR, "10.10.0.2")).unwrap_err();
}

#[test]
fn what_cannot_be_read_is_refused() {
    let keep = list(GroupPolicy::Keep);
    assert_eq!(refused(&keep, &[2; 11]), "ethernet header is cut or malformed");
    let lldp = ethernet(LOCAL, LOCAL, 0, 0x88cc, &[0; 46]);
    assert_eq!(refused(&keep, &lldp), "ethertype 0x88cc is neither ip nor arp");
    let good = frame("10.10.0.1", "10.10.0.2", 17, &[0; 8]);
    for cut in 0..34 {
        keep.check(&good[..cut]).unwrap_err();
    }
    let six = frame("fd00:10::1", "fd00:10::2", 17, &[0; 8]);
    for cut in 0..54 {
        keep.check(&six[..cut]).unwrap_err();
    }
    let mut foreign = arp(LOCAL, "10.10.0.1", [0; 6], "10.10.0.2");
    foreign[14 + 4] = 8; // hardware addresses of 8 bytes: the IP addresses are elsewhere
    assert_eq!(refused(&keep, &foreign), "arp header is cut or malformed");
    let three_tags = ethernet(LOCAL, LOCAL, 3, 0x0800, &good[14..]);
    keep.check(&three_tags).unwrap_err();
}

#[test]
fn routes_are_refused() {
    let keep = list(GroupPolicy::Keep);
    for kind in [7, 68, 131, 137] {
        let mut f = frame("10.10.0.1", "10.10.0.2", 17, &[0; 8]);
        f[14] = 0x47;
        f.splice(34..34, [1, kind, 7, 4, 8, 8, 8, 8]);
        assert_eq!(refused(&keep, &f), "ipv4 header carries a route", "option {kind}");
    }
    let mut alert = frame("10.10.0.1", "224.0.0.22", 2, &[0; 8]);
    alert[14] = 0x46;
    alert.splice(34..34, [148, 4, 0, 0]);
    keep.check(&alert).unwrap();
    // Hop-by-hop options, then a routing header of 24 bytes, then UDP.
    let mut upper = vec![43, 0, 0, 0, 0, 0, 0, 0, 17, 2, 0, 1, 0, 0, 0, 0];
    upper.extend(octets(ip("2001:db8::1")));
    upper.extend([0; 8]);
    let routed = frame("fd00:10::1", "fd00:10::2", 0, &upper);
    assert_eq!(refused(&keep, &routed), "ipv6 header carries a route");
}

#[test]
fn packets_quoted_by_errors_are_read() {
    let keep = list(GroupPolicy::Keep);
    let quote = |src: &str, dst: &str| packet(ip(src), ip(dst), 17, &[0; 8]).1;
    for kind in [3, 4, 11, 12] {
        let good = icmp(kind, [0; 4], &quote("10.10.0.2", "10.10.0.1"));
        keep.check(&frame("10.10.0.1", "10.10.0.2", 1, &good)).unwrap();
        let bad = icmp(kind, [0; 4], &quote("10.10.0.2", "9.9.9.9"));
        let text = refused(&keep, &frame("10.10.0.1", "10.10.0.2", 1, &bad));
        assert_eq!(text, "icmp quoted destination 9.9.9.9 is in no allowed prefix");
        keep.check(&frame("10.10.0.1", "10.10.0.2", 1, &good[..20])).unwrap_err(); // quote cut
    }
    let redirect = |gateway| icmp(5, gateway, &quote("10.10.0.2", "10.10.0.1"));
    keep.check(&frame("10.10.0.1", "10.10.0.2", 1, &redirect([10, 10, 0, 9]))).unwrap();
    keep.check(&frame("10.10.0.1", "10.10.0.2", 1, &redirect([192, 168, 0, 9]))).unwrap_err();
    let of_group = icmp(3, [0; 4], &quote("224.0.0.5", "10.10.0.1"));
    for policy in [GroupPolicy::Keep, GroupPolicy::Drop] {
        // Nonsense, but nobody's address, and nothing goes there.
        list(policy).check(&frame("10.10.0.1", "10.10.0.2", 1, &of_group)).unwrap();
    }
    let six = |dst| frame("fd00:10::1", "fd00:10::2", 58, &icmp(1, [0; 4], &quote("fd00:10::2", dst)));
    keep.check(&six("fd00:10::1")).unwrap();
    let text = refused(&keep, &six("2001:4860:4860::8888"));
    assert_eq!(text, "icmpv6 quoted destination 2001:4860:4860::8888 is in no allowed prefix");
}

#[test]
fn neighbour_discovery_is_read() {
    let keep = list(GroupPolicy::Keep);
    let solicit = |target: &str, mac: [u8; 6]| {
        let mut body = icmp(135, [0; 4], &octets(ip(target)));
        body.extend([1, 1]);
        body.extend(mac);
        frame("fe80::1", "ff02::1:ff00:2", 58, &body)
    };
    keep.check(&solicit("fd00:10::2", LOCAL)).unwrap();
    keep.check(&solicit("fe80::2", LOCAL)).unwrap();
    keep.check(&solicit("2001:db8::2", LOCAL)).unwrap_err();
    keep.check(&solicit("fd00:10::2", VENDOR)).unwrap_err();
    let advertise = |prefix: &str| {
        let mut body = icmp(134, [64, 0, 0, 0], &[0; 8]);
        body.extend([3, 4, 64, 0xc0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 0]);
        body.extend(octets(ip(prefix)));
        frame("fe80::1", "ff02::1", 58, &body)
    };
    keep.check(&advertise("fd00:10::")).unwrap();
    keep.check(&advertise("2001:db8:5::")).unwrap_err();
}

#[test]
fn fragments_are_judged_by_their_ip_header() {
    let keep = list(GroupPolicy::Keep);
    let later = |dst| {
        let mut f = frame("10.10.0.1", dst, 1, &[0xff; 24]);
        f[21] = 4;
        f
    };
    keep.check(&later("10.10.0.2")).unwrap();
    keep.check(&later("8.8.8.8")).unwrap_err();
    let mut first = frame("10.10.0.1", "10.10.0.2", 1, &icmp(3, [0; 4], &[0x45; 12]));
    first[20] = 0x20; // more to come, and the quote is cut
    keep.check(&first).unwrap_err();
}

#[test]
fn a_plan_must_lie_within_the_allowed_prefixes() {
    let nets = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpNet>>();
    let plan = AddressPlan {
        clients: nets(&["10.10.0.0/16"]),
        servers: nets(&["10.20.0.0/16"]),
        client_mac: MacPolicy::Fixed(MacAddr(VENDOR)),
        server_mac: MacPolicy::PerHost,
        vlan: None,
        ports: crate::rewrite::PortPolicy::Fresh,
        multicast: GroupPolicy::Drop,
    };
    let list = Allowlist::for_plan(&plan, &nets(&["10.0.0.0/8"])).unwrap().with_interfaces(["veth0"]);
    assert_eq!(list.macs, [MacAddr(VENDOR)]);
    list.check_interface("veth0").unwrap();
    let text = list.check_interface("eth0").unwrap_err().to_string();
    assert_eq!(text, "interface \"eth0\" is not among the allowed ones");
    let error = Allowlist::for_plan(&plan, &nets(&["10.10.0.0/16", "10.20.0.0/17"])).unwrap_err();
    assert_eq!(error.to_string(), "server prefix 10.20.0.0/16 is not covered by the allowed prefixes");
}

/// Addresses from in and around the allowed ranges, so that both verdicts are common.
fn some_v4() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u8..255, 0u8..255).prop_map(|(c, d)| IpAddr::from([10, 10, c, d])),
        (0u8..=255).prop_map(|d| IpAddr::from([10, 20, 0, d])),
        (0u8..255, 0u8..255).prop_map(|(a, d)| IpAddr::from([a, 0, 0, d])),
    ]
}

fn some_v6() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u64>().prop_map(|low| IpAddr::from((0xfd00_0010_u128 << 96 | u128::from(low)).to_be_bytes())),
        any::<u128>().prop_map(|bits| IpAddr::from(bits.to_be_bytes())),
        any::<u64>().prop_map(|low| IpAddr::from((0xfe80_u128 << 112 | u128::from(low)).to_be_bytes())),
    ]
}

/// What the prefixes of [`list`] hold, said without them.
fn oracle(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            (a, b) == (10, 10) || ((a, b, c) == (10, 20, 0) && d < 128)
        }
        IpAddr::V6(ip) => ip.segments()[..4] == [0xfd00, 0x10, 0, 0],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_frame_passes_exactly_if_all_its_addresses_are_allowed(
        outer in prop_oneof![(some_v4(), some_v4()), (some_v6(), some_v6())],
        quote in proptest::option::of(prop_oneof![(some_v4(), some_v4()), (some_v6(), some_v6())]),
        tags in 0usize..=2,
        payload in proptest::collection::vec(any::<u8>(), 20..60),
    ) {
        // Quotes of the other family cannot be read as the error's own; leave those to the other tests.
        let quote = quote.filter(|q| q.0.is_ipv4() == outer.0.is_ipv4());
        let (protocol, upper) = match &quote {
            None => (17, payload.clone()),
            Some((src, dst)) => {
                let quoted = packet(*src, *dst, 6, &payload).1;
                if outer.0.is_ipv4() { (1, icmp(3, [0; 4], &quoted)) } else { (58, icmp(3, [0; 4], &quoted)) }
            }
        };
        let (ethertype, body) = packet(outer.0, outer.1, protocol, &upper);
        let frame = ethernet(LOCAL, LOCAL, tags, ethertype, &body);
        let nobodys = |ip: IpAddr| ip.is_multicast() || ip.is_unspecified() || is_link_local(ip);
        let expected = [outer.0, outer.1].into_iter().all(oracle)
            && quote.iter().flat_map(|(a, b)| [*a, *b]).all(|ip| oracle(ip) || nobodys(ip));
        prop_assert_eq!(list(GroupPolicy::Drop).check(&frame).is_ok(), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = list(GroupPolicy::Keep).check(&frame);
    }

    #[test]
    fn damaged_frames_never_carry_a_foreign_address(
        flips in proptest::collection::vec((0usize..98, any::<u8>()), 1..6), cut in 0usize..98,
    ) {
        let quoted = packet(ip("fd00:10::3"), ip("fd00:10::4"), 17, &[0; 8]).1;
        let mut f = frame("fd00:10::1", "fd00:10::2", 58, &icmp(1, [0; 4], &quoted[..44]));
        for (at, value) in flips {
            f[at] = value;
        }
        f.truncate(98 - cut % 30);
        if list(GroupPolicy::Drop).check(&f).is_ok() {
            let layout = Layout::parse(&f);
            let Net::Ipv6(six) = layout.net else { panic!("{layout:?}") };
            prop_assert!(oracle(v6_at(&f, six.at + 8).unwrap()) && oracle(v6_at(&f, six.at + 24).unwrap()));
        }
    }
}
