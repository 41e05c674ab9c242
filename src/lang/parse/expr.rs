//! Expressions, by precedence: `OR`, `AND`, `NOT`, tests, sums, products, `-`, and what stands alone.

use std::collections::HashSet;

use nom::Parser;
use nom::combinator::cut;
use nom::sequence::{delimited, preceded, separated_pair};

use super::cursor::{Cursor, Parsed, Rule, flag, keyword, list, symbol};
use super::name::{
    bare, begins_plain_id, date, duration, name, param, plain_id, refuse_zeros, too_wide, unquoted, whole,
};
use crate::lang::ast::{
    Comparison, EntityRef, Expr, ExprKind, Literal, Name, ObjectExpr, Operator, Path, Step,
};
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Kind, Symbol};
use crate::lang::trail::Noun;
use crate::value::Value;

pub(super) fn expr(c: Cursor<'_>) -> Parsed<'_, Expr> {
    chain(c, K::Or, and, ExprKind::Or)
}

fn and(c: Cursor<'_>) -> Parsed<'_, Expr> {
    chain(c, K::And, not, ExprKind::And)
}

/// One operand, or several joined by a keyword: flat, however many.
fn chain<'a>(
    c: Cursor<'a>,
    joint: K,
    operand: fn(Cursor<'a>) -> Parsed<'a, Expr>,
    kind: fn(Vec<Expr>) -> ExprKind,
) -> Parsed<'a, Expr> {
    let (mut rest, first) = operand(c)?;
    if !rest.sees(joint) {
        return Ok((rest, first));
    }
    let mut operands = vec![first];
    while rest.sees(joint) {
        let (next, operand) = operand(rest.next())?;
        operands.push(operand);
        rest = next;
    }
    Ok((rest, Expr { kind: kind(operands), span: rest.span_from(c) }))
}

fn not(c: Cursor<'_>) -> Parsed<'_, Expr> {
    if c.kind() != Kind::Keyword(K::Not) {
        return test(c);
    }
    let (rest, inner) = c.next().nested(not)?;
    Ok((rest, Expr { kind: ExprKind::Not(Box::new(inner)), span: rest.span_from(c) }))
}

/// A sum, alone or tested.
fn test(c: Cursor<'_>) -> Parsed<'_, Expr> {
    let (rest, subject) = sum(c)?;
    let (rest, kind) = if let Some(comparison) = comparison(rest) {
        let (rest, right) = sum(rest.next())?;
        (rest, ExprKind::Compare { left: Box::new(subject), comparison, right: Box::new(right) })
    } else if rest.sees(K::Is) {
        let (rest, (negated, _)) = (flag(K::Not), keyword(K::Null)).parse(rest.next())?;
        (rest, ExprKind::IsNull { subject: Box::new(subject), negated })
    } else {
        let (tested, negated) = flag(K::Not).parse(rest)?;
        match relation(tested, subject, negated)? {
            (_, Err(subject)) if !negated => return Ok((rest, subject)),
            (tested, Err(_)) => return tested.missing(),
            (rest, Ok(kind)) => (rest, kind),
        }
    };
    Ok((rest, Expr { kind, span: rest.span_from(c) }))
}

/// A test that may have a NOT before it; without one, the subject comes back.
fn relation(c: Cursor<'_>, subject: Expr, negated: bool) -> Parsed<'_, Result<ExprKind, Expr>> {
    let (rest, kind) = if c.sees(K::Matches) {
        let (rest, pattern) = sum(c.next())?;
        (rest, ExprKind::Matches { subject: Box::new(subject), negated, pattern: Box::new(pattern) })
    } else if c.sees(K::Contains) {
        let (rest, item) = sum(c.next())?;
        (rest, ExprKind::Contains { subject: Box::new(subject), negated, item: Box::new(item) })
    } else if c.sees(K::Between) {
        let (rest, (low, high)) = separated_pair(sum, keyword(K::And), sum).parse(c.next())?;
        let (subject, low, high) = (Box::new(subject), Box::new(low), Box::new(high));
        (rest, ExprKind::Between { subject, negated, low, high })
    } else if c.sees(K::In) {
        let (rest, items) = parenthesized(list(expr)).parse(c.next())?;
        (rest, ExprKind::In { subject: Box::new(subject), negated, items })
    } else {
        return Ok((c, Err(subject)));
    };
    Ok((rest, Ok(kind)))
}

/// `( … )`, one level deeper.
pub(super) fn parenthesized<'a, T>(mut inner: impl Rule<'a, T>) -> impl Rule<'a, T> {
    move |c: Cursor<'a>| {
        c.nested(delimited(symbol(Symbol::LeftParen), |c| inner.parse(c), symbol(Symbol::RightParen)))
    }
}

/// The comparison that is here.
pub(super) fn comparison(c: Cursor<'_>) -> Option<Comparison> {
    let comparison = match c.kind() {
        Kind::Symbol(Symbol::Equal) => Comparison::Equal,
        Kind::Symbol(Symbol::NotEqual) => Comparison::NotEqual,
        Kind::Symbol(Symbol::Less) => Comparison::Less,
        Kind::Symbol(Symbol::LessOrEqual) => Comparison::LessOrEqual,
        Kind::Symbol(Symbol::Greater) => Comparison::Greater,
        Kind::Symbol(Symbol::GreaterOrEqual) => Comparison::GreaterOrEqual,
        _ => {
            c.expect_noun(Noun::Comparison);
            return None;
        }
    };
    Some(comparison)
}

fn sum(c: Cursor<'_>) -> Parsed<'_, Expr> {
    arithmetic(c, product, |symbol| match symbol {
        Symbol::Plus => Some(Operator::Add),
        Symbol::Minus => Some(Operator::Subtract),
        _ => None,
    })
}

fn product(c: Cursor<'_>) -> Parsed<'_, Expr> {
    arithmetic(c, unary, |symbol| match symbol {
        Symbol::Star => Some(Operator::Multiply),
        Symbol::Slash => Some(Operator::Divide),
        Symbol::Percent => Some(Operator::Remainder),
        _ => None,
    })
}

/// One operand, or several joined by operators that bind alike: flat, however many.
fn arithmetic<'a>(
    c: Cursor<'a>,
    operand: fn(Cursor<'a>) -> Parsed<'a, Expr>,
    operator: fn(Symbol) -> Option<Operator>,
) -> Parsed<'a, Expr> {
    let here = |c: Cursor<'_>| match c.kind() {
        Kind::Symbol(symbol) => operator(symbol),
        _ => None,
    };
    let (mut rest, first) = operand(c)?;
    let mut operands = Vec::new();
    while let Some(operator) = here(rest) {
        let (next, operand) = operand(rest.next())?;
        operands.push((operator, operand));
        rest = next;
    }
    rest.expect_noun(Noun::Arithmetic);
    if operands.is_empty() {
        return Ok((rest, first));
    }
    let kind = ExprKind::Arithmetic { first: Box::new(first), rest: operands };
    Ok((rest, Expr { kind, span: rest.span_from(c) }))
}

fn unary(c: Cursor<'_>) -> Parsed<'_, Expr> {
    if c.kind() != Kind::Symbol(Symbol::Minus) {
        return primary(c);
    }
    let (rest, inner) = c.next().nested(unary)?;
    let span = rest.span_from(c);
    // A number takes its sign: the least integer has no positive one to negate.
    let kind = match inner.kind {
        ExprKind::Literal(Literal::Value(Value::UInt(n))) => match 0_i64.checked_sub_unsigned(n) {
            Some(n) => ExprKind::Literal(Literal::Value(Value::Int(n))),
            None => return too_wide(c, rest.slice(span)),
        },
        ExprKind::Literal(Literal::Value(Value::Int(n))) => {
            let negative = n.checked_neg().map_or(Value::UInt(n.unsigned_abs()), Value::Int);
            ExprKind::Literal(Literal::Value(negative))
        }
        ExprKind::Literal(Literal::Value(Value::Float(n))) => {
            ExprKind::Literal(Literal::Value(Value::Float(-n)))
        }
        kind => ExprKind::Negate(Box::new(Expr { kind, span: inner.span })),
    };
    Ok((rest, Expr { kind, span }))
}

fn primary(c: Cursor<'_>) -> Parsed<'_, Expr> {
    let (rest, kind) = match c.kind() {
        Kind::Symbol(Symbol::LeftParen) => return parenthesized(expr).parse(c),
        Kind::Symbol(Symbol::LeftBrace) => object.map(ExprKind::Object).parse(c)?,
        Kind::Symbol(Symbol::LeftBracket) => array.map(ExprKind::Array).parse(c)?,
        Kind::Param => (c.next(), ExprKind::Param(param(c))),
        kind if begins_field(kind) => field(c)?,
        _ => match literal(c)? {
            (rest, Some(literal)) => (rest, ExprKind::Literal(literal)),
            (_, None) => {
                c.expect_noun(Noun::Expression);
                expect_constants(c);
                c.sees(K::Not);
                return c.missing();
            }
        },
    };
    Ok((rest, Expr { kind, span: rest.span_from(c) }))
}

fn expect_constants(c: Cursor<'_>) {
    for constant in [K::Null, K::True, K::False, K::Now] {
        c.sees(constant);
    }
}

/// The literal that is here, if one is.
fn literal(c: Cursor<'_>) -> Parsed<'_, Option<Literal>> {
    let value = |value: Value| Some(Literal::Value(value));
    let (rest, literal) = match c.kind() {
        Kind::Text => unquoted(c).map(|(c, text)| (c, value(Value::Text(text))))?,
        Kind::Int => whole(c).map(|(c, n)| (c, value(Value::from(n))))?,
        Kind::Number => float(c).map(|(c, n)| (c, value(Value::Float(n))))?,
        Kind::Date => date(c).map(|(c, time)| (c, Some(Literal::Time(time))))?,
        Kind::Duration => duration(c).map(|(c, d)| (c, Some(Literal::Duration(d))))?,
        Kind::Keyword(K::Null) => (c.next(), value(Value::Null)),
        Kind::Keyword(K::True) => (c.next(), value(Value::Bool(true))),
        Kind::Keyword(K::False) => (c.next(), value(Value::Bool(false))),
        Kind::Keyword(K::Now) => (c.next(), Some(Literal::Now)),
        Kind::Mixed => {
            let message = "neither a number nor a duration; a text is quoted";
            return c.wrong_for(
                c.token().span,
                message,
                Some(format!("'{}'", crate::error::shorten(c.source()))),
            );
        }
        _ => (c, None),
    };
    Ok((rest, literal))
}

fn float(c: Cursor<'_>) -> Parsed<'_, f64> {
    refuse_zeros(c)?;
    match c.source().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((c.next(), number)),
        _ => too_wide(c, c.source()),
    }
}

/// A literal, a parameter or an entity: what an index can be asked for.
pub(super) fn value(c: Cursor<'_>) -> Parsed<'_, Expr> {
    match c.kind() {
        Kind::Param => Ok((c.next(), Expr { kind: ExprKind::Param(param(c)), span: c.token().span })),
        Kind::Symbol(Symbol::Minus) if matches!(c.next().kind(), Kind::Int | Kind::Number) => unary(c),
        kind if begins_field(kind) => {
            let (rest, kind) = bare(c)?;
            let (rest, id) = if matches!(rest.kind(), Kind::End) || super::name::begins_id(rest) {
                super::name::id(rest)?
            } else {
                rest.expect_noun(Noun::Id);
                let message = format!("{} alone is no value; a text is quoted", c.source());
                return rest.wrong_for(c.token().span, message, Some(format!("'{}'", c.source())));
            };
            let entity = EntityRef { kind, id, span: rest.span_from(c) };
            Ok((rest, Expr { span: entity.span, kind: ExprKind::Entity(entity) }))
        }
        _ => match literal(c)? {
            (rest, Some(literal)) => {
                Ok((rest, Expr { kind: ExprKind::Literal(literal), span: rest.span_from(c) }))
            }
            (_, None) => {
                c.expect_noun(Noun::Value);
                expect_constants(c);
                c.missing()
            }
        },
    }
}

fn begins_field(kind: Kind) -> bool {
    match kind {
        Kind::Word | Kind::Quoted => true,
        Kind::Keyword(keyword) => keyword != K::AsOf && !keyword.is_reserved(),
        _ => false,
    }
}

/// What begins with a name: a call, an entity, or a field. The next token tells which.
fn field(c: Cursor<'_>) -> Parsed<'_, ExprKind> {
    let (rest, first) = bare(c)?;
    if rest.sees_symbol(Symbol::LeftParen) {
        let (rest, args) = rest.nested(delimited(
            symbol(Symbol::LeftParen),
            until(Symbol::RightParen, expr),
            symbol(Symbol::RightParen),
        ))?;
        return Ok((rest, ExprKind::Call { name: first, args }));
    }
    if begins_plain_id(rest.kind()) {
        let (rest, id) = plain_id(rest, Noun::Id)?;
        return Ok((rest, ExprKind::Entity(EntityRef { kind: first, id, span: rest.span_from(c) })));
    }
    rest.expect_noun(Noun::EntityId);
    let (rest, steps) = steps(rest)?;
    Ok((rest, ExprKind::Field(Path { first, steps, span: rest.span_from(c) })))
}

/// A name and its steps.
pub(super) fn path(c: Cursor<'_>) -> Parsed<'_, Path> {
    let (rest, (first, steps)) = (name(Noun::StatePath), steps).parse(c)?;
    Ok((rest, Path { first, steps, span: rest.span_from(c) }))
}

fn steps(mut c: Cursor<'_>) -> Parsed<'_, Vec<Step>> {
    let mut steps = Vec::new();
    loop {
        let (rest, step) = if c.sees_symbol(Symbol::Dot) {
            name(Noun::Member).map(Step::Member).parse(c.next())?
        } else if c.sees_symbol(Symbol::LeftBracket) {
            (subscript, cut(symbol(Symbol::RightBracket))).map(|(step, _)| step).parse(c.next())?
        } else {
            return Ok((c, steps));
        };
        steps.push(step);
        c = rest;
    }
}

fn subscript(c: Cursor<'_>) -> Parsed<'_, Step> {
    let span = c.token().span;
    match c.kind() {
        Kind::Int => whole(c).map(|(rest, index)| (rest, Step::Element { index, span })),
        Kind::Text => unquoted(c).map(|(rest, text)| (rest, Step::Member(Name { text, span }))),
        _ => c.missing_noun(Noun::Subscript),
    }
}

/// None, or a list, before a closing symbol.
fn until<'a, T>(close: Symbol, mut item: impl Rule<'a, T>) -> impl Rule<'a, Vec<T>> {
    move |c: Cursor<'a>| {
        if c.sees_symbol(close) { Ok((c, Vec::new())) } else { list(|c| item.parse(c)).parse(c) }
    }
}

fn array(c: Cursor<'_>) -> Parsed<'_, Vec<Expr>> {
    let items = until(Symbol::RightBracket, expr);
    c.nested(delimited(symbol(Symbol::LeftBracket), items, symbol(Symbol::RightBracket)))
}

pub(super) fn object<'a>(c: Cursor<'a>) -> Parsed<'a, ObjectExpr> {
    let mut keys = HashSet::new();
    let pair = |c: Cursor<'a>| -> Parsed<'a, (Name, Expr)> {
        let (rest, key) = key(c)?;
        if !keys.insert(key.text.clone()) {
            let message = format!("the key {} comes twice", crate::error::shorten(&key.text));
            return c.wrong(key.span, message);
        }
        let (rest, value) = preceded(symbol(Symbol::Colon), expr).parse(rest)?;
        Ok((rest, (key, value)))
    };
    let members = until(Symbol::RightBrace, pair);
    let (rest, members) =
        c.nested(delimited(symbol(Symbol::LeftBrace), members, symbol(Symbol::RightBrace)))?;
    Ok((rest, ObjectExpr { members, span: rest.span_from(c) }))
}

fn key(c: Cursor<'_>) -> Parsed<'_, Name> {
    if c.kind() == Kind::Text {
        let (rest, text) = unquoted(c)?;
        return Ok((rest, Name { text, span: c.token().span }));
    }
    name(Noun::Key).parse(c)
}

/// A path and what it becomes.
pub(super) fn assign(c: Cursor<'_>) -> Parsed<'_, (Path, Expr)> {
    separated_pair(path, symbol(Symbol::Equal), expr).parse(c)
}
