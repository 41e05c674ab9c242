//! A place in the tokens, and the terminals.
//!
//! The cursor is what the combinators of nom run over. A terminal that does not match writes what it would have
//! accepted into the [`Expectations`]; the error it returns carries nothing. Alternatives are told apart by the next token
//! (`sees`), never by trying one after the other, so each token is looked at a bounded number of times.

use std::cell::RefCell;

use nom::Parser;
use nom::combinator::{cut, opt};
use nom::error::{ErrorKind, ParseError};
use nom::sequence::preceded;

use crate::lang::ast::Span;
use crate::lang::expectations::{Expectation, Expectations, TokenClass, Wrong};
use crate::lang::keyword::Keyword;
use crate::lang::token::{Symbol, Token, TokenKind};
use crate::value::MAX_DEPTH;

/// What a statement is parsed from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) text: &'a str,
    /// The last is [`TokenKind::End`].
    pub(super) tokens: &'a [Token],
    pub(super) trail: &'a RefCell<Expectations>,
}

/// A place in the tokens. Small: many of them are on the stack at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenCursor<'a> {
    input: &'a Input<'a>,
    at: usize,
    depth: usize,
}

/// That a parser stopped. Why, the trail knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ParseStop;

pub(super) type ParseResult<'a, T> = Result<(TokenCursor<'a>, T), nom::Err<ParseStop>>;

impl<'a> ParseError<TokenCursor<'a>> for ParseStop {
    fn from_error_kind(_: TokenCursor<'a>, _: ErrorKind) -> ParseStop {
        ParseStop
    }

    fn append(_: TokenCursor<'a>, _: ErrorKind, other: ParseStop) -> ParseStop {
        other
    }
}

/// A parser of the language.
pub(super) trait TokenParser<'a, T>: Parser<TokenCursor<'a>, Output = T, Error = ParseStop> {}

impl<'a, T, P: Parser<TokenCursor<'a>, Output = T, Error = ParseStop>> TokenParser<'a, T> for P {}

impl<'a> TokenCursor<'a> {
    pub(super) fn new(input: &'a Input<'a>, at: usize) -> TokenCursor<'a> {
        TokenCursor { input, at, depth: 0 }
    }

    /// The token here.
    pub(super) fn token(self) -> Token {
        #[cfg(test)]
        crate::lang::work_counter::took(1);
        let end =
            Token { kind: TokenKind::End, span: Span::new(self.input.text.len(), self.input.text.len()) };
        self.input.tokens.get(self.at).copied().unwrap_or(end)
    }

    pub(super) fn kind(self) -> TokenKind {
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

    pub(super) fn next(self) -> TokenCursor<'a> {
        let at = if self.kind() == TokenKind::End { self.at } else { self.at + 1 };
        TokenCursor { at, ..self }
    }

    /// So many tokens before this one, if there are as many.
    pub(super) fn back(self, tokens: usize) -> Option<TokenCursor<'a>> {
        Some(TokenCursor { at: self.at.checked_sub(tokens)?, ..self })
    }

    /// Whether no space is between the token here and the one before.
    pub(super) fn is_adjacent(self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.input.tokens.get(at));
        before.is_some_and(|t| t.span.end() == self.token().span.start())
    }

    /// From the token at an earlier place to the one before this.
    pub(super) fn span_from(self, start: TokenCursor<'a>) -> Span {
        let last = self.at.checked_sub(1).and_then(|at| self.input.tokens.get(at));
        last.map_or(start.token().span, |last| start.token().span.to(last.span))
    }

    /// Whether this keyword is here; if not, it was expected.
    pub(super) fn sees(self, keyword: Keyword) -> bool {
        let here = self.kind() == TokenKind::Keyword(keyword);
        if !here {
            self.expect(Expectation::Keyword(keyword));
        }
        here
    }

    /// Whether this symbol is here; if not, it was expected.
    pub(super) fn sees_symbol(self, symbol: Symbol) -> bool {
        let here = self.kind() == TokenKind::Symbol(symbol);
        if !here {
            self.expect(Expectation::Symbol(symbol));
        }
        here
    }

    pub(super) fn expect(self, expectation: Expectation) {
        self.input.trail.borrow_mut().expect(self.at, expectation);
    }

    pub(super) fn expect_noun(self, noun: TokenClass) {
        self.expect(Expectation::Noun(noun));
    }

    /// Nothing that may stand here stands here.
    pub(super) fn missing<T>(self) -> ParseResult<'a, T> {
        Err(nom::Err::Error(ParseStop))
    }

    /// As [`missing`](Self::missing), where a class of words was expected.
    pub(super) fn missing_noun<T>(self, noun: TokenClass) -> ParseResult<'a, T> {
        self.expect_noun(noun);
        self.missing()
    }

    /// What stands here has the right shape and says nothing, for this reason.
    pub(super) fn wrong<T>(self, span: Span, message: impl Into<String>) -> ParseResult<'a, T> {
        self.wrong_for(span, message, None)
    }

    pub(super) fn wrong_for<T>(
        self,
        span: Span,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> ParseResult<'a, T> {
        self.input.trail.borrow_mut().blame(Wrong { span, message: message.into(), suggestion });
        Err(nom::Err::Failure(ParseStop))
    }

    /// One level deeper: for what may contain itself. Not deeper than values nest.
    pub(super) fn deeper(self) -> Result<TokenCursor<'a>, nom::Err<ParseStop>> {
        if self.depth >= MAX_DEPTH {
            let _: (TokenCursor<'a>, ()) =
                self.wrong(self.token().span, format!("nested deeper than {MAX_DEPTH}"))?;
        }
        Ok(TokenCursor { depth: self.depth + 1, ..self })
    }

    /// As deep as another place.
    pub(super) fn level_with(self, other: TokenCursor<'a>) -> TokenCursor<'a> {
        TokenCursor { depth: other.depth, ..self }
    }
}

/// A keyword.
pub(super) fn keyword<'a>(keyword: Keyword) -> impl TokenParser<'a, Span> {
    move |c: TokenCursor<'a>| if c.sees(keyword) { Ok((c.next(), c.token().span)) } else { c.missing() }
}

/// A symbol.
pub(super) fn symbol<'a>(symbol: Symbol) -> impl TokenParser<'a, Span> {
    move |c: TokenCursor<'a>| if c.sees_symbol(symbol) { Ok((c.next(), c.token().span)) } else { c.missing() }
}

/// What follows a keyword, if the keyword is there.
pub(super) fn optional<'a, T>(
    head: Keyword,
    rule: impl TokenParser<'a, T>,
) -> impl TokenParser<'a, Option<T>> {
    opt(preceded(keyword(head), cut(rule)))
}

/// Whether a keyword is there.
pub(super) fn flag<'a>(head: Keyword) -> impl TokenParser<'a, bool> {
    opt(keyword(head)).map(|seen| seen.is_some())
}

/// One or more, with commas between.
pub(super) fn list<'a, T>(mut item: impl TokenParser<'a, T>) -> impl TokenParser<'a, Vec<T>> {
    move |c: TokenCursor<'a>| {
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
    c: TokenCursor<'a>,
    mut rule: impl TokenParser<'a, T>,
) -> Result<TokenCursor<'a>, nom::Err<ParseStop>> {
    refuse_second(slot.is_some(), c)?;
    let (rest, value) = rule.parse(c.next())?;
    *slot = Some(value);
    Ok(rest)
}

/// As [`once`], for a clause that is a list.
pub(super) fn once_list<'a, T>(
    slot: &mut Vec<T>,
    c: TokenCursor<'a>,
    mut rule: impl TokenParser<'a, Vec<T>>,
) -> Result<TokenCursor<'a>, nom::Err<ParseStop>> {
    refuse_second(!slot.is_empty(), c)?;
    let (rest, value) = rule.parse(c.next())?;
    *slot = value;
    Ok(rest)
}

fn refuse_second(second: bool, c: TokenCursor<'_>) -> Result<(), nom::Err<ParseStop>> {
    if second {
        let name = match c.kind() {
            TokenKind::Keyword(keyword) => keyword.text(),
            _ => c.source(),
        };
        let _: (TokenCursor<'_>, ()) =
            c.wrong(c.token().span, format!("a second {name}: each clause comes once"))?;
    }
    Ok(())
}
