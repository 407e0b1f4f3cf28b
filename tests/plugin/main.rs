//! `kubectl retryable` as people and programs meet it, against an API server that answers by a script. What needs a real one is in `e2e/`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod acting;
mod completing;
mod creating;
mod logging;
mod login;
mod server;
mod showing;
mod tasks;
mod terminal;

use serde_json::{Value, json};
use server::Server;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run has said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A kubeconfig for that server, whose context has the namespace `shop`.
fn kubeconfig(server: &Server) -> PathBuf {
    kubeconfig_with(server, &json!({}), &json!({}))
}

/// The same with that user, and with more about the cluster.
fn kubeconfig_with(server: &Server, user: &Value, more: &Value) -> PathBuf {
    let mut cluster = json!({"server": server.url});
    cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "shop"}}],
        "users": [{"name": "test", "user": user}],
    });
    let port = server.url.rsplit(':').next().unwrap();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("plugin-{}-{port}.yaml", std::process::id()));
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

/// The program under that name.
fn named(name: &str, server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retryable-tasks"));
    command.arg0(name).env("KUBECONFIG", kubeconfig(server)).env_remove("NO_COLOR");
    command
}

/// What `kubectl retryable` says to that command line.
fn said(server: &Server, args: &[&str]) -> Said {
    said_to(server, args, "")
}

/// The same with that standard input.
fn said_to(server: &Server, args: &[&str], input: &str) -> Said {
    let mut command = named("/usr/local/bin/kubectl-retryable", server);
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command line that is refused ends the program before it has read anything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The same for that user, and with more about the cluster.
fn said_with(server: &Server, user: &Value, cluster: &Value, args: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retryable-tasks"));
    command.arg0("/usr/local/bin/kubectl-retryable").env("KUBECONFIG", kubeconfig_with(server, user, cluster));
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
