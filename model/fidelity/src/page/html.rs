//! Chapters as one self-contained HTML page: it loads no script, font or picture.
//!
//! It is written so that it is XML as well (every tag closed, no entity that only HTML has): tests read it with a
//! strict reader, and so can other programs. It follows the reader's choice of light and dark, and narrow screens
//! scroll tables alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::markup::{element, escape};
use super::plot;
use super::{Chapter, Item, Table};

/// The style sheet. Attributes of the drawings are matched by value, see [`plot`].
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--text:#1b1f24;--soft:#59636e;--line:#d1d9e0;--panel:#f6f8fa;\
--ink0:#0072b2;--ink1:#d55e00;--ink2:#00805c;--ink3:#b0508a;--ink4:#a87400;--ink5:#2f86b5}\n\
@media (prefers-color-scheme:dark){:root{--paper:#0d1117;--text:#e6edf3;--soft:#9198a1;--line:#3d444d;--panel:#161b22;\
--ink0:#58a6e8;--ink1:#ff9a52;--ink2:#3fcf9b;--ink3:#e79cc8;--ink4:#f2c14e;--ink5:#8fd3f4}}\n\
*{box-sizing:border-box}\n\
body{margin:0 auto;max-width:72rem;padding:1rem 1.25rem 4rem;background:var(--paper);color:var(--text);\
font:16px/1.5 system-ui,sans-serif;overflow-wrap:break-word}\n\
h1{font-size:1.7rem;margin:.5rem 0}\nh2{font-size:1.3rem;margin:2.5rem 0 .5rem;border-top:1px solid var(--line);padding-top:1.5rem}\n\
a{color:var(--ink0)}\n\
nav{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:.5rem 1rem;margin:1rem 0}\n\
nav ul{margin:0;padding-left:1.2rem}\nnav span{color:var(--soft)}\n\
.about,.facts{color:var(--soft)}\n.about,section>p{max-width:52rem}\n\
.verdict{font-weight:600;border-left:4px solid var(--ink0);padding-left:.75rem}\n\
.text{white-space:pre-line}\n.none{color:var(--soft);font-style:italic}\n\
.scroll{overflow-x:auto;margin:1rem 0}\n\
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}\n\
caption,figcaption{text-align:left;color:var(--soft);padding:.25rem 0;font-size:.875rem}\n\
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\n\
th:first-child,td:first-child{text-align:left}\ntbody th{font-weight:400}\nthead th{border-bottom-width:2px}\n\
tbody tr:hover{background:var(--panel)}\n\
figure{margin:1.25rem 0;max-width:52rem}\nfigure svg{width:100%;height:auto;display:block}\n\
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.25rem 0;padding:0;font-size:.875rem}\n\
.legend i{display:inline-block;width:1.5rem;height:.25rem;margin-right:.4rem;vertical-align:middle;border-radius:2px}\n\
.ink0{background:var(--ink0)}.ink1{background:var(--ink1)}.ink2{background:var(--ink2)}\
.ink3{background:var(--ink3)}.ink4{background:var(--ink4)}.ink5{background:var(--ink5)}\n\
svg [stroke=\"#000000\"]{stroke:var(--text)}svg [fill=\"#000000\"]{fill:var(--text)}\n\
svg [stroke=\"#0072B2\"]{stroke:var(--ink0)}svg [fill=\"#0072B2\"]{fill:var(--ink0)}\n\
svg [stroke=\"#D55E00\"]{stroke:var(--ink1)}svg [fill=\"#D55E00\"]{fill:var(--ink1)}\n\
svg [stroke=\"#009E73\"]{stroke:var(--ink2)}svg [fill=\"#009E73\"]{fill:var(--ink2)}\n\
svg [stroke=\"#CC79A7\"]{stroke:var(--ink3)}svg [fill=\"#CC79A7\"]{fill:var(--ink3)}\n\
svg [stroke=\"#E69F00\"]{stroke:var(--ink4)}svg [fill=\"#E69F00\"]{fill:var(--ink4)}\n\
svg [stroke=\"#56B4E9\"]{stroke:var(--ink5)}svg [fill=\"#56B4E9\"]{fill:var(--ink5)}\n\
@media print{nav{display:none}body{max-width:none}}\n";

/// The page: `title`, a line for each of `facts`, a table of contents with the verdicts, and a section for each
/// chapter.
pub fn html(title: &str, facts: &[String], chapters: &[Chapter]) -> String {
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    element(&mut out, "title", title);
    // Quotes and `>` may stand in a style sheet as they are; it has neither `<` nor `&`.
    let _ = write!(out, "\n<style>{STYLE}</style>\n</head>\n<body>\n");
    element(&mut out, "h1", title);
    facts.iter().for_each(|fact| element(&mut out, "p class=\"facts\"", fact));
    let anchors = anchors(chapters);
    out.push_str("\n<nav aria-label=\"Contents\">\n<ul>\n");
    for (chapter, anchor) in chapters.iter().zip(&anchors) {
        let _ = write!(out, "<li><a href=\"#{anchor}\">");
        escape(&mut out, &chapter.title);
        out.push_str("</a>");
        if !chapter.verdict.is_empty() {
            out.push(' ');
            element(&mut out, "span", &chapter.verdict);
        }
        out.push_str("</li>\n");
    }
    if chapters.is_empty() {
        out.push_str("<li>no chapter</li>\n"); // a list without items is not allowed
    }
    out.push_str("</ul>\n</nav>\n");
    for (chapter, anchor) in chapters.iter().zip(&anchors) {
        section(&mut out, chapter, anchor);
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// Names of the sections for links: the titles in plain letters, made different where they are the same.
fn anchors(chapters: &[Chapter]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let anchor = |chapter: &Chapter| {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let letters: String = chapter.title.chars().map(plain).collect();
        let base = letters.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        let base = if base.is_empty() { "chapter".to_owned() } else { base };
        let mut name = base.clone();
        for number in 2.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = format!("{base}-{number}");
        }
        name
    };
    chapters.iter().map(anchor).collect()
}

fn section(out: &mut String, chapter: &Chapter, anchor: &str) {
    let _ = writeln!(out, "<section id=\"{anchor}\">");
    element(out, "h2", &chapter.title);
    for (tag, text) in [("p class=\"about\"", &chapter.about), ("p class=\"verdict\"", &chapter.verdict)] {
        if !text.is_empty() {
            element(out, tag, text);
        }
    }
    for item in &chapter.items {
        match item {
            Item::Text(text) => element(out, "p class=\"text\"", text),
            Item::Table(content) => table(out, content),
            Item::Plot(content) => plot::figure(out, content),
        }
        out.push('\n');
    }
    out.push_str("</section>\n");
}

fn table(out: &mut String, table: &Table) {
    out.push_str("<div class=\"scroll\"><table>");
    element(out, "caption", &table.caption);
    if !table.head.is_empty() {
        out.push_str("<thead><tr>");
        table.head.iter().for_each(|cell| element(out, "th scope=\"col\"", cell));
        out.push_str("</tr></thead>");
    }
    out.push_str("<tbody>");
    for row in &table.rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            element(out, if column == 0 { "th scope=\"row\"" } else { "td" }, cell);
        }
        (row.len()..table.head.len()).for_each(|_| out.push_str("<td></td>"));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::markup::text_of;
    use super::super::{Axis, Curve, Plot, Style};
    use super::*;

    fn chapter(title: &str) -> Chapter {
        Chapter {
            title: title.into(),
            about: "what".into(),
            verdict: "good & <better>".into(),
            items: vec![
                Item::Text("a\nb".into()),
                Item::Table(Table {
                    caption: "of".into(),
                    head: vec!["row".into(), "real".into()],
                    rows: vec![vec!["x".into()], vec!["y".into(), "1".into()]],
                }),
            ],
        }
    }

    #[test]
    fn a_page_has_contents_sections_and_nothing_from_elsewhere() {
        let page = html("report", &["two sides".into()], &[chapter("TCP order"), chapter("TCP: order!")]);
        let text = text_of(&page);
        assert!(text.contains("good & <better>") && text.contains("two sides"), "{text}");
        assert!(
            page.contains("href=\"#tcp-order\"") && page.contains("<section id=\"tcp-order\">"),
            "{page}"
        );
        assert!(page.contains("href=\"#tcp-order-2\"") && page.contains("id=\"tcp-order-2\""));
        assert_eq!(page.matches("<td>").count(), 4, "short rows are filled up");
        for foreign in ["http", "src=", "<script", "<link", "url(", "@import"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(!STYLE.contains(['<', '&']), "text that XML would read as markup");
    }

    fn item() -> impl Strategy<Value = Item> {
        let strings = || prop::collection::vec(any::<String>(), 0..4);
        prop_oneof![
            any::<String>().prop_map(Item::Text),
            (any::<String>(), strings(), prop::collection::vec(strings(), 0..4))
                .prop_map(|(caption, head, rows)| Item::Table(Table { caption, head, rows })),
            (any::<(String, String, f64, f64)>(), any::<bool>()).prop_map(|((caption, name, x, y), log)| {
                let axis = Axis { label: caption.clone(), log };
                let curves = vec![Curve { name, style: Style::Line, points: vec![(x, y)] }];
                Item::Plot(Plot { caption, x: axis.clone(), y: axis, curves })
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_chapter_is_well_formed(
            title in any::<String>(),
            facts in prop::collection::vec(any::<String>(), 0..3),
            parts in prop::collection::vec(
                (any::<(String, String, String)>(), prop::collection::vec(item(), 0..5)), 0..4),
        ) {
            let chapters: Vec<_> = parts
                .into_iter()
                .map(|((title, about, verdict), items)| Chapter { title, about, verdict, items })
                .collect();
            text_of(&html(&title, &facts, &chapters));
        }
    }
}
