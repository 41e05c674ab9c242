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
//! | 32 and 512 | 92 | a slot: a nonce of 12 bytes, the file's key by AES-256-GCM (64), its tag (16); zeros are none |
//!
//! The first slot lies in the sector that tells what the file is, so that a crash leaves both or neither of a file that is being made.
//!
//! A crash leaves of such a file what it leaves of any other: each 16 bytes are encrypted by themselves, whole sectors reach the disk, and what
//! was never written are zeros, and read as such. A length is a multiple of 16. XTS tells nobody that bytes were changed, or are older ones: the
//! checksums of what is stored notice accidents, and a head that was noted elsewhere notices the rest.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::xts::{BLOCK, FileCipher, SECRET};
use super::{EncryptionKey, MAGIC, SharedKey};
use crate::error::{Error, Result};
use crate::store::aes_gcm::{AesGcm, NONCE, TAG};
use crate::store::disk::{Disk, File, Identity, Lock, LockError, LockMode};
use crate::store::mutex::locked;

/// What lies before the bytes of a file.
const PREAMBLE: usize = 4096;

const VERSION: u32 = 1;

/// Where slots are, each in another sector.
const SLOTS: [usize; 2] = [32, 512];
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
    /// None without a preamble: nothing of it was ever synced.
    cipher: Option<FileCipher>,
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
        let is_said = bytes[..MAGIC.len()] == MAGIC;
        // A crash may leave of one that was never synced as much as nothing.
        let nothing = |from: usize, to: usize| bytes[from..to].iter().all(|&byte| byte == 0);
        if !is_said && nothing(0, SLOTS[1]) && nothing(SLOTS[1], SLOTS[1] + SLOT) {
            return Ok(None);
        }
        let version = bytes[MAGIC.len()..].first_chunk().map(|version| u32::from_be_bytes(*version));
        if is_said && version != Some(VERSION) {
            return Err(refused("it is encrypted in a form that this program does not know"));
        }
        Ok(Some(Preamble(bytes)))
    }

    /// The secret of the file, and in which slot it was found.
    fn open(&self, key: &EncryptionKey) -> io::Result<(usize, [u8; SECRET])> {
        let found = (0..).zip(SLOTS).find_map(|(number, at)| Some((number, opened(key, self.0.get(at..)?)?)));
        // A slot that opens tells more than what stands before it, which may be damaged.
        found.ok_or_else(|| match self.0[..MAGIC.len()] == MAGIC {
            true => refused("the key that was given is not its key"),
            false => refused("it is not encrypted, and a key was given"),
        })
    }

    /// Whether there is something in a slot.
    fn has(&self, slot: usize) -> bool {
        self.0[SLOTS[slot]..SLOTS[slot] + SLOT].iter().any(|&byte| byte != 0)
    }
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(bytes)
}

/// A secret under a key.
fn slot(key: &EncryptionKey, secret: &[u8; SECRET]) -> io::Result<[u8; SLOT]> {
    let mut slot = [0; SLOT];
    let nonce: [u8; NONCE] = random()?;
    slot[..NONCE].copy_from_slice(&nonce);
    slot[NONCE..NONCE + SECRET].copy_from_slice(secret);
    let (secret, tag) = slot[NONCE..].split_at_mut(SECRET);
    let made = AesGcm::new(key.bytes()).encrypt(&nonce, secret, &MAGIC);
    tag.copy_from_slice(&made.ok_or_else(|| io::Error::other("a key could not be encrypted"))?);
    Ok(slot)
}

/// The secret of a slot; none where this is not the key that it was made with.
fn opened(key: &EncryptionKey, slot: &[u8]) -> Option<[u8; SECRET]> {
    let (nonce, rest) = slot.split_first_chunk::<NONCE>()?;
    let (secret, rest) = rest.split_first_chunk::<SECRET>()?;
    let (tag, _) = rest.split_first_chunk::<TAG>()?;
    let mut secret = *secret;
    AesGcm::new(key.bytes()).decrypt(nonce, &mut secret, &MAGIC, tag).then_some(secret)
}

/// Gives a database another key: its file, which must be the one that is open, and those of its journals that are there.
///
/// First each has both keys, the database last; then the database has the new one alone, and then its journals: whichever key opens it at any
/// moment opens all of it.
///
/// # Errors
/// [`Error::Unopenable`] where another file has the name; [`Error::Io`] of the disk, which says which of both keys opens it.
pub(crate) fn rekey(
    disk: &dyn Disk,
    (path, identity): (&Path, Identity),
    journals: &[PathBuf],
    key: &SharedKey,
    new: &EncryptionKey,
) -> Result<()> {
    let old = locked(key).clone();
    let failed = |which: &str| {
        let doing = format!("changing the key of {}, {which}", path.display());
        move |error| Error::io(doing.clone(), error)
    };
    let before = failed("which the old one opens for sure: keep both until REKEY succeeds");
    let after = failed("which the new one opens for sure: keep both until REKEY succeeds");
    let mut given = Vec::new();
    for journal in journals {
        match disk.open(journal) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            file => given.extend(add_key(file.map_err(&before)?, &old, new).map_err(&before)?),
        }
    }
    let file = disk.open(path).map_err(&before)?;
    if file.identity().map_err(&before)? != identity {
        let advice = "close it, and open the one that is to be used";
        return Err(Error::unopenable(path, "another file has its name by now", advice));
    }
    given.extend(add_key(file, &old, new).map_err(&before)?);
    // From here on whatever is made is made with the new one, and all that is there opens with it.
    *locked(key) = new.clone();
    for (file, before) in given.iter().rev() {
        clear(&**file, *before).map_err(&after)?;
    }
    Ok(())
}

/// Gives a file a key beside the one it has, in the other slot. Gives the slot of that one; none where it has no preamble.
fn add_key(
    file: Arc<dyn File>,
    old: &EncryptionKey,
    new: &EncryptionKey,
) -> io::Result<Option<(Arc<dyn File>, usize)>> {
    let Some(preamble) = Preamble::read(&*file)? else { return Ok(None) };
    let (number, secret) = preamble.open(old)?;
    file.write_at(SLOTS[1 - number] as u64, &slot(new, &secret)?)?;
    file.sync()?;
    Ok(Some((file, number)))
}

fn clear(file: &dyn File, slot: usize) -> io::Result<()> {
    file.write_at(SLOTS[slot] as u64, &[0; SLOT])?;
    file.sync()
}

/// Leaves a file the key that opens it alone: a change of the key may have been interrupted.
///
/// # Errors
/// Of the disk.
pub(crate) fn settle(disk: &dyn Disk, path: &Path, key: &EncryptionKey) -> io::Result<()> {
    let file = disk.open(path)?;
    let Some(preamble) = Preamble::read(&*file)? else { return Ok(()) };
    let (number, _) = preamble.open(key)?;
    if preamble.has(1 - number) { clear(&*file, 1 - number) } else { Ok(()) }
}

impl EncryptedDisk {
    pub fn new(under: Arc<dyn Disk>, key: SharedKey) -> EncryptedDisk {
        EncryptedDisk { under, key }
    }

    fn made(&self, path: &Path, under: Arc<dyn File>) -> io::Result<Arc<dyn File>> {
        let begin = || {
            let secret: [u8; SECRET] = random()?;
            under.write_at(0, &Preamble::new(&locked(&self.key), &secret)?.0[..])?;
            Ok(FileCipher::new(&secret))
        };
        match begin() {
            Ok(cipher) => Ok(Arc::new(EncryptedFile::new(under, Some(cipher)))),
            Err(error) => {
                // Nobody has it yet; what has its name by now is not to go.
                if let (Ok(named), Ok(own)) = (self.under.identity(path), under.identity())
                    && named == own
                {
                    let _ = self.under.remove(path);
                }
                Err(error)
            }
        }
    }
}

impl Disk for EncryptedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let under = self.under.open(path)?;
        let preamble = Preamble::read(&*under)?;
        let opened = preamble.map(|preamble| preamble.open(&locked(&self.key))).transpose()?;
        let cipher = opened.map(|(_, secret)| FileCipher::new(&secret));
        Ok(Arc::new(EncryptedFile::new(under, cipher)))
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
    fn new(under: Arc<dyn File>, cipher: Option<FileCipher>) -> EncryptedFile {
        EncryptedFile { under, cipher, parts: Mutex::default() }
    }

    /// Its cipher, to write.
    ///
    /// # Errors
    /// Where it has none: it was never made whole.
    fn cipher(&self) -> io::Result<&FileCipher> {
        self.cipher.as_ref().ok_or_else(|| refused("it is to be encrypted, and it was never made whole"))
    }

    /// Reads whole blocks.
    fn read_blocks(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.under.read_at(offset.saturating_add(PREAMBLE as u64), out)?;
        match &self.cipher {
            Some(cipher) => cipher.decrypt(offset / BLOCK as u64, out),
            // Nothing of it was synced: whatever is there was not.
            None => out.fill(0),
        }
        Ok(())
    }

    /// Writes whole blocks.
    fn write_blocks(&self, offset: u64, mut data: Vec<u8>) -> io::Result<()> {
        self.cipher()?.encrypt(offset / BLOCK as u64, &mut data);
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
        // What was cut off within a block cannot be read.
        let length = self.under.len()?.saturating_sub(PREAMBLE as u64);
        Ok(length - length % BLOCK as u64)
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
        self.cipher()?;
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

    /// Every try to change the key may fail, and be cut off by a crash: then one key opens all of it, which the error says; and once the database is
    /// opened, that key alone.
    #[test]
    fn a_change_of_the_key_that_is_cut_off_leaves_one_that_opens_it() {
        let (path, journals) = (Path::new("/a"), [PathBuf::from("/gone"), PathBuf::from("/b")]);
        let (old, new) = (EncryptionKey::new([1; 32]), EncryptionKey::new([2; 32]));
        let mut told = [0, 0];
        for stop in 1.. {
            let disk = SimulatedDisk::new();
            let key = key(1);
            let under: Arc<dyn Disk> = Arc::new(disk.clone());
            let files = EncryptedDisk::new(under.clone(), key.clone());
            for path in [path, &journals[1]] {
                let file = files.create(path).unwrap();
                file.write_at(0, &[7; 4096]).unwrap();
                file.sync().unwrap();
            }
            files.sync_folder(Path::new("/")).unwrap();
            disk.faults().fail_after(stop, Failure::any());
            let identity = disk.identity(path).unwrap();
            let done = rekey(&*under, (path, identity), &journals, &key, &new);
            let sure = match &done {
                Ok(()) => &new,
                Err(error) if error.to_string().contains("which the old one opens for sure") => {
                    told[0] += 1;
                    &old
                }
                Err(error) => {
                    assert!(error.to_string().contains("which the new one opens for sure"), "{error}");
                    told[1] += 1;
                    &new
                }
            };
            assert_eq!(*locked(&key), *sure);
            for (fate, seed) in Fate::ALL.into_iter().flat_map(|fate| (0..8).map(move |seed| (fate, seed))) {
                let image = disk.crash(fate, seed);
                let opens = |path, key| super::opens(&image, path, key).unwrap();
                assert!(opens(path, sure), "{stop} {fate:?}");
                // Whichever opens the database opens its journal.
                for one in [&old, &new] {
                    assert!(!opens(path, one) || opens(&journals[1], one), "{stop} {fate:?}");
                }
                let other = if *sure == new { &old } else { &new };
                assert!(done.is_err() || !opens(path, other), "{stop} {fate:?}");
                let shared = Arc::new(Mutex::new(sure.clone()));
                assert_eq!(content(&encrypted(image.clone(), &shared), path), [7; 4096]);
                settle(&image, path, sure).unwrap();
                assert!(opens(path, sure) && !opens(path, other), "{stop} {fate:?}");
            }
            if done.is_ok() {
                break;
            }
        }
        assert!(told.iter().all(|&told| told > 1), "{told:?}");
    }

    /// Of a file that was being made a crash leaves its preamble or none: never one that says that another key is wanted.
    #[test]
    fn a_file_that_was_being_made_is_whole_or_nothing() {
        let key = key(1);
        for seed in 0..200 {
            let disk = SimulatedDisk::new();
            let files = encrypted(disk.clone(), &key);
            let path = Path::new("/x");
            files.create(path).unwrap().write_at(0, &[7; 8192]).unwrap();
            files.sync_folder(Path::new("/")).unwrap();
            for fate in Fate::ALL {
                let image = encrypted(disk.crash(fate, seed), &key);
                let file = image.open(path).unwrap();
                let mut out = vec![0; file.len().unwrap() as usize];
                file.read_at(0, &mut out).unwrap();
                assert!(out.iter().all(|&byte| byte == 0 || byte == 7), "{fate:?} {seed}");
            }
        }
    }

    #[test]
    fn what_is_damaged_before_the_key_is_opened_all_the_same() {
        let (memory, key) = (MemoryDisk::new(), key(1));
        let disk = encrypted(memory.clone(), &key);
        let path = Path::new("/x");
        disk.create(path).unwrap().write_at(0, &[7; 32]).unwrap();
        let under = memory.open(path).unwrap();
        under.write_at(0, &[0xff; 16]).unwrap();
        assert_eq!(content(&disk, path), [7; 32]);
        // What was cut off within a block is gone, and the rest is read.
        under.set_len((PREAMBLE + 20) as u64).unwrap();
        assert_eq!(content(&disk, path), [7; 16]);
        under.write_at(SLOTS[0] as u64, &[0xff; SLOT]).unwrap();
        assert_eq!(disk.open(path).unwrap_err().kind(), ErrorKind::InvalidData);
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
