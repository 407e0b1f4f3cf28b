//! What an error of the API server means.

use crate::core::message;
use crate::core::rejection::{Refusal, Rejection, is_of_admission};

/// The status code, if the API server answered.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the object is deleted or has changed, which the watch will show. An admission webhook may answer with these
/// codes too, which says nothing of the object.
pub fn is_deleted_or_changed(error: &kube::Error) -> bool {
    matches!(code(error), Some(404 | 409)) && !is_denied(error)
}

/// Whether an admission webhook or policy denied the request, or failed. It does so again, whatever the code.
pub fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_of_admission(&status.message))
}

/// The error as the rejection of a creation, which may have gone through all the same.
pub fn rejection(error: &kube::Error) -> Rejection {
    match error {
        kube::Error::Api(status) => {
            let text = if status.message.is_empty() { &status.reason } else { &status.message };
            let text =
                if text.is_empty() { format!("the API server answered with {}", status.code) } else { text.clone() };
            let message = message::short(&text, message::MAX_MESSAGE_BYTES);
            Rejection { answer: Refusal::Code(status.code), message }
        }
        error => Rejection { answer: Refusal::NoAnswer, message: message_of(error) },
    }
}

/// The API server's message alone if it answered; else the error with those of its causes that add something.
pub fn message_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let boxed = error.downcast_ref::<Box<kube::Error>>().map(|boxed| &**boxed);
        if let Some(kube::Error::Api(status)) = boxed.or_else(|| error.downcast_ref()) {
            text.clone_from(&status.message);
            break;
        }
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    message::short(&text, message::MAX_MESSAGE_BYTES)
}
