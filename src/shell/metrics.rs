//! `--metrics`: what the database tells of itself, over HTTP, for Prometheus and whatever else reads that.
//!
//! There is one thing to get, `/metrics`, and one request to a connection. Each has a thread of its own, of which there are few; who is slow
//! loses the connection after a while, and holds up nobody else.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bygone::Db;

use super::failure::CommandFailure;

/// How many bytes the head of a request may have.
const MAX_HEAD: usize = 8 << 10;

/// How many headers it may have.
const MAX_HEADERS: usize = 64;

/// How many are answered at a time. More are turned away.
const MAX_CONNECTIONS: usize = 16;

/// How long a connection lasts, from the first byte that is waited for to the last that is taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// After an error of the system, like too many open files, it takes so long until the next connection is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at an address, until the program ends. Gives the address, with its port where any was asked for.
pub fn serve(address: SocketAddr, db: &Db) -> Result<SocketAddr, CommandFailure> {
    let failed = |source| CommandFailure::Io { doing: format!("listening for metrics at {address}"), source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let db = db.clone();
    let thread = thread::Builder::new().name("bygone-metrics".to_owned());
    thread.spawn(move || accept(&listener, &db)).map_err(failed)?;
    Ok(bound)
}

fn accept(listener: &TcpListener, db: &Db) {
    let open = Arc::new(());
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let (db, held) = (db.clone(), open.clone());
        // The listener has one, too.
        if Arc::strong_count(&open) > MAX_CONNECTIONS + 1 {
            continue;
        }
        let answer = move || {
            // Who has gone has no use for an answer.
            let _ = Connection::new(stream).answer(&db);
            drop(held);
        };
        // Where there is no thread to be had, the connection is closed.
        let _ = thread::Builder::new().name("bygone-metrics".to_owned()).spawn(answer);
    }
}

/// What is answered.
struct Response {
    status: &'static str,
    /// In front of the others.
    header: &'static str,
    body: String,
    /// `HEAD`: the length of the body is told, and the body is not.
    head_only: bool,
}

impl Response {
    fn error(status: &'static str, body: &str) -> Response {
        Response { status, header: "", body: format!("{body}\n"), head_only: false }
    }
}

/// What came of the head of a request.
enum Head {
    /// It is whole: what it asks for.
    Asks(Response),
    /// More of it is to come.
    Partial,
}

struct Connection {
    stream: TcpStream,
    until: Instant,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        Connection { stream, until: Instant::now() + PATIENCE }
    }

    fn answer(mut self, db: &Db) -> io::Result<()> {
        let Some(response) = self.read(db)? else { return Ok(()) };
        self.write(&response)?;
        // What was sent and not read would have the system throw away the answer: it is read to its end, within limits.
        self.stream.shutdown(Shutdown::Write)?;
        let (mut rest, mut scrap) = (8 * MAX_HEAD, [0; 1024]);
        while rest > 0 {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(&mut scrap)? {
                0 => break,
                read => rest = rest.saturating_sub(read),
            }
        }
        Ok(())
    }

    /// How long there is left.
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// What a request is to be answered with; nothing where there was none.
    fn read(&mut self, db: &Db) -> io::Result<Option<Response>> {
        let mut head = Vec::new();
        let mut piece = [0; 1024];
        loop {
            let read = self.left().and_then(|left| {
                self.stream.set_read_timeout(Some(left))?;
                self.stream.read(&mut piece)
            });
            let read = match read {
                Ok(0) => return Ok(None),
                Ok(read) => read,
                Err(error) if is_late(&error) => {
                    // There is a moment for the answer.
                    self.until = Instant::now() + PAUSE;
                    return Ok(Some(Response::error("408 Request Timeout", "the request took too long")));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            head.extend_from_slice(&piece[..read]);
            match parse(&head, db) {
                Head::Asks(response) => return Ok(Some(response)),
                Head::Partial => {}
            }
        }
    }

    fn write(&mut self, response: &Response) -> io::Result<()> {
        let Response { status, header, body, head_only } = response;
        let mut text = format!(
            "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if !head_only {
            text.push_str(body);
        }
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a time limit has passed, by the name that the system has for it.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn too_large() -> Response {
    Response::error("431 Request Header Fields Too Large", "the request is too large")
}

fn parse(head: &[u8], db: &Db) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let response = match request.parse(head) {
        Ok(httparse::Status::Partial) if head.len() <= MAX_HEAD => return Head::Partial,
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => respond(&request, db),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => too_large(),
        Err(_) => Response::error("400 Bad Request", "this is no request of HTTP/1.1"),
    };
    Head::Asks(Response { head_only: request.method == Some("HEAD"), ..response })
}

/// The path that a request is about. Where it names a host in front of it, as for a proxy, that is this one.
fn path<'r>(request: &httparse::Request<'_, 'r>) -> &'r str {
    let target = request.path.unwrap_or_default();
    let target = target.split('?').next().unwrap_or_default();
    match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    }
}

fn respond(request: &httparse::Request, db: &Db) -> Response {
    let has_host = request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("host"));
    if request.version == Some(1) && !has_host {
        return Response::error("400 Bad Request", "a request of HTTP/1.1 has a header Host");
    }
    if path(request) != "/metrics" {
        return Response::error("404 Not Found", "there is /metrics, and nothing else");
    }
    if !matches!(request.method, Some("GET" | "HEAD")) {
        let response = Response::error("405 Method Not Allowed", "/metrics is to be read, by GET");
        return Response { header: "Allow: GET, HEAD\r\n", ..response };
    }
    match db.metrics() {
        Ok(metrics) => Response { status: "200 OK", header: "", body: metrics.to_string(), head_only: false },
        Err(error) => Response::error("503 Service Unavailable", &error.to_string()),
    }
}
