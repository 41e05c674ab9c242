//! From the trail to the fault: what to say where a parse stopped.

use std::cell::RefCell;

use super::cursor::{Input, TokenCursor};
use super::foreign_syntax::{habit, no_token};
use crate::error::{SyntaxFault, shorten};
use crate::lang::ast::Span;
use crate::lang::expectations::{Expectation, Expectations, TokenClass, Wrong};
use crate::lang::token::{Symbol, Token, TokenKind};

/// A parse that stopped: over which text, and what its terminals recorded.
pub(super) struct Stopped<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Token],
    pub(super) trail: &'a Expectations,
    /// Where the statement begins, as the index of a token.
    pub(super) start: usize,
    /// Of the text, counted from 1.
    pub(super) statement: usize,
}

impl Stopped<'_> {
    /// The fault. `shorter` parses the same statement again up to a token and gives its trail.
    pub(super) fn fault(&self, shorter: impl Fn(usize) -> Expectations) -> SyntaxFault {
        if let Some(wrong) = self.trail.wrong() {
            let fault = self.say(wrong.clone(), self.trail);
            // What was expected before it says nothing of it.
            let before = self.token(self.trail.place()).is_none_or(|t| t.span.start() < wrong.span.start());
            return if before { SyntaxFault { expected: Vec::new(), ..fault } } else { fault };
        }
        let Some(token) = self.token(self.trail.place()) else { return SyntaxFault::default() };
        let span = token.span;
        if let TokenKind::Bad(bad) = token.kind {
            if let Some(wrong) = self.looked_at(no_token) {
                return self.say(wrong, self.trail);
            }
            let message = bad.message(self.source(span));
            let fault = self.say(Wrong { span, message, suggestion: None }, self.trail);
            return SyntaxFault { incomplete: bad.is_unclosed(), ..fault };
        }
        let before = self.trail.place().checked_sub(1).and_then(|at| self.token(at));
        if let Some(wrong) = self.looked_at(|c, start| habit(c, start, before, self.trail)) {
            // What only stops too early may go on in the next line.
            return SyntaxFault { incomplete: token.kind == TokenKind::End, ..self.say(wrong, self.trail) };
        }
        let suggestion = match token.kind {
            TokenKind::Word | TokenKind::Keyword(_) => self.trail.nearest(self.source(span), 2),
            _ => None,
        };
        if suggestion.is_none()
            && let Some(fault) = self.slip_before(&shorter)
        {
            return fault;
        }
        let suggestion = suggestion.map(|k| k.text().to_owned());
        let fault = self.say(Wrong { span, message: String::new(), suggestion }, self.trail);
        SyntaxFault { incomplete: token.kind == TokenKind::End, ..fault }
    }

    /// What is found at the place where it stopped, from where the statement begins.
    fn looked_at(
        &self,
        look: impl for<'c> FnOnce(TokenCursor<'c>, TokenCursor<'c>) -> Option<Wrong>,
    ) -> Option<Wrong> {
        let unused = RefCell::new(Expectations::default());
        let input = Input { text: self.text, tokens: self.tokens, trail: &unused };
        look(TokenCursor::new(&input, self.trail.place()), TokenCursor::new(&input, self.start))
    }

    /// A misspelt keyword may have passed as an id: `EMIT Order.paid BYY User 7`. Then the word before is the fault.
    fn slip_before(&self, shorter: impl Fn(usize) -> Expectations) -> Option<SyntaxFault> {
        let place = self.trail.place().checked_sub(1)?;
        let token = self.token(place).filter(|t| t.kind == TokenKind::Word)?;
        let trail = shorter(place);
        if trail.place() != place || trail.wrong().is_some() {
            return None;
        }
        let meant = trail.nearest(self.source(token.span), 1)?;
        let suggestion = Some(meant.text().to_owned());
        Some(self.say(Wrong { span: token.span, message: String::new(), suggestion }, &trail))
    }

    fn token(&self, place: usize) -> Option<Token> {
        self.tokens.get(place).copied()
    }

    fn source(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    fn say(&self, wrong: Wrong, trail: &Expectations) -> SyntaxFault {
        let Wrong { span, message, suggestion } = wrong;
        let (line, column, source_line) = locate(self.text, span.start());
        SyntaxFault {
            message,
            offset: span.start(),
            length: span.end() - span.start(),
            line,
            column,
            source_line: source_line.to_owned(),
            expected: texts(&trail.expected()),
            found: shorten(self.source(span)),
            suggestion,
            incomplete: false,
            statement: self.statement,
        }
    }
}

/// Each text once; the end of the statement only where nothing else could follow.
fn texts(expected: &[Expectation]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for expectation in expected {
        let text = expectation.text();
        let end = matches!(
            expectation,
            Expectation::Noun(TokenClass::End) | Expectation::Symbol(Symbol::Semicolon)
        );
        if !end && !texts.iter().any(|t| t == text) {
            texts.push(text.to_owned());
        }
    }
    if texts.is_empty() {
        texts.push(TokenClass::End.text().to_owned());
    }
    texts
}

/// The line, the column in characters, and the text of the line.
fn locate(text: &str, offset: usize) -> (usize, usize, &str) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let source = text[start..].split('\n').next().unwrap_or_default();
    (line, before[start..].chars().count() + 1, source.trim_end_matches('\r'))
}
