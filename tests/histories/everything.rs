//! Small histories of everything at once: eight who write, eight who read, two who subscribe, one who defines anew and drops, one who has
//! checkpoints made. Each read must be what a sequential log would answer at some moment between its beginning and its end.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bygone::error::Conflict;
use bygone::{Db, Delivery, Error, Event, Options, Pattern, Row};

use super::{Dice, Entry, account, ask, facts, faults as faults_of_answers, request};

const WRITERS: u64 = 8;
const READERS: u64 = 8;
const EACH: u64 = 4;

/// So many histories go on at a time: one alone mostly waits for its own threads.
const AT_A_TIME: usize = 2;

/// How long anybody waits for what is to come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// What somebody read, and what the head was before and after.
#[derive(Debug, Clone)]
struct Read {
    from: u64,
    through: u64,
    seen: Seen,
}

#[derive(Debug, Clone, PartialEq)]
enum Seen {
    /// The positions of all events of accounts.
    Log(Vec<u64>),
    /// The version of an account.
    Version(u64, u64),
    /// The state of an account: what its definition makes of it, if there is one.
    State(u64, Option<i64>),
    /// The positions that an index finds; none where there is no such index.
    Index(i64, Option<Vec<u64>>),
    /// The sums that a view has; none where there is no such view.
    View(Option<BTreeMap<u64, i64>>),
}

/// What is defined at a place of the log, each with its number. An index or a view that is defined anew answers as before until the new
/// one is complete: so all since it was dropped, or since the beginning.
#[derive(Debug, Clone, Default)]
struct Defined {
    entity: Option<i64>,
    index: Vec<i64>,
    view: Vec<i64>,
}

const ENTITY: &str = "DEFINE ENTITY Account INITIAL {sum: 0} ON used SET sum = state.sum + data.coupon * ";
const INDEX: &str = "DEFINE INDEX coupons ON 'Account.*' AS data.coupon + ";
const VIEW: &str = "DEFINE VIEW totals AS EVENTS 'Account.*' WHERE data.coupon >= 0 GROUP BY target.id AS account SELECT sum(data.coupon) + ";

fn rows(db: &Db, text: &str) -> Result<Vec<Row>, Error> {
    db.query(text)?.rows.collect()
}

fn define(db: &Db, dice: &mut Dice) {
    let n = 1 + dice.roll(4);
    let text = match dice.roll(16) {
        0..5 => format!("{ENTITY}{n}"),
        5..10 => format!("{INDEX}{n}"),
        10..14 => format!("{VIEW}{n} AS sum"),
        14 => "DROP INDEX coupons".to_owned(),
        _ => "DROP VIEW totals".to_owned(),
    };
    match rows(db, &text) {
        Ok(_) | Err(Error::Missing(_)) => {}
        Err(other) => panic!("{text}: {other}"),
    }
}

fn maintain(db: &Db, dice: &mut Dice) {
    match dice.roll(4) {
        0 | 1 => drop(rows(db, "CHECKPOINT").unwrap()),
        2 => drop(db.compact().unwrap()),
        _ => drop(db.wait_for_indexes(PATIENCE).unwrap()),
    }
}

/// None where there is no such thing. What is being built says so: it is asked for again.
fn if_there<T>(ask: impl Fn() -> Result<T, Error>) -> Option<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return Some(answer),
            Err(error) if error.is_worth_a_retry() && Instant::now() < until => thread::yield_now(),
            Err(Error::Missing(_)) => return None,
            Err(other) => panic!("{other}"),
        }
    }
}

fn look(db: &Db, dice: &mut Dice) -> Seen {
    let of = dice.roll(6);
    match dice.roll(5) {
        0 => {
            let events = db.events("Account.*").unwrap();
            Seen::Log(events.map(|event| event.unwrap().position.0).collect())
        }
        1 => Seen::Version(of, db.version(account(of)).unwrap().0),
        2 => {
            let state = if_there(|| rows(db, &format!("AT Account {of}")));
            let sum = state.and_then(|rows| match rows.as_slice() {
                [Row::State(found)] => found.state.get("sum").and_then(|sum| sum.as_i64()),
                _ => None,
            });
            Seen::State(of, sum)
        }
        3 => {
            let value = dice.roll(44) as i64;
            let found =
                if_there(|| rows(db, &format!("EVENTS 'Account.*' BY coupons = {value} SELECT position")));
            let position = |row: Row| row.get::<u64>("position").unwrap();
            Seen::Index(value, found.map(|rows| rows.into_iter().map(position).collect()))
        }
        _ => {
            let found = if_there(|| rows(db, "READ totals"));
            let pair = |row: Row| {
                let of: String = row.get("account").unwrap();
                (of.parse().unwrap(), row.get::<i64>("sum").unwrap())
            };
            Seen::View(found.map(|rows| rows.into_iter().map(pair).collect()))
        }
    }
}

/// An event of an account, as far as it counts here; or a definition.
enum Fact {
    Used { of: u64, coupon: i64 },
    Defined(String),
    Dropped(String),
    Other,
}

struct Model(Vec<Fact>);

impl Model {
    fn of(db: &Db) -> Model {
        let head = db.head().0;
        let fact = |position: u64| {
            let event: Event = db.event(bygone::Position(position)).unwrap().unwrap();
            match event.kind.as_str() {
                "Account.used" => Fact::Used {
                    of: event.target.as_ref().unwrap().id().parse().unwrap(),
                    coupon: event.data.get("coupon").and_then(|coupon| coupon.as_i64()).unwrap(),
                },
                "$index.defined" => {
                    let by = event.data.get("as").unwrap();
                    Fact::Defined(format!("DEFINE INDEX coupons ON 'Account.*' AS {}", by.as_text().unwrap()))
                }
                kind if kind.ends_with(".defined") => {
                    Fact::Defined(event.data.get("definition").unwrap().as_text().unwrap().to_owned())
                }
                kind if kind.ends_with(".dropped") => Fact::Dropped(kind.to_owned()),
                _ => Fact::Other,
            }
        };
        Model((1..=head).map(fact).collect())
    }

    /// What is defined after so many events.
    fn defined(&self, at: u64) -> Defined {
        let mut defined = Defined::default();
        let number = |text: &str, begin: &str| -> i64 {
            let rest =
                text.strip_prefix(begin).unwrap_or_else(|| panic!("{text} does not begin with {begin}"));
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        for fact in &self.0[..at as usize] {
            match fact {
                Fact::Defined(text) if text.starts_with("DEFINE ENTITY") => {
                    defined.entity = Some(number(text, ENTITY))
                }
                Fact::Defined(text) if text.starts_with("DEFINE INDEX") => {
                    defined.index.push(number(text, INDEX))
                }
                Fact::Defined(text) => defined.view.push(number(text, VIEW)),
                Fact::Dropped(kind) if kind.starts_with("$index") => defined.index.clear(),
                Fact::Dropped(_) => defined.view.clear(),
                _ => {}
            }
        }
        defined
    }

    fn used(&self, at: u64) -> impl Iterator<Item = (u64, u64, i64)> {
        (1..).zip(&self.0[..at as usize]).filter_map(|(position, fact)| match fact {
            Fact::Used { of, coupon } => Some((position, *of, *coupon)),
            _ => None,
        })
    }

    /// Whether somebody would see this after so many events.
    fn shows(&self, seen: &Seen, at: u64) -> bool {
        let defined = self.defined(at);
        match seen {
            Seen::Log(positions) => {
                self.used(at).map(|(position, ..)| position).eq(positions.iter().copied())
            }
            Seen::Version(of, version) => {
                self.used(at).filter(|(_, other, _)| other == of).count() as u64 == *version
            }
            Seen::State(of, sum) => {
                let mine: Vec<i64> =
                    self.used(at).filter(|(_, other, _)| other == of).map(|(.., coupon)| coupon).collect();
                match (defined.entity, mine.is_empty()) {
                    (Some(factor), false) => *sum == Some(mine.iter().sum::<i64>() * factor),
                    _ => sum.is_none(),
                }
            }
            Seen::Index(_, None) => defined.index.is_empty(),
            Seen::Index(value, Some(found)) => defined.index.iter().any(|more| {
                let mine = self.used(at).filter(|(.., coupon)| coupon + more == *value);
                mine.map(|(position, ..)| position).eq(found.iter().copied())
            }),
            Seen::View(None) => defined.view.is_empty(),
            Seen::View(Some(found)) => defined.view.iter().any(|more| {
                let mut sums: BTreeMap<u64, i64> = BTreeMap::new();
                self.used(at).for_each(|(_, of, coupon)| *sums.entry(of).or_default() += coupon);
                sums.values_mut().for_each(|sum| *sum += more);
                sums == *found
            }),
        }
    }

    /// What was read that no moment shows.
    fn faults(&self, reads: &[Read]) -> Vec<String> {
        let is_shown = |read: &Read| (read.from..=read.through).any(|at| self.shows(&read.seen, at));
        let fault = |read: &Read| {
            let defined = [read.from, read.through].map(|at| self.defined(at));
            format!("{read:?}: from {:?} to {:?}", defined[0], defined[1])
        };
        reads.iter().filter(|read| !is_shown(read)).map(fault).collect()
    }
}

/// What all of them did.
struct History {
    entries: Vec<Entry>,
    reads: Vec<Read>,
    delivered: Vec<Vec<u64>>,
}

fn subscribe(db: &Db, durable: bool, total: &AtomicU64) -> Vec<u64> {
    let mut positions = Vec::new();
    let mut take = |delivery: Delivery| {
        if let Delivery::Event(event) = delivery {
            positions.push(event.position.0);
        }
        let total = total.load(Ordering::SeqCst);
        total > 0 && db.head().0 >= total && positions.last().is_some_and(|last| *last >= total)
    };
    // The last event is one of theirs: so whoever has it has all.
    if durable {
        let mut named = db.subscribe("Account.*, Note.*").from_start().durable("billing").unwrap();
        while let Some(delivery) = named.next_timeout(PATIENCE) {
            let delivery = delivery.unwrap();
            if let Delivery::Event(event) = &delivery {
                named.acknowledge(event.position).unwrap();
            }
            if take(delivery) {
                break;
            }
        }
    } else {
        let mut subscription = db.subscribe("Account.*, Note.*").from_start();
        while let Some(delivery) = subscription.next_timeout(PATIENCE) {
            if take(delivery.unwrap()) {
                break;
            }
        }
    }
    positions
}

fn record(db: &Db, seed: u64) -> History {
    let start = &Barrier::new((WRITERS + READERS + 2) as usize);
    let (done, total) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let dice = |number: u64| Dice(seed.wrapping_mul(0x1_0001).wrapping_add(number << 32));
    thread::scope(|scope| {
        let subscribers = [false, true].map(|durable| scope.spawn(move || subscribe(db, durable, total)));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut dice = dice(writer);
                    start.wait();
                    let write = |dice: &mut Dice| {
                        let request = request(db, dice);
                        let from = db.head().0;
                        let answer = match ask(db, &request, false) {
                            Ok(events) => Ok(events.iter().map(|event| event.position.0).collect()),
                            Err(Error::Conflict(conflict)) => Err::<_, Conflict>(*conflict),
                            Err(other) => panic!("{request:?}: {other}"),
                        };
                        Entry { request, from, through: db.head().0, answer }
                    };
                    (0..EACH).map(|_| write(&mut dice)).collect::<Vec<_>>()
                })
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                scope.spawn(move || {
                    let mut dice = dice(100 + reader);
                    start.wait();
                    let read = |dice: &mut Dice| {
                        let from = db.head().0;
                        let seen = look(db, dice);
                        Read { from, through: db.head().0, seen }
                    };
                    (0..EACH).map(|_| read(&mut dice)).collect::<Vec<_>>()
                })
            })
            .collect();
        let others = [define as fn(&Db, &mut Dice), maintain].into_iter().zip(200..).map(|(act, number)| {
            scope.spawn(move || {
                let mut dice = dice(number);
                start.wait();
                while !done.load(Ordering::Relaxed) {
                    act(db, &mut dice);
                    thread::yield_now();
                }
            })
        });
        let others: Vec<_> = others.collect();
        // Whoever fails leaves nobody waiting.
        let entries: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        let reads: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        done.store(true, Ordering::Relaxed);
        let others: Vec<_> = others.into_iter().map(|other| other.join()).collect();
        let note = || db.append(bygone::NewEvent::new("Note.made")).map_or(0, |event| event.position.0);
        let last = note();
        total.store(last.max(1), Ordering::SeqCst);
        // Whoever had taken the last one before it was told which it is takes another one.
        let again = note();
        others.into_iter().for_each(|other| other.unwrap());
        let entries = entries.into_iter().flat_map(|entries| entries.unwrap()).collect();
        let reads = reads.into_iter().flat_map(|reads| reads.unwrap()).collect();
        assert!(again > last && last > 0);
        let delivered = subscribers.into_iter().map(|one| one.join().unwrap()).collect();
        History { entries, reads, delivered }
    })
}

fn histories() -> u64 {
    std::env::var("BYGONE_HISTORIES").ok().and_then(|number| number.parse().ok()).unwrap_or(10_000)
}

/// How many reads there were, by what they found.
type Kinds = BTreeMap<&'static str, u64>;

/// One history, held to what is right.
fn hold(seed: u64) -> Kinds {
    let db = Options::new().memtable(12, 1 << 20).in_memory().unwrap();
    for text in [format!("{ENTITY}1"), format!("{INDEX}1"), format!("{VIEW}1 AS sum")] {
        rows(&db, &text).unwrap();
    }
    let history = record(&db, seed);
    let model = Model::of(&db);
    let answers = faults_of_answers(&history.entries, &facts(&db));
    assert!(answers.is_empty(), "history {seed}: {answers:#?}");
    let faults = model.faults(&history.reads);
    assert!(faults.is_empty(), "history {seed}: {faults:#?}");
    let all: Vec<u64> = db
        .events(Pattern::all())
        .unwrap()
        .map(|event| event.unwrap())
        .filter(|event| !event.kind.as_str().starts_with('$'))
        .map(|event| event.position.0)
        .collect();
    for delivered in &history.delivered {
        assert!(all.starts_with(delivered), "history {seed}: {delivered:?} of {all:?}");
        assert!(delivered.len() + 1 >= all.len(), "history {seed}: {delivered:?} of {all:?}");
    }
    let found = db.verify().unwrap();
    assert!(found.faults.is_empty(), "history {seed}: {:?}", found.faults);
    db.close().unwrap();
    let mut kinds = Kinds::new();
    for read in &history.reads {
        let kind = match read.seen {
            Seen::Log(_) => "log",
            Seen::Version(..) => "version",
            Seen::State(_, Some(_)) => "state",
            Seen::Index(_, Some(_)) => "index",
            Seen::View(Some(_)) => "view",
            _ => "nothing",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

#[test]
fn whatever_goes_on_at_once_is_what_one_after_the_other_would_have_shown() {
    let (began, turn, kinds) = (Instant::now(), AtomicU64::new(0), Mutex::new(Kinds::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let seed = turn.fetch_add(1, Ordering::Relaxed);
                    if seed >= histories() {
                        return;
                    }
                    // Whoever fails ends it for all.
                    let found = catch_unwind(|| hold(seed)).unwrap_or_else(|panic| {
                        turn.store(u64::MAX / 2, Ordering::Relaxed);
                        resume_unwind(panic)
                    });
                    let mut kinds = kinds.lock().unwrap();
                    found.into_iter().for_each(|(kind, count)| *kinds.entry(kind).or_default() += count);
                }
            });
        }
    });
    let kinds = kinds.into_inner().unwrap();
    let reads: u64 = kinds.values().sum();
    println!("{} histories in {:.1?}: {reads} reads, {kinds:?}", histories(), began.elapsed());
    assert!(kinds.len() == 6 && kinds.values().all(|count| *count >= histories() / 20), "{kinds:?}");
}

/// A read of what never was is noticed.
#[test]
fn a_read_that_no_moment_shows_is_noticed() {
    let db = Options::new().memtable(12, 1 << 20).in_memory().unwrap();
    rows(&db, &format!("{ENTITY}1")).unwrap();
    let history = record(&db, 77);
    let model = Model::of(&db);
    let through = db.head().0;
    let used: Vec<u64> = model.used(through).map(|(position, ..)| position).collect();
    let forged = [
        // One event is left out; and one is there that is not.
        Seen::Log(used[1..].to_vec()),
        Seen::Version(1, 999),
        Seen::State(1, Some(-5)),
        Seen::Index(3, Some(vec![999])),
        Seen::View(Some(BTreeMap::from([(1, -5)]))),
    ];
    for seen in forged {
        let read = Read { from: 0, through, seen };
        assert_eq!(model.faults(std::slice::from_ref(&read)).len(), 1, "{read:?}");
    }
    // So is one that shows what is gone by then.
    let late = Read { from: through, through, seen: Seen::Log(Vec::new()) };
    assert_eq!(model.faults(&[late]).len(), 1);
    assert!(model.faults(&history.reads).is_empty());
}
