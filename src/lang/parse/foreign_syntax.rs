//! Habits from elsewhere: known only to say what is right.

mod continued;
mod opening;
mod signs;

use super::cursor::TokenCursor;
use super::name::joins;
use crate::error::suggested;
use crate::lang::ast::Span;
use crate::lang::expectations::{Expectation, Expectations, TokenClass, Wrong};
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Symbol, Token, TokenKind};

/// What to say where a parse stopped, if it stopped at a habit.
pub(super) fn habit(
    c: TokenCursor<'_>,
    start: TokenCursor<'_>,
    before: Option<Token>,
    trail: &Expectations,
) -> Option<Wrong> {
    let here = c.token();
    let source = |token: Token| c.slice(token.span);
    let expects = |noun: TokenClass| trail.expects(Expectation::Noun(noun));

    if trail.expects(Expectation::Keyword(K::History)) && trail.expects(Expectation::Keyword(K::Compact)) {
        return opening::opening(c);
    }
    if let Some(wrong) = slip(c, before, trail) {
        return Some(wrong);
    }
    let known = || {
        offset(c, start)
            .or_else(|| signs::sign(c, start, trail))
            .or_else(|| continued::continued(c, start, trail))
    };
    if let Some(wrong) = known() {
        return Some(wrong);
    }
    if expects(TokenClass::Pattern) && unquoted_begins(here) {
        let alone = !c.next().is_adjacent();
        // `EVENTS OFFSET 5`: no type is called so, if a value stands behind it.
        let counted = alone && matches!(c.next().kind(), TokenKind::Int | TokenKind::Text);
        if let Some(wrong) = word(here, source(here)).filter(|_| counted) {
            return Some(wrong);
        }
        let slip = alone && trail.nearest(source(here), 2).is_some();
        return if slip { None } else { Some(unquoted_pattern(c)) };
    }
    if let TokenKind::Keyword(_) = here.kind
        && expects(TokenClass::Id)
    {
        let in_by = trail.expects(Expectation::Keyword(K::Between));
        if in_by && matches!(here.kind, TokenKind::Keyword(K::Is | K::Not | K::Matches | K::Contains)) {
            return wrong(here, TESTS_OF_BY, None);
        }
        return Some(keyword_as_id(here, source(here)));
    }
    if trail.expects(Expectation::Keyword(K::Webhook)) || trail.expects(Expectation::Keyword(K::Webhooks)) {
        return no_table(here, source(here));
    }
    // In an expression or a tag, `paid LIKE 'x'` reads as an entity, and stops behind it.
    let behind_entity = expects(TokenClass::Arithmetic) || trail.expects(Expectation::Symbol(Symbol::Comma));
    if let Some(before) = before.filter(|t| t.kind == TokenKind::Word && behind_entity)
        && let Some(wrong) = word(before, source(before))
    {
        return Some(wrong);
    }
    match here.kind {
        TokenKind::Word => clause(c),
        TokenKind::Keyword(_)
            if expects(TokenClass::EntityId) && before.is_some_and(|b| is_kind(source(b))) =>
        {
            // A column of a query within is called `id` more often than not, which is a keyword.
            c.back(1).and_then(signs::nested_query).or_else(|| Some(keyword_as_id(here, source(here))))
        }
        TokenKind::Keyword(K::With) => clause(c),
        TokenKind::Int if before.is_some_and(|b| b.kind == TokenKind::Date) => {
            wrong(here, "a time stands with its date, like 2024-01-01T10:00, or both are quoted", None)
        }
        TokenKind::Symbol(symbol) => wrong_symbol(c, symbol, before, trail),
        _ => None,
    }
}

/// A sign that means something in another language, or elsewhere.
fn wrong_symbol(
    c: TokenCursor<'_>,
    symbol: Symbol,
    before: Option<Token>,
    trail: &Expectations,
) -> Option<Wrong> {
    let here = c.token();
    let source = |token: Token| c.slice(token.span);
    let expects = |noun: TokenClass| trail.expects(Expectation::Noun(noun));
    match symbol {
        Symbol::Dot if expects(TokenClass::Id) && trail.expects(Expectation::Keyword(K::Between)) => {
            let message = match before.map(source) {
                Some(name @ ("target" | "actor")) => {
                    format!("BY takes no path: {name} is asked for whole, as in BY {name} = User 7")
                }
                _ => "BY takes the name of an index, and no path; what has no index is asked for in WHERE"
                    .to_owned(),
            };
            wrong(here, &message, None)
        }
        Symbol::Dot if expects(TokenClass::Id) => {
            wrong(here, "a kind has no dot; the events of a type are in EVENTS 'Order.paid'", None)
        }
        Symbol::Minus if trail.expects(Expectation::Symbol(Symbol::Colon)) => {
            wrong(here, "a key with other signs than letters and digits is quoted", None)
        }
        Symbol::Star if before.is_some_and(|b| b.kind == TokenKind::Symbol(Symbol::LeftParen)) => {
            wrong(here, "a call takes no *: count() counts", Some("count()"))
        }
        Symbol::Star if before.is_some_and(|b| b.kind == TokenKind::Keyword(K::Select)) => {
            wrong(here, "there is no SELECT *: leave it out, and events come whole", None)
        }
        Symbol::Bang if !expects(TokenClass::Expression) => None,
        Symbol::PipePipe => signs::either(c),
        symbol => operator(here, symbol),
    }
}

/// What to say of a character that no token begins with.
pub(super) fn no_token(c: TokenCursor<'_>, start: TokenCursor<'_>) -> Option<Wrong> {
    signs::no_token(c, start)
}

const NO_CASE: &str = "there is no CASE: if(condition, a, b) chooses";

/// What `BY` can ask of an index.
const TESTS_OF_BY: &str = "BY takes =, !=, <, <=, >, >=, IN (…) and BETWEEN; say more in WHERE, which reads what BY and the pattern leave";

/// Habits of SQL that are seen in more than the token at which the parse stopped.
fn slip(c: TokenCursor<'_>, before: Option<Token>, trail: &Expectations) -> Option<Wrong> {
    let here = c.token();
    // What only stops too early is not wrong yet.
    if here.kind == TokenKind::End {
        return None;
    }
    slip_before(c, trail)
        .or_else(|| slip_from_elsewhere(c, before, trail))
        .or_else(|| slip_here(c, before, trail))
}

fn wrong_at(span: Span, message: &str, suggestion: Option<String>) -> Option<Wrong> {
    Some(Wrong { span, message: message.to_owned(), suggestion })
}

/// What went wrong some words before, and stops here.
fn slip_before(c: TokenCursor<'_>, trail: &Expectations) -> Option<Wrong> {
    let here = c.token();
    let keyword = |k: K| trail.expects(Expectation::Keyword(k));
    // `DISTINCT data` was read as an entity, and stops at what follows.
    if let Some(distinct) = c.back(2).filter(|two| two.source().eq_ignore_ascii_case("distinct"))
        && distinct.kind() == TokenKind::Word
    {
        let span = distinct.token().span;
        return match distinct.back(1).map(TokenCursor::kind) {
            Some(TokenKind::Symbol(Symbol::LeftParen)) => {
                wrong_at(span, "distinct(x) counts the different values of x", Some("distinct(…)".to_owned()))
            }
            _ => wrong_at(span, DISTINCT, Some("GROUP BY".to_owned())),
        };
    }
    // `CASE WHEN a` would be one, were WHEN no keyword.
    if here.kind == TokenKind::Keyword(K::When)
        && c.back(1).is_some_and(|before| before.source().eq_ignore_ascii_case("case"))
    {
        return wrong_at(here.span, NO_CASE, Some("if(…)".to_owned()));
    }
    // The parts of a verb have an order.
    if keyword(K::Emit) && here.kind == TokenKind::Keyword(K::When) {
        let message =
            "what happens stands behind its WHEN: WHEN condition EMIT …, each WHEN with its own EMIT";
        return wrong_at(here.span, message, None);
    }
    if keyword(K::Emit) && here.kind == TokenKind::Keyword(K::Require) {
        return wrong_at(here.span, "what is required is said before what happens: REQUIRE … EMIT …", None);
    }
    // `type, SELECT count` was, too.
    if let Some(clause) = c.back(2).filter(|two| begins_clause(two.kind()))
        && let Some(comma) = clause.back(1).filter(|one| one.kind() == TokenKind::Symbol(Symbol::Comma))
    {
        return wrong_at(
            comma.token().span,
            &format!("nothing follows this comma before {}", clause.source()),
            None,
        );
    }
    None
}

/// What people write first who know another language, or write JSON by hand.
fn slip_from_elsewhere(c: TokenCursor<'_>, before: Option<Token>, trail: &Expectations) -> Option<Wrong> {
    let here = c.token();
    let word = c.slice(here.span);
    let keyword = |k: K| trail.expects(Expectation::Keyword(k));
    let expects = |noun: TokenClass| trail.expects(Expectation::Noun(noun));
    let is = |token: Option<Token>, kind: TokenKind| token.is_some_and(|token| token.kind == kind);
    match here.kind {
        TokenKind::Keyword(_) | TokenKind::Word
            if keyword(K::Events) && word.eq_ignore_ascii_case("select") =>
        {
            wrong_at(here.span, "a query begins with EVENTS or FIND, and SELECT comes after it", None)
        }
        // `SUBSCRIBE TO 'Order.*'`
        TokenKind::Word | TokenKind::Keyword(K::To | K::On)
            if expects(TokenClass::Pattern)
                && c.next().kind() == TokenKind::Text
                && ["to", "for", "on"].iter().any(|filler| word.eq_ignore_ascii_case(filler)) =>
        {
            wrong_at(here.span, &format!("the pattern comes next, without {word}"), None)
        }
        TokenKind::Symbol(Symbol::LeftParen) if is(before, TokenKind::Keyword(K::Now)) => {
            wrong_at(here.span, "NOW has no brackets", Some("NOW".to_owned()))
        }
        TokenKind::Symbol(Symbol::RightBrace) if expects(TokenClass::NewKey) || expects(TokenClass::Key) => {
            wrong_at(here.span, "the comma before } is one too many", None)
        }
        // `'it's'` ends behind `it`.
        TokenKind::Word
            if is(before, TokenKind::Text)
                && before.is_some_and(|text| text.span.end() == here.span.start()) =>
        {
            wrong_at(here.span, "a quote inside a text is written twice, as in 'it''s'", None)
        }
        TokenKind::Text if expects(TokenClass::NewName) => wrong_at(
            here.span,
            "a name is made of letters, digits and _, and has no quotes, as in AS total_amount",
            None,
        ),
        TokenKind::Symbol(Symbol::Greater) if is(before, TokenKind::Symbol(Symbol::Minus)) => {
            wrong_at(here.span, "a member is named after a dot, as in data.name", None)
        }
        _ => None,
    }
}

/// What stands here as another language says it, where trail and the word before tell what is meant.
fn slip_here(c: TokenCursor<'_>, before: Option<Token>, trail: &Expectations) -> Option<Wrong> {
    let here = c.token();
    let word = c.slice(here.span);
    let keyword = |k: K| trail.expects(Expectation::Keyword(k));
    let expects = |noun: TokenClass| trail.expects(Expectation::Noun(noun));
    let value = expects(TokenClass::Expression) || expects(TokenClass::Value);
    let is = |token: Option<Token>, kind: TokenKind| token.is_some_and(|token| token.kind == kind);
    match here.kind {
        TokenKind::Word if expects(TokenClass::Pattern) && word.eq_ignore_ascii_case("offset") => {
            self::word(here, word)
        }
        TokenKind::Keyword(K::From)
            if expects(TokenClass::Pattern) && !keyword(K::From) && !continued::is_point(c.next()) =>
        {
            let message = "there is no FROM: a pattern follows EVENTS at once, as in EVENTS 'Order.*'";
            let of = matches!(c.next().kind(), TokenKind::Word).then(|| format!("'{}.*'", c.next().source()));
            wrong_at(here.span, message, of)
        }
        TokenKind::Symbol(Symbol::Greater | Symbol::Less) if is(before, TokenKind::Symbol(Symbol::Equal)) => {
            let right = format!("{word}=");
            let span = before.map_or(here.span, |before| before.span.to(here.span));
            wrong_at(span, &format!("this is written {right}"), Some(right))
        }
        TokenKind::Symbol(Symbol::Question | Symbol::Colon) if value => {
            wrong_at(here.span, "a parameter is $ and a name, as in $total", None)
        }
        TokenKind::Param if is(before, TokenKind::Keyword(K::In)) => {
            let message = format!(
                "IN takes its values in brackets, one by one; whether an array has it is asked by {word} CONTAINS …"
            );
            wrong_at(here.span, &message, None)
        }
        TokenKind::Symbol(Symbol::Equal) if is(before, TokenKind::Keyword(K::Not)) => {
            wrong_at(here.span, "not equal is written !=", Some("!=".to_owned()))
        }
        TokenKind::Keyword(K::And)
            if keyword(K::Where)
                && trail.expects(Expectation::Symbol(Symbol::Comma))
                && !expects(TokenClass::Arithmetic) =>
        {
            wrong_at(here.span, "what must hold together stands with a comma between", Some(",".to_owned()))
        }
        TokenKind::Keyword(K::Or)
            if keyword(K::Where)
                && trail.expects(Expectation::Symbol(Symbol::Comma))
                && !expects(TokenClass::Arithmetic) =>
        {
            wrong_at(
                here.span,
                "there is no OR in BY: one of several values is IN (a, b), and WHERE has OR",
                None,
            )
        }
        TokenKind::Word if keyword(K::Desc) && word.len() >= 4 && is_beginning("descending", word) => {
            wrong_at(here.span, "downwards is written DESC", Some("DESC".to_owned()))
        }
        TokenKind::Word if keyword(K::Desc) && word.len() >= 4 && is_beginning("ascending", word) => {
            wrong_at(here.span, "upwards is written ASC", Some("ASC".to_owned()))
        }
        TokenKind::Word if keyword(K::Desc) && word.eq_ignore_ascii_case("nulls") => wrong_at(
            here.span,
            "null comes before all else, and with DESC behind all else; nothing chooses that",
            None,
        ),
        TokenKind::Word
            if keyword(K::As)
                && !expects(TokenClass::Pattern)
                && self::word(here, word).is_none()
                && trail.nearest(word, 2).is_none() =>
        {
            wrong_at(here.span, "a column is named with AS", Some(format!("AS {word}")))
        }
        _ => None,
    }
}

/// What is said of `SELECT DISTINCT`.
const DISTINCT: &str =
    "there is no SELECT DISTINCT: GROUP BY gives each value once, as in EVENTS GROUP BY type";

fn is_beginning(whole: &str, word: &str) -> bool {
    whole.starts_with(&word.to_ascii_lowercase())
}

fn begins_clause(kind: TokenKind) -> bool {
    use K::{AsOf, Group, Having, Last, Limit, Order, Select, Since, Until, Where};
    matches!(
        kind,
        TokenKind::Keyword(Where | Since | Until | Limit | Last | Order | Group | Select | Having | AsOf)
    )
}

/// Kinds are written with a capital: another word before a keyword is a field.
fn is_kind(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}

fn wrong(token: Token, message: &str, suggestion: Option<&str>) -> Option<Wrong> {
    Some(Wrong { span: token.span, message: message.to_owned(), suggestion: suggestion.map(str::to_owned) })
}

fn keyword_as_id(token: Token, source: &str) -> Wrong {
    let message = format!("expected an id, found {source}; an id that is a keyword must be quoted");
    Wrong { span: token.span, message, suggestion: Some(format!("'{source}'")) }
}

fn word(token: Token, source: &str) -> Option<Wrong> {
    match source.to_ascii_uppercase().as_str() {
        "LIKE" | "GLOB" => {
            wrong(token, "a pattern is tested with MATCHES, as in type MATCHES 'Order.*'", Some("MATCHES"))
        }
        "ILIKE" => {
            wrong(token, "MATCHES heeds case; for any case, write lower(x) MATCHES 't*'", Some("MATCHES"))
        }
        "RLIKE" | "REGEXP" | "SIMILAR" => {
            wrong(token, "regex() tests a regular expression, as in regex(data.name, '^t')", None)
        }
        "OFFSET" => wrong(token, NO_OFFSET, Some("SINCE")),
        "TOP" | "FETCH" => {
            wrong(token, "the first so many are LIMIT, the newest so many LAST", Some("LIMIT"))
        }
        _ => None,
    }
}

/// Clauses of other languages. Unlike [`word`], what may be an id: it is looked for only where the parse stopped.
fn clause(c: TokenCursor<'_>) -> Option<Wrong> {
    let token = c.token();
    match c.source().to_ascii_uppercase().as_str() {
        "JOIN" | "INNER" | "LEFT" | "RIGHT" | "FULL" | "CROSS" | "OUTER" => wrong(
            token,
            "events are not joined; DEFINE ENTITY … INCLUDE folds events of several kinds into one state",
            None,
        ),
        "UNION" | "INTERSECT" | "EXCEPT" => {
            wrong(token, "one pattern reads several types, as in EVENTS 'Order.*, User.*'", None)
        }
        "OVER" | "PARTITION" | "WINDOW" | "QUALIFY" => {
            wrong(token, "there are no window functions; GROUP BY gives one row a group", Some("GROUP BY"))
        }
        "LATERAL" | "FLATTEN" | "EXPLODE" | "POSEXPLODE" => wrong(
            token,
            "a row of each item of a list is UNNEST, as in UNNEST data.lines AS line",
            Some("UNNEST"),
        ),
        "WITH"
            if ["ORDINALITY", "OFFSET"].iter().any(|word| c.next().source().eq_ignore_ascii_case(word)) =>
        {
            let message =
                "the place of an item in its list is a second name, as in UNNEST data.lines AS line, n";
            wrong(token, message, None)
        }
        "RETURNING" => wrong(token, "EMIT answers with the event; leave RETURNING out", None),
        _ => word(token, c.source()),
    }
}

/// What SQL writes before the text of a time.
const TIMES: [&str; 5] = ["DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME"];

/// How to go on from a page of events.
const NO_OFFSET: &str = "there is no OFFSET: go on from the last position seen, as in SINCE #1207";

/// `OFFSET`, where something else than events in their order is read.
fn offset(c: TokenCursor<'_>, start: TokenCursor<'_>) -> Option<Wrong> {
    if !c.source().eq_ignore_ascii_case("offset") {
        return None;
    }
    let mut ordered = None;
    let mut before = c;
    while before.place() > start.place() {
        before = before.back(1)?;
        if before.kind() == TokenKind::Keyword(K::Order) && before.next().kind() == TokenKind::Keyword(K::By)
        {
            ordered = Some(before);
            break;
        }
    }
    match (ordered, start.kind()) {
        (Some(_), _) => wrong(
            c.token(),
            "there is no OFFSET: continue after the last row with WHERE on what ORDER BY names",
            None,
        ),
        (None, TokenKind::Keyword(K::Find)) => wrong(
            c.token(),
            "there is no OFFSET: FIND goes by ids, so continue after the last one, as in WHERE target.id > '42'",
            None,
        ),
        (None, TokenKind::Keyword(K::Read)) => wrong(
            c.token(),
            "there is no OFFSET: ORDER BY a column, and continue after its last value with WHERE",
            None,
        ),
        _ => None,
    }
}

/// `DROP TABLE x`, `DEFINE TABLE x`.
fn no_table(token: Token, source: &str) -> Option<Wrong> {
    match source.to_ascii_uppercase().as_str() {
        "SCHEMA" => wrong(token, "the schema of a type of events is defined as an EVENT", Some("EVENT")),
        "TABLE" | "DATABASE" => {
            wrong(token, "there are no tables: DEFINE and DROP take a definition, as in INDEX customer", None)
        }
        "TRIGGER" => wrong(token, "a trigger is a REACTION", Some("REACTION")),
        "FUNCTION" | "PROCEDURE" => wrong(token, "a procedure is a VERB", Some("VERB")),
        "KIND" | "TYPE" => wrong(token, "a kind is defined as an ENTITY", Some("ENTITY")),
        _ => None,
    }
}

fn operator(token: Token, symbol: Symbol) -> Option<Wrong> {
    match symbol {
        Symbol::EqualEqual => wrong(token, "equal is written =", Some("=")),
        Symbol::LessGreater => wrong(token, "not equal is written !=", Some("!=")),
        Symbol::AmpersandAmpersand => wrong(token, "&& is no operator: and is written AND", Some("AND")),
        Symbol::Bang => wrong(token, "! is no operator: not is written NOT", Some("NOT")),
        _ => None,
    }
}

fn unquoted_begins(token: Token) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::Keyword(_) | TokenKind::Symbol(Symbol::Star))
}

/// `EVENTS Order.*`: what stands there without space is the pattern that was meant.
pub(super) fn unquoted_pattern(c: TokenCursor<'_>) -> Wrong {
    let mut end = c.next();
    while end.is_adjacent() && (joins(end.kind()) || end.kind() == TokenKind::Symbol(Symbol::Star)) {
        end = end.next();
    }
    let span = end.span_from(c);
    let pattern = c.slice(span);
    // `EVENTS Order 42`.
    if end.place() == c.next().place() && matches!(end.kind(), TokenKind::Int | TokenKind::Text) {
        return Wrong {
            span: end.next().span_from(c),
            message: "HISTORY reads the events of one entity".to_owned(),
            suggestion: suggested(format!("HISTORY {pattern} {}", end.source())),
        };
    }
    let alone = end.place() == c.next().place() && pattern != "*";
    let meant = if alone { format!("'{pattern}.*'") } else { format!("'{pattern}'") };
    Wrong { span, message: "a pattern is quoted".to_owned(), suggestion: suggested(meant) }
}
