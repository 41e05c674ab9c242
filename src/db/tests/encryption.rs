//! Databases that are encrypted: nobody reads anything of their files without the key.

use std::path::Path;
use std::sync::Arc;

use super::{PATH, all_events, run};
use crate::error::ErrorClass;
use crate::maintain::{BackupMode, BackupOptions, EncryptionKey, ListedSubject};
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::{Db, Error, Options};

fn key(byte: u8) -> EncryptionKey {
    EncryptionKey::new([byte; 32])
}

fn options(disk: &SimulatedDisk) -> Options {
    let mut options = Options::new().disk(Arc::new(disk.clone())).cache(256 << 10);
    // What is private is refused on a log that is shared.
    options.own_journal = true;
    options
}

fn keyed(disk: &SimulatedDisk, byte: u8) -> Options {
    options(disk).key(key(byte))
}

fn bytes(disk: &SimulatedDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// In which files a text is.
fn files_with(disk: &SimulatedDisk, text: &str) -> Vec<String> {
    let has = |path: &Path| bytes(disk, path).windows(text.len()).any(|window| window == text.as_bytes());
    let names = disk.names().into_iter().filter(|name| has(name));
    names.map(|name| name.display().to_string()).collect()
}

/// Whether a text is in the database, and in the copy.
fn is_in(disk: &SimulatedDisk, text: &str) -> [bool; 2] {
    let files = files_with(disk, text);
    [PATH, "/copy.bygone"].map(|name| files.iter().any(|file| file == name))
}

fn work(db: &Db) {
    run(db, "DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name");
    run(db, "DEFINE INDEX names ON 'User.named' AS data.name");
    run(db, "DEFINE VIEW towns AS EVENTS 'User.named' GROUP BY data.town AS town SELECT count() AS users");
    for user in 0..40 {
        run(db, &format!("EMIT User.named {user} {{name: 'Guinevere-{user}', town: 'Camelot'}}"));
    }
    db.wait_for_indexes(super::PATIENCE).unwrap();
}

fn refusal(options: Options) -> String {
    let error = options.open(PATH).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unopenable);
    error.to_string()
}

#[test]
fn nothing_of_it_is_in_any_file_in_plain() {
    let disk = SimulatedDisk::new();
    let db = keyed(&disk, 1).create(PATH).unwrap();
    work(&db);
    run(&db, "CHECKPOINT");
    run(&db, "EMIT User.named 41 {name: 'Guinevere-41', town: 'Camelot'}");
    run(&db, "BACKUP TO '/copy.bygone'");
    // As a crash leaves it, with a journal; and closed.
    let image = disk.crash(Fate::LoseAll, 0);
    let events = all_events(&db).unwrap();
    db.close().unwrap();
    for disk in [&image, &disk] {
        for text in ["Guinevere", "Camelot", "User.named", "contact"] {
            assert_eq!(files_with(disk, text), Vec::<String>::new(), "{text}");
        }
        let db = keyed(disk, 1).open(PATH).unwrap();
        assert_eq!(all_events(&db).unwrap(), events);
        assert_eq!(db.verify().unwrap().faults, [] as [String; 0]);
        db.close().unwrap();
    }
    let copy = keyed(&disk, 1).open("/copy.bygone").unwrap();
    assert_eq!(all_events(&copy).unwrap(), events);
}

#[test]
fn whoever_has_no_key_or_another_is_told_and_nothing_changes() {
    let disk = SimulatedDisk::new();
    let db = keyed(&disk, 1).create(PATH).unwrap();
    run(&db, "EMIT User.named 7 {name: 'Ann'}");
    db.close().unwrap();
    let before = bytes(&disk, Path::new(PATH));
    assert!(refusal(options(&disk)).contains("it is encrypted; give its key: --key env:NAME"));
    assert!(refusal(keyed(&disk, 2)).contains("the key that was given is not its key"));
    assert!(refusal(keyed(&disk, 2).read_only(true)).contains("is not its key"));
    let rescued = options(&disk).rescue(PATH, "/out.bygone", &crate::Cancel::new(), &mut |_| {});
    assert!(rescued.unwrap_err().to_string().contains("it is encrypted"));
    assert_eq!(bytes(&disk, Path::new(PATH)), before);
    keyed(&disk, 1).read_only(true).open(PATH).unwrap().close().unwrap();

    let plain = SimulatedDisk::new();
    options(&plain).create(PATH).unwrap().close().unwrap();
    assert!(
        refusal(keyed(&plain, 1)).contains("it is not encrypted, and a key was given; leave the key out")
    );
    let db = options(&plain).open(PATH).unwrap();
    assert!(db.rekey(&key(1)).unwrap_err().to_string().contains("it is not encrypted"));
}

#[test]
fn another_key_is_given_while_it_is_written_and_a_crash_changes_nothing() {
    let disk = SimulatedDisk::new();
    let db = keyed(&disk, 1).create(PATH).unwrap();
    work(&db);
    db.rekey(&key(2)).unwrap();
    run(&db, "EMIT User.named 41 {name: 'Ann', town: 'Rome'}");
    let image = disk.crash(Fate::LoseAll, 0);
    let events = all_events(&db).unwrap();
    run(&db, "COMPACT");
    db.rekey(&key(3)).unwrap();
    db.close().unwrap();
    for (disk, now) in [(&image, 2), (&disk, 3)] {
        for other in (1..=3).filter(|other| *other != now) {
            assert!(refusal(keyed(disk, other)).contains("is not its key"), "{now} {other}");
        }
        let db = keyed(disk, now).open(PATH).unwrap();
        assert_eq!(all_events(&db).unwrap(), events);
    }
    let db = keyed(&disk, 3).read_only(true).open(PATH).unwrap();
    assert!(matches!(db.rekey(&key(4)), Err(Error::Stopped { .. })));
}

#[test]
fn another_key_is_given_to_the_file_that_is_open_and_to_no_other() {
    let disk = SimulatedDisk::new();
    // Of options that are used twice.
    let both = keyed(&disk, 1);
    let (one, other) = (both.clone().create(PATH).unwrap(), both.clone().create("/other.bygone").unwrap());
    one.rekey(&key(2)).unwrap();
    run(&other, "EMIT User.named 1 {name: 'Ann'}");
    run(&other, "COMPACT");
    let image = disk.crash(Fate::LoseAll, 0);
    let again = keyed(&image, 1).open("/other.bygone").unwrap();
    assert_eq!(all_events(&again).unwrap().len(), 1);
    other.close().unwrap();

    // Where its name is gone, or another file's, nothing changes.
    let away = Path::new("/away.bygone");
    disk.rename(Path::new(PATH), away).unwrap();
    assert!(one.rekey(&key(3)).is_err());
    disk.rename(Path::new("/other.bygone"), Path::new(PATH)).unwrap();
    assert!(one.rekey(&key(3)).is_err());
    drop(one);
    keyed(&disk, 1).open(PATH).unwrap().close().unwrap();
    disk.rename(away, Path::new(PATH)).unwrap();
    keyed(&disk, 2).open(PATH).unwrap().close().unwrap();
}

/// A journal whose first bytes are damaged is told as one that is damaged in plain is.
#[test]
fn a_journal_that_cannot_be_read_is_told_and_may_be_done_without() {
    let disk = SimulatedDisk::new();
    let db = keyed(&disk, 1).create(PATH).unwrap();
    work(&db);
    run(&db, "CHECKPOINT");
    let kept = all_events(&db).unwrap();
    run(&db, "EMIT User.named 41 {name: 'Ann', town: 'Rome'}");
    let image = disk.crash(Fate::KeepAll, 0);
    for end in ["a", "b"] {
        let journal = image.open(Path::new(&format!("{PATH}-journal-{end}"))).unwrap();
        journal.write_at(0, &[0xff; 4096]).unwrap();
        journal.sync().unwrap();
    }
    let told = refusal(keyed(&image, 1));
    assert!(told.contains("journal"), "{told}");
    let rescued = keyed(&image, 1).rescue(PATH, "/out.bygone", &crate::Cancel::new(), &mut |_| {}).unwrap();
    assert!(rescued.doubts.iter().any(|doubt| doubt.contains("was not searched")), "{rescued:?}");
    let out = keyed(&image, 1).open("/out.bygone").unwrap();
    assert_eq!(all_events(&out).unwrap()[..kept.len()], kept);
}

/// Who is named twice is forgotten once, and what an earlier try left is done.
#[test]
fn an_older_backup_forgets_whom_lists_name() {
    let disk = SimulatedDisk::new();
    let db = options(&disk).create(PATH).unwrap();
    work(&db);
    run(&db, "BACKUP TO '/copy.bygone'");
    run(&db, "FORGET User 3");
    run(&db, "FORGET User 4");
    let text = |row: &crate::Row| serde_json::to_string(row).unwrap();
    let listed: Vec<ListedSubject> =
        run(&db, "EVENTS '$subject.forgotten'").iter().map(|row| text(row).parse().unwrap()).collect();
    let twice = || listed.clone().into_iter().chain(listed.clone());
    let copy = options(&disk).open("/copy.bygone").unwrap();
    assert_eq!((copy.forget_listed(twice()).unwrap(), copy.forget_listed(twice()).unwrap()), (2, 0));

    let named = |db: &Db| run(db, "EVENTS 'User.named'").iter().map(text).collect::<Vec<_>>();
    assert_eq!(named(&copy), named(&db));
    copy.close().unwrap();
}

#[test]
fn a_backup_has_the_key_that_is_said() {
    let disk = SimulatedDisk::new();
    let db = options(&disk).create(PATH).unwrap();
    work(&db);
    run(&db, "CHECKPOINT");
    let to_key = |mode: BackupMode| BackupOptions::from(mode).key(key(5));
    db.backup_with("/copy.bygone", to_key(BackupMode::New), &mut |_| {}).unwrap();
    run(&db, "EMIT User.named 41 {name: 'Ann', town: 'Rome'}");
    let grown = db.backup_with("/copy.bygone", to_key(BackupMode::Increment), &mut |_| {}).unwrap();
    assert_eq!(grown.events, 1);
    let plain = db.backup_with("/copy.bygone", BackupMode::Increment, &mut |_| {}).unwrap_err();
    assert!(plain.to_string().contains("it is encrypted"), "{plain}");
    assert_eq!(is_in(&disk, "Camelot"), [true, false]);
    let copy = keyed(&disk, 5).open("/copy.bygone").unwrap();
    assert_eq!(all_events(&copy).unwrap(), all_events(&db).unwrap());
}

#[test]
fn a_backup_without_keys_has_nothing_private() {
    let disk = SimulatedDisk::new();
    let db = options(&disk).create(PATH).unwrap();
    work(&db);
    run(&db, "FORGET User 3");
    run(&db, "EMIT User.named 41 {name: 'Guinevere-41', town: 'Camelot'}");
    run(&db, "CHECKPOINT");
    let without = |mode| BackupOptions::from(mode).without_keys(true);
    db.backup_with("/copy.bygone", without(BackupMode::New), &mut |_| {}).unwrap();
    let error = db.backup_with("/copy.bygone", without(BackupMode::Increment), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("made anew, with REPLACE"), "{error}");
    let error = db.backup_with("/copy.bygone", BackupMode::Increment, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("one without them"), "{error}");
    // What is made of it is in the database, and not in the copy.
    assert_eq!(is_in(&disk, "Guinevere"), [true, false]);

    let copy = options(&disk).open("/copy.bygone").unwrap();
    copy.wait_for_indexes(super::PATIENCE).unwrap();
    assert_eq!(copy.chain().unwrap(), db.chain().unwrap());
    let named = |event: &crate::Event| event.kind.as_str() == "User.named";
    for event in all_events(&copy).unwrap().iter().filter(|event| named(event)) {
        assert!(event.forgotten.is_some(), "{event:?}");
    }
    let answer = |text: &str| run(&copy, text);
    assert_eq!(answer("EVENTS BY names = 'Guinevere-41'").len(), 0);
    assert_eq!(answer("READ towns"), run(&db, "READ towns"));
    assert_eq!(copy.verify().unwrap().faults, [] as [String; 0]);
    // It goes on as a database of its own, with keys of its own, and with backups that grow.
    run(&copy, "EMIT User.named 41 {name: 'Gwen', town: 'Camelot'}");
    run(&copy, "BACKUP TO '/next.bygone'");
    run(&copy, "BACKUP TO '/next.bygone' INCREMENT");
    copy.close().unwrap();
    let copy = options(&disk).open("/copy.bygone").unwrap();
    assert_eq!(run(&copy, "EVENTS BY names = 'Gwen'").len(), 1);
    assert_eq!(copy.verify().unwrap().faults, [] as [String; 0]);
}
