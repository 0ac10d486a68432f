//! Which service a label belongs to: `netflix` and `youtube` are both video, say.
//!
//! By a list, CSV with the columns `label,service` (the header optional, `#` comments allowed); labels that it does not
//! name, and all without a list, by the first part of the label (`video/netflix`), or else each by itself.

use std::collections::BTreeMap;
use std::path::Path;

use netssm_wire::capture::InputError;

/// Services by label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    by_label: BTreeMap<String, String>,
}

impl Services {
    /// Reads a list.
    ///
    /// # Errors
    /// [`InputError::Labels`]: it cannot be read, a line has not two cells, a label has two services.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        let wrong = |reason: String| InputError::Labels { path: path.to_owned(), reason };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .flexible(true)
            .from_path(path)
            .map_err(|error| wrong(error.to_string()))?;
        let mut by_label = BTreeMap::new();
        for (number, row) in reader.records().enumerate() {
            let row = row.map_err(|error| wrong(error.to_string()))?;
            let line = row.position().map_or(0, csv::Position::line);
            let (Some(label), Some(service), 2) = (row.get(0), row.get(1), row.len()) else {
                let got = row.len();
                return Err(wrong(format!("line {line}: expected two columns (label, service), got {got}")));
            };
            if number == 0 && service.eq_ignore_ascii_case("service") {
                continue;
            }
            if label.is_empty() || service.is_empty() {
                return Err(wrong(format!("line {line}: an empty cell")));
            }
            let before = by_label.insert(label.to_owned(), service.to_owned());
            if before.is_some_and(|before| before != service) {
                return Err(wrong(format!("line {line}: label '{label}' has another service above")));
            }
        }
        Ok(Self { by_label })
    }

    /// The service of a label.
    pub fn of(&self, label: &str) -> String {
        let first = || label.split('/').find(|part| !part.is_empty()).unwrap_or(label).to_owned();
        self.by_label.get(label).cloned().unwrap_or_else(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_come_from_the_list_then_from_the_label() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("services.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            Services::read(&path)
        };
        let services = read("label,service\n# video\nnetflix, video\nyoutube,video\n").expect("a list");
        assert_eq!((services.of("netflix"), services.of("zoom")), ("video".into(), "zoom".into()));
        assert_eq!(Services::default().of("video/netflix"), "video");
        assert_eq!(Services::default().of("/"), "/");
        for (text, why) in [
            ("netflix\n", "line 1: expected two columns"),
            ("a,b\na,c\n", "line 2: label 'a' has another service"),
            ("a,\n", "line 1: an empty cell"),
        ] {
            let error = read(text).expect_err("wrong").to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Services::read(&dir.path().join("none.csv")).is_err());
    }
}
