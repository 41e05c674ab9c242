//! Names: entities and event types, with positions and versions beside them. Each is parsed once and never travels as bare text.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

use crate::error::{Error, Result, shorten};

pub(crate) use crate::position::{AtomicPosition, PositionRange};
pub use crate::position::{Position, Version};

/// A thing with a history: its kind and its id, like `Order 42`. Ids are text, kept verbatim.
///
/// ```
/// use bygone::Entity;
/// let order: Entity = ("Order", 42).into();
/// assert_eq!(order.to_string(), "Order 42");
/// assert_eq!(Entity::new("Order", "it's")?.to_string(), "Order 'it''s'");
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    // Short ones, as nearly all are, lie in place: events are made by the million.
    kind: SmolStr,
    id: SmolStr,
}

impl Entity {
    /// An entity of a kind (not empty, without a dot) and an id (not empty).
    pub fn new(kind: &str, id: &str) -> Result<Entity> {
        let entity = Entity { kind: kind.into(), id: id.into() };
        entity.check()?;
        Ok(entity)
    }

    /// One that was checked before it was stored.
    #[inline]
    pub(crate) fn stored(kind: SmolStr, id: impl Into<SmolStr>) -> Entity {
        Entity { kind, id: id.into() }
    }

    /// What it is: `Order`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Which one it is: `42`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A tuple becomes an entity without a check, so that `("Order", 42).into()` reads well; appending checks it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.kind.is_empty() || self.kind.contains(['.', '*']) {
            return Err(Error::invalid(
                "the kind of an entity",
                "a name without a dot, like Order",
                quote(&self.kind),
            ));
        }
        if !is_fit(&self.kind) {
            return Err(Error::invalid("the kind of an entity", FIT, quote(&self.kind)));
        }
        if self.id.is_empty() {
            return Err(Error::invalid(format!("the id of {}", self.kind), "a text that is not empty", "''"));
        }
        Ok(())
    }
}

/// An entity whose parts are lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntityStr<'a> {
    pub kind: &'a str,
    pub id: &'a str,
}

impl<'a> From<&'a Entity> for EntityStr<'a> {
    fn from(entity: &'a Entity) -> EntityStr<'a> {
        EntityStr { kind: &entity.kind, id: &entity.id }
    }
}

impl From<EntityStr<'_>> for Entity {
    fn from(entity: EntityStr) -> Entity {
        Entity { kind: entity.kind.into(), id: entity.id.into() }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", NameText(&self.kind), IdText(&self.id))
    }
}

impl<K: AsRef<str>, I: ToString> From<(K, I)> for Entity {
    fn from((kind, id): (K, I)) -> Entity {
        Entity { kind: kind.as_ref().into(), id: id.to_string().into() }
    }
}

impl From<&Entity> for Entity {
    fn from(entity: &Entity) -> Entity {
        entity.clone()
    }
}

impl FromStr for Entity {
    type Err = Error;

    /// Reads `User ann`, `User 'ann b'`: the kind, space, the id (in quotes if need be).
    fn from_str(text: &str) -> Result<Entity> {
        let fault = || Error::invalid("entity", "a kind and an id, like User ann", quote(text));
        let (kind, id) = text.trim().split_once(char::is_whitespace).ok_or_else(fault)?;
        let id = id.trim();
        if id.starts_with('"')
            && let Ok(id) = serde_json::from_str::<String>(id)
        {
            return Entity::new(kind, &id);
        }
        for quote in ['\'', '"'] {
            if let Some(inner) = id.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                return Entity::new(kind, &inner.replace(&format!("{quote}{quote}"), &quote.to_string()));
            }
        }
        if id.contains(char::is_whitespace) {
            return Err(fault());
        }
        Entity::new(kind, id)
    }
}

/// What kind of event: always with its prefix, `Order.paid`. A type that begins with `$` is the database's own.
///
/// ```
/// use bygone::EventType;
/// let paid = EventType::new("Order.paid")?;
/// assert_eq!((paid.prefix(), paid.name(), paid.last()), ("Order", "paid", "paid"));
/// assert!(EventType::new("paid").is_err());
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(SmolStr);

impl EventType {
    /// Checks that there is a prefix, and that no part between the dots is empty.
    pub fn new(text: &str) -> Result<EventType> {
        let fault = |expected: &str| Err(Error::invalid("the type of an event", expected, quote(text)));
        if !text.contains('.') {
            return fault("a prefix, a dot and a name, like Order.paid");
        }
        if text.split('.').any(str::is_empty) {
            return fault("names joined by single dots, like Order.paid");
        }
        if text.contains(['*', ',']) {
            return fault("names without '*' or ',' (those are for patterns)");
        }
        if !text.split('.').all(is_fit) {
            return fault(FIT);
        }
        Ok(EventType(text.into()))
    }

    /// One that was checked before it was stored.
    pub(crate) fn stored(text: impl Into<SmolStr>) -> EventType {
        EventType(text.into())
    }

    /// The whole of it: `Order.item.added`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes before the first dot: `Order`.
    pub fn prefix(&self) -> &str {
        prefix(&self.0)
    }

    /// What comes after the first dot: `item.added`.
    pub fn name(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, name)| name)
    }

    /// What comes after the last dot: `added`.
    pub fn last(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, last)| last)
    }

    /// Whether it is the database's own: its types begin with `$`.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// Whether two names are the same. Most are short, and are compared by a few words at once, where they are.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // The last words overlap the first.
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) => {
            a_first == b_first && a_last == b_last && (a.len() <= 16 || a == b)
        }
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}

/// What comes before the first dot of a type.
pub(crate) fn prefix(kind: &str) -> &str {
    kind.split_once('.').map_or(kind, |(prefix, _)| prefix)
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EventType {
    type Err = Error;

    fn from_str(text: &str) -> Result<EventType> {
        EventType::new(text)
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", shorten(text).replace(char::is_control, "\u{fffd}"))
}

/// What [`is_fit`] asks for.
const FIT: &str = "names that neither begin nor end with white space, and hold no control characters";

/// Whether a name, of a kind or between the dots of a type, is what a pattern can mean: patterns are trimmed.
fn is_fit(name: &str) -> bool {
    name.trim() == name && !name.chars().any(char::is_control)
}

/// Whether a text can be written as a bare name of the language.
pub(crate) fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// Displays a name of the language, in backticks where it is no bare word.
pub(crate) struct NameText<'a>(pub &'a str);

impl NameText<'_> {
    /// The name that a text begins with as it is displayed, and what follows it.
    pub fn read(text: &str) -> Option<(String, &str)> {
        let Some(quoted) = text.strip_prefix('`') else {
            let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            return is_word(name).then(|| (name.to_owned(), rest));
        };
        let mut name = String::new();
        let mut rest = quoted;
        loop {
            let (part, after) = rest.split_once('`')?;
            name.push_str(part);
            // Twice, it is one of the name.
            match after.strip_prefix('`') {
                Some(after) => {
                    name.push('`');
                    rest = after;
                }
                None => return Some((name, after)),
            }
        }
    }
}

impl fmt::Display for NameText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_word(self.0) { f.write_str(self.0) } else { write!(f, "`{}`", self.0.replace('`', "``")) }
    }
}

/// Whether a terminal obeys a character, or shows it as something else: control characters, what turns the direction of a text, what has
/// no width, and what ends a line.
///
/// ```
/// use bygone::editor::{escaped, is_unseen};
/// assert!(is_unseen('\u{202e}') && !is_unseen('é'));
/// assert_eq!(escaped('\u{202e}'), "\\u202e");
/// ```
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The escape of a character in JSON, which a text in double quotes of the language takes, too.
pub fn escaped(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    }
}

/// Displays an id of the language: digits bare, words bare, anything else in quotes; in double ones where escapes are needed for all of it
/// to be seen.
pub(crate) struct IdText<'a>(pub &'a str);

impl fmt::Display for IdText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.bytes().all(|b| b.is_ascii_digit()) && !self.0.is_empty();
        if digits || is_word(self.0) {
            f.write_str(self.0)
        } else if self.0.contains(is_unseen) {
            f.write_str("\"")?;
            for c in self.0.chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    c if is_unseen(c) => f.write_str(&escaped(c))?,
                    c => write!(f, "{c}")?,
                }
            }
            f.write_str("\"")
        } else {
            write!(f, "'{}'", self.0.replace('\'', "''"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_reads_as_it_prints() {
        for text in [
            "Order 42",
            "User ann",
            "Invoice 'INV-9'",
            "User 'it''s'",
            r#"User "a\u001b\n\"\\\u202eb'""#,
            r#"User 'a"b'"#,
        ] {
            assert_eq!(text.parse::<Entity>().unwrap().to_string(), text);
        }
        for wrong in ["", "Order", "Order ", "Or.der 1", "Order a b"] {
            assert!(wrong.parse::<Entity>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_the_same_if_all_their_bytes_are() {
        for length in 0..40 {
            let name = vec![b'a'; length];
            assert!(same(&name, &name.clone()) && !same(&name, &vec![b'a'; length + 1]));
            for at in 0..length {
                let mut other = name.clone();
                other[at] = b'b';
                assert!(!same(&name, &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn ids_are_kept_verbatim() {
        assert_ne!(Entity::from(("Order", "007")), Entity::from(("Order", 7)));
        assert_eq!(Entity::from(("Order", "42")), Entity::from(("Order", 42)));
    }

    #[test]
    fn a_type_has_its_prefix() {
        assert_eq!(EventType::new("Order.item.added").unwrap().name(), "item.added");
        assert_eq!(EventType::new("Order.item.added").unwrap().last(), "added");
        for wrong in ["", "paid", ".paid", "Order.", "Order..paid", "Order.*", "Order.a\n"] {
            assert!(EventType::new(wrong).is_err(), "{wrong}");
        }
        for wrong in ["P.a ", " P.a", "P.a\u{3000}", "P. a", "P .a", "P.a\u{85}b", "P.\0", "P.a\u{1b}[2J"] {
            let error = EventType::new(wrong).unwrap_err().to_string();
            assert!(error.contains("white space") && !error.contains(char::is_control), "{error}");
        }
        for wrong in ["P ", "\tP", "P\u{9b}"] {
            assert!(Entity::new(wrong, "1").unwrap_err().to_string().contains("white space"), "{wrong:?}");
        }
        assert!(EventType::new("order entry.was opened").is_ok());
        assert!(EventType::new("$verb.defined").unwrap().is_internal());
    }
}
