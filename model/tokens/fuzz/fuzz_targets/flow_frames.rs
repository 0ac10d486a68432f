//! Any frames: what the flow codec writes of them comes back, with time and length on the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_tokens::codec::flow::{Parameters, RecordReader, Recorder, record::Record, side_channel::SideTable};

fuzz_target!(|frames: Vec<(i32, u32, Vec<u8>)>| {
    let (mut recorder, mut side, mut tokens) =
        (Recorder::new(Parameters::default()), SideTable::default(), Vec::new());
    let mut time_us = 0;
    let mut records = Vec::new();
    for (gap, wire_len, bytes) in &frames {
        time_us += i64::from(*gap);
        let record = Record::parse(time_us, *wire_len, bytes);
        recorder.push(&record, &mut tokens, &mut side);
        records.push(record);
    }
    let mut reader = RecordReader::new(Parameters::default(), &tokens, &mut side);
    for record in &records {
        let back =
            reader.next_record().expect("what was written can be read").expect("as many as were written");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        record.emit(&mut before);
        back.emit(&mut after);
        assert_eq!((record.time_us, record.wire_len, before), (back.time_us, back.wire_len, after));
    }
    assert_eq!(reader.next_record(), Ok(None));
});
