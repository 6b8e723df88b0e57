//! Names made from contents.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The first bytes of a digest in hexadecimal digits: enough to tell apart what one machine holds.
pub(crate) fn short(hash: Sha256) -> String {
    hex(hash.finalize().iter().take(10))
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex<'byte>(bytes: impl IntoIterator<Item = &'byte u8>) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
