//! The arguments of `netssmd codec`, and the flags that choose a codec.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use netssm_tokens::codec::flow::{Parameters, Slots};
use netssm_tokens::codec::{CodecChoice, Form, Width};

use crate::exit::{Failure, Outcome};

/// Which codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecName {
    /// netssmd's own: a few tokens per packet, which include its time and nothing that identifies anybody.
    Flow,
    /// NetSSM's: one token per header byte, one between packets, one per label. No time.
    Bytes,
}

/// Parses "variable" or a number of bytes.
pub(super) fn width(text: &str) -> Result<Width, String> {
    text.parse().map_err(|error: netssm_tokens::DataError| error.to_string())
}

fn form(text: &str) -> Result<Form, String> {
    text.parse().map_err(|error: netssm_tokens::DataError| error.to_string())
}

/// How tokens name flows and hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SlotNames {
    /// By how recently they were used.
    Recent,
    /// By the order in which they appeared.
    Fixed,
}

/// A codec and its parameters.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Codec")]
pub(crate) struct CodecArgs {
    /// Which codec. [default: flow]
    #[arg(long, value_enum)]
    pub codec: Option<CodecName>,
    /// With --codec flow: "true" encodes gaps between packets to within 0.6 %, with one more token in most packets;
    /// "false" to within 9 %. [default: true]
    #[arg(long, value_name = "BOOL")]
    pub fine: Option<bool>,
    /// With --codec flow: how tokens name flows and hosts. "recent" by how recently they were used, "fixed" by the
    /// order in which they appeared. [default: recent]
    #[arg(long, value_enum)]
    pub slots: Option<SlotNames>,
    /// With --codec bytes: bytes of a packet. "variable" for as many as its headers have, or a fixed number such as 94,
    /// 106 or 128, padded with zeros (NetSSM's checkpoints have 128). [default: variable]
    #[arg(long, value_name = "BYTES", value_parser = width)]
    pub width: Option<Width>,
    /// With --codec bytes: "canonical" replaces addresses, ephemeral ports, sequence numbers and the like by small
    /// numbers in order of first use, so the tokens hold none of the capture's own. "raw" keeps all bytes, as NetSSM
    /// does. [default: canonical]
    #[arg(long, value_parser = form)]
    pub form: Option<Form>,
}

impl CodecArgs {
    /// The codec that the flags choose.
    ///
    /// # Errors
    /// If a parameter of the other codec is given.
    pub(crate) fn choice(&self) -> Outcome<CodecChoice> {
        let (codec, other) = match self.codec.unwrap_or(CodecName::Flow) {
            CodecName::Flow => {
                ("flow", &[("--width", self.width.is_some()), ("--form", self.form.is_some())][..])
            }
            CodecName::Bytes => {
                ("bytes", &[("--fine", self.fine.is_some()), ("--slots", self.slots.is_some())][..])
            }
        };
        if let Some((flag, _)) = other.iter().find(|(_, given)| *given) {
            let needed = if codec == "flow" { "bytes" } else { "flow" };
            return Err(Failure::usage(format_args!("{flag} needs --codec {needed}; the codec is {codec}")));
        }
        if codec == "bytes" {
            let width = self.width.unwrap_or(Width::Variable);
            return Ok(CodecChoice::Bytes { width, form: self.form.unwrap_or(Form::Canonical) });
        }
        let default = Parameters::default();
        let slots = self.slots.map_or(default.slots, |slots| match slots {
            SlotNames::Recent => Slots::Recent,
            SlotNames::Fixed => Slots::Fixed,
        });
        Ok(CodecChoice::Flow(Parameters { fine: self.fine.unwrap_or(default.fine), slots }))
    }

    /// Whether any of these flags is given.
    pub(crate) fn is_given(&self) -> bool {
        let bytes = self.width.is_some() || self.form.is_some();
        let flow = self.fine.is_some() || self.slots.is_some();
        self.codec.is_some() || flow || bytes
    }
}

/// The subcommands of `netssmd codec`.
#[derive(Debug, Subcommand)]
pub(crate) enum CodecCommand {
    /// Encode, decode, compare: every packet must come back as the codec took it. Exit code 1 if one does not.
    ///
    /// A capture that cannot be read, or not to its end, is named and counted. It fails the command only if no packet
    /// at all could be read.
    Roundtrip(CodecFilesArgs),
    /// Tokens per packet by kind of traffic, kinds of tokens by packet, and the side channel that the model does not
    /// see.
    Stats(CodecFilesArgs),
}

/// Captures and a codec.
#[derive(Debug, Args)]
pub(crate) struct CodecFilesArgs {
    #[command(flatten)]
    pub codec: CodecArgs,
    /// Captures, or folders that are searched for .pcap, .pcapng and .cap.
    #[arg(value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
    /// Packets to read of each capture. Without it, all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print the numbers as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        codec: CodecArgs,
    }

    fn choice(line: &str) -> Result<CodecChoice, String> {
        let line = Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        line.codec.choice().map_err(|failure| failure.to_string())
    }

    #[test]
    fn each_codec_has_its_own_parameters() {
        assert_eq!(choice("x"), Ok(CodecChoice::default()));
        assert!(matches!(choice("x"), Ok(CodecChoice::Flow(_))));
        let coarse = choice("x --fine false --slots fixed");
        assert!(
            matches!(coarse, Ok(CodecChoice::Flow(p)) if !p.fine && p.slots == Slots::Fixed),
            "{coarse:?}"
        );
        let bytes = choice("x --codec bytes --width 94 --form raw");
        assert_eq!(bytes, Ok(CodecChoice::Bytes { width: Width::Fixed(94), form: Form::Raw }));
        for (line, expected) in [
            ("x --width 94", "--width needs --codec bytes; the codec is flow"),
            ("x --codec flow --form raw", "--form needs --codec bytes; the codec is flow"),
            ("x --codec bytes --fine true", "--fine needs --codec flow; the codec is bytes"),
            ("x --codec bytes --slots recent", "--slots needs --codec flow; the codec is bytes"),
            ("x --codec words", "possible values: flow, bytes"),
        ] {
            let error = choice(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
