//! Data of an event that does not fit the schema of its type.

use std::fmt;

/// What of an event's data does not fit the schema that is defined for its type (`DEFINE EVENT`).
///
/// ```
/// use bygone::{Db, Error};
/// let db = Db::in_memory()?;
/// db.query("DEFINE EVENT Order.placed {customer: text, total: number CHECK data.total >= 0}")?;
/// let Err(Error::Schema(mismatch)) = db.query("EMIT Order.placed 42 {total: -5}") else { panic!() };
/// assert_eq!((mismatch.event_type.as_str(), mismatch.version), ("Order.placed", 1));
/// let first = &mismatch.members[0];
/// assert_eq!((first.path.as_str(), first.expected.as_str(), first.found.as_str()), ("data.customer", "text", "nothing"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaMismatch {
    /// The type of the event.
    pub event_type: String,
    /// Which version of the schema it does not fit, counted from 1.
    pub version: u64,
    /// Where that is defined; none where it is only tried.
    pub definition: Option<u64>,
    /// What does not fit: the first eight.
    pub members: Vec<MemberMismatch>,
    /// How many more do not fit.
    pub more: u64,
}

/// A member of an event's data that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberMismatch {
    /// Where it is, from `data` on: `data.items[2].price`.
    pub path: String,
    /// What the schema says of it.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for SchemaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SchemaMismatch { event_type, version, definition, members, more } = self;
        write!(f, "{event_type} does not fit version {version} of its schema")?;
        if let Some(definition) = definition {
            write!(f, ", defined at #{definition}")?;
        }
        for (at, member) in members.iter().enumerate() {
            write!(f, "{} {member}", if at == 0 { ":" } else { ";" })?;
        }
        if *more > 0 { write!(f, "; and {more} more") } else { Ok(()) }
    }
}

impl fmt::Display for MemberMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.path, self.expected, self.found)
    }
}
