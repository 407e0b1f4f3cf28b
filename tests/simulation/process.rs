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
use tokio::{sync::Notify, task::AbortHandle};

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It is stopped (SIGSTOP): it takes no step while time goes on.
    Paused,
    /// It was killed (SIGKILL). For good.
    Dead,
}

/// The state that a process and its connections to the API server share.
///
/// Tokio tasks that the process spawned outlive its root task. They do no harm: no request of a dead process passes the
/// gate.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<ProcessState>,
    changed: Notify,
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
        let never = AtomicU64::new(u64::MAX);
        let state = Mutex::new(ProcessState::Running);
        Arc::new(Self {
            state,
            changed: Notify::new(),
            root: Mutex::default(),
            steps: AtomicU64::new(0),
            kill_at_step: never,
        })
    }

    /// Whether the process runs.
    pub fn state(&self) -> ProcessState {
        *self.state.lock().expect("the gate's lock")
    }

    /// Kills the process. Requests that it has sent are still carried out.
    pub fn kill(&self) {
        self.turn(|_| ProcessState::Dead);
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
        self.turn(|state| Self::unless_dead(state, ProcessState::Paused));
    }

    /// Lets a stopped process go on.
    pub fn resume(&self) {
        self.turn(|state| Self::unless_dead(state, ProcessState::Running));
        if let Some(waker) = self.root.lock().expect("the gate's lock").stopped.take() {
            waker.wake();
        }
    }

    fn turn(&self, to: impl FnOnce(ProcessState) -> ProcessState) {
        let mut state = self.state.lock().expect("the gate's lock");
        *state = to(*state);
        self.changed.notify_waiters();
    }

    fn unless_dead(state: ProcessState, wanted: ProcessState) -> ProcessState {
        if state == ProcessState::Dead { state } else { wanted }
    }

    /// Waits until the process runs: at once, when it is resumed, or never.
    pub async fn pass(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state() == ProcessState::Running {
                return;
            }
            changed.await;
        }
    }
}

/// How a process ended.
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
    /// Its state.
    pub gate: Arc<Gate>,
    /// Its wall clock.
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

/// The main function. It is polled only while the process runs, with the time of day of its own machine.
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
        match self.gate.state() {
            ProcessState::Dead => Poll::Ready(None),
            ProcessState::Paused => {
                self.gate.root.lock().expect("the gate's lock").stopped = Some(context.waker().clone());
                Poll::Pending
            }
            ProcessState::Running => {
                let clock = self.clock.clone();
                determinism::set_time_of_day(move || clock.now());
                self.main.as_mut().poll(context).map(Some)
            }
        }
    }
}
