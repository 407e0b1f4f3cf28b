//! `version`: of this program, of the operators in the cluster, and of the definitions.

use super::connect::Connection;
use super::error::Error;
use super::output::{note, out};
use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use retryable_tasks::api;

/// The label of the operator's Deployment, unless `nameOverride` of the chart says otherwise.
const OPERATOR: &str = "app.kubernetes.io/name=retryable-tasks,app.kubernetes.io/component=controller";
const VERSION: &str = "app.kubernetes.io/version";

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Of this program alone: nothing is asked of the cluster
    #[arg(long)]
    client: bool,
}

pub(super) async fn version(connection: &Connection, args: &VersionArgs) -> Result<u8, Error> {
    let own = env!("CARGO_PKG_VERSION");
    out(&format!("Client:      {own}\n"))?;
    if args.client {
        return Ok(0);
    }
    let cluster = connection.connect().await?;
    let deployments =
        Api::<Deployment>::all(cluster.client.clone()).list(&ListParams::default().labels(OPERATOR)).await;
    match deployments.map_err(Error::of("list deployments")) {
        Ok(deployments) if deployments.items.is_empty() => {
            out("Operator:    none found by its labels\n")?;
        }
        Ok(deployments) => {
            for deployment in deployments.items {
                let version = deployment.labels().get(VERSION).cloned().unwrap_or_else(|| "unknown".into());
                out(&format!("Operator:    {version} in namespace {}\n", deployment.namespace().unwrap_or_default()))?;
                if version != own {
                    note(&format!("warning: this program has version {own}, the operator has {version}"));
                }
            }
        }
        Err(error) if error.is_forbidden() => out("Operator:    unknown: you may not list deployments\n")?,
        Err(error) => return Err(error),
    }
    definitions(&cluster.client).await
}

async fn definitions(client: &kube::Client) -> Result<u8, Error> {
    let all = Api::<CustomResourceDefinition>::all(client.clone());
    let mut code = 0;
    for wanted in api::crds() {
        let name = wanted.name_any();
        let what = format!("get definition {name}");
        let said = match all.get(&name).await.map_err(Error::of(what)) {
            Ok(found) if serves_the_same(&found, &wanted) => "as this program knows it".to_owned(),
            Ok(_) => {
                note(&format!("warning: {name} in the cluster is that of another version"));
                "of another version".to_owned()
            }
            Err(error) if error.is_forbidden() => "unknown: you may not get definitions".into(),
            Err(error) if error.is_not_found() => {
                code = 1;
                "missing".into()
            }
            Err(error) => return Err(error),
        };
        out(&format!("Definition:  {name}: {said}\n"))?;
    }
    Ok(code)
}

/// Whether the versions have the same schemas. The API server adds nothing to these.
fn serves_the_same(found: &CustomResourceDefinition, wanted: &CustomResourceDefinition) -> bool {
    let schemas = |crd: &CustomResourceDefinition| {
        let versions = crd.spec.versions.iter().map(|version| (version.name.clone(), version.schema.clone()));
        serde_json::to_value(versions.collect::<Vec<_>>()).unwrap_or_default()
    };
    schemas(found) == schemas(wanted)
}
