//! An API server in memory, with the faults between it and its clients. It behaves like the real one wherever a controller
//! could notice a difference.

mod delete;
mod error;
mod gc;
mod patch;
mod policy;
mod read;
mod resource;
mod route;
mod schema;
mod selector;
mod store;
mod transport;
mod validation;
mod watch;
mod write;

pub use delete::FOREGROUND;
pub use error::ApiError;
pub use gc::collect_garbage;
pub use policy::{Denial, Policies};
pub use resource::Resource;
pub use route::{Call, Verb};
pub use schema::Schema;
pub use store::{Actor, Change, ChangeKind, Key, Store, stamp};
pub use transport::{Endpoint, Kill, KillMoment, Record};

use crate::{
    clock::WorldClock,
    faults::{Faults, Rates},
    random::Random,
};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard};
use watch::{Subscription, Watch};

/// What the server answers.
#[derive(Debug)]
pub enum Reply {
    /// An object (or a list, or a Status) with this code.
    Object(u16, Arc<Value>),
    /// A stream of events.
    Watch(Subscription),
}

/// Everything that the server holds.
#[derive(Debug)]
pub struct State {
    /// The objects and their history.
    pub store: Store,
    /// Every request of a process under test, in the order in which they were sent.
    pub requests: Vec<Record>,
    /// Requests of a process under test that the server could not read, which a correct client never sends.
    pub malformed: Vec<String>,
    /// The faults to inject.
    pub faults: Faults,
    /// Who may do what.
    pub policies: Policies,
    /// The tasks' schema.
    pub schema: Schema,
    /// When to kill which process.
    pub kill: Option<Kill>,
    names: Random,
    watches: Vec<Watch>,
    watches_opened: u64,
}

impl State {
    /// Does what the call asks for.
    pub fn execute(&mut self, actor: Actor, call: &Call) -> Result<Reply, ApiError> {
        Policies::authorize(actor, call)?;
        self.schema.check_selector(call)?;
        let behind = self.behind(call);
        match call.verb {
            Verb::Get => self.get(call, behind),
            Verb::List => self.list(call, behind),
            Verb::Watch => self.watch(call).map(Reply::Watch),
            Verb::Create => self.create(actor, call),
            Verb::Update => self.update(actor, call),
            Verb::Patch => self.patch(actor, call),
            Verb::Delete => self.delete(actor, call),
        }
    }

    /// The version that a stale server answers from; None if it is up to date.
    fn behind(&mut self, call: &Call) -> Option<u64> {
        let now = self.store.clock.elapsed();
        if !matches!(call.verb, Verb::Get | Verb::List) {
            return None;
        }
        let since = now.saturating_sub(self.faults.staleness(now)?);
        let changes = self.store.changes();
        let known = changes.partition_point(|change| change.at <= since);
        let version = known.checked_sub(1).map_or(100, |last| changes[last].version);
        Some(version.max(self.store.compacted()))
    }

    fn commit(&mut self, actor: Actor, kind: ChangeKind, key: Key, object: Value) -> Change {
        let change = self.store.commit(actor, kind, key, object);
        self.publish(&change);
        change
    }
}

/// The server. Clones are the same server.
#[derive(Clone, Debug)]
pub struct Server(Arc<Mutex<State>>);

impl Server {
    /// A server without objects.
    pub fn new(seed: u64, clock: WorldClock, rates: Rates) -> Self {
        Self(Arc::new(Mutex::new(State {
            store: Store::new(seed, clock),
            requests: vec![],
            malformed: vec![],
            faults: Faults::new(seed, rates),
            policies: Policies::default(),
            schema: Schema::default(),
            kill: None,
            names: Random::fork(seed, "names"),
            watches: vec![],
            watches_opened: 0,
        })))
    }

    /// What the server holds. Not to be kept across an await.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the server's lock")
    }

    /// Sends a request of a user, and returns the object.
    pub fn user(&self, verb: Verb, key: &Key, body: Value) -> Result<Arc<Value>, ApiError> {
        let call = Call::internal(verb, key.resource, &key.namespace, &key.name, body);
        match self.lock().execute(Actor::User, &call)? {
            Reply::Object(_, object) => Ok(object),
            Reply::Watch(_) => Err(ApiError::bad_request("a watch has no object")),
        }
    }
}
