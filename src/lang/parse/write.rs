//! Writes: `EMIT`, `PERFORM`, `ATOMIC`, and the facts beside an event.

use nom::Parser;
use nom::sequence::{delimited, preceded};

use super::cursor::{ParseResult, TokenCursor, keyword, list, once, once_list, optional, symbol};
use super::expr::{expr, object};
use super::name::{begins_id, count, entity, event, event_type, id, name, point, text};
use super::read::selector;
use crate::lang::ast::{
    ActStmt, Body, CauseClause, CloseStmt, EmitId, EmitStmt, EventClauses, GuardClause, GuardKind, IndexTag,
    PerformStmt, Selector, WriteStmt,
};
use crate::lang::expectations::TokenClass;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Symbol, TokenKind};

/// A write, if one begins here.
pub(super) fn write(c: TokenCursor<'_>) -> ParseResult<'_, Option<WriteStmt>> {
    if c.kind() == TokenKind::Keyword(K::Atomic) {
        let (rest, (acts, facts)) = (block, facts).parse(c.next())?;
        return Ok((rest, Some(WriteStmt::Atomic { acts, facts })));
    }
    let (rest, act) = some_act(c)?;
    c.sees(K::Atomic);
    Ok((rest, act.map(WriteStmt::Act)))
}

fn some_act(c: TokenCursor<'_>) -> ParseResult<'_, Option<ActStmt>> {
    if c.sees(K::Emit) {
        return emit.map(|emit| Some(ActStmt::Emit(emit))).parse(c);
    }
    if c.sees(K::Perform) {
        return perform.map(|perform| Some(ActStmt::Perform(perform))).parse(c);
    }
    Ok((c, None))
}

/// `CLOSE` or `REOPEN`, if one begins here.
pub(super) fn some_close(c: TokenCursor<'_>) -> ParseResult<'_, Option<ActStmt>> {
    if c.sees(K::Close) {
        return close(c, false);
    }
    if c.sees(K::Reopen) {
        return close(c, true);
    }
    Ok((c, None))
}

/// What may stand in brackets, if it begins here.
fn some_act_of_block(c: TokenCursor<'_>) -> ParseResult<'_, Option<ActStmt>> {
    match some_act(c)? {
        (rest, Some(act)) => Ok((rest, Some(act))),
        (rest, None) => some_close(rest),
    }
}

pub(super) fn act(c: TokenCursor<'_>) -> ParseResult<'_, ActStmt> {
    match some_act_of_block(c)? {
        (rest, Some(act)) => Ok((rest, act)),
        (rest, None) => rest.missing(),
    }
}

/// `(act; act)`.
pub(super) fn block(c: TokenCursor<'_>) -> ParseResult<'_, Vec<ActStmt>> {
    let (rest, (_, first)) = (symbol(Symbol::LeftParen), act).parse(c)?;
    let (mut c, mut acts) = (rest, vec![first]);
    while c.sees_symbol(Symbol::Semicolon) {
        c = c.next();
        if let (rest, Some(act)) = some_act_of_block(c)? {
            acts.push(act);
            c = rest;
        }
    }
    symbol(Symbol::RightParen).map(|_| std::mem::take(&mut acts)).parse(c)
}

/// What a reaction or a schedule does: one act, or several in parentheses.
pub(super) fn acts(c: TokenCursor<'_>) -> ParseResult<'_, Vec<ActStmt>> {
    if c.kind() == TokenKind::Symbol(Symbol::LeftParen) {
        return block(c);
    }
    match some_act_of_block(c)? {
        (rest, Some(act)) => Ok((rest, vec![act])),
        (rest, None) => {
            rest.sees_symbol(Symbol::LeftParen);
            rest.missing()
        }
    }
}

fn emit(c: TokenCursor<'_>) -> ParseResult<'_, EmitStmt> {
    let (rest, (event_type, id, owner, body, facts)) =
        (event_type, emit_id, optional(K::On, entity), body, facts).parse(c.next())?;
    Ok((rest, EmitStmt { event_type, id, owner, body, facts, span: rest.span_from(c) }))
}

/// An id, `NEW`, or neither. What begins with the keyword of a fact is that fact, even without space.
fn emit_id(c: TokenCursor<'_>) -> ParseResult<'_, Option<EmitId>> {
    if c.sees(K::New) {
        return Ok((c.next(), Some(EmitId::New(c.token().span))));
    }
    let fact = matches!(
        c.kind(),
        TokenKind::Keyword(
            K::On | K::With | K::By | K::At | K::Meta | K::Key | K::Id | K::Caused | K::Expect | K::Index
        )
    );
    if !fact && begins_id(c) {
        return id.map(|id| Some(EmitId::Id(id))).parse(c);
    }
    c.expect_noun(TokenClass::Id);
    Ok((c, None))
}

fn perform(c: TokenCursor<'_>) -> ParseResult<'_, PerformStmt> {
    let (rest, (verb, entity, body, facts)) =
        (name(TokenClass::Verb), entity, body, facts).parse(c.next())?;
    Ok((rest, PerformStmt { verb, entity, body, facts, span: rest.span_from(c) }))
}

fn close(c: TokenCursor<'_>, reopens: bool) -> ParseResult<'_, Option<ActStmt>> {
    let (rest, (entity, because, facts)) =
        (entity, optional(K::Because, text(TokenClass::Text)), facts).parse(c.next())?;
    let span = rest.span_from(c);
    Ok((rest, Some(ActStmt::Close(CloseStmt { reopens, entity, because, facts, span }))))
}

/// The data, if any.
pub(super) fn body(c: TokenCursor<'_>) -> ParseResult<'_, Option<Body>> {
    if c.sees_symbol(Symbol::LeftBrace) {
        return object.map(|object| Some(Body::Object(object))).parse(c);
    }
    if c.sees(K::With) {
        return expr.map(|expr| Some(Body::With(expr))).parse(c.next());
    }
    let span = c.token().span;
    match c.kind() {
        TokenKind::Symbol(Symbol::LeftBracket | Symbol::Minus)
        | TokenKind::Text
        | TokenKind::Int
        | TokenKind::Number => c.wrong(span, "data is an object, like {amount: 5}"),
        TokenKind::Param => {
            c.wrong_for(span, "data from a parameter is said WITH it", Some(format!("WITH {}", c.source())))
        }
        _ => Ok((c, None)),
    }
}

/// What is said of an event beside its data.
pub(super) fn facts(mut c: TokenCursor<'_>) -> ParseResult<'_, EventClauses> {
    let mut facts = EventClauses::default();
    loop {
        c = if c.sees(K::By) {
            once(&mut facts.actor, c, entity)?
        } else if c.sees(K::At) {
            once(&mut facts.at, c, point)?
        } else if c.sees(K::Meta) {
            once(&mut facts.meta, c, braced)?
        } else if c.sees(K::Key) {
            once(&mut facts.key, c, text(TokenClass::Text))?
        } else if c.sees(K::Id) {
            once(&mut facts.id, c, text(TokenClass::Text))?
        } else if c.sees(K::Caused) {
            once(&mut facts.cause, c, preceded(keyword(K::By), cause))?
        } else if c.sees(K::Expect) {
            let (rest, guard) = guard(c.next())?;
            facts.expect.push(guard);
            rest
        } else if c.sees(K::Index) {
            once_list(&mut facts.index, c, preceded(keyword(K::By), list(index_tag)))?
        } else {
            return Ok((c, facts));
        };
    }
}

/// An object, where nothing else may stand.
pub(super) fn braced(c: TokenCursor<'_>) -> ParseResult<'_, crate::lang::ast::ObjectExpr> {
    if c.sees_symbol(Symbol::LeftBrace) { object(c) } else { c.missing() }
}

fn cause(c: TokenCursor<'_>) -> ParseResult<'_, CauseClause> {
    match c.kind() {
        TokenKind::Position | TokenKind::Text | TokenKind::Param => event.map(CauseClause::Event).parse(c),
        _ => {
            c.expect_noun(TokenClass::Event);
            let (rest, (event_type, id)) = (event_type, id).parse(c)?;
            Ok((rest, CauseClause::Elsewhere { event_type, id }))
        }
    }
}

fn guard(c: TokenCursor<'_>) -> ParseResult<'_, GuardClause> {
    let (rest, kind) = if c.sees(K::New) {
        (c.next(), GuardKind::New)
    } else if c.sees(K::Exists) {
        (c.next(), GuardKind::Exists)
    } else if c.sees(K::Absent) {
        (c.next(), GuardKind::Absent)
    } else if c.sees(K::Version) {
        count.map(GuardKind::Version).parse(c.next())?
    } else if c.sees(K::None) {
        let inner = (selectors, optional(K::Since, point));
        delimited(symbol(Symbol::LeftParen), inner, symbol(Symbol::RightParen))
            .map(|(selectors, since)| GuardKind::None { selectors, since })
            .parse(c.next())?
    } else {
        return c.missing();
    };
    Ok((rest, GuardClause { kind, span: rest.span_from(c) }))
}

/// Selectors with `OR` between them.
fn selectors(c: TokenCursor<'_>) -> ParseResult<'_, Vec<Selector>> {
    let (mut c, first) = selector(c)?;
    let mut selectors = vec![first];
    while c.sees(K::Or) {
        let (rest, next) = selector(c.next())?;
        selectors.push(next);
        c = rest;
    }
    Ok((c, selectors))
}

fn index_tag(c: TokenCursor<'_>) -> ParseResult<'_, IndexTag> {
    let (rest, name) = name(TokenClass::Index).parse(c)?;
    if !rest.sees_symbol(Symbol::Equal) {
        return Ok((rest, IndexTag { name, value: None }));
    }
    expr.map(|value| IndexTag { name: name.clone(), value: Some(value) }).parse(rest.next())
}
