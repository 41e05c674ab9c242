//! The page of limits, `docs/guide/limits.md`: what it says of each is what the code has, and what is said when it is reached.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::db::Db;
use crate::error::{Result, size};
use crate::event::{EventId, MAX_TAGS, NewEvent, VectorClock};
use crate::exec::dead_letter::MAX_SET_ASIDE;
use crate::live::Delivery;
use crate::pattern::{MAX_ALTERNATIVE, MAX_ALTERNATIVES, MAX_PATTERN};
use crate::plan::unnest::MAX_UNNESTED;
use crate::query::Script;
use crate::store::Options;
use crate::store::append_request::AppendRequest;
use crate::store::index::term::MAX_TERM;
use crate::store::view::MAX_GROUP;
use crate::transfer::ImportOptions;
use crate::value::{MAX_DEPTH, Value};

/// What is said when a limit is reached.
enum Reached {
    /// This, which was tried.
    Says(String),
    /// What a test says that reaches it.
    In(&'static str),
}

/// A row of the page.
struct Limit {
    of: &'static str,
    number: String,
    setting: &'static str,
    /// A part of what is said.
    said: String,
    reached: Reached,
}

fn limit(
    of: &'static str,
    number: impl ToString,
    setting: &'static str,
    said: impl ToString,
    reached: Reached,
) -> Limit {
    Limit { of, number: number.to_string(), setting, said: said.to_string(), reached }
}

fn bytes(bytes: usize) -> String {
    size(bytes as u64)
}

/// The error of what is too much.
fn says<T>(tried: Result<T>) -> Reached {
    Reached::Says(tried.err().expect("more than there may be").to_string())
}

/// The error of a statement, in a database with these options and some events.
fn query(options: Options, text: &str) -> Reached {
    let db = options.in_memory().unwrap();
    let order = |n: u64| NewEvent::new("Order.paid").on(("Order", n)).member("text", "x".repeat(600));
    (0..100).for_each(|n| drop(db.append(order(n)).unwrap()));
    let rows = db.query(text).and_then(|answer| answer.rows.collect::<Result<Vec<_>>>());
    says(rows)
}

/// Why a program that runs sets an event aside.
fn set_aside(options: Options, definition: &str, event: &str) -> Reached {
    let db = options.live(true).retries(1, Duration::ZERO).in_memory().unwrap();
    let mut failures = db.subscribe("$*.failed").from_start();
    db.query(definition).unwrap();
    db.query(event).unwrap();
    loop {
        match failures.next_timeout(Duration::from_secs(60)).expect("it is set aside").unwrap() {
            Delivery::CaughtUp(_) => {}
            Delivery::Event(event) => return Reached::Says(event.data.to_string()),
        }
    }
}

fn emit(event: NewEvent) -> Reached {
    says(Db::in_memory().unwrap().append(event))
}

fn texts() -> Vec<Limit> {
    let defaults = Options::default();
    let long = |n: usize| "x".repeat(n);
    vec![
        limit(
            "a text of statements",
            bytes(defaults.max_statement),
            "`Options::max_statement`, `--max-statement`",
            "a text of statements: expected at most",
            query(Options::new().max_statement(100), &format!("EVENTS WHERE type = '{}'", long(100))),
        ),
        limit(
            "words and signs in it",
            defaults.max_statement / 32,
            "the same: one for each 32 bytes, and 1,000 at least",
            "words and signs",
            query(Options::new().max_statement(3000), &format!("EVENTS {}", ". ".repeat(1000))),
        ),
        limit(
            "brackets within each other, in a text and in a value",
            MAX_DEPTH,
            "",
            "nested deeper than 100",
            query(Options::new(), &format!("EVENTS WHERE {}", "(".repeat(MAX_DEPTH + 1))),
        ),
        limit(
            "a pattern of types",
            bytes(MAX_PATTERN),
            "",
            "pattern: expected at most 65536 bytes",
            query(Options::new(), &format!("EVENTS 'A.{}'", long(MAX_PATTERN))),
        ),
        limit(
            "its alternatives",
            MAX_ALTERNATIVES,
            "",
            "pattern: expected at most 1000 with a comma between them",
            query(Options::new(), &format!("EVENTS '{}'", vec!["A.b"; MAX_ALTERNATIVES + 1].join(","))),
        ),
        limit(
            "one of them",
            bytes(MAX_ALTERNATIVE),
            "",
            "pattern: expected at most 1024 bytes between two commas",
            query(Options::new(), &format!("EVENTS 'A.b,*{}'", long(MAX_ALTERNATIVE))),
        ),
        limit(
            "`UNNEST` in a statement",
            MAX_UNNESTED,
            "",
            "a statement has at most 8",
            query(Options::new(), &format!("EVENTS {}", "UNNEST data.a AS a ".repeat(MAX_UNNESTED + 1))),
        ),
        limit(
            "a regular expression",
            "16 KiB",
            "",
            "at most 16 KiB are understood",
            query(Options::new(), &format!("EVENTS WHERE regex(type, '{}')", long((16 << 10) + 1))),
        ),
        limit(
            "a value that is made, and a state",
            bytes(defaults.largest_value),
            "`Options::largest_value`, `--largest-value`",
            "a value that is made in at most",
            query(Options::new().largest_value(1000), "EVENTS SELECT concat(data.text, data.text)"),
        ),
        limit(
            "what a query holds",
            bytes(defaults.query_memory),
            "`Options::query_memory`, `--memory`",
            "bytes that a query may hold in memory",
            query(Options::new().query_memory(1000), "EVENTS ORDER BY target.id"),
        ),
    ]
}

fn events() -> Vec<Limit> {
    let defaults = Options::default();
    let paid = || NewEvent::new("Order.paid").on(("Order", 1));
    let large = || paid().member("text", "x".repeat(600));
    let small = Options::new().limits(500, 500).in_memory().unwrap();
    let group = Options::new().limits(1000, 1000).in_memory().unwrap();
    let tagged = (0..=MAX_TAGS).fold(paid(), |event, n| event.index(&n.to_string(), n));
    let import = format!(r#"{{"type":"A.b","data":{{"x":"{}"}}}}"#, "x".repeat(33 << 20));
    let imported = Db::in_memory().unwrap().import(import.as_bytes(), &ImportOptions::new(), &mut |_| {});
    vec![
        limit(
            "an event",
            bytes(defaults.max_event),
            "`Options::limits`, to less",
            "the event Order.paid: expected at most",
            says(small.append(large())),
        ),
        limit(
            "a group of events",
            bytes(defaults.max_group),
            "`Options::limits`, to less",
            "events: expected at most",
            says(group.append_all([large(), large()])),
        ),
        limit(
            "a type, an id, a key, a name of a definition: what events are found by",
            format!("{MAX_TERM} bytes"),
            "",
            "at most 512 bytes in an index",
            emit(paid().key(&"k".repeat(MAX_TERM + 1))),
        ),
        limit(
            "the id of an event",
            "256 bytes",
            "",
            "a text of 1 to 256 bytes",
            says(EventId::new(&"x".repeat(257))),
        ),
        limit(
            "the namespace of an entity",
            "256 bytes",
            "",
            "a namespace: expected at most 256 bytes",
            query(Options::new(), &format!("DEFINE ENTITY Account NAMESPACE {}", "x".repeat(257))),
        ),
        limit(
            "index values of an event",
            MAX_TAGS,
            "",
            "index values: expected at most 16384 of an event",
            emit(tagged),
        ),
        limit(
            "a count in a vector clock",
            VectorClock::MOST,
            "",
            "at most 9007199254740991",
            says(VectorClock::new().with("a", VectorClock::MOST + 1)),
        ),
        limit(
            "the text of an event that is imported",
            "32 MiB",
            "",
            "an event: expected at most 32 MiB",
            says(imported),
        ),
        limit(
            "what waits to be committed",
            bytes(defaults.queue_bytes),
            "`Options::queue`",
            "nothing: who appends waits for room",
            Reached::In("submitters_wait_for_room_in_the_queue"),
        ),
    ]
}

fn definitions() -> Vec<Limit> {
    let defaults = Options::default();
    let one = Options::new().max_definitions(0);
    let subscription = |options: Options, name: &str| {
        let db = options.in_memory().unwrap();
        says(db.subscribe("*").durable(name))
    };
    let name = "x".repeat(256);
    vec![
        limit(
            "definitions",
            defaults.max_definitions,
            "`Options::max_definitions`, `--max-definitions`",
            "(Options::max_definitions, --max-definitions)",
            query(one, "DEFINE VERB Pay ON Order EMIT paid"),
        ),
        limit(
            "subscriptions with a name",
            defaults.max_subscriptions,
            "`Options::max_subscriptions`, `--max-subscriptions`",
            "(Options::max_subscriptions, --max-subscriptions)",
            subscription(Options::new().max_subscriptions(0), "billing"),
        ),
        limit(
            "the name of a subscription",
            "255 bytes",
            "",
            "a text of up to 255 bytes",
            subscription(Options::new(), &name),
        ),
        limit(
            "the name of a reaction, a webhook, a schedule",
            "255 bytes",
            "",
            "at most 255 bytes",
            query(Options::new(), &format!("DEFINE REACTION {name} ON 'A.b' DO EMIT B.c 1")),
        ),
        limit(
            "a group of a view that is kept",
            bytes(MAX_GROUP),
            "",
            "is too large to be kept, or damaged: the view is worked out of the log",
            Reached::In("a_group_that_is_too_large_is_worked_out"),
        ),
        limit(
            "what a group of a view is grouped by, that is kept",
            bytes(MAX_GROUP),
            "",
            "what a group of a view is grouped by: expected at most",
            Reached::In("a_view_that_is_grouped_by_what_is_too_large_is_kept_no_further"),
        ),
    ]
}

fn programs() -> Vec<Limit> {
    let defaults = Options::default();
    vec![
        limit(
            "a period of a reaction or a schedule",
            "36500 days",
            "",
            "expected 36500d or less",
            query(Options::new(), "DEFINE REACTION r ON 'A.b' AFTER 36501d DO EMIT B.c 1"),
        ),
        limit(
            "reactions that follow from each other",
            64,
            "",
            "a chain of reactions: expected at most 64 that follow from each other",
            set_aside(
                Options::new(),
                "DEFINE REACTION r ON 'A.b' WHERE position > 0 DO EMIT A.b 1",
                "EMIT A.b 1",
            ),
        ),
        limit(
            "events that reactions make of one",
            defaults.max_brought_about,
            "`Options::max_brought_about`, `--max-brought-about`",
            "events (Options::max_brought_about, --max-brought-about)",
            set_aside(
                Options::new().max_brought_about(3),
                "DEFINE REACTION r ON 'A.b' WHERE position > 0 DO EMIT A.b 1",
                "EMIT A.b 1",
            ),
        ),
        limit(
            "tries of a reaction or a schedule",
            defaults.retries.attempts,
            "`Options::retries`",
            "what failed is set aside",
            Reached::In("what_keeps_failing_is_set_aside_until_somebody_says_retry_or_skip"),
        ),
        limit(
            "what is set aside of a reaction, a webhook, a schedule",
            MAX_SET_ASIDE,
            "",
            "events are set aside: it waits for RETRY",
            Reached::In("with_too_many_set_aside_it_waits"),
        ),
    ]
}

#[cfg(feature = "webhooks")]
fn webhooks() -> Vec<Limit> {
    let defaults = Options::default().delivery;
    let webhook = |to: &str| format!("DEFINE WEBHOOK w ON 'A.*' TO '{to}'");
    let to = format!("http://example.com/{}", "x".repeat(2048));
    vec![
        limit(
            "the URL of a webhook",
            "2048 bytes",
            "",
            "2048 bytes at most",
            query(Options::new(), &webhook(&to)),
        ),
        limit(
            "what a webhook sends of an event",
            bytes(defaults.max_body),
            "`Options::max_webhook_body`",
            "(Options::max_webhook_body)",
            // Nothing is sent: nobody is there.
            set_aside(Options::new().max_webhook_body(100), &webhook("http://127.0.0.1:9/"), "EMIT A.b 1"),
        ),
        limit(
            "tries of a webhook",
            defaults.attempts,
            "`Options::webhooks`",
            "what failed is set aside",
            Reached::In("what_is_never_taken_is_set_aside_on_record_and_the_rest_goes_on"),
        ),
        limit(
            "how long a receiver takes to answer",
            format!("{} s", defaults.timeout.as_secs()),
            "`Options::webhooks`",
            "no answer in time",
            Reached::In("one_that_hangs_fails_in_time_and_holds_up_no_other_webhook"),
        ),
    ]
}

/// All functions of sources and tests.
fn sources() -> String {
    fn gather(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => gather(&entry, text),
                false if entry.extension().is_some_and(|extension| extension == "rs") => {
                    text.push_str(&fs::read_to_string(&entry).unwrap());
                }
                false => {}
            }
        }
    }
    let (root, mut text) = (Path::new(env!("CARGO_MANIFEST_DIR")), String::new());
    ["src", "tests"].into_iter().for_each(|folder| gather(&root.join(folder), &mut text));
    text
}

#[test]
#[cfg(feature = "webhooks")]
fn the_page_of_limits_says_what_holds() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/limits.md");
    let page = fs::read_to_string(page).unwrap();
    let sources = sources();
    let (mut given, mut faults) = (Vec::new(), Vec::new());
    for Limit { of, number, setting, said, reached } in
        [texts(), events(), definitions(), programs(), webhooks()].into_iter().flatten()
    {
        match reached {
            Reached::Says(text) if !text.contains(&said) => {
                faults.push(format!("{of}: '{said}' is not in '{text}'"));
            }
            Reached::In(test) if !sources.contains(&format!("fn {test}(")) => {
                faults.push(format!("{of}: there is no test {test}"));
            }
            _ => {}
        }
        let setting = if setting.is_empty() { "nobody" } else { setting };
        given.push(format!("| {of} | {number} | {setting} | {said} |"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let shown: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| limit of"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(shown == given, "the page is to have\n{}", given.join("\n"));
}

#[test]
fn a_text_has_so_many_words_and_signs_unless_more_is_said() {
    let most = Options::default().max_statement / 32;
    // The end of the text counts as one.
    assert!(Script::parse(&";".repeat(most - 1)).is_ok());
    let error = Script::parse(&";".repeat(most)).unwrap_err().to_string();
    assert!(error.contains(&format!("at most {most} words and signs")), "{error}");
}

/// Makes so many definitions of all kinds, each as a statement makes one: by its event, many in a group.
fn define_many(db: &Db, definitions: usize) {
    const NAME: &str = "qq";
    let scratch = Db::in_memory().unwrap();
    for text in [
        "DEFINE INDEX iqq ON 'Aqq.*' AS data.x",
        "DEFINE ENTITY Eqq ON x SET n = data.x",
        "DEFINE VERB vqq ON A EMIT b",
        "DEFINE VIEW wqq AS EVENTS 'Aqq.*' GROUP BY data.x AS x SELECT count() AS n",
        "DEFINE REACTION rqq ON 'Aqq.b' DO EMIT Bqq.c 1",
        "DEFINE WEBHOOK hqq ON 'Aqq.b' TO 'http://example.com/qq'",
        "DEFINE SCHEDULE sqq EVERY 1d DO EMIT Bqq.c 1",
    ] {
        scratch.query(text).unwrap();
    }
    let made: Vec<_> = scratch.events("$*").unwrap().map(Result::unwrap).collect();
    assert_eq!(made.len(), 7);
    let one = |n: usize| {
        let (event, name) = (&made[n % made.len()], n.to_string());
        let target = event.target.as_ref().unwrap();
        let data: Value = event.data.to_string().replace(NAME, &name).parse().unwrap();
        NewEvent::new(event.kind.as_str()).on((target.kind(), target.id().replace(NAME, &name))).data(&data)
    };
    let numbers: Vec<usize> = (0..definitions).collect();
    for numbers in numbers.chunks(500) {
        let events = numbers.iter().map(|n| one(*n)).collect();
        db.store().append(AppendRequest { events, internal: true, ..AppendRequest::default() }).unwrap();
    }
}

#[test]
fn ten_thousand_definitions_hold_and_one_too_many_does_not() {
    const MANY: usize = 10_000;
    let disk = std::sync::Arc::new(crate::store::disk::memory::MemoryDisk::new());
    // Nothing is built meanwhile: there are no events.
    let options = || {
        let mut options = Options::new().disk(disk.clone()).max_definitions(MANY);
        options.by_hand = true;
        options
    };
    let db = options().create("/many.bygone").unwrap();
    define_many(&db, MANY);
    assert_eq!(db.metrics().unwrap().value("bygone_definitions"), Some(MANY as f64));
    let refused = db.query("DEFINE VERB more ON A EMIT b").unwrap_err().to_string();
    assert!(refused.contains("at most 10000") && refused.contains("the verb more"), "{refused}");
    // What takes the place of another is none too many, and nor is one where another was dropped.
    db.query("DEFINE VERB v2 ON A EMIT c").unwrap();
    db.query("DROP VERB v2").unwrap();
    db.query("DEFINE VERB more ON A EMIT b").unwrap();
    db.close().unwrap();
    // What is in the log holds, whatever may be added.
    let began = std::time::Instant::now();
    let db = options().max_definitions(10).open("/many.bygone").unwrap();
    println!("opened with {MANY} definitions in {:?}", began.elapsed());
    assert_eq!(db.metrics().unwrap().value("bygone_definitions"), Some(MANY as f64));
    assert!(db.query("DEFINE VERB v2 ON A EMIT b").is_err());
    db.query("DEFINE VERB more ON A EMIT c").unwrap();
}
