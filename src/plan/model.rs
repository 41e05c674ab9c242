//! What is defined of the entities of a kind, with its names looked up.

use std::collections::HashMap;

use super::expr::BoundExpr;
use super::field::{Field, FieldStep};
use crate::pattern::Pattern;
use crate::store::state::fold::{EVERY, Include};

/// What events make of the states of a kind of entities, as it was defined.
#[derive(Debug, Clone)]
pub(crate) struct BoundModel {
    pub kind: String,
    pub namespace: Option<String>,
    /// What the first event, or the first after a deletion, folds onto; an object without members where nothing was said.
    pub initial: BoundExpr,
    /// After how many events another snapshot is kept.
    pub every: u64,
    pub includes: Vec<Include>,
    /// The first that matches wins.
    pub rules: Vec<FoldRule>,
    /// What none of the rules is about; without it, as where nothing is defined.
    pub otherwise: Option<FoldChange>,
    /// What stands in the places of what an event makes of its forgotten fields.
    pub forgotten: Vec<Assignment>,
}

/// `ON happening change`.
#[derive(Debug, Clone)]
pub(crate) struct FoldRule {
    /// The whole type, or what follows the kind.
    pub on: Pattern,
    pub change: FoldChange,
}

/// What an event makes of a state.
#[derive(Debug, Clone)]
pub(crate) enum FoldChange {
    Merge,
    Ignore,
    Delete,
    Set(Vec<Assignment>),
}

/// `path = expr`.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    /// In the state; never empty.
    pub path: Vec<FieldStep>,
    pub value: BoundExpr,
    /// As it is written.
    pub text: String,
    /// No other assignment of its rule is about the same member of the state.
    pub alone: bool,
}

impl Assignment {
    /// Tells each assignment of a rule whether it is alone with its member.
    pub fn tell_alone(assigns: &mut [Assignment]) {
        let mut counts: HashMap<Option<FieldStep>, usize> = HashMap::new();
        for assign in &*assigns {
            *counts.entry(assign.path.first().cloned()).or_default() += 1;
        }
        for assign in assigns {
            assign.alone = counts.get(&assign.path.first().cloned()) == Some(&1);
        }
    }

    /// Whether it goes on from what the state has in its place, as a sum does: `total = state.total + …`.
    pub fn goes_on(&self) -> bool {
        self.value.any(&mut |part| match part {
            BoundExpr::Field(Field::State(from)) => {
                from.starts_with(&self.path) || self.path.starts_with(from)
            }
            _ => false,
        })
    }

    /// What it puts behind the list that it sets: `items = append(state.items, x, …)`. It needs no other list then.
    pub fn appends(&self) -> Option<&[BoundExpr]> {
        let BoundExpr::Call { function, arguments } = &self.value else { return None };
        let (list, more) = arguments.split_first().filter(|_| function.name == "append")?;
        (*list == BoundExpr::Field(Field::State(self.path.clone()))).then_some(more)
    }
}

impl BoundModel {
    /// Of a kind, without a rule.
    pub fn new(kind: &str) -> BoundModel {
        BoundModel {
            kind: kind.to_owned(),
            namespace: None,
            initial: BoundExpr::Object(Vec::new()),
            every: EVERY,
            includes: Vec::new(),
            rules: Vec::new(),
            otherwise: None,
            forgotten: Vec::new(),
        }
    }
}
