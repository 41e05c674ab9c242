//! Values: JSON, with numbers that are i64, u64 or f64 and nothing else.
//!
//! A [`Value`] is in memory; a `Document` is an object as it is stored. Objects keep the
//! order they were written in and are equal in any order. A key that appears twice is refused, not dropped.

mod object;

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::document::write::{self, Unusual};
use crate::document::{Raw, read};
use crate::error::{Error, Result, shorten};

/// How deep values nest at most: enough for any record, little enough for any stack.
pub(crate) const MAX_DEPTH: usize = 100;

/// A JSON value.
///
/// ```
/// use bygone::Value;
/// let value: Value = r#"{"total": 10, "tags": ["a"]}"#.parse()?;
/// assert_eq!(value.get("total"), Some(&Value::from(10)));
/// assert_eq!(value.to_string(), r#"{"total":10,"tags":["a"]}"#);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    #[default]
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// An integer over `i64::MAX`; smaller ones are always [`Value::Int`].
    UInt(u64),
    /// A finite float.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Named values.
    Object(Object),
}

/// About what an item of an array takes beside what it holds; and a member of an object, which has a name and may have a place in a table of
/// hashes, too. What is limited by them is limited as ever, however values are laid out.
pub(crate) const ITEM: usize = 72;
pub(crate) const MEMBER: usize = 2 * ITEM;

pub use object::Object;

impl Value {
    /// Any serde type as a value, by the rules of JSON: what has no JSON form (a NaN, a map with compound keys) is
    /// an error.
    pub fn of<T: Serialize + ?Sized>(data: &T) -> Result<Value> {
        match write::value(data) {
            Ok(bytes) => return Raw(&bytes).to_value(),
            Err(Unusual(Some(found))) => {
                return Err(Error::invalid("data", "a value with a form in JSON", found));
            }
            Err(Unusual(None)) => {}
        }
        let text = serde_json::to_string(data).map_err(|e| unfit("data", &e))?;
        text.parse()
    }

    /// The value as any serde type, by the rules of JSON.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let straight = rmp_serde::to_vec(self).ok().and_then(|bytes| read::typed(&bytes).ok());
        straight.map_or_else(|| self.parse_json(), Ok)
    }

    /// The same, by way of its JSON.
    pub(crate) fn parse_json<T: DeserializeOwned>(&self) -> Result<T> {
        let text = serde_json::to_vec(self).map_err(|e| unfit("data", &e))?;
        serde_json::from_slice(&text).map_err(|e| unfit("data", &e))
    }

    /// The member of an object; none for anything else.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// What kind of value, for messages: `an object`, `text`.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// The number of an integer that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The number of any number, to the precision of a float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(n) => Some(*n as f64),
            Value::UInt(n) => Some(*n as f64),
            Value::Float(n) => Some(*n),
            _ => None,
        }
    }

    /// True or false.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The text of a text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// About how many bytes of memory it holds beside itself. [`Raw::weight`] tells the same of what is stored.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Array(items) => items.iter().map(|item| ITEM + item.weight()).sum(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| MEMBER + name.len() + value.weight()).sum()
            }
            _ => 0,
        }
    }

    /// The beginning of it as JSON, for messages: however large it is, that is short.
    pub(crate) fn glimpse(&self) -> String {
        let mut json = Beginning(Vec::new());
        // It ends with an error where there is more of it.
        let _ = serde_json::to_writer(&mut json, self);
        shorten(&String::from_utf8_lossy(&json.0))
    }

    /// The same value with the members of its objects in one order, whatever order they were written in.
    pub(crate) fn canonical(self) -> Value {
        match self {
            Value::Object(members) => {
                let mut members: Object =
                    members.into_iter().map(|(name, value)| (name, value.canonical())).collect();
                members.sort_keys();
                Value::Object(members)
            }
            Value::Array(items) => Value::Array(items.into_iter().map(Value::canonical).collect()),
            other => other,
        }
    }

    /// Folds a JSON merge patch (RFC 7396) into this value: null removes, objects merge, anything else replaces.
    pub fn merge(&mut self, patch: Value) {
        let Value::Object(patch) = patch else {
            *self = patch;
            return;
        };
        if !matches!(self, Value::Object(_)) {
            *self = Value::Object(Object::new());
        }
        let Value::Object(members) = self else { return };
        // To take one away moves all behind it: many go in one pass.
        const MANY: usize = 32;
        if patch.values().filter(|change| **change == Value::Null).take(MANY).count() == MANY {
            members.retain(|name, _| patch.get(name) != Some(&Value::Null));
        }
        for (name, change) in patch {
            match change {
                Value::Null => {
                    members.shift_remove(&name);
                }
                change => members.member_or(name, Value::default).merge(change),
            }
        }
    }
}

fn unfit(what: &str, why: &serde_json::Error) -> Error {
    // serde_json ends its messages with a place in a text that the caller never saw.
    let why = why.to_string();
    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
    // Whole: it may say which of many values would do.
    Error::invalid(what, "a value with a form in JSON that fits", why)
}

/// Takes the beginning of a text, and no more.
struct Beginning(Vec<u8>);

impl std::io::Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        const MOST: usize = 1024;
        if self.0.len() >= MOST {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let taken = bytes.len().min(MOST);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Value {
    /// Writes it as JSON, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl std::str::FromStr for Value {
    type Err = Error;

    /// Reads JSON. An integer too wide for 64 bits, a float too large or too close to 0, and a key that appears twice are errors.
    fn from_str(text: &str) -> Result<Value> {
        Value::read(text, 0)
    }
}

impl Value {
    /// Reads JSON that may nest so many levels deeper than a value may: those of the envelope that values come in.
    pub(crate) fn read(text: &str, envelope: usize) -> Result<Value> {
        let fault = |why: String| {
            let expected = match () {
                () if why.starts_with("the key ") => "each key of an object once",
                () if why.contains("64 bits cannot hold") || why.contains("for a float") => {
                    "numbers of 64 bits"
                }
                () => "one value",
            };
            Error::invalid("JSON", expected, why)
        };
        if let Some((number, why)) = unfit_number(text.as_bytes()) {
            return Err(fault(format!("{}, {why}", shorten(number))));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let value = ValueBuilder { left: MAX_DEPTH + envelope }.deserialize(&mut json);
        value.and_then(|value| json.end().map(|()| value)).map_err(|e| fault(e.to_string()))
    }
}

/// Finds a number outside strings that would silently become another: an integer that neither i64 nor u64 holds, which read as JSON is a
/// float, and a number that is not 0 and that no float is as close to as 0. Says why.
pub(crate) fn unfit_number(json: &[u8]) -> Option<(&str, &'static str)> {
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'"' => {
                at += 1;
                while at < json.len() && json[at] != b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'0'..=b'9' | b'-' => {
                let start = at;
                at += 1;
                while at < json.len() && matches!(json[at], b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') {
                    at += 1;
                }
                // Shorter ones fit, whatever they are.
                if at - start >= 6
                    && let Ok(number) = std::str::from_utf8(&json[start..at])
                    && let Some(why) = why_unfit(number)
                {
                    return Some((number, why));
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// Why a number, as it is written, cannot be kept as it is.
pub(crate) fn why_unfit(number: &str) -> Option<&'static str> {
    if !number.contains(['.', 'e', 'E']) {
        let wide = number.len() >= 19 && number.parse::<i64>().is_err() && number.parse::<u64>().is_err();
        return wide.then_some("an integer that 64 bits cannot hold");
    }
    // The smallest are written with an exponent, or with very many zeros.
    let small = number.contains("e-") || number.contains("E-") || number.len() > 300;
    let digits = number.split(['e', 'E']).next().unwrap_or_default();
    let vanishes = small
        && digits.bytes().any(|digit| matches!(digit, b'1'..=b'9'))
        && number.parse::<f64>().is_ok_and(|number| number == 0.0);
    vanishes.then_some("a number that is not 0, and too close to 0 for a float")
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(n) => serializer.serialize_i64(*n),
            Value::UInt(n) => serializer.serialize_u64(*n),
            Value::Float(n) => serializer.serialize_f64(*n),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Array(items) => serializer.collect_seq(items),
            Value::Object(members) => serializer.collect_map(members),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(ValueBuilder { left: MAX_DEPTH })
    }
}

/// Builds a value from whatever comes, no deeper than allowed.
struct ValueBuilder {
    /// How many levels more.
    left: usize,
}

impl<'de> serde::de::DeserializeSeed<'de> for ValueBuilder {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueBuilder {
    fn deeper<E: serde::de::Error>(&self) -> std::result::Result<usize, E> {
        self.left.checked_sub(1).ok_or_else(|| E::custom(format!("nested deeper than {MAX_DEPTH}")))
    }
}

impl<'de> Visitor<'de> for ValueBuilder {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, b: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> std::result::Result<Value, E> {
        Ok(Value::Int(n))
    }

    fn visit_u64<E>(self, n: u64) -> std::result::Result<Value, E> {
        Ok(Value::from(n))
    }

    fn visit_f64<E: serde::de::Error>(self, n: f64) -> std::result::Result<Value, E> {
        if n.is_finite() { Ok(Value::Float(n)) } else { Err(E::custom("a number that is not finite")) }
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> std::result::Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let left = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(ValueBuilder { left })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let left = self.deeper()?;
        let mut members = Object::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(ValueBuilder { left })?;
            if members.contains_key(&name) {
                return Err(A::Error::custom(format!("the key {name:?} twice")));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

macro_rules! from_integers {
    ($($integer:ty as $wide:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(n: $integer) -> Value {
                Value::from(<$wide>::from(n))
            }
        }
    )*};
}

from_integers! { i8 as i64, i16 as i64, i32 as i64, u8 as u64, u16 as u64, u32 as u64 }

impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int(n)
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Value {
        i64::try_from(n).map_or(Value::UInt(n), Value::Int)
    }
}

impl From<f64> for Value {
    /// A float that is not finite has no form in JSON: it becomes null.
    fn from(n: f64) -> Value {
        if n.is_finite() { Value::Float(n) } else { Value::Null }
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<Object> for Value {
    fn from(members: Object) -> Value {
        Value::Object(members)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_fit_is_told_whole() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[allow(dead_code)]
        enum AccountStatus {
            Opened,
            Deposited,
            Withdrawn,
            Frozen,
            Reopened,
            Transferred,
        }
        let error = Value::from("lost").parse::<AccountStatus>().unwrap_err().to_string();
        assert!(
            error.ends_with(
                "expected one of `opened`, `deposited`, `withdrawn`, `frozen`, `reopened`, `transferred`"
            ),
            "{error}"
        );
    }

    /// Any value, of moderate size.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::Text),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec(("[a-e]", inner), 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn merged(target: &str, patch: &str) -> String {
        let mut value: Value = target.parse().unwrap();
        value.merge(patch.parse().unwrap());
        value.to_string()
    }

    #[test]
    fn merging_follows_the_examples_of_rfc_7396() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), result);
        }
    }

    #[test]
    fn what_json_would_change_silently_is_refused() {
        for wrong in
            ["123456789012345678901", "-9223372036854775809", r#"{"a":1,"a":2}"#, "1e999", "[1", "NaN"]
        {
            assert!(wrong.parse::<Value>().is_err(), "{wrong}");
        }
        let zeros = "0".repeat(400);
        for small in ["1e-400", "-2.5E-330", "[0, 1e-400]", r#"{"a":0.1e-999}"#, &format!("0.{zeros}1")] {
            let error = small.parse::<Value>().unwrap_err().to_string();
            assert!(error.contains("not 0, and too close to 0"), "{small}: {error}");
        }
        for fits in ["0e-400", "-0.0e-999", "5e-324", "1e-5", &format!("0.{zeros}0"), r#""1e-400""#] {
            assert!(fits.parse::<Value>().is_ok(), "{fits}");
        }
        assert!(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).parse::<Value>().is_err());
        assert_eq!("18446744073709551615".parse::<Value>().unwrap(), Value::UInt(u64::MAX));
        assert_eq!(r#""123456789012345678901""#.parse::<Value>().unwrap().kind(), "text");
    }

    proptest! {
        #[test]
        fn a_value_prints_as_it_parses(value in any_value()) {
            prop_assert_eq!(value.to_string().parse::<Value>().unwrap(), value);
        }
    }
}
