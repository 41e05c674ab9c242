//! Event ids: UUIDv7 from the database, or whatever the caller says.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// The id of an event. One that the database makes is a UUIDv7 whose time is the event's `recorded`: such ids sort by time, and
/// along the log they always grow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(EventIdRepr);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum EventIdRepr {
    /// Text that is a UUID in its usual form takes sixteen bytes; it prints as it was written.
    Uuid(Uuid),
    Text(Arc<str>),
}

impl EventId {
    /// An id from elsewhere, kept verbatim; not empty, 256 bytes at most.
    pub fn new(text: &str) -> Result<EventId> {
        const MOST: usize = 256;
        if text.is_empty() || text.len() > MOST {
            let expected = format!("a text of 1 to {MOST} bytes");
            return Err(Error::invalid("the id of an event", expected, format!("{} bytes", text.len())));
        }
        Ok(EventId(match Uuid::try_parse(text) {
            Ok(uuid) if uuid.hyphenated().to_string() == text => EventIdRepr::Uuid(uuid),
            _ => EventIdRepr::Text(text.into()),
        }))
    }

    pub(crate) fn from_uuid(bytes: [u8; 16]) -> EventId {
        EventId(EventIdRepr::Uuid(Uuid::from_bytes(bytes)))
    }

    /// The sixteen bytes, where it is a UUID.
    pub(crate) fn uuid(&self) -> Option<&[u8; 16]> {
        match &self.0 {
            EventIdRepr::Uuid(uuid) => Some(uuid.as_bytes()),
            EventIdRepr::Text(_) => None,
        }
    }

    /// The instant that a UUIDv7 tells, in milliseconds.
    pub(crate) fn millis(&self) -> Option<i64> {
        match &self.0 {
            EventIdRepr::Uuid(uuid) if uuid.get_version_num() == 7 => {
                let bytes = uuid.as_bytes();
                Some(bytes[..6].iter().fold(0, |n, &b| n << 8 | i64::from(b)))
            }
            _ => None,
        }
    }

    /// Whether its time is when the event was recorded.
    pub(crate) fn tells_its_place(&self, recorded: Timestamp) -> bool {
        self.millis() == Some(recorded.as_millis())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            EventIdRepr::Uuid(uuid) => write!(f, "{}", uuid.hyphenated()),
            EventIdRepr::Text(text) => f.write_str(text),
        }
    }
}

/// Makes ids that grow: by time, and within one millisecond by counting on from a random place.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdSource {
    millis: i64,
    /// The 74 bits beside time, version and variant.
    rest: u128,
}

impl IdSource {
    const REST: u128 = (1 << 74) - 1;

    /// Takes an id that was restored as its own, if it grows like one: it has the time it was recorded at, and follows those before.
    pub fn adopt(&mut self, id: &EventId, recorded: Timestamp) -> bool {
        let Some(place) = place_of(id) else { return false };
        let grows = id.tells_its_place(recorded) && place > (self.millis, self.rest);
        if grows {
            (self.millis, self.rest) = place;
        }
        grows
    }

    /// Goes on behind an id of the database's own that is in the log, whoever made it.
    pub fn follow(&mut self, id: &EventId) {
        if let Some(place) = place_of(id) {
            (self.millis, self.rest) = place;
        }
    }

    /// The next id for an event recorded at this instant. Instants never go back: the caller sees to that.
    pub fn next(&mut self, recorded: Timestamp) -> Result<EventId> {
        let millis = recorded.as_millis().clamp(0, (1 << 48) - 1);
        let mut random = [0; 16];
        if millis != self.millis {
            getrandom::fill(&mut random)
                .map_err(|e| Error::io("reading random bytes", std::io::Error::other(e)))?;
            // The upper half stays free, so that counting on within a millisecond never overflows.
            (self.millis, self.rest) = (millis, u128::from_be_bytes(random) & (Self::REST >> 1));
        } else {
            self.rest = (self.rest + 1) & Self::REST;
        }
        let high = (self.rest >> 62) as u16 & 0x0fff;
        let low = self.rest as u64 & ((1 << 62) - 1);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&(0x7000 | high).to_be_bytes());
        bytes[8..].copy_from_slice(&(1 << 63 | low).to_be_bytes());
        Ok(EventId::from_uuid(bytes))
    }
}

/// The time of a UUIDv7 in milliseconds, and the 74 bits beside time, version and variant.
fn place_of(id: &EventId) -> Option<(i64, u128)> {
    let (millis, bytes) = (id.millis()?, id.uuid()?);
    let high = u128::from(u16::from_be_bytes([bytes[6], bytes[7]]) & 0x0fff);
    let low = bytes[8..].iter().fold(0, |n, &byte| n << 8 | u128::from(byte)) & ((1 << 62) - 1);
    Some((millis, high << 62 | low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_goes_on_behind_an_id_that_another_made() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let (mut other, mut source) = (IdSource::default(), IdSource::default());
        source.next(at.saturating_add(std::time::Duration::from_millis(5))).unwrap();
        let id = other.next(at).unwrap();
        source.follow(&id);
        assert!(source.next(at).unwrap() > id);
    }

    #[test]
    fn ids_grow_within_and_across_milliseconds() {
        let mut source = IdSource::default();
        let mut last = None;
        for millis in [0, 0, 5, 5, 5, 6, 1_700_000_000_000, 1_700_000_000_000] {
            let id = source.next(Timestamp::from_millis(millis)).unwrap();
            assert_eq!(id.millis(), Some(millis));
            assert!(last < Some(id.clone()), "{id}");
            assert!(id.to_string() > last.as_ref().map(EventId::to_string).unwrap_or_default());
            last = Some(id);
        }
    }

    #[test]
    fn an_id_is_adopted_if_it_grows() {
        let (mut made, mut source) = (IdSource::default(), IdSource::default());
        let at = Timestamp::from_millis(1_700_000_000_000);
        let [first, second] = [made.next(at).unwrap(), made.next(at).unwrap()];
        assert!(source.adopt(&first, at) && !source.adopt(&first, at) && source.adopt(&second, at));
        assert!(source.next(at).unwrap() > second);
        assert!(!source.adopt(&made.next(at).unwrap(), Timestamp::from_millis(5)));
        assert!(!source.adopt(&EventId::new("mine").unwrap(), at));
    }

    #[test]
    fn an_id_is_kept_verbatim() {
        for text in
            ["42", "018f2f6e-7a30-7000-8000-000000000001", "018F2F6E-7A30-7000-8000-000000000001", "x y"]
        {
            assert_eq!(EventId::new(text).unwrap().to_string(), text);
        }
        assert!(EventId::new("").is_err() && EventId::new(&"x".repeat(257)).is_err());
    }
}
