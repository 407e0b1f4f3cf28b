//! A story: what somebody does, and what the world looks like after the reconcile that follows.
//! The lines are those of [`World::gist`].

use super::world::{Line, Server, World, whole_second};
use crate::api::RetryableTask;
use crate::core::decide::STOP_DEADLINE_SECONDS;
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, end};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What happens between two reconciles. A Pod is always the newest one.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Nothing.
    Look,
    /// So many milliseconds pass.
    Pass(i64),
    /// Somebody moves the wall clock by so many milliseconds.
    Jump(i64),
    /// The Pod's main container runs.
    Run,
    /// The Pod's main container ends with this code.
    Exit(i32),
    /// As `Exit`, with a termination message.
    Say(i32, &'static str),
    /// The Pod's node is drained.
    Drain,
    /// The Pod changes.
    Kubelet(fn(Pod) -> Pod),
    /// Somebody deletes the Pod.
    DeletePod,
    /// The Pod is gone without a trace.
    Vanish,
    /// Somebody changes the spec.
    Edit(fn(&mut RetryableTask)),
    /// Somebody annotates the task, under our group.
    Ask(&'static str, &'static str),
    Suspend,
    Resume,
    /// From now on the API server answers so.
    Api(Server),
    /// Creations that got no answer arrive.
    Land,
    /// From now on the queue does so.
    Queue(Line),
    /// Another process takes over.
    Restart,
    /// The watch stands still, or goes on.
    Blind(bool),
    /// The task is deleted, and waits for its Pods.
    DeleteTask,
}

use Step::{
    Api, Ask, Blind, DeletePod, DeleteTask, Drain, Edit, Exit, Jump, Kubelet, Land, Look, Pass, Queue, Restart, Resume,
    Run, Say, Suspend, Vanish,
};

pub fn take(world: &mut World, step: Step) {
    let now = Time(whole_second(world.now()));
    let newest = world.newest();
    match step {
        Look => {}
        Pass(millis) => world.pass(SignedDuration::from_millis(millis)),
        Jump(millis) => world.jump(SignedDuration::from_millis(millis)),
        Run => world.change_pod(newest, BuildPod::running),
        Exit(code) => end_pod(world, code, ""),
        Say(code, message) => end_pod(world, code, message),
        Drain => {
            end_pod(world, 143, "");
            world.change_pod(newest, |pod| pod.disrupted("EvictionByEvictionAPI", 0));
        }
        Kubelet(change) => world.change_pod(newest, change),
        DeletePod => world.change_pod(newest, |pod| {
            pod.change(|pod| {
                pod.metadata.deletion_timestamp = Some(now);
                pod.metadata.deletion_grace_period_seconds = Some(0);
            })
        }),
        Vanish => world.vanish(newest),
        Edit(change) => world.edit(change),
        Ask(annotation, value) => world.task = world.task.clone().asked(annotation, value),
        Suspend => world.edit(|task| task.spec.suspend = true),
        Resume => world.edit(|task| task.spec.suspend = false),
        Api(server) => world.server = server,
        Land => world.land(),
        Queue(line) => world.line = line,
        Restart => world.restart(),
        Blind(blind) => world.blind = blind,
        DeleteTask => world.task.metadata.deletion_timestamp = Some(now),
    }
}

fn end_pod(world: &mut World, code: i32, message: &str) {
    let finished = Time(whole_second(world.now()));
    let end = end(code).saying(message).change(|end| end.finished_at = Some(finished));
    world.change_pod(world.newest(), |pod| {
        let is_stopped =
            PodSnapshot::of(&pod).is_some_and(|pod| pod.active_deadline_seconds == Some(STOP_DEADLINE_SECONDS));
        let pod = pod.ended(end);
        if is_stopped { pod.past_its_deadline() } else { pod }
    });
}

/// Plays the story, and holds the world against its lines.
#[track_caller]
pub fn play(task: RetryableTask, story: &[(Step, &str)]) -> World {
    play_in(World::new(task), story)
}

#[track_caller]
pub fn play_in(mut world: World, story: &[(Step, &str)]) -> World {
    for (n, (step, line)) in story.iter().enumerate() {
        take(&mut world, *step);
        world.reconcile();
        assert_eq!(world.gist(), *line, "after step {n}, {step:?}");
    }
    world
}
