//! The memory that passes over sequences work in: kept from pass to pass.
//!
//! A training step needs some dozens of buffers of megabytes each. Fresh ones are zeroed, given back to the system and
//! faulted in again at every step, which takes longer than the norms do. Here a buffer goes back to where it came from
//! and is handed out again; its old values are left in it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that no pass is using. Clones share them. There are never more than were in use at the same time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

/// Values that go back to their [`Buffers`] when this is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    values: Vec<f32>, // at least `len`
    len: usize,
    home: Buffers,
}

impl Buffers {
    /// A buffer of `len` values. They are left from earlier use: the caller writes every value before it reads it.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let mut values = self.free(len);
        if values.len() < len {
            values = vec![0f32; len];
        }
        // A value that is read before it is written is to spoil what a test looks at.
        if cfg!(test) {
            values.fill(f32::NAN);
        }
        Buffer { values, len, home: self.clone() }
    }

    /// A buffer of `len` zeros.
    pub(crate) fn zeros(&self, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// The smallest free buffer that is large enough; else the largest, whose place a larger one takes.
    fn free(&self, len: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = || free.iter().map(Vec::len).enumerate();
        let fit = all().filter(|&(_, size)| size >= len).min_by_key(|&(_, size)| size);
        let chosen = fit.or_else(|| all().max_by_key(|&(_, size)| size));
        chosen.map(|(at, _)| free.swap_remove(at)).unwrap_or_default()
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        if !values.is_empty() {
            self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(buffers: &Buffers) -> Vec<usize> {
        let mut sizes: Vec<usize> = buffers.0.lock().unwrap().iter().map(Vec::len).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn what_goes_back_is_handed_out_again() {
        let buffers = Buffers::default();
        drop((buffers.take(10), buffers.zeros(30), buffers.take(20)));
        assert_eq!(sizes(&buffers), [10, 20, 30]);
        let (some, most) = (buffers.take(15), buffers.zeros(25));
        assert_eq!((some.len(), sizes(&buffers)), (15, vec![10]));
        assert!(most.iter().all(|&x| x == 0.0));
        drop((some, most));
        assert_eq!(sizes(&buffers), [10, 20, 30]);
        // Nothing is as large: the largest makes way.
        drop(buffers.take(40));
        assert_eq!(sizes(&buffers), [10, 20, 40]);
    }
}
