//! Arbitrary questions to a small database, answered twice: by it, and by a plain evaluation over the list of its events.

use std::sync::{Arc, LazyLock};

use super::naive;
use crate::db::Db;
use crate::error::Error;
use crate::event::Event;
use crate::exec::Row;
use crate::lang;
use crate::lang::generator::{Bytes, Choices};
use crate::query::Script;
use crate::store::Options;
use crate::store::disk::memory::MemoryDisk;
use crate::time::{Clock, Timestamp};
use crate::value::Value;

/// The database and its events. Half of them are in the tables, half in memory.
struct Small {
    db: Db,
    events: Vec<Event>,
}

const TYPES: [&str; 5] = ["Order.created", "Order.paid", "Order.item.added", "Invoice.paid", "User.signedIn"];
const TOTALS: [&str; 10] = ["NULL", "0", "-3", "2.5", "10", "10.0", "'10'", "TRUE", "[1, 2]", "{k: 1}"];
const NAMES: [&str; 6] = ["'tea'", "'Tea pot'", "''", "NULL", "'größe'", "7"];

static SMALL: LazyLock<Small> = LazyLock::new(|| {
    let start: Timestamp = "2024-06-01T12:00:00Z".parse().expect("it is a time");
    // A disk that is given: a backup is written to it, too.
    let options = Options::new().clock(Clock::new(move || start)).disk(Arc::new(MemoryDisk::new()));
    let db = options.create("/fuzz.bygone").expect("a database in memory");
    let events = filled(&db);
    Small { db, events }
});

/// Defines and appends what is asked for; the events.
pub(super) fn filled(db: &Db) -> Vec<Event> {
    let ask = |text: &str| {
        let answer = db.query(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
        answer.rows.collect::<Result<Vec<_>, _>>().unwrap_or_else(|e| panic!("{text}\n{e}"))
    };
    for definition in DEFINITIONS {
        ask(definition);
    }
    for n in 0..60_usize {
        // Steps that have nothing in common, so that all values meet.
        let kind = TYPES[n * 3 % 5];
        let (total, name) = (TOTALS[n * 7 % 10], NAMES[n * 5 % 6]);
        let mut text = format!("EMIT {kind} e{} {{total: {total}, name: {name}", n * 11 % 4);
        if n % 3 == 0 {
            text += &format!(", part: {{k{}: {total}}}, items: [{total}, {name}, {n}]", n % 2);
        }
        text += &format!("}} AT '2024-01-{:02}T{:02}:00'", 1 + n * 13 % 28, n % 24);
        if n % 4 != 1 {
            text += &format!(" BY User u{}", n % 3);
        }
        if n % 5 != 2 {
            text += &format!(" INDEX BY customer = 'c{}', size = {}", n % 3, n as f64 / 2.0);
        }
        ask(&text);
        if n == 29 {
            ask("CHECKPOINT");
        }
    }
    let ready = db.wait_for_indexes(std::time::Duration::from_secs(600)).expect("indexes are built");
    assert!(ready, "indexes are built");
    let events = ask("EVENTS").into_iter().filter_map(|row| match row {
        Row::Event { event, .. } => Some(event),
        _ => None,
    });
    events.collect()
}

/// The states of orders are kept, and those of others are not.
const DEFINITIONS: [&str; 4] = [
    "DEFINE INDEX name ON '*' AS data.name",
    "DEFINE INDEX total ON 'Order.*' AS data.total",
    "DEFINE ENTITY Order SNAPSHOT EVERY 3",
    "DEFINE INDEX worth ON 'Order' AS state.total",
];

/// The bytes choose a question. Its answer is that of the plain evaluation: the same rows in the same order.
///
/// Whether there was one: a question may be refused, for what it compares or selects.
pub fn query(bytes: &[u8]) -> bool {
    let text = question(&mut Bytes(bytes));
    let small = &*SMALL;
    let script = Script::parse(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
    let rows = small.db.run(&script.statements()[0]);
    let rows = match rows.and_then(|answer| answer.rows.collect::<Result<Vec<_>, _>>()) {
        Ok(rows) => rows,
        Err(Error::Syntax(_)) => return false,
        Err(other) => panic!("{text}\n{other}"),
    };
    let found: Vec<Value> = rows
        .iter()
        .map(|row| match row {
            Row::Event { event, .. } => event.position.0.into(),
            Row::State(state) => {
                let id = state.target.id().into();
                let (version, events) = (state.version.0.into(), state.events.into());
                naive::found(id, version, events, state.state.clone())
            }
            row => Value::of(row).unwrap_or_else(|e| panic!("{text}\n{e}")),
        })
        .collect();
    let tree = lang::parse_one(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
    let expected = naive::answer(&tree.statement, &small.events);
    assert!(
        found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| naive::alike(a, b)),
        "{text}\nfound    {found:?}\nexpected {expected:?}"
    );
    true
}

/// What the bytes ask.
pub(super) fn question(choices: &mut Bytes<'_>) -> String {
    if choices.below(5) == 4 {
        return find(choices);
    }
    let names = &OF_EVENTS;
    let mut text = match choices.below(4) {
        0 => format!("HISTORY Order e{}", choices.below(5)),
        1 => format!("EVENTS{}", tags(choices)),
        _ => {
            let patterns =
                ["Order.*", "*", "*.paid", "Order.paid, User.*", "Nothing.*", "*e*d", "Order.created"];
            let pattern = choices.pick(&patterns);
            format!("EVENTS '{pattern}'{}", if choices.below(3) == 0 { tags(choices) } else { String::new() })
        }
    };
    if choices.below(2) == 1 {
        text += &format!(" WHERE {}", condition(choices, names, 3));
    }
    for clause in ["SINCE", "UNTIL", "AS OF"] {
        if choices.below(4) == 3 {
            let point = match choices.below(3) {
                0 => format!("#{}", choices.below(61)),
                _ => format!("'2024-01-{:02}'", 1 + choices.below(28)),
            };
            text += &format!(" {clause} {point}");
        }
    }
    if choices.below(4) == 3 {
        unnested(choices, &mut text, "data");
        return text;
    }
    match choices.below(5) {
        0 => {}
        1 => text += &format!(" LAST {}", choices.below(20)),
        2 => {
            text +=
                &format!(" ORDER BY {}", order(choices, &["data.total", "type", "data.name", "position"]));
            limit(choices, &mut text);
        }
        3 => {
            let one = value(choices, names, 2);
            text += &format!(" SELECT position AS p, {one} AS x, {} AS y", condition(choices, names, 1));
            if choices.below(2) == 1 {
                text += &format!(" ORDER BY {}", order(choices, &["x", "y", "p"]));
            }
            limit(choices, &mut text);
        }
        _ => {
            let keys: &[&str] =
                &["type", "data.total", "data.name", "actor.id", "data.part", "data.total > 2"];
            let key = choices.pick(keys);
            let aggregates =
                ["count()", "count(data.total)", "sum(data.total)", "min(data.total)", "max(data.name)"];
            let others = [
                "avg(data.total)",
                "first(data.name)",
                "last(data.total)",
                "distinct(data.total)",
                "median(data.total)",
                "percentile(data.total, 0.25)",
            ];
            text += &format!(" GROUP BY {key} AS k");
            if choices.below(3) == 0 {
                text += ", target.type AS t";
            }
            text += &format!(" SELECT {} AS a, {} AS b", choices.pick(&aggregates), choices.pick(&others));
            if choices.below(3) == 0 {
                text += &format!(" HAVING count() > {}", choices.below(4));
            }
            if choices.below(2) == 1 {
                text += &format!(" ORDER BY {}", order(choices, &["a", "b", "k"]));
            }
            limit(choices, &mut text);
        }
    }
    text
}

/// Rows of the items of lists in the data, or in the state: of one, or of one in another or beside it.
fn unnested(choices: &mut Bytes<'_>, text: &mut String, root: &str) {
    let mut names = &OF_ITEMS;
    let list = *choices.pick(&["items", "items", "total", "part", "nothing"]);
    *text += &format!(" UNNEST {root}.{list} AS item, n");
    for of in ["item", "beside"] {
        if choices.below(2) == 1 {
            *text += &format!(" WHERE {}", condition(choices, names, 2));
        }
        if of == "beside" || choices.below(3) > 0 {
            break;
        }
        names = &OF_INNER;
        let of = [of.to_owned(), format!("{root}.items")];
        *text += &format!(" UNNEST {} AS inner", choices.pick(&of));
    }
    match choices.below(4) {
        0 => {}
        1 => *text += &format!(" ORDER BY {}", order(choices, &["item", "n", "version", "item[0]"])),
        2 => {
            let one = value(choices, names, 2);
            *text += &format!(
                " SELECT version AS p, item AS i, {one} AS x, {} AS y",
                condition(choices, names, 1)
            );
            if choices.below(2) == 1 {
                *text += &format!(" ORDER BY {}", order(choices, &["x", "y", "p", "n", "item"]));
            }
        }
        _ => {
            let aggregates = ["count()", "count(item)", "sum(item)", "min(item)", "last(item)", "median(n)"];
            *text += &format!(" GROUP BY {} AS k", choices.pick(names.fields));
            *text += &format!(" SELECT {} AS a, max(n) AS b", choices.pick(&aggregates));
            if choices.below(3) == 0 {
                *text += &format!(" HAVING count() > {}", choices.below(4));
            }
            if choices.below(2) == 1 {
                *text += &format!(" ORDER BY {}", order(choices, &["a", "b", "k"]));
            }
        }
    }
    limit(choices, text);
}

fn limit(choices: &mut Bytes<'_>, text: &mut String) {
    if choices.below(3) == 0 {
        *text += &format!(" LIMIT {}", choices.below(20));
    }
}

fn order(choices: &mut Bytes<'_>, keys: &[&str]) -> String {
    let count = 1 + choices.below(2);
    let first = choices.below(keys.len());
    let direction = |choices: &mut Bytes<'_>| *choices.pick(&["", " DESC", " ASC"]);
    let keys = (0..count).map(|i| format!("{}{}", keys[(first + i) % keys.len()], direction(choices)));
    keys.collect::<Vec<_>>().join(", ")
}

fn tags(choices: &mut Bytes<'_>) -> String {
    let count = 1 + choices.below(2);
    let tags = (0..count).map(|_| {
        let size = |choices: &mut Bytes<'_>| choices.below(64) as f64 / 2.0;
        let comparison = |choices: &mut Bytes<'_>| *choices.pick(&["=", "<", "<=", ">", ">=", "!="]);
        match choices.below(9) {
            0 => format!("User u{}", choices.below(4)),
            1 => format!("actor = User u{}", choices.below(4)),
            2 => format!("type = '{}'", choices.pick(&TYPES)),
            3 => format!("customer = 'c{}'", choices.below(4)),
            4 => format!("size {} {}", comparison(choices), size(choices)),
            5 => format!("size BETWEEN {} AND {}", size(choices), size(choices)),
            6 => format!("size IN ({}, {})", size(choices), size(choices)),
            7 => format!(
                "name {} {}",
                comparison(choices),
                choices.pick(&["'tea'", "'Tea pot'", "''", "7", "'u'"])
            ),
            _ => format!(
                "total {} {}",
                comparison(choices),
                choices.pick(&["0", "-3", "2.5", "10", "'10'", "TRUE"])
            ),
        }
    });
    format!(" BY {}", tags.collect::<Vec<_>>().join(", "))
}

/// Which entities are something.
fn find(choices: &mut Bytes<'_>) -> String {
    let names = &OF_STATES;
    let mut text = format!("FIND {}", choices.pick(&["Order", "Order", "Invoice", "User", "Nothing"]));
    match choices.below(3) {
        0 => {}
        1 => {
            let comparison = *choices.pick(&["=", "!=", "<", "<=", ">", ">="]);
            text += &format!(" WHERE state.total {comparison} {}", choices.pick(&TOTALS));
            if choices.below(2) == 1 {
                text += &format!(" AND {}", condition(choices, names, 2));
            }
        }
        _ => text += &format!(" WHERE {}", condition(choices, names, 3)),
    }
    for clause in ["AT", "AS OF"] {
        if choices.below(4) == 3 {
            let point = match choices.below(3) {
                0 => format!("#{}", choices.below(61)),
                _ => format!("'2024-01-{:02}'", 1 + choices.below(28)),
            };
            text += &format!(" {clause} {point}");
        }
    }
    if choices.below(4) == 3 {
        unnested(choices, &mut text, "state");
        return text;
    }
    match choices.below(4) {
        0 => {}
        1 => {
            text +=
                &format!(" ORDER BY {}", order(choices, &["state.total", "version", "state.name", "state"]))
        }
        2 => {
            let one = value(choices, names, 2);
            text += &format!(" SELECT target.id AS p, {one} AS x, {} AS y", condition(choices, names, 1));
            if choices.below(2) == 1 {
                text += &format!(" ORDER BY {}", order(choices, &["x", "y", "p"]));
            }
        }
        _ => {
            let keys = ["state.total", "state.name", "version", "state.part", "state.total > 2"];
            let aggregates = [
                "count()",
                "sum(state.total)",
                "min(state.total)",
                "first(state.name)",
                "median(state.total)",
            ];
            text += &format!(" GROUP BY {} AS k", choices.pick(&keys));
            text += &format!(" SELECT {} AS a, max(state.items) AS b", choices.pick(&aggregates));
            if choices.below(2) == 1 {
                text += &format!(" ORDER BY {}", order(choices, &["a", "b", "k"]));
            }
        }
    }
    limit(choices, &mut text);
    text
}

/// What an expression names, and what of that may be a text.
pub(super) struct Names {
    pub fields: &'static [&'static str],
    pub texts: &'static [&'static str],
}

const OF_EVENTS: Names = Names { fields: &FIELDS, texts: &["type", "data.name", "data.total"] };
const OF_STATES: Names =
    Names { fields: &STATE_FIELDS, texts: &["target.type", "state.name", "state.total"] };

const OF_ITEMS: Names =
    Names { fields: &["item", "n", "item[0]", "item.k0", "version", "target.type"], texts: &["item"] };
const OF_INNER: Names =
    Names { fields: &["inner", "item", "n", "inner.k1", "inner[1]", "version"], texts: &["inner", "item"] };

const STATE_FIELDS: [&str; 11] = [
    "state.total",
    "state.name",
    "state.part.k0",
    "state.part",
    "state.items[0]",
    "state.items",
    "state.nothing",
    "state",
    "version",
    "events",
    "target.type",
];

/// No ids: beside one a number is taken for its digits, which the plain evaluation does not know.
const FIELDS: [&str; 13] = [
    "data.total",
    "data.name",
    "data.part.k0",
    "data.part",
    "data.items[0]",
    "data.items",
    "data.nothing",
    "type",
    "position",
    "version",
    "target.type",
    "timestamp",
    "actor",
];

/// An expression that has any worth.
pub(super) fn value(choices: &mut Bytes<'_>, names: &Names, depth: usize) -> String {
    let most = if depth == 0 { 2 } else { 7 };
    match choices.below(most) {
        0 => (*choices.pick(names.fields)).to_owned(),
        1 => match choices.below(2) {
            0 => (*choices.pick(&TOTALS)).to_owned(),
            _ => (*choices.pick(&NAMES)).to_owned(),
        },
        2 => format!("coalesce({}, {})", value(choices, names, depth - 1), value(choices, names, depth - 1)),
        3 => format!(
            "if({}, {}, {})",
            condition(choices, names, depth - 1),
            value(choices, names, depth - 1),
            value(choices, names, depth - 1)
        ),
        4 => format!("length({})", value(choices, names, depth - 1)),
        5 => format!("-({})", value(choices, names, depth - 1)),
        _ => {
            let operator = *choices.pick(&["+", "-", "*", "/", "%"]);
            format!("({} {operator} {})", value(choices, names, depth - 1), value(choices, names, depth - 1))
        }
    }
}

/// An expression that is true, false or null.
pub(super) fn condition(choices: &mut Bytes<'_>, names: &Names, depth: usize) -> String {
    let most = if depth == 0 { 2 } else { 9 };
    let not = |choices: &mut Bytes<'_>| if choices.below(2) == 0 { "" } else { "NOT " };
    match choices.below(most) {
        0 => {
            let comparison = *choices.pick(&["=", "!=", "<", "<=", ">", ">="]);
            format!(
                "{} {comparison} {}",
                value(choices, names, depth.min(1)),
                value(choices, names, depth.min(1))
            )
        }
        1 => format!("{} IS {}NULL", value(choices, names, depth.min(1)), not(choices)),
        2 => {
            format!("({} AND {})", condition(choices, names, depth - 1), condition(choices, names, depth - 1))
        }
        3 => {
            format!("({} OR {})", condition(choices, names, depth - 1), condition(choices, names, depth - 1))
        }
        4 => format!("NOT ({})", condition(choices, names, depth - 1)),
        5 => {
            let (a, b) = (value(choices, names, 0), value(choices, names, 0));
            format!("{} {}IN ({a}, {b})", value(choices, names, 0), not(choices))
        }
        6 => {
            let (a, b) = (value(choices, names, 0), value(choices, names, 0));
            format!("{} {}BETWEEN {a} AND {b}", value(choices, names, 0), not(choices))
        }
        7 => format!("{} {}CONTAINS {}", value(choices, names, 0), not(choices), value(choices, names, 0)),
        _ => {
            let pattern = *choices.pick(&["'Order.*'", "'*e*'", "'tea, Tea *'", "'*'"]);
            format!("{} {}MATCHES {pattern}", choices.pick(names.texts), not(choices))
        }
    }
}
