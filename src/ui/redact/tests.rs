use super::*;
use serde_json::json;

#[test]
fn no_value_of_an_environment_is_shown_wherever_it_is() {
    let env = json!([{"name": "PASSWORD", "value": "s3cret"}, {"name": "FROM", "valueFrom": {"secretKeyRef": {"key": "k", "name": "n"}}}]);
    let containers = json!([{"name": "task", "env": env}]);
    let template = json!({"spec": {"containers": containers, "initContainers": containers}});
    let text = yaml(json!({
        "metadata": {
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "s3cret", "mine": "kept"},
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "env": env,
            "template": template,
            "onFailure": {"env": env, "template": template},
            "overrides": [{"fromAttempt": 2, "env": env}],
        },
    }));
    assert!(!text.contains("s3cret") && !text.contains("managedFields"), "{text}");
    for kept in ["mine: kept", "secretKeyRef", "name: PASSWORD", HIDDEN] {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    assert_eq!(text.matches(HIDDEN).count(), 7);
}
