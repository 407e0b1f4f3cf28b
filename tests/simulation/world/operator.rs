//! The operator's process: its real code from the client to the controller, put together as its command line does.

use super::plan::OWN_NAMESPACE;
use crate::{
    clock::WallClock,
    process::{Gate, Process},
    server::{Endpoint, Server},
};
use futures::FutureExt;
use retryable_tasks::{
    controller::{
        Clock, Settings, client,
        dependents::Dependents,
        leader_election::{self, Elector, Held, Leadership},
        main_loop::{TaskExited, run as control},
        schedules,
    },
    telemetry::Telemetry,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// A running operator.
pub struct Operator {
    /// Its process.
    pub process: Process,
    /// Shuts it down (SIGTERM).
    pub stop: Arc<Notify>,
    /// Its number among the processes of the world.
    pub client: u32,
}

impl Operator {
    /// Starts one under this identity.
    pub fn start(server: &Server, clock: WallClock, client_number: u32, identity: String, setup: Setup) -> Self {
        let gate = Gate::new();
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let stop_signal = async move { stopped.notified().await };
        let endpoint = Endpoint::new(server.clone(), gate.clone(), client_number);
        let main = operate(endpoint, clock.clone(), identity, setup, stop_signal);
        let process = Process::start(gate, clock, main);
        Self { process, stop, client: client_number }
    }
}

/// What the operator is started with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Whether it takes part in leader election.
    pub elected: bool,
    /// Whether it serves schedules. Their watches are left out where there are none, since they take time.
    pub scheduled: bool,
}

async fn controllers(
    settings: Settings,
    scheduled: bool,
    stop: impl Future<Output = ()> + Send + Clone,
) -> Result<(), TaskExited> {
    let dependents = Arc::<Dependents>::default();
    let tasks = control(settings.clone(), None, dependents.clone(), stop.clone());
    if !scheduled {
        return tasks.await;
    }
    tokio::try_join!(biased; tasks, schedules::run(settings, None, dependents, stop)).map(drop)
}

async fn operate(
    endpoint: Endpoint,
    clock: WallClock,
    identity: String,
    setup: Setup,
    stop_signal: impl Future<Output = ()> + Send + 'static,
) {
    let stop = stop_signal.boxed().shared();
    let telemetry = Arc::new(Telemetry::new(Duration::from_secs(400)));
    let client = client::client_with(endpoint, "default", telemetry.clone());
    let now: Clock = Arc::new(move || clock.now());
    let (held, leadership) = if setup.elected {
        let settings = leader_election::Settings {
            namespace: OWN_NAMESPACE.into(),
            name: "retryable-tasks".into(),
            identity: identity.clone(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        };
        let wall = now.clone();
        let elector = Elector::new(client.clone(), settings, move || wall()).expect("settings that make sense");
        tokio::select! { biased;
            held = elector.acquire() => (Some(held), None),
            () = stop.clone() => return,
        }
    } else {
        (None, Some(Leadership::always()))
    };
    let leadership = leadership.or_else(|| held.as_ref().map(Held::leadership)).expect("one of the two");
    let valid = leadership.clone();
    let settings = Settings {
        client,
        telemetry,
        clock: now,
        may_write: Arc::new(move || valid.is_valid()),
        own_namespace: Some(OWN_NAMESPACE.into()),
        concurrency: 32,
        default_ttl_seconds: None,
        identity,
    };
    tokio::select! { biased;
        () = leadership.lost() => return,
        ended = controllers(settings, setup.scheduled, stop) => ended.expect("a controller whose parts live"),
    }
    if let Some(held) = held {
        // A Lease that could not be released expires.
        let _ = held.release().await;
    }
}
