//! What containers end with, and what becomes of it.

use crate::support::{Scene, sh};
use retryable_tasks::api::{Action, State};
use serde_json::json;

#[tokio::test]
async fn exit_0_is_success() {
    let scene = Scene::new("exit-0").await;
    let _operator = scene.operator().await;
    scene.apply(&sh("easy", "echo done", &json!({})));
    let status = scene.finished("easy").await;
    assert_eq!((status.state, status.attempts, status.retries), (Some(State::Succeeded), 1, 0));
    let [only] = status.history.as_slice() else { panic!("{:?}", status.history) };
    assert_eq!((only.action, only.exit_code, only.reason.as_str()), (Action::Complete, Some(0), "Completed"));
    assert_eq!(scene.event("easy", "Succeeded").await, "attempt 1 succeeded");
}
