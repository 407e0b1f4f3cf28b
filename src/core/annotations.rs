//! The annotations of this group: requests, and those that ask for nothing.

use crate::api::{Acknowledged, GROUP};
use crate::core::did_you_mean::nearest;
use crate::core::message::{MAX_WORD_BYTES, short};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// Most unknown annotations that are acknowledged at a time.
const MAX_UNKNOWN: usize = 4;

/// The value of a request that has not been acknowledged, as it is stored.
pub fn pending(
    annotations: Option<&BTreeMap<String, String>>,
    acknowledged: &[Acknowledged],
    annotation: &str,
) -> Option<String> {
    let value = short(annotations?.get(annotation)?, MAX_WORD_BYTES);
    let known = acknowledged.iter().find(|known| known.annotation == annotation);
    known.is_none_or(|known| known.value != value).then_some(value)
}

/// Acknowledges unknown annotations of this group once as unknown: a misspelt request would otherwise do nothing and say
/// nothing. One that is removed is forgotten. `requests` are the annotations that ask for something, `others` those that
/// have another meaning. Returns what is said of the new ones.
pub fn acknowledge_unknown(
    annotations: Option<&BTreeMap<String, String>>,
    requests: &[&'static str],
    others: &[&str],
    now: Timestamp,
    acknowledged: &mut Vec<Acknowledged>,
) -> Vec<String> {
    let is_request = |name: &str| requests.contains(&name);
    let has = |name: &str| annotations.is_some_and(|all| all.contains_key(name));
    acknowledged.retain(|known| is_request(&known.annotation) || has(&known.annotation));
    let is_ours = |name: &str| name.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    let is_unknown = |name: &str| is_ours(name) && !is_request(name) && !others.contains(&name);
    let mut effects = Vec::new();
    for (name, value) in annotations.into_iter().flatten().filter(|(name, _)| is_unknown(name)) {
        let unknown = acknowledged.iter().filter(|known| !is_request(&known.annotation)).count();
        if unknown >= MAX_UNKNOWN || acknowledged.iter().any(|known| known.annotation == *name) {
            continue;
        }
        let effect = effect(name, requests);
        let (annotation, value) = (name.clone(), short(value, MAX_WORD_BYTES));
        acknowledged.push(Acknowledged { annotation, value, time: Time(now), effect: effect.clone() });
        effects.push(effect);
    }
    effects
}

fn effect(name: &str, requests: &[&'static str]) -> String {
    let last = |annotation: &&'static str| annotation.rsplit('/').next().unwrap_or_default();
    let words: Vec<&str> = requests.iter().map(last).collect();
    let meant = nearest(name.rsplit('/').next().unwrap_or_default(), &words);
    let meant = meant.map(|meant| format!("; did you mean {GROUP}/{meant}?")).unwrap_or_default();
    format!("unknown annotation {name}, which does nothing: known are {}{meant}", requests.join(", "))
}
