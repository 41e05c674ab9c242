//! Columns of states: what some fields of the states are that are kept as of C, remembered in memory.
//!
//! Whoever asks for the same fields of all states a second time at one checkpoint has them made, from one walk over what is kept; and as long as
//! that checkpoint is the last, nobody reads all states again for these fields. What the memtables changed since stands in
//! an [overlay](super::overlay), which is read as it is.
//!
//! The columns lie in blocks of so many states, in the order of ids. What a column has of a block are bytes that only whoever asks can read.
//! Nothing is remembered of fields that nobody can tell of a state that is kept, or that take too much.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, Mutex};

use super::Snapshot;
use super::overlay::MemtableOverlay;
use super::state_batch::StateBatch;
use super::states::unless_damaged;
use crate::entity::Position;
use crate::error::Result;
use crate::store::catalog::CatalogModel;
use crate::store::mutex::locked;
use crate::store::state::stored_state::StoredState;

/// How many states a block has at most.
pub(crate) const STATE_BLOCK: usize = if cfg!(test) { 5 } else { 8192 };

/// Of so many kinds of entities columns are remembered, and of so many fields of each.
const MODELS: usize = if cfg!(test) { 2 } else { 16 };
pub(crate) const STATE_FIELDS: usize = 8;

/// So many bytes of them are remembered, and those of one kind take no more than half of it.
const BYTES: usize = 64 << 20;

/// How many states are read at a time, and how many bytes of them about.
const PAGE: usize = if cfg!(test) { 3 } else { 1024 };
const PAGE_BYTES: usize = 4 << 20;

#[cfg(test)]
thread_local! {
    /// For which time they are made in this thread: most tests ask once.
    pub(crate) static MADE_AT: std::cell::Cell<u32> = const { std::cell::Cell::new(1) };
}

/// They are made for who asks for the second time.
fn made_at() -> u32 {
    #[cfg(test)]
    return MADE_AT.get();
    #[cfg(not(test))]
    2
}

/// What makes the bytes of columns.
pub(crate) trait ColumnWriter {
    /// Takes what the fields of the next state are.
    ///
    /// # Errors
    /// Where it was ended.
    fn take(&mut self, id: &str, kept: &StoredState) -> Result<()>;

    /// The bytes of each field, of the states that were taken since it was asked last; none where they would not be worth it.
    fn finish(&mut self) -> Result<Option<Vec<Vec<u8>>>>;
}

/// Columns of the states of a kind, as of C.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateColumns {
    blocks: Arc<[StateIds]>,
    /// The bytes that a field has of each block, by what it is called.
    columns: BTreeMap<String, Arc<[Vec<u8>]>>,
}

/// The ids of the states of a block.
#[derive(Debug, Default)]
pub(crate) struct StateIds {
    ids: String,
    ends: Vec<u32>,
}

/// Which states: those of a definition, as of C, as events are read by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeptStates {
    definition: Position,
    checkpoint: Position,
    form: (Position, usize),
}

/// The columns of states that were asked for.
#[derive(Debug, Default)]
pub(crate) struct StateColumnCache {
    asked: Mutex<AskedStates>,
}

#[derive(Debug, Default)]
struct AskedStates {
    /// Of each definition; the one that was asked for last stands last.
    columns: Vec<AskedColumns>,
    /// Somebody makes some: one at a time does.
    making: bool,
}

#[derive(Debug)]
struct AskedColumns {
    of: KeptStates,
    made: StateColumns,
    /// How often the fields were asked for that are not made.
    times: BTreeMap<String, u32>,
    /// The fields of which columns are not worth it, or cannot be made.
    refused: BTreeSet<String>,
}

/// Columns, and what changed since they were made.
#[derive(Debug)]
pub(crate) struct FreshColumns {
    columns: StateColumns,
    overlay: Arc<MemtableOverlay>,
}

impl StateIds {
    /// How many states there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The id of the state in a row.
    pub fn id(&self, row: usize) -> &str {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(row).copied().unwrap_or(start);
        self.ids.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The row of an id, or the row before which it would be.
    pub fn row_of(&self, id: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.id(middle).cmp(id) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn push(&mut self, id: &str) {
        self.ids.push_str(id);
        // A block of the longest ids is far from this.
        self.ends.push(u32::try_from(self.ids.len()).unwrap_or(u32::MAX));
    }

    fn held(&self) -> usize {
        size_of::<StateIds>() + self.ids.capacity() + 4 * self.ends.capacity()
    }
}

impl StateColumns {
    fn missing(&self, fields: &[String]) -> Vec<String> {
        fields.iter().filter(|field| !self.columns.contains_key(*field)).cloned().collect()
    }

    fn held(&self) -> usize {
        let columns = self.columns.values().flat_map(|blocks| blocks.iter());
        self.blocks.iter().map(StateIds::held).sum::<usize>() + columns.map(held).sum::<usize>()
    }
}

fn held(bytes: &Vec<u8>) -> usize {
    size_of::<Vec<u8>>() + bytes.capacity()
}

impl FreshColumns {
    /// The blocks, in the order of ids.
    pub fn blocks(&self) -> &[StateIds] {
        &self.columns.blocks
    }

    /// What a field has of a block.
    pub fn column(&self, block: usize, field: &str) -> Option<&[u8]> {
        self.columns.columns.get(field)?.get(block).map(Vec::as_slice)
    }

    /// The ids of the states that changed, behind one and up to another.
    pub fn changed<'c>(
        &'c self,
        after: Option<&'c str>,
        through: Option<&'c str>,
    ) -> impl Iterator<Item = &'c str> {
        let is_empty = matches!((after, through), (Some(after), Some(through)) if after >= through);
        let bounds = (after.map_or(Unbounded, Excluded), through.map_or(Unbounded, Included));
        let states = (!is_empty).then(|| self.overlay.states.range::<str, _>(bounds));
        states.into_iter().flatten().map(|(id, _)| id.as_str())
    }
}

impl StateColumnCache {
    /// Forgets all of it.
    pub fn clear(&self) {
        locked(&self.asked).columns.clear();
    }

    /// What is known of some states, and which of these fields who asks is to make; none where there is neither.
    fn look_up(
        &self,
        of: KeptStates,
        fields: &[String],
        made_at: u32,
    ) -> Option<(StateColumns, Vec<String>)> {
        let asked = &mut *locked(&self.asked);
        let at = asked.columns.iter().position(|known| known.of.definition == of.definition);
        let known = at.map(|at| asked.columns.remove(at));
        // Whoever reads an earlier checkpoint, or in an earlier form, has no say.
        if known.as_ref().is_some_and(|known| known.of.is_newer_than(of)) {
            asked.columns.extend(known);
            return None;
        }
        let mut entry = match known {
            Some(known) if known.of == of => known,
            // What is not worth it is so at the next checkpoint, too.
            Some(known) if known.of.form == of.form => {
                AskedColumns { refused: known.refused, ..AskedColumns::new(of) }
            }
            _ => AskedColumns::new(of),
        };
        let found = entry.answer(fields, made_at, &mut asked.making);
        asked.columns.push(entry);
        if asked.columns.len() > MODELS {
            asked.columns.remove(0);
        }
        found
    }

    /// Notes what came of making some fields: their columns, or that nobody is to try again.
    fn publish(&self, of: KeptStates, fields: &[String], made: MadeColumns, is_known: impl Fn() -> bool) {
        let mut asked = locked(&self.asked);
        asked.making = false;
        if let Some(entry) = asked.columns.iter_mut().find(|known| known.of == of) {
            match made {
                // Who was forgotten meanwhile is in what was made: that is asked within the lock, which who forgets takes afterwards.
                MadeColumns::Whole(columns) if is_known() => {
                    entry.made = columns;
                    entry.times.retain(|field, _| !fields.contains(field));
                }
                MadeColumns::Refused => entry.refused.extend(fields.iter().cloned()),
                // Whoever was too slow for it is not to begin again each time.
                MadeColumns::Ended => entry.times.extend(fields.iter().map(|field| (field.clone(), ENDED))),
                MadeColumns::Whole(_) => {}
            }
        }
        while asked.columns.len() > 1
            && asked.columns.iter().map(|known| known.made.held()).sum::<usize>() > BYTES
        {
            asked.columns.remove(0);
        }
    }

    /// The fields whose columns are known, for tests.
    #[cfg(test)]
    pub fn made(&self) -> Vec<String> {
        locked(&self.asked).columns.iter().flat_map(|known| known.made.columns.keys().cloned()).collect()
    }
}

/// Who made them was ended: nobody tries again at this checkpoint.
const ENDED: u32 = u32::MAX;

/// What came of making columns.
#[derive(Debug)]
enum MadeColumns {
    Whole(StateColumns),
    Refused,
    Ended,
}

impl KeptStates {
    fn is_newer_than(&self, other: KeptStates) -> bool {
        self.checkpoint > other.checkpoint || self.form.0 > other.form.0 || self.form.1 > other.form.1
    }
}

impl AskedColumns {
    fn new(of: KeptStates) -> AskedColumns {
        AskedColumns { of, made: StateColumns::default(), times: BTreeMap::new(), refused: BTreeSet::new() }
    }

    /// What is known, and what of it who asks is to make.
    fn answer(
        &mut self,
        fields: &[String],
        made_at: u32,
        making: &mut bool,
    ) -> Option<(StateColumns, Vec<String>)> {
        let missing = self.made.missing(fields);
        if missing.is_empty() {
            return Some((self.made.clone(), missing));
        }
        if missing.iter().any(|field| self.refused.contains(field)) {
            return None;
        }
        if self.times.len() + self.refused.len() > 4 * STATE_FIELDS {
            (self.times, self.refused) = (BTreeMap::new(), BTreeSet::new());
        }
        let mut are_due = true;
        for field in &missing {
            let times = self.times.entry(field.clone()).or_default();
            are_due &= *times != ENDED && *times + 1 >= made_at;
            *times = if *times == ENDED { ENDED } else { times.saturating_add(1).min(made_at) };
        }
        if !are_due || *making {
            return None;
        }
        if self.made.columns.len() + missing.len() > STATE_FIELDS {
            self.made = StateColumns::default();
            // Those of the fields that were known are to be made, too.
            *making = true;
            return Some((StateColumns::default(), fields.to_vec()));
        }
        *making = true;
        Some((self.made.clone(), missing))
    }
}

/// Who makes columns says what came of it, however that ends.
struct ColumnClaim<'c> {
    snapshot: &'c Snapshot,
    of: KeptStates,
    fields: Vec<String>,
    made: MadeColumns,
}

impl Drop for ColumnClaim<'_> {
    fn drop(&mut self) {
        let made = std::mem::replace(&mut self.made, MadeColumns::Ended);
        let is_known = || self.snapshot.knows_who_is_forgotten();
        self.snapshot.kernel.state_caches.columns.publish(self.of, &self.fields, made, is_known);
    }
}

impl Snapshot {
    /// Columns of some fields of the states of a kind that are kept; none if they are not to be had now. Of those that are to be made,
    /// `writer` makes what does it.
    pub fn columns_of_states<W: ColumnWriter>(
        &self,
        kind: &str,
        fields: &[String],
        writer: impl FnOnce(&[String]) -> W,
    ) -> Result<Option<FreshColumns>> {
        let Some(model) = self.catalog.model(kind) else { return Ok(None) };
        if fields.len() > STATE_FIELDS || !self.knows_who_is_forgotten() {
            return Ok(None);
        }
        let Some(of) = self.kept_states(model)? else { return Ok(None) };
        let found = self.kernel.state_caches.columns.look_up(of, fields, made_at());
        let Some((mut columns, missing)) = found else { return Ok(None) };
        if !missing.is_empty() {
            let writer = writer(&missing);
            let mut claim = ColumnClaim { snapshot: self, of, fields: missing, made: MadeColumns::Ended };
            let Some(made) =
                unless_damaged(self.make_columns(model, of, columns, &claim.fields, writer))?.flatten()
            else {
                claim.made = MadeColumns::Refused;
                return Ok(None);
            };
            columns = made;
            claim.made = MadeColumns::Whole(columns.clone());
        }
        // What changed since is of the checkpoint that the columns are of, or they do not do.
        self.read(|view| {
            if view.checkpoint != of.checkpoint {
                return Ok(None);
            }
            let overlay = self.overlay(view, model, None)?;
            Ok(Some(FreshColumns { columns: columns.clone(), overlay }))
        })
    }

    /// The states of a model that are kept up to C, if they are.
    fn kept_states(&self, model: &CatalogModel) -> Result<Option<KeptStates>> {
        self.read(|view| {
            let followed = view.read.followed_once(model.position)?;
            let serves = view.checkpoint <= self.head && followed == Some(view.checkpoint);
            let form = (self.catalog.reformed(), self.forgotten);
            Ok(serves.then_some(KeptStates { definition: model.position, checkpoint: view.checkpoint, form }))
        })
    }

    /// The same columns, and those that are missing; none if they are not to be had. Page by page: who reads for long is in the way of others.
    fn make_columns(
        &self,
        model: &CatalogModel,
        of: KeptStates,
        known: StateColumns,
        missing: &[String],
        writer: impl ColumnWriter,
    ) -> Result<Option<StateColumns>> {
        let mut making = ColumnsInMaking::new(writer, &known, missing.len());
        let (limits, mut page, mut after) = (self.limits(), StateBatch::default(), None::<String>);
        loop {
            let read = self.read(|view| {
                page.clear();
                if view.checkpoint != of.checkpoint
                    || view.read.followed_once(of.definition)? != Some(of.checkpoint)
                {
                    return Ok(None);
                }
                let rows = |id: &str, state: Result<&[u8]>| {
                    page.push(id, Some(state?));
                    Ok(page.held() < PAGE_BYTES)
                };
                view.read.each_state_after(model.position, after.as_deref(), PAGE, rows).map(Some)
            })?;
            // A checkpoint came between.
            let Some(last) = read else { return Ok(None) };
            while page.take_next() {
                let (id, bytes) = page.current();
                let kept = StoredState::open(bytes.unwrap_or_default())?;
                if kept.faulty(&limits).is_some() {
                    return Ok(None);
                }
                // What has no state is no row.
                let is_row = kept.events > 0 && !kept.state.is_null();
                if is_row && !making.take(id, &kept)? {
                    return Ok(None);
                }
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        making.end(known, missing)
    }
}

/// Columns on their way.
struct ColumnsInMaking<W> {
    writer: W,
    block: StateIds,
    blocks: Vec<StateIds>,
    columns: Vec<Vec<Vec<u8>>>,
    held: usize,
}

impl<W: ColumnWriter> ColumnsInMaking<W> {
    fn new(writer: W, known: &StateColumns, fields: usize) -> ColumnsInMaking<W> {
        let columns = vec![Vec::new(); fields];
        // The ids of those that are known are made again, and not kept twice.
        let held = known.held().saturating_sub(known.blocks.iter().map(StateIds::held).sum());
        ColumnsInMaking { writer, block: StateIds::default(), blocks: Vec::new(), columns, held }
    }

    /// Whether there is to be more.
    fn take(&mut self, id: &str, kept: &StoredState) -> Result<bool> {
        self.block.push(id);
        self.writer.take(id, kept)?;
        if self.block.len() < STATE_BLOCK { Ok(true) } else { self.close() }
    }

    fn close(&mut self) -> Result<bool> {
        let Some(columns) = self.writer.finish()? else { return Ok(false) };
        let mut block = std::mem::take(&mut self.block);
        block.ids.shrink_to_fit();
        block.ends.shrink_to_fit();
        self.held += block.held();
        self.blocks.push(block);
        for (column, mut bytes) in self.columns.iter_mut().zip(columns) {
            bytes.shrink_to_fit();
            self.held += held(&bytes);
            column.push(bytes);
        }
        Ok(self.held <= BYTES / 2)
    }

    fn end(mut self, known: StateColumns, missing: &[String]) -> Result<Option<StateColumns>> {
        if self.block.len() > 0 && !self.close()? {
            return Ok(None);
        }
        let mut made = StateColumns { blocks: self.blocks.into(), ..known };
        made.columns.extend(missing.iter().cloned().zip(self.columns.into_iter().map(Arc::from)));
        Ok(Some(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(definition: u64, checkpoint: u64) -> KeptStates {
        KeptStates {
            definition: Position(definition),
            checkpoint: Position(checkpoint),
            form: (Position::START, 0),
        }
    }

    fn fields(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn made(known: &StateColumns, names: &[String]) -> StateColumns {
        let mut made = known.clone();
        made.columns.extend(names.iter().map(|name| (name.clone(), Arc::from([vec![0; 10]]))));
        made
    }

    /// What who asks is to make; nothing to make where it is known.
    fn missing(cache: &StateColumnCache, of: KeptStates, names: &[&str]) -> Option<Vec<String>> {
        cache.look_up(of, &fields(names), 2).map(|(_, missing)| missing)
    }

    fn publish(cache: &StateColumnCache, of: KeptStates, names: &[&str]) {
        let known =
            locked(&cache.asked).columns.iter().find(|known| known.of == of).map(|known| known.made.clone());
        let made = made(&known.unwrap_or_default(), &fields(names));
        cache.publish(of, &fields(names), MadeColumns::Whole(made), || true);
    }

    #[test]
    fn what_is_asked_for_again_is_made_by_one_and_known_to_all() {
        let cache = StateColumnCache::default();
        assert_eq!(missing(&cache, of(1, 9), &["a"]), None);
        assert_eq!(missing(&cache, of(1, 9), &["a"]), Some(fields(&["a"])));
        // While one makes some, all others do without.
        assert_eq!(missing(&cache, of(1, 9), &["a"]), None);
        assert_eq!(missing(&cache, of(2, 9), &["a"]), None);
        assert_eq!(missing(&cache, of(2, 9), &["a"]), None);
        publish(&cache, of(1, 9), &["a"]);
        assert_eq!(missing(&cache, of(1, 9), &["a"]), Some(Vec::new()));
        // Of two the one that is known is not made again.
        assert_eq!(missing(&cache, of(1, 9), &["a", "b"]), None);
        assert_eq!(missing(&cache, of(1, 9), &["a", "b"]), Some(fields(&["b"])));
        publish(&cache, of(1, 9), &["b"]);
        assert_eq!(missing(&cache, of(1, 9), &["b", "a"]), Some(Vec::new()));
    }

    #[test]
    fn whoever_asks_of_an_earlier_checkpoint_does_without_and_a_later_one_begins_anew() {
        let cache = StateColumnCache::default();
        let ask = |of| missing(&cache, of, &["a"]).or_else(|| missing(&cache, of, &["a"]));
        assert_eq!(ask(of(1, 9)), Some(fields(&["a"])));
        publish(&cache, of(1, 9), &["a"]);
        assert_eq!(ask(of(1, 8)), None);
        let forgotten = KeptStates { form: (Position::START, 1), ..of(1, 9) };
        assert_eq!(ask(forgotten), Some(fields(&["a"])));
        // What was made of those that know nothing of it is nobody's.
        publish(&cache, of(1, 9), &["a"]);
        assert_eq!(ask(of(1, 9)), None);
        assert_eq!(ask(forgotten), Some(fields(&["a"])));
        cache.publish(
            forgotten,
            &fields(&["a"]),
            MadeColumns::Whole(made(&StateColumns::default(), &fields(&["a"]))),
            || false,
        );
        assert!(cache.made().is_empty());
        let later = KeptStates { checkpoint: Position(10), ..forgotten };
        assert_eq!(ask(later), Some(fields(&["a"])));
        // It was ended: at this checkpoint nobody begins again.
        cache.publish(later, &fields(&["a"]), MadeColumns::Ended, || true);
        assert_eq!(ask(later), None);
        let later = KeptStates { checkpoint: Position(11), ..forgotten };
        assert_eq!(ask(later), Some(fields(&["a"])));
        // It is not worth it, now or then.
        cache.publish(later, &fields(&["a"]), MadeColumns::Refused, || true);
        assert_eq!(ask(later), None);
        assert_eq!(ask(KeptStates { checkpoint: Position(12), ..forgotten }), None);
        cache.clear();
        assert_eq!(ask(of(1, 9)), Some(fields(&["a"])));
    }

    #[test]
    fn so_many_kinds_and_fields_are_remembered() {
        let cache = StateColumnCache::default();
        let names: Vec<String> = (0..=STATE_FIELDS).map(|at| format!("f{at}")).collect();
        for (at, name) in names.iter().enumerate() {
            assert_eq!(missing(&cache, of(1, 9), &[name]), None);
            // Who asks for one more once has none displaced.
            assert_eq!(cache.made().len(), at);
            assert_eq!(missing(&cache, of(1, 9), &[name]), Some(fields(&[name])));
            publish(&cache, of(1, 9), &[name]);
        }
        assert_eq!(cache.made(), fields(&["f8"]));
        for definition in 2..2 + MODELS as u64 {
            let _ = missing(&cache, of(definition, 9), &["f0"]);
        }
        assert_eq!(locked(&cache.asked).columns.len(), MODELS);
        let large = StateColumns {
            blocks: [].into(),
            columns: BTreeMap::from([(names[0].clone(), Arc::from([vec![0; BYTES]]))]),
        };
        let last = of(1 + MODELS as u64, 9);
        cache.publish(last, &fields(&["f0"]), MadeColumns::Whole(large), || true);
        assert!(locked(&cache.asked).columns.iter().map(|known| known.of).eq([last]));
    }

    #[test]
    fn an_id_is_found_in_its_row_or_where_it_would_be() {
        let mut zone = StateIds::default();
        let ids = ["a", "ab", "b", "dd"];
        ids.iter().for_each(|id| zone.push(id));
        for (row, id) in ids.iter().enumerate() {
            assert_eq!((zone.id(row), zone.row_of(id)), (*id, Ok(row)));
        }
        for (id, row) in [("", 0), ("aa", 1), ("c", 3), ("e", 4)] {
            assert_eq!(zone.row_of(id), Err(row));
        }
        assert_eq!((zone.len(), zone.id(4)), (4, ""));
    }
}
