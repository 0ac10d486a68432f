//! Case `outputs`: the name of an output may be that of a device, a pipe, a link or standard output.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use netssm_tests::case::Case;
use netssm_tests::{binary, captures, need};

const LIMIT: Duration = Duration::from_secs(60);

/// Writes an input capture and rewrites it into a plain file. Gives the path of the input and the bytes of the result.
fn plain(case: &Case) -> (String, Vec<u8>) {
    let input = case.path("in.pcap");
    captures::write_mixed_capture(Path::new(&input));
    let out = case.path("plain.pcap");
    let said = binary::run(&["rewrite", &input, &out], None, LIMIT).expect_code(0);
    assert!(said.stdout.contains("plain.labels.jsonl"), "{}", said.stdout);
    (input, fs::read(out).expect("written"))
}

/// Runs mkfifo or mknod.
fn make(program: &str, args: &[&str]) {
    let made = Command::new(program).args(args).status().expect("coreutils are there");
    assert!(made.success(), "{program} {args:?}");
}

/// Number of label files in a folder.
fn label_files(folder: &Path) -> usize {
    captures::labels_in_directory(folder).len()
}

#[test]
fn a_device_stays_a_device() {
    if !need::root() && need::skipped("only root makes device nodes") {
        return;
    }
    let case = Case::open("outputs");
    let (input, _) = plain(&case);
    fs::create_dir(case.path("dev")).expect("a folder");
    let node = case.path("dev/null.pcap");
    make("mknod", &[&node, "c", "1", "3"]);
    let before = fs::symlink_metadata(&node).expect("made");
    let rewrite = ["rewrite", &input, &node];
    let generate = [
        "generate",
        "--label",
        "youtube",
        "--sessions",
        "2",
        "--packets",
        "20",
        "--seed",
        "1",
        "--out",
        &node,
    ];
    for args in [&rewrite[..], &generate[..]] {
        let said = binary::run(args, None, LIMIT).expect_code(0);
        assert!(said.stdout.contains("no label file"), "{}", said.stdout);
        let after = fs::symlink_metadata(&node).expect("still there");
        assert!(after.file_type().is_char_device(), "{args:?}");
        assert_eq!((after.ino(), after.rdev()), (before.ino(), before.rdev()));
        assert_eq!(fs::read_dir(case.path("dev")).expect("readable").count(), 1, "nothing beside the device");
    }
    let disk = case.path("dev/disk");
    make("mknod", &[&disk, "b", "7", "250"]);
    let refused = binary::run(&["rewrite", &input, &disk], None, LIMIT).expect_code(64);
    assert!(refused.stderr.contains("is a disk"), "{}", refused.stderr);
}

#[test]
fn a_full_device_is_an_error_that_names_it() {
    let case = Case::open("outputs");
    let (input, _) = plain(&case);
    let link = case.path("full.pcap");
    symlink("/dev/full", &link).expect("linked");
    let failed = binary::run(&["rewrite", &input, &link], None, LIMIT).expect_code(1);
    assert!(
        failed.stderr.contains("full.pcap") && failed.stderr.contains("No space left"),
        "{}",
        failed.stderr
    );
    assert!(fs::symlink_metadata(&link).expect("there").file_type().is_symlink());
}

#[test]
fn a_pipe_s_reader_gets_the_capture() {
    let case = Case::open("outputs");
    let (input, expected) = plain(&case);
    let pipe = case.path("pipe");
    make("mkfifo", &[&pipe]);
    let from = pipe.clone();
    let reader = std::thread::spawn(move || fs::read(from).expect("the pipe is read"));
    let said = binary::run(&["rewrite", &input, &pipe, "--json"], None, LIMIT).expect_code(0);
    assert_eq!(reader.join().expect("no panic"), expected);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).expect("a report");
    assert!(report["labels_file"].is_null());
    assert!(fs::symlink_metadata(&pipe).expect("there").file_type().is_fifo());
    assert_eq!(label_files(case.out.path()), 1, "only that of the plain file");
}

#[test]
fn a_link_is_followed() {
    let case = Case::open("outputs");
    let (input, expected) = plain(&case);
    fs::create_dir(case.path("far")).expect("a folder");
    for (name, old) in [("old", Some("old bytes")), ("new", None)] {
        let target = case.path(&format!("far/{name}.pcap"));
        if let Some(old) = old {
            fs::write(&target, old).expect("written");
        }
        let link = case.path(&format!("{name}-link.pcap"));
        symlink(format!("far/{name}.pcap"), &link).expect("linked");
        let _ = binary::run(&["rewrite", &input, &link], None, LIMIT).expect_code(0);
        assert!(fs::symlink_metadata(&link).expect("there").file_type().is_symlink());
        assert_eq!(fs::read(&target).expect("there"), expected, "{name}");
        assert!(Path::new(&case.path(&format!("{name}-link.labels.jsonl"))).is_file());
    }
}

#[test]
fn standard_output_gets_the_capture_and_nothing_else() {
    let case = Case::open("outputs");
    let (input, expected) = plain(&case);
    for name in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let mut command = Command::new(binary::netssmd());
        command.args(["rewrite", &input, name]).stdin(Stdio::null());
        let piped = command.output().expect("it runs");
        assert!(piped.status.success(), "{name}: {piped:?}");
        assert_eq!(piped.stdout, expected, "{name} into a pipe");
        assert!(String::from_utf8_lossy(&piped.stderr).contains("10 of 10 packets"), "{piped:?}");

        let path = case.path("redirected.pcap");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("made");
        let to = file.try_clone().expect("cloned");
        let redirected = command.stdout(to).stderr(Stdio::null()).status().expect("it runs");
        assert!(redirected.success(), "{name}");
        let mut held = Vec::new();
        std::io::Seek::rewind(&mut file).expect("rewound");
        file.read_to_end(&mut held).expect("read");
        assert_eq!(held, expected, "{name} into a file that the shell has opened");
    }
    assert!(!Path::new("-").exists());
}

#[test]
fn what_stands_in_the_labels_way_is_found_before_the_work() {
    let case = Case::open("outputs");
    let (input, _) = plain(&case);
    fs::create_dir(case.path("out.labels.jsonl")).expect("a folder");
    let out = case.path("out.pcap");
    let refused = binary::run(&["rewrite", &input, &out], None, LIMIT).expect_code(64);
    assert!(refused.stderr.contains("out.labels.jsonl is a folder"), "{}", refused.stderr);
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_capture_never_mixes_with_messages() {
    let case = Case::open("outputs");
    let (input, _) = plain(&case);
    let both = File::create(case.path("both")).expect("made");
    let mut command = Command::new(binary::netssmd());
    command.args(["rewrite", &input, "-"]).stdin(Stdio::null());
    command.stdout(both.try_clone().expect("cloned")).stderr(both);
    assert_eq!(command.status().expect("it runs").code(), Some(64));
    let said = fs::read_to_string(case.path("both")).expect("text only");
    assert!(said.contains("standard output and standard error are one"), "{said}");
}

#[test]
fn a_folder_is_refused() {
    let case = Case::open("outputs");
    let (input, _) = plain(&case);
    let folder = case.out.path().to_string_lossy().into_owned();
    let refused = binary::run(&["rewrite", &input, &folder], None, LIMIT).expect_code(64);
    assert!(refused.stderr.contains("is a folder"), "{}", refused.stderr);
}
