//! Reading: the log up to a head, whatever is appended meanwhile.
//!
//! A [`Snapshot`] is a head and nothing else, so that it may be kept at a user's pace: the log below it never changes. To
//! read, it opens a [`ReadTxn`], which is short-lived: iterators open one a page.

mod cached_state;
mod entity;
mod estimate;
mod found;
mod id_range;
mod list;
mod overlay;
mod overlay_cache;
mod range_scan;
mod read_stats;
mod scan;
mod state_batch;
mod state_columns;
mod states;
mod stream;
mod zone_map;

use std::borrow::Cow;
use std::sync::Arc;

use super::catalog::Catalog;
use super::cursor::{Cursor, CursorOwner};
use super::index::term::{self, Term};
use super::kernel::Kernel;
use super::options::Options;
use super::private_values::OriginalPayload;
use super::read_form::{EventForm, read_form};
use super::verb::VerbHandler;
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{Entity, Position, PositionRange, Version};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::event::{Event, EventId, codec};
use crate::telemetry::Counts;
use crate::telemetry::metrics::Metrics;

pub(crate) use super::read_txn::{ReadTxn, ScanDirection};
pub(crate) use entity::FoldBound;
pub(crate) use estimate::Estimate;
pub(crate) use found::{FoundIds, IndexWalk, WalkedIds};
pub(crate) use id_range::IdRange;
pub(crate) use list::PostingList;
pub(crate) use overlay_cache::OverlayCache;
pub(crate) use read_stats::ReadStats;
pub(crate) use scan::LogScan;
pub(crate) use state_batch::StateBatch;
#[cfg(test)]
pub(crate) use state_columns::MADE_AT;
pub(crate) use state_columns::{
    ColumnWriter, FreshColumns, STATE_BLOCK, STATE_FIELDS, StateColumnCache, StateIds,
};
pub(crate) use states::{StateAccess, StateLender, StateSelection, States};
pub(crate) use stream::{Folding, Stream};
pub(crate) use zone_map::ZoneRange;

/// The log up to a head.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    kernel: Arc<Kernel>,
    head: Position,
    catalog: Arc<Catalog>,
    form: EventForm,
    forgotten: usize,
    cancel: Cancel,
    tally: Arc<ReadStats>,
}

impl Kernel {
    /// The log as it is now.
    pub fn snapshot(self: &Arc<Kernel>) -> Snapshot {
        let (head, catalog) = self.applied.head_and_catalog();
        Snapshot::new(self.clone(), head, catalog)
    }
}

impl Snapshot {
    pub(super) fn new(kernel: Arc<Kernel>, head: Position, catalog: Arc<Catalog>) -> Snapshot {
        let (form, cancel, tally) = (EventForm::Read, Cancel::new(), Arc::default());
        let forgotten = kernel.keyring.forgotten();
        Snapshot { kernel, head, catalog, form, forgotten, cancel, tally }
    }

    /// The same log, whose reading ends with an error at the next page once this handle is cancelled.
    pub fn cancelled_by(self, cancel: &Cancel) -> Snapshot {
        Snapshot { cancel: cancel.clone(), ..self }
    }

    /// What ends its reading.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// What was read by it so far.
    pub fn tally(&self) -> &ReadStats {
        &self.tally
    }

    /// The same log, with counts that begin anew.
    pub fn tallied(&self) -> Snapshot {
        Snapshot { tally: Arc::default(), ..self.clone() }
    }

    /// The same log, whose events are handed over as they are stored.
    pub fn stored(&self) -> Snapshot {
        Snapshot { form: EventForm::Stored, ..self.clone() }
    }

    /// The newest position it shows.
    pub fn head(&self) -> Position {
        self.head
    }

    /// The indexes. As long as this snapshot or a clone of it lives, their lists are not dropped.
    pub fn indexes(&self) -> &Catalog {
        &self.catalog
    }

    /// Why a definition is not kept in the background, if it is not.
    pub fn failure(&self, definition: Position) -> Option<Error> {
        self.kernel.failures.of(definition)
    }

    /// How many events the log holds behind this; none where it is this process's alone, or does not say.
    pub fn log_lag(&self) -> Option<u64> {
        self.kernel.log.lag(self.head)
    }

    /// The definitions whose lists are being dropped.
    pub fn dropping(&self) -> Result<Vec<Position>> {
        self.kernel.stale()
    }

    /// How many subjects had been forgotten when this was taken: what is remembered of it holds as long as that is so.
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// Whether events are read in another form since this was taken.
    pub fn reads_in_an_earlier_form(&self) -> bool {
        self.kernel.applied.catalog().reformed() != self.catalog.reformed()
    }

    /// Whether nobody was forgotten since this was taken.
    pub fn knows_who_is_forgotten(&self) -> bool {
        self.forgotten == self.kernel.keyring.forgotten()
    }

    /// The verb of this name that the program added.
    pub fn added_verb(&self, name: &str) -> Option<Arc<dyn VerbHandler>> {
        self.kernel.verbs.get(name)
    }

    /// All verbs that the program added, in the order of their names.
    pub fn added_verbs(&self) -> Vec<(String, Arc<dyn VerbHandler>)> {
        self.kernel.verbs.all()
    }

    /// What the database has done so far.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.kernel.counts
    }

    /// What it tells of itself now.
    pub fn metrics(&self) -> Result<Metrics> {
        self.kernel.metrics()
    }

    pub fn options(&self) -> &Options {
        &self.kernel.options
    }

    /// What each evaluation of a fold may take: the same for all who ask, so that they find the same.
    pub fn limits(&self) -> Limits {
        Limits::new(self.kernel.options.largest_value, &self.cancel)
    }

    /// What each evaluation of a query may take.
    pub fn query_limits(&self) -> Limits {
        let options = &self.kernel.options;
        Limits::of_query(options.largest_value, options.query_memory, &self.cancel)
    }

    /// How many threads may work on one query.
    pub fn threads(&self) -> usize {
        self.kernel.options.threads
    }

    /// The log as it is by now.
    pub fn now(&self) -> Snapshot {
        self.kernel.snapshot().cancelled_by(&self.cancel)
    }

    /// The same log, up to an earlier head.
    pub fn until(&self, head: Position) -> Snapshot {
        Snapshot { head: head.min(self.head), ..self.clone() }
    }

    /// Opens a view for a moment of reading.
    pub fn view(&self) -> Result<ReadTxn<'_>> {
        self.go_on()?;
        Ok(ReadTxn::open(self.kernel.read_source(), self.head, Some(&self.cancel))?
            .in_form(self.form, Some(&self.catalog)))
    }

    /// Whether it is still to be read.
    pub fn go_on(&self) -> Result<()> {
        self.cancel.check()
    }

    /// Reads within a view, and once more where another's failure comes between.
    pub fn read<T>(&self, read: impl FnMut(&ReadTxn) -> Result<T>) -> Result<T> {
        self.go_on()?;
        ReadTxn::read_in(
            (self.form, Some(&self.catalog)),
            self.kernel.read_source(),
            self.head,
            Some(&self.cancel),
            read,
        )
    }

    /// The bytes of the event at a position; none beyond the head.
    pub fn encoded(&self, position: Position) -> Result<Option<Arc<[u8]>>> {
        self.read(|view| view.event(position))
    }

    /// An event with its private values in plain, of its stored bytes: as it was appended otherwise.
    pub fn decrypted(&self, position: Position, stored: &Arc<[u8]>) -> Result<Arc<[u8]>> {
        let formed = self.read(|view| match view.decrypted(position, stored)? {
            Cow::Owned(formed) => Ok(Some(Arc::from(formed))),
            Cow::Borrowed(_) => Ok(None),
        })?;
        Ok(formed.unwrap_or_else(|| stored.clone()))
    }

    /// What an event that was rewritten was appended with, of its stored bytes; none where that is forgotten.
    pub fn original(&self, position: Position, stored: &[u8]) -> Result<Option<OriginalPayload>> {
        self.read(|view| view.original(position, stored))
    }

    /// The event at a position; none beyond the head.
    pub fn event(&self, position: Position) -> Result<Option<Event>> {
        let bytes = self.read(|view| view.event(position))?;
        bytes.map(|bytes| codec::decode(position, bytes)).transpose()
    }

    /// Whether something is left to do for subjects that were forgotten.
    pub fn has_keys_to_erase(&self) -> Result<bool> {
        self.kernel.tables.read()?.keys_to_erase()
    }

    /// How many events an entity has.
    pub fn version(&self, entity: &Entity) -> Result<Version> {
        let term = Term::entity(entity)?;
        Ok(Version(self.read(|view| view.count(&term))?.count))
    }

    /// The same, once all that it shows is durable.
    #[cfg(feature = "signing")]
    pub fn durable(&self) -> Result<Snapshot> {
        self.kernel.sync_log()?;
        Ok(self.until(self.head().min(self.kernel.log_progress.synced())))
    }

    /// The name of the database: `urn:uuid:` and its id.
    #[cfg(feature = "signing")]
    pub fn urn(&self) -> String {
        self.kernel.id.urn()
    }

    /// What this database is called in vector clocks.
    pub fn node(&self) -> String {
        self.kernel.node()
    }

    /// Where the event with this id is.
    pub fn position_of(&self, id: &EventId) -> Result<Option<Position>> {
        self.read(|view| view.position_of(id))
    }

    /// The positions of a term within a range, one way or the other.
    pub fn list(&self, term: Term, range: PositionRange, direction: ScanDirection) -> PostingList {
        PostingList::new(self, term, range, direction)
    }

    /// The first event behind a position that is in one of some lists, which must be whole, and passes; `Some(None)` if there is
    /// none. None where more than so many events would have to be looked at.
    pub fn first_of(
        &self,
        lists: &[Term],
        after: Position,
        most: usize,
        passes: impl Fn(&Record) -> Result<bool>,
    ) -> Result<Option<Option<Position>>> {
        self.go_on()?;
        let memtables = self.kernel.applied.memtables();
        // What an index derives of the events before its definition comes to the tables, wherever those events are.
        let is_in_memtables = |term: &Term| term.definition().is_none_or(|definition| after >= definition);
        if after >= memtables.base() && lists.iter().all(is_in_memtables) {
            let list =
                |term: &Term, after| Ok(memtables.list(term, PositionRange::between(after, self.head)));
            let event = |position| {
                let Some(stored) = memtables.stored(position) else { return Ok(None) };
                if self.form == EventForm::Stored {
                    return Ok(Some(stored));
                }
                let plain = self.kernel.keys().decrypted(position, &stored)?.unwrap_or(stored);
                Ok(Some(match read_form(position, &plain, &self.catalog)? {
                    Cow::Owned(formed) => Arc::from(formed),
                    Cow::Borrowed(_) => plain,
                }))
            };
            return first_of(lists, after, most, list, event, passes);
        }
        self.read(|view| {
            let list = |term: &Term, after| {
                view.page(term, PositionRange::between(after, self.head), ScanDirection::Ascending)
            };
            first_of(lists, after, most, list, |position| view.event(position), &passes)
        })
    }

    /// Every event of a range, one way or the other.
    pub fn log(&self, range: PositionRange, direction: ScanDirection) -> LogScan {
        LogScan::new(self, range, direction)
    }

    /// Where the followers of the log are now.
    pub fn cursors(&self) -> Vec<(CursorOwner, Result<Cursor>)> {
        self.kernel.cursors.all()
    }

    /// Where a follower is now, if it has a place.
    pub fn cursor(&self, follower: &CursorOwner) -> Result<Option<Cursor>> {
        self.kernel.cursors.get(follower)
    }

    /// Who reads a cursor now.
    pub fn reader(&self, follower: &CursorOwner) -> Option<String> {
        self.kernel.cursors.reader(follower)
    }

    /// What a follower struggles with now.
    pub fn trouble(&self, follower: &CursorOwner) -> Option<String> {
        self.kernel.cursors.trouble(follower)
    }

    /// The names of the named subscriptions.
    pub fn subscriptions(&self) -> Vec<String> {
        let name = |(follower, _)| match follower {
            CursorOwner::Subscription(name) => Some(name),
            CursorOwner::Program(_) => None,
        };
        self.cursors().into_iter().filter_map(name).collect()
    }

    /// How many bytes a query may hold.
    pub fn query_memory(&self) -> usize {
        self.kernel.options.query_memory
    }

    /// Whether an event was ever found by an index value of this name.
    pub fn has_tag(&self, name: &str) -> Result<bool> {
        let prefix = term::tag_prefix(name);
        let found = self.read(|view| view.term_at(&prefix))?;
        Ok(found.is_some_and(|term| term.as_bytes().starts_with(&prefix)))
    }

    /// Whether an entity of this kind has events.
    pub fn has_kind(&self, kind: &str) -> Result<bool> {
        let prefix = term::kind_prefix(kind);
        let found = self.read(|view| view.term_at(&prefix))?;
        Ok(found.is_some_and(|term| term.as_bytes().starts_with(&prefix)))
    }

    /// The kinds of entities that have events, in order, the database's own too. It goes from kind to kind, whatever there is of each.
    pub fn kinds(&self) -> Result<Vec<String>> {
        let mut kinds = Vec::new();
        let mut from = term::kinds_prefix();
        while let Some(found) = self.read(|view| view.term_at(&from))?
            && let Some((kind, _)) = found.as_entity()
        {
            from = [term::kind_prefix(&kind).as_slice(), &term::AFTER_TERM].concat();
            kinds.push(kind);
        }
        Ok(kinds)
    }

    /// The names of index values, in order, up to so many.
    pub fn tag_names(&self, most: usize) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let prefix = term::tags_prefix();
        let mut from = prefix.clone();
        while names.len() < most
            && let Some(found) = self.read(|view| view.term_at(&from))?
            && let Some(name) = found.as_tag_name()
        {
            from = [term::tag_prefix(&name).as_slice(), &term::AFTER_TERM].concat();
            names.push(name);
        }
        Ok(names)
    }

    /// Compares each page of the tables with its checksum.
    ///
    /// # Errors
    /// If one does not fit.
    pub fn check_pages(&self) -> Result<()> {
        self.kernel.tables.check_pages(&self.cancel)
    }

    /// The types in use, with the prefix given, in order.
    pub fn types(&self, prefix: &str) -> Result<Vec<(String, Term)>> {
        let prefix = term::type_prefix(prefix);
        self.read(|view| view.types(&prefix))
    }
}

/// The first of some lists that passes: see [`Snapshot::first_of`].
fn first_of(
    lists: &[Term],
    after: Position,
    most: usize,
    page: impl Fn(&Term, Position) -> Result<Vec<Position>>,
    event: impl Fn(Position) -> Result<Option<Arc<[u8]>>>,
    passes: impl Fn(&Record) -> Result<bool>,
) -> Result<Option<Option<Position>>> {
    let mut positions = Vec::new();
    for term in lists {
        let mut after = after;
        loop {
            let more = page(term, after)?;
            let Some(last) = more.last() else { break };
            after = *last;
            positions.extend(more);
            if positions.len() > most {
                return Ok(None);
            }
        }
    }
    positions.sort_unstable();
    positions.dedup();
    for position in positions {
        let missing = || Error::corrupt("the log", format!("no event at {position}"));
        let bytes = event(position)?.ok_or_else(missing)?;
        if passes(&Record::open(position, &bytes)?)? {
            return Ok(Some(Some(position)));
        }
    }
    Ok(Some(None))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::NewEvent;
    use crate::store::append_request::AppendRequest;
    use crate::store::disk::memory::MemoryDisk;
    use crate::store::{Options, Store};

    #[test]
    fn whoever_goes_through_terms_can_be_stopped_there() {
        let options = Options::new().disk(Arc::new(MemoryDisk::new()));
        let store = Store::create(Path::new("/shop.bygone"), options).unwrap();
        let events = (0..10).map(|n| NewEvent::new("Order.paid").index("at", n)).collect();
        store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
        store.checkpoint().unwrap();
        let cancel = Cancel::new();
        let snapshot = store.snapshot().cancelled_by(&cancel);
        let view = snapshot.view().unwrap();
        assert!(view.term_at(&term::tags_prefix()).unwrap().is_some());
        assert_eq!(view.types(&term::type_prefix("")).unwrap().len(), 1);
        cancel.cancel();
        assert!(view.term_at(&term::tags_prefix()).is_err());
        assert!(view.types(&term::type_prefix("")).is_err());
    }

    #[test]
    fn a_page_of_a_range_ends_though_nothing_of_it_is_wanted() {
        let options = Options::new().disk(Arc::new(MemoryDisk::new()));
        let store = Store::create(Path::new("/shop.bygone"), options).unwrap();
        let events = (0..1000).map(|n| NewEvent::new("Order.paid").index("at", n)).collect();
        store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
        store.checkpoint().unwrap();
        let prefix = term::tag_prefix("at");
        let range = term::TermRange::between(&prefix, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let snapshot = store.snapshot().until(Position(3));
        let within = PositionRange::through(Position(3));
        assert_eq!(snapshot.sweep_page(&range, within).unwrap(), (3, false));
        let mut found = Vec::new();
        snapshot
            .sweep(&range, within, |entries| {
                found.extend_from_slice(entries);
                Ok(())
            })
            .unwrap();
        assert_eq!(found, [1, 2, 3].map(Position));
    }
}
