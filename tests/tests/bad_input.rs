//! Bad input: each `tests/cases/bad-*/case.toml` is one command line, with the exit code and the messages that it must
//! give. A new case is a folder, not code.

use std::path::Path;
use std::time::Duration;

use netssm_tests::binary;
use netssm_tests::captures;
use netssm_tests::case::{Case, copy_folder, shipped_model};
use netssm_tests::need;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The content of `case.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    /// Arguments of `netssmd`, which may hold `@OUT@` and `@CASE@`.
    args: Vec<String>,
    /// What to make in the output folder first, see [`prepare`].
    prepare: Option<String>,
    /// The expected exit code.
    exit: i32,
    /// Texts that standard error must contain. `@TENSOR@` stands for the name of the damaged tensor.
    stderr: Vec<String>,
    /// Files of the output folder that must not exist afterwards.
    #[serde(default)]
    absent_files: Vec<String>,
}

#[test]
fn every_bad_input_has_its_message_and_exit_code() {
    let cases = need::workspace().join("tests/cases");
    let mut names: Vec<String> = std::fs::read_dir(&cases)
        .expect("the cases")
        .map(|entry| entry.expect("read the cases").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("bad-"))
        .collect();
    names.sort();
    assert!(names.len() >= 16, "cases went missing: {names:?}");
    let failures: Vec<String> = names.iter().filter_map(|name| judge(name).err()).collect();
    assert!(failures.is_empty(), "{} of {} cases:\n\n{}", failures.len(), names.len(), failures.join("\n\n"));
}

/// Runs one case. The error lists everything that is not as expected.
fn judge(name: &str) -> Result<(), String> {
    let case = Case::open(name);
    let text = std::fs::read_to_string(case.folder.join("case.toml")).expect("every bad-* has a case.toml");
    let expected: Expectation =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{name}/case.toml: {error}"));
    let tensor = expected.prepare.as_deref().map(|what| prepare(what, &case)).unwrap_or_default();
    if case.folder.join("profile.toml").is_file() {
        case.fill("profile.toml");
    }
    let args: Vec<String> = expected.args.iter().map(|arg| case.filled(arg)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let finished = binary::run(&args, None, Duration::from_secs(60));

    let mut wrong = Vec::new();
    if finished.status.code() != Some(expected.exit) {
        wrong.push(format!("exit is {}, expected {}", finished.status, expected.exit));
    }
    for words in &expected.stderr {
        let words = words.replace("@TENSOR@", &tensor);
        if !finished.stderr.contains(&words) {
            wrong.push(format!("standard error does not say `{words}`"));
        }
    }
    if finished.stderr.contains("panicked at") {
        wrong.push("it panicked".into());
    }
    for file in &expected.absent_files {
        if Path::new(&case.path(file)).exists() {
            wrong.push(format!("{file} is there"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{name}: {}\n  netssmd {}\n  it said: {}", wrong.join("; "), args.join(" "), finished.stderr))
}

/// Makes the broken input of a case. Gives the name of the damaged tensor, or an empty text.
fn prepare(what: &str, case: &Case) -> String {
    let out = case.out.path();
    match what {
        "truncate-weights" => {
            copy_folder(&shipped_model(), &out.join("model"));
            let weights = out.join("model/model.safetensors");
            let bytes = std::fs::read(&weights).expect("just copied");
            std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("cut it");
            String::new()
        }
        "transpose-a-tensor" => {
            copy_folder(&shipped_model(), &out.join("model"));
            transpose_a_tensor(&out.join("model"))
        }
        "poison-a-tensor" => {
            copy_folder(&shipped_model(), &out.join("model"));
            poison_a_tensor(&out.join("model"))
        }
        "cut-a-capture" => {
            let whole = out.join("whole.pcap");
            captures::write_udp_capture(&whole, 20, 1000);
            let bytes = std::fs::read(&whole).expect("just written");
            std::fs::write(out.join("cut.pcap"), &bytes[..bytes.len() - 7]).expect("cut it");
            String::new()
        }
        other => panic!("case.toml asks to prepare {other:?}, which this test does not know"),
    }
}

/// Gives the header of a checkpoint's weights, and the data behind it.
///
/// A safetensors file has three parts: the length of the header (8 bytes, little endian), the header (JSON: name,
/// dtype, shape, offsets), and the data.
fn read_weights(model: &Path) -> (serde_json::Value, Vec<u8>) {
    let bytes = std::fs::read(model.join("model.safetensors")).expect("just copied");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).expect("a JSON header"), bytes[8 + length..].to_vec())
}

/// Writes damaged weights and their hash into the checkpoint, so that nothing but the damage is wrong.
fn write_weights(model: &Path, header: &serde_json::Value, data: &[u8]) {
    let weights = model.join("model.safetensors");
    let old_hash = hex::encode(Sha256::digest(std::fs::read(&weights).expect("just copied")));
    let mut header = serde_json::to_vec(header).expect("it was JSON");
    while !header.len().is_multiple_of(8) {
        header.push(b' '); // the format pads the header so that the data is aligned
    }
    let mut damaged = (header.len() as u64).to_le_bytes().to_vec();
    damaged.extend(&header);
    damaged.extend(data);
    std::fs::write(&weights, &damaged).expect("write it");
    let record = model.join("netssm.json");
    let text = std::fs::read_to_string(&record).expect("a checkpoint has netssm.json");
    assert!(text.contains(&old_hash), "netssm.json has the hash of the weights");
    let new_hash = hex::encode(Sha256::digest(&damaged));
    std::fs::write(&record, text.replace(&old_hash, &new_hash)).expect("write it");
}

/// Swaps the axes of the first matrix that is not square. Gives its name.
fn transpose_a_tensor(model: &Path) -> String {
    let (mut header, data) = read_weights(model);
    let tensors = header.as_object_mut().expect("an object");
    let (name, tensor) = tensors
        .iter_mut()
        .find(|(_, tensor)| {
            let shape = tensor["shape"].as_array();
            shape.is_some_and(|shape| shape.len() == 2 && shape[0] != shape[1])
        })
        .expect("a checkpoint has a matrix that is not square");
    tensor["shape"].as_array_mut().expect("a shape").reverse();
    let name = name.clone();
    write_weights(model, &header, &data);
    name
}

/// Replaces the second value of a tensor by NaN, as a training that diverged leaves it. Gives the tensor's name.
fn poison_a_tensor(model: &Path) -> String {
    let (header, mut data) = read_weights(model);
    let name = "backbone.layers.1.mixer.A_log";
    let from = header[name]["data_offsets"][0].as_u64().expect("the tensor is there") as usize;
    data[from + 4..from + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    write_weights(model, &header, &data);
    name.into()
}
