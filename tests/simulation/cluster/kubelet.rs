//! What the cluster does with one Pod, from its creation to its deletion: scheduler, kubelet and containers.

mod report;

use super::{
    ended,
    fate::{DeadNode, Ending, Fate},
    status::{Container, with_condition},
};
use crate::server::{Actor, Key, Server, Verb};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// What really happened to a Pod's main container, even if the API server does not know it.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Age of the world when it started.
    pub started: Option<Duration>,
    /// Age of the world when it ended.
    pub ended: Option<Duration>,
    /// Its exit code.
    pub exit: Option<i32>,
    /// Its node went down at this age of the world. From then on the API server can show another state than the real one.
    pub node_died: Option<Duration>,
}

/// What really happened, by the Pods' UIDs.
pub type Truths = Arc<Mutex<BTreeMap<String, Truth>>>;

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Elapsed,
    /// The Pod is being deleted, or its deadline has passed.
    Stopped,
    Gone,
}

/// One Pod, from its creation to its deletion.
pub struct PodRun {
    server: Server,
    key: Key,
    uid: String,
    fate: Fate,
    changed: Arc<Notify>,
    truths: Truths,
    init: Vec<(String, Container)>,
    containers: Vec<(String, Container)>,
    main: usize,
}

impl PodRun {
    /// A Pod that was just created.
    pub fn new(server: Server, key: Key, fate: Fate, truths: Truths) -> Option<Self> {
        let (pod, changed) = {
            let mut state = server.lock();
            (state.store.get(&key)?.clone(), state.store.listener(&key))
        };
        let waiting = |list: &Value| -> Vec<(String, Container)> {
            let names = list.as_array().into_iter().flatten().filter_map(|c| c["name"].as_str());
            names.map(|name| (name.to_string(), Container::Waiting("ContainerCreating"))).collect()
        };
        let native = |c: &&Value| c["restartPolicy"] == "Always";
        let init = pod["spec"]["initContainers"].as_array().into_iter().flatten();
        let init = waiting(&init.filter(|c| !native(c)).cloned().collect());
        let containers = waiting(&pod["spec"]["containers"]);
        let main = containers.iter().position(|(name, _)| name == "task").unwrap_or(0);
        let uid = pod["metadata"]["uid"].as_str()?.to_string();
        truths.lock().expect("the truths' lock").insert(uid.clone(), Truth::default());
        Some(Self { server, key, uid, fate, changed, truths, init, containers, main })
    }

    /// The Pod's key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The Pod's UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Runs the Pod until it is deleted, or has ended.
    pub async fn run(mut self) {
        match self.wait(self.fate.schedule).await {
            Wake::Elapsed => {}
            Wake::Stopped => return self.collect_unscheduled().await,
            Wake::Gone => return,
        }
        self.bind();
        if let Some(reason) = self.fate.refused {
            tokio::time::sleep(self.fate.report).await;
            let now = self.server.lock().store.stamp(Duration::ZERO);
            let status = json!({"phase": "Failed", "reason": reason, "message": "Pod was rejected", "startTime": now});
            return self.report_end(status);
        }
        if !self.prepare().await {
            return;
        }
        self.work().await;
    }

    /// Pulls images and runs init containers. False if the Pod ended meanwhile.
    async fn prepare(&mut self) -> bool {
        tokio::time::sleep(self.fate.report).await;
        self.report(json!({}));
        if let Some((reason, lasts)) = self.fate.trouble {
            if self.fate.silent {
                self.warn();
            } else {
                self.containers[self.main].1 = Container::Waiting(reason);
                self.report(json!({}));
            }
            if self.wait(lasts).await != Wake::Elapsed {
                self.terminate().await;
                return false;
            }
        }
        for i in 0..self.init.len() {
            let started = self.now();
            self.init[i].1 = Container::Running(started);
            self.report(json!({}));
            if self.wait(Duration::from_secs(1)).await != Wake::Elapsed {
                self.terminate().await;
                return false;
            }
            let code = if i == 0 { self.fate.init } else { 0 };
            self.init[i].1 = Container::exited(started, self.now(), code);
            if code != 0 {
                tokio::time::sleep(self.fate.report).await;
                self.report_end(json!({"phase": "Failed"}));
                return false;
            }
        }
        true
    }

    /// Runs the main container and the others.
    async fn work(&mut self) {
        let now = self.now();
        for (_, container) in &mut self.containers {
            *container = Container::Running(now);
        }
        self.truth(|truth, age| truth.started = Some(age));
        let ends = Instant::now() + self.fate.run;
        self.report(json!({}));
        if let Some((after, what)) = self.fate.node_death
            && self.wait(after).await == Wake::Elapsed
            && !self.node_dies(what).await
        {
            return;
        }
        let woken = self.wait_until(ends).await;
        // A container on a node that was unreachable has ended in the meantime, deleted or not.
        self.end_main(ends);
        if woken != Wake::Elapsed {
            return self.terminate().await;
        }
        tokio::time::sleep(self.fate.report).await;
        if let Ending::Evicted(for_the_node) = self.fate.ending {
            return self.evicted(for_the_node);
        }
        if self.containers.len() > 1 {
            self.report(json!({}));
            if self.wait(self.fate.linger).await != Wake::Elapsed {
                return self.terminate().await;
            }
            let now = self.now();
            for (_, container) in &mut self.containers {
                if let Some(since) = container.running_since() {
                    *container = Container::exited(since, now, 0);
                }
            }
        }
        self.report_end(json!({}));
    }

    /// Ends the main container if it runs and its time is over.
    fn end_main(&mut self, at: Instant) {
        let Some(ago) = Instant::now().checked_duration_since(at) else { return };
        if let Some(since) = self.containers[self.main].1.running_since() {
            let end = self.now() - jiff::SignedDuration::try_from(ago).expect("a duration in range");
            self.containers[self.main].1 = Container::ended(since, end, &self.fate.ending);
            let exit = self.containers[self.main].1.exit();
            self.truth(|truth, age| (truth.ended, truth.exit) = (Some(age.saturating_sub(ago)), exit));
        }
    }

    fn evicted(&mut self, for_the_node: bool) {
        let now = self.now();
        for (_, container) in &mut self.containers {
            if let Some(since) = container.running_since() {
                *container = Container::exited(since, now, 137);
            }
        }
        let mut status =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
        if let (true, Some(pod)) = (for_the_node, self.pod()) {
            status["conditions"] = with_condition(&pod, "DisruptionTarget", true, "TerminationByKubelet", now);
        }
        self.report_end(status);
    }

    /// The kubelet ends a Pod that is being deleted or past its deadline: SIGTERM, the grace period, SIGKILL. If it is
    /// being deleted, its object can be removed then.
    async fn terminate(&mut self) {
        let graces = self.pod().map(|pod| {
            let deletion = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
            deletion.or(pod["spec"]["terminationGracePeriodSeconds"].as_u64().map(|grace| grace.max(1)))
        });
        let grace = graces.flatten().unwrap_or(0);
        let (exit, after) = self.fate.on_term;
        let (exit, after) = if after.as_secs() < grace { (exit, after) } else { (137, Duration::from_secs(grace)) };
        let main = self.containers[self.main].1.running_since();
        let others = self.init.iter().chain(&self.containers).any(|(_, c)| c.running_since().is_some());
        if main.is_some() || others {
            // A second DELETE with a shorter grace period would cut this short. This is not simulated.
            tokio::time::sleep(after).await;
        }
        let now = self.now();
        if let Some(since) = main {
            // Killed after its grace, it has had no time for last words.
            let saves = self.fate.saves.clone().filter(|_| exit != 137);
            self.containers[self.main].1 = Container::ended(since, now, &Ending::Exit(exit, saves));
            self.truth(|truth, age| (truth.ended, truth.exit) = (Some(age), Some(exit)));
        }
        for (_, container) in self.init.iter_mut().chain(&mut self.containers) {
            *container = match container {
                Container::Running(since) => Container::exited(*since, now, 143),
                Container::Waiting(_) => Container::never_started(now),
                Container::Ended(_) => continue,
            };
        }
        tokio::time::sleep(self.fate.report).await;
        let failed_init = self.init.iter().any(|(_, c)| c.exit() != Some(0));
        self.report_end(if failed_init { json!({"phase": "Failed"}) } else { json!({}) });
    }

    /// The node goes down: nothing is reported, and the Pod is evicted after a while. True if the node came back.
    async fn node_dies(&mut self, what: DeadNode) -> bool {
        self.truth(|truth, age| truth.node_died = Some(age));
        let died = Instant::now();
        let (DeadNode::Returns(over) | DeadNode::Removed(over) | DeadNode::Forced(over)) = what;
        let over = died + over;
        for (after, evict) in [(Duration::from_secs(40), false), (Duration::from_secs(340), true)] {
            if died + after < over {
                tokio::time::sleep_until(died + after).await;
                self.node_unreachable(evict);
            }
        }
        tokio::time::sleep_until(over).await;
        match what {
            DeadNode::Returns(_) => true,
            DeadNode::Removed(_) => {
                if let Some(pod) = self.pod().filter(|pod| !ended(pod)) {
                    let conditions = with_condition(&pod, "DisruptionTarget", true, "DeletionByPodGC", self.now());
                    self.set_status(Actor::Manager, &json!({"phase": "Failed", "conditions": conditions}));
                }
                self.remove(Actor::Manager);
                false
            }
            DeadNode::Forced(_) => {
                self.remove(Actor::User);
                false
            }
        }
    }

    /// What the node lifecycle controller does to the Pods of a node that does not report.
    fn node_unreachable(&self, evict: bool) {
        let Some(pod) = self.pod().filter(|pod| !ended(pod)) else { return };
        let now = self.now();
        if evict {
            let conditions = with_condition(&pod, "DisruptionTarget", true, "DeletionByTaintManager", now);
            self.set_status(Actor::Manager, &json!({"conditions": conditions}));
            let options = json!({"preconditions": {"uid": self.uid}});
            self.server.lock().write(Actor::Manager, Verb::Delete, &self.key, options, false);
        } else {
            let conditions = with_condition(&pod, "Ready", false, "NodeNotReady", now);
            self.set_status(Actor::Manager, &json!({"conditions": conditions}));
        }
    }

    /// A Pod that was deleted before it was scheduled: the Pod garbage collector removes it.
    async fn collect_unscheduled(&self) {
        tokio::time::sleep(self.fate.collector).await;
        if self.pod().is_some_and(|pod| !ended(&pod)) {
            self.set_status(Actor::Manager, &json!({"phase": "Failed"}));
        }
        self.remove(Actor::Manager);
    }

    fn pod(&self) -> Option<Arc<Value>> {
        let state = self.server.lock();
        state.store.get(&self.key).filter(|pod| pod["metadata"]["uid"] == self.uid).cloned()
    }

    fn now(&self) -> Timestamp {
        self.server.lock().store.clock.now()
    }

    fn truth(&self, change: impl FnOnce(&mut Truth, Duration)) {
        let age = self.server.lock().store.clock.elapsed();
        change(self.truths.lock().expect("the truths' lock").entry(self.uid.clone()).or_default(), age);
    }

    async fn wait(&self, time: Duration) -> Wake {
        self.wait_until(Instant::now() + time).await
    }

    /// The time left until the Pod's deadline, which counts from its start time.
    fn deadline(&self, pod: &Value) -> Option<Duration> {
        let seconds = pod["spec"]["activeDeadlineSeconds"].as_i64()?;
        let since: Timestamp = pod["status"]["startTime"].as_str()?.parse().ok()?;
        let left = jiff::SignedDuration::from_secs(seconds) - self.now().duration_since(since);
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Waits for the time, or until the Pod is to end: it is deleted, or its deadline passes.
    async fn wait_until(&self, time: Instant) -> Wake {
        loop {
            let Some(pod) = self.pod() else { return Wake::Gone };
            let deadline = self.deadline(&pod);
            if pod["metadata"]["deletionTimestamp"].is_string() || deadline.is_some_and(|left| left.is_zero()) {
                return Wake::Stopped;
            }
            if Instant::now() >= time {
                return Wake::Elapsed;
            }
            let next = deadline.map_or(time, |left| time.min(Instant::now() + left));
            tokio::select! { biased;
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }
}
