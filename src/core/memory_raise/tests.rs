use super::*;
use crate::api::Multiplier;
use proptest::prelude::*;
use serde_json::json;

fn policy(multiplier: &str, max: &str) -> OnOutOfMemory {
    let max = (!max.is_empty()).then(|| IntOrText::Text(max.into()));
    OnOutOfMemory { memory_multiplier: Some(Multiplier::Decimal(multiplier.into())), max_memory: max }
}

fn limits(policy: &OnOutOfMemory, base: &Value) -> Vec<String> {
    let of = |times| raised(&json!({"limits": {"memory": base}}), policy, times)["limits"]["memory"].clone();
    (0..6).map(|times| of(times).to_string().replace('"', "")).collect()
}

#[test]
fn memory_grows_by_the_factor_up_to_the_limit() {
    let cases = [
        (policy("1.5", "1Gi"), json!("256Mi"), ["256Mi", "384Mi", "576Mi", "864Mi", "1Gi", "1Gi"]),
        (OnOutOfMemory::default(), json!("64Mi"), ["64Mi", "128Mi", "256Mi", "512Mi", "1Gi", "1Gi"]),
        (policy("2", "500M"), json!("100M"), ["100M", "191Mi", "382Mi", "500000000", "500000000", "500000000"]),
        (policy("10", "2Gi"), json!(1024), ["1024", "10Ki", "100Ki", "1000Ki", "10Mi", "100Mi"]),
        (policy("2", "1Gi"), json!("4Gi"), ["4Gi"; 6]),
        (policy("2", ""), json!("nonsense"), ["nonsense"; 6]),
    ];
    for (policy, base, expected) in cases {
        assert_eq!(limits(&policy, &base), expected, "{policy:?}");
    }
}

#[test]
fn requests_grow_with_the_limits_and_all_else_stays() {
    let base = json!({"requests": {"memory": "64Mi", "cpu": "1"}, "limits": {"memory": "128Mi"}, "claims": []});
    let twice = json!({"requests": {"memory": "256Mi", "cpu": "1"}, "limits": {"memory": "512Mi"}, "claims": []});
    assert_eq!(raised(&base, &policy("2", "8Gi"), 2), twice);
    assert!(can_raise(&base, &policy("2", "200Mi"), 1) && !can_raise(&base, &policy("2", "200Mi"), 2));
}

#[test]
fn quantities_are_read_as_kubernetes_writes_them() {
    let cases = [
        ("128974848", 128_974_848),
        ("129e6", 129_000_000),
        ("129M", 129_000_000),
        ("128974848000m", 128_974_848),
        ("123Mi", 128_974_848),
        ("1.5Gi", 1_610_612_736),
        (".5Ki", 512),
        ("1E", 1_000_000_000_000_000_000),
        ("1E3", 1000),
        ("1n", 1),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), Some(expected), "{text}");
    }
    for text in ["", "Mi", "1.2.3", "-1", "1 Mi", "1KiB", "0", "0Gi", "1e999", "9999999999999999999"] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn a_policy_that_cannot_work_is_reported() {
    let some = json!({"limits": {"memory": "2Gi"}});
    let cases = [
        (policy("1", "4Gi"), Some(&some), "above 1"),
        (policy("2", "lots"), Some(&some), "not an amount of memory"),
        (policy("2", "1Gi"), Some(&some), "below the memory limit"),
        (policy("2", "4Gi"), None, "nothing to multiply"),
    ];
    for (policy, resources, expected) in cases {
        let resources: Vec<&Value> = resources.into_iter().collect();
        assert!(problem(&policy, &resources).is_some_and(|text| text.contains(expected)), "{policy:?}");
    }
    assert_eq!(problem(&policy("1.5", "4Gi"), &[&some]), None);
}

proptest! {
    #[test]
    fn memory_never_shrinks_and_never_passes_its_limit(
        base in 1u64..1 << 50, max in 1u64..1 << 50, factor in 10_001u32..10_000_000, times in any::<i32>(),
    ) {
        let multiplier = format!("{}.{:04}", factor / 10_000, factor % 10_000);
        let grown = grown(u128::from(base), &policy(&multiplier, &max.to_string()), times);
        prop_assert!(grown >= u128::from(base) && grown <= u128::from(base.max(max)));
    }
}
