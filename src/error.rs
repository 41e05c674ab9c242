//! The one error: what was expected, what was found, where, and what to do.
//!
//! Few variants, one for each thing a caller can do about it; [`Error::class`] sorts them into the classes
//! that a program's exit code tells apart.

mod conflict;
mod json;
mod missing;
mod schema;
#[cfg_attr(not(feature = "share"), allow(dead_code))] // for the protocol
mod wire;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::value::Value;
pub use conflict::{Conflict, Witness};
pub use missing::{Missing, MissingItem};
pub use schema::{MemberMismatch, SchemaMismatch};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Cheap to clone: one failed sync answers a whole group of callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a statement of the language.
    #[error("{0}")]
    Syntax(Box<SyntaxFault>),

    /// A value breaks a rule of its type: a type without a prefix, `data` that is no object, a size over its limit.
    #[error("{what}: expected {expected}, found {found}")]
    Invalid {
        /// What breaks it.
        what: String,
        /// The rule.
        expected: String,
        /// The value.
        found: String,
    },

    /// A value is larger than its limit: an event, a group.
    #[error("{what}: expected at most {limit} bytes, found {size}")]
    TooLarge {
        /// What it is.
        what: String,
        /// Its bytes.
        size: u64,
        /// How many it may have.
        limit: u64,
    },

    /// What is asked for is not in the log, or not yet: a point beyond the head, a name that nothing has, an index that is still
    /// being built.
    #[error("{0}")]
    Missing(Box<Missing>),

    /// What was expected of the log was not so at the moment of commit; nothing was written.
    #[error("conflict: {0}")]
    Conflict(Box<Conflict>),

    /// A verb was refused, by what was so at the moment of commit; nothing was written.
    #[error("{0}")]
    Refused(Box<Refusal>),

    /// The data of an event does not fit the schema that is defined for its type; nothing was written.
    #[error("refused: {0}")]
    Schema(Box<SchemaMismatch>),

    /// An entity has no state, because one of its events could not be folded in. The event stands: events are facts.
    #[error(
        "{entity} has no state: {kind} at #{position} could not be folded in: {why}; ask for a point before #{position}, \
         or {advice}"
    )]
    Unfoldable {
        /// Whose state.
        entity: String,
        /// Where the event is.
        position: u64,
        /// Its type.
        kind: String,
        /// Which expression, and what was expected and found.
        why: String,
        /// What else can be done.
        advice: String,
    },

    /// An event of an earlier version of its schema cannot be read as the newest. It stands as it is stored.
    #[error(
        "{event_type} at #{position} cannot be read as version {version} of its schema: {why}; RAW reads it as it is stored, and \
         another UPCAST of DEFINE EVENT may read it"
    )]
    Upcast {
        /// The type of the event.
        event_type: String,
        /// Where it is.
        position: u64,
        /// The version of the schema.
        version: u64,
        /// Which part of `UPCAST`, and what was expected and found.
        why: String,
    },

    /// Another handle, here or in another process, has the file open, or one that had its name before.
    #[error("{} {}", path.display(), holder(*process, *by_name))]
    Held {
        /// The file.
        path: PathBuf,
        /// The number of that process, where the system tells.
        process: Option<u32>,
        /// Whether the name is held and not the file: the file came to it while another one was open by it.
        by_name: bool,
    },

    /// The file cannot be opened as a database.
    #[error("cannot open {}: {reason}; {advice}", path.display())]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        advice: String,
    },

    /// Stored bytes are not what was written.
    #[error("corrupt: {place}: {found}; {advice}")]
    Corrupt {
        /// Where.
        place: String,
        /// What is there.
        found: String,
        /// What to do.
        advice: String,
    },

    /// The disk, or the system below it, refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system says.
        source: Arc<io::Error>,
    },

    /// The handle takes no more of this: it was closed, a failure of the disk stopped it, or its file was removed, renamed or
    /// replaced.
    #[error("stopped: {reason}")]
    Stopped {
        /// Why, and what to do.
        reason: String,
    },

    /// There is no room for this now, and nothing was done: the same may succeed later.
    #[error("busy: {reason}; try again")]
    Busy {
        /// What there is no room for.
        reason: String,
    },

    /// The log did not answer in time: nobody knows whether it took this. What has a key can be repeated with it, and is recorded once.
    #[error(
        "unknown: {what}; repeat it with the same KEY, which records it once, or look for its events first"
    )]
    Unknown {
        /// What was asked of the log, and what it said.
        what: String,
    },
}

/// Why a verb was refused.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The verb.
    pub verb: String,
    /// What it was to be performed on.
    pub entity: String,
    /// What its definition says about that (`ELSE`), or what was expected.
    pub why: String,
    /// The condition that did not hold, as it is written.
    pub condition: Option<String>,
    /// The names in the condition, with what they stood for.
    pub values: Vec<(String, Value)>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { verb, entity, why, condition, values } = self;
        write!(f, "refused: {verb} {entity}: ")?;
        match condition {
            Some(condition) if condition == why => write!(f, "expected {why}")?,
            Some(condition) => write!(f, "{why} ({condition})")?,
            None => f.write_str(why)?,
        }
        for (at, (name, value)) in values.iter().enumerate() {
            write!(f, "{} {name} is {}", if at == 0 { ";" } else { "," }, shorten(&value.to_string()))?;
        }
        Ok(())
    }
}

/// What a caller can do about an error: each has its own exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Write it differently (exit code 2).
    Usage,
    /// The log is not as it was wanted: look again, then decide (exit code 3).
    Refused,
    /// The file: held, not a database, damaged, not permitted (exit code 4).
    Unopenable,
    /// It failed (exit code 1).
    Failed,
}

/// Where and why a text is no statement of the language.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyntaxFault {
    /// What is wrong, in a sentence without a full stop; when empty, it is "expected … found …".
    pub message: String,
    /// The byte offset in the text where the fault begins.
    pub offset: usize,
    /// How many bytes the fault covers (0 at the end of the text).
    pub length: usize,
    /// The line of the fault, counted from 1.
    pub line: usize,
    /// The column of the fault in characters, counted from 1.
    pub column: usize,
    /// The text of that line.
    pub source_line: String,
    /// What would have been accepted there, most likely first.
    pub expected: Vec<String>,
    /// What stands there instead; empty at the end of the text.
    pub found: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// True when the text is right as far as it goes and only stops too early.
    pub incomplete: bool,
    /// Which statement of the text, counted from 1.
    pub statement: usize,
}

impl SyntaxFault {
    /// The sentence that says it, in one line.
    pub fn sentence(&self) -> String {
        if !self.message.is_empty() {
            return self.message.clone();
        }
        let expected = match self.expected.as_slice() {
            [] => "the end".to_owned(),
            [one] => one.clone(),
            some => {
                let shown = some.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
                if some.len() > 8 { format!("{shown}, …") } else { shown }
            }
        };
        if self.found.is_empty() {
            format!("expected {expected}, found the end of the statement")
        } else {
            format!("expected {expected}, found {}", self.found)
        }
    }
}

impl fmt::Display for SyntaxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.sentence())?;
        match &self.suggestion {
            Some(meant) => write!(f, " (did you mean {meant}?)"),
            None => Ok(()),
        }
    }
}

/// Who has a file open, and what to do about it.
fn holder(process: Option<u32>, by_name: bool) -> String {
    let which = if by_name { ", which has the file open that had this name before" } else { "" };
    match process {
        Some(pid) if pid == std::process::id() && by_name => {
            format!("is held by this program itself{which}; close that first")
        }
        Some(pid) if pid == std::process::id() => {
            "is held by this program itself; use the handle that it has (a Db can be cloned), or close it first"
                .to_owned()
        }
        Some(pid) => {
            format!("is held by another process (process {pid}){which}; close it there, or work on a copy")
        }
        None => format!("is held by another process{which}; close it there, or work on a copy"),
    }
}

impl Error {
    /// The class of the error: what the caller can do about it.
    ///
    /// ```
    /// use bygone::{EventType, error::ErrorClass};
    /// assert_eq!(EventType::new("paid").unwrap_err().class(), ErrorClass::Usage);
    /// ```
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Syntax(_) | Error::Invalid { .. } | Error::TooLarge { .. } => ErrorClass::Usage,
            Error::Missing(_)
            | Error::Conflict(_)
            | Error::Refused(_)
            | Error::Schema(_)
            | Error::Busy { .. } => ErrorClass::Refused,
            Error::Held { .. } | Error::Unopenable { .. } => ErrorClass::Unopenable,
            Error::Unfoldable { .. }
            | Error::Upcast { .. }
            | Error::Corrupt { .. }
            | Error::Io { .. }
            | Error::Stopped { .. }
            | Error::Unknown { .. } => ErrorClass::Failed,
        }
    }

    /// A word for the error, as JSON answers carry it.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Syntax(_) => "syntax",
            Error::Invalid { .. } => "invalid",
            Error::TooLarge { .. } => "tooLarge",
            Error::Missing(missing) => missing.item.kind(),
            Error::Conflict(_) => "conflict",
            Error::Refused(_) => "refused",
            Error::Schema(_) => "schema",
            Error::Unfoldable { .. } => "unfoldable",
            Error::Upcast { .. } => "upcast",
            Error::Held { .. } => "held",
            Error::Unopenable { .. } => "unopenable",
            Error::Corrupt { .. } => "corrupt",
            Error::Io { .. } => "io",
            Error::Stopped { .. } => "stopped",
            Error::Busy { .. } => "busy",
            Error::Unknown { .. } => "unknown",
        }
    }

    /// Whether what was expected of the log was not so: [`Error::Conflict`]. To look again, and try again, may help.
    ///
    /// ```
    /// use bygone::{Db, Expect, NewEvent};
    /// let db = Db::in_memory()?;
    /// let created = NewEvent::new("Order.created").on(("Order", 42)).expect(Expect::New);
    /// db.append(created.clone())?;
    /// assert!(db.append(created).unwrap_err().is_conflict());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Conflict(_))
    }

    /// Whether a verb was refused: [`Error::Refused`]. Nothing was written.
    pub fn is_refused(&self) -> bool {
        matches!(self, Error::Refused(_))
    }

    /// Whether a write was turned down as the log stands, and nothing was written: a conflict, a verb that was refused, or data that
    /// does not fit.
    pub(crate) fn is_turned_down(&self) -> bool {
        self.is_conflict() || self.is_refused() || matches!(self, Error::Schema(_))
    }

    /// Whether the same may succeed later, and nothing was written: what was expected of the log was not so ([`Error::Conflict`]), there
    /// was no room for it ([`Error::Busy`]), an
    /// index is still being built, or a point was not reached yet ([`Error::Missing`]).
    ///
    /// ```
    /// use bygone::Db;
    /// let beyond = Db::in_memory()?.query("EVENTS UNTIL #5").unwrap_err();
    /// assert_eq!(beyond.kind(), "beyondHead");
    /// assert!(beyond.is_worth_a_retry() && !beyond.is_refused());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Error::Conflict(_) | Error::Busy { .. } => true,
            Error::Missing(missing) => matches!(
                missing.item,
                MissingItem::Position { .. } | MissingItem::Version { .. } | MissingItem::Index { .. }
            ),
            _ => false,
        }
    }

    /// The place in the text that it is about, where it is about one.
    pub fn fault(&self) -> Option<&SyntaxFault> {
        match self {
            Error::Syntax(fault) => Some(fault),
            Error::Missing(missing) => missing.fault.as_deref(),
            _ => None,
        }
    }

    /// The same error with its [place in the text](Self::fault) changed: to that in a longer text, of which this one is a part.
    pub fn map_fault(self, place: impl FnOnce(SyntaxFault) -> SyntaxFault) -> Error {
        match self {
            Error::Syntax(fault) => Error::Syntax(Box::new(place(*fault))),
            Error::Missing(missing) => {
                let fault = missing.fault.map(|fault| Box::new(place(*fault)));
                Error::Missing(Box::new(Missing { fault, ..*missing }))
            }
            other => other,
        }
    }

    /// The same error without a place in a text, where what it says stands without one.
    #[cfg(feature = "share")]
    pub(crate) fn without_place(self) -> Error {
        match self {
            Error::Missing(missing) => Error::Missing(Box::new(Missing { fault: None, ..*missing })),
            other => other,
        }
    }

    pub(crate) fn invalid(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Invalid { what: readable(what), expected: readable(expected), found: readable(found) }
    }

    pub(crate) fn too_large(what: impl Into<String>, size: usize, limit: usize) -> Error {
        Error::TooLarge { what: readable(what), size: size as u64, limit: limit as u64 }
    }

    pub(crate) fn conflict(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Conflict::other(readable(what), readable(expected), readable(found)).into()
    }

    pub(crate) fn corrupt(place: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Corrupt {
            place: readable(place),
            found: readable(found),
            advice: "run VERIFY, and restore a copy if it names damage, or read what is left (bygone rescue)"
                .to_owned(),
        }
    }

    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Error {
        Error::Io { doing: readable(doing), source: Arc::new(source) }
    }

    pub(crate) fn unopenable(path: &Path, reason: impl fmt::Display, advice: impl Into<String>) -> Error {
        Error::Unopenable { path: path.to_owned(), reason: reason.to_string(), advice: advice.into() }
    }

    pub(crate) fn unknown(what: impl Into<String>) -> Error {
        Error::Unknown { what: readable(what) }
    }

    #[cfg(feature = "share")]
    pub(crate) fn busy(reason: impl Into<String>) -> Error {
        Error::Busy { reason: readable(reason) }
    }

    pub(crate) fn stopped(reason: impl Into<String>) -> Error {
        Error::Stopped { reason: readable(reason) }
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Error {
        Error::Conflict(Box::new(conflict))
    }
}

impl From<SchemaMismatch> for Error {
    fn from(mismatch: SchemaMismatch) -> Error {
        Error::Schema(Box::new(mismatch))
    }
}

impl From<Missing> for Error {
    fn from(missing: Missing) -> Error {
        Error::Missing(Box::new(missing))
    }
}

/// What cannot fail: it lets a function take what may, and what may not, be turned into something else.
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Error {
        match never {}
    }
}

/// Bytes, in the largest unit that tells them exactly.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        n if n > 0 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n > 0 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

/// Part of a message, without the middle of one that nobody reads to its end: whatever is quoted in it, a message takes a few KiB.
fn readable(text: impl Into<String>) -> String {
    const MOST: usize = 2000;
    const BEHIND: usize = 200;
    let text = text.into();
    if text.len() <= MOST {
        return text;
    }
    let begin = (0..=MOST - BEHIND).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let end = (text.len() - BEHIND..).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{} … ({} left out) … {}", &text[..begin], size((end - begin) as u64), &text[end..])
}

/// What was probably meant, if it is short enough to be read: half of it helps nobody.
pub(crate) fn suggested(text: String) -> Option<String> {
    const MOST: usize = 200;
    (text.chars().count() <= MOST).then_some(text)
}

/// Cuts a text that a message quotes: a message is for reading.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MOST - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_file_open_is_told_from_other_programs() {
        let held = |process, by_name| Error::Held { path: "a.bygone".into(), process, by_name }.to_string();
        let own = Some(std::process::id());
        assert!(
            held(own, false)
                .starts_with("a.bygone is held by this program itself; use the handle that it has")
        );
        assert!(
            held(own, true)
                .starts_with("a.bygone is held by this program itself, which has the file open that")
        );
        let other = "a.bygone is held by another process (process 0); close it there, or work on a copy";
        assert_eq!(held(Some(0), false), other);
        assert!(held(None, true).contains("another process, which has the file open that had this name"));
    }

    #[test]
    fn a_message_is_short_whatever_it_quotes() {
        let long = "é".repeat(1 << 20);
        let io = std::io::Error::from(std::io::ErrorKind::NotFound);
        for error in [
            Error::invalid("a text", "a short one", &long),
            Error::invalid(&long, &long, &long),
            Error::conflict(&long, &long, &long),
            Error::corrupt(&long, &long),
            Error::io(&long, io),
            Error::stopped(&long),
        ] {
            let told = error.to_string();
            assert!(told.len() < 7000 && told.contains("left out"), "{} bytes", told.len());
        }
        assert_eq!(Error::stopped("x".repeat(2000)).to_string().len(), "stopped: ".len() + 2000);
    }
}
