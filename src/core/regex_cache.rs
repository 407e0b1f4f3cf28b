//! The regular expressions of rules, compiled.

use regex::{Error, Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Most memory that a compiled expression may take.
const BYTES: usize = 1 << 20;
/// Most expressions that are remembered: as many as a task may have, and no more memory than an operator has to spare if
/// somebody writes the largest of them.
const REMEMBERED: usize = 32;

/// An expression, or why it is none.
pub type Compiled = Result<Arc<Regex>, Error>;

/// To compile an expression takes a hundred times as long as all the rest of a decision, and every decision asks whether
/// the task's expressions are any good. The answer is always the same, so to remember it takes nothing from the purity of
/// those who ask.
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

/// In RE2, which admission knows, `\<` and `\>` are just these characters; here they would be the ends of a word.
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
