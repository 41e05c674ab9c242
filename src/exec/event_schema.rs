//! Schemas of events: whether data fits what is defined, and what of it does not.
//!
//! Data is looked at where it lies: nothing is decoded but what a message tells of. A `CHECK` is a filter: one that is null does not
//! hold. It is asked only of a member that is there and of its type.

use std::sync::Arc;

use super::eval::{EvalFailure, Scope, written};
use super::model::path::put;
use crate::allowance::{Limits, Over, Unmade};
use crate::document::{Document, Raw, RawKind};
use crate::error::{Error, MemberMismatch, Result, shorten};
use crate::event::private::ForgottenFields;
use crate::plan;
use crate::plan::event_schema::{DataType, EventSchemaPlan, SchemaMembers, Upcast, ValueKind};
use crate::plan::field::{FieldPath, FieldStep};
use crate::plan::forgotten::needs_forgotten;
use crate::plan::verb::BoundCondition;
use crate::store::event_schema::{EventSchema, Mismatches, UpcastData};
use crate::time::Timestamp;
use crate::value::Value;

/// What works out the definition of a type's events: the type, and what its data is to be.
pub(super) fn compile(text: &str) -> Result<(String, Arc<dyn EventSchema>)> {
    let schema = DefinedSchema(plan::event_schema(text)?);
    Ok((schema.0.event_type.as_str().to_owned(), Arc::new(schema)))
}

/// The schema that a definition says.
#[derive(Debug)]
struct DefinedSchema(EventSchemaPlan);

impl EventSchema for DefinedSchema {
    fn check(&self, data: Raw, limits: &Limits) -> Result<Mismatches> {
        let scope = Scope::of_data(data, limits);
        let mut checker =
            Checker { scope: &scope, strict: self.0.strict, way: Vec::new(), found: Mismatches::default() };
        checker.members(&self.0.members, data)?;
        Ok(checker.found)
    }

    fn warns(&self) -> bool {
        self.0.warn
    }

    fn is_strict(&self) -> bool {
        self.0.strict
    }

    fn has_upcast(&self) -> bool {
        self.0.upcast.is_some()
    }

    fn upcast(
        &self,
        data: Raw,
        forgotten: Option<&ForgottenFields>,
        limits: &Limits,
    ) -> Result<UpcastData, Unmade> {
        let fault = |error: Error| Unmade::Fault(error.to_string());
        let mut made = data.to_value().map_err(fault)?;
        let mut now_forgotten = forgotten.cloned();
        if let Some(upcast) = &self.0.upcast {
            self::upcast(upcast, data, forgotten, &mut made, limits)?;
            now_forgotten = forgotten.and_then(|forgotten| upcast.forgotten(forgotten));
        }
        let Value::Object(members) = &made else {
            return Err(Unmade::Fault(format!(
                "UPCAST: expected data that is an object, found {}",
                made.kind()
            )));
        };
        Ok(UpcastData { data: Document::from_object(members).map_err(fault)?, forgotten: now_forgotten })
    }
}

/// Makes the data of the next version: all right sides are worked out before the first left side is set.
fn upcast(
    upcast: &Upcast,
    data: Raw,
    forgotten: Option<&ForgottenFields>,
    made: &mut Value,
    limits: &Limits,
) -> Result<(), Unmade> {
    let scope = Scope::of_data(data, limits);
    let mut values = Vec::with_capacity(upcast.set.len());
    for assign in &upcast.set {
        let needs = || forgotten.is_some_and(|forgotten| needs_forgotten(&assign.value, forgotten));
        values.push(match written(&scope, &assign.value) {
            Ok(value) => value,
            Err(EvalFailure::Over(error)) if scope.allowance().over() == Some(Over::Ended) => {
                return Err(Unmade::Ended(error));
            }
            Err(EvalFailure::Over(error)) => return Err(Unmade::Over(error)),
            Err(_) if needs() => Value::Null,
            Err(failure) => return Err(Unmade::Fault(format!("{}: {failure}", assign.text))),
        });
    }
    for (assign, value) in upcast.set.iter().zip(values) {
        match assign.path.is_empty() {
            true => *made = value,
            false => drop(
                put(made, &assign.path, value)
                    .map_err(|why| Unmade::Fault(format!("{}: {why}", assign.text)))?,
            ),
        }
    }
    for path in &upcast.delete {
        delete(made, path);
    }
    scope.allowance().made()
}

/// Takes away what a path leads to, if it is there.
fn delete(data: &mut Value, path: &[FieldStep]) {
    let Some((FieldStep::Member(last), way)) = path.split_last() else { return };
    let found = way.iter().try_fold(data, |value, step| match (value, step) {
        (Value::Object(members), FieldStep::Member(name)) => members.get_mut(name),
        (Value::Array(items), FieldStep::Element(index)) => items.get_mut(*index),
        _ => None,
    });
    if let Some(Value::Object(members)) = found {
        members.shift_remove(last);
    }
}

/// A walk through data, beside what it is to be.
struct Checker<'a, 's> {
    scope: &'s Scope<'a>,
    strict: bool,
    way: Vec<FieldStep>,
    found: Mismatches,
}

impl<'a> Checker<'a, '_> {
    fn members(&mut self, members: &'a SchemaMembers, object: Raw<'a>) -> Result<()> {
        let Some((RawKind::Map(count), mut rest)) = object.form() else {
            self.mismatch("an object", object);
            return Ok(());
        };
        let mut values: Vec<Option<Raw>> = vec![None; members.len()];
        let mut last = None;
        for _ in 0..count {
            let Some((name, value)) = Raw(rest).text() else { break };
            let place = members.place(name, last);
            match place.and_then(|place| values.get_mut(place)) {
                Some(slot) => *slot = Some(Raw(value)),
                None if self.strict => self.unknown(name, members),
                None => {}
            }
            last = place.or(last);
            match Raw(value).skip() {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        for (member, value) in members.iter().zip(values) {
            self.way.push(FieldStep::Member(member.name.clone()));
            let before = self.found.members.len() as u64 + self.found.more;
            match value {
                Some(value) => {
                    self.value(&member.data_type, value)?;
                    let fits = before == self.found.members.len() as u64 + self.found.more;
                    if let Some(check) = member.check.as_ref().filter(|_| fits && !value.is_null()) {
                        self.check(check)?;
                    }
                }
                None if member.data_type.optional => {}
                None => self.told(member.data_type.kind.expected(), || "nothing".to_owned()),
            }
            self.way.pop();
        }
        Ok(())
    }

    fn value(&mut self, data_type: &'a DataType, value: Raw<'a>) -> Result<()> {
        let Some((form, _)) = value.form() else {
            self.told(data_type.kind.expected(), || "what cannot be read".to_owned());
            return Ok(());
        };
        if data_type.optional && form == RawKind::Null {
            return Ok(());
        }
        let fits = match (&data_type.kind, form) {
            (ValueKind::Any, form) => form != RawKind::Null,
            (ValueKind::Text, RawKind::Text(_))
            | (ValueKind::Boolean, RawKind::Bool(_))
            | (ValueKind::Integer, RawKind::Int(_) | RawKind::UInt(_))
            | (ValueKind::Number, RawKind::Int(_) | RawKind::UInt(_) | RawKind::Float(_))
            | (ValueKind::Object(None), RawKind::Map(_))
            | (ValueKind::Array(None), RawKind::Array(_)) => true,
            (ValueKind::Time, RawKind::Text(text)) => {
                std::str::from_utf8(text).is_ok_and(|text| text.parse::<Timestamp>().is_ok())
            }
            (ValueKind::Object(Some(members)), RawKind::Map(_)) => return self.members(members, value),
            (ValueKind::Array(Some(item)), RawKind::Array(_)) => return self.items(item, value),
            _ => false,
        };
        if !fits {
            self.mismatch(data_type.kind.expected(), value);
        }
        Ok(())
    }

    fn items(&mut self, item: &'a DataType, array: Raw<'a>) -> Result<()> {
        for (at, value) in array.items().into_iter().flatten().enumerate() {
            self.way.push(FieldStep::Element(at));
            self.value(item, value)?;
            self.way.pop();
        }
        Ok(())
    }

    /// Whether a condition on the whole holds.
    fn check(&mut self, check: &'a BoundCondition) -> Result<()> {
        let found = match self.scope.holds(&check.node) {
            Ok(true) => return Ok(()),
            Ok(false) => self.values(check),
            Err(error) => Err(error),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) if self.scope.allowance().over() == Some(Over::Ended) => return Err(error),
            Err(Error::Invalid { expected, found, .. }) => format!("{found}, where {expected} is allowed"),
            Err(error) => error.to_string(),
        };
        self.told(&check.text, || found);
        Ok(())
    }

    /// What the names in a condition stand for.
    fn values(&self, check: &'a BoundCondition) -> Result<String> {
        let mut text = String::new();
        for (at, name) in check.names.iter().enumerate() {
            let value = self.scope.value(name)?;
            let separator = if at > 0 { ", " } else { "" };
            let name = match name {
                plan::expr::BoundExpr::Field(field) => field.to_string(),
                _ => String::new(),
            };
            text.push_str(&format!("{separator}{name} = {}", value.glimpse()));
        }
        Ok(text)
    }

    /// A member that the schema does not name.
    fn unknown(&mut self, name: &[u8], members: &SchemaMembers) {
        let name = String::from_utf8_lossy(name).into_owned();
        self.way.push(FieldStep::Member(name));
        let named: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        let expected = match named.as_slice() {
            [] => "no members".to_owned(),
            some => format!("no members but {} (STRICT)", shorten(&some.join(", "))),
        };
        self.told(&expected, || "one more".to_owned());
        self.way.pop();
    }

    fn mismatch(&mut self, expected: &str, found: Raw) {
        self.told(expected, || glimpse(found));
    }

    fn told(&mut self, expected: &str, found: impl FnOnce() -> String) {
        let Checker { way, found: mismatches, .. } = self;
        mismatches.add(|| MemberMismatch {
            path: FieldPath("data", way).to_string(),
            expected: expected.to_owned(),
            found: found(),
        });
    }
}

/// A value as a message tells it: what is large is not decoded for that.
fn glimpse(raw: Raw) -> String {
    match raw.form() {
        Some((RawKind::Array(_), _)) => "an array".to_owned(),
        Some((RawKind::Map(_), _)) => "an object".to_owned(),
        Some((RawKind::Null, _)) => "null".to_owned(),
        Some((RawKind::Text(text), _)) => {
            let begin = text.get(..200).unwrap_or(text);
            format!("text {}", Value::from(&*String::from_utf8_lossy(begin)).glimpse())
        }
        _ => match raw.to_value() {
            Ok(value) => format!("{} {}", value.kind(), value.glimpse()),
            Err(_) => "what cannot be read".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::Document;
    use crate::value::Object;
    use crate::value::tests::any_value;

    /// A type of data, as plainly as possible.
    #[derive(Debug, Clone)]
    enum Plain {
        Named(&'static str),
        Array(Box<(Plain, bool)>),
        /// Names, types, and whether each may be missing.
        Object(Vec<(String, Plain, bool)>),
    }

    fn plain() -> impl Strategy<Value = Plain> {
        let leaf = prop::sample::select(&ValueKind::NAMES[..]).prop_map(Plain::Named);
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                (inner.clone(), any::<bool>()).prop_map(|item| Plain::Array(Box::new(item))),
                members(inner).prop_map(Plain::Object),
            ]
        })
    }

    fn members(inner: impl Strategy<Value = Plain>) -> impl Strategy<Value = Vec<(String, Plain, bool)>> {
        prop::collection::btree_map("[a-d]|a b|null", (inner, any::<bool>()), 0..5).prop_map(|members| {
            members.into_iter().map(|(name, (plain, optional))| (name, plain, optional)).collect()
        })
    }

    fn text(plain: &Plain) -> String {
        let sign = |optional: bool| if optional { "?" } else { "" };
        match plain {
            Plain::Named(name) => (*name).to_owned(),
            Plain::Array(item) => format!("[{}{}]", text(&item.0), sign(item.1)),
            Plain::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, of, optional)| format!("'{name}': {}{}", text(of), sign(*optional)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The paths of what does not fit.
    fn misfits(
        plain: &Plain,
        optional: bool,
        value: &Value,
        strict: bool,
        path: &str,
        found: &mut Vec<String>,
    ) {
        let fits = match (plain, value) {
            (_, Value::Null) => optional,
            (Plain::Named("any"), _) => true,
            (Plain::Named("time"), Value::Text(text)) => text.parse::<Timestamp>().is_ok(),
            (Plain::Named(name), value) => match value {
                Value::Text(_) => *name == "text",
                Value::Bool(_) => *name == "boolean",
                Value::Int(_) | Value::UInt(_) => ["number", "integer"].contains(name),
                Value::Float(_) => *name == "number",
                Value::Array(_) => *name == "array",
                Value::Object(_) => *name == "object",
                Value::Null => false,
            },
            (Plain::Array(item), Value::Array(items)) => {
                for (at, value) in items.iter().enumerate() {
                    misfits(&item.0, item.1, value, strict, &format!("{path}[{at}]"), found);
                }
                true
            }
            (Plain::Object(members), Value::Object(object)) => {
                let step = |name: &str| format!("{path}.{}", crate::entity::NameText(name));
                for (name, of, optional) in members {
                    match object.get(name) {
                        Some(value) => misfits(of, *optional, value, strict, &step(name), found),
                        None if *optional => {}
                        None => found.push(step(name)),
                    }
                }
                if strict {
                    let unknown =
                        object.keys().filter(|name| members.iter().all(|(known, ..)| known != *name));
                    found.extend(unknown.map(|name| step(name)));
                }
                true
            }
            _ => false,
        };
        if !fits {
            found.push(path.to_owned());
        }
    }

    /// A value that often fits.
    fn near(plain: &Plain) -> BoxedStrategy<Value> {
        let right: BoxedStrategy<Value> = match plain {
            Plain::Named("text") => "[a-z]{0,3}".prop_map(Value::from).boxed(),
            Plain::Named("integer") => any::<i32>().prop_map(Value::from).boxed(),
            Plain::Named("number") => (-1e9..1e9f64).prop_map(Value::Float).boxed(),
            Plain::Named("boolean") => any::<bool>().prop_map(Value::from).boxed(),
            Plain::Named("time") => Just(Value::from("2024-01-01T00:00:00Z")).boxed(),
            Plain::Named("array") => Just(Value::Array(Vec::new())).boxed(),
            Plain::Named("object") => Just(Value::Object(Object::new())).boxed(),
            Plain::Named(_) => any_value().boxed(),
            Plain::Array(item) => prop::collection::vec(near(&item.0), 0..3).prop_map(Value::Array).boxed(),
            Plain::Object(members) => {
                let each: Vec<_> = members
                    .iter()
                    .map(|(name, of, _)| (Just(name.clone()), prop::option::weighted(0.9, near(of))))
                    .collect();
                let object = |members: Vec<(String, Option<Value>)>| {
                    members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect::<Object>()
                };
                each.prop_map(move |members| Value::Object(object(members))).boxed()
            }
        };
        prop_oneof![12 => right, 1 => any_value(), 1 => Just(Value::Null)].boxed()
    }

    fn case() -> impl Strategy<Value = (Vec<(String, Plain, bool)>, Value, bool)> {
        members(plain()).prop_flat_map(|members| {
            let data = near(&Plain::Object(members.clone()));
            let data =
                data.prop_map(
                    |data| if data.as_object().is_some() { data } else { Value::Object(Object::new()) },
                );
            (Just(members), data, any::<bool>())
        })
    }

    proptest! {
        #[test]
        fn what_does_not_fit_is_what_a_plain_comparison_finds((members, data, strict) in case()) {
            let plain = Plain::Object(members);
            let definition = format!("DEFINE EVENT A.b {}{}", text(&plain), if strict { " STRICT" } else { "" });
            let (_, schema) = compile(&definition).unwrap();
            let document = Document::from_object(data.as_object().unwrap()).unwrap();
            let told = schema.check(document.raw(), &Limits::default()).unwrap();
            let mut expected = Vec::new();
            misfits(&plain, false, &data, strict, "data", &mut expected);
            prop_assert_eq!(told.members.len() as u64 + told.more, expected.len() as u64, "{:?} {:?}", told, expected);
            let paths: Vec<&String> = told.members.iter().map(|member| &member.path).collect();
            prop_assert!(paths.iter().all(|path| expected.contains(path)), "{:?} {:?}", paths, expected);
        }

        #[test]
        fn arbitrary_bytes_are_no_reason_to_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), plain in members(plain())) {
            let definition = format!("DEFINE EVENT A.b {} STRICT", text(&Plain::Object(plain)));
            let (_, schema) = compile(&definition).unwrap();
            drop(schema.check(Raw(&bytes), &Limits::default()));
        }
    }
}
