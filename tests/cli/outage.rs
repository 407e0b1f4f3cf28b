//! `simulate --outage`.

use super::{Said, TASK, simulate};
use serde_json::Value;

/// Tasks of a queue with a circuit breaker.
const QUEUED: &str = "
apiVersion: retryable.dev/v1alpha1
kind: TaskQueue
metadata: {name: payments}
spec:
  maxConcurrent: 20
  circuitBreaker: {failures: {errorTypes: [Unavailable]}, openAfter: {tasks: 5}, recoverySeconds: 120}
---
apiVersion: retryable.dev/v1alpha1
kind: RetryableTask
metadata: {name: pay, namespace: shop}
spec: {image: registry.example/pay:1, queue: {name: payments}}
";

#[test]
fn simulate_compares_an_outage_without_a_queue_with_it_and_with_its_breaker() {
    let Said { code, out, err } = simulate(QUEUED, &["--outage", "10m"]);
    let expected = "\
shop/pay: 60 tasks created at once; the service is down for the first 10m0s
An attempt takes 5s. One that starts while the service is down ends with Error, exit code 1, error type Unavailable; all others succeed.

                                    NO QUEUE   NO BREAKER   QUEUE
Tasks that succeed                  0          0            60
Tasks that fail: RetriesExhausted   60         60           0
Attempts                            240        240          83
  while the service is down         240        240          23
  as probes                         0          0            5
Most attempts at a time             60         20           20
First start once it is back         -          -            16m17.401s
Most starts in a second, then       0          0            3
End of the last task                28.295s    1m0s         17m27.401s

CIRCUIT    AT           UNTIL        CAUSE
Open       5s           1m9.166s     20 of 20 tasks failed: Unavailable (20)
HalfOpen   1m9.166s     -            -
Open       1m14.166s    3m18.144s    a probe failed: Unavailable
HalfOpen   3m18.144s    -            -
Open       3m23.144s    7m29.486s    a probe failed: Unavailable
HalfOpen   7m29.486s    -            -
Open       7m34.486s    16m17.401s   a probe failed: Unavailable
HalfOpen   16m17.401s   -            -
Closed     16m27.401s   -            -
";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), expected, ""));
}

#[test]
fn simulate_says_why_a_circuit_does_not_open_and_what_an_outage_lacks() {
    let last_line = |args: &[&str]| {
        let Said { out, err, .. } = simulate(QUEUED, args);
        format!("{out}{err}").lines().last().unwrap_or_default().to_owned()
    };
    let queue_file = std::env::temp_dir().join(format!("queue-{}.yaml", std::process::id()));
    std::fs::write(&queue_file, QUEUED).unwrap();
    let unqueued = QUEUED.replace(", queue: {name: payments}", "");
    let Said { out, err, .. } = simulate(&unqueued, &["--outage", "1h", "--queue", queue_file.to_str().unwrap()]);
    assert_eq!(err, "RetryableTask pay names no queue: it is shown with TaskQueue payments\n");
    assert!(out.contains("Tasks that fail: RetriesExhausted   60         60           0\n"), "{out}");
    std::fs::write(&queue_file, TASK).unwrap();
    for (args, expected) in [
        (&["--outage", "10m", "--tasks", "4"][..], "the circuit does not open: fewer tasks fail than openAfter says"),
        (
            &["--outage", "10m", "--exit-code", "3"],
            "circuitBreaker.failures does not match an attempt that ends with Error, exit code 3, so the circuit cannot open: \
             say with --exit-code, --reason or --message how an attempt ends while the service is down",
        ),
        (
            &["--outage", "10m", "--queue", queue_file.to_str().unwrap()],
            &format!("error: {}: contains no TaskQueue", queue_file.display()),
        ),
        (
            &["--outage", "10m", "--queue", "-"],
            "error: the manifest and the queue cannot both come from standard input: put them into one file",
        ),
    ] {
        assert_eq!(last_line(args), expected, "{args:?}");
    }
    std::fs::remove_file(&queue_file).unwrap();
    let Said { code, err, .. } =
        simulate(&QUEUED.replace("{name: payments}\nspec", "{name: other}\nspec"), &["--outage", "1m"]);
    let expected = "error: RetryableTask pay names TaskQueue payments, which is not in standard input: add it, or give its file with --queue\n";
    assert_eq!((code, err.as_str()), (Some(1), expected));
    let Said { code, err, .. } = simulate(QUEUED, &["--outage", "10"]);
    assert!(code == Some(2) && err.contains("use a time such as 90s, 10m or 1h30m, up to 720h"), "{err}");
    let Said { code, err, .. } = simulate(QUEUED, &["--tasks", "10"]);
    assert!(code == Some(2) && err.contains("--outage"), "{err}");
}

#[test]
fn simulate_has_the_same_facts_of_an_outage_for_programs() {
    let Said { out, .. } = simulate(QUEUED, &["--outage", "10m", "--tasks", "30", "-o", "json"]);
    let read: Value = serde_json::from_str(&out).unwrap();
    let outage = &read["outages"][0];
    let cases = outage["cases"].as_array().unwrap();
    let limits: Vec<&str> = cases.iter().filter_map(|case| case["limits"].as_str()).collect();
    assert_eq!(limits, ["noQueue", "noBreaker", "queue"]);
    assert_eq!((&cases[0]["failed"]["RetriesExhausted"], &cases[2]["succeeded"]), (&30.into(), &30.into()));
    assert_eq!((&outage["downMilliseconds"], &outage["queue"]), (&600_000.into(), &"payments".into()));
    let opened = &cases[2]["circuit"][0];
    assert_eq!((&opened["state"], &opened["atMilliseconds"]), (&"Open".into(), &5_000.into()));
}
