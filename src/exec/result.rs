//! Answers: rows, pulled one by one, and notices of what was used to find them.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::blame::BlameEntry;
use super::budget::ENTRY;
use super::diff::StateChange;
use super::field_history::FieldChange;
use super::fold::ReplayStep;
use super::trace::TraceEntry;
use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::plan::PointInTime;
use crate::store::SubscriptionCursor;
use crate::telemetry::StatementTimer;
use crate::time::Timestamp;
use crate::value::{MEMBER, Object, Value};

/// What a statement is answered with.
#[derive(Debug)]
pub struct QueryResult {
    /// What the statement left open and what it turned out to mean, for people to read.
    pub notices: Vec<String>,
    /// Of a read: the newest event that it sees. What is recorded later is not in its rows.
    pub as_of: Option<Position>,
    /// The rows. Dropping them early costs nothing.
    pub rows: Rows,
    /// Of a durable subscription: where to acknowledge what is done. What is not acknowledged comes again the next time.
    pub cursor: Option<SubscriptionCursor>,
}

impl QueryResult {
    /// Rows and nothing to say of them.
    pub(crate) fn rows(rows: impl Iterator<Item = Result<Row>> + Send + 'static) -> QueryResult {
        QueryResult { notices: Vec::new(), as_of: None, rows: Rows::new(rows), cursor: None }
    }

    /// One row.
    pub(crate) fn row(row: Row) -> QueryResult {
        QueryResult::rows(std::iter::once(Ok(row)))
    }

    /// Nothing: it is done.
    pub(crate) fn done() -> QueryResult {
        QueryResult::rows(std::iter::empty())
    }
}

/// One line of an answer. Serializes as that line of JSON.
///
/// ```
/// use bygone::{Db, Row};
/// let db = Db::in_memory()?;
/// for row in db.query("EMIT Order.created 42 {total: 10}")?.rows {
///     let Row::Event { event, repeated: false } = row? else { continue };
///     assert_eq!(event.kind.as_str(), "Order.created");
/// }
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // most rows are events, and one is looked at at a time
pub enum Row {
    /// An event.
    Event {
        /// The event.
        event: Event,
        /// A key was met again: this is the first outcome, and nothing was written.
        repeated: bool,
    },
    /// The state of an entity.
    State(EntityState),
    /// What last changed a leaf of a state.
    Blame(BlameEntry),
    /// What an event changed of a field of a state.
    FieldChange(FieldChange),
    /// One difference between two states.
    Change(StateChange),
    /// An event of a replay, and what it made.
    Step(ReplayStep),
    /// An event of a chain of causes.
    Traced(TraceEntry),
    /// Named values. A view lends the same ones to all who read it.
    Fields(Arc<Object>),
    /// A subscription has delivered everything up to here and waits for more.
    CaughtUp(Position),
    /// A view that is followed is another one from here on, by the definition at this position: all rows before are void.
    Redefined(Position),
}

impl Row {
    /// About how many bytes of memory it holds.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Row::Fields(fields) => {
                fields.iter().map(|(name, value)| MEMBER + name.len() + value.weight()).sum()
            }
            Row::Event { event, .. } => 8 * ENTRY + event.data.raw().0.len() + event.metadata.raw().0.len(),
            Row::State(state) => 4 * ENTRY + state.state.weight(),
            _ => ENTRY,
        }
    }

    /// What stands in a column, as a type of Rust. The columns of [`Fields`](Row::Fields) have the names that `SELECT` gave them;
    /// those of other rows are the members of their line of JSON, like `position`.
    ///
    /// ```
    /// use bygone::Db;
    /// let db = Db::in_memory()?;
    /// db.query("EMIT Order.created 42 {total: 10}")?;
    /// let text = "EVENTS GROUP BY target.type AS kind SELECT count() AS n, max(data.weight) AS heaviest";
    /// for row in db.query(text)?.rows {
    ///     let row = row?;
    ///     assert_eq!((row.get::<String>("kind")?.as_str(), row.get::<u64>("n")?), ("Order", 1));
    ///     // Null is None.
    ///     assert_eq!(row.get::<Option<f64>>("heaviest")?, None);
    /// }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such column, or if what stands there is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let members;
        let fields = match self {
            Row::Fields(fields) => &**fields,
            row => {
                members = Value::of(row)?;
                members.as_object().ok_or_else(|| Error::invalid("a row", "columns", members.kind()))?
            }
        };
        let value = fields.get(name).ok_or_else(|| {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            Error::invalid("a column of the row", format!("one of {}", names.join(", ")), format!("'{name}'"))
        })?;
        value.parse().map_err(|error| {
            let wanted = std::any::type_name::<T>();
            Error::invalid(
                format!("the column '{name}'"),
                format!("a value for {wanted}"),
                format!("{value} ({error})"),
            )
        })
    }
}

impl From<Object> for Row {
    fn from(fields: Object) -> Row {
        Row::Fields(Arc::new(fields))
    }
}

impl From<Event> for Row {
    fn from(event: Event) -> Row {
        Row::Event { event, repeated: false }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Row::Event { event, repeated: false } => event.serialize(serializer),
            Row::Event { event, repeated: true } => {
                let mut map = serializer.serialize_map(None)?;
                event.members(&mut map)?;
                map.serialize_entry("repeated", &true)?;
                map.end()
            }
            Row::State(state) => state.serialize(serializer),
            Row::Blame(leaf) => leaf.serialize(serializer),
            Row::FieldChange(change) => change.serialize(serializer),
            Row::Change(change) => change.serialize(serializer),
            Row::Step(step) => step.serialize(serializer),
            Row::Traced(traced) => traced.serialize(serializer),
            Row::Fields(members) => serializer.collect_map(&**members),
            Row::CaughtUp(position) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("mark", "caughtUp")?;
                map.serialize_entry("position", position)?;
                map.end()
            }
            Row::Redefined(position) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("mark", "redefined")?;
                map.serialize_entry("position", position)?;
                map.end()
            }
        }
    }
}

/// The state of an entity: its events, folded.
///
/// Serializes as `{"target","version","events","at","asOf","state"}`; `at` and `asOf` are left out where nothing was said.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EntityState {
    /// Whose state.
    pub target: Entity,
    /// The version of the newest event that was folded; none where there was nothing to fold.
    pub version: Version,
    /// How many events were folded. Fewer than the version where some had not occurred yet.
    pub events: u64,
    /// What had occurred by then, or up to there.
    pub at: Option<PointInTime>,
    /// What the log knew by then, or up to there.
    pub as_of: Option<PointInTime>,
    /// Null before the first event and after a deletion.
    pub state: Value,
    /// When nothing was folded though there are events: when the earliest of them occurred.
    pub first: Option<Timestamp>,
}

impl Serialize for EntityState {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("target", &self.target)?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("events", &self.events)?;
        if let Some(at) = &self.at {
            map.serialize_entry("at", at)?;
        }
        if let Some(as_of) = &self.as_of {
            map.serialize_entry("asOf", as_of)?;
        }
        map.serialize_entry("state", &self.state)?;
        map.end()
    }
}

/// The rows of an answer, read as they are pulled. After an error there are no more.
pub struct Rows {
    rows: Box<dyn Iterator<Item = Result<Row>> + Send>,
    /// Until they have ended.
    timer: Option<StatementTimer>,
}

impl Rows {
    pub(crate) fn new(rows: impl Iterator<Item = Result<Row>> + Send + 'static) -> Rows {
        Rows { rows: Box::new(rows), timer: None }
    }

    /// They are what a statement takes its time for.
    pub(crate) fn timed_by(self, timer: StatementTimer) -> Rows {
        Rows { timer: Some(timer), ..self }
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        let Some(timer) = &self.timer else { return self.rows.next() };
        let within = timer.enter();
        let row = self.rows.next();
        drop(within);
        match &row {
            Some(Ok(_)) => {}
            Some(Err(error)) => timer.failed(error),
            None => self.timer = None,
        }
        row
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}
