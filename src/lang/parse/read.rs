//! Reads, and the clauses that follow them.

use nom::Parser;
use nom::sequence::{delimited, preceded, separated_pair};

use super::cursor::{ParseResult, TokenCursor, flag, keyword, list, once, once_list, optional, symbol};
use super::expr::{comparison, expr, list_path, path, value};
use super::name::{begins_id, count, entity, event, id, name, point, start, text};
use crate::lang::ast::{
    Clauses, Expr, ExprKind, Order, PointExpr, Query, ReadStmt, SelectItem, Selector, SourceClause,
    Subscribe, TagCondition, TagTest, TraceDirection, UnnestClause,
};
use crate::lang::expectations::TokenClass;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Symbol, TokenKind};

/// A read, if one begins here.
pub(super) fn read(c: TokenCursor<'_>) -> ParseResult<'_, Option<ReadStmt>> {
    let next = c.next();
    let (rest, read) = if c.sees(K::History) {
        history(next)?
    } else if let (rest, Some(query)) = some_query(c)? {
        (rest, ReadStmt::Query(query))
    } else if c.sees(K::At) {
        let (rest, (entity, point, as_of)) = (entity, some_point, as_of).parse(next)?;
        (rest, ReadStmt::At { entity, point, as_of })
    } else if c.sees(K::Replay) {
        let (rest, (entity, steps, as_of)) = (entity, flag(K::Steps), as_of).parse(next)?;
        (rest, ReadStmt::Replay { entity, steps, as_of })
    } else if c.sees(K::Blame) {
        let (rest, (entity, of, point, as_of)) =
            (entity, optional(K::Of, path), some_point, as_of).parse(next)?;
        (rest, ReadStmt::Blame { entity, of, point, as_of })
    } else if c.sees(K::Diff) {
        let from = preceded(keyword(K::From), start);
        let (rest, (entity, from, to, as_of)) = (entity, from, optional(K::To, point), as_of).parse(next)?;
        (rest, ReadStmt::Diff { entity, from, to, as_of })
    } else if c.sees(K::Trace) {
        trace(next)?
    } else if c.sees(K::Read) {
        let (rest, (view, clauses)) = (name(TokenClass::View), clauses).parse(next)?;
        (rest, ReadStmt::View { view, clauses })
    } else if c.sees(K::Subscribe) {
        subscribe(next)?
    } else {
        return Ok((c, None));
    };
    Ok((rest, Some(read)))
}

fn history(c: TokenCursor<'_>) -> ParseResult<'_, ReadStmt> {
    let (id, kind) = name(TokenClass::Kind).parse(c)?;
    // The history of a kind is a habit from tables; without an id there is more to say than "expected an id".
    if matches!(id.kind(), TokenKind::Keyword(_) | TokenKind::End | TokenKind::Symbol(Symbol::Semicolon))
        && !begins_id(id)
    {
        id.expect_noun(TokenClass::Id);
        let clause = matches!(
            id.kind(),
            TokenKind::End
                | TokenKind::Symbol(_)
                | TokenKind::Keyword(
                    K::Where
                        | K::Since
                        | K::Until
                        | K::Limit
                        | K::Last
                        | K::AsOf
                        | K::Order
                        | K::Select
                        | K::Group
                )
        );
        if clause {
            let mut message = format!(
                "a history is of one entity, as in HISTORY {} 42; the events of all are in EVENTS",
                kind.text
            );
            if let TokenKind::Keyword(_) = id.kind() {
                let word = id.slice(id.token().span);
                message.push_str(&format!("; an id that is a keyword is quoted, like '{word}'"));
            }
            let suggestion = Some(format!("EVENTS '{}.*'", kind.text));
            return id.wrong_for(id.token().span, message, suggestion);
        }
    }
    let (rest, (entity, of, clauses)) = (entity, optional(K::Of, path), clauses).parse(c)?;
    Ok((rest, ReadStmt::History { entity, of, clauses }))
}

/// A query, where nothing else may stand.
pub(super) fn query(c: TokenCursor<'_>) -> ParseResult<'_, Query> {
    match some_query(c)? {
        (rest, Some(query)) => Ok((rest, query)),
        (rest, None) => rest.missing(),
    }
}

fn some_query(c: TokenCursor<'_>) -> ParseResult<'_, Option<Query>> {
    if c.sees(K::Events) {
        let (rest, (selector, clauses)) = (selector, clauses).parse(c.next())?;
        return Ok((rest, Some(Query::Events { selector, clauses })));
    }
    if c.sees(K::Find) {
        let (rest, (kind, clauses)) = (name(TokenClass::Kind), clauses).parse(c.next())?;
        return Ok((rest, Some(Query::Find { kind, clauses })));
    }
    Ok((c, None))
}

fn trace(c: TokenCursor<'_>) -> ParseResult<'_, ReadStmt> {
    let (c, direction) = if c.sees(K::Causes) {
        (c.next(), TraceDirection::Causes)
    } else if c.sees(K::Effects) {
        (c.next(), TraceDirection::Effects)
    } else {
        (c, TraceDirection::Both)
    };
    event.map(|event| ReadStmt::Trace { direction, event }).parse(c)
}

fn subscribe(c: TokenCursor<'_>) -> ParseResult<'_, ReadStmt> {
    let (mut c, source) = if c.sees(K::View) {
        name(TokenClass::View).map(SourceClause::View).parse(c.next())?
    } else {
        selector.map(SourceClause::Events).parse(c)?
    };
    let mut read = Subscribe { source, name: None, from: None, until: None, filter: None, limit: None };
    loop {
        c = if c.sees(K::As) {
            once(&mut read.name, c, name(TokenClass::Subscription))?
        } else if c.sees(K::From) {
            once(&mut read.from, c, start)?
        } else if c.sees(K::Until) {
            once(&mut read.until, c, point)?
        } else if c.sees(K::Where) {
            once(&mut read.filter, c, expr)?
        } else if c.sees(K::Limit) {
            once(&mut read.limit, c, count)?
        } else {
            return Ok((c, ReadStmt::Subscribe(read)));
        };
    }
}

/// A point, if one is here.
fn some_point(c: TokenCursor<'_>) -> ParseResult<'_, Option<PointExpr>> {
    match c.kind() {
        TokenKind::Text
        | TokenKind::Date
        | TokenKind::Position
        | TokenKind::Param
        | TokenKind::Keyword(K::Now | K::Version)
        | TokenKind::Symbol(Symbol::Minus) => point.map(Some).parse(c),
        _ => {
            c.expect_noun(TokenClass::Point);
            c.sees(K::Now);
            c.sees(K::Version);
            Ok((c, None))
        }
    }
}

fn as_of(c: TokenCursor<'_>) -> ParseResult<'_, Option<PointExpr>> {
    optional(K::AsOf, point).parse(c)
}

pub(super) fn selector(c: TokenCursor<'_>) -> ParseResult<'_, Selector> {
    let (rest, pattern) = match c.kind() {
        TokenKind::Text | TokenKind::Param => text(TokenClass::Pattern).map(Some).parse(c)?,
        _ => {
            c.expect_noun(TokenClass::Pattern);
            refuse_unquoted(c)?;
            (c, None)
        }
    };
    let (rest, tags) = optional(K::By, list(tag)).parse(rest)?;
    Ok((rest, Selector { pattern, tags: tags.unwrap_or_default() }))
}

/// `EVENTS Order.*` without quotes. ORDER begins a clause too, but none that a dot follows.
fn refuse_unquoted(c: TokenCursor<'_>) -> Result<(), nom::Err<super::cursor::ParseStop>> {
    let next = c.next();
    let dotted = next.is_adjacent() && matches!(next.kind(), TokenKind::Symbol(Symbol::Dot | Symbol::Star));
    let kind = c.kind() == TokenKind::Keyword(K::Order)
        && next.kind() != TokenKind::Keyword(K::By)
        && c.source().contains(char::is_lowercase)
        && c.source().contains(char::is_uppercase);
    if kind || dotted && matches!(c.kind(), TokenKind::Word | TokenKind::Keyword(_)) {
        let wrong = super::foreign_syntax::unquoted_pattern(c);
        let _: (TokenCursor<'_>, ()) = c.wrong_for(wrong.span, wrong.message, wrong.suggestion)?;
    }
    Ok(())
}

fn tag(c: TokenCursor<'_>) -> ParseResult<'_, TagCondition> {
    let (rest, name) = name(TokenClass::Tag).parse(c)?;
    let (rest, test) = if let Some(comparison) = comparison(rest) {
        value.map(|value| TagTest::Compare(comparison, value)).parse(rest.next())?
    } else if rest.sees(K::In) {
        delimited(symbol(Symbol::LeftParen), list(value), symbol(Symbol::RightParen))
            .map(TagTest::In)
            .parse(rest.next())?
    } else if rest.sees(K::Between) {
        let bounds = separated_pair(value, keyword(K::And), value);
        bounds.map(|(low, high)| TagTest::Between(low, high)).parse(rest.next())?
    } else {
        id.map(TagTest::Is).parse(rest)?
    };
    Ok((rest, TagCondition { name, test, span: rest.span_from(c) }))
}

/// The clauses of a read, in any order.
fn clauses(mut c: TokenCursor<'_>) -> ParseResult<'_, Clauses> {
    let mut clauses = Clauses::default();
    loop {
        let clause = c;
        c = if c.sees(K::Where) {
            let filter = match clauses.unnest.last_mut() {
                Some(unnest) => &mut unnest.filter,
                None => &mut clauses.filter,
            };
            once(filter, c, expr)?
        } else if c.sees(K::Since) {
            once(&mut clauses.since, c, point)?
        } else if c.sees(K::Until) {
            once(&mut clauses.until, c, point)?
        } else if c.sees(K::Limit) {
            once(&mut clauses.limit, c, count)?
        } else if c.sees(K::Last) {
            once(&mut clauses.last, c, count)?
        } else if c.sees(K::Order) {
            once_list(&mut clauses.order, c, preceded(keyword(K::By), list(order)))?
        } else if c.sees(K::Group) {
            once_list(&mut clauses.group, c, preceded(keyword(K::By), list(item)))?
        } else if c.sees(K::Select) {
            once_list(&mut clauses.select, c, list(item))?
        } else if c.sees(K::Having) {
            once(&mut clauses.having, c, expr)?
        } else if c.sees(K::AsOf) {
            once(&mut clauses.as_of, c, point)?
        } else if c.sees(K::At) {
            once(&mut clauses.at, c, point)?
        } else if c.sees(K::Raw) {
            once(&mut clauses.raw, c, |rest| Ok((rest, c.token().span)))?
        } else if c.sees(K::Unnest) {
            let (rest, unnested) = unnest(c.next())?;
            clauses.unnest.push(unnested);
            rest
        } else {
            return Ok((c, clauses));
        };
        refuse_last_with_order(clause, &clauses)?;
    }
}

/// LAST has an order of its own.
fn refuse_last_with_order<'a>(
    c: TokenCursor<'a>,
    clauses: &Clauses,
) -> Result<(), nom::Err<super::cursor::ParseStop>> {
    let beside = [
        (!clauses.order.is_empty(), "ORDER BY"),
        (!clauses.group.is_empty(), "GROUP BY"),
        (clauses.limit.is_some(), "LIMIT"),
        (!clauses.unnest.is_empty(), "UNNEST"),
    ];
    if clauses.last.is_some()
        && let Some((_, other)) = beside.iter().find(|(said, _)| *said)
    {
        let message = format!("LAST is the newest events, in order: it does not go together with {other}");
        let _: (TokenCursor<'a>, ()) = c.wrong(c.token().span, message)?;
    }
    Ok(())
}

fn unnest(c: TokenCursor<'_>) -> ParseResult<'_, UnnestClause> {
    let (rest, list) = list_path(c)?;
    let list = Expr { span: list.span, kind: ExprKind::Field(list) };
    let (rest, alias) = preceded(keyword(K::As), name(TokenClass::NewName)).parse(rest)?;
    let (rest, place) = if rest.sees_symbol(Symbol::Comma) {
        name(TokenClass::NewName).map(Some).parse(rest.next())?
    } else {
        (rest, None)
    };
    Ok((rest, UnnestClause { list, alias, place, filter: None }))
}

fn item(c: TokenCursor<'_>) -> ParseResult<'_, SelectItem> {
    (expr, optional(K::As, name(TokenClass::NewName)))
        .map(|(expr, alias)| SelectItem { expr, alias })
        .parse(c)
}

fn order(c: TokenCursor<'_>) -> ParseResult<'_, Order> {
    let (rest, expr) = expr(c)?;
    let descending = rest.sees(K::Desc);
    let rest = if descending || rest.sees(K::Asc) { rest.next() } else { rest };
    Ok((rest, Order { expr, descending }))
}
