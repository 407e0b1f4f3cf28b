use super::*;

#[test]
fn durations_are_not_rounded() {
    let cases = [
        (0, "0s"),
        (5, "0.005s"),
        (750, "0.75s"),
        (1250, "1.25s"),
        (45_000, "45s"),
        (67_500, "1m7.5s"),
        (75_000, "1m15s"),
        (7_205_000, "2h0m5s"),
        (273_600_001, "3d4h0m0.001s"),
    ];
    for (milliseconds, text) in cases {
        assert_eq!(duration(milliseconds), text);
    }
}
