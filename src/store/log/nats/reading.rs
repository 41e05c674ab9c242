//! Reading the stream: what comes behind a position, without a gap, or why there is none.
//!
//! The next message is asked of the leader, and what follows of any replica. That a message is not there, or is damaged, is believed only once
//! all were asked for some time: one replica may be late, another one's disk may be damaged.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{MessageKind, StreamMessage};
use super::stream::{self, RawMessage, StreamError};
use super::{LogAddress, NatsLog};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::log::LogFrame;
use crate::store::mutex::locked;

/// For how long all replicas are asked before something is said to be missing, or damaged. A leader that was just elected may be late.
const SURELY: Duration = Duration::from_secs(10);

/// How soon it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// How seldom it is asked where the stream ends, when nothing more is there.
const LENGTH: Duration = Duration::from_secs(1);

/// For how long the leader alone is asked, once a replica did not answer.
const ALONE: Duration = Duration::from_secs(5);

/// How many bytes are read ahead.
const AHEAD: usize = 8 << 20;

/// What was read, and is not applied yet.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    ahead: VecDeque<LogFrame>,
    bytes: usize,
    /// How often there was more.
    streak: u32,
    measured: Option<Instant>,
    /// When one of the replicas did not answer.
    unanswered: Option<Instant>,
}

impl StreamReader {
    fn push(&mut self, frame: LogFrame) {
        self.bytes += frame.frame.payload.len();
        self.ahead.push_back(frame);
    }

    /// Forgets what is applied.
    fn drop_through(&mut self, after: Position) {
        while let Some(frame) = self.ahead.front().filter(|frame| frame.frame.first <= after) {
            self.bytes -= frame.frame.payload.len();
            self.ahead.pop_front();
        }
    }
}

/// A message that was read, and its sequence.
pub(super) type At = (u64, StreamMessage);

impl NatsLog {
    /// The frames behind a position, some at a time.
    pub(super) fn frames_behind(&self, after: Position, in_doubt: bool) -> Result<Vec<LogFrame>> {
        let mut reader = locked(&self.reader);
        reader.drop_through(after);
        if reader.ahead.is_empty() {
            self.read_ahead(&mut reader, after, in_doubt)?;
        }
        Ok(reader.ahead.iter().cloned().collect())
    }

    fn read_ahead(&self, reader: &mut StreamReader, after: Position, in_doubt: bool) -> Result<()> {
        let known = locked(&self.marks).sequence_of(after);
        let (mut sequence, mut end) = (known.map_or_else(|| self.located(after), Ok)?, after);
        loop {
            let Some(message) = self.next_of_leader(reader, sequence, after, in_doubt)? else {
                reader.streak = 0;
                return Ok(());
            };
            sequence += 1;
            end = self.take(reader, (sequence, message), end)?;
            reader.streak += 1;
            // One at a time, as they come, or many.
            let one = self.told.newest() <= sequence && reader.streak < 2
                || reader.unanswered.is_some_and(|at| at.elapsed() < ALONE);
            if !one {
                (sequence, end) = self.read_batch(reader, sequence, end)?;
            }
            // Of ticks alone nobody has anything.
            if !reader.ahead.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads what comes behind a message from any replica, as far as that goes; where it ends. What a replica lacks, or has damaged, the leader is
    /// asked for in turn.
    fn read_batch(
        &self,
        reader: &mut StreamReader,
        mut sequence: u64,
        mut end: Position,
    ) -> Result<(u64, Position)> {
        let batch = stream::messages(&self.link, &self.address.stream, sequence + 1);
        reader.unanswered = batch.is_err().then(Instant::now);
        for raw in batch.unwrap_or_default() {
            let Ok(message) = StreamMessage::decode(&raw.data) else { break };
            if raw.sequence != sequence + 1 || reader.bytes > AHEAD {
                break;
            }
            sequence += 1;
            end = self.take(reader, (sequence, message), end)?;
        }
        Ok((sequence, end))
    }

    /// Takes a message that follows what ends at a position; where it ends.
    fn take(&self, reader: &mut StreamReader, (sequence, message): At, before: Position) -> Result<Position> {
        let (header, end) = (message.header, message.header.end());
        if header.database != self.id {
            return Err(self.corrupt(format!("a message of another database at {sequence}")));
        }
        match header.kind {
            MessageKind::Events => {
                let own = (header.writer == self.writer).then_some(header.number);
                let frame = Arc::new(message.into_frame());
                reader.push(LogFrame { own, before: header.before, frame });
            }
            MessageKind::Begin | MessageKind::Tick if end == before => {}
            MessageKind::Begin | MessageKind::Tick => {
                return Err(
                    self.corrupt(format!("a tick after {end} at {sequence}, which comes after {before}"))
                );
            }
        }
        locked(&self.marks).add(end, sequence);
        Ok(end)
    }

    /// The message behind a sequence, whose events end at a position, as the leader has it; none where that is where the stream ends.
    fn next_of_leader(
        &self,
        reader: &mut StreamReader,
        sequence: u64,
        position: Position,
        in_doubt: bool,
    ) -> Result<Option<StreamMessage>> {
        match self.message(sequence + 1)? {
            Some(raw) => match StreamMessage::decode(&raw.data) {
                Ok(message) => return Ok(Some(message)),
                Err(_) => return self.of_any(sequence + 1, position).map(Some),
            },
            None if !in_doubt && reader.measured.is_some_and(|at| at.elapsed() < LENGTH) => return Ok(None),
            None => {}
        }
        reader.measured = Some(Instant::now());
        match self.last_sequence()? {
            last if last == sequence => Ok(None),
            // A leader that was just elected may be late.
            _ => self.surely(sequence, position),
        }
    }

    /// What is behind a sequence, where the leader says first that nothing is, and then that it ends elsewhere.
    fn surely(&self, sequence: u64, position: Position) -> Result<Option<StreamMessage>> {
        let until = Instant::now() + SURELY;
        loop {
            let last = self.last_sequence()?;
            if last == sequence {
                return Ok(None);
            }
            if last > sequence {
                return self.of_any(sequence + 1, position).map(Some);
            }
            if Instant::now() >= until {
                let found = format!(
                    "its end at the message {last}, and this database goes on from {sequence}, up to {position}"
                );
                return Err(self.corrupt(found));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// A message that must be there, from whichever replica has it whole.
    fn of_any(&self, sequence: u64, after: Position) -> Result<StreamMessage> {
        let until = Instant::now() + SURELY;
        loop {
            let of_leader = self.message(sequence)?.map(|raw| StreamMessage::decode(&raw.data));
            let why = match of_leader {
                Some(Ok(message)) => return Ok(message),
                Some(Err(why)) => why,
                None => "a hole",
            };
            if let Some(message) = self.of_a_replica(sequence) {
                return Ok(message);
            }
            if Instant::now() >= until {
                let last = self.last_sequence()?;
                return Err(self.corrupt(format!("{why} at {sequence} of {last}, behind {after}")));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// A message, from one of the replicas; none if it has none that is whole.
    fn of_a_replica(&self, sequence: u64) -> Option<StreamMessage> {
        let batch = stream::messages(&self.link, &self.address.stream, sequence).ok()?;
        let raw = batch.into_iter().next().filter(|raw| raw.sequence == sequence)?;
        StreamMessage::decode(&raw.data).ok()
    }

    /// The message with a number, as the leader has it.
    fn message(&self, sequence: u64) -> Result<Option<RawMessage>> {
        stream::message(&self.link, &self.address.stream, sequence)
            .map_err(|error| failed(&self.address, &error))
    }

    /// The number of the last message.
    pub(super) fn last_sequence(&self) -> Result<u64> {
        match stream::info(&self.link, &self.address.stream) {
            Ok(Some(info)) => Ok(info.state.last_seq),
            // Servers that begin do not know it yet.
            Ok(None) => Err(unanswered(&self.address, "the stream is not there")),
            Err(error) => Err(failed(&self.address, &error)),
        }
    }

    /// The last message that ends at a position, and its sequence; none where a message goes over it, or none reaches it.
    pub(super) fn locate(&self, position: Position) -> Result<Option<u64>> {
        let (mut low, mut high) = (0, self.last_sequence()?);
        let mut found = None;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let end = self.of_any(middle, position)?.header.end();
            if end <= position {
                low = middle;
                found = (end == position).then_some(middle);
            } else {
                high = middle - 1;
            }
        }
        if let Some(sequence) = found {
            locked(&self.marks).add(position, sequence);
        }
        Ok(found)
    }

    fn located(&self, position: Position) -> Result<u64> {
        self.locate(position)?.ok_or_else(|| self.corrupt(format!("no message that ends at {position}")))
    }

    /// The message with this number, from whichever replica has it whole.
    pub(super) fn whole_message(&self, sequence: u64, position: Position) -> Result<StreamMessage> {
        self.of_any(sequence, position)
    }

    fn corrupt(&self, found: String) -> Error {
        Error::corrupt(format!("the log {}", self.address), found)
    }
}

/// That the servers do not answer.
pub(super) fn unanswered(address: &LogAddress, why: &str) -> Error {
    Error::io(format!("asking {address}"), io::Error::new(io::ErrorKind::TimedOut, why))
}

/// That something was not answered as was hoped for.
pub(super) fn failed(address: &LogAddress, error: &StreamError) -> Error {
    match error {
        StreamError::None(none) => none.error(&format!("asking {address}")),
        StreamError::Said(code, said) => unanswered(address, &format!("{said} ({code})")),
        StreamError::Garbled => unanswered(address, "an answer that is not JetStream's"),
    }
}
