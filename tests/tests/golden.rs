//! Case `golden-rewrite`: bytes that must not change by accident. `make golden` records them again.

use std::path::Path;
use std::time::Duration;

use netssm_tests::case::Case;
use netssm_tests::{binary, captures, judges};

#[test]
fn a_rewritten_capture_has_the_recorded_bytes() {
    let case = Case::open("golden-rewrite");
    let input = case.path("in.pcap");
    captures::write_mixed_capture(Path::new(&input));
    let mut recorded = String::new();
    for (name, flags) in
        [("payload kept", &["--seed", "9"][..]), ("payload made up", &["--seed", "9", "--synthetic-payload"])]
    {
        let out = case.path(&format!("{}.pcap", name.replace(' ', "-")));
        let mut args =
            vec!["rewrite", &input, &out, "--clients", "10.10.0.0/16", "--servers", "10.20.0.0/16"];
        args.extend(flags);
        let _ = binary::run(&args, None, Duration::from_secs(30)).expect_code(0);
        let capture = Path::new(&out);
        assert_eq!(captures::totals(capture).packets, 10, "no packet of a sound capture is left out");
        // Bytes are worth recording only if Suricata accepts them.
        if let Some(verdict) = judges::suricata(capture) {
            verdict.assert_clean(10);
        }
        let labels = capture.with_extension("labels.jsonl");
        for file in [capture, &labels] {
            let kind = if file == capture { "capture" } else { "labels" };
            recorded.push_str(&format!("{}  {name}, {kind}\n", captures::sha256(file)));
        }
    }
    let expected = case.folder.join("expect.txt");
    if std::env::var("NETSSMD_BLESS").as_deref() == Ok("1") {
        std::fs::write(&expected, &recorded).expect("record the bytes");
    }
    let known = std::fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(recorded, known, "bytes differ from {}; if they should, run make golden", expected.display());
}
