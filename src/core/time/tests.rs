use super::*;

#[test]
fn durations_read_like_kubectls() {
    let cases = [
        (-5, "0s"),
        (0, "0s"),
        (850, "850ms"),
        (1000, "1s"),
        (1840, "1.8s"),
        (1960, "2s"),
        (9949, "9.9s"),
        (9960, "10s"),
        (42_700, "42s"),
        (63_500, "1m3s"),
        (7_500_000, "2h5m"),
        (273_600_000, "3d4h"),
    ];
    for (millis, text) in cases {
        assert_eq!(human(SignedDuration::from_millis(millis)), text);
    }
}
