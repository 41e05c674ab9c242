//! Cursors of durable subscriptions: how far each is, as whoever reads it says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::cursor::{Cursor, CursorOwner};
use crate::entity::{AtomicPosition, Position};
use crate::error::{Error, Result};

/// How far a [durable subscription](crate::react::DurableSubscription) is: events are acknowledged here, wherever they are dealt with.
/// Clones are one cursor.
///
/// It goes forward only. It is kept by the database, and written soon, with others; a crash loses the last moves at most, and their
/// events are delivered again.
#[derive(Clone)]
pub struct SubscriptionCursor(CursorHolder);

/// Who keeps it.
#[derive(Clone)]
enum CursorHolder {
    Here(Arc<PlaceInner>),
    /// The process that holds the database.
    #[cfg(feature = "share")]
    Elsewhere(Arc<dyn RemoteCursor>),
}

/// A cursor that another process keeps.
#[cfg(feature = "share")]
pub(crate) trait RemoteCursor: Send + Sync {
    /// The name of the subscription.
    fn name(&self) -> &str;
    /// Acknowledges, as [`SubscriptionCursor::acknowledge`] does, and gives the position that is acknowledged then.
    fn acknowledge(&self, position: Position, durably: bool) -> Result<Position>;
}

struct PlaceInner {
    shared: Arc<Shared>,
    name: String,
    follower: CursorOwner,
    /// Which of those of its name: one that was dropped is not the next of the name.
    birth: u64,
    /// The last event that was handed over.
    delivered: AtomicPosition,
    /// What is wanted up to here has been handed over.
    looked: AtomicPosition,
}

impl SubscriptionCursor {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> SubscriptionCursor {
        let follower = CursorOwner::Subscription(name.to_owned());
        let (delivered, looked) = (AtomicPosition::default(), AtomicPosition::default());
        // Where it was dropped just now, it is none that there will be.
        let birth = shared.cursors.birth(&follower).unwrap_or(u64::MAX);
        let name = name.to_owned();
        let place = PlaceInner { shared, name, follower, birth, delivered, looked };
        SubscriptionCursor(CursorHolder::Here(Arc::new(place)))
    }

    /// One that another process keeps.
    #[cfg(feature = "share")]
    pub(crate) fn elsewhere(cursor: Arc<dyn RemoteCursor>) -> SubscriptionCursor {
        SubscriptionCursor(CursorHolder::Elsewhere(cursor))
    }

    /// The name of the subscription.
    pub fn name(&self) -> &str {
        match &self.0 {
            CursorHolder::Here(place) => &place.name,
            #[cfg(feature = "share")]
            CursorHolder::Elsewhere(cursor) => cursor.name(),
        }
    }

    /// Everything up to here is acknowledged.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the subscription was dropped; [`Error::Corrupt`] if what is kept of it is damaged.
    pub fn position(&self) -> Result<Position> {
        match &self.0 {
            CursorHolder::Here(place) => place.position(),
            #[cfg(feature = "share")]
            CursorHolder::Elsewhere(cursor) => cursor.acknowledge(Position::START, false),
        }
    }

    /// Everything up to this position is done: whoever reads the subscription after this one goes on behind it. A position before
    /// the place changes nothing.
    ///
    /// This waits for no disk: the place is durable with the next append to the database, or when it is written alone, within about a
    /// tenth of a second where the disk keeps up, and when the database is closed. A crash before that loses the last moves, and what
    /// they stood for is delivered again: at least once, never none. Where that costs too much,
    /// [`acknowledge_durably`](Self::acknowledge_durably) waits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a position that was not reached yet, [`Error::Conflict`] if the subscription was dropped, and
    /// [`Error::Stopped`] once the database is closed.
    pub fn acknowledge(&self, position: Position) -> Result<()> {
        match &self.0 {
            CursorHolder::Here(place) => place.acknowledge(position),
            #[cfg(feature = "share")]
            CursorHolder::Elsewhere(cursor) => cursor.acknowledge(position, false).map(drop),
        }
    }

    /// Acknowledges as [`acknowledge`](Self::acknowledge) does. When this returns, the place is durable: no crash takes it back. That is
    /// a write to the disk, and with it go the moves of all others.
    ///
    /// # Errors
    /// Those of `acknowledge`; and where the place cannot be written: then it is acknowledged, and written with a later try.
    pub fn acknowledge_durably(&self, position: Position) -> Result<()> {
        match &self.0 {
            CursorHolder::Here(place) => {
                place.acknowledge(position)?;
                place.shared.name.check()?;
                place.shared.cursor_writer.write()
            }
            #[cfg(feature = "share")]
            CursorHolder::Elsewhere(cursor) => cursor.acknowledge(position, true).map(drop),
        }
    }

    /// An event is handed over.
    pub(crate) fn deliver(&self, position: Position) {
        match &self.0 {
            CursorHolder::Here(place) => place.delivered.store(position, Ordering::SeqCst),
            // Its subscription is there, too.
            #[cfg(feature = "share")]
            CursorHolder::Elsewhere(_) => {}
        }
    }

    /// All that is wanted up to here has been handed over.
    pub(crate) fn look(&self, position: Position) {
        match &self.0 {
            CursorHolder::Here(place) => place.look(position),
            #[cfg(feature = "share")]
            CursorHolder::Elsewhere(_) => {}
        }
    }
}

impl PlaceInner {
    fn position(&self) -> Result<Position> {
        let cursors = &self.shared.cursors;
        let is_it = cursors.birth(&self.follower) == Some(self.birth);
        match cursors.get(&self.follower)?.filter(|_| is_it) {
            Some(cursor) => Ok(cursor.position),
            None => Err(self.dropped()),
        }
    }

    fn dropped(&self) -> Error {
        let found = match self.shared.cursors.birth(&self.follower) {
            None => "that it was dropped",
            Some(_) => "that it was dropped, and another of its name begun",
        };
        Error::conflict(self.follower.to_string(), "one that there is", found)
    }

    fn acknowledge(&self, position: Position) -> Result<()> {
        let PlaceInner { shared, follower, birth, delivered, looked, .. } = self;
        // In this order: what was looked through before has been delivered by now.
        let looked = looked.load(Ordering::SeqCst);
        let delivered = delivered.load(Ordering::SeqCst);
        let reached = delivered.max(looked).max(self.position()?);
        if position > reached {
            let expected = format!("a position that was reached, up to {}", reached);
            return Err(Error::invalid(
                format!("what is acknowledged of {follower}"),
                expected,
                position.to_string(),
            ));
        }
        if shared.log_progress.is_closed() {
            return Err(Error::stopped("the database is closed"));
        }
        // Behind the last event that is wanted there may be many that are not.
        let through = if position >= delivered { position.max(looked) } else { position };
        let forward = |cursor: &mut Cursor| cursor.position = cursor.position.max(through);
        if shared.cursors.change_born(follower, *birth, forward) { Ok(()) } else { Err(self.dropped()) }
    }

    fn look(&self, position: Position) {
        let PlaceInner { shared, follower, birth, delivered, looked, .. } = self;
        looked.advance(position, Ordering::SeqCst);
        let delivered = delivered.load(Ordering::SeqCst);
        // Of one that was dropped there is nothing to move.
        shared.cursors.change_born(follower, *birth, |cursor| {
            if cursor.position >= delivered {
                cursor.position = cursor.position.max(position);
            }
        });
    }
}

impl fmt::Debug for SubscriptionCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubscriptionCursor").field(&self.name()).finish()
    }
}
