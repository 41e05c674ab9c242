//! Statements: what they begin with tells which they are.

use nom::Parser;

use super::cursor::{Cursor, Parsed, flag, keyword, optional};
use super::define::definition;
use super::name::{name, position, text};
use super::read::read;
use super::write::write;
use crate::entity::Position;
use crate::lang::ast::{Admin, DefinedKind, Name, Shown, Statement};
use crate::lang::keyword::Keyword as K;
use crate::lang::token::Kind;
use crate::lang::trail::Noun;

pub(super) fn statement(c: Cursor<'_>) -> Parsed<'_, Statement> {
    if let (rest, Some(statement)) = explainable(c)? {
        return Ok((rest, statement));
    }
    let next = c.next();
    if c.sees(K::Explain) {
        let (rest, analyze) = flag(K::Analyze).parse(next)?;
        return match explainable(rest)? {
            (rest, Some(statement)) => {
                Ok((rest, Statement::Explain { analyze, statement: Box::new(statement) }))
            }
            (rest, None) => rest.missing(),
        };
    }
    if c.sees(K::Show) {
        return shown.map(Statement::Show).parse(next);
    }
    if c.sees(K::Describe) {
        return name(Noun::Described).map(Statement::Describe).parse(next);
    }
    if c.sees(K::Drop) {
        return defined.map(|(kind, name)| Statement::Drop { kind, name }).parse(next);
    }
    admin.map(Statement::Admin).parse(c)
}

/// A write, a read or a definition, if one begins here.
fn explainable(c: Cursor<'_>) -> Parsed<'_, Option<Statement>> {
    if let (rest, Some(write)) = write(c)? {
        return Ok((rest, Some(Statement::Write(write))));
    }
    if let (rest, Some(read)) = read(c)? {
        return Ok((rest, Some(Statement::Read(read))));
    }
    if c.sees(K::Define) {
        return definition.map(|definition| Some(Statement::Define(definition))).parse(c.next());
    }
    Ok((c, None))
}

fn admin(c: Cursor<'_>) -> Parsed<'_, Admin> {
    let next = c.next();
    if c.sees(K::Backup) {
        let (rest, (_, to)) = (keyword(K::To), text(Noun::Text)).parse(next)?;
        Ok((rest, Admin::Backup { to }))
    } else if c.sees(K::Verify) {
        optional(K::Against, text(Noun::Text)).map(|against| Admin::Verify { against }).parse(next)
    } else if c.sees(K::Compact) {
        Ok((next, Admin::Compact))
    } else if c.sees(K::Checkpoint) {
        Ok((next, Admin::Checkpoint))
    } else if c.sees(K::Retry) {
        let (rest, ((kind, name), position)) = (defined, some_position).parse(next)?;
        Ok((rest, Admin::Retry { kind, name, position }))
    } else if c.sees(K::Skip) {
        let (rest, ((kind, name), position)) = (defined, some_position).parse(next)?;
        Ok((rest, Admin::Skip { kind, name, position }))
    } else {
        c.missing()
    }
}

fn some_position(c: Cursor<'_>) -> Parsed<'_, Option<Position>> {
    if c.kind() == Kind::Position {
        return position.map(Some).parse(c);
    }
    c.expect_noun(Noun::Position);
    Ok((c, None))
}

fn shown(c: Cursor<'_>) -> Parsed<'_, Shown> {
    for (word, shown) in [
        (K::Kinds, Shown::Kinds),
        (K::Types, Shown::Types),
        (K::Verbs, Shown::Verbs),
        (K::Indexes, Shown::Indexes),
        (K::Views, Shown::Views),
        (K::Reactions, Shown::Reactions),
        (K::Webhooks, Shown::Webhooks),
        (K::Schedules, Shown::Schedules),
        (K::Subscriptions, Shown::Subscriptions),
        (K::Stats, Shown::Stats),
        (K::Head, Shown::Head),
    ] {
        if c.sees(word) {
            return Ok((c.next(), shown));
        }
    }
    c.missing()
}

/// What is meant of what was defined, and its name.
fn defined(c: Cursor<'_>) -> Parsed<'_, (DefinedKind, Name)> {
    for (word, kind, noun) in [
        (K::Entity, DefinedKind::Entity, Noun::Kind),
        (K::Verb, DefinedKind::Verb, Noun::Verb),
        (K::Index, DefinedKind::Index, Noun::Index),
        (K::View, DefinedKind::View, Noun::View),
        (K::Reaction, DefinedKind::Reaction, Noun::Reaction),
        (K::Webhook, DefinedKind::Webhook, Noun::Webhook),
        (K::Schedule, DefinedKind::Schedule, Noun::Schedule),
        (K::Subscription, DefinedKind::Subscription, Noun::Subscription),
    ] {
        if c.sees(word) {
            return name(noun).map(|name| (kind, name)).parse(c.next());
        }
    }
    c.missing()
}
