//! The stream, as JetStream keeps it: what it is set to, and what it is asked. <https://docs.nats.io/reference/reference-protocols/nats_api_reference>

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::address::LogAddress;
use super::link::{NatsLink, NoAnswer};

/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// How long messages of any replica may take: one that stands still is asked like the others.
const BATCH_ANSWER: Duration = Duration::from_secs(1);

/// How long making a stream may take: its servers elect a leader.
const MAKE: Duration = Duration::from_secs(15);

/// The oldest server: those before lose what they acknowledged where one of them crashes.
pub(super) const OLDEST: (u32, u32, u32) = (2, 14, 4);

/// How many messages are asked for at a time, and how many bytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 8 << 20;

/// The codes of errors that mean something here.
const NO_MESSAGE: u64 = 10037;
const NO_STREAM: u64 = 10059;
const NAME_TAKEN: u64 = 10058;
const NO_CLUSTER: u64 = 10074;

/// Why something was not answered as was hoped for.
#[derive(Debug, Clone)]
pub(super) enum StreamError {
    None(NoAnswer),
    /// What the server says of it, and its code.
    Said(u64, String),
    /// An answer that is none.
    Garbled,
}

/// An answer of the servers: an error, or what was asked for.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// What is told of a stream.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamInfo {
    pub config: StreamConfig,
    pub state: StreamState,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamState {
    pub first_seq: u64,
    pub last_seq: u64,
}

/// What of the settings of a stream matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct StreamConfig {
    pub subjects: Vec<String>,
    retention: String,
    max_msgs: i64,
    max_bytes: i64,
    max_age: i64,
    max_msgs_per_subject: i64,
    pub max_msg_size: i64,
    discard: String,
    storage: String,
    num_replicas: u8,
    no_ack: bool,
    deny_delete: bool,
    deny_purge: bool,
    allow_rollup_hdrs: bool,
    allow_direct: bool,
    allow_msg_ttl: bool,
    allow_msg_counter: bool,
    sealed: bool,
    mirror: Option<serde_json::Value>,
    sources: Option<serde_json::Value>,
    subject_transform: Option<serde_json::Value>,
    persist_mode: String,
}

impl Default for StreamConfig {
    fn default() -> StreamConfig {
        StreamConfig {
            subjects: Vec::new(),
            retention: String::new(),
            max_msgs: -1,
            max_bytes: -1,
            max_age: 0,
            max_msgs_per_subject: -1,
            max_msg_size: -1,
            discard: String::new(),
            storage: String::new(),
            num_replicas: 0,
            no_ack: false,
            deny_delete: false,
            deny_purge: false,
            allow_rollup_hdrs: false,
            allow_direct: false,
            allow_msg_ttl: false,
            allow_msg_counter: false,
            sealed: false,
            mirror: None,
            sources: None,
            subject_transform: None,
            persist_mode: String::new(),
        }
    }
}

impl StreamConfig {
    /// What is not safe about it, and what to set instead.
    pub fn unsafe_setting(&self, address: &LogAddress) -> Option<String> {
        let wanted = address.replicas;
        let found = self.num_replicas;
        let set = [
            (self.storage == "file", "storage to file: memory is lost with its server"),
            (self.retention == "limits", "retention to limits: else messages are gone once they were read"),
            (self.discard == "new", "discard to new: else old messages make room for new ones"),
            (self.max_msgs <= 0 && self.max_msgs_per_subject <= 0, "no limit of messages (max_msgs -1)"),
            (self.max_bytes <= 0, "no limit of bytes (max_bytes -1)"),
            (self.max_age == 0 && !self.allow_msg_ttl, "no expiry (max_age 0, without allow_msg_ttl)"),
            (self.deny_delete, "deny_delete: else somebody may delete events"),
            (self.deny_purge && !self.allow_rollup_hdrs, "deny_purge, without allow_rollup_hdrs"),
            (self.allow_direct, "allow_direct: nodes read from every replica"),
            (!self.no_ack, "no_ack to false: nobody would know what was recorded"),
            (!self.sealed, "sealed to false: it takes nothing more"),
            (!self.allow_msg_counter, "allow_msg_counter to false: messages are no counters"),
            (
                matches!(self.persist_mode.as_str(), "" | "default"),
                "persist_mode to default: async loses messages",
            ),
            (self.mirror.is_none() && is_empty(self.sources.as_ref()), "no mirror and no sources"),
            (self.subject_transform.is_none(), "no subject_transform"),
            (
                matches!(self.subjects.as_slice(), [one] if !one.contains(['*', '>'])),
                "one subject without wildcards",
            ),
        ];
        let wrong = set.into_iter().find(|(right, _)| !right);
        if let Some((_, set)) = wrong {
            return Some(format!("set {set}"));
        }
        if found < wanted {
            let trial = if found == 1 { "; with ?replicas=1 it is a trial on one server" } else { "" };
            return Some(format!("set num_replicas to {wanted}, it has {found}{trial}"));
        }
        None
    }
}

fn is_empty(list: Option<&serde_json::Value>) -> bool {
    list.is_none_or(|list| list.as_array().is_some_and(Vec::is_empty))
}

/// A message of the stream, as it is there.
#[derive(Debug, Clone)]
pub(super) struct RawMessage {
    pub sequence: u64,
    pub data: Vec<u8>,
}

#[derive(Deserialize)]
struct GotMessage {
    message: GotParts,
}

#[derive(Deserialize)]
struct GotParts {
    seq: u64,
    #[serde(default)]
    data: String,
}

/// What became of a message that was published.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Published {
    #[serde(default)]
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

/// What is told of a stream; none where there is none.
pub(super) fn info(link: &NatsLink, stream: &str) -> Result<Option<StreamInfo>, StreamError> {
    match ask(link, format!("$JS.API.STREAM.INFO.{stream}"), String::new(), ANSWER) {
        Err(StreamError::Said(NO_STREAM, _)) => Ok(None),
        told => told.map(Some),
    }
}

/// Makes the stream, with what is safe. Another who makes it at the same time is as good.
pub(super) fn make(link: &NatsLink, address: &LogAddress) -> Result<(), StreamError> {
    let stream = &address.stream;
    let config = json!({
        "name": stream,
        "subjects": [address.subject()],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "num_replicas": address.replicas,
        "deny_delete": true,
        "deny_purge": true,
        "allow_direct": true,
    });
    let made: Result<StreamInfo, StreamError> =
        ask(link, format!("$JS.API.STREAM.CREATE.{stream}"), config.to_string(), MAKE);
    match made {
        Ok(_) | Err(StreamError::Said(NAME_TAKEN, _)) => Ok(()),
        Err(StreamError::Said(NO_CLUSTER, said)) => {
            let advice = format!("{said}; on one server say ?replicas=1, for a trial");
            Err(StreamError::Said(NO_CLUSTER, advice))
        }
        Err(error) => Err(error),
    }
}

/// The message with a number, as the leader has it; none where it has none.
pub(super) fn message(
    link: &NatsLink,
    stream: &str,
    sequence: u64,
) -> Result<Option<RawMessage>, StreamError> {
    let asked = json!({ "seq": sequence }).to_string();
    let got: Result<GotMessage, StreamError> =
        ask(link, format!("$JS.API.STREAM.MSG.GET.{stream}"), asked, ANSWER);
    match got {
        Ok(GotMessage { message: GotParts { seq, data } }) => {
            let data = STANDARD.decode(data).map_err(|_| StreamError::Garbled)?;
            Ok(Some(RawMessage { sequence: seq, data }))
        }
        Err(StreamError::Said(NO_MESSAGE, _)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Messages from a number on, as any of the replicas has them: it may not have the newest.
pub(super) fn messages(link: &NatsLink, stream: &str, from: u64) -> Result<Vec<RawMessage>, StreamError> {
    let asked = json!({ "seq": from, "batch": BATCH, "max_bytes": BATCH_BYTES }).to_string();
    let take = |message: async_nats::Message, taken: &mut Vec<RawMessage>| {
        // What ends them, or is no message, has a status.
        let sequence = message
            .headers
            .as_ref()
            .filter(|_| message.status.is_none())
            .and_then(|headers| headers.get("Nats-Sequence"))
            .and_then(|sequence| sequence.as_str().parse().ok());
        let Some(sequence) = sequence else { return false };
        taken.push(RawMessage { sequence, data: message.payload.to_vec() });
        taken.len() < BATCH
    };
    link.request_many(format!("$JS.API.DIRECT.GET.{stream}"), asked, BATCH_ANSWER, take, Vec::new())
        .map_err(StreamError::None)
}

/// Reads the answer to a publication.
pub(super) fn published(answer: &[u8]) -> Result<Published, StreamError> {
    read(answer)
}

fn ask<T: DeserializeOwned>(
    link: &NatsLink,
    subject: String,
    payload: String,
    limit: Duration,
) -> Result<T, StreamError> {
    let answer = link.request(subject, None, payload, limit).map_err(StreamError::None)?;
    read(&answer.payload)
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, StreamError> {
    if let Ok(ErrorAnswer { error: Some(error) }) = serde_json::from_slice(answer) {
        return Err(StreamError::Said(error.err_code, error.description));
    }
    serde_json::from_slice(answer).map_err(|_| StreamError::Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut StreamConfig)) -> Option<String> {
        let mut config = StreamConfig {
            subjects: vec!["bygone.shop".to_owned()],
            retention: "limits".to_owned(),
            discard: "new".to_owned(),
            storage: "file".to_owned(),
            num_replicas: 3,
            deny_delete: true,
            deny_purge: true,
            allow_direct: true,
            ..StreamConfig::default()
        };
        change(&mut config);
        config.unsafe_setting(&LogAddress::parse("nats://a/shop").unwrap())
    }

    #[test]
    fn each_setting_that_is_not_safe_is_refused() {
        assert_eq!(config(|_| {}), None);
        type Change = (&'static str, fn(&mut StreamConfig));
        let changes: [Change; 19] = [
            ("storage", |config| config.storage = "memory".to_owned()),
            ("retention", |config| config.retention = "workqueue".to_owned()),
            ("discard", |config| config.discard = "old".to_owned()),
            ("max_msgs", |config| config.max_msgs = 1000),
            ("max_msgs", |config| config.max_msgs_per_subject = 1),
            ("max_bytes", |config| config.max_bytes = 1000),
            ("max_age", |config| config.max_age = 1),
            ("allow_msg_ttl", |config| config.allow_msg_ttl = true),
            ("deny_delete", |config| config.deny_delete = false),
            ("deny_purge", |config| config.deny_purge = false),
            ("allow_rollup_hdrs", |config| config.allow_rollup_hdrs = true),
            ("allow_direct", |config| config.allow_direct = false),
            ("no_ack", |config| config.no_ack = true),
            ("sealed", |config| config.sealed = true),
            ("persist_mode", |config| config.persist_mode = "async".to_owned()),
            ("sources", |config| config.sources = Some(json!([{"name": "other"}]))),
            ("one subject", |config| config.subjects = vec!["bygone.>".to_owned()]),
            ("num_replicas to 3, it has 1; with ?replicas=1", |config| config.num_replicas = 1),
            ("mirror", |config| config.mirror = Some(json!({"name": "other"}))),
        ];
        for (told, change) in changes {
            let said = config(change).unwrap_or_default();
            assert!(said.contains(told), "{told}: {said}");
        }
    }

    #[test]
    fn answers_are_read() {
        let ok = published(br#"{"stream":"shop","seq":7}"#).unwrap();
        assert_eq!((ok.seq, ok.duplicate), (7, false));
        let said =
            published(br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"}}"#);
        assert!(matches!(said, Err(StreamError::Said(10071, _))));
        assert!(matches!(published(b"{"), Err(StreamError::Garbled)));
    }
}
