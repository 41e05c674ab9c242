//! A trial: the admission of a commit, into a batch that nobody appends. It tells what would become of a group, and why.
//!
//! Nothing outside of the batch is changed: ids are of a source of its own, no index is marked, and what verbs looked at is forgotten.

use std::cell::RefCell;

use super::{Admission, AdmissionBatch};
use crate::entity::Entity;
use crate::error::{Result, Witness};
use crate::event::{Event, Expect, codec};
use crate::store::append_request::AppendOutcome;

/// What would become of a group, were it committed now.
#[derive(Debug)]
pub(crate) struct Trial {
    /// What was looked at on the way, in order.
    pub told: Vec<AdmissionStep>,
    pub outcome: Result<AppendOutcome>,
}

/// A step of an admission.
#[derive(Debug)]
pub(crate) enum AdmissionStep {
    /// All before it is expected of the group as a whole.
    Group,
    /// What is expected of an entity, which has so many events, the last of them of a type.
    Expect { expect: Expect, target: Option<Entity>, holds: bool, count: u64, last: Option<String> },
    /// What there must not be, and what there is of it.
    Absence { condition: String, found: Option<Witness> },
    /// How a verb decides, in words.
    Decided(Vec<String>),
    /// An event that would be.
    Event(Box<Event>),
}

/// What a batch tells of its admission, where that is asked.
#[derive(Debug, Default)]
pub(in crate::store) struct TrialTrace(Option<RefCell<Vec<AdmissionStep>>>);

impl TrialTrace {
    /// One that tells.
    pub fn begun() -> TrialTrace {
        TrialTrace(Some(RefCell::default()))
    }

    /// What was told.
    pub fn told(self) -> Vec<AdmissionStep> {
        self.0.map(RefCell::into_inner).unwrap_or_default()
    }

    /// Whether the batch is one that nobody appends.
    pub fn is_trial(&self) -> bool {
        self.0.is_some()
    }

    /// Tells a step, which is made where it is asked for.
    pub fn tell(&self, step: impl FnOnce() -> Result<AdmissionStep>) -> Result<()> {
        if let Some(told) = &self.0 {
            let step = step()?;
            told.borrow_mut().push(step);
        }
        Ok(())
    }

    /// How much was told.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |told| told.borrow().len())
    }

    /// Forgets what was told behind so much.
    pub fn truncate(&self, len: usize) {
        if let Some(told) = &self.0 {
            told.borrow_mut().truncate(len);
        }
    }
}

impl Admission<'_> {
    /// Tells of what was staged last.
    pub(super) fn tell_event(self, batch: &AdmissionBatch) -> Result<()> {
        batch.teller.tell(|| {
            let position = batch.next.previous();
            Ok(AdmissionStep::Event(Box::new(codec::decode(position, self.stored(batch, position)?)?)))
        })
    }
}
