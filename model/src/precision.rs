//! The precision that a model generates in.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Number formats of a step: that of its three matmuls and that of the state. Sums are always f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Weights and activations as float32.
    #[default]
    F32,
    /// Weights and activations as 8-bit integers, with a scale for each output and each row. CPU only.
    Int8,
    /// Weights and activations as bf16, the state as f32. GPU only.
    Bf16,
    /// As [`Self::Bf16`], with the state as bf16 too, by stochastic rounding. GPU only.
    #[serde(rename = "bf16-state")]
    Bf16State,
}

impl Precision {
    /// Every precision, the default first.
    pub const ALL: [Self; 4] = [Self::F32, Self::Int8, Self::Bf16, Self::Bf16State];

    /// The spelling in flags and profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
            Self::Bf16State => "bf16-state",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|precision| precision.as_str() == text);
        found.ok_or_else(|| format!("unknown precision \"{text}\"; expected f32, int8, bf16 or bf16-state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused_with_those_there_are() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        let error = "int4".parse::<Precision>().expect_err("there is none");
        assert_eq!(error, "unknown precision \"int4\"; expected f32, int8, bf16 or bf16-state");
    }
}
