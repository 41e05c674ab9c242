//! What is expected of the log at the moment of commit.

use serde::Serialize;

use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result, shorten};
use crate::pattern::Pattern;
use crate::time::Timestamp;
use crate::value::Value;

/// What is to be so at the moment of commit; else nothing is written, and the answer is [`Error::Conflict`].
///
/// Of an event ([`NewEvent::expect`](crate::NewEvent::expect)) it says how its target is to be before it, of a group
/// ([`AppendBuilder::expect`](crate::append::AppendBuilder::expect)) how each of its targets is to be before the group. [`Expect::none`] is about
/// whichever events there are.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Expect {
    /// It has no event, ever.
    New,
    /// It has a state: events, and the last of them is no deletion.
    Exists,
    /// It has no state: it never was, or the last of its events is a deletion.
    ///
    /// ```
    /// use bygone::{Db, Expect, NewEvent};
    /// let db = Db::in_memory()?;
    /// let order = |kind: &str| NewEvent::new(kind).on(("Order", 42));
    /// db.append(order("Order.created").expect(Expect::Absent))?;
    /// assert!(db.append(order("Order.created").expect(Expect::Absent)).unwrap_err().is_conflict());
    /// db.append(order("Order.deleted"))?;
    /// // It is not new any more, and it may be created again.
    /// assert!(db.append(order("Order.created").expect(Expect::New)).unwrap_err().is_conflict());
    /// db.append(order("Order.created").expect(Expect::Absent))?;
    /// # Ok::<(), bygone::Error>(())
    /// ```
    Absent,
    /// It has exactly so many events.
    Version(Version),
    /// There are no such events in the log.
    None(ExpectNone),
}

impl Expect {
    /// No event of a pattern of types, to be narrowed: `EXPECT NONE ('Coupon.redeemed' BY coupon = 'X1' SINCE #12)`.
    ///
    /// What was looked at before a decision is said once more as what must not have come since: then the decision still holds at the
    /// moment of commit, whichever entities it was about. Where several things were looked for, each is said: all that is expected must hold,
    /// so there must be no event that one of them finds.
    ///
    /// ```
    /// use bygone::{Db, Expect, NewEvent};
    /// let db = Db::in_memory()?;
    /// let redeem = |order: u32| {
    ///     NewEvent::new("Coupon.redeemed")
    ///         .on(("Order", order))
    ///         .index("coupon", "X1")
    ///         .expect(Expect::none("Coupon.redeemed").by("coupon", "X1"))
    /// };
    /// db.append(redeem(1))?;
    /// let error = db.append(redeem(2)).unwrap_err();
    /// assert!(error.to_string().starts_with(
    ///     "conflict: EXPECT NONE: expected no 'Coupon.redeemed' BY coupon = 'X1', found Coupon.redeemed at #1 on Order 1"
    /// ));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn none(pattern: &str) -> ExpectNone {
        match pattern.parse() {
            Ok(pattern) => ExpectNone { pattern: Some(pattern), ..ExpectNone::default() },
            Err(fault) => ExpectNone { fault: Some(ExpectFault(fault)), ..ExpectNone::default() },
        }
    }

    /// No event of whatever type, to be narrowed. The database's own types do not count.
    ///
    /// ```
    /// use bygone::{Db, Expect, NewEvent};
    /// let db = Db::in_memory()?;
    /// let looked = db.head();
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let alone = NewEvent::new("Day.closed").expect(Expect::none_at_all().since(looked));
    /// assert!(db.append(alone).unwrap_err().is_conflict());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn none_at_all() -> ExpectNone {
        ExpectNone::default()
    }

    /// Whether it is about an entity.
    pub(crate) fn is_of_target(&self) -> bool {
        !matches!(self, Expect::None(_))
    }
}

impl From<ExpectNone> for Expect {
    fn from(absence: ExpectNone) -> Expect {
        Expect::None(absence)
    }
}

/// Events of which there must be none: [`Expect::none`]. All that is said of them must hold for an event to be one of them.
///
/// What it says of index values has to be answered by an index, or by values that events carry
/// ([`NewEvent::index`](crate::NewEvent::index)): a name that neither the log nor the group knows is an error, for such a condition
/// would hold for ever.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExpectNone {
    pub(crate) pattern: Option<Pattern>,
    pub(crate) by: Vec<ExpectKey>,
    /// Only those behind it.
    pub(crate) after: Position,
    /// Only those that occurred then, or later.
    pub(crate) since: Option<Timestamp>,
    fault: Option<ExpectFault>,
}

/// What an event is found by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExpectKey {
    Tag(String, Value),
    Actor(Entity),
    Target(Entity),
    Correlation(String),
}

/// Told where it is used. Two are the same if they say the same.
#[derive(Debug, Clone)]
struct ExpectFault(Error);

impl PartialEq for ExpectFault {
    fn eq(&self, other: &ExpectFault) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

/// Names that `BY` of the language knows without any index; a value is not asked for by them.
pub(crate) const BUILT_IN: [&str; 7] = ["actor", "target", "type", "id", "key", "cause", "correlation"];

/// Whether `BY` gives a name another meaning than that of an index value.
pub(crate) fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
}

impl ExpectNone {
    /// Only those with this index value: text, a number or a boolean. `BY name = value`.
    pub fn by<T: Serialize>(mut self, name: &str, value: T) -> ExpectNone {
        let what = || format!("EXPECT NONE BY {name}");
        match Value::of(&value) {
            Err(fault) => self.fail(fault),
            Ok(value @ (Value::Null | Value::Array(_) | Value::Object(_))) => {
                let found = format!("{} ({})", value.kind(), shorten(&value.to_string()));
                self.fail(Error::invalid(what(), "text, a number or a boolean", found));
            }
            Ok(_) if is_built_in(name) => {
                let expected =
                    "the name of an index value; there are by_actor, on and by_correlation, and the pattern";
                self.fail(Error::invalid(what(), expected, format!("'{name}'")));
            }
            Ok(value) => self.by.push(ExpectKey::Tag(name.to_owned(), value)),
        }
        self
    }

    /// Only those on behalf of this actor.
    pub fn by_actor(mut self, actor: impl Into<Entity>) -> ExpectNone {
        self.by.push(ExpectKey::Actor(actor.into()));
        self
    }

    /// Only those of the chain of causes with this root.
    pub fn by_correlation(mut self, correlation: &str) -> ExpectNone {
        self.by.push(ExpectKey::Correlation(correlation.to_owned()));
        self
    }

    /// Only those in the history of this entity.
    pub fn on(mut self, target: impl Into<Entity>) -> ExpectNone {
        self.by.push(ExpectKey::Target(target.into()));
        self
    }

    /// Only those behind this position: what was looked at reached up to there.
    pub fn since(mut self, position: Position) -> ExpectNone {
        self.after = position;
        self
    }

    /// Only those that occurred at this instant or later.
    pub fn since_time(mut self, time: Timestamp) -> ExpectNone {
        self.since = Some(time);
        self
    }

    fn fail(&mut self, fault: Error) {
        self.fault.get_or_insert(ExpectFault(fault));
    }

    /// An error if something wrong was said.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(fault.0.clone()),
            None => Ok(()),
        }
    }
}
