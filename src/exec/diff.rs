//! `DIFF`: the difference of two states, as JSON Patch (RFC 6902).

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::array_diff::{ArrayDiff, ItemOrigin};
use super::fold;
use super::path::StatePath;
use super::result::{QueryResult, Row};
use crate::error::Result;
use crate::plan::ReplayPlan;
use crate::store::snapshot::Snapshot;
use crate::value::Value;

/// One operation of what makes one state of another.
///
/// Serializes as that operation of JSON Patch (RFC 6902), `{"op","path","value"}` with a JSON pointer; carried out in their
/// order, the changes make the later state of the earlier one.
///
/// ```
/// use bygone::read::ChangeKind;
/// use bygone::{Db, Row};
/// let db = Db::in_memory()?;
/// db.query("EMIT Order.created 42 {total: 10}")?;
/// db.query("EMIT Order.noted 42 {total: 20}")?;
/// let mut rows = db.query("DIFF Order 42 FROM VERSION 1")?.rows;
/// let Some(Row::Change(change)) = rows.next().transpose()? else { panic!("a change") };
/// assert_eq!((change.kind, change.path.to_string().as_str()), (ChangeKind::Replace, "total"));
/// assert_eq!((change.before, change.value), (Some(10.into()), Some(20.into())));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StateChange {
    /// What is done.
    pub kind: ChangeKind,
    /// Where.
    pub path: StatePath,
    /// What stood there; none where it is added. It is not part of the JSON.
    pub before: Option<Value>,
    /// What stands there then; none where it is removed.
    pub value: Option<Value>,
}

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A member, or an item before the one that is there.
    Add,
    /// A member or an item is taken away; the items behind it move up.
    Remove,
    /// What is there becomes another.
    Replace,
}

impl fmt::Display for ChangeKind {
    /// As JSON Patch names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChangeKind::Add => "add",
            ChangeKind::Remove => "remove",
            ChangeKind::Replace => "replace",
        })
    }
}

impl Serialize for StateChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("op", &self.kind.to_string())?;
        map.serialize_entry("path", &self.path.pointer())?;
        if let Some(value) = &self.value {
            map.serialize_entry("value", value)?;
        }
        map.end()
    }
}

/// `DIFF`.
pub(super) fn answer(snapshot: &Snapshot, from: &ReplayPlan, to: &ReplayPlan) -> Result<QueryResult> {
    let (mut notices, mut reasons) = (Vec::new(), Vec::new());
    let (to, ahead) = &fold::of_now(snapshot, to)?;
    let (before, after) = (fold::folded(snapshot, from)?, fold::folded(snapshot, to)?);
    for (word, folded, replay) in [("from", &before, from), ("to", &after, to)] {
        let point = match replay.at {
            Some(moment) if moment.is_start() => "the start".to_owned(),
            Some(moment) => moment.to_string(),
            None if ahead.is_some() => "now".to_owned(),
            None => "the newest".to_owned(),
        };
        notices.push(format!("{word} {point}: {}", fold::place(folded)));
        // There is nothing before the start: that needs no reason.
        if !replay.at.is_some_and(|moment| moment.is_start()) {
            reasons.extend(fold::why_none(snapshot, replay, folded)?.map(|none| none.notice(&replay.entity)));
        }
    }
    // Mostly there is one for both.
    reasons.dedup();
    notices.extend(reasons);
    notices.extend(ahead.clone());
    let changes = diff(&before.state, &after.state);
    if changes.is_empty() {
        notices.push(format!("no difference: {} is the same at both", to.entity));
    }
    Ok(QueryResult {
        notices,
        ..QueryResult::rows(changes.into_iter().map(|change| Ok(Row::Change(change))))
    })
}

/// What makes `after` of `before`.
pub(super) fn diff(before: &Value, after: &Value) -> Vec<StateChange> {
    let mut changes = Vec::new();
    compare(before, after, &mut StatePath::default(), &mut changes);
    changes
}

fn compare(before: &Value, after: &Value, path: &mut StatePath, changes: &mut Vec<StateChange>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old.iter().filter(|(name, _)| !new.contains_key(name)) {
                path.in_member(name, |path| changes.push(StateChange::new(path, Some(value), None)));
            }
            for (name, value) in new {
                path.in_member(name, |path| match old.get(name) {
                    Some(before) => compare(before, value, path, changes),
                    None => changes.push(StateChange::new(path, None, Some(value))),
                });
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let alignment = ArrayDiff::of(old, new);
            // From the last to the first, so that those still to be removed stand where they stood.
            for index in alignment.taken() {
                path.in_item(index, |path| changes.push(StateChange::new(path, Some(&old[index]), None)));
            }
            // From the first to the last: all before is as it is to be, so the next stands at its new index.
            for ((index, value), made) in new.iter().enumerate().zip(alignment.made()) {
                path.in_item(index, |path| match made {
                    ItemOrigin::Of(from) => compare(&old[from], value, path, changes),
                    ItemOrigin::Added => changes.push(StateChange::new(path, None, Some(value))),
                });
            }
        }
        (before, after) if before == after => {}
        (before, after) => changes.push(StateChange::new(path, Some(before), Some(after))),
    }
}

impl StateChange {
    fn new(path: &StatePath, before: Option<&Value>, value: Option<&Value>) -> StateChange {
        let kind = match (before, value) {
            (None, _) => ChangeKind::Add,
            (Some(_), None) => ChangeKind::Remove,
            (Some(_), Some(_)) => ChangeKind::Replace,
        };
        StateChange { kind, path: path.clone(), before: before.cloned(), value: value.cloned() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    #[test]
    fn a_difference_is_a_patch() {
        for (before, after, patch) in [
            ("{}", "{}", "[]"),
            ("null", r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"a":1}}]"#),
            (r#"{"a":1}"#, "null", r#"[{"op":"replace","path":"","value":null}]"#),
            (
                r#"{"a":1,"b":{"c":1,"d":2}}"#,
                r#"{"b":{"c":3,"e/f":[1]}}"#,
                r#"[{"op":"remove","path":"/a"},{"op":"remove","path":"/b/d"},{"op":"replace","path":"/b/c","value":3},{"op":"add","path":"/b/e~1f","value":[1]}]"#,
            ),
            (
                r#"{"a":[1,2,3,4,5]}"#,
                r#"{"a":[2,5]}"#,
                r#"[{"op":"remove","path":"/a/3"},{"op":"remove","path":"/a/2"},{"op":"remove","path":"/a/0"}]"#,
            ),
            (
                r#"{"a":[{"n":1},{"n":2}]}"#,
                r#"{"a":[{"n":1},{"n":3},4]}"#,
                r#"[{"op":"replace","path":"/a/1/n","value":3},{"op":"add","path":"/a/2","value":4}]"#,
            ),
        ] {
            let changes = diff(&before.parse().unwrap(), &after.parse().unwrap());
            assert_eq!(Value::of(&changes).unwrap().to_string(), patch);
        }
    }

    /// Carries a patch out, as RFC 6902 says.
    pub(in crate::exec) fn patched(mut state: Value, patch: &[Value]) -> Value {
        for change in patch {
            let text = |name: &str| change.get(name).and_then(Value::as_text).unwrap();
            let (op, value) = (text("op"), change.get("value").cloned());
            assert_eq!(value.is_some(), op != "remove");
            let mut steps: Vec<String> = text("path")
                .split('/')
                .skip(1)
                .map(|step| step.replace("~1", "/").replace("~0", "~"))
                .collect();
            let Some(last) = steps.pop() else {
                assert_eq!(op, "replace");
                state = value.unwrap();
                continue;
            };
            let mut at = &mut state;
            for step in steps {
                at = match at {
                    Value::Object(members) => members.get_mut(&step).unwrap(),
                    Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
                    other => panic!("{step} in {other}"),
                };
            }
            match (at, op) {
                (Value::Object(members), "remove") => drop(members.shift_remove(&last).expect("it is there")),
                (Value::Object(members), _) => {
                    let replaced = members.insert(last, value.unwrap());
                    assert_eq!(replaced.is_some(), op == "replace");
                }
                (Value::Array(items), "remove") => drop(items.remove(last.parse().unwrap())),
                (Value::Array(items), "add") => items.insert(last.parse().unwrap(), value.unwrap()),
                (Value::Array(items), _) => items[last.parse::<usize>().unwrap()] = value.unwrap(),
                (other, _) => panic!("{last} in {other}"),
            }
        }
        state
    }

    /// Few values, so that many are the same.
    fn like() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), (0..3i64).prop_map(Value::Int)];
        leaf.prop_recursive(3, 20, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec(("[ab/~]", inner), 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_patch_makes_the_one_of_the_other(
            (before, after) in prop_oneof![(any_value(), any_value()), (like(), like())],
        ) {
            let changes = diff(&before, &after);
            let Value::Array(patch) = Value::of(&changes).unwrap() else { panic!("no patch") };
            prop_assert_eq!(changes.is_empty(), before == after);
            prop_assert_eq!(patched(before, &patch), after);
        }
    }
}
