//! Formats of numbers on a device.

/// A format of numbers in device memory. Sums are always f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Float {
    /// 32 bits.
    #[default]
    F32,
    /// The upper 16 of them.
    Bf16,
}

impl Float {
    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// As kernels spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}
