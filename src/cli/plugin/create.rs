//! `create`: a new task, submitted until it is there.

use super::connect::{Cluster, Connection};
use super::error::Error;
use super::fetch::answered;
use super::output::{Output, Show, name_of, note, out};
use super::wait;
use clap::Args;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use retryable_tasks::api::RetryableTask;
use retryable_tasks::plugin::create::{NewTask, Next, Submission, difference};
use retryable_tasks::plugin::inputs;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is an option of the command line
pub(super) struct CreateArgs {
    /// Name of the task
    name: String,

    /// The image to run
    #[arg(long)]
    image: String,

    /// The arguments, after --
    #[arg(last = true, value_name = "ARGS")]
    words: Vec<String>,

    /// Take what is after -- as the command, instead of the image's entrypoint
    #[arg(long)]
    command: bool,

    /// How often to retry after a failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    max_retries: Option<i32>,

    /// An environment variable; may be given several times
    #[arg(long, value_parser = inputs::assignment, value_name = "NAME=VALUE")]
    env: Vec<(String, String)>,

    /// A label; may be given several times
    #[arg(long, value_parser = inputs::assignment, value_name = "NAME=VALUE")]
    label: Vec<(String, String)>,

    /// The TaskQueue that starts its attempts
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,

    /// Longest time of one attempt
    #[arg(long, value_parser = inputs::duration, value_name = "TIME")]
    attempt_timeout: Option<Duration>,

    /// Longest time of the whole task
    #[arg(long, value_parser = inputs::duration, value_name = "TIME")]
    deadline: Option<Duration>,

    /// Delete it that long after its end
    #[arg(long, value_parser = inputs::duration, value_name = "TIME")]
    ttl: Option<Duration>,

    /// Let it wait until it is resumed
    #[arg(long)]
    suspend: bool,

    /// How long to try while the API server does not answer or is overloaded
    #[arg(long, value_parser = inputs::duration, value_name = "TIME", default_value = "5m")]
    submit_timeout: Duration,

    /// Print the manifest and send nothing
    #[arg(long)]
    dry_run: bool,

    /// Wait for its end: exit code 0 if it succeeded, 1 if not
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    show: Show,
}

/// Creates the task, or finds that it exists.
pub(super) async fn create(connection: &Connection, args: &CreateArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    let namespace = cluster.namespace()?.to_owned();
    let manifest = NewTask {
        name: args.name.clone(),
        namespace: namespace.clone(),
        image: args.image.clone(),
        words: args.words.clone(),
        is_command: args.command,
        max_retries: args.max_retries,
        env: args.env.clone(),
        labels: args.label.clone(),
        queue: args.queue.clone(),
        attempt_timeout: args.attempt_timeout,
        deadline: args.deadline,
        ttl: args.ttl,
        suspend: args.suspend,
    }
    .manifest();
    let name = name_of(&RetryableTask::new(&args.name, serde_json::from_value(manifest["spec"].clone())?));
    if args.dry_run {
        return match args.show.output {
            Output::Json | Output::Yaml => args.show.value(&manifest),
            Output::Name => out(&format!("{name}\n")),
            Output::Table | Output::Wide => out(&serde_yaml_ng::to_string(&manifest)?),
        }
        .map(|()| 0);
    }
    let (created, is_new) = submit(&cluster, &namespace, &manifest, args.submit_timeout).await?;
    match args.show.output {
        Output::Json | Output::Yaml => args.show.value(&created)?,
        Output::Name => out(&format!("{name}\n"))?,
        Output::Table | Output::Wide => {
            let what = if is_new { "created" } else { "exists, unchanged" };
            out(&format!("{name} {what}\n"))?;
        }
    }
    if args.wait { wait::for_all(&cluster, std::slice::from_ref(&args.name), None).await } else { Ok(0) }
}

/// Sends it until the API server has said yes or no, or the time is over. Its name makes it safe to send it again: whoever gets no answer
/// does not know whether it was stored.
async fn submit(
    cluster: &Cluster,
    namespace: &str,
    manifest: &Value,
    limit: Duration,
) -> Result<(DynamicObject, bool), Error> {
    let resource = ApiResource::erase::<RetryableTask>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
    let object: DynamicObject = serde_json::from_value(manifest.clone())?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let params = PostParams { field_manager: Some("kubectl-retryable".into()), ..PostParams::default() };
    let what = format!("create RetryableTask {namespace}/{name}");
    let began = Instant::now();
    let mut submission = Submission::new(limit);
    loop {
        let (problem, code) = match answered(&what, TRY_LIMIT, api.create(&params, &object)).await {
            Ok(created) => return Ok((created, true)),
            Err(error) if error.answer().is_some_and(|status| status.reason == "AlreadyExists") => {
                match same(&api, &name, manifest).await {
                    Ok(existing) if existing.metadata.deletion_timestamp.is_none() => return Ok((existing, false)),
                    Ok(_) => (Error::Usage(format!("RetryableTask {namespace}/{name} is being deleted")), None),
                    Err(error @ Error::Usage(_)) => return Err(error),
                    // It was deleted meanwhile.
                    Err(error) if error.is_not_found() => (error, None),
                    Err(error) => with_code(error),
                }
            }
            Err(error) => with_code(error),
        };
        match submission.failed(code, began.elapsed(), fastrand::f64()) {
            Next::Again(wait) => {
                if submission.tries() == 1 {
                    note(&format!("{problem}; trying again for {} s", limit.as_secs()));
                }
                tokio::time::sleep(wait).await;
            }
            Next::Refused => return Err(problem),
            Next::GiveUp => {
                note(&format!("error: gave up after {} tries in {} s", submission.tries(), limit.as_secs()));
                return Err(problem);
            }
        }
    }
}

fn with_code(error: Error) -> (Error, Option<u16>) {
    let code = error.answer().map(|status| status.code);
    (error, code)
}

/// The task of that name, if it is what was to be created.
async fn same(api: &Api<DynamicObject>, name: &str, manifest: &Value) -> Result<DynamicObject, Error> {
    let existing = answered(&format!("get RetryableTask {name}"), TRY_LIMIT, api.get(name)).await?;
    match difference(&manifest["spec"], &existing.data["spec"]) {
        None => Ok(existing),
        Some(_) if existing.metadata.deletion_timestamp.is_some() => Ok(existing),
        Some(path) => Err(Error::Usage(format!(
            "RetryableTask {name} exists and is another: {path} differs. Choose another name, or delete it first"
        ))),
    }
}
