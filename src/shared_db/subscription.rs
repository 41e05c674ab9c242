//! Subscriptions of a shared database: the statement that says it, and what it delivers.

use std::fmt;

use super::SharedDb;
use crate::db::Db;
use crate::entity::{NameText, Position};
use crate::error::{Error, Result};
use crate::exec::Row;
use crate::live::Delivery;
use crate::pattern::Pattern;
use crate::plan::Parameters;
use crate::store::SubscriptionCursor;
use crate::time::Timestamp;

/// A subscription that is to begin: [`SharedDb::subscribe`].
#[derive(Debug)]
#[must_use = "nothing is delivered before it is opened"]
pub struct SharedSubscription {
    db: SharedDb,
    pattern: Result<Pattern>,
    from: Option<Result<Position, Timestamp>>,
    condition: Option<String>,
    parameters: Parameters,
    until_now: bool,
    limit: Option<u64>,
    name: Option<String>,
}

impl SharedSubscription {
    pub(super) fn new(db: SharedDb, pattern: Result<Pattern>) -> SharedSubscription {
        let (from, condition, parameters) = (None, None, Parameters::new());
        SharedSubscription {
            db,
            pattern,
            from,
            condition,
            parameters,
            until_now: false,
            limit: None,
            name: None,
        }
    }

    /// From the first event on.
    pub fn from_start(self) -> SharedSubscription {
        self.after(Position::START)
    }

    /// From the event behind this position on.
    pub fn after(self, position: Position) -> SharedSubscription {
        SharedSubscription { from: Some(Ok(position)), ..self }
    }

    /// From the first event on that was recorded at this instant or later.
    pub fn since(self, time: Timestamp) -> SharedSubscription {
        SharedSubscription { from: Some(Err(time)), ..self }
    }

    /// Only events for which this condition of the language holds.
    pub fn matching(self, condition: &str, parameters: &Parameters) -> SharedSubscription {
        SharedSubscription { condition: Some(condition.to_owned()), parameters: parameters.clone(), ..self }
    }

    /// Ends with what is there when it is opened.
    pub fn until_now(self) -> SharedSubscription {
        SharedSubscription { until_now: true, ..self }
    }

    /// Ends after so many events.
    pub fn limit(self, events: u64) -> SharedSubscription {
        SharedSubscription { limit: Some(events), ..self }
    }

    /// The database keeps its place under this name, and it goes on there the next time: where it is said to begin is where the first
    /// one does. What is delivered is to be [acknowledged](SharedDeliveries::acknowledge).
    pub fn durable(self, name: &str) -> SharedSubscription {
        SharedSubscription { name: Some(name.to_owned()), ..self }
    }

    /// Begins.
    ///
    /// # Errors
    /// As for [`SharedDb::query`], and of a durable one, as for [`Subscription::durable`](crate::Subscription::durable).
    pub fn open(self) -> Result<SharedDeliveries> {
        match self.db.opened().cloned() {
            Some(db) => self.subscribe_here(&db),
            None => self.subscribe_there(),
        }
    }

    fn subscribe_here(self, db: &Db) -> Result<SharedDeliveries> {
        let mut subscription = db.subscribe(self.pattern?).cancelled_by(&db.cancel());
        match self.from {
            None => {}
            Some(Ok(position)) => subscription = subscription.after(position),
            Some(Err(time)) => subscription = subscription.since(time),
        }
        if let Some(condition) = &self.condition {
            subscription = subscription.matching(condition, &self.parameters);
        }
        if self.until_now {
            subscription = subscription.until_now();
        }
        if let Some(limit) = self.limit {
            subscription = subscription.limit(limit);
        }
        Ok(match &self.name {
            None => SharedDeliveries { deliveries: Box::new(subscription), cursor: None },
            Some(name) => {
                let durable = subscription.durable(name)?;
                let cursor = Some(durable.cursor());
                SharedDeliveries { deliveries: Box::new(durable), cursor }
            }
        })
    }

    /// By the statement that says it.
    fn subscribe_there(self) -> Result<SharedDeliveries> {
        let pattern = self.pattern?;
        let mut text = format!("SUBSCRIBE '{}'", pattern.to_string().replace('\'', "''"));
        match self.from {
            None => {}
            Some(Ok(Position::START)) => text.push_str(" FROM START"),
            Some(Ok(position)) => text.push_str(&format!(" FROM {position}")),
            Some(Err(time)) => text.push_str(&format!(" FROM '{time}'")),
        }
        if self.until_now {
            text.push_str(&format!(" UNTIL {}", self.db.head()?));
        }
        if let Some(condition) = &self.condition {
            // A comment at its end, or a bracket too few, is seen as that.
            text.push_str(&format!(" WHERE ({condition}\n)"));
        }
        if let Some(limit) = self.limit {
            text.push_str(&format!(" LIMIT {limit}"));
        }
        if let Some(name) = &self.name {
            text.push_str(&format!(" AS {}", NameText(name)));
        }
        // Nobody typed the statement: a place in it says nothing.
        let answer = self.db.query_with(&text, &self.parameters).map_err(Error::without_place)?;
        let deliveries = answer.rows.filter_map(|row| match row {
            Ok(Row::Event { event, .. }) => Some(Ok(Delivery::Event(event))),
            Ok(Row::CaughtUp(position)) => Some(Ok(Delivery::CaughtUp(position))),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        Ok(SharedDeliveries { deliveries: Box::new(deliveries), cursor: answer.cursor })
    }
}

/// What a subscription of a shared database delivers: a blocking iterator.
pub struct SharedDeliveries {
    deliveries: Box<dyn Iterator<Item = Result<Delivery>> + Send>,
    cursor: Option<SubscriptionCursor>,
}

impl SharedDeliveries {
    /// Everything up to this position is done, of a durable subscription: whoever reads it after this one goes on behind it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it has no name, and those of [`SubscriptionCursor::acknowledge`].
    pub fn acknowledge(&self, position: Position) -> Result<()> {
        match &self.cursor {
            Some(cursor) => cursor.acknowledge(position),
            None => {
                Err(Error::invalid("what is acknowledged", "a durable subscription", "one without a name"))
            }
        }
    }

    /// Where a durable subscription is acknowledged, from any thread.
    pub fn cursor(&self) -> Option<SubscriptionCursor> {
        self.cursor.clone()
    }
}

impl Iterator for SharedDeliveries {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Result<Delivery>> {
        self.deliveries.next()
    }
}

impl fmt::Debug for SharedDeliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDeliveries").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
