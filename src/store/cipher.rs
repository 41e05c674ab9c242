//! The cipher of private values: XChaCha20-Poly1305, as RustCrypto has it. Its nonces have 24 bytes, so that random ones never repeat.
//!
//! Without the feature `private` nothing is encrypted or decrypted, and both say so.

#[cfg(feature = "private")]
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
#[cfg(feature = "private")]
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::tables::keys::KeyBytes;
use crate::error::{Error, Result};
use crate::event::private::NONCE;

/// Values as bytes that nobody reads without the key, nor changes; bound to what stands beside them.
#[cfg(feature = "private")]
pub(super) fn encrypt(key: &KeyBytes, nonce: &[u8; NONCE], values: &[u8], bound: &[u8]) -> Result<Vec<u8>> {
    let cipher = XChaCha20Poly1305::new((&key.0).into());
    let encrypted = cipher.encrypt(&XNonce::from(*nonce), Payload { msg: values, aad: bound });
    // The cipher takes up to 256 GiB, and no event is as long.
    encrypted.map_err(|_| Error::too_large("private values", values.len(), u32::MAX as usize))
}

/// The values; none where the key does not fit, or something was changed.
#[cfg(feature = "private")]
pub(super) fn decrypt(
    key: &KeyBytes,
    nonce: &[u8; NONCE],
    ciphertext: &[u8],
    bound: &[u8],
) -> Result<Option<Vec<u8>>> {
    let cipher = XChaCha20Poly1305::new((&key.0).into());
    Ok(cipher.decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: bound }).ok())
}

#[cfg(not(feature = "private"))]
fn without() -> Error {
    Error::stopped(
        "private values are neither encrypted nor read here: this program was built without the feature `private`",
    )
}

#[cfg(not(feature = "private"))]
pub(super) fn encrypt(_: &KeyBytes, _: &[u8; NONCE], _: &[u8], _: &[u8]) -> Result<Vec<u8>> {
    Err(without())
}

#[cfg(not(feature = "private"))]
pub(super) fn decrypt(_: &KeyBytes, _: &[u8; NONCE], _: &[u8], _: &[u8]) -> Result<Option<Vec<u8>>> {
    Err(without())
}

#[cfg(all(test, feature = "private"))]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    /// Test vector A.3.1 of draft-irtf-cfrg-xchacha-03.
    #[test]
    fn the_vector_of_the_draft_holds() {
        let key = KeyBytes(bytes("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"));
        let nonce: [u8; NONCE] = bytes("404142434445464748494a4b4c4d4e4f5051525354555657");
        let bound: [u8; 12] = bytes("50515253c0c1c2c3c4c5c6c7");
        let said = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let encrypted = encrypt(&key, &nonce, said, &bound).unwrap();
        let begins: [u8; 16] = bytes("bd6d179d3e83d43b9576579493c0e939");
        assert_eq!(encrypted[..16], begins);
        let tag: [u8; 16] = bytes("c0875924c1c7987947deafd8780acf49");
        assert_eq!(encrypted[encrypted.len() - 16..], tag);
        assert_eq!(decrypt(&key, &nonce, &encrypted, &bound).unwrap().unwrap(), said);
        let mut other = encrypted.clone();
        other[5] ^= 1;
        assert_eq!(decrypt(&key, &nonce, &other, &bound).unwrap(), None);
        assert_eq!(decrypt(&key, &nonce, &encrypted, b"elsewhere").unwrap(), None);
    }
}
