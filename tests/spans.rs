//! Spans, with the feature `tracing`: who listens is told of the work by its positions and counts, and of no data of events.
#![cfg(feature = "tracing")]

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bygone::{Db, Options};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Every span that was opened, as a line: its name and its fields.
static SPANS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn spans() -> Vec<String> {
    SPANS.lock().unwrap().clone()
}

/// Keeps what it is told. The number of a span is its place in that, counted from 1.
struct Kept(AtomicU64);

struct Line<'l>(&'l mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "bygone"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        assert_eq!(*span.metadata().level(), Level::DEBUG);
        let mut line = span.metadata().name().to_owned();
        span.record(&mut Line(&mut line));
        let mut spans = SPANS.lock().unwrap();
        spans.push(line);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut SPANS.lock().unwrap()[span.into_u64() as usize - 1]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn exit(&self, _: &Id) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Takes one request, and has it.
fn take_one() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        for line in request.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()) {
            let line = line.to_ascii_lowercase();
            if let Some(told) = line.strip_prefix("content-length: ") {
                length = told.parse().unwrap();
            }
        }
        std::io::copy(&mut request.take(length), &mut std::io::sink()).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    address
}

fn wait_for(line: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while !spans().iter().any(|span| span == line) {
        assert!(Instant::now() < until, "no {line} in\n{}", spans().join("\n"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn work_is_told_of_and_data_is_not() {
    tracing::subscriber::set_global_default(Kept(AtomicU64::new(0))).unwrap();
    let db: Db = Options::new().live(true).in_memory().unwrap();
    db.query("DEFINE REACTION thank ON 'Order.paid' DO EMIT Mail.requested (target.id)").unwrap();
    db.query("EMIT Order.paid confidential {amount: 'confidential'} KEY 'confidential'").unwrap();
    db.query("EVENTS WHERE data.amount = 'confidential'").unwrap().rows.for_each(drop);
    for line in ["statement kind=\"define\"", "statement kind=\"events\"", "sync position=2"] {
        wait_for(line);
    }
    wait_for("reaction name=\"thank\" position=2 attempt=1");
    if cfg!(feature = "webhooks") {
        db.query(&format!("DEFINE WEBHOOK tell ON 'Order.sent' TO 'http://{}/x'", take_one())).unwrap();
        db.query("EMIT Order.sent confidential").unwrap();
        let sent = db.head();
        wait_for(&format!("webhook name=\"tell\" position={} attempt=1", sent.0));
    }
    db.query("CHECKPOINT").unwrap();
    wait_for(&format!("checkpoint position={}", db.head().0));
    db.close().unwrap();
    let spans = spans();
    let commits: Vec<&String> = spans.iter().filter(|span| span.starts_with("commit ")).collect();
    let is_whole =
        |span: &&String| span.starts_with("commit groups=1 events=1 bytes=") && span.ends_with(" position=2");
    assert_eq!(commits.iter().filter(|span| is_whole(span)).count(), 1, "{commits:?}");
    assert!(spans.iter().all(|span| !span.contains("confidential")), "{spans:?}");
}
