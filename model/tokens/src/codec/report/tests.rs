//! Reports of captures made on the spot.

use super::*;
use crate::codec::flow::{Parameters, Slots};
use crate::codec::{Form, Width};

/// A classic pcap with these frames, one millisecond apart.
fn capture(dir: &Path, frames: &[Vec<u8>]) -> std::path::PathBuf {
    let path = dir.join("x.pcap");
    let mut file: Vec<u8> =
        [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    for (i, frame) in frames.iter().enumerate() {
        for word in [1_700_000_000, i as u32 * 1_000, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    std::fs::write(&path, file).expect("written");
    path
}

fn udp(port: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 32, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 168, 0, 9, 8, 8, 8, 8]);
    frame.extend(port.to_be_bytes());
    frame.extend([0x01, 0xbb, 0, 12, 0, 0, 1, 2, 3, 4]);
    frame
}

fn lldp() -> Vec<u8> {
    [&[1, 0x80, 0xc2, 0, 0, 0x0e, 2, 2, 2, 2, 2, 2, 0x88, 0xcc][..], &[7; 40]].concat()
}

#[test]
fn bytes_come_back_in_every_form_and_what_is_not_carried_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = capture(dir.path(), &[udp(40_000), lldp(), udp(40_001), udp(40_000)]);
    for (width, form) in [
        (Width::Variable, Form::Canonical),
        (Width::Variable, Form::Raw),
        (Width::Fixed(94), Form::Canonical),
        (Width::Fixed(94), Form::Raw),
    ] {
        let choice = CodecChoice::Bytes { width, form };
        let trip = roundtrip(&choice, &path, None).expect("a capture");
        assert_eq!((trip.packets, trip.encoded, trip.differing), (4, 3, 0), "{choice:?}: {trip:?}");
        assert_eq!(trip.skipped, BTreeMap::from([("ethertype", 1)]));
        assert!(trip.first.is_none() && trip.damage.is_none());
        let mut tally = Tally::default();
        let measured = measure(&choice, &path, None, &mut tally).expect("a capture");
        assert_eq!((measured.encoded, measured.tokens), (3, trip.tokens));
        assert_eq!(tally.kinds().last().map(|row| row.packets), Some(3));
    }
}

#[test]
fn flows_come_back_with_time_and_length_and_everything_is_carried() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = capture(dir.path(), &[udp(40_000), lldp(), udp(40_001), udp(40_000)]);
    for (fine, slots) in [(true, Slots::Recent), (false, Slots::Fixed)] {
        let choice = CodecChoice::Flow(Parameters { fine, slots });
        let trip = roundtrip(&choice, &path, None).expect("a capture");
        assert_eq!((trip.packets, trip.encoded, trip.differing), (4, 4, 0), "{trip:?}");
        assert!(trip.skipped.is_empty() && trip.side_bits > 0 && trip.tokens < 120, "{trip:?}");
        let mut tally = Tally::default();
        let measured = measure(&choice, &path, None, &mut tally).expect("a capture");
        assert_eq!((measured.tokens, measured.side_bits), (trip.tokens, trip.side_bits));
        let fine_tokens = tally.classes().iter().any(|row| row.class == "TIME_FINE" && row.packets > 0);
        assert_eq!(fine_tokens, fine);
        let bits: f64 = tally.side().iter().map(|row| row.bits_per_packet).sum();
        assert!((bits * 4.0 - trip.side_bits as f64).abs() < 1e-6);
        let opening = tally.kinds().into_iter().find(|row| row.kind == "first packet of a flow");
        assert_eq!(opening.map(|row| row.packets), Some(2));
    }
}

#[test]
fn a_limit_a_cut_and_noise_are_told_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = capture(dir.path(), &[udp(1), udp(2), udp(3)]);
    let choice = CodecChoice::Bytes { width: Width::Variable, form: Form::Canonical };
    let limited = roundtrip(&choice, &path, Some(2)).expect("a capture");
    assert_eq!((limited.packets, limited.damage.is_some()), (2, false));
    let whole = std::fs::read(&path).expect("there");
    std::fs::write(&path, &whole[..whole.len() - 5]).expect("written");
    let cut = roundtrip(&choice, &path, None).expect("a capture");
    assert_eq!((cut.packets, cut.differing, cut.damage.is_some()), (2, 0, true));
    std::fs::write(&path, "noise").expect("written");
    assert!(matches!(roundtrip(&choice, &path, None), Err(ReportError::Capture(_))));
}

#[test]
fn the_first_difference_is_named() {
    assert_eq!(parting(&[1, 2, 3], &[1, 9, 3]), "byte 1: expected 0x02, got 0x09");
    assert_eq!(parting(&[1, 2, 3], &[1, 2]), "header length: expected 3, got 2");
    let mut trip = Trip::default();
    trip.differs(7, "time".to_owned());
    trip.differs(9, "byte 3".to_owned());
    assert_eq!(trip.differing, 2);
    assert_eq!(trip.first, Some(Difference { packet: 7, field: "time".to_owned() }));
}
