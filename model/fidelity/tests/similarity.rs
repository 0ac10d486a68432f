//! Statistical similarity on real captures: real against real is near, random bytes are as far as the paper has them.

#[path = "../../tokens/tests/support/mod.rs"]
mod support;

use netssm_fidelity::analyses::similarity::{Compared, Distances, Options, PUBLISHED, analyse};
use netssm_fidelity::{Captures, Side};
use support::data;

fn side(folders: &[&str]) -> Option<Side> {
    let dir = data()?;
    let captures = Captures::of(folders.iter().map(|folder| dir.join(folder)).collect());
    Some(Side::measure(&captures, &()).expect("captures"))
}

fn bytes(compared: Option<&Compared>, header: &str) -> Distances {
    compared
        .and_then(|compared| compared.headers[header].bytes)
        .expect("packets with this header on both sides")
}

#[test]
fn real_against_real_is_near_and_random_packets_are_not() {
    let (Some(train), Some(val)) = (side(&["requet/train"]), side(&["requet/val"])) else { return };
    let got = analyse(&train, &val, None, &Options::default());
    for header in ["tcp", "udp", "ipv4"] {
        let (second, halves) = (bytes(Some(&got.compared), header), bytes(got.floor.as_ref(), header));
        let random = bytes(got.random_bytes.as_ref(), header);
        let fields = bytes(got.random_fields.as_ref(), header);
        for (near, far) in [(second, random), (halves, random), (second, fields), (halves, fields)] {
            assert!(near.tvd < 0.7 * far.tvd && near.jsd < 0.75 * far.jsd, "{header}: {near:?}, {far:?}");
        }
        // UDP has no structure that random fields could keep.
        assert!(fields.tvd < random.tvd || header == "udp", "{header}");
    }
    // The paper's random packets, on its data: 0.82, 0.99, 0.95. So it compares flow by flow, over bytes, by this
    // distance.
    let (random, published) = (got.traces.random_bytes.expect("flows"), PUBLISHED[1]);
    let near = |got: f64, published: Option<f64>| {
        assert!(published.is_some_and(|published| (got - published).abs() < 0.05), "{got}, {published:?}");
    };
    near(random.jsd, Some(published.jsd));
    near(random.tvd, published.tvd);
    near(random.hd, published.hd);
    let (flows, together) = (got.traces.floor.expect("flows"), bytes(got.random_bytes.as_ref(), "tcp"));
    assert!(flows.tvd > 0.1 && flows.tvd < 0.5 * random.tvd, "{flows:?}");
    assert!(together.tvd < random.tvd - 0.1, "{together:?}");
}

#[test]
fn labels_of_devices_differ_more_than_their_sessions() {
    let Some(devices) = side(&["iot/val"]) else { return };
    let got = analyse(&devices, &devices, None, &Options::default());
    assert!(got.labels.len() >= 20);
    assert!(got.labels.values().all(|label| label.compared.all_headers.is_some_and(|d| d.tvd == 0.0)));
    assert!(got.floor.is_some_and(|floor| floor.all_headers.is_some_and(|d| d.tvd > 0.0)));
}

#[test]
fn odd_captures_are_measured_where_they_can_be() {
    let Some(odd) = side(&["oddities"]) else { return };
    let got = analyse(&odd, &odd, None, &Options::default());
    assert_eq!(got.compared.all_headers, Some(Distances { jsd: 0.0, tvd: 0.0, hd: 0.0 }));
    assert!(got.real.without_ip > 0 && !got.chapter().verdict.is_empty());
}
