//! How messages, Events and reports name the end of an attempt.

/// The reason, and the exit code if a container ended: `Error, exit code 3`.
pub fn reason_and_code(reason: &str, exit_code: Option<i32>) -> String {
    match exit_code {
        Some(code) => format!("{reason}, exit code {code}"),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
