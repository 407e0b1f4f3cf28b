//! Arithmetic on time that cannot fail.

use jiff::{SignedDuration, Timestamp};

/// `at + by`, or the latest or earliest [`Timestamp`] if that is out of range.
pub fn plus(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// The time from `from` to `to`. Zero if `to` is earlier.
pub fn until(from: Timestamp, to: Timestamp) -> SignedDuration {
    to.duration_since(from).max(SignedDuration::ZERO)
}

/// The timestamp cut to whole microseconds, the resolution of a `MicroTime`.
pub fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// A duration as people read it: `850ms` below a second, `1.8s` below ten seconds, else the two largest units, such as
/// `42s`, `1m3s`, `2h5m`, `3d4h`.
pub fn human(duration: SignedDuration) -> String {
    let duration = duration.max(SignedDuration::ZERO);
    let (millis, seconds) = (duration.as_millis(), duration.as_secs());
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if millis == 0 => "0s".into(),
        (0, 0, 0) if millis < 1000 => format!("{millis}ms"),
        (0, 0, 0) if millis < 9950 => match (millis + 50) / 100 {
            tenths if tenths % 10 == 0 => format!("{}s", tenths / 10),
            tenths => format!("{}.{}s", tenths / 10, tenths % 10),
        },
        (0, 0, 0) if millis < 10_000 => "10s".into(),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests;
