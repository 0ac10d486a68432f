//! What the tests and the bench of the scan share.

use candle_core::Tensor;
use netssm_model::engine::scan::ScanInput;

/// The arguments of a scan over `vars`, which are x B C `(b, l, C)`, dt `(b, l, H)`, a_log, D and dt_bias `(H)`.
///
/// Every step counts, and the state before the first is zero.
pub(crate) fn scan_input<'a>(
    vars: impl IntoIterator<Item = &'a Tensor>,
    (groups, d_state): (usize, usize),
    chunk_size: usize,
) -> ScanInput<'a> {
    let mut vars = vars.into_iter();
    let mut next = || vars.next().expect("five arguments");
    ScanInput {
        xbc: next(),
        dt: next(),
        a_log: next(),
        d: next(),
        dt_bias: next(),
        groups,
        d_state,
        chunk_size,
        lengths: None,
        initial: None,
    }
}
