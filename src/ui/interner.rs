//! Texts that many objects have, kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// How many values there are before those that nobody has any more are looked for.
const FIRST_SWEEP: usize = 256;

/// Values that many objects have, kept once, as long as one of them has it.
#[derive(Debug)]
pub struct Interner<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), sweep_at: FIRST_SWEEP }
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    /// The one value that equals `value`.
    pub fn get<Q>(&mut self, value: Q) -> Arc<T>
    where
        Q: AsRef<T> + Into<Arc<T>>,
    {
        if let Some(known) = self.values.get(value.as_ref()) {
            return known.clone();
        }
        self.sweep();
        let value: Arc<T> = value.into();
        self.values.insert(value.clone());
        value
    }

    /// The one value that equals `value`.
    pub fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.values.get(&value) {
            return known.clone();
        }
        self.sweep();
        self.values.insert(value.clone());
        value
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Drops what nobody else has, each time that their number has doubled.
    fn sweep(&mut self) {
        if self.values.len() < self.sweep_at {
            return;
        }
        self.values.retain(|value| Arc::strong_count(value) > 1);
        self.sweep_at = (self.values.len() * 2).max(FIRST_SWEEP);
    }
}

#[cfg(test)]
mod tests;
