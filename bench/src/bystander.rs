//! A client that takes no part in the work. It sends small requests, which show how long any request waits until a busy
//! API server receives it.

use crate::audit::{Log, millis_between};
use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The time between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(100);
/// The name of the requested object, followed by a number. The object does not exist, and no other client requests it.
const NAME: &str = "bystander-";

/// Sends requests until it is dropped.
pub struct Bystander {
    sent: Arc<Mutex<Vec<Timestamp>>>,
    asking: JoinHandle<()>,
}

impl Bystander {
    /// Starts, with a connection of its own.
    pub async fn new(namespace: &str) -> Result<Self> {
        let maps: Api<ConfigMap> = Api::namespaced(Client::try_default().await?, namespace);
        maps.get_opt("opens-the-connection").await?;
        let sent: Arc<Mutex<Vec<Timestamp>>> = Arc::default();
        let keep = sent.clone();
        let asking = tokio::spawn(async move {
            for number in 0.. {
                keep.lock().unwrap_or_else(PoisonError::into_inner).push(Timestamp::now());
                if let Err(error) = maps.get_opt(&format!("{NAME}{number}")).await {
                    eprintln!("the bystander: {error}");
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { sent, asking })
    }

    /// The time from when each request was sent until the API server received it, in milliseconds.
    pub fn waits(&self, log: &Log) -> Result<Vec<f64>> {
        ensure!(!self.asking.is_finished(), "the bystander has given up");
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut had = BTreeMap::new();
        for request in &log.requests {
            if let Some(number) = request.name.strip_prefix(NAME).and_then(|number| number.parse::<usize>().ok()) {
                // The client retries by itself if the API server says so.
                had.entry(number).or_insert(request.received);
            }
        }
        let waits: Vec<f64> =
            had.into_iter().filter_map(|(number, had)| Some(millis_between(*sent.get(number)?, had))).collect();
        ensure!(!waits.is_empty(), "the API server had nothing of the bystander");
        Ok(waits)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.asking.abort();
    }
}
