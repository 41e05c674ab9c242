//! A place in the tokens, and the terminals.
//!
//! The cursor is what the combinators of nom run over. A terminal that does not match writes what it would have
//! accepted into the [`Trail`]; the error it returns carries nothing. Alternatives are told apart by the next token
//! (`sees`), never by trying one after the other, so each token is looked at a bounded number of times.

use std::cell::RefCell;

use nom::Parser;
use nom::combinator::{cut, opt};
use nom::error::{ErrorKind, ParseError};
use nom::sequence::preceded;

use crate::lang::ast::Span;
use crate::lang::keyword::Keyword;
use crate::lang::token::{Kind, Symbol, Token};
use crate::lang::trail::{Expectation, Noun, Trail, Wrong};
use crate::value::MAX_DEPTH;

/// What a statement is parsed from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) text: &'a str,
    /// The last is [`Kind::End`].
    pub(super) tokens: &'a [Token],
    pub(super) trail: &'a RefCell<Trail>,
}

/// A place in the tokens. Small: many of them are on the stack at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    input: &'a Input<'a>,
    at: usize,
    depth: usize,
}

/// That a parser stopped. Why, the trail knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop;

pub(super) type Parsed<'a, T> = Result<(Cursor<'a>, T), nom::Err<Stop>>;

impl<'a> ParseError<Cursor<'a>> for Stop {
    fn from_error_kind(_: Cursor<'a>, _: ErrorKind) -> Stop {
        Stop
    }

    fn append(_: Cursor<'a>, _: ErrorKind, other: Stop) -> Stop {
        other
    }
}

/// A parser of the language.
pub(super) trait Rule<'a, T>: Parser<Cursor<'a>, Output = T, Error = Stop> {}

impl<'a, T, P: Parser<Cursor<'a>, Output = T, Error = Stop>> Rule<'a, T> for P {}

impl<'a> Cursor<'a> {
    pub(super) fn new(input: &'a Input<'a>, at: usize) -> Cursor<'a> {
        Cursor { input, at, depth: 0 }
    }

    /// The token here.
    pub(super) fn token(self) -> Token {
        #[cfg(test)]
        crate::lang::steps::took(1);
        let end = Token { kind: Kind::End, span: Span::new(self.input.text.len(), self.input.text.len()) };
        self.input.tokens.get(self.at).copied().unwrap_or(end)
    }

    pub(super) fn kind(self) -> Kind {
        self.token().kind
    }

    /// The text of the token here.
    pub(super) fn source(self) -> &'a str {
        self.slice(self.token().span)
    }

    pub(super) fn slice(self, span: Span) -> &'a str {
        self.input.text.get(span.range()).unwrap_or_default()
    }

    /// The index of the token here.
    pub(super) fn place(self) -> usize {
        self.at
    }

    pub(super) fn next(self) -> Cursor<'a> {
        let at = if self.kind() == Kind::End { self.at } else { self.at + 1 };
        Cursor { at, ..self }
    }

    /// So many tokens before this one, if there are as many.
    pub(super) fn back(self, tokens: usize) -> Option<Cursor<'a>> {
        Some(Cursor { at: self.at.checked_sub(tokens)?, ..self })
    }

    /// Whether no space is between the token here and the one before.
    pub(super) fn is_adjacent(self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.input.tokens.get(at));
        before.is_some_and(|t| t.span.end() == self.token().span.start())
    }

    /// From the token at an earlier place to the one before this.
    pub(super) fn span_from(self, start: Cursor<'a>) -> Span {
        let last = self.at.checked_sub(1).and_then(|at| self.input.tokens.get(at));
        last.map_or(start.token().span, |last| start.token().span.to(last.span))
    }

    /// Whether this keyword is here; if not, it was expected.
    pub(super) fn sees(self, keyword: Keyword) -> bool {
        let here = self.kind() == Kind::Keyword(keyword);
        if !here {
            self.expect(Expectation::Keyword(keyword));
        }
        here
    }

    /// Whether this symbol is here; if not, it was expected.
    pub(super) fn sees_symbol(self, symbol: Symbol) -> bool {
        let here = self.kind() == Kind::Symbol(symbol);
        if !here {
            self.expect(Expectation::Symbol(symbol));
        }
        here
    }

    pub(super) fn expect(self, expectation: Expectation) {
        self.input.trail.borrow_mut().expect(self.at, expectation);
    }

    pub(super) fn expect_noun(self, noun: Noun) {
        self.expect(Expectation::Noun(noun));
    }

    /// Nothing that may stand here stands here.
    pub(super) fn missing<T>(self) -> Parsed<'a, T> {
        Err(nom::Err::Error(Stop))
    }

    /// As [`missing`](Self::missing), where a class of words was expected.
    pub(super) fn missing_noun<T>(self, noun: Noun) -> Parsed<'a, T> {
        self.expect_noun(noun);
        self.missing()
    }

    /// What stands here has the right shape and says nothing, for this reason.
    pub(super) fn wrong<T>(self, span: Span, message: impl Into<String>) -> Parsed<'a, T> {
        self.wrong_for(span, message, None)
    }

    pub(super) fn wrong_for<T>(
        self,
        span: Span,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Parsed<'a, T> {
        self.input.trail.borrow_mut().blame(Wrong { span, message: message.into(), suggestion });
        Err(nom::Err::Failure(Stop))
    }

    /// One level deeper: for what may contain itself. Not deeper than values nest.
    pub(super) fn deeper(self) -> Result<Cursor<'a>, nom::Err<Stop>> {
        if self.depth >= MAX_DEPTH {
            let _: (Cursor<'a>, ()) =
                self.wrong(self.token().span, format!("nested deeper than {MAX_DEPTH}"))?;
        }
        Ok(Cursor { depth: self.depth + 1, ..self })
    }

    /// As deep as another place.
    pub(super) fn level_with(self, other: Cursor<'a>) -> Cursor<'a> {
        Cursor { depth: other.depth, ..self }
    }
}

/// A keyword.
pub(super) fn keyword<'a>(keyword: Keyword) -> impl Rule<'a, Span> {
    move |c: Cursor<'a>| if c.sees(keyword) { Ok((c.next(), c.token().span)) } else { c.missing() }
}

/// A symbol.
pub(super) fn symbol<'a>(symbol: Symbol) -> impl Rule<'a, Span> {
    move |c: Cursor<'a>| if c.sees_symbol(symbol) { Ok((c.next(), c.token().span)) } else { c.missing() }
}

/// What follows a keyword, if the keyword is there.
pub(super) fn optional<'a, T>(head: Keyword, rule: impl Rule<'a, T>) -> impl Rule<'a, Option<T>> {
    opt(preceded(keyword(head), cut(rule)))
}

/// Whether a keyword is there.
pub(super) fn flag<'a>(head: Keyword) -> impl Rule<'a, bool> {
    opt(keyword(head)).map(|seen| seen.is_some())
}

/// One or more, with commas between.
pub(super) fn list<'a, T>(mut item: impl Rule<'a, T>) -> impl Rule<'a, Vec<T>> {
    move |c: Cursor<'a>| {
        let (mut c, first) = item.parse(c)?;
        let mut items = vec![first];
        while c.sees_symbol(Symbol::Comma) {
            let (rest, next) = item.parse(c.next())?;
            items.push(next);
            c = rest;
        }
        Ok((c, items))
    }
}

/// The clause whose keyword is here, for the first time.
pub(super) fn once<'a, T>(
    slot: &mut Option<T>,
    c: Cursor<'a>,
    mut rule: impl Rule<'a, T>,
) -> Result<Cursor<'a>, nom::Err<Stop>> {
    refuse_second(slot.is_some(), c)?;
    let (rest, value) = rule.parse(c.next())?;
    *slot = Some(value);
    Ok(rest)
}

/// As [`once`], for a clause that is a list.
pub(super) fn once_list<'a, T>(
    slot: &mut Vec<T>,
    c: Cursor<'a>,
    mut rule: impl Rule<'a, Vec<T>>,
) -> Result<Cursor<'a>, nom::Err<Stop>> {
    refuse_second(!slot.is_empty(), c)?;
    let (rest, value) = rule.parse(c.next())?;
    *slot = value;
    Ok(rest)
}

fn refuse_second(second: bool, c: Cursor<'_>) -> Result<(), nom::Err<Stop>> {
    if second {
        let name = match c.kind() {
            Kind::Keyword(keyword) => keyword.text(),
            _ => c.source(),
        };
        let _: (Cursor<'_>, ()) =
            c.wrong(c.token().span, format!("a second {name}: each clause comes once"))?;
    }
    Ok(())
}
