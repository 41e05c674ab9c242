//! `POST /query`: what a body asks for.

use super::DatabaseSite;
use super::request::HttpRequest;
use super::respond::HttpResponse;
use crate::error::{Error, Result};
use crate::protocol::request::{Ask, ClientRequest, StatementRequest, TaskKind, TaskRequest};
use crate::query::Script;
use crate::store::SharedAccess;
use crate::value::Value;

/// How many levels a body has around the values of parameters.
const ENVELOPE: usize = 2;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryContent {
    /// Statements.
    Text,
    /// The members of a request of the protocol.
    Json,
}

/// What the body of a request is said to be. What is said by `curl -d` is refused, and not taken for text: it would have changed it.
pub(super) fn content(request: &HttpRequest) -> Result<QueryContent, HttpResponse> {
    let said = request.header("Content-Type")?.unwrap_or("text/plain");
    let (kind, parameters) = said.split_once(';').unwrap_or((said, ""));
    let is_utf8 = parameters.split(';').all(|parameter| match parameter.trim().split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    match kind.trim().to_ascii_lowercase().as_str() {
        "text/plain" if is_utf8 => Ok(QueryContent::Text),
        "application/json" if is_utf8 => Ok(QueryContent::Json),
        _ => Err(HttpResponse::refusal(
            "415 Unsupported Media Type",
            "a body is text/plain or application/json, in UTF-8 (curl --json, or curl -H 'Content-Type: text/plain' --data-binary)",
        )),
    }
}

/// What is asked of the database.
pub(super) fn request(
    content: QueryContent,
    body: Vec<u8>,
    site: &DatabaseSite,
) -> Result<TaskRequest, HttpResponse> {
    let request = String::from_utf8(body)
        .map_err(|_| Error::invalid("the body", "text in UTF-8", "other bytes"))
        .and_then(|text| match content {
            QueryContent::Text => Ok(TaskRequest::of(TaskKind::Statement(StatementRequest {
                text,
                parameters: Default::default(),
                hints: false,
                allow_unused: false,
            }))),
            QueryContent::Json => read(&text),
        })
        .map_err(|error| HttpResponse::error(&error))?;
    check_access(&request, site)?;
    Ok(TaskRequest { read_only: request.read_only || site.hands_on_reads_alone(), ..request })
}

/// Reads a request without an id, which is a statement.
fn read(text: &str) -> Result<TaskRequest> {
    let expected = "an object of JSON with `statement`";
    let refuse = |found: &str| Err(Error::invalid("the body", expected, found));
    let mut members = match Value::read(text, ENVELOPE)? {
        Value::Object(members) => members,
        other => return refuse(other.kind()),
    };
    if members.contains_key("id") || members.contains_key("credits") {
        return refuse("`id` or `credits`, which are for many requests on one connection");
    }
    members.insert("id".to_owned(), 1.into());
    match ClientRequest::read(&Value::Object(members).to_string()).map_err(|fault| *fault.error)?.ask {
        Ask::Task(request) if matches!(request.task, TaskKind::Statement(_)) => Ok(*request),
        _ => refuse("another request"),
    }
}

/// Whatever writes is refused where nothing may be written. What cannot be parsed is refused by whoever runs it.
fn check_access(request: &TaskRequest, site: &DatabaseSite) -> Result<(), HttpResponse> {
    let TaskKind::Statement(StatementRequest { text, .. }) = &request.task else { return Ok(()) };
    if site.access == SharedAccess::Full {
        return Ok(());
    }
    let writes = Script::parse(text).is_ok_and(|script| {
        script
            .statements()
            .iter()
            .any(|statement| !statement.is_read() && !statement.is_unnamed_subscription())
    });
    match writes {
        true => {
            let response = HttpResponse::error(&Error::stopped("the database is served for reading only"));
            Err(HttpResponse { status: "403 Forbidden", ..response })
        }
        false => Ok(()),
    }
}

impl DatabaseSite {
    /// Another process has the file open, and is to refuse what writes.
    pub(super) fn hands_on_reads_alone(&self) -> bool {
        self.access == SharedAccess::ReadOnly && self.db.is_attached()
    }
}
