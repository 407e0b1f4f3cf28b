//! Why a verb has failed.

use kube::core::Status;
use retryable_tasks::controller::client;

/// Why a verb has failed, in words for whoever typed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the cluster cannot be reached by this configuration: {0}")]
    Config(String),
    #[error("{what}: {}", client::error_text(.why))]
    Request { what: String, why: kube::Error },
    #[error("{what}: no answer within {seconds} s")]
    NoAnswer { what: String, seconds: u64 },
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Yaml(#[from] serde_yaml_ng::Error),
    #[error("{0}")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Of a request, such as `list retryabletasks in namespace shop`.
    pub(super) fn of(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |why| Self::Request { what, why }
    }

    /// The API server's answer, if there was one.
    pub(super) fn answer(&self) -> Option<&Status> {
        match self {
            Self::Request { why: kube::Error::Api(status), .. } => Some(status),
            _ => None,
        }
    }

    /// Whether waiting may help: the API server did not answer, or cannot now.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Request { why: kube::Error::Api(status), .. } => {
                status.code >= 500 || matches!(status.code, 408 | 429)
            }
            Self::Request { .. } | Self::NoAnswer { .. } => true,
            Self::Config(_) | Self::Usage(_) | Self::Io(_) | Self::Json(_) | Self::Yaml(_) | Self::Other(_) => false,
        }
    }

    /// Whether the API server has not answered at all.
    pub(super) fn is_unanswered(&self) -> bool {
        match self {
            Self::Request { why, .. } => !matches!(why, kube::Error::Api(_)),
            Self::NoAnswer { .. } => true,
            Self::Config(_) | Self::Usage(_) | Self::Io(_) | Self::Json(_) | Self::Yaml(_) | Self::Other(_) => false,
        }
    }

    /// Whether the API server refuses this one object: it is forbidden, or gone. Others may go on.
    pub(super) fn is_refusal(&self) -> bool {
        self.answer().is_some() && !self.is_transient()
    }

    pub(super) fn is_conflict(&self) -> bool {
        self.answer().is_some_and(|status| status.code == 409)
    }

    pub(super) fn is_forbidden(&self) -> bool {
        self.answer().is_some_and(|status| status.code == 403)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.answer().is_some_and(|status| status.code == 404)
    }
}
