//! Random numbers from a seed: the same draws on every machine.

use std::time::Duration;

/// A stream of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of this seed and label. Streams of different labels are independent: one part of a world can draw more
    /// numbers without changing those of another part.
    pub fn fork(seed: u64, label: &str) -> Self {
        let hash =
            label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut random = Self(seed ^ hash.rotate_left(17));
        random.next();
        random
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n` (which is not 0).
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of 1,000 draws.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        let index = usize::try_from(self.below(among.len() as u64)).expect("an index");
        among[index].clone()
    }

    /// A duration from `low` to `high`, in whole milliseconds.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let millis = |d: Duration| u64::try_from(d.as_millis()).expect("a duration in milliseconds");
        Duration::from_millis(self.between(millis(low), millis(high)))
    }

    /// A duration up to `high` milliseconds that is mostly short: each order of magnitude is as likely as the next.
    pub fn skewed(&mut self, high_millis: u64) -> Duration {
        let digits = u64::from(high_millis.max(1).ilog2()) + 1;
        let cap = 1 << self.between(0, digits);
        Duration::from_millis(self.below(cap + 1).min(high_millis))
    }
}
