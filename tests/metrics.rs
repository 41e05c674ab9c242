//! What the program tells of itself at `/metrics`: it is what the format and the guide say, and nobody who asks badly holds up another.
#![cfg(all(unix, feature = "shell"))]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A program that runs a database and tells of it.
struct Running {
    program: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Running {
    /// With these statements run, each answered.
    fn begin(statements: &[&str]) -> Running {
        let folder = TempDir::new().unwrap();
        let bygone = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
            command.current_dir(folder.path());
            command
        };
        assert!(bygone().args(["a.bygone", "EMIT Order.created 1"]).output().unwrap().status.success());
        let mut program = bygone()
            .args(["run", "a.bygone", "--format", "json", "--metrics", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(program.stderr.take().unwrap()).lines().map(Result::unwrap);
        let line = told.find(|line| line.contains("metrics are at")).expect("where metrics are");
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        // What else it says is taken, so that it never waits for that.
        std::thread::spawn(move || told.for_each(drop));
        let mut input = program.stdin.take().unwrap();
        for statement in statements {
            writeln!(input, "{statement};").unwrap();
        }
        Running { program, address, _folder: folder }
    }

    fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // Who is refused early may not take all of it.
        let _ = stream.write_all(request.as_bytes());
        answer(stream)
    }

    fn get(&self) -> String {
        let (head, body) = self.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        body
    }

    /// The exposition, once something holds of it.
    fn wait_for(&self, holds: impl Fn(&Exposition) -> bool) -> Exposition {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let text = self.get();
            let found = Exposition::parse(&text);
            if holds(&found) {
                return found;
            }
            assert!(Instant::now() < until, "{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Head and body of what comes.
fn answer(mut stream: TcpStream) -> (String, String) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut bytes = Vec::new();
    // A connection that is reset has said what it had to say.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    (format!("{head}\r\n"), body.to_owned())
}

type Labels = BTreeMap<String, String>;

/// The text format, read as strictly as its description has it: independent of what writes it.
#[derive(Debug, Default)]
struct Exposition {
    /// Name, type, help, in order.
    families: Vec<(String, String, String)>,
    samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    fn parse(text: &str) -> Exposition {
        assert!(text.ends_with('\n'), "the last line has an end, too");
        let mut found = Exposition::default();
        let mut help: Option<(String, String)> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').expect("a name and a text");
                help = Some((name.to_owned(), text.to_owned()));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                let (helped, help) = help.take().expect("HELP before TYPE");
                assert_eq!(helped, name);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(found.families.iter().all(|(other, ..)| other != name), "{name} twice");
                found.families.push((name.to_owned(), kind.to_owned(), help));
            } else {
                let sample = sample(line);
                let (name, kind, _) = found.families.last().expect("a sample behind its type");
                let suffixes: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.iter().any(|suffix| sample.0 == format!("{name}{suffix}")), "{line}");
                let twice =
                    found.samples.iter().any(|(name, labels, _)| (name, labels) == (&sample.0, &sample.1));
                assert!(!twice, "{line} twice");
                found.samples.push(sample);
            }
        }
        found
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |of: &Labels| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|v| v == value));
        self.samples.iter().find(|(other, of, _)| other == name && has(of)).map(|(.., value)| *value)
    }

    /// Buckets grow, the last is all there are, and there is a sum.
    fn check_histograms(&self) {
        let mut seen = 0;
        for (name, ..) in self.families.iter().filter(|(_, kind, _)| kind == "histogram") {
            let counts = self.samples.iter().filter(|(other, ..)| *other == format!("{name}_count"));
            for (_, labels, count) in counts {
                let of = |labels: &Labels| -> Labels {
                    labels
                        .iter()
                        .filter(|(name, _)| *name != "le")
                        .map(|(n, v)| (n.clone(), v.clone()))
                        .collect()
                };
                let buckets: Vec<(&str, f64)> = self
                    .samples
                    .iter()
                    .filter(|(other, within, _)| *other == format!("{name}_bucket") && of(within) == *labels)
                    .map(|(_, within, value)| (within["le"].as_str(), *value))
                    .collect();
                assert!(buckets.is_sorted_by(|(_, a), (_, b)| a <= b), "{name} {buckets:?}");
                let bounds: Vec<f64> =
                    buckets.iter().map(|(le, _)| le.replace("+Inf", "inf").parse().unwrap()).collect();
                assert!(bounds.is_sorted_by(|a, b| a < b), "{name} {bounds:?}");
                assert_eq!(buckets.last(), Some(&("+Inf", *count)), "{name}");
                let sum = self
                    .samples
                    .iter()
                    .find(|(other, within, _)| *other == format!("{name}_sum") && within == labels);
                assert!(sum.is_some_and(|(.., sum)| *sum >= 0.0 && (*sum > 0.0) == (*count > 0.0)), "{name}");
                seen += 1;
            }
        }
        assert!(seen > 3, "{seen} histograms");
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> (String, Labels, f64) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = line.find(|c| !is_name(c)).expect("something behind a name");
    let (name, mut rest) = line.split_at(end);
    assert!(name.starts_with("bygone_"), "{line}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, behind) = rest.split_once("=\"").expect("a label and its value");
            assert!(!label.is_empty() && label.chars().all(is_name), "{line}");
            let (mut value, mut chars) = (String::new(), behind.char_indices());
            let end = loop {
                match chars.next().expect("a value has an end") {
                    (at, '"') => break at + 1,
                    (_, '\\') => value.push(match chars.next().expect("what is escaped").1 {
                        'n' => '\n',
                        c @ ('"' | '\\') => c,
                        c => panic!("\\{c} in {line}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &behind[end..];
            match rest.split_at(1) {
                (",", more) => rest = more,
                ("}", more) => break rest = more,
                _ => panic!("{line}"),
            }
        }
    }
    let number = rest.strip_prefix(' ').expect("a space before the number");
    (name.to_owned(), labels, number.parse().unwrap_or_else(|_| panic!("{line}")))
}

#[test]
fn what_is_told_is_what_happened_and_what_the_guide_says() {
    let running = Running::begin(&[
        "DEFINE REACTION `thank \"you\" \\\\o/` ON 'Order.paid' DO EMIT Mail.requested (target.id)",
        "EMIT Order.paid 1",
        "EMIT Order.paid 2 KEY 'k'",
        "EMIT Order.paid 2 KEY 'k'",
        "EMIT Order.paid 2 EXPECT NEW",
        "EVENTS 'Order.*'",
        "NONSENSE",
        "CHECKPOINT",
        "SUBSCRIBE 'Order.*' AS billing FROM START UNTIL NOW",
    ]);
    let found = running.wait_for(|found| {
        found.value("bygone_program_done_total", &[("kind", "reaction")]) == Some(2.0)
            && found.value("bygone_statements_total", &[("kind", "subscribe")]) == Some(1.0)
            && found.value("bygone_follower_lag_events", &[("kind", "subscription")]).is_some()
    });
    found.check_histograms();
    for (name, labels, expected) in [
        // The definition, two orders, two mails.
        ("bygone_events_total", &[][..], 5.0),
        ("bygone_appends_total", &[("outcome", "recorded")], 5.0),
        ("bygone_appends_total", &[("outcome", "repeated")], 1.0),
        ("bygone_appends_total", &[("outcome", "refused")], 1.0),
        ("bygone_head_position", &[], 6.0),
        ("bygone_synced_position", &[], 6.0),
        ("bygone_definitions", &[], 1.0),
        ("bygone_statements_total", &[("kind", "emit")], 4.0),
        ("bygone_statement_duration_seconds_count", &[("kind", "events")], 1.0),
        ("bygone_statement_errors_total", &[("error", "conflict")], 1.0),
        ("bygone_statement_errors_total", &[("error", "syntax")], 1.0),
        ("bygone_checkpoint_duration_seconds_count", &[], 1.0),
        ("bygone_subscriptions_total", &[], 1.0),
    ] {
        assert_eq!(found.value(name, labels), Some(expected), "{name} {labels:?}");
    }
    let started = found.value("bygone_start_time_seconds", &[]).unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 600.0..=now + 1.0).contains(&started), "{started} by {now}");
    assert!(found.value("bygone_file_bytes", &[]).unwrap() > 4096.0);

    // Each with its type, its labels and its words, in the same order.
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let shown: Vec<&str> = page.lines().filter(|line| line.starts_with("| `bygone_")).collect();
    let given = found.families.iter().map(|(name, kind, help)| {
        let of_it = found.samples.iter().filter(|(other, ..)| other.starts_with(name.as_str()));
        let labels = of_it.flat_map(|(_, labels, _)| labels.keys().cloned());
        let labels: std::collections::BTreeSet<String> = labels.filter(|label| label != "le").collect();
        let labels: Vec<String> = labels.into_iter().map(|label| format!("`{label}` ")).collect();
        format!("| `{name}` | {kind} | {}| {help} |", labels.join("").replace("` `", "`, `"))
    });
    assert_eq!(shown, given.collect::<Vec<_>>());
}

#[test]
fn who_asks_badly_is_refused() {
    let running = Running::begin(&[]);
    let large = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /metrics?a=b HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.0\r\n\r\n", "200"),
        // A client that takes this for a proxy names the host in the path, too: that is to be understood (RFC 9112, section 3.2.2).
        ("GET http://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET HTTP://x:9000/metrics?a=b HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET http://metrics HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "405"),
        ("\x16\x03\x01\x02\r\n\r\n", "400"),
        ("GET /metrics\r\n\r\n", "400"),
        (&large, "431"),
        (&many, "431"),
    ] {
        let (head, _) = running.ask(request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {head}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert_eq!(head.contains("\r\nAllow: GET, HEAD\r\n"), status == "405", "{head}");
    }
    // No answer to HEAD has a body.
    for (request, status) in [
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"),
        ("HEAD /other HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (&large.replace("GET", "HEAD"), "431 Request Header Fields Too Large"),
    ] {
        let (head, body) = running.ask(request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")) && body.is_empty(), "{head}{body}");
        assert!(!head.contains("Content-Length: 0\r\n"), "{head}");
    }
}

#[test]
fn who_is_slow_holds_up_nobody() {
    let running = Running::begin(&[]);
    let mut slow = TcpStream::connect(running.address).unwrap();
    slow.write_all(b"GET /metr").unwrap();
    let began = Instant::now();
    running.get();
    assert!(began.elapsed() < Duration::from_secs(4), "another waited for {:?}", began.elapsed());
    let (head, _) = answer(slow);
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    // More than are answered at a time: they are turned away, and when they are gone, there is room again.
    let waiting: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(running.address).unwrap()).collect();
    drop(waiting);
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let mut stream = TcpStream::connect(running.address).unwrap();
        let _ = stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
        if answer(stream).0.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(Instant::now() < until, "there is never room again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_and_a_signal_ends_it_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut running = Running::begin(&[]);
    let address = taken.local_addr().unwrap().to_string();
    let folder = TempDir::new().unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_bygone"))
        .current_dir(folder.path())
        .args(["a.bygone", "EMIT Order.created 1"])
        .output()
        .and_then(|_| {
            Command::new(env!("CARGO_BIN_EXE_bygone"))
                .current_dir(folder.path())
                .args(["run", "a.bygone", "--until-idle", "--metrics", &address])
                .stdin(Stdio::null())
                .output()
        })
        .unwrap();
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains(&format!("listening for metrics at {address}: Address already in use")),
        "{errors}"
    );

    // Somebody is being waited for.
    let _slow = TcpStream::connect(running.address).unwrap();
    running.get();
    let began = Instant::now();
    let interrupted =
        Command::new("kill").args(["-INT", &running.program.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(running.program.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
}
