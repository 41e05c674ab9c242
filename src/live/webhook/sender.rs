//! The courier: it writes down an event, signs it, and has it sent.

use std::fmt::Write;
use std::sync::Arc;

use super::client::{Client, Request, Timeouts};
use super::partitions::Post;
use super::signature::SigningKey;
use super::{DeliveryFailure, GivenUp};
use crate::entity::Position;
use crate::error::{Error, Result, size};

use crate::event::{Event, EventFormat, write_form};
use crate::plan::webhook::{Secret, Webhook};
use crate::store::Shared;
use crate::store::catalog::Program;
use crate::telemetry::span;
use crate::time::Timestamp;

type Give = Box<dyn Fn(GivenUp) + Send + Sync>;

/// Tells the events of one webhook.
pub(super) struct WebhookSender<'w> {
    shared: Arc<Shared>,
    program: Arc<Program>,
    webhook: &'w Webhook,
    /// Of CloudEvents.
    source: String,
    client: Client,
    give_up: Give,
}

impl<'w> WebhookSender<'w> {
    /// `give_up` passes on what was tried often enough.
    pub fn new(
        shared: &Arc<Shared>,
        program: Arc<Program>,
        webhook: &'w Webhook,
        give_up: impl Fn(GivenUp) + Send + Sync + 'static,
    ) -> WebhookSender<'w> {
        let delivery = shared.options.delivery;
        let limits = Timeouts { connect: delivery.connect, total: delivery.timeout };
        WebhookSender {
            shared: shared.clone(),
            program,
            webhook,
            source: shared.id.urn(),
            client: Client::new(limits),
            give_up: Box::new(give_up),
        }
    }

    fn tell(&self, position: u64, attempt: u32) -> Result<(), DeliveryFailure> {
        let told = |error: Error| DeliveryFailure::of(error.to_string());
        let event = self.shared.snapshot().event(Position(position)).map_err(told)?;
        let event = event
            .ok_or_else(|| DeliveryFailure::of(format!("there is no event at {}", Position(position))))?;
        let now = self.shared.options.clock.now();
        let key = self.webhook.secret.as_ref().map(key).transpose()?;
        let body = body(&event, self.webhook.form, &self.source).map_err(told)?;
        check_body(body.len(), self.shared.options.delivery.max_body)?;
        let request = request(&event, self.webhook, body, attempt, key.as_ref(), now);
        self.client.send(self.webhook.to.as_str(), &request, now)
    }
}

impl Post for WebhookSender<'_> {
    fn attempt(&self, position: u64, attempt: u32) -> Result<(), DeliveryFailure> {
        let span = span::webhook(&self.program.name, position, attempt);
        let _within = span.enter();
        let told = self.tell(position, attempt);
        self.shared.counts.program(self.program.kind.word()).tried(attempt, told.is_ok());
        told.inspect_err(|failure| {
            // Once: who is told each time does not read it.
            if attempt == 1 && !failure.hopeless {
                let text = format!("{} is tried again: {}", Position(position), failure.why);
                crate::live::follower::report(&self.shared, &self.program, Some(Position(position)), text);
            }
        })
    }

    fn set_aside(&self, position: u64, attempts: u32, why: &str) -> Result<()> {
        let (done, wait) = crossbeam_channel::bounded(1);
        (self.give_up)(GivenUp { position, attempts, why: why.to_owned(), done });
        wait.recv().map_err(|_| Error::stopped("it has ended before an event was set aside"))
    }
}

/// The key in a secret as it is now.
fn key(place: &Secret) -> Result<SigningKey, DeliveryFailure> {
    let name = place.variable();
    match std::env::var_os(name) {
        Some(secret) if !secret.is_empty() => SigningKey::new(&secret.to_string_lossy()),
        Some(_) => {
            Err(DeliveryFailure::of(format!("SECRET: the variable {name} of the environment is empty")))
        }
        None => Err(DeliveryFailure::of(format!("SECRET: the environment has no variable {name}"))),
    }
}

/// Refuses what is too much to be sent: it does not become less.
fn check_body(bytes: usize, most: usize) -> Result<(), DeliveryFailure> {
    if bytes <= most {
        return Ok(());
    }
    let (expected, found) = (size(most as u64), size(bytes as u64));
    let why = format!("its body: expected at most {expected} (Options::max_webhook_body), found {found}");
    Err(DeliveryFailure::hopeless(why))
}

fn body(event: &Event, form: EventFormat, source: &str) -> Result<Vec<u8>> {
    let written = match form {
        EventFormat::Event => serde_json::to_vec(event),
        form => serde_json::to_vec(&write_form(event, form, source, None)?),
    };
    written.map_err(|e| Error::io("writing an event as JSON", e.into()))
}

fn request(
    event: &Event,
    webhook: &Webhook,
    body: Vec<u8>,
    attempt: u32,
    key: Option<&SigningKey>,
    now: Timestamp,
) -> Request {
    let content_type = match webhook.form {
        EventFormat::CloudEvents | EventFormat::CloudEventsBatch => {
            "application/cloudevents+json; charset=utf-8"
        }
        EventFormat::Event | EventFormat::Underscore => "application/json; charset=utf-8",
    };
    let id = lawful(&event.id.to_string());
    let seconds = now.as_millis().div_euclid(1000).to_string();
    let signature = key.map(|key| key.sign(&id, &seconds, &body));
    let mut headers = vec![
        ("webhook-id", id),
        ("webhook-timestamp", seconds),
        ("bygone-webhook", lawful(&webhook.name)),
        ("bygone-type", lawful(event.kind.as_str())),
        ("bygone-position", event.position.0.to_string()),
        ("bygone-attempt", attempt.to_string()),
    ];
    headers.extend(signature.map(|signature| ("webhook-signature", signature)));
    Request { content_type, headers, body }
}

/// A text as the value of a header: what is not visible ASCII, and %, is written as %XX of its UTF-8.
fn lawful(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            value.push(byte.into());
        } else {
            // Writing to a String does not fail.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_header_is_visible_ascii() {
        assert_eq!(lawful("Order.paid-1"), "Order.paid-1");
        assert_eq!(lawful("a b%\r\nx: é"), "a%20b%25%0D%0Ax:%20%C3%A9");
        assert_eq!(lawful(""), "");
    }

    #[test]
    fn a_secret_is_read_from_the_environment() {
        let place = |name: &str| Secret::new("SECRET", "env:NAME", &format!("env:{name}")).unwrap();
        // Cargo says this to whoever it runs; it happens to be base64.
        assert_eq!(key(&place("CARGO_PKG_NAME")), SigningKey::new("bygone"));
        let missing = key(&place("BYGONE_HAS_NO_SUCH_VARIABLE")).unwrap_err();
        assert!(missing.why.contains("no variable BYGONE_HAS_NO_SUCH_VARIABLE"), "{missing:?}");
    }
}
