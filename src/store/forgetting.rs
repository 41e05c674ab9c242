//! To forget somebody, of a store: one at a time, by a statement or by a verb, and what is left to do after that; and to rewrite what is private since it
//! was appended.

use super::append_request::{AppendOutcome, AppendRequest};
use super::forgetting_lock::ForgettingGuard;
use super::rewriting::{self, Rewritten};
use super::verb::{ForgetPermit, ForgetWish, PerformRequest};
use super::{Shared, Store, forget};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::event::FORGOTTEN;
use crate::event::record::Record;

impl Store {
    /// Refuses to forget, or to rewrite events, where nothing is written, or others have the log, too; and where this thread would wait for itself.
    pub fn check_forgettable(&self) -> Result<()> {
        self.check_open()?;
        if self.shared.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        if self.shared.log.is_shared() {
            return Err(Error::stopped(
                "nobody is forgotten on a log that is shared, nor are events rewritten: each node has a file of its own",
            ));
        }
        self.shared.kernel.forgetting.check_not_mine()
    }

    /// Lets one at a time forget subjects, or make a backup.
    pub fn forgetting(&self) -> ForgettingGuard<'_> {
        self.shared.kernel.forgetting.hold()
    }

    /// The same, until it is cancelled.
    pub fn forgetting_until(&self, cancel: &Cancel) -> Result<ForgettingGuard<'_>> {
        self.shared.kernel.forgetting.hold_until(cancel)
    }

    /// Whether something is left to do for what is private, or forgotten.
    pub(super) fn is_left_to_forget(&self) -> Result<bool> {
        Ok(rewriting::is_due(&self.shared)? || self.shared.tables.read()?.keys_to_erase()?)
    }

    /// Rewrites what events have in plain that is private since, where a definition asks for it. Whoever asks has the lock of
    /// [`forgetting`](Store::forgetting).
    pub fn rewrite_past(&self, cancel: &Cancel) -> Result<Rewritten> {
        let rewritten = match rewriting::is_due(&self.shared)? {
            true => self.compact_with(cancel)?.1,
            false => Rewritten::default(),
        };
        // Some of it may be of subjects that were forgotten before.
        self.forget_rest(cancel)?;
        Ok(rewritten)
    }

    /// Does what is left to do for subjects that are forgotten. Whoever asks has the lock of [`forgetting`](Store::forgetting).
    pub fn forget_rest(&self, cancel: &Cancel) -> Result<()> {
        // What is forgotten may be in plain yet.
        if rewriting::is_due(&self.shared)? {
            self.compact_with(cancel)?;
        }
        let Shared { kernel, checkpointer, .. } = &*self.shared;
        let Some(through) = forget::forget_kept(kernel, checkpointer, cancel)? else { return Ok(()) };
        self.compact(cancel)?;
        kernel.tables.write("forgetting", |tables| tables.set_forgotten(through))
    }

    /// The same, for those that a group says are forgotten.
    pub fn forget_appended(&self, outcome: &AppendOutcome, cancel: &Cancel) -> Result<()> {
        let forgotten = forgotten_by(outcome)?;
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

    /// Appends a group in which verbs may be performed that forget somebody. That is known when it is decided: where it comes out so, all of it is
    /// refused, and asked for once more by who holds the lock. So what forgets nobody waits for no backup.
    pub fn perform(&self, mut group: AppendRequest) -> Result<AppendOutcome> {
        let catalog = self.shared.applied.catalog();
        let forgets = |perform: &PerformRequest| perform.rule(&catalog).is_ok_and(|rule| rule.forgets());
        let again = group.performs.iter().any(|(_, perform)| forgets(perform)).then(|| group.clone());
        let wish = ForgetWish::default();
        permit(&mut group, &ForgetPermit::Asked(wish.clone()));
        match (self.append(group), again) {
            (Err(Error::Conflict(_)), Some(again)) if wish.is_said() => self.perform_alone(again),
            (Ok(outcome), Some(again)) if outcome.repeated => {
                // The first time may have ended before all was done.
                if !forgotten_by(&outcome)?.is_empty() {
                    let _alone = self.forgetting_until(&again.cancel)?;
                    self.forget_appended(&outcome, &again.cancel)?;
                }
                Ok(outcome)
            }
            (outcome, _) => outcome,
        }
    }

    /// The same of what forgets somebody.
    fn perform_alone(&self, mut group: AppendRequest) -> Result<AppendOutcome> {
        self.check_forgettable()?;
        let cancel = group.cancel.clone();
        let _alone = self.forgetting_until(&cancel)?;
        permit(&mut group, &ForgetPermit::Given);
        let outcome = self.append(group)?;
        self.forget_appended(&outcome, &cancel)?;
        Ok(outcome)
    }
}

fn permit(group: &mut AppendRequest, may: &ForgetPermit) {
    group.performs.iter_mut().for_each(|(_, perform)| perform.may_forget = may.clone());
}

/// Who is forgotten, and where that is said.
fn forgotten_by(outcome: &AppendOutcome) -> Result<Vec<String>> {
    let mut forgotten = Vec::new();
    for (position, bytes) in &outcome.events {
        let record = Record::open(*position, bytes)?;
        if record.kind() == FORGOTTEN {
            let target = record.target().map_or("", |target| target.id);
            forgotten.push(format!("{target} is forgotten from {position} on"));
        }
    }
    Ok(forgotten)
}
