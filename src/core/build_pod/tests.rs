use super::*;
use crate::api::LastFailure;
use crate::core::testing::{BuildTask, NAME, NAMESPACE, UID, task, task_with};

fn pod_of(spec: Value) -> Value {
    pod(&task_with(spec), 2, true)
}

fn at<'a>(pod: &'a Value, pointer: &str) -> &'a Value {
    pod.pointer(pointer).unwrap_or(&Value::Null)
}

/// The names of a container's variables, in order.
fn env_names(container: &Value) -> Vec<&str> {
    container["env"].as_array().unwrap().iter().filter_map(name_of).collect()
}

fn env<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array().unwrap();
    variables.iter().find(|variable| name_of(variable) == Some(name))?["value"].as_str()
}

#[test]
fn a_pod_has_labels_an_owner_and_the_finalizer() {
    let pod = pod(&task(), 2, true);
    assert_eq!((&pod["apiVersion"], &pod["kind"]), (&json!("v1"), &json!("Pod")));
    let expected = json!({
        "name": pod_name(NAME, UID, 2),
        "namespace": NAMESPACE,
        "labels": {LABEL_TASK_NAME: NAME, LABEL_TASK_UID: UID, LABEL_ATTEMPT: "2"},
        "annotations": {
            DEFAULT_CONTAINER: "task", ANNOTATION_GENERATION: "1",
            ANNOTATION_TEMPLATE_HASH: template_hash(&task(), 2.into()),
        },
        "finalizers": [FINALIZER],
        "ownerReferences": [{
            "apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "name": NAME, "uid": UID,
            "controller": true, "blockOwnerDeletion": true,
        }],
    });
    assert_eq!(pod["metadata"], expected);
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    let free = super::pod(&task(), 2, false);
    assert_eq!(free["metadata"].get("finalizers"), None, "in the operator's own namespace");
}

#[test]
fn a_pod_has_the_tasks_labels_for_kueue_and_no_others() {
    let label = |name: &str| format!("kueue.x-k8s.io/{name}");
    let names = ["queue-name", "priority-class", "max-exec-time-seconds"];
    let labelled = |task: RetryableTask| {
        let own = names.map(|name| (label(name), format!("task-{name}")));
        task.change(|task| task.metadata.labels = Some(own.into_iter().chain([("team".into(), "a".into())]).collect()))
    };
    let labels = super::pod(&labelled(task()), 1, true)["metadata"]["labels"].clone();
    for name in names {
        assert_eq!(labels[label(name)], format!("task-{name}"));
    }
    assert_eq!(labels.as_object().unwrap().len(), 3 + 3, "{labels}");
    let fallback = super::pod(&labelled(task()), Slot { number: 1, fallback: true }, true);
    assert_eq!(fallback["metadata"]["labels"][label("queue-name")], "task-queue-name", "it needs room too");
    let of_template = json!({"metadata": {"labels": {label("queue-name"): "other"}}});
    let labels = super::pod(&labelled(task().template(of_template)), 1, true)["metadata"]["labels"].clone();
    assert_eq!(
        (&labels[label("queue-name")], &labels[label("priority-class")]),
        (&json!("other"), &json!("task-priority-class"))
    );
    assert_eq!(template_hash(&labelled(task()), 1.into()), template_hash(&task(), 1.into()), "no label replaces a Pod");
}

#[test]
fn the_main_container_comes_from_the_spec() {
    let pod = pod_of(json!({
        "image": "busybox", "command": ["sh"], "args": ["-c", "true"], "resources": {"limits": {"memory": "1Gi"}},
        "envFrom": [{"secretRef": {"name": "s"}}],
    }));
    let containers = at(&pod, "/spec/containers").as_array().unwrap();
    assert_eq!(containers.len(), 1);
    let mut main = containers[0].clone();
    main.as_object_mut().unwrap().remove("env");
    let expected = json!({
        "name": "task", "image": "busybox", "command": ["sh"], "args": ["-c", "true"],
        "resources": {"limits": {"memory": "1Gi"}}, "envFrom": [{"secretRef": {"name": "s"}}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    assert_eq!(main, expected);
}

#[test]
fn the_main_container_is_named_task_added_or_the_first() {
    let two = json!({"spec": {"containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]}});
    let mut annotated = two.clone();
    annotated["metadata"] = json!({"annotations": {DEFAULT_CONTAINER: "b"}});
    let with_task = json!({"spec": {"containers": [{"name": "a", "image": "a"}, {"name": "task", "image": "b"}]}});
    let cases = [
        (json!({"template": two}), "a", vec![("a", "a"), ("b", "b")]),
        (json!({"template": {"spec": {}}, "image": "x"}), "task", vec![("task", "x")]),
        (json!({"template": annotated, "image": "x"}), "b", vec![("a", "a"), ("b", "x")]),
        (json!({"template": annotated}), "b", vec![("a", "a"), ("b", "b")]),
        (json!({"template": with_task}), "task", vec![("a", "a"), ("task", "b")]),
        (json!({"template": with_task, "image": "x"}), "task", vec![("a", "a"), ("task", "x")]),
    ];
    for (spec, main, expected) in cases {
        let pod = pod_of(spec.clone());
        let containers = at(&pod, "/spec/containers").as_array().unwrap();
        let found: Vec<_> = containers.iter().map(|c| (name_of(c).unwrap(), c["image"].as_str().unwrap())).collect();
        assert_eq!(found, expected, "{spec}");
        assert_eq!(pod["metadata"]["annotations"][DEFAULT_CONTAINER], main, "{spec}");
        for container in containers {
            let is_main = name_of(container) == Some(main);
            assert_eq!(container.get("terminationMessagePolicy").is_some(), is_main, "{spec}");
        }
    }
}

#[test]
fn the_end_of_an_init_containers_log_is_the_message() {
    let own = json!({"name": "b", "terminationMessagePolicy": "File"});
    let pod = pod_of(json!({"image": "x", "template": {"spec": {"initContainers": [{"name": "a"}, own]}}}));
    let policies = ["0", "1"].map(|n| at(&pod, &format!("/spec/initContainers/{n}/terminationMessagePolicy")));
    assert_eq!(policies, ["FallbackToLogsOnError", "File"]);
}

#[test]
fn the_template_is_merged_with_the_spec() {
    let pod = pod_of(json!({
        "image": "x",
        "command": ["spec"],
        "template": {
            "metadata": {
                "labels": {"team": "a", LABEL_ATTEMPT: "99", "retryable.dev/other": "x"},
                "annotations": {"note": "b", DEFAULT_CONTAINER: "other"},
            },
            "spec": {
                "serviceAccountName": "sa",
                "restartPolicy": "Never",
                "fieldOfTomorrow": {"a": [1]},
                "containers": [{
                    "name": "task", "command": ["template"], "workingDir": "/", "terminationMessagePolicy": "File",
                    "fieldOfTomorrow": true,
                }],
            },
        },
    }));
    assert_eq!(at(&pod, "/spec/serviceAccountName"), "sa");
    assert_eq!(at(&pod, "/spec/fieldOfTomorrow"), &json!({"a": [1]}), "the API server is to judge it");
    let main = at(&pod, "/spec/containers/0");
    assert_eq!((&main["command"], &main["workingDir"]), (&json!(["spec"]), &json!("/")));
    assert_eq!((&main["terminationMessagePolicy"], &main["fieldOfTomorrow"]), (&json!("File"), &json!(true)));
    let labels = json!({"team": "a", LABEL_TASK_NAME: NAME, LABEL_TASK_UID: UID, LABEL_ATTEMPT: "2"});
    assert_eq!(pod["metadata"]["labels"], labels, "our labels are our word");
    let hash = &pod["metadata"]["annotations"][ANNOTATION_TEMPLATE_HASH];
    assert_eq!(
        pod["metadata"]["annotations"],
        json!({"note": "b", DEFAULT_CONTAINER: "task", ANNOTATION_GENERATION: "1", ANNOTATION_TEMPLATE_HASH: hash})
    );
}

#[test]
fn of_a_templates_metadata_only_labels_and_annotations_count() {
    let metadata = json!({
        "name": "meta", "namespace": "other", "uid": "u", "resourceVersion": "7", "creationTimestamp": null,
        "ownerReferences": [{"name": "x"}], "labels": {"team": "a"},
    });
    let pod = pod_of(json!({"image": "x", "template": {"metadata": metadata}}));
    let plain = pod_of(json!({"image": "x", "template": {"metadata": {"labels": {"team": "a"}}}}));
    assert_eq!(pod, plain);
}

#[test]
fn an_annotation_says_if_all_containers_decide() {
    let says = |spec| pod_of(spec)["metadata"]["annotations"][ANNOTATION_COMPLETION].clone();
    assert_eq!(says(json!({"image": "x", "completion": "AllContainers"})), "AllContainers");
    assert_eq!(says(json!({"image": "x"})), Value::Null);
    let template = json!({"spec": {"containers": [{"name": "task"}, {"name": "upload"}]}});
    let policy = |completion: &str| {
        let pod = pod_of(json!({"image": "x", "template": template, "completion": completion}));
        at(&pod, "/spec/containers/1/terminationMessagePolicy").clone()
    };
    assert_eq!(policy("AllContainers"), "FallbackToLogsOnError", "the end of its log says why, should it fail");
    assert_eq!(policy("MainContainer"), Value::Null);
}

#[test]
fn a_template_cannot_make_a_pod_restart() {
    let pod = pod_of(json!({"image": "x", "template": {"spec": {"restartPolicy": "Always"}}}));
    assert_eq!(at(&pod, "/spec/restartPolicy"), "Never");
}

#[test]
fn every_container_has_the_environment_of_the_attempt() {
    let template = json!({"spec": {
        "containers": [{"name": "proxy", "env": [{"name": "A", "value": "1"}]}],
        "initContainers": [{"name": "setup"}],
    }});
    let pod = pod(&task().max_retries(7).template(template), 2, true);
    for pointer in ["/spec/containers/0", "/spec/containers/1", "/spec/initContainers/0"] {
        let container = at(&pod, pointer);
        assert_eq!(env(container, "RETRYABLE_TASK_NAME"), Some(NAME), "{pointer}");
        assert_eq!(env(container, "RETRYABLE_TASK_UID"), Some(UID));
        assert_eq!(env(container, "RETRYABLE_ATTEMPT"), Some("2"));
        assert_eq!(env(container, "RETRYABLE_MAX_RETRIES"), Some("7"));
        assert_eq!(env(container, "TRACEPARENT"), Some(traceparent(UID, 2).as_str()));
        assert_eq!(env(container, "RETRYABLE_LAST_REASON"), None, "nothing has failed");
        assert_eq!(env(container, "RETRYABLE_LAST_EXIT_CODE"), None);
    }
    assert_eq!(env(at(&pod, "/spec/containers/1"), "A"), Some("1"));
}

#[test]
fn the_environment_of_a_retry_has_the_last_failure() {
    let after = |exit_code| {
        let last = LastFailure { attempt: 1, reason: "OOMKilled".into(), exit_code, message: None };
        let mut task = task();
        task.status.get_or_insert_default().last_failure = Some(last);
        pod(&task, 2, true)
    };
    let main = |pod: &Value| at(pod, "/spec/containers/0").clone();
    let container = main(&after(Some(137)));
    assert_eq!(env(&container, "RETRYABLE_LAST_REASON"), Some("OOMKilled"));
    assert_eq!(env(&container, "RETRYABLE_LAST_EXIT_CODE"), Some("137"));
    let container = main(&after(None));
    assert_eq!(env(&container, "RETRYABLE_LAST_REASON"), Some("OOMKilled"));
    assert_eq!(env(&container, "RETRYABLE_LAST_EXIT_CODE"), None);
}

#[test]
fn variables_of_the_operator_come_first_then_the_templates_then_the_specs() {
    let pod = pod_of(json!({
        "image": "x",
        "env": [{"name": "B", "value": "spec"}, {"name": "C", "value": "$(RETRYABLE_ATTEMPT)"}],
        "envFrom": [{"configMapRef": {"name": "spec"}}],
        "template": {"spec": {"containers": [{
            "name": "task",
            "env": [{"name": "A", "value": "t"}, {"name": "B", "value": "t"}, {"name": "RETRYABLE_ATTEMPT", "value": "t"}],
            "envFrom": [{"configMapRef": {"name": "template"}}],
        }]}},
    }));
    let main = at(&pod, "/spec/containers/0");
    let names = env_names(main);
    let users = names.iter().position(|name| *name == "A").unwrap();
    assert!(names[..users].iter().all(|name| name.starts_with("RETRYABLE_") || *name == "TRACEPARENT"), "{names:?}");
    assert_eq!(names[users..], ["A", "B", "C"], "each once");
    assert_eq!((env(main, "B"), env(main, "RETRYABLE_ATTEMPT")), (Some("spec"), Some("2")));
    let sources: Vec<_> = main["envFrom"].as_array().unwrap().iter().map(|s| &s["configMapRef"]["name"]).collect();
    assert_eq!(sources, ["template", "spec"], "a later source wins: the spec's");
}
