//! Text inside markup: nothing that a capture, a label or a file name holds can become a tag or end an attribute.

use std::fmt::Write as _;

/// Adds `text` to `out` so that it is text in HTML and in XML, between tags and in quoted attributes.
///
/// Characters that XML 1.0 (section 2.2) does not allow at all, such as the escape character of terminals, become
/// U+FFFD.
pub(super) fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(allowed(c)),
        }
    }
}

/// The character, or what stands for one that no markup may hold.
pub(super) fn allowed(c: char) -> char {
    match c {
        '\t' | '\n' => c,
        // C1 controls are allowed by XML and forbidden by HTML.
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

/// `<tag>text</tag>`; `tag` may have attributes, which are the caller's.
pub(super) fn element(out: &mut String, tag: &str, text: &str) {
    let _ = write!(out, "<{tag}>"); // writing to a string cannot fail
    escape(out, text);
    let name = tag.split(' ').next().unwrap_or(tag);
    let _ = write!(out, "</{name}>");
}

/// Checks that a page is well-formed XML, as strict as a reader can be, and gives its text.
#[cfg(test)]
pub(super) fn text_of(markup: &str) -> String {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    let body = markup.trim_start().trim_start_matches("<!DOCTYPE html>");
    assert!(body.chars().all(|c| allowed(c) == c), "a forbidden character");
    let mut reader = Reader::from_str(body);
    reader.config_mut().enable_all_checks(true);
    let (mut text, mut open, mut roots) = (String::new(), 0_usize, 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {markup}")) {
            Event::Start(tag) => {
                tag.attributes()
                    .for_each(|a| drop(a.expect("an attribute").unescape_value().expect("a value")));
                roots += usize::from(open == 0);
                open += 1;
            }
            Event::Empty(tag) => {
                tag.attributes()
                    .for_each(|a| drop(a.expect("an attribute").unescape_value().expect("a value")));
                roots += usize::from(open == 0);
            }
            Event::End(_) => open -= 1,
            Event::Text(part) => text.push_str(&part.decode().expect("UTF-8")),
            Event::GeneralRef(name) => match &*name {
                b"amp" => text.push('&'),
                b"lt" => text.push('<'),
                b"gt" => text.push('>'),
                b"quot" => text.push('"'),
                b"#39" | b"apos" => text.push('\''),
                other => panic!("an entity that HTML and XML do not share: {other:?}"),
            },
            Event::Eof => break,
            other => panic!("{other:?} has no place in the page"),
        }
    }
    assert_eq!((open, roots), (0, 1), "one element holds all others");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_in_text_stays_text() {
        let mut out = String::new();
        escape(&mut out, "a<b>&\"'\u{1b}[1m");
        assert_eq!(out, "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}[1m");
        let mut out = String::new();
        element(&mut out, "p class=\"x\"", "</p><script>");
        assert_eq!(out, "<p class=\"x\">&lt;/p&gt;&lt;script&gt;</p>");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let mut out = String::new();
            element(&mut out, "p", &text);
            let kept: String = text.chars().map(allowed).collect();
            prop_assert_eq!(text_of(&out), kept);
        }
    }
}
