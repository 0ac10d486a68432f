//! Case `netssm-directory`: the bytes codec as NetSSM uses it, from captures to sessions, and inputs that do not fit
//! it.

use std::path::Path;
use std::time::Duration;

use netssm_tests::binary::{self, Finished};
use netssm_tests::captures;
use netssm_tests::case::Case;

fn netssmd(args: &[&str]) -> Finished {
    binary::run(args, None, Duration::from_secs(120))
}

/// Turns a netssmd checkpoint into a directory of NetSSM's form: token ids and weights stay, netssm.json goes.
fn into_netssms(checkpoint: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new folder");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(checkpoint.join(file), to.join(file)).expect("copied");
    }
    let record = std::fs::read_to_string(checkpoint.join("netssm.json")).expect("a checkpoint");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let token = |id: &serde_json::Value, name: &str| serde_json::json!({"id": id, "content": name});
    let mut added = vec![token(&record["vocab"]["packet"], "<|pkt|>")];
    for label in record["vocab"]["labels"].as_array().expect("labels") {
        let name = format!("<|{}|>", label["name"].as_str().expect("a name"));
        added.push(token(&label["id"], &name));
    }
    let bytes: serde_json::Map<String, serde_json::Value> =
        (0..256).map(|byte| (byte.to_string(), byte.into())).collect();
    let tokenizer =
        serde_json::json!({"added_tokens": added, "model": {"type": "WordLevel", "vocab": bytes}});
    std::fs::write(to.join("tokenizer.json"), tokenizer.to_string()).expect("written");
}

#[test]
fn netssms_own_directory_generates_when_its_width_is_said() {
    let case = Case::open("netssm-directory");
    let config = case.folder.join("tiny.toml").to_string_lossy().into_owned();
    let at = |name: &str| case.path(name);
    std::fs::create_dir_all(at("captures/web")).expect("a new folder");
    for i in 0..6 {
        captures::write_udp_capture(Path::new(&at(&format!("captures/web/{i}.pcap"))), 20 + i, 1000);
    }
    let prepare = |more: &[&str], out: &str| {
        netssmd(&[&["prepare", "--in", &at("captures"), "--out", &at(out)], more].concat())
    };
    let _ = prepare(&["--codec", "bytes", "--form", "raw", "--width", "94"], "corpus").expect_code(0);
    let train = |corpus: &str, out: &str, more: &[&str]| {
        let (corpus, out) = (at(corpus), at(out));
        let args = ["train", "--corpus", &corpus, "--config", &config, "--out", &out, "--device", "cpu"];
        netssmd(&[&args, more].concat())
    };
    let _ = train("corpus", "run", &[]).expect_code(0);
    let ours = at("run/best");
    into_netssms(Path::new(&ours), Path::new(&at("netssm")));

    let generate = |model: &str, more: &[&str]| {
        let out = at("generated.pcap");
        let _ = std::fs::remove_file(&out);
        let args = [
            "generate",
            "--model",
            model,
            "--label",
            "web",
            "--sessions",
            "2",
            "--packets",
            "4",
            "--out",
            &out,
        ];
        netssmd(&[&args, more].concat())
    };
    let _ = generate(&at("netssm"), &["--width", "94", "--gap", "20ms"]).expect_code(0);
    let mut times = Vec::new();
    captures::for_each(Path::new(&at("generated.pcap")), |time, _, _| times.push(time));
    assert!(times.len() >= 2, "{times:?}");
    let untimed = generate(&at("netssm"), &["--width", "94"]).expect_code(78);
    assert!(untimed.stderr.contains("give a fixed gap (--gap)"), "{}", untimed.stderr);
    let unsaid = generate(&at("netssm"), &[]).expect_code(78);
    assert!(
        unsaid.stderr.contains("tokenizer.json") && unsaid.stderr.contains("--width"),
        "{}",
        unsaid.stderr
    );
    let needless = generate(&ours, &["--width", "94"]).expect_code(64);
    assert!(needless.stderr.contains("netssm.json"), "{}", needless.stderr);

    // A checkpoint can be fine-tuned with its own codec only. Without --codec, prepare uses that codec.
    let other = prepare(&["--codec", "bytes", "--extend", &ours], "refused").expect_code(64);
    for codec in ["bytes/1 form=raw width=94", "bytes/1 form=canonical width=variable"] {
        assert!(other.stderr.contains(codec), "{}", other.stderr);
    }
    let _ = prepare(&["--extend", &ours], "same").expect_code(0);
    let _ = train("same", "tuned", &["--init", &ours, "--steps", "2"]).expect_code(0);
    let _ = prepare(&["--codec", "bytes"], "canonical").expect_code(0);
    let mixed = train("canonical", "mixed", &["--init", &ours]).expect_code(78);
    for codec in ["bytes/1 form=raw width=94", "bytes/1 form=canonical width=variable"] {
        assert!(mixed.stderr.contains(codec), "{}", mixed.stderr);
    }
}
