//! Columns of states: what some fields of the states are that are kept as of C, remembered in memory.
//!
//! Whoever asks for the same fields of all states a second time at one checkpoint has them made, from one walk over what is kept; and as long as
//! that checkpoint is the last, nobody reads all states again for these fields. What the memtables changed since stands in
//! an [overlay](super::overlay), which is read as it is.
//!
//! The columns lie in zones of so many states, in the order of ids. What a column has of a zone are bytes that only whoever asks can read.
//! Nothing is remembered of what has a state that cannot be told or read, nor beyond so many bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, Mutex};

use super::overlay::MemtableOverlay;
use super::states::unless_damaged;
use super::{ReadTxn, Snapshot};
use crate::entity::Position;
use crate::error::Result;
use crate::store::catalog::CatalogModel;
use crate::store::mutex::locked;
use crate::store::state::stored_state::StoredState;

/// How many states a zone has at most.
pub(crate) const ZONE: usize = if cfg!(test) { 5 } else { 8192 };

/// Fields of so many entities' kinds are remembered, so many of each, of so many bytes together.
const MODELS: usize = if cfg!(test) { 2 } else { 16 };
const FIELDS: usize = if cfg!(test) { 2 } else { 8 };
const BYTES: usize = 64 << 20;

/// They are made for whoever asks for the so-manieth time.
const ASKED: u32 = if cfg!(test) { 1 } else { 2 };

/// What makes the bytes of a zone.
pub(crate) trait ZoneWriter {
    /// Takes what the fields of the next state are.
    ///
    /// # Errors
    /// Where it took too long or was ended.
    fn take(&mut self, id: &str, kept: &StoredState) -> Result<()>;

    /// The bytes of each field, of the states that were taken since it was asked last.
    fn finish(&mut self) -> Result<Vec<Vec<u8>>>;
}

/// Columns of the states of a kind, as of C.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateColumns {
    zones: Arc<[StateIds]>,
    /// The bytes that a field has of each zone, by what it is called.
    columns: BTreeMap<String, Arc<[Vec<u8>]>>,
}

/// The ids of the states of a zone.
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
    /// Of each definition; the one that was asked for last stands last.
    asked: Mutex<Vec<AskedColumns>>,
}

#[derive(Debug)]
struct AskedColumns {
    of: KeptStates,
    made: StateColumns,
    /// How often the fields were asked for that are not made.
    times: BTreeMap<String, u32>,
    /// Somebody makes some; or there is too much, or what cannot be told, and nobody does.
    waits: bool,
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
        // A zone of the longest ids is far from this.
        self.ends.push(u32::try_from(self.ids.len()).unwrap_or(u32::MAX));
    }

    fn held(&self) -> usize {
        size_of::<StateIds>() + self.ids.len() + 4 * self.ends.len()
    }
}

impl StateColumns {
    fn lacks(&self, fields: &[String]) -> Vec<String> {
        fields.iter().filter(|field| !self.columns.contains_key(*field)).cloned().collect()
    }

    fn held(&self) -> usize {
        let columns = self.columns.values().flat_map(|zones| zones.iter());
        let columns = columns.map(|bytes| size_of::<Vec<u8>>() + bytes.len()).sum::<usize>();
        self.zones.iter().map(StateIds::held).sum::<usize>() + columns
    }
}

impl FreshColumns {
    /// The zones, in the order of ids.
    pub fn zones(&self) -> &[StateIds] {
        &self.columns.zones
    }

    /// What a field has of a zone.
    pub fn column(&self, zone: usize, field: &str) -> Option<&[u8]> {
        self.columns.columns.get(field)?.get(zone).map(Vec::as_slice)
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
        locked(&self.asked).clear();
    }

    /// What is known of some states, and which of these fields are to be made now; none where there is something to wait for.
    fn look_up(&self, of: KeptStates, fields: &[String]) -> Option<(StateColumns, Vec<String>)> {
        let mut asked = locked(&self.asked);
        let at = asked.iter().position(|known| known.of.definition == of.definition);
        let known = at.map(|at| asked.remove(at));
        // Whoever reads an earlier checkpoint, or in an earlier form, has no say.
        if known.as_ref().is_some_and(|known| known.of.is_newer_than(of)) {
            asked.extend(known);
            return None;
        }
        let mut entry = known.filter(|known| known.of == of).unwrap_or_else(|| AskedColumns::new(of));
        let lacking = entry.made.lacks(fields);
        if lacking.len() + entry.made.columns.len() > FIELDS {
            entry = AskedColumns::new(of);
        }
        let found = entry.turn(lacking, ASKED);
        asked.push(entry);
        if asked.len() > MODELS {
            asked.remove(0);
        }
        found
    }

    /// Notes what came of making some, and lets others have a turn.
    fn note(&self, of: KeptStates, made: Option<StateColumns>, waits: bool) {
        let mut asked = locked(&self.asked);
        if let Some(entry) = asked.iter_mut().find(|known| known.of == of) {
            entry.waits = waits;
            entry.made = made.unwrap_or_else(|| std::mem::take(&mut entry.made));
        }
        while asked.len() > 1 && asked.iter().map(|known| known.made.held()).sum::<usize>() > BYTES {
            asked.remove(0);
        }
    }
}

impl KeptStates {
    fn is_newer_than(&self, other: KeptStates) -> bool {
        self.checkpoint > other.checkpoint || self.form.0 > other.form.0 || self.form.1 > other.form.1
    }
}

impl AskedColumns {
    fn new(of: KeptStates) -> AskedColumns {
        AskedColumns { of, made: StateColumns::default(), times: BTreeMap::new(), waits: false }
    }

    /// What is known, and what of it who asks is to make: what was asked for so often.
    fn turn(&mut self, lacking: Vec<String>, often: u32) -> Option<(StateColumns, Vec<String>)> {
        if lacking.is_empty() {
            return Some((self.made.clone(), lacking));
        }
        if self.waits {
            return None;
        }
        if self.times.len() > FIELDS {
            self.times.clear();
        }
        let mut are_due = true;
        for field in &lacking {
            let times = self.times.entry(field.clone()).or_default();
            *times = times.saturating_add(1);
            are_due &= *times >= often;
        }
        self.waits = are_due;
        are_due.then(|| (self.made.clone(), lacking))
    }
}

/// Gives the turn to make columns back, however that ends.
struct ColumnTurn<'c> {
    cache: &'c StateColumnCache,
    of: KeptStates,
    made: Option<StateColumns>,
    /// Nobody is to try again.
    given_up: bool,
}

impl Drop for ColumnTurn<'_> {
    fn drop(&mut self) {
        self.cache.note(self.of, self.made.take(), self.given_up);
    }
}

impl Snapshot {
    /// Columns of some fields of the states of a kind that are kept; none if they are not to be had now. Of those that are to be made,
    /// `writer` makes what does it.
    pub fn columns_of_states<W: ZoneWriter>(
        &self,
        kind: &str,
        fields: &[String],
        mut writer: impl FnMut(&[String]) -> W,
    ) -> Result<Option<FreshColumns>> {
        let Some(model) = self.catalog.model(kind) else { return Ok(None) };
        if fields.len() > FIELDS || !self.knows_who_is_forgotten() {
            return Ok(None);
        }
        let cache = &self.kernel.state_caches.columns;
        self.read(|view| {
            let followed = view.read.followed_once(model.position)?;
            if view.checkpoint > self.head || followed != Some(view.checkpoint) {
                return Ok(None);
            }
            let form = (self.catalog.reformed(), self.forgotten);
            let of = KeptStates { definition: model.position, checkpoint: view.checkpoint, form };
            let Some((mut columns, lacking)) = cache.look_up(of, fields) else { return Ok(None) };
            if !lacking.is_empty() {
                let mut turn = ColumnTurn { cache, of, made: None, given_up: false };
                let made = self.make_columns(view, model, columns, &lacking, writer(&lacking));
                let Some(made) = unless_damaged(made)?.flatten() else {
                    turn.given_up = true;
                    return Ok(None);
                };
                columns = made;
                // Who was forgotten meanwhile is in what was made.
                turn.made = self.knows_who_is_forgotten().then(|| columns.clone());
            }
            let overlay = self.overlay(view, model, None)?;
            Ok(Some(FreshColumns { columns, overlay }))
        })
    }

    /// The same columns, and those that are lacking.
    fn make_columns(
        &self,
        view: &ReadTxn,
        model: &CatalogModel,
        known: StateColumns,
        lacking: &[String],
        writer: impl ZoneWriter,
    ) -> Result<Option<StateColumns>> {
        let columns = vec![Vec::new(); lacking.len()];
        let held = known.held();
        let mut making = ColumnMaking { writer, zone: StateIds::default(), zones: Vec::new(), columns, held };
        let (limits, mut is_told) = (self.limits(), true);
        view.read.each_state_after(model.position, None, usize::MAX, |id, state| {
            let kept = StoredState::open(state?)?;
            if kept.faulty(&limits).is_some() {
                is_told = false;
                return Ok(false);
            }
            // What has no state is no row.
            if kept.events == 0 || kept.state.is_null() {
                return Ok(true);
            }
            making.take(id, &kept)?;
            if making.zone.len() == ZONE {
                self.go_on()?;
                making.close()?;
            }
            Ok(making.held <= BYTES)
        })?;
        if making.zone.len() > 0 {
            making.close()?;
        }
        let ColumnMaking { zones, columns, held, .. } = making;
        if !is_told || held > BYTES {
            return Ok(None);
        }
        let mut made = StateColumns { zones: zones.into(), ..known };
        made.columns.extend(lacking.iter().cloned().zip(columns.into_iter().map(Arc::from)));
        Ok(Some(made))
    }
}

/// Columns on their way.
struct ColumnMaking<W> {
    writer: W,
    zone: StateIds,
    zones: Vec<StateIds>,
    columns: Vec<Vec<Vec<u8>>>,
    held: usize,
}

impl<W: ZoneWriter> ColumnMaking<W> {
    fn take(&mut self, id: &str, kept: &StoredState) -> Result<()> {
        self.zone.push(id);
        self.writer.take(id, kept)
    }

    fn close(&mut self) -> Result<()> {
        let bytes = self.writer.finish()?;
        self.held += self.zone.held() + bytes.iter().map(Vec::len).sum::<usize>();
        self.zones.push(std::mem::take(&mut self.zone));
        self.columns.iter_mut().zip(bytes).for_each(|(column, bytes)| column.push(bytes));
        Ok(())
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

    #[test]
    fn what_is_asked_for_again_is_made_by_one_and_known_to_all() {
        let mut entry = AskedColumns::new(of(1, 9));
        let mut ask = |names: &[&str]| {
            let lacking = entry.made.lacks(&fields(names));
            let turn = entry.turn(lacking, 2).map(|(_, lacking)| lacking);
            if let Some(lacking) = turn.as_ref().filter(|lacking| !lacking.is_empty()) {
                entry.made = made(&entry.made, lacking);
            }
            (turn, std::mem::take(&mut entry.waits))
        };
        assert_eq!(ask(&["a"]), (None, false));
        assert_eq!(ask(&["a"]), (Some(fields(&["a"])), true));
        assert_eq!(ask(&["a"]), (Some(Vec::new()), false));
        // Of two the one that is known is not made again.
        assert_eq!(ask(&["a", "b"]), (None, false));
        assert_eq!(ask(&["a", "b"]), (Some(fields(&["b"])), true));
        assert_eq!(ask(&["b"]), (Some(Vec::new()), false));
    }

    #[test]
    fn whoever_asks_while_they_are_made_or_of_an_earlier_checkpoint_does_without() {
        let cache = StateColumnCache::default();
        let asked = fields(&["a"]);
        let lacking = |of| cache.look_up(of, &asked).map(|(_, lacking)| lacking);
        assert_eq!(lacking(of(1, 9)), Some(asked.clone()));
        assert_eq!(lacking(of(1, 9)), None);
        assert_eq!(lacking(of(1, 8)), None);
        // It was ended: the next one has a turn.
        cache.note(of(1, 9), None, false);
        assert_eq!(lacking(of(1, 9)), Some(asked.clone()));
        cache.note(of(1, 9), Some(made(&StateColumns::default(), &asked)), false);
        assert_eq!(lacking(of(1, 9)), Some(Vec::new()));
        assert_eq!(lacking(of(1, 8)), None);
        // A later checkpoint begins anew; what is made of an earlier one is nobody's.
        assert_eq!(lacking(of(1, 10)), Some(asked.clone()));
        cache.note(of(1, 9), Some(made(&StateColumns::default(), &asked)), false);
        cache.note(of(1, 10), None, true);
        assert_eq!(lacking(of(1, 10)), None);
        cache.clear();
        assert_eq!(lacking(of(1, 9)), Some(asked.clone()));
    }

    #[test]
    fn so_many_models_and_fields_are_remembered() {
        let cache = StateColumnCache::default();
        let names: Vec<String> = (0..=FIELDS).map(|at| format!("f{at}")).collect();
        for name in &names {
            let (known, lacking) = cache.look_up(of(1, 9), std::slice::from_ref(name)).unwrap();
            assert!(known.columns.len() < FIELDS);
            cache.note(of(1, 9), Some(made(&known, &lacking)), false);
        }
        for definition in 2..2 + MODELS as u64 {
            cache.look_up(of(definition, 9), &names[..1]).unwrap();
        }
        assert_eq!(locked(&cache.asked).len(), MODELS);
        let large = StateColumns {
            zones: [].into(),
            columns: BTreeMap::from([(names[0].clone(), Arc::from([vec![0; BYTES]]))]),
        };
        let last = of(1 + MODELS as u64, 9);
        cache.note(last, Some(large), false);
        assert!(locked(&cache.asked).iter().map(|known| known.of).eq([last]));
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
