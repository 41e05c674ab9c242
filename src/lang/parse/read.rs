//! Reads, and the clauses that follow them.

use nom::Parser;
use nom::sequence::{delimited, preceded, separated_pair};

use super::cursor::{Cursor, Parsed, flag, keyword, list, once, once_list, optional, symbol};
use super::expr::{comparison, expr, value};
use super::name::{begins_id, count, entity, event, id, name, point, start, text};
use crate::lang::ast::{
    Clauses, Direction, Item, Order, Point, Query, Read, Selector, Source, Subscribe, Tag, TagTest,
};
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Kind, Symbol};
use crate::lang::trail::Noun;

/// A read, if one begins here.
pub(super) fn read(c: Cursor<'_>) -> Parsed<'_, Option<Read>> {
    let next = c.next();
    let (rest, read) = if c.sees(K::History) {
        history(next)?
    } else if let (rest, Some(query)) = some_query(c)? {
        (rest, Read::Query(query))
    } else if c.sees(K::At) {
        let (rest, (entity, point, as_of)) = (entity, some_point, as_of).parse(next)?;
        (rest, Read::At { entity, point, as_of })
    } else if c.sees(K::Replay) {
        let (rest, (entity, steps, as_of)) = (entity, flag(K::Steps), as_of).parse(next)?;
        (rest, Read::Replay { entity, steps, as_of })
    } else if c.sees(K::Blame) {
        let (rest, (entity, point, as_of)) = (entity, some_point, as_of).parse(next)?;
        (rest, Read::Blame { entity, point, as_of })
    } else if c.sees(K::Diff) {
        let from = preceded(keyword(K::From), start);
        let (rest, (entity, from, to, as_of)) = (entity, from, optional(K::To, point), as_of).parse(next)?;
        (rest, Read::Diff { entity, from, to, as_of })
    } else if c.sees(K::Trace) {
        trace(next)?
    } else if c.sees(K::Read) {
        let (rest, (view, clauses)) = (name(Noun::View), clauses).parse(next)?;
        (rest, Read::View { view, clauses })
    } else if c.sees(K::Subscribe) {
        subscribe(next)?
    } else {
        return Ok((c, None));
    };
    Ok((rest, Some(read)))
}

fn history(c: Cursor<'_>) -> Parsed<'_, Read> {
    let (id, kind) = name(Noun::Kind).parse(c)?;
    // The history of a kind is a habit from tables; without an id there is more to say than "expected an id".
    if matches!(id.kind(), Kind::Keyword(_) | Kind::End | Kind::Symbol(Symbol::Semicolon)) && !begins_id(id) {
        id.expect_noun(Noun::Id);
        let clause = matches!(
            id.kind(),
            Kind::End
                | Kind::Symbol(_)
                | Kind::Keyword(
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
            if let Kind::Keyword(_) = id.kind() {
                let word = id.slice(id.token().span);
                message.push_str(&format!("; an id that is a keyword is quoted, like '{word}'"));
            }
            let suggestion = Some(format!("EVENTS '{}.*'", kind.text));
            return id.wrong_for(id.token().span, message, suggestion);
        }
    }
    let (rest, (entity, clauses)) = (entity, clauses).parse(c)?;
    Ok((rest, Read::History { entity, clauses }))
}

/// A query, where nothing else may stand.
pub(super) fn query(c: Cursor<'_>) -> Parsed<'_, Query> {
    match some_query(c)? {
        (rest, Some(query)) => Ok((rest, query)),
        (rest, None) => rest.missing(),
    }
}

fn some_query(c: Cursor<'_>) -> Parsed<'_, Option<Query>> {
    if c.sees(K::Events) {
        let (rest, (selector, clauses)) = (selector, clauses).parse(c.next())?;
        return Ok((rest, Some(Query::Events { selector, clauses })));
    }
    if c.sees(K::Find) {
        let (rest, (kind, clauses)) = (name(Noun::Kind), clauses).parse(c.next())?;
        return Ok((rest, Some(Query::Find { kind, clauses })));
    }
    Ok((c, None))
}

fn trace(c: Cursor<'_>) -> Parsed<'_, Read> {
    let (c, direction) = if c.sees(K::Causes) {
        (c.next(), Direction::Causes)
    } else if c.sees(K::Effects) {
        (c.next(), Direction::Effects)
    } else {
        (c, Direction::Both)
    };
    event.map(|event| Read::Trace { direction, event }).parse(c)
}

fn subscribe(c: Cursor<'_>) -> Parsed<'_, Read> {
    let (mut c, source) = if c.sees(K::View) {
        name(Noun::View).map(Source::View).parse(c.next())?
    } else {
        selector.map(Source::Events).parse(c)?
    };
    let mut read = Subscribe { source, name: None, from: None, until: None, filter: None, limit: None };
    loop {
        c = if c.sees(K::As) {
            once(&mut read.name, c, name(Noun::Subscription))?
        } else if c.sees(K::From) {
            once(&mut read.from, c, start)?
        } else if c.sees(K::Until) {
            once(&mut read.until, c, point)?
        } else if c.sees(K::Where) {
            once(&mut read.filter, c, expr)?
        } else if c.sees(K::Limit) {
            once(&mut read.limit, c, count)?
        } else {
            return Ok((c, Read::Subscribe(read)));
        };
    }
}

/// A point, if one is here.
fn some_point(c: Cursor<'_>) -> Parsed<'_, Option<Point>> {
    match c.kind() {
        Kind::Text
        | Kind::Date
        | Kind::Position
        | Kind::Param
        | Kind::Keyword(K::Now | K::Version)
        | Kind::Symbol(Symbol::Minus) => point.map(Some).parse(c),
        _ => {
            c.expect_noun(Noun::Point);
            c.sees(K::Now);
            c.sees(K::Version);
            Ok((c, None))
        }
    }
}

fn as_of(c: Cursor<'_>) -> Parsed<'_, Option<Point>> {
    optional(K::AsOf, point).parse(c)
}

pub(super) fn selector(c: Cursor<'_>) -> Parsed<'_, Selector> {
    let (rest, pattern) = match c.kind() {
        Kind::Text | Kind::Param => text(Noun::Pattern).map(Some).parse(c)?,
        _ => {
            c.expect_noun(Noun::Pattern);
            refuse_unquoted(c)?;
            (c, None)
        }
    };
    let (rest, tags) = optional(K::By, list(tag)).parse(rest)?;
    Ok((rest, Selector { pattern, tags: tags.unwrap_or_default() }))
}

/// `EVENTS Order.*` without quotes. ORDER begins a clause too, but none that a dot follows.
fn refuse_unquoted(c: Cursor<'_>) -> Result<(), nom::Err<super::cursor::Stop>> {
    let next = c.next();
    let dotted = next.is_adjacent() && matches!(next.kind(), Kind::Symbol(Symbol::Dot | Symbol::Star));
    let kind = c.kind() == Kind::Keyword(K::Order)
        && next.kind() != Kind::Keyword(K::By)
        && c.source().contains(char::is_lowercase)
        && c.source().contains(char::is_uppercase);
    if kind || dotted && matches!(c.kind(), Kind::Word | Kind::Keyword(_)) {
        let wrong = super::habit::unquoted_pattern(c);
        let _: (Cursor<'_>, ()) = c.wrong_for(wrong.span, wrong.message, wrong.suggestion)?;
    }
    Ok(())
}

fn tag(c: Cursor<'_>) -> Parsed<'_, Tag> {
    let (rest, name) = name(Noun::Tag).parse(c)?;
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
    Ok((rest, Tag { name, test, span: rest.span_from(c) }))
}

/// The clauses of a read, in any order.
fn clauses(mut c: Cursor<'_>) -> Parsed<'_, Clauses> {
    let mut clauses = Clauses::default();
    loop {
        let clause = c;
        c = if c.sees(K::Where) {
            once(&mut clauses.filter, c, expr)?
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
        } else {
            return Ok((c, clauses));
        };
        refuse_last_with_order(clause, &clauses)?;
    }
}

/// LAST has an order of its own.
fn refuse_last_with_order<'a>(c: Cursor<'a>, clauses: &Clauses) -> Result<(), nom::Err<super::cursor::Stop>> {
    let beside = [
        (!clauses.order.is_empty(), "ORDER BY"),
        (!clauses.group.is_empty(), "GROUP BY"),
        (clauses.limit.is_some(), "LIMIT"),
    ];
    if clauses.last.is_some()
        && let Some((_, other)) = beside.iter().find(|(said, _)| *said)
    {
        let message = format!("LAST is the newest events, in order: it does not go together with {other}");
        let _: (Cursor<'a>, ()) = c.wrong(c.token().span, message)?;
    }
    Ok(())
}

fn item(c: Cursor<'_>) -> Parsed<'_, Item> {
    (expr, optional(K::As, name(Noun::NewName))).map(|(expr, alias)| Item { expr, alias }).parse(c)
}

fn order(c: Cursor<'_>) -> Parsed<'_, Order> {
    let (rest, expr) = expr(c)?;
    let descending = rest.sees(K::Desc);
    let rest = if descending || rest.sees(K::Asc) { rest.next() } else { rest };
    Ok((rest, Order { expr, descending }))
}
