//! Definitions.

use nom::Parser;
use nom::combinator::cut;
use nom::sequence::preceded;

use super::cursor::{ParseResult, TokenCursor, keyword, list, once, once_list, optional, symbol};
use super::event_schema::event_definition;
use super::expr::{assign, expr, path};
use super::name::{count, entity, happening, name, period, start, text};
use super::read::query;
use super::write::{acts, body, braced, facts};
use crate::lang::ast::{
    After, AssignClause, CaseClause, ChangeClause, DefinitionStmt, EntityDefinitionStmt, Expr, ExprKind,
    ForgetClause, IncludeClause, Literal, Name, PrivateDefinitionStmt, ReactionDefinitionStmt, RequireClause,
    RhythmClause, RuleClause, TextExpr, VerbDefinitionStmt, VerbEmit, WebhookDefinitionStmt,
};
use crate::lang::expectations::TokenClass;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::Symbol;
use crate::value::Value;

/// What follows DEFINE.
pub(super) fn definition(c: TokenCursor<'_>) -> ParseResult<'_, DefinitionStmt> {
    let next = c.next();
    if c.sees(K::Entity) {
        entity_definition(next)
    } else if c.sees(K::Event) {
        event_definition(next)
    } else if c.sees(K::Verb) {
        verb(next)
    } else if c.sees(K::Index) {
        let (rest, (name, pattern)) = (name(TokenClass::NewName), on_pattern).parse(next)?;
        // Without an expression it declares the name, and holds nothing by itself: so does one of NULL.
        let null = Expr { kind: ExprKind::Literal(Literal::Value(Value::Null)), span: pattern.span() };
        let (rest, expr) =
            optional(K::As, expr).map(|expr| expr.unwrap_or_else(|| null.clone())).parse(rest)?;
        Ok((rest, DefinitionStmt::Index { name, pattern, expr }))
    } else if c.sees(K::Column) {
        let (rest, (name, pattern)) = (name(TokenClass::NewName), on_pattern).parse(next)?;
        let (rest, expr) = preceded(keyword(K::As), expr).parse(rest)?;
        Ok((rest, DefinitionStmt::Column { name, pattern, expr }))
    } else if c.sees(K::View) {
        let (rest, (name, query)) =
            (name(TokenClass::NewName), preceded(keyword(K::As), query)).parse(next)?;
        Ok((rest, DefinitionStmt::View { name, query }))
    } else if c.sees(K::Private) {
        private(next)
    } else if c.sees(K::Reaction) {
        reaction(next)
    } else if c.sees(K::Webhook) {
        webhook(next)
    } else if c.sees(K::Schedule) {
        let (rest, (name, rhythm)) = (name(TokenClass::NewName), rhythm).parse(next)?;
        let (rest, acts) = preceded(keyword(K::Do), acts).parse(rest)?;
        Ok((rest, DefinitionStmt::Schedule { name, rhythm, acts }))
    } else {
        c.missing()
    }
}

fn rhythm(c: TokenCursor<'_>) -> ParseResult<'_, RhythmClause> {
    let said = || text(TokenClass::Text);
    if c.sees(K::Cron) {
        let (rest, (fields, zone)) = (said(), optional(K::In, said())).parse(c.next())?;
        return Ok((rest, RhythmClause::Cron { fields, zone }));
    }
    let (rest, (period, at)) = (preceded(keyword(K::Every), period), optional(K::At, said())).parse(c)?;
    Ok((rest, RhythmClause::Every { period, at }))
}

fn on_pattern(c: TokenCursor<'_>) -> ParseResult<'_, TextExpr> {
    preceded(keyword(K::On), text(TokenClass::Pattern)).parse(c)
}

fn private(c: TokenCursor<'_>) -> ParseResult<'_, DefinitionStmt> {
    let (rest, (name_of, pattern)) = (name(TokenClass::NewName), on_pattern).parse(c)?;
    let (rest, subject) = preceded(keyword(K::Of), name(TokenClass::Subject)).parse(rest)?;
    let (rest, id) = match rest.sees_symbol(Symbol::LeftParen) {
        true => (path, cut(symbol(Symbol::RightParen))).map(|(path, _)| Some(path)).parse(rest.next())?,
        false => (rest, None),
    };
    let (rest, fields) = preceded(keyword(K::Fields), list(path)).parse(rest)?;
    let (rest, past) = optional(K::Including, keyword(K::Past)).parse(rest)?;
    let past = past.is_some();
    let said = PrivateDefinitionStmt { name: name_of, pattern, subject, id, fields, past };
    Ok((rest, DefinitionStmt::Private(said)))
}

fn entity_definition(c: TokenCursor<'_>) -> ParseResult<'_, DefinitionStmt> {
    let (mut c, name_of) = name(TokenClass::Kind).parse(c)?;
    let mut entity = EntityDefinitionStmt {
        name: name_of,
        namespace: None,
        initial: None,
        snapshot: None,
        includes: Vec::new(),
        rules: Vec::new(),
        otherwise: None,
        forgotten: Vec::new(),
    };
    loop {
        c = if c.sees(K::On) {
            let (rest, (on, change)) = (happening, change).parse(c.next())?;
            entity.rules.push(RuleClause { on, change });
            rest
        } else if c.sees(K::Else) {
            once(&mut entity.otherwise, c, change)?
        } else if c.sees(K::Forgotten) {
            once_list(&mut entity.forgotten, c, preceded(keyword(K::Set), assigns))?
        } else if c.sees(K::Initial) {
            once(&mut entity.initial, c, braced)?
        } else if c.sees(K::Include) {
            let tag = preceded(keyword(K::By), name(TokenClass::Index));
            let (rest, (pattern, tag)) = (text(TokenClass::Pattern), tag).parse(c.next())?;
            entity.includes.push(IncludeClause { pattern, tag });
            rest
        } else if c.sees(K::Snapshot) {
            once(&mut entity.snapshot, c, preceded(keyword(K::Every), count))?
        } else if c.sees(K::Namespace) {
            once(&mut entity.namespace, c, name(TokenClass::Namespace))?
        } else {
            return Ok((c, DefinitionStmt::Entity(entity)));
        };
    }
}

fn change(c: TokenCursor<'_>) -> ParseResult<'_, ChangeClause> {
    if c.sees(K::Set) {
        return assigns.map(ChangeClause::Set).parse(c.next());
    }
    for (word, change) in [
        (K::Merge, ChangeClause::Merge),
        (K::Ignore, ChangeClause::Ignore),
        (K::Delete, ChangeClause::Delete),
    ] {
        if c.sees(word) {
            return Ok((c.next(), change));
        }
    }
    c.missing()
}

fn assigns(c: TokenCursor<'_>) -> ParseResult<'_, Vec<AssignClause>> {
    list(assign.map(|(path, value)| AssignClause { path, value })).parse(c)
}

fn verb(c: TokenCursor<'_>) -> ParseResult<'_, DefinitionStmt> {
    let kinds = list(name(TokenClass::Kind));
    let (c, (name_of, kind, actors)) =
        (name(TokenClass::NewName), preceded(keyword(K::On), name(TokenClass::Kind)), optional(K::By, kinds))
            .parse(c)?;
    let (c, requires) = requires(c)?;
    let (c, emits) = verb_emits(c)?;
    let (c, forgets) = forgets(c)?;
    let (c, cases) = if emits.is_empty() && forgets.is_none() { cases(c)? } else { (c, Vec::new()) };
    let actors: Vec<Name> = actors.unwrap_or_default();
    let verb = VerbDefinitionStmt { name: name_of, kind, actors, requires, emits, forgets, cases };
    Ok((c, DefinitionStmt::Verb(verb)))
}

fn cases(mut c: TokenCursor<'_>) -> ParseResult<'_, Vec<CaseClause>> {
    let mut cases = Vec::new();
    while c.sees(K::When) {
        let (rest, (condition, requires, emits, forgets)) =
            (expr, requires, verb_emits, forgets).parse(c.next())?;
        cases.push(CaseClause { condition, requires, emits, forgets });
        c = rest;
    }
    Ok((c, cases))
}

fn requires(mut c: TokenCursor<'_>) -> ParseResult<'_, Vec<RequireClause>> {
    let mut requires = Vec::new();
    while c.sees(K::Require) {
        let (rest, (condition, otherwise)) =
            (expr, optional(K::Else, text(TokenClass::Text))).parse(c.next())?;
        requires.push(RequireClause { condition, otherwise });
        c = rest;
    }
    Ok((c, requires))
}

fn verb_emits(mut c: TokenCursor<'_>) -> ParseResult<'_, Vec<VerbEmit>> {
    let mut emits = Vec::new();
    while c.sees(K::Emit) {
        let (rest, (happening, owner, body, facts)) =
            (happening, optional(K::On, entity), body, facts).parse(c.next())?;
        emits.push(VerbEmit { happening, owner, body, facts, span: rest.span_from(c) });
        c = rest;
    }
    Ok((c, emits))
}

fn forgets(c: TokenCursor<'_>) -> ParseResult<'_, Option<ForgetClause>> {
    if !c.sees(K::Forget) {
        return Ok((c, None));
    }
    let (rest, subject) = name(TokenClass::Subject).parse(c.next())?;
    let (rest, id) = match rest.sees_symbol(Symbol::LeftParen) {
        true => (expr, cut(symbol(Symbol::RightParen))).map(|(id, _)| Some(id)).parse(rest.next())?,
        false => (rest, None),
    };
    let (rest, because) = optional(K::Because, expr).parse(rest)?;
    Ok((rest, Some(ForgetClause { subject, id, because })))
}

fn reaction(c: TokenCursor<'_>) -> ParseResult<'_, DefinitionStmt> {
    let after = (period, optional(K::Unless, text(TokenClass::Pattern)));
    let after = after.map(|(period, unless)| After { period, unless });
    let (c, (name, pattern, from, filter, after)) = (
        name(TokenClass::NewName),
        on_pattern,
        optional(K::From, start),
        optional(K::Where, expr),
        optional(K::After, after),
    )
        .parse(c)?;
    let (c, acts) = preceded(keyword(K::Do), acts).parse(c)?;
    Ok((c, DefinitionStmt::Reaction(ReactionDefinitionStmt { name, pattern, from, filter, after, acts })))
}

fn webhook(c: TokenCursor<'_>) -> ParseResult<'_, DefinitionStmt> {
    let (c, (name, pattern, from, filter, to, form, secret)) = (
        name(TokenClass::NewName),
        on_pattern,
        optional(K::From, start),
        optional(K::Where, expr),
        preceded(keyword(K::To), text(TokenClass::Text)),
        optional(K::As, text(TokenClass::Text)),
        optional(K::Secret, text(TokenClass::Text)),
    )
        .parse(c)?;
    Ok((c, DefinitionStmt::Webhook(WebhookDefinitionStmt { name, pattern, from, filter, to, form, secret })))
}
