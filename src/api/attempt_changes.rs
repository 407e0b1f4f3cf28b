//! What differs from attempt to attempt, and the fallback, as users write them.

use super::{IntOrText, Multiplier, schema};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happens after the main container ran out of memory: the next attempts get more memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnOutOfMemory {
    /// Factor by which each raise multiplies the main container's memory, requests and limits alike: an integer, or a decimal number in quotes such
    /// as "1.5". Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("type(self) == int ? (self > 1 && self <= 1000) : (self.matches('^[0-9]{1,4}([.][0-9]{1,4})?$') && double(self) > 1.0 && double(self) <= 1000.0)").message("memoryMultiplier is a number above 1, up to 1000, with at most four decimals, in quotes when it has any: 2, \"1.5\""))]
    pub memory_multiplier: Option<Multiplier>,

    /// The most memory that an attempt gets, such as 4Gi. Default: 16 times what the spec gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("type(self) == int ? self > 0 : self.matches('^[0-9]{1,15}([.][0-9]{1,9})?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$')").message("maxMemory is an amount of memory such as 512Mi or 4Gi"))]
    pub max_memory: Option<IntOrText>,
}

/// What is different from a certain attempt on. All overrides that apply are merged in the order of fromAttempt; later ones win.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.resources) || has(self.nodeSelector) || has(self.tolerations) || has(self.env)").message("an override changes something: give resources, nodeSelector, tolerations or env"))]
pub struct AttemptOverride {
    /// The first attempt that it applies to, 2 or later. When the task is run again (run-again), the attempts of the new run count from 1.
    #[x_kube(validation = Rule::new("self >= 2").message("fromAttempt is 2 or more: what the first attempt gets stands in the spec itself"))]
    pub from_attempt: i32,

    /// Compute resources of the main container, instead of the previous ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::other_resources")]
    pub resources: Option<Value>,

    /// Labels that the Pod's node must have, instead of the previous ones. {} means no labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::node_selector")]
    pub node_selector: Option<Value>,

    /// Taints that the Pod tolerates, instead of the previous ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Option<Vec<Value>>,

    /// Environment variables of the main container, added to the previous ones. They win over previous ones of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::more_env")]
    pub env: Option<Vec<Value>>,
}

/// The fallback: a last Pod that runs once when the task has failed. A field that is not given here is as for an attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.image) || has(self.command) || has(self.args) || has(self.env) || has(self.envFrom) || (has(self.template) && has(self.template.spec))")
        .message("onFailure says what to run when the task has failed: give image, command, args, env, envFrom or template"),
    validation = Rule::new("!has(self.image) || !has(self.template) || !has(self.template.spec) || !has(self.template.spec.containers) || self.template.spec.containers.size() == 0 || self.template.spec.containers.exists(c, c.name == 'task' || (has(self.template.metadata) && has(self.template.metadata.annotations) && 'kubectl.kubernetes.io/default-container' in self.template.metadata.annotations && c.name == self.template.metadata.annotations['kubectl.kubernetes.io/default-container']))")
        .message("onFailure.image is for the container named task, and onFailure.template.spec.containers has none: name the container that does the work task, or move the image into it, or add one named task if all of them run beside it")
)]
pub struct OnFailure {
    /// Image of the main container. Default: that of the attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,

    /// Entrypoint of the main container. Default: that of the attempts, or the image's own if an image is given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub command: Option<Vec<String>>,

    /// Arguments of the main container's entrypoint. Default: those of the attempts, or none if an image or a command is given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub args: Option<Vec<String>>,

    /// Environment variables of the main container, added to those of the attempts. They win over those of the same name.
    /// Every container also gets RETRYABLE_FALLBACK (true), RETRYABLE_FAILURE_REASON, RETRYABLE_FAILURE_MESSAGE and RETRYABLE_HISTORY (status.history of this run as JSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::more_env")]
    pub env: Option<Vec<Value>>,

    /// Sources of environment variables of the main container, after those of the attempts. If two set the same name, the last one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::env_from")]
    pub env_from: Option<Vec<Value>>,

    /// Compute resources of the main container. Default: those of the attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::other_resources")]
    pub resources: Option<Value>,

    /// Pod template, instead of spec.template. Its main container is found as in spec.template. spec.completion applies to it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::template")]
    pub template: Option<Value>,

    /// Longest time that the fallback may run, in seconds. Default: attemptTimeoutSeconds. activeDeadlineSeconds does not apply to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0").message("onFailure.timeoutSeconds is a time above 0; leave it out for attemptTimeoutSeconds"))]
    pub timeout_seconds: Option<i32>,
}
