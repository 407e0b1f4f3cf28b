//! Liveness and readiness.
//!
//! The API server limits the duration of a watch call. So a healthy watch gets a new response at least once per that
//! duration and a back-off. A watch without one for longer is stuck: the cache would stay outdated for ever, and only a
//! restart helps. The same holds for a controller's loop that no longer runs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The state behind the probes. All times are monotonic.
#[derive(Debug)]
pub struct Health {
    stall_limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// For each watch, when it was last answered with success, or when it began.
    watches: BTreeMap<String, Instant>,
    /// Per scope, the controller's loop.
    loops: BTreeMap<String, Loop>,
    /// Whether this process leads. Otherwise it is a standby.
    leading: bool,
}

#[derive(Debug)]
struct Loop {
    turned: Instant,
    synced: bool,
}

/// Why the process is not live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    /// A watch has not been answered with success for too long.
    #[error("the watch of {watch} has had no answer for {} s (limit {} s)", .silent.as_secs(), .limit.as_secs())]
    Watch {
        /// The name of the watch, see [`watch_name`].
        watch: String,
        /// How long it has been silent.
        silent: Duration,
        /// How long it may be.
        limit: Duration,
    },
    /// A controller's loop does not run.
    #[error("the controller's loop of {scope} has not turned for {} s (limit {} s)", .silent.as_secs(), .limit.as_secs())]
    Loop {
        /// The scope of the controller, see [`scope_name`].
        scope: String,
        /// How long it has been silent.
        silent: Duration,
        /// How long it may be.
        limit: Duration,
    },
}

/// Why the process is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It leads, but its caches are not synced.
    #[error("waiting for the caches to sync")]
    Syncing,
}

/// The name of a watch: the plural of its resource, after the namespace if it has one.
pub fn watch_name(namespace: Option<&str>, resource: &str) -> String {
    namespace.map_or_else(|| resource.to_owned(), |namespace| format!("{namespace}/{resource}"))
}

/// The name of a controller's scope: its namespace, or all of them.
pub fn scope_name(namespace: Option<&str>) -> &str {
    namespace.unwrap_or("all namespaces")
}

impl Health {
    /// A process without watches: it is live and ready. `stall_limit` is how long a watch or the controller's loop may
    /// make no progress. It must be longer than the duration of one watch call plus the longest back-off.
    pub fn new(stall_limit: Duration) -> Self {
        Self { stall_limit, state: Mutex::default() }
    }

    /// This process begins to lead. It is not ready until every scope is [`Self::synced`].
    pub fn leading(&self) {
        let mut state = self.state();
        state.leading = true;
        state.loops.clear();
    }

    /// The controller of a scope starts. From now on its loop must run, and its caches must sync.
    pub fn begun(&self, namespace: Option<&str>) {
        let begun = Loop { turned: Instant::now(), synced: false };
        self.state().loops.insert(scope_name(namespace).to_owned(), begun);
    }

    /// The controller's loop has run.
    pub fn turned(&self, namespace: Option<&str>) {
        if let Some(of_scope) = self.state().loops.get_mut(scope_name(namespace)) {
            of_scope.turned = Instant::now();
        }
    }

    /// The controller's caches are synced.
    pub fn synced(&self, namespace: Option<&str>) {
        if let Some(of_scope) = self.state().loops.get_mut(scope_name(namespace)) {
            of_scope.synced = true;
        }
    }

    /// A watch starts. From now on it must be answered. Call this before its first request.
    pub fn watching(&self, namespace: Option<&str>, resource: &str) {
        self.state().watches.insert(watch_name(namespace, resource), Instant::now());
    }

    /// A watch ended on purpose. It no longer counts.
    pub fn stopped_watching(&self, namespace: Option<&str>, resource: &str) {
        self.state().watches.remove(&watch_name(namespace, resource));
    }

    /// A list or watch request was answered with success. Ignored unless [`Self::watching`] was called.
    pub fn watch_answered(&self, namespace: Option<&str>, resource: &str) {
        if let Some(last) = self.state().watches.get_mut(&watch_name(namespace, resource)) {
            *last = Instant::now();
        }
    }

    /// The controller ended on purpose. The process is live and ready.
    pub fn stopped(&self) {
        *self.state() = State::default();
    }

    /// Whether the process is live.
    ///
    /// # Errors
    /// Every watch and loop that has made no progress for longer than the limit.
    pub fn live(&self) -> Result<(), Vec<Stalled>> {
        let now = Instant::now();
        let limit = self.stall_limit;
        let state = self.state();
        let silence = |since: Instant| Some(now.saturating_duration_since(since)).filter(|silent| *silent > limit);
        let watches = state.watches.iter().filter_map(|(watch, last)| {
            silence(*last).map(|silent| Stalled::Watch { watch: watch.clone(), silent, limit })
        });
        let loops = state.loops.iter().filter_map(|(scope, of_scope)| {
            silence(of_scope.turned).map(|silent| Stalled::Loop { scope: scope.clone(), silent, limit })
        });
        let stalled: Vec<_> = watches.chain(loops).collect();
        if stalled.is_empty() { Ok(()) } else { Err(stalled) }
    }

    /// Whether the process is ready. A standby always is. A leader is once its caches are synced.
    ///
    /// # Errors
    /// What it waits for.
    pub fn ready(&self) -> Result<(), NotReady> {
        let state = self.state();
        let synced = !state.loops.is_empty() && state.loops.values().all(|of_scope| of_scope.synced);
        if state.leading && !synced { Err(NotReady::Syncing) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method panics while it holds the lock, and a probe must always be answered.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
