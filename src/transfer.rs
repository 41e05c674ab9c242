//! Import: events as JSON, in any form and layout.
//!
//! Import streams: a batch of events is parsed while the one before it is committed. Run again it adds nothing. An event with an id
//! (or a key) is known by it. For events without, each batch is atomic under a key that is the hash of the whole input up to
//! its end: a batch whose key is known is skipped, and so is the part of a batch that an earlier import ended within.
//!
//! [`texts`] gives the events of an input one by one, [`export`] writes them.

mod export;
mod scan;
mod source;
pub(crate) mod texts;

use std::io::BufRead;

use crate::db::Db;
use crate::entity::Position;
use crate::error::{Conflict, Error, Result};
use crate::event::{NewEvent, read_line};
use crate::store::catalog::ProgramKind;
use crate::store::cursor::{Cursor, Follower};
use crate::store::group::{Group, Outcome, Prepared, content_of};
use crate::store::term::Term;
use crate::store::{Store, Submitted};
pub use export::ExportOptions;
use source::Foreign;
use texts::Texts;

/// A batch ends after so many lines, or so many bytes of input. Where batches end follows from the input alone, so that running
/// again finds the same ends.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 2 << 20;

/// How an import is done.
///
/// ```
/// use bygone::{Db, ImportOptions};
/// let lines = r#"{"type":"Order.paid","target":{"type":"Order","id":"42"},"data":{"amount":10}}"#;
/// let db = Db::in_memory()?;
/// let first = db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {})?;
/// let again = db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {})?;
/// assert_eq!((first.added, again.added, again.known), (1, 0, 1));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    restore: bool,
}

impl ImportOptions {
    /// The database assigns position, version and `recorded`.
    pub fn new() -> ImportOptions {
        ImportOptions::default()
    }

    /// Keeps position, version and `recorded` of each line: into a new database only, from a whole export. Reactions, webhooks and
    /// schedules that come with it begin behind it: what they did was done where it comes from.
    pub fn restore(mut self, restore: bool) -> ImportOptions {
        self.restore = restore;
        self
    }
}

/// How far an import has come, or how it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Events that are new, and durable.
    pub added: u64,
    /// Events that were there before.
    pub known: u64,
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
        let event = read_line(line)?.event;
        event.checked()?;
        Ok(event)
    }
}

impl Db {
    /// Appends the events of an input: JSON objects in any of the forms, one a line, laid out over several lines, or in arrays.
    /// `progress` is called after each batch.
    ///
    /// # Errors
    /// A bad event ends it: the error names the line that it begins in, and how many events before it are safely in.
    pub fn import(
        &self,
        input: impl BufRead,
        options: &ImportOptions,
        progress: &mut dyn FnMut(&Imported),
    ) -> Result<Imported> {
        if options.restore && self.head() != Position::START {
            let found = format!("one with events up to {}", self.head());
            return Err(Error::invalid("restoring", "a new database", found));
        }
        let mut import = Import {
            store: self.store(),
            restore: options.restore,
            done: Imported::default(),
            under_way: None,
            skipping: true,
            hash: blake3::Hasher::new(),
        };
        let imported = import.run(input, progress).map_err(|fault| import.ended(fault));
        if options.restore {
            // What came in before something went wrong, too, is not to be done again.
            return self.begin_here().and(imported);
        }
        imported
    }

    /// What reactions, webhooks and schedules did about events that were restored with them was done where those come from: they
    /// begin behind them.
    fn begin_here(&self) -> Result<()> {
        let (shared, snapshot) = (self.store().shared(), self.store().snapshot());
        for program in snapshot.indexes().programs() {
            let follower = Follower::Program(program.position);
            if shared.cursors.get(&follower)?.is_none() {
                let head = snapshot.head().0;
                let position = match program.kind {
                    ProgramKind::Schedule => {
                        u64::try_from(shared.options.clock.now().as_millis()).unwrap_or(0)
                    }
                    ProgramKind::Reaction | ProgramKind::Webhook => head,
                };
                shared.create_cursor(&follower, Cursor { position, heard: head, text: String::new() })?;
            }
        }
        Ok(())
    }
}

/// An import under way.
struct Import<'d> {
    store: &'d Store,
    restore: bool,
    done: Imported,
    /// The batch that is being committed while the next one is parsed. Never two: if one fails, none behind it is in.
    under_way: Option<UnderWay>,
    /// Everything so far was known: what follows may be, too.
    skipping: bool,
    /// The hash of all lines so far.
    hash: blake3::Hasher,
}

/// A batch that was sent, and how many events are in it.
struct UnderWay {
    submitted: Submitted,
    count: usize,
    foreign: Vec<Foreign>,
}

/// Events that are appended together.
#[derive(Default)]
struct Batch {
    lines: Vec<Parsed>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_LINES || self.bytes >= BATCH_BYTES
    }

    fn drop_first(&mut self, count: usize) {
        self.lines.drain(..count);
        self.bytes = self.lines.iter().map(|line| line.length).sum();
    }
}

struct Parsed {
    number: u64,
    length: usize,
    event: NewEvent,
    /// Where it comes from, if no Bygone wrote it.
    foreign: Option<String>,
    /// The hash of the input through this line.
    hash: [u8; 32],
}

impl Import<'_> {
    fn run(&mut self, input: impl BufRead, progress: &mut dyn FnMut(&Imported)) -> Result<Imported> {
        let mut texts = Texts::new(input);
        let mut batch = Batch::default();
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
            // What is left of a batch may be a whole one, too.
            while batch.is_full() {
                self.flush(&mut batch)?;
                progress(&self.done);
            }
        }
        self.finish(&mut batch)?;
        progress(&self.done);
        Ok(self.done)
    }

    /// Brings in what is left, and waits until it is durable.
    fn finish(&mut self, batch: &mut Batch) -> Result<()> {
        while !batch.lines.is_empty() {
            self.flush(batch)?;
        }
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
        if let Some(UnderWay { submitted, count, .. }) = self.under_way.take()
            && let Ok(outcome) = submitted.wait()
        {
            self.count(count, &outcome);
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
        let place = match self.done.added + self.done.known {
            1 => format!("{place} (1 event before it is safely in)"),
            n => format!("{place} ({n} events before it are safely in)"),
        };
        match fault {
            Error::Invalid { what, expected, found } => {
                Error::Invalid { what: format!("{place}: {what}"), expected, found }
            }
            Error::Conflict(conflict) => Conflict::Within { place, conflict }.into(),
            other => other,
        }
    }

    /// The next event, parsed.
    fn next_line(&mut self, texts: &mut Texts<impl BufRead>) -> Result<Option<Parsed>> {
        let Some(text) = texts.next()? else { return Ok(None) };
        let length = text.length;
        let text = std::str::from_utf8(text.bytes)
            .map_err(|e| Error::invalid("the text", "UTF-8", e.to_string()))?;
        let parsed = read_line(text)?;
        let mut event = parsed.event;
        event.checked()?;
        if self.restore {
            if parsed.position.is_none() || event.recorded.is_none() {
                return Err(Error::invalid(
                    "restoring",
                    "a position and `recorded` on each event",
                    "an event without",
                ));
            }
            event.placed = parsed.position;
            event.versioned = parsed.version;
        } else {
            event.recorded = None;
            // A cause that is told by its position means that event only where positions are the same.
            event.placed = parsed.position.filter(|_| event.cause_position().is_some());
        }
        self.hash.update(text.as_bytes());
        self.hash.update(b"\n");
        let hash = *self.hash.finalize().as_bytes();
        Ok(Some(Parsed { number: texts.line(), length, event, foreign: parsed.foreign, hash }))
    }

    /// Sends a batch on its way; leaves out what an earlier import has brought in. What is left of a batch that an earlier
    /// import ended within stays, and the batch is filled up again: ends fall where running again will look for them.
    fn flush(&mut self, batch: &mut Batch) -> Result<()> {
        if self.skipping && !self.restore {
            let known = self.known_through(&batch.lines)?;
            self.done.known += known as u64;
            batch.drop_first(known);
            if known > 0 {
                return Ok(());
            }
            // Imports go from the start on: what follows something new is new. Lines that are all known by themselves leave no
            // key, and so do not tell.
            self.skipping = batch.lines.iter().all(|line| line.event.is_known_by_itself());
        }
        let sent = self.send(&mut batch.lines)?;
        batch.drop_first(sent);
        Ok(())
    }

    /// How many of these lines an earlier import has brought in, by the key of a batch that ended there.
    fn known_through(&self, lines: &[Parsed]) -> Result<usize> {
        self.store.snapshot().read(|view| {
            for (at, line) in lines.iter().enumerate().rev() {
                if view.first(&Term::key(&key_of(&line.hash))?)?.is_some() {
                    return Ok(at + 1);
                }
            }
            Ok(0)
        })
    }

    /// Sends lines on their way, and gives how many: all, or those through a key within them, from which running again goes on.
    fn send(&mut self, lines: &mut [Parsed]) -> Result<usize> {
        let mut sent = 0;
        while sent < lines.len() {
            self.settle()?;
            source::tell_apart(self.store, &mut lines[sent..])?;
            let rest = &lines[sent..];
            match self.submit(rest) {
                Err(Error::Invalid { .. }) => {}
                submitted => return submitted.map(|()| lines.len()),
            }
            // A line breaks a rule that parsing does not know of, or needs one before it to be in the log already.
            self.settle()?;
            let good = self.preparable(rest)?;
            self.submit(&rest[..good])?;
            self.settle()?;
            sent += good;
            if self.group(&rest[..good]).key.is_some() {
                break;
            }
        }
        Ok(sent)
    }

    fn submit(&mut self, lines: &[Parsed]) -> Result<()> {
        let submitted = self.store.submit(self.group(lines))?;
        self.under_way = Some(UnderWay { submitted, count: lines.len(), foreign: source::foreign(lines) });
        Ok(())
    }

    /// How many of these lines, from the first on, can be a group as the log is now. If not even the first, that is an error.
    fn preparable(&self, lines: &[Parsed]) -> Result<usize> {
        let prepared = |count: usize| Prepared::new(self.store.shared(), self.group(&lines[..count]));
        prepared(1).map_err(|fault| self.at_line(lines[0].number, fault))?;
        // So many can; so many cannot, if there are as many.
        let (mut good, mut bad) = (1, lines.len() + 1);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match prepared(middle) {
                Ok(_) => good = middle,
                Err(Error::Invalid { .. }) => bad = middle,
                Err(error) => return Err(error),
            }
        }
        Ok(good)
    }

    fn group(&self, lines: &[Parsed]) -> Group {
        let events: Vec<NewEvent> = lines.iter().map(|line| line.event.clone()).collect();
        // A key is needed where an event is not known by itself.
        let needed = !self.restore && events.iter().any(|event| !event.is_known_by_itself());
        let last = lines.last().filter(|_| needed);
        let (key, content) = last.map(|line| (key_of(&line.hash), content_of(&line.hash))).unzip();
        Group {
            events,
            key,
            content,
            import: true,
            restore: self.restore,
            internal: self.restore,
            ..Group::default()
        }
    }

    /// Waits until what is under way is in.
    fn settle(&mut self) -> Result<()> {
        if let Some(UnderWay { submitted, count, foreign }) = self.under_way.take() {
            let outcome = submitted.wait().map_err(|fault| self.in_batch(fault))?;
            let known = self.count(count, &outcome);
            if known > 0 {
                source::check_known(self.store, &foreign)?;
            }
        }
        Ok(())
    }

    /// Gives how many were known.
    fn count(&mut self, sent: usize, outcome: &Outcome) -> u64 {
        let added = if outcome.repeated { 0 } else { outcome.events.len() as u64 };
        let known = sent as u64 - added.min(sent as u64);
        self.done.added += added;
        self.done.known += known;
        known
    }
}

fn key_of(hash: &[u8; 32]) -> String {
    format!("import:{}", blake3::Hash::from_bytes(*hash).to_hex())
}
