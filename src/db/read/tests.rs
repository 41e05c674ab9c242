//! A read gives what a plain filter over all events gives, whatever answers it.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::entity::{Position, Version};
use crate::event::NewEvent;
use crate::plan::{FORCED, Forced};
use crate::store::Options;
use crate::store::disk::memory::MemoryDisk;
use crate::time::Timestamp;

const TYPES: [&str; 4] = ["Order.paid", "Order.sent", "Stock.reserved", "Stock.sent"];
const PATTERNS: [&str; 5] = ["*", "Order.*", "*.sent", "Order.paid, Stock.*", "Nothing.*"];

/// What is asked of a read; points are small numbers, some of them beyond the log.
#[derive(Debug, Clone)]
struct Asked {
    pattern: Option<usize>,
    tag: Option<u8>,
    note: Option<u8>,
    entity: Option<u8>,
    actor: Option<u8>,
    from: Vec<(u8, u8)>,
    until: Vec<(u8, u8)>,
    backwards: bool,
    limit: Option<u64>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let some = |most: u8| prop::option::of(0..most);
    let points = || prop::collection::vec((0..3u8, 0..45u8), 0..3);
    (
        prop::option::of(0..PATTERNS.len()),
        some(4),
        some(3),
        some(4),
        some(3),
        points(),
        points(),
        any::<bool>(),
        prop::option::of(0..12u64),
    )
        .prop_map(|(pattern, tag, note, entity, actor, from, until, backwards, limit)| Asked {
            pattern,
            tag,
            note,
            entity,
            actor,
            from,
            until,
            backwards,
            limit,
        })
}

/// A log of which some is in the tables, and some in the memtables; `lane` is an index of the catalog, `note` a value of events.
fn log(events: &[(usize, u8, u8, u8, u8)]) -> Db {
    let options = Options::new().disk(Arc::new(MemoryDisk::new())).memtable(7, 1 << 20);
    let db = options.create("/shop.bygone").unwrap();
    db.query("DEFINE INDEX lane ON '*' AS data.lane").unwrap();
    for &(kind, id, lane, actor, at) in events {
        let target = (TYPES[kind].split('.').next().unwrap(), id);
        let event = NewEvent::new(TYPES[kind]).on(target).member("lane", lane).index("note", lane % 2);
        let event = if actor == 0 { event } else { event.by(("User", actor)) };
        db.append(event.at(instant(at))).unwrap();
    }
    assert!(db.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
    db
}

fn instant(at: u8) -> Timestamp {
    Timestamp::from_millis(i64::from(at) * 1000)
}

fn point((sort, n): (u8, u8), has_entity: bool) -> PointInTime {
    match sort {
        0 => instant(n).into(),
        1 if has_entity => Version(u64::from(n) / 3).into(),
        _ => Position(n.into()).into(),
    }
}

impl Asked {
    fn entity(&self) -> Option<Entity> {
        self.entity.map(|id| ("Order", id).into())
    }

    fn points(&self, said: &[(u8, u8)]) -> Vec<PointInTime> {
        said.iter().map(|said| point(*said, self.entity.is_some())).collect()
    }

    fn read(&self, db: &Db) -> Vec<u64> {
        let mut read = db.read();
        if let Some(pattern) = self.pattern {
            read = read.types(PATTERNS[pattern]);
        }
        if let Some(lane) = self.tag {
            read = read.tag("lane", lane);
        }
        if let Some(note) = self.note {
            read = read.tag("note", note);
        }
        if let Some(entity) = self.entity() {
            read = read.entity(entity);
        }
        if let Some(actor) = self.actor {
            read = read.actor(("User", actor));
        }
        for from in self.points(&self.from) {
            read = read.from(from);
        }
        for until in self.points(&self.until) {
            read = read.until(until);
        }
        if self.backwards {
            read = read.backwards();
        }
        if let Some(limit) = self.limit {
            read = read.limit(limit);
        }
        read.events().unwrap().map(|event| event.unwrap().position.0).collect()
    }

    /// The same, one event after another.
    fn read_plainly(&self, all: &[Event]) -> Vec<u64> {
        let pattern = self.pattern.map(|pattern| PATTERNS[pattern].parse::<Pattern>().unwrap());
        let wanted = |event: &&Event| {
            let is_own = event.kind.is_internal();
            let starts = |from: &PointInTime| match *from {
                PointInTime::Time(time) => event.timestamp >= time,
                PointInTime::Position(position) => event.position >= position,
                PointInTime::Version(version) => event.version >= Some(version),
            };
            let ends = |until: &PointInTime| match *until {
                PointInTime::Time(time) => event.timestamp < time,
                PointInTime::Position(position) => event.position <= position,
                PointInTime::Version(version) => event.version <= Some(version),
            };
            pattern.as_ref().map_or(!is_own, |pattern| pattern.matches(&event.kind))
                && self.tag.is_none_or(|lane| event.data.get("lane") == Some(lane.into()))
                && self.note.is_none_or(|note| event.tags.iter().any(|tag| tag.value == note.into()))
                && self.entity().is_none_or(|entity| event.target == Some(entity))
                && self.actor.is_none_or(|actor| event.actor == Some(("User", actor).into()))
                && self.points(&self.from).iter().all(starts)
                && self.points(&self.until).iter().all(ends)
        };
        let mut found: Vec<u64> = all.iter().filter(wanted).map(|event| event.position.0).collect();
        if self.backwards {
            found.reverse();
        }
        found.truncate(self.limit.map_or(usize::MAX, |limit| limit as usize));
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_read_gives_what_a_plain_filter_gives(
        events in prop::collection::vec((0..TYPES.len(), 0..3u8, 0..3u8, 0..3u8, 0..45u8), 0..40),
        reads in prop::collection::vec(asked(), 1..30),
    ) {
        let db = log(&events);
        let all: Vec<Event> =
            (1..=db.head().0).map(|position| db.event(Position(position)).unwrap().unwrap()).collect();
        for asked in reads {
            let expected = asked.read_plainly(&all);
            for forced in [None, Some(Forced::Log), Some(Forced::Lists), Some(Forced::Every)] {
                FORCED.set(forced);
                prop_assert_eq!(asked.read(&db), &expected[..], "{:?} {:?}", forced, asked);
            }
            FORCED.set(None);
        }
    }
}

#[test]
fn what_is_wrong_with_a_read_is_told_once_it_is_read() {
    let db = Db::in_memory().unwrap();
    let wrong = |read: ReadBuilder<'_>| read.events().unwrap_err().to_string();
    assert!(wrong(db.read().types("Order")).contains("Order"));
    assert!(wrong(db.read().from("yesterdya")).contains("yesterdya"));
    assert!(wrong(db.read().entity(("Order", ""))).contains("the id of Order"));
    assert!(wrong(db.read().tag("n", [1])).contains("text, a number or a boolean"));
    assert!(wrong(db.read().tag("type", "Order.paid")).contains("BY type"));
    assert!(wrong(db.read().until(Version(1))).contains("an entity, of which it is a version"));
    // The first of several.
    assert!(wrong(db.read().until("nver").tag("n", [1])).contains("nver"));
}

#[test]
fn a_read_streams_and_ends_when_its_handle_is_cancelled() {
    let db = Db::in_memory().unwrap();
    db.append_all((0..3000).map(|n| NewEvent::new("Order.paid").on(("Order", n)))).unwrap();
    let cancel = crate::cancel::Cancel::new();
    let mut events = db.cancelled_by(&cancel).read().events().unwrap();
    // What comes after it began is not read.
    db.append(NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
    assert_eq!(events.by_ref().take(10).filter(|event| event.is_ok()).count(), 10);
    cancel.cancel();
    assert!(events.any(|event| event.is_err_and(|error| error.to_string().contains("cancelled"))));
    assert_eq!(db.read().events().unwrap().count(), 3001);
    assert_eq!(db.read().backwards().limit(2).events().unwrap().last().unwrap().unwrap().position.0, 3000);
}
