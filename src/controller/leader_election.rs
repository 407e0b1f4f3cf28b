//! Leader election: of all replicas, one does the work.
//!
//! The leader writes a new time into a Lease every retry period. A candidate takes the Lease over when *it* has seen
//! the record unchanged for the lease duration; the times in the record are for people and are never compared with a
//! clock, so clocks may be apart by any amount. Every write carries the resourceVersion that was read, so of two
//! candidates one loses.
//!
//! A leader trusts its lease for the renew deadline, counted from the moment it *sent* the last renewal that went
//! through. Others see that renewal later than that and then wait for the longer lease duration, so no two processes
//! trust their lease at once. Two things lie outside of this: clocks that run at grossly different speeds, and a
//! person who deletes the Lease while a new replica starts.
//!
//! A take-over after the leader's death is due one lease duration after the last renewal was seen, which is at most
//! 1.25 retry periods after it was made; an orderly leader empties the record, and its successor follows within that.

mod leadership;
mod record;

use std::{future::Future, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::{debug, info, warn};

pub use leadership::Leadership;
use leadership::Term;
use record::Observed;

/// How often a release is tried when another write came in between.
const RELEASE_TRIES: u32 = 3;

/// The names and times of an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The name of this process in the record. No two living processes may share one: a process that finds its own
    /// name in the record goes on as the leader, so that a restarted container need not wait.
    pub identity: String,
    /// How long a candidate must see the record unchanged before it takes over. Whole seconds; others are rounded up.
    pub lease_duration: Duration,
    /// How long the leader trusts a renewal. Shorter than the lease duration.
    pub renew_deadline: Duration,
    /// The time between two tries. Less than two thirds of the renew deadline.
    pub retry_period: Duration,
}

impl Settings {
    fn check(&self) -> Result<(), Error> {
        let whole = self.lease_duration <= Duration::from_secs(i32::MAX.unsigned_abs().into());
        let fault = if self.identity.is_empty() {
            Some("the identity is empty")
        } else if self.retry_period.is_zero() {
            Some("the retry period must be above zero")
        } else if self.renew_deadline * 2 <= self.retry_period * 3 {
            Some("the renew deadline must be longer than one and a half retry periods")
        } else if self.lease_duration <= self.renew_deadline {
            Some("the lease duration must be longer than the renew deadline")
        } else if !whole {
            Some("the lease duration is too long")
        } else {
            None
        };
        fault.map_or(Ok(()), |fault| Err(Error::Settings(fault)))
    }

    /// The limit of one API call: a call that hangs leaves time for another one before the deadline.
    fn call_limit(&self) -> Duration {
        self.renew_deadline / 2
    }
}

/// What can go wrong in an election.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The times or names do not make sense.
    #[error("leader election: {0}")]
    Settings(&'static str),
    /// The API server refused or failed a request.
    #[error("cannot {action} the lease: {source}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time; a write may have gone through.
    #[error("cannot {action} the lease: no answer within {} s", .limit.as_secs_f64())]
    NoAnswer {
        /// What was tried.
        action: &'static str,
        /// The limit that passed.
        limit: Duration,
    },
    /// Other writes came in between again and again.
    #[error("cannot release the lease: it kept changing")]
    Contended,
    /// The task that renews the lease ended before its time.
    #[error("the renewal of the lease ended: {0}")]
    Renewal(#[from] tokio::task::JoinError),
}

impl Error {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 409))
    }
}

/// The outcome of a try that met no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// This process holds the lease by a write that was sent at this instant.
    Held(Instant),
    /// Another process holds it.
    Standby,
}

type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A candidate for the lease.
pub struct Elector {
    api: Api<Lease>,
    settings: Settings,
    wall_clock: WallClock,
    observed: Observed,
    tries: u64,
}

impl std::fmt::Debug for Elector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elector").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Elector {
    /// A candidate that writes its times by `wall_clock`.
    ///
    /// # Errors
    /// When the settings do not make sense.
    pub fn new(
        client: Client,
        settings: Settings,
        wall_clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        settings.check()?;
        let api = Api::namespaced(client, &settings.namespace);
        Ok(Self {
            api,
            settings,
            wall_clock: Arc::new(wall_clock),
            observed: Observed::nothing(Instant::now()),
            tries: 0,
        })
    }

    /// Waits until this process holds the lease, and keeps renewing it from then on. Dropping the future gives up the
    /// candidacy. Errors are logged and tried again.
    pub async fn acquire(self) -> Held {
        let (term, leadership) = Term::begin();
        let (release, released) = oneshot::channel();
        let (elector, held_since) = self.win().await;
        term.extend(held_since + elector.settings.renew_deadline);
        let renewal = tokio::spawn(elector.keep(held_since, term, released));
        Held { leadership, release: Some(release), renewal }
    }

    /// Tries until the lease is held; returns when the write that won it was sent.
    async fn win(mut self) -> (Self, Instant) {
        info!(lease = self.settings.name, identity = self.settings.identity, "waiting to lead");
        loop {
            let begin = Instant::now();
            match self.try_once().await {
                Ok(Tried::Held(since)) if since.elapsed() < self.settings.renew_deadline => {
                    info!(lease = self.settings.name, identity = self.settings.identity, "leading");
                    return (self, since);
                }
                Ok(_) => {}
                Err(error) if error.is_conflict() => debug!(%error, "another candidate was faster"),
                Err(error) => warn!(%error, "could not try for the lease"),
            }
            sleep_until(self.next_try(begin)).await;
        }
    }

    /// When a candidate tries next: after the retry period, spread by a quarter so that candidates do not march in
    /// step, or as soon as the lease it watches runs out.
    fn next_try(&mut self, last: Instant) -> Instant {
        let spread = record::spread(&self.settings.identity, self.tries);
        self.tries += 1;
        let regular = last + self.settings.retry_period * (750 + spread / 2) / 1_000;
        let now = Instant::now();
        let run_out = self.observed.expiry(&self.settings).filter(|expiry| *expiry > now);
        run_out.map_or(regular, |run_out| regular.min(run_out + self.settings.retry_period * spread / 10_000))
    }

    /// Renews until the lease is lost or given back.
    async fn keep(mut self, held_since: Instant, term: Term, mut release: oneshot::Receiver<()>) -> Result<(), Error> {
        let mut valid_until = held_since + self.settings.renew_deadline;
        let mut next = held_since + self.settings.retry_period;
        loop {
            let renewal = async {
                sleep_until(next).await;
                let begin = Instant::now();
                (begin, self.try_once().await)
            };
            let tried = tokio::select! {
                biased;
                asked = &mut release => {
                    // Others may act as soon as the record is empty, so this process must not trust it before that.
                    term.end();
                    return if asked.is_ok() { self.vacate().await } else { Ok(()) };
                }
                tried = timeout_at(valid_until, renewal) => tried,
            };
            // A process that was paused may find an answer waiting after its time; it has been a stranger since.
            if Instant::now() >= valid_until {
                warn!(lease = self.settings.name, "leadership lost: the lease could not be renewed in time");
                break;
            }
            match tried {
                Ok((begin, Ok(Tried::Held(since)))) => {
                    valid_until = since + self.settings.renew_deadline;
                    next = begin + self.settings.retry_period;
                    term.extend(valid_until);
                }
                Ok((_, Ok(Tried::Standby))) => {
                    warn!(
                        lease = self.settings.name,
                        holder = self.observed.holder(),
                        "leadership lost to another process"
                    );
                    break;
                }
                Ok((begin, Err(error))) => {
                    warn!(%error, "could not renew the lease");
                    next = (begin + self.settings.retry_period).max(Instant::now());
                }
                Err(_) => {}
            }
        }
        term.end();
        Ok(())
    }

    /// Takes or renews the lease if that is this process's right.
    async fn try_once(&mut self) -> Result<Tried, Error> {
        // The leader's usual case: nobody else has written, so one request does.
        if let Some(lease) = self.observed.held_by(&self.settings.identity) {
            let lease = lease.clone();
            match self.claim(Some(lease)).await {
                Ok(since) => return Ok(Tried::Held(since)),
                Err(error) => debug!(%error, "renewing without reading failed; reading"),
            }
        }
        let name = self.settings.name.clone();
        let current = self.call("read", self.api.get_opt(&name)).await?;
        if self.observed.see(current.clone(), Instant::now()) {
            debug!(holder = self.observed.holder(), "the lease changed");
        }
        if self.observed.is_free(&self.settings, Instant::now()) {
            self.claim(current).await.map(Tried::Held)
        } else {
            Ok(Tried::Standby)
        }
    }

    /// Writes this process into the record that was read, or into a new one; returns when the write was sent.
    async fn claim(&mut self, current: Option<Lease>) -> Result<Instant, Error> {
        let lease = record::claimed(current.as_ref(), &self.settings, (self.wall_clock)());
        let sent = Instant::now();
        let params = PostParams::default();
        let written = match current {
            Some(_) => self.call("update", self.api.replace(&self.settings.name, &params, &lease)).await?,
            None => self.call("create", self.api.create(&params, &lease)).await?,
        };
        self.observed.see(Some(written), Instant::now());
        Ok(sent)
    }

    /// Empties the record if this process is in it.
    async fn vacate(self) -> Result<(), Error> {
        for _ in 0..RELEASE_TRIES {
            // Always read anew: a renewal that was under way when the release was asked for may have gone through.
            let current = self.call("read", self.api.get_opt(&self.settings.name)).await?;
            let Some(lease) = current.filter(|lease| record::holder(lease) == Some(self.settings.identity.as_str()))
            else {
                return Ok(());
            };
            let vacant = record::vacated(&lease, (self.wall_clock)());
            let params = PostParams::default();
            match self.call("release", self.api.replace(&self.settings.name, &params, &vacant)).await {
                Ok(_) => {
                    info!(lease = self.settings.name, "lease released");
                    return Ok(());
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    async fn call<T>(&self, action: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        let limit = self.settings.call_limit();
        match timeout(limit, call).await {
            Ok(result) => result.map_err(|source| Error::Api { action, source: Box::new(source) }),
            Err(_) => Err(Error::NoAnswer { action, limit }),
        }
    }
}

/// A lease that this process holds. Dropping it stops the renewal without giving the lease back.
#[derive(Debug)]
pub struct Held {
    leadership: Leadership,
    release: Option<oneshot::Sender<()>>,
    renewal: JoinHandle<Result<(), Error>>,
}

impl Held {
    /// A handle for everything that may act only as the leader.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Gives the lease back so that another process can take over at once. End all work first: from here on the
    /// leadership is lost. Does nothing if it was lost before.
    ///
    /// # Errors
    /// When the record could not be emptied; it then runs out by itself.
    pub async fn release(mut self) -> Result<(), Error> {
        if let Some(release) = self.release.take() {
            // The renewal has ended if nobody listens; there is nothing to give back then.
            let _ = release.send(());
        }
        (&mut self.renewal).await?
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
