//! Liveness and readiness.
//!
//! A watch call is limited in time by the server, so a healthy watch shows a new response head at least once in that
//! time and a back-off. A watch that has shown none for longer is wedged: whatever the cause, the process would sit on
//! an old cache for ever, and a restart is the cure. The same holds for a controller loop that no longer turns.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What the probes of the process answer. All times are monotonic.
#[derive(Debug)]
pub struct Health {
    stall_limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Per watch, the last successful response head, or the time that watching began.
    watches: BTreeMap<String, Instant>,
    /// Per scope, the controller's loop.
    loops: BTreeMap<String, Loop>,
    /// Whether this process does the work (is not a standby).
    leading: bool,
}

#[derive(Debug)]
struct Loop {
    turned: Instant,
    synced: bool,
}

/// Why the process is not alive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    /// A watch or list has not been answered with success for too long.
    #[error("the watch of {watch} has had no answer for {} s (limit {} s)", .silent.as_secs(), .limit.as_secs())]
    Watch {
        /// The name of the watch, see [`watch_name`].
        watch: String,
        /// How long it has been silent.
        silent: Duration,
        /// How long it may be.
        limit: Duration,
    },
    /// A controller's loop does not turn.
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
    /// It does the work, but has not read everything yet.
    #[error("waiting for the caches to sync")]
    Syncing,
}

/// The name under which a watch is known: the plural of its resource, with the namespace in front where it has one.
pub fn watch_name(namespace: Option<&str>, resource: &str) -> String {
    namespace.map_or_else(|| resource.to_owned(), |namespace| format!("{namespace}/{resource}"))
}

/// The name under which a controller's scope is known: its namespace, or all of them.
pub fn scope_name(namespace: Option<&str>) -> &str {
    namespace.unwrap_or("all namespaces")
}

impl Health {
    /// A process that watches nothing, live and ready. `stall_limit` is how long a watch or the controller's loop may
    /// be silent; it must be longer than the time limit of one watch call plus the longest back-off.
    pub fn new(stall_limit: Duration) -> Self {
        Self { stall_limit, state: Mutex::default() }
    }

    /// This process begins to do the work: it is not ready again before every scope is [`Self::synced`].
    pub fn leading(&self) {
        let mut state = self.state();
        state.leading = true;
        state.loops.clear();
    }

    /// The controller of a scope begins: from now on its loop must turn, and its caches must fill.
    pub fn begun(&self, namespace: Option<&str>) {
        let begun = Loop { turned: Instant::now(), synced: false };
        self.state().loops.insert(scope_name(namespace).to_owned(), begun);
    }

    /// The controller's loop turned.
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

    /// A watch begins; from now on it must be answered. Begin it before its first request.
    pub fn watching(&self, namespace: Option<&str>, resource: &str) {
        self.state().watches.insert(watch_name(namespace, resource), Instant::now());
    }

    /// A watch ended on purpose; nothing is expected of it any more.
    pub fn stopped_watching(&self, namespace: Option<&str>, resource: &str) {
        self.state().watches.remove(&watch_name(namespace, resource));
    }

    /// A list or watch request was answered with success. Requests of watches that were not begun do not count.
    pub fn watch_answered(&self, namespace: Option<&str>, resource: &str) {
        if let Some(last) = self.state().watches.get_mut(&watch_name(namespace, resource)) {
            *last = Instant::now();
        }
    }

    /// The controller ended on purpose: neither watches nor heartbeats are expected, and nothing need be synced.
    pub fn stopped(&self) {
        *self.state() = State::default();
    }

    /// Whether the process should go on living.
    ///
    /// # Errors
    /// Everything that has been silent for longer than the limit.
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

    /// Whether the process is ready: a standby always is, a leader when its caches are synced.
    ///
    /// # Errors
    /// What it is waiting for.
    pub fn ready(&self) -> Result<(), NotReady> {
        let state = self.state();
        let synced = !state.loops.is_empty() && state.loops.values().all(|of_scope| of_scope.synced);
        if state.leading && !synced { Err(NotReady::Syncing) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method panics while it holds the lock, and a probe must answer in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(400);

    #[tokio::test(start_paused = true)]
    async fn a_standby_is_live_and_ready_for_ever() {
        let health = Health::new(LIMIT);
        advance(LIMIT * 100).await;
        assert_eq!(health.live(), Ok(()));
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_never_answered_stalls_after_the_limit() {
        let health = Health::new(LIMIT);
        advance(LIMIT * 3).await;
        health.watching(None, "pods");
        advance(LIMIT).await;
        assert_eq!(health.live(), Ok(()));
        advance(Duration::from_secs(1)).await;
        let stalled = health.live().unwrap_err();
        assert_eq!(stalled[0].to_string(), "the watch of pods has had no answer for 401 s (limit 400 s)");
    }

    #[tokio::test(start_paused = true)]
    async fn each_watch_counts_for_itself() {
        let health = Health::new(LIMIT);
        for namespace in ["a", "b"] {
            health.watching(Some(namespace), "pods");
        }
        for _ in 0..5 {
            advance(Duration::from_secs(300)).await;
            health.watch_answered(Some("a"), "pods");
            health.watch_answered(Some("unknown"), "pods");
            health.watch_answered(Some("a"), "retryabletasks");
        }
        let stalled = health.live().unwrap_err();
        assert_eq!(
            stalled,
            [Stalled::Watch { watch: "b/pods".to_owned(), silent: Duration::from_secs(1_500), limit: LIMIT }]
        );
        health.stopped_watching(Some("b"), "pods");
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn each_loop_must_turn_once_it_has_begun() {
        let health = Health::new(LIMIT);
        health.begun(Some("a"));
        health.begun(Some("b"));
        advance(LIMIT).await;
        health.turned(Some("a"));
        assert_eq!(health.live(), Ok(()));
        advance(Duration::from_secs(1)).await;
        let stalled = health.live().unwrap_err();
        let silent = LIMIT + Duration::from_secs(1);
        assert_eq!(stalled, [Stalled::Loop { scope: "b".into(), silent, limit: LIMIT }]);
        health.stopped();
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_ready_when_every_scope_has_synced() {
        let health = Health::new(LIMIT);
        health.leading();
        assert_eq!(health.ready(), Err(NotReady::Syncing));
        health.begun(Some("a"));
        health.begun(Some("b"));
        health.synced(Some("a"));
        assert_eq!(health.ready(), Err(NotReady::Syncing));
        health.synced(Some("b"));
        assert_eq!(health.ready(), Ok(()));
        health.leading();
        assert_eq!(health.ready(), Err(NotReady::Syncing), "a new term begins with empty caches");
        health.stopped();
        assert_eq!(health.ready(), Ok(()));
    }
}
