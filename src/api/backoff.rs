//! How long to wait between attempts, as users write it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long to wait before the next attempt. Without it: Exponential from 1 s, doubling, capped at 60 s, ±25 % jitter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.delaysSeconds) == (has(self.strategy) && self.strategy == 'List')")
        .message("strategy List takes its delays from delaysSeconds, and no other strategy does: give both or neither"),
    validation = Rule::new("!has(self.initialDelaySeconds) || !has(self.strategy) || self.strategy != 'List'")
        .message("strategy List starts with the first of delaysSeconds: remove initialDelaySeconds"),
    validation = Rule::new("!has(self.multiplier) || !has(self.strategy) || self.strategy == 'Exponential'")
        .message("multiplier works with strategy Exponential only: remove it or change the strategy"),
    validation = Rule::new("!has(self.maxDelaySeconds) || !has(self.strategy) || !(self.strategy in ['Fixed', 'List'])")
        .message("maxDelaySeconds caps the growing strategies (Exponential, Linear, Fibonacci): remove it or change the strategy"),
    validation = Rule::new("!has(self.maxDelaySeconds) || self.maxDelaySeconds >= (has(self.initialDelaySeconds) ? self.initialDelaySeconds : 1)")
        .message("maxDelaySeconds is below the initial delay (initialDelaySeconds, 1 unless given): raise the cap or lower the initial delay")
)]
pub struct Backoff {
    /// How the delay grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,

    /// Delay before the first retry in seconds. Default 1. Not with strategy List.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 31536000").message("initialDelaySeconds goes from 0 (no wait) to 31536000 (a year)"))]
    pub initial_delay_seconds: Option<i32>,

    /// Factor by which strategy Exponential grows the delay: an integer, or a decimal number in quotes such as "1.5". Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("type(self) == int ? (self >= 1 && self <= 1000) : (self.matches('^[0-9]{1,4}([.][0-9]{1,4})?$') && double(self) >= 1.0 && double(self) <= 1000.0)").message("multiplier is a number from 1 to 1000 with at most four decimals, in quotes when it has any: 2, \"1.5\""))]
    pub multiplier: Option<Multiplier>,

    /// Cap of the delay before jitter, in seconds, for the growing strategies. Default: 60, or the initial delay if that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 31536000").message("maxDelaySeconds goes from 0 to 31536000 (a year)"))]
    pub max_delay_seconds: Option<i32>,

    /// The delays of strategy List in seconds, one per retry; the last one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.all(d, d >= 0 && d <= 31536000)").message("delaysSeconds go from 0 (no wait) to 31536000 (a year)"))]
    pub delays_seconds: Option<Vec<i32>>,

    /// How the delay is spread, so that tasks that failed together do not retry together. Default: Proportional, 25 percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
}

/// How the delay grows: Exponential (initial × multiplier^(n-1)), Fixed (always the initial delay), Linear (initial × n),
/// Fibonacci (initial × 1, 1, 2, 3, 5 …) or List (delaysSeconds, the last one repeats). Default Exponential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// initial × multiplier^(n-1)
    #[default]
    Exponential,
    /// always the initial delay
    Fixed,
    /// initial × n
    Linear,
    /// initial × 1, 1, 2, 3, 5, 8 …
    Fibonacci,
    /// as listed; the last one repeats
    List,
}

/// How a delay `d` is spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.percent) || !has(self.mode) || self.mode == 'Proportional'").message("percent works with mode Proportional only: remove it or change the mode"))]
pub struct Jitter {
    /// How the delay is spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<JitterMode>,

    /// Largest deviation of mode Proportional, in percent of the delay. Default 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 100").message("percent goes from 0 (no jitter) to 100"))]
    pub percent: Option<i32>,
}

/// How a delay d is spread: Proportional (d ± percent), None (exactly d), Full (0 to d) or Equal (d/2 to d). Full and Equal are those of
/// "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). Default Proportional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JitterMode {
    /// d ± percent
    #[default]
    Proportional,
    /// exactly d
    None,
    /// uniformly from 0 to d
    Full,
    /// uniformly from d/2 to d
    Equal,
}

/// A factor as users write it: an integer or a decimal string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Multiplier {
    /// `multiplier: 2`
    Int(i64),
    /// `multiplier: "1.5"`
    Decimal(String),
}

impl JsonSchema for Multiplier {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Multiplier".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 9})
    }
}
