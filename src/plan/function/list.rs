//! Functions of lists and objects. None changes what it is given; a null list is an empty one, and so is a null object.
//!
//! What they make is taken of the allowance before it is made.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::allowance::Allowance;
use crate::document::RawKind;
use crate::plan::datum::Datum;
use crate::plan::expr::{Number, same};
use crate::plan::order::write_key;
use crate::value::{ITEM, MEMBER, Object, Value};

/// So many items are compared with each other; more are remembered by their keys.
const FEW: usize = 32;

pub(super) fn append<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let (list, more) = given.split_first()?;
    let mut items = list_of(list, allowance)?;
    if !allowance.take(more.len() * ITEM) {
        return None;
    }
    items.reserve_exact(more.len());
    items.extend(more.iter().map(|datum| copy_of(datum, allowance)));
    made(Value::Array(items), allowance)
}

pub(super) fn without<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let (from, less) = given.split_first()?;
    if !from.is_null() && !from.is_array() {
        let mut members = members_of(from, allowance)?;
        for name in less {
            if !allowance.step(members.len()) {
                return None;
            }
            members.shift_remove(&name_of(name)?);
        }
        return Some(Datum::of(Value::Object(members)));
    }
    let mut items = list_of(from, allowance)?;
    if !allowance.take(less.len() * ITEM) || !allowance.step(items.len().saturating_mul(less.len())) {
        return None;
    }
    let less: Vec<Value> = less.iter().map(|datum| copy_of(datum, allowance)).collect();
    items.retain(|item| !less.iter().any(|other| same(item, other)));
    made(Value::Array(items), allowance)
}

pub(super) fn union<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let mut all: Vec<Value> = Vec::new();
    // What is equal has the same key, and nothing else has.
    let (mut known, mut key) = (HashSet::<Box<[u8]>>::new(), Vec::new());
    for list in given {
        for item in list_of(list, allowance)? {
            if all.len() < FEW {
                if !all.iter().any(|other| same(&item, other)) {
                    all.push(item);
                }
                continue;
            }
            if known.is_empty() {
                for item in &all {
                    known.insert(key_of(item, &mut key, allowance)?);
                }
            }
            if known.insert(key_of(&item, &mut key, allowance)?) {
                all.push(item);
            }
        }
    }
    made(Value::Array(all), allowance)
}

fn key_of(item: &Value, key: &mut Vec<u8>, allowance: &Allowance) -> Option<Box<[u8]>> {
    // A key is about as large as what it is of.
    if !allowance.lend(ITEM + item.weight()) {
        return None;
    }
    key.clear();
    write_key(&Datum::borrowed(item), key);
    allowance.take(key.len()).then(|| key.as_slice().into())
}

pub(super) fn merge<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let [onto, patch] = given else { return None };
    let (mut onto, patch) = (Value::Object(members_of(onto, allowance)?), members_of(patch, allowance)?);
    onto.merge(Value::Object(patch));
    Some(Datum::of(onto))
}

pub(super) fn put<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let [object, name, value] = given else { return None };
    let mut members = members_of(object, allowance)?;
    let name = name_of(name)?;
    if !allowance.take(MEMBER + name.len()) {
        return None;
    }
    members.insert(name, copy_of(value, allowance));
    made(Value::Object(members), allowance)
}

pub(super) fn get<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let [from, key] = given else { return None };
    let found = match from {
        Datum::Null => return Some(Datum::Null),
        // Only what is asked for is decoded, if that.
        Datum::Stored(raw) => {
            if !allowance.step(raw.0.len()) {
                return None;
            }
            let found = match raw.form()? {
                (RawKind::Array(count), _) => at(key, count)?.and_then(|at| raw.element(at)),
                _ => raw.member(&name_of(key)?),
            };
            return Some(found.map_or(Datum::Null, Datum::stored));
        }
        Datum::Json(Cow::Borrowed(value)) => {
            return Some(inside(value, key)?.map_or(Datum::Null, Datum::borrowed));
        }
        Datum::Json(Cow::Owned(value)) => inside(value, key)?,
        _ => return None,
    };
    found.map_or(Some(Datum::Null), |found| allowance.take(found.weight()).then(|| Datum::of(found.clone())))
}

fn inside<'v>(value: &'v Value, key: &Datum) -> Option<Option<&'v Value>> {
    match value {
        Value::Array(items) => Some(at(key, items.len())?.and_then(|at| items.get(at))),
        Value::Object(members) => Some(members.get(&name_of(key)?)),
        _ => None,
    }
}

pub(super) fn slice<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let from = given.first()?;
    let start = whole_of(given.get(1)?)?;
    let most = match given.get(2) {
        Some(length) => usize::try_from(whole_of(length)?).ok()?,
        None => usize::MAX,
    };
    let length = match from {
        Datum::Null => 0,
        Datum::Stored(raw) => match raw.form()? {
            (RawKind::Array(count), _) => count,
            _ => return None,
        },
        Datum::Json(value) => value.as_array()?.len(),
        _ => return None,
    };
    // Before the first item there is none: what begins there begins with the first.
    let before = if start < 0 { length as i128 } else { 0 };
    let start = usize::try_from((before + start).max(0)).unwrap_or(usize::MAX);
    let mut items = Vec::new();
    match from {
        Datum::Stored(raw) => {
            if !allowance.step(raw.0.len()) {
                return None;
            }
            for item in raw.items()?.skip(start).take(most) {
                if !allowance.take(ITEM + item.weight()) {
                    return None;
                }
                items.push(Datum::stored(item).into_value());
            }
        }
        Datum::Json(value) => {
            for item in value.as_array()?.iter().skip(start).take(most) {
                if !allowance.take(ITEM + item.weight()) {
                    return None;
                }
                items.push(item.clone());
            }
        }
        _ => {}
    }
    Some(Datum::of(Value::Array(items)))
}

/// The place in a list that a number counts to: from 0 on, or from the end with -1; none where there is no such place.
fn at(key: &Datum, length: usize) -> Option<Option<usize>> {
    let n = whole_of(key)?;
    Some(usize::try_from(if n < 0 { n + length as i128 } else { n }).ok())
}

fn whole_of(datum: &Datum) -> Option<i128> {
    match datum {
        Datum::Number(Number::Integer(n)) => Some(*n),
        Datum::Number(Number::Float(x)) if x.fract() == 0.0 && x.abs() < 1e18 => Some(*x as i128),
        _ => None,
    }
}

/// A copy of an argument as a value; null where it is too large.
fn copy_of(datum: &Datum, allowance: &Allowance) -> Value {
    if allowance.take(datum.weight()) { datum.clone().into_value() } else { Value::Null }
}

/// What was made, if all of it could be.
fn made<'a>(value: Value, allowance: &Allowance) -> Option<Datum<'a>> {
    allowance.over().is_none().then(|| Datum::of(value))
}

fn list_of(datum: &Datum, allowance: &Allowance) -> Option<Vec<Value>> {
    if datum.is_null() {
        return Some(Vec::new());
    }
    if !datum.is_array() || !allowance.take(datum.weight()) {
        return None;
    }
    match datum.json()?.into_owned() {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn members_of(datum: &Datum, allowance: &Allowance) -> Option<Object> {
    if datum.is_null() {
        return Some(Object::new());
    }
    if !matches!(datum, Datum::Json(_) | Datum::Stored(_))
        || datum.is_array()
        || !allowance.take(datum.weight())
    {
        return None;
    }
    match datum.json()?.into_owned() {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// A name is text; a whole number becomes the digits it is written with, as in an id.
fn name_of(datum: &Datum) -> Option<String> {
    match datum {
        Datum::Text(text) => Some(text.to_string()),
        Datum::Number(Number::Integer(n)) => Some(n.to_string()),
        _ => None,
    }
}
