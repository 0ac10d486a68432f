//! Case `demo`: the script behind `make demo`.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use netssm_tests::binary::{self, finish};
use netssm_tests::captures;
use netssm_tests::case::{Case, copy_folder, shipped_model};
use netssm_tests::need;
use netssm_tests::wait::{Stopwatch, pause};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const NOBODY: u32 = 65_534;
/// Seconds that the demo runs: enough for sessions to start and for captures to rotate. `make demo` itself runs for 30.
const SECONDS: &str = "6";

fn script() -> String {
    need::workspace().join("tests/tools/demo.sh").to_string_lossy().into_owned()
}

fn profile() -> String {
    need::workspace().join("configs/demo.toml").to_string_lossy().into_owned()
}

/// The number after a label in the demo's output.
#[track_caller]
fn shown(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label));
    let number = line.unwrap_or_else(|| panic!("no {label} in {text}")).trim();
    number.parse().unwrap_or_else(|_| panic!("{label} is {number:?}"))
}

#[track_caller]
fn assert_shows_everything(text: &str, out: &Path) {
    let packets = shown(text, "packets  ");
    assert!(packets > 20, "{text}");
    assert!(shown(text, "sessions  ") > 1 && shown(text, "flows  ") > 1, "{text}");
    assert!(shown(text, "bytes  ") > 60 * packets);
    assert_eq!(shown(text, "packets (tcpdump)"), packets);
    assert_eq!(shown(text, "packets (the interface's counter)"), packets);
    let handshakes = shown(text, "handshakes complete");
    assert!(handshakes > 0 && handshakes <= shown(text, "answered (SYN-ACK)"), "{text}");
    assert!(shown(text, "answered (SYN-ACK)") <= shown(text, "TCP connections opened (SYN)"), "{text}");
    assert!(text.contains("A connection, as tcpdump shows it"), "{text}");
    assert!(text.contains("netssmd_packets_sent_total{interface=\"nssm0\"} "), "{text}");
    assert!(text.contains(&format!("OK: all {packets} packets that were sent arrived")), "{text}");
    let files = captures::in_directory(&out.join("captures"));
    assert!(!files.is_empty());
    assert_eq!(files.iter().map(|file| captures::totals(file).packets).sum::<u64>(), packets);
    for file in files {
        assert!(text.contains(&*file.file_name().expect("a name").to_string_lossy()), "{text}");
    }
}

#[test]
fn as_root() {
    if !need::root() || !need::tool("tcpdump") {
        return;
    }
    let case = Case::open("demo");
    let out = case.out.path().join("out");
    let mut demo = Command::new(script());
    demo.arg(binary::netssmd()).args(["--seconds", SECONDS, "--profile", &profile(), "--out"]).arg(&out);
    let finished = finish(demo, None, Duration::from_secs(60)).expect_code(0);
    assert_shows_everything(&finished.stdout, &out);
    assert!(finished.stdout.contains("decoder.invalid 0"), "{}", finished.stdout);
}

#[test]
fn without_root() {
    if !need::root() || !need::tool("tcpdump") || !need::tool("setpriv") {
        return; // root is needed to become somebody else
    }
    let case = Case::open("demo");
    // A user who owns one folder and nothing else. The checkout may lie where this user has no access.
    let home = case.out.path();
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755)).expect("open the folder");
    chown(home, Some(NOBODY), Some(NOBODY)).expect("give the folder away");
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, home.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        case.path(name)
    };
    let (script, program) = (copy(Path::new(&script()), "demo.sh"), copy(&binary::netssmd(), "netssmd"));
    let profile = copy(Path::new(&profile()), "demo.toml");
    copy_folder(&shipped_model(), &home.join("models/default"));

    let user = NOBODY.to_string();
    let become_nobody = |command: &mut Command| {
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
    };
    let mut probe = Command::new("setpriv");
    become_nobody(&mut probe);
    probe.args(["unshare", "--user", "--map-current-user", "--net", "true"]);
    if finish(probe, None, Duration::from_secs(10)).code() != 0 {
        let _ = need::skipped("this host allows no unprivileged user namespaces");
        return;
    }
    let mut demo = Command::new("setpriv");
    become_nobody(&mut demo);
    demo.args([&script, &program, "--seconds", SECONDS, "--profile", &profile, "--out", &case.path("out")]);
    demo.env("NETSSMD_MODELS", home.join("models")).current_dir(home);
    let finished = finish(demo, None, Duration::from_secs(60)).expect_code(0);
    assert_shows_everything(&finished.stdout, &home.join("out"));
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    if !need::root() || !need::tool("tcpdump") {
        return;
    }
    let case = Case::open("demo");
    let out = case.path("out");
    let mut demo = Command::new(script());
    demo.arg(binary::netssmd()).args(["--seconds", "60", "--profile", &profile(), "--out", &out]);
    demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    demo.process_group(0); // as a shell does, so that the signal reaches all of it
    let mut child = demo.spawn().expect("start the demo");
    let group = Pid::from_raw(i32::try_from(child.id()).expect("process ids fit"));
    let far = Path::new(&out).join("far.pcap");
    wait_for("packets arrive", || std::fs::metadata(&far).is_ok_and(|file| file.len() > 1000));
    killpg(group, Signal::SIGINT).expect("interrupt it");
    let mut status = None;
    wait_for("the demo ends", || {
        status = child.try_wait().expect("wait for a child of ours");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(130));
    wait_for("everything it started ends", || killpg(group, None).is_err());
}

#[track_caller]
fn wait_for(what: &str, mut test: impl FnMut() -> bool) {
    let began = Stopwatch::start();
    while !test() {
        assert!(began.elapsed() < Duration::from_secs(30), "30 s went by before {what}");
        pause(Duration::from_millis(50));
    }
}
