//! `netssmd bench`: the measurements behind docs/benchmarks.md and README. The program measures itself.

mod cost;
mod generate;
mod inject;
mod resident;
mod roofline;
mod scan;
mod traffic;
mod write;

use crate::cli::bench::BenchCommand;
use crate::exit::Outcome;

/// Runs the command.
pub(crate) fn run(command: &BenchCommand) -> Outcome {
    match command {
        BenchCommand::Generate(args) => generate::run(args),
        BenchCommand::Scan(args) => scan::run(args),
        BenchCommand::Inject(args) => inject::run(args),
        BenchCommand::Write(args) => write::run(args),
    }
}

/// The median: the middle value, or the mean of the middle two. 0 for no values.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
