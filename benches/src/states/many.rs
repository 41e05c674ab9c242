//! Many entities of three events each: what keeping their states costs, and how quickly they are found by what they are.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bygone::read::PreparedStatement;
use bygone::{Db, NewEvent, Parameters};
use rusqlite::{Connection, Statement, params};

use super::{rows, slice, wait_until};
use crate::Result;
use crate::arguments::Arguments;
use crate::contestant::{BYGONE, SQLITE, sqlite};
use crate::event::Random;
use crate::import::peak_memory;
use crate::table::{Table, quantile};
use crate::write::{BATCH, settle_disk};

const DEFINITION: &str = "DEFINE ENTITY Account INITIAL {balance: 0}
      ON opened SET owner = data.owner, city = data.city
      ON deposited SET balance = state.balance + data.amount
      ON withdrawn SET balance = state.balance - data.amount";
const INDEX: &str = "DEFINE INDEX balance ON 'Account' AS state.balance";

/// So many fresh events of the kind are in the memtable when it is called full.
const TAIL: u64 = 80_000;

/// What happens to an account.
#[derive(Debug, Clone, Copy)]
enum Happened {
    Opened { owner: u64 },
    Deposited { amount: i64 },
    Withdrawn { amount: i64 },
}

impl Happened {
    fn new(round: u64, random: &mut Random) -> Happened {
        match round {
            0 => Happened::Opened { owner: random.below(1 << 32) },
            1 => Happened::Deposited { amount: 10_000 + random.below(1_000_000) as i64 },
            _ => Happened::Withdrawn { amount: random.below(10_000) as i64 },
        }
    }

    fn event(self, id: u64, actor: u64) -> NewEvent {
        let event = match self {
            Happened::Opened { owner } => NewEvent::new("Account.opened")
                .member("owner", format!("customer-{owner:08x}"))
                .member("city", city(owner)),
            Happened::Deposited { amount } => NewEvent::new("Account.deposited").member("amount", amount),
            Happened::Withdrawn { amount } => NewEvent::new("Account.withdrawn").member("amount", amount),
        };
        event.on(("Account", id)).by(("User", actor))
    }
}

fn city(owner: u64) -> String {
    format!("city-{}", owner % 997)
}

/// Calls with each event, those of an entity scattered over the whole: its number, what happened and who did it.
fn each(size: u64, mut event: impl FnMut(&[(u64, Happened, u64)]) -> Result<()>) -> Result<()> {
    let mut random = Random(11);
    let mut ids: Vec<u64> = (1..=size).collect();
    for round in 0..3 {
        for at in (1..ids.len()).rev() {
            ids.swap(at, random.below(at as u64 + 1) as usize);
        }
        for batch in ids.chunks(BATCH) {
            let batch: Vec<_> =
                batch.iter().map(|id| (*id, Happened::new(round, &mut random), random.below(500))).collect();
            event(&batch)?;
        }
    }
    Ok(())
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    println!("\n9. {} entities of three events each\n", arguments.size);
    println!(
        "| {:<46} | {:>8} | {:>9} | {:>9} | {:>10} |",
        "", "seconds", "events/s", "file MiB", "memory MiB"
    );
    println!("|{:-<48}|{:->10}|{:->11}|{:->11}|{:->12}|", "", ":", ":", ":", ":");
    let plain = folder.path().join("plain.bygone");
    let kept = folder.path().join("kept.bygone");
    fill_bygone(arguments.size, &plain, &[], "Bygone, no states")?;
    fill_bygone(arguments.size, &kept, &[DEFINITION, INDEX], "Bygone, states and an index of them")?;
    if arguments.wants_contestant(SQLITE) {
        fill_sqlite(arguments.size, folder.path(), false, "SQLite, no states")?;
        std::fs::remove_file(sqlite::file(folder.path()))?;
        fill_sqlite(arguments.size, folder.path(), true, "SQLite, states and an index of them")?;
    }
    define_later(arguments.size, &plain)?;
    std::fs::remove_file(&plain)?;
    ask(arguments, &kept, folder.path())
}

fn line(name: &str, took: Duration, events: u64, file: &Path) -> Result<()> {
    let (seconds, mib) = (took.as_secs_f64(), file.metadata()?.len() as f64 / f64::from(1 << 20));
    let rate = events as f64 / seconds;
    println!("| {name:<46} | {seconds:>8.1} | {rate:>9.0} | {mib:>9.0} | {:>10.0} |", peak_memory());
    Ok(())
}

fn fill_bygone(size: u64, path: &Path, definitions: &[&str], name: &str) -> Result<()> {
    eprintln!("9. Writing: {name}");
    settle_disk();
    let begin = Instant::now();
    let db = Db::create(path)?;
    for definition in definitions {
        rows(&db, definition)?;
    }
    each(size, |batch| {
        db.append_all(batch.iter().map(|(id, happened, actor)| happened.event(*id, *actor)))?;
        Ok(())
    })?;
    db.close()?;
    line(name, begin.elapsed(), 3 * size, path)
}

const STATES: &str = "
    CREATE TABLE states (
        id      TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        owner   TEXT,
        city    TEXT,
        balance INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX by_balance ON states (balance);";

fn fill_sqlite(size: u64, folder: &Path, states: bool, name: &str) -> Result<()> {
    eprintln!("9. Writing: {name}");
    settle_disk();
    let path: PathBuf = sqlite::file(folder);
    let begin = Instant::now();
    let mut connection = sqlite::connect(&path)?;
    if states {
        connection.execute_batch(STATES)?;
    }
    each(size, |batch| {
        let transaction = connection.transaction()?;
        for (id, happened, actor) in batch {
            happens(&transaction, *id, *happened, *actor, states)?;
        }
        Ok(transaction.commit()?)
    })?;
    connection.close().map_err(|(_, error)| error)?;
    line(name, begin.elapsed(), 3 * size, &path)
}

fn happens(connection: &Connection, id: u64, happened: Happened, actor: u64, states: bool) -> Result<()> {
    let id = id.to_string();
    let (kind, data) = match happened {
        Happened::Opened { owner } => {
            let data = serde_json::json!({"owner": format!("customer-{owner:08x}"), "city": city(owner)});
            ("Account.opened", data)
        }
        Happened::Deposited { amount } => ("Account.deposited", serde_json::json!({ "amount": amount })),
        Happened::Withdrawn { amount } => ("Account.withdrawn", serde_json::json!({ "amount": amount })),
    };
    let mut insert = connection.prepare_cached(sqlite::INSERT)?;
    insert.execute(params![kind, "Account", id, format!("user-{actor}"), data.to_string()])?;
    if !states {
        return Ok(());
    }
    match happened {
        Happened::Opened { owner } => connection
            .prepare_cached("INSERT INTO states VALUES (?1, 1, ?2, ?3, 0)")?
            .execute(params![id, format!("customer-{owner:08x}"), city(owner)])?,
        Happened::Deposited { amount } => connection
            .prepare_cached("UPDATE states SET balance = balance + ?2, version = version + 1 WHERE id = ?1")?
            .execute(params![id, amount])?,
        Happened::Withdrawn { amount } => connection
            .prepare_cached("UPDATE states SET balance = balance - ?2, version = version + 1 WHERE id = ?1")?
            .execute(params![id, amount])?,
    };
    Ok(())
}

/// A definition that comes when everything is there.
fn define_later(size: u64, path: &Path) -> Result<()> {
    eprintln!("9. Defining afterwards");
    settle_disk();
    let db = Db::open(path)?;
    rows(&db, DEFINITION)?;
    let states = wait_until("keeping states", || is_told(&db, "FIND Account", "their states are kept"))?;
    line("Bygone, states kept afterwards", states, 3 * size, path)?;
    rows(&db, INDEX)?;
    let question = "FIND Account WHERE state.balance = 5";
    let index = wait_until("building an index", || is_told(&db, question, "from the index"))?;
    line("Bygone, the index built afterwards", index, size, path)?;
    let begin = Instant::now();
    db.close()?;
    line("Bygone, closing after that", begin.elapsed(), 3 * size, path)
}

fn is_told(db: &Db, question: &str, what: &str) -> Result<bool> {
    let mut found = false;
    for row in db.query(&format!("EXPLAIN {question}"))?.rows {
        found |= serde_json::to_string(&row?)?.contains(what);
    }
    Ok(found)
}

struct Question {
    title: &'static str,
    bygone: &'static str,
    sqlite: &'static str,
}

/// `{}` is a balance that some account may have, `{+}` a little more.
const QUESTIONS: [Question; 6] = [
    Question {
        title: "9a. By index, a range of about 20 of all",
        bygone: "FIND Account WHERE state.balance BETWEEN {} AND {+}",
        sqlite: "SELECT * FROM states WHERE balance BETWEEN {} AND {+}",
    },
    Question {
        title: "9b. By index, one value",
        bygone: "FIND Account WHERE state.balance = {}",
        sqlite: "SELECT * FROM states WHERE balance = {}",
    },
    Question {
        title: "9c. Without an index, one of a thousand",
        bygone: "FIND Account WHERE state.city = 'city-7'",
        sqlite: "SELECT * FROM states WHERE city = 'city-7'",
    },
    Question {
        title: "9d. The ten greatest (SQLite has an index in that order)",
        bygone: "FIND Account ORDER BY state.balance DESC LIMIT 10",
        sqlite: "SELECT * FROM states ORDER BY balance DESC LIMIT 10",
    },
    Question {
        title: "9e. A sum over all",
        bygone: "FIND Account SELECT sum(state.balance)",
        sqlite: "SELECT sum(balance) FROM states",
    },
    Question {
        title: "9g. By index, a range by two bounds",
        bygone: "FIND Account WHERE state.balance >= {} AND state.balance < {+}",
        sqlite: "SELECT * FROM states WHERE balance >= {} AND balance < {+}",
    },
];

fn ask(arguments: &Arguments, path: &Path, folder: &Path) -> Result<()> {
    let mut db = Db::open(path)?;
    let mut connection = sqlite::connect(&sqlite::file(folder))?;
    let beside = arguments.wants_contestant(SQLITE);
    let names = if beside { vec![BYGONE, SQLITE] } else { vec![BYGONE] };
    // Each as a text that says its values, and prepared once with parameters for them: both by both.
    for (question, prepared) in QUESTIONS.iter().flat_map(|question| [(question, false), (question, true)]) {
        let title = format!("{}{}", question.title, if prepared { ", prepared" } else { "" });
        if !arguments.wants_part(&title[1..2]) {
            continue;
        }
        let found = db.prepare(&put(question.bygone, "$low", "$high"))?;
        let select = put(question.sqlite, "?1", "?2");
        let mut select = beside.then(|| connection.prepare(&select)).transpose()?;
        let mut table = Table::new(&title, names.iter().copied());
        for round in 0..arguments.rounds {
            let mut counts = [0, 0];
            for turn in 0..names.len() {
                let at = (round + turn) % names.len();
                eprint!("\r{title} — round {}: {:<10}", round + 1, names[at]);
                settle_disk();
                let mut random = Random(round as u64);
                let count = &mut counts[at];
                let measured = slice(arguments.slice, || {
                    *count = match (prepared, at) {
                        (false, 0) => rows(&db, &filled(question.bygone, &mut random))?,
                        (false, _) => {
                            let text = filled(question.sqlite, &mut random);
                            {
                                let mut select = connection.prepare_cached(&text)?;
                                rows_of(&mut select, [])?
                            }
                        }
                        (true, 0) => Question::run(&found, drawn(&mut random))?,
                        (true, _) => {
                            let Some(select) = &mut select else { return Ok(1) };
                            let values = drawn(&mut random);
                            let values = values.into_iter().take(select.parameter_count());
                            rows_of(select, rusqlite::params_from_iter(values))?
                        }
                    };
                    // Not each value is a balance.
                    Ok(1)
                })?;
                table.add(at, measured);
            }
            if beside && counts[0] != counts[1] && !question.bygone.contains('{') {
                return Err(format!("the contestants do not agree: {counts:?}").into());
            }
        }
        eprintln!();
        table.print_reads(SQLITE);
    }
    if !arguments.wants_part("f") {
        return Ok(db.close()?);
    }
    let (mut first, mut next, mut one_more) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds as u64 {
        db.close()?;
        db = Db::open(path)?;
        let mut random = Random(100 + round);
        rows(&db, &filled(QUESTIONS[0].bygone, &mut random))?;
        for _ in 0..TAIL / BATCH as u64 {
            let events: Vec<_> = (0..BATCH)
                .map(|_| (1 + random.below(arguments.size), Happened::new(1, &mut random), 0))
                .collect();
            db.append_all(events.iter().map(|(id, happened, actor)| happened.event(*id, *actor)))?;
            if !beside {
                continue;
            }
            let transaction = connection.transaction()?;
            for (id, happened, actor) in events {
                happens(&transaction, id, happened, actor, true)?;
            }
            transaction.commit()?;
        }
        let question = filled(QUESTIONS[0].bygone, &mut random);
        let timed = |into: &mut Vec<Duration>| {
            let begin = Instant::now();
            let count = rows(&db, &question);
            into.push(begin.elapsed());
            count
        };
        timed(&mut first)?;
        for _ in 0..20 {
            timed(&mut next)?;
        }
        for _ in 0..20 {
            db.append(Happened::Withdrawn { amount: 1 }.event(1 + random.below(arguments.size), 0))?;
            timed(&mut one_more)?;
        }
    }
    println!(
        "\n9f. By index, a range of about 20, with {TAIL} fresh events in the memtable (milliseconds)\n"
    );
    for (name, times) in
        [("first", &mut first), ("again", &mut next), ("after one more event", &mut one_more)]
    {
        println!("| {name:<24} | {:>8.2} |", quantile(times, 0.5).as_secs_f64() * 1e3);
    }
    println!("\nmemory of all of this: {:.0} MiB", peak_memory());
    db.close()?;
    Ok(())
}

impl Question {
    /// Runs it with values, and counts its rows; each is looked at.
    fn run(prepared: &PreparedStatement, values: [i64; 2]) -> Result<u64> {
        let names = prepared.parameters().zip(values);
        let given = names.fold(Parameters::new(), |given, (name, value)| given.set(name, value));
        let mut count = 0;
        for row in prepared.run(&given)?.rows {
            drop(std::hint::black_box(row?));
            count += 1;
        }
        Ok(count)
    }
}

/// A value that some account may have, and a little more.
fn drawn(random: &mut Random) -> [i64; 2] {
    let low = 10_000 + random.below(1_000_000) as i64;
    [low, low + 20]
}

/// A question, with values that are drawn.
fn filled(text: &str, random: &mut Random) -> String {
    let [low, high] = drawn(random);
    put(text, &low.to_string(), &high.to_string())
}

/// A question with something in the place of its values.
fn put(text: &str, low: &str, high: &str) -> String {
    text.replace("{}", low).replace("{+}", high)
}

fn rows_of(statement: &mut Statement, values: impl rusqlite::Params) -> Result<u64> {
    let columns = statement.column_count();
    let mut rows = statement.query(values)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for at in 0..columns {
            drop(std::hint::black_box(row.get::<_, rusqlite::types::Value>(at)?));
        }
        count += 1;
    }
    Ok(count)
}
