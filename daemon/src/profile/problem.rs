//! Problems of a profile: what is wrong, where, and what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One problem at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// 1-based line and column (in characters). `None` for something that is missing from the file as a whole.
    pub place: Option<(usize, usize)>,
    /// What is wrong, in lower case, without a full stop.
    pub what: String,
    /// What would be right.
    pub help: String,
}

/// All problems of one file, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems {
    /// The file as the user named it.
    pub file: PathBuf,
    /// At least one problem.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file.display())?;
            if let Some((line, column)) = problem.place {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " {}", problem.what)?;
            if !problem.help.is_empty() {
                write!(f, "; {}", problem.help)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects the problems of one text and turns byte ranges into lines and columns.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    file: &'a Path,
    text: &'a str,
    list: Vec<Problem>,
}

impl<'a> Collector<'a> {
    /// A collector for `text`, which was read from `file`.
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, list: Vec::new() }
    }

    /// Notes a problem at a byte range. The empty range at 0 stands for a default, which has no place.
    pub(crate) fn at(&mut self, span: Range<usize>, what: impl Into<String>, help: impl Into<String>) {
        let place = (span != (0..0)).then(|| line_and_column(self.text, span.start));
        self.list.push(Problem { place, what: what.into(), help: help.into() });
    }

    /// Notes a problem of the file as a whole.
    pub(crate) fn whole(&mut self, what: impl Into<String>, help: impl Into<String>) {
        self.list.push(Problem { place: None, what: what.into(), help: help.into() });
    }

    /// `file:line:column` of a range, for messages that are made later.
    pub(crate) fn place(&self, span: Range<usize>) -> String {
        let (line, column) = line_and_column(self.text, span.start);
        format!("{}:{line}:{column}", self.file.display())
    }

    /// Whether no problem was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives the problems in order of place, those without a place last. `Ok` if there is none.
    pub(crate) fn finish(mut self) -> Result<(), Problems> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|p| p.place.unwrap_or((usize::MAX, 0)));
        Err(Problems { file: self.file.to_owned(), list: self.list })
    }
}

/// 1-based line and column (in characters) of a byte offset.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The candidate closest to `typed`, if it is close enough to be a typing error.
pub(crate) fn nearest<'c>(typed: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&typed.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1 + c.chars().count().max(typed.chars().count()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a = 1\nß = 2\nnäme = 3\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find("= 2").unwrap()), (2, 3));
        assert_eq!(line_and_column(text, text.find("= 3").unwrap()), (3, 6));
        assert_eq!(line_and_column(text, usize::MAX), (4, 1));
        // An offset in the middle of a two-byte character must not panic.
        assert_eq!(line_and_column(text, text.find('ß').unwrap() + 1), (2, 1));
    }

    #[test]
    fn nearest_offers_slips_but_not_strangers() {
        let keys = ["rate", "max_concurrent", "speed", "sessions"];
        assert_eq!(nearest("rat", keys), Some("rate"));
        assert_eq!(nearest("Rate", keys), Some("rate"));
        assert_eq!(nearest("max_concurent", keys), Some("max_concurrent"));
        assert_eq!(nearest("sesions", keys), Some("sessions"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn problems_come_out_by_place_and_in_full() {
        let text = "x = 1\ny = 2\n";
        let mut found = Collector::new(Path::new("p.toml"), text);
        found.whole("no output", "add [output.pcap]");
        found.at(6..7, "bad y", "say z");
        found.at(0..1, "bad x", "");
        let problems = found.finish().unwrap_err();
        assert_eq!(
            problems.to_string(),
            "p.toml:1:1: bad x\np.toml:2:1: bad y; say z\np.toml: no output; add [output.pcap]"
        );
    }
}
