//! Writes any serde type as a document in one pass: what its JSON would be, without making the JSON.
//!
//! It knows the usual forms only. Where the rules of JSON would change what is written (keys that are numbers) or have to be
//! enforced (a key that appears twice, nesting), it gives up, and [`Value::of`](crate::value::Value::of) goes the long way through JSON itself.

use std::fmt;

use serde::ser::{self, Serialize};

use crate::value::MAX_DEPTH;

/// The most members of an object that are compared with each other here.
const MANY: usize = 256;

/// The bytes of a value; an error without words if the long way has to be gone, be it only to tell what is wrong.
pub(crate) fn value<T: Serialize + ?Sized>(data: &T) -> Result<Vec<u8>, Unusual> {
    let mut writer = DocumentWriter { out: Vec::with_capacity(256), names: Vec::new(), depth: 0 };
    data.serialize(&mut writer)?;
    Ok(writer.out)
}

fn is_text(marker: u8) -> bool {
    matches!(marker, 0xa0..=0xbf | 0xd9..=0xdb)
}

/// Not a usual form; and, if it has no form at all, what it is.
#[derive(Debug)]
pub(crate) struct Unusual(pub Option<String>);

/// A form that the long way through JSON takes.
const LONG_WAY: Unusual = Unusual(None);

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("not a usual form"))
    }
}

impl std::error::Error for Unusual {}

impl ser::Error for Unusual {
    fn custom<T: fmt::Display>(_: T) -> Unusual {
        LONG_WAY
    }
}

type WriteResult<T = ()> = Result<T, Unusual>;

struct DocumentWriter {
    out: Vec<u8>,
    /// Where the names of the members written so far stand, of every object that is open.
    names: Vec<(usize, usize)>,
    depth: usize,
}

impl DocumentWriter {
    fn put<T: Serialize + ?Sized>(&mut self, scalar: &T) -> WriteResult {
        rmp_serde::encode::write(&mut self.out, scalar).map_err(|_| LONG_WAY)
    }

    /// Begins an array (its markers: `few` for less than 16 elements, then two or four bytes of length) or an object.
    fn begin(&mut self, length: Option<usize>, few: u8, two: u8, closes: usize) -> WriteResult<Compound<'_>> {
        if self.depth + closes > MAX_DEPTH {
            return Err(LONG_WAY);
        }
        self.depth += closes;
        let at = self.out.len();
        match length {
            Some(length @ 0..16) => self.out.push(few | length as u8),
            Some(length @ 16..0x1_0000) => {
                self.out.push(two);
                self.out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            // What is not known yet is written when it is: it takes the widest form.
            _ => {
                self.out.push(two + 1);
                let length = u32::try_from(length.unwrap_or(0)).map_err(|_| LONG_WAY)?;
                self.out.extend_from_slice(&length.to_be_bytes());
            }
        }
        Ok(Compound { announced: length, at, count: 0, first_name: self.names.len(), closes, writer: self })
    }

    fn array(&mut self, length: Option<usize>) -> WriteResult<Compound<'_>> {
        self.begin(length, 0x90, 0xdc, 1)
    }

    fn map(&mut self, length: Option<usize>) -> WriteResult<Compound<'_>> {
        self.begin(length, 0x80, 0xde, 1)
    }

    /// Begins the object around a variant's content: `{"variant": …`.
    fn variant(&mut self, variant: &str) -> WriteResult {
        if self.depth >= MAX_DEPTH {
            return Err(LONG_WAY);
        }
        self.out.push(0x81);
        self.put(variant)
    }
}

/// An array or an object that is being written.
struct Compound<'w> {
    writer: &'w mut DocumentWriter,
    /// How many there are to be, if that was said; else the count is written at `at` in the end.
    announced: Option<usize>,
    at: usize,
    count: usize,
    first_name: usize,
    /// How many levels end with it: two for a variant's content.
    closes: usize,
}

impl Compound<'_> {
    fn next(&mut self) -> WriteResult {
        self.count += 1;
        Ok(())
    }

    fn name<T: Serialize + ?Sized>(&mut self, name: &T) -> WriteResult {
        self.next()?;
        let writer = &mut *self.writer;
        let start = writer.out.len();
        name.serialize(&mut *writer)?;
        let (before, name) = writer.out.split_at(start);
        if writer.names.len() - self.first_name > MANY {
            return Err(LONG_WAY);
        }
        let twice = writer.names[self.first_name..].iter().any(|&(start, end)| before[start..end] == *name);
        if twice || !name.first().is_some_and(|&marker| is_text(marker)) {
            return Err(LONG_WAY);
        }
        writer.names.push((start, writer.out.len()));
        Ok(())
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> WriteResult {
        self.next()?;
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> WriteResult {
        self.writer.names.truncate(self.first_name);
        self.writer.depth -= self.closes;
        match self.announced {
            Some(announced) if announced == self.count => Ok(()),
            // A length that was announced and is not kept would make all that follows unreadable.
            Some(_) => Err(LONG_WAY),
            None => {
                let count = u32::try_from(self.count).map_err(|_| LONG_WAY)?;
                self.writer.out[self.at + 1..self.at + 5].copy_from_slice(&count.to_be_bytes());
                Ok(())
            }
        }
    }
}

impl<'w> ser::Serializer for &'w mut DocumentWriter {
    type Ok = ();
    type Error = Unusual;
    type SerializeSeq = Compound<'w>;
    type SerializeTuple = Compound<'w>;
    type SerializeTupleStruct = Compound<'w>;
    type SerializeTupleVariant = Compound<'w>;
    type SerializeMap = Compound<'w>;
    type SerializeStruct = Compound<'w>;
    type SerializeStructVariant = Compound<'w>;

    fn serialize_bool(self, v: bool) -> WriteResult {
        self.put(&v)
    }

    fn serialize_i8(self, v: i8) -> WriteResult {
        self.put(&i64::from(v))
    }

    fn serialize_i16(self, v: i16) -> WriteResult {
        self.put(&i64::from(v))
    }

    fn serialize_i32(self, v: i32) -> WriteResult {
        self.put(&i64::from(v))
    }

    fn serialize_i64(self, v: i64) -> WriteResult {
        self.put(&v)
    }

    fn serialize_u8(self, v: u8) -> WriteResult {
        self.put(&u64::from(v))
    }

    fn serialize_u16(self, v: u16) -> WriteResult {
        self.put(&u64::from(v))
    }

    fn serialize_u32(self, v: u32) -> WriteResult {
        self.put(&u64::from(v))
    }

    fn serialize_u64(self, v: u64) -> WriteResult {
        self.put(&v)
    }

    fn serialize_f32(self, v: f32) -> WriteResult {
        // JSON has its shortest decimal form, which is another number of 64 bits.
        let shortest = v.to_string();
        self.serialize_f64(shortest.parse().map_err(|_| LONG_WAY)?)
    }

    fn serialize_f64(self, v: f64) -> WriteResult {
        if v.is_finite() {
            self.put(&v)
        } else {
            Err(Unusual(Some(format!("{v}, which is no number of JSON"))))
        }
    }

    fn serialize_i128(self, v: i128) -> WriteResult {
        let refused = || Unusual(Some(format!("{v}, an integer that 64 bits cannot hold")));
        match i64::try_from(v) {
            Ok(v) => self.serialize_i64(v),
            Err(_) => self.serialize_u64(u64::try_from(v).map_err(|_| refused())?),
        }
    }

    fn serialize_u128(self, v: u128) -> WriteResult {
        let refused = || Unusual(Some(format!("{v}, an integer that 64 bits cannot hold")));
        self.serialize_u64(u64::try_from(v).map_err(|_| refused())?)
    }

    fn serialize_char(self, v: char) -> WriteResult {
        self.put(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> WriteResult {
        self.put(v)
    }

    fn serialize_bytes(self, _: &[u8]) -> WriteResult {
        Err(LONG_WAY) // in JSON an array of numbers
    }

    fn serialize_none(self) -> WriteResult {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> WriteResult {
        value.serialize(self)
    }

    fn serialize_unit(self) -> WriteResult {
        self.put(&())
    }

    fn serialize_unit_struct(self, _: &'static str) -> WriteResult {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> WriteResult {
        self.put(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> WriteResult {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> WriteResult {
        self.variant(variant)?;
        self.depth += 1;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn serialize_seq(self, length: Option<usize>) -> WriteResult<Compound<'w>> {
        self.array(length)
    }

    fn serialize_tuple(self, length: usize) -> WriteResult<Compound<'w>> {
        self.array(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> WriteResult<Compound<'w>> {
        self.array(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> WriteResult<Compound<'w>> {
        self.variant(variant)?;
        self.begin(Some(length), 0x90, 0xdc, 2)
    }

    fn serialize_map(self, length: Option<usize>) -> WriteResult<Compound<'w>> {
        self.map(length)
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> WriteResult<Compound<'w>> {
        // serde_json hands itself JSON that is not to be parsed, and numbers, as structs with such names.
        if name.starts_with('$') {
            return Err(LONG_WAY);
        }
        self.map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> WriteResult<Compound<'w>> {
        self.variant(variant)?;
        self.begin(Some(length), 0x80, 0xde, 2)
    }
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Unusual;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> WriteResult {
        self.name(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> WriteResult {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> WriteResult {
        self.close()
    }
}

macro_rules! members {
    ($($form:ident)*) => {$(
        impl ser::$form for Compound<'_> {
            type Ok = ();
            type Error = Unusual;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> WriteResult {
                self.name(name)?;
                value.serialize(&mut *self.writer)
            }

            fn end(self) -> WriteResult {
                self.close()
            }
        }
    )*};
}

macro_rules! elements {
    ($($form:ident $method:ident)*) => {$(
        impl ser::$form for Compound<'_> {
            type Ok = ();
            type Error = Unusual;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> WriteResult {
                self.element(value)
            }

            fn end(self) -> WriteResult {
                self.close()
            }
        }
    )*};
}

members! { SerializeStruct SerializeStructVariant }
elements! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;

    use super::{Unusual, value};
    use crate::document::Document;
    use crate::value::tests::any_value;
    use crate::value::{Object, Value};

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Pair(u8, Option<char>);

    #[derive(Serialize)]
    enum Form {
        Unit,
        New(Pair),
        Tuple(i8, &'static str),
        Struct { a: u64, b: Vec<Form> },
    }

    #[derive(Serialize)]
    struct Usual {
        text: String,
        numbers: (i64, u64, f64, i16, u32),
        flags: [bool; 2],
        unit: ((), Unit, Option<u8>),
        #[serde(skip_serializing_if = "Option::is_none")]
        skipped: Option<u8>,
        forms: Vec<Form>,
        map: BTreeMap<String, Pair>,
        long: Vec<u32>,
    }

    fn usual() -> Usual {
        Usual {
            text: "x".repeat(300),
            numbers: (i64::MIN, u64::MAX, -0.5, -200, 70_000),
            flags: [true, false],
            unit: ((), Unit, None),
            skipped: None,
            forms: vec![
                Form::Unit,
                Form::New(Pair(3, Some('é'))),
                Form::Tuple(-1, "t"),
                Form::Struct { a: 1, b: vec![Form::Unit] },
            ],
            map: [("k".to_owned(), Pair(200, None))].into(),
            long: (0..70_000).collect(),
        }
    }

    fn object<T: Serialize + ?Sized>(data: &T) -> Option<Vec<u8>> {
        value(data).ok()
    }

    fn long_way<T: Serialize>(data: &T) -> Document {
        let Value::Object(members) = Value::of(data).unwrap() else { panic!("an object") };
        Document::from_object(&members).unwrap()
    }

    #[test]
    fn every_usual_form_is_written_as_the_long_way_writes_it() {
        let data = usual();
        assert_eq!(object(&data).unwrap(), long_way(&data).as_bytes());
    }

    #[test]
    fn what_json_would_change_or_refuse_goes_the_long_way() {
        struct Twice;
        impl Serialize for Twice {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([("a", 1), ("a", 2)])
            }
        }
        struct Liar;
        impl Serialize for Liar {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::ser::SerializeMap::end(serializer.serialize_map(Some(3))?)
            }
        }
        #[derive(Serialize)]
        struct Raw {
            raw: Inner,
        }
        #[derive(Serialize)]
        #[serde(rename = "$serde_json::private::RawValue")]
        struct Inner {
            value: u8,
        }
        assert!(object(&Twice).is_none() && Document::of(&Twice).is_err());
        assert!(object(&Liar).is_none() && Document::of(&Liar).unwrap().is_empty());
        assert!(object(&Raw { raw: Inner { value: 1 } }).is_none());
        assert!(object(&BTreeMap::from([(1, 2)])).is_none());
        assert_eq!(Document::of(&BTreeMap::from([(1, 2)])).unwrap().get("1"), Some(Value::from(2)));
        assert_eq!(Document::of(&BTreeMap::from([("f", 0.1f32)])).unwrap().get("f"), Some(Value::Float(0.1)));
        let many: BTreeMap<String, u8> = (0..1000).map(|n| (n.to_string(), 0)).collect();
        assert!(object(&many).is_none() && Document::of(&many).is_ok());
    }

    #[test]
    fn what_json_would_change_silently_is_refused() {
        for refused in [value(&f64::NAN), value(&[f32::INFINITY]), value(&u128::MAX), value(&i128::MIN)] {
            assert!(matches!(refused, Err(Unusual(Some(_)))));
        }
        let error = Value::of(&BTreeMap::from([("x", f64::NAN)])).unwrap_err().to_string();
        assert!(error.contains("NaN"), "{error}");
        assert_eq!(Value::of(&7u128).unwrap(), Value::Int(7));
    }

    #[test]
    fn a_length_that_is_not_known_before_is_written_in_the_end() {
        #[derive(Serialize)]
        struct Outer {
            a: u8,
            #[serde(flatten)]
            rest: BTreeMap<String, u8>,
        }
        let outer = Outer { a: 1, rest: [("b".to_owned(), 2)].into() };
        let document = Document::of(&outer).unwrap();
        assert!(object(&outer).is_some());
        assert_eq!(document, long_way(&outer));
        assert_eq!(document.get("b"), Some(Value::Int(2)));
    }

    #[test]
    fn nesting_ends_where_it_does_the_long_way() {
        let nested = |levels: usize| -> BTreeMap<&str, Value> {
            let deep = (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
            [("deep", deep)].into()
        };
        assert!(object(&nested(99)).is_some() && Document::of(&nested(99)).is_ok());
        assert!(object(&nested(100)).is_none() && Document::of(&nested(100)).is_err());
    }

    proptest! {
        #[test]
        fn any_object_is_written_as_the_long_way_writes_it(members in prop::collection::vec(("[a-h]", any_value()), 0..9)) {
            let members: Object = members.into_iter().collect();
            if let Some(bytes) = object(&members) {
                prop_assert_eq!(bytes, Document::from_object(&members).unwrap().as_bytes().to_vec());
            }
        }
    }
}
