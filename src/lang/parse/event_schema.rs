//! `DEFINE EVENT`: what the data of an event is to be.

use std::collections::HashSet;

use nom::Parser;
use nom::sequence::preceded;

use super::cursor::{ParseResult, TokenCursor, flag, keyword, list, optional, symbol};
use super::expr::{assign, expr, key, path};
use super::name::{event_type, name, text};
use crate::lang::ast::{
    AssignClause, DataTypeExpr, DataTypeKind, DefinitionStmt, EventDefinitionStmt, MemberClause, SchemaBody,
    UpcastClause,
};
use crate::lang::expectations::TokenClass;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::Symbol;

/// What follows `DEFINE EVENT`.
pub(super) fn event_definition(c: TokenCursor<'_>) -> ParseResult<'_, DefinitionStmt> {
    let (c, event_type) = event_type(c)?;
    let (c, body) = if c.sees(K::From) {
        let json = preceded(keyword(K::Schema), text(TokenClass::Text));
        json.map(SchemaBody::Json).parse(c.next())?
    } else {
        members.map(SchemaBody::Members).parse(c)?
    };
    let (c, (strict, warn, upcast)) =
        (flag(K::Strict), flag(K::Warn), optional(K::Upcast, upcast)).parse(c)?;
    Ok((c, DefinitionStmt::Event(EventDefinitionStmt { event_type, body, strict, warn, upcast })))
}

fn upcast(c: TokenCursor<'_>) -> ParseResult<'_, UpcastClause> {
    let assign = assign.map(|(path, value)| AssignClause { path, value });
    let (rest, set) = optional(K::Set, list(assign)).parse(c)?;
    let (rest, delete) = optional(K::Delete, list(path)).parse(rest)?;
    let (set, delete) = (set.unwrap_or_default(), delete.unwrap_or_default());
    if set.is_empty() && delete.is_empty() {
        return rest.missing();
    }
    Ok((rest, UpcastClause { set, delete, span: rest.span_from(c) }))
}

/// Members in braces, each name once.
fn members(c: TokenCursor<'_>) -> ParseResult<'_, Vec<MemberClause>> {
    let (mut rest, _) = symbol(Symbol::LeftBrace).parse(c.deeper()?)?;
    let (mut members, mut keys) = (Vec::new(), HashSet::new());
    if !rest.sees_symbol(Symbol::RightBrace) {
        loop {
            let (next, member) = member(rest)?;
            if !keys.insert(member.key.text.clone()) {
                rest.expect_noun(TokenClass::NewKey);
                let message = format!("the key {} comes twice", crate::error::shorten(&member.key.text));
                return rest.wrong(member.key.span, message);
            }
            members.push(member);
            rest = next;
            if !rest.sees_symbol(Symbol::Comma) {
                break;
            }
            rest = rest.next();
        }
    }
    let (rest, _) = symbol(Symbol::RightBrace).parse(rest)?;
    Ok((rest.level_with(c), members))
}

fn member(c: TokenCursor<'_>) -> ParseResult<'_, MemberClause> {
    let (c, (key, _, data_type)) = (key, symbol(Symbol::Colon), data_type).parse(c)?;
    let (c, check) = optional(K::Check, expr).parse(c)?;
    Ok((c, MemberClause { key, data_type, check }))
}

fn data_type(c: TokenCursor<'_>) -> ParseResult<'_, DataTypeExpr> {
    let (rest, kind) = if c.sees_symbol(Symbol::LeftBrace) {
        members.map(DataTypeKind::Object).parse(c)?
    } else if c.sees_symbol(Symbol::LeftBracket) {
        let (rest, item) = data_type(c.deeper()?.next())?;
        let (rest, _) = symbol(Symbol::RightBracket).parse(rest)?;
        (rest.level_with(c), DataTypeKind::Array(Box::new(item)))
    } else {
        name(TokenClass::DataType).map(DataTypeKind::Named).parse(c)?
    };
    let optional = rest.sees_symbol(Symbol::Question);
    let rest = if optional { rest.next() } else { rest };
    Ok((rest, DataTypeExpr { kind, optional, span: rest.span_from(c) }))
}
