//! Functions of text, and of what has parts. What they make is taken of the allowance before it is made.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use super::number::whole_of;
use crate::allowance::Allowance;
use crate::document::RawKind;
use crate::plan::datum::{Datum, span_text};
use crate::value::{ITEM, Object, Value};

fn text_of<'d>(datum: &'d Datum<'_>) -> Option<&'d str> {
    match datum {
        Datum::Text(text) => Some(text),
        _ => None,
    }
}

/// A part of a text, borrowed where the text is.
fn part<'a>(
    text: &Cow<'a, str>,
    allowance: &Allowance,
    of: impl Fn(&str) -> Range<usize>,
) -> Option<Datum<'a>> {
    let range = of(text);
    Some(Datum::Text(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
        Cow::Owned(text) => {
            let part = text.get(range).unwrap_or_default();
            if !allowance.take(part.len()) {
                return None;
            }
            Cow::Owned(part.to_owned())
        }
    }))
}

/// A text with other letters, which may be longer.
fn changed<'a, I: Iterator<Item = char>>(
    text: &str,
    allowance: &Allowance,
    letters: impl Fn(char) -> I,
    change: impl Fn(&str) -> String,
) -> Option<Datum<'a>> {
    let length = match text.is_ascii() {
        true => text.len(),
        false => text.chars().flat_map(letters).map(char::len_utf8).sum(),
    };
    allowance.take(length).then(|| Datum::Text(change(text).into()))
}

pub(super) fn lower<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    changed(text_of(given.first()?)?, allowance, char::to_lowercase, str::to_lowercase)
}

pub(super) fn upper<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    changed(text_of(given.first()?)?, allowance, char::to_uppercase, str::to_uppercase)
}

pub(super) fn trim<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    match given.first()? {
        Datum::Text(text) => part(text, allowance, |text| {
            let start = text.len() - text.trim_start().len();
            start..start + text.trim().len()
        }),
        _ => None,
    }
}

pub(super) fn length<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let length = match given.first()? {
        Datum::Text(text) => text.chars().count(),
        // The head of what is stored tells.
        Datum::Stored(raw) => match raw.form()? {
            (RawKind::Array(count) | RawKind::Map(count), _) => count,
            _ => return None,
        },
        other => match &*other.json()? {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => return None,
        },
    };
    Some(Datum::number(length as u64))
}

pub(super) fn substring<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let Datum::Text(text) = given.first()? else { return None };
    // What is beyond any text is beyond this one.
    let place = |datum: &Datum| -> Option<usize> {
        let n = whole_of(datum)?;
        if n < 0 { None } else { Some(usize::try_from(n).unwrap_or(usize::MAX)) }
    };
    let start = place(given.get(1)?)?;
    let length = given.get(2).map_or(Some(usize::MAX), place)?;
    let at = |text: &str, chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    part(text, allowance, |text| {
        let start = at(text, start);
        start..start + at(text.get(start..).unwrap_or_default(), length)
    })
}

pub(super) fn starts_with<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [text, beginning] = given else { return None };
    Some(Datum::Bool(text_of(text)?.starts_with(text_of(beginning)?)))
}

pub(super) fn ends_with<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [text, end] = given else { return None };
    Some(Datum::Bool(text_of(text)?.ends_with(text_of(end)?)))
}

pub(super) fn split<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let [text, separator] = given else { return None };
    let (text, separator) = (text_of(text)?, text_of(separator)?);
    if separator.is_empty() {
        return None;
    }
    let pieces = text.matches(separator).count() + 1;
    if !allowance.take(pieces.saturating_mul(ITEM).saturating_add(text.len())) {
        return None;
    }
    let mut items = Vec::with_capacity(pieces);
    items.extend(text.split(separator).map(Value::from));
    Some(Datum::of(Value::Array(items)))
}

pub(super) fn concat<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    let mut whole = Vec::new();
    for datum in given.iter().filter(|datum| !datum.is_null()) {
        say(datum, &mut whole, allowance)?;
    }
    told(whole)
}

pub(super) fn text<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    match given.first()? {
        Datum::Null => Some(Datum::Null),
        text @ Datum::Text(_) => text.copied(allowance),
        other => {
            let mut said = Vec::new();
            say(other, &mut said, allowance)?;
            told(said)
        }
    }
}

fn told<'a>(said: Vec<u8>) -> Option<Datum<'a>> {
    String::from_utf8(said).ok().map(|text| Datum::Text(text.into()))
}

/// Says a datum behind what was said; none where that is too much.
fn say(datum: &Datum, out: &mut Vec<u8>, allowance: &Allowance) -> Option<()> {
    let short = match datum {
        Datum::Text(text) => {
            if !allowance.take(text.len()) {
                return None;
            }
            out.reserve_exact(text.len());
            out.extend_from_slice(text.as_bytes());
            return Some(());
        }
        Datum::Json(value) => return say_json(value, out, allowance),
        Datum::Stored(raw) => {
            if !allowance.lend(raw.weight()) {
                return None;
            }
            return say_json(&raw.to_value().unwrap_or_default(), out, allowance);
        }
        Datum::Span(span) => span_text(*span),
        Datum::Entity { kind, id } => format!("{kind} {id}"),
        Datum::Time(time) => time.to_string(),
        other => other.clone().into_value().to_string(),
    };
    if !allowance.take(short.len()) {
        return None;
    }
    out.extend_from_slice(short.as_bytes());
    Some(())
}

/// How much room is made at once.
const MOST_ROOM: usize = 1 << 20;

/// Writes as far as the allowance goes.
struct Taking<'o, 'l>(&'o mut Vec<u8>, &'o Allowance<'l>);

impl io::Write for Taking<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.1.take(bytes.len()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if self.0.capacity() - self.0.len() < bytes.len() {
            // Not twice as much each time: what is made is counted, and not the room for it.
            self.0.reserve_exact(self.0.len().clamp(bytes.len(), MOST_ROOM.max(bytes.len())));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn say_json(value: &Value, out: &mut Vec<u8>, allowance: &Allowance) -> Option<()> {
    serde_json::to_writer(Taking(out, allowance), value).ok()
}

pub(super) fn keys<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    parts(given, allowance, |members| members.keys().map(|name| Value::from(name.as_str())).collect())
}

pub(super) fn values<'a>(given: &[Datum<'a>], allowance: &Allowance) -> Option<Datum<'a>> {
    parts(given, allowance, |members| members.values().cloned().collect())
}

/// What is made of the members of an object, which is no more than the object.
fn parts<'a>(
    given: &[Datum<'a>],
    allowance: &Allowance,
    of: impl FnOnce(&Object) -> Vec<Value>,
) -> Option<Datum<'a>> {
    let from = given.first()?;
    let weight = from.weight();
    // Once where it is decoded, and once for what is made of it.
    if matches!(from, Datum::Stored(_)) && !allowance.lend(weight.saturating_mul(2))
        || !allowance.take(weight)
    {
        return None;
    }
    let value = from.json()?;
    Some(Datum::of(Value::Array(of(value.as_object()?))))
}
