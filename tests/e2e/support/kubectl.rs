//! Runs kubectl, as a user does.

use super::wait::LIMIT;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

/// What a command said.
#[derive(Debug)]
pub struct Output {
    command: String,
    success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Its standard output, or how it failed.
    pub fn result(self) -> Result<String, String> {
        let Self { command, success, stdout, stderr } = self;
        if success { Ok(stdout) } else { Err(format!("`{command}` failed:\n{stdout}{stderr}")) }
    }

    /// Its standard output; the test fails if the command did.
    #[track_caller]
    pub fn ok(self) -> String {
        self.result().unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Its standard error; the test fails if the command did not.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.success, "`{}` should have failed, and printed:\n{}", self.command, self.stdout);
        self.stderr
    }
}

/// Runs kubectl.
pub fn kubectl<S: AsRef<OsStr>>(args: &[S]) -> Output {
    kubectl_with(args, "")
}

/// Runs kubectl with `stdin`. One that hangs, as a deletion may, is killed: it would hold up all tests.
pub fn kubectl_with<S: AsRef<OsStr>>(args: &[S], stdin: &str) -> Output {
    let limit = (2 * LIMIT).as_secs().to_string();
    run(Command::new("timeout").args([&limit, "kubectl"]).args(args), stdin)
}

/// Runs `command` to its end.
pub fn run(command: &mut Command, stdin: &str) -> Output {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let text = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("`{text}` cannot be started: {error}"));
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Output {
        command: text,
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
