//! The judges must be able to say no: Suricata and tshark, called as the other tests call them, on captures that are
//! known to be broken.

use netssm_tests::{captures, judges, need};

#[test]
fn suricata_notices_wrong_checksums_and_cut_packets() {
    let Some(data) = need::data() else { return };
    for (file, alert) in [
        ("bad-checksum-ipv4-header.pcap", "ipv4 header checksum"),
        ("bad-checksum-tcp.pcap", "tcp over ipv4 checksum"),
        ("bad-checksum-udp-ipv6.pcap", "udp over ipv6 checksum"),
    ] {
        let Some(verdict) = judges::suricata(&data.join("oddities").join(file)) else { return };
        assert_eq!(verdict.checksum_alerts, [alert], "{file}");
    }
    let Some(verdict) = judges::suricata(&data.join("oddities/ipv4-truncated-packet.pcap")) else { return };
    assert_eq!((verdict.packets, verdict.invalid), (1, 1), "{verdict:?}");
}

#[test]
fn tshark_notices_malformed_packets_and_wrong_checksums() {
    let Some(data) = need::data() else { return };
    for file in ["bad-checksum-tcp.pcap", "tcp-options-malformed.pcap"] {
        let Some(lines) = judges::tshark_complaints(&data.join("oddities").join(file)) else { return };
        assert!(!lines.is_empty(), "tshark finds nothing wrong with {file}");
    }
}

#[test]
fn suricata_tells_an_undecodable_packet_from_a_wrong_checksum() {
    // In UDP over IPv4, zero means "no checksum". But the zero in the IPv4 header of these packets is wrong. Suricata
    // must complain about each packet, and still count all of them as decodable.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("made.pcap");
    captures::write_udp_capture(&file, 40, 1000);
    let Some(verdict) = judges::suricata(&file) else { return };
    assert_eq!((verdict.packets, verdict.invalid), (40, 0), "{verdict:?}");
    assert_eq!(verdict.checksum_alerts.len(), 40, "{verdict:?}");
}
