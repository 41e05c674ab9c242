//! Subscriptions: from a place in the past into the live present, losing none and repeating none.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bygone::maintain::Durability;
use bygone::{Cancel, Db, Delivery, NewEvent, Options, Parameters, Pattern, Position, Row};

fn tiny() -> Db {
    Options::new().memtable(64, 1 << 20).in_memory().unwrap()
}

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

fn event(n: u64) -> NewEvent {
    let kind = ["Order.paid", "Order.item.added", "Stock.reserved", "Orders.x"][n as usize % 4];
    NewEvent::new(kind).on(("Thing", n % 5)).member("n", n)
}

/// The hand-over from the past to the present, raced: subscribers begin while writers append.
#[test]
fn nothing_is_lost_or_repeated_between_the_past_and_the_present() {
    let db = tiny();
    let total = 4 * 500;
    thread::scope(|scope| {
        for writer in 0..4u64 {
            let db = db.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    db.append(event(writer + n)).unwrap();
                }
            });
        }
        for late in 0..3u64 {
            let db = db.clone();
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(late * 3));
                let subscription = db.subscribe(pattern("*")).from_start().until(Position(total));
                let mut next = 1;
                let mut marks = 0;
                for delivery in subscription {
                    match delivery.unwrap() {
                        Delivery::Event(event) => {
                            assert_eq!(event.position, Position(next));
                            next += 1;
                        }
                        Delivery::CaughtUp(at) => {
                            assert_eq!(at, Position(next - 1));
                            marks += 1;
                        }
                    }
                }
                assert_eq!(next, total + 1);
                assert!(marks <= 1, "{marks} marks");
            });
        }
    });
}

#[test]
fn a_pattern_delivers_what_a_scan_finds() {
    let db = tiny();
    for n in 0..700 {
        db.append(event(n)).unwrap();
    }
    for text in ["Order.*", "*.reserved", "*", "Order.paid,Orders.*", "None.such"] {
        let wanted = pattern(text);
        let all = db.events(pattern("*")).unwrap().map(Result::unwrap);
        let expected: Vec<_> = all.filter(|event| wanted.matches(&event.kind)).map(|e| e.position).collect();
        let subscription = db.subscribe(wanted).from_start().until(db.head());
        let delivered = subscription.filter_map(|delivery| match delivery.unwrap() {
            Delivery::Event(event) => Some(event.position),
            _ => None,
        });
        assert_eq!(delivered.collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn a_limit_counts_matches_and_ends_it() {
    let db = tiny();
    (0..100).for_each(|n| drop(db.append(event(n)).unwrap()));
    let mut subscription = db.subscribe(pattern("Stock.*")).from_start().limit(5);
    assert_eq!(subscription.by_ref().count(), 5);
    assert!(subscription.has_ended());
    let rows = db.query("SUBSCRIBE 'Stock.*' FROM START LIMIT 5").unwrap().rows;
    assert_eq!(rows.count(), 5);
}

#[test]
fn closing_the_database_ends_what_waits() {
    let db = tiny();
    let waiting = db.clone();
    let waiter = thread::spawn(move || waiting.subscribe(pattern("*")).count());
    thread::sleep(Duration::from_millis(50));
    db.close().unwrap();
    assert_eq!(waiter.join().unwrap(), 1); // the mark
}

#[test]
fn a_cancelled_subscription_ends_though_nothing_happens() {
    let db = tiny();
    let cancel = Cancel::new();
    let handle = cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        handle.cancel();
    });
    let rows = db.cancelled_by(&cancel).query("SUBSCRIBE '*'").unwrap().rows;
    let rows: Vec<_> = rows.map(Result::unwrap).collect();
    assert_eq!(rows, [Row::CaughtUp(Position(0))]);
    canceller.join().unwrap();
}

#[test]
fn a_slow_subscriber_holds_up_nobody_and_loses_nothing() {
    let db = tiny();
    let channel = db.subscribe(pattern("*")).channel(1).unwrap();
    for n in 0..500 {
        db.append(event(n)).unwrap();
    }
    let mut next = 1;
    while next <= 500 {
        if let Delivery::Event(event) = channel.recv_timeout(Duration::from_secs(10)).unwrap().unwrap() {
            assert_eq!(event.position, Position(next));
            next += 1;
        }
    }
}

/// With `Durability::Interval` a reader sees what is appended at once, a subscription only what the disk has.
#[test]
fn a_subscription_sees_only_what_is_synced() {
    let hour = Durability::Interval(Duration::from_secs(3600));
    let db = Options::new().durability(hour).in_memory().unwrap();
    let mut subscription = db.subscribe(pattern("*")).from_start();
    assert!(matches!(subscription.next(), Some(Ok(Delivery::CaughtUp(Position(0))))));
    db.append(event(0)).unwrap();
    assert_eq!(db.events(pattern("*")).unwrap().count(), 1);
    assert!(subscription.next_timeout(Duration::from_millis(50)).is_none());

    let soon = Durability::Interval(Duration::from_millis(20));
    let db = Options::new().durability(soon).in_memory().unwrap();
    let mut subscription = db.subscribe(pattern("*")).from_start();
    db.append(event(0)).unwrap();
    let seen = std::iter::from_fn(|| subscription.next_timeout(Duration::from_secs(10)));
    assert!(seen.take(2).any(|delivery| matches!(delivery, Ok(Delivery::Event(_)))));
}

#[test]
fn a_future_is_woken() {
    struct Flag(AtomicBool, thread::Thread);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Flag>) {
            self.0.store(true, Ordering::SeqCst);
            self.1.unpark();
        }
    }
    let db = tiny();
    let mut ticket = Box::pin(db.submit([event(0), event(1)]).unwrap());
    let flag = Arc::new(Flag(AtomicBool::new(false), thread::current()));
    let waker = flag.clone().into();
    let mut context = std::task::Context::from_waker(&waker);
    let events = loop {
        match ticket.as_mut().poll(&mut context) {
            std::task::Poll::Ready(events) => break events.unwrap(),
            std::task::Poll::Pending => {
                while !flag.0.swap(false, Ordering::SeqCst) {
                    thread::park_timeout(Duration::from_secs(10));
                }
            }
        }
    };
    assert_eq!(events.len(), 2);
}

#[test]
fn a_named_subscription_is_of_a_list_of_patterns_in_any_order() {
    let db = tiny();
    let named = |text: &str| {
        db.subscribe(pattern(text))
            .by("a", "it's, or")
            .matching("data.n > 1", &Parameters::new())
            .durable("m")
    };
    named("P.*,O.*").map(drop).unwrap();
    for same in ["O.*,P.*", "O.*, P.*", "P.*,O.*,P.*"] {
        named(same).map(drop).unwrap_or_else(|error| panic!("{same}: {error}"));
    }
    for other in ["P.*", "P.*,O.*,Q.*", "P.*,O.a"] {
        assert!(named(other).is_err(), "{other}");
    }
    assert!(db.subscribe(pattern("O.*,P.*")).durable("m").is_err(), "without what it is narrowed by");
    let said = |text: &str| db.query(text).map(drop);
    said("SUBSCRIBE 'P.*,O.*' UNTIL NOW AS n").unwrap();
    said("SUBSCRIBE 'O.*, P.*' UNTIL NOW AS n").unwrap();
}
