//! The shipped profiles are lessons, so they must be true: each is valid, each key is explained, and each default in a
//! comment is the program's own.
//!
//! An annotation is a line `key = value  # default: other`, or `# key = value  # default`. The program prints no
//! defaults, so this test includes the source of the profile's types and takes them from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use netssm_tests::{binary, need};

#[allow(dead_code, unreachable_pub)]
#[path = "../../daemon/src/profile/raw.rs"]
mod raw;

use raw::RawProfile;

/// The tables of a profile as they are written in TOML, each with the keys that it must have.
const SECTIONS: [(&str, &str); 11] = [
    ("", ""),
    ("[model]", ""),
    ("[pool]", ""),
    ("[[traffic]]", "label = \"x\"\n"),
    ("[schedule]", ""),
    ("[addresses]", ""),
    ("[[output.interface]]", "name = \"x\"\n"),
    ("[output.pcap]", "directory = \"x\"\n"),
    ("[guard]", ""),
    ("[metrics]", ""),
    ("[shutdown]", ""),
];

/// The shipped profiles: path and text.
fn lessons() -> Vec<(PathBuf, String)> {
    let folder = need::workspace().join("configs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("configs/")
        .map(|entry| entry.expect("read configs/").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read_to_string(file).expect("a profile"))).collect()
}

/// What one line of a profile says about a key.
#[derive(Debug)]
struct Annotation {
    section: String,
    key: String,
    /// The default that the line states. `None` if it states none.
    default: Option<String>,
    place: String,
}

fn annotations() -> Vec<Annotation> {
    let mut found = Vec::new();
    for (file, text) in lessons() {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut section = String::new();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('[') {
                section = line.split('#').next().unwrap_or_default().trim().to_owned();
                continue;
            }
            let Some((commented, key, rest)) = key_of(line) else { continue };
            let (value, note) = rest.split_once(" # default").map_or((rest, None), |(v, n)| (v, Some(n)));
            let default = note.map(|note| match note.strip_prefix(": ") {
                Some(other) => other.trim().to_owned(),
                None => value.trim().to_owned(),
            });
            // A commented-out key without the note is prose that looks like a key.
            if commented && default.is_none() {
                continue;
            }
            let place = format!("{name}:{}", number + 1);
            found.push(Annotation { section: section.clone(), key: key.to_owned(), default, place });
        }
    }
    assert!(found.len() > 60, "the annotations went missing: {}", found.len());
    found
}

/// Parses `key = rest` or `# key = rest`. The first value says whether it was commented out.
fn key_of(line: &str) -> Option<(bool, &str, &str)> {
    let (commented, line) = line.strip_prefix("# ").map_or((false, line), |line| (true, line));
    let (key, rest) = line.split_once(" = ")?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then_some((commented, key, rest))
}

/// The values of a profile as text, without their places in the file.
fn values(text: &str) -> Result<String, String> {
    let profile: RawProfile = toml::from_str(text).map_err(|error| error.to_string())?;
    let debug = format!("{profile:?}");
    // Removes the place from `Spanned { span: 12..14, value: 3 }`: places differ between two texts, and only values
    // count.
    let mut parts = debug.split("span: ");
    let mut without = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        without.push_str(part.split_once(", ").map_or(part, |(_, rest)| rest));
    }
    Ok(without)
}

/// The keys of a table. The parser itself lists them when it meets an unknown key.
fn keys(section: &str, needed: &str) -> BTreeSet<String> {
    let error =
        values(&format!("{section}\n{needed}no_such_key = 1\n")).expect_err("an unknown key is refused");
    let list = error.split_once("expected").unwrap_or_else(|| panic!("no list of keys in {error}")).1;
    let keys: BTreeSet<String> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!keys.is_empty(), "{error}");
    keys
}

#[test]
fn each_lesson_is_a_valid_profile() {
    let lessons = lessons();
    for name in ["demo", "middlebox", "pcap-only", "suricata-lab"] {
        assert!(
            lessons.iter().any(|(file, _)| file.ends_with(format!("{name}.toml"))),
            "{name}.toml is there"
        );
    }
    for (file, _) in lessons {
        let file = file.to_string_lossy();
        let finished = binary::run(&["check", &file], None, Duration::from_secs(30)).expect_code(0);
        assert!(finished.stdout.starts_with("OK "), "{}", finished.stdout);
    }
}

#[test]
fn each_default_that_a_comment_states_is_the_program_s() {
    let needed: BTreeMap<&str, &str> = SECTIONS.into();
    let mut wrong = Vec::new();
    for Annotation { section, key, default, place } in annotations() {
        let Some(default) = default else { continue };
        let rest = needed.get(section.as_str()).unwrap_or_else(|| panic!("{place}: unknown table {section}"));
        let without = values(&format!("{section}\n{rest}")).expect("the shortest form of a table");
        match values(&format!("{section}\n{rest}{key} = {default}\n")) {
            Ok(with) if with == without => {}
            Ok(with) => {
                wrong.push(format!("{place}: {key} = {default} is not the default:\n  {with}\n  {without}"))
            }
            Err(error) => wrong.push(format!("{place}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_comparison_can_tell_a_wrong_default() {
    let shortest = values("[schedule]\n").expect("the shortest form of a table");
    assert_ne!(values("[schedule]\nrate = 2.5\n").expect("a rate"), shortest);
    assert_eq!(values("[schedule]\nrate = 2.0\n").expect("a rate"), shortest);
}

#[test]
fn each_key_occurs_in_a_lesson_with_its_default_and_in_the_reference() {
    let reference =
        std::fs::read_to_string(need::workspace().join("docs/profiles.md")).expect("docs/profiles.md");
    let annotations = annotations();
    let mut missing = Vec::new();
    for (section, needed) in SECTIONS {
        // Keys that hold tables are sections themselves. Keys without a default cannot state one.
        let tables =
            ["model", "pool", "traffic", "schedule", "addresses", "output", "guard", "metrics", "shutdown"];
        for key in keys(section, needed) {
            if section.is_empty() && tables.contains(&key.as_str()) {
                continue;
            }
            let required = needed.starts_with(&key) || (section == "[guard]" && key == "allow");
            let taught = annotations
                .iter()
                .any(|a| a.section == section && a.key == key && (required || a.default.is_some()));
            if !taught {
                missing.push(format!("{section} {key}: in no lesson, or without its default"));
            }
            if !reference.contains(&format!("| `{key}` |")) {
                missing.push(format!("{section} {key}: not in docs/profiles.md"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
