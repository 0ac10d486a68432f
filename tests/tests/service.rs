//! Case `service`: the notify protocol, capabilities, installation, and systemd units.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netssm_tests::case::Case;
use netssm_tests::daemon::Daemon;
use netssm_tests::netns::{NEAR, Testbed};
use netssm_tests::wait::Stopwatch;
use netssm_tests::{binary, need};
use nix::sys::signal::Signal;

/// The user that stands in for the user `netssmd`: nobody, who owns nothing.
const NOBODY: u32 = 65_534;

/// The service manager's end of the notify protocol (sd_notify(3)).
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn listen(path: &str) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))
            .expect("open to the daemon's user");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        Self { socket, heard: Vec::new() }
    }

    /// Waits for a message with this line. Keeps all messages up to it.
    #[track_caller]
    fn wait_for(&mut self, line: &str, limit: Duration, daemon: &Daemon<'_>) {
        let began = Stopwatch::start();
        let mut buffer = [0; 4096];
        loop {
            if let Ok(length) = self.socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let found = text.lines().any(|own| own == line);
                self.heard.push(text);
                if found {
                    return;
                }
            }
            let late = began.elapsed() > limit;
            assert!(!late, "no {line} within {limit:?}; heard {:?}; it said:\n{}", self.heard, daemon.log());
        }
    }
}

#[test]
fn the_service_manager_hears_ready_watchdog_reload_and_stop_from_a_user_with_two_capabilities() {
    if !need::root() || !need::tool("setpriv") {
        return;
    }
    let case = Case::open("service");
    let profile = case.fill("profile.toml");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(case.out.path(), open).expect("open the folder");
    chown(case.out.path(), Some(NOBODY), Some(NOBODY)).expect("give the folder away");
    let testbed = Testbed::new();
    let path = case.path("notify");
    let mut manager = Manager::listen(&path);

    // As in the unit: a user of its own, CAP_NET_RAW and CAP_NET_ADMIN as ambient capabilities and no others, no new
    // privileges.
    let (user, program) = (NOBODY.to_string(), reachable_program(&case));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
    for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
        command.args([set, "-all,+net_raw,+net_admin"]);
    }
    command.arg(program).args(["run", "--profile", &profile]).current_dir(case.out.path());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
    command.env("NETSSMD_MODELS", reachable_models(&case));
    let mut daemon = Daemon::start_command(command, Some(&testbed.near));

    manager.wait_for("READY=1", Duration::from_secs(90), &daemon);
    assert!(matches!(daemon.get("/ready"), Ok((200, _))), "ready means playing");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("its status");
    let line = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned()
    };
    // Bits 12 and 13 are CAP_NET_ADMIN and CAP_NET_RAW (capability.h).
    assert_eq!(line("CapEff:"), "0000000000003000");
    assert_eq!(line("CapBnd:"), "0000000000003000");
    assert!(line("Uid:").starts_with(&user));

    // sd_watchdog_enabled(3) recommends half of WATCHDOG_USEC. Two messages must come, each within its limit.
    for _ in 0..2 {
        manager.wait_for("WATCHDOG=1", Duration::from_secs(2), &daemon);
    }
    daemon.wait_until("it sends", Duration::from_secs(20), |_| testbed.near.counters(NEAR).tx_packets > 10);
    daemon.signal(Signal::SIGHUP);
    manager.wait_for("RELOADING=1", Duration::from_secs(10), &daemon);
    manager.wait_for("READY=1", Duration::from_secs(30), &daemon);
    daemon.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1", Duration::from_secs(5), &daemon);
    assert_eq!(daemon.wait(Duration::from_secs(20)).code(), Some(0), "{}", daemon.log());
}

/// A copy of the program that the other user can reach. The checkout may lie in a home folder.
fn reachable_program(case: &Case) -> String {
    let copy = case.path("netssmd");
    std::fs::copy(binary::netssmd(), &copy).expect("copy the program");
    copy
}

/// A copy of the shipped model that the other user can reach.
fn reachable_models(case: &Case) -> String {
    let models = case.out.path().join("models");
    netssm_tests::case::copy_folder(&netssm_tests::case::shipped_model(), &models.join("default"));
    models.to_string_lossy().into_owned()
}

fn install(destination: &Path) {
    let mut make = Command::new("make");
    // Cargo sets variables for its tests that would mislead another cargo. This `make install` starts none.
    make.current_dir(need::workspace()).args(["--no-print-directory", "install"]);
    make.arg(format!("DESTDIR={}", destination.display()));
    let target = binary::netssmd().parent().and_then(Path::parent).expect("target/release").to_path_buf();
    make.arg(format!("TARGET_DIR={}", target.display()));
    let _ = binary::finish(make, None, Duration::from_secs(60)).expect_code(0);
}

#[test]
fn make_install_lays_out_what_the_units_name() {
    if !need::tool("make") {
        return;
    }
    let case = Case::open("service");
    let root = case.out.path().join("root");
    install(&root);
    for (file, mode) in [
        ("usr/bin/netssmd", 0o755),
        ("usr/lib/systemd/system/netssmd.service", 0o644),
        ("usr/lib/systemd/system/netssmd-testbed@.service", 0o644),
        ("usr/lib/sysusers.d/netssmd.conf", 0o644),
        ("usr/lib/tmpfiles.d/netssmd.conf", 0o644),
        ("etc/netssmd/demo.toml", 0o644),
        ("etc/netssmd/suricata-lab.toml", 0o644),
        ("usr/share/netssmd/models/default/model.safetensors", 0o644),
        ("usr/share/netssmd/models/default/netssm.json", 0o644),
        ("usr/share/netssmd/models/bytes/model.safetensors", 0o644),
        ("usr/share/doc/netssmd/README.md", 0o644),
        ("usr/share/doc/netssmd/profiles.md", 0o644),
        ("usr/share/doc/netssmd/adr/0001-crate-directions.md", 0o644),
        ("usr/share/licenses/netssmd/LICENSE-MIT", 0o644),
    ] {
        let metadata = std::fs::metadata(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
    }
    // The installed program finds its own model. NETSSMD_MODELS, which is searched first, names a folder that does not
    // exist. The model beside the program comes next, before /usr/share and the source tree.
    let program = root.join("usr/bin/netssmd");
    let mut command = Command::new(&program);
    let out = case.path("one.pcap");
    command.args(["generate", "--label", "youtube", "--sessions", "1", "--packets", "3", "--out", &out]);
    command.env("NETSSMD_MODELS", case.path("nothing"));
    let _ = binary::finish(command, None, Duration::from_secs(60)).expect_code(0);

    // A second installation keeps the files that the operator changed.
    let edited = root.join("etc/netssmd/demo.toml");
    std::fs::write(&edited, "name = \"mine\"\n").expect("edit a profile");
    install(&root);
    assert_eq!(std::fs::read_to_string(&edited).expect("still there"), "name = \"mine\"\n");
    assert!(root.join("etc/netssmd/demo.toml.new").is_file(), "the new one lies beside it");
}

#[test]
fn systemd_accepts_the_units_and_finds_them_hardened() {
    if !need::tool("systemd-analyze") || !need::tool("make") {
        return;
    }
    let case = Case::open("service");
    let root = case.out.path().join("root");
    install(&root);
    let units = root.join("usr/lib/systemd/system");
    // To verify an instance as a file, systemd-analyze needs it under the instance's name.
    let instance = units.join("netssmd-testbed@nssm0.service");
    std::fs::copy(units.join("netssmd-testbed@.service"), &instance).expect("an instance");
    // `verify` looks for the programs of the units on this host, so the unit must name the installed one.
    let service = units.join("netssmd.service");
    let text = std::fs::read_to_string(&service).expect("the unit");
    let here = text.replace("/usr/bin/netssmd", &root.join("usr/bin/netssmd").to_string_lossy());
    std::fs::write(&service, here).expect("name the program");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=one"]).arg(&service).arg(&instance);
    let verified = binary::finish(verify, None, Duration::from_secs(60)).expect_code(0);
    let complaints: Vec<&str> = verified.stderr.lines().filter(|line| line.contains("netssmd")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");

    for unit in [&service, &instance] {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--no-pager", "--threshold=20"]).arg(unit);
        // The threshold is in tenths: above 2.0 the exit code is not 0.
        let judged = binary::finish(security, None, Duration::from_secs(60)).expect_code(0);
        let level = judged.stdout.lines().rev().find(|line| line.contains("Overall exposure level"));
        eprintln!("{}", level.expect("an exposure level"));
    }
}

#[test]
fn the_stop_timeout_of_the_unit_is_above_the_grace_period_of_its_profile() {
    let unit = std::fs::read_to_string(need::workspace().join("systemd/netssmd.service")).expect("the unit");
    let value = |key: &str| {
        unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key}"))
    };
    let stop: f64 = value("TimeoutStopSec=").parse().expect("seconds");
    let profile = value("Environment=NETSSMD_PROFILE=/etc/netssmd/");
    let text = std::fs::read_to_string(need::workspace().join("configs").join(profile)).expect("its profile");
    let profile: toml::Table = text.parse().expect("TOML");
    let grace =
        profile.get("shutdown").and_then(|table| table.get("grace_seconds")).and_then(toml::Value::as_float);
    assert!(stop > grace.unwrap_or(10.0) + 5.0, "{stop} s leave no time to close the outputs");
}
