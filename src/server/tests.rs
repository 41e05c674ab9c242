//! Requests and answers, as lines.

use std::io::{self, Read};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::*;
use crate::value::Value;

/// Answers to requests that all come at once.
fn answers(db: &Db, access: SharedAccess, requests: &[&str]) -> Vec<String> {
    let mut output = Vec::new();
    let input = requests.join("\n") + "\n";
    let _ = db.serve(input.as_bytes(), &mut output, access);
    let lines = String::from_utf8(output).unwrap();
    let mut lines = lines.lines().map(str::to_owned);
    let hello: Value = lines.next().expect("hello").parse().unwrap();
    assert_eq!(hello.get("protocol"), Some(&Value::from(1)));
    lines.collect()
}

fn full(db: &Db, requests: &[&str]) -> Vec<String> {
    answers(db, SharedAccess::Full, requests)
}

fn of<'a>(lines: &'a [String], id: &str) -> Vec<&'a str> {
    let prefix = format!("{{\"id\":{id},");
    lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

/// A client that says and hears one line after the other.
struct Talk {
    say: Option<Sender<String>>,
    heard: Receiver<String>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

struct Said(Receiver<String>, Vec<u8>);

impl Read for Said {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.1.is_empty() {
            match self.0.recv() {
                Ok(line) => self.1 = (line + "\n").into_bytes(),
                Err(_) => return Ok(0),
            }
        }
        let length = out.len().min(self.1.len());
        out[..length].copy_from_slice(&self.1[..length]);
        self.1.drain(..length);
        Ok(length)
    }
}

struct Hear(Sender<String>, Vec<u8>);

impl io::Write for Hear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap().trim_end().to_owned();
            self.0.send(line).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Talk {
    fn new(db: &Db) -> Talk {
        let ((say, said), (hear, heard)) = (unbounded(), unbounded());
        let db = db.clone();
        let serve = move || db.serve(Said(said, Vec::new()), Hear(hear, Vec::new()), SharedAccess::Full);
        let talk = Talk { say: Some(say), heard, thread: Some(std::thread::spawn(serve)) };
        assert!(talk.hear().starts_with(r#"{"bygone":"#));
        talk
    }

    fn say(&self, line: &str) {
        self.say.as_ref().unwrap().send(line.to_owned()).unwrap();
    }

    fn hear(&self) -> String {
        self.heard.recv_timeout(Duration::from_secs(60)).expect("a line")
    }

    fn hears_nothing(&self) -> bool {
        self.heard.recv_timeout(Duration::from_millis(100)).is_err()
    }

    /// Says no more, and gives what comes still.
    fn end(mut self) -> Vec<String> {
        drop(self.say.take());
        self.thread.take().unwrap().join().unwrap().unwrap();
        self.heard.iter().collect()
    }
}

fn shop() -> Db {
    let db = Db::in_memory().unwrap();
    for order in 1..=3 {
        db.query(&format!("EMIT Order.created {order} {{total: {order}0}}")).unwrap();
    }
    db
}

#[test]
fn a_statement_is_answered_with_rows_and_one_end() {
    let db = shop();
    let lines = full(&db, &[r#"{"id":7,"statement":"EVENTS SELECT data.total AS total","params":{}}"#]);
    assert_eq!(
        of(&lines, "7"),
        [
            r#""statement":1,"asOf":3}"#,
            r#""kind":"fields","row":{"total":10}}"#,
            r#""kind":"fields","row":{"total":20}}"#,
            r#""kind":"fields","row":{"total":30}}"#,
            r#""done":{"statements":1,"rows":3,"position":3}}"#,
        ]
    );
}

#[test]
fn statements_of_one_text_are_numbered_within_it_and_the_first_that_fails_is_named() {
    let text = r#"{"id":"t","statement":"EMIT Order.paid $order; AT Order 1; EMIT Order.paid $order EXPECT NEW; SHOW HEAD","params":{"order":1}}"#;
    let db = shop();
    let lines = full(&db, &[text]);
    let lines = of(&lines, r#""t""#);
    assert!(lines[0].starts_with(r#""statement":1}"#), "{lines:?}");
    assert!(lines[2].starts_with(r#""statement":2,"asOf":4}"#), "{lines:?}");
    let error = lines.last().unwrap();
    assert!(error.contains(r#""error":{"kind":"conflict""#) && error.contains(r#""statement":3"#), "{error}");
    assert_eq!(db.head().0, 4);
}

#[test]
fn an_error_does_not_end_the_connection() {
    let db = shop();
    let lines = full(
        &db,
        &[
            r#"{"id":1,"statement":"EVENTZ"}"#,
            r#"{"id":2,"statement":"EVENTS WHERE data.total > $least","params":{"most":1}}"#,
            r#"{"id":3}"#,
            r#"{"id":4,"statement":"SHOW HEAD","surplus":1}"#,
            r#"{"id":5,"append":[{"type":"paid"}]}"#,
            r#"{"id":6,"acknowledge":{"of":1,"position":1}}"#,
            r#"{"id":8,"statement":"SHOW HEAD","timeLimit":-1}"#,
            r#"{"id":9,"statement":"SHOW TYPES"}"#,
        ],
    );
    for id in ["1", "2", "3", "4", "5", "6", "8"] {
        let answered = of(&lines, id);
        assert!(
            matches!(answered[..], [error] if error.starts_with(r#""error":{"kind""#)),
            "{id}: {answered:?}"
        );
    }
    assert!(of(&lines, "1")[0].contains(r#""line":1,"column":1"#));
    assert!(of(&lines, "9").last().unwrap().contains("done"));
}

#[test]
fn what_is_no_request_ends_the_connection_with_an_error() {
    let db = shop();
    for garbage in
        ["GET / HTTP/1.1", "[]", "{}", r#"{"id":-1,"statement":"SHOW HEAD"}"#, "\u{0}", r#"{"id":1"#]
    {
        let lines = full(&db, &[garbage, r#"{"id":9,"statement":"SHOW HEAD"}"#]);
        assert!(
            matches!(&lines[..], [error] if error.starts_with(r#"{"error":{"kind":"invalid""#)),
            "{lines:?}"
        );
    }
    let mut output = Vec::new();
    assert!(db.serve(&b"{\"id\":1,\"statement\":\"\xff\"}\n"[..], &mut output, SharedAccess::Full).is_err());
    assert!(String::from_utf8(output).unwrap().contains("UTF-8"));
}

#[test]
fn a_line_that_is_too_long_is_not_held() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            out.fill(b'x');
            self.0 += out.len() as u64;
            Ok(out.len())
        }
    }
    let (db, mut endless, mut output) = (shop(), Endless(0), Vec::new());
    assert!(db.serve(&mut endless, &mut output, SharedAccess::Full).is_err());
    assert!(endless.0 < 80 << 20, "{} bytes were read", endless.0);
    assert!(String::from_utf8(output).unwrap().contains("at most 64 MiB"));
}

#[test]
fn requests_run_beside_each_other_and_end_by_themselves() {
    let db = shop();
    let talk = Talk::new(&db);
    talk.say(r#"{"id":1,"statement":"SUBSCRIBE 'Order.*' FROM #2"}"#);
    assert_eq!(talk.hear(), r#"{"id":1,"statement":1}"#);
    assert!(talk.hear().contains(r#""kind":"event","row":{"position":3,"#));
    assert_eq!(talk.hear(), r#"{"id":1,"mark":"caughtUp","position":3}"#);
    talk.say(r#"{"id":1,"statement":"SHOW HEAD"}"#);
    assert!(talk.hear().contains("one that no other has that runs"));
    talk.say(r#"{"id":2,"statement":"EMIT Order.paid 1"}"#);
    // In one order or the other.
    let mut heard = vec![talk.hear(), talk.hear(), talk.hear(), talk.hear()];
    heard.sort();
    assert!(heard[0].starts_with(r#"{"id":1,"kind":"event","row":{"position":4,"#), "{heard:?}");
    assert!(heard[1].starts_with(r#"{"id":2,"done":"#), "{heard:?}");
    talk.say(r#"{"id":3,"cancel":1}"#);
    let mut heard = [talk.hear(), talk.hear()];
    heard.sort();
    assert!(heard[0].starts_with(r#"{"id":1,"done":{"statements":1,"rows":2"#), "{heard:?}");
    assert_eq!(heard[1], r#"{"id":3,"done":{}}"#);
    // Its id is free.
    talk.say(r#"{"id":1,"statement":"SUBSCRIBE 'Order.*'"}"#);
    assert_eq!(talk.hear(), r#"{"id":1,"statement":1}"#);
    assert_eq!(talk.hear(), r#"{"id":1,"mark":"caughtUp","position":4}"#);
    // Who sends no more is not kept waiting by what has no end.
    let rest = talk.end();
    assert!(matches!(&rest[..], [done] if done.starts_with(r#"{"id":1,"done":"#)), "{rest:?}");
}

#[test]
fn rows_come_as_credits_allow() {
    let db = shop();
    let talk = Talk::new(&db);
    talk.say(r#"{"id":1,"statement":"EVENTS","credits":1}"#);
    assert_eq!(talk.hear(), r#"{"id":1,"statement":1,"asOf":3}"#);
    assert!(talk.hear().contains(r#""position":1"#));
    assert!(talk.hears_nothing());
    // Who waits holds up nobody else.
    talk.say(r#"{"id":2,"statement":"SHOW HEAD"}"#);
    for part in ["statement", "row", "done"] {
        assert!(talk.hear().starts_with(r#"{"id":2,"#), "{part}");
    }
    talk.say(r#"{"id":1,"credits":1}"#);
    assert!(talk.hear().contains(r#""position":2"#));
    assert!(talk.hears_nothing());
    talk.say(r#"{"id":3,"cancel":1}"#);
    let mut heard = [talk.hear(), talk.hear()];
    heard.sort();
    assert!(heard[0].contains(r#""error":{"kind":"stopped""#), "{heard:?}");
    // And its time may end while it waits.
    talk.say(r#"{"id":4,"statement":"EVENTS","credits":1,"timeLimit":0.05}"#);
    let heard = [talk.hear(), talk.hear(), talk.hear()];
    assert!(heard[2].contains("took longer than its time limit"), "{heard:?}");
    assert!(talk.end().is_empty());
}

#[test]
fn events_are_appended_as_one_group_or_none() {
    let db = shop();
    let pay = r#"{"id":1,"append":[{"type":"Order.paid","target":{"type":"Order","id":1},"data":{"amount":10}},{"type":"Mail.sent","target":null,"data":{}}],"key":"pay-1","expect":{"version":1},"actor":"User ann"}"#;
    let lines = full(&db, &[pay]);
    let lines = of(&lines, "1");
    assert!(
        lines[0].contains(r#""position":4,"version":2"#)
            && lines[0].contains(r#""actor":{"type":"User","id":"ann"}"#)
    );
    assert_eq!(lines[2], r#""done":{"rows":2,"position":5}}"#);
    let again = full(&db, &[pay]);
    assert!(of(&again, "1")[2].contains(r#""position":5,"repeated":true"#), "{again:?}");
    let late = full(&db, &[&pay.replace("pay-1", "pay-2")]);
    assert!(of(&late, "1")[0].contains(r#""error":{"kind":"conflict""#), "{late:?}");
    let bad = full(
        &db,
        &[r#"{"id":1,"append":[{"type":"Order.paid","target":{"type":"Order","id":9}},{"type":"nothing"}]}"#],
    );
    assert!(of(&bad, "1")[0].contains("error"));
    assert_eq!(db.head().0, 5);
}

#[test]
fn who_may_only_read_is_refused_whatever_writes() {
    let db = shop();
    for write in [
        r#"{"id":1,"statement":"EMIT Order.paid 1"}"#,
        r#"{"id":1,"statement":"SUBSCRIBE '*' AS x"}"#,
        r#"{"id":1,"statement":"DEFINE INDEX a ON '*' AS data.a"}"#,
        r#"{"id":1,"statement":"CHECKPOINT"}"#,
        r#"{"id":1,"statement":"BACKUP TO '/x.bygone'"}"#,
        r#"{"id":1,"statement":"COMPACT"}"#,
        r#"{"id":1,"append":[{"type":"A.b"}]}"#,
        r#"{"id":1,"import":{}}"#,
    ] {
        let lines = answers(&db, SharedAccess::ReadOnly, &[write]);
        let last = of(&lines, "1").last().copied().unwrap_or_default();
        assert!(last.contains("shares it for reading only"), "{write}: {lines:?}");
    }
    let reads = [
        r#"{"id":1,"statement":"EXPLAIN EMIT Order.paid 1; SHOW HEAD; SUBSCRIBE '*' FROM START"}"#,
        r#"{"id":2,"status":{}}"#,
    ];
    let lines = answers(&db, SharedAccess::ReadOnly, &reads);
    assert!(of(&lines, "1").last().unwrap().contains("done"), "{lines:?}");
    assert_eq!(db.head().0, 3);
}

#[test]
fn what_is_imported_comes_in_pieces_and_goes_out_in_pieces() {
    let db = shop();
    let talk = Talk::new(&db);
    talk.say(r#"{"id":1,"import":{}}"#);
    assert_eq!(talk.hear(), r#"{"id":1,"credits":4}"#);
    for piece in [r#"{"id":"e-1","type":"A.b"}{"id""#, r#":"e-2","type":"A.é"}"#] {
        talk.say(&format!(r#"{{"id":1,"text":{}}}"#, Value::from(piece)));
        assert_eq!(talk.hear(), r#"{"id":1,"credits":1}"#);
    }
    talk.say(r#"{"id":1,"end":true}"#);
    let ends = std::iter::repeat_with(|| talk.hear()).find(|line| line.contains(r#""done""#)).unwrap();
    assert!(ends.contains(r#""position":5"#) && ends.contains(r#""added":2,"known":0"#), "{ends}");
    talk.say(r#"{"id":2,"export":{"pattern":"A.*"}}"#);
    let text: Value = talk.hear().parse().unwrap();
    let text = text.get("text").unwrap().as_text().unwrap().to_owned();
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains("A.é"));
    assert_eq!(talk.hear(), r#"{"id":2,"done":{"events":2}}"#);
    // More than there are credits for.
    talk.say(r#"{"id":3,"import":{}}"#);
    assert!(talk.end().last().unwrap().contains("error"));
    assert_eq!(db.head().0, 5);
}

#[test]
fn a_durable_subscription_goes_on_behind_what_was_acknowledged() {
    let db = shop();
    let talk = Talk::new(&db);
    let subscribe = r#"{"id":1,"statement":"SUBSCRIBE 'Order.*' FROM START AS billing"}"#;
    talk.say(subscribe);
    assert_eq!(talk.hear(), r#"{"id":1,"statement":1,"durable":true}"#);
    for position in 1..=3 {
        assert!(talk.hear().contains(&format!(r#""position":{position}"#)));
    }
    assert!(talk.hear().contains("caughtUp"));
    talk.say(r#"{"id":2,"acknowledge":{"of":1,"position":2,"durably":true}}"#);
    assert_eq!(talk.hear(), r#"{"id":2,"done":{"position":2}}"#);
    talk.end();
    let talk = Talk::new(&db);
    talk.say(subscribe);
    assert!(talk.hear().contains("durable"));
    assert!(talk.hear().contains(r#""position":3"#));
    talk.end();
}

#[test]
fn no_more_requests_run_than_may() {
    let db = shop();
    let talk = Talk::new(&db);
    for id in 0..=MAX_RUNNING {
        talk.say(&format!(r#"{{"id":{id},"statement":"SUBSCRIBE 'None.such'"}}"#));
    }
    let refused = std::iter::repeat_with(|| talk.hear()).find(|line| line.contains("error")).unwrap();
    assert!(
        refused.contains(&format!(r#"{{"id":{MAX_RUNNING},"#)) && refused.contains(r#""kind":"busy""#),
        "{refused}"
    );
    // Those that run can still be ended, and another one may then run.
    talk.say(r#"{"id":"c","cancel":0}"#);
    std::iter::repeat_with(|| talk.hear()).find(|line| line.starts_with(r#"{"id":0,"done""#)).unwrap();
    talk.say(r#"{"id":"h","statement":"SHOW HEAD"}"#);
    std::iter::repeat_with(|| talk.hear()).find(|line| line.starts_with(r#"{"id":"h","done""#)).unwrap();
    talk.end();
}

#[test]
fn what_was_asked_before_the_input_ended_is_answered_but_for_what_would_have_no_end() {
    let db = shop();
    let lines = full(
        &db,
        &[
            r#"{"id":1,"import":{}}"#,
            r#"{"id":1,"text":"{\"type\":\"A.b\",\"id\":\"e\"}"}"#,
            r#"{"id":1,"end":true}"#,
            r#"{"id":2,"statement":"SUBSCRIBE '*' FROM START UNTIL #2; EMIT Order.paid 1; SUBSCRIBE '*'; EMIT Order.sent 1"}"#,
            r#"{"id":3,"statement":"EVENTS","credits":1}"#,
            r#"{"id":4,"import":{}}"#,
        ],
    );
    assert!(of(&lines, "1").last().unwrap().contains(r#""added":1"#), "{lines:?}");
    assert!(of(&lines, "2").last().unwrap().contains(r#""done":{"statements":4"#), "{lines:?}");
    assert!(of(&lines, "3").last().unwrap().contains("sends no more"), "{lines:?}");
    assert!(of(&lines, "4").last().unwrap().contains("error"), "{lines:?}");
    assert_eq!(db.events("Order.paid, Order.sent").unwrap().count(), 2);
    // The last line may do without its end.
    let mut output = Vec::new();
    db.serve(&br#"{"id":1,"statement":"SHOW HEAD"}"#[..], &mut output, SharedAccess::Full).unwrap();
    assert!(String::from_utf8(output).unwrap().contains("done"));
}

#[test]
fn subscriptions_that_have_ended_are_acknowledged_each_at_its_own_place() {
    let db = shop();
    let talk = Talk::new(&db);
    talk.say(r#"{"id":1,"statement":"SUBSCRIBE '*' FROM START UNTIL #1 AS a"}"#);
    std::iter::repeat_with(|| talk.hear()).find(|line| line.contains(r#""done""#)).unwrap();
    talk.say(r#"{"id":2,"statement":"SUBSCRIBE '*' FROM START UNTIL #2 AS b"}"#);
    std::iter::repeat_with(|| talk.hear()).find(|line| line.contains(r#""done""#)).unwrap();
    for (of, position) in [(1, 1), (2, 2)] {
        talk.say(&format!(r#"{{"id":9,"acknowledge":{{"of":{of},"position":{position}}}}}"#));
        assert_eq!(talk.hear(), format!(r#"{{"id":9,"done":{{"position":{position}}}}}"#));
    }
    talk.end();
}

#[test]
fn who_says_so_writes_nothing_from_then_on() {
    let db = shop();
    let lines = full(
        &db,
        &[
            r#"{"id":0,"readOnly":true}"#,
            r#"{"id":1,"statement":"EMIT Order.paid 1"}"#,
            r#"{"id":2,"statement":"SHOW HEAD"}"#,
        ],
    );
    assert_eq!(of(&lines, "0"), [r#""done":{}}"#]);
    assert!(of(&lines, "1").last().unwrap().contains("for reading only"), "{lines:?}");
    assert!(of(&lines, "2").last().unwrap().contains("done"));
}

#[test]
fn many_requests_that_wait_hold_no_memory_that_others_need() {
    let db = shop();
    let talks: Vec<Talk> = (0..5).map(|_| Talk::new(&db)).collect();
    for talk in &talks {
        for id in 0..MAX_RUNNING {
            talk.say(&format!(r#"{{"id":{id},"statement":"SUBSCRIBE 'None.such'"}}"#));
        }
    }
    let last = Talk::new(&db);
    last.say(r#"{"id":1,"statement":"SHOW HEAD"}"#);
    for part in ["statement", "row", "done"] {
        assert!(last.hear().contains(part));
    }
}

#[test]
fn a_wait_for_what_is_built_ends_with_its_request() {
    let db = shop();
    let talk = Talk::new(&db);
    talk.say(r#"{"id":1,"status":{"wait":1000000},"timeLimit":0.05}"#);
    assert!(talk.hear().contains(r#""built":true"#));
    // A number of more than 64 bits is no value, and the request that has it is told by its id.
    talk.say(r#"{"id":2,"statement":"EVENTS WHERE data.a = $x","params":{"x":1180591620717411303424}}"#);
    assert!(talk.hear().starts_with(r#"{"id":2,"error""#));
    talk.end();
}

/// What is appended one after the other is read by the thread that answers; what comes meanwhile is read beside it from then on.
#[test]
fn once_a_request_came_while_another_waited_for_the_disk_the_next_are_read_beside() {
    use crate::store::disk::simulated::{Kind, SimulatedDisk};
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Condvar, Mutex};
    let disk = SimulatedDisk::new();
    let db = crate::Options::new().disk(Arc::new(disk.clone())).create("shop.bygone").unwrap();
    let gate = Arc::new((Mutex::new(true), Condvar::new()));
    let (held, open) = (gate.clone(), move |to: bool| {
        *gate.0.lock().unwrap() = to;
        gate.1.notify_all();
    });
    disk.on_operation(move |kind, _| {
        if kind == Kind::Sync {
            let limit = Duration::from_secs(60);
            drop(held.1.wait_timeout_while(held.0.lock().unwrap(), limit, |open| !*open).unwrap());
        }
    });
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| {
            let output = output::LineOutput::new(&there, || {});
            let context = ServerContext::new(SharedAccess::Full);
            ServerConnection::new(db.clone(), context, &output).serve(&there, Some(&there))
        });
        // It hangs up when a line does not come.
        let here = here;
        here.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut lines = BufReader::new(&here).lines().map(std::result::Result::unwrap);
        let mut hear = |end: &str| assert!(lines.any(|line| line.starts_with(end)), "{end}");
        let say = |line: &str| (&here).write_all(format!("{line}\n").as_bytes()).unwrap();
        hear(r#"{"bygone""#);
        open(false);
        say(r#"{"id":1,"statement":"EMIT Order.paid 1"}"#);
        say(r#"{"id":2,"statement":"SHOW HEAD"}"#);
        std::thread::sleep(Duration::from_millis(50));
        open(true);
        hear(r#"{"id":1,"done""#);
        hear(r#"{"id":2,"done""#);
        open(false);
        say(r#"{"id":3,"statement":"EMIT Order.paid 2"}"#);
        say(r#"{"id":4,"cancel":99}"#);
        hear(r#"{"id":4,"done""#);
        open(true);
        hear(r#"{"id":3,"done""#);
        // Where one waits for the other, the thread that answers reads again; and still what has no end is ended.
        (5..200).for_each(|id| {
            say(&format!(
                r#"{{"id":{id},"append":[{{"type":"Order.paid","target":{{"type":"Order","id":{id}}}}}]}}"#
            ));
            hear(&format!(r#"{{"id":{id},"done""#));
        });
        say(r#"{"id":200,"statement":"SUBSCRIBE 'Order.*'"}"#);
        hear(r#"{"id":200,"statement""#);
        say(r#"{"id":201,"cancel":200}"#);
        hear(r#"{"id":200,"done""#);
        here.shutdown(std::net::Shutdown::Write).unwrap();
        served.join().unwrap().unwrap();
    });
    assert_eq!(db.head().0, 197);
}

/// Its client may say more before it reads what is long.
#[test]
fn a_long_answer_to_an_append_does_not_keep_from_reading_on() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    let db = Db::in_memory().unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let output = output::LineOutput::new(&there, || {});
            let context = ServerContext::new(SharedAccess::Full);
            ServerConnection::new(db.clone(), context, &output).serve(&there, Some(&there))
        });
        let here = here;
        here.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        let text = "x".repeat(2 << 20);
        for id in 1..=4 {
            let line =
                format!(r#"{{"id":{id},"append":[{{"type":"Note.taken","data":{{"text":"{text}"}}}}]}}"#);
            (&here).write_all((line + "\n").as_bytes()).unwrap();
        }
        let ends =
            BufReader::new(&here).lines().map_while(io::Result::ok).filter(|line| line.contains("\"done\""));
        assert_eq!(ends.take(4).count(), 4);
    });
    assert_eq!(db.head().0, 4);
}
