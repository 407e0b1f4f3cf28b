//! Tests of the simulation itself: with a wrong model it would prove nothing.

mod delete;
mod object_size;
mod pods;
mod read;
mod replay;
mod transport;
mod write;

use crate::{
    clock::{WallClock, WorldClock},
    determinism,
    faults::Rates,
    process::{Gate, Process},
    server::{Endpoint, Key, Resource, Server},
};
use jiff::SignedDuration;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use std::{future::Future, sync::Arc};

/// A world with a server and one process's connection to it.
#[derive(Clone)]
struct World {
    server: Server,
    gate: Arc<Gate>,
    clock: WorldClock,
    client: Client,
}

/// Runs a test in a world without faults.
fn calm<T: Send + 'static, F: Future<Output = T>>(test: impl FnOnce(World) -> F + Send + 'static) -> T {
    faulty(1, Rates::default(), test)
}

/// Runs a test in a world of this seed.
fn faulty<T, F>(seed: u64, rates: Rates, test: impl FnOnce(World) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    determinism::isolated(seed, move || async move {
        let clock = WorldClock::new();
        let server = Server::new(seed, clock, rates);
        let gate = Gate::new();
        let client = Client::new(Endpoint::new(server.clone(), gate.clone(), 0), "default");
        test(World { server, gate, clock, client }).await
    })
}

impl World {
    fn api(&self, resource: Resource) -> Api<DynamicObject> {
        let api = ApiResource {
            group: resource.group().into(),
            version: resource.version().into(),
            api_version: resource.api_version(),
            kind: resource.kind().into(),
            plural: resource.plural().into(),
        };
        Api::namespaced_with(self.client.clone(), "default", &api)
    }

    /// Starts a process with this main function on the same connection.
    fn spawn(&self, main: impl Future<Output = ()> + Send + 'static) -> Process {
        Process::start(self.gate.clone(), WallClock::new(self.clock, SignedDuration::ZERO), main)
    }

    fn object(&self, key: &Key) -> Option<Value> {
        self.server.lock().store.get(key).map(|object| (**object).clone())
    }

    fn finalizers(&self, key: &Key) -> Value {
        self.object(key).unwrap()["metadata"]["finalizers"].clone()
    }
}

fn task_key(name: &str) -> Key {
    Key::new(Resource::Tasks, "default", name)
}

fn pod_key(name: &str) -> Key {
    Key::new(Resource::Pods, "default", name)
}

fn task(name: &str) -> Value {
    json!({
        "apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask",
        "metadata": {"name": name}, "spec": {"image": "a", "maxRetries": 3},
    })
}

/// A Pod with the finalizers, owned by these.
fn pod(name: &str, finalizers: &[&str], owners: &[&Value]) -> Value {
    let owner = |owner: &&Value| {
        json!({
            "apiVersion": "retryable.dev/v1alpha1", "kind": "RetryableTask", "controller": true, "blockOwnerDeletion": true,
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        })
    };
    let owners: Vec<Value> = owners.iter().map(owner).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "finalizers": finalizers, "ownerReferences": owners, "labels": {"app": "x", "retryable.dev/attempt": "1"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "task", "image": "a"}]},
    })
}

fn typed(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// The code of the refusal.
fn code<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("not a refusal: {other:?}"),
    }
}
