//! Import: events as JSON, in any form and layout.
//!
//! Import streams: a batch of events is parsed while the one before it is committed. Run again it adds nothing. An event with an id
//! (or a key) is known by it ([`known`]), and what is not that event is a conflict. Of events without, the first of a batch gets a key
//! that is the hash of the whole input up to its end, and says how many come with it: so where an input was imported before, its lines
//! are found one by one, and those that follow a change are new ([`prefix`]).
//!
//! [`texts`] gives the events of an input one by one, [`export`] writes them.

mod causes;
mod export;
mod known;
mod prefix;
mod scan;
mod send;
mod source;
pub(crate) mod texts;

use std::fmt;
use std::io::BufRead;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::db::Db;
use crate::entity::{EventType, Position};
use crate::error::{Conflict, Error, Result, shorten};
use crate::event::{Cause, NewEvent, read_line};
use crate::store::cursor::{Cursor, CursorOwner};
use crate::store::{Store, Submitted};
use crate::time::Timestamp;
pub use export::ExportOptions;
use texts::JsonTexts;

/// A batch ends after so many lines, or so many bytes of input. Where it does follows from the input up to there alone, so that running
/// again finds the same ends.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 2 << 20;

/// How an import is done.
///
/// ```
/// use bygone::maintain::ImportOptions;
/// use bygone::Db;
/// let lines = r#"{"type":"Order.paid","target":{"type":"Order","id":"42"},"data":{"amount":10}}"#;
/// let db = Db::in_memory()?;
/// let first = db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {})?;
/// let again = db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {})?;
/// assert_eq!((first.added, again.added, again.known), (1, 0, 1));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ImportOptions {
    pub(crate) restore: bool,
    pub(crate) on_conflict: Option<OnConflict>,
    pub(crate) kind: Option<String>,
}

type OnConflict = Arc<dyn Fn(&Conflict) + Send + Sync>;

impl fmt::Debug for ImportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_conflict = self.on_conflict.as_ref().map(|_| "skip");
        f.debug_struct("ImportOptions")
            .field("restore", &self.restore)
            .field("on_conflict", &on_conflict)
            .field("kind", &self.kind)
            .finish()
    }
}

impl ImportOptions {
    /// The database assigns position, version and `recorded`.
    pub fn new() -> ImportOptions {
        ImportOptions::default()
    }

    /// The prefix of the types of CloudEvents that have none: with `Payment`, `captured` becomes `Payment.captured`, and is `captured`
    /// again when it is exported. Without it, it is the kind of the subject where that is an entity, or else `CloudEvent`.
    pub fn kind(mut self, kind: impl Into<String>) -> ImportOptions {
        self.kind = Some(kind.into());
        self
    }

    /// Keeps position, version and `recorded` of each line: into a new database only, from a whole export. Reactions, webhooks and
    /// schedules that come with it begin behind it: what they did was done where it comes from.
    pub fn restore(mut self, restore: bool) -> ImportOptions {
        self.restore = restore;
        self
    }

    /// Passes over each event that has the id or the key of another one, and tells of it; without this the first ends the import.
    /// Restoring takes no part in it: there the first ends it in any case.
    ///
    /// ```
    /// use bygone::maintain::ImportOptions;
    /// use bygone::Db;
    /// let db = Db::in_memory()?;
    /// let lines = r#"{"id":"1","type":"A.b"} {"id":"1","type":"A.c"} {"id":"2","type":"A.b"}"#;
    /// let options = ImportOptions::new().on_conflict(|conflict| assert_eq!(conflict.line(), Some(1)));
    /// let imported = db.import(lines.as_bytes(), &options, &mut |_| {})?;
    /// assert_eq!((imported.added, imported.conflicts), (2, 1));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn on_conflict(mut self, told: impl Fn(&Conflict) + Send + Sync + 'static) -> ImportOptions {
        self.on_conflict = Some(Arc::new(told));
        self
    }
}

/// How far an import has come, or how it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Events that are new, and durable.
    pub added: u64,
    /// Events that were there before.
    pub known: u64,
    /// Events that were passed over, since they have the id or the key of another one.
    pub conflicts: u64,
}

impl NewEvent {
    /// Reads an event from a JSON object: in the form that events serialize to, in the underscore form, or a CloudEvent.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let line = r#"{"type":"paid","_actorType":"Order","_actorId":"42","_indexBy":["amount"],"amount":10}"#;
    /// let event = Db::in_memory()?.append(NewEvent::from_json(line)?)?;
    /// assert_eq!((event.kind.as_str(), event.tags.len()), ("Order.paid", 1));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn from_json(line: &str) -> Result<NewEvent> {
        let event = read_line(line, None)?.event;
        event.checked()?;
        Ok(event)
    }
}

impl Db {
    /// Appends the events of an input: JSON objects in any of the forms, one a line, laid out over several lines, or in arrays.
    /// `progress` is called after each batch.
    ///
    /// # Errors
    /// A bad event ends it: the error names the line that it begins in, and how many events before it are safely in. So does one with
    /// the id or the key of another event, as a [`Conflict`]. An input that makes events of something else may fail by an
    /// [`io::Error`](std::io::Error) that holds an [`Error`], [invalid](Error::Invalid) for one: it is told so, too.
    pub fn import(
        &self,
        input: impl BufRead,
        options: &ImportOptions,
        progress: &mut dyn FnMut(&ImportReport),
    ) -> Result<ImportReport> {
        if options.restore && self.head() != Position::START {
            let found = format!("one with events up to {}", self.head());
            return Err(Error::invalid("restoring", "a new database", found));
        }
        if let Some(kind) = &options.kind {
            EventType::new(&format!("{kind}.type"))?;
        }
        let mut import = ImportRun {
            store: self.store(),
            restore: options.restore,
            on_conflict: options.on_conflict.clone().filter(|_| !options.restore),
            kind: options.kind.clone(),
            done: ImportReport::default(),
            under_way: None,
            skipping: true,
            read: 0,
            hash: blake3::Hasher::new(),
        };
        let imported = import.run(input, progress).map_err(|fault| import.ended(fault));
        if options.restore {
            // What came in before something went wrong, too, is not to be done again.
            let begun = self.begin_here();
            // Subjects that are forgotten in it are forgotten here.
            let _alone = self.store().forgetting();
            return begun.and(self.store().forget_rest(&Cancel::new())).and(imported);
        }
        imported
    }

    /// What reactions, webhooks and schedules did about events that were restored with them was done where those come from: they
    /// begin behind them.
    fn begin_here(&self) -> Result<()> {
        let (shared, snapshot) = (self.store().shared(), self.store().snapshot());
        for program in snapshot.indexes().programs() {
            let follower = CursorOwner::of(program);
            if shared.cursors.get(&follower)?.is_none() {
                let begin = Cursor::begin(program, snapshot.head(), shared.options.clock.now());
                shared.cursor_writer.create(&follower, begin)?;
            }
        }
        Ok(())
    }
}

/// An import under way.
struct ImportRun<'d> {
    store: &'d Store,
    restore: bool,
    /// Told of each conflict; without it, the first ends it.
    on_conflict: Option<OnConflict>,
    /// The prefix of types that have none.
    kind: Option<String>,
    done: ImportReport,
    /// The batch that is being committed while the next one is parsed. Never two: if one fails, none behind it is in.
    under_way: Option<UnderWay>,
    /// Everything so far was known: what follows may be, too.
    skipping: bool,
    /// How many events were read.
    read: u64,
    /// The hash of all lines so far.
    hash: blake3::Hasher,
}

/// Lines that were sent.
struct UnderWay {
    submitted: Submitted,
    lines: Vec<ParsedLine>,
}

/// Events that are appended together.
#[derive(Default)]
struct ImportBatch {
    lines: Vec<ParsedLine>,
    bytes: usize,
}

impl ImportBatch {
    /// Whether there is enough for a group, of what a frame of the log takes.
    fn is_full(&self, frame: usize) -> bool {
        self.lines.len() >= BATCH_LINES || self.bytes >= BATCH_BYTES.min(frame / 2)
    }
}

struct ParsedLine {
    number: u64,
    length: usize,
    event: NewEvent,
    /// Where it comes from, if no Bygone wrote it.
    foreign: Option<String>,
    /// The hash of the input through this line.
    hash: [u8; 32],
    /// It says neither an id nor a key, and is known by the hash.
    hashed: bool,
    /// Its cause, where that was an event of the log that it comes from.
    cause: Option<Cause>,
}

impl ImportRun<'_> {
    fn run(&mut self, input: impl BufRead, progress: &mut dyn FnMut(&ImportReport)) -> Result<ImportReport> {
        let mut texts = JsonTexts::new(input);
        let mut batch = ImportBatch::default();
        loop {
            let next = self.next_line(&mut texts);
            (self.done.lines, self.done.bytes) = (texts.lines(), texts.bytes());
            let line = match next {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(fault) => {
                    // What stands before the bad line is good: it goes in.
                    self.finish(&mut batch)?;
                    return Err(self.at_line(texts.line(), fault));
                }
            };
            batch.bytes += line.length;
            batch.lines.push(line);
            if batch.is_full(self.store.shared().log.most_bytes()) {
                self.flush(&mut batch)?;
                progress(&self.done);
            }
        }
        self.finish(&mut batch)?;
        progress(&self.done);
        if self.restore && self.done.added != self.read {
            // Each line is told that is the second of an id: this is for what nobody thought of.
            let expected = format!("{} events in the log, as many as were read", self.read);
            return Err(Error::invalid("restoring", expected, self.done.added.to_string()));
        }
        Ok(self.done)
    }

    /// Brings in what is left, and waits until it is durable.
    fn finish(&mut self, batch: &mut ImportBatch) -> Result<()> {
        self.flush(batch)?;
        self.settle()
    }

    fn at_line(&self, number: u64, fault: Error) -> Error {
        self.placed(fault, &format!("line {number}"))
    }

    /// A batch is refused whole: it follows the last event that is in.
    fn in_batch(&self, fault: Error) -> Error {
        self.placed(fault, &format!("the batch from event {} on", self.done.added + self.done.known + 1))
    }

    /// A failure that no line is to blame for says what is safely in: with it, what is still under way.
    fn ended(&mut self, fault: Error) -> Error {
        if let Some(UnderWay { submitted, lines }) = self.under_way.take()
            && let Ok(outcome) = submitted.wait()
        {
            self.count(lines.len(), &outcome);
        }
        let safe = match self.done.added + self.done.known {
            1 => "1 event is safely in".to_owned(),
            n => format!("{n} events are safely in"),
        };
        match fault {
            Error::Io { doing, source } => Error::Io { doing: format!("{doing} ({safe})"), source },
            Error::Stopped { reason } => Error::Stopped { reason: format!("{reason} ({safe})") },
            other => other,
        }
    }

    fn placed(&self, fault: Error, place: &str) -> Error {
        placed(fault, place, self.done.added + self.done.known)
    }

    /// The next event, parsed.
    fn next_line(&mut self, texts: &mut JsonTexts<impl BufRead>) -> Result<Option<ParsedLine>> {
        let Some(text) = texts.next()? else { return Ok(None) };
        let length = text.length;
        let text = std::str::from_utf8(text.bytes)
            .map_err(|e| Error::invalid("the text", "UTF-8", e.to_string()))?;
        let parsed = read_line(text, self.kind.as_deref())?;
        let mut event = parsed.event;
        if event.checked()?.is_internal() && !self.restore {
            let expected = "a type of your own: '$' begins the database's, like definitions; --restore takes a whole \
                            export into a new database, and an export of the pattern '*' has none of them";
            return Err(Error::invalid(
                "the type of an event",
                expected,
                format!("'{}'", shorten(event.checked()?.as_str())),
            ));
        }
        if self.restore {
            if parsed.position.is_none() || event.recorded.is_none() {
                return Err(Error::invalid(
                    "restoring",
                    "a position and `recorded` on each event",
                    "an event without",
                ));
            }
            if let Some(recorded) = event.recorded {
                self.check_recorded(recorded)?;
            }
            event.placed = parsed.position;
            event.versioned = parsed.version;
        } else {
            event.recorded = None;
            match &parsed.cause {
                // What it is in this log is found by its id.
                Some(cause) => event.cause = Some(cause.clone()),
                // A cause that is told by its position alone means that event only where positions are the same.
                None => event.placed = parsed.position.filter(|_| event.cause_position().is_some()),
            }
        }
        self.read += 1;
        self.hash.update(text.as_bytes());
        self.hash.update(b"\n");
        let hash = *self.hash.finalize().as_bytes();
        let hashed = !self.restore && event.id.is_none() && event.key.is_none();
        let cause = parsed.cause.filter(|_| !self.restore);
        let number = texts.line();
        Ok(Some(ParsedLine { number, length, event, foreign: parsed.foreign, hash, hashed, cause }))
    }

    /// Nothing is recorded before what was recorded before it: an instant far ahead would be that of all that comes, until it is.
    fn check_recorded(&self, recorded: Timestamp) -> Result<()> {
        const MOST: i64 = 24 * 60 * 60 * 1000;
        let now = self.store.shared().options.clock.now();
        if recorded.as_millis().saturating_sub(now.as_millis()) <= MOST {
            return Ok(());
        }
        let expected = format!(
            "an instant at most a day ahead of now, {now}: what is appended later is never recorded before it"
        );
        Err(Error::invalid("`recorded`", expected, recorded.to_string()))
    }

    /// Sends a batch on its way; leaves out what an earlier import has brought in.
    fn flush(&mut self, batch: &mut ImportBatch) -> Result<()> {
        let mut lines = std::mem::take(batch).lines;
        if self.skipping && !self.restore {
            if lines.iter().any(|line| line.cause.is_some()) {
                self.settle()?;
                causes::find(self.store, &mut lines)?;
            }
            let known = prefix::known(self.store, &lines)?;
            // Imports go from the start on: what follows something new is new. Lines that are known by what they say do not tell.
            self.skipping = lines[known..].iter().all(|line| !line.hashed);
            let before = lines.len();
            let mut at = 0;
            lines.retain(|line| {
                at += 1;
                at > known || !line.hashed
            });
            self.done.known += (before - lines.len()) as u64;
        }
        self.send(lines)
    }
}

/// A fault, and where it is, after so many events that are in.
pub(crate) fn placed(fault: Error, place: &str, safe: u64) -> Error {
    let place = match safe {
        1 => format!("{place} (1 event before it is safely in)"),
        n => format!("{place} ({n} events before it are safely in)"),
    };
    match fault {
        Error::Invalid { what, expected, found } => {
            Error::Invalid { what: format!("{place}: {what}"), expected, found }
        }
        Error::TooLarge { what, size, limit } => {
            Error::TooLarge { what: format!("{place}: {what}"), size, limit }
        }
        Error::Conflict(conflict) => Conflict::Within { place, conflict }.into(),
        other => other,
    }
}
