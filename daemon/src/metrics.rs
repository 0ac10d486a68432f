//! Every metric family of the daemon, and handles to count with.
//!
//! Names are `netssmd_<noun>_<unit>`, with `_total` on counters. Units are base units. Labels come from small sets
//! (interface, traffic label, reason), never from addresses. A thread counts locally and adds its counts once per
//! batch: [`Metrics`] is shared and cheap, but not meant for the innermost loop.
//!
//! There is no global recorder. Code that counts gets a [`Metrics`], and each test has its own.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::drops::PacketDrop;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All families: name, kind, unit, meaning. They stand in the order of a packet's path.
const FAMILIES: &[(&str, Kind, Option<Unit>, &str)] = {
    use Kind::{Counter as C, Gauge as G, Histogram as H};
    &[
        (BUILD_INFO, G, None, "1, with the version and commit of this build as labels."),
        (MODEL_INFO, G, None, "1, with the checkpoint's hash, codec and number of labels as labels."),
        (TOKENS_GENERATED, C, None, "Tokens drawn from the model."),
        (PACKETS_GENERATED, C, None, "Packets made of these tokens, after repair, by traffic label."),
        (SESSIONS_GENERATED, C, None, "Sessions put into the pool, by traffic label."),
        (REPAIRS, C, None, "Packets mended after generation, by kind of repair."),
        (POOL_SESSIONS, G, None, "Sessions in the pool that were never played."),
        (SESSION_REUSES, C, None, "Sessions played again because no fresh one of their label was ready."),
        (POOL_UNDERRUNS, C, None, "Arrivals that had to wait because the pool had nothing left to play."),
        (SESSIONS_STARTED, C, None, "Sessions started, by traffic label."),
        (SESSIONS_LIVE, G, None, "Sessions on the wire now."),
        (SESSIONS_CUT, C, None, "Sessions cut short by a stop."),
        (PACKETS_SENT, C, None, "Frames that the kernel took for transmission, by interface."),
        (BYTES_SENT, C, Some(Unit::Bytes), "Bytes of the frames sent, Ethernet header included."),
        (PACKETS_WRITTEN, C, None, "Frames written to captures."),
        (BYTES_WRITTEN, C, Some(Unit::Bytes), "Bytes of the frames written, Ethernet header included."),
        (DROPPED, C, None, "Packets that went nowhere, by reason."),
        (
            LATENESS,
            H,
            Some(Unit::Seconds),
            "Time from a packet's deadline until it was handed to the outputs.",
        ),
        (ROTATIONS, C, None, "Captures finished and made visible, by reason."),
        (FILES_DELETED, C, None, "Captures deleted to keep the directory under its limit."),
        (CAPTURE_STALLS, C, None, "Times that capture writing stopped for want of room."),
        (CAPTURE_STALLED, G, None, "1 while capture writing is stopped for want of room."),
        (RELOADS, C, None, "Profile reloads, by result."),
        (GUARD_FAILURES, C, None, "Times that the guard stopped sending."),
    ]
};

const BUILD_INFO: &str = "netssmd_build_info";
const MODEL_INFO: &str = "netssmd_model_info";
const TOKENS_GENERATED: &str = "netssmd_tokens_generated_total";
const PACKETS_GENERATED: &str = "netssmd_packets_generated_total";
const SESSIONS_GENERATED: &str = "netssmd_sessions_generated_total";
const REPAIRS: &str = "netssmd_repairs_total";
const POOL_SESSIONS: &str = "netssmd_pool_sessions";
const SESSION_REUSES: &str = "netssmd_session_reuses_total";
const POOL_UNDERRUNS: &str = "netssmd_pool_underruns_total";
const SESSIONS_STARTED: &str = "netssmd_sessions_started_total";
const SESSIONS_LIVE: &str = "netssmd_sessions_live";
const SESSIONS_CUT: &str = "netssmd_sessions_cut_total";
const PACKETS_SENT: &str = "netssmd_packets_sent_total";
const BYTES_SENT: &str = "netssmd_bytes_sent_total";
const PACKETS_WRITTEN: &str = "netssmd_packets_written_total";
const BYTES_WRITTEN: &str = "netssmd_bytes_written_total";
const DROPPED: &str = "netssmd_dropped_packets_total";
const LATENESS: &str = "netssmd_send_lateness_seconds";
const ROTATIONS: &str = "netssmd_capture_rotations_total";
const FILES_DELETED: &str = "netssmd_capture_files_deleted_total";
const CAPTURE_STALLS: &str = "netssmd_capture_stalls_total";
const CAPTURE_STALLED: &str = "netssmd_capture_stalled";
const RELOADS: &str = "netssmd_reloads_total";
const GUARD_FAILURES: &str = "netssmd_guard_failures_total";

/// Upper bounds of the lateness buckets, in seconds. An isolated core reaches 10 us, an ordinary kernel 50 us. An IDS
/// notices 1 ms. At 1 s the host cannot keep up.
pub(crate) const LATENESS_BUCKETS: [f64; 14] =
    [5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 0.1, 1.0, 10.0];

const METADATA: Metadata<'static> = Metadata::new("netssmd", Level::INFO, None);

/// Handles to all families. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    page: PrometheusHandle,
    /// [`FAMILIES`] describes each of these.
    pub tokens_generated: Counter,
    pub pool_sessions: Gauge,
    pub session_reuses: Counter,
    pub pool_underruns: Counter,
    pub sessions_live: Gauge,
    pub sessions_cut: Counter,
    pub bytes_sent: Counter,
    pub packets_written: Counter,
    pub bytes_written: Counter,
    pub lateness: Histogram,
    pub files_deleted: Counter,
    pub capture_stalls: Counter,
    pub capture_stalled: Gauge,
    pub guard_failures: Counter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers and describes all families. Counters without a label, and those whose label values are known, start at
    /// 0.
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(LATENESS.into()), &LATENESS_BUCKETS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        for (name, kind, unit, help) in FAMILIES {
            let name = KeyName::from_const_str(name);
            match kind {
                Kind::Counter => recorder.describe_counter(name, *unit, (*help).into()),
                Kind::Gauge => recorder.describe_gauge(name, *unit, (*help).into()),
                Kind::Histogram => recorder.describe_histogram(name, *unit, (*help).into()),
            }
        }
        let counter = |name| recorder.register_counter(&Key::from_static_name(name), &METADATA);
        let gauge = |name| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        let metrics = Self {
            tokens_generated: counter(TOKENS_GENERATED),
            pool_sessions: gauge(POOL_SESSIONS),
            session_reuses: counter(SESSION_REUSES),
            pool_underruns: counter(POOL_UNDERRUNS),
            sessions_live: gauge(SESSIONS_LIVE),
            sessions_cut: counter(SESSIONS_CUT),
            bytes_sent: counter(BYTES_SENT),
            packets_written: counter(PACKETS_WRITTEN),
            bytes_written: counter(BYTES_WRITTEN),
            lateness: recorder.register_histogram(&Key::from_static_name(LATENESS), &METADATA),
            files_deleted: counter(FILES_DELETED),
            capture_stalls: counter(CAPTURE_STALLS),
            capture_stalled: gauge(CAPTURE_STALLED),
            guard_failures: counter(GUARD_FAILURES),
            page: recorder.handle(),
            recorder: Arc::new(recorder),
        };
        for reason in PacketDrop::all() {
            metrics.dropped(reason).increment(0);
        }
        for result in ["accepted", "refused"] {
            metrics.reloads(result).increment(0);
        }
        metrics
            .info(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION")), ("commit", env!("NETSSMD_COMMIT"))]);
        metrics
    }

    /// Sets which model runs.
    pub(crate) fn set_model(&self, sha256: &str, codec: &str, labels: usize) {
        self.info(MODEL_INFO, &[("sha256", sha256), ("codec", codec), ("labels", &labels.to_string())]);
    }

    /// Counter of packets generated for a traffic label.
    pub(crate) fn packets_generated(&self, label: &str) -> Counter {
        self.labelled(PACKETS_GENERATED, "label", label)
    }

    /// Counter of sessions generated for a traffic label.
    pub(crate) fn sessions_generated(&self, label: &str) -> Counter {
        self.labelled(SESSIONS_GENERATED, "label", label)
    }

    /// Counter of sessions started for a traffic label.
    pub(crate) fn sessions_started(&self, label: &str) -> Counter {
        self.labelled(SESSIONS_STARTED, "label", label)
    }

    /// Counter of repairs of one kind.
    pub(crate) fn repairs(&self, kind: &str) -> Counter {
        self.labelled(REPAIRS, "kind", kind)
    }

    /// Counter of frames sent on an interface.
    pub(crate) fn packets_sent(&self, interface: &str) -> Counter {
        self.labelled(PACKETS_SENT, "interface", interface)
    }

    /// Counter of packets dropped for a reason.
    pub(crate) fn dropped(&self, reason: impl Into<PacketDrop>) -> Counter {
        self.labelled(DROPPED, "reason", reason.into().as_str())
    }

    /// Counter of captures finished for a reason.
    pub(crate) fn rotations(&self, reason: &str) -> Counter {
        self.labelled(ROTATIONS, "reason", reason)
    }

    /// Counter of reloads with a result.
    pub(crate) fn reloads(&self, result: &str) -> Counter {
        self.labelled(RELOADS, "result", result)
    }

    /// The page for Prometheus, in text format 0.0.4.
    pub(crate) fn render(&self) -> String {
        self.page.render()
    }

    /// Moves samples of histograms into their buckets. Call it about once a second: otherwise samples pile up until the
    /// next scrape.
    pub(crate) fn upkeep(&self) {
        self.page.run_upkeep();
    }

    fn labelled(&self, name: &'static str, label: &'static str, value: &str) -> Counter {
        let key = Key::from_parts(name, vec![Label::new(label, value.to_owned())]);
        self.recorder.register_counter(&key, &METADATA)
    }

    fn info(&self, name: &'static str, labels: &[(&'static str, &str)]) {
        let labels: Vec<Label> = labels.iter().map(|(k, v)| Label::new(*k, (*v).to_owned())).collect();
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA).set(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Metrics with a sample in every family.
    fn busy() -> Metrics {
        let m = Metrics::new();
        m.set_model("abc", "bytes/1 width=variable", 8);
        for counter in [
            m.packets_generated("you\"tube\\"),
            m.sessions_generated("youtube"),
            m.sessions_started("youtube"),
            m.repairs("ip_length"),
            m.packets_sent("veth0"),
            m.dropped(PacketDrop::SessionRefused),
            m.rotations("bytes"),
            m.reloads("refused"),
        ] {
            counter.increment(3);
        }
        m.lateness.record(3e-6);
        m.lateness.record(2.5e-3);
        m.lateness.record(99.0);
        m.pool_sessions.set(12.0);
        m
    }

    fn is_name(name: &str) -> bool {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Parses a sample by the grammar of the text format: name, labels and value.
    fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
        let name_end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(name_end);
        assert!(is_name(name), "{line}");
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            let mut text = inside;
            while !text.starts_with('}') {
                let (key, after) = text.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(key.trim_start_matches(',')), "{line}");
                let mut value = String::new();
                let mut chars = after.char_indices();
                let end = loop {
                    match chars.next().unwrap_or_else(|| panic!("label without end: {line}")) {
                        (_, '\\') => match chars.next() {
                            Some((_, c @ ('\\' | '"' | 'n'))) => value.push(c),
                            other => panic!("bad escape {other:?}: {line}"),
                        },
                        (i, '"') => break i,
                        (_, c) => value.push(c),
                    }
                };
                labels.push((key.trim_start_matches(',').to_owned(), value));
                text = &after[end + 1..];
                assert!(text.starts_with([',', '}']), "{line}");
            }
            rest = &text[1..];
        }
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
    }

    #[test]
    fn the_page_is_valid_text_format_with_help_and_type_once_for_each_family() {
        let page = busy().render();
        let mut types = BTreeMap::new();
        let mut helps = BTreeSet::new();
        let mut series = BTreeSet::new();
        for line in page.lines().filter(|l| !l.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(help.ends_with('.') && helps.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else {
                let (name, labels, value) = sample(line);
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .filter_map(|suffix| name.strip_suffix(suffix))
                    .find(|base| types.get(*base).is_some_and(|k| k == "histogram"))
                    .unwrap_or(&name);
                let kind = types.get(family).unwrap_or_else(|| panic!("{name} has no TYPE before it"));
                assert!(kind != "counter" || (name.ends_with("_total") && value >= 0.0), "{line}");
                assert!(series.insert((name, labels)), "twice: {line}");
            }
        }
        let described: BTreeSet<String> = FAMILIES.iter().map(|f| f.0.to_owned()).collect();
        assert_eq!(types.keys().cloned().collect::<BTreeSet<_>>(), described, "each family is there");
        assert_eq!(helps, described);
    }

    #[test]
    fn names_follow_the_house_grammar() {
        for (name, kind, unit, _) in FAMILIES {
            assert!(name.starts_with("netssmd_"), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            if let Some(unit) = unit {
                let suffix = format!("_{}", unit.as_str());
                let stem = name.trim_end_matches("_total");
                assert!(stem.ends_with(&suffix) || stem.contains(&format!("{}_", unit.as_str())), "{name}");
            }
        }
    }

    #[test]
    fn lateness_falls_into_cumulative_buckets() {
        let metrics = busy();
        metrics.upkeep();
        let page = metrics.render();
        let bucket = |le: &str| {
            let start = format!("netssmd_send_lateness_seconds_bucket{{le=\"{le}\"}} ");
            page.lines()
                .find_map(|l| l.strip_prefix(&start))
                .unwrap_or_else(|| panic!("no bucket {le} in {page}"))
        };
        assert_eq!(
            (bucket("0.000005"), bucket("0.001"), bucket("0.005"), bucket("+Inf")),
            ("1", "1", "2", "3")
        );
        assert!(page.contains("netssmd_send_lateness_seconds_count 3"));
    }

    #[test]
    fn promtool_finds_nothing() {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let Ok(mut child) = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            // The strict parser above runs everywhere. promtool gives a second opinion where it is installed.
            eprintln!("SKIPPED: promtool is not installed");
            return;
        };
        child.stdin.take().unwrap().write_all(busy().render().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_full_page_stays_small() {
        // Four interfaces and ten labels, as in a large testbed.
        let metrics = busy();
        for i in 0..10 {
            let label = format!("label{i}");
            metrics.packets_generated(&label).increment(1);
            metrics.sessions_generated(&label).increment(1);
            metrics.sessions_started(&label).increment(1);
            metrics.packets_sent(&format!("veth{}", i % 4)).increment(1);
        }
        let series = metrics.render().lines().filter(|l| !l.is_empty() && !l.starts_with('#')).count();
        assert!(series < 200, "{series} series");
    }
}
