//! Helpers of all end-to-end tests.
//!
//! - [`scene`]: a namespace of the test's own, and what lives in it.
//! - [`operator`]: the operator as a process that can be killed.
//! - [`proxy`]: what stands between an operator and the API server, to do as the test says.
//! - [`cluster`]: the cluster, prepared once per run, and who may use it alone.
//! - [`kubectl`]: what a user types.
//! - [`manifest`]: tasks to apply.
//! - [`wait`]: waiting for conditions, never for time.
//! - [`record`]: all that a task's status has been.
//! - [`told`]: what a status tells, in few words.
//! - [`oracle`]: the life that a task was made for, and that it had it by every rule.
//! - [`gates`]: attempts that end when the test says so, even with the API server gone.
//! - [`memory_group`]: a memory limit.
//! - [`machine`]: the cluster's own processes, to be killed and started again.
//! - [`trace`]: all of this in the shape that the oracle judges that the simulation has too.
//! - [`audit`]: what was asked of the API server, by whom, and when.

pub mod audit;
pub mod cluster;
pub mod events;
pub mod gates;
pub mod kubectl;
pub mod machine;
pub mod manifest;
pub mod memory_group;
pub mod operator;
pub mod oracle;
pub mod proxy;
pub mod record;
pub mod scene;
pub mod trace;
pub mod wait;

pub use kubectl::{kubectl, kubectl_with};
pub use manifest::{sh, task};
pub use operator::Operator;
pub use scene::Scene;
pub use wait::{TIMEOUT, eventually};
