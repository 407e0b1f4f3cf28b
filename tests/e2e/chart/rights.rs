//! What the operator may do, and what it may not.

use super::container_process::Process;
use super::release::Release;
use crate::kubectl_plugin::say;
use crate::support::{Scene, TIMEOUT, eventually, kubectl};
use serde_json::json;

/// What `kubectl auth can-i` says of a resource, RESOURCE or RESOURCE/SUBRESOURCE, or of an object, RESOURCE:NAME.
pub fn can(who: &str, verb: &str, what: &str, namespace: &str) -> bool {
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (resource, subresource) = (resource.replace(':', "/"), format!("--subresource={subresource}"));
    let answer =
        kubectl(&["auth", "can-i", verb, &resource, &subresource, "--namespace", namespace, "--as", who]).stdout;
    match answer.trim() {
        "yes" => true,
        "no" => false,
        other => panic!("can {who} {verb} {what}? {other:?}"),
    }
}

#[tokio::test]
async fn the_operator_has_few_rights_and_only_where_it_works() {
    let release = Release::install(Scene::with_home("chart-rights").await, &[]).await;
    let (tasks, home) = (&*release.scene.namespace, &*release.scene.home);
    let operator = release.scene.operator_user();
    // The plugin finds it by the chart's labels.
    let versions = say(&release.scene, &["version"]).await.out;
    let line = format!("Operator:    {} in namespace {home}\n", env!("CARGO_PKG_VERSION"));
    assert!(versions.contains(&line), "{versions}");
    for (verb, what) in [
        ("create", "pods"),
        ("delete", "pods"),
        ("patch", "pods"),
        ("watch", "retryabletasks.retryable.dev"),
        ("create", "retryabletasks.retryable.dev"),
        ("update", "retryabletasks.retryable.dev/status"),
        ("update", "retryabletasks.retryable.dev/finalizers"),
        ("create", "events.events.k8s.io"),
    ] {
        assert!(can(&operator, verb, what, tasks), "{verb} {what}");
        assert!(!can(&operator, verb, what, home), "{verb} {what} where it runs no tasks");
        assert!(!can(&operator, verb, what, "default"), "{verb} {what} elsewhere");
    }
    for namespace in [tasks, home, "kube-system"] {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            assert!(!can(&operator, verb, "secrets", namespace), "{verb} secrets in {namespace}");
        }
        for (verb, what) in [
            ("update", "retryabletasks.retryable.dev"),
            ("get", "configmaps"),
            ("create", "pods/exec"),
            ("create", "serviceaccounts/token"),
            ("create", "rolebindings.rbac.authorization.k8s.io"),
            ("delete", "leases.coordination.k8s.io"),
            ("*", "*"),
        ] {
            assert!(!can(&operator, verb, what, namespace), "{verb} {what} in {namespace}");
        }
    }
    assert!(can(&operator, "update", "leases.coordination.k8s.io:retryable-tasks", home));
    assert!(!can(&operator, "update", "leases.coordination.k8s.io:another", home));
    assert!(!can(&operator, "update", "leases.coordination.k8s.io:retryable-tasks", tasks));
}

#[tokio::test]
async fn the_operators_process_has_no_privileges() {
    // The image has no certificates, which a client of http must not look for.
    let traces = "traces.endpoint=http://collector.invalid:4318";
    let extras = ["networkPolicy.enabled=true", "flowSchema.enabled=true", "metrics.dashboards.enabled=true", traces];
    let settings = [&["replicas=1"], &extras[..]].concat();
    let release = Release::install(Scene::with_home("chart-process").await, &settings).await;
    let made = release
        .kubectl(&["get", "networkpolicy,configmap", "-l", "app.kubernetes.io/name=retryable-tasks", "-o", "name"])
        .ok();
    for name in ["networkpolicy.networking.k8s.io/retryable-tasks", "configmap/retryable-tasks-dashboard-tasks"] {
        assert!(made.lines().any(|line| line == name), "{made}");
    }
    its_requests_have_their_own_priority(&release).await;
    let [pod] = &release.operators().await[..] else { panic!("one replica was asked for") };
    let spec = serde_json::to_value(pod.spec.as_ref()).unwrap();
    let security = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(spec["securityContext"], security);
    let security = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(spec["containers"][0]["securityContext"], security);
    let process = Process::of(pod).await;
    assert_eq!(process.status("Uid"), ["65532"; 4]);
    assert_eq!(process.status("Gid"), ["65532"; 4]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(process.status(set), ["0000000000000000"], "{set}");
    }
    assert_eq!((process.status("NoNewPrivs"), process.status("Seccomp")), (vec!["1".to_owned()], vec!["2".to_owned()]));
    let root = process.mount_options("/");
    assert!(root.iter().any(|option| option == "ro"), "{root:?}");
}

/// The API server knows the FlowSchema's level, and counts requests under it.
async fn its_requests_have_their_own_priority(release: &Release) {
    let name = format!("{}-retryable-tasks", release.scene.home);
    kubectl(&["wait", "flowschema", &name, "--for=condition=Dangling=False", TIMEOUT]).ok();
    let counted = format!(
        r#"apiserver_flowcontrol_dispatched_requests_total{{flow_schema="{name}",priority_level="workload-high"}}"#
    );
    eventually("requests under it", async || {
        let metrics = kubectl(&["get", "--raw", "/metrics"]).ok();
        if metrics.lines().any(|line| line.starts_with(&counted)) { Ok(()) } else { Err("none is counted") }
    })
    .await;
}
