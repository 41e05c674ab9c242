//! The check of the pages: redb keeps a checksum of each, and looks at it only as it repairs a file.
//!
//! The file is opened once more, over what is written into memory, as one that is to be checked first. What is asked for is known
//! before redb goes on to repair it: then it is told to stop.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::guard;
use super::handle::Backend;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::store::disk::overlay::Overlay;
use crate::store::disk::{Disk, Identity};

/// Each page is read once.
const CACHE: usize = 1 << 20;

/// Compares each page that the newest commit of a file reaches with its checksum.
pub(super) fn check(disk: &Arc<dyn Disk>, path: &Path, only: Identity, cancel: &Cancel) -> Result<()> {
    cancel.check()?;
    let doing = "reading the pages of the tables";
    let overlay = Overlay::new(disk.clone());
    let file = overlay.open(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            let advice = "put it back under that name, and verify it then";
            Error::unopenable(path, "it was removed or renamed while it is open", advice)
        }
        _ => Error::io(doing, e),
    })?;
    if file.identity().map_err(|e| Error::io(doing, e))? != only {
        let advice = "close it, and open the one that is to be used";
        return Err(Error::unopenable(path, "another file has its name by now", advice));
    }
    let backend = Backend::new(file).until(cancel.clone());
    // How far redb has come, in tenths: at the third a page does not fit, at the sixth all of them do.
    let come = Arc::new(AtomicU64::new(0));
    let tell = come.clone();
    let opened = guard::quietly(|| {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        builder.set_repair_callback(move |session| {
            let tenths = (session.progress() * 10.0).round() as u64;
            tell.store(tenths, Ordering::Relaxed);
            if tenths > 0 {
                session.abort();
            }
        });
        builder.create_with_backend(backend).map(drop)
    });
    cancel.check()?;
    match opened {
        Some(Err(redb::DatabaseError::RepairAborted)) if come.load(Ordering::Relaxed) >= FITS => Ok(()),
        // Nothing was ever written.
        Some(Ok(())) => Ok(()),
        Some(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))) => {
            Err(Error::io(doing, error))
        }
        _ => Err(Error::corrupt("the pages of the tables", "one whose checksum does not fit its bytes")),
    }
}

/// Behind the first scan, which compares the checksums.
const FITS: u64 = 5;
