//! A statement that began as one, and goes on as another language would.

use super::super::cursor::TokenCursor;
use super::super::name::joins;
use super::{wrong, wrong_at};
use crate::error::{shorten, suggested};
use crate::lang::expectations::{Expectation, Expectations, TokenClass, Wrong};
use crate::lang::keyword::Keyword as K;
use crate::lang::token::{Symbol, TokenKind};
use crate::time::duration_elsewhere;

/// Words and what to write instead of them, as a message and as what replaces the word.
type Words = &'static [(&'static [&'static str], &'static str, Option<&'static str>)];

/// Behind `EVENTS`, where a pattern could stand.
const OF_EVENTS: Words = &[
    (
        &["BACKWARD", "BACKWARDS", "REVERSE", "REVERSED", "DESC"],
        "newest first is ORDER BY position DESC, and the newest 10 are LAST 10",
        Some("ORDER BY position DESC"),
    ),
    (&["FORWARD", "FORWARDS", "ASC"], "events come oldest first unless ORDER BY says otherwise", None),
    (&["AFTER"], "EVENTS starts after a point with SINCE, as in EVENTS SINCE #2", Some("SINCE")),
    (&["BEFORE"], "EVENTS ends at a point with UNTIL, as in EVENTS UNTIL #2", Some("UNTIL")),
    (&["ALL"], "EVENTS alone reads all events", None),
    (&["FOR", "OF", "ON", "ABOUT"], "HISTORY reads the events of one entity, as in HISTORY Order 42", None),
    (&["COUNT"], "EVENTS SELECT count() counts events", Some("SELECT count()")),
    (&["SKIP"], super::NO_OFFSET, Some("SINCE")),
    (&["FIRST"], "the first so many are LIMIT, as in EVENTS LIMIT 10", Some("LIMIT")),
];

/// Behind `SHOW`.
const SHOWN: Words = &[
    (
        &["EVENTS", "STREAMS", "LOG"],
        "EVENTS reads events, as in EVENTS 'Order.*'; SHOW TYPES lists their types",
        None,
    ),
    (
        &["TABLES", "COLLECTIONS"],
        "there are no tables: SHOW TYPES lists the types of events, SHOW KINDS the kinds of entities",
        Some("TYPES"),
    ),
    (
        &["ENTITIES", "OBJECTS"],
        "FIND lists entities, as in FIND Order, and SHOW KINDS their kinds",
        Some("KINDS"),
    ),
    (
        &["SCHEMA", "SCHEMAS", "COLUMNS", "FIELDS", "TABLE", "CREATE"],
        "DESCRIBE shows the fields of a kind's events, as in DESCRIBE Order",
        None,
    ),
    (
        &["DATABASES", "DATABASE"],
        "a database is one file, and this one is open; SHOW STATS shows how big it is",
        Some("STATS"),
    ),
    (&["STATUS", "SIZE", "INFO"], "SHOW STATS shows how big everything is", Some("STATS")),
    (&["VERSION"], "bygone --version prints the version", None),
    (&["TRIGGERS"], "triggers are reactions here", Some("REACTIONS")),
    (&["FUNCTIONS", "PROCEDURES"], "procedures are verbs here", Some("VERBS")),
    (
        &["USERS", "ROLES", "GRANTS"],
        "there are no users; EVENTS GROUP BY actor SELECT count() shows who did how much",
        None,
    ),
];

/// Days that have a name elsewhere.
const DAYS: Words = &[(&["YESTERDAY"], POINT, Some("-1d")), (&["TODAY"], POINT, Some("NOW"))];

/// What a point is.
const POINT: &str =
    "a point is a time like '2024-01-01', so long ago like -1d, a position like #1, or VERSION 1";

/// What to say of a statement by what it begins with, and where it stops.
pub(super) fn continued(c: TokenCursor<'_>, start: TokenCursor<'_>, trail: &Expectations) -> Option<Wrong> {
    let TokenKind::Keyword(first) = start.kind() else { return None };
    let expects = |noun: TokenClass| trail.expects(Expectation::Noun(noun));
    let behind = c.place().checked_sub(start.place())?;
    let known = match first {
        K::Events | K::Subscribe => of_patterns(c, first, behind, trail),
        K::Find => of_find(c, start, behind, trail),
        K::Show if behind == 1 => of_show(c, trail),
        // Of a table: what is kept in columns has no FROM.
        K::Show if behind == 2 && matches!(c.kind(), TokenKind::Keyword(K::From | K::In)) => {
            c.back(1).and_then(|shown| listed(shown, SHOWN))
        }
        K::Describe => of_describe(c, start, behind),
        K::Read => of_read(c, start, behind),
        K::History | K::At | K::Replay | K::Blame | K::Diff => of_entity(c, start, (first, behind), trail),
        _ => None,
    };
    let ago = || expects(TokenClass::Period).then(|| of_period(c)).flatten();
    known.or_else(|| if expects(TokenClass::Point) { of_point(c, first) } else { ago() })
}

fn listed(c: TokenCursor<'_>, words: Words) -> Option<Wrong> {
    let word = c.source().to_ascii_uppercase();
    let (_, says, meant) = words.iter().find(|(said, ..)| said.contains(&word.as_str()))?;
    wrong(c.token(), says, *meant)
}

/// `EVENTS` and `SUBSCRIBE`.
fn of_patterns(c: TokenCursor<'_>, first: K, behind: usize, trail: &Expectations) -> Option<Wrong> {
    let is_pattern = |c: TokenCursor<'_>| c.kind() == TokenKind::Text;
    if behind == 2 && c.back(1).is_some_and(is_pattern) {
        let second = if c.kind() == TokenKind::Symbol(Symbol::Comma) { c.next() } else { c };
        if is_pattern(second) {
            let (one, other) = (c.back(1)?.source(), second.source());
            let inside =
                |text: &str| text.get(1..text.len().saturating_sub(1)).unwrap_or_default().to_owned();
            let meant = suggested(format!("'{}, {}'", inside(one), inside(other)));
            return wrong_at(c.token().span, "several patterns go into one text, with commas", meant);
        }
    }
    let alone = behind == 1 && trail.expects(Expectation::Noun(TokenClass::Pattern));
    if first == K::Subscribe {
        let all = ["$all", "ALL"].iter().any(|all| c.source().eq_ignore_ascii_case(all));
        let to_all = ["to", "for"].iter().any(|word| c.source().eq_ignore_ascii_case(word))
            && c.next().source() == "$all";
        if alone && (all || to_all) {
            return wrong_at(c.token().span, "SUBSCRIBE alone follows all events", None);
        }
        return match c.kind() {
            TokenKind::Keyword(K::Since | K::After) | TokenKind::Word
                if behind <= 2 && ["since", "after"].contains(&&*c.source().to_ascii_lowercase()) =>
            {
                wrong(
                    c.token(),
                    "SUBSCRIBE starts after a point with FROM, as in SUBSCRIBE FROM #2",
                    Some("FROM"),
                )
            }
            _ => None,
        };
    }
    if c.kind() == TokenKind::Keyword(K::From) && !trail.expects(Expectation::Keyword(K::From)) {
        match c.next().kind() {
            TokenKind::Keyword(K::Start) => {
                return wrong(c.token(), "EVENTS starts at the beginning anyway: leave FROM START out", None);
            }
            _ if is_point(c.next()) => {
                return wrong(
                    c.token(),
                    "EVENTS starts after a point with SINCE, as in EVENTS SINCE #2",
                    Some("SINCE"),
                );
            }
            _ => {}
        }
    }
    if !alone {
        return None;
    }
    let is_kind = c.source().starts_with(char::is_uppercase) && c.source().contains(char::is_lowercase);
    // What is written like a kind is one.
    if is_kind { None } else { listed(c, OF_EVENTS).or_else(|| super::clause(c)) }
}

/// `FIND Order 42`, `FIND 'Order.*'`.
fn of_find(c: TokenCursor<'_>, start: TokenCursor<'_>, behind: usize, trail: &Expectations) -> Option<Wrong> {
    match (behind, c.kind()) {
        (1, TokenKind::Text) => {
            let text = c.source().trim_matches(['\'', '"']);
            let kind = text.strip_suffix(".*").filter(|kind| kind.chars().all(char::is_alphanumeric));
            let message = "FIND takes a kind, as in FIND Order; EVENTS takes a pattern";
            wrong(c.token(), message, kind)
        }
        (2, TokenKind::Int | TokenKind::Text | TokenKind::Mixed) => one_found(c, start),
        (2, TokenKind::Word) if super::clause(c).is_none() && trail.nearest(c.source(), 2).is_none() => {
            one_found(c, start)
        }
        _ => None,
    }
}

fn one_found(c: TokenCursor<'_>, start: TokenCursor<'_>) -> Option<Wrong> {
    let meant = suggested(format!("AT {} {}", start.next().source(), c.source()));
    wrong_at(c.token().span, "FIND looks through the entities of a kind; AT reads one", meant)
}

/// `SHOW Order 42`, `SHOW #3`.
fn of_show(c: TokenCursor<'_>, trail: &Expectations) -> Option<Wrong> {
    if let Some(wrong) = listed(c, SHOWN) {
        return Some(wrong);
    }
    let is_kind = c.source().starts_with(char::is_uppercase) && c.source().contains(char::is_lowercase);
    match c.kind() {
        TokenKind::Position => {
            let number: u64 = c.source().trim_start_matches('#').parse().ok()?;
            let meant = number.checked_sub(1).map(|before| format!("EVENTS SINCE #{before} UNTIL #{number}"));
            wrong_at(
                c.token().span,
                "EVENTS reads an event by its position, TRACE shows what led to it",
                meant,
            )
        }
        _ if is_kind && matches!(c.next().kind(), TokenKind::Int | TokenKind::Text | TokenKind::Mixed) => {
            let meant = suggested(format!("AT {} {}", c.source(), c.next().source()));
            wrong_at(c.next().next().span_from(c), "AT reads one entity", meant)
        }
        _ if is_kind && trail.nearest(c.source(), 2).is_none() => {
            let meant = suggested(format!("DESCRIBE {}", c.source()));
            wrong_at(c.token().span, "DESCRIBE shows what a kind is like, FIND lists its entities", meant)
        }
        _ => None,
    }
}

/// `DESCRIBE Order.created`, `DESCRIBE ENTITY Order`.
fn of_describe(c: TokenCursor<'_>, start: TokenCursor<'_>, behind: usize) -> Option<Wrong> {
    let name = start.next();
    match (behind, c.kind()) {
        (1, TokenKind::Text) => wrong(c.token(), "a name has no quotes, as in DESCRIBE Order", None),
        (2, TokenKind::Word | TokenKind::Keyword(_))
            if [
                "TABLE", "ENTITY", "EVENT", "KIND", "TYPE", "INDEX", "COLUMN", "VIEW", "VERB", "REACTION",
                "WEBHOOK", "SCHEDULE",
            ]
            .contains(&&*name.source().to_ascii_uppercase()) =>
        {
            let meant = suggested(format!("DESCRIBE {}", c.source()));
            wrong_at(name.token().span, "DESCRIBE takes a name alone", meant)
        }
        (2, TokenKind::Int | TokenKind::Text | TokenKind::Mixed) => {
            let meant = suggested(format!("AT {} {}", name.source(), c.source()));
            wrong_at(c.token().span, "DESCRIBE shows a kind; AT reads one entity", meant)
        }
        _ => None,
    }
}

/// `READ STREAM order-42`, `READ $all`.
fn of_read(c: TokenCursor<'_>, start: TokenCursor<'_>, behind: usize) -> Option<Wrong> {
    let name = start.next();
    let message = "READ reads views; HISTORY reads the events of one entity, as in HISTORY Order 42, and EVENTS reads all";
    let stream = name.source().eq_ignore_ascii_case("stream")
        && match behind {
            2 => matches!(c.kind(), TokenKind::Text | TokenKind::Param | TokenKind::Word),
            3 => name.next().kind() == TokenKind::Keyword(K::Order),
            _ => false,
        };
    if stream {
        return wrong_at(name.token().span, message, None);
    }
    match (behind, c.kind()) {
        (1, TokenKind::Param | TokenKind::Text) => wrong(c.token(), message, None),
        _ => None,
    }
}

/// `HISTORY Order-42`, `BLAME Order`, `DIFF Order 42 #1 #3`.
fn of_entity(
    c: TokenCursor<'_>,
    start: TokenCursor<'_>,
    (first, behind): (K, usize),
    trail: &Expectations,
) -> Option<Wrong> {
    let kind = start.next();
    let statement = start.source().to_ascii_uppercase();
    match (behind, c.kind()) {
        (1, TokenKind::Text) => {
            let text = c.source().trim_matches(['\'', '"']);
            let is_kind = !text.is_empty() && text.chars().all(char::is_alphanumeric);
            if is_kind && !matches!(c.next().kind(), TokenKind::End | TokenKind::Symbol(_)) {
                return wrong_at(
                    c.token().span,
                    "a kind has no quotes, as in Order 42",
                    suggested(text.to_owned()),
                );
            }
            let parts = text.split_once(['-', ' ', ':', '/']).filter(|(kind, id)| {
                kind.starts_with(char::is_alphabetic)
                    && !id.is_empty()
                    && id.chars().all(char::is_alphanumeric)
            });
            let meant = parts.and_then(|(kind, id)| suggested(format!("{kind} {id}")));
            wrong_at(c.token().span, "an entity is a kind and an id, as in Order 42", meant)
        }
        (2, TokenKind::Symbol(Symbol::Minus | Symbol::Colon | Symbol::Slash)) if c.is_adjacent() => {
            let id = c.next();
            let mut end = id;
            while end.is_adjacent() && joins(end.kind()) {
                end = end.next();
            }
            let meant = suggested(format!("{} {}", kind.source(), c.slice(end.span_from(id))));
            wrong_at(end.span_from(kind), "a kind and its id have a space between them", meant)
        }
        (2, TokenKind::End | TokenKind::Symbol(Symbol::Semicolon)) if first != K::History => {
            let from = if first == K::Diff { " FROM #1" } else { "" };
            let message = format!(
                "{statement} is of one entity, as in {statement} {} 42{from}",
                shorten(kind.source())
            );
            wrong_at(c.token().span, &message, None)
        }
        _ if first == K::Diff && trail.expects(Expectation::Keyword(K::From)) => of_diff(c),
        (3.., TokenKind::Word)
            if first == K::Blame && trail.expects(Expectation::Noun(TokenClass::Point)) =>
        {
            let message = "the field of the state that is asked about follows OF";
            let meant = match c.source() {
                "state" => "OF state".to_owned(),
                word => format!("OF state.{word}"),
            };
            listed(c, DAYS).or_else(|| wrong(c.token(), message, suggested(meant).as_deref()))
        }
        _ => None,
    }
}

/// Whether a point may be meant here; a text is one if it begins with a digit.
pub(super) fn is_point(c: TokenCursor<'_>) -> bool {
    match c.kind() {
        TokenKind::Position | TokenKind::Date | TokenKind::Int | TokenKind::Symbol(Symbol::Minus) => true,
        TokenKind::Keyword(K::Start | K::Now) => true,
        TokenKind::Text => {
            c.source().get(1..).is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()))
        }
        _ => false,
    }
}

/// Where `DIFF` goes from.
fn of_diff(c: TokenCursor<'_>) -> Option<Wrong> {
    let is_point = |kind: TokenKind| {
        matches!(kind, TokenKind::Position | TokenKind::Text | TokenKind::Date | TokenKind::Keyword(K::Now))
    };
    let meant = match (is_point(c.kind()), is_point(c.next().kind())) {
        (true, true) => suggested(format!("FROM {} TO {}", c.source(), c.next().source())),
        (true, false) => suggested(format!("FROM {}", c.source())),
        _ => None,
    };
    let message = "DIFF compares one entity at two points, as in DIFF Order 42 FROM #1 TO #3";
    wrong_at(c.token().span, message, meant)
}

/// `SINCE -1 day`.
fn of_period(c: TokenCursor<'_>) -> Option<Wrong> {
    if c.kind() != TokenKind::Int {
        return None;
    }
    let meant = duration_elsewhere(&format!("{} {}", c.source(), c.next().source()));
    let end = if meant.is_some() { c.next().next() } else { c.next() };
    wrong_at(end.span_from(c), "a duration is a number and its unit, like 30s or 1d", meant)
}

/// `SINCE 2`, `AT Order 42 1`, `FROM 0`.
fn of_point(c: TokenCursor<'_>, first: K) -> Option<Wrong> {
    match c.kind() {
        TokenKind::Int => {
            let number = c.source();
            let meant = match number {
                "0" if first == K::Subscribe || first == K::Diff => "START".to_owned(),
                // Of an entity, events are counted.
                _ if matches!(first, K::At | K::Blame | K::Replay | K::History | K::Diff) => {
                    format!("#{number} or VERSION {number}")
                }
                year if year.len() == 4 && (year.starts_with("19") || year.starts_with("20")) => {
                    format!("#{year} or {year}-01-01")
                }
                _ => format!("#{number}"),
            };
            wrong_at(
                c.token().span,
                "a position begins with #, and a time has its date, like 2024-01-01",
                suggested(meant),
            )
        }
        TokenKind::Word
            if super::TIMES.iter().any(|time| c.source().eq_ignore_ascii_case(time))
                && c.next().kind() == TokenKind::Text =>
        {
            let message = format!("a time is written without {}", c.source().to_ascii_uppercase());
            wrong_at(c.next().next().span_from(c), &message, suggested(c.next().source().to_owned()))
        }
        TokenKind::Word => {
            listed(c, DAYS).or_else(|| if first == K::At { wrong(c.token(), POINT, None) } else { None })
        }
        _ => None,
    }
}
