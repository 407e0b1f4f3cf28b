//! A release of the chart.

use super::{IMAGE, without_rights};
use crate::support::kubectl::{Output, run};
use crate::support::{Scene, TIMEOUT, eventually, kubectl};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use std::process::Command;

/// The release's name, and so that of most of its objects.
pub const NAME: &str = "retryable-tasks";
/// Selects the operator's Pods.
pub const OPERATORS: &str = "app.kubernetes.io/instance=retryable-tasks,app.kubernetes.io/component=controller";

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/retryable-tasks");

/// A release in the scene's home, that runs the tasks of the scene's namespace. It is uninstalled with this value.
pub struct Release {
    settings: Vec<String>,
    /// Where it is.
    pub scene: Scene,
}

impl Release {
    /// Installs the chart for the scene's namespace alone, with `settings` (`path=value`) over its defaults, and waits
    /// until it is ready.
    pub async fn install(scene: Scene, settings: &[&str]) -> Self {
        let namespaces = format!("watch.namespaces={{{}}}", scene.namespace);
        // One definition and one pair of roles for users serve the cluster: they are not of this release.
        let own = [&namespaces, "crds.install=false", "rbac.aggregateToDefaultRoles=false"];
        Self::install_with(scene, &[&own[..], settings].concat()).await
    }

    /// Installs the chart with `settings` over its defaults, and waits until it is ready.
    pub async fn install_with(scene: Scene, settings: &[&str]) -> Self {
        let release = Self::prepare(scene, settings);
        release.again().await;
        release
    }

    /// What [`Self::install_with`] does, but for the installation.
    pub fn prepare(scene: Scene, settings: &[&str]) -> Self {
        without_rights(&scene);
        let (repository, tag) = IMAGE.rsplit_once(':').unwrap();
        let image = [format!("image.repository={repository}"), format!("image.tag={tag}")];
        let settings = image.into_iter().chain(settings.iter().map(|&setting| setting.to_owned())).collect();
        Self { settings, scene }
    }

    /// Installs it, as at first or after it was uninstalled.
    pub async fn again(&self) {
        self.try_install(&[]).await.ok();
    }

    /// Installs it with `more` arguments, and answers what came of it.
    pub async fn try_install(&self, more: &[&str]) -> Output {
        let settings = self.settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
        let args: Vec<&str> = ["install", NAME, CHART, "--wait", TIMEOUT].into_iter().chain(settings).collect();
        self.helm(&[&args, more].concat()).await
    }

    /// Changes `settings`, and waits until it is ready.
    pub async fn upgrade(&self, settings: &[&str]) {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let args = ["upgrade", NAME, CHART, "--reuse-values", "--wait", TIMEOUT];
        self.helm(&args.into_iter().chain(settings).collect::<Vec<_>>()).await.ok();
    }

    /// Uninstalls it, and waits until its objects are gone.
    pub async fn uninstall(&self) -> String {
        self.helm(&["uninstall", NAME, "--wait", TIMEOUT]).await.ok()
    }

    /// Runs helm where the release is.
    pub async fn helm(&self, args: &[&str]) -> Output {
        let mut helm = self.command(args);
        // What the test has going goes on meanwhile.
        tokio::task::spawn_blocking(move || run(&mut helm, "")).await.unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut helm = Command::new("helm");
        helm.args(args).args(["--namespace", &self.scene.home]);
        helm
    }

    /// Runs kubectl where the release is.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        kubectl(&[&["--namespace", &self.scene.home], args].concat())
    }

    /// The operator's Pods.
    pub async fn operators(&self) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.scene.client.clone(), &self.scene.home);
        pods.list(&ListParams::default().labels(OPERATORS)).await.unwrap().items
    }

    /// The lease, once somebody who is not among `past` holds it.
    pub async fn lease(&self, past: &[String]) -> LeaseSpec {
        let leases: Api<Lease> = Api::namespaced(self.scene.client.clone(), &self.scene.home);
        eventually("the lease's holder", async || {
            let spec = leases.get_opt(NAME).await.unwrap().and_then(|lease| lease.spec).unwrap_or_default();
            let is_next = |holder: &String| !holder.is_empty() && !past.contains(holder);
            if spec.holder_identity.as_ref().is_some_and(is_next) { Ok(spec) } else { Err(format!("{spec:?}")) }
        })
        .await
    }

    /// The name of the Pod that leads.
    pub async fn leader(&self) -> String {
        self.lease(&[]).await.holder_identity.unwrap()
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let objects = self.kubectl(&["get", "all,lease,events", "-o", "wide"]);
            let log = self.kubectl(&["logs", "-l", OPERATORS, "--prefix", "--tail=200"]);
            eprintln!("--- {}\n{}{}\n{}{}---", self.scene.home, objects.stdout, objects.stderr, log.stdout, log.stderr);
        }
        // No hook: the scene frees the Pods. What is of the whole cluster would outlive the namespaces.
        run(&mut self.command(&["uninstall", NAME, "--ignore-not-found", "--no-hooks"]), "");
    }
}
