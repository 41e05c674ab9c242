use super::*;
use receiver::{Act, OK, Receiver};

#[path = "../../../../tests/receiver/mod.rs"]
mod receiver;

const LIMITS: Timeouts = Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };

fn client(total: Duration) -> Client {
    Client::new(Timeouts { total, ..LIMITS })
}

fn request() -> Request {
    let headers = vec![("bygone-webhook", "notify".to_owned())];
    Request { content_type: "application/json", headers, body: b"{\"a\":1}".to_vec() }
}

/// What comes of one request.
fn sent(act: Act) -> Result<(), DeliveryFailure> {
    let receiver = Receiver::start(move |_, _| act.clone());
    let now = "2015-10-21T07:28:00Z".parse().unwrap();
    client(LIMITS.total).send(&receiver.url(), &request(), now)
}

fn why(act: Act) -> String {
    sent(act).unwrap_err().why
}

#[test]
fn what_is_sent_is_what_was_asked_for() {
    let receiver = Receiver::start(|_, _| OK);
    let client = client(LIMITS.total);
    for _ in 0..2 {
        client.send(&receiver.url(), &request(), Timestamp::MIN).unwrap();
    }
    let told = receiver.told();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].line.as_str(), told[0].body.as_str()), ("POST /hook HTTP/1.1", "{\"a\":1}"));
    assert_eq!(told[0].header("content-type"), Some("application/json"));
    assert_eq!(told[0].header("bygone-webhook"), Some("notify"));
    assert!(told[0].header("user-agent").unwrap().starts_with("bygone/"));
}

#[test]
fn two_hundred_and_more_is_taken_and_nothing_else_is() {
    for status in [200, 201, 202, 204] {
        assert_eq!(sent(Act::Answer(status, "", "")), Ok(()), "{status}");
    }
    for status in [301, 302, 303, 307, 308] {
        let why = why(Act::Answer(status, "location: http://127.0.0.1:1/\r\n", ""));
        assert!(why.starts_with(&format!("it answered {status} ")), "{why}");
        assert!(why.contains("redirects are not followed"), "{why}");
    }
    for (status, said) in
        [(400, "it answered 400 Bad Request"), (500, "it answered 500 Internal Server Error")]
    {
        assert_eq!(why(Act::Answer(status, "", "")), said);
    }
    assert_eq!(why(Act::Answer(410, "", "no \u{1b}[31mmore\nof this")), "it answered 410 Gone: no [31mmore");
}

#[test]
fn what_is_no_answer_is_a_failure_that_says_so() {
    for act in [Act::Close, Act::Break("HTTP/1.1 200 OK\r\ncontent-le"), Act::Break("hello\r\n\r\n")] {
        let why = why(act.clone());
        assert!(why.starts_with("no answer"), "{act:?}: {why}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure =
        client(LIMITS.total).send(&format!("http://{nobody}/"), &request(), Timestamp::MIN).unwrap_err();
    assert!(failure.why.starts_with("no "), "{failure:?}");
    assert_eq!(failure.asked, None);
}

#[test]
fn an_answer_that_breaks_off_behind_its_status_is_one() {
    assert_eq!(sent(Act::Break("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")), Ok(()));
}

#[test]
fn a_late_answer_is_waited_for_and_none_is_not() {
    assert_eq!(sent(Act::Late(Duration::from_millis(50), Box::new(OK))), Ok(()));
    let receiver = Receiver::start(|_, _| Act::Hang);
    let failure =
        client(Duration::from_millis(200)).send(&receiver.url(), &request(), Timestamp::MIN).unwrap_err();
    assert_eq!(failure.why, "no answer in time");
}

#[test]
fn a_receiver_says_when_to_come_back() {
    let asked = |headers: &'static str| sent(Act::Answer(429, headers, "")).unwrap_err().asked;
    assert_eq!(asked(""), None);
    assert_eq!(asked("retry-after: 7\r\n"), Some(Duration::from_secs(7)));
    assert_eq!(asked("Retry-After: Wed, 21 Oct 2015 07:29:30 GMT\r\n"), Some(Duration::from_secs(90)));
    assert_eq!(asked("Retry-After: Wed, 21 Oct 2015 07:00:00 GMT\r\n"), Some(Duration::ZERO));
    assert_eq!(asked("retry-after: soon\r\n"), None);
}
