//! What a scan reads, whichever engine runs it, and its sizes.

use candle_core::Tensor;

use crate::error::{Error, Result};

/// Arguments of a scan. `C = E + 2 G N`, `E = H P`.
#[derive(Debug, Clone, Copy)]
pub struct ScanInput<'a> {
    /// x, B and C after convolution and activation, `(b, l, C)`.
    pub xbc: &'a Tensor,
    /// Steps before bias and softplus, `(b, l, H)`.
    pub dt: &'a Tensor,
    /// Logarithm of `-A`, `(H)`.
    pub a_log: &'a Tensor,
    /// Skip weights, `(H)`.
    pub d: &'a Tensor,
    /// Bias of the steps, `(H)`.
    pub dt_bias: &'a Tensor,
    /// Groups `G` that share one B and C.
    pub groups: usize,
    /// State size `N`.
    pub d_state: usize,
    /// Steps per chunk of the chunked form.
    pub chunk_size: usize,
    /// Steps that count in each row; what lies beyond gives `y = 0` and leaves the state alone. All, if absent.
    pub lengths: Option<&'a [usize]>,
    /// State before the first step, `(b, H, P, N)`; no gradient flows into it. Zero, if absent.
    pub initial: Option<&'a Tensor>,
}

/// Sizes of a scan, checked against every argument.
#[derive(Debug, Clone, Copy)]
pub struct ScanShape {
    /// Batch.
    pub b: usize,
    /// Length.
    pub l: usize,
    /// Heads.
    pub h: usize,
    /// Channels per head.
    pub p: usize,
    /// Groups.
    pub g: usize,
    /// State size.
    pub n: usize,
}

impl ScanShape {
    /// Those of the arguments.
    ///
    /// # Errors
    /// [`Error::Input`] for arguments that do not fit one another.
    pub(crate) fn of(input: &ScanInput<'_>) -> Result<Self> {
        let (b, l, c) = input.xbc.dims3()?;
        let (bd, ld, h) = input.dt.dims3()?;
        let (g, n) = (input.groups, input.d_state);
        if (bd, ld) != (b, l) || b == 0 || l == 0 || h == 0 {
            return Err(Error::input(
                "scan dt",
                format!("({b}, {l}, heads)"),
                format!("{:?}", input.dt.dims()),
            ));
        }
        if g == 0 || n == 0 || h % g != 0 || c <= 2 * g * n || (c - 2 * g * n) % h != 0 {
            let expected = format!("{h} heads of equal width and {g} groups of B and C of {n}");
            return Err(Error::input("scan channels", expected, c));
        }
        for (what, t) in [("scan a_log", input.a_log), ("scan d", input.d), ("scan dt_bias", input.dt_bias)] {
            if t.dims() != [h] {
                return Err(Error::input(what, format!("[{h}]"), format!("{:?}", t.dims())));
            }
        }
        if let Some(lengths) = input.lengths
            && (lengths.len() != b || lengths.iter().any(|&x| x > l))
        {
            return Err(Error::input("scan lengths", format!("{b} of at most {l}"), format!("{lengths:?}")));
        }
        let p = (c - 2 * g * n) / h;
        if let Some(s) = input.initial
            && s.dims() != [b, h, p, n]
        {
            return Err(Error::input(
                "scan state",
                format!("[{b}, {h}, {p}, {n}]"),
                format!("{:?}", s.dims()),
            ));
        }
        if input.chunk_size == 0 {
            return Err(Error::input("scan chunk size", "at least 1", 0));
        }
        Ok(Self { b, l, h, p, g, n })
    }
}
