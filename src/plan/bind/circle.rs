//! Circles: reactions that set each other off.
//!
//! That is no fault, for a WHERE may end it; but whoever closes one is told.

use std::collections::{HashSet, VecDeque};

use super::Binder;
use crate::entity::{EventType, NameText};
use crate::error::Result;
use crate::plan::reaction::ReactionPlan;
use crate::store::catalog::{Catalog, Flow, ProgramKind};

/// So many reactions are gone through, and so many times one is looked at, to find a circle: a longer one is ended by how deep and how
/// broad reactions may follow from each other.
const REACTIONS: usize = 64;
const LOOKS: usize = 100_000;

impl Binder<'_> {
    /// Tells of a circle that a reaction closes, with the ones that there are.
    pub(super) fn tell_circle(&self, reaction: &ReactionPlan) -> Result<()> {
        let catalog = self.names()?.catalog();
        if let Some(way) = circle(catalog, &reaction.name, &reaction.flow()) {
            let (first, others) = (NameText(&reaction.name), &way[..way.len() - 1]);
            let others: Vec<String> =
                others.iter().map(|(kind, name)| format!("{kind} to {}", NameText(name))).collect();
            let back = way.last().map(|(kind, _)| kind.to_string()).unwrap_or_default();
            self.notice(format!(
                "reactions go round in a circle: from {first} by {}, and by {back} back to {first}; only a WHERE or UNLESS ends that",
                others.join(", by ")
            ));
        }
        Ok(())
    }
}

/// By which events, and over which reactions, what one makes comes back to it; none if it does not, or at once.
fn circle(catalog: &Catalog, name: &str, flow: &Flow) -> Option<Vec<(EventType, String)>> {
    // Who was come to: from which one before, by which event.
    let mut ways: Vec<(Option<usize>, EventType, String)> = Vec::new();
    let mut known = HashSet::from([name]);
    let mut open: VecDeque<(Option<usize>, &Flow)> = VecDeque::from([(None, flow)]);
    let mut looks = 0;
    while let Some((from, made_by)) = open.pop_front() {
        for kind in made(catalog, made_by) {
            if from.is_some() && is_on(flow, &kind) {
                let mut way = vec![(kind, name.to_owned())];
                let mut at = from;
                while let Some((before, kind, reaction)) = at.and_then(|at| ways.get(at)) {
                    way.push((kind.clone(), reaction.clone()));
                    at = *before;
                }
                way.reverse();
                return Some(way);
            }
            for program in catalog.programs().filter(|program| program.kind == ProgramKind::Reaction) {
                looks += 1;
                if looks > LOOKS || known.len() > REACTIONS {
                    return None;
                }
                if is_on(&program.flow, &kind) && known.insert(&program.name) {
                    ways.push((from, kind.clone(), program.name.clone()));
                    open.push_back((Some(ways.len() - 1), &program.flow));
                }
            }
        }
    }
    None
}

fn is_on(flow: &Flow, kind: &EventType) -> bool {
    flow.on.as_ref().is_some_and(|on| on.matches_text(kind.as_str()))
}

/// The types that a reaction makes, by itself and by verbs.
fn made(catalog: &Catalog, flow: &Flow) -> Vec<EventType> {
    let verbs = flow.performs.iter().filter_map(|verb| catalog.verb(verb)?.rule().ok());
    let mut types: Vec<EventType> =
        flow.emits.iter().cloned().chain(verbs.flat_map(|rule| rule.types())).collect();
    types.dedup();
    types
}
