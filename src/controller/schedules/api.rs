//! The requests of one schedule. Each is sent once; whether one without an answer went through is found out by a read.

use super::Context;
use super::run_cache::WatchedTask;
use crate::api::{ANNOTATION_CANCEL, RetryableTask, TaskSchedule, TaskScheduleStatus};
use crate::controller::task_api::message_of;
use crate::controller::{Error, TaskKey};
use crate::core::rejection::is_of_admission;
use crate::core::schedule::RunSnapshot;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::Status;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

/// The requests of one schedule.
pub(super) struct ScheduleApi<'a> {
    pub context: &'a Context,
    pub key: &'a TaskKey,
}

/// What became of a status write.
pub(super) enum Written {
    /// It is stored. The schedule as it is now.
    Done(Box<TaskSchedule>),
    /// The schedule has changed since it was read.
    Conflict,
    /// The schedule is deleted.
    Deleted,
}

/// What became of a task's creation.
pub(super) enum Created {
    /// It exists, with this UID.
    Done(String),
    /// It was rejected, or it is unknown whether it was created.
    Rejected(Rejection),
}

/// Why a task was not created.
#[derive(Debug)]
pub(super) struct Rejection {
    /// The API server's message.
    pub message: String,
    /// Whether this request has certainly not created the task.
    pub is_certain: bool,
    /// Whether an object that is not the schedule's has the name.
    pub is_taken: bool,
}

/// Whether the API server has certainly stored nothing. Webhooks are asked before anything is stored: one that cannot be called makes the
/// API server answer with 500.
fn is_refused(status: &Status) -> bool {
    let is_client_error = (400..500).contains(&status.code) && status.code != 408;
    is_client_error || is_of_admission(&status.message)
}

impl ScheduleApi<'_> {
    fn schedules(&self) -> Api<TaskSchedule> {
        Api::namespaced(self.context.settings.client.clone(), &self.key.namespace)
    }

    fn tasks<K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.context.settings.client.clone(), &self.key.namespace)
    }

    fn may_write(&self) -> Result<(), Error> {
        if (self.context.settings.may_write)() { Ok(()) } else { Err(Error::NotLeading(self.key.clone())) }
    }

    /// The schedule as the API server has it; `None` if there is none of that name and UID.
    pub(super) async fn read(&self, uid: &str) -> Result<Option<TaskSchedule>, Error> {
        let live = self.schedules().get_opt(&self.key.name).await;
        let live = live.map_err(Error::request(self.key, "cannot read the schedule"))?;
        Ok(live.filter(|live| live.uid().as_deref() == Some(uid)))
    }

    /// Writes `status` if the schedule is still the one that was read, and if this process may write.
    pub(super) async fn write_status(
        &self,
        schedule: &TaskSchedule,
        status: TaskScheduleStatus,
    ) -> Result<Written, Error> {
        self.may_write()?;
        let mut next = TaskSchedule { status: Some(status), ..schedule.clone() };
        next.metadata.managed_fields = None;
        match self.schedules().replace_status(&self.key.name, &PostParams::default(), &next).await {
            Ok(stored) => Ok(Written::Done(Box::new(stored))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Deleted),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Conflict),
            Err(error) => Err(Error::request(self.key, "cannot write the status")(error)),
        }
    }

    /// Whether the task of that name and UID exists.
    pub(super) async fn exists(&self, name: &str, uid: &str) -> Result<bool, Error> {
        let found = self.tasks::<RetryableTask>().get_metadata_opt(name).await;
        let found = found.map_err(Error::request(self.key, "cannot look a task up"))?;
        Ok(found.is_some_and(|found| found.uid().as_deref() == Some(uid)))
    }

    /// Creates the task of a run, if this process may write. One that exists and belongs to the schedule counts as created.
    pub(super) async fn create(&self, name: &str, schedule_uid: &str, body: Value) -> Result<Created, Error> {
        self.may_write()?;
        let resource = ApiResource::erase::<RetryableTask>(&());
        let client = self.context.settings.client.clone();
        let tasks: Api<DynamicObject> = Api::namespaced_with(client, &self.key.namespace, &resource);
        let rejected = |message, is_certain| Ok(Created::Rejected(Rejection { message, is_certain, is_taken: false }));
        let body = match serde_json::from_value(body) {
            Ok(body) => body,
            Err(error) => return rejected(error.to_string(), true),
        };
        match tasks.create(&PostParams::default(), &body).await {
            Ok(created) => Ok(Created::Done(created.uid().unwrap_or_default())),
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                let found = self.tasks::<WatchedTask>().get_opt(name).await;
                let found = found.map_err(Error::request(self.key, "cannot look a task up"))?;
                match found {
                    Some(task) if task.schedule_uid() == Some(schedule_uid) => {
                        Ok(Created::Done(task.uid().unwrap_or_default()))
                    }
                    Some(_) => Ok(Created::Rejected(Rejection {
                        message: format!(
                            "a task that is not this schedule's has the name {name}: delete it, or rename one of the two"
                        ),
                        is_certain: true,
                        is_taken: true,
                    })),
                    None => rejected(status.message, false),
                }
            }
            Err(error) => {
                let is_certain = matches!(&error, kube::Error::Api(status) if is_refused(status));
                rejected(message_of(&error), is_certain)
            }
        }
    }

    /// Requests that a task ends.
    pub(super) async fn cancel(&self, run: &RunSnapshot) -> Result<(), Error> {
        self.may_write()?;
        // A task that was cancelled and is run again has acknowledged the value of its run before.
        let value = match run.number {
            ..=1 => format!("replaced by the next run of {}", self.key.name),
            number => format!("replaced by the next run of {}, in run {number} of this task", self.key.name),
        };
        let patch = json!({"metadata": {"uid": run.uid, "annotations": {ANNOTATION_CANCEL: value}}});
        let result =
            self.tasks::<RetryableTask>().patch(&run.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        unless_gone(result.map(drop)).map_err(Error::request(self.key, "cannot cancel a task"))
    }

    /// Deletes the task, unless it has changed since it was read.
    pub(super) async fn delete(&self, run: &RunSnapshot) -> Result<(), Error> {
        self.may_write()?;
        let (uid, resource_version) = (Some(run.uid.clone()), Some(run.resource_version.clone()));
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let result = self.tasks::<RetryableTask>().delete(&run.name, &parameters).await;
        unless_gone(result.map(drop)).map_err(Error::request(self.key, "cannot delete a finished task"))
    }
}

/// A task that is gone, or another of its name, needs nothing more. One that has changed is decided on once the watch shows it.
fn unless_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
