//! Percentiles, and numbers formatted for people.

/// The smallest value that `share` (0 to 1) of the values do not exceed. NaN if there are no values.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0);
    // A rank is between 1 and the number of values.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    sorted.get(rank as usize - 1).copied().unwrap_or(f64::NAN)
}

/// A number of milliseconds with its unit. From 1,000 on in seconds.
pub fn time(millis: f64) -> String {
    if millis.abs() >= 1000.0 { format!("{:.2} s", millis / 1000.0) } else { format!("{millis:.1} ms") }
}

/// Median and 99th percentile.
pub fn middle_and_worst(values: &[f64]) -> String {
    if values.is_empty() {
        return "–".into();
    }
    format!("{} / {}", time(percentile(values, 0.5)), time(percentile(values, 0.99)))
}

/// Bytes in decimal units.
pub fn bytes(count: f64) -> String {
    match count {
        count if count >= 1e6 => format!("{:.1} MB", count / 1e6),
        count if count >= 1e3 => format!("{:.1} kB", count / 1e3),
        count => format!("{count:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=100).map(f64::from).rev().collect();
        let seen = [0.0, 0.5, 0.99, 1.0].map(|share| percentile(&values, share).round());
        assert_eq!(seen.map(|value| format!("{value}")), ["1", "50", "99", "100"]);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
