//! Case `reload`: SIGHUP with a good profile, with a bad one, and with one that needs a restart.

use std::time::Duration;

use netssm_tests::case::Case;
use netssm_tests::daemon::Daemon;
use netssm_tests::need;
use netssm_tests::netns::Namespace;
use nix::sys::signal::Signal;

const SECOND_LABEL: &str = "\n[[traffic]]\nlabel = \"HueBridge\"\npackets = 10\n";

#[test]
fn a_good_profile_counts_for_new_sessions_and_a_bad_one_is_refused() {
    if !need::root() {
        return;
    }
    let case = Case::open("reload");
    let profile = case.fill("profile.toml");
    let good = std::fs::read_to_string(&profile).expect("just written");
    let namespace = Namespace::new();
    let mut daemon = Daemon::start(&["run", "--profile", &profile], Some(&namespace), &[]);
    daemon.wait_ready(Duration::from_secs(60));
    let started = |daemon: &Daemon<'_>, label: &str| {
        daemon.metrics().sum_where("netssmd_sessions_started_total", &format!("label=\"{label}\""))
    };
    let reloads = |daemon: &Daemon<'_>, result: &str| {
        daemon.metrics().sum_where("netssmd_reloads_total", &format!("result=\"{result}\""))
    };
    daemon.wait_until("sessions start", Duration::from_secs(20), |daemon| started(daemon, "youtube") > 5.0);
    assert_eq!(started(&daemon, "HueBridge"), 0.0);

    // A bad profile: it has a typing error in the last line.
    case.write("profile.toml", &format!("{good}{SECOND_LABEL}wieght = 2.0\n"));
    daemon.signal(Signal::SIGHUP);
    daemon
        .wait_until("the bad profile is refused", Duration::from_secs(20), |d| reloads(d, "refused") == 1.0);
    let line = good.lines().count() + SECOND_LABEL.lines().count() + 1;
    let place = format!("profile.toml:{line}:1: unknown key \"wieght\"");
    assert!(daemon.log().contains(&place), "the log has {place}:\n{}", daemon.log());
    let before = started(&daemon, "youtube");
    daemon.wait_until("the old profile goes on", Duration::from_secs(20), |d| {
        started(d, "youtube") > before + 5.0
    });
    assert_eq!(started(&daemon, "HueBridge"), 0.0, "nothing of a refused profile takes effect");

    // A good profile: it has another label.
    case.write("profile.toml", &format!("{good}{SECOND_LABEL}"));
    daemon.signal(Signal::SIGHUP);
    daemon
        .wait_until("the good profile is taken", Duration::from_secs(20), |d| reloads(d, "accepted") == 1.0);
    daemon.wait_until("its new label is played", Duration::from_secs(60), |d| started(d, "HueBridge") > 0.0);

    // A profile that needs a restart: it names another directory.
    case.write("profile.toml", &good.replace("/captures\"", "/elsewhere\""));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_until("another output is refused", Duration::from_secs(20), |d| reloads(d, "refused") == 2.0);
    assert!(daemon.log().contains("needs a restart"), "{}", daemon.log());
    assert!(!case.out.path().join("elsewhere").exists());

    assert!(matches!(daemon.get("/ready"), Ok((200, _))), "ready all the time");
    assert_eq!(daemon.metrics().sum("netssmd_sessions_cut_total"), 0.0, "no reload cuts a session");
    daemon.terminate(Duration::from_secs(20));
}
