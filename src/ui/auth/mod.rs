//! Who may see, and what.

pub mod host;
mod reviews;
mod sessions;

use super::cache::Live;
use super::sight::{Scope, Sight};
use super::store::{Kind, Store};
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HOST};
use kube::Client;
pub use reviews::{HOLD, Reviews, Right};
pub use sessions::Sessions;
use std::sync::Arc;

/// What the names of the cookies with a session begin with.
const COOKIE_NAME: &str = "retryable-tasks-session";
/// As long as the name of a host and its port are at most.
const LONGEST_HOST: usize = 260;

/// Who may see what.
pub enum Auth {
    /// Whoever reaches it sees all that this process sees. It listens on loopback only.
    Open,
    /// Whoever has a token of the cluster sees what the token may list.
    Token(Box<TokenAuth>),
}

/// Asks the API server who has the token, and what they may list.
pub struct TokenAuth {
    reviews: Reviews,
    /// Those who have logged in by the form.
    pub sessions: Sessions,
    /// Whether all namespaces are watched.
    is_of_cluster: bool,
    operator_namespace: Option<String>,
}

/// Somebody who may look.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The name; none without authentication.
    pub user: Option<String>,
    who: Option<Arc<reviews::Reviewed>>,
}

/// Why somebody may not look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The browser asks for a name that is not this machine's: a page of somebody else's may have sent it here.
    #[error("without authentication this page answers to localhost alone, and was asked for as {0}")]
    Host(String),
    /// There is no token.
    #[error("log in to see the tasks")]
    NoToken,
    /// The session is over.
    #[error("your session has ended: log in again")]
    SessionEnded,
    /// The API server does not accept the token.
    #[error("the cluster does not accept this token, or it has expired: {0}")]
    Rejected(String),
    /// The API server could not be asked.
    #[error("the API server cannot be asked what you may see: {0}")]
    Unavailable(String),
}

impl Auth {
    /// By token. `operator_namespace` is where the operator's replicas are.
    pub fn by_token(client: Client, is_of_cluster: bool, operator_namespace: Option<String>) -> Self {
        let (reviews, sessions) = (Reviews::new(client), Sessions::default());
        Self::Token(Box::new(TokenAuth { reviews, sessions, is_of_cluster, operator_namespace }))
    }

    /// Who it is that asks.
    ///
    /// # Errors
    /// When they may not look.
    pub async fn viewer(&self, headers: &HeaderMap) -> Result<Viewer, Denied> {
        match self {
            Self::Open => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                if host::is_loopback(host) {
                    return Ok(Viewer { user: None, who: None });
                }
                Err(Denied::Host(host.to_owned()))
            }
            Self::Token(auth) => {
                let reviewed = auth.reviews.who(&auth.token(headers)?).await?;
                Ok(Viewer { user: Some(reviewed.name().to_owned()), who: Some(reviewed) })
            }
        }
    }

    /// What the viewer may see of what is known now.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn sight(&self, viewer: &Viewer, live: &Live) -> Result<Sight, Denied> {
        match (self, &viewer.who) {
            (Self::Open, _) => Ok(Sight::all()),
            (Self::Token(_), None) => Ok(Sight::default()),
            (Self::Token(auth), Some(who)) => auth.sight(who, live).await,
        }
    }
}

impl TokenAuth {
    fn token(&self, headers: &HeaderMap) -> Result<String, Denied> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(token) = header.and_then(bearer) {
            return Ok(token.to_owned());
        }
        let session = session_of(headers).ok_or(Denied::NoToken)?;
        self.sessions.token(session).ok_or(Denied::SessionEnded)
    }

    /// The session of a token that the API server accepts.
    ///
    /// # Errors
    /// When it does not.
    pub async fn log_in(&self, token: &str) -> Result<String, Denied> {
        self.reviews.who(token).await?;
        self.sessions.begin(token).map_err(|error| Denied::Unavailable(error.to_string()))
    }

    async fn sight(&self, who: &Arc<reviews::Reviewed>, live: &Live) -> Result<Sight, Denied> {
        let mut scopes = Vec::new();
        for kind in Kind::ALL {
            let everywhere = Right { kind, namespace: None };
            if self.is_of_cluster && self.reviews.may(who, vec![everywhere]).await?.contains(&true) {
                scopes.push((kind, Scope::All));
                continue;
            }
            let namespaces = namespaces_of(&live.store(), kind);
            let rights = namespaces.iter().map(|namespace| Right { kind, namespace: Some(namespace.clone()) });
            let may = self.reviews.may(who, rights.collect()).await?;
            let seen = namespaces.into_iter().zip(may).filter(|(_, may)| *may).map(|(namespace, _)| namespace);
            scopes.push((kind, Scope::Only(seen.collect())));
        }
        let replicas = match &self.operator_namespace {
            Some(namespace) => {
                let right = Right { kind: Kind::Pods, namespace: Some(namespace.as_str().into()) };
                self.reviews.may(who, vec![right]).await?.contains(&true)
            }
            None => false,
        };
        Ok(Sight::of(scopes, replicas))
    }
}

/// The namespaces that have objects of that kind.
fn namespaces_of(store: &Store, kind: Kind) -> Vec<Arc<str>> {
    match kind {
        Kind::Tasks => store.tasks.namespaces().cloned().collect(),
        Kind::Queues => store.queues.namespaces().cloned().collect(),
        Kind::Schedules => store.schedules.namespaces().cloned().collect(),
        Kind::Pods => store.pods.namespaces().cloned().collect(),
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// The name of the cookie with the session. Cookies are sent to all ports of a host: the pages of two clusters that are forwarded to two
/// ports of this machine would take each other's. So the host and port that are asked are in the name. Behind `kubectl proxy` they are
/// those of the API server.
pub fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() || ".-".contains(letter) { letter } else { '_' };
    let host: String = host.chars().take(LONGEST_HOST).map(allowed).collect();
    if host.is_empty() { COOKIE_NAME.to_owned() } else { format!("{COOKIE_NAME}-{host}") }
}

/// The session of the cookies.
pub fn session_of(headers: &HeaderMap) -> Option<&str> {
    let wanted = cookie_name(headers);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
