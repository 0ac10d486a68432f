//! What the host sends for a row (a row input and a draw) and what comes back (a choice).
//!
//! The numbers are those of `kernels/common.cuh` and `kernels/sample.cu`.

use crate::sample::SampleError;

/// Word of a row input: the token to feed.
pub const TOKEN: usize = 0;
/// Word of a row input: where the row's state is.
pub const SLOT: usize = 1;
/// Word of a row input: [`FRESH`] and [`SILENT`].
pub const FLAGS: usize = 2;
/// Word of a row input: a number that differs from token to token and session to session, for stochastic rounding.
pub const DITHER: usize = 3;
/// Words before the side information.
pub const ROW_INPUT_WORDS: usize = 4;

/// The session begins: its state counts as zero.
pub const FRESH: u32 = 1;
/// No token is to be chosen.
pub const SILENT: u32 = 2;

/// The token that was chosen for a row, or why none was; `None` for a silent row.
pub type Choice = Option<Result<u32, SampleError>>;

/// The choices among `vocab` tokens in what came back, three words a row.
pub fn choices(words: &[u32], vocab: usize) -> impl Iterator<Item = Choice> + '_ {
    words.chunks_exact(3).map(move |row| match row[0] {
        0 => Some(Ok(row[1])),
        1 => Some(Err(SampleError::NotFinite { token: row[1], value: f32::from_bits(row[2]) })),
        2 => Some(Err(SampleError::NothingLegal { vocab })),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_come_back() {
        let words = [0, 7, 0, 1, 3, f32::INFINITY.to_bits(), 2, 0, 0, 3, 0, 0];
        let got: Vec<Choice> = choices(&words, 9).collect();
        let bad = SampleError::NotFinite { token: 3, value: f32::INFINITY };
        assert_eq!(
            got,
            [Some(Ok(7)), Some(Err(bad)), Some(Err(SampleError::NothingLegal { vocab: 9 })), None]
        );
    }
}
