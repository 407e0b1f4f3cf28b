//! Reads objects: in pages, and as far as one may.

use super::connect::{Cluster, Scope};
use super::error::Error;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Objects of one page.
const PAGE: u32 = 500;
/// How long the answer to a request about one object may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What was found.
pub(super) struct Found<K> {
    pub(super) items: Vec<K>,
    /// What could not be read, one sentence each.
    pub(super) problems: Vec<String>,
}

/// The objects of all namespaces that are meant. A namespace that is forbidden is a problem, and hides no other.
pub(super) async fn list<K>(cluster: &Cluster, params: &ListParams) -> Result<Found<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let mut found = Found { items: Vec::new(), problems: Vec::new() };
    let namespaces = match &cluster.scope {
        Scope::Namespaces(namespaces) if namespaces.len() == 1 => {
            let namespace = namespaces.first().map(String::as_str).unwrap_or_default();
            pages(&cluster.client, Some(namespace), params, &mut found).await?;
            return Ok(found);
        }
        Scope::Namespaces(namespaces) => namespaces.clone(),
        Scope::All => match pages(&cluster.client, None, params, &mut found).await {
            Err(error) if error.is_forbidden() => all_namespaces::<K>(cluster).await?,
            result => return result.map(|()| found),
        },
    };
    let mut forbidden = Vec::new();
    for namespace in namespaces {
        match pages(&cluster.client, Some(&namespace), params, &mut found).await {
            Err(error) if error.is_forbidden() => forbidden.push(namespace),
            result => result?,
        }
    }
    if !forbidden.is_empty() {
        let plural = K::plural(&());
        found.problems.push(format!("you may not list {plural} in these namespaces: {}", forbidden.join(", ")));
    }
    Ok(found)
}

async fn all_namespaces<K: Resource<DynamicType = ()>>(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let all = Api::<Namespace>::all(cluster.client.clone()).list(&ListParams::default()).await;
    match all.map_err(Error::of("list namespaces")) {
        Ok(all) => Ok(all.items.iter().map(ResourceExt::name_any).collect()),
        Err(error) if error.is_forbidden() => Err(Error::Usage(format!(
            "you may list neither {} in all namespaces nor the namespaces: name yours, such as -n shop,billing",
            K::plural(&())
        ))),
        Err(error) => Err(error),
    }
}

async fn pages<K>(
    client: &kube::Client,
    namespace: Option<&str>,
    params: &ListParams,
    found: &mut Found<K>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let place = namespace.map_or_else(|| "all namespaces".into(), |namespace| format!("namespace {namespace}"));
    let mut params = params.clone().limit(PAGE);
    loop {
        let what = format!("list {} in {place}", resource.plural);
        let page = api.list(&params).await.map_err(Error::of(what))?;
        let token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        for mut object in page.items {
            // A list does not repeat what its items are.
            object.types.get_or_insert_with(|| kube::api::TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            object.metadata.managed_fields = None;
            let name = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
            match serde_json::to_value(object).and_then(serde_json::from_value) {
                Ok(item) => found.items.push(item),
                Err(error) => found.problems.push(format!("this version cannot read {name}: {error}")),
            }
        }
        match token {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// One object by its name.
pub(super) async fn get<K>(cluster: &Cluster, name: &str) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let namespace = cluster.namespace()?;
    let api: Api<K> = Api::namespaced(cluster.client.clone(), namespace);
    answered(&format!("get {} {namespace}/{name}", kind::<K>()), LIMIT, api.get(name)).await
}

/// Merges the patch into one object.
pub(super) async fn patch<K>(cluster: &Cluster, name: &str, patch: &Value) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let namespace = cluster.namespace()?;
    let api: Api<K> = Api::namespaced(cluster.client.clone(), namespace);
    let params = PatchParams { field_manager: Some("kubectl-retryable".into()), ..PatchParams::default() };
    let what = format!("patch {} {namespace}/{name}", kind::<K>());
    answered(&what, LIMIT, api.patch(name, &params, &Patch::Merge(patch))).await
}

/// The answer to a request. The connection may be open, and nobody at its other end: that is an error too, after a while.
pub(super) async fn answered<T>(
    what: &str,
    limit: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Error::of(what)),
        Err(_) => Err(Error::NoAnswer { what: what.into(), seconds: limit.as_secs() }),
    }
}

/// The kind in words.
pub(super) fn kind<K: Resource<DynamicType = ()>>() -> String {
    K::kind(&()).into_owned()
}

/// The manifest of what is in the cluster, such as `job/import` or `cronjob/nightly`.
pub(super) async fn manifest(cluster: &Cluster, from: &str) -> Result<String, Error> {
    let wrong = || {
        Error::Usage(format!(
            "{from:?} is not KIND/NAME, such as job/import-orders: the kinds are job, cronjob, workflow, cronworkflow"
        ))
    };
    let (kind, name) = from.split_once('/').ok_or_else(wrong)?;
    let (group, version, kind, plural) = match &*kind.to_ascii_lowercase() {
        "job" | "jobs" | "jobs.batch" | "job.batch" => ("batch", "v1", "Job", "jobs"),
        "cronjob" | "cronjobs" | "cj" | "cronjobs.batch" | "cronjob.batch" => ("batch", "v1", "CronJob", "cronjobs"),
        "workflow" | "workflows" | "wf" => ("argoproj.io", "v1alpha1", "Workflow", "workflows"),
        "cronworkflow" | "cronworkflows" | "cwf" => ("argoproj.io", "v1alpha1", "CronWorkflow", "cronworkflows"),
        _ => return Err(wrong()),
    };
    let resource = ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: format!("{group}/{version}"),
        kind: kind.into(),
        plural: plural.into(),
    };
    let namespace = cluster.namespace()?;
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
    let mut object = api.get(name).await.map_err(Error::of(format!("get {kind} {namespace}/{name}")))?;
    object.metadata.managed_fields = None;
    Ok(serde_yaml_ng::to_string(&object)?)
}
