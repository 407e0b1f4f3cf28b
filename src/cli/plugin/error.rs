//! Why a verb has failed.

use kube::core::Status;

/// Why a verb has failed, in words for whoever typed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the cluster cannot be reached by this configuration: {0}")]
    Config(String),
    #[error("{what}: {}", said(.why))]
    Request { what: String, why: kube::Error },
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

    pub(super) fn is_forbidden(&self) -> bool {
        self.answer().is_some_and(|status| status.code == 403)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.answer().is_some_and(|status| status.code == 404)
    }
}

/// The API server's own words, else the innermost cause: the layers between say nothing.
fn said(why: &kube::Error) -> String {
    if let kube::Error::Api(status) = why {
        return if status.message.is_empty() {
            format!("{} ({})", status.reason, status.code)
        } else {
            status.message.clone()
        };
    }
    let mut cause: &dyn std::error::Error = why;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
