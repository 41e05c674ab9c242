//! AES-256-GCM: what it encrypts, nobody reads without the key, nor changes unnoticed. The cipher is ring's, which is BoringSSL's: for a
//! value of some sixty bytes it takes half the time that the one of RustCrypto takes, which pays for each block what pays for many.

use std::hint::black_box;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};

/// How many bytes a key has.
pub(super) const KEY: usize = 32;

/// How many bytes a nonce has. None may come twice under one key.
pub(crate) const NONCE: usize = 12;

/// How many bytes the tag has that tells whether something was changed.
pub(crate) const TAG: usize = 16;

/// A key, made ready.
pub(super) struct AesGcm {
    /// There is one: it is of the length that the cipher takes.
    key: Option<LessSafeKey>,
}

fn ready(key: &[u8; KEY]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

impl AesGcm {
    pub fn new(key: &[u8; KEY]) -> AesGcm {
        AesGcm { key: ready(key) }
    }

    /// Whether it is one.
    pub fn is_whole(&self) -> bool {
        self.key.is_some()
    }

    /// Encrypts a value in its place, bound to what stands beside it. Gives the tag; none where the value is longer than the cipher takes,
    /// which is 64 GiB.
    pub fn encrypt(&self, nonce: &[u8; NONCE], value: &mut [u8], bound: &[u8]) -> Option<[u8; TAG]> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.key.as_ref()?.seal_in_place_separate_tag(nonce, Aad::from(bound), value).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// The reverse; false where the key does not fit, or something was changed. Then the value is of no use.
    pub fn decrypt(&self, nonce: &[u8; NONCE], value: &mut [u8], bound: &[u8], tag: &[u8; TAG]) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.key.as_ref().is_some_and(|key| {
            key.open_in_place_separate_tag(nonce, Aad::from(bound), Tag::from(*tag), value, 0..).is_ok()
        })
    }
}

impl Drop for AesGcm {
    /// The key does not stay in memory that is given back, as far as this has it: it was moved here.
    fn drop(&mut self) {
        self.key = ready(&[0; KEY]);
        black_box(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    /// Test case 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega), appendix B.
    #[test]
    fn the_vector_of_its_authors_holds() {
        let key = bytes(&"feffe9928665731c6d6a8f9467308308".repeat(2));
        let cipher = AesGcm::new(&key.try_into().unwrap());
        let nonce: [u8; NONCE] = bytes("cafebabefacedbaddecaf888").try_into().unwrap();
        let bound = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let said = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let expected = bytes(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662\
             76fc6ece0f4e1768cddf8853bb2d551b",
        );
        let (encrypted, expected_tag) = expected.split_last_chunk().unwrap();
        let mut values = said.clone();
        let tag = cipher.encrypt(&nonce, &mut values, &bound).unwrap();
        assert_eq!((values.as_slice(), &tag), (encrypted, expected_tag));
        assert!(cipher.decrypt(&nonce, &mut values, &bound, &tag));
        assert_eq!(values, said);
        let mut other = encrypted.to_vec();
        other[5] ^= 1;
        assert!(!cipher.decrypt(&nonce, &mut other, &bound, &tag));
        assert!(!cipher.decrypt(&nonce, &mut encrypted.to_vec(), b"elsewhere", &tag));
        let another = AesGcm::new(&[1; KEY]);
        assert!(!another.decrypt(&nonce, &mut encrypted.to_vec(), &bound, &tag));
    }
}
