//! What the cluster's events say of a Pod.

use super::message;
use crate::api::HoldUp;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

/// The reason of the scheduler's events on a Pod that it finds no node for.
pub const FAILED_SCHEDULING: &str = "FailedScheduling";

/// A Warning event about a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodWarning {
    /// Its reason and message, made harmless and short.
    pub hold_up: HoldUp,
    /// When it last occurred, by the clock of who reported it.
    pub last_seen: Option<Timestamp>,
}

/// The newest of the Warning events, if there is one.
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

/// The container that the event is about, by the kubelet's word: `spec.containers{NAME}`.
fn container(event: &Event) -> Option<&str> {
    let (_, rest) = event.involved_object.field_path.as_deref()?.split_once('{')?;
    rest.strip_suffix('}').filter(|name| !name.is_empty())
}

/// Reporters fill in one field or another.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let time = event.event_time.as_ref().map(|time| time.0);
    let counted = [&event.last_timestamp, &event.first_timestamp].map(|time| time.as_ref().map(|time| time.0));
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    [series, time, created].into_iter().chain(counted).flatten().max()
}

#[cfg(test)]
mod tests;
