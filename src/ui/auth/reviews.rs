//! What the API server says of a token and of what its owner may list. Each answer holds for 30 s.

use super::Denied;
use crate::ui::cache::error_text;
use crate::ui::store::Kind;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long an answer holds.
pub const HOLD: Duration = Duration::from_secs(30);
/// How many questions are asked at a time, for all viewers together.
const AT_A_TIME: usize = 16;
/// Most answers of each kind that are remembered.
const MOST: usize = 50_000;
/// A token longer than this is none.
const LONGEST_TOKEN: usize = 16 * 1024;

/// A token, as far as it is remembered.
type TokenHash = [u8; 32];

/// What somebody may list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Right {
    /// The kind.
    pub kind: Kind,
    /// The namespace; all of them if `None`.
    pub namespace: Option<Arc<str>>,
}

/// The owner of a token.
#[derive(Debug)]
pub struct Reviewed {
    hash: TokenHash,
    user: UserInfo,
}

impl Reviewed {
    /// The name of the user.
    pub fn name(&self) -> &str {
        self.user.username.as_deref().unwrap_or("unnamed")
    }
}

/// The questions, and the answers of the last 30 s.
pub struct Reviews {
    client: Client,
    asking: Semaphore,
    users: Mutex<Answers<TokenHash, Result<Arc<Reviewed>, String>>>,
    rights: Mutex<Answers<(TokenHash, Right), bool>>,
}

struct Answers<K, V> {
    answers: HashMap<K, (Instant, V)>,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self { answers: HashMap::new() }
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.answers.get(key).filter(|(at, _)| at.elapsed() < HOLD).map(|(_, answer)| answer.clone())
    }

    fn put(&mut self, key: K, answer: V) {
        if self.answers.len() >= MOST {
            self.answers.retain(|_, (at, _)| at.elapsed() < HOLD);
        }
        if self.answers.len() < MOST {
            self.answers.insert(key, (Instant::now(), answer));
        }
    }
}

impl Reviews {
    /// Asks by that client.
    pub fn new(client: Client) -> Self {
        Self { client, asking: Semaphore::new(AT_A_TIME), users: Mutex::default(), rights: Mutex::default() }
    }

    /// The owner of the token.
    ///
    /// # Errors
    /// When the API server does not accept it, or cannot be asked.
    pub async fn who(&self, token: &str) -> Result<Arc<Reviewed>, Denied> {
        if token.is_empty() || token.len() > LONGEST_TOKEN {
            return Err(Denied::Rejected("it is empty or too long".into()));
        }
        let hash: TokenHash = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = lock(&self.users).get(&hash) {
            return known.map_err(Denied::Rejected);
        }
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: None };
        let review = self.ask(TokenReview { spec, ..TokenReview::default() }).await?;
        let status = review.status.unwrap_or_default();
        let answer = match (status.authenticated, status.user) {
            (Some(true), Some(user)) => Ok(Arc::new(Reviewed { hash, user })),
            _ => Err(status.error.unwrap_or_else(|| "it is not valid".into())),
        };
        lock(&self.users).put(hash, answer.clone());
        answer.map_err(Denied::Rejected)
    }

    /// For each of the rights, whether the user has it.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn may(&self, who: &Arc<Reviewed>, rights: Vec<Right>) -> Result<Vec<bool>, Denied> {
        stream::iter(rights).map(|right| self.may_one(who, right)).buffered(AT_A_TIME).try_collect().await
    }

    async fn may_one(&self, who: &Arc<Reviewed>, right: Right) -> Result<bool, Denied> {
        let key = (who.hash, right);
        if let Some(known) = lock(&self.rights).get(&key) {
            return Ok(known);
        }
        let Right { kind, namespace } = &key.1;
        let UserInfo { extra, groups, uid, username } = who.user.clone();
        let attributes = ResourceAttributes {
            group: Some(kind.group().into()),
            resource: Some(kind.plural().into()),
            namespace: namespace.as_deref().map(Into::into),
            verb: Some("list".into()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            extra,
            groups,
            uid,
            user: username,
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = self.ask(SubjectAccessReview { spec, ..SubjectAccessReview::default() }).await?;
        let may = review.status.is_some_and(|status| status.allowed);
        lock(&self.rights).put(key, may);
        Ok(may)
    }

    async fn ask<K>(&self, question: K) -> Result<K, Denied>
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    {
        let _permit = self.asking.acquire().await.map_err(|error| Denied::Unavailable(error.to_string()))?;
        let answer = Api::<K>::all(self.client.clone()).create(&PostParams::default(), &question).await;
        answer.map_err(|error| Denied::Unavailable(error_text(&error)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
