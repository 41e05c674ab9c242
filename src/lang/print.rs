//! Canonical text: the `Display` of the tree.
//!
//! What is printed parses to the same tree. Keywords are in capitals, clauses in the order of the grammar, ids and
//! names bare where they can be, texts in single quotes, and there are no parentheses but those that the tree needs.

use std::fmt::{self, Display, Formatter};

use super::ast::*;
use super::keyword::Keyword;
use crate::entity::is_word;
use crate::time::display_duration;

mod event_schema;
mod expr;
mod statement;

/// Items with commas between.
struct CommaList<'a, T>(&'a [T]);

impl<T: Display> Display for CommaList<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

/// A head and what follows it, if it is there: ` WHERE x`.
fn optional(f: &mut Formatter<'_>, head: &str, value: Option<&impl Display>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {head} {value}"),
        None => Ok(()),
    }
}

/// A head and a list, if there is any.
fn listed<T: Display>(f: &mut Formatter<'_>, head: &str, values: &[T]) -> fmt::Result {
    if values.is_empty() { Ok(()) } else { write!(f, " {head} {}", CommaList(values)) }
}

/// A text in quotes; one with control characters is written with escapes, so that it stays in its line.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.contains(char::is_control) {
            return f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?);
        }
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

/// A name, bare or in backticks. `as of` would be one token, so neither of the two is ever bare.
struct QuotedName<'a>(&'a str);

impl Display for QuotedName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_bare(self.0) { f.write_str(self.0) } else { write!(f, "`{}`", self.0.replace('`', "``")) }
    }
}

fn is_bare(name: &str) -> bool {
    is_word(name) && !name.eq_ignore_ascii_case("as") && !name.eq_ignore_ascii_case("of")
}

/// A name where an expression may stand: what is reserved there is in backticks.
struct FieldName<'a>(&'a str);

impl Display for FieldName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if Keyword::of(self.0).is_some_and(Keyword::is_reserved) {
            return write!(f, "`{}`", self.0);
        }
        write!(f, "{}", QuotedName(self.0))
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", QuotedName(&self.text))
    }
}

impl Display for Param {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.name)
    }
}

impl Display for TextExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            TextExpr::Literal { text, .. } => write!(f, "{}", Quoted(text)),
            TextExpr::Param(param) => write!(f, "{param}"),
        }
    }
}

impl Display for CountLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            CountLiteral::Number { number, .. } => write!(f, "{number}"),
            CountLiteral::Param(param) => write!(f, "{param}"),
        }
    }
}

impl Display for Period {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Period::Fixed { duration, .. } => f.write_str(&display_duration(*duration)),
            Period::Param(param) => write!(f, "{param}"),
        }
    }
}

/// A type: names with dots between.
struct DottedName<'a>(&'a str);

impl Display for DottedName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.split('.').enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            write!(f, "{}", QuotedName(part))?;
        }
        Ok(())
    }
}

impl Display for TypeRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", DottedName(self.event_type.as_str()))
    }
}

impl Display for Happening {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.text.split('.').all(is_bare) {
            f.write_str(&self.text)
        } else {
            write!(f, "{}", Quoted(&self.text))
        }
    }
}

impl Display for EntityRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", FieldName(&self.kind.text), self.id)
    }
}

impl Display for IdExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            IdExpr::Text { text, .. } => {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                if digits || is_word(text) && Keyword::of(text).is_none() {
                    f.write_str(text)
                } else {
                    write!(f, "{}", Quoted(text))
                }
            }
            IdExpr::Param(param) => write!(f, "{param}"),
            IdExpr::Expr(expr) => write!(f, "({expr})"),
        }
    }
}

impl Display for PointExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PointKind::Text(text) => write!(f, "{}", Quoted(text)),
            PointKind::Time(time) => write!(f, "{}", expr::Time(*time)),
            PointKind::Position(position) => write!(f, "{position}"),
            PointKind::Param(param) => write!(f, "{param}"),
            PointKind::Now => f.write_str("NOW"),
            PointKind::Ago(ago) => write!(f, "-{}", display_duration(*ago)),
            PointKind::Version(count) => write!(f, "VERSION {count}"),
        }
    }
}

impl Display for Start {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Start::Beginning(_) => f.write_str("START"),
            Start::Point(point) => write!(f, "{point}"),
        }
    }
}

impl Display for EventRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            EventRef::Position { position, .. } => write!(f, "{position}"),
            EventRef::Id(text) => write!(f, "{text}"),
        }
    }
}
