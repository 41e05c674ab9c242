//! What a client takes of time and memory, and what is left of it once it has gone. What is asked and answered is held by `tests/http.rs`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{HttpOptions, HttpServer};
use crate::db::Db;
use crate::event::NewEvent;
use crate::shared_db::SharedDb;
use crate::store::SharedAccess;

fn serve(db: &Db) -> HttpServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SharedDb::from(db.clone()).serve_http(listener, HttpOptions::new(SharedAccess::Full)).unwrap()
}

fn send(server: &HttpServer, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn query(server: &HttpServer, statement: &str) -> String {
    let length = statement.len();
    let request =
        format!("POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{statement}");
    all(send(server, &request))
}

fn events(server: &HttpServer, asked: &str) -> TcpStream {
    send(server, &format!("GET /events?{asked} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// What comes up to the end of the connection.
fn all(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // One that is reset has said what it had to say.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// What comes, up to a text.
fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 1024];
    while !String::from_utf8_lossy(&text).contains(wanted) {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "it ended with {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(text).unwrap()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn open_subscriptions(db: &Db) -> f64 {
    db.metrics().unwrap().value("bygone_subscriptions_open").unwrap_or_default()
}

#[test]
fn who_goes_ends_what_was_asked_for() {
    let db = Db::in_memory().unwrap();
    let server = serve(&db);
    let mut stream = events(&server, "from=START");
    until(&mut stream, "event: caughtUp");
    let mut rows =
        send(&server, "POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\nSUBSCRIBE '*'");
    until(&mut rows, "caughtUp");
    assert_eq!(open_subscriptions(&db), 2.0);
    drop(stream);
    wait_for("a client has gone, and its subscription has not", || open_subscriptions(&db) == 1.0);
    // One that says that it sends no more has gone, too.
    rows.shutdown(Shutdown::Write).unwrap();
    wait_for("a client has gone, and its subscription has not", || open_subscriptions(&db) == 0.0);
}

#[test]
fn who_does_not_read_loses_the_connection_and_holds_up_nobody() {
    let db = Db::in_memory().unwrap();
    let large = "x".repeat(256 << 10);
    for _ in 0..120 {
        db.append(NewEvent::new("Order.noted").member("text", large.as_str())).unwrap();
    }
    let server = serve(&db);
    let sleeper = events(&server, "from=START");
    wait_for("it has not begun", || open_subscriptions(&db) == 1.0);
    let began = Instant::now();
    assert!(query(&server, "EMIT Order.created 1").contains(r#"{"done":"#));
    assert!(began.elapsed() < Duration::from_secs(2));
    wait_for("it is waited for", || open_subscriptions(&db) == 0.0);
    assert!(!all(sleeper).ends_with("0\r\n\r\n"), "what was cut off has no end");
}

#[test]
fn a_comment_keeps_a_silent_stream_alive() {
    let db = Db::in_memory().unwrap();
    let server = serve(&db);
    let mut stream = events(&server, "");
    assert!(until(&mut stream, "\r\n:\n\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    db.append(NewEvent::new("Order.created").on(("Order", 42))).unwrap();
    assert!(until(&mut stream, "\"id\":\"42\"").contains("id: 1\ndata: {\"position\":1,"));
}

#[test]
fn closing_the_database_ends_streams_and_stopping_ends_all() {
    let db = Db::in_memory().unwrap();
    let server = serve(&db);
    let mut stream = events(&server, "from=START");
    until(&mut stream, "caughtUp");
    db.close().unwrap();
    let rest = all(stream);
    assert!(!rest.contains("event: failed") && rest.ends_with("0\r\n\r\n"), "{rest}");
    let answer = query(&server, "EMIT Order.created 1");
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#"{"error":{"kind":"stopped""#),
        "{answer}"
    );

    let db = Db::in_memory().unwrap();
    let server = serve(&db);
    let mut stream = events(&server, "from=START");
    until(&mut stream, "caughtUp");
    let waiting = TcpStream::connect(server.address()).unwrap();
    let began = Instant::now();
    server.stop();
    server.stop();
    server.wait();
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    all(stream);
    all(waiting);
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn bodies_come_in_time_and_within_what_is_held_of_all() {
    let db = Db::in_memory().unwrap();
    let server = serve(&db);
    let head = |length: usize| {
        format!("POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
    };
    let mut half = send(&server, &head(2 << 20));
    half.write_all(&vec![b' '; 700 << 10]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut other = send(&server, &head(2 << 20));
    let _ = other.write_all(&vec![b' '; 700 << 10]);
    let _ = other.shutdown(Shutdown::Write);
    assert!(all(other).starts_with("HTTP/1.1 503 "));
    // Nothing more comes of the first.
    assert!(all(half).starts_with("HTTP/1.1 408 "));
    assert!(query(&server, "EVENTS").starts_with("HTTP/1.1 200 "));
}
