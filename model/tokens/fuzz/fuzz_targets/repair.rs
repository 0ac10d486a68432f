//! Any session of headers: what repair keeps is whole, can be filled, and needs no second repair.
#![no_main]

mod frames;

use libfuzzer_sys::fuzz_target;
use netssm_tokens::{
    codec::RawPacket,
    repair::{Repair, RepairDrop},
};
use netssm_wire::{
    checksum::{self, Check},
    frame::{Layout, Stop},
};

fuzz_target!(|data: &[u8]| {
    let mut repair = Repair::new();
    for header in frames::frames(data) {
        let Ok(packet) = repair.repair(&RawPacket::new(header)) else { continue };
        let mut frame = packet.header.clone();
        frame.resize(packet.wire_len as usize, 0);
        checksum::fill(&mut frame).expect("a whole frame");
        let layout = Layout::parse(&frame);
        assert_eq!(layout.stop, Stop::Whole);
        assert!(layout.l3_end().is_none_or(|end| end == frame.len()));
        let checks = checksum::verify(&frame);
        assert!(checks.ipv4 != Check::Bad && checks.transport != Check::Bad);
        let kinds: Vec<_> = repair.counts().kinds().collect();
        let again = repair.repair(&RawPacket::new(packet.header.clone()));
        assert_eq!(again.as_ref(), Ok(&packet));
        assert_eq!(repair.counts().kinds().collect::<Vec<_>>(), kinds);
    }
    assert_eq!(repair.counts().drops(RepairDrop::Unrepairable), 0);
});
