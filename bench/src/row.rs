//! One row of the table, and how its values are compared.

use crate::stats::{percentile, time};

/// One line of the table.
pub struct Row {
    pub measure: String,
    pub ours: String,
    pub job: String,
    pub ratio: String,
    pub target: &'static str,
    pub met: Option<bool>,
}

impl Row {
    pub fn new(measure: impl Into<String>, ours: impl Into<String>) -> Self {
        let none = || "–".to_owned();
        Self { measure: measure.into(), ours: ours.into(), job: none(), ratio: none(), target: "", met: None }
    }

    /// Adds Job's value. The ratio is Job's value divided by ours.
    pub fn beside(self, job: impl Into<String>, ratio: f64) -> Self {
        let ratio = if ratio.is_finite() { format!("{ratio:.1}") } else { "–".into() };
        Self { job: job.into(), ratio, ..self }
    }

    pub fn target(self, target: &'static str, met: bool) -> Self {
        self.perhaps(target, Some(met))
    }

    /// Adds no judgement if what it needs was not measured.
    pub fn perhaps(self, target: &'static str, met: Option<bool>) -> Self {
        Self { target, met, ..self }
    }
}

pub fn p50(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

pub fn p99(values: &[f64]) -> f64 {
    percentile(values, 0.99)
}

/// Whether Job's times are at least that many times ours, at the median and at the 99th percentile.
pub fn is_ahead(times: f64, ours: &[f64], jobs: &[f64]) -> bool {
    p50(jobs) >= times * p50(ours) && p99(jobs) >= times * p99(ours)
}

pub fn times(values: &[f64]) -> String {
    values.iter().map(|&value| time(value)).collect::<Vec<_>>().join(", ")
}
