use super::*;

fn settings(identity: &str) -> Settings {
    Settings {
        namespace: "system".into(),
        name: "lock".into(),
        identity: identity.into(),
        lease_duration: Duration::from_millis(14_500),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_secs(2),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn spec(lease: &Lease) -> &LeaseSpec {
    lease.spec.as_ref().unwrap()
}

#[test]
fn a_new_record_a_renewal_a_release_and_a_take_over() {
    let first = claimed(None, &settings("a"), at(100));
    assert_eq!(holder(&first), Some("a"));
    assert_eq!(spec(&first).lease_duration_seconds, Some(15), "rounded up");
    assert_eq!(spec(&first).lease_transitions, Some(0));

    let renewed = claimed(Some(&first), &settings("a"), at(102));
    assert_eq!(spec(&renewed).acquire_time, Some(MicroTime(at(100))));
    assert_eq!(spec(&renewed).renew_time, Some(MicroTime(at(102))));
    assert_eq!(spec(&renewed).lease_transitions, Some(0));

    let vacant = vacated(&renewed, at(103));
    assert_eq!(holder(&vacant), None);
    assert_eq!(spec(&vacant).lease_transitions, Some(0));

    let taken = claimed(Some(&vacant), &settings("b"), at(50));
    assert_eq!(holder(&taken), Some("b"));
    assert_eq!(spec(&taken).acquire_time, Some(MicroTime(at(50))));
    assert_eq!(spec(&taken).lease_transitions, Some(1));
}

#[test]
fn every_renewal_changes_the_record_even_if_the_clock_stands_still() {
    let first = claimed(None, &settings("a"), at(100));
    let second = claimed(Some(&first), &settings("a"), at(100));
    let third = claimed(Some(&second), &settings("a"), at(100));
    assert_ne!(first.spec, second.spec);
    assert_ne!(second.spec, third.spec);
}

#[test]
fn fields_of_others_are_kept() {
    let mut lease = claimed(None, &settings("a"), at(1));
    lease.metadata.resource_version = Some("7".into());
    lease.metadata.labels = Some([("team".to_owned(), "x".to_owned())].into());
    for written in [claimed(Some(&lease), &settings("b"), at(2)), vacated(&lease, at(2))] {
        assert_eq!(written.metadata, lease.metadata);
    }
}

#[test]
fn a_record_runs_out_only_by_being_seen_unchanged() {
    let mine = settings("b");
    let begin = Instant::now();
    let after = |seconds| begin + Duration::from_secs(seconds);
    let mut observed = Observed::nothing(begin);
    assert!(observed.is_free(&mine, begin));

    // A record from a clock an hour behind, which an idle comparison of clocks would take for dead.
    let lease = claimed(None, &settings("a"), at(1));
    assert!(observed.see(Some(lease.clone()), begin));
    assert!(!observed.is_free(&mine, after(14)));
    let mut relabelled = lease.clone();
    relabelled.metadata.labels = Some([("team".to_owned(), "x".to_owned())].into());
    assert!(!observed.see(Some(relabelled), after(14)), "a label is no sign of life");
    assert!(observed.is_free(&mine, after(15)));
    assert!(observed.see(Some(claimed(Some(&lease), &settings("a"), at(2))), after(15)));
    assert!(!observed.is_free(&mine, after(29)));

    assert!(!observed.see(None, after(29)));
    assert!(!observed.is_free(&mine, after(29)), "its holder may not know yet that the lease was deleted");
    assert!(observed.is_free(&mine, after(30)));
}

#[test]
fn the_duration_in_the_record_counts_and_nonsense_does_not() {
    let mine = settings("b");
    let begin = Instant::now();
    let mut lease = claimed(None, &settings("a"), at(1));
    for (seconds, expected) in [(Some(60), 60_000), (Some(0), 14_500), (Some(-3), 14_500), (None, 14_500)] {
        lease.spec.as_mut().unwrap().lease_duration_seconds = seconds;
        let mut observed = Observed::nothing(begin);
        observed.see(Some(lease.clone()), begin);
        assert_eq!(observed.expiry(&mine), Some(begin + Duration::from_millis(expected)));
    }
}
