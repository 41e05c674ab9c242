//! What a user says costs about as much as it is long: each function, each form of a statement and each member of an imported line,
//! at n, 2n and 4n. And no more memory than was said, nor time.
//!
//! Work is counted: the bytes that are allocated, whatever for, and the time of the processor, which does not depend on what else
//! runs. The second grows unsteadily, so four times as much is held to ten times the work: a square would be sixteen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bygone::maintain::ImportOptions;
use bygone::read::Script;
use bygone::{Cancel, Db, NewEvent, Options, Parameters, Value, editor};

const PATIENCE: Duration = Duration::from_secs(300);

// ---------------------------------------------------------------- counting

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn took(bytes: usize) {
    ALLOCATED.fetch_add(bytes, Ordering::Relaxed);
    let held = HELD.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
    // What was given back from before the count makes it negative for a while.
    if held < usize::MAX / 2 {
        PEAK.fetch_max(held, Ordering::Relaxed);
    }
}

fn gave(bytes: usize) {
    HELD.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: everything is done by the allocator of the system; beside it numbers are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        gave(layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave(layout.size());
        took(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One is measured at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy)]
struct Work {
    allocated: usize,
    /// The most that was held at a time, beyond what was held before.
    peak: usize,
    processor: Duration,
}

impl Work {
    fn least(self, other: Work) -> Work {
        let allocated = self.allocated.min(other.allocated);
        Work { allocated, peak: self.peak.min(other.peak), processor: self.processor.min(other.processor) }
    }
}

fn work<T>(what: impl FnOnce() -> T) -> (T, Work) {
    ALLOCATED.store(0, Ordering::Relaxed);
    HELD.store(0, Ordering::Relaxed);
    PEAK.store(0, Ordering::Relaxed);
    let began = processor();
    let made = what();
    let processor = processor().saturating_sub(began);
    let (allocated, peak) = (ALLOCATED.load(Ordering::Relaxed), PEAK.load(Ordering::Relaxed));
    (made, Work { allocated, peak, processor })
}

/// How long this process has run, in steps of 10 ms, where the system tells.
fn processor() -> Duration {
    let told = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name of the program, which may have spaces.
    let fields = told.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Why something is not held yet, if that is known.
type Known = &'static [(&'static str, &'static str)];

/// What is wrong with how the work grows from n to 2n to 4n, if something is.
fn growth(of: &mut dyn FnMut(usize) -> Result<Work, String>, n: usize) -> Result<(), String> {
    // A step of the journal of a database in memory, which one statement makes and the next does not.
    const UNSTEADY: usize = 1 << 20;
    let (mut one, mut two, mut four) = (of(n)?, of(2 * n)?, of(4 * n)?);
    // At most 2.3 times as much for each doubling, of both together: what runs in the background comes as it comes.
    let more = |one: usize, four: usize| four > one * 529 / 100 + UNSTEADY;
    let grows = |one: Work, four: Work| {
        let slower = four.processor > one.processor * 10 + Duration::from_millis(100);
        more(one.allocated, four.allocated) || more(one.peak, four.peak) || slower
    };
    // Something else may have run meanwhile, which only adds to the work: the least of three is the nearest.
    for _ in 0..2 {
        if !grows(one, four) {
            return Ok(());
        }
        (one, two, four) = (one.least(of(n)?), two.least(of(2 * n)?), four.least(of(4 * n)?));
    }
    if !grows(one, four) {
        return Ok(());
    }
    Err(format!("{n}: {one:?}\n    {}: {two:?}\n    {}: {four:?}", 2 * n, 4 * n))
}

/// Looks at each; what is known to grow too fast must still do so, or be struck off the list.
fn assert_linear<'a>(all: impl Iterator<Item = (&'a str, Result<(), String>)>, known: Known) {
    let mut faults = Vec::new();
    for (name, grows) in all {
        let known = known.iter().find(|(known, _)| *known == name);
        eprintln!("{name}: {}", if grows.is_ok() { "linear" } else { "more than that" });
        match (grows, known) {
            (Err(fault), None) => faults.push(format!("{name}:\n    {fault}")),
            (Err(_), Some((_, why))) => eprintln!("{name} grows too fast, as is known: {why}"),
            (Ok(()), _) => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// How many rows there are.
fn rows(db: &Db, text: &str, parameters: &Parameters) -> Result<usize, String> {
    let told = |error: bygone::Error| {
        let told = error.to_string();
        format!("{}: {}", short(text), short(&told))
    };
    let mut count = 0;
    for row in db.query_with(text, parameters).map_err(told)?.rows {
        row.map_err(told)?;
        count += 1;
    }
    Ok(count)
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

fn query(db: &Db, text: &str) -> usize {
    rows(db, text, &none()).unwrap_or_else(|error| panic!("{error}"))
}

fn none() -> Parameters {
    Parameters::new()
}

/// The test finds what it looks for.
#[test]
fn work_that_grows_as_the_square_is_found() {
    let _turn = turn();
    let allocates = &mut |n: usize| Ok(work(|| (0..n).map(|at| vec![0_u8; at]).map(drop).count()).1);
    assert!(growth(allocates, 2000).is_err());
    let compares = &mut |n: usize| {
        let items: Vec<usize> = (0..n).collect();
        let has = |wanted: usize| std::hint::black_box(&items).contains(&wanted);
        Ok(work(|| items.iter().filter(|item| has(**item + n)).count()).1)
    };
    if cfg!(target_os = "linux") {
        // The processor may be slow in the first measure and fast in the last, so one that is found is enough.
        assert!((0..5).any(|_| growth(compares, 20_000).is_err()));
    }
    assert!(growth(&mut |n| Ok(work(|| vec![0_u8; n * 1000]).1), 1000).is_ok());
}

/// Rows are made as they are pulled, a page at a time: a page has so many bytes of what is made, however short the events are.
#[test]
fn rows_that_are_larger_than_their_events_are_not_gathered() {
    let _turn = turn();
    let db = Db::in_memory().unwrap();
    query(&db, "DEFINE ENTITY Doc ON made MERGE");
    for n in 0..250 {
        db.append(NewEvent::new("Doc.made").on(("Doc", n)).member("t", "x".repeat(500))).unwrap();
    }
    query(&db, "CHECKPOINT");
    let seven = |of: &str| format!("concat({})", [of; 7].join(", "));
    let grown = |of: &str| format!("{} AS grown", seven(&seven(&seven(of))));
    for text in [
        format!("EVENTS SELECT {}", grown("data.t")),
        format!("EVENTS ORDER BY data.t SELECT {}", grown("data.t")),
        format!("FIND Doc SELECT {}", grown("state.t")),
        format!("FIND Doc ORDER BY state.t SELECT {}", grown("state.t")),
    ] {
        let (rows, work) = work(|| query(&db, &text));
        assert_eq!(rows, 250, "{text}");
        assert!(work.allocated > 60 << 20 && work.peak < 8 << 20, "{text}: {work:?}");
    }
}

// ---------------------------------------------------------------- functions

/// A call of each function, over data of a size: `data.text` of n characters, `data.list` of n items, `data.object` of n members.
const CALLS: &[(&str, &str)] = &[
    ("count", "count(data.text)"),
    ("sum", "sum(length(data.list))"),
    ("avg", "avg(length(data.list))"),
    ("min", "min(data.text)"),
    ("max", "max(data.text)"),
    ("first", "first(data.list)"),
    ("last", "last(data.object)"),
    ("distinct", "distinct(data.text)"),
    ("median", "median(length(data.list))"),
    ("percentile", "percentile(length(data.list), 0.9)"),
    ("stddev", "stddev(length(data.list))"),
    ("if", "if(data.text = '', data.list, data.object)"),
    ("coalesce", "coalesce(data.nothing, data.object)"),
    ("least", "least(data.text, data.other)"),
    ("greatest", "greatest(data.text, data.other)"),
    ("bucket", "bucket(length(data.list), 7)"),
    ("typeof", "typeof(data.object)"),
    ("lower", "lower(data.text)"),
    ("upper", "upper(data.text)"),
    ("trim", "trim(data.text)"),
    ("length", "length(data.object)"),
    ("substring", "substring(data.text, 5)"),
    ("concat", "concat(data.text, data.other, data.text)"),
    ("split", "split(data.text, ' ')"),
    ("starts_with", "starts_with(data.text, data.text)"),
    ("ends_with", "ends_with(data.text, data.text)"),
    ("regex", "regex(data.text, '(x) .*(y)$')"),
    ("round", "round(length(data.list))"),
    ("floor", "floor(length(data.list))"),
    ("ceil", "ceil(length(data.list))"),
    ("abs", "abs(length(data.list))"),
    ("year", "year(data.time)"),
    ("month", "month(data.time)"),
    ("day", "day(data.time)"),
    ("hour", "hour(data.time)"),
    ("minute", "minute(data.time)"),
    ("second", "second(data.time)"),
    ("weekday", "weekday(data.time)"),
    ("date", "date(data.time)"),
    ("keys", "keys(data.object)"),
    ("values", "values(data.object)"),
    ("append", "append(data.list, data.list)"),
    ("without", "without(data.list, 7)"),
    ("union", "union(data.list, data.more)"),
    ("slice", "slice(data.list, 3)"),
    ("get", "get(data.object, 'k7')"),
    ("put", "put(data.object, 'k7', data.list)"),
    ("merge", "merge(data.object, data.nulls)"),
    ("text", "text(data.object)"),
    ("number", "number(data.text)"),
    ("time", "time(data.text)"),
    ("is_forgotten", "is_forgotten(data.list)"),
];

/// Functions that grow too fast.
const FUNCTIONS: Known = &[];

/// An event with much of everything.
fn full(n: usize) -> NewEvent {
    let object =
        |value: fn(usize) -> Value| Value::Object((0..n).map(|at| (format!("k{at}"), value(at))).collect());
    let list = |from: usize| Value::Array((from..from + n).map(|at| Value::from(at as u64)).collect());
    NewEvent::new("Doc.came")
        .on(("Doc", 1))
        .member("text", "x yz ".repeat(n / 4))
        .member("other", "x yz ".repeat(n / 4) + "a")
        .member("time", "2024-01-01T10:00:00Z")
        .member("list", list(0))
        .member("more", list(n / 2))
        .member("object", object(|at| Value::from(at as u64)))
        .member("nulls", object(|_| Value::Null))
}

#[test]
fn each_function_takes_as_much_as_what_it_is_given() {
    let _turn = turn();
    for function in editor::functions() {
        assert!(CALLS.iter().any(|(name, _)| *name == function.name), "{} has no call here", function.name);
    }
    let dbs: Vec<(usize, Db)> = [4000, 8000, 16_000]
        .map(|n| {
            let db = Db::in_memory().unwrap();
            db.append(full(n)).unwrap();
            (n, db)
        })
        .into();
    let all = CALLS.iter().map(|(name, call)| {
        let mut of = |n: usize| {
            let (_, db) = dbs.iter().find(|(size, _)| *size == n).expect("a size");
            let statement = format!("EVENTS SELECT {call} AS found");
            let (rows, work) = work(|| rows(db, &statement, &none()));
            rows.map(|_| work)
        };
        (*name, growth(&mut of, 4000))
    });
    assert_linear(all, FUNCTIONS);
}

// ---------------------------------------------------------------- statements

/// Makes the text of a size, or a piece of it again and again.
type Text = fn(usize) -> String;

fn many(n: usize, between: &str, piece: impl Fn(usize) -> String) -> String {
    (0..n).map(piece).collect::<Vec<_>>().join(between)
}

/// Each form of a statement, and of its parts, that may be long.
const FORMS: &[(&str, Text)] = &[
    ("EMIT object", |n| format!("EMIT A.b 1 {{{}}}", many(n, ", ", |i| format!("k{i}: {i}")))),
    ("EMIT array", |n| format!("EMIT A.b 1 {{a: [{}]}}", many(n, ", ", |i| i.to_string()))),
    ("EMIT merge", |n| {
        format!("EMIT A.b 1 {{a: merge({{a: 1}}, {{{}}})}}", many(n, ", ", |i| format!("k{i}: {i}")))
    }),
    ("EMIT META", |n| format!("EMIT A.b 1 {{}} META {{{}}}", many(n, ", ", |i| format!("k{i}: {i}")))),
    ("EMIT INDEX BY", |n| {
        format!("EMIT A.b 1 {{}} INDEX BY {}", many(n / 4, ", ", |i| format!("k{i} = {i}")))
    }),
    ("EMIT text", |n| format!("EMIT A.b 1 {{t: '{}'}}", "it''s ".repeat(n))),
    ("ATOMIC", |n| format!("ATOMIC ({})", many(n / 4, "; ", |i| format!("EMIT A.b {i} {{x: {i}}}")))),
    ("EXPLAIN ATOMIC", |n| format!("EXPLAIN ATOMIC ({})", many(n / 4, "; ", |_| "EMIT A.b NEW".to_owned()))),
    ("HISTORY WHERE", |n| format!("HISTORY A 1 WHERE {}", many(n, " OR ", |i| format!("data.x = {i}")))),
    ("EVENTS WHERE AND", |n| format!("EVENTS WHERE {}", many(n, " AND ", |i| format!("data.x != {i}")))),
    ("EVENTS WHERE IN", |n| format!("EVENTS WHERE data.x IN ({})", many(n, ", ", |i| i.to_string()))),
    ("EVENTS WHERE sum", |n| format!("EVENTS WHERE data.x = {}", many(n, " + ", |_| "data.y".to_owned()))),
    ("EVENTS WHERE path", |n| format!("EVENTS WHERE data{} = 1", ".a".repeat(n.min(16_000)))),
    ("EVENTS WHERE concat", |n| {
        format!("EVENTS WHERE concat({}) = ''", many(n, ", ", |_| "data.y".to_owned()))
    }),
    ("EVENTS BY IN", |n| format!("EVENTS BY tag IN ({})", many(n / 4, ", ", |i| i.to_string()))),
    ("parse a dotted kind", |n| format!("EVENTS BY tag = {}z 1", "a.".repeat(20 * n))),
    ("EVENTS SELECT", |n| format!("EVENTS SELECT {} LIMIT 1", many(n, ", ", |i| format!("data.x AS c{i}")))),
    ("EVENTS GROUP BY", |n| {
        format!(
            "EVENTS GROUP BY {} SELECT count() AS n",
            many(n / 8, ", ", |i| format!("data.x + {i} AS c{i}"))
        )
    }),
    ("EVENTS aggregates", |n| {
        format!("EVENTS SELECT {}", many(n / 8, ", ", |i| format!("sum(data.x + {i}) AS c{i}")))
    }),
    ("EVENTS ORDER BY", |n| {
        format!("EVENTS ORDER BY {} LIMIT 1", many(n / 8, ", ", |i| format!("data.x + {i}")))
    }),
    ("EVENTS HAVING", |n| {
        format!(
            "EVENTS GROUP BY data.x AS x HAVING {} SELECT count() AS n",
            many(n / 8, " AND ", |i| format!("count() != {i} + 100000"))
        )
    }),
    ("FIND WHERE", |n| format!("FIND A WHERE {}", many(n, " OR ", |i| format!("state.x = {i}")))),
    ("AT", |n| format!("AT A '{}'", "x".repeat(n.min(400)))),
    ("EXPLAIN", |n| format!("EXPLAIN EVENTS WHERE data.x IN ({})", many(n, ", ", |i| i.to_string()))),
    ("DEFINE ENTITY SET", |n| {
        format!("DEFINE ENTITY E ON x SET {}", many(n, ", ", |i| format!("k{i} = data.x")))
    }),
    ("DEFINE ENTITY rules", |n| {
        format!("DEFINE ENTITY E {}", many(n / 8, " ", |i| format!("ON h{i} MERGE")))
    }),
    ("DEFINE ENTITY INITIAL", |n| {
        format!("DEFINE ENTITY E INITIAL {{{}}}", many(n, ", ", |i| format!("k{i}: {i}")))
    }),
    ("DEFINE VERB REQUIRE", |n| {
        format!("DEFINE VERB v ON A {} EMIT b", many(n / 4, " ", |i| format!("REQUIRE data.x != {i}")))
    }),
    ("DEFINE VERB WHEN", |n| {
        format!("DEFINE VERB v ON A {}", many(n / 4, " ", |i| format!("WHEN data.x = {i} EMIT b")))
    }),
    ("DEFINE VERB EMIT", |n| format!("DEFINE VERB v ON A {}", many(n, " ", |i| format!("EMIT b{i}")))),
    ("DEFINE VERB BY", |n| format!("DEFINE VERB v ON A BY {} EMIT b", many(n, ", ", |i| format!("B{i}")))),
    ("DEFINE INDEX", |n| {
        format!("DEFINE INDEX i ON 'Z.*' AS coalesce({})", many(n, ", ", |i| format!("data.k{i}")))
    }),
    ("DEFINE VIEW", |n| {
        format!("DEFINE VIEW w AS EVENTS 'Z.*' SELECT {}", many(n / 4, ", ", |i| format!("data.x AS c{i}")))
    }),
    ("DEFINE REACTION", |n| {
        format!(
            "DEFINE REACTION r ON 'Z.z' DO ({})",
            many(n / 4, "; ", |i| format!("EMIT Y.y {i} {{x: {i}}}"))
        )
    }),
    ("DEFINE SCHEDULE", |n| {
        format!(
            "DEFINE SCHEDULE s EVERY 1d DO ({})",
            many(n / 4, "; ", |i| format!("EMIT Y.y {i} {{x: {i}}}"))
        )
    }),
    ("DEFINE WEBHOOK", |n| {
        format!(
            "DEFINE WEBHOOK h ON 'Z.z' WHERE {} TO 'http://127.0.0.1:1'",
            many(n, " OR ", |i| format!("data.x = {i}"))
        )
    }),
    ("parameters", |n| format!("EVENTS WHERE data.x IN ({})", many(n, ", ", |i| format!("$p{i}")))),
];

/// Forms of statements that grow too fast.
const STATEMENTS: Known = &[];

#[test]
fn each_statement_takes_as_much_as_it_is_long() {
    let _turn = turn();
    let all = FORMS.iter().map(|(name, text)| {
        let mut of = |n: usize| {
            // Each has a database of its own: what one appended is not what the next is measured over.
            let db = Db::in_memory().unwrap();
            for at in 0..10 {
                db.append(NewEvent::new("A.b").on(("A", at)).member("x", at).index("tag", at)).unwrap();
            }
            let text = text(n);
            if name.starts_with("parse ") {
                // It is no more than that: what it names is too long to be anything.
                let (parsed, work) = work(|| Script::parse(&text).map(drop));
                return parsed.map(|()| work).map_err(|error| short(&error.to_string()));
            }
            let mut parameters = Parameters::new();
            if text.contains('$') {
                parameters = (0..n).fold(parameters, |all, at| all.set(&format!("p{at}"), at as u64));
            }
            let (rows, work) = work(|| rows(&db, &text, &parameters));
            rows.map(|_| work)
        };
        (*name, growth(&mut of, 3000))
    });
    assert_linear(all, STATEMENTS);
}

// ---------------------------------------------------------------- imports

/// A line of an import, with each of its members large.
const MEMBERS: &[(&str, Text)] = &[
    ("data", |n| format!(r#"{{"type":"A.b","data":{{{}}}}}"#, many(n, ",", |i| format!(r#""k{i}":{i}"#)))),
    ("data array", |n| format!(r#"{{"type":"A.b","data":{{"a":[{}]}}}}"#, many(n, ",", |i| i.to_string()))),
    ("data text", |n| format!(r#"{{"type":"A.b","data":{{"a":"{}"}}}}"#, r"\n\u00e9".repeat(n))),
    ("metadata", |n| {
        format!(r#"{{"type":"A.b","metadata":{{{}}}}}"#, many(n, ",", |i| format!(r#""k{i}":{i}"#)))
    }),
    ("tags", |n| format!(r#"{{"type":"A.b","tags":{{{}}}}}"#, many(n, ",", |i| format!(r#""k{i}":{i}"#)))),
    ("vector", |n| {
        format!(
            r#"{{"type":"A.b","producer":{{"type":"M","id":"1","vector":"{}"}}}}"#,
            many(n / 8, ";", |i| format!("n{i}:1"))
        )
    }),
    ("namespace", |n| format!(r#"{{"type":"A.b","namespace":"{}"}}"#, "n".repeat(n))),
    ("type", |n| format!(r#"{{"type":"A.{}"}}"#, "b.c".repeat(n.min(400) / 3))),
    ("cloud event", |n| {
        format!(
            r#"{{"specversion":"1.0","id":"e{n}","source":"/s","type":"A.b","data":{{{}}}}}"#,
            many(n, ",", |i| format!(r#""k{i}":{i}"#))
        )
    }),
    ("_indexBy", |n| {
        format!(
            r#"{{"_type":"A.b","_indexBy":[{}],{}}}"#,
            many(n / 4, ",", |i| format!(r#""k{i}""#)),
            many(n / 4, ",", |i| format!(r#""k{i}":{i}"#))
        )
    }),
    ("blanks", |n| format!(r#"{{"type":"A.b",{}"data":{{}}}}"#, " ".repeat(n * 10))),
];

/// Members that grow too fast.
const IMPORTS: Known = &[];

#[test]
fn each_member_of_an_imported_line_takes_as_much_as_it_is_long() {
    let _turn = turn();
    let all = MEMBERS.iter().map(|(name, text)| {
        let mut of = |n: usize| {
            let (db, line) = (Db::in_memory().unwrap(), text(n));
            let import = || db.import(line.as_bytes(), &ImportOptions::new(), &mut |_| {});
            let (imported, work) = work(import);
            imported.map(|_| work).map_err(|error| error.to_string())
        };
        (*name, growth(&mut of, 4000))
    });
    assert_linear(all, IMPORTS);
}

// ---------------------------------------------------------------- many of them

#[test]
fn a_definition_costs_about_the_same_however_many_there_are() {
    let _turn = turn();
    const KINDS: &[(&str, Text)] = &[
        ("index", |i| format!("DEFINE INDEX i{i} ON 'A{i}.*' AS data.x")),
        ("entity", |i| format!("DEFINE ENTITY E{i} ON x SET n = data.x")),
        ("verb", |i| format!("DEFINE VERB v{i} ON A EMIT b")),
        ("view", |i| format!("DEFINE VIEW w{i} AS EVENTS 'A{i}.*' GROUP BY data.x AS x SELECT count() AS n")),
        ("view of events", |i| format!("DEFINE VIEW w{i} AS EVENTS 'A{i}.*'")),
        ("index of states", |i| match i {
            0 => "DEFINE ENTITY Z ON x SET n = data.x".to_owned(),
            _ => format!("DEFINE INDEX s{i} ON 'Z' AS state.x"),
        }),
        ("reaction", |i| format!("DEFINE REACTION r{i} ON 'A{i}.b' DO EMIT B{i}.c 1")),
        ("the same index", |i| format!("DEFINE INDEX one ON 'A.*' AS data.x{i}")),
    ];
    let all = KINDS.iter().map(|(name, text)| {
        let mut of = |n: usize| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("many.bygone");
            let options =
                || Options::new().durability(bygone::maintain::Durability::Interval(Duration::from_secs(1)));
            let defined = work(|| {
                let db = options().create(&file).unwrap();
                for at in 0..n {
                    query(&db, &text(at));
                }
                assert!(db.wait_for_indexes(PATIENCE).unwrap());
                db.close().unwrap();
            });
            // To open it again is part of it.
            let opened = work(|| {
                let db = options().open(&file).unwrap();
                assert!(db.wait_for_indexes(PATIENCE).unwrap());
                db.close().unwrap();
            });
            Ok(Work {
                allocated: defined.1.allocated + opened.1.allocated,
                peak: defined.1.peak.max(opened.1.peak),
                processor: defined.1.processor + opened.1.processor,
            })
        };
        (*name, growth(&mut of, 250))
    });
    assert_linear(all, &[]);
}

#[test]
fn blame_takes_as_long_as_what_happened() {
    let _turn = turn();
    /// What is defined of the entity, and the data of its events.
    type Way = (&'static str, Option<&'static str>, fn(usize) -> Value);
    const WAYS: &[Way] = &[
        ("members", None, |i| format!(r#"{{"k{i}":{i}}}"#).parse().unwrap()),
        ("members of a member", None, |i| format!(r#"{{"all":{{"k{i}":{i}}}}}"#).parse().unwrap()),
        ("merged", Some("DEFINE ENTITY E ON x MERGE"), |i| format!(r#"{{"k{i}":{i}}}"#).parse().unwrap()),
        (
            "behind a list",
            Some("DEFINE ENTITY E INITIAL {items: []} ON x SET items = append(state.items, data.x)"),
            |i| format!(r#"{{"x":{i}}}"#).parse().unwrap(),
        ),
    ];
    let all = WAYS.iter().map(|(name, define, data)| {
        let mut of = |n: usize| {
            let db = Db::in_memory().unwrap();
            if let Some(define) = define {
                query(&db, define);
            }
            db.append_all((0..n).map(|at| NewEvent::new("E.x").on(("E", 1)).data(&data(at)))).unwrap();
            let (rows, work) = work(|| query(&db, "BLAME E 1"));
            assert!(rows >= n, "{rows}");
            Ok(work)
        };
        (*name, growth(&mut of, 2000))
    });
    assert_linear(all, &[]);
}

// ---------------------------------------------------------------- limits

#[test]
fn a_statement_takes_a_small_multiple_of_its_text() {
    let _turn = turn();
    let text = format!("EVENTS WHERE data.x IN ({})", vec!["1"; 260_000].join(","));
    let (script, parsed) = work(|| Script::parse(&text).unwrap());
    // As many words and signs as a text may have, and so as much memory as one may take.
    assert!(parsed.peak < 6 * (16 << 20), "{} MiB", parsed.peak >> 20);
    drop(script);

    // What is too long takes nothing: its size is known, or it is not collected.
    let long = format!("EMIT A.b 1 {{t: '{}'}}", "x".repeat(17 << 20));
    let (refused, taken) = work(|| Script::parse(&long).map(drop).unwrap_err().to_string());
    assert!(refused.contains("at most 16 MiB") && refused.contains("max_statement"), "{refused}");
    assert!(taken.peak < 1 << 20, "{taken:?}");
    let wordy = format!("EVENTS WHERE data.x IN ({})", vec!["1"; 270_000].join(","));
    let (refused, taken) = work(|| Script::parse(&wordy).map(drop).unwrap_err().to_string());
    assert!(refused.contains("words and signs"), "{refused}");
    assert!(taken.peak < 20 << 20, "{taken:?}");

    let db = Options::new().max_statement(1000).in_memory().unwrap();
    let text = format!("EMIT A.b 1 {{t: '{}'}}", "x".repeat(1000));
    assert!(db.query(&text).is_err_and(|error| error.to_string().contains("at most 1000 bytes")));
    let parsed = Script::parse(&text).unwrap();
    assert!(db.run(&parsed.statements()[0]).is_err());
    assert!(Script::parse_within(&long, 32 << 20).is_ok());
}

#[test]
fn a_limit_of_time_and_one_of_memory_are_kept() {
    let _turn = turn();
    const LIMIT: Duration = Duration::from_millis(200);
    let db = Options::new().query_memory(4 << 20).in_memory().unwrap();
    let kept: Vec<NewEvent> = (0..30_000)
        .map(|at| {
            let data = format!(r#"{{"x":{at},"text":"{}"}}"#, "x yz ".repeat(20)).parse::<Value>().unwrap();
            NewEvent::new("E.x").on(("E", at % 10)).data(&data).index("tag", at)
        })
        .collect();
    db.append_all(kept).unwrap();
    let members = (0..20_000).map(|at| {
        let data = format!(r#"{{"k{at}":"{}"}}"#, "x".repeat(100)).parse::<Value>().unwrap();
        NewEvent::new("B.x").on(("B", 1)).data(&data)
    });
    db.append_all(members).unwrap();
    for statement in [
        "BLAME B 1",
        "REPLAY B 1 STEPS",
        "DIFF B 1 FROM START",
        "EVENTS ORDER BY data.text",
        "EVENTS GROUP BY data.x AS x SELECT count() AS n",
        "EVENTS SELECT distinct(data.x) AS n",
        "EVENTS SELECT concat(data.text, data.text) AS t",
        "EVENTS WHERE split(data.text, ' ') CONTAINS 'nothing'",
        "HISTORY E 1 WHERE data.text MATCHES '%a'",
        "FIND E ORDER BY state.x",
        "TRACE #1",
    ] {
        let began = Instant::now();
        let (_, work) = work(|| {
            let limit = Cancel::after(LIMIT);
            // Whether it was done, or ended by either limit, it was within both.
            let Ok(answer) = db.cancelled_by(&limit).query(statement) else { return };
            let _ = answer.rows.take_while(Result::is_ok).count();
        });
        // The machine may be busy with something else.
        let took = if cfg!(target_os = "linux") { work.processor } else { began.elapsed() };
        assert!(took < LIMIT + Duration::from_millis(500), "{statement} took {took:?}");
        assert!(work.peak < (4 << 20) + (24 << 20), "{statement} held {} MiB", work.peak >> 20);
    }
}

#[test]
fn to_verify_a_view_takes_no_more_memory_the_more_groups_it_has() {
    let _turn = turn();
    let db = Options::new().query_memory(1 << 20).in_memory().unwrap();
    query(&db, "DEFINE VIEW v AS EVENTS 'E.x' GROUP BY data.key AS key SELECT sum(data.n) AS n");
    let event = |at: u64| {
        let data = format!(r#"{{"key":"{at:0>500}","n":{at}}}"#).parse::<Value>().unwrap();
        NewEvent::new("E.x").on(("E", at)).data(&data)
    };
    const GROUPS: u64 = 20_000;
    db.append_all((0..GROUPS).map(event)).unwrap();
    query(&db, "CHECKPOINT");
    let began = Instant::now();
    while db.verify().unwrap().states < GROUPS {
        assert!(began.elapsed() < PATIENCE, "the view is not kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (found, work) = work(|| db.verify().unwrap());
    assert_eq!(found.faults, [""; 0]);
    assert_eq!(found.states, GROUPS, "each group is compared once");
    // Runs of the log, what is known of entities and pages of the file come beside them.
    assert!(work.peak < (1 << 20) + (20 << 20), "it held {} MiB", work.peak >> 20);
}
