//! Functions of text, and of what has parts.

use std::borrow::Cow;
use std::ops::Range;

use super::number::whole_of;
use crate::document::Form;
use crate::plan::datum::{Datum, span_text};
use crate::value::Value;

fn text_of<'d>(datum: &'d Datum<'_>) -> Option<&'d str> {
    match datum {
        Datum::Text(text) => Some(text),
        _ => None,
    }
}

/// A part of a text, borrowed where the text is.
fn part<'a>(text: &Cow<'a, str>, of: impl Fn(&str) -> Range<usize>) -> Datum<'a> {
    let range = of(text);
    Datum::Text(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_owned()),
    })
}

pub(super) fn lower<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    text_of(given.first()?).map(|text| Datum::Text(text.to_lowercase().into()))
}

pub(super) fn upper<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    text_of(given.first()?).map(|text| Datum::Text(text.to_uppercase().into()))
}

pub(super) fn trim<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    match given.first()? {
        Datum::Text(text) => Some(part(text, |text| {
            let start = text.len() - text.trim_start().len();
            start..start + text.trim().len()
        })),
        _ => None,
    }
}

pub(super) fn length<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let length = match given.first()? {
        Datum::Text(text) => text.chars().count(),
        // The head of what is stored tells.
        Datum::Stored(raw) => match raw.form()? {
            (Form::Array(count) | Form::Map(count), _) => count,
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

pub(super) fn substring<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let Datum::Text(text) = given.first()? else { return None };
    // What is beyond any text is beyond this one.
    let place = |datum: &Datum| -> Option<usize> {
        let n = whole_of(datum)?;
        if n < 0 { None } else { Some(usize::try_from(n).unwrap_or(usize::MAX)) }
    };
    let start = place(given.get(1)?)?;
    let length = given.get(2).map_or(Some(usize::MAX), place)?;
    let at = |text: &str, chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    Some(part(text, |text| {
        let start = at(text, start);
        start..start + at(text.get(start..).unwrap_or_default(), length)
    }))
}

pub(super) fn starts_with<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [text, beginning] = given else { return None };
    Some(Datum::Bool(text_of(text)?.starts_with(text_of(beginning)?)))
}

pub(super) fn ends_with<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [text, end] = given else { return None };
    Some(Datum::Bool(text_of(text)?.ends_with(text_of(end)?)))
}

pub(super) fn split<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let [text, separator] = given else { return None };
    let (text, separator) = (text_of(text)?, text_of(separator)?);
    if separator.is_empty() {
        return None;
    }
    Some(Datum::of(Value::Array(text.split(separator).map(Value::from).collect())))
}

pub(super) fn concat<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let mut whole = String::new();
    given.iter().filter(|datum| !datum.is_null()).for_each(|datum| match datum {
        Datum::Text(text) => whole.push_str(text),
        other => whole.push_str(&said(other)),
    });
    Some(Datum::Text(whole.into()))
}

pub(super) fn text<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    Some(match given.first()? {
        Datum::Null => Datum::Null,
        Datum::Text(text) => Datum::Text(text.clone()),
        other => Datum::Text(said(other).into()),
    })
}

fn said(datum: &Datum) -> String {
    match datum {
        Datum::Span(span) => span_text(*span),
        Datum::Entity { kind, id } => format!("{kind} {id}"),
        Datum::Text(text) => text.to_string(),
        Datum::Time(time) => time.to_string(),
        other => other.clone().into_value().to_string(),
    }
}

pub(super) fn keys<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let value = given.first()?.json()?;
    let members = value.as_object()?;
    Some(Datum::of(Value::Array(members.keys().map(|name| Value::from(name.as_str())).collect())))
}

pub(super) fn values<'a>(given: &[Datum<'a>]) -> Option<Datum<'a>> {
    let value = given.first()?.json()?;
    let members = value.as_object()?;
    Some(Datum::of(Value::Array(members.values().cloned().collect())))
}
