//! A process that is killed: what it said was acknowledged is in the file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::held::{Expected, rows, tables_are_right};
use super::{Random, one};
use crate::entity::Position;
use crate::event::{NewEvent, codec};
use crate::store::snapshot::ScanDirection;
use crate::store::{Options, Store};

const ROUNDS: u64 = 20;
const FILE: &str = "BYGONE_TEST_KILL";

fn options() -> Options {
    Options::new().memtable(100, 1 << 20).journal_steps(64 << 10, 1 << 20).cache(1 << 20)
}

/// Not a test of its own: the process that is to be killed, when the test below runs it.
#[test]
fn emit_until_killed() {
    let Ok(file) = std::env::var(FILE) else { return };
    let store = Store::open(Path::new(&file), options()).unwrap();
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let store = &store;
            scope.spawn(move || {
                loop {
                    let event =
                        NewEvent::new("Order.paid").on(("Order", thread)).member("text", "x".repeat(200));
                    let outcome = store.append(one(event)).unwrap();
                    let (position, bytes) = &outcome.events[0];
                    let event = codec::decode(*position, bytes.clone()).unwrap();
                    // One write a line, so that the lines of threads do not mix.
                    let line = format!("acknowledged {} {}\n", position.0, event.id);
                    if std::io::stdout().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn what_a_killed_process_had_acknowledged_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.bygone");
    Store::create(&file, options()).unwrap().close().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut random = Random(1);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::crash::kill::emit_until_killed", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, receiver) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader =
            thread::spawn(move || lines.map_while(Result::ok).for_each(|line| sender.send(line).unwrap()));
        let read = |line: String, acknowledged: &mut BTreeMap<u64, String>| {
            // The last line may have been cut by the kill.
            let mut words = line.split(' ');
            if let (Some("acknowledged"), Some(position), Some(id)) =
                (words.next(), words.next(), words.next())
                && id.len() == 36
            {
                acknowledged.insert(position.parse().unwrap(), id.to_owned());
            }
        };
        // Not before it has begun to append.
        loop {
            let line = receiver.recv_timeout(Duration::from_secs(30)).expect("the child appends");
            let begun = line.starts_with("acknowledged");
            read(line, &mut acknowledged);
            if begun {
                break;
            }
        }
        thread::sleep(Duration::from_millis(random.below(150)));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        receiver.try_iter().for_each(|line| read(line, &mut acknowledged));

        let store = Store::open(&file, options()).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let log = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
        for (position, id) in &acknowledged {
            let bytes =
                log.get(*position as usize - 1).unwrap_or_else(|| panic!("round {round}: no #{position}"));
            let event = codec::decode(Position(*position), bytes.clone()).unwrap();
            assert_eq!(event.id.to_string(), *id, "round {round}, #{position}");
        }
        tables_are_right(&store, &Expected::new(&log), Position(log.len() as u64)).unwrap();
        store.close().unwrap();
    }
    super::report(format_args!("{} acknowledged events survived {ROUNDS} kills", acknowledged.len()));
}
