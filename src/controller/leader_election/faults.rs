//! Many elections over a network that fails at random: there is never more than one leader, and soon after the faults
//! end there is one.

use std::sync::{Arc, Mutex};

use tokio::time::sleep;

use super::{
    fake::{Fate, Leases},
    tests::{clock, settings},
    *,
};

/// How many elections are held.
const SEEDS: u64 = 12;
/// How often each election is looked at, and how far apart.
const LOOKS: usize = 3_000;
const STEP: Duration = Duration::from_millis(100);

/// `SplitMix64`: the same seed gives the same election.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn fate(&mut self, faults_percent: u64) -> Fate {
        if self.below(100) >= faults_percent {
            return Fate::Late(Duration::from_millis(self.below(200)));
        }
        match self.below(4) {
            0 => Fate::Refused,
            1 => Fate::Swallowed,
            2 => Fate::Unanswered,
            _ => Fate::Late(Duration::from_millis(self.below(30_000))),
        }
    }
}

/// A process that stands for election again whenever it has lost; it ends as the real one would, and is restarted.
async fn stand(leases: Leases, network: fake::Network, skew: i64, leads: Arc<Mutex<Option<Leadership>>>, n: usize) {
    for life in 0.. {
        let identity = format!("process-{n}-{life}");
        let client = leases.client(network.clone());
        let held = Elector::new(client, settings(&identity), clock(skew)).unwrap().acquire().await;
        *leads.lock().unwrap() = Some(held.leadership());
        let orderly = Duration::from_secs(40 + 13 * u64::try_from(n).unwrap());
        if timeout(orderly, held.leadership().lost()).await.is_err() {
            let _ = held.release().await;
        }
    }
}

async fn election(seed: u64) -> usize {
    let random = Arc::new(Mutex::new(Random(seed)));
    let faults = Arc::new(Mutex::new(random.lock().unwrap().below(90)));
    let leases = Leases::default();
    let mut processes = Vec::new();
    let mut terms: Vec<Arc<Mutex<Option<Leadership>>>> = Vec::new();
    for (n, skew) in [0, 3_600, -3_600].into_iter().enumerate() {
        let (random, faults) = (random.clone(), faults.clone());
        let network: fake::Network = Arc::new(move || random.lock().unwrap().fate(*faults.lock().unwrap()));
        terms.push(Arc::default());
        processes.push(tokio::spawn(stand(leases.clone(), network, skew, terms[n].clone(), n)));
    }
    let leaders = || {
        let valid =
            |term: &Arc<Mutex<Option<Leadership>>>| term.lock().unwrap().as_ref().is_some_and(Leadership::is_valid);
        terms.iter().filter(|term| valid(term)).count()
    };
    let mut led = 0;
    for look in 0..LOOKS {
        assert!(leaders() <= 1, "seed {seed}: two leaders at look {look}");
        led += leaders();
        sleep(STEP).await;
    }
    *faults.lock().unwrap() = 0;
    let healed = Instant::now();
    while leaders() == 0 {
        assert!(healed.elapsed() < Duration::from_secs(60), "seed {seed}: no leader after the faults");
        sleep(STEP).await;
    }
    processes.iter().for_each(JoinHandle::abort);
    led
}

#[tokio::test(start_paused = true)]
async fn there_is_never_more_than_one_leader() {
    let mut led = 0;
    for seed in 0..SEEDS {
        led += election(seed).await;
    }
    assert!(
        led > usize::try_from(SEEDS).unwrap() * LOOKS / 4,
        "hardly anybody ever led ({led}): this has shown nothing"
    );
}
