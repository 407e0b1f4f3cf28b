//! `version`: of this program, of the operators in the cluster, and of the definitions.

use super::connect::Connection;
use super::error::Error;
use super::output::{ShowValue, note, out};
use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use retryable_tasks::api;
use serde::Serialize;

/// The label of the operator's Deployment, unless `nameOverride` of the chart says otherwise.
const OPERATOR: &str = "app.kubernetes.io/name=retryable-tasks,app.kubernetes.io/component=controller";
const VERSION: &str = "app.kubernetes.io/version";

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Of this program alone: nothing is asked of the cluster
    #[arg(long)]
    client: bool,

    #[command(flatten)]
    show: ShowValue,
}

/// What has which version.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: &'static str,
    /// Absent if nobody was asked, or may say.
    #[serde(skip_serializing_if = "Option::is_none")]
    operators: Option<Vec<Operator>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    definitions: Vec<Definition>,
}

#[derive(Debug, Serialize)]
struct Operator {
    namespace: String,
    version: String,
}

#[derive(Debug, Serialize)]
struct Definition {
    name: String,
    state: DefinitionState,
}

/// How a definition in the cluster compares with that of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum DefinitionState {
    Same,
    Different,
    Missing,
    Unknown,
}

impl DefinitionState {
    fn said(self) -> &'static str {
        match self {
            Self::Same => "as this program knows it",
            Self::Different => "of another version",
            Self::Missing => "missing",
            Self::Unknown => "unknown: you may not get definitions",
        }
    }
}

pub(super) async fn version(connection: &Connection, args: &VersionArgs) -> Result<u8, Error> {
    let mut versions = Versions { client: env!("CARGO_PKG_VERSION"), ..Versions::default() };
    let is_for_people = !args.show.is_value();
    // It is said even if the cluster does not answer.
    if is_for_people {
        out(&format!("Client:      {}\n", versions.client))?;
    }
    if !args.client {
        let cluster = connection.connect().await?;
        versions.operators = operators(&cluster.client, versions.client).await?;
        if is_for_people {
            out(&operator_lines(versions.operators.as_deref()))?;
        }
        versions.definitions = definitions(&cluster.client).await?;
        if is_for_people {
            let line =
                |definition: &Definition| format!("Definition:  {}: {}\n", definition.name, definition.state.said());
            out(&versions.definitions.iter().map(line).collect::<String>())?;
        }
    }
    args.show.print(&versions)?;
    let is_missing = |definition: &Definition| definition.state == DefinitionState::Missing;
    Ok(u8::from(versions.definitions.iter().any(is_missing)))
}

/// The operators by their Deployments. None if those may not be listed.
async fn operators(client: &kube::Client, own: &str) -> Result<Option<Vec<Operator>>, Error> {
    let deployments = Api::<Deployment>::all(client.clone()).list(&ListParams::default().labels(OPERATOR)).await;
    let deployments = match deployments.map_err(Error::of("list deployments")) {
        Ok(deployments) => deployments.items,
        Err(error) if error.is_forbidden() => return Ok(None),
        Err(error) => return Err(error),
    };
    let operator = |deployment: Deployment| {
        let version = deployment.labels().get(VERSION).cloned().unwrap_or_else(|| "unknown".into());
        if version != own {
            note(&format!("warning: this program has version {own}, the operator has {version}"));
        }
        Operator { namespace: deployment.namespace().unwrap_or_default(), version }
    };
    Ok(Some(deployments.into_iter().map(operator).collect()))
}

fn operator_lines(operators: Option<&[Operator]>) -> String {
    match operators {
        None => "Operator:    unknown: you may not list deployments\n".into(),
        Some([]) => "Operator:    none found by its labels\n".into(),
        Some(operators) => operators
            .iter()
            .map(|Operator { namespace, version }| format!("Operator:    {version} in namespace {namespace}\n"))
            .collect::<Vec<_>>()
            .concat(),
    }
}

async fn definitions(client: &kube::Client) -> Result<Vec<Definition>, Error> {
    let all = Api::<CustomResourceDefinition>::all(client.clone());
    let mut definitions = Vec::new();
    for wanted in api::crds() {
        let name = wanted.name_any();
        let what = format!("get definition {name}");
        let state = match all.get(&name).await.map_err(Error::of(what)) {
            Ok(found) if serves_the_same(&found, &wanted) => DefinitionState::Same,
            Ok(_) => {
                note(&format!("warning: {name} in the cluster is that of another version"));
                DefinitionState::Different
            }
            Err(error) if error.is_forbidden() => DefinitionState::Unknown,
            Err(error) if error.is_not_found() => DefinitionState::Missing,
            Err(error) => return Err(error),
        };
        definitions.push(Definition { name, state });
    }
    Ok(definitions)
}

/// Whether the versions have the same schemas. The API server adds nothing to these.
fn serves_the_same(found: &CustomResourceDefinition, wanted: &CustomResourceDefinition) -> bool {
    let schemas = |crd: &CustomResourceDefinition| {
        let versions = crd.spec.versions.iter().map(|version| (version.name.clone(), version.schema.clone()));
        serde_json::to_value(versions.collect::<Vec<_>>()).unwrap_or_default()
    };
    schemas(found) == schemas(wanted)
}
