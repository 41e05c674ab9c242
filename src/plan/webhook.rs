//! A webhook, with its names looked up: which events are told, where, and how.

use std::fmt;

use super::subscription::SubscriptionPlan;
use crate::error::{Error, Result};
use crate::event::EventFormat;

/// `DEFINE WEBHOOK`.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "webhooks"), allow(dead_code))] // without it nothing is sent
pub(crate) struct Webhook {
    pub name: String,
    /// Which events. Where nothing is said of where it begins: after its definition.
    pub events: SubscriptionPlan,
    pub to: Url,
    pub form: EventFormat,
    pub secret: Option<Secret>,
}

/// Where something is sent. It was checked: a scheme that can be sent to, a host, and nothing secret before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url(String);

/// Longer ones are refused by servers.
const LONGEST: usize = 2048;

impl Url {
    /// What it is to be.
    const EXPECTED: &str = "http:// or https:// and a host, like 'https://example.com/hook'";

    pub fn new(text: &str) -> Result<Url> {
        // What is found is not repeated: a URL may hold what is not for everybody.
        let fault = |expected: &str, found: &str| Err(Error::invalid("the URL", expected, found));
        if text.len() > LONGEST {
            return fault(&format!("{LONGEST} bytes at most"), &format!("{} bytes", text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let expected = "signs of ASCII without spaces; others are written with %, like %20";
            return fault(expected, "another sign");
        }
        let rest = ["http://", "https://"].iter().find_map(|scheme| {
            let (start, rest) = text.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        });
        let Some(rest) = rest else { return fault(Url::EXPECTED, "another beginning") };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            let expected = "no user and password before the host; SECRET 'env:NAME' signs what is sent";
            return fault(expected, "some");
        }
        if text.contains('#') {
            return fault("no part after #, which is never sent", "one");
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, after)) => {
                let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
                (is_address, after.strip_prefix(':').or(after.is_empty().then_some("80")))
            }
            None => {
                let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
                let is_part = |part: &str| {
                    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                };
                (host.strip_suffix('.').unwrap_or(host).split('.').all(is_part), Some(port))
            }
        };
        if !host {
            return fault(Url::EXPECTED, "no name and no address of a host");
        }
        match port.and_then(|port| port.parse::<u16>().ok()) {
            Some(1..) => Ok(Url(text.to_owned())),
            _ => fault("a port from 1 to 65535 after the host", "another"),
        }
    }

    #[cfg_attr(not(feature = "webhooks"), allow(dead_code))]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is as long as a key may be one.
const KEY_DIGITS: usize = 64;

/// Where a secret is, and never what it is: that is read when it is needed, and is kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    variable: String,
}

impl Secret {
    /// What a statement says of it; `what` is the clause, and `example` how it would be right.
    pub fn new(what: &str, example: &str, text: &str) -> Result<Secret> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() < KEY_DIGITS
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match text.strip_prefix("env:").filter(|name| is_name(name)) {
            Some(name) => Ok(Secret { variable: name.to_owned() }),
            // What is found may be the secret.
            None => {
                let expected = format!(
                    "the name of a variable of the environment, like '{example}': the log is no place for the secret itself"
                );
                Err(Error::invalid(what, expected, "something else"))
            }
        }
    }

    /// A key that is in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is none; it is not repeated.
    #[cfg(any(feature = "signing", feature = "encryption"))]
    pub fn read<K: std::str::FromStr<Err = Error>>(&self, what: &str) -> Result<K> {
        match std::env::var(&self.variable) {
            Ok(key) => key.parse(),
            Err(_) => {
                let name = &self.variable;
                let expected =
                    format!("a key in the variable {name} of the environment (openssl rand -hex 32)");
                Err(Error::invalid(what, expected, "none"))
            }
        }
    }

    /// The variable of the environment that holds it.
    #[cfg_attr(not(feature = "webhooks"), allow(dead_code))]
    pub fn variable(&self) -> &str {
        &self.variable
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "env:{}", self.variable)
    }
}

/// Reads the form of what is sent, as `bygone export --format` calls it.
pub(crate) fn form(text: &str) -> Result<EventFormat> {
    match text {
        "events" => Ok(EventFormat::Event),
        "underscore" => Ok(EventFormat::Underscore),
        "cloudevents" => Ok(EventFormat::CloudEvents),
        other => {
            let found = format!("'{}'", crate::error::shorten(other));
            Err(Error::invalid("AS", "'events', 'cloudevents' or 'underscore'", found))
        }
    }
}

/// What a form is called.
pub(crate) fn form_name(form: EventFormat) -> &'static str {
    match form {
        EventFormat::Event => "events",
        EventFormat::Underscore => "underscore",
        EventFormat::CloudEvents | EventFormat::CloudEventsBatch => "cloudevents",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        for right in [
            "http://localhost/hook",
            "https://example.com",
            "HTTPS://Example.com:8443/a/b?c=d&e=%20",
            "http://127.0.0.1:8080",
            "http://[::1]:80/x",
            "http://[::1]",
            "https://a-b.example.com./x@y",
            "http://my_service:9000/",
        ] {
            assert_eq!(Url::new(right).unwrap().as_str(), right);
        }
        for (wrong, named) in [
            ("", "http://"),
            ("example.com", "http://"),
            ("ftp://example.com", "http://"),
            ("http:/example.com", "http://"),
            ("http://", "host"),
            ("http:///path", "host"),
            ("http://?x", "host"),
            ("http://a..b/", "host"),
            ("http://[::1/", "host"),
            ("http://[zz]/", "host"),
            ("http://[::1]x/", "port"),
            ("http://host:0/", "port"),
            ("http://host:65536/", "port"),
            ("http://host:/", "port"),
            ("http://host:80:80/", "port"),
            ("http://ann:hunter2@host/", "user and password"),
            ("http://ann@host/", "user and password"),
            ("http://host/a b", "%20"),
            ("http://hóst/", "ASCII"),
            ("http://host/a\nX: y", "ASCII"),
            ("http://host/#part", "#"),
        ] {
            let error = Url::new(wrong).unwrap_err().to_string();
            assert!(error.contains(named), "{wrong}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Url::new(&format!("http://host/{}", "x".repeat(3000))).is_err());
    }

    #[test]
    fn a_secret_is_a_place_and_is_never_repeated() {
        let secret = Secret::new("SECRET", "env:HOOK_SECRET", "env:HOOK_SECRET").unwrap();
        assert_eq!((secret.variable(), secret.to_string().as_str()), ("HOOK_SECRET", "env:HOOK_SECRET"));
        for wrong in ["hunter2", "env:", "env:A-hunter2", "ENV:hunter2", "env:2hunter2", "env:hunter2 "] {
            let error = Secret::new("SECRET", "env:HOOK_SECRET", wrong).unwrap_err().to_string();
            assert!(error.contains("env:HOOK_SECRET") && !error.contains("hunter2"), "{wrong}: {error}");
        }
    }

    #[test]
    fn forms_have_the_names_that_export_has_for_them() {
        for name in ["events", "underscore", "cloudevents"] {
            assert_eq!(form_name(form(name).unwrap()), name);
        }
        assert!(form("cloudevents-batch").is_err() && form("xml").is_err());
    }
}
