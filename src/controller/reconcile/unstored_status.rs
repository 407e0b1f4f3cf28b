//! A status that cannot be stored.

use crate::controller::context::Context;
use crate::controller::process_state::TaskState;
use crate::controller::task_api::message_of;
use crate::controller::{Error, TaskKey};
use k8s_openapi::api::core::v1::ObjectReference;

/// Counts the failed write, and reports it as an Event once it has lasted a while: the status itself cannot say so.
/// `message` replaces that of the error.
pub fn report(
    context: &Context,
    key: &TaskKey,
    (uid, task): (&str, ObjectReference),
    error: &Error,
    message: Option<String>,
) {
    if matches!(error, Error::NotLeading(_)) {
        return;
    }
    context.settings.telemetry.metrics.status_update_failed();
    if context.process_states.with(key, uid, TaskState::not_stored) {
        context.reporter.not_stored(task, &message.unwrap_or_else(|| message_of(error)));
    }
}
