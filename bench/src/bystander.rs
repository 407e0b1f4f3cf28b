//! Somebody who has nothing to do with the work and asks the API server a small thing now and then: how long a request waits
//! until a busy API server has it, whoever sends it.

use crate::audit::{Log, millis_between};
use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long after an answer it asks again.
const PAUSE: Duration = Duration::from_millis(100);
/// What it asks for: nobody else does, and there is none.
const NAME: &str = "bystander";

/// Asks until it is dropped.
pub struct Bystander {
    sent: Arc<Mutex<Vec<Timestamp>>>,
    asking: JoinHandle<()>,
}

impl Bystander {
    /// Begins to ask, on a connection of its own.
    pub async fn new(namespace: &str) -> Result<Self> {
        let maps: Api<ConfigMap> = Api::namespaced(Client::try_default().await?, namespace);
        maps.get_opt(NAME).await?;
        let sent: Arc<Mutex<Vec<Timestamp>>> = Arc::default();
        let keep = sent.clone();
        let asking = tokio::spawn(async move {
            loop {
                keep.lock().unwrap_or_else(PoisonError::into_inner).push(Timestamp::now());
                if let Err(error) = maps.get_opt(NAME).await {
                    eprintln!("the bystander: {error}");
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { sent, asking })
    }

    /// From when each request was sent until the API server had it, in milliseconds. `log` must begin before the bystander.
    pub fn waits(&self, log: &Log) -> Result<Vec<f64>> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = log.requests.iter().filter(|request| request.verb == "get" && request.resource == "configmaps");
        // One at a time, so they are had in the order in which they are sent; the first one opened the connection.
        let had: Vec<Timestamp> =
            asked.filter(|request| request.name == NAME).map(|one| one.received).skip(1).collect();
        ensure!(
            !had.is_empty() && had.len() <= sent.len(),
            "the bystander sent {}, {} were had",
            sent.len(),
            had.len()
        );
        Ok(sent.iter().zip(had).map(|(sent, had)| millis_between(*sent, had)).collect())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.asking.abort();
    }
}
