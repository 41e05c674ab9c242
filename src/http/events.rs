//! `GET /events`: a subscription, as an event stream.

use super::request::{HttpRequest, decoded};
use super::respond::HttpResponse;
use crate::entity::Position;
use crate::error::{Error, Result, shorten};
use crate::pattern::Pattern;
use crate::plan::Parameters;
use crate::protocol::request::{StatementRequest, TaskKind, TaskRequest};
use crate::query::Statement;
use crate::time::Timestamp;

/// What is said of a subscription.
#[derive(Debug, Default, PartialEq)]
struct EventsQuery {
    pattern: Option<String>,
    from: Option<String>,
    condition: Option<String>,
}

/// What is asked of the database.
pub(super) fn request(request: &HttpRequest) -> Result<TaskRequest, HttpResponse> {
    // A browser that connects anew says what it had last.
    let last = request.header("Last-Event-ID")?.map(str::trim).filter(|last| !last.is_empty());
    let subscription = EventsQuery::read(request.query.as_deref().unwrap_or_default())
        .and_then(|query| query.statement(last))
        .map_err(|error| HttpResponse::error(&error))?;
    let task = TaskRequest::of(TaskKind::Statement(subscription));
    // Nothing that is got writes, whatever a condition turns out to be.
    Ok(TaskRequest { read_only: true, ..task })
}

impl EventsQuery {
    fn read(query: &str) -> Result<EventsQuery> {
        let mut read = EventsQuery::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let expected = "`pattern`, `from`, `where`, each once, as a URL has it";
            let wrong = || Error::invalid("what is asked of /events", expected, shorten(part));
            let place = match name {
                "pattern" => &mut read.pattern,
                "from" => &mut read.from,
                "where" => &mut read.condition,
                _ => return Err(wrong()),
            };
            let value = decoded(value).ok_or_else(wrong)?;
            if place.replace(value).is_some() {
                return Err(wrong());
            }
        }
        Ok(read)
    }

    /// The statement that subscribes.
    fn statement(&self, last: Option<&str>) -> Result<StatementRequest> {
        let pattern: Pattern = self.pattern.as_deref().unwrap_or("*").parse()?;
        let mut text = "SUBSCRIBE $pattern".to_owned();
        match (last, &self.from) {
            (Some(last), _) => text.push_str(&format!(" FROM {}", position("Last-Event-ID", last)?)),
            (None, Some(from)) => text.push_str(&format!(" FROM {}", point(from)?)),
            (None, None) => {}
        }
        if let Some(condition) = &self.condition {
            // A comment at its end does not go on behind it.
            text.push_str(&format!(" WHERE ({condition}\n)"));
        }
        let statement = Statement::parse(&text)?;
        if !statement.is_unnamed_subscription() {
            return Err(Error::invalid("`where`", "a condition", shorten(&text)));
        }
        let parameters = Parameters::new().set("pattern", pattern.to_string());
        Ok(StatementRequest { text, parameters, hints: false, allow_unused: false })
    }
}

fn position(what: &str, text: &str) -> Result<Position> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let read = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    read.map(Position).ok_or_else(|| Error::invalid(what, "a position, like 12", shorten(text)))
}

/// Where it begins, as the language has it.
fn point(text: &str) -> Result<String> {
    if text.eq_ignore_ascii_case("start") {
        return Ok("START".to_owned());
    }
    if text.starts_with('#') || text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(position("`from`", text)?.to_string());
    }
    let time: Timestamp = text.parse().map_err(|_| {
        let expected = "START, a position like 12, or a time like 2024-01-01T12:00:00Z";
        Error::invalid("`from`", expected, shorten(text))
    })?;
    Ok(format!("'{time}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(query: &str, last: Option<&str>) -> String {
        match EventsQuery::read(query).and_then(|query| query.statement(last)) {
            Ok(statement) => statement.text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_query_is_a_subscription() {
        for (query, last, statement) in [
            ("", None, "SUBSCRIBE $pattern"),
            ("pattern=Order.*&from=START", None, "SUBSCRIBE $pattern FROM START"),
            ("from=%2312", None, "SUBSCRIBE $pattern FROM #12"),
            ("from=12", None, "SUBSCRIBE $pattern FROM #12"),
            ("from=0", None, "SUBSCRIBE $pattern FROM #0"),
            ("from=2024-01-01", None, "SUBSCRIBE $pattern FROM '2024-01-01T00:00:00Z'"),
            ("from=START", Some("7"), "SUBSCRIBE $pattern FROM #7"),
            ("where=data.total+%3E+5", None, "SUBSCRIBE $pattern WHERE (data.total > 5\n)"),
        ] {
            assert_eq!(text(query, last), statement, "{query}");
        }
    }

    #[test]
    fn what_is_no_subscription_is_refused() {
        for (query, last) in [
            ("patern=a", None),
            ("pattern=a&pattern=b", None),
            ("pattern=%", None),
            ("pattern=%27", None),
            ("from=soon", None),
            ("from=%23x", None),
            ("from=-1", None),
            ("from=99999999999999999999", None),
            ("from=", None),
            ("", Some("x")),
            ("", Some("+1")),
            ("where=true)+AS+mine+WHERE+(true", None),
            ("where=true);+EMIT+Order.created+1+--", None),
            ("where=(", None),
        ] {
            let said = EventsQuery::read(query).and_then(|query| query.statement(last));
            assert!(said.is_err(), "{query} {said:?}");
        }
    }
}
