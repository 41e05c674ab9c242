//! `BLAME`: for each leaf of a state the event that last changed it.
//!
//! It is worked out by comparing the states before and after each event, so it holds whatever rule made them, and what is
//! kept is as large as the state: a [`Blamed`] beside it, of the positions. Only the events that are blamed are read once more.

use std::collections::HashMap;

use serde::Serialize;

use super::array_diff::{ArrayDiff, ItemOrigin};
use super::budget::{Budget, ENTRY};
use super::fold::{self, FoldEvents};
use super::path::StatePath;
use super::result::{QueryResult, Row};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::plan;
use crate::store::snapshot::Snapshot;
use crate::store::state::fold::{Folded, TouchedPaths};
use crate::store::state::state_cache::weight;
use crate::time::Timestamp;
use crate::value::Value;

/// A leaf of a state, and the event that last changed it. An event that sets what is set already changes nothing.
///
/// Leaves are texts, numbers, booleans, nulls, and arrays and objects that are empty. Items of an array that only moved, because
/// others were added or taken away, are not changed by that.
///
/// Serializes as `{"path","value","event"}`.
///
/// ```
/// use bygone::{Db, Row};
/// let db = Db::in_memory()?;
/// db.query("EMIT Order.created 42 {total: 10, note: 'fast'}")?;
/// db.query("EMIT Order.noted 42 {total: 10, note: 'slow'}")?;
/// let mut blamed = Vec::new();
/// for row in db.query("BLAME Order 42")?.rows {
///     let Row::Blame(leaf) = row? else { continue };
///     blamed.push(format!("{} = {}: {}", leaf.path, leaf.value, leaf.event.kind));
/// }
/// assert_eq!(blamed, ["total = 10: Order.created", r#"note = "slow": Order.noted"#]);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlameEntry {
    /// Where in the state; empty if the whole state is an object without members.
    pub path: StatePath,
    /// What is there.
    pub value: Value,
    /// Since what happened.
    pub event: Event,
    /// When that is looked at: the time that was asked about, or now. It is not part of the JSON.
    #[serde(skip)]
    pub seen: Timestamp,
}

/// `BLAME`.
pub(super) fn answer(snapshot: &Snapshot, plan: &plan::BlamePlan) -> Result<QueryResult> {
    let (replay, ahead) = &fold::of_now(snapshot, &plan.replay)?;
    let (fold, limits) = (snapshot.fold_of(replay.entity.kind())?, snapshot.limits());
    // The same events make the same state. So the one before is folded apart, an event behind, and nothing is copied.
    let (mut before, mut after) = (Folded::default(), Folded::default());
    let mut blamed = Blamed::Leaf(0);
    let mut held = BlameState { budget: Budget::new(snapshot, "BLAME"), weight: 0, since: 0 };
    for event in FoldEvents::all(snapshot, replay, &fold)? {
        let event = event?;
        let record = event.record()?;
        after.add(&*fold, &record, event.own, &limits)?;
        // So the work is that of what happened, and not of all that there is each time.
        let touched = fold.touches(&record, event.own);
        blamed.update_touched(&before.state, &after.state, &touched, event.position.0);
        before.add(&*fold, &record, event.own, &limits)?;
        held.grow(event.bytes.len(), &after.state)?;
        snapshot.go_on()?;
    }
    after.check(&replay.entity)?;
    if let Some(none) = fold::why_none(snapshot, replay, &after)? {
        let notices = std::iter::once(none.notice(&replay.entity)).chain(ahead.clone()).collect();
        return Ok(QueryResult { notices, ..QueryResult::done() });
    }
    let at = format!("{} is at {}", replay.entity, fold::place(&after));
    let mut notices: Vec<String> = std::iter::once(at).chain(ahead.clone()).collect();
    let mut leaves = Vec::new();
    let of = plan.of.as_ref().map(StatePath::from).unwrap_or_default();
    blamed.leaves(after.state, &mut StatePath::default(), &mut |leaf: Leaf| {
        if !leaf.0.is_within(&of) {
            return Ok(());
        }
        held.budget.take(ENTRY + leaf.0.held())?;
        leaves.push(leaf);
        if leaves.len().is_multiple_of(1024) { snapshot.go_on() } else { Ok(()) }
    })?;
    if let (true, Some(of)) = (leaves.is_empty(), &plan.of) {
        notices.push(format!("there is no {of} in it"));
    }
    let (snapshot, seen) = (snapshot.clone(), plan.seen);
    // Leaves that stand together are mostly of one event.
    let mut newest: Option<Event> = None;
    let rows = leaves.into_iter().map(move |(path, value, position)| {
        let event = match newest.take().filter(|event| event.position == position) {
            Some(event) => event,
            None => snapshot.event(position)?.ok_or_else(|| gone(position))?,
        };
        newest = Some(event.clone());
        Ok(Row::Blame(BlameEntry { path, value, event, seen }))
    });
    Ok(QueryResult { notices, ..QueryResult::rows(rows) })
}

/// A leaf of a state, and the event to blame.
type Leaf = (StatePath, Value, Position);

/// What is held while the events are gone through: the state before and after, and the tree beside them.
struct BlameState {
    budget: Budget,
    /// How much the state weighed when it was weighed last, and what was folded since.
    weight: usize,
    since: usize,
}

impl BlameState {
    /// A state is weighed again once it may have become twice as heavy, so that weighing takes no longer than folding.
    fn grow(&mut self, bytes: usize, state: &Value) -> Result<()> {
        self.since += bytes;
        if self.since < self.weight {
            return Ok(());
        }
        self.budget.give(3 * self.weight);
        (self.weight, self.since) = (weight(state), 0);
        self.budget.take(3 * self.weight)
    }
}

fn gone(position: Position) -> Error {
    Error::corrupt(format!("the event {position}"), "it was folded, and cannot be found")
}

/// The position of the event to blame for each leaf of a state: a tree like the state's.
#[derive(Debug, PartialEq)]
enum Blamed {
    /// What has no parts.
    Leaf(u64),
    Array(Vec<Blamed>),
    Object(HashMap<String, Blamed>),
}

impl Blamed {
    /// One event for all of it.
    fn on(position: u64, value: &Value) -> Blamed {
        match value {
            Value::Array(items) if !items.is_empty() => {
                Blamed::Array(items.iter().map(|item| Blamed::on(position, item)).collect())
            }
            Value::Object(members) if !members.is_empty() => Blamed::Object(
                members.iter().map(|(name, value)| (name.clone(), Blamed::on(position, value))).collect(),
            ),
            _ => Blamed::Leaf(position),
        }
    }

    /// As [`update`](Blamed::update), where it is known what of the value may be another now.
    fn update_touched(&mut self, before: &Value, after: &Value, touched: &TouchedPaths, position: u64) {
        match (&mut *self, before, after, touched) {
            (
                Blamed::Object(blamed),
                Value::Object(old),
                Value::Object(new),
                TouchedPaths::Members(touched),
            ) if !new.is_empty() => {
                for (name, touched) in touched {
                    match (old.get(name), new.get(name), blamed.get_mut(name)) {
                        (_, None, _) => drop(blamed.remove(name)),
                        (Some(before), Some(after), Some(blamed)) => {
                            blamed.update_touched(before, after, touched, position);
                        }
                        (_, Some(after), _) => {
                            drop(blamed.insert(name.clone(), Blamed::on(position, after)));
                        }
                    }
                }
            }
            (Blamed::Array(blamed), Value::Array(old), Value::Array(new), TouchedPaths::End)
                if blamed.len() == old.len() =>
            {
                blamed.extend(new.iter().skip(old.len()).map(|item| Blamed::on(position, item)));
            }
            _ => self.update(before, after, position),
        }
    }

    /// An event made one value of the other: it is to blame for what is not the same.
    fn update(&mut self, before: &Value, after: &Value, position: u64) {
        match (self, before, after) {
            (Blamed::Object(blamed), Value::Object(old), Value::Object(new)) if !new.is_empty() => {
                blamed.retain(|name, _| new.contains_key(name));
                for (name, value) in new {
                    match (old.get(name), blamed.get_mut(name)) {
                        (Some(before), Some(blamed)) => blamed.update(before, value, position),
                        _ => drop(blamed.insert(name.clone(), Blamed::on(position, value))),
                    }
                }
            }
            (Blamed::Array(blamed), Value::Array(old), Value::Array(new)) if !new.is_empty() => {
                let alignment = ArrayDiff::of(old, new);
                if alignment.is_same() {
                    return;
                }
                let mut was: Vec<Option<Blamed>> = std::mem::take(blamed).into_iter().map(Some).collect();
                let now = new.iter().zip(alignment.made()).map(|(value, made)| {
                    let ItemOrigin::Of(from) = made else { return Blamed::on(position, value) };
                    // Each old item becomes one new one at most.
                    match (was.get_mut(from).and_then(Option::take), old.get(from)) {
                        (Some(mut blamed), Some(before)) => {
                            blamed.update(before, value, position);
                            blamed
                        }
                        _ => Blamed::on(position, value),
                    }
                });
                *blamed = now.collect();
            }
            (_, before, after) if before == after => {}
            (blamed, _, after) => *blamed = Blamed::on(position, after),
        }
    }

    /// The leaves of a value with the events to blame, in the order of the value.
    fn leaves(
        self,
        value: Value,
        path: &mut StatePath,
        each: &mut impl FnMut(Leaf) -> Result<()>,
    ) -> Result<()> {
        match (self, value) {
            (Blamed::Leaf(position), value) => each((path.clone(), value, Position(position))),
            (Blamed::Array(blamed), Value::Array(items)) => {
                let mut items = blamed.into_iter().zip(items).enumerate();
                items.try_for_each(|(index, (blamed, item))| {
                    path.in_item(index, |path| blamed.leaves(item, path, each))
                })
            }
            (Blamed::Object(mut blamed), Value::Object(members)) => {
                for (name, value) in members {
                    if let Some(blamed) = blamed.remove(&name) {
                        path.in_member(&name, |path| blamed.leaves(value, path, each))?;
                    }
                }
                Ok(())
            }
            // The trees are alike: there is nothing else.
            (Blamed::Array(_) | Blamed::Object(_), _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The leaves after states that events 1, 2, 3 … made, each with the event to blame.
    fn blamed(states: &[&str]) -> String {
        let mut blamed = Blamed::Leaf(0);
        let mut before = Value::Null;
        for (state, position) in states.iter().zip(1..) {
            let after: Value = state.parse().unwrap();
            blamed.update(&before, &after, position);
            before = after;
        }
        let mut leaves = Vec::new();
        let each = &mut |leaf: Leaf| {
            leaves.push(leaf);
            Ok(())
        };
        blamed.leaves(before, &mut StatePath::default(), each).unwrap();
        let told = leaves.into_iter().map(|(path, value, position)| format!("{path}={value}:{}", position.0));
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whoever_changed_it_last_is_blamed() {
        for (states, expected) in [
            (&[r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{"a":1,"b":{"c":5,"d":3}}"#][..], "a=1:1 b.c=5:2 b.d=3:1"),
            // The same value again changes nothing; one that came back does.
            (&[r#"{"a":1}"#, r#"{"a":1}"#], "a=1:1"),
            (&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#], "a=1:3"),
            (&[r#"{"a":1}"#, "{}", r#"{"a":1}"#], "a=1:3"),
            // What is empty is a leaf.
            (&[r#"{"a":[1],"b":{"c":1}}"#, r#"{"a":[],"b":{}}"#, r#"{"a":[],"b":{}}"#], "a=[]:2 b={}:2"),
            (&["{}", "{}"], "={}:1"),
            (&["{}", r#"{"a":1}"#, "{}"], "={}:3"),
            // Another kind of value.
            (&[r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#], "a[0]=1:2"),
            (&[r#"{"a":1}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":2}}"#], "a.b=1:2 a.c=2:3"),
            // After a deletion all is new.
            (&[r#"{"a":1}"#, "null", r#"{"a":1}"#], "a=1:3"),
            // Items that only moved.
            (&[r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, r#"{"a":[0,1,2]}"#], "a[0]=0:3 a[1]=1:1 a[2]=2:2"),
            (&[r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, r#"{"a":[2]}"#], "a[0]=2:2"),
            (
                &[r#"{"a":[{"n":1,"m":1},{"n":2}]}"#, r#"{"a":[{"n":1,"m":5},{"n":2}]}"#],
                "a[0].n=1:1 a[0].m=5:2 a[1].n=2:1",
            ),
            // Members in another order are the same.
            (&[r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#], "b=2:1 a=1:1"),
        ] {
            assert_eq!(blamed(states), expected, "{states:?}");
        }
    }

    /// Values of which many are objects with the same few members.
    fn like() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), (0..3i64).prop_map(Value::Int)];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                3 => prop::collection::vec(("[abc]", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_not_touched_need_not_be_compared(patches in prop::collection::vec(like(), 1..8)) {
            let (mut whole, mut touched, mut before) = (Blamed::Leaf(0), Blamed::Leaf(0), Value::Null);
            for (patch, position) in patches.into_iter().zip(1..) {
                let mut after = before.clone();
                after.merge(patch.clone());
                whole.update(&before, &after, position);
                touched.update_touched(&before, &after, &TouchedPaths::by_merging(&patch), position);
                prop_assert_eq!(&whole, &touched);
                before = after;
            }
        }
    }

    #[test]
    fn what_is_put_behind_a_list_is_all_that_is_new() {
        let (mut whole, mut touched) = (Blamed::Leaf(0), Blamed::Leaf(0));
        let mut end = TouchedPaths::nothing();
        end.add(["items"].into_iter(), TouchedPaths::End);
        let states: Vec<Value> = [
            "{\"items\":[]}",
            "{\"items\":[1]}",
            "{\"items\":[1,{\"n\":2}]}",
            "{\"items\":[1,{\"n\":2},1,1]}",
        ]
        .map(|state| state.parse().unwrap())
        .into();
        let mut before = Value::Null;
        for (after, position) in states.into_iter().zip(1..) {
            whole.update(&before, &after, position);
            touched.update_touched(&before, &after, &end, position);
            assert_eq!(whole, touched);
            before = after;
        }
    }
}
