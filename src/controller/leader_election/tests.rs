use std::{
    pin::{Pin, pin},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::{
    fake::{Fate, Leases},
    *,
};

const LEASE: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
/// The longest time between two looks of a candidate at the record, requests included.
const LOOK: Duration = Duration::from_millis(2_520);

pub(super) fn settings(identity: &str) -> Settings {
    Settings {
        namespace: "system".into(),
        name: "lock".into(),
        identity: identity.into(),
        lease_duration: LEASE,
        renew_deadline: RENEW,
        retry_period: RETRY,
    }
}

/// The wall clock of a process whose clock is `skew` seconds off.
pub(super) fn clock(skew: i64) -> impl Fn() -> Timestamp + Send + Sync {
    let begin = Instant::now();
    move || {
        let passed = i64::try_from(begin.elapsed().as_micros()).unwrap();
        Timestamp::from_microsecond((1_800_000_000 + skew) * 1_000_000 + passed).unwrap()
    }
}

/// A process that wants to lead.
struct Process {
    fate: Arc<Mutex<Fate>>,
    held: Arc<Mutex<Option<Held>>>,
    task: JoinHandle<()>,
}

impl Process {
    fn start(leases: &Leases, identity: &str, skew: i64) -> Self {
        let fate = Arc::new(Mutex::new(Fate::Served));
        let network = fate.clone();
        let client = leases.client(Arc::new(move || *network.lock().unwrap()));
        let elector = Elector::new(client, settings(identity), clock(skew)).unwrap();
        let held = Arc::new(Mutex::new(None));
        let slot = held.clone();
        let task = tokio::spawn(async move {
            let won = elector.acquire().await;
            *slot.lock().unwrap() = Some(won);
        });
        Self { fate, held, task }
    }

    fn leads(&self) -> bool {
        self.held.lock().unwrap().as_ref().is_some_and(|held| held.leadership().is_valid())
    }

    fn leadership(&self) -> Leadership {
        self.held.lock().unwrap().as_ref().unwrap().leadership()
    }

    fn network(&self, fate: Fate) {
        *self.fate.lock().unwrap() = fate;
    }

    fn kill(&self) {
        self.task.abort();
        self.held.lock().unwrap().take();
    }

    async fn release(&self) -> Result<(), Error> {
        let held = self.held.lock().unwrap().take();
        held.unwrap().release().await
    }
}

/// Lets time pass until `met`, at most `limit`; the time that it took.
async fn until(limit: Duration, met: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !met() {
        assert!(begin.elapsed() <= limit, "not within {limit:?}");
        sleep(Duration::from_millis(1)).await;
    }
    begin.elapsed()
}

/// Lets `time` pass while `holds` does.
async fn during(time: Duration, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        assert!(holds(), "after {:?}", begin.elapsed());
        sleep(Duration::from_millis(40)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_candidate_leads_at_once_and_renews_with_one_request() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", 0);
    until(Duration::from_millis(20), || a.leads()).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/system/leases";
    assert_eq!(leases.take_log(), [format!("GET {path}/lock 404"), format!("POST {path} 201")]);
    during(RETRY * 5, || a.leads()).await;
    let log = leases.take_log();
    assert_eq!(log, vec![format!("PUT {path}/lock 200"); log.len()]);
    assert!((4..=5).contains(&log.len()), "one renewal a retry period: {log:?}");
    assert_eq!(leases.spec().lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_over_while_the_leader_renews() {
    for skew in [-3_600, 0, 3_600] {
        let leases = Leases::default();
        let a = Process::start(&leases, "a", 0);
        until(RETRY, || a.leads()).await;
        let b = Process::start(&leases, "b", skew);
        during(LEASE * 20, || a.leads() && !b.leads()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_after_the_lease_duration_whatever_the_clocks_say() {
    for skew in [-3_600, 0, 3_600] {
        let leases = Leases::default();
        let a = Process::start(&leases, "a", 0);
        until(RETRY, || a.leads()).await;
        let b = Process::start(&leases, "b", skew);
        during(LEASE, || a.leads()).await;
        a.kill();
        let took = until(LEASE + LOOK, || b.leads()).await;
        assert!(took > RENEW, "{took:?}: a leader that was merely cut off could still be at work");
        assert_eq!(leases.spec().lease_transitions, Some(1));
        assert_eq!(leases.holder(), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_finds_a_dead_record_waits_for_the_lease_duration_first() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", -3_600);
    until(RETRY, || a.leads()).await;
    a.kill();
    sleep(LEASE * 10).await;
    // The record is hours old by any clock, yet its holder might be renewing it right now.
    let b = Process::start(&leases, "b", 3_600);
    during(RENEW + RETRY, || !b.leads()).await;
    until(RETRY * 2, || b.leads()).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_goes_on_without_waiting() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", 0);
    until(RETRY, || a.leads()).await;
    a.kill();
    let again = Process::start(&leases, "a", 0);
    until(Duration::from_millis(20), || again.leads()).await;
    assert_eq!(leases.spec().lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", 0);
    until(RETRY, || a.leads()).await;
    let b = Process::start(&leases, "b", 3_600);
    during(LEASE, || a.leads()).await;
    let leadership = a.leadership();
    a.release().await.unwrap();
    assert!(!leadership.is_valid());
    leadership.lost().await;
    assert_eq!(leases.holder(), "");
    until(LOOK, || b.leads()).await;
    assert_eq!(leases.spec().lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_release_during_a_renewal_still_empties_the_record() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", 0);
    until(RETRY, || a.leads()).await;
    leases.take_log();
    a.network(Fate::Late(Duration::from_secs(1)));
    sleep(RETRY + Duration::from_millis(500)).await;
    assert_eq!(leases.take_log(), [""; 0], "a renewal is under way");
    a.network(Fate::Served);
    a.release().await.unwrap();
    assert_eq!(leases.holder(), "");
    sleep(LEASE).await;
    assert_eq!(leases.holder(), "", "the renewal that was under way came too late");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_the_server_does_not_answer_stops_before_another_begins() {
    for fate in [Fate::Swallowed, Fate::Refused, Fate::Late(Duration::from_secs(60))] {
        let leases = Leases::default();
        let a = Process::start(&leases, "a", 0);
        until(RETRY, || a.leads()).await;
        let b = Process::start(&leases, "b", 0);
        during(LEASE, || a.leads()).await;
        let leadership = a.leadership();
        a.network(fate);
        let took = until(RENEW, || !a.leads()).await;
        assert!(took + RETRY + LOOK >= RENEW, "{took:?}: it gave up before its time");
        assert!(!b.leads());
        let told = timeout(Duration::from_millis(5), leadership.lost()).await;
        assert!(told.is_ok(), "the loss is told at once");
        until(LEASE, || b.leads()).await;
        // What was under way at the old leader lands now, and changes nothing.
        during(LEASE * 10, || b.leads() && !a.leads()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_costs_nothing() {
    for fate in [Fate::Swallowed, Fate::Refused, Fate::Unanswered, Fate::Late(Duration::from_secs(4))] {
        let leases = Leases::default();
        let a = Process::start(&leases, "a", 0);
        until(RETRY, || a.leads()).await;
        let b = Process::start(&leases, "b", 0);
        for _ in 0..20 {
            a.network(fate);
            during(RETRY * 2, || a.leads() && !b.leads()).await;
            a.network(Fate::Served);
            during(RETRY * 4, || a.leads() && !b.leads()).await;
        }
        assert_eq!(leases.spec().lease_transitions, Some(0), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn edits_by_hand_do_not_unseat_the_leader() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", 0);
    until(RETRY, || a.leads()).await;
    let b = Process::start(&leases, "b", 0);
    for _ in 0..10 {
        during(RETRY * 3, || a.leads() && !b.leads()).await;
        leases.label();
        during(RETRY * 3, || a.leads() && !b.leads()).await;
        leases.delete();
    }
    during(LEASE * 3, || a.leads() && !b.leads()).await;
    assert_eq!(leases.holder(), "a", "the leader made the lease anew");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_of_a_dead_leader_is_made_anew() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", 0);
    until(RETRY, || a.leads()).await;
    let b = Process::start(&leases, "b", 0);
    during(LEASE, || a.leads()).await;
    a.kill();
    leases.delete();
    let took = until(LEASE + LOOK, || b.leads()).await;
    assert!(took > RENEW, "{took:?}");
}

/// A future that stands still, as a stopped process does, while its switch is on.
struct Stoppable<F>(Pin<Box<F>>, Arc<AtomicBool>);

impl<F: Future> Future for Stoppable<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.1.load(Ordering::Relaxed) { Poll::Pending } else { self.0.as_mut().poll(cx) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_leader_knows_that_it_is_none_when_it_wakes() {
    // Stopped at any moment of a retry period: at rest, and in the midst of a renewal.
    for moment in [0, 500, 1_998, 2_000, 2_001, 2_003, 2_500] {
        let leases = Leases::default();
        let client = leases.client(Arc::new(|| Fate::Served));
        let elector = Elector::new(client, settings("a"), clock(0)).unwrap();
        let (elector, since) = elector.win().await;
        let (term, leadership) = Term::begin();
        term.extend(since + RENEW);
        let (_release, released) = oneshot::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let mut renewal = pin!(Stoppable(Box::pin(elector.keep(since, term, released)), stopped.clone()));
        let b = Process::start(&leases, "b", 0);

        let moment = Duration::from_millis(moment);
        assert!(timeout(moment, &mut renewal).await.is_err());
        stopped.store(true, Ordering::Relaxed);
        let stop = Instant::now();
        let _ = timeout(LEASE + RETRY * 2, async {
            loop {
                assert!(!(leadership.is_valid() && b.leads()), "two leaders {:?} after the stop", stop.elapsed());
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert!(b.leads() && !leadership.is_valid());

        stopped.store(false, Ordering::Relaxed);
        renewal.await.unwrap();
        assert!(!leadership.is_valid() && b.leads());
        leadership.lost().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_does_not_hide_the_renewals() {
    let leases = Leases::default();
    let clock = || Timestamp::from_second(1_800_000_000).unwrap();
    let client = leases.client(Arc::new(|| Fate::Served));
    let a = Elector::new(client, settings("a"), clock).unwrap().acquire().await;
    let b = Process::start(&leases, "b", 0);
    during(LEASE * 4, || a.leadership().is_valid() && !b.leads()).await;
}

#[tokio::test(start_paused = true)]
async fn the_record_carries_the_clock_in_microseconds() {
    let leases = Leases::default();
    let seconds = Arc::new(AtomicI64::new(1_800_000_000));
    let wall = seconds.clone();
    let clock = move || Timestamp::new(wall.load(Ordering::Relaxed), 123_456_789).unwrap();
    let client = leases.client(Arc::new(|| Fate::Served));
    let held = Elector::new(client, settings("a"), clock).unwrap().acquire().await;
    let acquired = "2027-01-15T08:00:00.123456Z".parse().unwrap();
    assert_eq!(leases.spec().acquire_time.unwrap().0, acquired);
    assert_eq!(leases.spec().renew_time.unwrap().0, acquired);
    // The clock is set back by a day; the renewals show that, and nothing else happens.
    seconds.fetch_sub(86_400, Ordering::Relaxed);
    during(LEASE, || held.leadership().is_valid()).await;
    assert_eq!(leases.spec().acquire_time.unwrap().0, acquired);
    let renewed: Timestamp = "2027-01-14T08:00:00.123456Z".parse().unwrap();
    assert!((0..2).contains(&(leases.spec().renew_time.unwrap().0.as_microsecond() - renewed.as_microsecond())));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_says_so_and_ends_in_time() {
    let leases = Leases::default();
    let a = Process::start(&leases, "a", 0);
    until(RETRY, || a.leads()).await;
    a.network(Fate::Swallowed);
    let begin = Instant::now();
    let error = a.release().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read the lease: no answer within 5 s");
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn without_election_leadership_is_always_valid() {
    let leadership = Leadership::always();
    sleep(LEASE * 100).await;
    assert!(leadership.is_valid());
    assert!(leadership.lost().now_or_never().is_none());
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let check = |change: fn(&mut Settings)| {
        let mut settings = settings("a");
        change(&mut settings);
        let client = Leases::default().client(Arc::new(|| Fate::Served));
        Elector::new(client, settings, Timestamp::now).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| {}), Ok(()));
    assert!(check(|s| s.identity.clear()).unwrap_err().contains("identity"));
    assert!(check(|s| s.retry_period = Duration::ZERO).unwrap_err().contains("retry period"));
    assert!(check(|s| s.retry_period = s.renew_deadline).unwrap_err().contains("renew deadline"));
    assert!(check(|s| s.renew_deadline = s.lease_duration).unwrap_err().contains("lease duration"));
    assert!(check(|s| s.lease_duration = Duration::from_secs(1 << 40)).unwrap_err().contains("too long"));
}
