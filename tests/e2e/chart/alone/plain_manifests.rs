//! `deploy/install.yaml` and `deploy/remove-finalizers-job.yaml`, used as docs/operations says.

use crate::chart::definition::{self, Undefined};
use crate::chart::{IMAGE, gated, let_go, with_finalizer, without_rights};
use crate::support::kubectl::Output;
use crate::support::{Scene, TIMEOUT, eventually, kubectl, kubectl_with};
use kube::ResourceExt;
use retryable_tasks::api::State;

const SYSTEM: &str = "retryable-tasks-system";
const JOB: &str = "job/retryable-tasks-remove-finalizers";

/// The plain manifests, with the image that is here. What they make is deleted with this value.
struct Manifests {
    install: String,
    release: String,
    scene: Scene,
}

impl Manifests {
    fn read(scene: Scene) -> Self {
        without_rights(&scene);
        let with_image = |manifests: &str| {
            let with_image = manifests.replace("\"retryable-tasks:0.1.0\"", IMAGE);
            assert_ne!(with_image, manifests, "the image's name is not where it was");
            with_image
        };
        let install = with_image(include_str!("../../../../deploy/install.yaml"));
        let release = with_image(include_str!("../../../../deploy/remove-finalizers-job.yaml"));
        Self { install, release, scene }
    }

    fn all(&self) -> String {
        format!("{}\n{}", self.install, self.release)
    }

    async fn install(&self) {
        kubectl_with(&["apply", "-f", "-"], &self.install).ok();
        self.kubectl(&["rollout", "status", "deployment/retryable-tasks", TIMEOUT]).ok();
        definition::served().await;
    }

    fn free(&self) {
        kubectl_with(&["apply", "-f", "-"], &self.release).ok();
        let ended = self.kubectl(&["wait", "--for=condition=Complete", JOB, TIMEOUT]).result();
        ended.unwrap_or_else(|problem| panic!("{problem}{}", self.kubectl(&["logs", JOB]).stdout));
    }

    #[allow(clippy::unused_self)] // reads as the others do
    fn kubectl(&self, args: &[&str]) -> Output {
        kubectl(&[&["--namespace", SYSTEM], args].concat())
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let objects = self.kubectl(&["get", "all,lease,events", "-o", "wide"]);
            let log = self.kubectl(&["logs", "-l", "app.kubernetes.io/name=retryable-tasks", "--prefix", "--tail=200"]);
            eprintln!("--- {SYSTEM}\n{}{}\n{}{}---", objects.stdout, objects.stderr, log.stdout, log.stderr);
        }
        let but_the_definition = "app.kubernetes.io/component!=crd";
        let delete = ["delete", "-f", "-", "-l", but_the_definition, "--ignore-not-found", TIMEOUT];
        kubectl_with(&delete, &self.all());
    }
}

async fn system_is_gone() {
    eventually("the operator's namespace to be gone", async || {
        let left = kubectl(&["get", "namespace", SYSTEM, "--ignore-not-found", "-o", "yaml"]).ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn the_plain_manifests_install_and_uninstall_the_operator() {
    let manifests = Manifests::read(Scene::alone("plain").await);
    let scene = &manifests.scene;
    let _undefined = Undefined::new();
    manifests.install().await;
    scene.apply(&gated("runs"));
    let first = scene.running("runs", 1).await;
    scene.status("runs", "its attempt's run", |status| status.state == Some(State::Running)).await;
    assert_eq!(with_finalizer(scene).await.len(), 1);

    manifests.free();
    assert_eq!(with_finalizer(scene).await, []);
    assert_eq!(manifests.kubectl(&["get", "deployment/retryable-tasks", "-o", "jsonpath={.spec.replicas}"]).ok(), "0");
    let delete = ["delete", "-f", "-", "--ignore-not-found", TIMEOUT];
    let but_the_definition = ["-l", "app.kubernetes.io/component!=crd"];
    kubectl_with(&[&delete[..], &but_the_definition].concat(), &manifests.all()).ok();
    system_is_gone().await;
    assert!(definition::is_there());
    let now = scene.running("runs", 1).await;
    assert_eq!((now.uid(), now.metadata.deletion_timestamp), (first.uid(), None));

    // Installed again, the operator takes the task up where it was.
    manifests.install().await;
    let_go(scene, &first.name_any());
    scene.running("runs", 2).await;
    assert_eq!(scene.task("runs").await.status.unwrap().history[0].exit_code, Some(1));

    manifests.free();
    kubectl_with(&delete, &manifests.all()).ok();
    system_is_gone().await;
    assert!(!definition::is_there());
    scene.no_pods_of("runs").await;
}
