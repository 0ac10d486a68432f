//! The exact messages for profiles with mistakes.

use std::path::Path;

use super::*;

const LABELS: [&str; 3] = ["youtube", "twitch", "nest_camera"];

fn load(text: &str) -> Result<Profile, String> {
    let labels = |checkpoint: &CheckpointChoice| match checkpoint {
        CheckpointChoice::Builtin => Ok(Some(LABELS.map(String::from).to_vec())),
        CheckpointChoice::Path(path) => Err(format!("no checkpoint at {}", path.display())),
    };
    Profile::from_text(Path::new("p.toml"), text, &labels).map_err(|problems| problems.to_string())
}

const GOOD: &str = r#"
name = "lab"
seed = 7
[[traffic]]
label = "youtube"
weight = 3
[[traffic]]
label = "twitch"
packets = 50
[schedule]
rate = 0.5
[addresses]
clients = ["10.1.0.0/16"]
servers = ["10.2.0.0/16", "fd00:2::/64"]
client_mac = "02:00:00:00:00:01"
vlan = 12
[[output.interface]]
name = "veth0"
sends = "to-server"
[output.pcap]
directory = "/tmp/x"
[guard]
allow = ["10.0.0.0/8", "fd00::/16"]
[metrics]
listen = "127.0.0.1:0"
"#;

#[test]
fn a_good_profile_has_what_it_says_and_defaults_for_the_rest() {
    let profile = load(GOOD).unwrap();
    assert_eq!((profile.name.as_str(), profile.seed), ("lab", 7));
    assert_eq!(profile.arrivals.weights, [3.0, 1.0]);
    assert_eq!(profile.traffic[1].packets, 50);
    assert_eq!((profile.arrivals.rate, profile.arrivals.max_concurrent), (0.5, 64));
    assert_eq!((profile.pool_sessions, profile.reuse), (32, 4));
    assert_eq!(profile.addresses.vlan.map(|v| v.get()), Some(12));
    assert_eq!(profile.outputs.interfaces[0].sends, Sends::ToServer);
    assert_eq!(profile.outputs.interfaces[0].place, "p.toml:18:8");
    assert_eq!(profile.outputs.pcap.as_ref().map(|p| p.max_seconds), Some(60));
    assert_eq!(profile.metrics, Some("127.0.0.1:0".parse().unwrap()));
    assert!(profile.nftables);
    assert_eq!(profile.model.precision.as_str(), "f32");
}

#[test]
fn the_precision_is_what_the_profile_says() {
    let profile = load(&GOOD.replace("seed = 7", "seed = 7\n[model]\nprecision = \"int8\"")).unwrap();
    assert_eq!(profile.model.precision.as_str(), "int8");
}

#[test]
fn the_shortest_profile_is_one_label_and_one_output() {
    let profile = load("[[traffic]]\nlabel = \"youtube\"\n[output.pcap]\ndirectory = \"out\"\n").unwrap();
    let allowed: Vec<String> = profile.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.10.0.0/16", "fd00:10:10::/64", "10.20.0.0/16", "fd00:10:20::/64"]);
}

/// Each entry replaces one line of [`GOOD`] and has the complete message that follows.
#[test]
fn each_wrong_value_has_its_message() {
    let table = [
        (
            "label = \"youtube\"",
            "label = \"youtub\"",
            "p.toml:5:9: the model does not know the label \"youtub\"; did you mean \"youtube\"? It knows youtube, \
             twitch, nest_camera",
        ),
        (
            "label = \"youtube\"",
            "label = \"zoom\"",
            "p.toml:5:9: the model does not know the label \"zoom\"; it knows youtube, twitch, nest_camera",
        ),
        (
            "label = \"youtube\"",
            "label = \"twitch\"",
            "p.toml:8:9: label \"twitch\" occurs twice; add up the weights in one entry",
        ),
        (
            "rate = 0.5",
            "rate = -2",
            "p.toml:11:8: schedule.rate is negative: -2; expected 0.000001 to 1000000",
        ),
        ("rate = 0.5", "rate = nan", "p.toml:11:8: schedule.rate is NaN; expected 0.000001 to 1000000"),
        (
            "rate = 0.5",
            "rate = \"0.5\"",
            "p.toml:11:8: wrong type for \"schedule.rate\": string \"0.5\"; expected a number, such as 1.5",
        ),
        (
            "rate = 0.5",
            "rate = 1\nmax_conurrent = 3",
            "p.toml:12:1: unknown key \"max_conurrent\" in [schedule]; did you mean \"max_concurrent\"?",
        ),
        (
            "weight = 3",
            "weight = -1.5",
            "p.toml:6:10: traffic.weight is negative: -1.5; expected 0 to 1000000000",
        ),
        (
            "weight = 3",
            "weight = 0",
            "p.toml:6:10: traffic.weight is 0; leave the entry out, or give it a weight above 0",
        ),
        (
            "seed = 7",
            "seed = 7\n[model]\nprecision = \"int9\"",
            "p.toml:5:13: model.precision is \"int9\"; did you mean \"int8\"?",
        ),
        ("packets = 50", "packets = 0", "p.toml:9:11: traffic.packets is 0; expected 1 to 1000000"),
        (
            "servers = [\"10.2.0.0/16\", \"fd00:2::/64\"]",
            "servers = [\"10.1.4.0/24\", \"fd00:2::/64\"]",
            "p.toml:14:12: server prefix 10.1.4.0/24 overlaps client prefix 10.1.0.0/16; each address must belong to \
             one side and one prefix",
        ),
        (
            "clients = [\"10.1.0.0/16\"]",
            "clients = [\"10.1.0.0\"]",
            "p.toml:13:12: \"10.1.0.0\" in addresses.clients is not a prefix; expected a form such as \
             \"10.10.0.0/16\" or \"fd00:10:10::/64\"",
        ),
        (
            "clients = [\"10.1.0.0/16\"]",
            "clients = [\"10.1.0.9/16\"]",
            "p.toml:13:12: client prefix 10.1.0.9/16 has host bits set: expected 10.1.0.0/16; did you mean \
             \"10.1.0.0/16\"?",
        ),
        (
            "clients = [\"10.1.0.0/16\"]",
            "clients = []",
            "p.toml: no client prefix: give at least one, for example 10.10.0.0/16; that is the key \
             addresses.clients",
        ),
        (
            "client_mac = \"02:00:00:00:00:01\"",
            "client_mac = \"02:00:00\"",
            "p.toml:15:14: addresses.client_mac is \"02:00:00\"; expected \"per-host\" or an address such as \
             \"02:00:00:00:00:01\"",
        ),
        ("vlan = 12", "vlan = 4095", "p.toml:16:8: addresses.vlan is 4095; expected 0 to 4094"),
        (
            "sends = \"to-server\"",
            "sends = \"to-servers\"",
            "p.toml:19:9: output.interface.sends is \"to-servers\"; did you mean \"to-server\"?",
        ),
        (
            "name = \"veth0\"",
            "name = \"an-interface-with-a-long-name\"",
            "p.toml:18:8: \"an-interface-with-a-long-name\" cannot be the name of an interface; expected 1 to 15 \
             characters without '/' and spaces, as `ip link` shows them",
        ),
        ("directory = \"/tmp/x\"", "", "p.toml:20:1: missing key \"directory\"; it has no default"),
        (
            "allow = [\"10.0.0.0/8\", \"fd00::/16\"]",
            "allow = [\"10.1.0.0/16\", \"fd00::/16\"]",
            "p.toml:23:9: guard.allow does not cover 10.2.0.0/16 of [addresses]; add \"10.2.0.0/16\", or change \
             [addresses]",
        ),
        (
            "allow = [\"10.0.0.0/8\", \"fd00::/16\"]",
            "",
            "p.toml: guard.allow is missing, and an interface sends; say what may leave: [guard] allow = \
             [\"10.1.0.0/16\", \"10.2.0.0/16\", \"fd00:2::/64\"]",
        ),
        (
            "listen = \"127.0.0.1:0\"",
            "listen = \"localhost\"",
            "p.toml:25:10: metrics.listen is \"localhost\"; expected \"off\" or an address and port such as \
             \"127.0.0.1:9477\"",
        ),
        (
            "seed = 7",
            "seed = 7\nmodel.checkpoint = \"/nowhere\"",
            "p.toml:4:20: no checkpoint at /nowhere; give a checkpoint directory",
        ),
        (
            "seed = 7",
            "seed = 7\nmodel.device = \"gpu\"",
            "p.toml:4:16: unknown device \"gpu\"; expected auto, cpu or cuda:N",
        ),
        (
            "seed = 7",
            "seed = 7\nmodel.top_p = 0.0",
            "p.toml:4:15: model.top_p is 0; expected above 0, at most 1",
        ),
        ("seed = 7", "seed = 7\npool.reuse = 0", "p.toml:4:14: pool.reuse is 0; expected 1 to 1000000"),
    ];
    for (from, to, expected) in table {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let text = GOOD.replace(from, to);
        assert_eq!(load(&text).expect_err(to), expected, "for {to}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_order() {
    let text = "nmae = \"x\"\n[[traffic]]\nlabel = \"zoom\"\n[schedule]\nrate = -1\n";
    assert_eq!(
        load(text).unwrap_err(),
        "p.toml:1:1: unknown key \"nmae\" at the top level; did you mean \"name\"?\n\
         p.toml:3:9: the model does not know the label \"zoom\"; it knows youtube, twitch, nest_camera\n\
         p.toml:5:8: schedule.rate is negative: -1; expected 0.000001 to 1000000\n\
         p.toml: no output: packets would go nowhere; add [[output.interface]] with a name, or [output.pcap] with a \
         directory"
    );
}

#[test]
fn a_file_that_is_not_there_is_a_problem_of_the_file() {
    let problems = Profile::load(Path::new("/nowhere/p.toml"), &any_label).unwrap_err();
    assert!(problems.to_string().starts_with("/nowhere/p.toml: cannot read the profile: "), "{problems}");
}

#[test]
fn devices_are_auto_cpu_or_cuda_with_a_number() {
    assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
    assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    assert!("cuda:".parse::<DeviceChoice>().is_err());
}

#[test]
fn the_default_addresses_are_a_valid_plan() {
    default_addresses().validate().unwrap();
    let profile = load("[[traffic]]\nlabel = \"youtube\"\n[output.pcap]\ndirectory = \"out\"\n").unwrap();
    assert_eq!(profile.addresses, default_addresses());
}
