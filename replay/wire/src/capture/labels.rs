//! Which label a capture has, by the folder that it lies in or by a label list.
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

use std::path::Path;

use super::InputError;

const FOLDER: &str = "{folder}";

/// The rules that give a capture file its label.
#[derive(Clone, Debug)]
pub struct Labels {
    /// `None`: by folder.
    rules: Option<Vec<(Vec<String>, String)>>,
}

impl Labels {
    /// Each file has the name of its folder as label.
    pub fn by_folder() -> Self {
        Self { rules: None }
    }

    /// Reads a label list.
    ///
    /// # Errors
    /// [`InputError::Labels`] with the line: the list cannot be read, a line has not two cells, a cell is empty, or no
    /// line has a label.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        let wrong = |reason: String| InputError::Labels { path: path.to_owned(), reason };
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
    pub fn label(&self, path: &Path) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &str) -> Result<Labels, InputError> {
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
