//! Reads captures as sessions, with labels and with a limit of packets.
//!
//! A capture is one session, unless a label file next to it says otherwise (`sidecar`), or a long gap cuts it in two,
//! as in `prepare`. The label comes from the label file, else from the label list, else it is the name of the folder. A
//! file that cannot be read is not an error: [`Found`] names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netssm_wire::capture::{Capture, InputError, Labels, Progress, Record, find_captures};
use rayon::prelude::*;
use serde::Serialize;

use crate::error::FidelityError;
use crate::input::sidecar::Sidecar;

/// Which captures, and how they are cut into sessions.
#[derive(Clone, Debug)]
pub struct Captures {
    /// Files, or folders that are searched.
    pub inputs: Vec<PathBuf>,
    /// A label list as [`Labels::read`] takes it; without one, each file has the name of its folder as label.
    pub labels: Option<PathBuf>,
    /// Packets of a session that are looked at; 0 = all.
    pub max_packets: u64,
    /// A gap longer than this ends a session and starts another.
    pub silence: Option<Duration>,
}

impl Captures {
    /// All packets of the captures below some folders, labelled by folder. A gap of ten minutes ends a session.
    pub fn of(inputs: Vec<PathBuf>) -> Self {
        Self { inputs, labels: None, max_packets: 0, silence: Some(Duration::from_secs(600)) }
    }
}

/// Counts of what was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    /// Capture files.
    pub captures: u64,
    /// Sessions with at least one packet.
    pub sessions: u64,
    /// Packets looked at.
    pub packets: u64,
    /// Packets left out because they fit no session of their capture's label file.
    pub unassigned: u64,
    /// Sessions by label.
    pub labels: BTreeMap<String, u64>,
    /// Files without a label. They count in rows over all sessions.
    pub unlabelled: Vec<PathBuf>,
    /// Files that could not be read, or not to their end, with the reason.
    pub faults: Vec<(PathBuf, String)>,
}

impl Found {
    /// Adds the counts of other files.
    pub fn merge(&mut self, other: Self) {
        self.captures += other.captures;
        self.sessions += other.sessions;
        self.packets += other.packets;
        self.unassigned += other.unassigned;
        for (label, sessions) in other.labels {
            *self.labels.entry(label).or_default() += sessions;
        }
        self.unlabelled.extend(other.unlabelled);
        self.faults.extend(other.faults);
    }
}

/// One session as it is read.
pub struct Part<S> {
    /// Its label, if it has one.
    pub label: Option<String>,
    /// Whether the recording goes on after the last packet read, because of a packet limit or damage to the file.
    pub cut: bool,
    /// The value made from its packets.
    pub content: S,
}

/// One capture file.
pub struct File<S> {
    /// Its sessions, in order of their first packets.
    pub sessions: Vec<Part<S>>,
    /// Counts of this file.
    pub found: Found,
}

/// Receives the packets of a session one by one.
pub trait Take: Send {
    /// Takes the next packet.
    fn take(&mut self, record: &Record);
}

/// The files to read and their labels, in order of path.
///
/// # Errors
/// [`InputError`]: a folder that cannot be listed, a label list that cannot be used.
fn files(captures: &Captures) -> Result<Vec<(PathBuf, Option<String>)>, InputError> {
    let labels = captures.labels.as_deref().map_or_else(|| Ok(Labels::by_folder()), Labels::read)?;
    let files = find_captures(&captures.inputs)?;
    Ok(files.into_iter().map(|path| (labels.label(&path), path)).map(|(label, path)| (path, label)).collect())
}

/// Reads all captures in parallel; `open` begins a session, `done` gets each file's sessions. Results come in order of
/// path.
///
/// # Errors
/// As above, and [`FidelityError::Stopped`].
pub fn read<S: Take, R: Send>(
    captures: &Captures,
    progress: &dyn Progress,
    open: impl Fn(Option<&str>) -> S + Sync,
    done: impl Fn(File<S>) -> R + Sync,
) -> Result<Vec<R>, FidelityError> {
    let files = files(captures)?;
    let sizes: Vec<u64> =
        files.iter().map(|(path, _)| std::fs::metadata(path).map_or(0, |about| about.len())).collect();
    progress.begin(files.len() as u64, sizes.iter().sum());
    files
        .par_iter()
        .zip(sizes)
        .map(|((path, label), bytes)| {
            if progress.stop() {
                return Err(FidelityError::Stopped);
            }
            let file = read_file(path, label.as_deref(), captures, &open);
            progress.file(bytes, file.found.packets);
            Ok(done(file))
        })
        .collect()
}

/// Packets of a session as they are.
impl Take for Vec<Record> {
    fn take(&mut self, record: &Record) {
        self.push(record.clone());
    }
}

/// Gives the packets of every session to `take`, as they are in the capture, in order of path. It is for programs that
/// judge captures and must see the same packets as the measures. One file is in memory at a time. It ends once `take`
/// returns false.
///
/// # Errors
/// [`InputError`]: folders that cannot be listed, a label list that cannot be used. Files that cannot be read are left
/// out.
pub fn each_session(captures: &Captures, mut take: impl FnMut(&[Record]) -> bool) -> Result<(), InputError> {
    for (path, label) in files(captures)? {
        let file = read_file(&path, label.as_deref(), captures, &|_| Vec::new());
        if !file.sessions.iter().all(|part| take(&part.content)) {
            break;
        }
    }
    Ok(())
}

/// A session that packets are still added to.
struct Open<S> {
    part: Part<S>,
    packets: u64,
}

struct Reader<'a, S, O: Fn(Option<&str>) -> S> {
    captures: &'a Captures,
    open: &'a O,
    sessions: Vec<Open<S>>,
    found: Found,
}

impl<S: Take, O: Fn(Option<&str>) -> S> Reader<'_, S, O> {
    fn begin(&mut self, label: Option<&str>) -> usize {
        let content = (self.open)(label);
        let part = Part { label: label.map(str::to_owned), cut: false, content };
        self.sessions.push(Open { part, packets: 0 });
        self.sessions.len() - 1
    }

    fn add(&mut self, session: usize, record: &Record) {
        let session = &mut self.sessions[session]; // the number came from `begin`
        if self.captures.max_packets > 0 && session.packets >= self.captures.max_packets {
            session.part.cut = true;
            return;
        }
        session.part.content.take(record);
        session.packets += 1;
        self.found.packets += 1;
    }
}

fn read_file<S: Take>(
    path: &Path,
    label: Option<&str>,
    captures: &Captures,
    open: &impl Fn(Option<&str>) -> S,
) -> File<S> {
    let mut reader = Reader { captures, open, sessions: Vec::new(), found: Found::default() };
    reader.found.captures = 1;
    let fault = |found: &mut Found, why: String| found.faults.push((path.to_owned(), why));
    let sidecar = match Sidecar::beside(path).map(|beside| Sidecar::read(&beside)) {
        Some(Ok(mut sidecar)) => {
            if let Ok(mut capture) = Capture::open(path) {
                while let Ok(Some(record)) = capture.next_record() {
                    sidecar.learn(&record);
                }
            }
            Some(sidecar)
        }
        Some(Err(error)) => {
            fault(&mut reader.found, format!("read as one session: {error}"));
            None
        }
        None => None,
    };
    if label.is_none() && sidecar.is_none() {
        reader.found.unlabelled.push(path.to_owned());
    }
    let limit = captures.silence.map_or(i64::MAX, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    let mut numbers = BTreeMap::<u64, usize>::new();
    let mut last: Option<(usize, i64)> = None;
    let mut take = |reader: &mut Reader<'_, S, _>, record: &Record| {
        let session = if let Some(sidecar) = &sidecar {
            let Some(number) = sidecar.session(record) else {
                reader.found.unassigned += 1;
                return;
            };
            let label = sidecar.labels.get(&number).map(String::as_str);
            *numbers.entry(number).or_insert_with(|| reader.begin(label))
        } else {
            match last {
                Some((session, at_ns)) if record.time_ns.saturating_sub(at_ns) <= limit => session,
                _ => reader.begin(label),
            }
        };
        last = Some((session, record.time_ns));
        reader.add(session, record);
    };
    let mut damaged = false;
    match Capture::open(path) {
        Ok(mut capture) => loop {
            match capture.next_record() {
                Ok(Some(record)) => take(&mut reader, &record),
                Ok(None) => break,
                Err(error) => {
                    fault(&mut reader.found, error.to_string());
                    damaged = true;
                    break;
                }
            }
        },
        Err(error) => fault(&mut reader.found, error.to_string()),
    }
    let Reader { sessions, mut found, .. } = reader;
    let mut sessions: Vec<Part<S>> = sessions.into_iter().map(|open| open.part).collect();
    if damaged && let Some(last) = sessions.last_mut() {
        last.cut = true;
    }
    found.sessions = sessions.len() as u64;
    for label in sessions.iter().filter_map(|part| part.label.as_ref()) {
        *found.labels.entry(label.clone()).or_default() += 1;
    }
    File { sessions, found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    struct Count(u64);

    impl Take for Count {
        fn take(&mut self, _: &Record) {
            self.0 += 1;
        }
    }

    fn counts(captures: &Captures) -> (Vec<(Option<String>, u64, bool)>, Found) {
        let files =
            read(captures, &(), |_| Count(0), |file: File<Count>| file).expect("folders that can be listed");
        let mut all = (Vec::new(), Found::default());
        for file in files {
            all.0.extend(file.sessions.into_iter().map(|p| (p.label, p.content.0, p.cut)));
            all.1.merge(file.found);
        }
        all
    }

    #[test]
    fn sessions_are_parted_by_silence_and_labelled_by_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.handshake(700_000_000, 50002);
        frames.write(&dir.path().join("camera/a.pcap"));
        std::fs::write(dir.path().join("camera/b.pcap"), "no capture").expect("written");
        let mut captures = Captures::of(vec![dir.path().to_owned()]);
        let camera = |packets, cut| (Some("camera".to_owned()), packets, cut);
        let (sessions, found) = counts(&captures);
        assert_eq!(sessions, [camera(3, false), camera(3, false)]);
        assert_eq!((found.captures, found.sessions, found.packets, found.faults.len()), (2, 2, 6, 1));
        assert_eq!(found.labels, BTreeMap::from([("camera".to_owned(), 2)]));
        captures.silence = None;
        captures.max_packets = 4;
        assert_eq!(counts(&captures).0, [camera(4, true)]);
    }

    #[test]
    fn sessions_come_one_by_one_with_whole_packets() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut frames = Frames::new();
        frames.udp(0, (40001, 443), 900);
        frames.udp(700_000_000, (40001, 443), 900);
        frames.write(&dir.path().join("a.pcap"));
        frames.write(&dir.path().join("b.pcap"));
        std::fs::write(dir.path().join("c.pcap"), "no capture").expect("written");
        let captures = Captures::of(vec![dir.path().to_owned()]);
        let mut lengths = Vec::new();
        let mut take = |records: &[Record]| {
            lengths.push(records.iter().map(|record| record.frame.len()).collect::<Vec<_>>());
            lengths.len() < 3
        };
        each_session(&captures, &mut take).expect("a folder that can be listed");
        assert_eq!(lengths, vec![vec![942]; 3]);
    }

    #[test]
    fn a_label_file_beside_the_capture_parts_and_labels() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut frames = Frames::new();
        frames.udp(0, (40001, 53), 9);
        frames.udp(5, (40002, 53), 9);
        frames.udp(9, (53, 40001), 9);
        frames.write(&dir.path().join("out.pcap"));
        let line = |session: u64, label: &str, port: u16| {
            format!(
                "{{\"session\":{session},\"label\":\"{label}\",\"src\":\"10.0.0.2\",\"src_port\":{port},\
                 \"dst\":\"198.18.0.1\",\"dst_port\":53,\"protocol\":17,\"first_ns\":0,\"last_ns\":9000}}\n"
            )
        };
        let path = dir.path().join("out.labels.jsonl");
        std::fs::write(&path, line(0, "a", 40001) + &line(1, "b", 40002)).expect("written");
        let captures = Captures::of(vec![dir.path().to_owned()]);
        let (sessions, _) = counts(&captures);
        assert_eq!(sessions, [(Some("a".to_owned()), 2, false), (Some("b".to_owned()), 1, false)]);
        // A label file that cannot be read is named, and the capture is one session.
        std::fs::write(&path, "nonsense").expect("written");
        let (sessions, found) = counts(&captures);
        assert_eq!((sessions.len(), sessions[0].1, found.faults.len()), (1, 3, 1));
    }
}
