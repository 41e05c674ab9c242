//! Habits from elsewhere: known only to say what is right.

use crate::error::shorten;
use crate::lang::ast::Span;
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Kind, Symbol, Token};
use crate::lang::trail::{Expectation, Noun, Trail, Wrong};

/// What to say where a parse stopped, if it stopped at a habit.
pub(super) fn habit(text: &str, tokens: &[Token], trail: &Trail) -> Option<Wrong> {
    let place = trail.place();
    let here = *tokens.get(place)?;
    let before = place.checked_sub(1).and_then(|at| tokens.get(at)).copied();
    let source = |token: Token| text.get(token.span.range()).unwrap_or_default();

    if trail.expects(Expectation::Keyword(K::History)) && trail.expects(Expectation::Keyword(K::Compact)) {
        let message = opening(source(here))?;
        return Some(Wrong { span: here.span, message: message.to_owned(), suggestion: None });
    }
    if trail.expects(Expectation::Noun(Noun::Pattern)) && unquoted_begins(here) {
        return unquoted_pattern(text, tokens, trail);
    }
    if let Kind::Keyword(_) = here.kind
        && trail.expects(Expectation::Noun(Noun::Id))
    {
        return Some(keyword_as_id(here, source(here)));
    }
    if let Some(before) = before.filter(|t| t.kind == Kind::Word)
        && let Some(wrong) = word(before, source(before))
    {
        return Some(wrong);
    }
    match here.kind {
        Kind::Word => word(here, source(here)),
        Kind::Symbol(Symbol::Star) if before.is_some_and(|t| t.kind == Kind::Symbol(Symbol::LeftParen)) => {
            wrong(here, "a call takes no *: count() counts", Some("count()"))
        }
        Kind::Symbol(symbol) => operator(here, symbol),
        Kind::Keyword(_)
            if trail.expects(Expectation::Noun(Noun::EntityId)) && follows_kind(before, text) =>
        {
            Some(keyword_as_id(here, source(here)))
        }
        _ => None,
    }
}

/// Kinds are written with a capital: a field before a keyword is a field.
fn follows_kind(before: Option<Token>, text: &str) -> bool {
    let before = before.and_then(|t| text.get(t.span.range())).unwrap_or_default();
    before.starts_with(char::is_uppercase)
}

fn wrong(token: Token, message: &str, suggestion: Option<&str>) -> Option<Wrong> {
    Some(Wrong { span: token.span, message: message.to_owned(), suggestion: suggestion.map(str::to_owned) })
}

fn keyword_as_id(token: Token, source: &str) -> Wrong {
    let message = format!("expected an id, found {source}; an id that is a keyword must be quoted");
    Wrong { span: token.span, message, suggestion: Some(format!("'{source}'")) }
}

/// What other languages begin a statement with.
fn opening(word: &str) -> Option<&'static str> {
    let message = match word.to_ascii_uppercase().as_str() {
        "SELECT" => {
            "events are read with EVENTS, as in EVENTS 'Order.*' WHERE data.total > 100; \
             states with FIND, views with READ"
        }
        "INSERT" => "events are appended with EMIT, as in EMIT Order.created 42 {total: 10}",
        "UPDATE" => {
            "nothing is changed in place: EMIT what happened, as in EMIT Order.renamed 42 {name: 'x'}"
        }
        "DELETE" => {
            "nothing is deleted: EMIT what happened, as in EMIT Order.deleted 42, and the state is null"
        }
        "CREATE" | "ALTER" => {
            "nothing need be created before it is used; what has a definition has it by DEFINE, \
             as in DEFINE INDEX customer ON 'Order.*' AS data.customer"
        }
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" => {
            "several writes take effect together in ATOMIC (EMIT …; EMIT …)"
        }
        "HELP" | "?" => {
            "help is for the prompt; statements begin with EMIT, HISTORY, EVENTS, AT, FIND, SHOW and others"
        }
        "EXIT" | "QUIT" | "\\Q" => "leaving is for the prompt; it is no statement",
        "USE" => "a database is one file, named when it is opened",
        _ => return None,
    };
    Some(message)
}

fn word(token: Token, source: &str) -> Option<Wrong> {
    match source.to_ascii_uppercase().as_str() {
        "LIKE" | "ILIKE" | "GLOB" | "RLIKE" | "REGEXP" => {
            wrong(token, "a pattern is tested with MATCHES, as in type MATCHES 'Order.*'", Some("MATCHES"))
        }
        "OFFSET" => wrong(
            token,
            "there is no OFFSET: go on from the last position seen, as in SINCE #1207",
            Some("SINCE"),
        ),
        _ => None,
    }
}

fn operator(token: Token, symbol: Symbol) -> Option<Wrong> {
    match symbol {
        Symbol::EqualEqual => wrong(token, "equal is written =", Some("=")),
        Symbol::LessGreater => wrong(token, "not equal is written !=", Some("!=")),
        Symbol::PipePipe => wrong(token, "|| is no operator: or is written OR", Some("OR")),
        Symbol::AmpersandAmpersand => wrong(token, "&& is no operator: and is written AND", Some("AND")),
        Symbol::Bang => wrong(token, "! is no operator: not is written NOT", Some("NOT")),
        _ => None,
    }
}

fn unquoted_begins(token: Token) -> bool {
    matches!(token.kind, Kind::Word | Kind::Keyword(_) | Kind::Symbol(Symbol::Star))
}

/// `EVENTS Order.*`: what stands there without space is the pattern that was meant.
fn unquoted_pattern(text: &str, tokens: &[Token], trail: &Trail) -> Option<Wrong> {
    let first = *tokens.get(trail.place())?;
    let mut span = first.span;
    for token in tokens.iter().skip(trail.place() + 1) {
        let joins = super::name::joins(token.kind) || token.kind == Kind::Symbol(Symbol::Star);
        if !joins || token.span.start != span.end {
            break;
        }
        span = span.to(token.span);
    }
    let pattern = text.get(span.range()).unwrap_or_default();
    let alone = span.range() == first.span.range();
    if alone && trail.nearest(pattern, 2).is_some() {
        return None;
    }
    let meant = if alone && pattern != "*" { format!("'{pattern}.*'") } else { format!("'{pattern}'") };
    Some(Wrong {
        span: Span::new(span.start, span.end),
        message: "a pattern is quoted".to_owned(),
        suggestion: Some(shorten(&meant)),
    })
}
