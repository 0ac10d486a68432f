//! Numbers as they read in tables.

/// Three or four digits that matter; what has no value or none that is finite is a dash.
pub(crate) fn number(value: Option<f64>) -> String {
    match value.filter(|x| x.is_finite()) {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(x) if x.abs() >= 1e9 => format!("{x:.2e}"),
        Some(x) if x.abs() >= 1000.0 => format!("{x:.0}"),
        Some(x) if x.abs() >= 10.0 => format!("{x:.1}"),
        Some(x) if x.abs() >= 0.01 => format!("{x:.3}"),
        Some(x) => format!("{x:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let texts: Vec<_> =
            [0.0, 0.000_02, 0.5, -12.345, 123_456.7, 2e12].into_iter().map(|x| number(Some(x))).collect();
        assert_eq!(texts, ["0", "2.0e-5", "0.500", "-12.3", "123457", "2.00e12"]);
        assert_eq!((number(None), number(Some(f64::NAN))), ("-".to_owned(), "-".to_owned()));
    }
}
