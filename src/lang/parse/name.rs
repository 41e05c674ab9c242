//! Names, ids, types, and the other small things that statements are made of.

use nom::Parser;
use nom::sequence::preceded;

use super::cursor::{ParseResult, TokenCursor, keyword};
use super::expr::parenthesized;
use crate::entity::{EventType, Position};
use crate::lang::ast::{
    CountLiteral, EntityRef, EventRef, Happening, IdExpr, Name, Param, Period, PointExpr, PointKind, Span,
    Start, TextExpr, TypeRef,
};
use crate::lang::expectations::TokenClass;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Symbol, TokenKind, unquote};
use crate::time::{Timestamp, parse_duration};

/// A name of a certain class: a word, a keyword too, or anything in backticks.
pub(super) fn name<'a>(noun: TokenClass) -> impl super::cursor::TokenParser<'a, Name> {
    move |c: TokenCursor<'a>| match c.kind() {
        TokenKind::Word | TokenKind::Quoted => bare(c),
        TokenKind::Keyword(keyword) if keyword != K::AsOf => bare(c),
        _ => c.missing_noun(noun),
    }
}

/// The name that is here.
pub(super) fn bare(c: TokenCursor<'_>) -> ParseResult<'_, Name> {
    let (rest, text) = match c.kind() {
        TokenKind::Quoted => unquoted(c)?,
        _ => (c.next(), c.source().to_owned()),
    };
    Ok((rest, Name { text, span: c.token().span }))
}

/// What the quotes here say.
pub(super) fn unquoted(c: TokenCursor<'_>) -> ParseResult<'_, String> {
    match unquote(c.source()) {
        Ok(text) => Ok((c.next(), text)),
        Err(within) => {
            let start = c.token().span.start();
            let span = Span::new(start + within.start(), start + within.end());
            let message = format!("{} is no escape; a backslash itself is \\\\", c.slice(span));
            c.wrong(span, message)
        }
    }
}

/// The parameter that is here.
pub(super) fn param(c: TokenCursor<'_>) -> Param {
    Param { name: c.source().trim_start_matches('$').to_owned(), span: c.token().span }
}

/// A text in quotes, or a parameter.
pub(super) fn text<'a>(noun: TokenClass) -> impl super::cursor::TokenParser<'a, TextExpr> {
    move |c: TokenCursor<'a>| match c.kind() {
        TokenKind::Text => {
            let (rest, text) = unquoted(c)?;
            Ok((rest, TextExpr::Literal { text, span: c.token().span }))
        }
        TokenKind::Param => Ok((c.next(), TextExpr::Param(param(c)))),
        _ => c.missing_noun(noun),
    }
}

pub(super) fn count(c: TokenCursor<'_>) -> ParseResult<'_, CountLiteral> {
    match c.kind() {
        TokenKind::Int => {
            let (rest, number) = whole(c)?;
            Ok((rest, CountLiteral::Number { number, span: c.token().span }))
        }
        TokenKind::Param => Ok((c.next(), CountLiteral::Param(param(c)))),
        _ => c.missing_noun(TokenClass::Count),
    }
}

/// The digits here, as a number that 64 bits hold.
pub(super) fn whole(c: TokenCursor<'_>) -> ParseResult<'_, u64> {
    refuse_zeros(c)?;
    match c.source().parse() {
        Ok(number) => Ok((c.next(), number)),
        Err(_) => too_wide(c, c.token().span),
    }
}

/// A number that begins with a zero is likely an id or a code: as a number it would silently lose the zero.
pub(super) fn refuse_zeros(c: TokenCursor<'_>) -> ParseResult<'_, ()> {
    let digits = c.source();
    if digits.starts_with('0') && digits[1..].starts_with(|d: char| d.is_ascii_digit()) {
        if c.is_adjacent() {
            let message = "a number does not begin with 0; a date has all its digits, like 2024-01-05";
            return c.wrong(c.token().span, message);
        }
        return c.wrong_for(
            c.token().span,
            "a number does not begin with 0; a text is quoted",
            Some(format!("'{}'", crate::error::shorten(digits))),
        );
    }
    Ok((c, ()))
}

/// Numbers are i64, u64 or f64; anything else would be changed silently.
pub(super) fn too_wide<T>(c: TokenCursor<'_>, number: Span) -> ParseResult<'_, T> {
    c.wrong(number, format!("{} does not fit 64 bits", crate::error::shorten(c.slice(number))))
}

pub(super) fn period(c: TokenCursor<'_>) -> ParseResult<'_, Period> {
    match c.kind() {
        TokenKind::Duration => {
            let (rest, duration) = duration(c)?;
            Ok((rest, Period::Fixed { duration, span: c.token().span }))
        }
        TokenKind::Param => Ok((c.next(), Period::Param(param(c)))),
        _ => c.missing_noun(TokenClass::Period),
    }
}

/// The duration that is here.
pub(super) fn duration(c: TokenCursor<'_>) -> ParseResult<'_, std::time::Duration> {
    match parse_duration(c.source()) {
        Ok(duration) => Ok((c.next(), duration)),
        Err(_) => c.wrong(c.token().span, "a duration longer than can be counted"),
    }
}

/// The date that is here.
pub(super) fn date(c: TokenCursor<'_>) -> ParseResult<'_, Timestamp> {
    let what = if c.source().len() > "2024-01-01".len() { "time" } else { "date" };
    match c.source().parse::<Timestamp>() {
        // Moved to UTC it may leave the years that a bare date can say.
        Ok(time) if !time.to_string().starts_with('-') => Ok((c.next(), time)),
        _ => c.wrong(c.token().span, format!("{} is no {what} of the calendar", c.source())),
    }
}

/// The position that is here.
pub(super) fn position(c: TokenCursor<'_>) -> ParseResult<'_, Position> {
    match c.source().trim_start_matches('#').parse() {
        Ok(number) => Ok((c.next(), Position(number))),
        Err(_) => too_wide(c, c.token().span),
    }
}

/// The type of an event: with its prefix.
pub(super) fn event_type(c: TokenCursor<'_>) -> ParseResult<'_, TypeRef> {
    let (rest, first) = name(TokenClass::Type).parse(c)?;
    if !rest.sees_symbol(Symbol::Dot) {
        let message = "the type of an event has a prefix, like Order.paid";
        return rest.wrong(first.span, message);
    }
    let (rest, text) = dotted(rest, first.text)?;
    let span = rest.span_from(c);
    match EventType::new(&text) {
        Ok(event_type) => Ok((rest, TypeRef { event_type, span })),
        Err(_) if text.contains(['*', ',']) => {
            rest.wrong(span, "a type is names joined by dots, without '*' or ','")
        }
        Err(_) => {
            let message = "a type is names joined by dots: none is empty, begins or ends with white space, or holds control \
                           characters";
            rest.wrong(span, message)
        }
    }
}

/// The parts that follow a first, with their dots.
fn dotted(mut c: TokenCursor<'_>, mut text: String) -> ParseResult<'_, String> {
    while c.sees_symbol(Symbol::Dot) {
        let (rest, part) = name(TokenClass::Part).parse(c.next())?;
        text.push('.');
        text.push_str(&part.text);
        c = rest;
    }
    Ok((c, text))
}

/// `paid`, `item.added`, or anything in quotes.
pub(super) fn happening(c: TokenCursor<'_>) -> ParseResult<'_, Happening> {
    let (rest, text) = match c.kind() {
        TokenKind::Text => unquoted(c)?,
        _ => {
            let (rest, first) = name(TokenClass::Happening).parse(c)?;
            dotted(rest, first.text)?
        }
    };
    Ok((rest, Happening { text, span: rest.span_from(c) }))
}

/// A kind and an id.
pub(super) fn entity(c: TokenCursor<'_>) -> ParseResult<'_, EntityRef> {
    let (rest, (kind, id)) = (name(TokenClass::Kind), id).parse(c)?;
    Ok((rest, EntityRef { kind, id, span: rest.span_from(c) }))
}

pub(super) fn id(c: TokenCursor<'_>) -> ParseResult<'_, IdExpr> {
    let (rest, id) = match c.kind() {
        TokenKind::Symbol(Symbol::LeftParen) => {
            return parenthesized(c).map(|(rest, expr)| (rest, IdExpr::Expr(expr)));
        }
        TokenKind::Text => return plain_id(c, TokenClass::Id),
        TokenKind::Keyword(_) => verbatim(c)?,
        _ => plain_id(c, TokenClass::Id)?,
    };
    match &id {
        IdExpr::Text { text, span } if is_path(text) => {
            let message = format!(
                "an id is text as it stands: what is worked out stands in brackets, and the text '{text}' in quotes"
            );
            rest.wrong_for(*span, message, Some(format!("({text})")))
        }
        _ => Ok((rest, id)),
    }
}

/// An id that is no expression and does not begin with a keyword.
pub(super) fn plain_id(c: TokenCursor<'_>, noun: TokenClass) -> ParseResult<'_, IdExpr> {
    match c.kind() {
        TokenKind::Text => {
            let (rest, text) = unquoted(c)?;
            Ok((rest, IdExpr::Text { text, span: c.token().span }))
        }
        TokenKind::Param => Ok((c.next(), IdExpr::Param(param(c)))),
        kind if begins_plain_id(kind) => verbatim(c),
        _ => c.missing_noun(noun),
    }
}

/// Whether an id is here.
pub(super) fn begins_id(c: TokenCursor<'_>) -> bool {
    match c.kind() {
        TokenKind::Symbol(symbol) => symbol == Symbol::LeftParen,
        TokenKind::Keyword(_) => verbatim_end(c).place() > c.next().place(),
        kind => begins_plain_id(kind),
    }
}

pub(super) fn begins_plain_id(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Text | TokenKind::Param => true,
        TokenKind::Keyword(_) | TokenKind::Position => false,
        kind => joins(kind) && !is_sign(kind),
    }
}

/// Tokens without space between are one id, kept as written. A keyword alone is none: it must be quoted.
fn verbatim(c: TokenCursor<'_>) -> ParseResult<'_, IdExpr> {
    let end = verbatim_end(c);
    if matches!(c.kind(), TokenKind::Keyword(_)) && end.place() == c.next().place() {
        return c.missing_noun(TokenClass::Id);
    }
    let span = end.span_from(c);
    Ok((end, IdExpr::Text { text: c.slice(span).to_owned(), span }))
}

/// Whether a text reads like a member of what expressions read, which nobody has for an id.
fn is_path(text: &str) -> bool {
    let read = ["state.", "data.", "target.", "actor.", "metadata.", "cause.", "producer.", "tags."];
    read.iter().any(|read| text.len() > read.len() && text.starts_with(read))
}

/// Behind the last token of the id that begins here; a sign at its end is not its own.
fn verbatim_end(c: TokenCursor<'_>) -> TokenCursor<'_> {
    let mut end = c.next();
    let mut ahead = end;
    while ahead.is_adjacent() && joins(ahead.kind()) {
        let sign = is_sign(ahead.kind());
        ahead = ahead.next();
        if !sign {
            end = ahead;
        }
    }
    end
}

/// Whether a token can be a piece of an id.
pub(super) fn joins(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Word
            | TokenKind::Keyword(_)
            | TokenKind::Int
            | TokenKind::Number
            | TokenKind::Duration
            | TokenKind::Date
            | TokenKind::Mixed
            | TokenKind::Position
    ) || is_sign(kind)
}

fn is_sign(kind: TokenKind) -> bool {
    use Symbol::{AtSign, Colon, Dot, Minus, Plus, Slash};
    matches!(kind, TokenKind::Symbol(Minus | Dot | Colon | Slash | Plus | AtSign))
}

pub(super) fn point(c: TokenCursor<'_>) -> ParseResult<'_, PointExpr> {
    let (rest, kind) = match c.kind() {
        TokenKind::Text => unquoted(c).map(|(c, text)| (c, PointKind::Text(text)))?,
        TokenKind::Date => date(c).map(|(c, time)| (c, PointKind::Time(time)))?,
        TokenKind::Position => position(c).map(|(c, position)| (c, PointKind::Position(position)))?,
        TokenKind::Param => (c.next(), PointKind::Param(param(c))),
        TokenKind::Keyword(K::Now) => now(c.next())?,
        TokenKind::Symbol(Symbol::Minus) => match c.next().kind() {
            TokenKind::Duration => duration(c.next()).map(|(c, ago)| (c, PointKind::Ago(ago)))?,
            _ => return c.next().missing_noun(TokenClass::Period),
        },
        TokenKind::Duration => {
            c.expect_noun(TokenClass::Point);
            let message = "so long before now is written with a minus";
            return c.wrong_for(c.token().span, message, Some(format!("-{}", c.source())));
        }
        _ => {
            c.expect_noun(TokenClass::Point);
            c.sees(K::Now);
            preceded(keyword(K::Version), count).map(PointKind::Version).parse(c)?
        }
    };
    Ok((rest, PointExpr { kind, span: rest.span_from(c) }))
}

/// Behind `NOW`: nothing, or `- 30d`.
fn now(c: TokenCursor<'_>) -> ParseResult<'_, PointKind> {
    if !c.sees_symbol(Symbol::Minus) {
        return Ok((c, PointKind::Now));
    }
    match c.next().kind() {
        TokenKind::Duration => duration(c.next()).map(|(c, ago)| (c, PointKind::Ago(ago))),
        _ => c.next().missing_noun(TokenClass::Period),
    }
}

/// `START`, or a point.
pub(super) fn start(c: TokenCursor<'_>) -> ParseResult<'_, Start> {
    if c.sees(K::Start) {
        return Ok((c.next(), Start::Beginning(c.token().span)));
    }
    point.map(Start::Point).parse(c)
}

/// An event of the log, by position or id.
pub(super) fn event(c: TokenCursor<'_>) -> ParseResult<'_, EventRef> {
    if c.kind() == TokenKind::Position {
        let (rest, position) = position(c)?;
        return Ok((rest, EventRef::Position { position, span: c.token().span }));
    }
    if c.kind() == TokenKind::Int {
        c.expect_noun(TokenClass::Event);
        let message = "a position begins with #";
        return c.wrong_for(c.token().span, message, Some(format!("#{}", c.source())));
    }
    text(TokenClass::Event).map(EventRef::Id).parse(c)
}
