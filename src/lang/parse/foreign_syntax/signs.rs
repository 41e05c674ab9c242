//! Signs, and words between values, as another language writes them.

use super::super::cursor::TokenCursor;
use super::super::name::joins;
use super::opening::COMMENT;
use super::{wrong, wrong_at};
use crate::error::suggested;
use crate::lang::expectations::{Expectation, Expectations, TokenClass, Wrong};
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Bad, Symbol, TokenKind};
use crate::time::duration_elsewhere;

/// Conversions, by the names of types elsewhere.
const CONVERSIONS: [(&str, &[&str]); 3] = [
    (
        "number",
        &["INT", "INTEGER", "BIGINT", "SMALLINT", "NUMERIC", "DECIMAL", "REAL", "FLOAT", "DOUBLE", "NUMBER"],
    ),
    ("text", &["TEXT", "VARCHAR", "CHAR", "STRING"]),
    ("time", &["DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME"]),
];

/// What is said of a conversion.
const CAST: &str = "convert with a call: number(x), text(x) or time(x)";

/// What to say of a character that no token begins with.
pub(super) fn no_token(c: TokenCursor<'_>, start: TokenCursor<'_>) -> Option<Wrong> {
    match c.kind() {
        TokenKind::Bad(Bad::Position) if c.source() == "#" || c.place() == start.place() => {
            wrong(c.token(), COMMENT, Some("--"))
        }
        TokenKind::Bad(Bad::Character) if c.source() == "~" => {
            let subject = path_before(c).unwrap_or("data.name");
            let message = "regex() tests a regular expression";
            let meant = match c.next().kind() {
                TokenKind::Text => suggested(format!("regex({subject}, {})", c.next().source())),
                _ => None,
            };
            wrong_at(c.token().span, message, meant)
        }
        _ => None,
    }
}

/// What to say of a sign, or of what follows a word, in any statement.
pub(super) fn sign(c: TokenCursor<'_>, start: TokenCursor<'_>, trail: &Expectations) -> Option<Wrong> {
    let before = c.back(1);
    let behind = |kind: TokenKind| before.is_some_and(|before| before.kind() == kind);
    let symbol = |symbol: Symbol| Expectation::Symbol(symbol);
    match c.kind() {
        TokenKind::Symbol(Symbol::Slash)
            if c.next().is_adjacent() && c.next().kind() == TokenKind::Symbol(Symbol::Slash) =>
        {
            wrong_at(c.next().next().span_from(c), COMMENT, Some("--".to_owned()))
        }
        // `//` between values is a division of nothing.
        TokenKind::Symbol(Symbol::Slash) if behind(TokenKind::Symbol(Symbol::Slash)) && c.is_adjacent() => {
            wrong_at(c.next().span_from(before?), COMMENT, Some("--".to_owned()))
        }
        TokenKind::Symbol(Symbol::Colon)
            if c.next().is_adjacent() && c.next().kind() == TokenKind::Symbol(Symbol::Colon) =>
        {
            let subject = path_before(c)?;
            let function = conversion(c.next().next().source()).unwrap_or("text");
            wrong_at(c.next().next().span_from(c), CAST, suggested(format!("{function}({subject})")))
        }
        TokenKind::Symbol(Symbol::RightBracket | Symbol::RightParen)
            if behind(TokenKind::Symbol(Symbol::Comma)) =>
        {
            let message = format!("the comma before {} is one too many", c.source());
            wrong_at(before?.token().span, &message, None)
        }
        TokenKind::End
            if behind(TokenKind::Symbol(Symbol::Comma))
                && trail.expects(Expectation::Noun(TokenClass::Expression)) =>
        {
            wrong_at(before?.token().span, "the last comma is one too many", None)
        }
        TokenKind::Position if trail.expects(Expectation::Noun(TokenClass::Expression)) => {
            let number = c.source().trim_start_matches('#').to_owned();
            wrong_at(
                c.token().span,
                "in a condition a position is a number, as in position > 3",
                suggested(number),
            )
        }
        TokenKind::Symbol(Symbol::Equal) if trail.expects(symbol(Symbol::Colon)) => {
            wrong(c.token(), "a key has a colon after it, as in {total: 5}", Some(":"))
        }
        TokenKind::Symbol(Symbol::Comma)
            if trail.expects(symbol(Symbol::RightParen)) && start.kind() == TokenKind::Keyword(K::Emit) =>
        {
            let message = "data has names and goes into braces, as in EMIT Order.created 44 {total: 5}";
            wrong(c.token(), message, None)
        }
        TokenKind::Symbol(Symbol::Comma) if limit_before(c) => {
            wrong(c.token(), "LIMIT takes one number: there is no OFFSET", None)
        }
        _ => written(c, start, trail).or_else(|| test(c, trail)),
    }
}

fn limit_before(c: TokenCursor<'_>) -> bool {
    c.back(2).is_some_and(|two| matches!(two.kind(), TokenKind::Keyword(K::Limit | K::Last)))
}

/// What `EMIT` takes as another would say it.
fn written(c: TokenCursor<'_>, start: TokenCursor<'_>, trail: &Expectations) -> Option<Wrong> {
    if start.kind() != TokenKind::Keyword(K::Emit) {
        return None;
    }
    let facts = trail.expects(Expectation::Keyword(K::With)) || trail.expects(Expectation::Keyword(K::Meta));
    match c.kind() {
        TokenKind::Text if c.place() == start.place() + 1 => {
            let inside = c.source().trim_matches(['\'', '"']);
            let is_type = inside.contains('.') && inside.chars().all(|c| c.is_alphanumeric() || c == '.');
            let meant = is_type.then(|| inside.to_owned()).and_then(suggested);
            wrong_at(c.token().span, "a type has no quotes, as in EMIT Order.paid 42", meant)
        }
        TokenKind::Symbol(Symbol::Comma)
            if facts && c.next().kind() == TokenKind::Symbol(Symbol::LeftBrace) =>
        {
            wrong(c.token(), "the comma before the data is one too many", None)
        }
        TokenKind::Symbol(Symbol::LeftParen) if facts => wrong(
            c.token(),
            "data has names and goes into braces, as in EMIT Order.created 44 {total: 5}",
            None,
        ),
        TokenKind::Symbol(Symbol::Comma) if trail.expects(Expectation::Keyword(K::New)) => {
            wrong(c.token(), "the comma after the type is one too many", None)
        }
        TokenKind::Word | TokenKind::Keyword(_)
            if facts && matches!(c.next().kind(), TokenKind::Symbol(Symbol::Colon | Symbol::Equal)) =>
        {
            let message = "data goes into braces, as in EMIT Order.created 44 {total: 5}";
            wrong(c.token(), message, None)
        }
        TokenKind::Word | TokenKind::Int
            if trail.expects(Expectation::Keyword(K::New))
                && trail.expects(Expectation::Keyword(K::Exists)) =>
        {
            match (c.source().to_ascii_uppercase().as_str(), c.kind()) {
                (number, TokenKind::Int) => wrong_at(
                    c.token().span,
                    "EXPECT takes VERSION and a number",
                    suggested(format!("VERSION {number}")),
                ),
                ("NO" | "NOSTREAM" | "EMPTY", _) => {
                    let message = "EXPECT NEW says that the entity has no events yet";
                    let end = if c.next().kind() == TokenKind::Word { c.next().next() } else { c.next() };
                    wrong_at(end.span_from(c), message, Some("NEW".to_owned()))
                }
                ("ANY", _) => wrong(c.token(), "leave EXPECT out to accept any version", None),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What follows `IS` and `IN`, and calls of `CAST`.
fn test(c: TokenCursor<'_>, trail: &Expectations) -> Option<Wrong> {
    let before = c.back(1)?;
    let is = |c: TokenCursor<'_>, keyword: K| c.kind() == TokenKind::Keyword(keyword);
    if trail.expects(Expectation::Keyword(K::Null))
        && !trail.expects(Expectation::Noun(TokenClass::Expression))
    {
        if is(before, K::Is) {
            let message = "IS only tests for NULL; equal is written =";
            return wrong(before.token(), message, Some("="));
        }
        if is(before, K::Not) && before.back(1).is_some_and(|two| is(two, K::Is)) {
            let message = "IS NOT only tests for NULL; not equal is written !=";
            return wrong_at(c.span_from(before.back(1)?), message, Some("!=".to_owned()));
        }
    }
    if is(before, K::In) && trail.expects(Expectation::Symbol(Symbol::LeftParen)) {
        let message = "IN takes a list in brackets";
        return match c.kind() {
            TokenKind::Text | TokenKind::Int | TokenKind::Number => {
                wrong_at(c.token().span, message, suggested(format!("({})", c.source())))
            }
            TokenKind::Symbol(Symbol::LeftBracket) => {
                wrong(c.token(), "IN takes a list in round brackets", None)
            }
            TokenKind::Word | TokenKind::Keyword(_) => {
                let message = "IN takes a list in brackets; CONTAINS looks into an array, as in data.items CONTAINS 'tea'";
                wrong(c.token(), message, None)
            }
            _ => None,
        };
    }
    // `IN (SELECT id FROM users)`: an entity `SELECT id`.
    if let Some(nested) = c.back(2).and_then(nested_query) {
        return Some(nested);
    }
    if is(c, K::As) {
        return cast(c);
    }
    // `INTERVAL 1 DAY`: an entity, and a word too much.
    if let Some(interval) = c.back(2).filter(|two| two.source().eq_ignore_ascii_case("interval"))
        && before.kind() == TokenKind::Int
    {
        let meant = duration_elsewhere(&format!("{} {}", before.source(), c.source()));
        let message = "a duration is a number and a unit, as in NOW - 1d, without INTERVAL";
        return wrong_at(c.next().span_from(interval), message, meant);
    }
    None
}

/// `CAST(data.total AS INTEGER)`.
fn cast(c: TokenCursor<'_>) -> Option<Wrong> {
    let subject = path_before(c)?;
    let mut open = c;
    while open.kind() != TokenKind::Symbol(Symbol::LeftParen) {
        open = open.back(1)?;
    }
    let call = open.back(1).filter(|call| call.source().eq_ignore_ascii_case("cast"))?;
    let function = conversion(c.next().source()).unwrap_or("text");
    wrong_at(c.next().next().span_from(call), CAST, suggested(format!("{function}({subject})")))
}

fn conversion(of: &str) -> Option<&'static str> {
    let of = of.to_ascii_uppercase();
    CONVERSIONS.iter().find(|(_, types)| types.contains(&of.as_str())).map(|(function, _)| *function)
}

/// The path, or the value, that ends before this.
fn path_before(c: TokenCursor<'_>) -> Option<&str> {
    let end = c;
    let mut first = c.back(1).filter(|before| joins(before.kind()) || before.kind() == TokenKind::Text)?;
    while first.is_adjacent()
        && let Some(before) = first.back(1)
        && joins(before.kind())
    {
        first = before;
    }
    Some(c.slice(end.span_from(first)))
}

/// What `||` is meant to be: the texts of values are joined, conditions are told apart by OR.
pub(super) fn either(c: TokenCursor<'_>) -> Option<Wrong> {
    let mut compared = false;
    let mut before = c.back(1);
    let clause = loop {
        let Some(here) = before else { break None };
        match here.kind() {
            TokenKind::Symbol(
                Symbol::Equal
                | Symbol::NotEqual
                | Symbol::Less
                | Symbol::LessOrEqual
                | Symbol::Greater
                | Symbol::GreaterOrEqual,
            )
            | TokenKind::Keyword(K::Is | K::In | K::Matches | K::Contains | K::Between) => compared = true,
            TokenKind::Keyword(K::Where | K::Having | K::Require | K::When) => break Some(here),
            TokenKind::Keyword(K::Select | K::Order | K::Group | K::Emit | K::Set | K::With)
            | TokenKind::Symbol(Symbol::Semicolon) => break None,
            _ => {}
        }
        before = here.back(1);
    };
    let text = |side: Option<TokenCursor<'_>>| side.is_some_and(|side| side.kind() == TokenKind::Text);
    let (left, right) = (c.back(1), c.next());
    if clause.is_some() && (compared || !text(left) && !text(Some(right))) {
        let message = "|| is no operator: or is written OR; texts are joined by concat(a, b)";
        return wrong(c.token(), message, Some("OR"));
    }
    wrong(c.token(), "concat joins texts, as in concat(a, b)", Some("concat(…)"))
}

/// What is wrong with a SELECT behind a bracket.
pub(super) fn nested_query(select: TokenCursor<'_>) -> Option<Wrong> {
    let nests = select.source().eq_ignore_ascii_case("select")
        && select.back(1).is_some_and(|one| one.kind() == TokenKind::Symbol(Symbol::LeftParen));
    let message = "queries do not nest: run that one first, and give its values to IN (…)";
    if nests { wrong(select.token(), message, None) } else { None }
}
