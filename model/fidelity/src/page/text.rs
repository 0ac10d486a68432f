//! Chapters for a terminal: verdicts, and compact tables.
//!
//! Plots are left to the page. Nothing that a label or a file name holds reaches the terminal as a command to it:
//! control characters become U+FFFD.

use std::fmt::Write as _;

use super::markup::allowed;
use super::{Chapter, Item, Table};

/// Cells longer than this are cut: one long name must not push all numbers off the screen.
const WIDEST: usize = 40;

/// Texts are broken before this column.
const WIDTH: usize = 110;

/// One line a chapter that has a verdict.
pub fn verdicts(chapters: &[Chapter]) -> String {
    let told: Vec<_> = chapters.iter().filter(|chapter| !chapter.verdict.is_empty()).collect();
    let width = told.iter().map(|chapter| clean(&chapter.title).chars().count()).max().unwrap_or(0);
    told.iter().fold(String::new(), |mut text, chapter| {
        let _ = writeln!(text, "{:<width$}  {}", clean(&chapter.title), clean(&chapter.verdict));
        text
    })
}

/// All chapters: title, texts, and of every table the first `rows` rows.
pub fn lines(chapters: &[Chapter], rows: usize) -> String {
    let mut text = String::new();
    for chapter in chapters {
        let _ = writeln!(text, "{}== {} ==", if text.is_empty() { "" } else { "\n" }, clean(&chapter.title));
        if !chapter.verdict.is_empty() {
            paragraph(&mut text, &chapter.verdict);
        }
        for item in &chapter.items {
            match item {
                Item::Text(content) => paragraph(&mut text, content),
                Item::Table(content) => table(&mut text, content, rows),
                Item::Plot(_) => {}
            }
        }
    }
    text
}

/// The text in one line, without control characters.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { allowed(c) }).collect()
}

fn paragraph(out: &mut String, text: &str) {
    for line in text.lines() {
        let mut column = 0;
        for word in clean(line).split_whitespace() {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > WIDTH {
                out.push('\n');
                column = 0;
            }
            if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
    }
}

fn table(out: &mut String, table: &Table, rows: usize) {
    let cut = |cell: &String| {
        let cell = clean(cell);
        if cell.chars().count() <= WIDEST {
            return cell;
        }
        cell.chars().take(WIDEST - 1).chain(['…']).collect()
    };
    let shown: Vec<Vec<String>> = std::iter::once(&table.head)
        .chain(table.rows.iter().take(rows))
        .map(|row| row.iter().map(cut).collect())
        .collect();
    let columns = shown.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        shown.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    out.push('\n');
    paragraph(out, &table.caption);
    for row in shown.iter().filter(|row| !row.is_empty()) {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ =
                if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if table.rows.len() > rows {
        let _ = writeln!(out, "... and {} more rows", table.rows.len() - rows);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chapter() -> Chapter {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        Chapter {
            title: "Time".into(),
            about: "not shown".into(),
            verdict: "far".into(),
            items: vec![Item::Table(Table {
                caption: "distances".into(),
                head: row(&["row", "K-S", "floor"]),
                rows: vec![row(&["gap.all", "0.25"]), row(&["x", "0.5", "1"]), row(&["y"])],
            })],
        }
    }

    #[test]
    fn tables_are_aligned_and_cut() {
        let text = lines(&[chapter()], 2);
        assert_eq!(
            text,
            "== Time ==\nfar\n\ndistances\nrow       K-S  floor\ngap.all  0.25\nx         0.5      1\n... and 1 more rows\n"
        );
        assert_eq!(verdicts(&[chapter(), Chapter::default()]), "Time  far\n");
    }

    #[test]
    fn long_text_is_broken_and_nothing_commands_the_terminal() {
        let items = vec![Item::Text(format!("{}\u{1b}[2J\n\nb", "word ".repeat(40)))];
        let text = lines(&[Chapter { title: "a\u{7}".into(), items, ..Chapter::default() }], 0);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{7}']) && text.ends_with("\n\nb\n"), "{text:?}");
    }

    proptest! {
        #[test]
        fn any_strings_become_lines(
            strings in any::<[String; 3]>(),
            head in prop::collection::vec(any::<String>(), 0..4),
            rows in prop::collection::vec(prop::collection::vec(any::<String>(), 0..5), 0..5),
            limit in 0..4_usize,
        ) {
            let [title, verdict, caption] = strings;
            let items = vec![Item::Text(caption.clone()), Item::Table(Table { caption, head, rows })];
            let chapters = [Chapter { title, verdict, items, ..Chapter::default() }];
            for text in [lines(&chapters, limit), verdicts(&chapters)] {
                prop_assert!(text.chars().all(|c| c == '\n' || allowed(c) == c));
            }
        }
    }
}
