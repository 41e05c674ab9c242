//! Expressions, by precedence: `OR`, `AND`, `NOT`, tests, sums, products, `-`, and what stands alone.

use std::collections::HashSet;

use nom::Parser;
use nom::combinator::cut;
use nom::sequence::separated_pair;

use super::cursor::{ParseResult, ParseStop, TokenCursor, flag, keyword, symbol};
use super::name::{
    bare, begins_id, begins_plain_id, date, duration, id, name, param, plain_id, position, refuse_zeros,
    too_wide, unquoted, whole,
};
use crate::lang::ast::{
    Comparison, EntityRef, Expr, ExprKind, Literal, Name, ObjectExpr, Operator, Path, Span, StepExpr,
};
use crate::lang::expectations::TokenClass;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Symbol, TokenKind};
use crate::value::{Value, why_unfit};

/// An expression on the heap. Between two brackets of a nest stands one frame of each rule; they are kept few and
/// small, so that the deepest nest allowed fits the smallest stack in use, without optimization too.
type Boxed<'a> = ParseResult<'a, Box<Expr>>;

fn boxed(kind: ExprKind, span: Span) -> Box<Expr> {
    Box::new(Expr { kind, span })
}

#[allow(clippy::boxed_local, reason = "unboxed here, so that it is not in a frame of the nest")]
fn push(exprs: &mut Vec<Expr>, expr: Box<Expr>) {
    exprs.push(*expr);
}

pub(super) fn expr(c: TokenCursor<'_>) -> ParseResult<'_, Expr> {
    disjunction(c).map(|(rest, expr)| (rest, *expr))
}

/// Operands joined by AND, and those joined by OR: two rules in one frame. Flat, however many.
fn disjunction(c: TokenCursor<'_>) -> Boxed<'_> {
    let mut operands = Vec::new();
    let mut rest = c;
    loop {
        let start = rest;
        let (next, mut operand) = negation(rest)?;
        rest = next;
        if rest.sees(K::And) {
            let mut joined = Vec::new();
            push(&mut joined, operand);
            while rest.sees(K::And) {
                let (next, operand) = negation(rest.next())?;
                push(&mut joined, operand);
                rest = next;
            }
            operand = boxed(ExprKind::And(joined), rest.span_from(start));
        }
        let more = rest.sees(K::Or);
        if !more && operands.is_empty() {
            return Ok((rest, operand));
        }
        push(&mut operands, operand);
        if !more {
            return Ok((rest, boxed(ExprKind::Or(operands), rest.span_from(c))));
        }
        rest = rest.next();
    }
}

/// A test behind any number of NOT.
fn negation(c: TokenCursor<'_>) -> Boxed<'_> {
    let inner = behind(c, TokenKind::Keyword(K::Not))?;
    let (rest, expr) = test(inner)?;
    Ok((rest.level_with(c), wrap(c, inner, rest, expr, ExprKind::Not)))
}

/// Behind all signs of a kind; each is a level of its own.
fn behind(mut c: TokenCursor<'_>, sign: TokenKind) -> Result<TokenCursor<'_>, nom::Err<ParseStop>> {
    while c.kind() == sign {
        c = c.deeper()?.next();
    }
    Ok(c)
}

/// The expression as often wrapped as there are signs before it.
fn wrap(
    c: TokenCursor<'_>,
    inner: TokenCursor<'_>,
    rest: TokenCursor<'_>,
    mut expr: Box<Expr>,
    kind: fn(Box<Expr>) -> ExprKind,
) -> Box<Expr> {
    let mut starts = Vec::new();
    let mut sign = c;
    while sign.place() < inner.place() {
        starts.push(sign);
        sign = sign.next();
    }
    while let Some(start) = starts.pop() {
        expr = boxed(kind(expr), rest.span_from(start));
    }
    expr
}

/// A sum, alone or tested.
fn test(c: TokenCursor<'_>) -> Boxed<'_> {
    let (rest, subject) = sum(c)?;
    if let Some(comparison) = comparison(rest) {
        let (rest, right) = sum(rest.next())?;
        return Ok((rest, boxed(ExprKind::Compare { left: subject, comparison, right }, rest.span_from(c))));
    }
    if rest.sees(K::Is) {
        let (rest, (negated, _)) = (flag(K::Not), keyword(K::Null)).parse(rest.next())?;
        return Ok((rest, boxed(ExprKind::IsNull { subject, negated }, rest.span_from(c))));
    }
    let negated = rest.sees(K::Not);
    let tested = if negated { rest.next() } else { rest };
    if tested.sees(K::Matches) {
        let (rest, pattern) = sum(tested.next())?;
        Ok((rest, boxed(ExprKind::Matches { subject, negated, pattern }, rest.span_from(c))))
    } else if tested.sees(K::Contains) {
        let (rest, item) = sum(tested.next())?;
        Ok((rest, boxed(ExprKind::Contains { subject, negated, item }, rest.span_from(c))))
    } else if tested.sees(K::Between) {
        let (rest, low) = sum(tested.next())?;
        let (rest, _) = keyword(K::And).parse(rest)?;
        let (rest, high) = sum(rest)?;
        Ok((rest, boxed(ExprKind::Between { subject, negated, low, high }, rest.span_from(c))))
    } else if tested.sees(K::In) {
        let (rest, items) = bracketed(tested.next(), Symbol::LeftParen, Symbol::RightParen, 1)?;
        Ok((rest, boxed(ExprKind::In { subject, negated, items }, rest.span_from(c))))
    } else if negated {
        tested.missing()
    } else {
        Ok((rest, subject))
    }
}

/// `( … )`: the expression inside.
pub(super) fn parenthesized(c: TokenCursor<'_>) -> Boxed<'_> {
    let (rest, _) = symbol(Symbol::LeftParen).parse(c.deeper()?)?;
    let (rest, expr) = disjunction(rest)?;
    let (rest, _) = symbol(Symbol::RightParen).parse(rest)?;
    Ok((rest.level_with(c), expr))
}

/// Expressions with commas between, in brackets; at least so many.
fn bracketed(c: TokenCursor<'_>, open: Symbol, close: Symbol, least: usize) -> ParseResult<'_, Vec<Expr>> {
    let (mut rest, _) = symbol(open).parse(c.deeper()?)?;
    let mut items = Vec::new();
    if least > 0 || !rest.sees_symbol(close) {
        loop {
            let (next, item) = disjunction(rest)?;
            push(&mut items, item);
            rest = next;
            if !rest.sees_symbol(Symbol::Comma) {
                break;
            }
            rest = rest.next();
        }
    }
    let (rest, _) = symbol(close).parse(rest)?;
    Ok((rest.level_with(c), items))
}

/// The comparison that is here.
pub(super) fn comparison(c: TokenCursor<'_>) -> Option<Comparison> {
    let comparison = match c.kind() {
        TokenKind::Symbol(Symbol::Equal) => Comparison::Equal,
        TokenKind::Symbol(Symbol::NotEqual) => Comparison::NotEqual,
        TokenKind::Symbol(Symbol::Less) => Comparison::Less,
        TokenKind::Symbol(Symbol::LessOrEqual) => Comparison::LessOrEqual,
        TokenKind::Symbol(Symbol::Greater) => Comparison::Greater,
        TokenKind::Symbol(Symbol::GreaterOrEqual) => Comparison::GreaterOrEqual,
        _ => {
            c.expect_noun(TokenClass::Comparison);
            return None;
        }
    };
    Some(comparison)
}

/// Factors joined by `*`, `/`, `%`, and terms joined by `+`, `-`: two rules in one frame. Flat, however many.
fn sum(c: TokenCursor<'_>) -> Boxed<'_> {
    let mut terms = OperatorChain::default();
    let mut rest = c;
    loop {
        let start = rest;
        let mut factors = OperatorChain::default();
        loop {
            let (next, factor) = unary(rest)?;
            factors.push(factor);
            rest = next;
            match product_operator(rest) {
                Some(operator) => factors.operators.push(operator),
                None => break,
            }
            rest = rest.next();
        }
        terms.push(factors.close(rest.span_from(start)));
        match sum_operator(rest) {
            Some(operator) => terms.operators.push(operator),
            None => break,
        }
        rest = rest.next();
    }
    rest.expect_noun(TokenClass::Arithmetic);
    Ok((rest, terms.close(rest.span_from(c))))
}

/// Operands and the operators between them.
#[derive(Default)]
struct OperatorChain {
    first: Option<Box<Expr>>,
    operators: Vec<Operator>,
    operands: Vec<Expr>,
}

impl OperatorChain {
    fn push(&mut self, operand: Box<Expr>) {
        match self.first {
            None => self.first = Some(operand),
            Some(_) => push(&mut self.operands, operand),
        }
    }

    fn close(self, span: Span) -> Box<Expr> {
        let first = self.first.unwrap_or_else(|| boxed(ExprKind::Literal(Literal::Value(Value::Null)), span));
        if self.operands.is_empty() {
            return first;
        }
        boxed(
            ExprKind::Arithmetic { first, rest: self.operators.into_iter().zip(self.operands).collect() },
            span,
        )
    }
}

fn product_operator(c: TokenCursor<'_>) -> Option<Operator> {
    match c.kind() {
        TokenKind::Symbol(Symbol::Star) => Some(Operator::Multiply),
        TokenKind::Symbol(Symbol::Slash) => Some(Operator::Divide),
        TokenKind::Symbol(Symbol::Percent) => Some(Operator::Remainder),
        _ => None,
    }
}

fn sum_operator(c: TokenCursor<'_>) -> Option<Operator> {
    match c.kind() {
        TokenKind::Symbol(Symbol::Plus) => Some(Operator::Add),
        TokenKind::Symbol(Symbol::Minus) => Some(Operator::Subtract),
        _ => None,
    }
}

/// What stands alone, behind any number of `-`.
fn unary(c: TokenCursor<'_>) -> Boxed<'_> {
    let inner = behind(c, TokenKind::Symbol(Symbol::Minus))?;
    let (rest, expr) = primary(inner)?;
    let rest = rest.level_with(c);
    if let ExprKind::Literal(Literal::Value(Value::Int(_) | Value::UInt(_) | Value::Float(_))) = expr.kind {
        return signed(c, inner, rest, expr);
    }
    Ok((rest, wrap(c, inner, rest, expr, ExprKind::Negate)))
}

/// A number takes its signs: the least integer has no positive one to negate.
fn signed<'a>(
    c: TokenCursor<'a>,
    inner: TokenCursor<'a>,
    rest: TokenCursor<'a>,
    mut expr: Box<Expr>,
) -> Boxed<'a> {
    for _ in c.place()..inner.place() {
        expr.span = rest.span_from(c);
        let negative = match &expr.kind {
            ExprKind::Literal(Literal::Value(Value::UInt(n))) => {
                0_i64.checked_sub_unsigned(*n).map(Value::Int)
            }
            ExprKind::Literal(Literal::Value(Value::Int(n))) => {
                Some(n.checked_neg().map_or(Value::UInt(n.unsigned_abs()), Value::Int))
            }
            ExprKind::Literal(Literal::Value(Value::Float(n))) => Some(Value::Float(-n)),
            _ => None,
        };
        let Some(negative) = negative else { return too_wide(c, expr.span) };
        expr.kind = ExprKind::Literal(Literal::Value(negative));
    }
    Ok((rest, expr))
}

fn primary(c: TokenCursor<'_>) -> Boxed<'_> {
    match c.kind() {
        TokenKind::Symbol(Symbol::LeftParen) => parenthesized(c),
        TokenKind::Symbol(Symbol::LeftBrace) => {
            object(c).map(|(rest, object)| (rest, boxed(ExprKind::Object(object), rest.span_from(c))))
        }
        TokenKind::Symbol(Symbol::LeftBracket) => bracketed(c, Symbol::LeftBracket, Symbol::RightBracket, 0)
            .map(|(rest, items)| (rest, boxed(ExprKind::Array(items), rest.span_from(c)))),
        kind if begins_field(kind) && c.next().kind() == TokenKind::Symbol(Symbol::LeftParen) => call(c),
        _ => simple(c),
    }
}

fn call(c: TokenCursor<'_>) -> Boxed<'_> {
    let (rest, name) = bare(c)?;
    let (rest, args) = bracketed(rest, Symbol::LeftParen, Symbol::RightParen, 0)?;
    Ok((rest, boxed(ExprKind::Call { name, args }, rest.span_from(c))))
}

/// What contains no expression.
fn simple(c: TokenCursor<'_>) -> Boxed<'_> {
    let (rest, kind) = match c.kind() {
        TokenKind::Param => (c.next(), ExprKind::Param(param(c))),
        kind if begins_field(kind) => field(c)?,
        _ => match literal(c)? {
            (rest, Some(literal)) => (rest, ExprKind::Literal(literal)),
            (_, None) => {
                c.expect_noun(TokenClass::Expression);
                expect_constants(c);
                c.sees(K::Not);
                return c.missing();
            }
        },
    };
    Ok((rest, boxed(kind, rest.span_from(c))))
}

fn expect_constants(c: TokenCursor<'_>) {
    for constant in [K::Null, K::True, K::False, K::Now] {
        c.sees(constant);
    }
}

/// The literal that is here, if one is.
fn literal(c: TokenCursor<'_>) -> ParseResult<'_, Option<Literal>> {
    let value = |value: Value| Some(Literal::Value(value));
    let (rest, literal) = match c.kind() {
        TokenKind::Text => unquoted(c).map(|(c, text)| (c, value(Value::Text(text))))?,
        TokenKind::Int => whole(c).map(|(c, n)| (c, value(Value::from(n))))?,
        TokenKind::Number => float(c).map(|(c, n)| (c, value(Value::Float(n))))?,
        TokenKind::Date => date(c).map(|(c, time)| (c, Some(Literal::Time(time))))?,
        TokenKind::Duration => duration(c).map(|(c, d)| (c, Some(Literal::Duration(d))))?,
        TokenKind::Keyword(K::Null) => (c.next(), value(Value::Null)),
        TokenKind::Keyword(K::True) => (c.next(), value(Value::Bool(true))),
        TokenKind::Keyword(K::False) => (c.next(), value(Value::Bool(false))),
        TokenKind::Keyword(K::Now) => (c.next(), Some(Literal::Now)),
        TokenKind::Mixed => {
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

fn float(c: TokenCursor<'_>) -> ParseResult<'_, f64> {
    refuse_zeros(c)?;
    if let Some(why) = why_unfit(c.source()) {
        return c.wrong(c.token().span, format!("{} is {why}", crate::error::shorten(c.source())));
    }
    match c.source().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((c.next(), number)),
        _ => too_wide(c, c.token().span),
    }
}

/// A literal, a position, a parameter or an entity: what an index can be asked for.
pub(super) fn value(c: TokenCursor<'_>) -> ParseResult<'_, Expr> {
    match c.kind() {
        TokenKind::Param => Ok((c.next(), Expr { kind: ExprKind::Param(param(c)), span: c.token().span })),
        TokenKind::Position => {
            let (rest, position) = position(c)?;
            let kind = ExprKind::Literal(Literal::Position(position));
            Ok((rest, Expr { kind, span: c.token().span }))
        }
        TokenKind::Symbol(Symbol::Minus) => match c.next().kind() {
            TokenKind::Int | TokenKind::Number => unary(c).map(|(rest, expr)| (rest, *expr)),
            _ => c.next().missing_noun(TokenClass::Number),
        },
        kind if begins_field(kind) => {
            let (mut rest, mut kind) = bare(c)?;
            while rest.sees_symbol(Symbol::Dot) {
                let (after, part) = name(TokenClass::Part).parse(rest.next())?;
                kind.text.push('.');
                kind.text.push_str(&part.text);
                kind.span = after.span_from(c);
                rest = after;
            }
            if !begins_id(rest) {
                rest.expect_noun(TokenClass::Id);
                let message = format!("{} alone is no value; a text is quoted", c.source());
                return rest.wrong_for(c.token().span, message, Some(format!("'{}'", c.source())));
            }
            let (rest, id) = id(rest)?;
            let entity = EntityRef { kind, id, span: rest.span_from(c) };
            Ok((rest, Expr { span: entity.span, kind: ExprKind::Entity(entity) }))
        }
        _ => match literal(c)? {
            (rest, Some(literal)) => {
                Ok((rest, Expr { kind: ExprKind::Literal(literal), span: rest.span_from(c) }))
            }
            (_, None) => {
                c.expect_noun(TokenClass::Value);
                expect_constants(c);
                c.missing()
            }
        },
    }
}

fn begins_field(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Word | TokenKind::Quoted => true,
        TokenKind::Keyword(keyword) => keyword != K::AsOf && !keyword.is_reserved(),
        _ => false,
    }
}

/// What begins with a name and is no call: an entity, or a field. The next token tells which.
fn field(c: TokenCursor<'_>) -> ParseResult<'_, ExprKind> {
    let (rest, first) = bare(c)?;
    rest.sees_symbol(Symbol::LeftParen);
    if begins_plain_id(rest.kind()) {
        let (rest, id) = plain_id(rest, TokenClass::Id)?;
        return Ok((rest, ExprKind::Entity(EntityRef { kind: first, id, span: rest.span_from(c) })));
    }
    rest.expect_noun(TokenClass::EntityId);
    let (rest, steps) = steps(rest)?;
    Ok((rest, ExprKind::Field(Path { first, steps, span: rest.span_from(c) })))
}

/// A name and its steps.
pub(super) fn path(c: TokenCursor<'_>) -> ParseResult<'_, Path> {
    path_to(TokenClass::StatePath, c)
}

/// A path to a list.
pub(super) fn list_path(c: TokenCursor<'_>) -> ParseResult<'_, Path> {
    path_to(TokenClass::List, c)
}

fn path_to(noun: TokenClass, c: TokenCursor<'_>) -> ParseResult<'_, Path> {
    let (rest, (first, steps)) = (name(noun), steps).parse(c)?;
    Ok((rest, Path { first, steps, span: rest.span_from(c) }))
}

fn steps(mut c: TokenCursor<'_>) -> ParseResult<'_, Vec<StepExpr>> {
    let mut steps = Vec::new();
    loop {
        let (rest, step) = if c.sees_symbol(Symbol::Dot) {
            name(TokenClass::Member).map(StepExpr::Member).parse(c.next())?
        } else if c.sees_symbol(Symbol::LeftBracket) {
            (subscript, cut(symbol(Symbol::RightBracket))).map(|(step, _)| step).parse(c.next())?
        } else {
            return Ok((c, steps));
        };
        steps.push(step);
        c = rest;
    }
}

fn subscript(c: TokenCursor<'_>) -> ParseResult<'_, StepExpr> {
    let span = c.token().span;
    match c.kind() {
        TokenKind::Int => whole(c).map(|(rest, index)| (rest, StepExpr::Element { index, span })),
        TokenKind::Text => unquoted(c).map(|(rest, text)| (rest, StepExpr::Member(Name { text, span }))),
        _ => c.missing_noun(TokenClass::Subscript),
    }
}

pub(super) fn object(c: TokenCursor<'_>) -> ParseResult<'_, ObjectExpr> {
    let (mut rest, _) = symbol(Symbol::LeftBrace).parse(c.deeper()?)?;
    let mut members = ObjectMembers::default();
    if !rest.sees_symbol(Symbol::RightBrace) {
        loop {
            let (next, key) = members.key(rest)?;
            let (next, _) = symbol(Symbol::Colon).parse(next)?;
            let (next, value) = disjunction(next)?;
            members.push(key, value);
            rest = next;
            if !rest.sees_symbol(Symbol::Comma) {
                break;
            }
            rest = rest.next();
        }
    }
    let (rest, _) = symbol(Symbol::RightBrace).parse(rest)?;
    Ok((rest.level_with(c), ObjectExpr { members: members.members, span: rest.span_from(c) }))
}

/// The members of an object, and which keys there were.
#[derive(Default)]
struct ObjectMembers {
    members: Vec<(Name, Expr)>,
    keys: HashSet<String>,
}

impl ObjectMembers {
    /// The key that is here, for the first time.
    fn key<'a>(&mut self, c: TokenCursor<'a>) -> ParseResult<'a, Name> {
        let (rest, key) = key(c)?;
        if !self.keys.insert(key.text.clone()) {
            c.expect_noun(TokenClass::NewKey);
            let message = format!("the key {} comes twice", crate::error::shorten(&key.text));
            return c.wrong(key.span, message);
        }
        Ok((rest, key))
    }

    #[allow(clippy::boxed_local, reason = "unboxed here, so that it is not in a frame of the nest")]
    fn push(&mut self, key: Name, value: Box<Expr>) {
        self.members.push((key, *value));
    }
}

pub(super) fn key(c: TokenCursor<'_>) -> ParseResult<'_, Name> {
    if c.kind() == TokenKind::Text {
        let (rest, text) = unquoted(c)?;
        return Ok((rest, Name { text, span: c.token().span }));
    }
    name(TokenClass::Key).parse(c)
}

/// A path and what it becomes.
pub(super) fn assign(c: TokenCursor<'_>) -> ParseResult<'_, (Path, Expr)> {
    separated_pair(path, symbol(Symbol::Equal), expr).parse(c)
}
