//! A database that is asked over HTTP, as `docs/guide/http.md` tells it: what is asked is answered, who may not ask is not, and nobody who asks
//! badly holds up another.
#![cfg(all(unix, feature = "shell"))]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const TOKEN: &str = "0123456789abcdef-secret";

/// A program that serves a database.
struct Serving {
    program: Child,
    address: SocketAddr,
}

fn bygone(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.current_dir(folder.path()).env("HTTP_TOKEN", TOKEN).stdin(Stdio::null());
    command
}

impl Serving {
    fn begin(folder: &TempDir, arguments: &[&str]) -> Serving {
        let mut program = bygone(folder)
            .args(["serve", "a.bygone", "--http", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(program.stderr.take().unwrap()).lines().map(Result::unwrap);
        let line = told.find(|line| line.contains("serving at")).expect("where it serves");
        let address = line.split("http://").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
        // What else it says is taken, so that it never waits for that.
        std::thread::spawn(move || told.for_each(drop));
        Serving { program, address }
    }

    fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // Who is refused early may not take all of it.
        let _ = stream.write_all(request.as_bytes());
        stream
    }

    fn ask(&self, request: &str) -> Answer {
        Answer::read(self.connect(request))
    }

    /// Sends a body to `/query`.
    fn query(&self, content: &str, body: &str) -> Answer {
        let length = body.len();
        self.ask(&format!(
            "POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn text(&self, statements: &str) -> Answer {
        self.query("text/plain", statements)
    }

    fn events(&self, asked: &str, headers: &str) -> EventSource {
        let stream =
            self.connect(&format!("GET /events?{asked} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), "{head}");
        EventSource { lines, text: String::new() }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What is answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Answer {
        let mut bytes = Vec::new();
        // A connection that is reset has said what it had to say.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let chunked = head.contains("\r\nTransfer-Encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Answer { status, head: format!("{head}\r\n"), body }
    }

    fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The pieces of a body, which has to have an end.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    if rest.is_empty() {
        // That of an answer to HEAD.
        return body;
    }
    loop {
        let (size, behind) = rest.split_once("\r\n").expect("the size of a piece");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(behind, "\r\n");
            return body;
        }
        body.push_str(&behind[..size]);
        rest = behind[size..].strip_prefix("\r\n").unwrap();
    }
}

/// An event stream, as it comes: what is between the sizes of pieces.
struct EventSource {
    lines: BufReader<TcpStream>,
    text: String,
}

impl EventSource {
    /// The next event: id, name and data.
    fn next(&mut self) -> (String, String, Value) {
        let (mut id, mut name, mut data) = (String::new(), "message".to_owned(), String::new());
        loop {
            while !self.text.contains('\n') {
                let mut size = String::new();
                self.lines.read_line(&mut size).unwrap();
                let size = usize::from_str_radix(size.trim(), 16).expect("the size of a piece");
                let mut piece = vec![0; size + 2];
                self.lines.read_exact(&mut piece).unwrap();
                self.text.push_str(std::str::from_utf8(&piece[..size]).unwrap());
            }
            let (line, rest) = self.text.split_once('\n').unwrap();
            let (line, rest) = (line.to_owned(), rest.to_owned());
            self.text = rest;
            match line.split_once(": ") {
                Some(("id", value)) => id = value.to_owned(),
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => data = value.to_owned(),
                _ if line.is_empty() && !data.is_empty() => {
                    return (id, name, serde_json::from_str(&data).unwrap());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn statements_are_answered_by_lines_of_the_protocol() {
    let folder = TempDir::new().unwrap();
    let serving = Serving::begin(&folder, &[]);
    let body = json!({
        "statement": "EMIT Order.created $order {total: $total}", "params": {"order": 42, "total": 10},
        "actor": "User ann", "timeLimit": 60, "hints": true
    });
    let emitted = serving.query("application/json; charset=UTF-8", &body.to_string());
    assert_eq!(emitted.status, 200, "{emitted:?}");
    assert!(emitted.head.contains("\r\nContent-Type: application/x-ndjson\r\n"), "{}", emitted.head);
    let lines = emitted.lines();
    assert_eq!(lines[0], json!({"statement": 1}));
    assert_eq!(lines[1]["row"]["actor"], json!({"type": "User", "id": "ann"}));
    assert_eq!(lines[2], json!({"done": {"statements": 1, "rows": 1, "position": 1}}));
    assert_eq!(lines.len(), 3);

    let several = serving.text("EVENTS 'Order.*';\nEMIT Order.created 42 EXPECT NEW");
    assert_eq!(several.status, 200, "it failed behind a row");
    let lines = several.lines();
    assert_eq!(lines[1]["kind"], "event");
    let error = &lines.last().unwrap()["error"];
    assert_eq!((&error["kind"], &error["statement"]), (&json!("conflict"), &json!(2)));

    for (statement, status, kind) in [
        ("EVNTS", 400, "syntax"),
        ("", 400, "syntax"),
        ("EVENTS WHERE data.total > $x", 400, "syntax"),
        ("EMIT Order.created 42 EXPECT NEW", 409, "conflict"),
        ("AT Order 42 #99", 409, "beyondHead"),
    ] {
        let answer = serving.text(statement);
        assert_eq!(answer.status, status, "{statement} {answer:?}");
        assert!(answer.head.contains("\r\nContent-Type: application/json\r\n"), "{}", answer.head);
        assert_eq!(answer.lines()[0]["error"]["kind"], kind, "{statement} {answer:?}");
    }
    for (body, status) in [
        ("[]", 400),
        ("{", 400),
        (r#"{"statement":1}"#, 400),
        (r#"{"statement":"EVENTS","more":1}"#, 400),
        (r#"{"statement":"EVENTS","id":1}"#, 400),
        (r#"{"statement":"EVENTS","credits":1}"#, 400),
        (r#"{"append":[]}"#, 400),
        (r#"{"cancel":1}"#, 400),
        (r#"{"text":"a"}"#, 400),
        (r#"{"statement":"EMIT Order.paid 1","readOnly":true}"#, 503),
        (r#"{"statement":"EVENTS","readOnly":true,"allowUnused":true,"params":{"a":1}}"#, 200),
    ] {
        let answer = serving.query("application/json", body);
        assert_eq!(answer.status, status, "{body} {answer:?}");
    }
    // HTTP/1.0 has no pieces.
    let answer = serving.ask("POST /query HTTP/1.0\r\nContent-Length: 6\r\n\r\nEVENTS");
    assert!(answer.status == 200 && !answer.head.contains("chunked"), "{answer:?}");
    assert_eq!(answer.lines().len(), 3);
}

#[test]
fn bodies_come_in_any_pieces() {
    let folder = TempDir::new().unwrap();
    let serving = Serving::begin(&folder, &[]);
    let head = "POST /query HTTP/1.1\r\nHost: localhost\r\n";
    let chunks = "7;a=b\r\nEMIT Or\r\n10\r\nder.created 1   \r\n0\r\nTrailer: x\r\n\r\n";
    let whole = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}");
    assert_eq!(serving.ask(&whole).status, 200);
    let mut dripping = serving.connect("");
    for byte in whole.bytes() {
        dripping.write_all(&[byte]).unwrap();
    }
    assert_eq!(Answer::read(dripping).status, 200);
    for wrong in ["x\r\n", "2\r\nabc\r\n0\r\n\r\n", "99999999999999999\r\n", &"1".repeat(2000)] {
        let answer = serving.ask(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{wrong}"));
        assert!(matches!(answer.status, 400 | 413), "{wrong:.20}: {answer:?}");
    }

    // Who waits to be told that it may send is told.
    let mut waiting = serving.connect(&format!("{head}Content-Length: 20\r\nExpect: 100-continue\r\n\r\n"));
    let mut told = [0; 25];
    waiting.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    waiting.write_all(b"EMIT Order.created 2").unwrap();
    assert_eq!(Answer::read(waiting).status, 200);
    // Or told that it may not.
    let large =
        serving.ask(&format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", (32 << 20) + 1));
    assert_eq!((large.status, large.body.as_str()), (413, "the body of a request has at most 32 MiB\n"));
    let long = format!("EMIT Order.noted 3 {{text: '{}'}}", "x".repeat(8 << 20));
    assert_eq!(serving.text(&long).status, 200);
    let longer = serving.text(&" ".repeat((16 << 20) + 1));
    assert!(longer.status == 400 && longer.body.contains("a text of statements"), "{longer:?}");
    assert_eq!(serving.text("EVENTS").lines().last().unwrap()["done"]["position"], 4);
}

#[test]
fn who_asks_badly_is_refused() {
    let folder = TempDir::new().unwrap();
    let serving = Serving::begin(&folder, &[]);
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let query = "POST /query HTTP/1.1\r\nHost: localhost\r\n";
    for (request, status, allow) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, ""),
        ("GET / HTTP/1.0\r\n\r\n", 200, ""),
        ("GET http://localhost:1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, ""),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 403, ""),
        ("GET / HTTP/1.1\r\n\r\n", 400, ""),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400, ""),
        ("GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, ""),
        ("GET /query/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, ""),
        ("GET /query HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "POST"),
        ("PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "GET, HEAD"),
        ("OPTIONS /query HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "POST"),
        ("POST /events HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "GET, HEAD"),
        ("GET /events?from=soon HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, ""),
        ("GET /events?wher=true HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, ""),
        ("GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: x\r\n\r\n", 400, ""),
        ("GET /events?from=99 HTTP/1.1\r\nHost: localhost\r\n\r\n", 409, ""),
        (&format!("{query}Content-Length: x\r\n\r\n"), 400, ""),
        (&format!("{query}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, ""),
        (&format!("{query}Transfer-Encoding: gzip\r\n\r\n"), 501, ""),
        (&format!("{query}Content-Type: application/x-www-form-urlencoded\r\n\r\n"), 415, ""),
        (&format!("{query}Content-Type: text/plain; charset=latin1\r\n\r\n"), 415, ""),
        ("\x16\x03\x01\x02\r\n\r\n", 400, ""),
        (&large, 431, ""),
    ] {
        let answer = serving.ask(request);
        assert_eq!(answer.status, status, "{request:.90}: {answer:?}");
        assert!(answer.head.contains("\r\nConnection: close\r\n"), "{answer:?}");
        let allowed = answer.head.split("\r\nAllow: ").nth(1).map_or("", |rest| rest.lines().next().unwrap());
        assert_eq!(allowed, allow, "{answer:?}");
        assert!(!answer.head.contains("Access-Control"), "{answer:?}");
    }
    // No answer to HEAD has a body.
    for (path, status) in
        [("/", 200), ("/events", 200), ("/events?from=soon", 400), ("/query", 405), ("/x", 404)]
    {
        let answer = serving.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(answer.status == status && answer.body.is_empty(), "{path} {answer:?}");
    }
}

#[test]
fn a_page_from_elsewhere_is_refused() {
    let folder = TempDir::new().unwrap();
    let serving = Serving::begin(&folder, &[]);
    let port = serving.address.port();
    let here = format!("http://127.0.0.1:{port}");
    let other_port = format!("http://127.0.0.1:{}", port ^ 1);
    for (host, headers, allowed) in [
        ("localhost", String::new(), true),
        ("127.0.0.1", String::new(), true),
        ("[::1]", String::new(), true),
        // A name that somebody made to point here.
        ("evil.example", String::new(), false),
        ("localhost.evil.example", String::new(), false),
        ("127.0.0.1", format!("Origin: {here}\r\nSec-Fetch-Site: same-origin\r\n"), true),
        ("127.0.0.1", "Sec-Fetch-Site: none\r\n".to_owned(), true),
        ("127.0.0.1", "Origin: http://evil.example\r\n".to_owned(), false),
        ("127.0.0.1", "Origin: null\r\n".to_owned(), false),
        ("127.0.0.1", format!("Origin: {other_port}\r\n"), false),
        ("127.0.0.1", format!("Origin: {}\r\n", here.replace("http", "https")), false),
        ("127.0.0.1", "Sec-Fetch-Site: cross-site\r\n".to_owned(), false),
        ("127.0.0.1", "Sec-Fetch-Site: same-site\r\n".to_owned(), false),
    ] {
        let statement = "EMIT Order.created 1";
        let answer = serving.ask(&format!(
            "POST /query HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{statement}",
            statement.len()
        ));
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{host} {headers} {answer:?}");
    }
    assert_eq!(serving.text("EVENTS").lines().last().unwrap()["done"]["position"], 5);
}

#[test]
fn only_who_has_the_token_may_ask_where_there_is_one() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("token.txt"), format!("{TOKEN}\n")).unwrap();
    for token in ["env:HTTP_TOKEN", "file:token.txt"] {
        let serving = Serving::begin(&folder, &["--token", token]);
        for (headers, status) in [
            (format!("Authorization: Bearer {TOKEN}\r\n"), 200),
            (format!("authorization: bearer {TOKEN}\r\n"), 200),
            // It lets any name pass: no page can have a browser send it.
            (format!("Authorization: Bearer {TOKEN}\r\nOrigin: https://shop.example\r\n"), 200),
            (String::new(), 401),
            ("Authorization: Bearer\r\n".to_owned(), 401),
            (format!("Authorization: Basic {TOKEN}\r\n"), 401),
            (format!("Authorization: Bearer {TOKEN}x\r\n"), 401),
            (format!("Authorization: Bearer {}\r\n", &TOKEN[1..]), 401),
        ] {
            for path in ["/", "/none"] {
                let answer =
                    serving.ask(&format!("GET {path} HTTP/1.1\r\nHost: db.example\r\n{headers}\r\n"));
                let status = if status == 200 && path != "/" { 404 } else { status };
                assert_eq!(answer.status, status, "{headers} {answer:?}");
                assert_eq!(answer.head.contains("\r\nWWW-Authenticate: Bearer\r\n"), status == 401);
            }
        }
    }
    for (arguments, said) in [
        (&["--http", "0.0.0.0:0"][..], "whoever does has the database; --token says"),
        (&["--http", "[::]:0"], "whoever does has the database; --token says"),
        (&["--http", "127.0.0.1:0", "--token", TOKEN], "env:NAME or file:PATH says where the token is"),
        (&["--http", "127.0.0.1:0", "--token", "env:NO_SUCH_TOKEN"], "there is no variable NO_SUCH_TOKEN"),
        (&["--http", "127.0.0.1:0", "--token", "file:none.txt"], "reading none.txt"),
        (&["--http", "127.0.0.1:0", "--token", "env:SHORT_TOKEN"], "at least 16 visible characters"),
        (&["--http", "127.0.0.1:0", "--stdio"], "cannot be used with"),
        (&["--stdio", "--token", "env:HTTP_TOKEN"], "cannot be used with"),
        (&["--http", "localhost:8080"], "an address and a port"),
        (&[], "<--stdio|--http <ADDRESS>>"),
    ] {
        let run =
            bygone(&folder).env("SHORT_TOKEN", "short").args(["serve", "b.bygone"]).args(arguments).output();
        let run = run.unwrap();
        let errors = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(2), "{arguments:?} {errors}");
        assert!(errors.contains(said) && !errors.contains(TOKEN), "{arguments:?} {errors}");
        assert!(!folder.path().join("b.bygone").exists(), "{arguments:?}");
    }
}

#[test]
fn events_come_as_they_are_appended_and_go_on_where_they_were() {
    let folder = TempDir::new().unwrap();
    let serving = Serving::begin(&folder, &[]);
    serving.text("EMIT Order.created 1 {total: 5}; EMIT Order.created 2 {total: 15, note: 'a\nb'}; EMIT Stock.counted 1");
    let mut all = serving.events("pattern=Order.*&from=START", "");
    let (id, name, data) = all.next();
    assert_eq!((id.as_str(), name.as_str()), ("1", "message"));
    assert_eq!((&data["type"], &data["position"]), (&json!("Order.created"), &json!(1)));
    assert_eq!(all.next().2["data"]["note"], "a\nb");
    assert_eq!(all.next(), ("3".to_owned(), "caughtUp".to_owned(), json!({"position": 3})));

    let mut large = serving.events("from=START&where=data.total+%3E+10", "");
    assert_eq!(large.next().0, "2");
    let mut rest = serving.events("from=START", "Last-Event-ID: 2\r\n");
    assert_eq!(rest.next().2["type"], "Stock.counted");
    let mut behind = serving.events("from=%232", "");
    assert_eq!(behind.next().0, "3");
    let mut new = serving.events("", "");
    assert_eq!(new.next().1, "caughtUp");

    serving.text("EMIT Order.paid 2");
    assert_eq!(all.next().2["type"], "Order.paid");
    assert_eq!(new.next().0, "4");
    // By `/query` they come, too, as lines.
    let mut lines = BufReader::new(serving.connect(
        "POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 26\r\n\r\nSUBSCRIBE '*' FROM #3     ",
    ));
    let mut text = String::new();
    while !text.contains(r#"{"mark":"caughtUp","position":4}"#) {
        assert!(lines.read_line(&mut text).unwrap() > 0, "{text}");
    }
    assert!(text.contains(r#""type":"Order.paid""#), "{text}");
}

#[test]
fn nothing_is_written_where_it_is_served_for_reading() {
    let folder = TempDir::new().unwrap();
    assert!(bygone(&folder).args(["a.bygone", "EMIT Order.created 1"]).output().unwrap().status.success());
    for option in ["--read-only", "--share-read-only"] {
        let serving = Serving::begin(&folder, &[option]);
        for statement in
            ["EMIT Order.paid 1", "EVENTS; EMIT Order.paid 1", "SUBSCRIBE '*' AS mine", "CHECKPOINT"]
        {
            let answer = serving.text(statement);
            assert_eq!(answer.status, 403, "{option} {statement} {answer:?}");
        }
        assert_eq!(serving.text("EVENTS").lines().last().unwrap()["done"]["position"], 1, "{option}");
        assert_eq!(serving.events("from=START", "").next().0, "1");
    }
}

#[test]
fn a_database_that_another_process_has_open_is_asked_there() {
    let folder = TempDir::new().unwrap();
    let mut holder = bygone(&folder)
        .args(["serve", "a.bygone", "--stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut hello = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut hello).unwrap();
    let serving = Serving::begin(&folder, &[]);
    let reading = Serving::begin(&folder, &["--read-only"]);
    let mut events = serving.events("from=START", "");
    assert_eq!(events.next().1, "caughtUp");
    let emitted = serving.text("EMIT Order.created 1");
    assert_eq!((emitted.status, emitted.lines().len()), (200, 3), "{emitted:?}");
    assert_eq!(events.next().0, "1");
    assert_eq!(serving.text("EMIT Order.created 1 EXPECT NEW").status, 409);
    assert_eq!(reading.text("EMIT Order.created 1").status, 403);
    assert_eq!(reading.text("EVENTS").lines().len(), 3);
    // Where that one goes, the program that asks it goes on, and says so.
    holder.kill().unwrap();
    holder.wait().unwrap();
    let answer = serving.text("EVENTS");
    assert!(matches!(answer.status, 500 | 503) && answer.body.contains("\"error\""), "{answer:?}");
}

#[test]
fn who_is_slow_holds_up_nobody_and_a_signal_ends_it_at_once() {
    let folder = TempDir::new().unwrap();
    let mut serving = Serving::begin(&folder, &[]);
    let slow = serving.connect("POST /quer");
    let began = Instant::now();
    assert_eq!(serving.text("EVENTS").status, 200);
    assert!(began.elapsed() < Duration::from_secs(4), "another waited for {:?}", began.elapsed());
    assert_eq!(Answer::read(slow).status, 408);
    // More than are answered at a time: they are turned away, and when they are gone, there is room again.
    let streams: Vec<EventSource> = (0..64).map(|_| serving.events("", "")).collect();
    let turned_away = serving.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(matches!(turned_away.status, 0 | 503), "{turned_away:?}");
    drop(streams);
    let until = Instant::now() + Duration::from_secs(30);
    while serving.text("EVENTS").status != 200 {
        assert!(Instant::now() < until, "there is never room again");
        std::thread::sleep(Duration::from_millis(20));
    }

    let mut open = serving.events("from=START", "");
    open.next();
    let began = Instant::now();
    let interrupted =
        Command::new("kill").args(["-INT", &serving.program.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(serving.program.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
}

/// What everybody has at hand, where it is there.
#[test]
fn curl_asks_it() {
    let folder = TempDir::new().unwrap();
    let serving = Serving::begin(&folder, &[]);
    let url = |path: &str| format!("http://{}{path}", serving.address);
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments);
        curl.output().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let json = ["-H", "Content-Type: application/json", "--data-binary"];
    let body = r#"{"statement":"EMIT Order.created $order","params":{"order":42}}"#;
    let Ok(emitted) = curl(&[&json[..], &[body, &url("/query")]].concat()) else {
        eprintln!("skipped, there is no curl");
        return;
    };
    assert!(emitted.ends_with("{\"done\":{\"statements\":1,\"rows\":1,\"position\":1}}\n"), "{emitted}");
    let text = ["-H", "Content-Type: text/plain", "-H", "Transfer-Encoding: chunked", "--data-binary"];
    let found = curl(&[&text[..], &["EVENTS", &url("/query")]].concat()).unwrap();
    assert_eq!(found.lines().count(), 3, "{found}");
    // What is longer than it sends unasked.
    let long = folder.path().join("long.txt");
    fs::write(&long, format!("EMIT Order.noted 1 {{text: '{}'}}", "x".repeat(3 << 20))).unwrap();
    let long = format!("@{}", long.display());
    let noted = curl(&["-H", "Content-Type: text/plain", "--data-binary", &long, &url("/query")]).unwrap();
    assert!(noted.contains("\"position\":2"), "{noted:.80}");
    let head = curl(&["--head", &url("/events")]).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let status = curl(&["--data", "EVENTS", "--write-out", "%{http_code}", &url("/query")]).unwrap();
    assert!(status.ends_with("415"), "{status}");
}
