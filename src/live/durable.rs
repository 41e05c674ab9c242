//! Durable subscriptions: the database keeps how far they are.

use std::fmt;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::handler::HandlerBuilder;
#[cfg(feature = "async")]
use super::stream::DeliveryStream;
use super::subscribe::{Delivery, Subscription};
use crate::entity::{NameText, Position};
use crate::error::{Error, Missing, MissingItem, Result, shorten};
use crate::store::cursor::{Cursor, CursorOwner};
use crate::store::cursor_writer::Attached;
use crate::store::place::SubscriptionCursor;

/// No name is longer, in bytes.
const LONGEST: usize = 255;

/// A subscription that has a name: the database keeps its place, and it goes on there the next time.
///
/// Each event is delivered at least once: what is not [acknowledged](Self::acknowledge) is delivered again, to whoever reads it next.
/// One at a time reads it.
///
/// ```
/// use bygone::{Db, Delivery, NewEvent, Pattern};
/// let db = Db::in_memory()?;
/// for order in 1..=3 {
///     db.append(NewEvent::new("Order.paid").on(("Order", order)))?;
/// }
/// let paid: Pattern = "Order.paid".parse()?;
/// let mut billing = db.subscribe(paid.clone()).from_start().durable("billing")?;
/// let Some(Ok(Delivery::Event(first))) = billing.next() else { panic!() };
/// billing.acknowledge(first.position)?;
/// assert!(matches!(billing.next(), Some(Ok(Delivery::Event(second))) if second.position.0 == 2));
/// drop(billing);
///
/// // What was not acknowledged comes again.
/// let mut billing = db.subscribe(paid).durable("billing")?;
/// assert!(matches!(billing.next(), Some(Ok(Delivery::Event(second))) if second.position.0 == 2));
/// # Ok::<(), bygone::Error>(())
/// ```
#[must_use = "nothing is delivered before it is asked for"]
pub struct DurableSubscription {
    subscription: Subscription,
    place: SubscriptionCursor,
}

/// What the one who reads a durable subscription holds.
#[derive(Debug)]
pub(super) struct ReaderLease {
    pub place: SubscriptionCursor,
    _attached: Attached,
}

impl Subscription {
    /// Gives it a name: the database keeps its place under that. The first time, it begins where it is said to; from then on it goes on
    /// behind what was acknowledged last. Which events those are stays as it was said the first time. [`Self::from_start`] may be said
    /// each time: it is where the first one begins.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is one of that name that is of other events, if it is said again that it begins behind an event, or if
    /// its place is beyond the head: the message tells its place, and `DROP SUBSCRIPTION` ends it. [`Error::Conflict`] while somebody else reads it; [`Error::Stopped`] where the database
    /// was opened for reading only.
    pub fn durable(self, name: &str) -> Result<DurableSubscription> {
        let mut subscription = self.checked()?;
        if name.is_empty() || name.len() > LONGEST {
            let found = if name.is_empty() { "''".to_owned() } else { shorten(name) };
            let expected = format!("a text of up to {LONGEST} bytes that is not empty");
            return Err(Error::invalid("the name of a subscription", expected, found));
        }
        let shared = subscription.shared.clone();
        if shared.options.read_only {
            return Err(Error::stopped(
                "the place of a subscription cannot be kept: the database was opened for reading only",
            ));
        }
        let follower = CursorOwner::Subscription(name.to_owned());
        let thread = thread::current();
        let thread = thread.name().map_or_else(String::new, |name| format!(" in the thread '{name}'"));
        let who = format!("one that reads it since {}{thread}", shared.options.clock.now());
        let attached = shared.cursor_writer.attach(&follower, who)?;
        let (said, text) = (subscription.plan.from, subscription.plan.said());
        match shared.cursors.get(&follower)? {
            None => {
                let cursor = Cursor::new(subscription.place(), Position::START, text);
                shared.cursor_writer.create(&follower, cursor)?;
            }
            Some(cursor) => {
                let (shown, at) = (NameText(name), cursor.position);
                if !subscription.plan.says(&cursor.text) {
                    let expected = format!(
                        "{}, which it is of, at {at} (DROP SUBSCRIPTION {shown} ends it, another name begins another)",
                        cursor.text
                    );
                    return Err(Error::invalid(follower.to_string(), expected, text));
                }
                if let Some(from) = said.filter(|from| *from != Position::START) {
                    let expected = format!(
                        "no FROM but the start: it is at {at}, and goes on there (DROP SUBSCRIPTION {shown}, to begin anew)"
                    );
                    return Err(Error::invalid(follower.to_string(), expected, from.to_string()));
                }
                let head = shared.applied.head();
                if at > head {
                    let item = MissingItem::Position { asked: at, head };
                    let message = format!(
                        "{follower} is at {at}, and {item}; DROP SUBSCRIPTION {shown} begins it anew"
                    );
                    return Err(Missing { item, message, fault: None }.into());
                }
                subscription = subscription.after(at);
            }
        }
        let place = SubscriptionCursor::new(shared, name);
        subscription.seat = Some(ReaderLease { place: place.clone(), _attached: attached });
        Ok(DurableSubscription { subscription, place })
    }
}

impl DurableSubscription {
    /// Everything up to this position is done. See [`SubscriptionCursor::acknowledge`].
    pub fn acknowledge(&self, position: Position) -> Result<()> {
        self.place.acknowledge(position)
    }

    /// Everything up to this position is done, and that is durable. See [`SubscriptionCursor::acknowledge_durably`].
    pub fn acknowledge_durably(&self, position: Position) -> Result<()> {
        self.place.acknowledge_durably(position)
    }

    /// Its cursor, to acknowledge events wherever they are dealt with.
    pub fn cursor(&self) -> SubscriptionCursor {
        self.place.clone()
    }

    /// Waits for the next delivery, at most so long. None means that nothing came in time, or that it has ended.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<Delivery>> {
        self.subscription.next_timeout(timeout)
    }

    /// Whether there will be nothing more.
    pub fn has_ended(&self) -> bool {
        self.subscription.has_ended()
    }

    /// Delivers on a channel: see [`Subscription::channel`]. What was dealt with is acknowledged by its [`cursor`](Self::cursor).
    pub fn channel(self, capacity: usize) -> Result<Receiver<Result<Delivery>>> {
        self.subscription.channel(capacity)
    }

    /// Delivers to whoever awaits it: see [`Subscription::stream`]. What was dealt with is acknowledged by its [`cursor`](Self::cursor).
    #[cfg(feature = "async")]
    pub fn stream(self) -> Result<DeliveryStream> {
        self.subscription.stream()
    }

    /// A handler of what this delivers. It acknowledges what went well, and what was set aside.
    pub fn handler(self) -> HandlerBuilder {
        self.subscription.handler()
    }
}

impl Iterator for DurableSubscription {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Result<Delivery>> {
        self.subscription.next()
    }
}

impl fmt::Debug for DurableSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableSubscription({}, {:?})", self.place.name(), self.subscription)
    }
}
