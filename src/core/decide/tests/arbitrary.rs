//! Any spec, any status, any Pods: no panic, the same plan again, and decisions that come to rest.

mod strategies;

use crate::api::RetryableTask;
use crate::core::build_pod::pod;
use crate::core::decide::{
    Created, Deferrable, Lookups, Plan, PodLookup, PodRef, PodWarnings, ProcessState, Situation, StatusWrite,
    StopMethod, TrackedPod, decide, slot_of,
};
use crate::core::dependency::TaskFact;
use crate::core::drive::{Execute, drive};
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::slot::Slot;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use proptest::option::of;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use strategies::{
    duration, moment, number, other_name, some_fact, some_failing, some_pod, some_seen, some_task, some_view,
    some_warnings,
};

/// A situation, owned.
#[derive(Clone, Debug)]
struct Given {
    task: Box<RetryableTask>,
    pods: Vec<TrackedPod>,
    now: Timestamp,
    lookups: Lookups,
    process: ProcessState,
    others: BTreeMap<String, TaskFact>,
    is_busy: bool,
}

impl Given {
    fn plan(&self) -> Plan {
        let Self { task, pods, now, lookups, process, others: _, is_busy: _ } = self;
        decide(&Situation { task, pods, now: *now, lookups, process })
    }
}

impl Execute for Given {
    type Error = String;

    fn decide(&mut self) -> Plan {
        let plan = self.plan();
        assert_eq!(plan, self.plan(), "the same situation, the same plan");
        plan
    }

    async fn write_status(&mut self, StatusWrite { status, .. }: StatusWrite) -> Result<ControlFlow<()>, String> {
        assert_ne!(self.task.status.as_ref(), Some(&*status), "a write changes something");
        let slot = |task: &RetryableTask| task.status.as_ref()?.current.as_ref().map(slot_of);
        let before = slot(&self.task);
        self.task.status = Some(*status);
        // What was created was for the attempt before.
        self.lookups = Lookups { task_is_live: true, ..Lookups::default() };
        self.process.created = None;
        if slot(&self.task) != before {
            self.process.failing = None;
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn look_up_pod(&mut self, _: String) -> Result<(), String> {
        assert!(self.lookups.pod.is_none(), "looked up once");
        self.lookups.pod = Some(PodLookup::NotFound);
        Ok(())
    }

    async fn look_up_tasks(&mut self, names: Vec<String>) -> Result<(), String> {
        for name in names {
            let found = self.others.get(&name).cloned();
            assert!(self.lookups.tasks.insert(name, found).is_none(), "looked up once");
        }
        Ok(())
    }

    async fn read_warnings(&mut self, pod: PodRef) -> Result<(), String> {
        let newest = self.process.warnings.take().and_then(|known| known.newest);
        self.process.warnings =
            Some(PodWarnings { pod_uid: pod.uid, age: SignedDuration::ZERO, readable: true, newest });
        Ok(())
    }

    async fn refresh_task(&mut self) -> Result<ControlFlow<()>, String> {
        assert!(!self.lookups.task_is_live, "read once");
        self.lookups.task_is_live = true;
        Ok(ControlFlow::Continue(()))
    }

    async fn create_pod(&mut self, slot: Slot) -> Result<ControlFlow<()>, String> {
        assert_eq!(slot_of(self.task.status.as_ref().unwrap().current.as_ref().unwrap()), slot);
        pod(&self.task, slot, true);
        Ok(ControlFlow::Break(()))
    }

    async fn stop_pod(&mut self, _: &PodRef, _: StopMethod) -> Result<bool, String> {
        Ok(true)
    }

    fn defers(&self, _: &Deferrable) -> bool {
        self.is_busy
    }

    fn no_convergence(&self) -> String {
        "the reconcile did not converge".into()
    }
}

prop_compose! {
    fn given()(
        task in some_task().boxed(), pods in prop::collection::vec(some_seen().boxed(), 0..4),
        lookup in of(prop::sample::select(vec![PodLookup::Found, PodLookup::NotFound, PodLookup::NotOwned])),
        age in of(duration()), (failing, rejected) in (of(some_failing().boxed()), any::<bool>()), remaining in of((moment(), duration())), now in moment(),
        uptime in duration(), create_in_flight in of(duration()), task_is_live in any::<bool>(),
        (is_busy, is_awaited) in any::<(bool, bool)>().boxed(), warnings in of(some_warnings().boxed()), queue in of(some_view().boxed()),
        (default_ttl_seconds, others) in (of(number()), prop::collection::btree_map(other_name(), some_fact(), 0..4)).boxed(),
    ) -> Given {
        let rejection = failing.clone().filter(|_| rejected).map(|failing| failing.rejection);
        let created = age.map(|age| Created { pod_uid: "pod-1".into(), age });
        let process = ProcessState { uptime, created, create_in_flight, failing, warnings, remaining, queue, default_ttl_seconds, is_awaited };
        Given { task: Box::new(task), pods, now, lookups: Lookups { pod: lookup, rejection, task_is_live, ..Lookups::default() }, process, others, is_busy }
    }
}

#[test]
fn any_situation_is_decided_and_converges() {
    let config = ProptestConfig::with_cases(1000);
    // Without optimizations, what makes up a situation takes more stack than a test has.
    let all = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        proptest!(config, |(mut given in given().boxed())| {
            let driven = drive(&mut given).now_or_never().expect("nothing waits here");
            let settled = driven.map_err(TestCaseError::fail)?;
            let wait = settled.and_then(|settled| settled.requeue.soonest());
            prop_assert!(wait.is_none_or(|wait| wait >= SignedDuration::ZERO));
        });
    });
    all.unwrap().join().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_pod_can_be_observed(pod in some_pod()) {
        prop_assert!(PodSnapshot::of(&pod).is_some());
    }
}
