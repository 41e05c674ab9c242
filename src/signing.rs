//! Signed heads: what the hashes of a log are at a position, in a text that can be mailed, and that only the holder of a key can have written.
//!
//! The text is a [checkpoint of a transparency log](https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md) in a
//! [signed note](https://github.com/C2SP/C2SP/blob/main/signed-note.md): the log's name, its size, the root of its tree, and what else is said of
//! it, here the chain hash; then the signature, by Ed25519 ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032)).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::entity::Position;
use crate::error::{Error, Result, shorten};
use crate::hex::{from_hex, hex};
use crate::store::{ChainHash, TreeHash};

/// What an Ed25519 key is called in a signed note.
const ED25519: u8 = 1;

/// A note that is longer is none.
const LONGEST: usize = 64 << 10;

/// The secret key that heads are signed with: 32 random bytes. It prints as nothing of itself.
#[derive(Clone)]
pub struct HeadKey(SigningKey);

impl fmt::Debug for HeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadKey(of {})", self.public())
    }
}

impl HeadKey {
    /// The key whose seed is these bytes.
    pub fn new(seed: [u8; 32]) -> HeadKey {
        HeadKey(SigningKey::from_bytes(&seed))
    }

    /// What others check with what it has signed.
    pub fn public(&self) -> HeadPublicKey {
        HeadPublicKey(self.0.verifying_key())
    }
}

impl FromStr for HeadKey {
    type Err = Error;

    /// Reads 64 hexadecimal digits, as `openssl rand -hex 32` writes them. What is wrong is not repeated: it may be most of a key.
    fn from_str(text: &str) -> Result<HeadKey> {
        let seed = from_hex(text.trim());
        let wrong = || {
            Error::invalid(
                "a key that signs heads",
                "64 hexadecimal digits (openssl rand -hex 32)",
                "something else",
            )
        };
        seed.map(HeadKey::new).ok_or_else(wrong)
    }
}

/// The key that signatures of a [`HeadKey`] are checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadPublicKey(VerifyingKey);

impl fmt::Display for HeadPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl FromStr for HeadPublicKey {
    type Err = Error;

    /// Reads 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<HeadPublicKey> {
        let key = from_hex(text.trim()).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        // Of a weak one anybody can sign.
        let key = key.filter(|key| !key.is_weak());
        let wrong = || {
            let expected = "the 64 hexadecimal digits that SIGN HEAD gave as `key`";
            Error::invalid("a public key", expected, format!("'{}'", shorten(text)))
        };
        key.map(HeadPublicKey).ok_or_else(wrong)
    }
}

impl HeadPublicKey {
    /// The first four bytes of SHA-256(name ‖ newline ‖ 1 ‖ key): which key a signature is of.
    fn id(&self, name: &str) -> [u8; 4] {
        let hash =
            Sha256::new_with_prefix(name).chain_update([b'\n', ED25519]).chain_update(self.0.as_bytes());
        let hash = hash.finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// What a log was at a position.
///
/// ```
/// use bygone::maintain::{HeadKey, LogHead};
/// use bygone::{Db, NewEvent, Position};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
/// let key = HeadKey::new([7; 32]);
/// let note = db.log_head()?.note(&key);
/// // Whoever has the public key reads it elsewhere.
/// let head = LogHead::read(&note, &key.public())?;
/// assert_eq!((head.position, head.chain), (Position(1), db.chain()?));
/// assert!(LogHead::read(&note.replace("\n1\n", "\n2\n"), &key.public()).is_err());
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHead {
    /// Which log: `urn:uuid:` and the id of the database.
    pub log: String,
    /// The newest event.
    pub position: Position,
    /// The root of the tree of all events.
    pub root: TreeHash,
    /// The chain hash.
    pub chain: ChainHash,
}

impl LogHead {
    pub(crate) fn new(log: String, position: Position, root: TreeHash, chain: ChainHash) -> LogHead {
        LogHead { log, position, root, chain }
    }

    fn text(&self) -> String {
        let LogHead { log, position, root, chain } = self;
        format!("{log}\n{}\n{}\nchain {chain}\n", position.0, BASE64.encode(root.0))
    }

    /// The text that says it, with its signature.
    pub fn note(&self, key: &HeadKey) -> String {
        let text = self.text();
        let signature = key.0.sign(text.as_bytes()).to_bytes();
        let signed = [key.public().id(&self.log).as_slice(), &signature].concat();
        format!("{text}\n— {} {}\n", self.log, BASE64.encode(signed))
    }

    /// Reads a note, and holds it to the key.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is none, or none that the key has signed.
    pub fn read(note: &str, key: &HeadPublicKey) -> Result<LogHead> {
        let wrong = |found: &str| Error::invalid("a signed head", "a note that SIGN HEAD gave", found);
        if note.len() > LONGEST {
            return Err(wrong("a longer text"));
        }
        // Mail may end lines otherwise.
        let note = note.replace("\r\n", "\n");
        let (text, signatures) =
            note.split_once("\n\n").ok_or_else(|| wrong("a text without a signature"))?;
        let text = format!("{text}\n");
        let head = LogHead::of_text(&text).ok_or_else(|| wrong("a text that says something else"))?;
        let signatures = signatures.strip_suffix('\n').ok_or_else(|| wrong("a text that was cut off"))?;
        let mut signed = false;
        for line in signatures.split('\n') {
            let parts = line.strip_prefix("— ").and_then(|line| line.rsplit_once(' '));
            let parts = parts.and_then(|(name, signature)| Some((name, BASE64.decode(signature).ok()?)));
            let Some((name, signature)) = parts else { return Err(wrong("a line that is no signature")) };
            signed |= name == head.log && head.is_signed(&text, &signature, key);
        }
        if signed { Ok(head) } else { Err(wrong("a text that this key has not signed")) }
    }

    fn is_signed(&self, text: &str, signed: &[u8], key: &HeadPublicKey) -> bool {
        let Some((id, signature)) = signed.split_first_chunk::<4>() else { return false };
        let signature = Signature::from_slice(signature);
        *id == key.id(&self.log)
            && signature.is_ok_and(|signature| key.0.verify_strict(text.as_bytes(), &signature).is_ok())
    }

    fn of_text(text: &str) -> Option<LogHead> {
        let mut lines = text.lines();
        let log = lines.next().filter(|log| !log.is_empty())?.to_owned();
        let position = Position(lines.next()?.parse().ok()?);
        let root = TreeHash(BASE64.decode(lines.next()?).ok()?.try_into().ok()?);
        let chain = lines.next()?.strip_prefix("chain ")?.parse().ok()?;
        let head = LogHead { log, position, root, chain };
        (head.text() == text).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> LogHead {
        let (root, chain) = (TreeHash([3; 32]), ChainHash([5; 32]));
        LogHead::new("urn:uuid:018f2f6e-7a30-7000-8000-000000000001".to_owned(), Position(42), root, chain)
    }

    #[test]
    fn a_note_is_read_by_its_own_key_alone_and_only_as_it_was() {
        let key = HeadKey::new([7; 32]);
        let note = head().note(&key);
        assert_eq!(LogHead::read(&note, &key.public()).unwrap(), head());
        assert!(LogHead::read(&note, &HeadKey::new([8; 32]).public()).is_err());
        for at in 0..note.len() {
            let mut other = note.clone().into_bytes();
            other[at] ^= 1;
            if let Ok(other) = String::from_utf8(other) {
                assert!(LogHead::read(&other, &key.public()).is_err(), "{at}: {other}");
            }
        }
        assert_eq!(LogHead::read(&note.replace('\n', "\r\n"), &key.public()).unwrap(), head());
        for more in ["hello\n", "\n", "— a\n", "— a b c!\n"] {
            assert!(LogHead::read(&format!("{note}{more}"), &key.public()).is_err(), "{more}");
        }
        let other = head().note(&HeadKey::new([8; 32]));
        let both = format!("{note}{}", &other[other.find('—').unwrap()..]);
        assert_eq!(LogHead::read(&both, &key.public()).unwrap(), head());
        assert!(format!("01{}", "0".repeat(62)).parse::<HeadPublicKey>().is_err());
        for wrong in ["", "\n\n", "a\n1\nb\n\n— a b\n", &note.repeat(1000)] {
            assert!(LogHead::read(wrong, &key.public()).is_err(), "{wrong}");
        }
    }

    /// The key of the first test of RFC 8032, section 7.1.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let key: HeadKey =
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".parse().unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().to_string(), public);
        assert_eq!(public.parse::<HeadPublicKey>().unwrap(), key.public());
        assert!(!format!("{key:?}").contains("9d61b1"));
        let told = "9d61b1".parse::<HeadKey>().unwrap_err().to_string();
        assert!(told.contains("openssl rand -hex 32") && !told.contains("9d61b1"), "{told}");
    }
}
