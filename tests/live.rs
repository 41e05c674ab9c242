//! Followers of the log: each gets exactly what a filter over the log gives, whatever comes between.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bygone::append::Cause;
use bygone::react::Handler;
use bygone::{
    Cancel, Db, Delivery, Entity, Event, NewEvent, Options, Parameters, Pattern, Position, Row, Subscription,
    Value,
};

const LONG: Duration = Duration::from_secs(60);

fn tiny() -> Db {
    Options::new().memtable(64, 1 << 20).in_memory().unwrap()
}

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

fn paid(order: u64) -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", order)).member("n", order)
}

fn positions(deliveries: impl Iterator<Item = bygone::Result<Delivery>>) -> Vec<u64> {
    deliveries
        .filter_map(|delivery| match delivery.unwrap() {
            Delivery::Event(event) => Some(event.position.0),
            Delivery::CaughtUp(_) => None,
        })
        .collect()
}

fn query(db: &Db, text: &str) -> bygone::Result<Vec<Row>> {
    db.query(text)?.rows.collect()
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

mod many {
    //! A thousand subscribers, four writers, kills and restarts.

    use super::*;

    const SUBSCRIBERS: u64 = 1000;
    const WRITERS: u64 = 4;
    const SESSIONS: u64 = 3;
    /// Of each writer in each session.
    const EVENTS: u64 = 150;
    const THREADS: u64 = 16;

    fn event(dice: &mut Dice) -> NewEvent {
        let kinds = ["Order.paid", "Order.item.added", "Stock.reserved", "Orders.x", "User.signedIn"];
        let kind = kinds[dice.below(5) as usize];
        let event = NewEvent::new(kind).on((kind.split('.').next().unwrap(), dice.below(20)));
        event.member("n", dice.below(100)).index("customer", dice.below(8))
    }

    /// What one subscriber wants: no two want the same.
    struct Wanted {
        pattern: String,
        customer: Option<u64>,
        least: u64,
    }

    impl Wanted {
        fn of(number: u64) -> Wanted {
            let patterns =
                ["Order.*", "*", "*.paid", "Stock.reserved", "Orders.*, *.added", "User.*", "None.such"];
            Wanted {
                pattern: patterns[number as usize % 7].to_owned(),
                customer: (!number.is_multiple_of(3)).then_some(number / 7 % 8),
                least: number / 13 % 100,
            }
        }

        fn subscribe(&self, db: &Db) -> Subscription {
            let subscription = db.subscribe(pattern(&self.pattern));
            let least = Parameters::new().set("least", self.least);
            let subscription = match self.least {
                0 => subscription,
                _ => subscription.matching("data.n >= $least", &least),
            };
            match self.customer {
                Some(customer) => subscription.by("customer", customer),
                None => subscription,
            }
        }

        fn wants(&self, event: &Event) -> bool {
            let n = event.data.get("n").and_then(|n| n.as_i64()).unwrap() as u64;
            let customer = event.tags.iter().find(|tag| tag.name == "customer").map(|tag| &tag.value);
            pattern(&self.pattern).matches(&event.kind)
                && n >= self.least
                && self.customer.is_none_or(|wanted| customer == Some(&Value::from(wanted)))
        }
    }

    /// One of them, with all that it ever got. Every tenth has a name.
    struct Subscriber {
        number: u64,
        wanted: Wanted,
        got: Vec<u64>,
        marks: u64,
    }

    impl Subscriber {
        fn is_named(&self) -> bool {
            self.number.is_multiple_of(10)
        }

        /// Takes some of what there is, or all, and goes: a subscription that is dropped, or cancelled, is a kill of it.
        fn visit(&mut self, db: &Db, dice: &mut Dice, to_the_end: bool) {
            let subscription = self.wanted.subscribe(db);
            // What was taken last may have got lost with a kill, where the place is kept by the database.
            let most = if to_the_end { u64::MAX } else { dice.below(40) };
            let pause = Duration::from_micros(if dice.below(8) == 0 { dice.below(500) } else { 0 });
            if self.is_named() {
                let name = format!("subscriber {}", self.number);
                let begun = query(db, "SHOW SUBSCRIPTIONS").unwrap();
                let begun = begun.iter().any(|row| row.get::<String>("name").unwrap() == name);
                let subscription = if begun { subscription } else { subscription.from_start() };
                let mut named = subscription.until_now().durable(&name).unwrap();
                for _ in 0..most {
                    let Some(delivery) = named.next() else { break };
                    let Delivery::Event(event) = delivery.unwrap() else { continue };
                    self.got.push(event.position.0);
                    if to_the_end || dice.below(3) > 0 {
                        named.acknowledge(event.position).unwrap();
                    }
                    thread::sleep(pause);
                }
                return;
            }
            let last = Position(self.got.last().copied().unwrap_or(0));
            let cancel = Cancel::new();
            let mut subscription = subscription.after(last).cancelled_by(&cancel);
            if to_the_end {
                subscription = subscription.until_now();
            }
            for _ in 0..most {
                match subscription.next_timeout(if to_the_end { LONG } else { Duration::from_millis(2) }) {
                    Some(Ok(Delivery::Event(event))) => self.got.push(event.position.0),
                    Some(Ok(Delivery::CaughtUp(_))) => self.marks += 1,
                    Some(Err(error)) => panic!("{error}"),
                    None => break,
                }
                thread::sleep(pause);
            }
            if dice.below(2) == 0 {
                cancel.cancel();
                assert!(subscription.next().is_none());
            }
        }

        fn check(&self, log: &[Event]) {
            let expected: Vec<u64> =
                log.iter().filter(|event| self.wanted.wants(event)).map(|event| event.position.0).collect();
            if !self.is_named() {
                assert_eq!(self.got, expected, "{}", self.number);
                return;
            }
            // At least once: after a kill it goes on somewhere before, and what it then gets is the log again.
            let mut next = 0;
            for position in &self.got {
                let at = expected.binary_search(position).expect("what is wanted, and nothing else");
                assert!(at <= next, "{}: #{position} came before what lies before it", self.number);
                next = next.max(at + 1);
            }
            assert_eq!(next, expected.len(), "{}", self.number);
        }
    }

    fn open(path: &Path) -> Db {
        let options = Options::new().memtable(200, 1 << 20);
        if path.exists() { options.open(path).unwrap() } else { options.create(path).unwrap() }
    }

    #[test]
    fn each_gets_what_a_filter_over_the_log_gives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let mut parts: Vec<Vec<Subscriber>> = (0..THREADS).map(|_| Vec::new()).collect();
        for number in 0..SUBSCRIBERS {
            let wanted = Wanted::of(number);
            parts[(number % THREADS) as usize].push(Subscriber { number, wanted, got: Vec::new(), marks: 0 });
        }
        for session in 0..SESSIONS {
            let db = open(&path);
            let writing = AtomicU64::new(WRITERS);
            thread::scope(|scope| {
                for writer in 0..WRITERS {
                    let (db, writing) = (&db, &writing);
                    scope.spawn(move || {
                        let mut dice = Dice(session * 31 + writer + 1);
                        for _ in 0..EVENTS {
                            db.append(event(&mut dice)).unwrap();
                            if dice.below(20) == 0 {
                                thread::sleep(Duration::from_micros(dice.below(2000)));
                            }
                        }
                        writing.fetch_sub(1, Ordering::SeqCst);
                    });
                }
                for (thread, part) in parts.iter_mut().enumerate() {
                    let (db, writing) = (&db, &writing);
                    scope.spawn(move || {
                        let mut dice = Dice(session * 101 + thread as u64 + 7);
                        while writing.load(Ordering::SeqCst) > 0 {
                            for _ in 0..8 {
                                let at = dice.below(part.len() as u64) as usize;
                                part[at].visit(db, &mut dice, false);
                            }
                        }
                    });
                }
            });
            // The next session finds them wherever they are.
            db.close().unwrap();
        }
        let db = open(&path);
        let log: Vec<Event> = db.events(Pattern::all()).unwrap().map(Result::unwrap).collect();
        assert_eq!(log.len() as u64, SESSIONS * WRITERS * EVENTS);
        for subscriber in parts.iter_mut().flatten() {
            subscriber.visit(&db, &mut Dice(1), true);
            subscriber.check(&log);
        }
        // Something was delivered at the seam itself, not from the past alone.
        assert!(parts.iter().flatten().any(|subscriber| subscriber.marks > 0));
    }
}

mod handlers {
    use super::*;

    /// Waits until it holds.
    fn until(holds: impl Fn() -> bool) {
        let begin = std::time::Instant::now();
        while !holds() {
            assert!(begin.elapsed() < LONG);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_is_told_of_each_event_in_order_and_sees_the_state_around_it() {
        let db = tiny();
        let (tell, told) = mpsc::channel();
        let handler = db
            .subscribe(pattern("Account.*"))
            .from_start()
            .handler()
            .run(move |event| {
                let (before, after) = (event.before()?.state, event.state()?);
                tell.send((event.position.0, before.get("n").cloned(), after.state.get("n").cloned()))
                    .unwrap();
                assert_eq!(after.version, event.version.unwrap());
                Ok::<(), bygone::Error>(())
            })
            .unwrap();
        for n in 0..100 {
            db.append(NewEvent::new("Account.moved").on(("Account", 7)).member("n", n)).unwrap();
        }
        for n in 0..100i64 {
            let (position, before, after) = told.recv_timeout(LONG).unwrap();
            assert_eq!(position, n as u64 + 1);
            assert_eq!((before, after), ((n > 0).then(|| Value::from(n - 1)), Some(Value::from(n))));
        }
        handler.stop();
        assert_eq!(handler.join().unwrap().handled, 100);
    }

    #[test]
    fn an_event_without_a_target_has_no_state() {
        let db = tiny();
        db.append(NewEvent::new("Note.taken").on_nobody()).unwrap();
        let handler = db.subscribe(Pattern::all()).from_start().until_now().handler().retries(0);
        let report = handler.run(|event| event.state()).unwrap().join().unwrap();
        assert!(report.dead_letters[0].why.contains("an event with a target"), "{report:?}");
    }

    #[test]
    fn what_fails_is_tried_again_and_set_aside_and_holds_up_nobody() {
        let db = tiny();
        let (tell, told) = mpsc::channel();
        let handling = |db: &Db| {
            let handling = db.subscribe(pattern("Order.*")).handler().retries(2);
            handling.pause(Duration::from_millis(1), Duration::from_millis(2))
        };
        let tell_aside = tell.clone();
        let failing = handling(&db)
            .on_dead_letter(move |aside| tell_aside.send(format!("aside {}", aside.position)).unwrap())
            .run(move |event| {
                tell.send(format!("try {}", event.position)).unwrap();
                match event.position.0 {
                    2 => panic!("{} is too much", event.position),
                    3 => Err("not this one"),
                    _ => Ok(()),
                }
            })
            .unwrap();
        let (tell, other) = mpsc::channel();
        let well = handling(&db).run(move |event| tell.send(event.position.0).unwrap()).unwrap();
        for n in 0..4 {
            db.append(paid(n)).unwrap();
        }
        let expected = [
            "try #1", "try #2", "try #2", "try #2", "aside #2", "try #3", "try #3", "try #3", "aside #3",
            "try #4",
        ];
        for expected in expected {
            assert_eq!(told.recv_timeout(LONG).unwrap(), expected);
        }
        for expected in 1..=4 {
            assert_eq!(other.recv_timeout(LONG).unwrap(), expected);
        }
        until(|| failing.report().position == Position(4));
        let aside = failing.take_dead_letters();
        assert_eq!(
            aside.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "#2 Order.paid on Order 1: it panicked: #2 is too much (after 3 attempts)",
                "#3 Order.paid on Order 2: not this one (after 3 attempts)"
            ]
        );
        assert!(failing.report().dead_letters.is_empty());
        db.close().unwrap();
        assert_eq!(failing.join().unwrap().handled, 2);
        assert!(well.join().unwrap().dead_letters.is_empty());
    }

    #[test]
    fn it_sets_aside_only_so_many_where_nobody_hears_of_them() {
        let db = tiny();
        db.append_all((0..1200).map(paid)).unwrap();
        let handling = || db.subscribe(Pattern::all()).from_start().until_now().handler().retries(0);
        let error = handling().run(|_| Err::<(), _>("no")).unwrap().join().unwrap_err();
        assert!(error.to_string().contains("1000 events are set aside"), "{error}");
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let told = handling().on_dead_letter(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let report = told.run(|_| Err::<(), _>("no")).unwrap().join().unwrap();
        assert_eq!((count.load(Ordering::SeqCst), report.dead_letters.len()), (1200, 1000));
        assert_eq!(report.dead_letters[999].position, Position(1200));
    }

    #[test]
    fn what_it_emits_is_caused_by_the_event_and_of_its_chain() {
        let db = tiny().as_actor(("User", "ann"));
        let mut sent = db.subscribe(pattern("Parcel.*"));
        let _handler = db.on("Order.paid", |event| {
            event.append(NewEvent::new("Parcel.sent").on(("Parcel", event.position.0)))?;
            event.append_once("twice", [NewEvent::new("Parcel.weighed").on(("Parcel", event.position.0))])?;
            event.append_all([])
        });
        let order = db.append(paid(1).by(("User", "bob"))).unwrap();
        let mut next = || loop {
            match sent.next_timeout(LONG).unwrap().unwrap() {
                Delivery::Event(event) => break event,
                Delivery::CaughtUp(_) => {}
            }
        };
        for kind in ["Parcel.sent", "Parcel.weighed"] {
            let event = next();
            assert_eq!((event.kind.as_str(), &event.cause), (kind, &Some(Cause::Event(order.position))));
            assert_eq!(event.correlation, Some(order.id.to_string()));
            assert_eq!(event.actor, Some(Entity::from(("User", "ann"))));
        }
    }

    #[test]
    fn it_may_answer_its_own_kind_and_unsubscribe() {
        let db = tiny();
        let handler = db
            .on("Order.*", |event| {
                if event.position.0 == 10 {
                    event.unsubscribe();
                }
                event.append(paid(event.position.0)).map(drop)
            })
            .unwrap();
        db.append(paid(0)).unwrap();
        let report = handler.join().unwrap();
        // What it did about the last event counts.
        assert_eq!((report.handled, report.position, db.head()), (10, Position(10), Position(11)));
    }

    #[test]
    fn it_may_drop_its_own_handle() {
        let db = tiny();
        let own: Arc<Mutex<Option<Handler>>> = Arc::default();
        let (held, count) = (own.clone(), Arc::new(AtomicU64::new(0)));
        let (counted, ended) = (count.clone(), Arc::new(AtomicBool::new(false)));
        struct Told(Arc<AtomicBool>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let told = Told(ended.clone());
        *own.lock().unwrap() = Some(
            db.on("*", move |_| {
                let _ = &told;
                counted.fetch_add(1, Ordering::SeqCst);
                let handler = loop {
                    match held.lock().unwrap().take() {
                        Some(handler) => break handler,
                        None => thread::yield_now(),
                    }
                };
                // It cannot wait for itself.
                assert!(handler.join().is_err());
            })
            .unwrap(),
        );
        db.append(paid(0)).unwrap();
        db.append(paid(1)).unwrap();
        until(|| ended.load(Ordering::SeqCst));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn it_may_close_the_database() {
        let db = tiny();
        let own = db.clone();
        let (tell, told) = mpsc::channel();
        let handler = db
            .on("*", move |event| {
                own.close().unwrap();
                tell.send(event.append(paid(1)).unwrap_err().to_string()).unwrap();
            })
            .unwrap();
        db.append(paid(0)).unwrap();
        assert!(told.recv_timeout(LONG).unwrap().starts_with("stopped: the database is closed"));
        assert_eq!(handler.join().unwrap().handled, 1);
    }

    #[test]
    fn dropping_the_handle_ends_it_and_detaching_does_not() {
        let db = tiny();
        let count = Arc::new(AtomicU64::new(0));
        for detached in [false, true] {
            let counted = count.clone();
            let handler = db
                .on("*", move |_| {
                    counted.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
            if detached {
                handler.detach();
            } else {
                drop(handler);
            }
        }
        db.append(paid(0)).unwrap();
        until(|| count.load(Ordering::SeqCst) == 1);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn neither_a_handler_nor_a_subscription_keeps_the_database_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let db = Db::create(&path).unwrap();
        let handler = db.on("*", |_| ()).unwrap();
        let channel = db.subscribe(Pattern::all()).channel(1).unwrap();
        drop(db);
        let db = Db::open(&path).unwrap();
        handler.join().unwrap();
        assert_eq!(channel.iter().filter(Result::is_err).count(), 0);
        drop(db);
    }

    #[test]
    fn stopping_ends_the_wait_for_another_attempt() {
        let db = tiny();
        let (tell, told) = mpsc::channel();
        let handling = db.subscribe(Pattern::all()).handler().pause(LONG * 60, LONG * 60);
        let handler = handling
            .run(move |event| {
                tell.send(event.position).unwrap();
                Err::<(), _>("never")
            })
            .unwrap();
        db.append(paid(0)).unwrap();
        told.recv_timeout(LONG).unwrap();
        handler.stop();
        let report = handler.join().unwrap();
        assert_eq!((report.handled, report.dead_letters.len(), report.position), (0, 0, Position::START));
    }
}

mod named {
    use super::*;

    #[test]
    fn it_goes_on_behind_what_was_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let db = Db::create(&path).unwrap();
        db.append_all((0..10).map(paid)).unwrap();
        let billing = |db: &Db| db.subscribe(pattern("Order.*")).until_now();
        let mut named = billing(&db).from_start().durable("billing").unwrap();
        assert_eq!(positions(named.by_ref().take(5)), [1, 2, 3, 4, 5]);
        named.acknowledge(Position(3)).unwrap();
        named.acknowledge(Position(2)).unwrap();
        assert_eq!(named.cursor().position().unwrap(), Position(3));
        let error = named.acknowledge(Position(6)).unwrap_err();
        assert!(error.to_string().contains("reached, up to #5"), "{error}");
        db.close().unwrap();
        assert!(named.acknowledge(Position(4)).is_err());
        drop(named);
        let db = Db::open(&path).unwrap();
        let named = billing(&db).durable("billing").unwrap();
        let place = named.cursor();
        assert_eq!(positions(named), (4..=10).collect::<Vec<_>>());
        // Of a reader that is gone, too.
        place.acknowledge(Position(9)).unwrap();
        assert_eq!(positions(billing(&db).durable("billing").unwrap()), [10]);
    }

    #[test]
    fn it_is_of_what_it_was_and_where_it_was() {
        let db = tiny();
        db.append_all((0..3).map(paid)).unwrap();
        let named =
            db.subscribe(pattern("Order.*")).by("customer", 7).from_start().durable("billing").unwrap();
        let wrong = |subscription: Subscription| subscription.durable("billing").unwrap_err().to_string();
        let second = wrong(db.subscribe(pattern("Order.*")).by("customer", 7));
        assert!(second.contains("expected one reader at a time, found one that reads it since"), "{second}");
        assert!(db.query("DROP SUBSCRIPTION billing").unwrap_err().is_conflict());
        drop(named);
        let theirs = || db.subscribe(pattern("Order.*")).by("customer", 7);
        let from = wrong(theirs().after(Position(2)));
        assert!(
            from.contains("expected no FROM but the start: it is at #0") && from.ends_with("found #2"),
            "{from}"
        );
        // Where it begins, if it is not there yet: whoever says so runs as often as they like.
        drop(theirs().from_start().durable("billing").unwrap());
        let other = wrong(db.subscribe(pattern("Order.*")).by("customer", "7"));
        assert!(
            other.contains("expected 'Order.*' BY customer = 7, which it is of")
                && other.ends_with("found 'Order.*' BY customer = '7'"),
            "{other}"
        );
        let condition = "data.n > $n";
        let parameters = Parameters::new().set("n", 4);
        let other = wrong(db.subscribe(pattern("Order.*")).matching(condition, &parameters));
        assert!(other.ends_with("found 'Order.*' WHERE data.n > 4"), "{other}");
        assert!(wrong(db.subscribe(pattern("Order.*")).by("actor", 7)).contains("by_actor"));
        query(&db, "DROP SUBSCRIPTION billing").unwrap();
        assert_eq!(query(&db, "SHOW SUBSCRIPTIONS").unwrap(), []);
        assert!(db.subscribe(pattern("Order.*")).durable("").is_err());
        assert!(db.subscribe(pattern("Order.*")).durable(&"x".repeat(256)).is_err());
        drop(db.subscribe(pattern("Order.*")).durable("billing").unwrap());
    }

    #[test]
    fn nobody_begins_beyond_the_head() {
        let db = tiny();
        db.append_all((0..3).map(paid)).unwrap();
        let beyond = |subscription: Subscription| {
            let error = subscription.until_now().next().unwrap().unwrap_err().to_string();
            assert!(error.contains("#50 is beyond the head, which is #3"), "{error}");
        };
        beyond(db.subscribe(pattern("Order.*")).after(Position(50)));
        let named = db.subscribe(pattern("Order.*")).after(Position(4)).durable("billing");
        assert_eq!(named.unwrap_err().kind(), "beyondHead");
        assert_eq!(query(&db, "SHOW SUBSCRIPTIONS").unwrap(), [], "none was begun");
        assert_eq!(positions(db.subscribe(pattern("Order.*")).after(Position(3)).until_now()), [0; 0]);
        assert_eq!(positions(db.subscribe(pattern("Order.*")).after(Position(2)).until_now()), [3]);
    }

    #[test]
    fn where_nothing_is_written_no_place_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let db = Db::create(&path).unwrap();
        drop(db.subscribe(Pattern::all()).durable("billing").unwrap());
        db.close().unwrap();
        let db = Options::new().read_only(true).open(&path).unwrap();
        for text in ["SUBSCRIBE AS billing", "DROP SUBSCRIPTION billing"] {
            let error = db.query(text).unwrap_err().to_string();
            assert!(error.contains("for reading only"), "{error}");
        }
        assert_eq!(query(&db, "SHOW SUBSCRIPTIONS").unwrap().len(), 1);
    }

    #[test]
    fn it_passes_over_what_is_not_wanted() {
        let db = tiny();
        let mut named = db.subscribe(pattern("Stock.*")).durable("stock").unwrap();
        assert!(matches!(named.next(), Some(Ok(Delivery::CaughtUp(_)))));
        let stock = db.append(NewEvent::new("Stock.reserved").on(("Stock", 1))).unwrap();
        db.append_all((0..10).map(paid)).unwrap();
        assert_eq!(positions(named.next().into_iter()), [1]);
        // Nothing more is wanted, but what was is not acknowledged.
        assert!(named.next_timeout(Duration::from_millis(1)).is_none());
        let at = |db: &Db| query(db, "SHOW SUBSCRIPTIONS").unwrap()[0].get::<u64>("position").unwrap();
        assert_eq!(at(&db), 0);
        named.acknowledge(stock.position).unwrap();
        assert_eq!(at(&db), 11);
        db.append(paid(11)).unwrap();
        assert!(named.next_timeout(Duration::from_millis(1)).is_none());
        assert_eq!(
            (at(&db), query(&db, "SHOW SUBSCRIPTIONS").unwrap()[0].get::<u64>("lag").unwrap()),
            (12, 0)
        );
    }

    #[test]
    fn a_handler_acknowledges_what_went_well_and_what_is_set_aside() {
        let db = tiny();
        db.append_all((0..5).map(paid)).unwrap();
        let place = |db: &Db| query(db, "SHOW SUBSCRIPTIONS").unwrap()[0].get::<u64>("position").unwrap();
        let handling = |from_start: bool| {
            let subscription = db.subscribe(Pattern::all()).until_now();
            let subscription = if from_start { subscription.from_start() } else { subscription };
            subscription.durable("mail").unwrap().handler().retries(0)
        };
        let stopped = handling(true).run(|event| {
            if event.position.0 == 3 {
                event.unsubscribe();
            }
            if event.position.0 == 2 { Err("no") } else { Ok(()) }
        });
        assert_eq!(stopped.unwrap().join().unwrap().dead_letters.len(), 1);
        assert_eq!(place(&db), 3);
        let report = handling(false).run(|_| ()).unwrap().join().unwrap();
        assert_eq!((report.handled, place(&db)), (2, 5));
    }

    #[test]
    fn a_statement_tells_where_to_acknowledge() {
        let db = tiny();
        db.append_all((0..5).map(paid)).unwrap();
        let text = "SUBSCRIBE 'Order.*' AS billing UNTIL NOW";
        let begin = "SUBSCRIBE 'Order.*' AS billing FROM START LIMIT 3";
        let answer = db.query(begin).unwrap();
        let place = answer.cursor.unwrap();
        assert_eq!(answer.rows.count(), 3);
        assert_eq!(query(&db, text).unwrap().len(), 5);
        place.acknowledge(Position(3)).unwrap();
        assert_eq!(query(&db, text).unwrap().len(), 2);
        let error = query(&db, "SUBSCRIBE 'Order.*' AS billing FROM #2").unwrap_err();
        assert!(error.to_string().contains("it is at #3"), "{error}");
    }
}

#[test]
fn from_now_begins_behind_what_is_there_at_this_very_instant() {
    let db = tiny();
    for n in 0..50 {
        db.append(paid(n)).unwrap();
        let rows = query(&db, "SUBSCRIBE FROM NOW UNTIL NOW").unwrap();
        assert_eq!(rows, []);
    }
}

#[test]
fn what_is_wrong_is_told_instead_of_the_first_delivery() {
    let db = tiny();
    let none = Parameters::new();
    for (subscription, expected) in [
        (db.subscribe(Pattern::all()).by("customer", [1]), "text, a number or a boolean"),
        (db.subscribe(Pattern::all()).by_actor(("", "x")), "kind"),
        (db.subscribe(Pattern::all()).matching("data.n >", &none), "expected"),
        (db.subscribe(Pattern::all()).matching("data.n) LIMIT 3 --", &none), "expected"),
        (db.subscribe(Pattern::all()).matching("data.n > $n", &none), "$n"),
    ] {
        let mut subscription = subscription.from_start();
        let error = subscription.next().unwrap().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(subscription.next().is_none());
    }
    assert!(db.subscribe(Pattern::all()).by("customer", [1]).channel(1).is_err());
    assert!(db.subscribe(Pattern::all()).by("customer", [1]).handler().run(|_| ()).is_err());
}

#[test]
fn conditions_narrow_by_all_that_was_said() {
    let db = tiny();
    for n in 0..600u64 {
        db.append(paid(n % 5).member("n", n % 7).index("customer", n % 3)).unwrap();
    }
    query(&db, "DEFINE INDEX n ON 'Order.*' AS data.n").unwrap();
    assert!(db.wait_for_indexes(LONG).unwrap());
    let none = Parameters::new();
    let narrowed = |subscription: Subscription| {
        let two = Parameters::new().set("two", 2);
        let subscription =
            subscription.matching("data.n = 2 -- a remark", &none).matching("data.n = $two", &two);
        subscription.on(("Order", 2)).until_now()
    };
    let expected: Vec<u64> =
        (0..600).filter(|n| n % 7 == 2 && n % 5 == 2 && n % 3 == 1).map(|n| n + 1).collect();
    let past = narrowed(db.subscribe(pattern("Order.*"))).by("customer", 1).from_start();
    assert_eq!(positions(past), expected);
    let some = narrowed(db.subscribe(pattern("Order.*"))).by("customer", 1).after(Position(expected[1]));
    assert_eq!(positions(some), expected[2..]);
    let event = db.event(Position(expected[1])).unwrap().unwrap();
    let since = narrowed(db.subscribe(pattern("Order.*"))).by("customer", 1).since(event.recorded);
    assert_eq!(positions(since), expected[1..]);
}

#[cfg(feature = "async")]
mod streams {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Wake, Waker};

    use bygone::react::DeliveryStream;
    use futures_core::Stream;

    use super::*;

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park_timeout(LONG),
            }
        }
    }

    async fn next(stream: &mut DeliveryStream) -> Option<bygone::Result<Delivery>> {
        poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
    }

    #[test]
    fn a_stream_goes_from_the_past_into_the_present() {
        let db = tiny();
        db.append_all((0..300).map(paid)).unwrap();
        let writer = db.clone();
        let mut stream = db.subscribe(pattern("Order.*")).from_start().stream().unwrap();
        block_on(async {
            let (mut expected, mut marks) = (1, 0);
            let mut writing = None;
            while expected <= 400 {
                match next(&mut stream).await.unwrap().unwrap() {
                    Delivery::Event(event) => {
                        assert_eq!(event.position.0, expected);
                        expected += 1;
                    }
                    Delivery::CaughtUp(_) => {
                        marks += 1;
                        let writer = writer.clone();
                        writing = Some(thread::spawn(move || {
                            for n in 300..400 {
                                writer.append(paid(n)).unwrap();
                            }
                        }));
                    }
                }
            }
            assert_eq!(marks, 1);
            writing.unwrap().join().unwrap();
        });
        db.close().unwrap();
        assert!(block_on(next(&mut stream)).is_none());
    }

    #[test]
    fn a_slow_stream_reads_ahead_by_little_and_its_thread_ends_when_it_is_dropped() {
        let db = tiny();
        db.append_all((0..1000).map(paid)).unwrap();
        let place;
        {
            let named = db.subscribe(Pattern::all()).from_start().durable("slow").unwrap();
            place = named.cursor();
            let mut stream = named.stream().unwrap();
            assert!(matches!(block_on(next(&mut stream)), Some(Ok(Delivery::Event(_)))));
            thread::sleep(Duration::from_millis(20));
            assert!(place.acknowledge(Position(100)).is_err(), "it has read on to the hundredth");
            place.acknowledge(Position(1)).unwrap();
        }
        // Its seat is free once the thread has gone.
        let begin = std::time::Instant::now();
        while db.subscribe(Pattern::all()).durable("slow").is_err() {
            assert!(begin.elapsed() < LONG);
            thread::yield_now();
        }
    }

    #[test]
    fn what_is_wrong_ends_a_stream() {
        let db = tiny();
        assert!(db.subscribe(Pattern::all()).by("customer", [1]).stream().is_err());
        let limit = Cancel::after(Duration::from_millis(1));
        let mut stream = db.subscribe(Pattern::all()).cancelled_by(&limit).stream().unwrap();
        let rest: Vec<_> = std::iter::from_fn(|| block_on(next(&mut stream))).collect();
        assert!(rest.last().unwrap().is_err());
    }
}
