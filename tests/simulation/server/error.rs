//! The server's error answers.

use super::resource::Resource;
use serde_json::{Value, json};

/// An error answer: a `Status` object with this code.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub code: u16,
    /// The reason, for programs.
    pub reason: &'static str,
    /// The message, for people.
    pub message: String,
    /// After how many seconds the client may try again.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error with only these fields.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry_after: None }
    }

    /// The server does not know this path.
    pub fn no_route() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// There is no such object.
    pub fn not_found(resource: Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.qualified()))
    }

    /// There is an object of that name. One that is being deleted blocks its name too.
    pub fn already_exists(resource: Resource, name: &str, terminating: bool) -> Self {
        let going = if terminating { "object is being deleted: " } else { "" };
        Self::new(409, "AlreadyExists", format!("{going}{} \"{name}\" already exists", resource.qualified()))
    }

    /// A precondition does not hold.
    pub fn conflict(resource: Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message)
    }

    /// The object was written since it was read.
    pub fn modified(resource: Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// The object breaks a rule.
    pub fn invalid(resource: Resource, name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(422, "Invalid", format!("{} \"{name}\" is invalid: {why}", resource.kind()))
    }

    /// Objects cannot be selected by this field.
    pub fn unknown_field(path: &str) -> Self {
        Self::bad_request(format!("field label not supported: {path}"))
    }

    /// The request is malformed.
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    /// It is not allowed: by authorisation, a quota or a policy.
    pub fn forbidden(resource: Resource, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} \"{name}\" is forbidden: {why}", resource.qualified()))
    }

    /// The version asked for has been compacted away.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": self.code, "reason": self.reason, "message": self.message,
        });
        if let Some(seconds) = self.retry_after {
            status["details"] = json!({"retryAfterSeconds": seconds});
        }
        status
    }
}
