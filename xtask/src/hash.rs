//! Names derived from content hashes.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Returns the first 10 bytes of a digest in hexadecimal digits, which is unique enough for one machine.
pub(crate) fn short(hash: Sha256) -> String {
    hex(hash.finalize().iter().take(10))
}

/// Returns bytes in hexadecimal digits.
pub(crate) fn hex<'byte>(bytes: impl IntoIterator<Item = &'byte u8>) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
