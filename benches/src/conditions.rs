//! Conditions: what one durable caller pays for saying what must be so before its event.

use bygone::{Db, Expect, NewEvent, Position, Version};

use crate::Result;
use crate::arguments::Arguments;
use crate::event::{ENTITIES, Random, Sample};
use crate::states::slice;
use crate::table::Table;
use crate::write::{BATCH, settle_disk};

/// What is to cost at most a tenth.
const TARGET: f64 = 0.9;

const NAMES: [&str; 6] = [
    "no condition",
    "EXPECT VERSION",
    "EXPECT NONE SINCE",
    "EXPECT NONE at any time",
    "EXPECT NONE of the entity",
    "PERFORM",
];

/// The last of them is no condition, and nothing was promised of it. Verbs are performed on so many of the entities, again and again: what they are is known then.
const LOOKED_AT: u64 = 500;

/// Who appends: it knows how many events each entity has, since nobody else does.
struct Caller<'d> {
    db: &'d Db,
    versions: Vec<u64>,
    random: Random,
    /// What it saw last.
    head: Position,
}

impl Caller<'_> {
    fn event(&mut self) -> (NewEvent, usize, String) {
        let sample = Sample::new(&mut self.random);
        // One that is not in the log.
        let customer = format!("{}-{}", sample.data.customer, self.head.0);
        let event = NewEvent::new(sample.kind)
            .on(("Order", sample.entity))
            .by(("User", sample.actor.as_str()))
            .data(&sample.data)
            .index("customer", &customer);
        (event, sample.entity as usize, customer)
    }

    fn append(&mut self, how: usize) -> Result<u64> {
        let (event, entity, customer) = self.event();
        if how == 5 {
            let sample = Sample::new(&mut self.random);
            let entity = entity % LOOKED_AT as usize;
            let verb = self.db.perform("Pay", ("Order", entity as u64)).by(("User", sample.actor.as_str()));
            let done = verb.data(&sample.data).run()?;
            self.versions[entity] += done.events.len() as u64;
            self.head = done.events[0].position;
            return Ok(self.head.0);
        }
        let event = match how {
            1 => event.expect(Expect::Version(Version(self.versions[entity]))),
            2 => event.expect(Expect::none("Order.*").by("customer", &customer).since(self.head)),
            3 => event.expect(Expect::none("Order.*").by("customer", &customer)),
            4 => event.expect(Expect::none("Order.*").on(("Order", entity as u64)).since(self.head)),
            _ => event,
        };
        self.versions[entity] += 1;
        self.head = self.db.append(event)?.position;
        Ok(self.head.0)
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    let path = folder.path().join("orders.bygone");
    let db = Db::create(&path)?;
    let verb = "DEFINE VERB Pay ON Order BY User REQUIRE data.total >= 0 ELSE 'it is paid' EMIT paid";
    db.query(verb)?;
    let mut caller =
        Caller { db: &db, versions: vec![0; ENTITIES as usize], random: Random(7), head: Position::START };
    for _ in 0..arguments.size / BATCH as u64 {
        let batch: Vec<_> = (0..BATCH).map(|_| caller.event()).collect();
        batch.iter().for_each(|(_, entity, _)| caller.versions[*entity] += 1);
        db.append_all(batch.into_iter().map(|(event, ..)| event))?;
    }
    // The tables hold nearly all of it, as they do after a while.
    let versions = std::mem::take(&mut caller.versions);
    drop(caller);
    db.close()?;
    let db = Db::open(&path)?;
    let mut caller = Caller { db: &db, versions, random: Random(8), head: db.head() };
    let title = format!("10. One durable caller, {} events in the file", arguments.size);
    let mut table = Table::new(&title, NAMES.into_iter());
    for round in 0..arguments.rounds {
        for turn in 0..NAMES.len() {
            let at = (round + turn) % NAMES.len();
            if !arguments.wants_contestant(NAMES[at]) {
                continue;
            }
            settle_disk();
            table.add(at, slice(arguments.slice, || caller.append(at))?);
        }
    }
    table.print_reads(NAMES[0]);
    let compared =
        |at: &usize| arguments.wants_contestant(NAMES[0]) && arguments.wants_contestant(NAMES[*at]);
    for (at, name) in (1..NAMES.len() - 1).filter(compared).map(|at| (at, NAMES[at])) {
        let ratio = 1.0 / table.times(at, 0);
        let verdict = if ratio >= TARGET { "pass" } else { "FAIL" };
        println!("{verdict}: {name} is to be {TARGET:.1}× as fast as {}, and is {ratio:.2}×", NAMES[0]);
    }
    db.close()?;
    Ok(())
}
