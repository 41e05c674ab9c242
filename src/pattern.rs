//! Patterns over event types: `Order.created`, `Order.*`, `*.created`, `*`, and several with a comma.

mod text;

use std::fmt;
use std::str::FromStr;

use crate::entity::{EventType, same};
use crate::error::{Error, Result, shorten};

pub(crate) use self::text::TextPattern;

/// Which event types are meant.
///
/// `*` is any run of characters, dots too; a comma means or. A `*` never stands for the `$` that the
/// database's own types begin with: write `$*` to mean them.
///
/// ```
/// use bygone::{EventType, Pattern};
/// let orders: Pattern = "Order.*".parse()?;
/// assert!(orders.matches(&EventType::new("Order.item.added")?));
/// assert!(!orders.matches(&EventType::new("Orders.x")?));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    alternatives: Vec<Glob>,
}

/// The most bytes of a pattern, the most alternatives that it has, and the most bytes of one: no type is as long.
pub(crate) const MAX_PATTERN: usize = 64 << 10;
pub(crate) const MAX_ALTERNATIVES: usize = 1000;
pub(crate) const MAX_ALTERNATIVE: usize = 1024;

/// Refuses a pattern that is longer than any that is meant: each event is held to all of it.
fn check_length(text: &str) -> Result<()> {
    let fault = |expected: String, found: String| Err(Error::invalid("pattern", expected, found));
    if text.len() > MAX_PATTERN {
        return fault(format!("at most {MAX_PATTERN} bytes"), format!("{} bytes", text.len()));
    }
    let alternatives = text.split(',').count();
    if alternatives > MAX_ALTERNATIVES {
        return fault(
            format!("at most {MAX_ALTERNATIVES} with a comma between them"),
            alternatives.to_string(),
        );
    }
    match text.split(',').map(|part| part.trim().len()).max() {
        Some(longest) if longest > MAX_ALTERNATIVE => {
            fault(format!("at most {MAX_ALTERNATIVE} bytes between two commas"), format!("{longest} bytes"))
        }
        _ => Ok(()),
    }
}

/// One alternative.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Glob {
    text: Box<str>,
    /// Where the first star is.
    star: Option<usize>,
}

impl Pattern {
    /// Every event but the database's own.
    pub fn all() -> Pattern {
        Pattern { alternatives: vec![Glob::new("*")] }
    }

    /// Exactly one type.
    pub fn exactly(kind: &EventType) -> Pattern {
        Pattern { alternatives: vec![Glob::new(kind.as_str())] }
    }

    /// Of what happened, with the kind before it or without: `paid`, `item.*`, `Order.paid`.
    pub(crate) fn of_happening(text: &str) -> Result<Pattern> {
        check_length(text)?;
        let globs = text.split(',').map(str::trim).map(|part| {
            let named = !part.is_empty() && !part.chars().any(char::is_control);
            if named && (part.contains('*') || part.split('.').all(|name| !name.is_empty())) {
                return Ok(Glob::new(part));
            }
            let expected = "what happened, like paid, item.added, 'item.*' or 'Vehicle.moved'";
            Err(Error::invalid("ON", expected, format!("'{}'", shorten(text))))
        });
        Ok(Pattern { alternatives: globs.collect::<Result<_>>()? })
    }

    /// Whether the type is meant.
    pub fn matches(&self, kind: &EventType) -> bool {
        self.matches_text(kind.as_str())
    }

    pub(crate) fn matches_text(&self, kind: &str) -> bool {
        self.matches_bytes(kind.as_bytes())
    }

    /// The same of the bytes of a text.
    #[inline]
    pub(crate) fn matches_bytes(&self, kind: &[u8]) -> bool {
        self.alternatives.iter().any(|glob| glob.matches_bytes(kind))
    }

    /// Whether it is `*` alone: every event, the database's own apart.
    pub fn is_all(&self) -> bool {
        self.alternatives.iter().any(|glob| glob.is_all())
    }

    pub(crate) fn alternatives(&self) -> &[Glob] {
        &self.alternatives
    }
}

impl Glob {
    fn new(text: &str) -> Glob {
        Glob { text: text.into(), star: text.find('*') }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.matches_bytes(text.as_bytes())
    }

    fn matches_bytes(&self, text: &[u8]) -> bool {
        let own = self.text.as_bytes();
        let Some(star) = self.star else { return same(text, own) };
        // A star at the front does not reach into the database's own types.
        if star == 0 && text.first() == Some(&b'$') {
            return false;
        }
        let (first, pieces) = (&own[..star], &own[star + 1..]);
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut pieces = pieces.split(|b| *b == b'*').peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            // The leftmost place for each piece between two stars leaves the most for those that follow.
            match find(rest, piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }

    /// As it is written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What every match begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.text[..self.star.unwrap_or(self.text.len())]
    }

    /// The one type it means, if it has no star.
    pub(crate) fn literal(&self) -> Option<&str> {
        self.star.is_none().then_some(&self.text)
    }

    pub(crate) fn is_all(&self) -> bool {
        self.text.bytes().all(|b| b == b'*')
    }
}

fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    if piece.is_empty() { Some(0) } else { text.windows(piece.len()).position(|window| window == piece) }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pattern> {
        check_length(text)?;
        let fault = |found: &str| {
            let expected = "types or patterns like Order.paid, Order.*, *.created or *, joined by commas";
            Err(Error::invalid("pattern", expected, format!("'{}'", shorten(found))))
        };
        let mut alternatives = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let literal = !part.contains('*');
            if part.is_empty()
                || part.chars().any(char::is_control)
                || (literal && EventType::new(part).is_err())
            {
                return fault(if part.is_empty() { text } else { part });
            }
            alternatives.push(Glob::new(part));
        }
        Ok(Pattern { alternatives })
    }
}

impl From<&Pattern> for Pattern {
    fn from(pattern: &Pattern) -> Pattern {
        pattern.clone()
    }
}

impl TryFrom<&str> for Pattern {
    type Error = Error;

    fn try_from(text: &str) -> Result<Pattern> {
        text.parse()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, glob) in self.alternatives.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(&glob.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches_text(text)
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        assert!(matches("Order.*", "Order.item.added"));
        assert!(!matches("Order.*", "Order") && !matches("Order.*", "Orders.x"));
        assert!(matches("*.created", "A.b.created") && matches("*", "A.b"));
        assert!(
            matches("Order.*.failed", "Order.pay.retry.failed") && !matches("Order.*.failed", "Order.failed")
        );
        assert!(matches("*a*b*", "xaxbx") && !matches("*a*b*", "xbxax"));
        assert!(!matches("a*a", "a") && matches("a*a", "aa"));
        assert!(matches("Order.paid, Order.sent", "Order.sent") && !matches("Order.paid", "Order.paid2"));
    }

    #[test]
    fn a_star_does_not_mean_the_databases_own() {
        assert!(!matches("*", "$verb.defined") && !matches("*.defined", "$verb.defined"));
        assert!(matches("$*", "$verb.defined") && !matches("$*", "Order.paid"));
    }

    #[test]
    fn a_pattern_without_sense_is_refused() {
        for wrong in ["", "Order", "Order.a,,B.c", ",", "Order..x"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }

    /// The plain meaning of a glob, by recursion on every split.
    fn model(glob: &[u8], text: &[u8]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|i| model(rest, &text[i..])),
            Some((c, rest)) => text.first() == Some(c) && model(rest, &text[1..]),
        }
    }

    proptest::proptest! {
        #[test]
        fn matching_equals_the_plain_meaning(glob in "[ab.*]{1,8}", text in "[ab.]{0,8}") {
            let glob = Glob::new(&glob);
            proptest::prop_assert_eq!(glob.matches(&text), model(glob.text.as_bytes(), text.as_bytes()));
        }
    }
}
