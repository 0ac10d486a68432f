//! Reads profile text as a [`RawProfile`] and finds every mistake of form in one go.
//!
//! serde stops at the first mistake. To report all of them, the parser removes the entry that a message points at from
//! the table and reads the rest again, until it reads cleanly. Removing an unknown key changes nothing else. Removing a
//! value of the wrong type may hide what depends on it, so the caller checks values only if [`Parsed::complete`] is
//! set.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::problem::{Collector, nearest};
use super::raw::RawProfile;

/// The readable part of a profile.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The profile without the entries that had a mistake.
    pub raw: RawProfile,
    /// Whether only unknown keys were removed, so that checks of the values still make sense.
    pub complete: bool,
}

/// Reads a profile. `None` if no profile could be read, for example because the text is not TOML. The collector then
/// says why.
pub(crate) fn parse(text: &str, problems: &mut Collector<'_>) -> Option<Parsed> {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            problems.at(place(error.span()), first_line(error.message()), "the file must be valid TOML 1.0");
        }
        return None;
    }
    let mut complete = true;
    loop {
        match RawProfile::deserialize(Deserializer::from(root.clone())) {
            Ok(raw) => return Some(Parsed { raw, complete }),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let (what, help) = explain(error.message(), &root, &span, text);
                problems.at(place(Some(span.clone())), what, help);
                complete &= error.message().starts_with("unknown field");
                if !take_out(root.get_mut(), &span) {
                    return None;
                }
            }
        }
    }
}

/// A range that is never empty, so that the collector takes it for a place even at the start of the file.
fn place(span: Option<Range<usize>>) -> Range<usize> {
    let span = span.unwrap_or(0..1);
    span.start..span.end.max(span.start + 1)
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message)
}

/// Turns a message of serde into a message for users of profiles.
fn explain(message: &str, root: &Spanned<DeTable<'_>>, span: &Range<usize>, text: &str) -> (String, String) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if message.starts_with("unknown field") {
        let (typed, known) = quoted.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        let table = table_of(root.get_ref(), span, "").unwrap_or_default();
        let section = if table.is_empty() { "at the top level".to_owned() } else { format!("in [{table}]") };
        let help = match nearest(typed, known.iter().copied()) {
            Some(key) => format!("did you mean \"{key}\"?"),
            None => format!("known keys are {}", known.join(", ")),
        };
        return (format!("unknown key \"{typed}\" {section}"), help);
    }
    if let Some((found, expected)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "))
    {
        let path = table_of(root.get_ref(), span, "").unwrap_or_default();
        let of = if path.is_empty() { String::new() } else { format!(" for \"{path}\"") };
        return (
            format!("wrong type{of}: {}", found.replace('`', "")),
            format!("expected {}", plain(expected)),
        );
    }
    let shown = text.get(span.clone()).map(first_line).unwrap_or_default();
    (format!("cannot read \"{shown}\": {}", first_line(message)), String::new())
}

/// serde's names of types, in plain words.
fn plain(expected: &str) -> &str {
    match expected {
        "f64" => "a number, such as 1.5",
        "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more, without quotes",
        "a string" => "text in double quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets, such as [\"10.10.0.0/16\"]",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// The dotted name of what lies at `span`: for a key the table that holds it, for a value its own path.
fn table_of(table: &DeTable<'_>, span: &Range<usize>, prefix: &str) -> Option<String> {
    let join = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    for (key, value) in table {
        if key.span() == *span {
            return Some(prefix.to_owned());
        }
        let path = join(key.get_ref());
        if let Some(found) = table_of_value(value, span, &path) {
            return Some(found);
        }
    }
    None
}

fn table_of_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &str) -> Option<String> {
    if value.span() == *span {
        return Some(path.to_owned());
    }
    match value.get_ref() {
        DeValue::Table(inner) => table_of(inner, span, path),
        DeValue::Array(items) => items.iter().find_map(|item| table_of_value(item, span, path)),
        _ => None,
    }
}

/// Removes the entry whose key or value has exactly this place. Gives `false` if there is none.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let doomed = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(key) = doomed.map(|(key, _)| key.clone()) {
        return table.remove(&key).is_some();
    }
    table.iter_mut().any(|(_, value)| take_out_of_value(value.get_mut(), span))
}

fn take_out_of_value(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(inner) => take_out(inner, span),
        DeValue::Array(items) => {
            if items.iter().any(|item| item.span() == *span) {
                *items = std::mem::replace(items, DeArray::new())
                    .into_iter()
                    .filter(|item| item.span() != *span)
                    .collect();
                return true;
            }
            items.iter_mut().any(|item| take_out_of_value(item.get_mut(), span))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn messages(text: &str) -> String {
        let mut problems = Collector::new(Path::new("p.toml"), text);
        parse(text, &mut problems);
        problems.finish().map_or_else(|p| p.to_string(), |()| "fine".into())
    }

    #[test]
    fn each_mistake_of_form_has_its_message() {
        let table = [
            ("name = \"x\"", "fine"),
            ("nmae = \"x\"", "p.toml:1:1: unknown key \"nmae\" at the top level; did you mean \"name\"?"),
            (
                "[schedule]\nrate = 1\ncolour = 3\n",
                "p.toml:3:1: unknown key \"colour\" in [schedule]; known keys are rate, max_concurrent, speed, sessions",
            ),
            (
                "[schedule]\nrate = \"fast\"\n",
                "p.toml:2:8: wrong type for \"schedule.rate\": string \"fast\"; expected a number, such as 1.5",
            ),
            (
                "seed = -1\n",
                "p.toml:1:8: wrong type for \"seed\": integer -1; expected a whole number, 0 or more, without quotes",
            ),
            (
                "[addresses]\nclients = \"10.0.0.0/8\"\n",
                "p.toml:2:11: wrong type for \"addresses.clients\": string \"10.0.0.0/8\"; \
                 expected a list in brackets, such as [\"10.10.0.0/16\"]",
            ),
            (
                "[[output.interface]]\nname = \"veth0\"\nsned = \"both\"\n",
                "p.toml:3:1: unknown key \"sned\" in [output.interface]; did you mean \"sends\"?",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(messages(text), expected, "for {text:?}");
        }
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let text = "sede = 1\n[schedule]\nrate = true\nspede = 2\n[[traffic]]\nlabel = 3\n[[traffic]]\nlabel = \"a\"\n";
        assert_eq!(
            messages(text),
            "p.toml:1:1: unknown key \"sede\" at the top level; did you mean \"seed\"?\n\
             p.toml:3:8: wrong type for \"schedule.rate\": boolean true; expected a number, such as 1.5\n\
             p.toml:4:1: unknown key \"spede\" in [schedule]; did you mean \"speed\"?\n\
             p.toml:6:9: wrong type for \"traffic.label\": integer 3; expected text in double quotes"
        );
    }

    #[test]
    fn broken_syntax_is_one_clear_line_each() {
        let mut problems = Collector::new(Path::new("p.toml"), "a = = 1\n");
        assert!(parse("a = = 1\n", &mut problems).is_none());
        let text = problems.finish().unwrap_err().to_string();
        assert!(text.starts_with("p.toml:1:"), "{text}");
        assert!(text.contains("the file must be valid TOML 1.0"), "{text}");
    }

    #[test]
    fn only_unknown_keys_leave_the_values_whole() {
        let read = |text| {
            let mut problems = Collector::new(Path::new("p.toml"), text);
            parse(text, &mut problems).map(|parsed| parsed.complete)
        };
        assert_eq!(read("nmae = 1"), Some(true));
        assert_eq!(read("name = 1"), Some(false));
    }
}
