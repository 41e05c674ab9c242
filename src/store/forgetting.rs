//! To forget somebody, of a store: one at a time, by a statement or by a verb, and what is left to do after that.

use std::sync::MutexGuard;

use super::append_request::{AppendOutcome, AppendRequest};
use super::mutex::locked;
use super::verb::{ForgetPermit, PerformRequest};
use super::{Shared, Store, forget};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::event::FORGOTTEN;
use crate::event::record::Record;

impl Store {
    /// Refuses to forget where nothing is written, or others have the log, too.
    pub fn check_forgettable(&self) -> Result<()> {
        self.check_open()?;
        if self.shared.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        if self.shared.log.is_shared() {
            return Err(Error::stopped(
                "a subject is not forgotten on a log that is shared: each node has a file of its own",
            ));
        }
        Ok(())
    }

    /// Lets one at a time forget subjects, or make a backup.
    pub fn forgetting(&self) -> MutexGuard<'_, ()> {
        locked(&self.shared.kernel.forgetting)
    }

    /// Does what is left to do for subjects that are forgotten. Whoever asks has the lock of [`forgetting`](Store::forgetting).
    pub fn forget_rest(&self, cancel: &Cancel) -> Result<()> {
        let Shared { kernel, checkpointer, .. } = &*self.shared;
        let Some(through) = forget::forget_kept(kernel, checkpointer, cancel)? else { return Ok(()) };
        self.compact(cancel)?;
        kernel.tables.write("forgetting", |tables| tables.set_forgotten(through))
    }

    /// The same, for those that a group says are forgotten.
    pub fn forget_appended(&self, outcome: &AppendOutcome, cancel: &Cancel) -> Result<()> {
        let mut forgotten = Vec::new();
        for (position, bytes) in &outcome.events {
            let record = Record::open(*position, bytes)?;
            if record.kind() == FORGOTTEN {
                let target = record.target().map_or("", |target| target.id);
                forgotten.push(format!("{target} is forgotten from {position} on"));
            }
        }
        if forgotten.is_empty() {
            return Ok(());
        }
        self.forget_rest(cancel).map_err(|error| {
            Error::stopped(format!(
                "{}: nobody reads the private values any more, but copies of them may still be in the file ({error}); say FORGET once \
                 more, or open the file again",
                forgotten.join(", ")
            ))
        })
    }

    /// Appends a group in which verbs may be performed that forget somebody.
    pub fn perform(&self, mut group: AppendRequest) -> Result<AppendOutcome> {
        let cancel = group.cancel.clone();
        let catalog = self.shared.applied.catalog();
        let forgets = |perform: &PerformRequest| perform.rule(&catalog).is_ok_and(|rule| rule.forgets());
        let forgets = group.performs.iter().any(|(_, perform)| forgets(perform));
        let alone = if forgets {
            self.check_forgettable()?;
            Some(self.forgetting())
        } else {
            None
        };
        let may = if forgets { ForgetPermit::Given } else { ForgetPermit::Asked };
        group.performs.iter_mut().for_each(|(_, perform)| perform.may_forget = may);
        let outcome = self.append(group)?;
        if alone.is_some() {
            self.forget_appended(&outcome, &cancel)?;
        }
        Ok(outcome)
    }
}
