//! Documents read from JSON, straight into the form that they are stored in.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::Document;
use crate::value::MAX_DEPTH;

/// Reads an object that somebody wrote as JSON: what [`Value`](crate::value::Value) would read, without making one.
///
/// # Errors
/// What is no object, nests too deep, or has a key twice.
pub(crate) fn document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
    let mut out = Vec::with_capacity(256);
    deserializer.deserialize_map(Transcoder { out: &mut out, left: MAX_DEPTH })?;
    Ok(if out == [0x80] { Document::empty() } else { Document::from_bytes(out.into()) })
}

/// Writes what it reads.
struct Transcoder<'w> {
    out: &'w mut Vec<u8>,
    /// How many levels more.
    left: usize,
}

impl Transcoder<'_> {
    fn put<T: serde::Serialize + ?Sized, E: serde::de::Error>(self, scalar: &T) -> Result<(), E> {
        rmp_serde::encode::write(self.out, scalar).map_err(E::custom)
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.left.checked_sub(1).ok_or_else(|| E::custom(format!("nested deeper than {MAX_DEPTH}")))
    }
}

impl<'de> DeserializeSeed<'de> for Transcoder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcoder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.put(&())
    }

    fn visit_bool<E: serde::de::Error>(self, b: bool) -> Result<(), E> {
        self.put(&b)
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<(), E> {
        self.put(&n)
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<(), E> {
        self.put(&n)
    }

    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<(), E> {
        if n.is_finite() { self.put(&n) } else { Err(E::custom("a number that is not finite")) }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.put(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (left, head) = (self.deeper()?, self.out.len());
        self.out.push(0x90);
        let mut count = 0;
        while seq.next_element_seed(Transcoder { out: &mut *self.out, left })?.is_some() {
            count += 1;
        }
        set_count(self.out, head, count, 0xdc).ok_or_else(|| A::Error::custom("too many items"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (left, head) = (self.deeper()?, self.out.len());
        self.out.push(0x80);
        let mut names = Vec::new();
        loop {
            let start = self.out.len();
            // A name is no level of its own: it is text, or the reader refuses it.
            if map.next_key_seed(Transcoder { out: &mut *self.out, left: 0 })?.is_none() {
                break;
            }
            names.push((start, self.out.len()));
            map.next_value_seed(Transcoder { out: &mut *self.out, left })?;
        }
        if let Some(twice) = twice(self.out, &names) {
            return Err(A::Error::custom(format!("the key {twice:?} twice")));
        }
        set_count(self.out, head, names.len(), 0xde).ok_or_else(|| A::Error::custom("too many members"))
    }
}

/// A name that stands there more than once.
fn twice(out: &[u8], names: &[(usize, usize)]) -> Option<String> {
    /// So few are compared with each other.
    const FEW: usize = 16;
    let name = |&(start, end): &(usize, usize)| &out[start..end];
    let twice = if names.len() <= FEW {
        let mut places = names.iter().enumerate();
        places.find_map(|(at, one)| names[..at].iter().map(name).find(|other| *other == name(one)))
    } else {
        let mut sorted: Vec<&[u8]> = names.iter().map(name).collect();
        sorted.sort_unstable();
        sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    };
    twice.map(|name| rmp_serde::from_slice(name).unwrap_or_default())
}

/// Sets how many items or members follow a head of one byte, which may have to be longer for that: `two` is one with two bytes of count,
/// the next one with four.
fn set_count(out: &mut Vec<u8>, head: usize, count: usize, two: u8) -> Option<()> {
    if count < 16 {
        out[head] |= count as u8;
    } else if let Ok(count) = u16::try_from(count) {
        out[head] = two;
        out.splice(head + 1..head + 1, count.to_be_bytes());
    } else {
        out[head] = two + 1;
        out.splice(head + 1..head + 1, u32::try_from(count).ok()?.to_be_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;
    use crate::value::{Object, Value};

    fn read(json: &str) -> Result<Document, serde_json::Error> {
        document(&mut serde_json::Deserializer::from_str(json))
    }

    proptest! {
        /// The bytes are the same as those of what is read the long way.
        #[test]
        fn json_becomes_what_is_stored(members in prop::collection::vec(("[a-z]{0,2}", any_value()), 0..40)) {
            let members: Object = members.into_iter().collect();
            let json = Value::Object(members.clone()).to_string();
            let document = read(&json).unwrap();
            let long = Document::from_object(&members).unwrap();
            prop_assert_eq!(document.as_bytes(), long.as_bytes());
            prop_assert_eq!(document.to_string(), json);
        }
    }

    #[test]
    fn large_objects_and_arrays_have_longer_heads() {
        for count in [15, 16, 17, 65_535, 65_536] {
            let items = Value::Array(vec![Value::Null; count]);
            let members: Object =
                (0..count).map(|n| (n.to_string(), items.clone())).take(70_000 / count).collect();
            let members = if members.len() > 15 {
                members
            } else {
                (0..count).map(|n| (n.to_string(), Value::Null)).collect()
            };
            let json = format!(r#"{{"items":{items},"members":{}}}"#, Value::Object(members));
            assert_eq!(read(&json).unwrap().as_bytes(), json.parse::<Document>().unwrap().as_bytes());
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let many = (0..20).map(|n| format!("\"{n}\":0,")).collect::<String>();
        for wrong in [
            "[]".to_owned(),
            "5".to_owned(),
            r#"{"a":1,"a":2}"#.to_owned(),
            format!(r#"{{{many}"7":1}}"#),
            format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)),
            format!("{{\"a\":{}", "[".repeat(100_000)),
            r#"{"a":1e999}"#.to_owned(),
        ] {
            assert!(read(&wrong).is_err(), "{wrong:.40}");
        }
        let deepest = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
        assert_eq!(read(&deepest).unwrap().to_string(), deepest);
        assert!(read("{}").unwrap().is_empty());
    }
}
