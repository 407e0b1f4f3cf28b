//! The Warning events about a Pod.

use super::message;
use crate::api::HoldUp;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

/// The reason of the scheduler's events about a Pod for which it finds no node.
pub const FAILED_SCHEDULING: &str = "FailedScheduling";

/// A Warning event about a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodWarning {
    /// Its reason and message, sanitized and cut.
    pub hold_up: HoldUp,
    /// When it last occurred, by the clock of its reporter.
    pub last_seen: Option<Timestamp>,
}

/// The newest Warning event. None if there is none with a reason.
pub fn newest_warning(events: &[Event]) -> Option<PodWarning> {
    let warnings = events.iter().filter(|event| event.type_.as_deref() == Some("Warning"));
    warnings.max_by_key(|event| last_seen(event)).and_then(warning)
}

fn warning(event: &Event) -> Option<PodWarning> {
    let reason = message::short(event.reason.as_deref().unwrap_or_default(), message::MAX_WORD_BYTES);
    let said = event.message.as_deref().unwrap_or_default();
    let message = match container(event) {
        Some(container) => message::stored(&format!("container {container}: {said}")),
        None => message::stored(said),
    };
    let hold_up = Some(HoldUp { reason, message }).filter(|hold_up| !hold_up.reason.is_empty())?;
    Some(PodWarning { hold_up, last_seen: last_seen(event) })
}

/// The container that the event is about. The kubelet writes it as `spec.containers{NAME}`.
fn container(event: &Event) -> Option<&str> {
    let (_, rest) = event.involved_object.field_path.as_deref()?.split_once('{')?;
    rest.strip_suffix('}').filter(|name| !name.is_empty())
}

/// When the event last occurred. Which of the fields is set depends on the reporter.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let time = event.event_time.as_ref().map(|time| time.0);
    let counted = [&event.last_timestamp, &event.first_timestamp].map(|time| time.as_ref().map(|time| time.0));
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    [series, time, created].into_iter().chain(counted).flatten().max()
}

#[cfg(test)]
mod tests;
