//! Definitions.

use nom::Parser;
use nom::sequence::preceded;

use super::cursor::{Cursor, Parsed, keyword, list, once, optional};
use super::expr::{assign, expr};
use super::name::{count, entity, happening, name, period, start, text};
use super::read::query;
use super::write::{acts, body, braced, facts};
use crate::lang::ast::{
    After, Assign, Case, Change, Definition, EntityDefinition, Include, Name, ReactionDefinition, Require,
    Rule, Text, VerbDefinition, VerbEmit, WebhookDefinition,
};
use crate::lang::keyword::Keyword as K;
use crate::lang::trail::Noun;

/// What follows DEFINE.
pub(super) fn definition(c: Cursor<'_>) -> Parsed<'_, Definition> {
    let next = c.next();
    if c.sees(K::Entity) {
        entity_definition(next)
    } else if c.sees(K::Verb) {
        verb(next)
    } else if c.sees(K::Index) {
        let (rest, (name, pattern)) = (name(Noun::NewName), on_pattern).parse(next)?;
        let (rest, expr) = preceded(keyword(K::As), expr).parse(rest)?;
        Ok((rest, Definition::Index { name, pattern, expr }))
    } else if c.sees(K::View) {
        let (rest, (name, query)) = (name(Noun::NewName), preceded(keyword(K::As), query)).parse(next)?;
        Ok((rest, Definition::View { name, query }))
    } else if c.sees(K::Reaction) {
        reaction(next)
    } else if c.sees(K::Webhook) {
        webhook(next)
    } else if c.sees(K::Schedule) {
        let every = preceded(keyword(K::Every), period);
        let (rest, (name, every, at)) =
            (name(Noun::NewName), every, optional(K::At, text(Noun::Text))).parse(next)?;
        let (rest, acts) = preceded(keyword(K::Do), acts).parse(rest)?;
        Ok((rest, Definition::Schedule { name, every, at, acts }))
    } else {
        c.missing()
    }
}

fn on_pattern(c: Cursor<'_>) -> Parsed<'_, Text> {
    preceded(keyword(K::On), text(Noun::Pattern)).parse(c)
}

fn entity_definition(c: Cursor<'_>) -> Parsed<'_, Definition> {
    let (mut c, name_of) = name(Noun::Kind).parse(c)?;
    let mut entity = EntityDefinition {
        name: name_of,
        namespace: None,
        initial: None,
        snapshot: None,
        includes: Vec::new(),
        rules: Vec::new(),
        otherwise: None,
    };
    loop {
        c = if c.sees(K::On) {
            let (rest, (on, change)) = (happening, change).parse(c.next())?;
            entity.rules.push(Rule { on, change });
            rest
        } else if c.sees(K::Else) {
            once(&mut entity.otherwise, c, change)?
        } else if c.sees(K::Initial) {
            once(&mut entity.initial, c, braced)?
        } else if c.sees(K::Include) {
            let tag = preceded(keyword(K::By), name(Noun::Index));
            let (rest, (pattern, tag)) = (text(Noun::Pattern), tag).parse(c.next())?;
            entity.includes.push(Include { pattern, tag });
            rest
        } else if c.sees(K::Snapshot) {
            once(&mut entity.snapshot, c, preceded(keyword(K::Every), count))?
        } else if c.sees(K::Namespace) {
            once(&mut entity.namespace, c, name(Noun::Namespace))?
        } else {
            return Ok((c, Definition::Entity(entity)));
        };
    }
}

fn change(c: Cursor<'_>) -> Parsed<'_, Change> {
    if c.sees(K::Set) {
        let assign = assign.map(|(path, value)| Assign { path, value });
        return list(assign).map(Change::Set).parse(c.next());
    }
    for (word, change) in
        [(K::Merge, Change::Merge), (K::Ignore, Change::Ignore), (K::Delete, Change::Delete)]
    {
        if c.sees(word) {
            return Ok((c.next(), change));
        }
    }
    c.missing()
}

fn verb(c: Cursor<'_>) -> Parsed<'_, Definition> {
    let kinds = list(name(Noun::Kind));
    let (c, (name_of, kind, actors)) =
        (name(Noun::NewName), preceded(keyword(K::On), name(Noun::Kind)), optional(K::By, kinds)).parse(c)?;
    let (c, requires) = requires(c)?;
    let (c, emits) = verb_emits(c)?;
    let (c, cases) = if emits.is_empty() { cases(c)? } else { (c, Vec::new()) };
    let actors: Vec<Name> = actors.unwrap_or_default();
    Ok((c, Definition::Verb(VerbDefinition { name: name_of, kind, actors, requires, emits, cases })))
}

fn cases(mut c: Cursor<'_>) -> Parsed<'_, Vec<Case>> {
    let mut cases = Vec::new();
    while c.sees(K::When) {
        let (rest, (condition, requires, emits)) = (expr, requires, verb_emits).parse(c.next())?;
        cases.push(Case { condition, requires, emits });
        c = rest;
    }
    Ok((c, cases))
}

fn requires(mut c: Cursor<'_>) -> Parsed<'_, Vec<Require>> {
    let mut requires = Vec::new();
    while c.sees(K::Require) {
        let (rest, (condition, otherwise)) = (expr, optional(K::Else, text(Noun::Text))).parse(c.next())?;
        requires.push(Require { condition, otherwise });
        c = rest;
    }
    Ok((c, requires))
}

fn verb_emits(mut c: Cursor<'_>) -> Parsed<'_, Vec<VerbEmit>> {
    let mut emits = Vec::new();
    while c.sees(K::Emit) {
        let (rest, (happening, owner, body, facts)) =
            (happening, optional(K::On, entity), body, facts).parse(c.next())?;
        emits.push(VerbEmit { happening, owner, body, facts, span: rest.span_from(c) });
        c = rest;
    }
    Ok((c, emits))
}

fn reaction(c: Cursor<'_>) -> Parsed<'_, Definition> {
    let after = (period, optional(K::Unless, text(Noun::Pattern)));
    let after = after.map(|(period, unless)| After { period, unless });
    let (c, (name, pattern, from, filter, after)) = (
        name(Noun::NewName),
        on_pattern,
        optional(K::From, start),
        optional(K::Where, expr),
        optional(K::After, after),
    )
        .parse(c)?;
    let (c, acts) = preceded(keyword(K::Do), acts).parse(c)?;
    Ok((c, Definition::Reaction(ReactionDefinition { name, pattern, from, filter, after, acts })))
}

fn webhook(c: Cursor<'_>) -> Parsed<'_, Definition> {
    let (c, (name, pattern, from, filter, to, form, secret)) = (
        name(Noun::NewName),
        on_pattern,
        optional(K::From, start),
        optional(K::Where, expr),
        preceded(keyword(K::To), text(Noun::Text)),
        optional(K::As, text(Noun::Text)),
        optional(K::Secret, text(Noun::Text)),
    )
        .parse(c)?;
    Ok((c, Definition::Webhook(WebhookDefinition { name, pattern, from, filter, to, form, secret })))
}
