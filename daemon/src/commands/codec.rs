//! `netssmd codec`: whether a codec gives back the packets that it encoded, and how many tokens it needs for them.

use std::path::Path;

use netssm_tokens::codec::CodecChoice;
use netssm_tokens::codec::report::{self, ClassRow, KindRow, ReportError, SideRow, Tally, Trip};
use netssm_wire::capture::find_captures;
use serde::Serialize;

use super::tell;
use crate::cli::codec::CodecFilesArgs;
use crate::exit::{Failure, Outcome};

/// Most characters of a file's name in a row. A longer name is cut at its start, because its end tells files apart.
const NAME_CHARS: usize = 48;

/// The result for one capture.
#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    #[serde(flatten)]
    trip: Trip,
    tokens_per_packet: f64,
    side_bits_per_packet: f64,
}

impl FileReport {
    fn new(file: String, trip: Trip) -> Self {
        let (tokens_per_packet, side_bits_per_packet) =
            (trip.tokens_per_packet(), trip.side_bits_per_packet());
        Self { file, trip, tokens_per_packet, side_bits_per_packet }
    }
}

/// A capture that could not be opened.
#[derive(Debug, Serialize)]
struct Unreadable {
    file: String,
    why: String,
}

/// The result of `codec roundtrip`.
#[derive(Debug, Serialize)]
struct Roundtrip {
    codec: String,
    files: Vec<FileReport>,
    total: FileReport,
    unreadable: Vec<Unreadable>,
}

/// The result of `codec stats`.
#[derive(Debug, Serialize)]
struct Stats {
    codec: String,
    files: Vec<FileReport>,
    total: FileReport,
    /// Tokens per packet, by kind of packet.
    kinds: Vec<KindRow>,
    /// Packets that have a token of a class, by class.
    classes: Vec<ClassRow>,
    /// Bits of the side channel per packet, by class of value.
    side: Vec<SideRow>,
    unreadable: Vec<Unreadable>,
}

/// Runs `codec roundtrip`: encodes every packet of every capture, decodes it, and compares.
pub(crate) fn roundtrip(args: &CodecFilesArgs) -> Outcome {
    let codec = args.codec.choice()?;
    let read = Read::all(args, |path| report::roundtrip(&codec, path, args.limit))?;
    let result =
        Roundtrip { codec: name(&codec)?, files: read.files, total: read.total, unreadable: read.unreadable };
    tell(args.json, &result, |r| rows(&r.files, &r.total, &r.unreadable, true))?;
    match result.total.trip.differing {
        0 => Ok(()),
        n => Err(Failure::Run(anyhow::anyhow!("{n} packets did not come back as they were captured"))),
    }
}

/// Runs `codec stats`: counts which packets and fields the tokens are for.
pub(crate) fn stats(args: &CodecFilesArgs) -> Outcome {
    let codec = args.codec.choice()?;
    let mut tally = Tally::default();
    let read = Read::all(args, |path| report::measure(&codec, path, args.limit, &mut tally))?;
    let result = Stats {
        codec: name(&codec)?,
        files: read.files,
        total: read.total,
        kinds: tally.kinds(),
        classes: tally.classes(),
        side: tally.side(),
        unreadable: read.unreadable,
    };
    tell(args.json, &result, |r| {
        rows(&r.files, &r.total, &r.unreadable, false) + &tables(&r.kinds, &r.classes, &r.side)
    })
}

fn name(codec: &CodecChoice) -> Outcome<String> {
    Ok(codec.over::<&str>(&[])?.id().to_string())
}

/// The results of all captures.
struct Read {
    files: Vec<FileReport>,
    total: FileReport,
    unreadable: Vec<Unreadable>,
}

impl Read {
    /// Reports on each capture, in the order given, and notes those that cannot be opened.
    ///
    /// # Errors
    /// If no packet could be read from any capture.
    fn all(
        args: &CodecFilesArgs,
        mut report: impl FnMut(&Path) -> Result<Trip, ReportError>,
    ) -> Outcome<Self> {
        let (mut files, mut unreadable, mut total) = (Vec::new(), Vec::new(), Trip::default());
        for place in &args.files {
            let captures = find_captures(std::slice::from_ref(place));
            let why = match &captures {
                Ok(captures) if captures.is_empty() => Some(format!("no capture in {}", place.display())),
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            };
            unreadable.extend(why.map(|why| Unreadable { file: place.display().to_string(), why }));
            for path in captures.into_iter().flatten() {
                let file = path.display().to_string();
                match report(&path) {
                    Ok(trip) => {
                        total.add(&trip);
                        files.push(FileReport::new(file, trip));
                    }
                    Err(ReportError::Capture(error)) => {
                        unreadable.push(Unreadable { file, why: error.to_string() })
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if files.iter().all(|file| file.trip.packets == 0) {
            let first = unreadable.first().map(|file| file.why.clone());
            let first = first.or_else(|| files.iter().find_map(|file| file.trip.damage.clone()));
            return Err(Failure::Run(anyhow::anyhow!(
                "not a packet could be read of {} captures: {}",
                files.len() + unreadable.len(),
                first.unwrap_or_else(|| "they are empty".into())
            )));
        }
        Ok(Self { files, total: FileReport::new("all".into(), total), unreadable })
    }
}

/// The table of captures: one row per capture, and the sum below.
fn rows(files: &[FileReport], total: &FileReport, unreadable: &[Unreadable], compared: bool) -> String {
    let mut text = format!(
        "{:<NAME_CHARS$} {:>9} {:>13} {:>8} {:>16}\n",
        "capture", "packets", "tokens/packet", "escapes", "side bits/packet"
    );
    for file in files.iter().chain((files.len() != 1).then_some(total)) {
        let trip = &file.trip;
        text += &format!(
            "{:<NAME_CHARS$} {:>9} {:>13.2} {:>8} {:>16.1}",
            end_of(&file.file),
            trip.packets,
            file.tokens_per_packet,
            trip.escapes,
            file.side_bits_per_packet
        );
        if compared {
            text += if trip.differing == 0 { "  exact" } else { "  DIFFERS" };
        }
        if let Some(first) = &trip.first {
            text += &format!(": {} packets, the first is {}, {}", trip.differing, first.packet, first.field);
        }
        if !trip.skipped.is_empty() {
            let reasons: Vec<String> =
                trip.skipped.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
            text += &format!("; not carried: {}", reasons.join(", "));
        }
        if let Some(damage) = &trip.damage {
            text += &format!("; {damage}");
        }
        text.push('\n');
    }
    for file in unreadable {
        text += &format!("not read: {}\n", file.why);
    }
    if !unreadable.is_empty() {
        text +=
            &format!("{} of {} captures were not read\n", unreadable.len(), unreadable.len() + files.len());
    }
    text
}

/// The tables of tokens by kind and class, and of the side channel.
fn tables(kinds: &[KindRow], classes: &[ClassRow], side: &[SideRow]) -> String {
    let mut text =
        format!("\n{:<24} {:>9} {:>8} {:>8} {:>8}\n", "tokens a packet", "packets", "mean", "median", "p99");
    for row in kinds {
        text += &format!(
            "{:<24} {:>9} {:>8.2} {:>8} {:>8}\n",
            row.kind, row.packets, row.mean, row.median, row.p99
        );
    }
    if !classes.is_empty() {
        text += &format!("\n{:<24} {:>9} {:>8}\n", "packets with a token of", "packets", "share");
        for row in classes {
            text += &format!("{:<24} {:>9} {:>7.2}%\n", row.class, row.packets, row.share * 100.0);
        }
    }
    if !side.is_empty() {
        text += &format!("\n{:<24} {:>16}\n", "not in the tokens", "bits a packet");
        for row in side {
            text += &format!("{:<24} {:>16.2}\n", row.class, row.bits_per_packet);
        }
    }
    text
}

/// The name, or its last characters if it is too long for its column.
fn end_of(name: &str) -> String {
    let chars = name.chars().count();
    if chars <= NAME_CHARS {
        return name.to_owned();
    }
    let end: String = name.chars().skip(chars + 3 - NAME_CHARS).collect();
    format!("...{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(end_of("a/b.pcap"), "a/b.pcap");
        let long = format!("{}/x.pcap", "d".repeat(60));
        assert!(end_of(&long).ends_with("dd/x.pcap") && end_of(&long).starts_with("...d"));
        assert_eq!(end_of(&long).chars().count(), NAME_CHARS);
    }

    #[test]
    fn a_difference_is_in_its_row() {
        let mut trip = Trip { packets: 9, encoded: 9, tokens: 45, differing: 2, ..Trip::default() };
        trip.first = Some(report::Difference { packet: 4, field: "time".into() });
        let total = FileReport::new("all".into(), trip.clone());
        let text = rows(&[FileReport::new("x".into(), trip)], &total, &[], true);
        assert!(text.contains("5.00") && text.contains("DIFFERS: 2 packets, the first is 4, time"), "{text}");
        assert_eq!(text.lines().count(), 2, "one capture needs no sum: {text}");
    }
}
