//! `netssmd codec`: does a codec give back what it was given, and at how many tokens?

use std::collections::BTreeMap;
use std::path::Path;

use netssm_model::codec::{BytesCodec, Codec, Decoder, Form, FrameRef, SessionEnd, Step, Vocab};
use netssm_wire::capture::Capture;
use serde::Serialize;

use super::tell;
use crate::cli::train::{CodecArgs, CodecFilesArgs, CodecName};
use crate::exit::{Failure, Outcome};

/// The label that the tokens are made under; the alphabet needs one.
const LABEL: &str = "capture";

/// What became of the packets of one capture.
#[derive(Debug, Default, Serialize)]
struct FileReport {
    file: String,
    /// Packets in the capture.
    packets: u64,
    /// Packets encoded.
    encoded: u64,
    tokens: u64,
    tokens_per_packet: f64,
    /// Packets that the codec does not carry, by reason.
    skipped: BTreeMap<&'static str, u64>,
    /// Packets that came back otherwise than the codec took them (round trip only).
    #[serde(skip_serializing_if = "Option::is_none")]
    differing: Option<u64>,
    /// Why the capture was not read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

/// `codec stats`
pub(crate) fn stats(args: &CodecFilesArgs) -> Outcome {
    let codec = codec(&args.codec)?;
    let reports = args.files.iter().map(|file| read(&codec, file, None)).collect::<Outcome<Vec<_>>>()?;
    tell(args.json, &reports, |reports| lines(reports))
}

/// `codec roundtrip`
pub(crate) fn roundtrip(args: &CodecFilesArgs) -> Outcome {
    let codec = codec(&args.codec)?;
    let mut reports = Vec::new();
    for file in &args.files {
        let mut check =
            Check { decoder: codec.decoder(), form: args.codec.form, pending: None, differing: 0 };
        let mut report = read(&codec, file, Some(&mut check))?;
        report.differing = Some(check.differing);
        reports.push(report);
    }
    tell(args.json, &reports, |reports| lines(reports))?;
    match reports.iter().filter_map(|r| r.differing).sum::<u64>() {
        0 => Ok(()),
        n => Err(Failure::Run(anyhow::anyhow!("{n} packets did not come back as they were encoded"))),
    }
}

fn codec(args: &CodecArgs) -> Outcome<BytesCodec> {
    let CodecName::Bytes = args.codec;
    let vocab = Vocab::new(&[LABEL])?;
    Ok(BytesCodec::new(vocab, args.width, args.form))
}

/// Encodes a capture packet by packet, in constant memory.
fn read(codec: &BytesCodec, file: &Path, mut check: Option<&mut Check>) -> Outcome<FileReport> {
    let mut capture = Capture::open(file)?;
    let mut encoder = codec.encoder(LABEL)?;
    let mut tokens = Vec::new();
    let mut report = FileReport { file: file.display().to_string(), ..FileReport::default() };
    loop {
        let record = match capture.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => {
                report.damage = Some(error.to_string());
                break;
            }
        };
        report.packets += 1;
        tokens.clear();
        if let Err(skip) = encoder.push(FrameRef::from(&record), &mut tokens) {
            *report.skipped.entry(skip.as_str()).or_default() += 1;
            continue;
        }
        report.encoded += 1;
        report.tokens += tokens.len() as u64;
        if let Some(check) = &mut check {
            check.tokens(&tokens);
            check.expect(&tokens, record.frame);
        }
    }
    tokens.clear();
    encoder.finish(SessionEnd::Ended, &mut tokens);
    report.tokens += tokens.len() as u64;
    if let Some(check) = check {
        check.tokens(&tokens);
        // A packet that never came out.
        check.differing += u64::from(check.pending.is_some());
    }
    report.tokens_per_packet = report.tokens as f64 / report.encoded.max(1) as f64;
    Ok(report)
}

/// Decodes what was encoded, one packet behind, since a packet ends where the next one begins.
struct Check {
    decoder: Box<dyn Decoder>,
    form: Form,
    pending: Option<Expected>,
    differing: u64,
}

/// What a decoded packet must be.
enum Expected {
    /// In the raw form, the beginning of the captured frame, and zeros up to a fixed width.
    Captured(Vec<u8>),
    /// In the canonical form, whose identifiers are not the capture's, the bytes that were encoded.
    Encoded(Vec<u8>),
}

impl Expected {
    fn is_met_by(&self, header: &[u8]) -> bool {
        match self {
            Self::Encoded(bytes) => header == bytes,
            Self::Captured(frame) => {
                let same = header.iter().zip(frame).take_while(|(a, b)| a == b).count();
                same > 0 && header[same..].iter().all(|byte| *byte == 0)
            }
        }
    }
}

impl Check {
    /// Feeds tokens to the decoder; a packet that they complete is the one that was encoded before.
    fn tokens(&mut self, tokens: &[u16]) {
        for token in tokens {
            if let Step::Packet(packet) = self.decoder.push(u32::from(*token)) {
                let met = self.pending.take().is_some_and(|expected| expected.is_met_by(&packet.header));
                self.differing += u64::from(!met);
            }
        }
    }

    /// Notes what comes out once the next packet begins. `tokens` are those of this packet, perhaps with the label or
    /// a delimiter before them, which are no bytes.
    fn expect(&mut self, tokens: &[u16], frame: Vec<u8>) {
        // A packet that was encoded and did not come out before the next one.
        self.differing += u64::from(self.pending.is_some());
        let bytes = || tokens.iter().filter_map(|token| u8::try_from(*token).ok()).collect();
        self.pending = Some(match self.form {
            Form::Raw => Expected::Captured(frame),
            Form::Canonical => Expected::Encoded(bytes()),
        });
    }
}

fn lines(reports: &[FileReport]) -> String {
    let mut text = String::new();
    for r in reports {
        let skipped: Vec<String> = r.skipped.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        text += &format!(
            "{}: {} of {} packets, {} tokens, {:.1} a packet",
            r.file, r.encoded, r.packets, r.tokens, r.tokens_per_packet
        );
        if !skipped.is_empty() {
            text += &format!("; not carried: {}", skipped.join(", "));
        }
        if let Some(differing) = r.differing {
            text += &format!("; {differing} differ");
        }
        if let Some(damage) = &r.damage {
            text += &format!("; {damage}");
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_headers_begin_the_captured_frame_and_may_end_in_padding() {
        let captured = Expected::Captured(vec![1, 2, 3, 4]);
        assert!(captured.is_met_by(&[1, 2, 3]));
        assert!(captured.is_met_by(&[1, 2, 3, 4, 0, 0]));
        assert!(!captured.is_met_by(&[1, 2, 9]));
        assert!(!captured.is_met_by(&[]));
        let encoded = Expected::Encoded(vec![1, 2]);
        assert!(encoded.is_met_by(&[1, 2]) && !encoded.is_met_by(&[1, 2, 0]));
    }
}
