//! A disk over another: reads fall through, and whatever is written stays in memory.
//!
//! It lets a database on read-only media be opened, and even recovered, without a byte of it changing. What was
//! written is gone with the overlay, so there is nothing to sync. A page is copied when it is first written.
//!
//! Locks are taken from the disk below, and always shared: an overlay keeps a writer of the file away and other
//! readers not, whatever its user believes to be writing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::lock::Locks;
use super::memory::{already_exists, new_identity, not_found};
use super::pages::{PAGE, PageBytes, Pages, end_of, spans};
use super::{Disk, File, Identity, Lock, LockError, LockMode};

/// A disk over another, which it never changes.
#[derive(Debug)]
pub struct Overlay {
    under: Arc<dyn Disk>,
    /// The names opened or changed here; None is one removed. Any other name is the disk's below.
    names: Mutex<OverlayNames>,
}

type OverlayNames = BTreeMap<PathBuf, Option<Arc<OverlayFile>>>;

impl Overlay {
    /// An overlay that shows `under` as it is.
    pub fn new(under: Arc<dyn Disk>) -> Overlay {
        Overlay { under, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, OverlayNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a name, opened below if it is met for the first time: all its handles must see one copy.
    fn find(&self, names: &mut OverlayNames, path: &Path) -> io::Result<Arc<OverlayFile>> {
        let key = self.under.canonical(path)?;
        match names.get(&key) {
            Some(Some(file)) => Ok(Arc::clone(file)),
            Some(None) => Err(not_found(path)),
            None => {
                let file = Arc::new(OverlayFile::over(self.under.open(&key)?, key.clone())?);
                names.insert(key, Some(Arc::clone(&file)));
                Ok(file)
            }
        }
    }

    fn has(&self, names: &OverlayNames, key: &Path) -> io::Result<bool> {
        match names.get(key) {
            Some(entry) => Ok(entry.is_some()),
            None => self.under.exists(key),
        }
    }
}

impl Disk for Overlay {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.find(&mut self.names(), path)? as Arc<dyn File>)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut names = self.names();
        let key = self.under.canonical(path)?;
        if self.has(&names, &key)? {
            return Err(already_exists(path));
        }
        let file = Arc::new(OverlayFile::new());
        names.insert(key, Some(Arc::clone(&file)));
        Ok(file)
    }

    fn create_like(&self, path: &Path, like: &Path) -> io::Result<Arc<dyn File>> {
        self.find(&mut self.names(), like)?;
        self.create(path)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        Ok(self.find(&mut self.names(), path)?.identity)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.under.canonical(path) {
            Ok(key) => self.has(&self.names(), &key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names();
        let file = self.find(&mut names, from)?;
        let key = self.under.canonical(to)?;
        if self.has(&names, &key)? {
            return Err(already_exists(to));
        }
        names.insert(key, Some(file));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names();
        let file = self.find(&mut names, from)?;
        let key = self.under.canonical(to)?;
        // As POSIX has it: two names of one file stay as they are.
        if matches!(names.get(&key), Some(Some(target)) if Arc::ptr_eq(target, &file)) {
            return Ok(());
        }
        names.insert(self.under.canonical(from)?, None);
        names.insert(key, Some(file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names();
        let key = self.under.canonical(path)?;
        if !self.has(&names, &key)? {
            return Err(not_found(path));
        }
        names.insert(key, None);
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.under.canonical(path)
    }

    fn lock(&self, path: &Path, _mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
        let file = self.find(&mut self.names(), path).map_err(LockError::Io)?;
        match &file.under {
            Some(under) => self.under.lock(&under.path, LockMode::Shared),
            None => file.lock.take(LockMode::Shared, file.identity, path),
        }
    }

    fn check_name(&self, path: &Path) -> Result<(), LockError> {
        self.under.check_name(path)
    }
}

/// A file over another one, or over nothing when it was made here.
#[derive(Debug)]
struct OverlayFile {
    under: Option<Under>,
    /// That of the file below, if there is one.
    identity: Identity,
    layer: RwLock<Layer>,
    /// Of a file made here, which nobody can lock below.
    lock: Arc<Locks>,
}

#[derive(Debug)]
struct Under {
    file: Arc<dyn File>,
    path: PathBuf,
}

/// What was written here.
#[derive(Debug, Default)]
struct Layer {
    /// The length, and the pages written; one that is missing is to be read below.
    pages: Pages,
    /// How many bytes of the file below still show; truncating hides them for good.
    shown: u64,
}

impl OverlayFile {
    fn over(file: Arc<dyn File>, path: PathBuf) -> io::Result<OverlayFile> {
        let len = file.len()?;
        let layer = RwLock::new(Layer { pages: Pages::zeros(len), shown: len });
        let identity = file.identity()?;
        Ok(OverlayFile { under: Some(Under { file, path }), identity, layer, lock: Arc::default() })
    }

    fn new() -> OverlayFile {
        OverlayFile { under: None, identity: new_identity(), layer: RwLock::default(), lock: Arc::default() }
    }

    fn layer(&self) -> RwLockReadGuard<'_, Layer> {
        self.layer.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn layer_mut(&self) -> RwLockWriteGuard<'_, Layer> {
        self.layer.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the file below has there, zeros after what still shows of it.
    fn read_under(&self, shown: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let visible = usize::try_from(shown.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (visible, hidden) = out.split_at_mut(visible);
        hidden.fill(0);
        match &self.under {
            Some(under) if !visible.is_empty() => under.file.read_at(offset, visible),
            _ => Ok(()),
        }
    }
}

impl File for OverlayFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.layer().pages.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let layer = self.layer();
        layer.pages.check_readable(offset, out.len())?;
        // One read below for the whole run, then the pages written here over it.
        if spans(offset, out.len())?.any(|(index, ..)| layer.pages.page(index).is_none()) {
            self.read_under(layer.shown, offset, out)?;
        }
        for (index, within, part) in spans(offset, out.len())? {
            if let Some(page) = layer.pages.page(index) {
                out[part].copy_from_slice(&page[within]);
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        end_of(offset, data.len())?;
        let mut layer = self.layer_mut();
        for (index, within, _) in spans(offset, data.len())? {
            // Only a page written in part needs what is below.
            if within.len() < PAGE && layer.pages.page(index).is_none() {
                let mut page: PageBytes = [0; PAGE];
                self.read_under(layer.shown, index as u64 * PAGE as u64, &mut page)?;
                layer.pages.put(index, page)?;
            }
        }
        layer.pages.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut layer = self.layer_mut();
        layer.pages.set_len(len);
        layer.shown = layer.shown.min(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok(self.identity)
    }

    fn names(&self) -> io::Result<Option<u64>> {
        // Names change here without the disk below: what it tells is of its own names.
        match &self.under {
            Some(under) => under.file.names(),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::super::memory::MemoryDisk;
    use super::super::real::RealDisk;
    use super::*;

    fn content(disk: &dyn Disk, path: &Path) -> Vec<u8> {
        let file = disk.open(path).unwrap();
        let mut out = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut out).unwrap();
        out
    }

    #[test]
    fn it_holds_the_contract_over_any_disk() {
        contract::holds(&Overlay::new(Arc::new(MemoryDisk::new())), Path::new("/folder"));
        let folder = tempfile::tempdir().unwrap();
        contract::holds(&Overlay::new(Arc::new(RealDisk::read_only())), folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_below_shows_through_and_never_changes() {
        let (under, path) = (Arc::new(MemoryDisk::new()), Path::new("/a"));
        let original: Vec<u8> = (0..20_000).map(|i| (i % 251) as u8).collect();
        under.create(path).unwrap().write_at(0, &original).unwrap();

        let disk = Overlay::new(under.clone());
        let file = disk.open(path).unwrap();
        let mut expected = original.clone();
        assert_eq!(content(&disk, path), expected);
        // Within a page, over a boundary, a whole page, over the end.
        for (offset, len) in [(10, 5), (4_090, 20), (8_192, 4_096), (19_990, 100)] {
            file.write_at(offset as u64, &vec![255; len]).unwrap();
            expected.resize(expected.len().max(offset + len), 0);
            expected[offset..offset + len].fill(255);
            assert_eq!(content(&disk, path), expected);
        }
        file.set_len(13_000).unwrap();
        file.set_len(21_000).unwrap();
        expected.truncate(13_000);
        expected.resize(21_000, 0);
        assert_eq!(content(&disk, path), expected);
        // A page that was cut in half is not read below again.
        file.write_at(12_999, b"xy").unwrap();
        expected[12_999..13_001].copy_from_slice(b"xy");
        assert_eq!(content(&disk, path), expected);

        assert_eq!(content(&*under, path), original);
    }

    #[test]
    fn names_change_above_only() {
        let (under, a, b) = (Arc::new(MemoryDisk::new()), Path::new("/a"), Path::new("/b"));
        under.create(a).unwrap().write_at(0, b"below").unwrap();
        let disk = Overlay::new(under.clone());
        disk.rename(a, b).unwrap();
        assert_eq!(content(&disk, b), b"below");
        assert!(!disk.exists(a).unwrap());
        disk.create(a).unwrap().write_at(0, b"above").unwrap();
        disk.remove(b).unwrap();
        assert_eq!(disk.open(b).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(content(&*under, a), b"below");
        assert!(!under.exists(b).unwrap());
    }

    #[test]
    fn it_keeps_a_writer_away_and_readers_not() {
        let (under, path) = (Arc::new(MemoryDisk::new()), Path::new("/a"));
        under.create(path).unwrap();
        let disk = Overlay::new(under.clone());
        let lock = disk.lock(path, LockMode::Exclusive).unwrap();
        assert!(under.lock(path, LockMode::Exclusive).is_err());
        assert!(under.lock(path, LockMode::Shared).is_ok());
        assert!(Overlay::new(under.clone()).lock(path, LockMode::Exclusive).is_ok());
        drop(lock);
        let _writer = under.lock(path, LockMode::Exclusive).unwrap();
        assert!(matches!(disk.lock(path, LockMode::Shared), Err(LockError::Held { .. })));
    }
}
