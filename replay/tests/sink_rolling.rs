//! Rolling captures: what is visible is whole, labelled, aligned, below the cap, and true also when the disk
//! is full or the process is killed.

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netssm_replay::clock::{Clock, MockClock, MonoTime, SystemClock, WallTime};
use netssm_replay::label::LabelRecord;
use netssm_replay::rewrite::TestbedFrame;
use netssm_replay::sink::rolling::{RollingConfig, RollingSink};
use netssm_replay::sink::{DropReason, FinishReason, Sink, SinkEvent, SinkStats};
use netssm_wire::capture::Capture;
use support::frames::{frames, guard};

fn clock() -> Arc<MockClock> {
    Arc::new(MockClock::new(MonoTime(0), WallTime(0)))
}

fn unlimited(dir: &Path) -> RollingConfig {
    RollingConfig {
        max_bytes: 0,
        max_seconds: 0,
        max_packets: 0,
        directory_bytes: 0,
        ..RollingConfig::new(dir)
    }
}

fn open(config: RollingConfig) -> Box<RollingSink> {
    Box::new(RollingSink::open(config, guard(&[]), clock()).unwrap())
}

/// Names in a directory that a reader sees, sorted.
fn visible(dir: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let files = entries.filter(|e| e.file_type().unwrap().is_file()).map(|e| e.path());
    let mut files: Vec<_> = files.filter(|p| p.to_str().unwrap().ends_with(end)).collect();
    files.sort();
    files
}

/// Files that a crash or a full disk left unfinished.
fn hidden(dir: &Path) -> Vec<PathBuf> {
    visible(&dir.join(".netssmd.parts"), ".part")
}

/// Every frame of a capture with its time; the capture must be whole.
fn read(path: &Path) -> Vec<(i64, Vec<u8>)> {
    let mut capture = Capture::open(path).unwrap();
    let mut out = Vec::new();
    while let Some(record) = capture.next_record().unwrap() {
        assert_eq!(record.wire_len as usize, record.frame.len());
        out.push((record.time_ns, record.frame));
    }
    let bytes: usize = out.iter().map(|(_, f)| f.len() + 16).sum();
    assert_eq!(fs::metadata(path).unwrap().len(), bytes as u64 + 24, "no byte beyond the records");
    out
}

fn labels(capture: &Path) -> Vec<LabelRecord> {
    let path = capture.to_str().unwrap().replace(".pcap", ".labels.jsonl");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Frames that the labels of a capture account for.
fn labelled(capture: &Path) -> u64 {
    labels(capture).iter().map(|l| l.packets_to_server + l.packets_to_client).sum()
}

fn at(secs: i64, nanos: i64) -> WallTime {
    WallTime(secs * 1_000_000_000 + nanos)
}

/// Files are finished on another thread.
fn wait_for(mut condition: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    let until = clock.now() + Duration::from_secs(20);
    while !condition() {
        assert!(clock.now() < until, "waited for long enough");
        clock.sleep_until(clock.now() + Duration::from_millis(1));
    }
}

fn whys(events: &[SinkEvent]) -> Vec<(u64, FinishReason)> {
    let finished = events.iter().filter_map(|e| match e {
        SinkEvent::Finished { frames, why, .. } => Some((*frames, *why)),
        _ => None,
    });
    finished.collect()
}

#[test]
fn frames_times_and_labels_come_back_exactly() {
    let tmp = tempfile::tempdir().unwrap();
    let mut sink = open(unlimited(tmp.path()));
    let sent = frames(500, 300);
    for (i, frame) in sent.iter().enumerate() {
        sink.send_frame(frame, at(1_800_000_000, i as i64 * 1_234_567 + 1)).unwrap();
    }
    assert_eq!(visible(tmp.path(), "").len(), 0, "nothing shows before it is complete");
    sink.flush().unwrap();
    let stats = sink.stats();
    assert_eq!((stats.offered, stats.frames, stats.queued, stats.bytes), (500, 500, 0, 150_000));
    let stats = sink.close().unwrap();
    assert_eq!(stats.files.unwrap().finished, 1);

    let captures = visible(tmp.path(), ".pcap");
    let name = captures[0].file_name().unwrap().to_str().unwrap();
    assert_eq!(name, "netssmd-20270115T080000.000000001Z-000000.pcap");
    let records = read(&captures[0]);
    assert_eq!(records.len(), 500);
    for (i, ((time, bytes), frame)) in records.iter().zip(&sent).enumerate() {
        assert_eq!((*time, &bytes[..]), (at(1_800_000_000, i as i64 * 1_234_567 + 1).0, frame.bytes()));
    }
    let labels = labels(&captures[0]);
    assert_eq!(labels.len(), 1);
    let label = &labels[0];
    assert_eq!(
        (label.label.as_str(), label.seed, label.packets_to_server, label.packets_to_client),
        ("test", 7, 250, 250)
    );
    assert_eq!((label.first_ns, label.last_ns), (records[0].0, records[499].0));
    assert_eq!(visible(tmp.path(), "").len(), 2);
    assert_eq!(hidden(tmp.path()), Vec::<PathBuf>::new());
}

#[test]
fn files_end_by_bytes_packets_and_wall_clock() {
    let sent = frames(100, 84); // 100 bytes a record
    let tmp = tempfile::tempdir().unwrap();
    let mut sink = open(RollingConfig { max_bytes: 1_024, ..unlimited(tmp.path()) });
    for frame in &sent {
        sink.send_frame(frame, at(5, 0)).unwrap();
    }
    sink.finish().unwrap();
    let whys_of = whys(&sink.take_events());
    assert_eq!(whys_of[..9], [(10, FinishReason::Bytes); 9]);
    assert_eq!(whys_of[9..], [(10, FinishReason::Close)]);
    sink.close().unwrap();
    let captures = visible(tmp.path(), ".pcap");
    assert_eq!(captures.len(), 10);
    assert!(captures.iter().all(|c| fs::metadata(c).unwrap().len() == 1_024 && labelled(c) == 10));

    let tmp = tempfile::tempdir().unwrap();
    let mut sink = open(RollingConfig { max_packets: 33, ..unlimited(tmp.path()) });
    for frame in &sent {
        sink.send_frame(frame, at(5, 0)).unwrap();
    }
    sink.finish().unwrap();
    assert_eq!(whys(&sink.take_events())[..3], [(33, FinishReason::Packets); 3]);
    sink.close().unwrap();
    assert_eq!(
        visible(tmp.path(), ".pcap").iter().map(|c| read(c).len()).collect::<Vec<_>>(),
        [33, 33, 33, 1]
    );

    // A frame longer than the limit still gets a file.
    let tmp = tempfile::tempdir().unwrap();
    let mut sink = open(RollingConfig { max_bytes: 50, ..unlimited(tmp.path()) });
    for frame in &sent[..3] {
        sink.send_frame(frame, at(5, 0)).unwrap();
    }
    sink.close().unwrap();
    assert_eq!(visible(tmp.path(), ".pcap").len(), 3);
}

#[test]
fn windows_are_multiples_of_the_wall_clock_not_of_the_first_packet() {
    let tmp = tempfile::tempdir().unwrap();
    let mut sink = open(RollingConfig { max_seconds: 60, ..unlimited(tmp.path()) });
    let sent = frames(8, 84);
    // 08:00:00 UTC is a multiple of a minute. The first window is entered in its middle.
    let noon = 1_800_000_000;
    let times = [
        at(noon + 47, 0),
        at(noon + 59, 999_999_999),
        at(noon + 60, 0),
        at(noon + 59, 999_999_998), // late by itself: no way back
        at(noon + 119, 0),
        at(noon + 300, 5), // windows without packets make no files
        at(noon + 300, 6),
    ];
    for (frame, time) in sent.iter().zip(times) {
        sink.send_frame(frame, time).unwrap();
    }
    sink.tick(at(noon + 359, 0)).unwrap();
    let mut events = Vec::new();
    let mut finished = |sink: &mut RollingSink, now, n: usize| {
        wait_for(|| {
            sink.tick(now).unwrap();
            events.extend(sink.take_events());
            events.len() == n
        });
    };
    finished(&mut sink, at(noon + 359, 0), 2); // not the third
    finished(&mut sink, at(noon + 360, 0), 3); // nothing is sent, and the file shows all the same
    let ends = whys(&events);
    assert_eq!(ends, [2, 3, 2].map(|n| (n, FinishReason::Time)));
    sink.send_frame(&sent[7], at(noon + 359, 0)).unwrap();
    sink.close().unwrap();
    let names: Vec<String> = visible(tmp.path(), ".pcap")
        .iter()
        .map(|p| p.file_stem().unwrap().to_str().unwrap()[8..].into())
        .collect();
    assert_eq!(
        names,
        [
            "20270115T080047.000000000Z-000000",
            "20270115T080100.000000000Z-000001",
            "20270115T080500.000000005Z-000002",
            "20270115T080559.000000000Z-000003",
        ]
    );
}

#[test]
fn the_directory_stays_below_its_cap_at_every_moment() {
    let tmp = tempfile::tempdir().unwrap();
    let cap = 400_000;
    let mut sink = open(RollingConfig { directory_bytes: cap, max_bytes: 60_000, ..unlimited(tmp.path()) });
    let sent = frames(2_000, 984); // 1,000 bytes a record
    let mut most = 0;
    for (i, frame) in sent.iter().enumerate() {
        sink.send_frame(frame, at(5, i as i64)).unwrap();
        let bytes: u64 = visible(tmp.path(), "").iter().map(|p| fs::metadata(p).unwrap().len()).sum();
        most = most.max(bytes);
        assert!(sink.stats().files.unwrap().directory_bytes <= cap);
    }
    assert!(most <= cap && most > cap / 2, "{most}");
    sink.finish().unwrap();
    let events = sink.take_events();
    let stats = sink.close().unwrap();
    let files = stats.files.unwrap();
    assert!(files.deleted > 20, "{files:?}");
    assert_eq!(files.finished - files.deleted, visible(tmp.path(), ".pcap").len() as u64);
    assert_eq!(visible(tmp.path(), ".pcap").len(), visible(tmp.path(), ".labels.jsonl").len());
    let deleted = events.iter().filter(|e| matches!(e, SinkEvent::Deleted { .. })).count();
    assert_eq!(deleted as u64, files.deleted);
    // The newest are the ones that are left.
    let first = &read(&visible(tmp.path(), ".pcap")[0])[0];
    assert!(first.0 > at(5, 1_500).0);
}

/// A file system of its own with this many bytes, or why not.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(bytes: u64) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        if mount.is_ok_and(|o| o.status.success()) {
            return Some(Tmpfs(dir));
        }
        let required = std::env::var("NETSSMD_REQUIRE_ALL").is_ok_and(|v| v == "1");
        assert!(!required, "the full-disk tests need to mount a tmpfs");
        eprintln!("SKIPPED: the full-disk tests need root to mount a tmpfs");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Until so many bytes can be written. A removed file takes its room as long as someone has it open, and libpcap
    /// opens files without close-on-exec: a child that another test starts may, for a while.
    #[expect(clippy::disallowed_methods, reason = "other processes keep no simulated time")]
    fn wait_for_room(&self, bytes: usize) {
        let (room, until) = (self.path().join("room"), Instant::now() + Duration::from_secs(10));
        while fs::write(&room, vec![0; bytes]).is_err() {
            assert!(Instant::now() < until, "no room for {bytes} bytes");
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::remove_file(room).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: libpcap opens files without close-on-exec, so a child that another test starts may hold one
        // for a while.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|s| s.success()), "{} stays mounted", self.path().display());
    }
}

/// Every frame that is counted as written is in a visible, whole, labelled capture, once and in order.
fn assert_truth(dir: &Path, stats: &SinkStats, sent: &[TestbedFrame]) {
    let captures = visible(dir, ".pcap");
    let mut written = 0;
    for capture in &captures {
        let records = read(capture);
        assert_eq!(labelled(capture), records.len() as u64, "labels count what is in the file");
        written += records.len() as u64;
        for (time, bytes) in records {
            assert_eq!(bytes, sent[(time % 1_000_000) as usize % sent.len()].bytes());
        }
    }
    assert_eq!(written, stats.frames);
    assert_eq!(stats.offered, stats.frames + stats.queued + stats.dropped.total());
}

#[test]
fn a_full_disk_stops_writing_and_room_lets_it_go_on() {
    let Some(disk) = Tmpfs::new(2 << 20) else { return };
    let clock = clock();
    let config = RollingConfig { max_bytes: 300_000, ..unlimited(disk.path()) };
    let room = config.room;
    let as_clock: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
    let mut sink = Box::new(RollingSink::open(config, guard(&[]), as_clock).unwrap());
    let sent = frames(1_000, 1_400);
    let mut n = 0;
    let mut send = |sink: &mut RollingSink, count: usize| {
        for _ in 0..count {
            sink.send_frame(&sent[n % sent.len()], at(5, n as i64)).unwrap();
            n += 1;
        }
    };
    send(&mut sink, 2_000); // 2.8 MB into 2 MiB
    sink.finish().unwrap(); // waits for what the full disk ended
    let events = sink.take_events();
    let stalls: Vec<_> = events.iter().filter(|e| matches!(e, SinkEvent::Stalled { .. })).collect();
    let [SinkEvent::Stalled { error, lost, .. }] = &stalls[..] else { panic!("{stalls:?}") };
    assert!(error.contains("No space left on device") || error.contains("short write"), "{error}");
    assert_eq!(
        whys(&events).last().map(|w| w.1),
        Some(FinishReason::Stall),
        "the last one was finished all the same"
    );
    let stats = sink.stats();
    let files = stats.files.unwrap();
    assert!(files.stalled && files.stalls == 1);
    assert!(stats.frames > 1_200, "most of the disk was used: {stats:?}");
    assert!(stats.dropped.get(DropReason::DiskFull) > *lost);
    assert_truth(disk.path(), &stats, &sent);
    assert_eq!(hidden(disk.path()), Vec::<PathBuf>::new());

    // Time passes, the disk is still full: dropped, not tried at every frame, no new file.
    let before = visible(disk.path(), "").len();
    clock.advance(Duration::from_secs(5));
    send(&mut sink, 100);
    assert_eq!(visible(disk.path(), "").len(), before);
    assert_eq!(sink.take_events(), []);

    // Room again, but it is noticed only at the next probe.
    for path in &visible(disk.path(), ".pcap")[..3] {
        fs::remove_file(path).unwrap();
        fs::remove_file(path.to_str().unwrap().replace(".pcap", ".labels.jsonl")).unwrap();
    }
    disk.wait_for_room(room as usize);
    let frames_before: u64 = visible(disk.path(), ".pcap").iter().map(|c| read(c).len() as u64).sum();
    send(&mut sink, 1);
    assert!(sink.stats().files.unwrap().stalled);
    clock.advance(Duration::from_secs(1));
    let dropped = sink.stats().dropped.get(DropReason::DiskFull);
    send(&mut sink, 300);
    assert_eq!(sink.take_events().first(), Some(&SinkEvent::Resumed { path: disk.path().into(), dropped }));
    let end = sink.close().unwrap();
    assert!(!end.files.unwrap().stalled);
    assert_eq!(end.frames, stats.frames + 300, "all of what came after");
    let frames_now: u64 = visible(disk.path(), ".pcap").iter().map(|c| read(c).len() as u64).sum();
    assert_eq!(frames_now, frames_before + 300);
}

#[test]
fn a_sink_closed_on_a_full_disk_leaves_whole_labelled_captures() {
    let Some(disk) = Tmpfs::new(1 << 20) else { return };
    let mut sink = open(unlimited(disk.path()));
    let sent = frames(1_000, 1_400);
    for (i, frame) in sent.iter().enumerate() {
        sink.send_frame(frame, at(5, i as i64)).unwrap();
    }
    let stats = sink.close().unwrap();
    assert!(stats.frames > 400 && stats.files.unwrap().stalled, "{stats:?}");
    assert_truth(disk.path(), &stats, &sent);
    assert_eq!(visible(disk.path(), ".pcap").len(), 1);
    assert_eq!(hidden(disk.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told_and_waited_for() {
    let Some(disk) = Tmpfs::new(1 << 20) else { return };
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0u8; 2 << 20]).unwrap_err();
    let clock = clock();
    let opened = RollingSink::open(unlimited(disk.path()), guard(&[]), Arc::clone(&clock) as Arc<dyn Clock>);
    let mut sink = Box::new(opened.unwrap());
    let sent = frames(10, 100);
    for frame in &sent {
        sink.send_frame(frame, at(5, 0)).unwrap();
    }
    assert!(sink.stats().files.unwrap().stalled);
    assert_eq!(sink.stats().dropped.get(DropReason::DiskFull), 10);
    fs::remove_file(&filler).unwrap();
    clock.advance(Duration::from_secs(2));
    sink.tick(at(7, 0)).unwrap(); // without any frame
    let events = sink.take_events();
    assert!(
        matches!(&events[..], [SinkEvent::Stalled { .. }, SinkEvent::Resumed { dropped: 10, .. }]),
        "{events:?}"
    );
    for frame in &sent {
        sink.send_frame(frame, at(8, 0)).unwrap();
    }
    assert_eq!(sink.close().unwrap().frames, 10);
}

/// Runs in a child, started by the test below: writes until it is killed.
#[test]
fn endless_writer_child() {
    let Some(dir) = std::env::var_os("NETSSMD_TEST_DIR") else { return };
    let config = RollingConfig { max_packets: 400, ..unlimited(Path::new(&dir)) };
    let mut sink = RollingSink::open(config, guard(&[]), Arc::new(SystemClock::new())).unwrap();
    let sent = frames(1_000, 700);
    for i in 0.. {
        sink.send_frame(&sent[i % sent.len()], at(5, i as i64)).unwrap();
        if i % 100 == 0 {
            sink.flush().unwrap();
        }
    }
}

#[test]
fn after_kill_9_only_complete_captures_are_visible() {
    let tmp = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let clock = SystemClock::new();
    let mut seen = 0;
    for round in 0..12u64 {
        let mut child = Command::new(&me);
        child.args(["--exact", "endless_writer_child"]).env("NETSSMD_TEST_DIR", tmp.path());
        let mut child = child.stdout(std::process::Stdio::null()).spawn().unwrap();
        // At another point of its work each time, but never before the first file of this round.
        let until = clock.now() + Duration::from_secs(30);
        while visible(tmp.path(), ".pcap").len() <= seen && clock.now() < until {
            clock.sleep_until(clock.now() + Duration::from_millis(1));
        }
        clock.sleep_until(clock.now() + Duration::from_micros(round * 1_777));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();

        let captures = visible(tmp.path(), ".pcap");
        assert!(captures.len() > seen, "round {round}");
        seen = captures.len();
        for capture in &captures {
            assert_eq!((read(capture).len(), labelled(capture)), (400, 400), "{}", capture.display());
        }
        let stems = |end: &str| -> HashSet<String> {
            let names = visible(tmp.path(), end).into_iter().map(|p| p.to_str().unwrap().replace(end, ""));
            names.collect()
        };
        let unpaired: Vec<_> = stems(".labels.jsonl").difference(&stems(".pcap")).cloned().collect();
        assert!(unpaired.len() <= 1, "at most the one between its two renames: {unpaired:?}");
    }
    assert!(hidden(tmp.path()).len() <= 4, "one that is open, one being finished");
    let mut sink = open(unlimited(tmp.path()));
    sink.take_events();
    assert_eq!(hidden(tmp.path()), Vec::<PathBuf>::new(), "the next start clears up");
    let next = frames(1, 100);
    sink.send_frame(&next[0], at(6, 0)).unwrap();
    sink.close().unwrap();
    let last =
        visible(tmp.path(), ".pcap").into_iter().max_by_key(|p| fs::metadata(p).unwrap().modified().unwrap());
    assert_eq!(read(&last.unwrap()).len(), 1, "under a name of its own");
}

#[test]
fn times_that_a_capture_cannot_say_are_dropped_by_reason() {
    let tmp = tempfile::tempdir().unwrap();
    let mut sink = open(unlimited(tmp.path()));
    let sent = frames(3, 100);
    sink.send_frame(&sent[0], at(-1, 0)).unwrap();
    sink.send_frame(&sent[1], at(i64::from(u32::MAX), 999_999_999)).unwrap();
    sink.send_frame(&sent[2], at(i64::from(u32::MAX) + 1, 0)).unwrap();
    let stats = sink.close().unwrap();
    assert_eq!((stats.frames, stats.dropped.get(DropReason::Time)), (1, 2));
}

#[test]
fn a_refused_frame_is_not_written_and_what_came_before_is() {
    let tmp = tempfile::tempdir().unwrap();
    let guard = guard(&[]);
    let gate = Arc::clone(guard.gate());
    let mut sink = Box::new(RollingSink::open(unlimited(tmp.path()), guard, clock()).unwrap());
    let sent = frames(4, 100);
    sink.send_frame(&sent[0], at(5, 0)).unwrap();
    gate.trip("stop");
    assert_eq!(sink.send_frame(&sent[1], at(5, 1)).unwrap_err().to_string(), "sending was stopped: stop");
    let stats = sink.close().unwrap();
    assert_eq!((stats.frames, stats.dropped.get(DropReason::Guard)), (1, 1));
    assert_eq!(read(&visible(tmp.path(), ".pcap")[0]).len(), 1);
}
