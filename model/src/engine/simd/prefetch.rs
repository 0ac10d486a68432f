//! Asking for memory before it is needed.
//!
//! Weights are read from one end to the other once a step, from a cache that is far away: at batch sizes of some dozens
//! the first block of rows would wait for each panel while the arithmetic units stand still. So while rows are
//! multiplied with one panel, the next one is asked for.

#![allow(unsafe_code)]

/// Asks the processor to bring the cache line of the first value nearer. Changes nothing else.
#[inline(always)]
pub(crate) fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE, which the instruction belongs to, is part of x86_64; it reads and writes nothing that a program
    // could see, and does not fault, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(values.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
