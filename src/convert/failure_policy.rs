//! A Job's podFailurePolicy, rule by rule.

use super::notes::Notes;
use super::pod_template::PodTemplate;
use super::{Options, mapping};
use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use serde_yaml_ng::{Mapping, Value};

/// How often an end may be ignored where a Job has no limit.
const ENDLESS: i32 = 1000;
/// Most exit codes and ranges of a matcher.
const MAX_CODES: usize = 64;

/// The rules, in their order.
pub(super) fn convert(
    policy: &PodFailurePolicy,
    template: &PodTemplate,
    options: Options,
    notes: &mut Notes,
) -> Vec<Value> {
    let PodFailurePolicy { rules } = policy;
    if rules.iter().any(|rule| rule.on_exit_codes.is_some()) && template.has_several() {
        let text = "a Job's rule matches the exit code of any container; here it is the one that decides, \
                    with AllContainers the first that failed";
        notes.differs("spec.podFailurePolicy", Some("rules"), text);
    }
    let converted = rules.iter().enumerate();
    converted.filter_map(|(index, one)| Some(rule(one, index, template, options, notes)?.into())).collect()
}

fn rule(
    rule: &PodFailurePolicyRule,
    index: usize,
    template: &PodTemplate,
    options: Options,
    notes: &mut Notes,
) -> Option<Mapping> {
    let PodFailurePolicyRule { action, on_exit_codes, on_pod_conditions } = rule;
    let path = format!("spec.podFailurePolicy.rules[{index}]");
    let action = match action.as_str() {
        "FailJob" => "Fail",
        "Ignore" => "Ignore",
        "Count" => "Retry",
        "FailIndex" if options.expand => "Fail",
        "FailIndex" => {
            notes.refuse(&format!("{path}.action"), "FailIndex is for indexed Jobs: convert with --expand");
            return None;
        }
        other => {
            notes.refuse(&format!("{path}.action"), &format!("there is no action {other:?}"));
            return None;
        }
    };
    let conditions = on_pod_conditions.as_ref().filter(|patterns| !patterns.is_empty());
    let when = match (on_exit_codes, conditions) {
        (Some(requirement), None) => exit_codes(requirement, &path, template, notes)?,
        (None, Some(patterns)) => pod_conditions(patterns, &path, notes)?,
        _ => {
            notes.refuse(&path, "a rule has either onExitCodes or onPodConditions: give one of them");
            return None;
        }
    };
    let mut converted =
        mapping([("name", format!("rule-{}", index + 1).into()), ("when", when.into()), ("action", action.into())]);
    if action == "Ignore" && !options.modern {
        converted.insert("maxRetries".into(), ENDLESS.into());
        notes.comment("rules", "A Job ignores without limit. Without maxRetries, ten of them are free here.");
    }
    Some(converted)
}

fn exit_codes(
    requirement: &PodFailurePolicyOnExitCodesRequirement,
    path: &str,
    template: &PodTemplate,
    notes: &mut Notes,
) -> Option<Mapping> {
    let PodFailurePolicyOnExitCodesRequirement { container_name, operator, values } = requirement;
    let path = format!("{path}.onExitCodes");
    if let Some(name) = container_name.as_ref().filter(|name| Some(name.as_str()) != template.main()) {
        let text = format!(
            "a rule matches the container that decides, which is {:?}: remove the rule, or make {name:?} the main \
             container by the annotation kubectl.kubernetes.io/default-container of the template",
            template.main().unwrap_or_default()
        );
        notes.refuse(&format!("{path}.containerName"), &text);
        return None;
    }
    let ranges = ranges(values);
    let is_in = match operator.as_str() {
        "In" => true,
        "NotIn" => false,
        other => {
            notes.refuse(&format!("{path}.operator"), &format!("there is no operator {other:?}: use In or NotIn"));
            return None;
        }
    };
    // No failure has exit code 0, so NotIn [0] is every exit code.
    let (key, ranges) = match (is_in, ranges.is_empty()) {
        (true, true) => {
            notes.refuse(&format!("{path}.values"), "no failure ends with one of these: use codes from 1 to 255");
            return None;
        }
        (true, false) => ("exitCodes", ranges),
        (false, true) => ("exitCodes", vec!["1-255".into()]),
        (false, false) => ("notExitCodes", ranges),
    };
    if ranges.len() > MAX_CODES {
        let text =
            format!("a rule has at most {MAX_CODES} exit codes and ranges, and these are {}: split it", ranges.len());
        notes.refuse(&format!("{path}.values"), &text);
        return None;
    }
    Some(mapping([(key, ranges.into())]))
}

/// The codes that a container can end with, neighbours as ranges.
pub(super) fn ranges(values: &[i32]) -> Vec<Value> {
    let mut codes: Vec<i32> = values.iter().copied().filter(|code| (1..=255).contains(code)).collect();
    codes.sort_unstable();
    codes.dedup();
    let neighbours = codes.chunk_by(|a, b| a + 1 == *b);
    let text = |chunk: &[i32]| match chunk {
        [first, .., last] if last - first > 1 => vec![Value::from(format!("{first}-{last}"))],
        few => few.iter().map(|code| Value::from(*code)).collect(),
    };
    neighbours.flat_map(text).collect()
}

fn pod_conditions(
    patterns: &[PodFailurePolicyOnPodConditionsPattern],
    path: &str,
    notes: &mut Notes,
) -> Option<Mapping> {
    let mut types: Vec<Value> = vec![];
    for (index, PodFailurePolicyOnPodConditionsPattern { status, type_ }) in patterns.iter().enumerate() {
        if let Some(status) = status.as_ref().filter(|status| *status != "True") {
            let text = format!("a rule matches conditions that are true, not {status:?}: remove the pattern");
            notes.refuse(&format!("{path}.onPodConditions[{index}].status"), &text);
            return None;
        }
        types.push(type_.as_str().into());
    }
    Some(mapping([("podConditions", types.into())]))
}
