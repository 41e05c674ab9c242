//! What other languages begin a statement with.

use super::super::cursor::TokenCursor;
use super::{wrong, wrong_at};
use crate::lang::expectations::Wrong;
use crate::lang::token::{Symbol, TokenKind};

/// What to say of a comment as another language writes it.
pub(super) const COMMENT: &str = "a comment begins with --";

/// What to say of an expression that stands alone.
const CONSTANT: &str = "an expression is worked out for rows, as in EVENTS SELECT 1 + 1 AS two LIMIT 1";

/// First words, in capitals, or the first two; and what to write instead. Two words stand before the first of them alone.
const OPENINGS: &[(&[&str], &str)] = &[
    (&["SELECT VERSION"], "bygone --version prints the version"),
    (
        &["SELECT NOW", "SELECT CURRENT_TIMESTAMP", "SELECT CURRENT_DATE"],
        "NOW is the time, inside a statement, as in EVENTS WHERE timestamp > NOW - 1d",
    ),
    (
        &["SELECT", "FROM"],
        "events are read with EVENTS, as in EVENTS 'Order.*' WHERE data.total > 100; states with FIND, views with READ",
    ),
    (
        &["INSERT", "APPEND", "PUBLISH", "PUT", "PUSH", "ADD", "WRITE"],
        "events are appended with EMIT, as in EMIT Order.created 42 {total: 10}",
    ),
    (
        &["UPDATE", "UPSERT", "REPLACE", "MERGE"],
        "nothing is changed in place: EMIT what happened, as in EMIT Order.renamed 42 {name: 'x'}",
    ),
    (
        &["DELETE", "REMOVE"],
        "nothing is deleted: EMIT what happened, as in EMIT Order.deleted 42, and the state is null",
    ),
    (
        &["TRUNCATE", "PURGE"],
        "nothing is deleted: the log keeps what happened; for an empty log, start a new file",
    ),
    (
        &["REVERT", "UNDO", "RESET"],
        "nothing is undone: EMIT what puts it right, as in EMIT Order.refunded 42",
    ),
    (
        &["CREATE TABLE", "CREATE TYPE", "CREATE STREAM", "CREATE COLLECTION", "ALTER TABLE"],
        "there are no tables to create: EMIT an event, as in EMIT Order.created 42 {total: 10}",
    ),
    (
        &["CREATE INDEX", "ALTER INDEX"],
        "indexes are made with DEFINE, as in DEFINE INDEX customer ON 'Order.*' AS data.customer",
    ),
    (
        &["CREATE UNIQUE"],
        "the write says what must not be there yet: EMIT … EXPECT NONE ('Order.*' BY customer = 'c-7')",
    ),
    (
        &["CREATE VIEW", "CREATE MATERIALIZED", "ALTER VIEW"],
        "views are made with DEFINE, as in DEFINE VIEW orders AS EVENTS 'Order.*' GROUP BY type SELECT count() AS n",
    ),
    (
        &["CREATE TRIGGER"],
        "a trigger is a REACTION, as in DEFINE REACTION thank ON 'Order.paid' DO EMIT Mail.sent NEW",
    ),
    (
        &["CREATE FUNCTION", "CREATE PROCEDURE"],
        "a procedure is a VERB, as in DEFINE VERB Pay ON Order REQUIRE state.total > 0 EMIT paid",
    ),
    (
        &["CREATE DATABASE", "CREATE SCHEMA", "DROP DATABASE"],
        "a database is one file: bygone FILE opens it, and creates it if it is not there",
    ),
    (
        &["CREATE", "ALTER"],
        "nothing needs to be created first; definitions are made with DEFINE, as in DEFINE INDEX customer ON 'Order.*' AS data.customer",
    ),
    (
        &["BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT"],
        "several writes take effect together in ATOMIC (EMIT …; EMIT …)",
    ),
    (
        &["WITH"],
        "queries do not nest; make a view of one you ask often, as in DEFINE VIEW orders AS EVENTS 'Order.*'",
    ),
    (&["EXEC", "EXECUTE", "CALL"], "verbs are run with PERFORM, as in PERFORM Pay Order 42"),
    (&["PREPARE", "DECLARE"], "use a parameter, as in EVENTS WHERE data.total > $least with -p least=5"),
    (
        &["HELP", "?"],
        "help is for the prompt; statements begin with EMIT, HISTORY, EVENTS, AT, FIND, SHOW and others",
    ),
    (&["EXIT", "QUIT"], "leaving is for the prompt; it is no statement"),
    (&["CLEAR", "CLS"], "the screen is cleared by Ctrl-L"),
    (&["VERSION"], "bygone --version prints the version"),
    (&["DESC"], "DESCRIBE shows a kind, a verb, a view or an index, as in DESCRIBE Order"),
    (
        &["SUMMARIZE", "SUMMARISE"],
        "DESCRIBE Order shows the fields of its events, SHOW STATS how big everything is",
    ),
    (&["STATUS", "INFO"], "SHOW STATS shows how big everything is, SHOW HEAD the newest position"),
    (&["GET"], "AT Order 42 reads what an entity is, HISTORY Order 42 what happened to it"),
    (&["LIST", "LS"], "EVENTS 'Order.*' lists events, FIND Order entities, SHOW KINDS the kinds of entities"),
    (&["LOG"], "HISTORY Order 42 shows what happened to one entity, EVENTS LAST 10 what happened last"),
    (&["CHECKOUT", "SWITCH"], "AT Order 42 #1 reads an earlier state, EVENTS AS OF #1 the log as it was"),
    (&["COUNT"], "EVENTS 'Order.*' SELECT count() counts events"),
    (
        &["LISTEN", "NOTIFY", "TAIL", "FOLLOW", "WATCH", "CONSUME"],
        "follow events with SUBSCRIBE, as in SUBSCRIBE 'Order.*'",
    ),
    (
        &["COPY", "LOAD", "IMPORT", "EXPORT", "DUMP", "UNLOAD"],
        "bygone import FILE EVENTS reads events from JSON, bygone export FILE writes them",
    ),
    (&["VACUUM", "SCAVENGE", "OPTIMIZE"], "COMPACT writes the file anew, and smaller"),
    (&["ANALYZE"], "there are no statistics to gather; EXPLAIN ANALYZE EVENTS … shows what a read costs"),
    (&["REINDEX"], "indexes follow the log by themselves; VERIFY checks them"),
    (&["PRAGMA INTEGRITY_CHECK", "PRAGMA QUICK_CHECK", "CHECK", "FSCK"], "VERIFY checks the file"),
    (
        &["PRAGMA TABLE_INFO", "PRAGMA TABLE_XINFO"],
        "DESCRIBE shows the fields of a kind, as in DESCRIBE Order",
    ),
    (&["PRAGMA TABLE_LIST"], "SHOW TYPES lists the types of events, SHOW KINDS the kinds of entities"),
    (&["PRAGMA INDEX_LIST", "PRAGMA INDEX_INFO"], "SHOW INDEXES lists the indexes"),
    (&["PRAGMA", "SET"], "options are given as the file is opened: bygone --help lists them"),
    (
        &["GRANT", "REVOKE"],
        "there are no users and no rights: whoever can open the file can use it; --read-only opens it for reading",
    ),
    (
        &["USE", "ATTACH", "DETACH", "CONNECT", "OPEN"],
        "a database is one file, named when it is opened: bygone FILE",
    ),
];

/// What to say of the first word of a statement, where no statement begins so.
pub(super) fn opening(c: TokenCursor<'_>) -> Option<Wrong> {
    if let TokenKind::Symbol(Symbol::Slash) = c.kind()
        && c.next().is_adjacent()
        && c.next().kind() == TokenKind::Symbol(Symbol::Slash)
    {
        return wrong_at(c.next().next().span_from(c), COMMENT, Some("--".to_owned()));
    }
    let first = c.source().to_ascii_uppercase();
    let both = format!("{first} {}", c.next().source().to_ascii_uppercase());
    if first == "SELECT" && matches!(c.next().kind(), TokenKind::Int | TokenKind::Number | TokenKind::Text) {
        return wrong(c.token(), CONSTANT, None);
    }
    let says = |words: &str| OPENINGS.iter().find(|(said, _)| said.contains(&words)).map(|(_, says)| *says);
    wrong(c.token(), says(&both).or_else(|| says(&first))?, None)
}

#[cfg(test)]
mod tests {
    use super::{CONSTANT, OPENINGS};
    use crate::lang::parse_one;

    #[test]
    fn an_opening_is_told_once_and_begins_no_statement() {
        let all: Vec<&str> = OPENINGS.iter().flat_map(|(words, _)| words.iter().copied()).collect();
        for (i, words) in all.iter().enumerate() {
            assert!(!all[..i].contains(words), "{words}");
            assert!(parse_one(words).is_err(), "{words}");
        }
    }

    #[test]
    fn what_an_opening_says_to_write_is_right() {
        let mut count = 0;
        for (words, says) in OPENINGS.iter().chain(&[(&["SELECT 1"] as &[&str], CONSTANT)]) {
            for shown in says.split("as in ").skip(1) {
                let shown = [";", ", and ", " with -p"]
                    .iter()
                    .fold(shown, |shown, end| shown.split(end).next().unwrap_or_default());
                assert!(parse_one(shown).is_ok(), "{words:?}: {shown}");
                count += 1;
            }
        }
        assert!(count > 15);
    }
}
