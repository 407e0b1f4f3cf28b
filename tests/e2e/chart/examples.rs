//! `deploy/examples`: each ends as its labels say.

use super::release::Release;
use crate::support::{Scene, kubectl};
use kube::ResourceExt;
use kube::api::ListParams;
use retryable_tasks::api::{ConditionType, RetryableTask};
use retryable_tasks::core::condition_list;
use std::fs;
use std::path::PathBuf;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples");
/// Applied at a time: a small node runs a few Pods at once.
const AT_A_TIME: usize = 8;

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(EXAMPLES).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.iter().all(|file| file.extension().is_some_and(|extension| extension == "yaml")), "{files:?}");
    files
}

fn apply(namespace: &str, files: &[PathBuf]) {
    let files = files.iter().flat_map(|file| ["-f", file.to_str().unwrap()]);
    kubectl(&["apply", "--namespace", namespace].into_iter().chain(files).collect::<Vec<_>>()).ok();
}

/// Waits until the task has ended as its labels say.
async fn ends_as_it_says(scene: &Scene, task: &RetryableTask) {
    let name = task.name_any();
    let label = |key: &str| {
        let key = format!("example.retryable.dev/{key}");
        task.labels().get(&key).cloned().unwrap_or_else(|| panic!("the example {name} has no label {key}"))
    };
    let end = match &*label("ends") {
        "Complete" => ConditionType::Complete,
        "Failed" => ConditionType::Failed,
        "Suspended" => ConditionType::Suspended,
        "Queued" => ConditionType::Queued,
        other => panic!("the example {name} ends {other}"),
    };
    let ends = [ConditionType::Complete, ConditionType::Failed, ConditionType::Suspended, end];
    let ended = scene
        .status(&name, &format!("its end, {end:?},"), |status| {
            ends.iter().any(|end| condition_list::is_true(&status.conditions, *end))
        })
        .await;
    assert!(condition_list::is_true(&ended.conditions, end), "{name} was to be {end:?}: {ended:#?}");
    assert_eq!(ended.attempts.to_string(), label("attempts"), "attempts of {name}: {ended:#?}");
}

#[tokio::test]
async fn every_example_ends_as_it_says() {
    let release = Release::install(Scene::with_home("chart-examples").await, &["replicas=1"]).await;
    let scene = &release.scene;
    let files = files();
    let mut tasks: Vec<String> = Vec::new();
    for files in files.chunks(AT_A_TIME) {
        apply(&scene.namespace, files);
        for task in scene.tasks().list(&ListParams::default()).await.unwrap() {
            if !tasks.contains(&task.name_any()) {
                ends_as_it_says(scene, &task).await;
                tasks.push(task.name_any());
            }
        }
    }
    let mut named: Vec<_> = files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap()).collect();
    named.sort_unstable();
    tasks.sort();
    assert_eq!(tasks, named, "each file has one task, of its own name");
}

#[tokio::test]
async fn chart_and_task_suit_a_namespace_that_restricts_its_pods() {
    let scene = Scene::with_home("chart-restricted").await;
    for namespace in [&scene.namespace, &scene.home] {
        kubectl(&["label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"]).ok();
    }
    let release = Release::install(scene, &["replicas=1"]).await;
    let example = PathBuf::from(EXAMPLES).join("restricted.yaml");
    apply(&release.scene.namespace, &[example]);
    ends_as_it_says(&release.scene, &release.scene.task("restricted").await).await;
    // The hook's Pod too.
    release.uninstall().await;
}
