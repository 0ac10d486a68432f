//! `prepare` and the corpus over captures made on the spot: what becomes a session, and what a bad file does.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use netssm_tokens::{
    DataError,
    codec::{self, BytesCodec, Codec, CodecChoice, Form, Step, Width},
    corpus::{Corpus, Split},
    prepare::{Phase, PrepareOptions, PrepareReport, SplitBy, Validation, prepare},
};
use netssm_wire::capture::Progress;
use support::{connection, write_pcap};

/// A folder with two labels: `web` has three captures, `mail` two.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().expect("a folder") };
        for (label, count) in [("web", 3_u16), ("mail", 2)] {
            for index in 0..count {
                let port = 50_000 + 10 * index + label.len() as u16;
                write_pcap(&lab.path(&format!("in/{label}/{index}.pcap")), &connection(port, 5_000_000));
            }
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self) -> PrepareOptions {
        PrepareOptions {
            inputs: vec![self.path("in")],
            out: self.path("corpus"),
            validation: Validation::Fraction(0.0),
            // Its tokens are easy to look at; the other codec has tests of its own below.
            codec: CodecChoice::Bytes { width: Width::Variable, form: Form::Canonical },
            ..PrepareOptions::default()
        }
    }

    fn prepare(&self, change: impl FnOnce(&mut PrepareOptions)) -> (PrepareReport, Corpus) {
        let mut options = self.options();
        change(&mut options);
        let report = prepare(&options, &()).expect("prepared");
        let corpus = Corpus::open(&options.out).expect("opens");
        assert_eq!(&report.meta, corpus.meta());
        (report, corpus)
    }
}

/// Header bytes of a session's packets, and whether it has an end token.
fn decode(corpus: &Corpus, split: Split, i: usize) -> (Vec<Vec<u8>>, bool) {
    let codec = codec::open(&corpus.meta().codec, corpus.meta().vocab.clone()).expect("known");
    let mut decoder = codec.decoder(0);
    let (mut packets, mut ended) = (Vec::new(), false);
    for &token in corpus.tokens(split, i) {
        match decoder.push(token.into()) {
            Step::Packet(packet) => packets.push(packet.header),
            Step::End(packet) => {
                packets.extend(packet.map(|packet| packet.header));
                ended = true;
            }
            Step::Need => {}
        }
    }
    packets.extend(decoder.flush().map(|packet| packet.header));
    assert_eq!(packets.len() as u64, corpus.sessions(split)[i].packets);
    (packets, ended)
}

fn sequence(header: &[u8]) -> (u32, u32) {
    let word = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().expect("a TCP header"));
    (word(38), word(42))
}

#[test]
fn folders_name_labels_and_each_capture_is_a_session() {
    let lab = Lab::new();
    let (report, corpus) = lab.prepare(|_| {});
    assert_eq!(corpus.meta().vocab.labels(), ["mail", "web"]);
    assert_eq!(
        (report.files, corpus.sessions(Split::Train).len(), corpus.sessions(Split::Val).len()),
        (5, 5, 0)
    );
    assert_eq!(corpus.meta().train.labels["web"].packets, 27);
    let (packets, ended) = decode(&corpus, Split::Train, 0);
    assert!(ended);
    let numbers: Vec<_> = packets.iter().map(|header| sequence(header)).collect();
    assert_eq!(numbers[..5], [(0, 0), (0, 1), (1, 1), (1, 1), (1, 101)]);
    assert_eq!(packets[0][26..38], [10, 0, 0, 1, 198, 18, 0, 1, 0xc0, 0, 1, 0xbb]);
    assert_eq!(corpus.meta().timing.labels().collect::<Vec<_>>(), ["mail", "web"]);
    let draw = corpus.meta().timing.draw("web", &mut rng());
    assert_eq!(draw, Some(Duration::from_millis(1)));
}

fn rng() -> rand_chacha::ChaCha8Rng {
    rand::SeedableRng::seed_from_u64(1)
}

#[test]
fn the_flow_codec_is_the_default_and_carries_the_time() {
    let lab = Lab::new();
    let (_, corpus) = lab.prepare(|options| options.codec = PrepareOptions::default().codec);
    let meta = corpus.meta();
    assert_eq!((meta.codec.name.as_str(), meta.codec.params["fine"].as_str()), ("flow", "true"));
    assert_eq!((meta.vocab.grammar(), meta.vocab.label("web")), (1024, Some(1025)));
    assert_eq!(meta.timing.labels().count(), 0, "no table of gaps is needed");
    assert!(meta.train.total.tokens < 15 * meta.train.total.packets, "{:?}", meta.train.total);
    for i in 0..corpus.sessions(Split::Train).len() {
        let tokens = corpus.tokens(Split::Train, i);
        assert_eq!(tokens.iter().filter(|&&token| token >= 1024).count(), 1, "one label, in front");
        let (packets, ended) = decode(&corpus, Split::Train, i);
        assert!(ended && packets.len() == 9);
        // Flags come back as they were; addresses and numbers are drawn, not the capture's.
        let flags: Vec<u8> = packets.iter().map(|header| header[47]).collect();
        assert_eq!(flags, [0x02, 0x12, 0x10, 0x18, 0x18, 0x10, 0x11, 0x11, 0x10]);
        let known = [[192, 168, 7, 9], [93, 184, 216, 34]];
        for header in &packets {
            assert!(header[26..34].windows(4).all(|ip| !known.iter().any(|known| known == ip)), "{header:?}");
        }
    }
    // A session that is cut has no end, and its last packet is whole all the same.
    let (_, corpus) = lab.prepare(|options| {
        options.codec = CodecChoice::default();
        options.out = lab.path("cut");
        options.max_packets = Some(4);
    });
    let (packets, ended) = decode(&corpus, Split::Train, 0);
    assert_eq!((packets.len(), ended), (4, false));
}

#[test]
fn a_codec_of_other_tables_is_refused_with_both_named() {
    let lab = Lab::new();
    let (_, corpus) = lab.prepare(|options| options.codec = CodecChoice::default());
    let id = &corpus.meta().codec;
    let path = lab.path("corpus/corpus.json");
    let good = fs::read_to_string(&path).expect("there");
    let version = |number: u32| format!("\"version\": {number}");
    let next = id.version + 1;
    let mut cases = vec![(version(id.version), version(next), format!("flow/{next}"))];
    for param in ["tables", "vocab"] {
        let (old, other) = (&id.params[param], "0123456789abcdef");
        cases.push((old.clone(), other.to_owned(), format!("{param}={other}")));
    }
    for (old, new, named) in cases {
        fs::write(&path, good.replacen(&old, &new, 1)).expect("written");
        let error = Corpus::open(&lab.path("corpus")).expect_err(&named).to_string();
        for part in ["corpus.json", named.as_str(), id.to_string().as_str()] {
            assert!(error.contains(part), "expected '{part}' in: {error}");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let lab = Lab::new();
    let (_, first) = lab.prepare(|options| options.validation = Validation::Fraction(0.5));
    let (_, second) = lab.prepare(|options| {
        options.validation = Validation::Fraction(0.5);
        options.out = lab.path("again");
    });
    assert_eq!(first.meta(), second.meta());
    for name in ["corpus.json", "train.tokens", "train.index", "val.tokens", "val.index"] {
        let read = |dir: &str| fs::read(lab.path(dir).join(name)).expect("there");
        assert_eq!(read("corpus"), read("again"), "{name}");
    }
    assert_eq!(first.sessions(Split::Val).len(), 3, "one of two, two of three");
    let val = |seed| {
        let (_, corpus) = lab.prepare(|options| {
            options.validation = Validation::Fraction(0.34);
            options.seed = seed;
            options.out = lab.path(&format!("seed-{seed}"));
        });
        corpus
            .meta()
            .sources
            .iter()
            .filter(|s| s.split == Split::Val)
            .map(|s| s.sha256.clone())
            .collect::<Vec<_>>()
    };
    assert!((1..20).any(|seed| val(seed) != val(0)), "the seed chooses the files");
}

#[test]
fn silence_splits_and_a_limit_cuts() {
    let lab = Lab::new();
    let day = 86_400_000_000;
    let twice = [connection(50_000, 0), connection(50_000, day)].concat();
    write_pcap(&lab.path("gap/web/x.pcap"), &twice);
    let (_, corpus) = lab.prepare(|options| options.inputs = vec![lab.path("gap")]);
    assert_eq!(corpus.sessions(Split::Train).len(), 2);
    assert!(decode(&corpus, Split::Train, 0).1 && decode(&corpus, Split::Train, 1).1);
    let (_, corpus) = lab.prepare(|options| {
        options.inputs = vec![lab.path("gap")];
        options.out = lab.path("whole");
        options.gap = None;
    });
    assert_eq!(corpus.sessions(Split::Train).len(), 1);
    let (_, corpus) = lab.prepare(|options| {
        options.inputs = vec![lab.path("gap")];
        options.out = lab.path("cut");
        options.max_packets = Some(4);
    });
    assert_eq!(corpus.sessions(Split::Train).iter().map(|s| s.packets).collect::<Vec<_>>(), [4, 4]);
    assert!(!decode(&corpus, Split::Train, 0).1, "a session that goes on has no end");
    let (_, corpus) = lab.prepare(|options| {
        options.out = lab.path("exactly");
        options.max_packets = Some(9);
    });
    assert!(decode(&corpus, Split::Train, 0).1, "the limit was met, not exceeded");
}

#[test]
fn flows_and_their_phases_come_apart() {
    let lab = Lab::new();
    let mut both: Vec<_> = [connection(50_000, 0), connection(50_001, 500)].concat();
    both.sort_by_key(|(micros, _)| *micros);
    both.push((20_000, [&[0xff; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[9; 20]].concat()));
    write_pcap(&lab.path("flows/web/x.pcap"), &both);
    let cut = |phase: Phase| {
        let (report, corpus) = lab.prepare(|options| {
            options.inputs = vec![lab.path("flows")];
            options.out = lab.path(&phase.to_string());
            options.split = SplitBy::Flows;
            options.phase = phase;
        });
        assert_eq!(report.meta.skipped, BTreeMap::from([("no-flow".to_owned(), 1)]));
        assert_eq!(corpus.sessions(Split::Train).len(), 2);
        let (packets, ended) = decode(&corpus, Split::Train, 1);
        assert!(ended);
        packets.iter().map(|header| (header[47], sequence(header))).collect::<Vec<_>>()
    };
    assert_eq!(cut(Phase::All).len(), 9);
    assert_eq!(cut(Phase::Handshake), [(0x02, (0, 0)), (0x12, (0, 1)), (0x10, (1, 1))]);
    // The numbers go on where the handshake ended, although it is not in the stream.
    assert_eq!(cut(Phase::Data), [(0x18, (1, 1)), (0x18, (1, 101)), (0x10, (101, 701))]);
    assert_eq!(cut(Phase::Teardown), [(0x11, (101, 701)), (0x11, (701, 102)), (0x10, (102, 702))]);
}

#[test]
fn damaged_unlabelled_and_repeated_files_are_named() {
    let lab = Lab::new();
    let good = fs::read(lab.path("in/web/0.pcap")).expect("there");
    fs::write(lab.path("in/web/cut.pcap"), &good[..good.len() - 5]).expect("written");
    fs::write(lab.path("in/web/noise.pcap"), b"no capture").expect("written");
    fs::write(lab.path("in/web/again.pcap"), &good).expect("written");
    fs::write(lab.path("labels.csv"), "file,label\nin/web/,site\n").expect("written");
    let (report, corpus) = lab.prepare(|options| options.labels = Some(lab.path("labels.csv")));
    assert_eq!(corpus.meta().vocab.labels(), ["site"]);
    let names = |paths: Vec<&PathBuf>| {
        paths
            .iter()
            .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(report.faults.iter().map(|(path, _)| path).collect()), ["cut.pcap", "noise.pcap"]);
    assert_eq!(names(report.unlabelled.iter().collect()), ["0.pcap", "1.pcap"]);
    assert_eq!(names(report.duplicates.iter().collect()), ["again.pcap"]);
    // The eight whole records of the cut file are a session without an end.
    let cut =
        corpus.sessions(Split::Train).iter().position(|session| session.packets == 8).expect("the cut file");
    assert!(!decode(&corpus, Split::Train, cut).1);
}

#[test]
fn records_that_no_codec_carries_are_counted() {
    let lab = Lab::new();
    let mut frames = connection(50_000, 0);
    frames.push((90_000, [&[1, 0x80, 0xc2, 0, 0, 0, 2, 2, 2, 2, 2, 2][..], &[0, 38], &[0x42; 40]].concat()));
    frames.push((91_000, [&[2; 12][..], &[0x88, 0x8e], &[1; 50]].concat()));
    let mut gre = support::tcp(support::Way::Up, 50_000, 0x10, 1, 1, 0);
    gre[23] = 47;
    frames.push((92_000, gre));
    write_pcap(&lab.path("odd/web/x.pcap"), &frames);
    let (report, _) = lab.prepare(|options| options.inputs = vec![lab.path("odd")]);
    let expected = [("ethertype".to_owned(), 2), ("ip-protocol".to_owned(), 1)];
    assert_eq!(report.meta.skipped, BTreeMap::from(expected));
}

#[test]
fn labels_can_be_renamed_and_a_vocabulary_extended() {
    let lab = Lab::new();
    let known = netssm_tokens::codec::Vocab::new(&["zoo"]).expect("a label");
    let codec = BytesCodec::new(known.clone(), Width::Fixed(94), Form::Raw);
    let (_, corpus) = lab.prepare(|options| {
        options.label_map.insert("mail".to_owned(), "office".to_owned());
        // The checkpoint's codec counts, whatever was chosen.
        options.codec = CodecChoice::default();
        options.extend = Some((codec.id(), known));
    });
    assert_eq!(corpus.meta().vocab.labels(), ["zoo", "office", "web"]);
    let codec = corpus.meta().codec.to_string();
    assert_eq!(codec, "bytes/1 form=raw width=94");
    assert!(corpus.sessions(Split::Train).iter().all(|s| s.tokens == 1 + 95 * s.packets + 1));
}

#[test]
fn what_cannot_be_done_is_said() {
    let lab = Lab::new();
    let refused = |change: &dyn Fn(&mut PrepareOptions)| {
        let mut options = lab.options();
        change(&mut options);
        prepare(&options, &()).expect_err("refused").to_string()
    };
    type Change<'a> = &'a dyn Fn(&mut PrepareOptions);
    let cases: [(&str, Change<'_>); 7] = [
        ("no input", &|o| o.inputs.clear()),
        ("needs the split by flows", &|o| o.phase = Phase::Data),
        ("below 1", &|o| o.validation = Validation::Fraction(1.0)),
        ("packet limit is below", &|o| o.max_packets = Some(1)),
        ("cannot read", &|o| o.inputs = vec![o.out.join("nowhere")]),
        ("5 capture file(s): 5 sessions are too short", &|o| o.min_packets = 100),
        ("the name of a delimiter", &|o| drop(o.label_map.insert("web".to_owned(), "pkt".to_owned()))),
    ];
    for (expected, change) in cases {
        let message = refused(change);
        assert!(message.contains(expected), "expected '{expected}' in: {message}");
    }
    fs::create_dir(lab.path("corpus")).expect("created");
    fs::write(lab.path("corpus/mine"), "x").expect("written");
    assert!(refused(&|_| {}).contains("exists"));
    let left: Vec<_> = fs::read_dir(lab.dir.path())
        .expect("there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

#[test]
fn a_stop_leaves_nothing() {
    struct Stop;
    impl Progress for Stop {
        fn stop(&self) -> bool {
            true
        }
    }
    let lab = Lab::new();
    assert!(matches!(prepare(&lab.options(), &Stop), Err(DataError::Stopped)));
    let names: Vec<_> = fs::read_dir(lab.dir.path())
        .expect("there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["in"]);
}

#[test]
fn a_damaged_corpus_is_refused_with_the_file_and_the_reason() {
    let lab = Lab::new();
    lab.prepare(|_| {});
    let dir = lab.path("corpus");
    let edit = |name: &str, expected: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let path = dir.join(name);
        let good = fs::read(&path).expect("there");
        let bad = change(good.clone());
        assert_ne!(bad, good, "the case '{expected}' changed nothing");
        fs::write(&path, bad).expect("written");
        let error = Corpus::open(&dir).expect_err(expected).to_string();
        assert!(error.contains(name) && error.contains(expected), "expected '{expected}' in: {error}");
        fs::write(&path, good).expect("written");
    };
    let text = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replacen(from, to, 1).into_bytes()
    };
    edit("train.tokens", "expected", &|mut bytes| {
        bytes.pop();
        bytes
    });
    edit("train.tokens", "sha256", &|mut bytes| {
        bytes[10] ^= 1;
        bytes
    });
    edit("train.index", "promises", &|bytes| {
        let lines = String::from_utf8(bytes).expect("text");
        lines.lines().take(3).map(|line| format!("{line}\n")).collect::<String>().into_bytes()
    });
    edit("train.index", "line 1: expected offset 0", &text("\"offset\":0", "\"offset\":7"));
    edit("train.index", "does not begin with", &text("mail", "web"));
    edit("train.index", "reach beyond", &|bytes| {
        let line = String::from_utf8(bytes).expect("text").replacen("\"tokens\":", "\"tokens\":99999999", 1);
        line.into_bytes()
    });
    edit("train.index", "line 1: source 77", &text("\"source\":0", "\"source\":77"));
    edit("train.index", "line 1", &text("{", "["));
    edit("corpus.json", "format: expected 1, got 9", &text("\"format\": 1", "\"format\": 9"));
    edit("corpus.json", "unknown field", &text("\"format\": 1,", "\"format\": 1, \"more\": 2,"));
    edit(
        "corpus.json",
        "'bytes/9 form=canonical width=variable' needs another build: this one has bytes/1",
        &text("\"version\": 1", "\"version\": 9"),
    );
    edit(
        "corpus.json",
        "'words' is not a codec of this build",
        &text("\"name\": \"bytes\"", "\"name\": \"words\""),
    );
    edit("corpus.json", "EOF", &|bytes| bytes[..bytes.len() / 2].to_vec());
    fs::remove_file(dir.join("val.index")).expect("removed");
    let error = Corpus::open(&dir).expect_err("a file is missing").to_string();
    assert!(error.contains("val.index"), "{error}");
    assert!(Corpus::open(Path::new("/nowhere")).is_err());
}
