//! Operators of the whole cluster.

mod install;
mod plain_manifests;

use crate::support::{Scene, kubectl};

/// A place while no other test runs, for an operator of the whole cluster, with a home of its own.
async fn place(name: &str) -> Scene {
    let mut scene = Scene::alone(name).await;
    scene.home = format!("{}-home", scene.namespace);
    kubectl(&["create", "namespace", &scene.home]).ok();
    scene
}
