//! Paths in a state: setting what they lead to, and taking that back.

use crate::plan::field::FieldStep;
use crate::value::{Object, Value};

/// What was there before something was set.
#[derive(Debug)]
pub(in crate::exec) enum Before {
    /// This value, so many steps down the path.
    Value(usize, Value),
    /// Nothing, from the step of this number on.
    Nothing(usize),
    /// A list with so many items.
    Items(usize),
}

/// Puts items behind the list that a path leads to; none where there is no list.
pub(super) fn extend(state: &mut Value, path: &[FieldStep], more: Vec<Value>) -> Option<Before> {
    match path.iter().try_fold(state, next)? {
        Value::Array(items) => {
            let before = items.len();
            items.extend(more);
            Some(Before::Items(before))
        }
        _ => None,
    }
}

/// Sets what a path leads to. What is missing on the way is made; a null is as good as missing. On an error nothing is changed.
pub(in crate::exec) fn put(state: &mut Value, path: &[FieldStep], value: Value) -> Result<Before, String> {
    let mut at = state;
    for (number, step) in path.iter().enumerate() {
        match (&*at, step) {
            (Value::Null, _) => {
                *at = made(path, number, value)?;
                return Ok(Before::Value(number, Value::Null));
            }
            (Value::Object(members), FieldStep::Member(name)) if members.contains_key(name) => {}
            (Value::Array(items), FieldStep::Element(index)) if *index < items.len() => {}
            (Value::Array(items), FieldStep::Element(index)) if *index > items.len() => {
                let (way, length) = (said(path, number), items.len());
                return Err(format!("expected an index up to {length}, the length of {way}, found {index}"));
            }
            (Value::Object(_), FieldStep::Member(_)) | (Value::Array(_), FieldStep::Element(_)) => {
                let made = made(path, number + 1, value)?;
                match (at, step) {
                    (Value::Object(members), FieldStep::Member(name)) => {
                        drop(members.insert(name.clone(), made))
                    }
                    (Value::Array(items), FieldStep::Element(_)) => items.push(made),
                    _ => {}
                }
                return Ok(Before::Nothing(number));
            }
            (other, step) => {
                let expected = if matches!(step, FieldStep::Member(_)) { "an object" } else { "an array" };
                let (way, found) = (said(path, number), other.glimpse());
                return Err(format!("expected {expected}, found {way}, which is {} {found}", other.kind()));
            }
        }
        match next(at, step) {
            Some(found) => at = found,
            None => return Err(format!("{} is not there", said(path, number + 1))),
        }
    }
    Ok(Before::Value(path.len(), std::mem::replace(at, value)))
}

/// Undoes what [`put`] did.
pub(super) fn take_back(state: &mut Value, path: &[FieldStep], before: Before) {
    let steps = match before {
        Before::Value(steps, _) | Before::Nothing(steps) => steps,
        Before::Items(_) => path.len(),
    };
    let mut at = state;
    for step in path.iter().take(steps) {
        match next(at, step) {
            Some(found) => at = found,
            None => return,
        }
    }
    match (before, at, path.get(steps)) {
        (Before::Value(_, value), at, _) => *at = value,
        (Before::Items(before), Value::Array(items), _) => items.truncate(before),
        (_, Value::Object(members), Some(FieldStep::Member(name))) => drop(members.shift_remove(name)),
        (_, Value::Array(items), _) => drop(items.pop()),
        _ => {}
    }
}

fn next<'a>(value: &'a mut Value, step: &FieldStep) -> Option<&'a mut Value> {
    match (value, step) {
        (Value::Object(members), FieldStep::Member(name)) => members.get_mut(name),
        (Value::Array(items), FieldStep::Element(index)) => items.get_mut(*index),
        _ => None,
    }
}

/// What is to stand where nothing was, so many steps down the path, for a value to be at its end.
fn made(path: &[FieldStep], from: usize, value: Value) -> Result<Value, String> {
    let mut made = value;
    for (number, step) in path.iter().enumerate().skip(from).rev() {
        made = match step {
            FieldStep::Member(name) => Value::Object(Object::from_iter([(name.clone(), made)])),
            FieldStep::Element(0) => Value::Array(vec![made]),
            FieldStep::Element(index) => {
                let way = said(path, number);
                return Err(format!("expected the index 0, for there is no {way} yet, found {index}"));
            }
        };
    }
    Ok(made)
}

/// So many steps of a path in the state.
fn said(path: &[FieldStep], steps: usize) -> String {
    let way: String = path.iter().take(steps).map(ToString::to_string).collect();
    format!("state{way}")
}
