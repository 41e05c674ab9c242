//! Who may ask: whoever has the token, or, where there is none, programs of this machine, and no page of a browser that came from elsewhere.
//!
//! A page that somebody else wrote can have a browser send requests to a loopback address, and one whose name was made to point there
//! (DNS rebinding) may read the answers. The name in `Host` gives away the latter, `Origin` and `Sec-Fetch-Site` the former. None of them can
//! have a browser send the token.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::request::HttpRequest;
use super::respond::HttpResponse;
use crate::error::{Error, Result, size};

/// How long a token is, at least.
const SHORTEST_TOKEN: usize = 16;

/// What is sent with each request by whoever may ask. It is known by its hash, and hashes are compared in constant time.
#[derive(Clone)]
pub(super) struct AccessToken(blake3::Hash);

impl AccessToken {
    pub fn new(token: &str) -> Result<AccessToken> {
        let expected = format!("at least {SHORTEST_TOKEN} visible characters of ASCII, without spaces");
        let found = match token.bytes().all(|byte| byte.is_ascii_graphic()) {
            false => "others",
            true if token.len() < SHORTEST_TOKEN => "fewer",
            true => return Ok(AccessToken(blake3::hash(token.as_bytes()))),
        };
        Err(Error::invalid("the token", expected, found))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken")
    }
}

/// What requests are held to.
#[derive(Debug)]
pub(super) enum Guard {
    Token(AccessToken),
    /// Requests of programs on this machine, to this address.
    Local(IpAddr),
}

impl Guard {
    pub fn new(token: Option<AccessToken>, address: SocketAddr) -> Result<Guard> {
        match token {
            Some(token) => Ok(Guard::Token(token)),
            None if address.ip().is_loopback() => Ok(Guard::Local(address.ip())),
            None => {
                let expected = "a loopback address, like 127.0.0.1, or a token: others reach this one";
                Err(Error::invalid("the address for HTTP", expected, address.to_string()))
            }
        }
    }

    pub fn check(&self, request: &HttpRequest) -> Result<(), HttpResponse> {
        match self {
            Guard::Token(token) => check_token(request, token),
            Guard::Local(address) => check_local(request, *address),
        }
    }
}

/// Without a name of the host there is no request of HTTP/1.1.
pub(super) fn check_host_is_named(request: &HttpRequest) -> Result<(), HttpResponse> {
    match request.header("Host")? {
        None if request.version == 1 => {
            Err(HttpResponse::refusal("400 Bad Request", "a request of HTTP/1.1 has a header Host"))
        }
        _ => Ok(()),
    }
}

fn check_token(request: &HttpRequest, token: &AccessToken) -> Result<(), HttpResponse> {
    let sent = request.header("Authorization")?.and_then(|said| said.split_once(' '));
    match sent {
        Some((scheme, sent))
            if scheme.eq_ignore_ascii_case("bearer") && blake3::hash(sent.trim().as_bytes()) == token.0 =>
        {
            Ok(())
        }
        _ => Err(HttpResponse {
            headers: "WWW-Authenticate: Bearer\r\n",
            ..HttpResponse::refusal(
                "401 Unauthorized",
                "a request has a header Authorization: Bearer, and the token",
            )
        }),
    }
}

fn check_local(request: &HttpRequest, address: IpAddr) -> Result<(), HttpResponse> {
    let host = request.header("Host")?;
    let named = [request.authority.as_deref(), host];
    if named.into_iter().flatten().any(|named| !is_local(named, address)) {
        let why = "the header Host names another host than this one; a token lets any name pass";
        return Err(HttpResponse::refusal("403 Forbidden", why));
    }
    let from_elsewhere = match request.header("Origin")? {
        None => false,
        Some(origin) => !host.is_some_and(|host| origin.eq_ignore_ascii_case(&format!("http://{host}"))),
    };
    let crosses = matches!(request.header("Sec-Fetch-Site")?, Some("cross-site" | "same-site"));
    match from_elsewhere || crosses {
        true => Err(HttpResponse::refusal("403 Forbidden", "this comes from a page of another origin")),
        false => Ok(()),
    }
}

/// Whether a host, with its port or without, is this machine and no name that could be made to point here.
fn is_local(host: &str, bound: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address == bound)
}

/// What a body is refused for that is too long.
pub(super) fn too_large(limit: usize) -> HttpResponse {
    let why = format!("the body of a request has at most {}", size(limit as u64));
    HttpResponse::refusal("413 Content Too Large", &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        let bound = "127.0.0.5".parse().unwrap();
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80", "127.0.0.5:1"]
        {
            assert!(is_local(host, bound), "{host}");
        }
        for host in [
            "",
            ":",
            "[",
            "[]",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127.0.0.1",
            "10.0.0.1",
            "0.0.0.0",
            "::1",
            "localhost.",
        ] {
            assert!(!is_local(host, bound), "{host}");
        }
    }

    #[test]
    fn only_a_loopback_address_needs_no_token() {
        let guard = |address: &str| Guard::new(None, address.parse().unwrap());
        assert!(guard("127.0.0.1:0").is_ok() && guard("[::1]:0").is_ok());
        for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:0", "[::ffff:127.0.0.1]:0"] {
            let error = guard(address).unwrap_err().to_string();
            assert!(error.contains("a loopback address, like 127.0.0.1, or a token"), "{error}");
            assert!(
                Guard::new(Some(AccessToken::new("0123456789abcdef").unwrap()), address.parse().unwrap())
                    .is_ok()
            );
        }
    }

    #[test]
    fn a_token_is_long_and_visible() {
        assert!(AccessToken::new("0123456789abcdef").is_ok());
        for wrong in ["", "0123456789abcde", "0123456789abcdef\n", "0123456789abcdéf"] {
            assert!(AccessToken::new(wrong).is_err(), "{wrong}");
        }
    }
}
