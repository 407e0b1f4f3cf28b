use super::*;
use crate::core::testing::at;
use serde_json::json;

fn event(fields: &serde_json::Value) -> Event {
    let mut event = json!({"metadata": {}, "involvedObject": {}, "type": "Warning"});
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(event).unwrap()
}

#[test]
fn the_newest_warning_is_found_by_any_of_its_times() {
    let (early, later) = (at(10).to_string(), at(20).to_string());
    let newest = [
        json!({"lastTimestamp": later}),
        json!({"eventTime": later}),
        json!({"series": {"count": 2, "lastObservedTime": later}, "eventTime": early}),
        json!({"metadata": {"creationTimestamp": later}}),
    ];
    for mut newest in newest {
        newest["reason"] = json!("FailedMount");
        newest["message"] = json!("configmap \"nope\" not found\u{1b}[31m");
        let older = event(&json!({"reason": "FailedScheduling", "lastTimestamp": early}));
        let normal = event(&json!({"type": "Normal", "reason": "Pulled", "lastTimestamp": at(30).to_string()}));
        let timeless = event(&json!({"reason": "Odd"}));
        let events = [older, event(&newest), normal, timeless];
        let warning = newest_warning(&events).unwrap();
        assert_eq!((warning.hold_up.reason.as_str(), warning.last_seen), ("FailedMount", Some(at(20))));
        assert_eq!(warning.hold_up.message.as_deref(), Some("configmap \"nope\" not found"));
    }
    assert_eq!(newest_warning(&[event(&json!({"reason": ""}))]), None);
}

#[test]
fn the_container_that_it_is_about_is_named() {
    let of = |path: &str| {
        let event = event(&json!({
            "involvedObject": {"fieldPath": path}, "reason": "Unhealthy", "message": "Startup probe failed: ",
        }));
        newest_warning(&[event]).unwrap().hold_up.message.unwrap()
    };
    assert_eq!(of("spec.initContainers{proxy}"), "container proxy: Startup probe failed:");
    for odd in ["", "spec", "spec.containers{}", "}{"] {
        assert_eq!(of(odd), "Startup probe failed:", "{odd}");
    }
}
