//! Statements: what they begin with tells which they are.

use nom::Parser;

use super::cursor::{ParseResult, TokenCursor, flag, keyword, optional};
use super::define::definition;
use super::name::{entity, event_type, name, position, text};
use super::read::read;
use super::write::{some_close, write};
use crate::definition::DefinitionKind;
use crate::entity::Position;
use crate::lang::ast::{
    Admin, BackupClause, DropTarget, ForgetStmt, Name, ShowTarget, Stmt, TypeRef, WriteStmt,
};
use crate::lang::expectations::TokenClass;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Symbol, TokenKind};

pub(super) fn statement(c: TokenCursor<'_>) -> ParseResult<'_, Stmt> {
    if let (rest, Some(statement)) = explainable(c)? {
        return Ok((rest, statement));
    }
    let next = c.next();
    if c.sees(K::Explain) {
        let (rest, analyze) = flag(K::Analyze).parse(next)?;
        return match explainable(rest)? {
            (rest, Some(statement)) => Ok((rest, Stmt::Explain { analyze, statement: Box::new(statement) })),
            (rest, None) => rest.missing(),
        };
    }
    if c.sees(K::Show) {
        return shown.map(Stmt::Show).parse(next);
    }
    if c.sees(K::Describe) {
        return described(next);
    }
    if c.sees(K::Drop) {
        return dropped.map(|(kind, name)| Stmt::Drop { kind, name }).parse(next);
    }
    admin.map(Stmt::Admin).parse(c)
}

/// A write, a read, a definition or FORGET, if one begins here.
fn explainable(c: TokenCursor<'_>) -> ParseResult<'_, Option<Stmt>> {
    if let (rest, Some(write)) = write(c)? {
        return Ok((rest, Some(Stmt::Write(write))));
    }
    if let (rest, Some(read)) = read(c)? {
        return Ok((rest, Some(Stmt::Read(read))));
    }
    if c.sees(K::Define) {
        return definition.map(|definition| Some(Stmt::Define(definition))).parse(c.next());
    }
    if c.sees(K::Forget) {
        let (rest, (subject, because)) =
            (entity, optional(K::Because, text(TokenClass::Text))).parse(c.next())?;
        return Ok((rest, Some(Stmt::Forget(ForgetStmt { subject, because }))));
    }
    let (rest, close) = some_close(c)?;
    Ok((rest, close.map(|close| Stmt::Write(WriteStmt::Act(close)))))
}

fn admin(c: TokenCursor<'_>) -> ParseResult<'_, Admin> {
    let next = c.next();
    if c.sees(K::Backup) {
        let (rest, (_, to)) = (keyword(K::To), text(TokenClass::Text)).parse(next)?;
        let (rest, mode) = if rest.sees(K::Increment) {
            (rest.next(), BackupClause::Increment)
        } else if rest.sees(K::Replace) {
            (rest.next(), BackupClause::Replace)
        } else {
            (rest, BackupClause::New)
        };
        let (rest, without_keys) = optional(K::Without, keyword(K::Keys)).parse(rest)?;
        let (rest, key) = optional(K::Key, text(TokenClass::Text)).parse(rest)?;
        Ok((rest, Admin::Backup { to, mode, without_keys: without_keys.is_some(), key }))
    } else if c.sees(K::Rekey) {
        text(TokenClass::Text).map(|key| Admin::Rekey { key }).parse(next)
    } else if c.sees(K::Verify) {
        let against = (text(TokenClass::Text), optional(K::At, a_position));
        optional(K::Against, against).map(|against| Admin::Verify { against }).parse(next)
    } else if c.sees(K::Prove) {
        let (rest, (position, as_of)) = (a_position, optional(K::AsOf, a_position)).parse(next)?;
        Ok((rest, Admin::Prove { position, as_of }))
    } else if c.sees(K::Sign) {
        let with_key = (keyword(K::Head), keyword(K::With), text(TokenClass::Text));
        with_key.map(|(_, _, key)| Admin::SignHead { key }).parse(next)
    } else if c.sees(K::Compact) {
        Ok((next, Admin::Compact))
    } else if c.sees(K::Checkpoint) {
        Ok((next, Admin::Checkpoint))
    } else if c.sees(K::Sync) {
        Ok((next, Admin::Sync))
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

fn a_position(c: TokenCursor<'_>) -> ParseResult<'_, Position> {
    match some_position(c)? {
        (rest, Some(position)) => Ok((rest, position)),
        (rest, None) => rest.missing(),
    }
}

fn some_position(c: TokenCursor<'_>) -> ParseResult<'_, Option<Position>> {
    if c.kind() == TokenKind::Position {
        return position.map(Some).parse(c);
    }
    c.expect_noun(TokenClass::Position);
    Ok((c, None))
}

fn shown(c: TokenCursor<'_>) -> ParseResult<'_, ShowTarget> {
    for target in ShowTarget::all() {
        if c.sees(target.keyword()) {
            return Ok((c.next(), target));
        }
    }
    c.missing()
}

/// A name; with a dot behind it, a type of events.
fn described(c: TokenCursor<'_>) -> ParseResult<'_, Stmt> {
    let (rest, name) = name(TokenClass::Described).parse(c)?;
    match rest.sees_symbol(Symbol::Dot) {
        true => event_type.map(Stmt::DescribeType).parse(c),
        false => Ok((rest, Stmt::Describe(name))),
    }
}

/// What ends, and its name.
fn dropped(c: TokenCursor<'_>) -> ParseResult<'_, (DropTarget, Name)> {
    for target in DropTarget::all() {
        if !c.sees(target.keyword()) {
            continue;
        }
        if target != EVENT {
            return name(target.noun()).map(|name| (target, name)).parse(c.next());
        }
        let (rest, TypeRef { event_type, span }) = event_type(c.next())?;
        return Ok((rest, (target, Name { text: event_type.as_str().to_owned(), span })));
    }
    c.missing()
}

/// What has a type of events for a name.
const EVENT: DropTarget = DropTarget::Definition(DefinitionKind::Event);

/// What is meant of what was defined, and its name.
fn defined(c: TokenCursor<'_>) -> ParseResult<'_, (DropTarget, Name)> {
    for target in DropTarget::all().filter(|target| *target != EVENT) {
        if c.sees(target.keyword()) {
            return name(target.noun()).map(|name| (target, name)).parse(c.next());
        }
    }
    c.missing()
}
