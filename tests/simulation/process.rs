//! A process that can be killed or stopped between any two of its steps.

use crate::{clock::WallClock, determinism};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::{sync::watch, task::AbortHandle};

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It is stopped (SIGSTOP): it takes no step, and time goes on around it.
    Paused,
    /// It was killed (SIGKILL). For good.
    Dead,
}

/// What a process and its connections to the API server share.
///
/// Tasks that the process spawned outlive its root task. They are harmless, since nothing of a dead process passes the gate any more.
#[derive(Debug)]
pub struct Gate {
    life: watch::Sender<Life>,
    root: Mutex<Root>,
    steps: AtomicU64,
    kill_at_step: AtomicU64,
}

#[derive(Debug, Default)]
struct Root {
    task: Option<AbortHandle>,
    stopped: Option<Waker>,
}

impl Gate {
    /// The gate of a process that runs.
    pub fn new() -> Arc<Self> {
        let (life, _) = watch::channel(Life::Running);
        let never = AtomicU64::new(u64::MAX);
        Arc::new(Self { life, root: Mutex::default(), steps: AtomicU64::new(0), kill_at_step: never })
    }

    /// Whether the process runs.
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Kills the process. What it has sent is still on its way.
    pub fn kill(&self) {
        self.life.send_replace(Life::Dead);
        if let Some(task) = &self.root.lock().expect("the gate's lock").task {
            task.abort();
        }
    }

    /// Kills the process when it is about to take its `n`-th step from now.
    pub fn kill_after_steps(&self, n: u64) {
        self.kill_at_step.store(self.steps.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Stops the process, unless it is dead.
    pub fn pause(&self) {
        self.life
            .send_if_modified(|life| std::mem::replace(life, Self::unless_dead(*life, Life::Paused)) == Life::Running);
    }

    /// Lets a stopped process go on.
    pub fn resume(&self) {
        self.life
            .send_if_modified(|life| std::mem::replace(life, Self::unless_dead(*life, Life::Running)) == Life::Paused);
        if let Some(waker) = self.root.lock().expect("the gate's lock").stopped.take() {
            waker.wake();
        }
    }

    fn unless_dead(life: Life, wanted: Life) -> Life {
        if life == Life::Dead { life } else { wanted }
    }

    /// Waits until the process runs: at once, when it is resumed, or never.
    pub async fn pass(&self) {
        let mut life = self.life.subscribe();
        // The sender lives as long as this borrow, so that waiting cannot fail.
        let _ = life.wait_for(|life| *life == Life::Running).await;
    }
}

/// Why a process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Its main function returned.
    Returned,
    /// It was killed.
    Killed,
    /// Its main function panicked.
    Panicked(String),
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// Its life.
    pub gate: Arc<Gate>,
    /// What it takes for the time of day.
    pub clock: WallClock,
    task: tokio::task::JoinHandle<Option<()>>,
}

impl Process {
    /// Starts a process whose main function this is.
    pub fn start(gate: Arc<Gate>, clock: WallClock, main: impl Future<Output = ()> + Send + 'static) -> Self {
        let guarded = Guarded { gate: gate.clone(), clock: clock.clone(), main: Box::pin(main) };
        let task = tokio::spawn(guarded);
        gate.root.lock().expect("the gate's lock").task = Some(task.abort_handle());
        Self { gate, clock, task }
    }

    /// Waits until the process is gone.
    pub async fn ended(&mut self) -> Exit {
        match (&mut self.task).await {
            Ok(Some(())) => Exit::Returned,
            Err(error) if error.is_panic() => {
                let payload = error.into_panic();
                let text = payload.downcast_ref::<String>().cloned();
                let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
                Exit::Panicked(text.unwrap_or_else(|| "no message".into()))
            }
            Ok(None) | Err(_) => Exit::Killed,
        }
    }
}

/// The main function, which takes a step only while the process runs, and sees its own machine's time of day.
struct Guarded<F> {
    gate: Arc<Gate>,
    clock: WallClock,
    main: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = Option<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        let step = self.gate.steps.fetch_add(1, Ordering::Relaxed);
        if step >= self.gate.kill_at_step.load(Ordering::Relaxed) {
            self.gate.kill();
        }
        match self.gate.life() {
            Life::Dead => Poll::Ready(None),
            Life::Paused => {
                self.gate.root.lock().expect("the gate's lock").stopped = Some(context.waker().clone());
                Poll::Pending
            }
            Life::Running => {
                let clock = self.clock.clone();
                determinism::set_time_of_day(move || clock.now());
                self.main.as_mut().poll(context).map(Some)
            }
        }
    }
}
