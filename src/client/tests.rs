//! The connection with an other end that says what a test wants.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::arrived::Arrived;
use super::connection::ClientConnection;
use super::reader::AnswerReader;
use crate::cancel::Cancel;

/// A connection, its other end, and the thread that reads for nobody, which ends with it.
fn pair() -> (Arc<ClientConnection>, UnixStream, thread::JoinHandle<()>) {
    let (here, there) = UnixStream::pair().unwrap();
    let reader = AnswerReader::new(here.try_clone().unwrap());
    let connection = Arc::new(ClientConnection::new(Path::new("shop.bygone"), here, reader).unwrap());
    let reading = connection.clone();
    let thread = thread::spawn(move || reading.read_for_nobody());
    (connection, there, thread)
}

fn done(id: u64, rows: u64) -> String {
    format!("{{\"id\":{id},\"done\":{{\"rows\":{rows}}}}}\n")
}

/// The counts of what arrives for a request, up to so many.
fn take(connection: &ClientConnection, id: u64, most: usize) -> Vec<u64> {
    let next = || match connection.next(id, &Cancel::new()).unwrap() {
        Some(Arrived::Done(done)) => done.rows,
        None => None,
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(next).take(most).collect()
}

#[test]
fn each_takes_what_is_its_own_in_order_whoever_reads() {
    const ASKING: u64 = 8;
    const LINES: u64 = 2_000;
    let (connection, mut there, thread) = pair();
    (0..ASKING).for_each(|id| connection.register(id).unwrap());
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..ASKING)
            .map(|id| {
                scope.spawn({
                    let connection = &connection;
                    move || take(connection, id, LINES as usize)
                })
            })
            .collect();
        for at in 0..LINES {
            let lines: String = (0..ASKING).map(|id| done((id + at) % ASKING, at)).collect();
            // A line may come in pieces.
            let (first, second) = lines.split_at(at as usize % lines.len());
            there.write_all(first.as_bytes()).unwrap();
            there.write_all(second.as_bytes()).unwrap();
        }
        for waited in waiting {
            assert_eq!(waited.join().unwrap(), (0..LINES).collect::<Vec<_>>());
        }
    });
    connection.close();
    thread.join().unwrap();
}

#[test]
fn what_nobody_waits_for_holds_up_nobody_and_is_kept_while_it_is_asked_for() {
    let (connection, mut there, thread) = pair();
    connection.register(1).unwrap();
    connection.register(2).unwrap();
    connection.forget(2);
    // More than the system keeps by itself.
    let lines: String = (0..20_000).map(|at| done(1, at) + &done(2, at)).collect();
    there.write_all(lines.as_bytes()).unwrap();
    assert_eq!(take(&connection, 1, 20_000), (0..20_000).collect::<Vec<_>>());
    // It has rested meanwhile, or will.
    connection.forget(1);
    thread::sleep(Duration::from_millis(700));
    connection.register(3).unwrap();
    let lines: String = (0..20_000).map(|at| done(3, at)).collect();
    there.write_all(lines.as_bytes()).unwrap();
    assert_eq!(take(&connection, 3, 20_000).len(), 20_000);
    connection.close();
    thread.join().unwrap();
}

#[test]
fn the_end_is_told_to_all_who_wait_and_noticed_where_nobody_does() {
    let (connection, mut there, thread) = pair();
    (0..3).for_each(|id| connection.register(id).unwrap());
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3)
            .map(|id| {
                scope.spawn({
                    let connection = &connection;
                    move || take(connection, id, 9)
                })
            })
            .collect();
        // The last of them is not whole, and is none.
        there.write_all((done(0, 7) + "{\"id\":1,\"done\":{\"rows\":").as_bytes()).unwrap();
        there.shutdown(std::net::Shutdown::Both).unwrap();
        let told: Vec<_> = waiting.into_iter().map(|waited| waited.join().unwrap()).collect();
        assert_eq!(told, [vec![7], vec![], vec![]]);
    });
    assert!(connection.register(4).is_err());
    thread.join().unwrap();

    let (connection, there, thread) = pair();
    assert!(!connection.is_gone());
    drop(there);
    assert!(connection.is_gone());
    thread.join().unwrap();
}

#[test]
fn who_reads_ends_when_it_is_cancelled_and_another_one_reads_on() {
    let (connection, mut there, thread) = pair();
    connection.register(1).unwrap();
    connection.register(2).unwrap();
    thread::scope(|scope| {
        let cancel = Cancel::new();
        let first = scope.spawn({
            let (connection, cancel) = (&connection, cancel.clone());
            move || connection.next(1, &cancel).map(drop)
        });
        thread::sleep(Duration::from_millis(50));
        let second = scope.spawn({
            let connection = &connection;
            move || take(connection, 2, 1)
        });
        let began = Instant::now();
        cancel.cancel();
        assert!(first.join().unwrap().is_err());
        // It had its moment to be answered.
        assert!(began.elapsed() >= Duration::from_secs(2));
        there.write_all(done(2, 5).as_bytes()).unwrap();
        assert_eq!(second.join().unwrap(), [5]);
    });
    connection.close();
    thread.join().unwrap();
}
