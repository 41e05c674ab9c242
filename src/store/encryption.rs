//! The key that a database is encrypted with, and whether the one that was given fits.

#[cfg(feature = "encryption")]
pub(super) mod disk;
#[cfg(feature = "encryption")]
mod xts;

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use super::disk::Disk;
use super::mutex::locked;
use crate::error::{Error, Result};
use crate::hex::from_hex;

/// What an encrypted file begins with.
const MAGIC: [u8; 16] = *b"bygone encrypted";

/// The key that files are made and opened with, as it is now.
pub(crate) type SharedKey = Arc<Mutex<EncryptionKey>>;

/// The key that a database is encrypted with, its journals and its backups: 32 random bytes. It prints as nothing of itself.
///
/// ```
/// use bygone::maintain::EncryptionKey;
/// // As `openssl rand -hex 32` writes it.
/// let key: EncryptionKey = "8f1d".repeat(16).parse()?;
/// assert_eq!(format!("{key:?}"), "EncryptionKey");
/// assert!("hunter2".parse::<EncryptionKey>().is_err());
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey([u8; 32]);

impl EncryptionKey {
    /// The key that is these bytes.
    #[cfg_attr(not(feature = "encryption"), allow(dead_code))]
    pub fn new(bytes: [u8; 32]) -> EncryptionKey {
        EncryptionKey(bytes)
    }

    #[cfg(feature = "encryption")]
    pub(super) fn shared(self) -> SharedKey {
        Arc::new(Mutex::new(self))
    }

    #[cfg(feature = "encryption")]
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey")
    }
}

impl FromStr for EncryptionKey {
    type Err = Error;

    /// Reads 64 hexadecimal digits, as `openssl rand -hex 32` writes them. What is wrong is not repeated: it may be most of a key.
    fn from_str(text: &str) -> Result<EncryptionKey> {
        let wrong = || {
            let expected = "64 hexadecimal digits (openssl rand -hex 32)";
            Error::invalid("the key of a database", expected, "something else")
        };
        from_hex(text.trim()).map(EncryptionKey).ok_or_else(wrong)
    }
}

/// Why a program without the feature does nothing with keys.
#[cfg(not(feature = "encryption"))]
pub(crate) fn without() -> Error {
    Error::stopped("nothing is encrypted here: this program was built without the feature `encryption`")
}

/// Whether a file is one that opens with this key, or without one.
///
/// # Errors
/// [`Error::Unopenable`] where it is not, and says what to do.
pub(super) fn check(disk: &dyn Disk, path: &Path, key: Option<&SharedKey>) -> Result<()> {
    let failed = |e| Error::unopenable(path, e, "check the path and its permissions");
    let begins = match begin(disk, path) {
        // Whoever opens it tells, or does without what cannot be read.
        Err(error) if error.kind() == ErrorKind::NotFound || key.is_none() => return Ok(()),
        begins => begins.map_err(failed)?,
    };
    let refused = |reason: &str, advice: &str| Err(Error::unopenable(path, reason, advice));
    match (begins, key) {
        (Begin::Plain, None) | (Begin::Nothing, _) => Ok(()),
        // What it begins with may be damaged, and its key not.
        (_, Some(key)) if opens(disk, path, key).map_err(failed)? => Ok(()),
        (Begin::Encrypted, Some(_)) => refused(
            "the key that was given is not its key",
            "give the one that REKEY said last, or that it was made with",
        ),
        (Begin::Encrypted, None) if cfg!(feature = "encryption") => {
            refused("it is encrypted", "give its key: --key env:NAME, or Options::key")
        }
        (Begin::Encrypted, None) => refused(
            "it is encrypted",
            "use a program that is built with the feature `encryption`, and give its key",
        ),
        (Begin::Plain, Some(_)) => refused(
            "it is not encrypted, and a key was given",
            "leave the key out; BACKUP TO 'file' KEY 'env:NAME' makes an encrypted copy of it",
        ),
    }
}

/// How a file begins.
enum Begin {
    Nothing,
    Plain,
    Encrypted,
}

fn begin(disk: &dyn Disk, path: &Path) -> io::Result<Begin> {
    let mut begin = [0; MAGIC.len()];
    match disk.open(path)?.read_at(0, &mut begin) {
        Ok(()) if begin == MAGIC => Ok(Begin::Encrypted),
        Ok(()) => Ok(Begin::Plain),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Begin::Nothing),
        Err(error) => Err(error),
    }
}

#[cfg(feature = "encryption")]
fn opens(disk: &dyn Disk, path: &Path, key: &SharedKey) -> io::Result<bool> {
    self::disk::opens(disk, path, &locked(key))
}

#[cfg(not(feature = "encryption"))]
fn opens(_: &dyn Disk, _: &Path, key: &SharedKey) -> io::Result<bool> {
    drop(locked(key));
    Ok(false)
}
