//! One reconcile of one schedule: decide, act, and decide again until it can only wait.

use super::api::{Created, ScheduleApi, Written};
use super::report::{measure, report};
use super::{Context, process_state};
use crate::api::{ActiveRun, PlannedRun, TaskSchedule};
use crate::controller::work_queue::Priority;
use crate::controller::{Error, TaskKey};
use crate::core::schedule::{Lookups, Plan, Settled, Situation, decide_schedule, task, timetable};
use futures::FutureExt;
use kube::ResourceExt;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tracing::Instrument;

/// Longest time of one reconcile.
const LIMIT: Duration = Duration::from_secs(60);
/// How many times one reconcile reads the schedule and decides again after a conflict.
const MAX_CONFLICTS: u32 = 5;
/// Most decisions of one reconcile: some for each run that may start.
const MAX_DECISIONS: u32 = 1000;
/// Longest time between two reconciles: a wall clock that jumps is noticed so soon.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Reconciles a schedule and adds it to the work queue again, after a delay. Errors are logged and counted.
pub(super) async fn reconcile(key: &TaskKey, schedule: &TaskSchedule, context: &Context) {
    let span = tracing::info_span!("schedule", namespace = key.namespace, name = key.name);
    async {
        let uid = schedule.uid().unwrap_or_default();
        let run = Reconcile::new(key, schedule, context).run();
        let result = match tokio::time::timeout(LIMIT, AssertUnwindSafe(run).catch_unwind()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::Panic { task: key.clone(), message: String::new() }),
            Err(_) => Err(Error::Timeout { task: key.clone(), limit: LIMIT }),
        };
        let wait = match result {
            Ok(wait) => {
                context.states.with(key, &uid, process_state::State::succeeded);
                wait
            }
            Err(error) => {
                context.settings.telemetry.metrics.reconcile_failed(error.kind());
                tracing::warn!(%error, "the reconcile failed");
                Some(context.states.with(key, &uid, process_state::State::failed))
            }
        };
        context.work_queue.add_after(key.clone(), Priority::Due, wait);
    }
    .instrument(span)
    .await;
}

struct Reconcile<'a> {
    key: &'a TaskKey,
    context: &'a Context,
    uid: String,
    schedule: TaskSchedule,
    lookups: Lookups,
    conflicts: u32,
}

impl<'a> Reconcile<'a> {
    fn new(key: &'a TaskKey, cached: &TaskSchedule, context: &'a Context) -> Self {
        let uid = cached.uid().unwrap_or_default();
        let schedule = context.states.with(key, &uid, |state| state.newest(cached));
        Self { key, context, uid, schedule, lookups: Lookups::default(), conflicts: 0 }
    }

    fn api(&self) -> ScheduleApi<'a> {
        ScheduleApi { context: self.context, key: self.key }
    }

    /// Returns after how long to reconcile again.
    async fn run(mut self) -> Result<Option<Duration>, Error> {
        for _ in 0..MAX_DECISIONS {
            match self.decide() {
                Plan::WriteStatus(status, transitions) => {
                    let before = self.schedule.clone();
                    // The answer may be lost.
                    self.hold_names(&status.runs);
                    match self.api().write_status(&self.schedule, *status).await? {
                        Written::Done(stored) => {
                            report(self.context, &before, transitions);
                            self.context.states.with(self.key, &self.uid, |state| {
                                if let Some(planned) = creating(&stored).filter(|new| creating(&before) != Some(new)) {
                                    state.planned(planned);
                                }
                                state.wrote((*stored).clone());
                            });
                            self.schedule = *stored;
                        }
                        Written::Deleted => return Ok(None),
                        Written::Conflict => {
                            self.conflicts += 1;
                            if self.conflicts > MAX_CONFLICTS {
                                return Err(Error::Conflict(self.key.clone()));
                            }
                            let Some(live) = self.api().read(&self.uid).await? else { return Ok(None) };
                            self.schedule = live;
                        }
                    }
                }
                Plan::LookUp(name, uid) => {
                    let known = if self.api().exists(&name, &uid).await? {
                        &mut self.lookups.existing
                    } else {
                        &mut self.lookups.deleted
                    };
                    known.push(uid);
                }
                Plan::Create(run) => self.create(run).await?,
                Plan::Settled(settled) => return self.carry_out(settled).await,
            }
        }
        Err(Error::NoConvergence(self.key.clone()))
    }

    /// Keeps the names of the runs that are about to be recorded, as long as their creation may come a second time.
    fn hold_names(&self, runs: &[ActiveRun]) {
        let known = self.schedule.status.iter().flat_map(|status| &status.runs);
        let known: HashSet<&str> = known.map(|run| &*run.uid).collect();
        for run in runs.iter().filter(|run| !known.contains(&*run.uid)) {
            let task = TaskKey { namespace: self.key.namespace.clone(), name: run.name.clone() };
            self.context.dependents.run_recorded(task);
        }
    }

    fn decide(&mut self) -> Plan {
        let (now, mut runs) = ((self.context.settings.clock)(), self.context.runs.of(&self.uid));
        for run in &mut runs {
            let task = TaskKey { namespace: self.key.namespace.clone(), name: run.name.clone() };
            let dependents = &self.context.dependents;
            run.is_awaited = dependents.may_be_awaited(&task) || dependents.may_be_created(&task);
        }
        self.lookups.rejected = self.context.states.with(self.key, &self.uid, |state| state.rejection());
        decide_schedule(&Situation { schedule: &self.schedule, runs: &runs, now, lookups: &self.lookups })
    }

    async fn create(&mut self, run: PlannedRun) -> Result<(), Error> {
        // The plan is made of a valid spec.
        let Ok(timetable) = timetable(&self.schedule) else { return Ok(()) };
        let body = task(&self.schedule, &run, &timetable, (self.context.settings.clock)());
        self.context.states.with(self.key, &self.uid, |state| state.requested(&run.name));
        match self.api().create(&run.name, &self.uid, body).await? {
            Created::Done(uid) => {
                self.context.states.with(self.key, &self.uid, process_state::State::created);
                self.lookups.existing.push(uid.clone());
                self.lookups.created = Some((run.name, uid));
            }
            Created::Rejected(rejection) => {
                tracing::warn!(task = run.name, message = rejection.message, "cannot create the task");
                self.context.states.with(self.key, &self.uid, |state| state.rejected(&run.name, rejection));
            }
        }
        Ok(())
    }

    async fn carry_out(&self, settled: Settled) -> Result<Option<Duration>, Error> {
        measure(self.context, &self.schedule);
        let Settled { cancel, delete, wake_in } = settled;
        for run in cancel {
            self.api().cancel(&run).await?;
        }
        for run in delete {
            self.api().delete(&run).await?;
        }
        // One that waits for nothing is reconciled when something changes.
        Ok(wake_in.map(|wait| Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)))
    }
}

/// The name of the run that is being created.
fn creating(schedule: &TaskSchedule) -> Option<&str> {
    schedule.status.as_ref()?.creating.as_ref().map(|planned| &*planned.name)
}

#[cfg(test)]
mod tests;
