//! Which label a capture has.
//!
//! A label list is CSV with two columns, the header `file,label` (or `path,label`) optional, `#` comments allowed:
//! ```text
//! file,label
//! netflix.pcap,netflix            a file name, wherever it is
//! requet/,youtube                 a folder, with everything below it
//! iot/train/**,{folder}           a pattern; {folder} is the name of the folder that the file lies in
//! *_mobile_?.pcap,mobile
//! ```
//! A pattern is compared with the end of the file's path, whole components at a time, so that a list works wherever the
//! data lies; one that starts with `/` is compared with the whole path. `*` and `?` stay within a component, `**` spans
//! any number of them. The first line that matches wins. Without a list the label is the folder's name.

use std::path::{Path, PathBuf};

use crate::codec::DataError;

const FOLDER: &str = "{folder}";

/// The rules that give a file its label.
#[derive(Clone, Debug)]
pub(crate) struct Labels {
    /// `None`: by folder.
    rules: Option<Vec<(Vec<String>, String)>>,
}

impl Labels {
    pub(crate) fn by_folder() -> Self {
        Self { rules: None }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let wrong = |reason: String| DataError::Labels { path: path.to_owned(), reason };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|error| wrong(error.to_string()))?;
        let mut rules = Vec::new();
        for (number, row) in reader.records().enumerate() {
            let row = row.map_err(|error| wrong(error.to_string()))?;
            let line = row.position().map_or(0, csv::Position::line);
            let (Some(pattern), Some(label), 2) = (row.get(0), row.get(1), row.len()) else {
                return Err(wrong(format!(
                    "line {line}: expected two columns (file, label), got {}",
                    row.len()
                )));
            };
            if number == 0 && label.eq_ignore_ascii_case("label") {
                continue;
            }
            if pattern.is_empty() || label.is_empty() {
                return Err(wrong(format!("line {line}: an empty cell")));
            }
            rules.push((components(pattern), label.to_owned()));
        }
        if rules.is_empty() {
            return Err(wrong("no line with a file and a label".to_owned()));
        }
        Ok(Self { rules: Some(rules) })
    }

    /// The label of a capture, `None` when no rule matches it.
    pub(crate) fn label(&self, path: &Path) -> Option<String> {
        let parts: Vec<_> =
            path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let folder = parts.len().checked_sub(2).map(|at| parts[at].clone());
        match &self.rules {
            None => folder,
            Some(rules) => {
                let (_, label) = rules.iter().find(|(pattern, _)| matches(pattern, &parts))?;
                if label.contains(FOLDER) {
                    Some(label.replace(FOLDER, &folder?))
                } else {
                    Some(label.clone())
                }
            }
        }
    }
}

/// A pattern as components, with `**` in front unless it is absolute and behind if it names a folder.
fn components(pattern: &str) -> Vec<String> {
    let absolute = pattern.starts_with('/');
    let mut parts = vec![if absolute { "/" } else { "**" }.to_owned()];
    parts.extend(pattern.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned));
    if pattern.ends_with('/') {
        parts.push("**".to_owned());
    }
    parts
}

fn matches(pattern: &[String], path: &[String]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([first, rest @ ..], _) if first == "**" => (0..=path.len()).any(|at| matches(rest, &path[at..])),
        ([first, rest @ ..], [part, parts @ ..]) => {
            let (first, part): (Vec<char>, Vec<char>) = (first.chars().collect(), part.chars().collect());
            matches_part(&first, &part) && matches(rest, parts)
        }
        _ => false,
    }
}

fn matches_part(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=text.len()).any(|at| matches_part(rest, &text[at..])),
        (['?', rest @ ..], [_, text @ ..]) => matches_part(rest, text),
        ([first, rest @ ..], [char, text @ ..]) => first == char && matches_part(rest, text),
        _ => false,
    }
}

/// Every capture below `inputs` (files themselves, or `.pcap`, `.pcapng` and `.cap` in folders), in order of path. In a
/// folder links to captures count, links to folders do not.
///
/// # Errors
/// An input is not there; a folder cannot be listed; a link leads nowhere.
pub fn find_captures(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    for input in inputs {
        let kind = std::fs::metadata(input).map_err(DataError::io("read", input))?;
        if kind.is_dir() { walk(input, &mut found)? } else { found.push(input.clone()) }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for entry in std::fs::read_dir(dir).map_err(DataError::io("list", dir))? {
        let entry = entry.map_err(DataError::io("list", dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(DataError::io("read", &path))?;
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        // Links to folders are not followed: a loop would never end.
        if kind.is_dir() {
            walk(&path, found)?;
        } else if extension.is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap")
            && std::fs::metadata(&path).map_err(DataError::io("read", &path))?.is_file()
        {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &str) -> Result<Labels, DataError> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("labels.csv");
        std::fs::write(&path, list).expect("written");
        Labels::read(&path)
    }

    fn label(list: &str, path: &str) -> Option<String> {
        labels(list).expect("a good list").label(Path::new(path))
    }

    #[test]
    fn rules_match_from_the_end_of_the_path() {
        let list = "file,label\n# a comment\nnetflix.pcap, netflix\nrequet/,youtube\niot/train/**,{folder}\n*_mobile_?.pcap,mobile\n";
        assert_eq!(label(list, "/d/x/netflix.pcap").as_deref(), Some("netflix"));
        assert_eq!(label(list, "/d/requet/train/A_1.pcap").as_deref(), Some("youtube"));
        assert_eq!(label(list, "/d/iot/train/Aria/s.pcap").as_deref(), Some("Aria"));
        assert_eq!(label(list, "x_mobile_3.pcap").as_deref(), Some("mobile"));
        assert_eq!(label(list, "x_mobile_33.pcap"), None);
        assert_eq!(label(list, "/d/notnetflix.pcap"), None);
        assert_eq!(label("/d/*.pcap,x", "/d/a.pcap").as_deref(), Some("x"));
        assert_eq!(label("/d/*.pcap,x", "/e/d/a.pcap"), None);
        assert_eq!(label("a.pcap,first\n*.pcap,second", "a.pcap").as_deref(), Some("first"));
        assert_eq!(label("*,{folder}", "a.pcap"), None);
    }

    #[test]
    fn links_to_captures_are_found_and_loops_are_not_walked() {
        let dir = tempfile::tempdir().expect("a folder");
        let below = dir.path().join("below");
        std::fs::create_dir(&below).expect("a folder");
        let capture = dir.path().join("a.pcap");
        std::fs::write(&capture, b"").expect("written");
        std::fs::write(below.join("notes.txt"), b"").expect("written");
        let link = below.join("b.pcap");
        std::os::unix::fs::symlink(&capture, &link).expect("a link");
        std::os::unix::fs::symlink(dir.path(), below.join("up")).expect("a link");
        let inputs = [dir.path().to_owned()];
        assert_eq!(find_captures(&inputs).expect("found"), [capture.clone(), link.clone()]);

        std::fs::remove_file(&capture).expect("removed");
        let error = find_captures(&inputs).expect_err("a link that leads nowhere").to_string();
        assert!(error.contains(&link.display().to_string()), "{error}");
    }

    #[test]
    fn without_a_list_the_folder_names_the_label() {
        assert_eq!(Labels::by_folder().label(Path::new("/d/Aria/s.pcap")).as_deref(), Some("Aria"));
    }

    #[test]
    fn bad_lists_name_the_line() {
        for (list, expected) in [
            ("a.pcap\n", "line 1: expected two columns"),
            ("file,label\n", "no line"),
            ("a.pcap,x\nb.pcap,\n", "line 2: an empty cell"),
        ] {
            let error = labels(list).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
