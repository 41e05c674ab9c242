//! Functions of lists and objects. None changes what it is given; a null list is an empty one, and so is a null object.

use crate::plan::datum::Datum;
use crate::plan::expr::{Number, same};
use crate::value::{Object, Value};

pub(super) fn append<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let (list, more) = given.split_first()?;
    let mut items = list_of(list)?;
    items.extend(more.iter().map(|datum| datum.clone().into_value()));
    Some(Datum::of(Value::Array(items)))
}

pub(super) fn without<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let (from, less) = given.split_first()?;
    if let Some(mut members) = from.json().filter(|_| !from.is_array()).and_then(object_of) {
        for name in less {
            members.shift_remove(&*name_of(name)?);
        }
        return Some(Datum::of(Value::Object(members)));
    }
    let less: Vec<Value> = less.iter().map(|datum| datum.clone().into_value()).collect();
    let mut items = list_of(from)?;
    items.retain(|item| !less.iter().any(|other| same(item, other)));
    Some(Datum::of(Value::Array(items)))
}

pub(super) fn union<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let mut all: Vec<Value> = Vec::new();
    for list in given {
        for item in list_of(list)? {
            if !all.iter().any(|other| same(&item, other)) {
                all.push(item);
            }
        }
    }
    Some(Datum::of(Value::Array(all)))
}

pub(super) fn merge<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [onto, patch] = given else { return None };
    let (mut onto, patch) = (Value::Object(members_of(onto)?), members_of(patch)?);
    onto.merge(Value::Object(patch));
    Some(Datum::of(onto))
}

pub(super) fn put<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [object, name, value] = given else { return None };
    let mut members = members_of(object)?;
    members.insert(name_of(name)?, value.clone().into_value());
    Some(Datum::of(Value::Object(members)))
}

pub(super) fn get<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [from, key] = given else { return None };
    if from.is_null() {
        return Some(Datum::Null);
    }
    let value = from.json()?;
    let found = match &*value {
        Value::Array(items) => at(key, items.len())?.and_then(|at| items.get(at)),
        Value::Object(members) => members.get(&*name_of(key)?),
        _ => return None,
    };
    Some(found.map_or(Datum::Null, |found| Datum::of(found.clone())))
}

pub(super) fn slice<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let items = list_of(given.first()?)?;
    let start = whole_of(given.get(1)?)?;
    let length = match given.get(2) {
        Some(length) => usize::try_from(whole_of(length)?).ok()?,
        None => usize::MAX,
    };
    // Before the first item there is none: what begins there begins with the first.
    let before = if start < 0 { items.len() as i128 } else { 0 };
    let start = usize::try_from((before + start).max(0)).unwrap_or(usize::MAX);
    Some(Datum::of(Value::Array(items.into_iter().skip(start).take(length).collect())))
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

fn list_of(datum: &Datum) -> Option<Vec<Value>> {
    if datum.is_null() {
        return Some(Vec::new());
    }
    match datum.json()?.into_owned() {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn members_of(datum: &Datum) -> Option<Object> {
    if datum.is_null() { Some(Object::new()) } else { datum.json().and_then(object_of) }
}

fn object_of(value: std::borrow::Cow<Value>) -> Option<Object> {
    match value.into_owned() {
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
