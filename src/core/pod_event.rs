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
mod tests {
    use super::*;
    use crate::core::testing::at;
    use serde_json::json;

    fn event(fields: &serde_json::Value) -> Event {
        let mut event = json!({"metadata": {}, "involvedObject": {}, "type": "Warning"});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn the_newest_warning_is_found_by_whatever_time_it_has() {
        let (early, later) = (at(10).to_string(), at(20).to_string());
        let newest = [
            json!({"lastTimestamp": later}),
            json!({"eventTime": later}),
            json!({"series": {"count": 2, "lastObservedTime": later}, "eventTime": early}),
            json!({"metadata": {"creationTimestamp": later}}),
        ];
        for mut newest in newest {
            newest["reason"] = json!("FailedMount");
            newest["message"] = json!("configmap \"nope\" not found\u{1b}[31m");
            let older = event(&json!({"reason": "FailedScheduling", "lastTimestamp": early}));
            let normal = event(&json!({"type": "Normal", "reason": "Pulled", "lastTimestamp": at(30).to_string()}));
            let timeless = event(&json!({"reason": "Odd"}));
            let events = [older, event(&newest), normal, timeless];
            let warning = newest_warning(&events).unwrap();
            assert_eq!((warning.hold_up.reason.as_str(), warning.last_seen), ("FailedMount", Some(at(20))));
            assert_eq!(warning.hold_up.message.as_deref(), Some("configmap \"nope\" not found"));
        }
        assert_eq!(newest_warning(&[event(&json!({"reason": ""}))]), None);
    }

    #[test]
    fn the_container_that_it_is_about_is_named() {
        let of = |path: &str| {
            let event = event(&json!({
                "involvedObject": {"fieldPath": path}, "reason": "Unhealthy", "message": "Startup probe failed: ",
            }));
            newest_warning(&[event]).unwrap().hold_up.message.unwrap()
        };
        assert_eq!(of("spec.initContainers{proxy}"), "container proxy: Startup probe failed:");
        for odd in ["", "spec", "spec.containers{}", "}{"] {
            assert_eq!(of(odd), "Startup probe failed:", "{odd}");
        }
    }
}
