//! Completes a command line by the protocol of Cobra, which kubectl speaks: a word a line, then `:` and a directive.

use super::connect::{Cluster, Connection};
use super::fetch;
use super::{Plugin, output::out};
use clap::{Command, CommandFactory, Parser};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::api::{Api, ListParams};
use retryable_tasks::api::{RetryableTask, TaskQueue, TaskSchedule};
use retryable_tasks::core::fingerprint::{failures, group};
use retryable_tasks::plugin::tasks::STATES;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// Whoever presses the key does not wait longer.
const LIMIT: Duration = Duration::from_secs(3);
/// Files are no candidates (`ShellCompDirectiveNoFileComp`).
const NO_FILES: u8 = 4;
/// The shell completes by itself (`ShellCompDirectiveDefault`).
const DEFAULT: u8 = 0;

/// What can be completed.
enum Candidates {
    Words(Vec<String>),
    Tasks,
    Queues,
    Schedules,
    Fingerprints,
    Namespaces,
    Contexts,
    Files,
}

/// Prints the candidates for the last of the words.
pub(super) fn complete(words: &[OsString]) -> ExitCode {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (last, before) = words.split_last().map_or((String::new(), &[][..]), |(last, before)| (last.clone(), before));
    let candidates = candidates(&Plugin::command(), before, &last);
    let directive = if matches!(candidates, Candidates::Files) { DEFAULT } else { NO_FILES };
    let mut all = match candidates {
        Candidates::Words(words) => words,
        Candidates::Files => Vec::new(),
        Candidates::Namespaces => {
            // One more, after those before the last comma.
            let others = last.rfind(',').and_then(|at| last.get(..=at)).unwrap_or_default();
            names(&candidates, before).iter().map(|name| format!("{others}{name}")).collect()
        }
        Candidates::Tasks
        | Candidates::Queues
        | Candidates::Schedules
        | Candidates::Fingerprints
        | Candidates::Contexts => names(&candidates, before),
    };
    all.retain(|word| word.starts_with(&last));
    all.sort();
    all.dedup();
    let lines: String = all.iter().flat_map(|word| [word.as_str(), "\n"]).collect();
    match out(&format!("{lines}:{directive}\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What may stand where the last word is.
fn candidates(root: &Command, before: &[String], last: &str) -> Candidates {
    let mut command = root;
    let mut path: Vec<&str> = Vec::new();
    for word in before {
        if word == "--" {
            return Candidates::Files;
        }
        if let Some(next) = command.find_subcommand(word) {
            command = next;
            path.push(next.get_name());
        }
    }
    if let Some(of_option) = before.last().and_then(|option| values_of(root, command, option)) {
        return of_option;
    }
    if last.starts_with('-') {
        let longs = command.get_arguments().chain(root.get_arguments()).filter_map(clap::Arg::get_long);
        return Candidates::Words(longs.map(|long| format!("--{long}")).chain(["--help".into()]).collect());
    }
    if command.has_subcommands() {
        let names = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        return Candidates::Words(names.map(|sub| sub.get_name().to_owned()).collect());
    }
    match *path {
        ["queue", ..] => Candidates::Queues,
        ["schedule", ..] => Candidates::Schedules,
        ["simulate" | "convert"] => Candidates::Files,
        ["get" | "why" | "logs" | "wait" | "retry-now" | "run-again" | "cancel" | "suspend" | "resume"] => {
            Candidates::Tasks
        }
        _ => Candidates::Words(Vec::new()),
    }
}

/// The values of an option that the word before asks for.
fn values_of(root: &Command, command: &Command, option: &str) -> Option<Candidates> {
    let is_it = |arg: &&clap::Arg| {
        let long = arg.get_long().is_some_and(|long| option == format!("--{long}"));
        let short = arg.get_short().is_some_and(|short| option == format!("-{short}"));
        (long || short) && arg.get_action().takes_values()
    };
    let arg = command.get_arguments().chain(root.get_arguments()).find(is_it)?;
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| value.get_name().to_owned())
        .collect();
    Some(match arg.get_id().as_str() {
        _ if !possible.is_empty() => Candidates::Words(possible),
        "state" => Candidates::Words(STATES.map(str::to_owned).to_vec()),
        "fingerprint" => Candidates::Fingerprints,
        "queue" => Candidates::Queues,
        "namespace" => Candidates::Namespaces,
        "context" => Candidates::Contexts,
        "kubeconfig" | "outcomes_from" => Candidates::Files,
        _ => Candidates::Words(Vec::new()),
    })
}

/// Names from the cluster; none if it does not answer in time.
fn names(candidates: &Candidates, before: &[String]) -> Vec<String> {
    let connection = connection(before);
    if matches!(candidates, Candidates::Contexts) {
        return connection.contexts();
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let found = async {
        let cluster = connection.connect().await.ok()?;
        match candidates {
            Candidates::Tasks => named::<RetryableTask>(&cluster).await,
            Candidates::Queues => named::<TaskQueue>(&cluster).await,
            Candidates::Schedules => named::<TaskSchedule>(&cluster).await,
            Candidates::Fingerprints => {
                let tasks = fetch::list::<RetryableTask>(&cluster, &ListParams::default()).await.ok()?.items;
                Some(group(tasks.iter().flat_map(failures)).iter().map(|group| group.fingerprint.name()).collect())
            }
            Candidates::Namespaces => {
                let all = Api::<Namespace>::all(cluster.client.clone()).list(&ListParams::default()).await.ok()?;
                Some(all.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
            }
            Candidates::Contexts | Candidates::Words(_) | Candidates::Files => None,
        }
    };
    runtime.block_on(async { tokio::time::timeout(LIMIT, found).await }).ok().flatten().unwrap_or_default()
}

async fn named<K>(cluster: &Cluster) -> Option<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let found = fetch::list::<K>(cluster, &ListParams::default()).await.ok()?;
    Some(found.items.iter().filter_map(|item| item.meta().name.clone()).collect())
}

/// The options of the connection among the words.
fn connection(before: &[String]) -> Connection {
    let mut words = vec!["kubectl retryable".to_owned()];
    let mut rest = before.iter();
    while let Some(word) = rest.next() {
        let name = word.split('=').next().unwrap_or_default();
        let is_flag = matches!(name, "-A" | "--all-namespaces");
        if is_flag || matches!(name, "-n" | "--namespace" | "--context" | "--kubeconfig" | "--as") {
            words.push(word.clone());
            if !is_flag && !word.contains('=') {
                words.extend(rest.next().cloned());
            }
        }
    }
    words.push("workers".into());
    Plugin::try_parse_from(words).map_or_else(|_| Connection::of_context(), |plugin| plugin.connection)
}
