use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

/// Takes what it is told to take, and remembers.
#[derive(Default)]
struct Fake {
    /// How often each event fails before it is taken.
    failures: HashMap<u64, u32>,
    told: Mutex<Vec<u64>>,
    attempts: Mutex<HashMap<u64, u32>>,
    aside: Mutex<Vec<(u64, u32)>>,
    /// While this is set, nothing is taken.
    shut: AtomicBool,
    asked: Option<Duration>,
    unwritable: bool,
}

impl Fake {
    fn failing(failures: impl IntoIterator<Item = (u64, u32)>) -> Fake {
        Fake { failures: failures.into_iter().collect(), ..Fake::default() }
    }
}

impl Post for Fake {
    fn attempt(&self, position: u64, attempt: u32) -> Result<(), DeliveryFailure> {
        let mut attempts = self.attempts.lock().unwrap();
        let made = attempts.entry(position).or_default();
        *made += 1;
        let fails = self.failures.get(&position).copied().unwrap_or(0);
        if self.shut.load(Ordering::SeqCst) || *made <= fails {
            assert!(attempt >= 1);
            let failure = DeliveryFailure::of(format!("no to #{position}"));
            return Err(DeliveryFailure { asked: self.asked, ..failure });
        }
        self.told.lock().unwrap().push(position);
        Ok(())
    }

    fn set_aside(&self, position: u64, attempts: u32, why: &str) -> Result<()> {
        assert_eq!(why, format!("no to #{position}"));
        if self.unwritable {
            return Err(Error::stopped("the disk is full"));
        }
        self.aside.lock().unwrap().push((position, attempts));
        Ok(())
    }
}

fn rules(attempts: u32, first: Duration) -> Rules {
    let backoff = Backoff { first, most: first, draw: Arc::new(|| 1.0) };
    Rules { lanes: 4, window: 8, attempts, backoff }
}

const SOON: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(3600);

/// Runs lanes while something is done with them, then ends them.
fn running<T>(lanes: &Partitions, post: &Fake, act: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        for lane in 0..lanes.count() {
            scope.spawn(move || lanes.work(lane, post));
        }
        let done = act();
        lanes.end();
        done
    })
}

fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "it never came");
        thread::sleep(Duration::from_micros(200));
    }
}

fn quiet() -> News {
    Arc::new(|_| {})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each event is told once or set aside, those of one target in their order, and no lane runs ahead by more than the window.
    #[test]
    fn events_of_one_target_are_told_in_order(
        targets in proptest::collection::vec(proptest::option::of(0u8..6), 0..80),
        failures in proptest::collection::hash_map(1u64..80, 1u32..5, 0..10),
    ) {
        let attempts = 3;
        let fake = Fake { failures: failures.clone(), ..Fake::default() };
        let lanes = Partitions::new(rules(attempts, SOON), 0, 0, quiet());
        running(&lanes, &fake, || {
            for (position, target) in (1..).zip(&targets) {
                until(|| lanes.has_room());
                let id = target.map(|target| target.to_string());
                lanes.hand(position, id.as_deref().map(|id| ("Order", id)));
                let (place, _) = lanes.places();
                assert!(position - place <= 8, "{position} is handed out, and all is done up to {place}");
            }
            until(|| lanes.is_idle());
        });
        let told = fake.told.lock().unwrap().clone();
        let mut aside: Vec<(u64, u32)> = fake.aside.lock().unwrap().clone();
        aside.sort_unstable();
        let count = targets.len() as u64;
        let given_up = |position: &u64| failures.get(position).is_some_and(|failures| *failures >= attempts);
        let expected: Vec<(u64, u32)> = (1..=count).filter(given_up).map(|position| (position, attempts)).collect();
        prop_assert_eq!(aside, expected);
        for one in (0..6).map(Some).chain([None]) {
            let is_of = |position: &u64| targets[*position as usize - 1] == one;
            let expected: Vec<u64> = (1..=count).filter(|p| is_of(p) && !given_up(p)).collect();
            prop_assert_eq!(told.iter().copied().filter(is_of).collect::<Vec<_>>(), expected);
        }
        prop_assert_eq!(lanes.places(), (count, 0));
        prop_assert!(lanes.trouble().is_none());
    }
}

#[test]
fn an_event_that_is_not_taken_holds_back_its_lane_alone() {
    let fake = Fake::failing([(1, u32::MAX)]);
    let lanes = Partitions::new(rules(u32::MAX, SOON), 0, 0, quiet());
    let target = |id: &'static str| Some(("Order", id));
    let other =
        ["a", "b", "c", "d", "e"].into_iter().find(|id| lanes.lane(target(id)) != lanes.lane(target("1")));
    let other = other.unwrap();
    running(&lanes, &fake, || {
        lanes.hand(1, target("1"));
        lanes.hand(2, target("1"));
        lanes.hand(3, target(other));
        until(|| *fake.told.lock().unwrap() == [3]);
        until(|| lanes.trouble().is_some_and(|trouble| trouble.attempts >= 3));
        assert_eq!(lanes.trouble().unwrap().why, "no to #1");
        assert_eq!(lanes.places().0, 0, "the place waits for what is not done");
    });
    assert_eq!(*fake.told.lock().unwrap(), [3]);
    assert!(fake.aside.lock().unwrap().is_empty());
}

#[test]
fn the_window_bounds_what_is_handed_out() {
    let fake = Fake::failing([(1, u32::MAX)]);
    let lanes = Partitions::new(rules(u32::MAX, NEVER), 0, 0, quiet());
    running(&lanes, &fake, || {
        for position in 1..=8 {
            assert!(lanes.has_room());
            lanes.hand(position, Some(("Order", position.to_string().as_str())));
        }
        assert!(!lanes.has_room());
        // Those of other lanes are told, and there is no room all the same: they are ahead of the place.
        until(|| !fake.told.lock().unwrap().is_empty());
        assert!(!lanes.has_room());
    });
    assert_eq!(lanes.places().0, 0);
}

#[test]
fn what_was_set_aside_is_told_again_when_somebody_says_so() {
    let fake = Fake::failing([(1, 2)]);
    let lanes = Partitions::new(rules(2, SOON), 0, 0, quiet());
    running(&lanes, &fake, || {
        lanes.hand(1, None);
        until(|| lanes.is_idle());
        assert_eq!(*fake.aside.lock().unwrap(), [(1, 2)]);
        lanes.again(1, None, 5);
        lanes.hear(6);
        until(|| lanes.is_idle());
    });
    assert_eq!(*fake.told.lock().unwrap(), [1]);
    assert_eq!(lanes.places(), (1, 6));
}

#[test]
fn what_was_said_is_heard_only_when_it_is_done() {
    let fake = Fake::default();
    fake.shut.store(true, Ordering::SeqCst);
    let lanes = Partitions::new(rules(u32::MAX, SOON), 4, 4, quiet());
    running(&lanes, &fake, || {
        lanes.again(1, None, 5);
        lanes.again(2, None, 5);
        lanes.hear(8);
        until(|| lanes.trouble().is_some());
        assert_eq!(lanes.places(), (4, 4));
        fake.shut.store(false, Ordering::SeqCst);
        until(|| lanes.is_idle());
    });
    assert_eq!(lanes.places(), (4, 8));
}

#[test]
fn a_wait_ends_when_all_ends() {
    let fake = Fake::failing([(1, u32::MAX)]);
    let lanes = Partitions::new(rules(u32::MAX, NEVER), 0, 0, quiet());
    // It returns: the lane would wait an hour.
    running(&lanes, &fake, || {
        lanes.hand(1, None);
        until(|| lanes.trouble().is_some());
    });
    assert_eq!(lanes.places().0, 0);
    assert!(lanes.broken().is_none());
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    // It asks for an hour, and an hour is the most: it is not tried again here.
    let fake = Fake { asked: Some(NEVER), ..Fake::failing([(1, u32::MAX)]) };
    let mut rules = rules(u32::MAX, Duration::ZERO);
    rules.backoff.most = NEVER;
    let lanes = Partitions::new(rules, 0, 0, quiet());
    running(&lanes, &fake, || {
        lanes.hand(1, None);
        until(|| lanes.trouble().is_some());
        thread::sleep(Duration::from_millis(20));
    });
    assert_eq!(fake.attempts.lock().unwrap()[&1], 1);
}

#[test]
fn what_cannot_be_put_on_record_ends_it_all_and_is_not_done() {
    let fake = Fake { unwritable: true, ..Fake::failing([(2, u32::MAX)]) };
    let lanes = Partitions::new(rules(2, SOON), 0, 0, quiet());
    running(&lanes, &fake, || {
        lanes.hand(1, None);
        lanes.hand(2, None);
        until(|| lanes.has_ended());
    });
    assert!(lanes.broken().unwrap().to_string().contains("the disk is full"));
    assert_eq!(lanes.places().0, 1);
}

#[test]
fn a_lane_that_panics_ends_the_others() {
    struct Bad;
    impl Post for Bad {
        fn attempt(&self, _: u64, _: u32) -> Result<(), DeliveryFailure> {
            panic!("on purpose")
        }
        fn set_aside(&self, _: u64, _: u32, _: &str) -> Result<()> {
            Ok(())
        }
    }
    let lanes = Partitions::new(rules(2, SOON), 0, 0, quiet());
    lanes.hand(1, None);
    thread::scope(|scope| {
        let bad = scope.spawn(|| lanes.work(0, &Bad));
        let good = scope.spawn(|| lanes.work(1, &Bad));
        assert!(bad.join().is_err());
        good.join().unwrap();
    });
    assert!(lanes.broken().unwrap().to_string().contains("a fault of this program"));
}
