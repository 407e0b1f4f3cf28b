//! The cluster: there must be one, it is prepared once per run, and some tests need it for themselves.

use super::kubectl::{kubectl, kubectl_with};
use super::wait::{INTERVAL, LIMIT};
use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

const NO_CLUSTER: &str = "these tests need a cluster and found none. Run `make e2e`, which brings one up. By hand: \
                          `eval \"$(tests/cluster/cluster env)\"` names the one of `tests/cluster/cluster node`";

static PREPARED: OnceLock<Result<(), String>> = OnceLock::new();
static TURNS: RwLock<()> = RwLock::new(());

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// A turn on the cluster. A test has one, whatever number of places it uses: while it waited for a second one, it would
/// keep others from theirs, and one of them may be before it in the queue.
#[derive(Debug)]
pub struct Turn {
    _guard: Guard,
}

#[derive(Debug)]
enum Guard {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Turn {
    /// A turn beside other tests.
    pub fn shared() -> Self {
        Self::of(|| Guard::Shared { _guard: TURNS.read().unwrap_or_else(PoisonError::into_inner) })
    }

    /// A turn while no other test runs: the test stops what others rest on.
    pub fn alone() -> Self {
        Self::of(|| Guard::Alone { _guard: TURNS.write().unwrap_or_else(PoisonError::into_inner) })
    }

    fn of(guard: impl FnOnce() -> Guard) -> Self {
        prepare();
        assert!(!HAS_TURN.replace(true), "this test has its turn already: see `Scene::in_turn` and `Scene::beside`");
        Self { _guard: guard() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        HAS_TURN.set(false);
    }
}

/// The operator's program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_retryable-tasks"))
}

/// Where the API server writes its audit log.
pub fn audit_log() -> PathBuf {
    let Some(path) = std::env::var_os("CLUSTER_AUDIT_LOG") else {
        panic!("CLUSTER_AUDIT_LOG does not name the API server's audit log: {NO_CLUSTER}")
    };
    path.into()
}

fn prepare() {
    if let Err(problem) = PREPARED.get_or_init(install_definition) {
        panic!("{problem}");
    }
}

/// The resource's definition, as the program under test has it.
fn install_definition() -> Result<(), String> {
    // A kubeconfig in the usual place may be of a cluster that somebody needs.
    if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
        return Err(NO_CLUSTER.into());
    }
    kubectl(&["get", "--raw", "/readyz", "--request-timeout=300s"])
        .result()
        .map_err(|problem| format!("{NO_CLUSTER}. The one that KUBECONFIG names does not answer: {problem}"))?;
    let definition = super::kubectl::run(program().arg("crd"), "").result()?;
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "-f", "-"];
    kubectl_with(&apply, &definition).result()?;
    until_served()
}

/// `kubectl wait` fails on a definition that has no conditions yet, so this asks for what the definition is there for.
fn until_served() -> Result<(), String> {
    let began = Instant::now();
    loop {
        let all = retryable_tasks::api::RESOURCES.join(",");
        let Err(problem) = kubectl(&["get", &all, "--all-namespaces"]).result() else { return Ok(()) };
        if began.elapsed() > LIMIT {
            return Err(format!("the definition was applied, but the API server does not serve it: {problem}"));
        }
        std::thread::sleep(INTERVAL);
    }
}
