//! From tokens to the tree, by recursive descent with the combinators of nom.
//!
//! The grammar is `grammar/bygone.ebnf`; a function here is a rule there. It is LL(1): the next token always tells
//! which way to go, nothing is tried twice, and so parsing takes time linear in the text, whatever the text. What may
//! contain itself counts its depth and stops at a limit.

use std::cell::RefCell;
use std::ops::Range;

use indexmap::IndexSet;

use self::cursor::{Input, ParseResult, TokenCursor};
use self::fault::Stopped;
use crate::error::{Error, Result, SyntaxFault, shorten, size};
use crate::lang::ast::{ScriptTree, Sourced, Span, Stmt};
use crate::lang::expectations::{Expectation, Expectations, TokenClass};
use crate::lang::token::{Symbol, Token, TokenKind, lex, lex_at_most};

mod cursor;
mod define;
mod event_schema;
mod expr;
mod fault;
mod foreign_syntax;
mod name;
mod read;
mod statement;
mod write;

/// A text and its tokens, without comments.
struct SourceText<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

impl<'a> SourceText<'a> {
    fn kind(&self, place: usize) -> TokenKind {
        self.tokens.get(place).map_or(TokenKind::End, |t| t.kind)
    }

    /// The place of the next statement, behind any semicolons.
    fn skip_empty(&self, mut place: usize) -> usize {
        while self.kind(place) == TokenKind::Symbol(Symbol::Semicolon) {
            place += 1;
        }
        place
    }

    /// Parses the statement that begins at a place, and says where it ends.
    fn statement(&self, place: usize, trail: &RefCell<Expectations>) -> Option<(usize, Sourced)> {
        trail.borrow_mut().clear();
        let input = Input { text: self.text, tokens: &self.tokens, trail };
        let start = TokenCursor::new(&input, place);
        let (rest, statement) = whole_statement(start).ok()?;
        let span = rest.span_from(start);
        let tokens = self.tokens.iter().take(rest.place()).skip(place).filter(|t| t.kind == TokenKind::Param);
        let names = tokens.filter_map(|t| self.text.get(t.span.start() + 1..t.span.end()));
        let params = names.collect::<IndexSet<_>>().into_iter().map(str::to_owned).collect();
        Some((rest.place(), Sourced { statement, span, params }))
    }

    fn fault(&self, start: usize, statement: usize, trail: &Expectations) -> SyntaxFault {
        let stopped = Stopped { text: self.text, tokens: &self.tokens, trail, start, statement };
        stopped.fault(|place| self.expected_before(start, place))
    }

    /// The trail of a statement that is cut off before a token.
    fn expected_before(&self, start: usize, place: usize) -> Expectations {
        let mut tokens: Vec<Token> = self.tokens.iter().take(place).copied().collect();
        let end = tokens.last().map_or(0, |t| t.span.end());
        tokens.push(Token { kind: TokenKind::End, span: Span::new(end, end) });
        let trail = RefCell::new(Expectations::default());
        let input = Input { text: self.text, tokens: &tokens, trail: &trail };
        let _ = whole_statement(TokenCursor::new(&input, start));
        trail.into_inner()
    }
}

/// A statement, and what must follow one.
fn whole_statement(c: TokenCursor<'_>) -> ParseResult<'_, Stmt> {
    let (rest, statement) = statement::statement(c)?;
    if rest.sees_symbol(Symbol::Semicolon) || rest.kind() == TokenKind::End {
        rest.expect_noun(TokenClass::End);
        return Ok((rest, statement));
    }
    rest.missing_noun(TokenClass::End)
}

/// So many bytes of a limit go to a word, a sign or a comment: what is made of one takes more memory than its text.
const BYTES_OF_TOKEN: usize = 32;

/// However short a text has to be, it may have so many words and signs.
const FEWEST_TOKENS: usize = 1000;

/// The tokens of a text that is not too long, and has not too many of them, comments among them.
fn within(text: &str, most: usize) -> Result<SourceText<'_>> {
    let refused = |expected: String, found: String| {
        Err(Error::invalid(
            "a text of statements",
            format!("{expected} (Options::max_statement, --max-statement), or parameters, or an import"),
            format!("{found}, beginning with {}", shorten(text.get(..240).unwrap_or(text))),
        ))
    };
    if text.len() > most {
        return refused(format!("at most {}", size(most as u64)), size(text.len() as u64));
    }
    let tokens = (most / BYTES_OF_TOKEN).max(FEWEST_TOKENS);
    let lexed = lex_at_most(text, tokens);
    // With its comments: behind so many the rest of the text was not looked at.
    match lexed.len() > tokens {
        true => refused(format!("at most {tokens} words and signs"), "more".to_owned()),
        false => Ok(SourceText { text, tokens: without_comments(lexed) }),
    }
}

fn without_comments(mut tokens: Vec<Token>) -> Vec<Token> {
    tokens.retain(|t| t.kind != TokenKind::Comment);
    tokens
}

/// Every statement of a text of at most so many bytes.
pub(super) fn script(text: &str, most: usize) -> Result<ScriptTree> {
    let source = within(text, most)?;
    let trail = RefCell::new(Expectations::default());
    let mut statements = Vec::new();
    let mut place = source.skip_empty(0);
    while source.kind(place) != TokenKind::End {
        match source.statement(place, &trail) {
            Some((end, statement)) => {
                statements.push(statement);
                place = source.skip_empty(end);
            }
            None => {
                let fault = source.fault(place, statements.len() + 1, &trail.borrow());
                return Err(Error::Syntax(Box::new(fault)));
            }
        }
    }
    Ok(ScriptTree { statements })
}

/// The one statement of a text of at most so many bytes.
pub(super) fn one(text: &str, most: usize) -> Result<Sourced> {
    let source = within(text, most)?;
    let trail = RefCell::new(Expectations::default());
    let start = source.skip_empty(0);
    let syntax = |fault: SyntaxFault| Err(Error::Syntax(Box::new(fault)));
    let Some((end, statement)) = source.statement(start, &trail) else {
        return syntax(source.fault(start, 1, &trail.borrow()));
    };
    let second = source.skip_empty(end);
    if source.kind(second) == TokenKind::End {
        return Ok(statement);
    }
    let mut trail = Expectations::default();
    trail.expect(second, Expectation::Noun(TokenClass::End));
    let fault = source.fault(start, 2, &trail);
    syntax(SyntaxFault { message: "one statement is expected here, and a second begins".to_owned(), ..fault })
}

/// What may come at a place, and the piece of it that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompletionSite {
    pub(crate) expectation: Expectation,
    /// The bytes of the text that what comes replaces; empty where nothing is typed yet.
    pub(crate) typed: Range<usize>,
}

/// What may come at a place in a text, most likely first.
pub(super) fn complete(text: &str, at: usize) -> Vec<CompletionSite> {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let text = &text[..at];
    let lexed = lex(text);
    let last = lexed.iter().rev().find(|t| t.kind != TokenKind::End);
    if last.is_some_and(|t| t.span.end() == at && is_comment(*t, text)) {
        return Vec::new();
    }
    let mut source = SourceText { text, tokens: lexed };
    source.tokens.retain(|t| !matches!(t.kind, TokenKind::Comment | TokenKind::End));

    let whole = |noun: TokenClass| {
        matches!(
            noun,
            TokenClass::Type
                | TokenClass::Happening
                | TokenClass::Expression
                | TokenClass::StatePath
                | TokenClass::List
        )
    };
    let mut completions = Vec::new();
    for (joins, wanted) in [
        (is_dotted as fn(TokenKind) -> bool, &whole as &dyn Fn(TokenClass) -> bool),
        (name::joins, &|noun| matches!(noun, TokenClass::Id | TokenClass::EntityId)),
    ] {
        let (start, length) = run(&source.tokens, at, joins);
        if length > 1 {
            completions.extend(
                expected_at(&source, start, at)
                    .into_iter()
                    .filter(|c| matches!(c.expectation, Expectation::Noun(noun) if wanted(noun))),
            );
        }
    }
    let typed = source.tokens.last().filter(|t| t.span.end() == at && is_typed(t.kind));
    let start = source.tokens.len() - usize::from(typed.is_some());
    completions.extend(expected_at(&source, start, at));
    completions
}

fn is_comment(token: Token, text: &str) -> bool {
    let open = text.get(token.span.range()).is_some_and(|t| t.starts_with("--"));
    matches!(token.kind, TokenKind::Bad(crate::lang::token::Bad::UnclosedComment)) || open
}

/// Whether a token is what somebody is still typing, rather than a sign between.
fn is_typed(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Symbol(_) | TokenKind::Comment | TokenKind::End => false,
        TokenKind::Bad(bad) => bad != crate::lang::token::Bad::Character,
        _ => true,
    }
}

fn is_dotted(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Word | TokenKind::Keyword(_) | TokenKind::Quoted | TokenKind::Symbol(Symbol::Dot)
    )
}

/// Where the tokens without space between begin that end at a place, and how many they are.
fn run(tokens: &[Token], at: usize, joins: impl Fn(TokenKind) -> bool) -> (usize, usize) {
    let mut start = tokens.len();
    let mut next = at;
    while let Some(token) = start.checked_sub(1).and_then(|i| tokens.get(i))
        && token.span.end() == next
        && joins(token.kind)
    {
        next = token.span.start();
        start -= 1;
    }
    (start, tokens.len() - start)
}

/// What is expected in place of the token at `place`, where the text is cut off.
fn expected_at(source: &SourceText<'_>, place: usize, at: usize) -> Vec<CompletionSite> {
    let typed = source.tokens.get(place).map_or(at, |t| t.span.start())..at;
    let trail = RefCell::new(Expectations::default());
    let mut start = source.skip_empty(0);
    // An earlier statement may be wrong: what follows its semicolon is another.
    while start < place {
        let end = match source.statement(start, &trail) {
            Some((end, _)) if end < place => end,
            Some(_) => break,
            None => {
                let wrong = trail.borrow().place();
                let semicolon =
                    (wrong..place).find(|at| source.kind(*at) == TokenKind::Symbol(Symbol::Semicolon));
                let Some(end) = semicolon else { break };
                end
            }
        };
        start = source.skip_empty(end);
    }
    let trail = source.expected_before(start.min(place), place);
    if trail.place() != place {
        return Vec::new();
    }
    let completion = |expectation| CompletionSite { expectation, typed: typed.clone() };
    trail.expected().into_iter().map(completion).collect()
}
