//! One reconcile: decides, carries the plan out, and decides again, until there is nothing left but to wait.
//!
//! What a plan means is written here once. The operator, `simulate`, the tests and the fuzzer say how a request is made.

use super::decide::{Deferrable, Plan, PodRef, ProgressReport, Settled, StatusWrite, StopMethod};
use super::slot::Slot;
use std::ops::ControlFlow;

/// How many plans one reconcile may carry out. A reconcile needs far fewer: to reach it is a defect.
pub const MAX_PLANS: u32 = 20;

/// How one task is decided and a plan's requests are made. `Break` ends the reconcile: there is nothing to decide any more.
pub trait Execute: Send {
    /// What can go wrong.
    type Error;

    /// Decides by what is known now.
    fn decide(&mut self) -> Plan;

    /// Stores the status.
    fn write_status(&mut self, write: StatusWrite)
    -> impl Future<Output = Result<ControlFlow<()>, Self::Error>> + Send;

    /// Looks up the Pod of that name.
    fn look_up_pod(&mut self, pod_name: String) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Looks up the tasks of those names.
    fn look_up_tasks(&mut self, names: Vec<String>) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Reads the Warning events about the Pod.
    fn read_warnings(&mut self, pod: PodRef) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Reads the task live.
    fn refresh_task(&mut self) -> impl Future<Output = Result<ControlFlow<()>, Self::Error>> + Send;

    /// Creates the Pod.
    fn create_pod(&mut self, slot: Slot) -> impl Future<Output = Result<ControlFlow<()>, Self::Error>> + Send;

    /// Stops the Pod. False if it has changed in between, so that the task must be decided again.
    fn stop_pod(&mut self, pod: &PodRef, method: StopMethod) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Whether the report waits, since there is more urgent work.
    fn defers(&self, report: &Deferrable) -> bool;

    /// The error when [`MAX_PLANS`] is reached.
    fn no_convergence(&self) -> Self::Error;
}

/// Runs one reconcile. Returns the effects of the stored status that are left (a `stop` has been sent already), or `None` if
/// the executor ended the reconcile.
///
/// # Errors
/// Those of the requests, and that the plans did not converge.
pub async fn drive<E: Execute>(executor: &mut E) -> Result<Option<Settled>, E::Error> {
    let mut plans = 0;
    while plans < MAX_PLANS {
        let plan = executor.decide();
        // Each names tasks that are not known yet, so there is an end to it.
        plans += u32::from(!matches!(plan, Plan::LookUpTasks(_)));
        let flow = match plan {
            Plan::WriteStatus(write) => executor.write_status(write).await?,
            Plan::LookUpPod(pod_name) => go_on(executor.look_up_pod(pod_name).await?),
            Plan::LookUpTasks(names) => go_on(executor.look_up_tasks(names).await?),
            Plan::ReadWarnings(pod) => go_on(executor.read_warnings(pod).await?),
            Plan::RefreshTask => executor.refresh_task().await?,
            Plan::CreatePod(slot) => executor.create_pod(slot).await?,
            Plan::Settled(mut settled) => match settled.progress.take() {
                Some(report) if !executor.defers(&report) => match report.report {
                    ProgressReport::WriteStatus(write) => executor.write_status(write).await?,
                    ProgressReport::ReadWarnings(pod) => go_on(executor.read_warnings(pod).await?),
                },
                deferred_or_none => {
                    settled.progress = deferred_or_none;
                    if stop_if_planned(executor, &settled).await? {
                        return Ok(Some(*settled));
                    }
                    ControlFlow::Continue(())
                }
            },
        };
        if flow.is_break() {
            return Ok(None);
        }
    }
    Err(executor.no_convergence())
}

/// Whether the plan still holds after its stop, if it has one.
async fn stop_if_planned<E: Execute>(executor: &mut E, settled: &Settled) -> Result<bool, E::Error> {
    match &settled.stop {
        Some((pod, method)) => executor.stop_pod(pod, *method).await,
        None => Ok(true),
    }
}

fn go_on((): ()) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
