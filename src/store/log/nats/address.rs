//! Where a log is: `nats://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/STREAM[?OPTION=VALUE&…]`.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The port of NATS, where none is said.
const PORT: &str = "4222";

/// How many servers may be named.
const MOST_SERVERS: usize = 16;

/// The longest name of a stream.
const LONGEST_NAME: usize = 100;

/// What an address of a log says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LogAddress {
    /// Each as `host:port`.
    pub servers: Vec<String>,
    pub stream: String,
    /// Connections are encrypted.
    pub tls: bool,
    /// The certificates of whoever signs those of the servers, beside those that the system trusts.
    pub authorities: Option<PathBuf>,
    pub login: Option<Login>,
    /// On how many servers the stream is.
    pub replicas: u8,
    /// Somebody says that each server syncs each message before it acknowledges it.
    pub sync_trusted: bool,
}

/// Who connects.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Password { user: String, password: String },
    Token(String),
}

impl LogAddress {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<LogAddress> {
        let (tls, rest) = match text.split_once("://") {
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            _ => return Err(invalid("an address that begins with nats:// or tls://", "another one")),
        };
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (servers, stream) =
            place.rsplit_once('/').ok_or_else(|| invalid("the name of a stream behind a /", "none"))?;
        // A password may have an @; a host has none.
        let (login, servers) = match servers.rsplit_once('@') {
            Some((login, servers)) => (Some(Login::parse(login)?), servers),
            None => (None, servers),
        };
        let servers = servers.split(',').map(server).collect::<Result<Vec<_>>>()?;
        if servers.len() > MOST_SERVERS {
            return Err(invalid(&format!("at most {MOST_SERVERS} servers"), &servers.len().to_string()));
        }
        check_stream(stream)?;
        let address = LogAddress {
            servers,
            stream: stream.to_owned(),
            tls,
            authorities: None,
            login,
            replicas: 3,
            sync_trusted: false,
        };
        options.split('&').filter(|option| !option.is_empty()).try_fold(address, LogAddress::with)
    }

    fn with(mut self, option: &str) -> Result<LogAddress> {
        match option.split_once('=') {
            Some(("replicas", "1")) => self.replicas = 1,
            Some(("replicas", "3")) => self.replicas = 3,
            Some(("replicas", "5")) => self.replicas = 5,
            Some(("replicas", found)) => return Err(invalid("replicas=1 (a trial), 3 or 5", found)),
            Some(("sync", "trusted")) => self.sync_trusted = true,
            Some(("sync", found)) => return Err(invalid("sync=trusted", found)),
            Some(("ca", path)) if !path.is_empty() => {
                self.authorities = Some(PathBuf::from(unescaped(path)?))
            }
            _ => {
                return Err(invalid("the options replicas, sync and ca, each with a value", option));
            }
        }
        Ok(self)
    }

    /// The subject of its messages, where the stream is made here.
    pub fn subject(&self) -> String {
        format!("bygone.{}", self.stream)
    }
}

impl Login {
    fn parse(text: &str) -> Result<Login> {
        Ok(match text.split_once(':') {
            Some((user, password)) => {
                Login::Password { user: unescaped(user)?, password: unescaped(password)? }
            }
            None => Login::Token(unescaped(text)?),
        })
    }
}

/// Whoever is told where a log is, is not told how to get in.
impl fmt::Display for LogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        write!(f, "{scheme}://{}/{}", self.servers.join(","), self.stream)
    }
}

impl fmt::Debug for LogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogAddress({self})")
    }
}

fn invalid(expected: &str, found: &str) -> Error {
    Error::invalid("the address of the log", expected, found)
}

/// `host:port`, of what may lack its port.
fn server(text: &str) -> Result<String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        // An address of IPv6.
        Some((host, "")) => (format!("[{host}]"), PORT),
        Some((host, port)) => (format!("[{host}]"), port.strip_prefix(':').unwrap_or("")),
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), port),
            None => (text.to_owned(), PORT),
        },
    };
    let of_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:%".contains(c);
    if host.is_empty() || !host.chars().all(of_host) || port.parse::<u16>().is_err() {
        return Err(invalid("servers as HOST:PORT, with commas between them", "something else"));
    }
    Ok(format!("{host}:{port}"))
}

fn check_stream(name: &str) -> Result<()> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(of_name) {
        let expected = format!("a stream named by up to {LONGEST_NAME} letters, digits, - and _");
        return Err(invalid(&expected, &format!("'{}'", crate::error::shorten(name))));
    }
    Ok(())
}

/// A text in which `%40` stands for `@`, and so on.
fn unescaped(text: &str) -> Result<String> {
    let fault = || invalid("two hexadecimal digits behind a %", "something else");
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(fault)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| fault())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> LogAddress {
        LogAddress::parse(text).unwrap()
    }

    #[test]
    fn an_address_is_read() {
        let address = parsed("nats://a:4222,b,[::1]:4000/shop?sync=trusted");
        assert_eq!(address.servers, ["a:4222", "b:4222", "[::1]:4000"]);
        assert_eq!((address.stream.as_str(), address.subject().as_str()), ("shop", "bygone.shop"));
        assert_eq!((address.replicas, address.sync_trusted, address.tls), (3, true, false));
        let trial = parsed("tls://localhost/shop?replicas=1&sync=trusted&ca=/etc/ca%20one.pem");
        assert_eq!((trial.replicas, trial.tls), (1, true));
        assert_eq!(trial.authorities, Some(PathBuf::from("/etc/ca one.pem")));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            "shop",
            "http://a/shop",
            "nats://a:4222",
            "nats://a/",
            "nats:///shop",
            "nats://a:b/shop",
            "nats://a:99999/shop",
            "nats://a,/shop",
            "nats://a/sh.op",
            "nats://a/shop>",
            "nats://a/shop?replicas=2",
            "nats://a/shop?sync",
            "nats://a/shop?sync=maybe",
            "nats://a/shop?speed=high",
            "nats://%zz@a/shop",
        ] {
            assert!(LogAddress::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whoever_is_told_an_address_is_not_told_the_password() {
        let address = parsed("nats://ann:s%40cret@a/shop");
        let login = Login::Password { user: "ann".to_owned(), password: "s@cret".to_owned() };
        assert!(address.login == Some(login));
        assert!(parsed("nats://t0ken@a/shop").login == Some(Login::Token("t0ken".to_owned())));
        for told in [address.to_string(), format!("{address:?}")] {
            assert!(told.contains("nats://a:4222/shop") && !told.contains("cret"), "{told}");
        }
        let fault = LogAddress::parse("nats://ann:s3cret@a b/shop").unwrap_err().to_string();
        assert!(!fault.contains("s3cret"), "{fault}");
    }
}
