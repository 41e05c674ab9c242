//! Terms: what an event can be found by, as bytes that sort.
//!
//! One mechanism serves every index. A term is a *space* (which index), then values; values sort as they compare: text is
//! escaped (`00` becomes `00 FF`) and ends with `00 00`, so that no term is the beginning of another; integers and floats share
//! one exact order (1 = 1.0, −0 = 0).
//!
//! | space | of | values |
//! |---|---|---|
//! | 1 | entity | kind, id: the events of its history; these lists alone carry counts |
//! | 2 | type | the type |
//! | 3 | actor | kind, id |
//! | 4 | id | the event's id, unless it is the database's own: those grow along the log, and their time leads to them |
//! | 5 | key | the idempotency key |
//! | 6 | cause | the position; or type, id |
//! | 7 | correlation | the text |
//! | 8 | tag | name, value |
//! | 9 | derived: an index of the catalog | the position of its definition, 8 bytes big-endian; a value |
//!
//! A term of a list that is looked up has at most 512 bytes, and saying a longer one is an error. Nobody says what an index
//! derives: there a longer text is *cut*. Its term ends with `00 01` instead, so it sorts behind the text that is just as long
//! as what was kept, and before all others that begin so; its list is of events whose text begins so, and whoever
//! reads it looks at each of them again.

mod range;

use std::sync::Arc;

use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result};
use crate::event::{Cause, Event, EventId, NewEvent, Tag};
use crate::time::Timestamp;
use crate::value::Value;

pub(crate) use range::{AFTER_TERM, TermRange};

/// The most bytes a term has.
pub(crate) const MAX_TERM: usize = 512;

pub(crate) const FALSE: u8 = 2;
pub(crate) const TRUE: u8 = 3;
pub(crate) const NUMBER: u8 = 4;
pub(crate) const TEXT: u8 = 6;
pub(crate) const TIME: u8 = 7;

/// How the text of a cut term ends.
const CUT: [u8; 2] = [0, 1];

/// Where the value of a derived term begins.
const DERIVED: usize = 9;

/// Which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum IndexSpace {
    Entity = 1,
    Type = 2,
    Actor = 3,
    Id = 4,
    Key = 5,
    Cause = 6,
    Correlation = 7,
    Tag = 8,
    Derived = 9,
    /// Whose private values an event has.
    Subject = 10,
}

/// What an index of the catalog holds an event under.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum IndexKey {
    /// Text, a number or a boolean: there is no entry for anything else.
    Value(Value),
    /// Times sort as instants, behind text.
    Time(Timestamp),
}

/// What an event can be found by. Clones share their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term(Arc<[u8]>);

impl Term {
    pub fn entity(entity: &Entity) -> Result<Term> {
        TermBuilder::new(IndexSpace::Entity)
            .text(entity.kind())
            .text(entity.id())
            .term(|| format!("the id of {}", entity.kind()))
    }

    /// Of the events that have private values of a subject.
    pub fn subject(subject: &Entity) -> Result<Term> {
        Term::subject_of([subject.kind().as_bytes(), subject.id().as_bytes()])
    }

    /// The same of its kind and its id.
    pub fn subject_of([kind, id]: [&[u8]; 2]) -> Result<Term> {
        let builder = TermBuilder::new(IndexSpace::Subject).bytes(kind).bytes(id);
        builder.term(|| format!("the id of {}", String::from_utf8_lossy(kind)))
    }

    /// Whether a subject has a term.
    ///
    /// # Errors
    /// If its names are too long for one.
    pub fn check_subject(subject: &Entity) -> Result<()> {
        // Each byte takes two at most.
        let is_short = 2 * (subject.kind().len() + subject.id().len()) < MAX_TERM - 8;
        if is_short { Ok(()) } else { Term::subject(subject).map(drop) }
    }

    /// Whether its list is of the events with private values of a subject.
    pub fn is_of_subject(&self) -> bool {
        self.0.first() == Some(&(IndexSpace::Subject as u8))
    }

    pub fn kind(kind: &EventType) -> Result<Term> {
        TermBuilder::new(IndexSpace::Type).text(kind.as_str()).term(|| "the type of an event".to_owned())
    }

    pub fn actor(actor: &Entity) -> Result<Term> {
        TermBuilder::new(IndexSpace::Actor)
            .text(actor.kind())
            .text(actor.id())
            .term(|| format!("the id of {}", actor.kind()))
    }

    pub fn id(id: &EventId) -> Result<Term> {
        TermBuilder::new(IndexSpace::Id).text(&id.to_string()).term(|| "the id of an event".to_owned())
    }

    pub fn key(key: &str) -> Result<Term> {
        TermBuilder::new(IndexSpace::Key).text(key).term(|| "the key of an event".to_owned())
    }

    pub fn cause(cause: &Cause) -> Result<Term> {
        let builder = TermBuilder::new(IndexSpace::Cause);
        let builder = match cause {
            Cause::Event(position) => builder.value(&Value::from(position.0)),
            Cause::Named { kind, id } => builder.text(kind).text(id),
        };
        builder.term(|| "the cause of an event".to_owned())
    }

    pub fn correlation(correlation: &str) -> Result<Term> {
        TermBuilder::new(IndexSpace::Correlation)
            .text(correlation)
            .term(|| "the correlation of an event".to_owned())
    }

    pub fn tag(name: &str, value: &Value) -> Result<Term> {
        TermBuilder::new(IndexSpace::Tag).text(name).value(value).term(|| format!("the index value {name}"))
    }

    /// The index values that stand for an id: ids are text, and a number may be meant by one. None that is too long for an index:
    /// no event has it.
    pub fn tags_of_id(name: &str, id: &str) -> Vec<Term> {
        let number = id.parse::<i64>().map(Value::from).or_else(|_| id.parse::<u64>().map(Value::from));
        let number = number.ok().filter(|number| number.to_string() == id);
        let values = std::iter::once(Value::from(id)).chain(number);
        values.filter_map(|value| Term::tag(name, &value).ok()).collect()
    }

    /// The id that an index value stands for, if it does.
    pub fn id_of_tag(value: &Value) -> Option<String> {
        match value {
            Value::Text(id) => Some(id.clone()),
            Value::Int(n) => Some(n.to_string()),
            Value::UInt(n) => Some(n.to_string()),
            // A float that is whole has the term of that integer.
            Value::Float(x) if x.fract() == 0.0 && *x >= -(2f64.powi(63)) && *x < 2f64.powi(64) => {
                Some((*x as i128).to_string())
            }
            _ => None,
        }
    }

    /// Whether there can be an entity of a kind with such an id: not every index value is one.
    pub fn is_id(kind: &str, id: &str) -> bool {
        Entity::new(kind, id).and_then(|entity| Term::entity(&entity)).is_ok()
    }

    /// What the index of a definition holds an event under: none if that is no text, number, boolean or time.
    pub fn derived(definition: Position, key: &IndexKey) -> Option<Term> {
        let mut builder = TermBuilder(derived_prefix(definition));
        match key {
            IndexKey::Value(Value::Null | Value::Array(_) | Value::Object(_)) => return None,
            IndexKey::Value(value) => builder = builder.value(value),
            IndexKey::Time(time) => write_time(&mut builder.0, *time),
        }
        let mut bytes = builder.0;
        if bytes.len() > MAX_TERM {
            bytes.truncate(MAX_TERM - CUT.len());
            // An escaped zero stays whole, or goes.
            if bytes.last() == Some(&0) {
                bytes.pop();
            }
            bytes.extend_from_slice(&CUT);
        }
        Some(Term(bytes.into()))
    }

    /// The whole text behind what it begins with, if that is one.
    pub fn text_behind(&self, prefix: &[u8]) -> Option<String> {
        read_text(self.0.strip_prefix(prefix)?)
    }

    /// Whether its list is of events whose text only begins like this: each of them is to be looked at again.
    pub fn is_cut(&self) -> bool {
        definition_of(&self.0).is_some() && self.0.get(DERIVED) == Some(&TEXT) && self.0.ends_with(&CUT)
    }

    /// The definition that a derived term belongs to.
    pub fn definition(&self) -> Option<Position> {
        definition_of(&self.0)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn from_bytes(bytes: &[u8]) -> Term {
        Term(bytes.into())
    }

    /// Whether its list carries counts: an entity's version is the length of its list.
    pub fn is_counted(&self) -> bool {
        is_counted(&self.0)
    }

    /// What to call it in a message: its texts, or its bytes.
    pub fn name(&self) -> String {
        let space = match self.0.first() {
            Some(1) => "entity",
            Some(2) => "type",
            Some(3) => "actor",
            Some(4) => "id",
            Some(5) => "key",
            Some(6) => "cause",
            Some(7) => "correlation",
            Some(8) => "index value",
            Some(9) => "derived",
            Some(10) => "subject",
            _ => "term",
        };
        let shown: String = String::from_utf8_lossy(self.0.get(1..).unwrap_or_default())
            .split(|c: char| c.is_control())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        format!("{space} {shown}")
    }

    /// The name that a term of an index value begins with.
    pub fn as_tag_name(&self) -> Option<String> {
        let rest = self.0.strip_prefix(&[IndexSpace::Tag as u8, TEXT])?;
        // Within a text a zero is followed by FF; what follows the one that ends it never is.
        let end = rest.windows(2).position(|pair| pair == [0, 0])?;
        read_text(self.0.get(1..end + 4)?)
    }

    /// The kind and the id of an entity's term.
    pub fn as_entity(&self) -> Option<(String, String)> {
        let rest = self.0.strip_prefix(&[IndexSpace::Entity as u8, TEXT])?;
        let end = rest.windows(2).position(|pair| pair == [0, 0])? + 3;
        Some((read_text(self.0.get(1..end + 1)?)?, read_text(self.0.get(end + 1..)?)?))
    }

    /// The id that a term of an index value stands for, if it does.
    pub fn as_tag_id(&self) -> Option<String> {
        let rest = self.0.strip_prefix(&[IndexSpace::Tag as u8, TEXT])?;
        let end = rest.windows(2).position(|pair| pair == [0, 0])? + 4;
        let value = self.0.get(end..)?;
        match *value.first()? {
            TEXT => read_text(value),
            NUMBER => Term::id_of_tag(&read_number(value)?),
            _ => None,
        }
    }

    /// The type that a term of that space stands for.
    pub fn as_type(&self) -> Option<String> {
        let (&space, rest) = self.0.split_first()?;
        if space != IndexSpace::Type as u8 {
            return None;
        }
        read_text(rest)
    }
}

pub(crate) fn is_counted(term: &[u8]) -> bool {
    term.first() == Some(&(IndexSpace::Entity as u8))
}

/// The definition that a derived term, or the key of one of its chunks, belongs to.
pub(crate) fn definition_of(term: &[u8]) -> Option<Position> {
    let (&space, rest) = term.split_first()?;
    let definition = rest.first_chunk::<8>().filter(|_| space == IndexSpace::Derived as u8)?;
    Some(Position::from_be_bytes(*definition))
}

/// The bytes that every term of an index begins with.
pub(crate) fn derived_prefix(definition: Position) -> Vec<u8> {
    let mut bytes = TermBuilder::new(IndexSpace::Derived).0;
    bytes.extend_from_slice(&definition.to_be_bytes());
    bytes
}

/// The bytes that every type with this prefix begins with: `Order.*` is a range of keys.
pub(crate) fn type_prefix(prefix: &str) -> Vec<u8> {
    let mut bytes = TermBuilder::new(IndexSpace::Type).0;
    bytes.push(TEXT);
    escape(&mut bytes, prefix.as_bytes());
    bytes
}

/// The bytes that every entity of this kind begins with.
pub(crate) fn kind_prefix(kind: &str) -> Vec<u8> {
    TermBuilder::new(IndexSpace::Entity).text(kind).0
}

/// The bytes that every entity begins with, of whatever kind.
pub(crate) fn kinds_prefix() -> Vec<u8> {
    TermBuilder::new(IndexSpace::Entity).0
}

/// The bytes that every index value begins with, whatever its name.
pub(crate) fn tags_prefix() -> Vec<u8> {
    TermBuilder::new(IndexSpace::Tag).0
}

/// The bytes that every index value of this name begins with.
pub(crate) fn tag_prefix(name: &str) -> Vec<u8> {
    TermBuilder::new(IndexSpace::Tag).text(name).0
}

/// All terms of an event that is to be appended. An id that the database makes has none yet.
pub(crate) fn terms_of_new(new: &NewEvent, kind: &EventType, target: Option<&Entity>) -> Result<Vec<Term>> {
    terms(
        kind,
        target,
        new.actor.as_ref(),
        new.id.as_ref(),
        new.key.as_deref(),
        new.cause.as_ref(),
        new.correlation.as_deref(),
        &new.tags,
    )
}

/// All terms of an event in the log.
pub(crate) fn terms_of(event: &Event) -> Result<Vec<Term>> {
    let id = (!event.own_id).then_some(&event.id);
    terms(
        &event.kind,
        event.target.as_ref(),
        event.actor.as_ref(),
        id,
        event.key.as_deref(),
        event.cause.as_ref(),
        event.correlation.as_deref(),
        &event.tags,
    )
}

#[allow(clippy::too_many_arguments)] // one for each row of the table above
fn terms(
    kind: &EventType,
    target: Option<&Entity>,
    actor: Option<&Entity>,
    id: Option<&EventId>,
    key: Option<&str>,
    cause: Option<&Cause>,
    correlation: Option<&str>,
    tags: &[Tag],
) -> Result<Vec<Term>> {
    let mut terms = Vec::with_capacity(4 + tags.len());
    terms.push(Term::kind(kind)?);
    terms.extend(target.map(Term::entity).transpose()?);
    terms.extend(actor.map(Term::actor).transpose()?);
    terms.extend(id.map(Term::id).transpose()?);
    terms.extend(key.map(Term::key).transpose()?);
    terms.extend(cause.map(Term::cause).transpose()?);
    terms.extend(correlation.map(Term::correlation).transpose()?);
    let first = terms.len();
    for tag in tags {
        terms.push(Term::tag(&tag.name, &tag.value)?);
    }
    // A name may have several values, and 1 and 1.0 are in one list.
    if tags.windows(2).any(|pair| pair[0].name == pair[1].name) {
        let mut own = terms.split_off(first);
        own.sort_unstable();
        own.dedup();
        terms.append(&mut own);
    }
    Ok(terms)
}

struct TermBuilder(Vec<u8>);

impl TermBuilder {
    fn new(space: IndexSpace) -> TermBuilder {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(space as u8);
        TermBuilder(bytes)
    }

    fn text(self, text: &str) -> TermBuilder {
        self.bytes(text.as_bytes())
    }

    fn bytes(mut self, text: &[u8]) -> TermBuilder {
        write_bytes(&mut self.0, text);
        self
    }

    fn value(mut self, value: &Value) -> TermBuilder {
        match value {
            Value::Text(text) => return self.text(text),
            Value::Bool(false) => self.0.push(FALSE),
            Value::Bool(true) => self.0.push(TRUE),
            Value::Int(n) => write_integer(&mut self.0, i128::from(*n)),
            Value::UInt(n) => write_integer(&mut self.0, i128::from(*n)),
            Value::Float(n) => write_float(&mut self.0, *n),
            // A tag is made of scalars only; anything else cannot be looked up and has one place of its own.
            Value::Null | Value::Array(_) | Value::Object(_) => self.0.push(0),
        }
        self
    }

    fn term(self, what: impl Fn() -> String) -> Result<Term> {
        if self.0.len() > MAX_TERM {
            let found = format!("{} bytes", self.0.len());
            return Err(Error::invalid(what(), format!("at most {MAX_TERM} bytes in an index"), found));
        }
        Ok(Term(self.0.into()))
    }
}

/// A text as it sorts.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_bytes(out, text.as_bytes());
}

fn write_bytes(out: &mut Vec<u8>, text: &[u8]) {
    out.push(TEXT);
    escape(out, text);
    out.extend_from_slice(&[0, 0]);
}

/// An integer of 64 bits as it sorts among all numbers: the nearest float, then how far it lies from it.
pub(crate) fn write_integer(out: &mut Vec<u8>, n: i128) {
    let nearest = n as f64;
    write_number(out, nearest, (n - nearest as i128) as i16);
}

/// A float as it sorts among all numbers.
pub(crate) fn write_float(out: &mut Vec<u8>, x: f64) {
    write_number(out, x, 0);
}

/// A time as it sorts: seconds, then nanoseconds onward from them.
pub(crate) fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    let (seconds, nanos) = time.parts();
    let (seconds, nanos) = if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) };
    out.push(TIME);
    out.extend_from_slice(&((seconds as u64) ^ 1 << 63).to_be_bytes());
    out.extend_from_slice(&nanos.to_be_bytes());
}

fn write_number(out: &mut Vec<u8>, nearest: f64, rest: i16) {
    let bits = if nearest == 0.0 { 0 } else { nearest.to_bits() };
    let sortable = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    out.push(NUMBER);
    out.extend_from_slice(&sortable.to_be_bytes());
    out.extend_from_slice(&((rest as u16) ^ 0x8000).to_be_bytes());
}

/// The number that sorts there, whole ones as integers.
fn read_number(bytes: &[u8]) -> Option<Value> {
    let bytes: &[u8; 11] = bytes.try_into().ok()?;
    let (sortable, rest) = bytes[1..].split_first_chunk::<8>()?;
    let (sortable, rest) = (u64::from_be_bytes(*sortable), u16::from_be_bytes(rest.try_into().ok()?));
    let nearest = f64::from_bits(if sortable >> 63 == 1 { sortable & !(1 << 63) } else { !sortable });
    if nearest.fract() != 0.0 || nearest.abs() > 2f64.powi(64) {
        return Some(Value::Float(nearest));
    }
    let n = nearest as i128 + i128::from((rest ^ 0x8000) as i16);
    i64::try_from(n).map(Value::Int).or_else(|_| u64::try_from(n).map(Value::UInt)).ok()
}

fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for (i, piece) in text.split(|&byte| byte == 0).enumerate() {
        if i > 0 {
            out.extend_from_slice(&[0, 0xff]);
        }
        out.extend_from_slice(piece);
    }
}

fn read_text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_prefix(&[TEXT])?.strip_suffix(&[0, 0])?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        out.push(byte);
        rest = if byte == 0 { after.strip_prefix(&[0xff])? } else { after };
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn tag(value: Value) -> Term {
        Term::tag("x", &value).unwrap()
    }

    /// The exact order of two numbers, by arithmetic that loses nothing.
    fn exact(a: &Value, b: &Value) -> Ordering {
        let integer = |v: &Value| match v {
            Value::Int(n) => Some(i128::from(*n)),
            Value::UInt(n) => Some(i128::from(*n)),
            _ => None,
        };
        match (integer(a), integer(b), a, b) {
            (Some(a), Some(b), ..) => a.cmp(&b),
            (None, None, Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap(),
            (Some(a), None, _, Value::Float(b)) => int_float(a, *b),
            (None, Some(b), Value::Float(a), _) => int_float(b, *a).reverse(),
            _ => unreachable!(),
        }
    }

    fn int_float(n: i128, x: f64) -> Ordering {
        if x >= 1e30 || x <= -1e30 {
            return 0.0.partial_cmp(&x).unwrap();
        }
        n.cmp(&(x.floor() as i128)).then(if x.fract() == 0.0 { Ordering::Equal } else { Ordering::Less })
    }

    fn number() -> impl Strategy<Value = Value> {
        let near = (0u32..64, -3i128..4).prop_map(|(shift, by)| {
            let n = (1i128 << shift) + by;
            i64::try_from(n).map_or_else(|_| Value::from(n as u64), Value::Int)
        });
        let float = (0u32..64, -2i32..3).prop_map(|(shift, by)| {
            Value::Float((1u128 << shift) as f64 * (1.0 + f64::from(by) * f64::EPSILON))
        });
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |x| x.is_finite().then_some(Value::Float(x))),
            near,
            float
        ]
    }

    #[test]
    fn one_is_one_and_zero_is_zero() {
        assert_eq!(tag(Value::Int(1)), tag(Value::Float(1.0)));
        assert_eq!(tag(Value::Float(-0.0)), tag(Value::Int(0)));
    }

    #[test]
    fn a_term_has_a_limit() {
        assert!(Term::key(&"k".repeat(600)).is_err());
        assert!(Term::key(&"k".repeat(500)).is_ok());
    }

    #[test]
    fn a_type_term_is_read_back_and_lies_in_the_range_of_its_prefix() {
        let term = Term::kind(&EventType::new("Order.paid").unwrap()).unwrap();
        assert_eq!(term.as_type().as_deref(), Some("Order.paid"));
        assert!(term.as_bytes().starts_with(&type_prefix("Order.")));
        assert!(!term.as_bytes().starts_with(&type_prefix("Orders")));
    }

    fn derived(text: &str) -> Term {
        Term::derived(Position(7), &IndexKey::Value(text.into())).unwrap()
    }

    #[test]
    fn a_long_text_is_cut_where_an_index_derives_it() {
        let room = MAX_TERM - DERIVED - 3;
        let (fits, longer) = ("a".repeat(room), "a".repeat(room + 1));
        assert!(!derived(&fits).is_cut() && derived(&fits).as_bytes().len() == MAX_TERM);
        assert!(derived(&longer).is_cut() && derived(&longer).as_bytes().len() <= MAX_TERM);
        assert_eq!(derived(&longer), derived(&(longer.clone() + "b")));
        assert_eq!(derived(&longer).definition(), Some(Position(7)));
        assert!(!Term::tag("x", &"a".into()).unwrap().is_cut());
        for nothing in [Value::Null, Value::Array(Vec::new()), Value::Object(Default::default())] {
            assert_eq!(Term::derived(Position(7), &IndexKey::Value(nothing)), None);
        }
    }

    proptest! {
        /// Cut or not, the order of terms never contradicts that of their texts, and only texts that are cut share a term.
        #[test]
        fn cut_terms_sort_as_their_texts(a in "[\0ab]{0,3}", b in "[\0ab]{0,3}", long in 495usize..505, zeros: bool) {
            let start = if zeros { "\0".repeat(long / 2) } else { "a".repeat(long) };
            let (a, b) = (start.clone() + &a, start + &b);
            let (x, y) = (derived(&a), derived(&b));
            prop_assert!(x.as_bytes().len() <= MAX_TERM);
            let order = x.cmp(&y);
            prop_assert!(order == a.cmp(&b) || order.is_eq() && x.is_cut(), "{:?} {:?}", a, b);
            prop_assert!(x == y || !x.as_bytes().starts_with(y.as_bytes()));
        }

        #[test]
        fn times_sort_as_instants_behind_text(a in prop_oneof![-9_000_000_000_000i64..9_000_000_000_000, 253_370_764_800_000i64..253_402_300_800_000], b: i16, nanos in -999i32..1000) {
            let near = Timestamp::from_millis(a.saturating_add(b.into()));
            let near = if nanos < 0 {
                near.saturating_sub(std::time::Duration::from_nanos(nanos.unsigned_abs().into()))
            } else {
                near.saturating_add(std::time::Duration::from_nanos(nanos.unsigned_abs().into()))
            };
            let term = |time| Term::derived(Position(7), &IndexKey::Time(time)).unwrap();
            let (x, y) = (Timestamp::from_millis(a), near);
            prop_assert_eq!(term(x).cmp(&term(y)), x.cmp(&y));
            let last = derived(&char::MAX.to_string().repeat(300));
            prop_assert!(last < term(x));
        }

        #[test]
        fn numbers_sort_exactly(a in number(), b in number()) {
            prop_assert_eq!(tag(a.clone()).cmp(&tag(b.clone())), exact(&a, &b), "{} {}", a, b);
        }

        #[test]
        fn text_sorts_as_bytes_and_no_term_begins_another(a in "[\0ab]{0,5}", b in "[\0ab]{0,5}") {
            let (x, y) = (tag(Value::Text(a.clone())), tag(Value::Text(b.clone())));
            prop_assert_eq!(x.cmp(&y), a.as_bytes().cmp(b.as_bytes()));
            prop_assert!(a == b || !x.as_bytes().starts_with(y.as_bytes()));
            prop_assert_eq!(read_text(&x.as_bytes()[5..]), Some(a));
        }
    }
}
