//! A cluster that does not know the resources.

use crate::support::cluster::program;
use crate::support::kubectl::run;
use crate::support::{TIMEOUT, eventually, kubectl, kubectl_with};
use retryable_tasks::api::RESOURCES;

/// The definition's name.
pub const NAME: &str = "retryabletasks.retryable.dev";

/// Takes the definitions off the cluster, and with them every task; with this value it comes back. For tests that are
/// alone.
pub struct Undefined;

impl Undefined {
    pub fn new() -> Self {
        let guard = Self;
        delete().ok();
        guard
    }
}

impl Drop for Undefined {
    fn drop(&mut self) {
        // Anew: whoever installed the last one may have marked it as their own.
        let deleted = delete().result();
        let definition = run(program().args(["crd", "retryabletasks"]), "").stdout;
        let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "-f", "-"];
        let back = kubectl_with(&apply, &definition).result();
        let established = "--for=jsonpath={.status.conditions[?(@.type==\"Established\")].status}=True";
        let served = kubectl(&["wait", established, "customresourcedefinition", NAME, TIMEOUT]).result();
        // A second panic would end the whole run without a word about the first.
        if let Err(problem) = deleted.and(back).and(served) {
            eprintln!("the definition could not be brought back: {problem}");
        }
    }
}

fn delete() -> crate::support::kubectl::Output {
    let all = RESOURCES.map(|resource| format!("{resource}.retryable.dev"));
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    kubectl(&[&["delete", "customresourcedefinition", "--ignore-not-found", TIMEOUT], &*names].concat())
}

/// Whether the cluster has the definition.
pub fn is_there() -> bool {
    !kubectl(&["get", "customresourcedefinition", NAME, "--ignore-not-found", "-o", "name"]).ok().is_empty()
}

/// Waits until the resource is served: the API server takes a moment.
pub async fn served() {
    eventually("the resource to be served", async || kubectl(&["get", &RESOURCES.join(","), "-A"]).result()).await;
}
