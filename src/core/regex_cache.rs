//! The regular expressions of rules, compiled.

use regex::{Error, Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Most memory that one compiled expression may take, in bytes.
const BYTES: usize = 1 << 20;
/// Most expressions in the cache: as many as a task may have. It bounds the memory of the cache.
const REMEMBERED: usize = 32;

/// A compiled expression, or why it is invalid.
pub type Compiled = Result<Arc<Regex>, Error>;

/// Every decision validates the task's expressions, and compiling one takes a hundred times as long as the rest of the
/// decision. The result depends on the pattern alone, so the callers stay pure.
static COMPILED: LazyLock<Mutex<HashMap<String, Compiled>>> = LazyLock::new(Mutex::default);

/// The pattern, compiled.
pub fn compiled(pattern: &str) -> Compiled {
    let remembered = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = remembered().get(pattern) {
        return known.clone();
    }
    let new = compile(pattern).map(Arc::new);
    let mut remembered = remembered();
    if remembered.len() >= REMEMBERED
        && let Some(any) = remembered.keys().next().cloned()
    {
        remembered.remove(&any);
    }
    remembered.insert(pattern.to_owned(), new.clone());
    new
}

/// Admission reads the pattern as RE2, where `\<` and `\>` are plain characters. In Rust they are word boundaries.
fn compile(pattern: &str) -> Result<Regex, Error> {
    let mut plain = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('<' | '>')) => {}
            ('\\', Some(escaped)) => {
                plain.extend([c, escaped]);
                chars.next();
            }
            _ => plain.push(c),
        }
    }
    RegexBuilder::new(&plain).size_limit(BYTES).dfa_size_limit(BYTES).build()
}

#[cfg(test)]
mod tests;
