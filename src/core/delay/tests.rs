use super::*;
use crate::api::Strategy;
use crate::core::jitter_seed::jitter_seed;
use proptest::prelude::*;

fn seconds(backoff: &Backoff, retries: i32) -> Vec<i64> {
    let exact = Backoff { jitter: Some(Jitter { mode: Some(JitterMode::None), percent: None }), ..backoff.clone() };
    (1..=retries).map(|n| delay(Some(&exact), n, 0).as_secs()).collect()
}

fn with(strategy: Strategy) -> Backoff {
    Backoff { strategy: Some(strategy), ..Backoff::default() }
}

#[test]
fn the_strategies_give_the_documented_delays() {
    let exponential = |initial, multiplier, max| Backoff {
        initial_delay_seconds: Some(initial),
        multiplier: Some(multiplier),
        max_delay_seconds: max,
        ..Backoff::default()
    };
    let of = |strategy, initial| Backoff { initial_delay_seconds: Some(initial), ..with(strategy) };
    let list = Backoff { delays_seconds: Some(vec![2, 5, 10]), ..with(Strategy::List) };
    let cases: [(Backoff, &[i64]); 11] = [
        (Backoff::default(), &[1, 2, 4, 8, 16, 32, 60, 60]),
        (exponential(2, Multiplier::Int(2), None), &[2, 4, 8, 16]),
        (exponential(100, Multiplier::Decimal("1.5".into()), Some(200)), &[100, 150, 200, 200]),
        (exponential(10, Multiplier::Int(1), None), &[10, 10, 10]),
        (exponential(300, Multiplier::Int(2), None), &[300, 300]),
        (of(Strategy::Fixed, 7), &[7, 7, 7]),
        (of(Strategy::Fixed, 0), &[0, 0]),
        (of(Strategy::Linear, 25), &[25, 50, 60, 60]),
        (of(Strategy::Fibonacci, 5), &[5, 5, 10, 15, 25, 40, 60]),
        (list, &[2, 5, 10, 10]),
        (with(Strategy::Fixed), &[1, 1]),
    ];
    for (backoff, expected) in cases {
        assert_eq!(seconds(&backoff, i32::try_from(expected.len()).unwrap()), expected, "{backoff:?}");
    }
}

#[test]
fn a_high_retry_number_neither_overflows_nor_takes_long() {
    let slow = Backoff {
        multiplier: Some(Multiplier::Decimal("1.0001".into())),
        max_delay_seconds: Some(31_536_000),
        ..Backoff::default()
    };
    for backoff in [Backoff::default(), with(Strategy::Linear), with(Strategy::Fibonacci), slow] {
        assert!(delay(Some(&backoff), i32::MAX, u64::MAX).as_secs() >= 45);
    }
}

fn ends(backoff: &Backoff, retry: i32) -> (i64, i64) {
    let DelayRange { low, high } = DelayRange::of(backoff, retry);
    (low, high)
}

#[test]
fn the_modes_keep_their_ranges() {
    let range_of = |mode, percent| {
        let jitter = Some(Jitter { mode, percent });
        ends(&Backoff { jitter, initial_delay_seconds: Some(8), ..with(Strategy::Fixed) }, 1)
    };
    assert_eq!(range_of(None, None), (6_000_000, 10_000_000));
    assert_eq!(range_of(Some(JitterMode::Proportional), Some(100)), (0, 16_000_000));
    assert_eq!(range_of(Some(JitterMode::None), None), (8_000_000, 8_000_000));
    assert_eq!(range_of(Some(JitterMode::Full), None), (0, 8_000_000));
    assert_eq!(range_of(Some(JitterMode::Equal), None), (4_000_000, 8_000_000));
    assert_eq!(ends(&Backoff::default(), 9), (45_000_000, 75_000_000), "60 s at the cap is 45 to 75");
}

/// Chi-squared against the uniform distribution: 20 bins, 19 degrees of freedom, 43.8 is the 99.9th percentile. The
/// seeds follow from the UID, so the result is the same on every run.
#[test]
fn jitter_is_spread_evenly_over_its_range() {
    let backoff = Backoff { initial_delay_seconds: Some(100), ..with(Strategy::Fixed) };
    let (low, high) = ends(&backoff, 1);
    let mut bins = [0f64; 20];
    let samples = 20_000;
    for n in 0..samples {
        let micros = i64::try_from(delay(Some(&backoff), 1, jitter_seed(&format!("task-{n}"), 1)).as_micros()).unwrap();
        bins[usize::try_from((micros - low) * 20 / (high - low + 1)).unwrap()] += 1.0;
    }
    let expected = f64::from(samples) / 20.0;
    let chi_squared: f64 = bins.iter().map(|seen| (seen - expected).powi(2) / expected).sum();
    assert!(chi_squared < 43.8, "chi-squared {chi_squared}, bins {bins:?}");
}

#[test]
fn a_requested_wait_is_never_shortened() {
    for mode in [JitterMode::Proportional, JitterMode::None, JitterMode::Full, JitterMode::Equal] {
        let backoff = Backoff { jitter: Some(Jitter { mode: Some(mode), percent: None }), ..Backoff::default() };
        for jitter_seed in [0, u64::MAX / 2, u64::MAX] {
            let wait = DelayRange::requested(120, Some(&backoff)).pick(jitter_seed);
            assert!((120..=150).contains(&wait.as_secs()), "{mode:?} {wait:?}");
        }
    }
    assert_eq!(DelayRange::requested(-5, None).pick(0), SignedDuration::ZERO);
    assert!(DelayRange::requested(i64::MAX, None).pick(0).as_secs() == LONGEST_SECONDS);
}

#[test]
fn an_invalid_multiplier_is_quoted() {
    for bad in ["0.5", "abc", "1.23456", "", "1.", "-1", "1e3", "1001"] {
        let backoff = Backoff { multiplier: Some(Multiplier::Decimal(bad.into())), ..Backoff::default() };
        assert!(problem(&backoff).is_some_and(|text| text.contains(bad)), "{bad}");
    }
    assert_eq!(problem(&Backoff { multiplier: Some(Multiplier::Decimal("1.5".into())), ..Backoff::default() }), None);
}

proptest! {
    #[test]
    fn any_backoff_gives_a_wait_within_its_range_and_the_same_again(
        strategy in prop::sample::select(vec![Strategy::Exponential, Strategy::Fixed, Strategy::Linear, Strategy::Fibonacci, Strategy::List]),
        mode in prop::sample::select(vec![JitterMode::Proportional, JitterMode::None, JitterMode::Full, JitterMode::Equal]),
        initial in any::<i32>(), max in any::<i32>(), percent in any::<i32>(), retry in any::<i32>(), jitter_seed in any::<u64>(),
        multiplier in "[0-9]{1,5}(\\.[0-9]{1,5})?", delays in prop::collection::vec(any::<i32>(), 0..5),
    ) {
        let backoff = Backoff {
            strategy: Some(strategy), initial_delay_seconds: Some(initial), multiplier: Some(Multiplier::Decimal(multiplier)),
            max_delay_seconds: Some(max.max(0)), delays_seconds: Some(delays), jitter: Some(Jitter { mode: Some(mode), percent: Some(percent) }),
        };
        let (low, high) = ends(&backoff, retry);
        let wait = delay(Some(&backoff), retry, jitter_seed);
        prop_assert!(0 <= low && low <= high);
        prop_assert!(SignedDuration::from_micros(low) <= wait && wait <= SignedDuration::from_micros(high));
        prop_assert_eq!(wait, delay(Some(&backoff), retry, jitter_seed));
    }
}
