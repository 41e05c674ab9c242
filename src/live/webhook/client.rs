//! Sending: one request, and whether it was taken.
//!
//! What counts is the status: 2xx is taken, everything else is not. A redirect is not followed: what was signed for one place is not
//! for another, and whoever moved says so in the definition.

use std::io::Read;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::DeliveryFailure;
use crate::error::shorten;
use crate::time::Timestamp;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// How long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// To be connected.
    pub connect: Duration,
    /// In all.
    pub total: Duration,
}

/// Sends to any place, and keeps connections for the next time.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
}

/// What is read of an answer: enough to say why, and for the connection to be used again.
const READ: u64 = 16 << 10;

/// How long the rest of an answer is waited for, once its status is known.
const REST: Duration = Duration::from_secs(1);

impl Client {
    pub fn new(limits: Timeouts) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(limits.total))
            .timeout_resolve(Some(limits.connect.min(limits.total)))
            .timeout_connect(Some(limits.connect.min(limits.total)))
            .timeout_recv_body(Some(REST.min(limits.total)))
            .user_agent(concat!("bygone/", env!("CARGO_PKG_VERSION")))
            .build();
        Client { agent: config.into() }
    }

    /// Sends it, and tells why it was not taken. `now` is for a receiver that says until when to wait.
    pub fn send(&self, url: &str, request: &Request, now: Timestamp) -> Result<(), DeliveryFailure> {
        let mut builder = self.agent.post(url).header(header::CONTENT_TYPE, request.content_type);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let answer =
            builder.send(request.body.as_slice()).map_err(|error| DeliveryFailure::of(why(&error)))?;
        let status = answer.status();
        let asked = asked(&answer, now);
        let mut said = Vec::new();
        // Read to the end, the connection can be used again; if that fails, the status still stands.
        let _ = answer.into_body().into_reader().take(READ).read_to_end(&mut said);
        if status.is_success() {
            Ok(())
        } else {
            Err(DeliveryFailure { asked, ..DeliveryFailure::of(refusal(status, &said)) })
        }
    }
}

/// What a receiver said that did not take it.
fn refusal(status: StatusCode, said: &[u8]) -> String {
    let named = status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    let said = String::from_utf8_lossy(said);
    let said = said.lines().next().unwrap_or_default().trim();
    // The words of others are shown to people: no sign of theirs moves a cursor.
    let said: String = shorten(said).chars().filter(|c| !c.is_control()).collect();
    let said = if said.is_empty() { said } else { format!(": {said}") };
    format!("it answered {}{named}{hint}{said}", status.as_u16())
}

/// How long the receiver asks to be left alone: seconds, or a date.
fn asked(answer: &Response<ureq::Body>, now: Timestamp) -> Option<Duration> {
    let said = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(said).ok()?.timestamp();
    let left = date.as_millisecond().saturating_sub(now.as_millis());
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// Why no answer came. The place is known to whoever defined it, and is not repeated.
fn why(error: &ureq::Error) -> String {
    use ureq::Error::{ConnectionFailed, HostNotFound, Io, Timeout};
    match error {
        Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => "no connection in time".to_owned(),
        Timeout(_) => "no answer in time".to_owned(),
        HostNotFound => "its host is not known".to_owned(),
        ConnectionFailed => "no connection".to_owned(),
        Io(error) => format!("no answer: {error}"),
        other => format!("no answer: {}", shorten(&other.to_string())),
    }
}

#[cfg(test)]
mod tests;
