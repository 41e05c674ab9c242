//! The log on a stream of NATS JetStream: several nodes append to it, and each has a copy of all of it in tables of its own.
//!
//! One frame is one message ([`message`]). It is published on the condition that the stream ends where this node thinks it does, so that of
//! two who append at once one is behind. Where there is no answer the leader of the stream is asked what comes next; the same frame may be
//! published again, for it is taken at that place alone. What the servers acknowledge is on the disks of most of them, if they are set to
//! sync always: that is what opening insists on, or is told ([`opening`]).
//!
//! It reads from the leader what comes next, and from any replica what comes after that ([`reading`]). Writers tell each other how far the stream
//! goes; whoever does not hear it looks by itself, a little later.
//!
//! Its locks: that of who reads, of the marks ([`marks`]), and of when it was looked. That of who reads comes first, and is held while servers are
//! asked; the others are held for a moment.

mod address;
mod hearsay;
mod link;
mod marks;
mod message;
mod opening;
mod reading;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;

use super::{AppendError, FrameAppend, JournalAfter, Log, LogFrame, LogPlace};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::store::journal::DatabaseId;
use crate::store::mutex::{Mutex, locked};

pub(crate) use address::LogAddress;
use hearsay::{Hearsay, Word};
use link::NatsLink;
use marks::Marks;
use message::{HEADER, MessageHeader, MessageKind, Writer};
use reading::StreamReader;
use stream::StreamError;

/// How long the answer to a frame may take before it is asked what became of it.
const ACKNOWLEDGED: Duration = Duration::from_secs(3);

/// How long to find out what became of a frame: longer than a new leader takes.
const LONGEST_DOUBT: Duration = Duration::from_secs(30);

/// How seldom the stream is looked at where nobody says that there is more.
const LOOK: Duration = Duration::from_millis(250);

/// How often a tick is tried before the servers are said not to answer.
const TICKS: usize = 16;

/// What the headers of a message may take.
const HEADERS: usize = 512;

/// Errors of a publication, by their codes.
const WRONG_SEQUENCE: [u64; 2] = [10071, 10164];
const TOO_LARGE: u64 = 10054;

/// A log on a stream, as one node uses it.
#[derive(Debug)]
pub(crate) struct NatsLog {
    address: LogAddress,
    subject: String,
    id: DatabaseId,
    writer: Writer,
    /// The largest payload of a frame.
    most: usize,
    marks: Mutex<Marks>,
    reader: Mutex<StreamReader>,
    looked: Mutex<Option<Instant>>,
    /// What was published last may be in the stream, or something else.
    in_doubt: AtomicBool,
    ticks: AtomicU64,
    told: Arc<Hearsay>,
    link: NatsLink,
}

/// What became of a message.
enum Outcome {
    At(u64),
    Behind,
    TooLarge,
    Unknown,
}

impl NatsLog {
    /// Publishes a message directly behind another one.
    fn publish(&self, after: u64, id: &str, message: Vec<u8>) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", self.address.stream.as_str());
        headers.insert("Nats-Expected-Last-Sequence", after.to_string().as_str());
        headers.insert("Nats-Msg-Id", id);
        let answer = self.link.request(self.subject.clone(), Some(headers), message, ACKNOWLEDGED);
        let Ok(answer) = answer else { return Outcome::Unknown };
        match stream::published(&answer.payload) {
            // Where it is a duplicate, it is read whether it is the same one.
            Ok(published) if published.seq == after + 1 && !published.duplicate => {
                self.tell(published.seq);
                Outcome::At(published.seq)
            }
            Err(StreamError::Said(code, _)) if WRONG_SEQUENCE.contains(&code) => {
                self.tell(0);
                Outcome::Behind
            }
            Err(StreamError::Said(TOO_LARGE, _)) => Outcome::TooLarge,
            Ok(_) | Err(_) => Outcome::Unknown,
        }
    }

    /// Tells the others how far the stream goes, or, by 0, that this node waits for a turn.
    fn tell(&self, sequence: u64) {
        let word = Word { writer: self.writer, sequence };
        self.link.tell(told_subject(&self.address), word.encode());
    }

    fn header(&self, kind: MessageKind, after: LogPlace, number: u64, count: u32) -> MessageHeader {
        MessageHeader {
            kind,
            database: self.id,
            writer: self.writer,
            number,
            first: after.position.next(),
            count,
            before: after.chain,
        }
    }

    fn too_large(&self, size: usize) -> AppendError {
        let what = format!(
            "a group, which is one message of {} (raise max_payload of its servers, or append it in parts)",
            self.address
        );
        AppendError::Refused(Error::too_large(what, size, self.most))
    }

    /// What was published may be there, or something else: whoever reads next asks at once.
    fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }
}

/// Where nodes tell each other how far the stream goes, and who waits.
fn told_subject(address: &LogAddress) -> String {
    format!("bygone-told.{}", address.stream)
}

impl Log for NatsLog {
    fn id(&self) -> DatabaseId {
        self.id
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn append(&self, frame: FrameAppend<'_>) -> Result<(), AppendError> {
        let FrameAppend { buffer, after, number, count, .. } = frame;
        if count == 0 {
            // Places in it are each node's own, and in its tables.
            return Err(AppendError::Refused(Error::stopped("a shared log takes no moves of cursors")));
        }
        let payload = buffer.payload();
        if payload.len() > self.most {
            return Err(self.too_large(payload.len()));
        }
        let size = payload.len();
        let header = self.header(MessageKind::Events, after, number, count);
        let message = header.encode(payload);
        let sequence = locked(&self.marks).sequence_of(after.position);
        let Some(sequence) =
            sequence.map_or_else(|| self.locate(after.position), |it| Ok(Some(it))).ok().flatten()
        else {
            self.doubt();
            return Err(AppendError::Unknown);
        };
        match self.publish(sequence, &format!("{}-{number}", hex(&self.writer.0)), message) {
            Outcome::At(at) => {
                locked(&self.marks).add(header.end(), at);
                Ok(())
            }
            Outcome::TooLarge => Err(self.too_large(size)),
            Outcome::Behind => {
                self.doubt();
                Err(AppendError::Behind)
            }
            Outcome::Unknown => {
                self.doubt();
                Err(AppendError::Unknown)
            }
        }
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn read(&self, after: Position, until: Instant) -> Result<Vec<LogFrame>> {
        let in_doubt = self.in_doubt.swap(false, Ordering::Relaxed);
        if !in_doubt && until > Instant::now() {
            let known = locked(&self.marks).sequence_of(after).unwrap_or_default();
            let looked = *locked(&self.looked);
            if !self.told.wait_past(known, until) && looked.is_some_and(|looked| looked.elapsed() < LOOK) {
                return Ok(Vec::new());
            }
        }
        let found = self.frames_behind(after, in_doubt);
        *locked(&self.looked) = Some(Instant::now());
        if let Ok([]) = found.as_deref() {
            self.told.look(locked(&self.marks).sequence_of(after).unwrap_or_default());
        }
        if found.is_err() && in_doubt {
            self.doubt();
        }
        found
    }

    fn ends_at(&self, place: LogPlace) -> Result<bool> {
        for tried in 0..TICKS {
            if !self.frames_behind(place.position, tried > 0)?.is_empty() {
                return Ok(false);
            }
            let Some(sequence) = locked(&self.marks).sequence_of(place.position) else { continue };
            let number = self.ticks.fetch_add(1, Ordering::Relaxed);
            let tick = self.header(MessageKind::Tick, place, number, 0).encode(&[]);
            // It is behind all that there is: nobody was before it.
            if let Outcome::At(at) =
                self.publish(sequence, &format!("{}-t{number}", hex(&self.writer.0)), tick)
            {
                locked(&self.marks).add(place.position, at);
                return Ok(true);
            }
        }
        Err(reading::unanswered(&self.address, "it takes nothing"))
    }

    fn give_way(&self, head: Position) -> bool {
        self.told.give_way();
        let known = locked(&self.marks).sequence_of(head);
        known.is_some_and(|known| self.told.newest() > known)
    }

    fn lag(&self, head: Position) -> Option<u64> {
        let last = self.last_sequence().ok()?;
        Some(self.whole_message(last, head).ok()?.header.end().since(head))
    }

    fn longest_doubt(&self) -> Duration {
        LONGEST_DOUBT
    }

    fn most_bytes(&self) -> usize {
        self.most
    }

    fn turn(&self, last: Position) -> Result<bool> {
        locked(&self.marks).turn(last);
        Ok(true)
    }

    fn release(&self, through: Position) {
        locked(&self.marks).release(through);
    }

    fn after_checkpoint(&self, through: Position) -> JournalAfter {
        locked(&self.marks).sequence_of(through).map_or(JournalAfter::Kept, JournalAfter::Elsewhere)
    }

    fn close(&self, settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()> {
        settle(JournalAfter::Kept)
    }
}

/// The largest payload of a frame, by what the servers take.
fn most_bytes(max_payload: usize, max_message: i64) -> usize {
    let message = usize::try_from(max_message).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
    max_payload.min(message).saturating_sub(HEADER + HEADERS)
}
