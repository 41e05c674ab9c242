//! One moment of reading: what the tables and the memtables hold together, up to a head.
//!
//! It takes the memtables *first* and then begins a read of the tables, so that what a checkpoint moves in between is seen in one of them at
//! least; C, read inside, tells which. It is short-lived, since the tables keep what a read may still see.
//!
//! It takes the lock of what is applied for a moment, and then that of the tables' shared read; never both.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::apply::Applied;
use super::catalog::Catalog;
use super::index::term::{Term, is_counted};
use super::keyring::{KeyTable, Keyring};
use super::memtable::{ListEnd, Memtables};
use super::private_values::{OriginalPayload, decrypt, original_payload};
use super::read_form::{EventForm, read_form};
use super::tables::{self, LogBlock, LogTable, Postings, Tables, TablesRead, was_interrupted};
use crate::cancel::Cancel;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::{Event, EventId, codec};

/// How often a read is begun again that the failure of another has ended. Checkpoints, what is kept and places are written by threads of
/// their own: on a disk that is full each fails again and again, and ends whatever is read then.
const TRIES: usize = 40;

/// How many events that are in memory are copied at a time at most.
const GATHERED: usize = 64;
/// And up to about so many bytes.
const GATHERED_BYTES: usize = 64 << 10;

/// So many events are looked up one by one, however close they lie: what was read of the log lately is in memory.
const FEW: usize = if cfg!(test) { 2 } else { 16 };

/// Events that were in memory, one behind the other.
#[derive(Debug, Default)]
struct KeptEvents {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

thread_local! {
    /// Where they are copied to: to make room for each page anew takes longer than to fill it.
    static ROOM: Cell<KeptEvents> = const { Cell::new(KeptEvents { bytes: Vec::new(), ends: Vec::new() }) };
}

/// No more room than this is left for the next.
const MOST_ROOM: usize = 64 << 10;

impl KeptEvents {
    fn taken() -> KeptEvents {
        ROOM.try_with(Cell::take).unwrap_or_default()
    }

    fn give_back(self) {
        if self.bytes.capacity() <= MOST_ROOM {
            // A thread that ends leaves none.
            let _ = ROOM.try_with(|room| room.set(self));
        }
    }
}

/// Which way along the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanDirection {
    Ascending,
    Descending,
}

/// Where the log is read from.
#[derive(Clone, Copy)]
pub(crate) struct ReadSource<'s> {
    pub tables: &'s Tables,
    pub applied: &'s Applied,
    pub keyring: &'s Keyring,
    /// The tables are read before the memtables: a fault that a test puts in.
    pub tables_first: bool,
}

/// One moment of reading.
pub(crate) struct ReadTxn<'s> {
    pub(super) memtables: Memtables,
    /// C: up to here in the tables, from here in the memtables.
    pub(super) checkpoint: Position,
    pub(super) read: TablesRead<'s>,
    form: EventForm,
    keyring: &'s Keyring,
    /// The keys that were known as the first was asked for.
    keys: OnceCell<Arc<KeyTable>>,
    /// What is defined for whoever reads; else all that is applied.
    catalog: Option<&'s Catalog>,
    cancel: Option<&'s Cancel>,
}

impl<'s> ReadTxn<'s> {
    pub(super) fn open(
        source: ReadSource<'s>,
        head: Position,
        cancel: Option<&'s Cancel>,
    ) -> Result<ReadTxn<'s>> {
        let ReadSource { tables, applied, keyring, tables_first } = source;
        // Memtables before tables: what a checkpoint moves in between is then in both, never in neither.
        let (mut memtables, read) = if tables_first {
            let read = tables.read()?;
            std::thread::yield_now();
            (applied.memtables(), read)
        } else {
            (applied.memtables(), tables.read()?)
        };
        memtables.head = memtables.head.min(head);
        let checkpoint = read.checkpoint()?;
        if checkpoint < memtables.base() {
            return Err(Error::corrupt(
                "the tables",
                format!("C is {checkpoint}, and the memtables begin after {}", memtables.base()),
            ));
        }
        let (form, keys) = (EventForm::Read, OnceCell::new());
        Ok(ReadTxn { memtables, checkpoint, read, form, keyring, keys, catalog: None, cancel })
    }

    /// Reads within a view. Where the failure of another comes between, which redb then tells to all, it reads once more.
    pub(super) fn read<T>(
        source: ReadSource,
        head: Position,
        cancel: Option<&Cancel>,
        read: impl FnMut(&ReadTxn) -> Result<T>,
    ) -> Result<T> {
        ReadTxn::read_in((EventForm::Read, None), source, head, cancel, read)
    }

    /// The same, where events are handed over in this form.
    pub(super) fn read_in<T>(
        (form, catalog): (EventForm, Option<&Catalog>),
        source: ReadSource,
        head: Position,
        cancel: Option<&Cancel>,
        mut read: impl FnMut(&ReadTxn) -> Result<T>,
    ) -> Result<T> {
        let mut again = 0..TRIES;
        loop {
            match ReadTxn::open(source, head, cancel).and_then(|view| read(&view.in_form(form, catalog))) {
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
    pub(super) fn types(&self, prefix: &[u8]) -> Result<Vec<(String, Term)>> {
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
    pub(super) fn postings(&self) -> Result<&Postings> {
        self.read.postings()
    }

    /// C, as this view sees it.
    pub fn checkpoint(&self) -> Position {
        self.checkpoint
    }

    /// The newest position it shows.
    pub fn head(&self) -> Position {
        self.memtables.head
    }

    /// The tables below this view.
    pub(super) fn tables(&self) -> &TablesRead<'s> {
        &self.read
    }

    /// The index entries that are in no table yet, up to the head, of the terms that count.
    pub(super) fn memtable_entries(&self, counts: impl Fn(&Term) -> bool) -> Result<u64> {
        let range = PositionRange::between(self.checkpoint, self.head());
        let mut entries = 0;
        for memtable in self.memtables.each() {
            let inner = memtable.read();
            let lists = inner.terms().filter(|(term, _)| counts(term));
            entries += lists.map(|(_, list)| range.of(list.positions()).len() as u64).sum::<u64>();
            let subjects = inner.subject_lists(memtable.first)?;
            let lists = subjects.iter().filter(|(term, _)| counts(term));
            entries += lists.map(|(_, list)| range.of(list).len() as u64).sum::<u64>();
        }
        Ok(entries)
    }

    /// Up to where the entries of a term are in the tables, and from where in the memtables. What lies before the definition of an
    /// index comes to the tables by itself, wherever its events are.
    pub(super) fn tables_through(&self, term: &Term) -> Position {
        term.definition().map_or(self.checkpoint, |definition| definition.max(self.checkpoint))
    }

    /// How far a counted list goes in the tables alone.
    pub fn tables_count(&self, term: &Term) -> Result<ListEnd> {
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
        let stored = self.stored(position)?;
        self.formed_whole(position, stored).map(Some)
    }

    /// An event in the form that is read here, of its stored bytes.
    fn formed_whole(&self, position: Position, stored: Arc<[u8]>) -> Result<Arc<[u8]>> {
        match self.formed(position, &stored)? {
            Cow::Owned(formed) => Ok(Arc::from(formed)),
            Cow::Borrowed(_) => Ok(stored),
        }
    }

    /// The same as it was appended, whatever form events are handed over in: with its private values in plain, and what is forgotten null.
    pub fn appended(&self, position: Position) -> Result<Option<Arc<[u8]>>> {
        if position == Position::START || position > self.head() {
            return Ok(None);
        }
        let stored = self.stored(position)?;
        match self.decrypted(position, &stored)? {
            Cow::Owned(plain) => Ok(Some(Arc::from(plain))),
            Cow::Borrowed(_) => Ok(Some(stored)),
        }
    }

    /// The stored bytes of an event.
    fn stored(&self, position: Position) -> Result<Arc<[u8]>> {
        if position > self.checkpoint {
            return self.memtables.stored(position).ok_or_else(|| self.missing(position));
        }
        let (log, mut kept) = (self.log()?, None);
        log.lend_kept(std::iter::once(position), |bytes| {
            kept = Some(Arc::from(bytes));
            true
        });
        match kept {
            Some(kept) => Ok(kept),
            None => log.get(position)?.ok_or_else(|| self.missing(position)),
        }
    }

    /// The event at a position behind C.
    pub(super) fn newest(&self, position: Position) -> Result<Arc<[u8]>> {
        let stored = self.memtables.stored(position).ok_or_else(|| self.missing(position))?;
        self.formed_whole(position, stored)
    }

    /// What is defined for whoever reads.
    fn catalog(&self) -> &Catalog {
        self.catalog.unwrap_or(&self.memtables.catalog)
    }

    /// An event in the form that is read here.
    pub(super) fn formed<'b>(&self, position: Position, stored: &'b [u8]) -> Result<Cow<'b, [u8]>> {
        match self.form {
            EventForm::Read if codec::is_encrypted(stored) => {
                let plain = self.decrypted(position, stored)?;
                match read_form(position, &plain, self.catalog())? {
                    Cow::Owned(formed) => Ok(Cow::Owned(formed)),
                    Cow::Borrowed(_) => Ok(plain),
                }
            }
            EventForm::Read => read_form(position, stored, self.catalog()),
            EventForm::Stored => Ok(Cow::Borrowed(stored)),
        }
    }

    /// An event of the tables with its private values in plain, as it was appended otherwise.
    pub(super) fn decrypted<'b>(&self, position: Position, stored: &'b [u8]) -> Result<Cow<'b, [u8]>> {
        if !codec::is_encrypted(stored) {
            return Ok(Cow::Borrowed(stored));
        }
        // Whoever reads many takes no lock for each.
        let table = self.keys.get_or_init(|| self.keyring.table());
        let key = |number| self.keyring.key_in(table, number, || self.read.key(number));
        decrypt(position, stored, key).map(Cow::Owned)
    }

    /// What an event that was rewritten was appended with; none where that is forgotten.
    pub(super) fn original(&self, position: Position, stored: &[u8]) -> Result<Option<OriginalPayload>> {
        original_payload(position, stored, |key| self.keyring.key(key, || self.read.key(key)))
    }

    /// The same moment, where events are handed over in this form, after what is defined.
    pub(super) fn in_form(self, form: EventForm, catalog: Option<&'s Catalog>) -> ReadTxn<'s> {
        ReadTxn { form, catalog, ..self }
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
        let (mut row, mut kept): (Option<LogBlock>, _) = (None, KeptEvents::taken());
        while let Some(&position) = positions.front() {
            let go_on = if position == Position::START || position > self.head() {
                // A list may not lead beyond the head: `event` would say so.
                true
            } else if position <= self.checkpoint {
                // Positions that follow closely are often in one row.
                if !row.as_ref().is_some_and(|row| row.has(position)) {
                    match self.lend_kept(positions, &mut kept, &mut take)? {
                        (0, _) => row = self.log()?.row(position)?,
                        (_, true) => continue,
                        (_, false) => break,
                    }
                }
                let found = row.as_ref().map_or(Ok(None), |row| row.event(position))?;
                let bytes = found.ok_or_else(|| self.missing(position))?;
                take(position, &self.formed(position, bytes)?)?
            } else {
                take(position, &self.newest(position)?)?
            };
            positions.pop_front();
            if !go_on {
                break;
            }
        }
        kept.give_back();
        Ok(())
    }

    /// Lends those of the next events that are in memory; tells how many there are, and whether to go on. They are copied first: so
    /// the processor waits for all of them at once and not for each, and nobody else for whoever is lent them.
    fn lend_kept(
        &self,
        positions: &mut VecDeque<Position>,
        kept: &mut KeptEvents,
        mut take: impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<(usize, bool)> {
        kept.bytes.clear();
        kept.ends.clear();
        let in_tables = PositionRange::through(self.checkpoint.min(self.head()));
        let next = positions.iter().copied().take_while(|position| in_tables.contains(*position));
        let count = self.log()?.lend_kept(next.take(GATHERED), |bytes| {
            kept.bytes.extend_from_slice(bytes);
            kept.ends.push(kept.bytes.len());
            kept.bytes.len() < GATHERED_BYTES
        });
        let mut begin = 0;
        for end in &kept.ends {
            let (Some(&position), Some(bytes)) = (positions.front(), kept.bytes.get(begin..*end)) else {
                break;
            };
            begin = *end;
            let go_on = take(position, &self.formed(position, bytes)?)?;
            positions.pop_front();
            if !go_on {
                return Ok((count, false));
            }
        }
        Ok((count, true))
    }

    /// Whether passing over what lies between these positions is cheaper than finding each: all of them are in the tables, few
    /// rows of the log have none of them, and they are more than are soon found one by one.
    fn are_dense(&self, positions: &VecDeque<Position>) -> bool {
        const ROWS_PASSED: u64 = 2;
        if positions.len() <= FEW {
            return false;
        }
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
                go_on = take(position, &self.formed(position, bytes)?)?;
                positions.pop_front();
            }
            Ok(go_on && !positions.is_empty())
        })?;
        match positions.front() {
            Some(position) if go_on => Err(self.missing(*position)),
            _ => Ok(()),
        }
    }

    pub(super) fn missing(&self, position: Position) -> Error {
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
        let (more, newer) = self.memtables.count(term, self.checkpoint);
        Ok(ListEnd { count: end.count + more, last: newer.unwrap_or(end.last) })
    }

    /// The first position of a term, if it has one.
    pub fn first(&self, term: &Term) -> Result<Option<Position>> {
        if let Some(chunk) = self.postings()?.chunk_after(term.as_bytes(), Position::START)? {
            return Ok(chunk.positions.first().copied().filter(|&p| p <= self.head()));
        }
        Ok(self.memtables.list(term, PositionRange::after(self.checkpoint)).first().copied())
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
        let checkpoint = self.tables_through(term);
        let in_memtables = range.and(PositionRange::after(checkpoint));
        match direction {
            ScanDirection::Ascending => {
                let tables = last.min(checkpoint);
                let mut page = Vec::new();
                if first <= tables {
                    page = self.page_of_tables(term, PositionRange::new(first, tables))?;
                }
                if page.is_empty() {
                    page = self.memtables.list(term, in_memtables);
                }
                Ok(page)
            }
            ScanDirection::Descending => {
                let mut page = self.memtables.list(term, in_memtables);
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

    /// A page of a term's positions in the tables, oldest first: what is left of the chunk that the first of them is in.
    fn page_of_tables(&self, term: &Term, range: PositionRange) -> Result<Vec<Position>> {
        let (postings, term, first) = (self.postings()?, term.as_bytes(), range.first);
        // Most lists of entities are of one chunk, and who asked how long this one is has had the last.
        if is_counted(term) {
            match postings.chunk_before(term, range.last)? {
                None => return Ok(Vec::new()),
                Some(chunk)
                    if chunk.before == 0 || chunk.positions.first().is_some_and(|at| *at <= first) =>
                {
                    return Ok(range.of(&chunk.positions).to_vec());
                }
                Some(_) => {}
            }
        }
        // Nothing begins before the first position.
        if first > Position::FIRST
            && let Some(chunk) = postings.chunk_before(term, first)?
        {
            let page = range.of(&chunk.positions);
            if !page.is_empty() {
                return Ok(page.to_vec());
            }
        }
        Ok(match postings.chunk_after(term, first)? {
            Some(chunk) => range.of(&chunk.positions).to_vec(),
            None => Vec::new(),
        })
    }

    /// The first term at or after some bytes that has an entry below the head.
    pub(super) fn term_at(&self, start: &[u8]) -> Result<Option<Term>> {
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
        let newest = self.memtables.each().filter_map(|memtable| memtable.term_at(start, self.head())).min();
        Ok(tables.into_iter().chain(newest).min())
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
