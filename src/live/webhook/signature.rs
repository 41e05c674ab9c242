//! The signature of what a webhook sends: who has the secret can tell that it comes from here, and when it was sent.
//!
//! `Bygone-Signature: t=1700000000,v1=5257a8…`, where `v1` is HMAC-SHA256 of the seconds, a dot and the body, in hexadecimal. The
//! time is signed, too: a receiver that refuses old ones cannot be told the same thing again by somebody who listened.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::time::Timestamp;

/// The value of the header.
pub(super) fn header(secret: &[u8], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_millis().div_euclid(1000);
    let mut value = format!("t={seconds},v1=");
    for byte in mac(secret, &[seconds.to_string().as_bytes(), b".", body]) {
        // Writing to a String does not fail.
        let _ = write!(value, "{byte:02x}");
    }
    value
}

/// HMAC-SHA256 of some parts, one after the other.
fn mac(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;

    /// HMAC as RFC 2104 has it, made of SHA-256 alone.
    fn independent(key: &[u8], message: &[u8]) -> [u8; 32] {
        let mut block = [0u8; 64];
        if key.len() > 64 {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(message).finalize();
        Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().into()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_vectors_of_rfc_4231_hold() {
        let data = b"what do ya want for nothing?";
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&mac(b"Jefe", &[data])), expected);
        assert_eq!(hex(&mac(b"Jefe", &[b"what do ya ", b"want for nothing?"])), expected);
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex(&mac(&[0x0b; 20], &[b"Hi There"])), expected);
        // A key that is longer than a block.
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hex(&mac(&[0xaa; 131], &[data])), expected);
    }

    #[test]
    fn the_header_signs_the_time_and_the_body() {
        let at = Timestamp::from_millis(1_700_000_000_999);
        let expected = format!("t=1700000000,v1={}", hex(&independent(b"s3cret", b"1700000000.{\"a\":1}")));
        assert_eq!(header(b"s3cret", at, b"{\"a\":1}"), expected);
        assert_ne!(header(b"s3cret", at, b"{\"a\":2}"), expected);
        assert_ne!(header(b"other", at, b"{\"a\":1}"), expected);
        let later = Timestamp::from_millis(1_700_000_001_000);
        assert_ne!(
            header(b"s3cret", later, b"{\"a\":1}").split_once(',').unwrap().1,
            expected.split_once(',').unwrap().1
        );
    }
}
