//! Forgetting somebody while there is more: caches, what is under way, others who do the same, a full disk, a damaged file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{PATH, events, on, run};
use crate::aggregate::SnapshotPolicy;
use crate::cancel::Cancel;
use crate::entity::{Entity, Position};
use crate::event::private::KeyNumber;
use crate::maintain::{BackupMode, ListedSubject};
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::snapshot::FoldBound;
pub(super) use crate::store::tables::compressed_block::files_with as with;
use crate::store::tables::keys::KeyState;
use crate::{Aggregate, Db, Event, Result};

const CONTACT: &str = "DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name, data.was";

fn secret(user: u64) -> String {
    format!("secret name {user}!")
}

fn named(db: &Db, user: u64) {
    run(db, &format!("EMIT User.named {user} {{name: '{}', age: {user}}}", secret(user)));
}

/// What a program folds of its own.
#[derive(Default, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Names(Vec<String>);

impl Aggregate for Names {
    const KIND: &'static str = "User";

    fn apply(&mut self, event: &Event) -> Result<()> {
        self.0.push(event.data.to_string());
        Ok(())
    }

    fn snapshots() -> Option<SnapshotPolicy<Names>> {
        Some(SnapshotPolicy::named("names").every(1))
    }
}

#[test]
fn a_group_has_the_keys_that_its_subjects_have_by_then() {
    let disk = SimulatedDisk::new();
    let db = on(&disk).create(PATH).unwrap();
    run(&db, CONTACT);
    run(&db, "DEFINE VERB Greet ON User EMIT greeted {was: 'hello'}");
    let group = |users: &[u64]| {
        let emits = users.iter().map(|user| format!("EMIT User.named {user} {{name: '{}'}}", secret(*user)));
        run(
            &db,
            &format!(
                "ATOMIC ({}; PERFORM Greet User 9; EMIT User.named 9)",
                emits.collect::<Vec<_>>().join("; ")
            ),
        );
    };
    let named = |user: u64| {
        let events = db.history(("User", user)).unwrap().map(|event| event.unwrap().data.to_string());
        events.filter(|data| data.contains(&secret(user))).count()
    };
    // Some keys are new, some at hand, some of one subject twice.
    for _ in 0..3 {
        group(&[1, 2, 1, 3]);
        group(&[3, 4, 3]);
    }
    assert_eq!((1..5).map(named).collect::<Vec<_>>(), [6, 3, 9, 3]);
    // A group that is refused leaves none of its keys.
    let refused = format!(
        "ATOMIC (EMIT User.named 5 {{name: '{0}'}}; EMIT User.named 5 {{name: '{0}'}}; EMIT User.named 1 EXPECT NEW)",
        secret(5)
    );
    assert!(db.query(&refused).is_err());
    run(&db, "FORGET User 1");
    run(&db, "FORGET User 3");
    assert_eq!((1..5).map(named).collect::<Vec<_>>(), [0, 3, 0, 3]);
    group(&[1, 2, 1, 3, 5]);
    group(&[5, 1]);
    assert_eq!((1..6).map(named).collect::<Vec<_>>(), [3, 4, 1, 3, 2]);
    assert!(db.verify().unwrap().faults.is_empty());
    drop(db);
    let db = on(&disk).open(PATH).unwrap();
    let kept = db.history(("User", 1)).unwrap().map(|event| event.unwrap().data.to_string());
    assert_eq!(kept.filter(|data| data.contains(&secret(1))).count(), 3);
}

#[test]
fn what_programs_and_verbs_keep_in_memory_is_forgotten_too() {
    let disk = SimulatedDisk::new();
    let db = on(&disk).create(PATH).unwrap();
    run(&db, CONTACT);
    run(&db, "DEFINE ENTITY User SNAPSHOT EVERY 1 ON named SET name = data.name");
    run(&db, "DEFINE VERB Greet ON User EMIT greeted {was: state.name}");
    (1..4).for_each(|user| named(&db, user));
    for _ in 0..2 {
        assert!(db.aggregate::<Names>(2).unwrap().0[0].contains(&secret(2)));
        run(&db, "PERFORM Greet User 2");
    }
    run(&db, "CHECKPOINT");
    assert!(db.aggregate::<Names>(2).unwrap().0.len() == 3);
    run(&db, "FORGET User 2");
    for _ in 0..2 {
        let names = db.aggregate::<Names>(2).unwrap().0.clone();
        assert!(names.iter().all(|data| !data.contains("secret")), "{names:?}");
    }
    run(&db, "PERFORM Greet User 2");
    let greeted = events(&db, "User.greeted");
    assert_eq!(greeted.last().unwrap().data.to_string(), r#"{"was":null}"#);
    run(&db, "CHECKPOINT");
    assert_eq!(with(&disk, secret(2).as_bytes()), Vec::<PathBuf>::new());
    assert!(db.aggregate::<Names>(3).unwrap().0[0].contains(&secret(3)));
}

#[test]
fn a_reader_from_before_leaves_nothing_behind() {
    let disk = SimulatedDisk::new();
    let db = on(&disk).create(PATH).unwrap();
    run(&db, CONTACT);
    run(&db, "DEFINE ENTITY User SNAPSHOT EVERY 1 ON named SET name = data.name");
    (1..4).for_each(|user| named(&db, user));
    run(&db, "CHECKPOINT");
    let (user, all) = (Entity::from(("User", 2)), FoldBound { through: Position::MAX, by: None });
    let before = db.store().snapshot();
    assert!(before.fold(&user, all).unwrap().state.to_string().contains(&secret(2)));
    before.keep_snapshot("other", &user, before.head(), secret(2).into_bytes()).unwrap();
    run(&db, "FORGET User 2");
    // What was read before is told before, whoever asks for it now.
    before.fold(&user, all).ok();
    before.keep_snapshot("names", &user, before.head(), secret(2).into_bytes()).unwrap();
    let now = db.store().snapshot();
    assert_eq!(now.fold(&user, all).unwrap().state.to_string(), r#"{"name":null}"#);
    drop(before);
    for _ in 0..3 {
        named(&db, 3);
        run(&db, "CHECKPOINT");
    }
    db.store().shared().settle().unwrap();
    run(&db, "CHECKPOINT");
    assert_eq!(with(&disk, secret(2).as_bytes()), Vec::<PathBuf>::new());
}

#[test]
fn several_forget_at_once_while_others_append_and_back_up() {
    let disk = SimulatedDisk::new();
    let db = on(&disk).create(PATH).unwrap();
    run(&db, CONTACT);
    run(&db, "DEFINE INDEX name ON 'User.*' AS data.name");
    run(&db, "DEFINE ENTITY User ON named SET name = data.name");
    run(&db, "DEFINE VERB Erase ON User FORGET target");
    (1..20).for_each(|user| named(&db, user));
    std::thread::scope(|scope| {
        for users in [1..4, 4..7] {
            let db = &db;
            scope.spawn(move || {
                users.for_each(|user| {
                    let how = if user % 2 == 0 { "FORGET" } else { "PERFORM Erase" };
                    run(db, &format!("{how} User {user}"));
                });
            });
        }
        scope.spawn(|| (20..60).for_each(|user| named(&db, user)));
        scope.spawn(|| (0..3).for_each(|n| drop(run(&db, &format!("BACKUP TO '/copy-{n}.bygone'")))));
    });
    let check = |db: &Db, file: &str| {
        let said = events(db, "$subject.forgotten");
        let gone: Vec<u64> =
            said.iter().map(|event| event.target.as_ref().unwrap().id()[5..].parse().unwrap()).collect();
        for event in events(db, "User.named") {
            let user: u64 = event.target.as_ref().unwrap().id().parse().unwrap();
            let text = event.data.to_string();
            assert_eq!(!text.contains(&secret(user)), gone.contains(&user), "{file}: {text}, {gone:?}");
            let files = with(&disk, secret(user).as_bytes());
            assert!(!gone.contains(&user) || !files.contains(&PathBuf::from(file)), "{file} has {user}");
        }
        assert_eq!(db.verify().unwrap().faults, Vec::<String>::new(), "{file}");
        gone.len()
    };
    assert_eq!(check(&db, PATH), 6);
    for n in 0..3 {
        let file = format!("/copy-{n}.bygone");
        check(&on(&disk).open(&file).unwrap(), &file);
    }
}

#[test]
fn a_full_disk_keeps_nobody_out_and_what_is_left_is_done_later() {
    let disk = SimulatedDisk::new();
    let on = |disk: &SimulatedDisk| on(disk).journal_steps(64 << 10, 128 << 10);
    let db = on(&disk).create(PATH).unwrap();
    run(&db, CONTACT);
    run(&db, "DEFINE ENTITY User ON named SET name = data.name");
    (1..4).for_each(|user| named(&db, user));
    let large = "x".repeat(4000);
    for n in 0..500 {
        run(&db, &format!("EMIT Order.noted {n} {{text: '{large}'}}"));
    }
    run(&db, "CHECKPOINT");
    db.store().shared().settle().unwrap();
    // There is room for the journals, and not for the file once more.
    let most = |disk: &SimulatedDisk| {
        let long = disk.open(Path::new(PATH)).unwrap().len().unwrap();
        assert!(long > 2 << 20, "{long}");
        long + (800 << 10)
    };
    disk.faults().full_at(most(&disk));
    let error = db.query("FORGET User 2").map(drop).unwrap_err().to_string();
    assert!(error.contains("User 2 is forgotten from") && error.contains("say FORGET once more"), "{error}");
    let gone = |db: &Db| {
        let named = events(db, "User.named");
        assert_eq!(named[1].data.to_string(), r#"{"name":null,"age":2}"#);
        assert!(named[0].data.to_string().contains(&secret(1)));
    };
    gone(&db);
    let crashed = disk.crash(Fate::ALL[0], 1);
    drop(db);
    crashed.faults().full_at(most(&crashed));
    for _ in 0..2 {
        let db = on(&crashed).open(PATH).unwrap();
        let told = db.recovery().notices.join("; ");
        assert!(told.contains("copies of its values may still be in the file"), "{told}");
        gone(&db);
        run(&db, "EMIT User.named 2 {name: 'somebody new', age: 3}");
        assert!(db.query("BACKUP TO '/copy.bygone'").is_err());
        db.close().unwrap();
    }
    crashed.faults().not_full();
    let db = on(&crashed).open(PATH).unwrap();
    assert!(db.recovery().notices.is_empty(), "{:?}", db.recovery().notices);
    gone(&db);
    assert_eq!(with(&crashed, secret(2).as_bytes()), Vec::<PathBuf>::new());
    run(&db, "BACKUP TO '/copy.bygone'");
    assert!(db.verify().unwrap().faults.is_empty());
}

#[test]
fn whose_key_a_rescue_does_not_find_is_told_and_can_be_appended_to() {
    let disk = SimulatedDisk::new();
    let db = on(&disk).create(PATH).unwrap();
    run(&db, CONTACT);
    (1..4).for_each(|user| named(&db, user));
    run(&db, "CHECKPOINT");
    let shared = db.store().shared();
    let look = |number: KeyNumber| shared.tables.read().unwrap().key(number).unwrap();
    let KeyState::There(key) = look(KeyNumber(2)) else { panic!("no key") };
    let key = key.0;
    db.close().unwrap();
    // Whatever page has it is no page any more.
    let file = disk.open(Path::new(PATH)).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    let places = bytes.windows(key.len()).enumerate().filter(|(_, window)| *window == key);
    let pages: Vec<usize> = places.map(|(at, _)| at / 4096).collect();
    assert!(!pages.is_empty());
    for page in pages {
        file.write_at(page as u64 * 4096, &[0; 4096]).unwrap();
    }
    drop(file);
    let rescue = on(&disk).rescue(PATH, "/out.bygone", &Cancel::new(), &mut |_: &_| {}).unwrap();
    let doubts = rescue.doubts.join("; ");
    assert!(doubts.contains("keys of private values are lost"), "{rescue:?}");
    let db = on(&disk).open("/out.bygone").unwrap();
    let before = events(&db, "User.named");
    assert_eq!(before.len(), 3);
    assert_eq!(before[1].data.to_string(), r#"{"name":null,"age":2}"#);
    assert_eq!(before[1].forgotten.as_ref().unwrap().names().collect::<Vec<_>>(), ["data.name"]);
    // Whose key is lost gets another, for what was in plain before, too.
    run(&db, "DEFINE PRIVATE ages ON 'User.*' OF target FIELDS data.age INCLUDING PAST");
    assert_eq!(events(&db, "User.named")[1].data.to_string(), r#"{"name":null,"age":2}"#);
    named(&db, 2);
    named(&db, 9);
    run(&db, "CHECKPOINT");
    for _ in 0..2 {
        let after = events(&db, "User.named");
        assert!(
            after[3].data.to_string().contains(&secret(2)) && after[4].data.to_string().contains(&secret(9))
        );
        assert!(with(&disk, secret(9).as_bytes()).is_empty(), "it is stored encrypted");
        db.query("COMPACT").unwrap();
    }
    run(&db, "FORGET User 2");
    let after = events(&db, "User.named");
    for named in [1, 3] {
        assert_eq!(after[named].data.to_string(), r#"{"name":null,"age":null}"#);
    }
    assert!(db.verify().unwrap().faults.is_empty());
}

const CLOSE: &str =
    "DEFINE VERB Close ON User WHEN data.all = TRUE EMIT closed FORGET target WHEN TRUE EMIT kept";

/// What is done on a thread of its own, so that a wait for good is told.
fn soon<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(what()));
    told.recv_timeout(Duration::from_secs(20)).expect("it waits for what never comes")
}

/// Some, and the verb that forgets in one of its cases.
fn some(disk: &SimulatedDisk) -> Db {
    let db = on(disk).create(PATH).unwrap();
    run(&db, CONTACT);
    run(&db, CLOSE);
    (1..4).for_each(|user| named(&db, user));
    db
}

#[test]
fn a_case_that_forgets_nobody_waits_for_no_backup() {
    let disk = SimulatedDisk::new();
    let db = some(&disk);
    let mut kept = 0;
    let progress = &mut |_: &_| {
        if kept == 0 {
            run(&db, "ATOMIC (PERFORM Close User 2; EMIT User.named 3 {name: 'Eve'})");
            let other = db.clone();
            kept = soon(move || run(&other, "PERFORM Close User 1").len());
        }
    };
    let other = db.clone();
    let alone = db.store().forgetting();
    assert_eq!(soon(move || run(&other, "PERFORM Close User 1 KEY 'k'").len()), 1);
    drop(alone);
    db.backup_with("/copy.bygone", BackupMode::New, progress).unwrap();
    assert_eq!((kept, events(&db, "User.kept").len()), (1, 3));
    assert!(events(&db, "$subject.forgotten").is_empty());
}

#[test]
fn who_waits_to_forget_can_be_cancelled() {
    let disk = SimulatedDisk::new();
    let db = some(&disk);
    let before = db.head();
    let alone = db.store().forgetting();
    for text in ["PERFORM Close User 1 {all: TRUE} KEY 'k'", "FORGET User 1", "BACKUP TO '/copy.bygone'"] {
        for late in [false, true] {
            let (other, text) = (db.clone(), text.to_owned());
            let error = soon(move || {
                let cancel = if late { Cancel::after(Duration::from_millis(30)) } else { Cancel::new() };
                let waiting = other.cancelled_by(&cancel);
                let asked = std::thread::spawn(move || waiting.query(&text).map(|_| ()));
                std::thread::sleep(Duration::from_millis(30));
                if !late {
                    cancel.cancel();
                }
                asked.join().unwrap().unwrap_err().to_string()
            });
            assert!(error.contains(if late { "time limit" } else { "cancelled" }), "{error}");
        }
    }
    assert_eq!(db.head(), before);
    drop(alone);
    // As if nothing had been asked.
    let perform = "PERFORM Close User 1 {all: TRUE} KEY 'k'";
    let (first, head) = (run(&db, perform), db.head());
    assert_eq!(first.len(), 2);
    assert_eq!((run(&db, perform).len(), db.head()), (2, head));
    let both = "ATOMIC (EMIT User.closing 2; PERFORM Close User 3; PERFORM Close User 2 {all: TRUE}; EMIT User.named 2 {name: 'Eve'})";
    assert_eq!(run(&db, both).len(), 5);
    run(&db, "CHECKPOINT");
    assert!(!db.store().shared().tables.read().unwrap().keys_to_erase().unwrap());
    for user in [1, 2] {
        assert_eq!(with(&disk, secret(user).as_bytes()), Vec::<PathBuf>::new(), "{user}");
    }
    assert!(events(&db, "User.named").iter().any(|event| event.data.to_string().contains("Eve")));
    // A guard that does not hold is told of as ever, and nothing is done.
    let head = db.head();
    let error = db.query("PERFORM Close User 3 {all: TRUE} EXPECT VERSION 9").map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("expected version 9") && db.head() == head, "{error}");
}

#[test]
fn who_forgets_while_a_backup_tells_of_itself_is_told_instead_of_waiting_for_itself() {
    let disk = SimulatedDisk::new();
    let db = some(&disk);
    run(&db, "FORGET User 3");
    let said = events(&db, "$subject.forgotten").remove(0);
    let said = format!(r#"{{"id":"{}","type":"{}","data":{}}}"#, said.id, said.kind, said.data);
    let listed: ListedSubject = said.parse().unwrap();
    let other = db.clone();
    let told = soon(move || {
        let mut told = Vec::new();
        let progress = &mut |_: &_| {
            if !told.is_empty() {
                return;
            }
            let tries = ["PERFORM Close User 1 {all: TRUE}", "FORGET User 1", "BACKUP TO '/another.bygone'"];
            told.extend(tries.map(|text| other.query(text).map(|_| ()).unwrap_err()));
            told.extend(other.forget_listed([listed.clone()]).err());
        };
        other.backup_with("/copy.bygone", BackupMode::New, progress).unwrap();
        told
    });
    assert_eq!(told.len(), 4, "{told:?}");
    for error in told {
        assert!(matches!(error, crate::Error::Stopped { .. }), "{error}");
        assert!(error.to_string().contains("once that has returned"), "{error}");
    }
    assert_eq!(events(&db, "$subject.forgotten").len(), 1);
    run(&db, "PERFORM Close User 1 {all: TRUE}");
    assert_eq!(events(&db, "$subject.forgotten").len(), 2);
}

#[test]
fn whoever_is_forgotten_does_not_come_back_with_the_same_lines() {
    use crate::maintain::ImportOptions;
    let disk = SimulatedDisk::new();
    let db = on(&disk).create(PATH).unwrap();
    run(&db, CONTACT);
    let line = |user: u64, more: &str| {
        let name = secret(user);
        format!(
            r#"{{"type":"User.named","target":{{"type":"User","id":"{user}"}},"data":{{"age":{user},"name":"{name}"}}{more}}}"#
        )
    };
    let import = |lines: &str| {
        let report = db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {});
        report.map(|report| (report.added, report.known))
    };
    // Known by what they say, by an id, and by a key.
    let lines: Vec<String> = (1..7)
        .map(|user| {
            line(user, ["", r#","id":"i""#, r#","key":"k""#][if user < 5 { 0 } else { user as usize - 4 }])
        })
        .collect();
    let lines = lines.join("\n");
    assert_eq!(import(&lines).unwrap(), (6, 0));
    for user in [2, 3, 5, 6] {
        run(&db, &format!("FORGET User {user}"));
    }
    let head = db.head();
    assert_eq!(import(&lines).unwrap(), (0, 6));
    // The shape that they are read in is none of theirs.
    run(&db, "DEFINE EVENT User.named {nick: text?} UPCAST SET data.nick = data.age DELETE data.age");
    assert_eq!(import(&lines).unwrap(), (0, 6));
    assert_eq!(db.head(), head.next());
    assert_eq!(with(&disk, secret(2).as_bytes()), Vec::<PathBuf>::new());
    // What says something else is another event, and by its id or key a conflict.
    let other = line(2, "").replace(r#""age":2"#, r#""age":3"#);
    assert_eq!(import(&other).unwrap(), (1, 0));
    assert!(import(&line(5, r#","id":"i""#).replace(r#""age":5"#, r#""age":6"#)).unwrap_err().is_conflict());
}
