//! The data of a CloudEvent: any JSON value, or bytes in base64, or none. Ours is an object.
//!
//! An object is data as it is. Any other value is in the member `data_value` of an object that has no other, bytes in `data_base64`.
//! An object that looks like one of these is put into one more `data_value`, so that each object of ours stands for one
//! payload, and the other way round. No data and an empty object are the same.

use super::super::members::{JsonMembers, put};
use super::WHAT;
use crate::error::{Error, Result, shorten};
use crate::value::{Object, Value};

/// What it is if nothing is said.
pub const JSON: &str = "application/json";

const VALUE: &str = "data_value";
const BASE64: &str = "data_base64";

pub enum Payload {
    Json(Value),
    Base64(String),
}

/// Takes it from a CloudEvent, as an object.
pub fn read(given: &mut JsonMembers) -> Result<Object> {
    // Here, null is a value.
    match (given.left.shift_remove("data"), given.text(BASE64)?) {
        (Some(_), Some(_)) => Err(Error::invalid(WHAT, "`data` or `data_base64`", "both")),
        (Some(Value::Object(members)), None) if !is_wrapper(&members) => Ok(members),
        (Some(value), None) => Ok(Object::from_iter([(VALUE.to_owned(), value)])),
        (None, Some(text)) if is_base64(&text) => {
            Ok(Object::from_iter([(BASE64.to_owned(), Value::Text(text))]))
        }
        (None, Some(text)) => Err(Error::invalid("`data_base64`", "base64", shorten(&text))),
        (None, None) => Ok(Object::new()),
    }
}

impl Payload {
    /// What an object of ours stands for.
    pub fn of(data: Object) -> Option<Payload> {
        if data.is_empty() {
            return None;
        }
        if !is_wrapper(&data) {
            return Some(Payload::Json(Value::Object(data)));
        }
        match data.into_iter().next()? {
            (name, Value::Text(text)) if name == BASE64 => Some(Payload::Base64(text)),
            (_, value) => Some(Payload::Json(value)),
        }
    }

    fn put(self, form: &mut Object) {
        match self {
            Payload::Json(value) => put(form, "data", Some(value)),
            Payload::Base64(text) => put(form, BASE64, Some(text)),
        }
    }
}

/// Writes it, where there is one.
pub fn write(payload: Option<Payload>, form: &mut Object) {
    if let Some(payload) = payload {
        payload.put(form);
    }
}

/// Whether an object stands for what it has within.
fn is_wrapper(members: &Object) -> bool {
    match members.get_index(0).filter(|_| members.len() == 1) {
        Some((name, Value::Text(text))) if name == BASE64 => is_base64(text),
        Some((name, Value::Object(inner))) if name == VALUE => is_wrapper(inner),
        Some((name, _)) => name == VALUE,
        None => false,
    }
}

fn is_base64(text: &str) -> bool {
    let digits = text.strip_suffix("==").or(text.strip_suffix('=')).unwrap_or(text);
    text.len().is_multiple_of(4)
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of the members of a CloudEvent, and of that when it is written.
    fn both(given: &str) -> (String, String) {
        let Value::Object(members) = given.parse().unwrap() else { panic!("{given}") };
        let data = read(&mut JsonMembers::new(WHAT, members)).unwrap();
        let mut form = Object::new();
        write(Payload::of(data.clone()), &mut form);
        (Value::Object(data).to_string(), Value::Object(form).to_string())
    }

    #[test]
    fn each_payload_has_an_object_of_its_own() {
        for (given, data) in [
            (r#"{"data":{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"data":5}"#, r#"{"data_value":5}"#),
            (r#"{"data":null}"#, r#"{"data_value":null}"#),
            (r#"{"data":[{}]}"#, r#"{"data_value":[{}]}"#),
            (r#"{"data":"<x/>"}"#, r#"{"data_value":"<x/>"}"#),
            (r#"{"data_base64":"AAE="}"#, r#"{"data_base64":"AAE="}"#),
            (r#"{"data":{"data_value":5}}"#, r#"{"data_value":{"data_value":5}}"#),
            (r#"{"data":{"data_value":{"a":5}}}"#, r#"{"data_value":{"a":5}}"#),
            (r#"{"data":{"data_base64":"AAE="}}"#, r#"{"data_value":{"data_base64":"AAE="}}"#),
            (r#"{"data":{"data_base64":"no"}}"#, r#"{"data_base64":"no"}"#),
            (
                r#"{"data":{"data_value":{"data_base64":""}}}"#,
                r#"{"data_value":{"data_value":{"data_base64":""}}}"#,
            ),
            ("{}", "{}"),
        ] {
            assert_eq!(both(given), (data.to_owned(), given.to_owned()));
        }
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for wrong in [r#"{"data":1,"data_base64":""}"#, r#"{"data_base64":"a b="}"#, r#"{"data_base64":[]}"#]
        {
            let Value::Object(members) = wrong.parse().unwrap() else { panic!("{wrong}") };
            assert!(read(&mut JsonMembers::new(WHAT, members)).is_err(), "{wrong}");
        }
    }
}
