//! With no node for Pods that do not tolerate it.

use super::{Nodes, POOL};
use crate::support::manifest::sh;
use crate::support::{Scene, kubectl};
use retryable_tasks::api::Action;
use serde_json::json;

/// Keeps Pods away from all nodes that run containers, until it is dropped.
struct Tainted(String);

impl Tainted {
    fn new(scene: &Scene) -> Self {
        let tainted = Self(format!("{POOL}={}:NoSchedule", scene.namespace));
        kubectl(&["taint", "nodes", "--selector", &format!("!{POOL}"), &tainted.0]).ok();
        tainted
    }
}

impl Drop for Tainted {
    fn drop(&mut self) {
        kubectl(&["taint", "nodes", "--all", &format!("{}-", self.0)]);
    }
}

#[tokio::test]
async fn spot_first_and_on_demand_later() {
    let scene = Scene::alone("spot").await;
    let nodes = Nodes::new(&scene, &["spot"]).await;
    let _operator = scene.operator().await;
    // The real node is the on-demand node, for Pods that tolerate it.
    let _tainted = Tainted::new(&scene);
    let on_demand = json!({"key": POOL, "value": scene.namespace, "effect": "NoSchedule"});
    let variable = json!({"name": "NODES", "value": "on-demand"});
    let from_second = json!({"fromAttempt": 2, "nodeSelector": {}, "tolerations": [on_demand], "env": [variable]});
    let fields = json!({"backoff": {"strategy": "Fixed", "initialDelaySeconds": 0}, "overrides": [from_second],
        "template": {"spec": nodes.template()}});
    scene.apply(&sh("thrifty", "test \"$NODES\" = on-demand", &fields));
    let (first, on) = nodes.placed("thrifty", 1).await;
    assert_eq!(on, "spot");
    nodes.end(&first, 1);
    let status = scene.finished("thrifty").await;
    let recorded: Vec<_> = status.history.iter().map(|entry| (entry.action, entry.override_from)).collect();
    assert_eq!(recorded, [(Action::Retry, None), (Action::Complete, Some(2))]);
    assert_ne!(status.history[1].node_name, status.history[0].node_name);
}
