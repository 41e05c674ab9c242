//! The signature of what a webhook sends: who has the secret can tell that it comes from here, and when it was sent.
//!
//! As the specification of Standard Webhooks has it (<https://www.standardwebhooks.com>), so that receivers check it by the libraries
//! that they have: `webhook-signature: v1,K5oZ…`, which is HMAC-SHA256 of the headers `webhook-id` and `webhook-timestamp` and the body,
//! with dots between them, in base64. The secret is base64, too, with `whsec_` before it or not. The time is signed: a receiver that
//! refuses old ones cannot be told the same thing again by somebody who listened.

use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::DeliveryFailure;

/// What may stand before a secret.
const PREFIX: &str = "whsec_";

/// Padding or not: both are in use. And what other readers of base64 take, too.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The key of signatures.
#[derive(PartialEq, Eq)]
pub(super) struct SigningKey(Vec<u8>);

impl SigningKey {
    /// The key in a secret.
    pub fn new(secret: &str) -> Result<SigningKey, DeliveryFailure> {
        let secret = secret.trim();
        let key = LENIENT.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).unwrap_or_default();
        if key.is_empty() {
            let expected = "base64 as Standard Webhooks has it, with whsec_ before it or not: `openssl rand -base64 32` makes one";
            return Err(DeliveryFailure::of(format!("SECRET: expected {expected}; found something else")));
        }
        Ok(SigningKey(key))
    }

    /// The value of the header.
    pub fn sign(&self, id: &str, seconds: &str, body: &[u8]) -> String {
        let mac = mac(&self.0, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]);
        format!("v1,{}", STANDARD.encode(mac))
    }
}

/// Without the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
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
    use crate::hex::hex;

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
    fn the_header_signs_the_id_the_time_and_the_body() {
        let key = SigningKey::new("czNjcmV0").unwrap();
        let signed = key.sign("evt-1", "1700000000", b"{\"a\":1}");
        let expected = independent(b"s3cret", b"evt-1.1700000000.{\"a\":1}");
        assert_eq!(STANDARD.decode(signed.strip_prefix("v1,").unwrap()).unwrap(), expected);
        for other in [
            key.sign("evt-2", "1700000000", b"{\"a\":1}"),
            key.sign("evt-1", "1700000001", b"{\"a\":1}"),
            key.sign("evt-1", "1700000000", b"{\"a\":2}"),
            SigningKey::new("b3RoZXI=").unwrap().sign("evt-1", "1700000000", b"{\"a\":1}"),
        ] {
            assert_ne!(signed, other);
        }
    }

    /// The example of the specification.
    #[test]
    fn the_vector_of_standard_webhooks_holds() {
        let key = SigningKey::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_base64_with_its_prefix_or_not() {
        let key = SigningKey::new("whsec_czNjcmV0MQ==").unwrap();
        for same in ["czNjcmV0MQ==", "czNjcmV0MQ", "whsec_czNjcmV0MQ", " whsec_czNjcmV0MQ==\n"] {
            assert_eq!(SigningKey::new(same).unwrap(), key, "{same}");
        }
        for wrong in ["", "whsec_", "not base64!", "whsec_%%%%", "czNjcmV0MQ==="] {
            let told = SigningKey::new(wrong).unwrap_err().why;
            assert!(told.starts_with("SECRET: expected base64"), "{told}");
        }
        assert_eq!(format!("{key:?}"), "SigningKey");
    }
}
