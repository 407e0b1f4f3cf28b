//! What happens to a Pod. It depends only on the seed and the Pod's name, so that the same attempt ends the same way in
//! every run.

use crate::random::Random;
use std::time::Duration;

/// How often each thing happens to Pods, per 1,000.
#[derive(Clone, Debug, PartialEq)]
pub struct Odds {
    /// It succeeds, if nothing below happens.
    pub success: u32,
    /// It is disrupted or deleted by somebody.
    pub disruption: u32,
    /// Its node dies.
    pub node_death: u32,
    /// Its image cannot be pulled, or its configuration is missing, for a while.
    pub trouble: u32,
    /// The kubelet does not admit it.
    pub admission: u32,
    /// The kubelet evicts it.
    pub eviction: u32,
    /// It stays unscheduled for long.
    pub unschedulable: u32,
    /// How long it runs at most, in milliseconds.
    pub run_millis: u64,
    /// From when to when the service that Pods call is down: those that are created then fail for it, if nothing else happens to them.
    pub outage: Option<(Duration, Duration)>,
}

impl Default for Odds {
    fn default() -> Self {
        Self {
            success: 250,
            disruption: 120,
            node_death: 30,
            trouble: 60,
            admission: 30,
            eviction: 40,
            unschedulable: 40,
            run_millis: 200_000,
            outage: None,
        }
    }
}

/// How the main container ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exits with this code, and perhaps leaves a message.
    Exit(i32, Option<String>),
    /// It is OOM-killed; the runtime does not always say so.
    OutOfMemory(bool),
    /// A signal ends it.
    Signal(i32),
    /// The kubelet evicts it: because of pressure on the node (true), or because it exceeded its own limit.
    Evicted(bool),
    /// The node restarted, and nobody knows how it ended.
    Unknown,
}

/// Who disrupts a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// The scheduler preempts it.
    Preempted,
    /// The node is drained.
    Drained,
    /// The node got a taint.
    Tainted,
    /// Somebody deletes it.
    Deleted,
    /// Somebody deletes it without grace.
    Forced,
}

/// What happens to a Pod whose node is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadNode {
    /// The node comes back after this long.
    Returns(Duration),
    /// The node is removed after this long, and the Pod with it.
    Removed(Duration),
    /// Somebody deletes the Pod without grace after this long.
    Forced(Duration),
}

/// What happens to a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// How long it waits for a node.
    pub schedule: Duration,
    /// Why the kubelet does not admit it.
    pub refused: Option<&'static str>,
    /// What keeps its containers from starting, and for how long.
    pub trouble: Option<(&'static str, Duration)>,
    /// Whether only an Event reports that, and the status does not.
    pub silent: bool,
    /// Its first init container, if it has any, fails with this code.
    pub init: i32,
    /// How long the main container runs.
    pub run: Duration,
    /// How the main container ends by itself.
    pub ending: Ending,
    /// What the main container does on SIGTERM: exits with this code after this long. Beyond the grace it is killed.
    pub on_term: (i32, Duration),
    /// What the main container leaves as a message when SIGTERM ends it: from where to go on.
    pub saves: Option<String>,
    /// How long other ordinary containers run on after the main one.
    pub linger: Duration,
    /// Who disrupts it, how long after its creation.
    pub disruption: Option<(Duration, Disruption)>,
    /// When its node dies (after the start of the main container), and what then.
    pub node_death: Option<(Duration, DeadNode)>,
    /// How long the kubelet takes to report.
    pub report: Duration,
    /// How long the Pod collector takes to find it.
    pub collector: Duration,
}

impl Fate {
    /// The fate of the Pod of this name.
    pub fn of(seed: u64, pod: &str, odds: &Odds) -> Self {
        let mut random = Random::fork(seed, pod);
        let r = &mut random;
        let seconds = Duration::from_secs;
        let run = Duration::from_millis(50) + r.skewed(odds.run_millis);
        let unschedulable = r.chance(odds.unschedulable);
        let schedule = if unschedulable { r.duration(seconds(5), seconds(900)) } else { r.skewed(4_000) };
        let refused = ["OutOfcpu", "NodeAffinity", "UnexpectedAdmissionError", "NodeShutdown"];
        let trouble = ["ErrImagePull", "CreateContainerConfigError"];
        let disruptions =
            [Disruption::Preempted, Disruption::Drained, Disruption::Tainted, Disruption::Deleted, Disruption::Forced];
        let dead = [
            DeadNode::Returns(r.duration(seconds(1), seconds(900))),
            DeadNode::Removed(r.duration(seconds(60), seconds(1_200))),
            DeadNode::Forced(r.duration(seconds(60), seconds(1_200))),
        ];
        Self {
            schedule,
            refused: r.chance(odds.admission).then(|| r.pick(&refused)),
            trouble: r.chance(odds.trouble).then(|| (r.pick(&trouble), r.duration(seconds(1), seconds(700)))),
            init: if r.chance(100) { 3 } else { 0 },
            run,
            ending: ending(r, odds),
            saves: saves(seed, pod),
            on_term: (r.pick(&[0, 0, 143, 143, 1, 7]), r.skewed(60_000)),
            linger: r.skewed(100_000),
            disruption: r.chance(odds.disruption).then(|| {
                let after = r.duration(Duration::ZERO, schedule + run + seconds(2));
                (after, r.pick(&disruptions))
            }),
            node_death: r.chance(odds.node_death).then(|| (r.duration(Duration::ZERO, run), r.pick(&dead))),
            report: Duration::from_millis(5) + r.skewed(3_000),
            collector: r.duration(Duration::ZERO, seconds(20)),
            silent: r.chance(400),
        }
    }
}

impl Fate {
    /// The same of a Pod that is created at this time: while the service is down, it soon ends for it.
    pub fn at(self, seed: u64, pod: &str, odds: &Odds, now: Duration) -> Self {
        if !odds.outage.is_some_and(|(from, until)| (from..until).contains(&now)) {
            return self;
        }
        let mut random = Random::fork(seed, &format!("outage/{pod}"));
        let report = match random.below(4) {
            0 => format!(r#"{{"errorType":"Unavailable","retryAfterSeconds":{}}}"#, random.below(120)),
            _ => r#"{"errorType":"Unavailable","message":"503"}"#.into(),
        };
        let run = self.run.min(random.duration(Duration::from_millis(100), Duration::from_secs(20)));
        Self { run, ending: Ending::Exit(75, Some(report)), ..self }
    }
}

/// What it saves on SIGTERM. Drawn by itself, so that the rest of the fate does not depend on it.
fn saves(seed: u64, pod: &str) -> Option<String> {
    let mut random = Random::fork(seed, &format!("saves/{pod}"));
    random.chance(500).then(|| format!(r#"{{"checkpoint":{{"row":{}}}}}"#, random.below(1000)))
}

fn ending(r: &mut Random, odds: &Odds) -> Ending {
    if r.chance(odds.eviction) {
        return Ending::Evicted(r.chance(500));
    }
    if r.chance(odds.success) {
        let results = [r#"{"result":"42 rows"}"#, r#"{"partial":{"failed":3,"total":100}}"#];
        let result = r.chance(200).then(|| r.pick(&results).to_string());
        return Ending::Exit(0, result);
    }
    match r.below(20) {
        0 => Ending::OutOfMemory(true),
        1 => Ending::OutOfMemory(false),
        2 => Ending::Signal(r.pick(&[6, 9, 11, 15])),
        3 => Ending::Unknown,
        4 => Ending::Exit(65, Some(r#"{"errorTypes":["NoSuchDay","BadInput"],"message":"no such day"}"#.into())),
        5 => Ending::Exit(75, Some(format!(r#"{{"retryAfterSeconds":{}}}"#, r.below(90)))),
        6 if r.chance(500) => Ending::Exit(1, Some(format!(r#"{{"checkpoint":{{"row":{}}}}}"#, r.below(1000)))),
        6 => Ending::Exit(1, Some("x".repeat(4096))),
        7 => Ending::Exit(1, Some("\u{1b}[31mbroken\u{0}\" \\ \n\u{7f}".repeat(200))),
        8 if r.chance(300) => Ending::Exit(2, Some(r#"{"doNotRetry":true,"message":"give up"}"#.into())),
        _ => Ending::Exit(i32::try_from(r.between(1, 255)).unwrap_or(1), r.chance(500).then(|| "it broke".into())),
    }
}
