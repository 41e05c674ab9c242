//! Limits: how much of anything there may be. docs/guide/limits.md has them all, those that nobody sets, too.

use super::Options;
#[allow(unused_imports, reason = "the documentation links to it")]
use crate::error::Error;

/// How long a statement is at most, unless somebody says otherwise.
pub(crate) const MAX_STATEMENT: usize = 16 << 20;

/// What may be said of that at most.
pub(crate) const LARGEST_STATEMENT: usize = 1 << 30;

impl Options {
    /// The most bytes that one query holds to sort, to group and to count what is different (256 MiB by default); one that needs
    /// more ends with an error. Rows that are pulled one by one take none of it.
    ///
    /// ```
    /// use bygone::{NewEvent, Options};
    /// let db = Options::new().query_memory(1000).in_memory()?;
    /// db.append_all((0..100).map(|n| NewEvent::new("Order.paid").on(("Order", n))))?;
    /// let count = |text: &str| Ok::<_, bygone::Error>(db.query(text)?.rows.count());
    /// assert_eq!(count("EVENTS ORDER BY target.id LIMIT 5")?, 5);
    /// assert!(count("EVENTS ORDER BY target.id").is_err());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn query_memory(mut self, bytes: usize) -> Options {
        self.query_memory = bytes;
        self
    }

    /// The longest statement, in bytes (16 MiB by default, and 1 GiB at most). For each 32 bytes of that it may have one word or sign,
    /// and 1,000 always, since each takes more memory than its text: parsing takes six times this limit at most. A longer one is refused with
    /// [`Error::Invalid`] before anything is made of it; a definition that is in the log already holds, however long.
    ///
    /// ```
    /// use bygone::{Options, Parameters};
    /// let db = Options::new().max_statement(100).in_memory()?;
    /// let text = format!("EMIT Note.made 1 {{text: '{}'}}", "x".repeat(100));
    /// assert!(db.query(&text).is_err());
    /// db.query_with("EMIT Note.made 1 {text: $text}", &Parameters::new().set("text", "x".repeat(100)))?;
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn max_statement(mut self, bytes: usize) -> Options {
        self.max_statement = bytes.min(LARGEST_STATEMENT);
        self
    }

    /// How many events reactions may make of one event that none of them made (10,000 by default): what it sets off, what that
    /// sets off, and so on, are counted together. A reaction that would make more makes nothing; that event is set aside, with an
    /// error that says why.
    ///
    /// ```
    /// use bygone::Options;
    /// let careful = Options::new().live(true).max_brought_about(100);
    /// # drop(careful);
    /// ```
    pub fn max_brought_about(mut self, events: u64) -> Options {
        self.max_brought_about = events.max(1);
        self
    }

    /// The most bytes of memory that one evaluation makes, and that a state takes (16 MiB by default): of an expression for a row, of a
    /// definition for an event. What would take more is an error, as any other that an evaluation ends with: a query ends, an
    /// append is refused, an entity has no state from that event on. Work is bounded with it.
    pub fn largest_value(mut self, bytes: usize) -> Options {
        self.largest_value = bytes;
        self
    }

    /// The largest event and the largest atomic group, in bytes (16 and 32 MiB by default and at most).
    pub fn limits(mut self, event: usize, group: usize) -> Options {
        let default = Options::default();
        self.max_event = event.min(default.max_event);
        self.max_group = group.min(default.max_group);
        self
    }

    /// How many definitions may hold at a time (20,000 by default): of indexes, entities, verbs, views, reactions, webhooks and schedules
    /// together. They are in memory, and opening the database understands each of them. One more is refused with [`Error::Invalid`]; to define
    /// anew what there is, and to `DROP`, is not. What the log holds already holds, however many.
    ///
    /// ```
    /// use bygone::Options;
    /// let db = Options::new().max_definitions(1).in_memory()?;
    /// db.query("DEFINE VERB Pay ON Order EMIT paid")?;
    /// assert!(db.query("DEFINE VERB Ship ON Order EMIT shipped").is_err());
    /// db.query("DEFINE VERB Pay ON Order EMIT payed")?;
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn max_definitions(mut self, definitions: usize) -> Options {
        self.max_definitions = definitions;
        self
    }

    /// How many subscriptions may have a name at a time (10,000 by default): the place of each is in memory. One more is refused with
    /// [`Error::Invalid`], until another is dropped.
    ///
    /// ```
    /// use bygone::Options;
    /// let db = Options::new().max_subscriptions(1).in_memory()?;
    /// drop(db.subscribe("*").durable("billing")?);
    /// assert!(db.subscribe("*").durable("mailing").is_err());
    /// db.query("DROP SUBSCRIPTION billing")?;
    /// drop(db.subscribe("*").durable("mailing")?);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Options {
        self.max_subscriptions = subscriptions;
        self
    }

    /// The most bytes that a webhook sends of an event (32 MiB by default, which is more than nearly every event takes in JSON). One that takes
    /// more is set aside at once.
    ///
    /// ```
    /// use bygone::Options;
    /// let narrow = Options::new().live(true).max_webhook_body(256 << 10);
    /// # drop(narrow);
    /// ```
    #[cfg(feature = "webhooks")]
    pub fn max_webhook_body(mut self, bytes: usize) -> Options {
        self.delivery.max_body = bytes;
        self
    }
}
