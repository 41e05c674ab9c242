//! What a client asks for: the head of a request, by httparse.

use super::respond::HttpResponse;

/// How many bytes the head of a request may have.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// How many headers it may have.
const MAX_HEADERS: usize = 64;

/// The head of a request.
#[derive(Debug)]
pub(super) struct HttpRequest {
    pub method: String,
    /// The host that the target names in front of the path, as for a proxy.
    pub authority: Option<String>,
    pub path: String,
    /// What stands behind the question mark.
    pub query: Option<String>,
    /// Of HTTP/1: 0 or 1.
    pub version: u8,
    headers: Vec<(String, Vec<u8>)>,
    /// How many bytes it has.
    pub length: usize,
}

/// How long the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    Bytes(u64),
    Chunked,
}

impl HttpRequest {
    /// Reads a head; none where more of it is to come.
    pub fn parse(head: &[u8]) -> Result<Option<HttpRequest>, HttpResponse> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let too_large =
            || HttpResponse::refusal("431 Request Header Fields Too Large", "the request is too large");
        let length = match request.parse(head) {
            Ok(httparse::Status::Partial) if head.len() <= MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => Ok(length),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(too_large()),
            Err(_) => Err(HttpResponse::refusal("400 Bad Request", "this is no request of HTTP/1.1")),
        };
        let head_only = request.method == Some("HEAD");
        let length = length.map_err(|refusal| HttpResponse { head_only, ..refusal })?;
        let (authority, path, query) = target(request.path.unwrap_or_default());
        let headers = request.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec()));
        Ok(Some(HttpRequest {
            method: request.method.unwrap_or_default().to_owned(),
            authority: authority.map(str::to_owned),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            version: request.version.unwrap_or_default(),
            headers: headers.collect(),
            length,
        }))
    }

    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// What headers of this name say.
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = move |(other, _): &&(String, Vec<u8>)| other.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_slice())
    }

    /// What the header of this name says; none where there is none. Twice, or other than text, it says nothing that could be relied on.
    pub fn header(&self, name: &str) -> Result<Option<&str>, HttpResponse> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => std::str::from_utf8(value).map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
        .map_err(|()| bad(&format!("a request has one header {name}, and it is text in UTF-8")))
    }

    /// How long its body is. What could be read in two ways is refused.
    pub fn body_length(&self) -> Result<BodyLength, HttpResponse> {
        let (length, encoding) = (self.header("Content-Length")?, self.header("Transfer-Encoding")?);
        match (length, encoding) {
            (None, None) => Ok(BodyLength::Bytes(0)),
            (None, Some(encoding)) if encoding.trim().eq_ignore_ascii_case("chunked") => {
                Ok(BodyLength::Chunked)
            }
            (None, Some(_)) => {
                Err(HttpResponse::refusal("501 Not Implemented", "a body is sent as it is, or chunked"))
            }
            (Some(length), None) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(BodyLength::Bytes(length.parse().unwrap_or(u64::MAX)))
            }
            _ => Err(bad("it cannot be told how long the body is")),
        }
    }

    /// Whether the client waits to be told that it may send the body.
    pub fn expects_continue(&self) -> bool {
        self.values("Expect").any(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }
}

fn bad(why: &str) -> HttpResponse {
    HttpResponse::refusal("400 Bad Request", why)
}

/// The parts of a target: what stands in front of a path, as for a proxy, the path, and what is asked of it.
fn target(target: &str) -> (Option<&str>, &str, Option<&str>) {
    let (place, query) = match target.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (target, None),
    };
    match place.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => match rest.find('/') {
            Some(at) => (Some(&rest[..at]), &rest[at..], query),
            None => (Some(rest), "/", query),
        },
        _ => (None, place, query),
    }
}

/// A text in which bytes are written as `%2A`, and spaces as `+`; none where that is no text.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                let digit = |digit: u8| char::from(digit).to_digit(16);
                bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
                rest = behind;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> HttpRequest {
        HttpRequest::parse(head.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_target_has_parts() {
        for (text, parts) in [
            ("/events?pattern=a", (None, "/events", Some("pattern=a"))),
            ("/", (None, "/", None)),
            ("http://x:1/query", (Some("x:1"), "/query", None)),
            ("HTTP://x?a", (Some("x"), "/", Some("a"))),
            ("/a?b=http://c/d", (None, "/a", Some("b=http://c/d"))),
            ("*", (None, "*", None)),
        ] {
            assert_eq!(target(text), parts, "{text}");
        }
    }

    #[test]
    fn what_is_escaped_is_read() {
        for (text, read) in [
            ("", Some("")),
            ("a+b%20c%2a%C3%A4", Some("a b c*ä")),
            ("%", None),
            ("%2", None),
            ("%2x", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(text).as_deref(), read, "{text}");
        }
    }

    #[test]
    fn a_body_has_one_length() {
        let length = |headers: &str| {
            let head = format!("POST / HTTP/1.1\r\n{headers}\r\n");
            read(&head).body_length().map_err(|refusal| refusal.status)
        };
        assert_eq!(length(""), Ok(BodyLength::Bytes(0)));
        assert_eq!(length("content-length: 12\r\n"), Ok(BodyLength::Bytes(12)));
        assert_eq!(length("Transfer-Encoding: Chunked\r\n"), Ok(BodyLength::Chunked));
        assert_eq!(length("Content-Length: 99999999999999999999999\r\n"), Ok(BodyLength::Bytes(u64::MAX)));
        for ambiguous in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 1, 1\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(length(ambiguous), Err("400 Bad Request"), "{ambiguous}");
        }
        assert_eq!(length("Transfer-Encoding: gzip, chunked\r\n"), Err("501 Not Implemented"));
    }
}
