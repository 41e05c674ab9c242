#![allow(dead_code)] // what is read is compared as Debug shows it

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::*;
use crate::document::Document;
use crate::error::Error;
use crate::value::Value;
use crate::value::tests::any_value;

#[derive(Debug, Deserialize)]
struct Named<T> {
    a: T,
    #[serde(default)]
    b: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: u8,
    b: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Flattened {
    a: i64,
    #[serde(flatten)]
    b: Option<Strict>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Pair(u64, f32);

#[derive(Debug, Deserialize)]
struct Wrapped(Option<i128>);

#[derive(Debug, Deserialize)]
struct Nothing;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outside {
    A,
    B(u64),
    C(i8, String),
    D { a: bool },
    E(()),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "a", rename_all = "lowercase")]
enum Inside {
    A,
    B(BTreeMap<String, i64>),
    C { b: f64 },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "a", content = "b", rename_all = "lowercase")]
enum Beside {
    A,
    B(u64),
    C { a: char },
    D(u8, u8),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOf {
    Small(u8),
    Signed(i64),
    Float(f64),
    Strict(Strict),
    Items(Vec<OneOf>),
    Text(String),
    Nothing,
}

/// Makes nothing of what does not fit.
fn lenient<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(d).ok())
}

fn narrow_or_zero<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    Ok(f32::deserialize(d).unwrap_or(0.0))
}

#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Lenient<T> {
    #[serde(default, deserialize_with = "lenient")]
    a: Option<T>,
    #[serde(default)]
    b: Option<Value>,
    #[serde(default, deserialize_with = "narrow_or_zero")]
    c: f32,
}

/// What does not fit inside is nothing, and whatever is behind it is to be text.
#[derive(Debug, Deserialize)]
struct ThenText(#[serde(deserialize_with = "lenient")] Option<Strict>, String);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MaybeKey<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for MaybeKey<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<MaybeKey<T>, D::Error> {
        lenient(d).map(MaybeKey)
    }
}

/// Another error than the one there was.
#[derive(Debug)]
struct Retold(f32);

impl<'de> Deserialize<'de> for Retold {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Retold, D::Error> {
        f32::deserialize(d).map(Retold).map_err(|_| de::Error::custom("no number"))
    }
}

/// Asks as JSON that is not to be parsed does.
#[derive(Debug, Deserialize)]
#[serde(rename = "$marked")]
struct Marked(Value);

/// Does not look at what it is given.
#[derive(Debug)]
struct Blind;

impl<'de> Deserialize<'de> for Blind {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Blind, D::Error> {
        Ok(Blind)
    }
}

/// Goes on where an item or a member is not as it should be, leaves values out, and content of variants.
#[derive(Debug)]
struct Careless(String);

struct CarelessVisitor;

impl<'de> Visitor<'de> for CarelessVisitor {
    type Value = Careless;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Careless, A::Error> {
        let items = (0..4).map(|_| seq.next_element::<u8>().ok());
        Ok(Careless(format!("{:?}", items.collect::<Vec<_>>())))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Careless, A::Error> {
        let names = (0..4).map(|_| map.next_key::<String>().ok());
        Ok(Careless(format!("{:?}", names.collect::<Vec<_>>())))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Careless, A::Error> {
        let name = data.variant::<String>().map(|(name, _)| name).ok();
        Ok(Careless(format!("{name:?}")))
    }
}

impl<'de> Deserialize<'de> for Careless {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Careless, D::Error> {
        match QUESTION.get() % 3 {
            0 => d.deserialize_enum("E", &["a", "b"], CarelessVisitor),
            1 => d.deserialize_map(CarelessVisitor),
            _ => d.deserialize_any(CarelessVisitor),
        }
    }
}

/// What was asked for, and what came.
#[derive(Debug)]
struct Asked(String);

thread_local! {
    static QUESTION: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

macro_rules! visits {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E: de::Error>(self, value: $type) -> Result<Asked, E> {
            Ok(Asked(format!("{} {value:?}", stringify!($visit))))
        }
    )*};
}

struct AskedVisitor;

impl<'de> Visitor<'de> for AskedVisitor {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    visits! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64,
        visit_f32: f32, visit_char: char, visit_str: &str, visit_bytes: &[u8]
    }

    fn visit_unit<E: de::Error>(self) -> Result<Asked, E> {
        Ok(Asked("unit".to_owned()))
    }

    fn visit_none<E: de::Error>(self) -> Result<Asked, E> {
        Ok(Asked("none".to_owned()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Asked, D::Error> {
        Ok(Asked(format!("some {:?}", Asked::deserialize(deserializer)?)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Asked, D::Error> {
        Ok(Asked(format!("newtype {:?}", Asked::deserialize(deserializer)?)))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Asked, A::Error> {
        // Some leave a part of it.
        let most = QUESTION.get() % 7;
        let mut items = Vec::new();
        while items.len() < most
            && let Some(item) = seq.next_element::<Asked>()?
        {
            items.push(item);
        }
        Ok(Asked(format!("{items:?}")))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
        let most = QUESTION.get() % 5;
        let mut members = Vec::new();
        while members.len() < most
            && let Some(member) = map.next_entry::<Asked, Asked>()?
        {
            members.push(member);
        }
        Ok(Asked(format!("{members:?}")))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Asked, A::Error> {
        use de::VariantAccess as _;
        let (name, content) = data.variant::<Asked>()?;
        let content = match QUESTION.get() % 4 {
            0 => content.unit_variant().map(|()| "unit".to_owned())?,
            1 => content.newtype_variant::<Asked>()?.0,
            2 => content.tuple_variant(2, AskedVisitor)?.0,
            _ => content.struct_variant(&["a"], AskedVisitor)?.0,
        };
        Ok(Asked(format!("variant {name:?} {content}")))
    }
}

impl<'de> Deserialize<'de> for Asked {
    /// Asks each time for something else.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Asked, D::Error> {
        let question = QUESTION.get().wrapping_mul(31).wrapping_add(17) % 1_000_003;
        QUESTION.set(question);
        let v = AskedVisitor;
        match question % 40 {
            0 => d.deserialize_bool(v),
            1 => d.deserialize_i8(v),
            2 => d.deserialize_i32(v),
            3 => d.deserialize_i64(v),
            4 => d.deserialize_u8(v),
            5 => d.deserialize_u64(v),
            6 => d.deserialize_i128(v),
            7 => d.deserialize_u128(v),
            8 => d.deserialize_f32(v),
            9 => d.deserialize_f64(v),
            10 => d.deserialize_char(v),
            11 => d.deserialize_str(v),
            12 => d.deserialize_string(v),
            13 => d.deserialize_bytes(v),
            14 => d.deserialize_byte_buf(v),
            15 => d.deserialize_option(v),
            16 => d.deserialize_unit(v),
            17 => d.deserialize_unit_struct("U", v),
            18 => d.deserialize_newtype_struct("N", v),
            19 => d.deserialize_seq(v),
            20 => d.deserialize_tuple(2, v),
            21 => d.deserialize_tuple_struct("T", 2, v),
            22 => d.deserialize_map(v),
            23 => d.deserialize_struct("S", &["a", "b"], v),
            24 => d.deserialize_enum("E", &["a", "b"], v),
            25 => d.deserialize_identifier(v),
            26 => d.deserialize_ignored_any(v),
            _ => d.deserialize_any(v),
        }
    }
}

fn stored<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

/// What is read straight is what JSON is read as; and whether it was read straight where JSON could be read.
fn as_json<T: DeserializeOwned + Debug>(value: &Value) -> bool {
    let bytes = stored(value);
    QUESTION.with(|question| {
        let before = question.get();
        let by_json = serde_json::from_slice::<T>(&serde_json::to_vec(value).unwrap());
        question.set(before);
        let straight = typed::<T>(&bytes);
        match (straight, by_json) {
            (Ok(straight), Ok(by_json)) => {
                assert_eq!(format!("{straight:?}"), format!("{by_json:?}"), "{value}");
                true
            }
            (Ok(straight), Err(why)) => panic!("{value} is {straight:?}, and by JSON {why}"),
            (Err(Unread::Unfit), Ok(by_json)) => panic!("{value} does not fit, and by JSON is {by_json:?}"),
            (Err(_), by_json) => by_json.is_err(),
        }
    })
}

/// Values that fit the types above now and then.
fn near() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3i64..300).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f32>().prop_map(|n| Value::from(f64::from(n))),
        any::<f64>().prop_map(Value::from),
        Just(Value::Float(-0.0)),
        Just(Value::Float(7.0)),
        "[a-e]".prop_map(Value::Text),
        "\\PC{0,3}".prop_map(Value::Text),
    ];
    let name = prop_oneof![
        6 => "[a-e]",
        1 => Just("-0".to_owned()),
        1 => Just("+1".to_owned()),
        1 => Just("007".to_owned()),
        1 => Just("true".to_owned()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => "[-+ 0-9.e]{0,4}",
        1 => "\\PC{0,3}",
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn compare(value: &Value, question: usize) {
    let straight = [
        as_json::<Value>(value),
        as_json::<serde_json::Value>(value),
        as_json::<BTreeMap<char, Value>>(value),
        as_json::<BTreeMap<Outside, IgnoredAny>>(value),
        as_json::<BTreeMap<i64, Value>>(value),
        as_json::<BTreeMap<u8, Value>>(value),
        as_json::<BTreeMap<bool, Value>>(value),
        as_json::<BTreeMap<Option<String>, Value>>(value),
        as_json::<Named<Value>>(value),
        as_json::<Named<Option<String>>>(value),
        as_json::<Named<Outside>>(value),
        as_json::<Named<(i64, i64)>>(value),
        as_json::<Named<Vec<f64>>>(value),
        as_json::<Named<[u8; 2]>>(value),
        as_json::<Strict>(value),
        as_json::<Flattened>(value),
        as_json::<Wrapped>(value),
        as_json::<Nothing>(value),
        as_json::<Outside>(value),
        as_json::<Inside>(value),
        as_json::<Beside>(value),
        as_json::<OneOf>(value),
        as_json::<Cow<'static, str>>(value),
        as_json::<Named<crate::time::Timestamp>>(value),
        as_json::<u128>(value),
        as_json::<char>(value),
        as_json::<()>(value),
        as_json::<Box<str>>(value),
        as_json::<f64>(value),
    ];
    assert!(straight.iter().all(|straight| *straight), "{value} went the long way: {straight:?}");
    // Small numbers go the long way.
    as_json::<Pair>(value);
    as_json::<f32>(value);
    as_json::<BTreeMap<u128, Value>>(value);
    // So does what goes on after an error.
    as_json::<Lenient<Strict>>(value);
    as_json::<Lenient<Vec<u8>>>(value);
    as_json::<Lenient<Outside>>(value);
    as_json::<Vec<Lenient<f32>>>(value);
    as_json::<Lenient<Marked>>(value);
    as_json::<Vec<ThenText>>(value);
    as_json::<ThenText>(value);
    as_json::<BTreeMap<MaybeKey<u8>, Value>>(value);
    as_json::<BTreeMap<MaybeKey<Outside>, Value>>(value);
    as_json::<Retold>(value);
    as_json::<Named<Retold>>(value);
    as_json::<Blind>(value);
    as_json::<Named<Blind>>(value);
    as_json::<(Blind, Value)>(value);
    for at in 0..40 {
        QUESTION.set(question + at);
        as_json::<Asked>(value);
        as_json::<Careless>(value);
        as_json::<Vec<Careless>>(value);
        as_json::<Named<Careless>>(value);
        as_json::<Lenient<Asked>>(value);
        as_json::<Vec<MaybeKey<Asked>>>(value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_read_straight_is_what_its_json_is_read_as(value in near(), question in 0usize..1_000_000) {
        compare(&value, question);
    }

    #[test]
    fn any_value_is_read_as_its_json_is(value in any_value()) {
        compare(&value, 3);
    }

    #[test]
    fn floats_narrow_as_their_digits_do(bits in any::<u32>(), half in 0u64..8) {
        let near_half_way = f64::from_bits(f64::from(f32::from_bits(bits)).to_bits() + (1 << 28) + half - 4);
        for number in [near_half_way, near_half_way / 1e30] {
            as_json::<f32>(&Value::from(number));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = typed::<Value>(&bytes);
        let _ = typed::<IgnoredAny>(&bytes);
        let _ = typed::<OneOf>(&bytes);
        let _ = typed::<Flattened>(&bytes);
        let _ = typed::<Vec<u64>>(&bytes);
    }
}

#[test]
fn usual_types_are_read_straight() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Line {
        article: String,
        price: f64,
        discount: Option<f32>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        lines: Vec<Line>,
        by_day: BTreeMap<i32, u64>,
        kind: (char, bool),
        at: crate::time::Timestamp,
    }
    let line = Line { article: "tea".to_owned(), price: 4.5, discount: Some(0.1) };
    let order = Order {
        lines: vec![line, Line { article: String::new(), price: -0.0, discount: None }],
        by_day: [(-3, 5), (20, u64::MAX)].into(),
        kind: ('ö', true),
        at: crate::time::Timestamp::from_millis(1_000),
    };
    let document = Document::of(&order).unwrap();
    assert_eq!(typed::<Order>(document.as_bytes()).unwrap(), order);
    assert_eq!(document.parse::<Order>().unwrap(), order);
    #[derive(Deserialize)]
    struct Borrowed<'a> {
        a: &'a str,
    }
    assert_eq!(typed::<Borrowed>(&stored(&BTreeMap::from([("a", "\"\\é")]))).unwrap().a, "\"\\é");
}

#[test]
fn a_key_that_appears_twice_is_damage_whatever_it_is_read_as() {
    for count in [2usize, 3, 24, 25, 300] {
        let names: Vec<String> = (0..count - 1).map(|n| format!("{n}")).collect();
        for twice in 0..count - 1 {
            let mut bytes = vec![0xde];
            bytes.extend((count as u16).to_be_bytes());
            for name in names.iter().chain([&names[twice]]) {
                bytes.extend(stored(name));
                bytes.push(7);
            }
            assert!(typed::<HashMap<String, u8>>(&bytes).is_err());
            let damaged = Document::from_bytes(bytes.into()).parse::<HashMap<String, u8>>();
            assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
        }
    }
}

#[test]
fn nesting_and_counts_are_bounded() {
    let deep = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    assert!(typed::<serde_json::Value>(&deep(MAX_DEPTH)).is_ok());
    assert!(typed::<serde_json::Value>(&deep(100_000)).is_err());
    // Four billion items, and no room is made for them.
    assert!(typed::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    assert!(typed::<f64>(&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]).is_err());
    assert!(typed::<String>(&[0xa1, 0xff]).is_err());
}

#[test]
fn what_does_not_fit_is_told_as_before() {
    let document: Document = r#"{"a": "lost", "b": 1}"#.parse().unwrap();
    let error = document.parse::<Named<Outside>>().unwrap_err().to_string();
    assert!(error.contains("unknown variant `lost`, expected one of `a`, `b`, `c`, `d`, `e`"), "{error}");
    let error = document.parse::<Strict>().unwrap_err().to_string();
    assert!(error.contains(r#"invalid type: string "lost", expected u8"#), "{error}");
}

#[test]
fn an_error_that_a_type_passes_over_loses_nothing() {
    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Inner {
        p: u8,
        q: u8,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(default, deserialize_with = "lenient")]
        a: Option<Inner>,
        #[serde(default)]
        b: Option<u64>,
    }
    for text in [r#"{"a": {"p": "x", "q": 1}, "b": 2}"#, r#"{"a": "x", "b": 2}"#, r#"{"a": [1], "b": 2}"#] {
        let by_json = serde_json::from_str::<Outer>(text).map_err(drop);
        let document: Document = text.parse().unwrap();
        assert_eq!(document.parse::<Outer>().map_err(drop), by_json, "{text}");
        assert_eq!(text.parse::<Value>().unwrap().parse::<Outer>().map_err(drop), by_json, "{text}");
    }
}
