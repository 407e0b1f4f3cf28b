//! The scene of a test: its own namespace and operator.

use super::audit::Audit;
use super::cluster::{Turn, program};
use super::kubectl::{self, Output, kubectl, kubectl_with};
use super::operator::Operator;
use super::wait::{LIMIT, TIMEOUT, eventually};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use kube_runtime::wait::await_condition;
use retryable_tasks::api::{ConditionType, LABEL_TASK_NAME, RetryableTask, RetryableTaskStatus};
use retryable_tasks::core::condition_list;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The scene of a test. When it is dropped, the namespace is deleted, without waiting.
pub struct Scene {
    /// The namespace.
    pub namespace: String,
    /// The namespace that the operator's account and leases are in.
    pub home: String,
    /// A client with all rights.
    pub client: Client,
    /// The audit log since the scene was made.
    pub audit: Audit,
    _turn: Option<Turn>,
}

impl Scene {
    /// A scene that runs in parallel with others. `name` is a few words with dashes.
    pub async fn new(name: &str) -> Self {
        let namespace = unique(name);
        Self::with(namespace.clone(), namespace, Some(Turn::shared())).await
    }

    /// A scene while no other test runs.
    pub async fn alone(name: &str) -> Self {
        let namespace = unique(name);
        Self::with(namespace.clone(), namespace, Some(Turn::alone())).await
    }

    /// A scene whose operators have a namespace of their own.
    pub async fn with_home(name: &str) -> Self {
        let namespace = unique(name);
        Self::with(format!("{namespace}-home"), namespace, Some(Turn::shared())).await
    }

    /// A further scene, for a test that has its turn already.
    pub async fn in_turn(_turn: &Turn, name: &str) -> Self {
        let namespace = unique(name);
        Self::with(namespace.clone(), namespace, None).await
    }

    /// Another namespace for the same operator.
    pub async fn beside(&self, name: &str) -> Self {
        Self::with(self.home.clone(), unique(name), None).await
    }

    async fn with(home: String, namespace: String, turn: Option<Turn>) -> Self {
        let audit = Audit::from_now();
        kubectl(&["create", "namespace", &namespace]).ok();
        if home != namespace && turn.is_some() {
            kubectl(&["create", "namespace", &home]).ok();
        }
        let client = Client::try_default().await.unwrap();
        let scene = Self { namespace, home, client, audit, _turn: turn };
        scene.grant();
        scene.until_granted().await;
        // Before it there is one, admission refuses every Pod.
        scene.kubectl(&["wait", "--for=create", "serviceaccount/default", TIMEOUT]).ok();
        scene
    }

    /// Gives the operator of this scene the rights that the chart gives it.
    fn grant(&self) {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/retryable-tasks");
        let namespaces = format!("watch.namespaces={{{}}}", self.namespace);
        let render = ["template", "retryable-tasks", chart, "--show-only=templates/rbac.yaml", "--namespace"];
        let settings = [&self.home, "--set", &namespaces, "--set", "crds.install=false"];
        let rights = kubectl::run(Command::new("helm").args(render).args(settings), "").ok();
        kubectl_with(&["apply", "-f", "-"], &rights).ok();
    }

    /// Waits until the API server knows of the rights: its authorizer learns of them by a watch of its own.
    async fn until_granted(&self) {
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        for (group, resource, namespace) in
            [("", "pods", &self.namespace), ("coordination.k8s.io", "leases", &self.home)]
        {
            let right = json!({"group": group, "resource": resource, "verb": "create", "namespace": namespace});
            let spec = json!({"user": self.operator_user(), "resourceAttributes": right});
            let review = serde_json::from_value(json!({"spec": spec})).unwrap();
            eventually("the rights to be granted", async || {
                let answer =
                    reviews.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
                let is_allowed = answer.status.is_some_and(|status| status.allowed);
                if is_allowed { Ok(()) } else { Err(format!("it may not create {resource} in {namespace}")) }
            })
            .await;
        }
    }

    /// The operator's account, as the chart names it.
    pub fn operator_user(&self) -> String {
        format!("system:serviceaccount:{}:retryable-tasks", self.home)
    }

    /// Starts an operator for this namespace and waits until it is at work.
    pub async fn operator(&self) -> Operator {
        self.operator_with(&[]).at_work().await
    }

    /// Starts an operator for this namespace with `more` arguments.
    pub fn operator_with(&self, more: &[&str]) -> Operator {
        Operator::spawn(&self.operator_user(), &self.namespace, more)
    }

    /// Runs kubectl in this namespace.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        kubectl(&[&["--namespace", &self.namespace], args].concat())
    }

    /// Applies a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &Value) {
        self.try_apply(manifest, &[]).ok();
    }

    /// Applies a manifest with more arguments to `kubectl apply`, and answers what came of it.
    pub fn try_apply(&self, manifest: &Value, more: &[&str]) -> Output {
        let args = [&["--namespace", &self.namespace, "apply", "-f", "-"], more].concat();
        kubectl_with(&args, &manifest.to_string())
    }

    /// Changes a task's spec as `kubectl patch` does.
    #[track_caller]
    pub fn patch_spec(&self, name: &str, spec: &Value) {
        let patch = json!({"spec": spec}).to_string();
        self.kubectl(&["patch", "retryabletask", name, "--type=merge", "--patch", &patch]).ok();
    }

    /// Asks something of a task by annotation, as its user does: `what` is retry-now, run-again or cancel.
    #[track_caller]
    pub fn ask(&self, name: &str, what: &str, value: &str) {
        let annotation = format!("retryable.dev/{what}={value}");
        self.kubectl(&["annotate", "retryabletask", name, "--overwrite", &annotation]).ok();
    }

    /// This namespace's objects of one kind.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The tasks.
    pub fn tasks(&self) -> Api<RetryableTask> {
        self.api()
    }

    /// The Pods.
    pub fn pods(&self) -> Api<Pod> {
        self.api()
    }

    /// A task as it is now.
    pub async fn task(&self, name: &str) -> RetryableTask {
        self.tasks().get(name).await.unwrap()
    }

    /// Waits until the task's status is as `is` wants it; `what` names that. Answers the status.
    pub async fn status(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&RetryableTaskStatus) -> bool,
    ) -> RetryableTaskStatus {
        let satisfied = |task: Option<&RetryableTask>| task.and_then(|task| task.status.as_ref()).is_some_and(&is);
        let task = self.until(self.tasks(), name, what, satisfied).await;
        task.and_then(|task| task.status).unwrap()
    }

    /// Waits until the task has ended.
    pub async fn finished(&self, name: &str) -> RetryableTaskStatus {
        let finished =
            |status: &RetryableTaskStatus| condition_list::is_true(&status.conditions, ConditionType::Finished);
        self.status(name, "its end", finished).await
    }

    /// Waits until the Pod is as `is` wants it (nothing once it is gone); `what` names that.
    pub async fn pod(&self, name: &str, what: &str, is: impl Fn(Option<&Pod>) -> bool) -> Option<Pod> {
        self.until(self.pods(), name, what, is).await
    }

    async fn until<K>(&self, api: Api<K>, name: &str, what: &str, is: impl Fn(Option<&K>) -> bool) -> Option<K>
    where
        K: Clone + Debug + Send + DeserializeOwned + serde::Serialize + kube::Resource + 'static,
    {
        if let Ok(result) = tokio::time::timeout(LIMIT, await_condition(api.clone(), name, is)).await {
            return result.unwrap();
        }
        let last = serde_yaml_ng::to_string(&api.get_opt(name).await.unwrap()).unwrap();
        panic!("waited {} s for {what} of {name}; at last:\n{last}", LIMIT.as_secs())
    }

    /// The Pods of a task that are there now, oldest attempt first.
    pub async fn pods_of(&self, task: &str) -> Vec<Pod> {
        let selector = ListParams::default().labels(&format!("{LABEL_TASK_NAME}={task}"));
        let mut pods = self.pods().list(&selector).await.unwrap().items;
        pods.sort_by_key(attempt_of);
        pods
    }

    /// Waits for the Pod of attempt `number`.
    pub async fn pod_of(&self, task: &str, number: i32) -> Pod {
        eventually("the attempt's Pod", async || {
            let pods = self.pods_of(task).await;
            let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
            pods.into_iter()
                .find(|pod| attempt_of(pod) == number)
                .ok_or_else(|| format!("attempt {number} is not among the Pods {names:?}"))
        })
        .await
    }

    /// Waits until the main container of attempt `number` runs. Answers its Pod.
    pub async fn running(&self, task: &str, number: i32) -> Pod {
        let name = self.pod_of(task, number).await.name_any();
        self.pod(&name, "a running container", |pod| {
            let statuses =
                pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.container_statuses.as_ref());
            statuses.is_some_and(|all| all.iter().any(|one| one.state.as_ref().is_some_and(|s| s.running.is_some())))
        })
        .await
        .unwrap()
    }

    /// Waits until the script in the Pod's main container has left the file `/dev/shm/ready`: a shell that has just
    /// started hears no signal yet.
    pub async fn ready(&self, pod: &str) {
        eventually("the script to be ready", async || {
            self.kubectl(&["exec", pod, "--container=task", "--", "test", "-e", "/dev/shm/ready"]).result()
        })
        .await;
    }

    /// Waits until no Pod of the task is left.
    pub async fn no_pods_of(&self, task: &str) {
        eventually("the task's Pods to be gone", async || {
            let pods = self.pods_of(task).await;
            let left: Vec<_> = pods.iter().map(|pod| (pod.name_any(), pod.finalizers().to_vec())).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are left")) }
        })
        .await;
    }

    /// Waits until the task has an Event of that reason. Answers the newest one's note.
    pub async fn event(&self, task: &str, reason: &str) -> String {
        eventually("the Event", async || {
            let events = self.events(task).await;
            let found = events.iter().rev().find(|event| event.reason.as_deref() == Some(reason));
            let others = || events.iter().map(|e| e.reason.clone().unwrap_or_default()).collect::<Vec<_>>();
            found.and_then(|event| event.note.clone()).ok_or_else(|| format!("no {reason} among {:?}", others()))
        })
        .await
    }

    /// The Events about the task, oldest first.
    pub async fn events(&self, task: &str) -> Vec<Event> {
        let selector = ListParams::default().fields(&format!("regarding.name={task}"));
        let mut events = self.api::<Event>().list(&selector).await.unwrap().items;
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        events
    }

    /// What the operator asked of the API server about this namespace, from `audit` on.
    pub fn operators_requests(&self, audit: Audit) -> Vec<super::audit::Request> {
        let mut requests = audit.of(&self.namespace);
        requests.retain(|request| request.user == self.operator_user());
        requests
    }

    /// The watches that the operator has begun of the scene.
    pub fn operators_watches(&self) -> Vec<super::audit::Request> {
        let mut watches = self.audit.watches_of(&self.namespace);
        watches.retain(|request| request.user == self.operator_user());
        watches
    }
}

/// A namespace that no other test, of this run or another, has.
fn unique(name: &str) -> String {
    let unique = (u64::from(std::process::id()) << 16) + u64::from(COUNT.fetch_add(1, Ordering::Relaxed));
    format!("e2e-{name}-{unique:x}")
}

/// The number of the attempt that the Pod is of.
pub fn attempt_of(pod: &Pod) -> i32 {
    pod.labels().get(retryable_tasks::api::LABEL_ATTEMPT).and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seen = self.kubectl(&["get", "retryabletasks,pods", "-o", "wide"]);
            eprintln!("--- at the end of {}\n{}{}---", self.namespace, seen.stdout, seen.stderr);
        }
        kubectl(&["delete", "namespace", &self.namespace, &self.home, "--ignore-not-found", "--wait=false"]);
        // The operator has ended, so nobody else removes the finalizers, and the namespace would stay for ever.
        kubectl::run(program().args(["remove-finalizers", "--namespaces", &self.namespace]), "");
    }
}
