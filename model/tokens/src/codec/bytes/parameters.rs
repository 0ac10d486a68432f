//! The two parameters of the bytes codec, and their names on disk and on the command line.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::packet::{MAX_HEADER_BYTES, shape::UdpPrefix};

/// How many bytes a packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Exactly this many, zero padded. NetSSM uses 94 (TCP only), 106 (with DNS headers) and 128.
    Fixed(u16),
    /// As many as the header has.
    Variable,
}

impl Width {
    /// Checks a fixed width: at least an Ethernet header and one byte, at most [`MAX_HEADER_BYTES`].
    ///
    /// # Errors
    /// [`DataError::Codec`] with the range.
    pub fn fixed(bytes: u16) -> Result<Self, DataError> {
        if (15..=MAX_HEADER_BYTES as u16).contains(&bytes) {
            Ok(Self::Fixed(bytes))
        } else {
            Err(DataError::Codec(format!("width {bytes} is not between 15 and {MAX_HEADER_BYTES}")))
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => bytes.fmt(f),
            Self::Variable => f.write_str("variable"),
        }
    }
}

impl FromStr for Width {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "variable" => Ok(Self::Variable),
            number => number
                .parse()
                .map_err(|_| DataError::Codec(format!("width '{number}' is neither 'variable' nor a number")))
                .and_then(Self::fixed),
        }
    }
}

/// What happens to a session's frames before they become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Identifiers are replaced by small numbers in order of use: see [`crate::canonical`]. The default.
    Canonical,
    /// Exactly the captured bytes, as NetSSM trains on. Tokens then hold the addresses of the capture.
    Raw,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canonical => "canonical",
            Self::Raw => "raw",
        })
    }
}

impl FromStr for Form {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "canonical" => Ok(Self::Canonical),
            "raw" => Ok(Self::Raw),
            other => Err(DataError::Codec(format!("form '{other}' is neither 'canonical' nor 'raw'"))),
        }
    }
}

impl Form {
    pub(super) fn udp_prefix(self) -> UdpPrefix {
        match self {
            Self::Canonical => UdpPrefix::DnsOnly,
            Self::Raw => UdpPrefix::Always,
        }
    }
}
