//! How much memory an attempt gets after earlier ones ran out of memory.

use super::delay::{Factor, factor};
use crate::api::{IntOrText, OnOutOfMemory};
use serde_json::Value;

const MEBIBYTE: u128 = 1 << 20;
/// The default of `maxMemory`, as a multiple of the spec's memory.
const MAX_FACTOR: u128 = 16;
/// Most digits of a quantity that is read as an amount of memory.
const MAX_DIGITS: usize = 18;

/// What is wrong with the policy, given the resources in the spec and its overrides, as a message to the spec's author.
pub fn problem(policy: &OnOutOfMemory, resources: &[&Value]) -> Option<String> {
    let OnOutOfMemory { memory_multiplier, max_memory } = policy;
    if let Some(multiplier) = memory_multiplier
        && factor(multiplier).is_none_or(|factor| factor == Factor::ONE)
    {
        return Some(format!(
            "memoryMultiplier {multiplier:?} is not a number above 1, up to 1000, with at most four decimals"
        ));
    }
    let max = match max_memory {
        None => None,
        Some(max) => match bytes_of(max) {
            None => return Some(format!("maxMemory {max:?} is not an amount of memory such as 4Gi")),
            some => some,
        },
    };
    let given: Vec<(&str, u128)> = resources.iter().flat_map(|resources| amounts(resources)).collect();
    if given.is_empty() {
        return Some("there is nothing to multiply: give the main container a memory limit or request".into());
    }
    if max.is_some_and(|max| given.iter().all(|(_, bytes)| *bytes == max)) {
        return Some(
            "maxMemory is what the main container has already: raise it, or there is nothing more to give".into(),
        );
    }
    let above = given.into_iter().find(|(_, bytes)| max.is_some_and(|max| *bytes > max))?;
    Some(format!("maxMemory is below the {} that the main container has already: raise it", above.0))
}

/// The resources after `times` raises of the memory, requests and limits alike.
pub fn raised(resources: &Value, policy: &OnOutOfMemory, times: i32) -> Value {
    let mut raised = resources.clone();
    for kind in ["requests", "limits"] {
        let Some(memory) = raised.get_mut(kind).and_then(|amounts| amounts.get_mut("memory")) else { continue };
        if let Some(base) = bytes(memory) {
            let bytes = grown(base, policy, times);
            if bytes != base {
                *memory = text(bytes).into();
            }
        }
    }
    raised
}

/// Whether another raise would change the memory.
pub fn can_raise(resources: &Value, policy: &OnOutOfMemory, times: i32) -> bool {
    raised(resources, policy, times) != raised(resources, policy, times.saturating_add(1))
}

/// The memory limit, else the request, as a quantity such as `2Gi`. Empty if there is neither.
pub fn memory_text(resources: &Value) -> String {
    let memory = |kind: &str| resources.get(kind)?.get("memory").and_then(bytes);
    memory("limits").or_else(|| memory("requests")).map(text).unwrap_or_default()
}

fn grown(base: u128, policy: &OnOutOfMemory, times: i32) -> u128 {
    let factor = policy.memory_multiplier.as_ref().and_then(factor).unwrap_or(Factor::TWO);
    let most = policy.max_memory.as_ref().and_then(bytes_of).unwrap_or(base.saturating_mul(MAX_FACTOR)).max(base);
    let mut bytes = base;
    for _ in 0..times {
        let next = whole(factor.times(bytes)).min(most);
        if next <= bytes {
            break;
        }
        bytes = next;
    }
    bytes
}

/// Rounded up to whole mebibytes, so that people can read it. Amounts below one mebibyte stay as they are.
fn whole(bytes: u128) -> u128 {
    if bytes < MEBIBYTE { bytes } else { bytes.div_ceil(MEBIBYTE) * MEBIBYTE }
}

fn amounts(resources: &Value) -> Vec<(&'static str, u128)> {
    let memory = |kind: &'static str, name| Some((name, bytes(resources.get(kind)?.get("memory")?)?));
    [memory("limits", "memory limit"), memory("requests", "memory request")].into_iter().flatten().collect()
}

fn bytes(quantity: &Value) -> Option<u128> {
    match quantity {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn bytes_of(quantity: &IntOrText) -> Option<u128> {
    match quantity {
        IntOrText::Int(bytes) => u128::try_from(*bytes).ok().filter(|bytes| *bytes > 0),
        IntOrText::Text(text) => parse(text),
    }
}

/// The bytes of a quantity (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>),
/// rounded up. None if it is not a quantity, or not above 0.
pub fn parse(quantity: &str) -> Option<u128> {
    let end = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{decimals}");
    if digits.is_empty() || digits.len() > MAX_DIGITS || decimals.contains('.') {
        return None;
    }
    let (multiply, divide) = scale(suffix)?;
    let divide = divide * 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let bytes = digits.parse::<u128>().ok()?.checked_mul(multiply)?.div_ceil(divide);
    (bytes > 0).then_some(bytes)
}

fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let decimal = ["k", "M", "G", "T", "P", "E"];
    let power = |index: usize| u32::try_from(index + 1).ok();
    if let Some(index) = binary.iter().position(|known| *known == suffix) {
        return Some((1024u128.pow(power(index)?), 1));
    }
    if let Some(index) = decimal.iter().position(|known| *known == suffix) {
        return Some((1000u128.pow(power(index)?), 1));
    }
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1000)),
        "u" => Some((1, 1_000_000)),
        "n" => Some((1, 1_000_000_000)),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10u128.pow(Some(exponent.unsigned_abs()).filter(|n| *n <= 18)?);
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

/// As a quantity, in the largest unit in which it is a whole number.
fn text(bytes: u128) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut amount = bytes;
    let mut unit = units[0];
    for larger in &units[1..] {
        if !amount.is_multiple_of(1024) {
            break;
        }
        (amount, unit) = (amount / 1024, larger);
    }
    format!("{amount}{unit}")
}

#[cfg(test)]
mod tests;
