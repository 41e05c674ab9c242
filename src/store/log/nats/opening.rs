//! Opening a log on a stream: makes the stream, or refuses one that is not safe; and finds the place up to which the tables have it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use super::hearsay::Word;
use super::link::NatsLink;
use super::marks::Marks;
use super::message::{HEADER, MessageHeader, MessageKind, StreamMessage, Writer};
use super::reading::{StreamReader, failed, unanswered};
use super::stream::{self, OLDEST, StreamError, StreamInfo};
use super::{LogAddress, NatsLog, Outcome, most_bytes, told_subject};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::journal::{self, DatabaseId};
use crate::store::log::LogPlace;
use crate::store::mutex::{Mutex, locked};
use crate::store::tables::{FollowedLog, Tables};

/// How long opening waits for a stream to have a leader.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

/// The least that a message must be able to hold.
const LEAST: usize = 64 << 10;

/// Somebody opens a log for a file.
struct Opening<'o> {
    address: &'o LogAddress,
    path: &'o Path,
    link: &'o NatsLink,
    /// Whoever only reads makes nothing.
    read_only: bool,
}

impl NatsLog {
    /// Opens the log for a file whose tables go up to a place.
    ///
    /// # Errors
    /// If a setting is not safe, if it is the log of another database, and if it is not what the tables have of it.
    pub fn open(
        address: LogAddress,
        path: &Path,
        tables: &Tables,
        place: LogPlace,
        read_only: bool,
    ) -> Result<NatsLog> {
        if !address.sync_trusted {
            let reason = "it is not known whether its servers sync a message before they acknowledge it";
            let advice = "set sync_interval to always in the jetstream block of each server, and say so with ?sync=trusted";
            return Err(refused(&address, path, reason, advice));
        }
        let link = NatsLink::open(&address)?;
        let opening = Opening { address: &address, path, link: &link, read_only };
        opening.check_version()?;
        let info = opening.stream()?;
        if read_only && info.state.last_seq == 0 {
            return Err(opening.refused("it is empty", NOT_MADE));
        }
        let most = most_bytes(link.client().max_payload(), info.config.max_msg_size);
        if most < LEAST {
            let advice =
                format!("set max_payload of the servers, and max_msg_size, to {} or more", LEAST + (2 << 10));
            return Err(refused(&address, path, "its messages hold too little", &advice));
        }
        let subject = info.config.subjects.into_iter().next().unwrap_or_default();
        let mut log = NatsLog {
            subject,
            id: DatabaseId([0; 16]),
            writer: Writer(journal::random()?),
            most,
            marks: Mutex::default(),
            reader: Mutex::new(StreamReader::default()),
            looked: Mutex::default(),
            in_doubt: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
            told: Arc::default(),
            address: address.clone(),
            link,
        };
        let followed = tables.read()?.followed_log()?;
        log.id = log.database(path, &followed, place.position)?;
        let sequence = log.find_place(path, followed, place)?;
        *locked(&log.marks) = Marks::new(place.position, sequence);
        if !read_only && followed.is_none_or(|followed| followed.id != Some(log.id)) {
            tables.write("noting the log", |tables| {
                tables.set_followed_log(FollowedLog { id: Some(log.id), sequence })
            })?;
        }
        log.hear()?;
        Ok(log)
    }

    /// The database whose log the stream is, by its first message, which is made where there is none.
    fn database(&self, path: &Path, followed: &Option<FollowedLog>, head: Position) -> Result<DatabaseId> {
        let address = &self.address;
        let until = Instant::now() + PATIENCE;
        let first = loop {
            if let Some(raw) =
                stream::message(&self.link, &address.stream, 1).map_err(|error| failed(address, &error))?
            {
                break raw;
            }
            let Some(info) =
                stream::info(&self.link, &address.stream).map_err(|error| failed(address, &error))?
            else {
                return Err(unanswered(address, "the stream is not there"));
            };
            // Nobody else may say it of a stream that had a first message.
            if info.state.last_seq == 0 && head > Position::START {
                let reason = format!(
                    "it is empty, and the file goes up to {head}: what was in it is lost, or it is another one"
                );
                return Err(refused(address, path, &reason, "open the file by the log that it is of"));
            }
            if info.state.last_seq == 0 {
                self.begin()?;
            }
            if Instant::now() >= until {
                return Err(unanswered(address, "its first message is not there"));
            }
            std::thread::sleep(PAUSE);
        };
        let begin = match StreamMessage::decode(&first.data) {
            Ok(message) if message.header.kind == MessageKind::Begin => message.header,
            Ok(_) | Err("a message that is not Bygone's") => {
                let reason = "it holds messages that are no log of Bygone's";
                return Err(refused(
                    address,
                    path,
                    reason,
                    "name another stream: one that is not there is made",
                ));
            }
            Err(_) => self.whole_message(1, Position::START)?.header,
        };
        match followed {
            Some(FollowedLog { id: Some(id), .. }) if *id != begin.database => {
                let reason = format!(
                    "it is the log of the database {}, and the file is of {}",
                    begin.database.urn(),
                    id.urn()
                );
                Err(refused(address, path, &reason, "open the file by the log that it is of"))
            }
            None if head > Position::START => {
                let reason = format!("the file holds events up to {head} that it has from no log");
                let advice = "export them, and import them into a new file that follows the log";
                Err(refused(address, path, &reason, advice))
            }
            _ => Ok(begin.database),
        }
    }

    /// Says which database the stream is of, as its first message. Of several who do one is first.
    fn begin(&self) -> Result<()> {
        let header = MessageHeader {
            kind: MessageKind::Begin,
            database: DatabaseId::random()?,
            writer: self.writer,
            number: 0,
            first: Position::START.next(),
            count: 0,
            before: [0; 32],
        };
        match self.publish(0, &format!("{}-begin", crate::hex::hex(&self.writer.0)), header.encode(&[])) {
            Outcome::At(_) | Outcome::Behind | Outcome::Unknown => Ok(()),
            Outcome::TooLarge => {
                Err(unanswered(&self.address, &format!("it takes no message of {HEADER} bytes")))
            }
        }
    }

    /// Where in the stream the tables end: only whoever has the same log up to there goes on from there.
    fn find_place(&self, path: &Path, followed: Option<FollowedLog>, place: LogPlace) -> Result<u64> {
        let address = &self.address;
        let LogPlace { position, chain } = place;
        let last = self.last_sequence_patiently()?;
        let noted = followed.map(|followed| followed.sequence).filter(|noted| (1..=last).contains(noted));
        let mut found = None;
        if let Some(noted) = noted {
            let message = self.whole_message(noted, position)?;
            found = (message.header.end() == position).then_some(noted);
        }
        let found = found.map_or_else(|| self.locate(position), |noted| Ok(Some(noted)))?;
        let Some(sequence) = found else {
            let end = self.whole_message(last, position)?.header.end();
            let reason = match end < position {
                true => {
                    format!("it ends at {end}, and the file goes up to {position}: what was after it is lost")
                }
                false => format!("no append of it ends at {position}, where the file does"),
            };
            return Err(refused(address, path, &reason, ADVICE));
        };
        if self.whole_message(sequence, position)?.chain_after()? != chain {
            let reason = format!("the events that lead up to {position} in it are not those of the file");
            return Err(refused(address, path, &reason, ADVICE));
        }
        Ok(sequence)
    }

    fn last_sequence_patiently(&self) -> Result<u64> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.last_sequence() {
                Err(_) if Instant::now() < until => std::thread::sleep(PAUSE),
                last => return last,
            }
        }
    }

    /// Hears how far the stream goes, and who waits for a turn.
    fn hear(&self) -> Result<()> {
        let told = Arc::downgrade(&self.told);
        let heard = move |message: &async_nats::Message| {
            let Some(told) = told.upgrade() else { return false };
            if let Some(word) = Word::decode(&message.payload) {
                told.hear(word);
            }
            true
        };
        let doing = format!("listening to {}", self.address);
        self.link.listen(told_subject(&self.address), heard).map_err(|none| none.error(&doing))
    }
}

/// What to do where the file and the log are not of one history.
const ADVICE: &str =
    "look at both before anything is written: another copy of the file, or of the stream, may be whole";

fn refused(address: &LogAddress, path: &Path, reason: &str, advice: &str) -> Error {
    Error::unopenable(path, format!("the log {address} cannot be followed: {reason}"), advice)
}

impl Opening<'_> {
    fn refused(&self, reason: &str, advice: &str) -> Error {
        refused(self.address, self.path, reason, advice)
    }

    fn check_version(&self) -> Result<()> {
        let version = self.link.client().server_info().version;
        if numbers(&version).is_some_and(|numbers| numbers >= OLDEST) {
            return Ok(());
        }
        let (major, minor, patch) = OLDEST;
        let reason = format!("its server is of version {version}, which may lose what it acknowledged");
        Err(self.refused(&reason, &format!("run nats-server {major}.{minor}.{patch} or later")))
    }

    /// The stream, made if it is not there.
    fn stream(&self) -> Result<StreamInfo> {
        let Opening { address, link, .. } = self;
        let until = Instant::now() + PATIENCE;
        let mut made = false;
        let info = loop {
            let told = stream::info(link, &address.stream);
            match told {
                Ok(Some(info)) => break info,
                Ok(None) if self.read_only => return Err(self.refused("it is not there", NOT_MADE)),
                Ok(None) if !made => match stream::make(link, address) {
                    Ok(()) => made = true,
                    // Servers that begin do not know each other yet.
                    Err(StreamError::None(_)) if Instant::now() < until => std::thread::sleep(PAUSE),
                    Err(StreamError::Said(code, _)) if SOON.contains(&code) && Instant::now() < until => {
                        std::thread::sleep(PAUSE);
                    }
                    Err(error) => return Err(self.not_made(&error)),
                },
                // Whoever made it just now, its servers elect a leader.
                Ok(None) | Err(StreamError::None(_)) if Instant::now() < until => std::thread::sleep(PAUSE),
                Ok(None) => return Err(unanswered(address, "the stream is not there")),
                Err(StreamError::Said(NOT_ENABLED, said)) => {
                    return Err(
                        self.refused(&said, "give its servers a jetstream block (or start them with -js)")
                    );
                }
                Err(error) => return Err(failed(address, &error)),
            }
        };
        if let Some(setting) = info.config.unsafe_setting(address) {
            let advice = format!("{setting} (nats stream edit {}), or name another stream", address.stream);
            return Err(self.refused("a setting of the stream is not safe", &advice));
        }
        if info.state.first_seq > 1 {
            let reason = format!("its first message is {}: those before it are gone", info.state.first_seq);
            return Err(self.refused(&reason, ADVICE));
        }
        Ok(info)
    }

    fn not_made(&self, error: &StreamError) -> Error {
        match error {
            StreamError::Said(_, said) => {
                self.refused(&format!("it cannot be made: {said}"), "see what the servers say of it")
            }
            error => failed(self.address, error),
        }
    }
}

/// What to do where there is nothing to read.
const NOT_MADE: &str = "name a stream that is there; whoever opens it for writing makes one";

/// JetStream is not enabled: for the account, or at all.
const NOT_ENABLED: u64 = 10039;

/// JetStream is not ready: its servers are too few, have no leader, or are not known to have room.
const SOON: [u64; 4] = [10_004, 10_005, 10_008, 10_009];

/// The numbers of a version, as of `2.15.1-RC.1`.
fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let release = version.trim_start_matches('v').split(['-', '+']).next()?;
    let mut parts = release.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("2.15.1"), Some((2, 15, 1)));
        assert_eq!(numbers("v2.14.4-RC.1"), Some((2, 14, 4)));
        assert_eq!(numbers("2.9"), None);
        assert!(numbers("2.9.25").unwrap() < OLDEST && numbers("2.14.10").unwrap() > OLDEST);
    }
}
