//! A connection: one request, read within a time, and its answer.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::events;
use super::exchange::{self, BodyForm};
use super::guard::too_large;
use super::query;
use super::request::{BodyLength, HttpRequest};
use super::respond::{HttpAction, HttpResponse, action};
use super::stream::{self, send_until};
use super::{DatabaseSite, PAUSE, Site};

/// How long a connection lasts, from the first byte that is waited for to the last that is taken, apart from bodies.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// How many bytes a body may have: a statement of 16 MiB, and as much for its parameters.
pub(super) const MAX_BODY: usize = 32 << 20;

/// How many bytes of bodies are held at a time, of all connections.
const MAX_HELD: usize = if cfg!(test) { 1 << 20 } else { 128 << 20 };

/// How much of what comes behind a request is read to be thrown away.
const MAX_SCRAP: usize = 64 << 20;

/// Who is one too many is told so, and not waited for.
pub(super) fn turn_away(stream: &TcpStream) {
    let response = HttpResponse {
        headers: "Retry-After: 1\r\n",
        ..HttpResponse::refusal("503 Service Unavailable", "too many connections are open; ask again later")
    };
    drop(send_until(stream, &response.bytes(), Instant::now() + PAUSE / 10));
}

/// What of a request cannot be answered.
enum ReadFault {
    /// It is told why.
    Refused(HttpResponse),
    /// There is nobody to tell.
    Gone(io::Error),
}

impl From<HttpResponse> for ReadFault {
    fn from(response: HttpResponse) -> ReadFault {
        ReadFault::Refused(response)
    }
}

/// Bytes of a body that are held.
pub(super) struct HeldBody<'s> {
    all: &'s AtomicUsize,
    bytes: usize,
}

impl<'s> HeldBody<'s> {
    fn none(site: &'s DatabaseSite) -> HeldBody<'s> {
        HeldBody { all: &site.held, bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), HttpResponse> {
        let before = self.all.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        match before + bytes <= MAX_HELD {
            true => Ok(()),
            false => Err(HttpResponse::refusal(
                "503 Service Unavailable",
                "too much is being sent at a time; send this one later",
            )),
        }
    }
}

impl Drop for HeldBody<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

pub(super) struct HttpConnection {
    stream: TcpStream,
    until: Instant,
    /// What was read and belongs to the body.
    rest: Vec<u8>,
}

impl HttpConnection {
    pub fn new(stream: TcpStream) -> HttpConnection {
        HttpConnection { stream, until: Instant::now() + PATIENCE, rest: Vec::new() }
    }

    pub fn answer(mut self, site: &Site) -> io::Result<()> {
        // Small pieces are not to wait for more.
        self.stream.set_nodelay(true)?;
        let request = match self.read_head() {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(ReadFault::Refused(response)) => return self.respond(&response),
            Err(ReadFault::Gone(error)) => return Err(error),
        };
        match (action(site, &request), site) {
            (HttpAction::Respond(response), _) => self.respond(&response),
            (HttpAction::Query, Site::Database(site)) => self.query(&request, site),
            (HttpAction::Events, Site::Database(site)) => self.events(&request, site),
            // No other site has these.
            (HttpAction::Query | HttpAction::Events, Site::Metrics(_)) => Ok(()),
        }
    }

    fn query(&mut self, request: &HttpRequest, site: &DatabaseSite) -> io::Result<()> {
        let mut held = HeldBody::none(site);
        let asked = query::content(request).map_err(ReadFault::from).and_then(|content| {
            let body = self.read_body(request, &mut held)?;
            Ok(query::request(content, body, site)?)
        });
        self.until = Instant::now() + PATIENCE;
        match asked {
            Ok(asked) => {
                exchange::answer(&self.stream, request.version, BodyForm::Lines, asked, site)?;
                self.end()
            }
            Err(ReadFault::Refused(response)) => self.respond(&response),
            Err(ReadFault::Gone(error)) => Err(error),
        }
    }

    fn events(&mut self, request: &HttpRequest, site: &DatabaseSite) -> io::Result<()> {
        match events::request(request) {
            Err(response) => self.respond(&HttpResponse { head_only: request.is_head(), ..response }),
            Ok(_) if request.is_head() => {
                let head = stream::head(BodyForm::Events.content(), request.version);
                send_until(&self.stream, &head, self.until)?;
                self.end()
            }
            Ok(asked) => {
                exchange::answer(&self.stream, request.version, BodyForm::Events, asked, site)?;
                self.end()
            }
        }
    }

    fn respond(&mut self, response: &HttpResponse) -> io::Result<()> {
        send_until(&self.stream, &response.bytes(), self.until)?;
        self.end()
    }

    /// What was sent and not read would have the system throw away the answer: it is read to its end, within limits.
    fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.until = self.until.max(Instant::now() + PAUSE);
        let (mut rest, mut scrap) = (MAX_SCRAP, [0; 4096]);
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
        stream::left(self.until)
    }

    /// Reads some more: nothing where the client sends no more.
    fn fill(&mut self, into: &mut Vec<u8>) -> Result<usize, ReadFault> {
        let mut piece = [0; 16 << 10];
        loop {
            let read = self.left().and_then(|left| {
                self.stream.set_read_timeout(Some(left))?;
                self.stream.read(&mut piece)
            });
            match read {
                Ok(read) => {
                    into.extend_from_slice(&piece[..read]);
                    return Ok(read);
                }
                Err(error) if stream::is_late(&error) => {
                    // There is a moment for the answer.
                    self.until = Instant::now() + PAUSE;
                    let why = "the request took too long";
                    return Err(ReadFault::Refused(HttpResponse::refusal("408 Request Timeout", why)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadFault::Gone(error)),
            }
        }
    }

    /// The head of a request; nothing where there was none.
    fn read_head(&mut self) -> Result<Option<HttpRequest>, ReadFault> {
        let mut head = Vec::new();
        loop {
            if self.fill(&mut head)? == 0 {
                return Ok(None);
            }
            if let Some(request) = HttpRequest::parse(&head)? {
                self.rest = head.split_off(request.length);
                return Ok(Some(request));
            }
        }
    }

    fn read_body(&mut self, request: &HttpRequest, held: &mut HeldBody<'_>) -> Result<Vec<u8>, ReadFault> {
        let length = request.body_length()?;
        if matches!(length, BodyLength::Bytes(bytes) if bytes > MAX_BODY as u64) {
            return Err(too_large(MAX_BODY).into());
        }
        self.until = Instant::now() + BODY_PATIENCE;
        if request.expects_continue() && self.rest.is_empty() {
            send_until(&self.stream, b"HTTP/1.1 100 Continue\r\n\r\n", self.until)
                .map_err(ReadFault::Gone)?;
        }
        match length {
            BodyLength::Bytes(bytes) => {
                let mut body = std::mem::take(&mut self.rest);
                held.grow(body.len())?;
                while (body.len() as u64) < bytes {
                    held.grow(self.read_more(&mut body)?)?;
                }
                // Bytes behind it are of no request that is answered here.
                body.truncate(usize::try_from(bytes).unwrap_or(MAX_BODY));
                Ok(body)
            }
            BodyLength::Chunked => self.read_chunks(held),
        }
    }

    fn read_more(&mut self, into: &mut Vec<u8>) -> Result<usize, ReadFault> {
        match self.fill(into)? {
            0 => Err(ReadFault::Gone(io::ErrorKind::UnexpectedEof.into())),
            read => Ok(read),
        }
    }

    fn read_chunks(&mut self, held: &mut HeldBody<'_>) -> Result<Vec<u8>, ReadFault> {
        let bad = || ReadFault::from(HttpResponse::refusal("400 Bad Request", "the body is not chunked"));
        let (mut body, mut input) = (Vec::new(), std::mem::take(&mut self.rest));
        loop {
            let size = loop {
                match httparse::parse_chunk_size(&input) {
                    Ok(httparse::Status::Complete((length, size))) => {
                        input.drain(..length);
                        break size;
                    }
                    Ok(httparse::Status::Partial) if input.len() < 1024 => drop(self.read_more(&mut input)?),
                    Ok(httparse::Status::Partial) | Err(_) => return Err(bad()),
                }
            };
            if size == 0 {
                // What may stand behind the last one is read as what comes behind the request.
                return Ok(body);
            }
            let room = MAX_BODY - body.len();
            let size = usize::try_from(size).ok().filter(|size| *size <= room);
            let size = size.ok_or_else(|| too_large(MAX_BODY))?;
            held.grow(size)?;
            while input.len() < size + 2 {
                self.read_more(&mut input)?;
            }
            body.extend_from_slice(&input[..size]);
            if input[size..size + 2] != *b"\r\n" {
                return Err(bad());
            }
            input.drain(..size + 2);
        }
    }
}
