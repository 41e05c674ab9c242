//! Answers that are whole before they are sent: refusals, metrics, and what there is to be had here.

use super::guard;
use super::request::HttpRequest;
use super::{DatabaseSite, Site};
use crate::db::Db;
use crate::error::{Error, ErrorClass};
use crate::protocol::answer::Reply;

/// What is told at `/`.
const WELCOME: &str = "\
This is a Bygone database.

  POST /query    runs the statements of the body, which is text or JSON; rows come as lines of JSON
  GET /events    events as they come, as an event stream; ?pattern=Order.*&from=START&where=data.total+>+5
";

/// What a text is.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that is whole.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub status: &'static str,
    /// Whole lines, in front of the others.
    pub headers: &'static str,
    pub content: &'static str,
    pub body: String,
    /// `HEAD`: the length of the body is told, and the body is not.
    pub head_only: bool,
}

impl HttpResponse {
    pub fn text(status: &'static str, body: String) -> HttpResponse {
        HttpResponse { status, headers: "", content: TEXT, body, head_only: false }
    }

    /// Why a request is not answered, in a line.
    pub fn refusal(status: &'static str, why: &str) -> HttpResponse {
        HttpResponse::text(status, format!("{why}\n"))
    }

    /// An error of the database, as the protocol tells it.
    pub fn error(error: &Error) -> HttpResponse {
        let mut line = Vec::new();
        // An error always has a form in JSON.
        drop(Reply::Error(error, None).write(None, &mut line));
        HttpResponse::error_line(status_of(error), String::from_utf8_lossy(&line).into_owned())
    }

    /// A line that tells an error.
    pub fn error_line(status: &'static str, line: String) -> HttpResponse {
        HttpResponse { content: "application/json", ..HttpResponse::text(status, line) }
    }

    /// Head and body, as they are sent.
    pub fn bytes(&self) -> Vec<u8> {
        let HttpResponse { status, headers, content, body, head_only } = self;
        let length = body.len();
        let mut text = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Type: {content}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        );
        if !head_only {
            text.push_str(body);
        }
        text.into_bytes()
    }
}

/// The status of a statement that failed before its first row.
pub(super) fn status_of(error: &Error) -> &'static str {
    match (error, error.class()) {
        (Error::TooLarge { .. }, _) => "413 Content Too Large",
        (_, ErrorClass::Usage) => "400 Bad Request",
        (_, ErrorClass::Refused) => "409 Conflict",
        // The database is not there, or not in time: later it may be.
        (Error::Stopped { .. } | Error::Unknown { .. }, _) | (_, ErrorClass::Unopenable) => {
            "503 Service Unavailable"
        }
        (_, ErrorClass::Failed) => "500 Internal Server Error",
    }
}

/// What a request is to be answered with.
#[derive(Debug)]
pub(super) enum HttpAction {
    Respond(HttpResponse),
    Query,
    Events,
}

/// What is to be done for a request, by its head alone.
pub(super) fn action(site: &Site, request: &HttpRequest) -> HttpAction {
    let action = match site {
        Site::Metrics(db) => guard::check_host_is_named(request).map(|()| metrics(request, db)),
        Site::Database(site) => database(request, site),
    };
    match action {
        Ok(HttpAction::Respond(response)) | Err(response) => {
            HttpAction::Respond(HttpResponse { head_only: request.is_head(), ..response })
        }
        Ok(action) => action,
    }
}

fn metrics(request: &HttpRequest, db: &Db) -> HttpAction {
    HttpAction::Respond(match (request.path.as_str(), request.method.as_str()) {
        ("/metrics", "GET" | "HEAD") => match db.metrics() {
            Ok(metrics) => HttpResponse {
                content: "text/plain; version=0.0.4; charset=utf-8",
                ..HttpResponse::text("200 OK", metrics.to_string())
            },
            Err(error) => HttpResponse::refusal("503 Service Unavailable", &error.to_string()),
        },
        ("/metrics", _) => not_allowed("Allow: GET, HEAD\r\n", "/metrics is to be read, by GET"),
        _ => HttpResponse::refusal("404 Not Found", "there is /metrics, and nothing else"),
    })
}

fn database(request: &HttpRequest, site: &DatabaseSite) -> Result<HttpAction, HttpResponse> {
    guard::check_host_is_named(request)?;
    site.guard.check(request)?;
    Ok(match (request.path.as_str(), request.method.as_str()) {
        ("/", "GET" | "HEAD") => HttpAction::Respond(HttpResponse::text("200 OK", WELCOME.to_owned())),
        ("/query", "POST") => HttpAction::Query,
        ("/events", "GET" | "HEAD") => HttpAction::Events,
        ("/query", _) => {
            HttpAction::Respond(not_allowed("Allow: POST\r\n", "statements are sent to /query, by POST"))
        }
        ("/" | "/events", _) => {
            let why = format!("{} is to be read, by GET", request.path);
            HttpAction::Respond(not_allowed("Allow: GET, HEAD\r\n", &why))
        }
        _ => HttpAction::Respond(HttpResponse::refusal(
            "404 Not Found",
            "there are /query and /events; / says what they do",
        )),
    })
}

fn not_allowed(headers: &'static str, why: &str) -> HttpResponse {
    HttpResponse { headers, ..HttpResponse::refusal("405 Method Not Allowed", why) }
}
