//! A load of everything that a database does, one step after the other as a seed says: events, keys, verbs, definitions that come and go,
//! what is backfilled, what is private and rewritten, states and snapshots, views, places of a subscription, reactions, delays and schedules, backups, compaction,
//! closing and opening. Whoever runs it learns what was promised after each step.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::ticking;
use crate::append::EventId;
use crate::error::ErrorClass;
use crate::event::Expect;
use crate::maintain::Durability;
use crate::store::disk::Disk;
use crate::store::disk::simulated::random::Random;
use crate::store::{Backup, BackupMode};
use crate::{Db, Delivery, Error, Event, NewEvent, Options, Position, Result, Version};

/// The backup that grows, and the one that is written anew.
pub(super) const COPIES: [&str; 2] = ["grown.bygone", "anew.bygone"];

/// Who reads, and what.
pub(super) const READER: &str = "billing";

/// When the clock of a load begins, and how long an hour is, in microseconds.
const BEGIN: i64 = 1_700_000_000_000_000;
const HOUR: i64 = 3_600_000_000;

/// What has been told to whoever runs a load: it must be so from then on, whatever happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Promise {
    /// The log is durable up to here.
    pub head: Position,
    /// The reader is here at least, and here at most: what it did not take comes again.
    pub place: Position,
    pub asked: Position,
    /// Each of the backups holds all up to here; none: it need not be there.
    pub copies: [Option<Position>; 2],
}

/// What a load is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub seed: u64,
    /// Whether reactions and schedules run.
    pub live: bool,
    pub durability: Durability,
    /// How many steps each session has.
    pub sessions: &'static [usize],
}

/// One who works with a database.
pub(super) struct Load {
    dice: Random,
    now: Arc<AtomicI64>,
    bills: u64,
    /// Keys that were used, and where their events are.
    keyed: Vec<(u64, Position)>,
    /// Each event that was acknowledged, and its id.
    pub acknowledged: Vec<(Position, EventId)>,
    /// How long what runs by itself is waited for.
    pub patience: Duration,
    pub promise: Promise,
    tell: Box<dyn FnMut(&Promise) + Send>,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        Plan { seed, live: !seed.is_multiple_of(3), durability: Durability::Sync, sessions: &[46, 30, 0, 12] }
    }

    /// One who begins, and whom each promise is told to: before anything is asked for that changes what may be, and after what changes
    /// what must be.
    pub fn load(&self, tell: impl FnMut(&Promise) + Send + 'static) -> Load {
        Load {
            dice: Random(self.seed.wrapping_mul(0x9e37_79b9)),
            now: Arc::new(AtomicI64::new(BEGIN)),
            bills: 0,
            keyed: Vec::new(),
            acknowledged: Vec::new(),
            patience: Duration::from_secs(20),
            promise: Promise::default(),
            tell: Box::new(tell),
        }
    }
}

impl Load {
    /// Small memtables, small steps, small slices: much happens soon.
    pub fn options(&self, plan: &Plan, disk: Arc<dyn Disk>) -> Options {
        let mut options = Options::new()
            .disk(disk)
            .cache(256 << 10)
            .memtable(12, 1 << 20)
            .journal_steps(4096, 8192)
            .durability(plan.durability)
            .retries(1, Duration::from_millis(1))
            .clock(ticking(&self.now))
            .live(plan.live);
        options.index_slice = (9, 5);
        options
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.dice.next() % bound
    }

    /// What is defined once, at first.
    pub fn begin(&mut self, db: &Db) -> Result<()> {
        for text in [
            "DEFINE VERB Deposit ON Wallet REQUIRE data.amount > 0 ELSE 'nothing' EMIT deposited {amount: data.amount}",
            "DEFINE REACTION thank ON 'Bill.paid' DO EMIT Bill.thanked (target.id)",
            "DEFINE REACTION remind ON 'Bill.placed' AFTER 1h UNLESS 'Bill.paid' DO EMIT Bill.reminded (target.id)",
            "DEFINE SCHEDULE often EVERY 40m DO EMIT Report.asked NEW {at: NOW}",
        ] {
            query(db, text)?;
            self.learn(db);
        }
        // So that there is something to be asked for by that.
        db.append(NewEvent::new("Bill.noted").on(("Bill", 0)).index("colour", "red")).map(drop)?;
        self.learn(db);
        Ok(())
    }

    /// Does one thing. An error is the database's: whoever runs this says whether there may be one.
    pub fn step(&mut self, db: &Db, path: &Path) -> Result<()> {
        let done = self.do_one(db, path);
        self.learn(db);
        done
    }

    fn do_one(&mut self, db: &Db, path: &Path) -> Result<()> {
        match self.below(40) {
            0..12 => self.append(db),
            12..15 => self.append_group(db),
            15..18 => self.perform(db),
            18..25 => self.define(db),
            25..29 => self.take(db),
            29..31 => self.read(db),
            31 | 32 => query(db, "CHECKPOINT"),
            33 | 34 => {
                self.now.fetch_add(HOUR, Ordering::SeqCst);
                self.append(db)
            }
            35 => self.back_up(db, path, 0, BackupMode::Increment),
            36 => self.back_up(db, path, 1, BackupMode::Replace),
            37 => db.compact().map(drop),
            38 => db.wait_for_indexes(self.patience).map(drop),
            _ => self.settle_programs(db),
        }
    }

    /// Notes what the database says is durable.
    pub fn learn(&mut self, db: &Db) {
        self.promise.head = self.promise.head.max(db.store().shared().log_progress.synced());
        (self.tell)(&self.promise);
    }

    /// It is later.
    pub fn skip_hours(&self, hours: i64) {
        self.now.fetch_add(hours * HOUR, Ordering::SeqCst);
    }

    /// The time as it is now, for whoever opens what is left of the database.
    pub fn now(&self) -> Arc<AtomicI64> {
        self.now.clone()
    }

    fn bill(&mut self) -> NewEvent {
        // Of one that is placed there is one such event; it is paid, some time, perhaps.
        let old = 1 + self.below(self.bills.max(1));
        let (kind, number) = match self.below(3) {
            0 => ("Bill.paid", old),
            1 => ("Bill.noted", self.below(4)),
            _ => {
                self.bills += 1;
                ("Bill.placed", self.bills)
            }
        };
        let mut event =
            NewEvent::new(kind).on(("Bill", number)).member("total", self.below(100)).member("n", number % 5);
        if self.below(3) == 0 {
            event = event.index("colour", ["red", "green", "blue"][self.below(3) as usize]);
        }
        if self.below(3) == 0 {
            event = event.by(("User", self.below(3)));
        }
        if self.below(4) == 0 {
            event = event.member("text", "tea ".repeat(self.below(200) as usize));
        }
        event
    }

    fn append(&mut self, db: &Db) -> Result<()> {
        match self.below(6) {
            0 if !self.keyed.is_empty() => {
                let known = self.below(self.keyed.len() as u64) as usize;
                let (key, position) = self.keyed[known];
                let again = db.append(keyed(key))?;
                assert_eq!(again.position, position, "the key {key}");
                Ok(())
            }
            1 | 2 => {
                let key = self.dice.next() >> 24;
                let event = db.append(keyed(key))?;
                self.keyed.push((key, event.position));
                self.acknowledge([event]);
                Ok(())
            }
            3 => match db.append(self.bill().expect(Expect::Version(Version(9999)))) {
                Err(Error::Conflict(_)) => Ok(()),
                Err(other) => Err(other),
                Ok(event) => panic!("{event:?} was expected nowhere"),
            },
            _ => {
                let event = db.append(self.bill())?;
                self.acknowledge([event]);
                Ok(())
            }
        }
    }

    fn acknowledge(&mut self, events: impl IntoIterator<Item = Event>) {
        self.acknowledged.extend(events.into_iter().map(|event| (event.position, event.id)));
    }

    fn append_group(&mut self, db: &Db) -> Result<()> {
        let events: Vec<_> = (0..2 + self.below(4)).map(|_| self.bill()).collect();
        let events = db.append_all(events)?;
        self.acknowledge(events);
        Ok(())
    }

    fn perform(&mut self, db: &Db) -> Result<()> {
        let (wallet, amount) = (self.below(3), self.below(4));
        match query(db, &format!("PERFORM Deposit Wallet {wallet} {{amount: {amount}}}")) {
            Err(Error::Refused(_)) if amount == 0 => Ok(()),
            done => done,
        }
    }

    /// Defines something, or drops it. What is not there cannot be dropped.
    fn define(&mut self, db: &Db) -> Result<()> {
        let (every, n) = (1 + self.below(3), self.below(3));
        // What is private is on no log that is shared.
        let forms = if db.store().shared().log.is_shared() { 16 } else { 20 };
        let text = match self.below(forms) {
            0 | 1 => format!(
                "DEFINE ENTITY Bill INITIAL {{sum: {n}}} SNAPSHOT EVERY {every} \
                 ON placed SET sum = state.sum + data.total ON paid SET sum = state.sum + data.total ON noted MERGE"
            ),
            2 => format!("DEFINE ENTITY Wallet SNAPSHOT EVERY {every} ON deposited MERGE"),
            3 | 4 => format!("DEFINE INDEX amounts ON 'Bill.*' AS data.total + {n}"),
            5 => "DEFINE INDEX fifths ON 'Bill.placed' AS data.n".to_owned(),
            6 => "DEFINE INDEX sums ON 'Bill' AS state.sum".to_owned(),
            7 | 8 => format!(
                "DEFINE VIEW totals AS EVENTS 'Bill.*' WHERE data.n >= {n} GROUP BY data.n AS n SELECT sum(data.total) AS sum"
            ),
            9 => format!("DEFINE VIEW large AS EVENTS 'Bill.*' WHERE data.total > {}", 30 * n),
            10 => format!("DEFINE VIEW rich AS FIND Bill WHERE state.sum > {}", 20 * n),
            11 => "DROP INDEX amounts".to_owned(),
            12 => "DROP VIEW totals".to_owned(),
            13 => "DROP ENTITY Bill".to_owned(),
            14 => "DROP VIEW rich".to_owned(),
            15 => "DROP INDEX sums".to_owned(),
            16 => "DEFINE PRIVATE texts ON 'Bill.*' OF target FIELDS data.text".to_owned(),
            17 => "DEFINE PRIVATE texts ON 'Bill.*' OF target FIELDS data.text INCLUDING PAST".to_owned(),
            18 => "DEFINE PRIVATE numbers ON 'Bill.noted' OF target FIELDS data.n INCLUDING PAST".to_owned(),
            _ => "DROP PRIVATE texts".to_owned(),
        };
        assert!(crate::lang::parse_one(&text).is_ok(), "{text}");
        match query(db, &text) {
            // It stands on a definition that is not there, or is to be dropped and is not there.
            Err(error) if matches!(error.class(), ErrorClass::Usage | ErrorClass::Refused) => Ok(()),
            done => done,
        }
    }

    /// Reads on as the subscription, and acknowledges what it takes: sometimes so that it is durable, sometimes as it comes.
    fn take(&mut self, db: &Db) -> Result<()> {
        let mut reader = db.subscribe("Bill.*").from_start().until_now().durable(READER)?;
        for _ in 0..1 + self.below(9) {
            let Some(delivery) = reader.next() else { break };
            let Delivery::Event(event) = delivery? else { continue };
            assert!(event.position > self.promise.place, "{} comes again", event.position);
            self.promise.asked = self.promise.asked.max(event.position);
            (self.tell)(&self.promise);
            if self.below(3) == 0 {
                reader.cursor().acknowledge_durably(event.position)?;
                self.promise.place = event.position;
            } else {
                reader.acknowledge(event.position)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, db: &Db) -> Result<()> {
        let bill = self.below(self.bills.max(1));
        for text in [
            format!("AT Bill {bill}"),
            "FIND Bill WHERE state.sum > 50".to_owned(),
            "EVENTS 'Bill.*' BY colour = 'red' LAST 5".to_owned(),
            "EVENTS '*' GROUP BY type SELECT count()".to_owned(),
        ] {
            query(db, &text)?;
        }
        Ok(())
    }

    fn back_up(&mut self, db: &Db, path: &Path, which: usize, mode: BackupMode) -> Result<()> {
        let to = path.with_file_name(COPIES[which]);
        let backup = match db.backup_with(&to, mode, &mut |_| {}) {
            // Events were rewritten since.
            Err(Error::Conflict(_)) => db.backup_with(&to, BackupMode::Replace, &mut |_| {})?,
            backup => backup?,
        };
        let Backup { position, .. } = backup;
        self.promise.copies[which] = self.promise.copies[which].max(Some(position));
        Ok(())
    }

    /// Waits until all is done that runs by itself.
    fn settle_programs(&mut self, db: &Db) -> Result<()> {
        let until = std::time::Instant::now() + self.patience;
        while db.behind().is_ok() && db.store().shared().options.live && !db.is_idle()? {
            // Where the disk fails, it may never be.
            if std::time::Instant::now() > until {
                break;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        Ok(())
    }
}

fn keyed(key: u64) -> NewEvent {
    NewEvent::new("Bill.noted").on(("Bill", key % 4)).member("total", key % 50).key(&format!("key-{key}"))
}

/// Runs a statement to its end.
pub(super) fn query(db: &Db, text: &str) -> Result<()> {
    db.query(text)?.rows.try_for_each(|row| row.map(drop))
}
