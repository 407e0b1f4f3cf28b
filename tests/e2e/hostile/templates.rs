//! Templates that ask for too much: they get what a Pod of their author gets, and no more.

use super::{Author, creations};
use crate::support::manifest::IMAGE;
use crate::support::{Scene, kubectl, sh};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use retryable_tasks::api::{
    ConditionType, FINALIZER, LABEL_ATTEMPT, LABEL_FALLBACK, LABEL_TASK_NAME, LABEL_TASK_UID, RetryableTaskStatus,
    State,
};
use retryable_tasks::core::condition_list;
use retryable_tasks::core::pod_name::pod_name;
use retryable_tasks::core::slot::Slot;
use serde_json::{Value, json};

fn is_stalled(status: &RetryableTaskStatus) -> bool {
    condition_list::is_true(&status.conditions, ConditionType::Stalled)
}

/// What the standard says, without what stands before it.
fn violation(text: &str) -> &str {
    &text[text.find("violates PodSecurity").unwrap_or_else(|| panic!("no violation: {text}"))..]
}

#[tokio::test]
async fn host_access_is_refused_as_to_the_author() {
    let scene = Scene::new("restricted").await;
    let author = Author::of(&scene);
    let standard = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "namespace", &scene.namespace, standard]).ok();
    let _operator = scene.operator().await;
    let container = |more: Value| json!([{"name": "task", "securityContext": more}]);
    let hostile = [
        ("host-pid", json!({"hostPID": true})),
        ("host-path", json!({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]})),
        ("privileged", json!({"containers": container(json!({"privileged": true}))})),
    ];
    for (name, spec) in &hostile {
        scene.apply(&sh(name, "true", &json!({"template": {"spec": spec}})));
    }
    for (name, spec) in &hostile {
        let twice = |status: &RetryableTaskStatus| status.current.as_ref().is_some_and(|now| now.rejections >= 2);
        let status = scene.status(name, "two rejections", twice).await;
        let message = status.message.clone().unwrap();

        let mut own = spec.clone();
        let mut main = own["containers"][0].clone();
        if main.is_null() {
            main = json!({"name": "task"});
        }
        main["image"] = json!(IMAGE);
        own["containers"] = json!([main]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own"}, "spec": own});
        let output = author.kubectl(&scene, &["create", "-f", "-"], &pod.to_string()).refused();
        assert_eq!(violation(&message).trim(), violation(&output).trim(), "{name}");

        assert!(is_stalled(&status) && status.reason.as_deref() == Some("PodRejected"), "{status:#?}");
        assert_eq!((status.attempts, status.history.len()), (0, 0));
        let status = scene.task(name).await.status.unwrap();
        let asked = creations(&scene, name);
        // Three came before anything was said, and one more may be on its way.
        let rejections = usize::try_from(status.current.unwrap().rejections).unwrap();
        assert!(asked.len() <= rejections + 4 && asked.iter().all(|(_, code)| *code == 403), "{asked:?}");
    }
    let narrow = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}});
    scene.apply(&sh("modest", "true", &json!({"template": {"spec": {"containers": container(narrow)}}})));
    assert_eq!(scene.finished("modest").await.state, Some(State::Succeeded));
    let pods = scene.pods().list(&ListParams::default()).await.unwrap();
    assert!(pods.iter().all(|pod| pod.name_any().starts_with("modest-")), "{pods:#?}");
}

#[tokio::test]
async fn a_task_has_the_service_accounts_of_its_namespace_as_its_author_has() {
    let scene = Scene::new("accounts").await;
    let other = scene.beside("accounts-other").await;
    let author = Author::of(&scene);
    scene.kubectl(&["create", "serviceaccount", "deployer"]).ok();
    other.kubectl(&["create", "serviceaccount", "theirs"]).ok();
    let _operator = scene.operator().await;
    for account in ["deployer", "theirs"] {
        let template = json!({"spec": {"serviceAccountName": account}});
        scene.apply(&sh(account, "true", &json!({"template": template})));
    }
    assert_eq!(scene.finished("deployer").await.state, Some(State::Succeeded));
    let pod = scene.pod_of("deployer", 1).await;
    assert_eq!(pod.spec.unwrap().service_account_name.as_deref(), Some("deployer"));
    let message = scene.status("theirs", "Stalled", is_stalled).await.message.unwrap();
    assert!(message.contains(r#"serviceaccount "theirs" not found"#), "{message}");

    let own = |account: &str| {
        let spec = json!({"serviceAccountName": account, "containers": [{"name": "task", "image": IMAGE}]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own"}, "spec": spec});
        author.kubectl(&scene, &["create", "--dry-run=server", "-f", "-"], &pod.to_string())
    };
    own("deployer").ok();
    assert!(own("theirs").refused().contains(r#"serviceaccount "theirs" not found"#));
}

/// Metadata that would be trouble, if it came through.
fn greedy() -> Value {
    json!({
        "name": "mine", "generateName": "mine-", "namespace": "kube-system", "finalizers": ["example.com/for-ever"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "1", "controller": true}],
        "labels": {"team": "blue", LABEL_TASK_UID: "another", LABEL_TASK_NAME: "another", LABEL_ATTEMPT: "7",
            "retryable.dev/fallback": "true", "retryable.dev/anything": "x"},
        "annotations": {"team": "blue", "retryable.dev/generation": "99", "retryable.dev/completion": "AllContainers"},
    })
}

fn assert_ours(scene: &Scene, uid: &str, pod: &Pod, slot: Slot) {
    assert_eq!(pod.name_any(), pod_name("greedy", uid, slot));
    assert_eq!(pod.namespace().as_deref(), Some(&*scene.namespace));
    assert!(pod.finalizers().iter().all(|finalizer| finalizer == FINALIZER), "{:?}", pod.finalizers());
    let [owner] = pod.owner_references() else { panic!("{:?}", pod.owner_references()) };
    assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("RetryableTask", uid, Some(true)));
    let number = slot.number.to_string();
    let mut labels =
        vec![(LABEL_ATTEMPT, &*number), (LABEL_TASK_NAME, "greedy"), (LABEL_TASK_UID, uid), ("team", "blue")];
    if slot.fallback {
        labels.insert(1, (LABEL_FALLBACK, "true"));
    }
    let found: Vec<_> = pod.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(found, labels);
    let annotation = |key: &str| pod.annotations().get(key).map(String::as_str);
    assert_eq!(annotation("team"), Some("blue"));
    assert_eq!(annotation("retryable.dev/generation"), Some("1"));
    assert_eq!(annotation("retryable.dev/completion"), None);
    assert_eq!(annotation("kubectl.kubernetes.io/default-container"), Some("task"));
}

#[tokio::test]
async fn a_template_cannot_set_the_fields_that_the_operator_sets() {
    let scene = Scene::new("greedy").await;
    let _operator = scene.operator().await;
    let env = json!([{"name": "RETRYABLE_ATTEMPT", "value": "9"}, {"name": "RETRYABLE_TASK_UID", "value": "another"}]);
    let template = json!({"metadata": greedy(), "spec": {"containers": [{"name": "task", "env": env}]}});
    let script = "echo $RETRYABLE_ATTEMPT $RETRYABLE_TASK_UID; exit 1";
    let more = json!({"maxRetries": 1, "backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}, "template": template,
        "podRetention": {"failed": 9, "succeeded": 9}, "env": env,
        "overrides": [{"fromAttempt": 2, "env": env}],
        "onFailure": {"image": IMAGE, "command": ["sh", "-c", "true"], "env": env, "template": template}});
    let manifest = sh("greedy", script, &more);
    let output = scene.try_apply(&manifest, &[]).refused();
    for template in ["spec.template", "spec.onFailure.template"] {
        let message = format!(r#"unknown field "{template}.metadata.finalizers""#);
        assert!(output.contains(&message), "it should say\n{message}\nand says\n{output}");
    }
    scene.try_apply(&manifest, &["--validate=ignore"]).ok();
    let status = scene.finished("greedy").await;
    let uid = scene.task("greedy").await.uid().unwrap();
    let output: Vec<_> = status.history.iter().map(|entry| entry.message.clone().unwrap_or_default()).collect();
    assert_eq!(output, [format!("1 {uid}"), format!("2 {uid}")]);
    assert_eq!(status.state, Some(State::Failed));
    let pods = scene.pods_of("greedy").await;
    let slots = [(1, false), (2, false), (2, true)].map(|(number, fallback)| Slot { number, fallback });
    assert_eq!(pods.len(), slots.len(), "{pods:#?}");
    for slot in slots {
        let name = pod_name("greedy", &uid, slot);
        let pod = pods.iter().find(|pod| pod.name_any() == name).unwrap_or_else(|| panic!("no {name}"));
        assert_ours(&scene, &uid, pod, slot);
    }
}
