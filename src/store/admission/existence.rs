//! `EXPECT EXISTS` and `EXPECT ABSENT`: whether an entity has a state, as of what is staged.

use std::sync::Arc;

use super::{Admission, AdmissionBatch};
use crate::entity::{Entity, Position, PositionRange};
use crate::error::Result;
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::store::index::term::Term;
use crate::store::snapshot::{PostingList, ScanDirection};
use crate::store::state::fold::{Effect, Fold, Plain};

/// The newest event that says whether there is a state.
#[derive(Debug)]
pub(super) struct Existence {
    pub position: Position,
    pub makes: bool,
}

impl Admission<'_> {
    /// The newest of an entity's events, its own and those that are included, that makes a state or ends it: those that do neither are
    /// passed over. None if there is no such event. Those from `before` on do not count. `last` is the newest of its own that does, staged
    /// or not; 0 if there is none.
    pub(super) fn last_of_state(
        self,
        batch: &AdmissionBatch,
        target: &Entity,
        last: Position,
        before: Position,
    ) -> Result<Option<Existence>> {
        let fold: Arc<dyn Fold> = match batch.catalog.model(target.kind()) {
            Some(model) => model.fold()?.clone(),
            None => Arc::new(Plain),
        };
        let decides = |position: Position, includes: &[(Term, &Pattern)]| -> Result<Option<Existence>> {
            let bytes = self.stored(batch, position)?;
            let event = Record::open(position, &bytes)?;
            let own = event.target().is_some_and(|of| (of.kind, of.id) == (target.kind(), target.id()));
            if !own && !includes.iter().any(|(_, on)| on.matches_text(event.kind())) {
                return Ok(None);
            }
            Ok(match fold.effect(event.kind(), own) {
                Effect::Makes => Some(Existence { position, makes: true }),
                Effect::Deletes => Some(Existence { position, makes: false }),
                Effect::Nothing => None,
            })
        };
        // Nearly always the newest of its own tells, and nothing needs to be looked for.
        if fold.includes().is_empty() {
            if last == Position::START {
                return Ok(None);
            }
            if let Some(deciding) = decides(last, &[])? {
                return Ok(Some(deciding));
            }
        }
        let own = Term::entity(target)?;
        let mut includes = Vec::new();
        for include in fold.includes() {
            let terms = Term::tags_of_id(&include.tag, target.id());
            includes.extend(terms.into_iter().map(|term| (term, &include.on)));
        }
        let is_of = |term: &Term| *term == own || includes.iter().any(|(tag, _)| tag == term);
        let first = batch.first_staged();
        let staged = PositionRange::new(first, batch.next.previous());
        let newest_first = batch.staged.iter().rev().zip(staged.iter().rev());
        for (staged, position) in newest_first.skip(batch.next.since(before) as usize) {
            if staged.terms.iter().any(is_of)
                && let Some(deciding) = decides(position, &includes)?
            {
                return Ok(Some(deciding));
            }
        }
        let committed = self.kernel.snapshot();
        let logged = PositionRange::through(first.previous());
        let list = |term: &Term| committed.list(term.clone(), logged, ScanDirection::Descending).peekable();
        let mut lists: Vec<std::iter::Peekable<PostingList>> =
            std::iter::once(&own).chain(includes.iter().map(|(term, _)| term)).map(list).collect();
        loop {
            let mut newest = None;
            for list in &mut lists {
                if let Some(found) = list.peek() {
                    newest = newest.max(Some(found.clone()?));
                }
            }
            let Some(newest) = newest else { return Ok(None) };
            if let Some(deciding) = decides(newest, &includes)? {
                return Ok(Some(deciding));
            }
            for list in &mut lists {
                list.next_if(|found| matches!(found, Ok(position) if *position == newest));
            }
        }
    }
}
