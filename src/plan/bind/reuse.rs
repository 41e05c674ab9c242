//! Statements that are bound once: a `FIND` whose names mean the same whatever the log holds and whatever is defined, so that only the
//! values of its parameters and the head are to be put in again.
//!
//! What is remembered holds nothing of a snapshot: how its entities are come by is chosen each time, by what is defined then. Where binding
//! looked at anything of the log but its head, or asked for a value elsewhere than beside a field that holds whatever data says, it is not
//! remembered, and bound each time.

use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, PoisonError};

use super::{BindInput, Binder, Names};
use crate::error::Result;
use crate::lang::ast::{Clauses, Expr, ExprKind, Name};
use crate::plan::expr::{BoundExpr, Constant, Predicate};
use crate::plan::field::Field;
use crate::plan::find::FindQuery;
use crate::plan::logical::{LogicalPlan, LogicalRead};
use crate::value::Value;

/// What one statement was bound to last, where that can be asked again. Nobody waits for more than a pointer to be taken.
#[derive(Debug, Default)]
pub(crate) struct BoundOnce(Mutex<Option<Arc<BoundFind>>>);

/// A `FIND` that was bound.
#[derive(Debug)]
struct BoundFind {
    query: FindQuery,
    slots: Vec<ValueSlot>,
}

/// Where the value of a parameter is in its condition: the steps from the whole to it.
#[derive(Debug)]
struct ValueSlot {
    name: String,
    /// A value of another sort may be bound otherwise, or refused.
    sort: Discriminant<Value>,
    steps: Vec<usize>,
}

impl BoundOnce {
    /// Binds a `FIND`, or puts other values into what it was bound to before.
    pub fn find(
        &self,
        kind: &Name,
        clauses: &Clauses,
        input: BindInput,
        names: Names,
    ) -> Result<LogicalPlan> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(query) = known.and_then(|known| known.with(&input, names)) {
            let as_of = Some(query.window.through);
            let read = LogicalRead::Find(Box::new(query));
            return Ok(LogicalPlan::Read { read, notices: Vec::new(), as_of, raw: false });
        }
        let binder = Binder::new(input, Some(names));
        let query = binder.find(kind, clauses)?;
        if let Some(bound) = BoundFind::of(&binder, clauses, &query) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(bound));
        }
        let (notices, as_of, raw) = (binder.notices.take(), binder.as_of.get(), binder.raw.get());
        Ok(LogicalPlan::Read { read: LogicalRead::Find(Box::new(query)), notices, as_of, raw })
    }

    #[cfg(test)]
    pub fn is_known(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }
}

impl BoundFind {
    /// What was bound, if it can be asked again.
    fn of(binder: &Binder, clauses: &Clauses, query: &FindQuery) -> Option<BoundFind> {
        let is_of_now = query.at.is_none() && query.as_of.is_none();
        // Its conditions are in several places.
        if query.unnest.is_some() {
            return None;
        }
        if binder.looked_at_log.get() || !is_of_now || binder.raw.get() || !binder.notices.borrow().is_empty()
        {
            return None;
        }
        let mut slots = Vec::new();
        if let (Some(said), Some(predicate)) = (&clauses.filter, &query.predicate) {
            find_slots(said, &predicate.node, &mut Vec::new(), &mut slots)?;
        }
        // A value that was asked for elsewhere has no slot.
        let asked = usize::try_from(binder.parameters_taken.get()).ok()?;
        if slots.len() != asked {
            return None;
        }
        let mut query = query.clone();
        // A value may be large, and somebody's own: it does not stay.
        for slot in &slots {
            *slot.find(&mut query.predicate.as_mut()?.node)? = Value::Null;
        }
        Some(BoundFind { query, slots })
    }

    /// The same with these values and up to this head; none where a value is missing or of another sort.
    fn with(&self, input: &BindInput, names: Names) -> Option<FindQuery> {
        let mut query = self.query.clone();
        query.window.through = names.head();
        for slot in &self.slots {
            let value = input.parameters.get(&slot.name).filter(|value| discriminant(*value) == slot.sort)?;
            let Predicate { node, .. } = query.predicate.as_mut()?;
            *slot.find(node)? = value.clone();
        }
        Some(query)
    }
}

impl ValueSlot {
    fn find<'n>(&self, mut node: &'n mut BoundExpr) -> Option<&'n mut Value> {
        for step in &self.steps {
            node = operand(node, *step)?;
        }
        match node {
            BoundExpr::Constant(Constant::Value(value)) => Some(value),
            _ => None,
        }
    }
}

/// An operand of a node, by its place.
fn operand(node: &mut BoundExpr, at: usize) -> Option<&mut BoundExpr> {
    match node {
        BoundExpr::And(terms) | BoundExpr::Or(terms) => terms.get_mut(at),
        BoundExpr::Not(inner) => (at == 0).then_some(inner),
        BoundExpr::Compare { left, right, .. } => [left, right].into_iter().nth(at).map(|node| &mut **node),
        BoundExpr::Between { subject, low, high } => {
            [subject, low, high].into_iter().nth(at).map(|node| &mut **node)
        }
        BoundExpr::In { subject, items } => match at.checked_sub(1) {
            None => Some(subject),
            Some(at) => items.get_mut(at),
        },
        _ => None,
    }
}

/// Finds where the parameters of a condition are in what it was bound to; none where that is not of the same form.
fn find_slots(
    said: &Expr,
    bound: &BoundExpr,
    steps: &mut Vec<usize>,
    slots: &mut Vec<ValueSlot>,
) -> Option<()> {
    let mut each = |pairs: Vec<(&Expr, &BoundExpr)>, steps: &mut Vec<usize>| {
        for (at, (said, bound)) in pairs.into_iter().enumerate() {
            steps.push(at);
            find_slots(said, bound, steps, slots)?;
            steps.pop();
        }
        Some(())
    };
    match (&said.kind, bound) {
        (ExprKind::And(said), BoundExpr::And(bound)) | (ExprKind::Or(said), BoundExpr::Or(bound)) => {
            (said.len() == bound.len()).then_some(())?;
            each(said.iter().zip(bound).collect(), steps)
        }
        (ExprKind::Not(said), BoundExpr::Not(bound)) => each(vec![(said, bound)], steps),
        (ExprKind::Compare { left, right, .. }, BoundExpr::Compare { left: to, right: with, .. }) => {
            compared(&[(&**left, &**to), (&**right, &**with)], steps, slots)
        }
        (
            ExprKind::Between { subject, negated: false, low, high },
            BoundExpr::Between { subject: of, low: from, high: to },
        ) => compared(&[(&**subject, &**of), (&**low, &**from), (&**high, &**to)], steps, slots),
        (ExprKind::In { subject, negated: false, items }, BoundExpr::In { subject: of, items: among }) => {
            (items.len() == among.len()).then_some(())?;
            let mut pairs: Vec<(&Expr, &BoundExpr)> = vec![(&**subject, &**of)];
            pairs.extend(items.iter().zip(among));
            compared(&pairs, steps, slots)
        }
        // What has parameters here has no slot for them: whoever counts them finds that.
        _ => Some(()),
    }
}

/// Values beside a field of the state, which may hold anything, are bound as they are.
fn compared(pairs: &[(&Expr, &BoundExpr)], steps: &[usize], slots: &mut Vec<ValueSlot>) -> Option<()> {
    let is_plain = |bound: &BoundExpr| {
        matches!(bound, BoundExpr::Field(Field::State(_)) | BoundExpr::Constant(Constant::Value(_)))
    };
    if !pairs.iter().all(|(_, bound)| is_plain(bound)) {
        return Some(());
    }
    for (at, (said, bound)) in pairs.iter().enumerate() {
        if let (ExprKind::Param(param), BoundExpr::Constant(Constant::Value(value))) = (&said.kind, *bound) {
            let steps = steps.iter().copied().chain([at]).collect();
            slots.push(ValueSlot { name: param.name.clone(), sort: discriminant(value), steps });
        }
    }
    Some(())
}
