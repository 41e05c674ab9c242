//! The lock of a file that lives in memory: it keeps the handles of one process apart, as the system's lock
//! keeps processes apart.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Identity, Lock, LockError, LockMode};

/// Who holds the lock of one file.
#[derive(Debug, Default)]
pub(super) struct LockCell(Mutex<Holders>);

#[derive(Debug, Default)]
enum Holders {
    #[default]
    Nobody,
    /// How many; never zero.
    Readers(usize),
    Writer,
}

impl LockCell {
    /// Takes the lock without waiting.
    pub(super) fn take(self: &Arc<Self>, mode: LockMode, file: Identity) -> Result<Box<dyn Lock>, LockError> {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *holders = match (&*holders, mode) {
            (Holders::Nobody, LockMode::Exclusive) => Holders::Writer,
            (Holders::Nobody, LockMode::Shared) => Holders::Readers(1),
            (Holders::Readers(n), LockMode::Shared) => Holders::Readers(n + 1),
            _ => return Err(LockError::Held { process: Some(std::process::id()) }),
        };
        Ok(Box::new(Held(Arc::clone(self), file)))
    }
}

/// Gives the lock back when dropped.
#[derive(Debug)]
struct Held(Arc<LockCell>, Identity);

impl Lock for Held {
    fn identity(&self) -> Option<Identity> {
        Some(self.1)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *holders = match *holders {
            Holders::Readers(n) if n > 1 => Holders::Readers(n - 1),
            _ => Holders::Nobody,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Identity = Identity { device: 1, inode: 1 };

    #[test]
    fn readers_share_and_a_writer_waits_for_the_last_of_them() {
        let cell = Arc::new(LockCell::default());
        let one = cell.take(LockMode::Shared, FILE).unwrap();
        let two = cell.take(LockMode::Shared, FILE).unwrap();
        drop(one);
        assert!(matches!(cell.take(LockMode::Exclusive, FILE), Err(LockError::Held { .. })));
        drop(two);
        let writer = cell.take(LockMode::Exclusive, FILE).unwrap();
        assert!(matches!(cell.take(LockMode::Exclusive, FILE), Err(LockError::Held { process: Some(_) })));
        assert!(matches!(cell.take(LockMode::Shared, FILE), Err(LockError::Held { .. })));
        drop(writer);
        assert!(cell.take(LockMode::Shared, FILE).is_ok());
    }
}
