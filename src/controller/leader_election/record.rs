//! What stands in a Lease, and what this process may conclude from it. No I/O.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::time::Instant;

use super::Settings;

/// The last state of the Lease that this process has seen, and since when it has seen it unchanged.
#[derive(Debug)]
pub(super) struct Observed {
    lease: Option<Lease>,
    since: Instant,
    /// The Lease was there and is gone: someone deleted it. What was seen last still counts.
    gone: bool,
}

impl Observed {
    pub(super) fn nothing(now: Instant) -> Self {
        Self { lease: None, since: now, gone: false }
    }

    /// Takes note of what was read or written at `now`; true if the record is another one than before.
    pub(super) fn see(&mut self, lease: Option<Lease>, now: Instant) -> bool {
        self.gone = lease.is_none();
        let Some(lease) = lease else { return false };
        // Only the record counts: an edited label is no sign of life.
        let changed = self.lease.as_ref().is_none_or(|seen| seen.spec != lease.spec);
        if changed {
            self.since = now;
        }
        self.lease = Some(lease);
        changed
    }

    /// Who holds the lease by the last record seen, be it run out or not.
    pub(super) fn holder(&self) -> Option<&str> {
        self.lease.as_ref().and_then(holder)
    }

    /// The lease if it is there and `identity` is its holder.
    pub(super) fn held_by(&self, identity: &str) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| !self.gone && holder(lease) == Some(identity))
    }

    /// When the lease of another holder runs out; `None` if there is no such holder.
    pub(super) fn expiry(&self, settings: &Settings) -> Option<Instant> {
        let lease = self.lease.as_ref()?;
        holder(lease).filter(|holder| *holder != settings.identity)?;
        // The holder goes by the duration in the record, which may be another one than ours during an upgrade.
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let duration = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        Some(self.since + duration.map_or(settings.lease_duration, Duration::from_secs))
    }

    /// Whether this process may write itself into the record.
    pub(super) fn is_free(&self, settings: &Settings, now: Instant) -> bool {
        self.expiry(settings).is_none_or(|expiry| expiry <= now)
    }
}

/// The holder that a Lease names; an empty name is none.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The Lease with this process as its holder. `current` keeps its other fields and its resourceVersion.
pub(super) fn claimed(current: Option<&Lease>, settings: &Settings, clock: Timestamp) -> Lease {
    let mut lease = current.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(settings.name.clone()),
            namespace: Some(settings.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
    });
    let renewed = holder(&lease) == Some(settings.identity.as_str());
    let mut spec = lease.spec.take().unwrap_or_default();
    let now = differing(clock, spec.renew_time.as_ref());
    if !renewed {
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
    }
    spec.holder_identity = Some(settings.identity.clone());
    spec.lease_duration_seconds = Some(whole_seconds(settings.lease_duration));
    spec.renew_time = Some(now);
    lease.spec = Some(spec);
    lease
}

/// The Lease without a holder. The shortest duration is for clients that go by the duration alone.
pub(super) fn vacated(current: &Lease, clock: Timestamp) -> Lease {
    let old = current.spec.clone().unwrap_or_default();
    let now = differing(clock, old.renew_time.as_ref());
    let spec = LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        ..old
    };
    Lease { spec: Some(spec), ..current.clone() }
}

/// `clock` in microseconds, moved by one where it shows the time that the record holds already: a renewal that changes
/// nothing would be invisible to the others, who would take the leader for dead.
fn differing(clock: Timestamp, old: Option<&MicroTime>) -> MicroTime {
    let now = Timestamp::from_microsecond(clock.as_microsecond()).unwrap_or(clock);
    let same = old.is_some_and(|old| old.0.as_microsecond() == now.as_microsecond());
    let now = if same { now.checked_add(SignedDuration::from_micros(1)).unwrap_or(now) } else { now };
    MicroTime(now)
}

fn whole_seconds(duration: Duration) -> i32 {
    let up = u64::from(duration.subsec_nanos() > 0);
    i32::try_from(duration.as_secs().saturating_add(up)).unwrap_or(i32::MAX)
}

/// A number from 0 to 999 that differs from candidate to candidate and from try to try.
pub(super) fn spread(identity: &str, tries: u64) -> u32 {
    let mut hasher = DefaultHasher::new();
    (identity, tries).hash(&mut hasher);
    u32::try_from(hasher.finish() % 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
