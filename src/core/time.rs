//! Arithmetic on time that cannot fail.

use jiff::{SignedDuration, Timestamp};

/// `at + by`, or the last or first moment that can be written down.
pub fn plus(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// How long it is from `from` to `to`; nothing if `to` is earlier.
pub fn until(from: Timestamp, to: Timestamp) -> SignedDuration {
    to.duration_since(from).max(SignedDuration::ZERO)
}

/// The whole microseconds of a moment: what a `MicroTime` can hold.
pub fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// A duration as people read it: `850ms` below a second, else the two largest units, such as `42s`, `1m3s`, `2h5m`,
/// `3d4h`.
pub fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds == 0 => format!("{}ms", duration.as_millis().max(0)),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_kubectls() {
        for (millis, text) in
            [(0, "0ms"), (850, "850ms"), (42_000, "42s"), (63_500, "1m3s"), (7_500_000, "2h5m"), (273_600_000, "3d4h")]
        {
            assert_eq!(human(SignedDuration::from_millis(millis)), text);
        }
    }
}
