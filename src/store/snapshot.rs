//! Reading: the log up to a head, whatever is appended meanwhile.
//!
//! A [`Snapshot`] is a head and nothing else, so that it may be kept at a user's pace: the log below it never changes. To
//! read, it opens a [`ReadTxn`], which takes the tails *first* and then begins a read of the tables, so that what a
//! checkpoint moves in between is seen in one of them at least; C, read inside, tells which. A view is short-lived:
//! iterators open one a page.

mod entity;
mod estimate;
mod list;
mod range_scan;
mod read_stats;
mod scan;
mod states;
mod stream;
mod zone_map;

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::Shared;
use super::admission::Trial;
use super::append_request::AppendRequest;
use super::catalog::Catalog;
use super::cursor::{Cursor, CursorOwner};
use super::index::term::{self, Term};
use super::memtable::{ListEnd, Memtable, Memtables};
use super::options::Options;
use super::tables::{self, LogBlock, LogTable, Postings, TablesRead, was_interrupted};
use super::verb::VerbHandler;
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{Entity, Position, PositionRange, Version};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::event::{Event, EventId, codec};

pub(crate) use entity::FoldBound;
pub(crate) use estimate::Estimate;
pub(crate) use list::PostingList;
pub(crate) use read_stats::ReadStats;
pub(crate) use scan::LogScan;
pub(crate) use states::{MemtableOverlay, StateAccess, States};
pub(crate) use stream::{Folding, Stream};
pub(crate) use zone_map::ZoneRange;

/// Which way along the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanDirection {
    Ascending,
    Descending,
}

/// The log up to a head.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    shared: Arc<Shared>,
    head: Position,
    catalog: Arc<Catalog>,
    cancel: Cancel,
    tally: Arc<ReadStats>,
}

impl Snapshot {
    pub(super) fn new(shared: Arc<Shared>, head: Position, catalog: Arc<Catalog>) -> Snapshot {
        Snapshot { shared, head, catalog, cancel: Cancel::new(), tally: Arc::default() }
    }

    /// The same log, whose reading ends with an error at the next page once this handle is cancelled.
    pub fn cancelled_by(self, cancel: &Cancel) -> Snapshot {
        Snapshot { cancel: cancel.clone(), ..self }
    }

    /// What would become of a group, were it committed now: by the log as it is now, whatever this shows of it.
    pub fn try_out(&self, group: AppendRequest) -> Trial {
        self.shared.try_out(AppendRequest { cancel: self.cancel.clone(), ..group })
    }

    /// What was read by it so far.
    pub fn tally(&self) -> &ReadStats {
        &self.tally
    }

    /// The same log, with counts that begin anew.
    pub fn tallied(&self) -> Snapshot {
        Snapshot { tally: Arc::default(), ..self.clone() }
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
        self.shared.failures.of(definition)
    }

    /// The definitions whose lists are being dropped.
    pub fn dropping(&self) -> Result<Vec<Position>> {
        self.shared.stale()
    }

    /// The verb of this name that the program added.
    pub fn added_verb(&self, name: &str) -> Option<Arc<dyn VerbHandler>> {
        self.shared.added_verb(name)
    }

    /// All verbs that the program added, in the order of their names.
    pub fn added_verbs(&self) -> Vec<(String, Arc<dyn VerbHandler>)> {
        self.shared.added_verbs()
    }

    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// What each evaluation of a fold may take: the same for all who ask, so that they find the same.
    pub fn limits(&self) -> Limits {
        Limits::new(self.shared.options.largest_value, &self.cancel)
    }

    /// What each evaluation of a query may take.
    pub fn query_limits(&self) -> Limits {
        let options = &self.shared.options;
        Limits::of_query(options.largest_value, options.query_memory, &self.cancel)
    }

    /// How many threads may work on one query.
    pub fn threads(&self) -> usize {
        self.shared.options.threads
    }

    /// The log as it is by now.
    pub fn now(&self) -> Snapshot {
        self.shared.snapshot().cancelled_by(&self.cancel)
    }

    /// The same log, up to an earlier head.
    pub fn until(&self, head: Position) -> Snapshot {
        Snapshot { head: head.min(self.head), ..self.clone() }
    }

    /// Opens a view for a moment of reading.
    pub fn view(&self) -> Result<ReadTxn<'_>> {
        self.go_on()?;
        ReadTxn::open(&self.shared, self.head, Some(&self.cancel))
    }

    /// Whether it is still to be read.
    pub fn go_on(&self) -> Result<()> {
        self.cancel.check()
    }

    /// Reads within a view, and once more where another's failure comes between.
    pub fn read<T>(&self, read: impl FnMut(&ReadTxn) -> Result<T>) -> Result<T> {
        self.go_on()?;
        ReadTxn::read(&self.shared, self.head, Some(&self.cancel), read)
    }

    /// The stored bytes of the event at a position; none beyond the head.
    pub fn encoded(&self, position: Position) -> Result<Option<Arc<[u8]>>> {
        self.read(|view| view.event(position))
    }

    /// The event at a position; none beyond the head.
    pub fn event(&self, position: Position) -> Result<Option<Event>> {
        let bytes = self.read(|view| view.event(position))?;
        bytes.map(|bytes| codec::decode(position, bytes)).transpose()
    }

    /// How many events an entity has.
    pub fn version(&self, entity: &Entity) -> Result<Version> {
        let term = Term::entity(entity)?;
        Ok(Version(self.read(|view| view.count(&term))?.count))
    }

    /// What this database is called in vector clocks.
    pub fn node(&self) -> String {
        self.shared.node()
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
        let tails = self.shared.applied.tails();
        // What an index derives of the events before its definition comes to the tables, wherever those events are.
        let is_warm = |term: &Term| term.definition().is_none_or(|definition| after >= definition);
        if after >= tails.base() && lists.iter().all(is_warm) {
            let list = |term: &Term, after| Ok(tails.list(term, PositionRange::between(after, self.head)));
            return first_of(lists, after, most, list, |position| Ok(tails.get(position)), passes);
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
        self.shared.cursors.all()
    }

    /// Where a follower is now, if it has a place.
    pub fn cursor(&self, follower: &CursorOwner) -> Result<Option<Cursor>> {
        self.shared.cursors.get(follower)
    }

    /// Who reads a cursor now.
    pub fn reader(&self, follower: &CursorOwner) -> Option<String> {
        self.shared.cursors.reader(follower)
    }

    /// What a follower struggles with now.
    pub fn trouble(&self, follower: &CursorOwner) -> Option<String> {
        self.shared.cursors.trouble(follower)
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
        self.shared.options.query_memory
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
        self.shared.tables.check_pages(&self.cancel)
    }

    /// How many bytes the file has.
    pub fn file_bytes(&self) -> Result<u64> {
        let file = self.shared.disk.open(&self.shared.path);
        file.and_then(|file| file.len()).map_err(|e| Error::io("asking for the size of the file", e))
    }

    /// The types in use, with the prefix given, in order.
    pub fn types(&self, prefix: &str) -> Result<Vec<(String, Term)>> {
        let prefix = term::type_prefix(prefix);
        self.read(|view| view.types(&prefix))
    }
}

/// One moment of reading.
pub(crate) struct ReadTxn<'s> {
    tails: Memtables,
    /// C: up to here in the tables, from here in the tails.
    checkpoint: Position,
    read: TablesRead<'s>,
    cancel: Option<&'s Cancel>,
}

impl<'s> ReadTxn<'s> {
    pub(super) fn open(
        shared: &'s Shared,
        head: Position,
        cancel: Option<&'s Cancel>,
    ) -> Result<ReadTxn<'s>> {
        // Tails before tables: what a checkpoint moves in between is then in both, never in neither.
        let (mut tails, read) = if shared.sabotaged(super::FaultInjection::ColdFirst) {
            let read = shared.tables.read()?;
            std::thread::yield_now();
            (shared.applied.tails(), read)
        } else {
            (shared.applied.tails(), shared.tables.read()?)
        };
        tails.head = tails.head.min(head);
        let checkpoint = read.checkpoint()?;
        if checkpoint < tails.base() {
            return Err(Error::corrupt(
                "the tables",
                format!("C is {checkpoint}, and the tails begin after {}", tails.base()),
            ));
        }
        Ok(ReadTxn { tails, checkpoint, read, cancel })
    }

    /// Reads within a view. Where another's failure comes between, which redb then tells to all, it reads once more.
    pub(super) fn read<T>(
        shared: &Shared,
        head: Position,
        cancel: Option<&Cancel>,
        mut read: impl FnMut(&ReadTxn) -> Result<T>,
    ) -> Result<T> {
        let mut again = 0..3;
        loop {
            match ReadTxn::open(shared, head, cancel).and_then(|view| read(&view)) {
                Err(error) if was_interrupted(&error) && again.next().is_some() => {}
                result => return result,
            }
        }
    }

    /// An error once whoever reads was cancelled: to be asked wherever much may be passed over within one view.
    pub(super) fn go_on(&self) -> Result<()> {
        self.cancel.map_or(Ok(()), Cancel::check)
    }

    /// The types whose terms begin with these bytes, in order.
    fn types(&self, prefix: &[u8]) -> Result<Vec<(String, Term)>> {
        let mut types = Vec::new();
        let mut from = prefix.to_vec();
        while let Some(term) = self.term_at(&from)?.filter(|term| term.as_bytes().starts_with(prefix)) {
            let kind =
                term.as_type().ok_or_else(|| Error::corrupt("the index of types", "a term that is none"))?;
            from = term.as_bytes().to_vec();
            // Terms are never the beginning of others, so this lies after all of this term's keys, and before the next's.
            from.extend_from_slice(&[0xff; 9]);
            types.push((kind, term));
        }
        Ok(types)
    }

    /// The table of events.
    pub(super) fn log(&self) -> Result<&LogTable> {
        self.read.log()
    }

    /// The table of posting lists.
    fn postings(&self) -> Result<&Postings> {
        self.read.postings()
    }

    /// C, as this view sees it.
    pub fn checkpoint(&self) -> Position {
        self.checkpoint
    }

    /// The newest position it shows.
    pub fn head(&self) -> Position {
        self.tails.head
    }

    /// The tables below this view.
    pub(super) fn tables(&self) -> &TablesRead<'s> {
        &self.read
    }

    /// The index entries that are in no table yet, up to the head, of the terms that count.
    pub(super) fn warm_entries(&self, counts: impl Fn(&Term) -> bool) -> u64 {
        let range = PositionRange::between(self.checkpoint, self.head());
        let entries = |tail: &Memtable| {
            let tail = tail.read();
            let lists = tail.terms().iter().filter(|(term, _)| counts(term));
            lists.map(|(_, list)| range.of(list.positions()).len() as u64).sum::<u64>()
        };
        self.tails.each().map(|tail| entries(tail)).sum()
    }

    /// Up to where the entries of a term are in the tables, and from where in the tails. What lies before the definition of an
    /// index comes to the tables by itself, wherever its events are.
    fn cold_through(&self, term: &Term) -> Position {
        term.definition().map_or(self.checkpoint, |definition| definition.max(self.checkpoint))
    }

    /// How far a counted list goes in the tables alone.
    pub fn cold_count(&self, term: &Term) -> Result<ListEnd> {
        let last = self.postings()?.chunk_before(term.as_bytes(), Position::MAX)?;
        Ok(last.map_or(ListEnd::default(), |chunk| ListEnd {
            count: chunk.through(),
            last: chunk.positions.last().copied().unwrap_or_default(),
        }))
    }

    pub fn event(&self, position: Position) -> Result<Option<Arc<[u8]>>> {
        if position == Position::START || position > self.head() {
            return Ok(None);
        }
        let found =
            if position <= self.checkpoint { self.log()?.get(position)? } else { self.tails.get(position) };
        match found {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.missing(position)),
        }
    }

    /// Lends the events at these positions, in whatever order they are, and takes each from the front once it was lent; until it is
    /// told to stop.
    pub fn lend(
        &self,
        positions: &mut VecDeque<Position>,
        mut take: impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        if self.are_dense(positions) {
            return self.lend_dense(positions, take);
        }
        let mut row: Option<LogBlock> = None;
        while let Some(&position) = positions.front() {
            let go_on = if position == Position::START || position > self.head() {
                // A list may not lead beyond the head: `event` would say so.
                true
            } else if position <= self.checkpoint {
                // Positions that follow closely are often in one row.
                if !row.as_ref().is_some_and(|row| row.has(position)) {
                    row = self.log()?.row(position)?;
                }
                let found = row.as_ref().map_or(Ok(None), |row| row.event(position))?;
                take(position, found.ok_or_else(|| self.missing(position))?)?
            } else {
                let bytes = self.tails.get(position).ok_or_else(|| self.missing(position))?;
                take(position, &bytes)?
            };
            positions.pop_front();
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// Whether passing over what lies between these positions is cheaper than finding each: all of them are in the tables, and few
    /// rows of the log have none of them.
    fn are_dense(&self, positions: &VecDeque<Position>) -> bool {
        const ROWS_PASSED: u64 = 2;
        let (Some(&a), Some(&b)) = (positions.front(), positions.back()) else { return false };
        let (first, last) = (a.min(b), a.max(b));
        let in_order = || {
            let pairs = positions.iter().zip(positions.iter().skip(1));
            pairs.into_iter().all(|(one, next)| if a < b { one < next } else { one > next })
        };
        first > Position::START
            && last <= self.checkpoint.min(self.head())
            && last.since(first) / (positions.len() as u64) < ROWS_PASSED * tables::MOST_IN_A_ROW
            && in_order()
    }

    fn lend_dense(
        &self,
        positions: &mut VecDeque<Position>,
        mut take: impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let (Some(&a), Some(&b)) = (positions.front(), positions.back()) else { return Ok(()) };
        let mut go_on = true;
        self.log()?.scan(PositionRange::new(a.min(b), a.max(b)), a > b, |position, bytes| {
            if positions.front() == Some(&position) {
                go_on = take(position, bytes)?;
                positions.pop_front();
            }
            Ok(go_on && !positions.is_empty())
        })?;
        match positions.front() {
            Some(position) if go_on => Err(self.missing(*position)),
            _ => Ok(()),
        }
    }

    fn missing(&self, position: Position) -> Error {
        Error::corrupt("the log", format!("no event at {position}, and the head is {}", self.head()))
    }

    /// How far a counted list goes.
    pub fn count(&self, term: &Term) -> Result<ListEnd> {
        let head = self.head();
        let mut end = ListEnd::default();
        // The last chunk that begins below the head may reach beyond it: a snapshot may be older than C.
        if let Some(chunk) = self.postings()?.chunk_before(term.as_bytes(), head)? {
            let below = chunk.positions.partition_point(|&p| p <= head);
            end.count = chunk.before + below as u64;
            end.last = below.checked_sub(1).map_or(Position::START, |at| chunk.positions[at]);
        }
        let (more, newer) = self.tails.count(term, self.checkpoint);
        Ok(ListEnd { count: end.count + more, last: newer.unwrap_or(end.last) })
    }

    /// The first position of a term, if it has one.
    pub fn first(&self, term: &Term) -> Result<Option<Position>> {
        if let Some(chunk) = self.postings()?.chunk_after(term.as_bytes(), Position::START)? {
            return Ok(chunk.positions.first().copied().filter(|&p| p <= self.head()));
        }
        Ok(self.tails.list(term, PositionRange::after(self.checkpoint)).first().copied())
    }

    /// A page of a term's positions within a range; empty when there are no more.
    pub(super) fn page(
        &self,
        term: &Term,
        range: PositionRange,
        direction: ScanDirection,
    ) -> Result<Vec<Position>> {
        let range = range.and(PositionRange::through(self.head()));
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let PositionRange { first, last } = range;
        let checkpoint = self.cold_through(term);
        let in_tails = range.and(PositionRange::after(checkpoint));
        match direction {
            ScanDirection::Ascending => {
                let tables = last.min(checkpoint);
                let mut page = Vec::new();
                if first <= tables {
                    // Nothing begins before the first position.
                    if first > Position::FIRST
                        && let Some(chunk) = self.postings()?.chunk_before(term.as_bytes(), first)?
                    {
                        page = range.of(&chunk.positions).to_vec();
                    }
                    if page.is_empty()
                        && let Some(chunk) = self.postings()?.chunk_after(term.as_bytes(), first)?
                    {
                        page = range.of(&chunk.positions).to_vec();
                    }
                }
                if page.is_empty() {
                    page = self.tails.list(term, in_tails);
                }
                Ok(page)
            }
            ScanDirection::Descending => {
                let mut page = self.tails.list(term, in_tails);
                if page.is_empty()
                    && let Some(chunk) =
                        self.postings()?.chunk_before(term.as_bytes(), last.min(checkpoint))?
                {
                    page = range.of(&chunk.positions).to_vec();
                }
                page.reverse();
                Ok(page)
            }
        }
    }

    /// The first term at or after some bytes that has an entry below the head.
    fn term_at(&self, start: &[u8]) -> Result<Option<Term>> {
        let mut from = start.to_vec();
        let tables = loop {
            self.go_on()?;
            let Some(term) = self.postings()?.term_at(&from)? else { break None };
            let first = self
                .postings()?
                .chunk_after(&term, Position::START)?
                .and_then(|chunk| chunk.positions.first().copied());
            if first.is_some_and(|first| first <= self.head()) {
                break Some(Term::from_bytes(&term));
            }
            from = term;
            from.extend_from_slice(&[0xff; 9]);
        };
        let warm = self.tails.each().filter_map(|tail| tail.term_at(start, self.head())).min();
        Ok(tables.into_iter().chain(warm).min())
    }

    /// Where the event with this id is: by its own time if the database made it, else by the index.
    pub fn position_of(&self, id: &EventId) -> Result<Option<Position>> {
        let indexed = self.page(&Term::id(id)?, PositionRange::ALL, ScanDirection::Ascending)?;
        if let Some(position) = indexed.first() {
            return Ok(Some(*position));
        }
        let found = find_own_id(id, PositionRange::through(self.head()), |position| {
            let bytes = self.event(position)?;
            let bytes = bytes.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))?;
            codec::decode(position, bytes)
        })?;
        Ok(found)
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

/// Where one of the database's own ids is within a range. Its time is when its event was recorded, which never
/// decreases, and such ids grow along the log: they are found by halving, between those that callers gave.
pub(super) fn find_own_id(
    id: &EventId,
    range: PositionRange,
    event: impl Fn(Position) -> Result<Event>,
) -> Result<Option<Position>> {
    let Some(millis) = id.millis() else { return Ok(None) };
    if range.is_empty() {
        return Ok(None);
    }
    let PositionRange { first, last } = range;
    let order = |event: &Event| event.recorded.as_millis().cmp(&millis);
    // Most ids that are asked for come from elsewhere, and lie outside of all that was recorded here.
    if order(&event(first)?).is_gt() || order(&event(last)?).is_lt() {
        return Ok(None);
    }
    let (mut low, mut high) = (first, last.next());
    while low < high {
        let middle = low.midway(high);
        let mut at = middle;
        let order = loop {
            if at == high {
                // All from the middle on were given by callers, in that millisecond: they say nothing.
                break Ordering::Greater;
            }
            let event = event(at)?;
            match order(&event) {
                Ordering::Equal if event.own_id => break event.id.cmp(id),
                Ordering::Equal => at = at.next(),
                other => break other,
            }
        };
        match order {
            Ordering::Less => low = at.next(),
            Ordering::Equal => return Ok(Some(at)),
            Ordering::Greater => high = middle,
        }
    }
    Ok(None)
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
