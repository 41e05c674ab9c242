//! Aggregates: an entity's events, folded into a type of Rust.

use bygone::project::SnapshotPolicy;
use bygone::{Aggregate, Db, Event, NewEvent};
use serde::{Deserialize, Serialize};

use super::slice;
use crate::Result;
use crate::arguments::Arguments;
use crate::event::Random;
use crate::table::Table;
use crate::write::{BATCH, settle_disk};

const EVENTS: u64 = 10_000;

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "camelCase")]
enum AccountEvent {
    Deposited { amount: i64, note: String },
    Withdrawn { amount: i64, note: String },
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
    notes: usize,
}

impl Account {
    fn take(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { amount, note } => {
                (self.balance, self.notes) = (self.balance + amount, self.notes + note.len());
            }
            AccountEvent::Withdrawn { amount, note } => {
                (self.balance, self.notes) = (self.balance - amount, self.notes + note.len());
            }
        }
    }
}

/// The same, with nothing kept; with snapshots; and without a look at the events.
#[derive(Default)]
struct Whole(Account);
#[derive(Default, Serialize, Deserialize)]
struct Kept(Account);
#[derive(Default)]
struct Counted(i64);

impl Aggregate for Whole {
    const KIND: &'static str = "Account";

    fn apply(&mut self, event: &Event) -> bygone::Result<()> {
        self.0.take(&event.parse()?);
        Ok(())
    }
}

impl Aggregate for Kept {
    const KIND: &'static str = "Account";

    fn apply(&mut self, event: &Event) -> bygone::Result<()> {
        self.0.take(&event.parse()?);
        Ok(())
    }

    fn snapshots() -> Option<SnapshotPolicy<Kept>> {
        Some(SnapshotPolicy::named("kept-1").every(100))
    }
}

impl Aggregate for Counted {
    const KIND: &'static str = "Account";

    fn apply(&mut self, event: &Event) -> bygone::Result<()> {
        self.0 += event.kind.as_str().len() as i64;
        Ok(())
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    let path = folder.path().join("account.bygone");
    let db = Db::create(&path)?;
    let mut random = Random(5);
    for _ in 0..EVENTS / BATCH as u64 {
        db.append_all((0..BATCH).map(|_| {
            let kind = if random.below(3) == 0 { "Account.withdrawn" } else { "Account.deposited" };
            let note = format!("{:016x} leave it with the neighbours", random.next());
            NewEvent::new(kind).on(("Account", 1)).member("amount", random.below(1000)).member("note", note)
        }))?;
    }
    db.close()?;
    let db = Db::open(&path)?;
    type Ask = fn(&Db) -> Result<u64>;
    let ways: [(&str, Ask); 3] = [
        ("each event parsed", |db| Ok(db.aggregate::<Whole>(1)?.0.notes as u64)),
        ("events not looked into", |db| Ok(db.aggregate::<Counted>(1)?.0 as u64)),
        ("with snapshots", |db| Ok(db.aggregate::<Kept>(1)?.0.notes as u64)),
    ];
    let title = "8. An aggregate of 10,000 events";
    let mut table = Table::new(title, ways.iter().map(|(name, _)| *name));
    for round in 0..arguments.rounds {
        for turn in 0..ways.len() {
            let at = (round + turn) % ways.len();
            eprint!("\r{title} — round {}: {:<30}", round + 1, ways[at].0);
            settle_disk();
            table.add(at, slice(arguments.slice, || ways[at].1(&db))?);
        }
    }
    eprintln!();
    table.print_reads(ways[0].0);
    db.close()?;
    Ok(())
}
