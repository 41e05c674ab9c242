//! What every disk answers alike. Each disk's own tests call this, so that a test of the store on the simulated
//! disk says something about the real one.

use std::io::ErrorKind;
use std::path::Path;

use super::{Disk, Identity, LockError, LockMode};

/// Goes through the contract in an empty, existing folder.
pub(crate) fn holds(disk: &dyn Disk, folder: &Path) {
    holds_in_units(disk, folder, 1);
}

/// The same of a disk whose files have a length that is a multiple of something.
pub(crate) fn holds_in_units(disk: &dyn Disk, folder: &Path, unit: u64) {
    names(disk, folder, unit);
    identities(disk, folder);
    bytes(disk, folder, unit);
    paths(disk, folder);
    locks(disk, folder, unit);
}

/// A text, with spaces up to a whole unit.
fn whole(text: &[u8], unit: u64) -> Vec<u8> {
    let mut whole = text.to_vec();
    whole.resize(text.len().next_multiple_of(unit as usize), b' ');
    whole
}

fn names(disk: &dyn Disk, folder: &Path, unit: u64) {
    let [first, again, second] = [&b"first"[..], b"FIRST", b"second"].map(|text| whole(text, unit));
    let (a, b, c) = (folder.join("a"), folder.join("b"), folder.join("c"));
    assert_eq!(disk.open(&a).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove(&a).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.rename(&a, &b).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.link(&a, &b).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!disk.exists(&a).unwrap());

    disk.create(&a).unwrap().write_at(0, &first).unwrap();
    assert!(disk.exists(&a).unwrap());
    assert_eq!(disk.create(&a).unwrap_err().kind(), ErrorKind::AlreadyExists);

    // A link is a second name of the same bytes.
    disk.link(&a, &b).unwrap();
    assert_eq!(disk.link(&a, &b).unwrap_err().kind(), ErrorKind::AlreadyExists);
    disk.open(&a).unwrap().write_at(0, &again[..5]).unwrap();
    assert_eq!(content(disk, &b), again);
    disk.remove(&a).unwrap();
    assert!(!disk.exists(&a).unwrap());
    assert_eq!(content(disk, &b), again);

    // A rename replaces; who has the replaced file open still reads it.
    let replaced = disk.create(&c).unwrap();
    replaced.write_at(0, &second).unwrap();
    disk.rename(&b, &c).unwrap();
    assert!(!disk.exists(&b).unwrap());
    assert_eq!(content(disk, &c), again);
    let mut out = vec![0; second.len()];
    replaced.read_at(0, &mut out).unwrap();
    assert_eq!(out, second);
    disk.rename(&c, &c).unwrap();
    assert!(disk.exists(&c).unwrap());

    // A name used again is a new file.
    disk.remove(&c).unwrap();
    assert_eq!(disk.create(&c).unwrap().len().unwrap(), 0);
    disk.remove(&c).unwrap();
    disk.sync_folder(folder).unwrap();
}

fn identities(disk: &dyn Disk, folder: &Path) {
    let (a, b, c) = (folder.join("a"), folder.join("b"), folder.join("c"));
    assert_eq!(disk.identity(&a).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.create_like(&a, &b).unwrap_err().kind(), ErrorKind::NotFound);
    let first = disk.create(&a).unwrap();
    let own = first.identity().unwrap();
    assert_eq!((disk.identity(&a).unwrap(), disk.open(&a).unwrap().identity().unwrap()), (own, own));
    assert_eq!(disk.lock(&a, LockMode::Shared).unwrap().identity().unwrap_or(own), own);
    // Under each of its names it is the same, and no other file is.
    disk.link(&a, &b).unwrap();
    assert_eq!(disk.identity(&b).unwrap(), own);
    assert!(matches!(first.names().unwrap(), None | Some(2)));
    let second = disk.create_like(&c, &a).unwrap();
    assert_eq!(disk.create_like(&c, &a).unwrap_err().kind(), ErrorKind::AlreadyExists);
    if own == Identity::UNTOLD {
        // The system does not tell files apart.
        [a, b, c].iter().for_each(|path| disk.remove(path).unwrap());
        return;
    }
    assert_ne!(second.identity().unwrap(), own);
    // Nor is the one that takes its name, while it is open.
    disk.rename(&c, &a).unwrap();
    assert_eq!((disk.identity(&a).unwrap(), first.identity().unwrap()), (second.identity().unwrap(), own));
    disk.remove(&b).unwrap();
    assert!(matches!(first.names().unwrap(), None | Some(0)));
    let third = disk.create(&b).unwrap().identity().unwrap();
    assert!(third != own && third != second.identity().unwrap());
    assert_eq!(first.identity().unwrap(), own);
    disk.remove(&a).unwrap();
    disk.remove(&b).unwrap();
}

fn bytes(disk: &dyn Disk, folder: &Path, unit: u64) {
    let path = folder.join("bytes");
    let file = disk.create(&path).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    let far = whole(b"far", unit);
    let end = 10_000 + far.len() as u64;
    file.write_at(10_000, &far).unwrap();
    assert_eq!(file.len().unwrap(), end);
    let mut out = [7; 6];
    file.read_at(9_997, &mut out).unwrap();
    assert_eq!(&out, b"\0\0\0far");
    assert_eq!(file.read_at(end - 5, &mut out).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_at(20_000, &mut out).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.read_at(end, &mut []).unwrap();

    // What was cut off comes back as zeros.
    file.write_at(0, &[1; 5_000]).unwrap();
    let cut = 4_500u64.next_multiple_of(unit);
    file.set_len(cut).unwrap();
    assert_eq!(file.len().unwrap(), cut);
    file.set_len(12_000).unwrap();
    let mut out = vec![7; 12_000];
    file.read_at(0, &mut out).unwrap();
    assert!(out[..cut as usize].iter().all(|&byte| byte == 1));
    assert!(out[cut as usize..].iter().all(|&byte| byte == 0));

    // Nothing written grows nothing.
    file.write_at(50_000, b"").unwrap();
    assert_eq!(file.len().unwrap(), 12_000);
    file.sync().unwrap();

    // Two handles see one file.
    let other = disk.open(&path).unwrap();
    other.write_at(1, b"xyz").unwrap();
    let mut out = [0; 5];
    file.read_at(0, &mut out).unwrap();
    assert_eq!(&out, b"\x01xyz\x01");
    disk.remove(&path).unwrap();
}

fn paths(disk: &dyn Disk, folder: &Path) {
    let direct = disk.canonical(&folder.join("new")).unwrap();
    let around = disk.canonical(&folder.join(".").join("..").join(folder.file_name().unwrap()).join("new"));
    assert_eq!(around.unwrap(), direct);
    assert!(direct.has_root());
}

fn locks(disk: &dyn Disk, folder: &Path, unit: u64) {
    let path = folder.join("locked");
    let missing = disk.lock(&path, LockMode::Exclusive).unwrap_err();
    assert!(matches!(missing, LockError::Io(error) if error.kind() == ErrorKind::NotFound));

    let file = disk.create(&path).unwrap();
    let reader = disk.lock(&path, LockMode::Shared).unwrap();
    let another = disk.lock(&path, LockMode::Shared).unwrap();
    file.write_at(0, &whole(b"a lock is advice", unit)).unwrap();
    drop((reader, another));
    let writer = disk.lock(&path, LockMode::Exclusive).unwrap();
    file.write_at(0, b"to all").unwrap();
    drop(writer);
    drop(disk.lock(&path, LockMode::Exclusive).unwrap());
    disk.remove(&path).unwrap();
}

/// Beside the rest of the contract, for every disk but an overlay, which takes every lock as shared.
pub(crate) fn locks_exclude(disk: &dyn Disk, folder: &Path) {
    let path = folder.join("excluded");
    disk.create(&path).unwrap();
    let refused = |mode| match disk.lock(&path, mode) {
        Err(LockError::Held { process }) => process.is_none_or(|process| process == std::process::id()),
        _ => false,
    };
    let reader = disk.lock(&path, LockMode::Shared).unwrap();
    assert!(refused(LockMode::Exclusive));
    drop(reader);
    let writer = disk.lock(&path, LockMode::Exclusive).unwrap();
    assert!(refused(LockMode::Exclusive));
    assert!(refused(LockMode::Shared));
    drop(writer);
    assert!(disk.lock(&path, LockMode::Shared).is_ok());
    disk.remove(&path).unwrap();
}

/// And a writer holds the name as well, whatever file comes to it.
pub(crate) fn locks_hold_the_name(disk: &dyn Disk, folder: &Path) {
    let (path, away) = (folder.join("named"), folder.join("away"));
    let held = |path: &Path, mode| match disk.lock(path, mode) {
        Err(LockError::Held { .. }) => Some("file"),
        Err(LockError::NameHeld { process }) => {
            assert!(process.is_none_or(|process| process == std::process::id()));
            Some("name")
        }
        Err(LockError::Io(error)) => panic!("{error}"),
        Ok(_) => None,
    };
    for mode in [LockMode::Exclusive, LockMode::Shared] {
        disk.create(&path).unwrap();
        let writer = disk.lock(&path, LockMode::Exclusive).unwrap();
        disk.rename(&path, &away).unwrap();
        disk.create(&path).unwrap();
        assert_eq!(held(&away, mode), Some("file"));
        assert_eq!(held(&path, mode), Some("name"));
        disk.remove(&path).unwrap();
        assert!(matches!(disk.check_name(&path), Err(LockError::NameHeld { .. })));
        disk.create(&path).unwrap();
        drop(writer);
        assert_eq!([held(&away, mode), held(&path, mode)], [None, None]);
        disk.check_name(&path).unwrap();
        // Whoever reads holds the file alone.
        let reader = disk.lock(&path, LockMode::Shared).unwrap();
        disk.remove(&away).unwrap();
        disk.rename(&path, &away).unwrap();
        disk.create(&path).unwrap();
        assert_eq!(held(&path, mode), None);
        drop(reader);
        disk.remove(&away).unwrap();
        disk.remove(&path).unwrap();
    }
}

fn content(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut out = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut out).unwrap();
    out
}
