//! Databases that share a log: definitions, verbs, states, subscriptions and reactions of one are those of the others.

use std::sync::Arc;
use std::thread;

use super::{events, paid, run, wait_until};
use crate::store::disk::memory::MemoryDisk;
use crate::store::log::shared::{LogFaults, SharedLog};
use crate::{Db, Delivery, Error, Options, Pattern, Row};

fn restless(seed: u64) -> Arc<SharedLog> {
    let log = SharedLog::new(seed);
    log.set_faults(LogFaults::SOME);
    log
}

fn database(log: &Arc<SharedLog>, live: bool) -> Db {
    let mut options = Options::new().disk(Arc::new(MemoryDisk::new())).cache(256 << 10).memtable(20, 1 << 20);
    options.log = Some(log.handle());
    options.live(live).create("/shop.bygone").unwrap()
}

fn catch_up(db: &Db) {
    db.store().shared().commits.catch_up().unwrap();
}

fn state(db: &Db, text: &str) -> String {
    let rows = run(db, text);
    let [Row::State(found)] = rows.as_slice() else { panic!("{text}: {} rows", rows.len()) };
    found.state.to_string()
}

#[test]
fn what_is_defined_in_one_is_defined_in_the_others() {
    let log = restless(1);
    let [first, second] = [(); 2].map(|()| database(&log, false));
    run(
        &first,
        "DEFINE VERB Deposit ON Account EMIT deposited {balance: coalesce(state.balance, 0) + data.amount}",
    );
    catch_up(&second);
    for n in 0..40 {
        let db = if n % 3 == 0 { &second } else { &first };
        run(db, "PERFORM Deposit Account 1 {amount: 5}");
    }
    [&first, &second].into_iter().for_each(catch_up);
    for db in [&first, &second] {
        assert_eq!(state(db, "AT Account 1 NOW"), r#"{"balance":200}"#);
    }
    run(&second, "DROP VERB Deposit");
    catch_up(&first);
    assert!(first.query("PERFORM Deposit Account 1 {amount: 5}").is_err());
}

#[test]
fn verbs_decide_by_what_all_have_done() {
    const STOCK: usize = 30;
    let log = restless(2);
    let databases = [(); 3].map(|()| database(&log, false));
    run(&databases[0], &format!("EMIT Stock.counted 1 {{left: {STOCK}}}"));
    run(
        &databases[0],
        "DEFINE VERB Take ON Stock REQUIRE state.left > 0 ELSE 'none left' EMIT taken {left: state.left - 1}",
    );
    databases.each_ref().into_iter().for_each(catch_up);
    let taken: usize = thread::scope(|scope| {
        let takers = databases.each_ref().map(|db| {
            scope.spawn(move || {
                let take = |_: &usize| match db.query("PERFORM Take Stock 1") {
                    Ok(_) => true,
                    Err(Error::Refused(_)) => false,
                    Err(other) => panic!("{other}"),
                };
                (0..STOCK).filter(take).count()
            })
        });
        takers.map(|taker| taker.join().unwrap()).iter().sum()
    });
    databases.each_ref().into_iter().for_each(catch_up);
    for db in &databases {
        assert_eq!((taken, events(db, "Stock.taken").len()), (STOCK, STOCK));
        assert_eq!(state(db, "AT Stock 1 NOW"), r#"{"left":0}"#);
    }
}

#[test]
fn a_subscription_sees_what_others_append() {
    let log = restless(3);
    let [writer, reader] = [(); 2].map(|()| database(&log, false));
    let orders = reader.subscribe("Order.*".parse::<Pattern>().unwrap());
    let numbers: Vec<u64> = (0..30).collect();
    for n in &numbers {
        writer.append(paid(*n)).unwrap();
    }
    let seen = orders.filter_map(|delivery| match delivery.unwrap() {
        Delivery::Event(event) => event.target.map(|order| order.id().parse().unwrap()),
        _ => None,
    });
    assert_eq!(seen.take(30).collect::<Vec<u64>>(), numbers);
}

#[test]
fn a_reaction_that_runs_everywhere_has_one_effect_for_each_event() {
    const ORDERS: u64 = 20;
    let log = restless(4);
    let databases = [(); 3].map(|()| database(&log, true));
    run(&databases[0], "DEFINE REACTION thank ON 'Order.paid' DO EMIT Mail.requested (target.id)");
    databases.each_ref().into_iter().for_each(catch_up);
    thread::scope(|scope| {
        for (db, number) in databases.iter().zip(0..) {
            scope.spawn(move || (0..ORDERS).for_each(|n| drop(db.append(paid(n * 3 + number)).unwrap())));
        }
    });
    let all = 3 * ORDERS as usize;
    for db in &databases {
        wait_until("all mails", || events(db, "Mail.requested").len() >= all);
        wait_until("all to be idle", || db.is_idle().unwrap());
    }
    databases.each_ref().into_iter().for_each(catch_up);
    for db in &databases {
        let mut mails: Vec<_> =
            events(db, "Mail.requested").into_iter().filter_map(|mail| mail.target).collect();
        assert_eq!(mails.len(), all);
        mails.sort_by_key(ToString::to_string);
        mails.dedup();
        assert_eq!(mails.len(), all, "each of its own order");
    }
}
