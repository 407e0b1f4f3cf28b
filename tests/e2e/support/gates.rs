//! Attempts that end when the test opens their gate, even if parts of the cluster are down: the containers poll for files
//! in a folder of this machine.

use super::manifest::sh;
use super::operator::log_folder;
use super::scene::Scene;
use super::wait::eventually;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A folder of gates, one for each attempt of each task. It goes with this value.
#[derive(Debug)]
pub struct Gates {
    folder: PathBuf,
}

impl Gates {
    /// All of them shut.
    pub fn new(scene: &Scene) -> Self {
        let folder = log_folder().join(format!("gates-{}", scene.namespace));
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    /// A task whose attempts wait for their gates. The first `failures` fail, each with a message of its own.
    pub fn task(&self, name: &str, failures: i32, delay: i32) -> Value {
        let gate = format!("/gates/{name}-$RETRYABLE_ATTEMPT");
        let script = format!(
            "until test -e {gate}; do sleep 0.1; done; echo attempt $RETRYABLE_ATTEMPT; touch {gate}.passed; \
             test $RETRYABLE_ATTEMPT -gt {failures}"
        );
        let template = json!({"spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "gates", "hostPath": {"path": self.folder}}],
            "containers": [{"name": "task", "volumeMounts": [{"name": "gates", "mountPath": "/gates"}]}]}});
        let backoff = json!({"strategy": "Fixed", "initialDelaySeconds": delay, "jitter": {"mode": "None"}});
        sh(name, &script, &json!({"template": template, "backoff": backoff, "podRetention": {"failed": 10}}))
    }

    /// Opens the gate of one attempt.
    pub fn open(&self, task: &str, attempt: i32) {
        std::fs::write(self.folder.join(format!("{task}-{attempt}")), "").unwrap();
    }

    /// Opens the gate of one attempt and waits until it has gone through: its container ends at once.
    pub async fn passed(&self, task: &str, attempt: i32) {
        self.open(task, attempt);
        let mark = self.folder.join(format!("{task}-{attempt}.passed"));
        eventually("the attempt to end", async || if mark.exists() { Ok(()) } else { Err("it runs") }).await;
    }
}

impl Drop for Gates {
    fn drop(&mut self) {
        // A container may still look for files in it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
