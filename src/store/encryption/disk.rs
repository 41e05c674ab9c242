//! A disk whose files are encrypted: nobody reads them without their key.
//!
//! Each file begins with a preamble of 4 KiB, which has the file's own random key, encrypted under the one that was given. Behind it are the
//! bytes of the file, in units of 512 bytes, by AES-256 in XTS mode (IEEE Std 1619-2018). To give the database another key is to write
//! preambles: what lies behind them stays.
//!
//! | of the preamble | bytes | |
//! |---|---|---|
//! | 0 | 16 | `bygone encrypted` |
//! | 16 | 4 | the version of this layout, big-endian: 1 |
//! | 512 and 1024 | 92 | a slot: a nonce of 12 bytes, the file's key by AES-256-GCM (64), its tag (16); zeros are none |
//!
//! A crash leaves of such a file what it leaves of any other: each 16 bytes are encrypted by themselves, whole sectors reach the disk, and what
//! was never written are zeros, and read as such. A length is a multiple of 16. XTS tells nobody that bytes were changed, or are older ones: the
//! checksums of what is stored notice accidents, and a head that was noted elsewhere notices the rest.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};

use super::xts::{BLOCK, FileCipher, SECRET};
use super::{EncryptionKey, MAGIC, SharedKey};
use crate::store::disk::{Disk, File, Identity, Lock, LockError, LockMode};
use crate::store::mutex::locked;

/// What lies before the bytes of a file.
const PREAMBLE: usize = 4096;

const VERSION: u32 = 1;

/// Where slots are, each in a sector of its own.
const SLOTS: [usize; 2] = [512, 1024];
const NONCE: usize = 12;
const TAG: usize = 16;
const SLOT: usize = NONCE + SECRET + TAG;

/// A disk whose files are encrypted.
#[derive(Debug)]
pub(crate) struct EncryptedDisk {
    under: Arc<dyn Disk>,
    key: SharedKey,
}

/// An encrypted file.
struct EncryptedFile {
    under: Arc<dyn File>,
    key: SharedKey,
    /// None while it has no preamble: nothing of it was ever synced.
    cipher: OnceLock<FileCipher>,
    /// Held while a block is written of which a part stays.
    parts: Mutex<()>,
}

/// The preamble of a file; none where it has no whole one.
struct Preamble(Box<[u8; PREAMBLE]>);

/// Whether an encrypted file opens with a key.
///
/// # Errors
/// Of the disk; and where its preamble is in no form that is known.
pub(crate) fn opens(disk: &dyn Disk, path: &Path, key: &EncryptionKey) -> io::Result<bool> {
    let preamble = Preamble::read(&*disk.open(path)?)?;
    Ok(preamble.is_none_or(|preamble| preamble.open(key).is_ok()))
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

impl Preamble {
    fn new(key: &EncryptionKey, secret: &[u8; SECRET]) -> io::Result<Preamble> {
        let mut preamble = Preamble(Box::new([0; PREAMBLE]));
        preamble.0[..MAGIC.len()].copy_from_slice(&MAGIC);
        preamble.0[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&VERSION.to_be_bytes());
        preamble.0[SLOTS[0]..SLOTS[0] + SLOT].copy_from_slice(&slot(key, secret)?);
        Ok(preamble)
    }

    fn read(file: &dyn File) -> io::Result<Option<Preamble>> {
        let mut bytes = Box::new([0; PREAMBLE]);
        match file.read_at(0, &mut bytes[..]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        if bytes[..MAGIC.len()] != MAGIC {
            // A crash may leave of one that was never synced as much as nothing.
            return match bytes.iter().all(|&byte| byte == 0) {
                true => Ok(None),
                false => Err(refused("it is not encrypted, and a key was given")),
            };
        }
        match bytes[MAGIC.len()..].first_chunk().map(|version| u32::from_be_bytes(*version)) {
            Some(VERSION) => Ok(Some(Preamble(bytes))),
            _ => Err(refused("it is encrypted in a form that this program does not know")),
        }
    }

    /// The secret of the file, and in which slot it was found.
    fn open(&self, key: &EncryptionKey) -> io::Result<(usize, [u8; SECRET])> {
        let found = (0..).zip(SLOTS).find_map(|(number, at)| Some((number, opened(key, self.0.get(at..)?)?)));
        found.ok_or_else(|| refused("the key that was given is not its key"))
    }
}

/// A secret under a key.
fn slot(key: &EncryptionKey, secret: &[u8; SECRET]) -> io::Result<[u8; SLOT]> {
    let mut slot = [0; SLOT];
    getrandom::fill(&mut slot[..NONCE]).map_err(|e| io::Error::other(e.to_string()))?;
    slot[NONCE..NONCE + SECRET].copy_from_slice(secret);
    let (nonce, rest) = slot.split_at_mut(NONCE);
    let (secret, tag) = rest.split_at_mut(SECRET);
    let nonce: [u8; NONCE] = nonce.try_into().map_err(io::Error::other)?;
    let made = Aes256Gcm::new(key.bytes().into())
        .encrypt_inout_detached(&nonce.into(), &MAGIC, InOutBuf::from(secret))
        .map_err(|_| io::Error::other("a key could not be encrypted"))?;
    tag.copy_from_slice(&made);
    Ok(slot)
}

/// The secret of a slot; none where this is not the key that it was made with.
fn opened(key: &EncryptionKey, slot: &[u8]) -> Option<[u8; SECRET]> {
    let (nonce, rest) = slot.split_first_chunk::<NONCE>()?;
    let (secret, rest) = rest.split_first_chunk::<SECRET>()?;
    let (tag, _) = rest.split_first_chunk::<TAG>()?;
    let mut secret = *secret;
    let cipher = Aes256Gcm::new(key.bytes().into());
    let decrypted =
        cipher.decrypt_inout_detached(nonce.into(), &MAGIC, InOutBuf::from(&mut secret[..]), tag.into());
    decrypted.is_ok().then_some(secret)
}

/// Gives files another key: each has both for a moment, so that a crash leaves one that opens it. Those that are not there are passed over.
///
/// # Errors
/// Of the disk; and where a file has another key. Some may have the new one then beside the old one.
pub(crate) fn rekey(
    disk: &dyn Disk,
    paths: &[PathBuf],
    key: &SharedKey,
    new: &EncryptionKey,
) -> io::Result<()> {
    let old = locked(key).clone();
    let mut given = Vec::new();
    for path in paths {
        let file = match disk.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Some(preamble) = Preamble::read(&*file)? else { continue };
        let (number, secret) = preamble.open(&old)?;
        let other = SLOTS[1 - number];
        file.write_at(other as u64, &slot(new, &secret)?)?;
        file.sync()?;
        given.push((file, SLOTS[number]));
    }
    // From here on whatever is made is made with the new one, and all that is there opens with it.
    *locked(key) = new.clone();
    for (file, before) in given {
        file.write_at(before as u64, &[0; SLOT])?;
        file.sync()?;
    }
    Ok(())
}

impl EncryptedDisk {
    pub fn new(under: Arc<dyn Disk>, key: SharedKey) -> EncryptedDisk {
        EncryptedDisk { under, key }
    }

    fn file(&self, under: Arc<dyn File>) -> EncryptedFile {
        EncryptedFile { under, key: self.key.clone(), cipher: OnceLock::new(), parts: Mutex::default() }
    }

    fn made(&self, path: &Path, under: Arc<dyn File>) -> io::Result<Arc<dyn File>> {
        let file = self.file(under);
        if let Err(error) = file.begin() {
            // Nobody has it yet; what has its name by now is not to go.
            if let (Ok(named), Ok(own)) = (self.under.identity(path), file.under.identity())
                && named == own
            {
                let _ = self.under.remove(path);
            }
            return Err(error);
        }
        Ok(Arc::new(file))
    }
}

impl Disk for EncryptedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.file(self.under.open(path)?);
        if let Some(preamble) = Preamble::read(&*file.under)? {
            let (_, secret) = preamble.open(&locked(&self.key))?;
            // It was just made.
            let _ = file.cipher.set(FileCipher::new(&secret));
        }
        Ok(Arc::new(file))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.made(path, self.under.create(path)?)
    }

    fn create_like(&self, path: &Path, like: &Path) -> io::Result<Arc<dyn File>> {
        self.made(path, self.under.create_like(path, like)?)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.under.identity(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.under.exists(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.under.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.under.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.under.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.under.sync_folder(folder)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.under.canonical(path)
    }

    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
        self.under.lock(path, mode)
    }

    fn check_name(&self, path: &Path) -> Result<(), LockError> {
        self.under.check_name(path)
    }
}

impl EncryptedFile {
    /// Its cipher; where it has no preamble yet, that is written.
    fn begin(&self) -> io::Result<&FileCipher> {
        if let Some(cipher) = self.cipher.get() {
            return Ok(cipher);
        }
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret).map_err(|e| io::Error::other(e.to_string()))?;
        self.under.write_at(0, &Preamble::new(&locked(&self.key), &secret)?.0[..])?;
        Ok(self.cipher.get_or_init(|| FileCipher::new(&secret)))
    }

    /// Reads whole blocks.
    fn read_blocks(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.under.read_at(offset.saturating_add(PREAMBLE as u64), out)?;
        match self.cipher.get() {
            Some(cipher) => cipher.decrypt(offset / BLOCK as u64, out),
            // Nothing of it was synced: whatever is there was not.
            None => out.fill(0),
        }
        Ok(())
    }

    /// Writes whole blocks.
    fn write_blocks(&self, offset: u64, mut data: Vec<u8>) -> io::Result<()> {
        self.begin()?.encrypt(offset / BLOCK as u64, &mut data);
        self.under.write_at(offset.saturating_add(PREAMBLE as u64), &data)
    }
}

/// The blocks that bytes lie in: where they begin, and how many bytes they have.
fn blocks(offset: u64, length: usize) -> io::Result<(u64, usize)> {
    let begin = offset - offset % BLOCK as u64;
    let end = offset.checked_add(length as u64).and_then(|end| end.checked_next_multiple_of(BLOCK as u64));
    let length = end.and_then(|end| usize::try_from(end - begin).ok());
    length.map(|length| (begin, length)).ok_or_else(|| ErrorKind::InvalidInput.into())
}

impl File for EncryptedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.under.len()?.saturating_sub(PREAMBLE as u64))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (begin, length) = blocks(offset, out.len())?;
        if out.is_empty() {
            return Ok(());
        }
        if (begin, length) == (offset, out.len()) {
            return self.read_blocks(offset, out);
        }
        let mut whole = vec![0; length];
        self.read_blocks(begin, &mut whole)?;
        let from = (offset - begin) as usize; // less than a block
        out.copy_from_slice(&whole[from..from + out.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (begin, length) = blocks(offset, data.len())?;
        if data.is_empty() {
            return Ok(());
        }
        if (begin, length) == (offset, data.len()) {
            return self.write_blocks(offset, data.to_vec());
        }
        let _parts = locked(&self.parts);
        let end = self.len()?;
        if offset + data.len() as u64 > end && !(offset + data.len() as u64).is_multiple_of(BLOCK as u64) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a length that is no multiple of 16"));
        }
        let mut whole = vec![0; length];
        // Of the first and the last block something stays; what lies behind the end are zeros.
        let last = length - BLOCK;
        for at in [0, last] {
            if begin + (at + BLOCK) as u64 <= end {
                self.read_blocks(begin + at as u64, &mut whole[at..at + BLOCK])?;
            }
        }
        let from = (offset - begin) as usize; // less than a block
        whole[from..from + data.len()].copy_from_slice(data);
        self.write_blocks(begin, whole)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !len.is_multiple_of(BLOCK as u64) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a length that is no multiple of 16"));
        }
        self.begin()?;
        self.under.set_len(len.saturating_add(PREAMBLE as u64))
    }

    fn sync(&self) -> io::Result<()> {
        self.under.sync()
    }

    fn identity(&self) -> io::Result<Identity> {
        self.under.identity()
    }

    fn names(&self) -> io::Result<Option<u64>> {
        self.under.names()
    }
}

impl fmt::Debug for EncryptedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptedFile({:?})", self.under)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::disk::contract;
    use crate::store::disk::memory::MemoryDisk;
    use crate::store::disk::real::RealDisk;
    use crate::store::disk::simulated::{Failure, Fate, SimulatedDisk};

    fn key(byte: u8) -> SharedKey {
        Arc::new(Mutex::new(EncryptionKey::new([byte; 32])))
    }

    fn encrypted(under: impl Disk, key: &SharedKey) -> EncryptedDisk {
        EncryptedDisk::new(Arc::new(under), key.clone())
    }

    fn content(disk: &dyn Disk, path: &Path) -> Vec<u8> {
        let file = disk.open(path).unwrap();
        let mut out = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut out).unwrap();
        out
    }

    #[test]
    fn the_contract_holds() {
        let folder = tempfile::tempdir().unwrap();
        let disk = encrypted(RealDisk::new(), &key(1));
        contract::holds_in_units(&disk, folder.path(), BLOCK as u64);
        contract::locks_exclude(&disk, folder.path());
        contract::holds_in_units(&encrypted(MemoryDisk::new(), &key(1)), Path::new("/x"), BLOCK as u64);
    }

    #[test]
    fn a_length_is_a_multiple_of_a_block() {
        let disk = encrypted(MemoryDisk::new(), &key(1));
        let file = disk.create(Path::new("/x")).unwrap();
        for refused in [file.set_len(17), file.write_at(0, b"x"), file.write_at(40, b"12345678901")] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(file.len().unwrap(), 0);
        // What ends with a block, whatever its begin.
        file.write_at(40, b"12345678").unwrap();
        assert_eq!(content(&disk, Path::new("/x"))[40..], *b"12345678");
    }

    /// Every try to change the key may be cut off by a crash: one of both opens it then, and after it was done the new one alone.
    #[test]
    fn a_crash_while_the_key_is_changed_leaves_one_that_opens_it() {
        let paths = [PathBuf::from("/a"), PathBuf::from("/gone"), PathBuf::from("/b")];
        for stop in 1.. {
            let disk = SimulatedDisk::new();
            let key = key(1);
            let under: Arc<dyn Disk> = Arc::new(disk.clone());
            let files = EncryptedDisk::new(under.clone(), key.clone());
            for path in [&paths[0], &paths[2]] {
                let file = files.create(path).unwrap();
                file.write_at(0, &[7; 4096]).unwrap();
                file.sync().unwrap();
            }
            files.sync_folder(Path::new("/")).unwrap();
            disk.faults().fail_after(stop, Failure::any());
            let new = EncryptionKey::new([2; 32]);
            let done = rekey(&*under, &paths, &key, &new).is_ok();
            let now = locked(&key).clone();
            for (fate, seed) in Fate::ALL.into_iter().flat_map(|fate| (0..8).map(move |seed| (fate, seed))) {
                let image = disk.crash(fate, seed);
                let opens = |key: &EncryptionKey| {
                    [&paths[0], &paths[2]].iter().all(|path| super::opens(&image, path, key).unwrap())
                };
                let old = EncryptionKey::new([1; 32]);
                assert!(opens(&now) && (opens(&old) || opens(&new)), "{stop} {fate:?}");
                if done {
                    assert!(opens(&new) && !opens(&old), "{stop} {fate:?}");
                }
                let files = encrypted(image, &self::key(if now == new { 2 } else { 1 }));
                assert_eq!(content(&files, &paths[2]), [7; 4096]);
            }
            if done {
                assert!(stop > 6, "{stop}");
                break;
            }
        }
    }

    proptest! {
        /// A crash leaves of what was written what it leaves on a disk that encrypts nothing: the same writes, the same fate.
        #[test]
        fn what_is_written_reads_as_on_any_disk(
            writes in prop::collection::vec((0u64..6000, 1usize..700, any::<u8>(), any::<bool>()), 1..30),
        ) {
            let (plain, simulated) = (SimulatedDisk::new(), SimulatedDisk::new());
            let key = key(1);
            let disk = encrypted(simulated.clone(), &key);
            let path = Path::new("/x");
            let files = [plain.create(path).unwrap(), disk.create(path).unwrap()];
            for file in &files {
                file.set_len(8192).unwrap();
                file.sync().unwrap();
            }
            for folder in [&plain as &dyn Disk, &disk] {
                folder.sync_folder(Path::new("/")).unwrap();
            }
            for (offset, length, byte, sync) in writes {
                for file in &files {
                    file.write_at(offset, &vec![byte; length]).unwrap();
                    if sync {
                        file.sync().unwrap();
                    }
                }
            }
            prop_assert_eq!(content(&plain, path), content(&disk, path));
            // Nothing of it is there in plain.
            let under = content(&simulated, path);
            prop_assert!(!under[PREAMBLE..].windows(16).any(|window| window.iter().all(|byte| *byte == window[0] && *byte != 0)));
            for fate in [Fate::LoseAll, Fate::KeepAll] {
                let image = encrypted(simulated.crash(fate, 1), &key);
                prop_assert_eq!(content(&plain.crash(fate, 1), path), content(&image, path));
            }
        }
    }
}
