//! Hashes that are the same in every invocation, on every machine: they stand in the state file.

use twox_hash::XxHash3_64;

/// A hash of texts, each told from its neighbours.
pub(crate) fn stable_hash(parts: &[&str]) -> u64 {
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        text.extend_from_slice(&part.len().to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    stable_hash_of(&text)
}

/// A hash of bytes.
pub(crate) fn stable_hash_of(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}
