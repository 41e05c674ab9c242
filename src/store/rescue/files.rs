//! The damaged file and its journals, as bytes.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::Rescue;
use super::carve::{Carved, Carver};
use super::fragments::Fragments;
use super::original::Original;
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::disk::{Disk, File};
use crate::store::journal::{self, DatabaseId, Remnant, Side};

/// The file and its journals, as bytes.
pub(super) struct DamagedFiles {
    files: Vec<Arc<dyn File>>,
    /// Of which of them the header of a journal says that it is of this database, where nothing else does.
    pub id: Option<DatabaseId>,
}

impl DamagedFiles {
    pub fn open(
        disk: &dyn Disk,
        path: &Path,
        original: Option<&Original>,
        found: &mut Rescue,
    ) -> Result<DamagedFiles> {
        let reading = |path: &Path| {
            let path = path.display().to_string();
            move |e| Error::io(format!("reading {path}"), e)
        };
        let mut files = vec![disk.open(path).map_err(reading(path))?];
        let mut id = None;
        for segment in journal::find(disk, path)? {
            if let Remnant::Segment(header) = &segment.remnant {
                if original.is_some_and(|original| original.id != header.id) {
                    found.doubt(format!(
                        "{} is of another database: it was not searched",
                        segment.path.display()
                    ));
                    continue;
                }
                id = Some(header.id);
            }
            match disk.open(&segment.path) {
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    found.doubt(format!("{} was not searched: {error}", segment.path.display()));
                }
                file => files.push(file.map_err(reading(&segment.path))?),
            }
        }
        for side in Side::BOTH {
            let mut aside = side.path(path).into_os_string();
            aside.push(".aside-1");
            if disk.exists(Path::new(&aside)).map_err(reading(path))? {
                let name = Path::new(&aside).display();
                found.doubt(format!("{name} was set aside earlier: it was not searched"));
            }
        }
        Ok(DamagedFiles { files, id })
    }

    /// Searches them for events. The log ends with `head`, where that is known for sure.
    pub fn search(
        self,
        head: Option<Position>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&Rescue),
        found: &mut Rescue,
    ) -> Result<Fragments> {
        let mut carved = Carved::default();
        for (number, file) in (0..).zip(&self.files) {
            let before = found.searched;
            let mut carver = Carver::new(file, number, number > 0, &mut carved)?;
            carver.search(&mut |at| {
                cancel.check()?;
                found.searched = before + at;
                progress(found);
                Ok(())
            })?;
            found.searched = before + file.len().map_err(|e| Error::io("searching for events", e))?;
        }
        if !carved.unread.is_empty() {
            found.doubt(format!("the disk could not read {} pages of 4096 bytes", carved.unread.len()));
        }
        if carved.given_up > 0 {
            let count = carved.given_up;
            found.doubt(format!(
                "{count} stretches of 4 MiB look like events everywhere: they were not searched to their ends"
            ));
        }
        let fragments = Fragments::new(self.files, carved, head);
        if fragments.disbelieved > 0 {
            let count = fragments.disbelieved;
            found.doubt(format!(
                "{count} pieces look like events, and nothing tells for sure at which positions"
            ));
        }
        Ok(fragments)
    }
}
