//! Why nobody is logged in: what the kubeconfig's program, which is to give a token, has said.

use kube::client::AuthError;
use kube::config::ExecConfig;

/// A program that cannot be started, or fails, in words for whoever has to install it or log in with it. `program` is the kubeconfig's.
pub(super) fn problem(error: &kube::Error, program: Option<&ExecConfig>) -> String {
    match error {
        kube::Error::Auth(AuthError::AuthExecStart(cause)) => {
            let command = program.and_then(|exec| exec.command.as_deref()).unwrap_or("the program");
            let hint = program.and_then(|exec| exec.install_hint.as_deref()).map(str::trim);
            let hint = hint.filter(|hint| !hint.is_empty()).map(|hint| format!("\n{hint}")).unwrap_or_default();
            format!(
                "{command}, which the kubeconfig names to log in with (user.exec), cannot be started: {cause}{hint}"
            )
        }
        // The rest of its output may have a token.
        kube::Error::Auth(AuthError::AuthExecRun { cmd, out, .. }) => {
            let said = String::from_utf8_lossy(&out.stderr);
            format!(
                "{cmd}, which the kubeconfig names to log in with (user.exec), failed with {}: {}",
                out.status,
                said.trim()
            )
        }
        other => other.to_string(),
    }
}
