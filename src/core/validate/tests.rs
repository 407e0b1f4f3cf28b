use super::problem;
use crate::core::main_container::DEFAULT_CONTAINER;
use crate::core::testing::task_with;
use serde_json::{Value, json};

#[test]
fn problems_of_a_spec_are_named() {
    let of = |spec| problem(&task_with(spec).spec);
    let nothing = [
        json!({}),
        json!({"template": {}}),
        json!({"template": {"spec": {"containers": []}}}),
        json!({"template": {"spec": {"containers": {}}}}),
    ];
    for spec in nothing {
        assert!(of(spec.clone()).is_some_and(|text| text.contains("spec.image")), "{spec}");
    }
    let odd = of(json!({"image": "x", "backoff": {"multiplier": "a"}}));
    assert!(odd.is_some_and(|text| text.contains("multiplier")));
    assert_eq!(of(json!({"image": "x"})), None);
    assert_eq!(of(json!({"template": {"spec": {"containers": [{"name": "a"}]}}})), None);
}

/// What an older definition let through, or an API server that does not know the rules of this one.
#[test]
fn problems_of_a_template_are_named() {
    let spec = |template: &Value| json!({"image": "x", "template": template});
    let fallback = |template: &Value| json!({"image": "x", "onFailure": {"image": "y", "template": template}});
    let annotated = |name: &str, containers: Value| json!({"metadata": {"annotations": {DEFAULT_CONTAINER: name}}, "spec": {"containers": containers}});
    let task = |field: &str, value: Value| json!({"spec": {"containers": [{"name": "task", field: value}]}});
    let init = |field: &str, value: Value| json!({"spec": {"initContainers": [{"name": "setup", field: value}]}});
    let bad = [
        (json!({"spec": {"containers": [{"name": "main"}]}}), "name the container that does the work task"),
        (annotated("a", json!([])), "names the main container"),
        (annotated("a", json!([{"name": "task"}])), "names the main container"),
        (annotated("a", json!([{"name": "a"}, {"name": "task"}])), "names the main container"),
        (task("restartPolicy", json!("OnFailure")), "container task would be run again"),
        (task("restartPolicy", json!("Always")), "restartPolicy is Never or left out"),
        (task("restartPolicyRules", json!([{"action": "Restart"}])), "remove restartPolicyRules"),
        (init("restartPolicy", json!("OnFailure")), "restartPolicy is Always or Never"),
        (init("restartPolicyRules", json!([{"action": "Restart"}])), "remove restartPolicyRules"),
    ];
    let of = |spec: Value| problem(&task_with(spec).spec);
    for (template, words) in &bad {
        for (spec, place) in [(spec(template), "spec."), (fallback(template), "spec.onFailure.")] {
            let said = of(spec).unwrap_or_default();
            assert!(said.contains(words) && said.starts_with(place), "{template}: {said}");
        }
    }
    let good = [
        annotated("a", json!([{"name": "b"}, {"name": "a"}])),
        annotated("task", json!([])),
        task("restartPolicy", json!("Never")),
        task("restartPolicyRules", json!([])),
        init("restartPolicy", json!("Always")),
        init("restartPolicy", Value::Null),
    ];
    for template in &good {
        assert_eq!((of(spec(template)), of(fallback(template))), (None, None), "{template}");
    }
    let without_image =
        json!({"image": "x", "onFailure": {"template": {"spec": {"containers": [{"name": "notify"}]}}}});
    assert_eq!(of(without_image), None, "the first of the fallback's own containers");
}

#[test]
fn without_memory_in_the_spec_there_is_nothing_to_raise() {
    let message = problem(&task_with(json!({"image": "x", "onOutOfMemory": {}})).spec).unwrap();
    assert!(message.starts_with("spec.onOutOfMemory: there is nothing to multiply"), "{message}");
}
