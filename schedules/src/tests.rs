//! What holds in whatever order threads come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as Plain, Ordering};
use std::task::{Wake, Waker};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, AtomicU64};
use shuttle::{Config, Runner, thread};

use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::append_request::{AppendOutcome, Prepared};
use crate::store::background::Background;
use crate::store::log_progress::{LogProgress, WaitResult};
use crate::store::mutex::locked;
use crate::store::next_request;
use crate::store::queue::{Pending, Queue};

/// Tries a number of orders: by chance, and with few changes of thread, which finds what needs one at the wrong place.
fn in_any_order(run: impl Fn() + Send + Sync + 'static) {
    let orders =
        std::env::var("BYGONE_SCHEDULES").ok().and_then(|orders| orders.parse().ok()).unwrap_or(10_000);
    let run = Arc::new(run);
    let again = run.clone();
    Runner::new(RandomScheduler::new(orders), Config::new()).run(move || run());
    Runner::new(PctScheduler::new(3, orders), Config::new()).run(move || again());
}

/// A log that whoever leads appends to.
struct Shop {
    queue: Queue,
    background: Background,
    log: Mutex<Vec<u64>>,
    /// The batch that is not committed, but ends in a panic.
    panics: AtomicBool,
}

/// So many bytes are committed at once, and so many wait at most.
const FRAME: usize = 20;
const CAPACITY: usize = 30;

impl Shop {
    fn new() -> Arc<Shop> {
        Arc::new(Shop {
            queue: Queue::new(CAPACITY),
            background: Background::default(),
            log: Mutex::default(),
            panics: AtomicBool::new(false),
        })
    }

    fn lead(&self) {
        let find = || self.background.ask(|asked| asked.lead = true);
        self.queue.lead(FRAME, |batch| self.commit_batch(batch), find);
    }

    fn commit_batch(&self, batch: &[Arc<Pending>]) -> Vec<Result<AppendOutcome>> {
        let answers = batch.iter().map(|pending| {
            let request = pending.take().expect("a request is taken once");
            let mut log = locked(&self.log);
            log.push(request.number);
            Ok(AppendOutcome { position: log.len() as u64 })
        });
        let answers: Vec<_> = answers.collect();
        if self.panics.swap(false, Ordering::SeqCst) {
            panic!("on purpose");
        }
        answers
    }

    fn append(&self, number: u64) -> Result<AppendOutcome> {
        self.queue.commit(&request(number), || self.lead())
    }

    /// A request that nobody waits for: whoever would have to lead asks the background to.
    fn submit(&self, number: u64) -> Result<Arc<Pending>> {
        let pending = request(number);
        if self.queue.push(&pending)? {
            self.background.ask(|asked| asked.lead = true);
        }
        Ok(pending)
    }

    /// The thread in the background: it leads when it is asked to.
    fn attend(&self) {
        loop {
            let (lead, stop) = next_request(&self.background, |asked| {
                (asked.lead || asked.stop).then(|| (std::mem::take(&mut asked.lead), asked.stop))
            });
            if lead {
                let _ = catch_unwind(AssertUnwindSafe(|| self.lead()));
            }
            if stop {
                return;
            }
        }
    }

    /// Each number that was answered is where the answer says, and is there once.
    fn holds(&self, answered: &[(u64, AppendOutcome)]) {
        let log = locked(&self.log);
        for (number, outcome) in answered {
            assert_eq!(log[outcome.position as usize - 1], *number);
            assert_eq!(log.iter().filter(|other| *other == number).count(), 1);
        }
    }
}

/// Has a thread in the background, as each database has one, while something is done.
fn attended(work: impl FnOnce(&Arc<Shop>)) {
    let shop = Shop::new();
    let background = spawn(&shop, Shop::attend);
    work(&shop);
    shop.background.stop();
    background.join().unwrap();
    assert!(shop.queue.is_idle());
}

fn request(number: u64) -> Arc<Pending> {
    Pending::new(Prepared { bytes: 10, number })
}

fn spawn<T: Send + 'static>(
    shop: &Arc<Shop>,
    run: impl FnOnce(&Shop) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let shop = shop.clone();
    thread::spawn(move || run(&shop))
}

#[test]
fn whoever_appends_is_answered_once_and_nobody_leads_at_the_end() {
    in_any_order(|| {
        attended(|shop| {
            let callers: Vec<_> = (0..4)
                .map(|caller| {
                    spawn(shop, move |shop| {
                        (0..2)
                            .map(|n| 10 * caller + n)
                            .map(|n| (n, shop.append(n).unwrap()))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let answered: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
            assert_eq!(answered.len(), 8);
            shop.holds(&answered);
            assert_eq!(locked(&shop.log).len(), 8);
        });
    });
}

#[test]
fn a_ticket_that_nobody_waits_for_is_committed_all_the_same() {
    in_any_order(|| {
        attended(|shop| {
            let submitter = spawn(shop, |shop| [1, 2].map(|n| shop.submit(n).unwrap()));
            let caller = spawn(shop, |shop| shop.append(3).unwrap());
            let tickets = submitter.join().unwrap();
            let answered = caller.join().unwrap();
            // Whoever comes for it later finds the answer, or waits for it.
            let [first, second] = tickets;
            let first = shop.queue.answer(&first, || shop.lead()).unwrap();
            // Nobody ever comes for the other one before the database is closed.
            shop.queue.shut(Error::stopped("closed"));
            while shop.queue.lead_if_idle() {
                shop.lead();
            }
            while !shop.queue.is_idle() {
                thread::yield_now();
            }
            let second = shop.queue.answer(&second, || unreachable!("it was answered")).unwrap();
            shop.holds(&[(1, first), (2, second), (3, answered)]);
        });
    });
}

#[test]
fn a_ticket_wakes_whoever_polls_for_it() {
    struct Woken(Plain);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    in_any_order(|| {
        let shop = Shop::new();
        let woken = Arc::new(Woken(Plain::new(false)));
        let waker = Waker::from(woken.clone());
        let pending = request(1);
        assert!(shop.queue.push(&pending).unwrap());
        let leader = spawn(&shop, Shop::lead);
        let early = pending.poll(&waker);
        leader.join().unwrap();
        assert!(early.is_some() || woken.0.load(Ordering::SeqCst), "nobody was woken");
        assert!(pending.poll(&waker).is_some());
    });
}

#[test]
fn whoever_has_no_room_waits_for_it_and_is_answered() {
    in_any_order(|| {
        attended(|shop| {
            // Three are as many as may wait.
            let callers: Vec<_> =
                (0..5).map(|n| spawn(shop, move |shop| (n, shop.append(n).unwrap()))).collect();
            let answered: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
            shop.holds(&answered);
        });
    });
}

#[test]
fn closing_answers_all_who_wait_and_refuses_who_comes_later() {
    in_any_order(|| {
        attended(|shop| {
            let callers: Vec<_> = (0..3).map(|n| spawn(shop, move |shop| (n, shop.append(n)))).collect();
            let closer = spawn(shop, |shop| {
                shop.queue.shut(Error::stopped("closed"));
                while shop.queue.lead_if_idle() {
                    shop.lead();
                }
            });
            closer.join().unwrap();
            let mut answered = Vec::new();
            for caller in callers {
                match caller.join().unwrap() {
                    (number, Ok(outcome)) => answered.push((number, outcome)),
                    (_, Err(error)) => assert_eq!(error, Error::stopped("closed")),
                }
            }
            shop.holds(&answered);
            assert_eq!(locked(&shop.log).len(), answered.len(), "nothing is there that was refused");
            assert!(shop.append(9).is_err());
        });
    });
}

/// As where a sync in the background fails: whoever was asked to lead is answered before it has.
#[test]
fn a_failure_elsewhere_answers_all_who_wait_and_leaves_nobody_leading() {
    in_any_order(|| {
        attended(|shop| {
            let callers: Vec<_> = (0..4).map(|n| spawn(shop, move |shop| (n, shop.append(n)))).collect();
            let failure = spawn(shop, |shop| {
                for pending in shop.queue.close(Error::stopped("a sync failed")) {
                    pending.answer(Err(Error::stopped("a sync failed")));
                }
            });
            failure.join().unwrap();
            let mut answered = Vec::new();
            for caller in callers {
                match caller.join().unwrap() {
                    (number, Ok(outcome)) => answered.push((number, outcome)),
                    (_, Err(error)) => assert_eq!(error, Error::stopped("a sync failed")),
                }
            }
            shop.holds(&answered);
        });
    });
}

#[test]
fn a_leader_that_panics_leaves_nobody_waiting() {
    in_any_order(|| {
        attended(|shop| {
            shop.panics.store(true, Ordering::SeqCst);
            let callers: Vec<_> = (0..3)
                .map(|n| {
                    spawn(shop, move |shop| {
                        catch_unwind(AssertUnwindSafe(|| shop.append(n)))
                            .unwrap_or(Err(Error::stopped("a panic")))
                    })
                })
                .collect();
            let failed = callers.into_iter().map(|caller| caller.join().unwrap()).filter(Result::is_err);
            assert!(failed.count() >= 1);
            assert!(shop.append(9).is_err(), "it takes nothing more");
        });
    });
}

/// Reads on until it has seen the third position; then what it is told.
fn follow(progress: &LogProgress) {
    let mut seen = Position(0);
    while seen < Position(3) {
        match progress.wait_past(seen, None, &|| false) {
            WaitResult::To(to) => {
                assert!(to > seen);
                seen = to;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nobody_sleeps_through_what_was_made_durable() {
    in_any_order(|| {
        let progress = Arc::new(LogProgress::default());
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let progress = progress.clone();
                thread::spawn(move || follow(&progress))
            })
            .collect();
        for n in 1..=3 {
            progress.set_synced(Position(n));
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn whoever_waits_for_more_is_told_that_there_will_be_none() {
    in_any_order(|| {
        let progress = Arc::new(LogProgress::default());
        let waits = progress.clone();
        let reader = thread::spawn(move || waits.wait_past(Position(0), None, &|| false));
        progress.close();
        assert_eq!(reader.join().unwrap(), WaitResult::Closed);
    });
}

#[test]
fn whoever_is_cancelled_is_woken() {
    in_any_order(|| {
        let (progress, cancelled) = (Arc::new(LogProgress::default()), Arc::new(AtomicBool::new(false)));
        let (waits, is) = (progress.clone(), cancelled.clone());
        let reader = thread::spawn(move || waits.wait_past(Position(0), None, &|| is.load(Ordering::SeqCst)));
        cancelled.store(true, Ordering::SeqCst);
        progress.wake();
        assert_eq!(reader.join().unwrap(), WaitResult::Closed);
    });
}

#[test]
fn whoever_waits_for_a_checkpoint_is_told_when_it_is_done_or_has_failed() {
    for fails in [false, true] {
        in_any_order(move || {
            let background = Arc::new(Background::default());
            let frozen = Arc::new(AtomicU64::new(1));
            let (asked, moved) = (background.clone(), frozen.clone());
            let checkpointer = thread::spawn(move || {
                next_request(&asked, |asked| std::mem::take(&mut asked.checkpoint).then_some(()));
                if fails {
                    asked.ask(|asked| asked.failure = Some(Error::stopped("no room")));
                } else {
                    moved.store(0, Ordering::SeqCst);
                    asked.ask(|asked| asked.failure = None);
                }
            });
            background.ask(|asked| asked.checkpoint = true);
            let waited = background.wait_for_checkpoint(|| frozen.load(Ordering::SeqCst) == 0);
            assert_eq!(waited.is_err(), fails);
            checkpointer.join().unwrap();
        });
    }
}
