//! Holds what a crash left to what was promised.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::load::{COPIES, Promise, READER, query};
use super::super::{PATH, all_events, paid};
use super::run::{Run, log_of};
use crate::append::Cause;
use crate::store::disk::Disk;
use crate::store::disk::simulated::SimulatedDisk;
use crate::{Db, Event, Options, Position, Timestamp};

type Held<T = ()> = Result<T, String>;

/// What was looked at already: it is not looked at twice.
#[derive(Default)]
pub(super) struct Seen {
    images: Mutex<HashSet<u64>>,
    files: Mutex<HashSet<u64>>,
}

impl Seen {
    /// Whether this is the first time for such bytes with such a promise.
    fn is_new(of: &Mutex<HashSet<u64>>, fingerprint: u128, promised: &impl std::hash::Hash) -> bool {
        use std::hash::{DefaultHasher, Hasher};
        let mut hasher = DefaultHasher::new();
        hasher.write_u128(fingerprint);
        promised.hash(&mut hasher);
        of.lock().unwrap().insert(hasher.finish())
    }

    pub fn is_new_image(&self, image: &SimulatedDisk, promised: Option<Promise>) -> bool {
        let fingerprint = image.fingerprint(|_| true);
        Seen::is_new(&self.images, fingerprint, &promised)
    }

    pub fn distinct(&self) -> usize {
        self.images.lock().unwrap().len()
    }
}

/// How closely an image is looked at: what takes long is done to some of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look(pub u64);

impl Look {
    /// Whether all is brought up to the log, and nothing is appended.
    pub fn is_settled(self) -> bool {
        self.at_each(3)
    }

    fn at_each(self, nth: u64) -> bool {
        self.0.is_multiple_of(nth)
    }
}

fn failed(what: &'static str) -> impl Fn(crate::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Opens what a crash left, and says what of the promise is broken. What is served is noted on the image.
pub(super) fn whole(
    run: &Run,
    seen: &Seen,
    image: &SimulatedDisk,
    promised: Option<Promise>,
    look: Look,
) -> Held {
    let Some(promised) = promised else {
        // The creation had not come to its end: there is no database, or a whole one.
        return match image.exists(Path::new(PATH)).unwrap() {
            true => whole(run, seen, image, Some(Promise::default()), look),
            false => Ok(()),
        };
    };
    copies_are_whole(run, seen, image, &promised)?;
    let options = run.options.clone().disk(Arc::new(image.clone()));
    let db = options.clone().open(PATH).map_err(failed("opening"))?;
    let log = log_is_right(&db, run, promised.head)?;
    image.note(log.len() as u64);
    place_is_right(&db, &promised)?;
    all_follows(&db, "after the crash")?;
    if look.is_settled() {
        db.store().shared().settle().map_err(failed("keeping what is defined"))?;
        all_follows(&db, "kept after the crash")?;
        db.close().map_err(failed("closing"))?;
        return Ok(());
    }
    let event = db.append(paid(7)).map_err(failed("appending after the crash"))?;
    if event.position.0 != log.len() as u64 + 1 {
        return Err(format!("the next event went to {}, after {}", event.position, log.len()));
    }
    db.close().map_err(failed("closing"))?;
    // What was cut may have another name by now; what was whole is gone.
    let is_journal =
        |name: &PathBuf| ["-journal-a", "-journal-b"].iter().any(|end| name.to_string_lossy().ends_with(end));
    if let Some(left) = image.names().into_iter().find(is_journal) {
        return Err(format!("{} is still there", left.display()));
    }
    if look.at_each(4) {
        let db = options.open(PATH).map_err(failed("opening again"))?;
        let again = log_of(db.store())?;
        if again.len() != log.len() + 1 || again[..log.len()] != log {
            return Err(format!("{} events after closing, of {}", again.len(), log.len() + 1));
        }
        db.close().map_err(failed("closing again"))?;
    } else if run.plan.live && look.at_each(25) {
        programs_end(run, image, log.len())?;
    }
    Ok(())
}

/// The log is one that the run had, and has all that was promised.
fn log_is_right(db: &Db, run: &Run, promised: Position) -> Held<Vec<Arc<[u8]>>> {
    let log = log_of(db.store())?;
    if (log.len() as u64) < promised.0 {
        return Err(format!("the log ends at {}, and {promised} was durable", log.len()));
    }
    if log.len() > run.log.len() || log != run.log[..log.len()] {
        let at = log.iter().zip(&run.log).position(|(found, written)| found != written);
        return Err(format!("the log is another one from {:?} on", at.map(|at| at + 1)));
    }
    Ok(log)
}

/// The reader is where it was promised to be: what it did not take comes again.
pub(in super::super) fn place_is_right(db: &Db, promised: &Promise) -> Held {
    let rows = db.query("SHOW SUBSCRIPTIONS").map_err(failed("looking for places"))?.rows;
    let rows = rows.collect::<crate::Result<Vec<_>>>().map_err(failed("reading places"))?;
    let mine = rows.iter().find(|row| row.get::<String>("name").is_ok_and(|name| name == READER));
    let place = Position(mine.and_then(|row| row.get::<u64>("position").ok()).unwrap_or(0));
    let Promise { place: least, asked: most, .. } = *promised;
    if place < least {
        return Err(format!("the reader is at {place}, and was at {least}"));
    }
    let passed = all_events(db).map_err(failed("reading events"))?.into_iter().find(|event| {
        event.position > most && event.position <= place && event.kind.as_str().starts_with("Bill.")
    });
    match passed {
        Some(event) => Err(format!("the reader is at {place}, and was never given {}", event.position)),
        None => Ok(()),
    }
}

/// All that follows from the log is what the log says.
fn all_follows(db: &Db, when: &str) -> Held {
    match db.verify().map_err(|e| format!("verifying {when}: {e}"))?.faults.as_slice() {
        [] => Ok(()),
        faults => Err(format!("{when}: {faults:?}")),
    }
}

/// Each backup holds all that it was said to, and nothing else than the log of the run.
fn copies_are_whole(run: &Run, seen: &Seen, image: &SimulatedDisk, promised: &Promise) -> Held {
    for (name, promised) in COPIES.into_iter().zip(promised.copies) {
        let path = Path::new(PATH).with_file_name(name);
        if !image.exists(&path).unwrap() {
            match promised {
                Some(head) => return Err(format!("the backup {name} is gone, which held all up to {head}")),
                None => continue,
            }
        }
        let fingerprint = image.fingerprint(|other| other == path);
        if !Seen::is_new(&seen.files, fingerprint, &promised) {
            continue;
        }
        copy_is_whole(run, image, &path, promised).map_err(|fault| format!("the backup {name}: {fault}"))?;
    }
    Ok(())
}

fn copy_is_whole(run: &Run, image: &SimulatedDisk, path: &Path, promised: Option<Position>) -> Held {
    // It is left as it is: others look at the same image.
    let options = run.options.clone().disk(Arc::new(image.clone())).read_only(true);
    let db = options.open(path).map_err(failed("opening"))?;
    log_is_right(&db, run, promised.unwrap_or(Position::START))?;
    all_follows(&db, "as it is")?;
    db.close().map_err(failed("closing"))
}

/// Opened live, everything that runs by itself comes to its one end.
fn programs_end(run: &Run, image: &SimulatedDisk, before: usize) -> Held {
    let options: Options = run.options.clone().disk(Arc::new(image.clone()));
    // The files of before tell somebody who is not there: that never ends.
    let db = options.clone().open(PATH).map_err(failed("opening for the programs"))?;
    let _ = query(&db, "DROP WEBHOOK notify");
    db.close().map_err(failed("closing for the programs"))?;
    let db = options.live(true).open(PATH).map_err(failed("opening live"))?;
    let until = Instant::now() + Duration::from_secs(60);
    while !db.is_idle().map_err(failed("asking whether it is idle"))? {
        if Instant::now() > until {
            return Err(format!("still not idle: {:?}", db.behind()));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let log = all_events(&db).map_err(failed("reading events"))?;
    outcomes_are_right(&log, run).map_err(|fault| format!("{fault}; the crash left {before} events"))?;
    all_follows(&db, "once all is idle")?;
    db.close().map_err(failed("closing"))
}

/// Each event has had its one outcome.
pub(super) fn outcomes_are_right(log: &[Event], run: &Run) -> Held {
    let defined = |name: &str| {
        let of = |event: &&Event| event.data.to_string().contains(&format!("DEFINE REACTION {name} "));
        log.iter()
            .filter(|event| event.kind.as_str() == "$reaction.defined")
            .find(of)
            .map(|event| event.position)
    };
    let mut outcomes: BTreeMap<(&str, Position), usize> = BTreeMap::new();
    let mut instants = BTreeSet::new();
    for event in log {
        match (event.kind.as_str(), &event.cause) {
            (kind @ ("Bill.thanked" | "Bill.reminded"), Some(Cause::Event(cause))) => {
                *outcomes.entry((kind, *cause)).or_default() += 1;
            }
            ("Report.asked", _) if !instants.insert(event.data.to_string()) => {
                return Err(format!("the schedule ran twice at {}", event.data));
            }
            _ => {}
        }
    }
    let now = Timestamp::from_millis(run.now.load(std::sync::atomic::Ordering::SeqCst) / 1000);
    for event in log {
        let (kind, name, due) = match event.kind.as_str() {
            "Bill.paid" => ("Bill.thanked", "thank", true),
            "Bill.placed" => {
                let is_paid = log[event.position.0 as usize..]
                    .iter()
                    .any(|other| other.kind.as_str() == "Bill.paid" && other.target == event.target);
                let due = event.recorded.saturating_add(Duration::from_secs(3600)) < now;
                ("Bill.reminded", "remind", due && !is_paid)
            }
            _ => continue,
        };
        if defined(name).is_none_or(|at| at > event.position) {
            continue;
        }
        let found = outcomes.get(&(kind, event.position)).copied().unwrap_or(0);
        if found > 1 || due && found != 1 {
            return Err(format!("{found} of {kind} for {} at {}", event.kind, event.position));
        }
    }
    Ok(())
}
