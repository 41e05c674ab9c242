//! Private values of events that were appended before the definition: they are encrypted, and nothing else of the events is another.

use super::private::{is_on_disk, options};
use super::*;
use crate::entity::Position;
use crate::store::disk::simulated::{Failure, Fate, Kind, SimulatedDisk};
use crate::store::proof::{prove, root};
use crate::store::verify::verify;

const CONTACT: &str =
    "DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name, metadata.ip INCLUDING PAST";
const ADDRESS: &str = "DEFINE PRIVATE address ON 'User.*' OF target FIELDS data.address INCLUDING PAST";
const STREET: &str = "DEFINE PRIVATE street ON 'User.*' OF target FIELDS data.address.street";

/// A log of three users in plain.
fn in_plain(disk: &SimulatedDisk) -> Store {
    let store = Store::create(path(), options(disk)).unwrap();
    let session = Session::new(&store);
    for user in 1..4 {
        session.rows(&format!(
            "EMIT User.named {user} {{name: 'secret name {user}', age: {user}}} META {{ip: 'secret ip {user}'}}"
        ));
        session.rows(&format!(
            "EMIT User.moved {user} {{address: {{street: 'secret street {user}', zip: 'secret zip {user}'}}}}"
        ));
        session.rows(&format!("EMIT Order.placed {user} {{customer: {user}, name: 'open'}}"));
    }
    store
}

fn faults(store: &Store) -> Vec<String> {
    verify(&store.snapshot()).unwrap().faults
}

#[test]
fn what_was_in_plain_is_encrypted_and_all_else_stays() {
    let disk = SimulatedDisk::new();
    let store = in_plain(&disk);
    let session = Session::new(&store);
    let (head, before) = (session.lines("SHOW HEAD"), session.lines("EVENTS '*'"));
    let (size, whole) = (store.snapshot().head(), root(&store.snapshot()).unwrap());
    assert!(is_on_disk(&disk, "secret name 2").is_some());
    let (rows, notices) = session.run(CONTACT).unwrap();
    assert_eq!(rows.len(), 1);
    assert!(
        notices.iter().any(|notice| notice.starts_with("3 events before it had such fields")),
        "{notices:?}"
    );
    for secret in ["secret name", "secret ip"] {
        assert_eq!(is_on_disk(&disk, secret), None);
    }
    assert!(is_on_disk(&disk, "secret street 2").is_some());
    session.rows(STREET);
    session.rows("EMIT User.moved 2 {address: {street: 'secret street 4', zip: 'secret zip 4', at: NULL}}");
    // Of an address whose street is private from the first, the rest.
    let (_, notices) = session.run(ADDRESS).unwrap();
    assert!(
        notices.iter().any(|notice| notice.starts_with("4 events before it had such fields")),
        "{notices:?}"
    );
    assert_eq!(is_on_disk(&disk, "secret"), None);

    let check = |session: &Session, store: &Store| {
        assert_eq!(session.lines("EVENTS '*'")[..before.len()], before);
        assert!(
            session.lines("HISTORY User 2")[2]
                .contains(r#"{"street":"secret street 4","zip":"secret zip 4","at":null}"#)
        );
        let chain = head[0].split('"').find(|part| part.len() == 64).unwrap();
        session.rows(&format!("VERIFY AGAINST '{chain}'"));
        let then = store.snapshot().until(size);
        assert_eq!(root(&then).unwrap(), whole);
        for position in (1..=size.0).map(Position) {
            assert!(prove(&then, position).unwrap().holds_in(whole, size), "{position}");
        }
        assert_eq!((faults(store), verify(&store.snapshot()).unwrap().unproven), (Vec::new(), 0));
    };
    check(&session, &store);
    store.close().unwrap();
    let store = Store::open(path(), options(&disk)).unwrap();
    let session = Session::new(&store);
    check(&session, &store);

    session.rows("FORGET User 2");
    let lines = session.lines("HISTORY User 2");
    assert!(
        lines[0].contains(r#""name":null,"age":2"#) && lines[1].contains(r#""address":null"#),
        "{lines:?}"
    );
    assert!(lines[2].contains(r#"{"street":null,"zip":null,"at":null}"#), "{lines:?}");
    assert!(lines[2].contains(r#""forgotten":["data.address.street","data.address.zip"]"#), "{lines:?}");
    assert_eq!(session.lines("HISTORY User 3")[..2], before[6..8]);
    assert_eq!((faults(&store), verify(&store.snapshot()).unwrap().unproven), (Vec::new(), 3));
    assert_eq!(root(&store.snapshot().until(size)).unwrap(), whole);
    let error = prove(&store.snapshot(), Position(4)).unwrap_err();
    assert!(error.to_string().contains("forgotten"), "{error}");
    assert!(prove(&store.snapshot(), Position(1)).is_ok());
}

#[test]
fn who_is_forgotten_already_has_no_key_and_nothing_is_kept_of_the_values() {
    let disk = SimulatedDisk::new();
    let store = in_plain(&disk);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY User SNAPSHOT EVERY 1 ON named SET name = data.name ON moved SET zip = data.address.zip");
    session.rows("DEFINE INDEX name ON 'User.*' AS data.name");
    session.rows("DEFINE VIEW names AS EVENTS 'User.named' GROUP BY data.name AS name SELECT count() AS n");
    store.shared().settle().unwrap();
    // Of something else she is forgotten in whole, with all that is to be done for it.
    session.rows("DEFINE PRIVATE nick ON 'User.*' OF target FIELDS data.nick");
    session.rows("EMIT User.called 2 {nick: 'secret nick 2'}");
    session.rows("FORGET User 2");
    assert_eq!(is_on_disk(&disk, "secret nick 2"), None);
    session.rows("EMIT User.named 2 {name: 'secret name 5'}");
    assert!(session.lines("HISTORY User 2")[0].contains("secret name 2"));
    let (_, notices) = session.run(CONTACT).unwrap();
    assert!(notices.iter().any(|notice| notice.starts_with("4 events before it")), "{notices:?}");
    store.shared().settle().unwrap();
    for gone in ["secret name 2", "secret ip 2"] {
        assert_eq!(is_on_disk(&disk, gone), None, "{gone}");
    }
    let lines = session.lines("HISTORY User 2");
    assert!(lines[0].contains(r#""name":null"#) && lines[0].contains("data.name"), "{lines:?}");
    assert!(lines[3].contains("secret name 5"), "{lines:?}");
    assert!(session.lines("HISTORY User 1")[0].contains("secret name 1"));
    assert_eq!(session.lines("EVENTS BY name = 'secret name 2'"), [""; 0]);
    assert_eq!(session.lines("EVENTS BY name = 'secret name 5'").len(), 1);
    assert_eq!(faults(&store), [""; 0]);
    // Those of before and of after are forgotten with the key that there is.
    session.rows("FORGET User 2");
    store.shared().settle().unwrap();
    assert_eq!(is_on_disk(&disk, "secret name 5"), None);
    store.close().unwrap();
    let store = Store::open(path(), options(&disk)).unwrap();
    assert_eq!(faults(&store), [""; 0]);
    assert!(Session::new(&store).lines("HISTORY User 1")[0].contains("secret name 1"));
}

#[test]
fn what_does_not_say_whose_it_is_stays_and_is_told() {
    let disk = SimulatedDisk::new();
    let store = in_plain(&disk);
    let session = Session::new(&store);
    session.rows("EMIT User.seen {name: 'secret guest'}");
    session.rows("EMIT Order.placed 9 {name: 'secret order'}");
    let (_, notices) = session.run(CONTACT).unwrap();
    let told = "of one event before it, the first #10, such fields stay in plain";
    assert!(notices.iter().any(|notice| notice.starts_with(told)), "{notices:?}");
    assert!(session.lines("EVENTS 'User.seen'")[0].contains("secret guest"));
    let (_, notices) = session
        .run("DEFINE PRIVATE orders ON 'Order.*' OF User (data.customer) FIELDS data.name INCLUDING PAST")
        .unwrap();
    assert!(
        notices.iter().any(|notice| notice.contains("of one event before it, the first #11")),
        "{notices:?}"
    );
    assert_eq!(faults(&store), [""; 0]);
    // To say it once more does nothing.
    let head = store.snapshot().head();
    session.rows(CONTACT);
    assert_eq!(store.snapshot().head(), head);
}

#[test]
fn an_interrupted_rewriting_is_done_when_it_is_opened_again() {
    let (mut whole, mut begun, mut none) = (0, 0, 0);
    for (kind, after) in [Kind::Write, Kind::Sync, Kind::Create, Kind::Rename, Kind::Remove]
        .into_iter()
        .flat_map(|kind| (1..50).map(move |after| (kind, after)))
    {
        let disk = SimulatedDisk::new();
        let store = in_plain(&disk);
        let session = Session::new(&store);
        let (head, before) = (session.lines("SHOW HEAD"), session.lines("EVENTS '*'"));
        disk.faults().fail_after(after, Failure::of(kind));
        let outcome = session.run(CONTACT);
        disk.faults().clear();
        let why = format!("{kind:?} {after}: {outcome:?}");
        let on = match after % 2 {
            // It goes on, or it crashed.
            0 => {
                if let Err(error) = session.run("EMIT User.named 3 {name: 'secret name 4'}") {
                    assert!(!matches!(error, Error::Corrupt { .. }), "{why}: {error}");
                }
                let closed = store.close();
                assert!(closed.is_ok() || outcome.is_err(), "{why}: {closed:?}");
                disk
            }
            _ => disk.crash(Fate::ALL[(after % 4) as usize], after),
        };
        drop(store);
        let store = Store::open(path(), options(&on)).unwrap();
        let session = Session::new(&store);
        assert_eq!(session.lines("EVENTS 'User.*, Order.*'")[..before.len()], before, "{why}");
        let chain = head[0].split('"').find(|part| part.len() == 64).unwrap();
        session.rows(&format!("VERIFY AGAINST '{chain}' AT #{}", before.len()));
        assert_eq!(faults(&store), [""; 0], "{why}");
        let defined = !session.lines("SHOW PRIVATE").is_empty();
        match (outcome.is_ok(), defined) {
            (true, defined) => {
                assert!(defined, "{why}");
                whole += 1;
            }
            (false, true) => begun += 1,
            (false, false) => none += 1,
        }
        for secret in ["secret name", "secret ip"] {
            assert_eq!(is_on_disk(&on, secret).is_some(), !defined, "{why}");
        }
        session.rows("FORGET User 1");
        let name = session.lines("HISTORY User 1")[0].contains("secret name 1");
        assert_eq!(name, !defined, "{why}");
        store.close().unwrap();
    }
    assert!(whole > 10 && begun > 30 && none > 0, "{whole} {begun} {none}");
}

#[test]
fn an_older_backup_does_not_grow_and_one_from_a_failure_is_not_made() {
    let disk = SimulatedDisk::new();
    let store = in_plain(&disk);
    let session = Session::new(&store);
    session.rows("BACKUP TO '/copy.bygone'");
    disk.faults().fail_after(1, Failure::of(Kind::Rename));
    let error = session.error(CONTACT);
    disk.faults().clear();
    assert!(error.contains("say it once more"), "{error}");
    let error = session.error("BACKUP TO '/other.bygone'");
    assert!(error.contains("DEFINE PRIVATE once more"), "{error}");
    session.rows(CONTACT);
    let error = session.error("BACKUP TO '/copy.bygone' INCREMENT");
    assert!(error.contains("REPLACE"), "{error}");
    session.rows("BACKUP TO '/copy.bygone' REPLACE");
    session.rows("EMIT User.named 3 {name: 'secret name 4'}");
    session.rows("BACKUP TO '/copy.bygone' INCREMENT");
    assert_eq!(is_on_disk(&disk, "secret name"), None);
    let copy = Store::open(Path::new("/copy.bygone"), options(&disk)).unwrap();
    assert_eq!(Session::new(&copy).lines("EVENTS '*'"), session.lines("EVENTS '*'"));
    assert_eq!(faults(&copy), [""; 0]);
}

#[test]
fn what_failed_is_done_when_it_is_said_once_more() {
    let (mut failed, mut told) = (0, 0);
    for (kind, after) in [Kind::Write, Kind::Sync, Kind::Create, Kind::Rename, Kind::Remove, Kind::Read]
        .into_iter()
        .flat_map(|kind| (1..60).map(move |after| (kind, after)))
    {
        let disk = SimulatedDisk::new();
        let store = in_plain(&disk);
        let session = Session::new(&store);
        session.rows("DEFINE ENTITY User SNAPSHOT EVERY 1 ON named SET name = data.name");
        session.rows("DEFINE INDEX name ON 'User.*' AS data.name");
        store.shared().settle().unwrap();
        session.rows("FORGET User 2");
        let before = session.lines("EVENTS 'Order.*'");
        disk.faults().fail_after(after, Failure::of(kind));
        let outcome = session.run(CONTACT);
        disk.faults().clear();
        let why = format!("{kind:?} {after}: {outcome:?}");
        failed += usize::from(outcome.is_err());
        // Whatever came of it, nothing is damaged.
        match verify(&store.snapshot()) {
            Ok(found) => assert_eq!(found.faults, [""; 0], "{why}"),
            Err(error) => assert!(matches!(error, Error::Stopped { .. }), "{why}: {error}"),
        }
        let again = session.run(CONTACT);
        let emitted = session.run("EMIT User.named 3 {name: 'secret name 4'}");
        if let (Ok(_), Ok(_)) = (&again, &emitted) {
            store.shared().settle().unwrap();
            for gone in ["secret name 2", "secret ip 2", "secret ip 1"] {
                assert_eq!(is_on_disk(&disk, gone), None, "{why}: {gone}");
            }
            assert_eq!(faults(&store), [""; 0], "{why}");
            assert_eq!(session.lines("EVENTS 'Order.*'"), before);
        } else {
            // The log takes nothing more, and says so.
            told += 1;
        }
        drop(session);
        let _ = store.close();
        let store = Store::open(path(), options(&disk)).unwrap();
        store.shared().settle().unwrap();
        let session = Session::new(&store);
        let defined = !session.lines("SHOW PRIVATE").is_empty();
        assert_eq!(is_on_disk(&disk, "secret name 2").is_none(), defined, "{why}");
        assert!(session.lines("HISTORY User 1")[0].contains("secret name 1"), "{why}");
        assert_eq!(faults(&store), [""; 0], "{why}");
    }
    assert!(failed > 60 && told < failed / 3, "{failed} {told}");
}
