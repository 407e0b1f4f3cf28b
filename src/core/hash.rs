//! Numbers and short names from a text, by SHA-256: the same text gives the same result in every process.

use sha2::{Digest, Sha256};

/// Two numbers of 64 bits, evenly spread.
pub(super) fn numbers(text: &str) -> [u64; 2] {
    let digest = Sha256::digest(text);
    let number = |bytes: &[u8]| bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (first, second) = digest.split_at(8);
    [number(first), number(second)]
}

/// A part of a name: `length` characters, at most 32, that Kubernetes allows in names.
pub(crate) fn name(text: &str, length: usize) -> String {
    // Without vowels and without characters that look alike, as in names that Kubernetes generates.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(text);
    digest.iter().take(length).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}
