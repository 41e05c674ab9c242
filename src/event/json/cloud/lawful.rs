//! What an attribute of a CloudEvent may be: its name, its text, its value.

use crate::entity::is_word;
use crate::value::{Object, Value};

/// Whether a text may be an attribute: not empty, no control characters, no code points that stand for none.
pub fn is_lawful(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_allowed)
}

fn is_allowed(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && !matches!(code, 0xfdd0..=0xfdef) && code & 0xfffe != 0xfffe
}

/// A text that may be an attribute, and looks like this one.
pub fn made_lawful(text: &str) -> String {
    text.chars().map(|c| if is_allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// JSON that may be an attribute: in its texts, each character has another way to be written.
pub fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_allowed(c) {
            escaped.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
        }
    }
    escaped
}

/// Whether a value may be an attribute: a text, a boolean, or an integer of 32 bits.
pub fn is_value(value: &Value) -> bool {
    match value {
        Value::Text(text) => is_lawful(text),
        Value::Int(n) => i32::try_from(*n).is_ok(),
        other => other.as_bool().is_some(),
    }
}

pub fn is_extension_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether a text may be a reference of RFC 3986, as far as its characters tell.
pub(crate) fn is_uri_reference(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => {
                let mut digit = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
                digit() && digit()
            }
            byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    !text.is_empty()
}

/// `type/id`, if it is read back as the same.
pub fn path(told: &Object) -> Option<String> {
    let part = |name: &str| told.get(name).and_then(Value::as_text);
    let (kind, id) = (part("type")?, part("id")?);
    let fits = is_lawful(kind) && is_lawful(id) && !kind.contains('/');
    fits.then(|| format!("{kind}/{id}"))
}

/// The entity that a subject tells, like `Order/42`. The subjects of others are often paths, too: theirs is one if it begins with
/// a word.
pub fn split_path(subject: &str) -> Option<(&str, &str)> {
    subject.split_once('/').filter(|(kind, id)| is_word(kind) && !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_of_an_attribute_is_escaped_in_json() {
        let odd = "a\u{85}\u{fffe}\u{1ffff}\n\"é";
        assert!(!is_lawful(odd) && !is_lawful("") && is_lawful("é \u{1f600}"));
        let json = escaped(&Value::from(odd).to_string());
        assert!(is_lawful(&json), "{json}");
        assert_eq!(json.parse::<Value>().unwrap(), Value::from(odd));
        assert!(is_lawful(&made_lawful(odd)));
    }

    #[test]
    fn a_reference_has_no_spaces() {
        for good in ["/mycontext", "urn:uuid:6e8b", "https://a.example/x?y#z", "a%20b", "1-555"] {
            assert!(is_uri_reference(good), "{good}");
        }
        for wrong in ["", "a b", "é", "a%2", "a%zz", "<x>"] {
            assert!(!is_uri_reference(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_subject_may_name_an_entity() {
        assert_eq!(split_path("Order/42/a"), Some(("Order", "42/a")));
        for other in ["file.jpg", "/a/b", "a.b/c", "Order/", "", "a b/c"] {
            assert_eq!(split_path(other), None, "{other}");
        }
    }
}
