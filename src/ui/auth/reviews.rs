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
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How long an answer holds.
pub const HOLD: Duration = Duration::from_secs(30);
/// How many questions are asked at a time, for all viewers together.
const AT_A_TIME: usize = 16;
/// How many of them are on tokens that the API server has not accepted of late: those of others do not wait behind a flood of wrong
/// ones.
const STRANGERS_AT_A_TIME: usize = 4;
/// Most answers that are remembered on rights, and on tokens that were accepted.
const MOST: usize = 50_000;
/// Most answers that are remembered on tokens that were not. Anybody can send any number of them.
const MOST_REJECTED: usize = 1000;
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
    strangers: Semaphore,
    users: Mutex<Answers<TokenHash, Arc<Reviewed>>>,
    rejected: Mutex<Answers<TokenHash, String>>,
    rights: Mutex<Answers<(TokenHash, Right), bool>>,
}

struct Answers<K, V> {
    answers: HashMap<K, (Instant, V)>,
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    fn new(most: usize) -> Mutex<Self> {
        Mutex::new(Self { answers: HashMap::new(), most })
    }

    /// Whether there was an answer of late, which may not hold any more.
    fn has_had(&self, key: &K) -> bool {
        self.answers.contains_key(key)
    }

    fn get(&self, key: &K) -> Option<V> {
        self.answers.get(key).filter(|(at, _)| at.elapsed() < HOLD).map(|(_, answer)| answer.clone())
    }

    fn put(&mut self, key: K, answer: V) {
        if self.answers.len() >= self.most {
            self.answers.retain(|_, (at, _)| at.elapsed() < HOLD);
        }
        if self.answers.len() < self.most || self.answers.contains_key(&key) {
            self.answers.insert(key, (Instant::now(), answer));
        }
    }

    fn remove(&mut self, key: &K) {
        self.answers.remove(key);
    }
}

impl Reviews {
    /// Asks by that client.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            asking: Semaphore::new(AT_A_TIME),
            strangers: Semaphore::new(STRANGERS_AT_A_TIME),
            users: Answers::new(MOST),
            rejected: Answers::new(MOST_REJECTED),
            rights: Answers::new(MOST),
        }
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
            return Ok(known);
        }
        if let Some(why) = lock(&self.rejected).get(&hash) {
            return Err(Denied::Rejected(why));
        }
        let is_stranger = !lock(&self.users).has_had(&hash);
        let _permit = if is_stranger { Some(permit(&self.strangers).await?) } else { None };
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: None };
        let review = self.ask(TokenReview { spec, ..TokenReview::default() }).await?;
        let status = review.status.unwrap_or_default();
        if let (Some(true), Some(user)) = (status.authenticated, status.user) {
            let reviewed = Arc::new(Reviewed { hash, user });
            lock(&self.users).put(hash, reviewed.clone());
            return Ok(reviewed);
        }
        let why = status.error.unwrap_or_else(|| "it is not valid".into());
        lock(&self.users).remove(&hash);
        lock(&self.rejected).put(hash, why.clone());
        Err(Denied::Rejected(why))
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
        let _permit = permit(&self.asking).await?;
        let answer = Api::<K>::all(self.client.clone()).create(&PostParams::default(), &question).await;
        answer.map_err(|error| Denied::Unavailable(error_text(&error)))
    }
}

async fn permit(semaphore: &Semaphore) -> Result<SemaphorePermit<'_>, Denied> {
    semaphore.acquire().await.map_err(|error| Denied::Unavailable(error.to_string()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
