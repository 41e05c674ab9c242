//! Reading a view.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::cache::{ViewCache, ViewCaches};
use super::{decode, large};
use crate::allowance::Limits;
use crate::definition::DefinitionKind;
use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::event::record::Record;
use crate::exec::budget::{Budget, ENTRY};
use crate::exec::eval::Scope;
use crate::exec::group::{GroupTable, Grouping};
use crate::exec::parallel_scan::gather_all;
use crate::exec::project::{fields as columns_of, row};
use crate::exec::result::{QueryResult, Row};
use crate::exec::sort::write_sort_key;
use crate::exec::{find, read, unnest};
use crate::plan::access_path::find::FindPlan;
use crate::plan::access_path::view::{ReadGroups, ReadView, RowSelection};
use crate::plan::datum::Datum;
use crate::plan::shape::GroupPlan;
use crate::plan::view::{GroupsOf, Selected};
use crate::plan::{AccessQuery, LogWindow, ReadKind, ReadPlan, RowLimit, choose};
use crate::store::catalog::{DefinedView, model};
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::value::{Object, Value};

/// What is remembered of the groups of a view takes no more than this; larger ones are read from the tables again.
const REMEMBERED: usize = 16 << 20;

/// More events than this are looked for by the indexes; fewer are looked at.
const FEW: u64 = 256;

/// Where the tables are so much further than what is remembered, they are read again.
const FAR: u64 = 32_768;

/// A group as it is shown.
pub(super) struct ViewRow {
    /// Its keys, then what its aggregates come to.
    slots: Arc<Vec<Datum<'static>>>,
    /// Its row, as it is defined: made once, and lent to all who read it.
    row: OnceLock<Arc<Object>>,
}

impl ViewRow {
    pub fn new(slots: Arc<Vec<Datum<'static>>>) -> Arc<ViewRow> {
        Arc::new(ViewRow { slots, row: OnceLock::new() })
    }

    pub fn row(&self, groups: &ReadGroups, limits: &Limits) -> Result<Row> {
        let scope = Scope::group(&self.slots, limits);
        if let Some(columns) = &groups.columns {
            return row(&scope, columns);
        }
        if let Some(made) = self.row.get() {
            return Ok(Row::Fields(made.clone()));
        }
        let made = Arc::new(columns_of(&scope, &groups.group.columns)?);
        Ok(Row::Fields(self.row.get_or_init(|| made).clone()))
    }
}

/// The groups of a view as of a position.
pub(in crate::exec) struct Memory {
    through: Position,
    whole: GroupTable,
    /// By their keys, those that pass `HAVING`.
    shown: BTreeMap<Box<[u8]>, Arc<ViewRow>>,
    budget: Arc<Budget>,
}

/// `READ`.
pub(in crate::exec) fn answer(
    snapshot: &Snapshot,
    views: &ViewCaches,
    plan: &ReadView,
) -> Result<QueryResult> {
    let groups = match &plan.rows {
        RowSelection::Each(kind) => {
            return read(
                snapshot,
                views,
                &ReadPlan { kind: (**kind).clone(), notices: Vec::new(), as_of: None, raw: false },
            );
        }
        RowSelection::Groups(groups) => groups,
    };
    let cache = views.of(&plan.view, snapshot.forgotten());
    let is_large = || cache.large.load(Ordering::Relaxed);
    if is_large()
        && let Some(answer) = large::answer(snapshot, plan, groups)?
    {
        return Ok(answer);
    }
    let mut shown = match wanted(snapshot, &cache, plan, groups, groups.latest, |_, shown| shown.clone()) {
        Err(error) if is_large() => match large::answer(snapshot, plan, groups)? {
            Some(answer) => return Ok(answer),
            None => return Err(error),
        },
        shown => shown?,
    };
    let limits = snapshot.query_limits();
    if !groups.order.is_empty() {
        let budget = Budget::new(snapshot, "ORDER BY");
        let mut keyed = Vec::with_capacity(shown.len());
        for shown in shown {
            let mut key = Vec::new();
            write_sort_key(&Scope::group(&shown.slots, &limits), &groups.order, &mut key)?;
            budget.take(ENTRY + key.len())?;
            keyed.push((key, shown));
        }
        // Stable: those with equal keys stay in the order of what they are grouped by.
        keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
        shown = keyed.into_iter().map(|(_, shown)| shown).collect();
    }
    if let Some(limit) = groups.limit {
        shown.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let groups = groups.clone();
    Ok(QueryResult::rows(shown.into_iter().map(move |shown| shown.row(&groups, &limits))))
}

/// What is taken of each group that passes `WHERE`, in the order of their keys; of a newer log too, where the latest is asked for
/// and somebody has just come further.
fn wanted<T>(
    snapshot: &Snapshot,
    cache: &ViewCache,
    plan: &ReadView,
    groups: &ReadGroups,
    latest: bool,
    taken: impl Fn(&[u8], &Arc<ViewRow>) -> T,
) -> Result<Vec<T>> {
    let limits = snapshot.query_limits();
    let passes = |shown: &ViewRow| {
        let predicate = groups.predicate.as_ref();
        predicate.map_or(Ok(true), |p| Scope::group(&shown.slots, &limits).holds(&p.node))
    };
    let take = |memory: &Memory| -> Result<Vec<T>> {
        let shown = memory.shown.iter().map(|(key, shown)| Ok(passes(shown)?.then(|| taken(key, shown))));
        shown.filter_map(Result::transpose).collect()
    };
    let through = groups.through.min(snapshot.head());
    let at_head = through == snapshot.head();
    let work = ViewWork::of(snapshot, plan, groups);
    // Whoever finds that it takes too much tells the others.
    let told = |made: Result<Memory>| {
        made.inspect_err(|_| {
            if work.is_over() {
                cache.large.store(true, Ordering::Relaxed);
            }
        })
    };
    if !at_head {
        return take(&told(work.begun(&groups.of))?);
    }
    let mut remembered = cache.groups.take(snapshot)?;
    if let Some(newer) = remembered.it.as_ref().filter(|memory| memory.through > through) {
        if latest {
            return take(newer);
        }
        // Whoever looks at an older log leaves others what they remember.
        std::mem::drop(remembered);
        return take(&told(work.begun(&groups.of))?);
    }
    snapshot.counts().view_cache.count(remembered.it.is_some());
    // One that is brought up only in part is not remembered.
    let whole = match remembered.it.take() {
        Some(known) => told(work.brought_up(known, &groups.of))?,
        None => told(work.begun(&groups.of))?,
    };
    let found = take(&whole)?;
    match whole.budget.held() <= REMEMBERED {
        true => remembered.it = Some(whole),
        false => cache.large.store(true, Ordering::Relaxed),
    }
    Ok(found)
}

/// What is to be worked out.
pub(super) struct ViewWork<'a> {
    pub snapshot: &'a Snapshot,
    /// Of the definition.
    pub position: Position,
    pub group: &'a GroupPlan,
    pub through: Position,
    pub limits: Limits,
    /// All that it was asked of.
    budgets: RefCell<Vec<Arc<Budget>>>,
}

impl<'a> ViewWork<'a> {
    pub fn of(snapshot: &'a Snapshot, plan: &ReadView, groups: &'a ReadGroups) -> ViewWork<'a> {
        ViewWork {
            snapshot,
            position: plan.view.position,
            group: &groups.group,
            through: groups.through.min(snapshot.head()),
            limits: snapshot.query_limits(),
            budgets: RefCell::default(),
        }
    }

    /// Whether something of it took more than there is.
    fn is_over(&self) -> bool {
        self.budgets.borrow().iter().any(|budget| budget.is_over())
    }

    /// The groups, from what is kept in the tables.
    fn begun(&self, of: &GroupsOf<FindPlan>) -> Result<Memory> {
        let events = match of {
            GroupsOf::Events(events) => events,
            GroupsOf::Entities(find) => return self.found(find),
        };
        let until = self.snapshot.until(self.through);
        let budget = self.budget();
        let grouping = Grouping::with(self.group, budget.clone(), &self.limits);
        let mut memory = Memory::new(&grouping);
        let kept = until.kept_groups(self.position, |bytes| budget.take(bytes))?;
        if let Some((through, kept)) = kept {
            let mut damaged = false;
            for (key, bytes) in kept {
                budget.give(key.len() + bytes.len() + ENTRY);
                match decode(&bytes, self.group) {
                    Some(group) => grouping.put(&mut memory.whole, &key, group)?,
                    None => damaged = true,
                }
            }
            match damaged {
                true => memory = Memory::new(&Grouping::with(self.group, self.budget(), &self.limits)),
                false => memory.through = through,
            }
        }
        let grouping = Grouping::with(self.group, memory.budget.clone(), &self.limits);
        memory.add(&grouping, self.events(&grouping, events, memory.through)?)?;
        memory.through = self.through;
        memory.show(&grouping)?;
        Ok(memory)
    }

    /// The groups, from what is remembered.
    fn brought_up(&self, mut memory: Memory, of: &GroupsOf<FindPlan>) -> Result<Memory> {
        if memory.through == self.through {
            return Ok(memory);
        }
        let events = match of {
            GroupsOf::Events(events) => events,
            GroupsOf::Entities(find) => {
                if touches(self.snapshot, find, memory.through, self.through)? {
                    return self.found(find);
                }
                memory.through = self.through;
                return Ok(memory);
            }
        };
        if self.through.since(memory.through) > FAR
            && self.snapshot.kept_through(self.position)? > Some(memory.through.plus(FAR))
        {
            return self.begun(of);
        }
        self.budgets.borrow_mut().push(memory.budget.clone());
        let grouping = Grouping::with(self.group, memory.budget.clone(), &self.limits);
        let later = self.events(&grouping, events, memory.through)?;
        let changed = memory.add(&grouping, later)?;
        for key in changed {
            match grouping.shown_at(&memory.whole, &key)? {
                Some(slots) => drop(memory.shown.insert(key, ViewRow::new(slots))),
                None => drop(memory.shown.remove(&key)),
            }
        }
        memory.through = self.through;
        Ok(memory)
    }

    pub fn budget(&self) -> Arc<Budget> {
        let budget = Arc::new(Budget::new(self.snapshot, "a view"));
        self.budgets.borrow_mut().push(budget.clone());
        budget
    }

    /// What the events behind a position make.
    pub fn events(&self, grouping: &Grouping, events: &Selected, after: Position) -> Result<GroupTable> {
        let through = self.through.min(events.window.through);
        let after = after.max(events.window.after);
        if after >= through {
            return Ok(grouping.start());
        }
        if through.since(after) <= FEW {
            let mut part = grouping.start();
            let mut log = self.snapshot.log(PositionRange::between(after, through), ScanDirection::Ascending);
            let mut add = |position, bytes: &[u8]| {
                let event = Record::open(position, bytes)?;
                if events.admits(&event, &self.limits)? {
                    super::add(grouping, &mut part, events, &event)?;
                }
                Ok(true)
            };
            while log.lend(FEW as usize, &mut add)? {}
            return Ok(part);
        }
        let question = AccessQuery {
            pattern: Some(events.pattern.clone()),
            by: events.by.clone(),
            predicate: events.predicate.clone(),
            window: LogWindow { after, through, ..events.window },
            take: RowLimit::All,
            indexed: false,
        };
        let chosen = choose(self.snapshot, question)?;
        match &events.unnest {
            Some(unnest) => Ok(unnest::groups(self.snapshot, &chosen, unnest, grouping)?.part),
            None => gather_all(self.snapshot, &chosen, grouping),
        }
    }

    /// The groups of entities, as their states are now.
    fn found(&self, find: &FindPlan) -> Result<Memory> {
        let grouping = Grouping::with(self.group, self.budget(), &self.limits);
        let mut memory = Memory::new(&grouping);
        memory.whole = find::groups(self.snapshot, find, &grouping)?;
        memory.through = self.through;
        memory.show(&grouping)?;
        Ok(memory)
    }
}

/// Whether something happened in a stretch that may have changed the state of an entity.
fn touches(snapshot: &Snapshot, find: &FindPlan, after: Position, through: Position) -> Result<bool> {
    if through.since(after) > FEW {
        return Ok(true);
    }
    let fold = snapshot.indexes().model(&find.query.kind).map(|model| model.fold()).transpose()?;
    let touched = Cell::new(false);
    let mut look = |position, bytes: &[u8]| {
        let event = Record::open(position, bytes)?;
        let own = event.target().is_some_and(|target| {
            target.kind == find.query.kind || target.kind == model::KIND && target.id == find.query.kind
        });
        let mut includes = fold.iter().flat_map(|fold| fold.includes());
        touched.set(own || includes.any(|include| include.on.matches_text(event.kind())));
        Ok(!touched.get())
    };
    let mut log = snapshot.log(PositionRange::between(after, through), ScanDirection::Ascending);
    while !touched.get() && log.lend(FEW as usize, &mut look)? {}
    Ok(touched.get())
}

impl Memory {
    fn new(grouping: &Grouping) -> Memory {
        Memory {
            through: Position::START,
            whole: grouping.start(),
            shown: BTreeMap::new(),
            budget: grouping.budget().clone(),
        }
    }

    /// Works out what is shown of each group.
    fn show(&mut self, grouping: &Grouping) -> Result<()> {
        let shown = grouping.shown(&self.whole);
        self.shown =
            shown.map(|shown| shown.map(|(key, slots)| (key, ViewRow::new(slots)))).collect::<Result<_>>()?;
        Ok(())
    }

    /// Adds what comes later; and tells which groups that changes.
    fn add(&mut self, grouping: &Grouping, later: GroupTable) -> Result<Vec<Box<[u8]>>> {
        use crate::exec::parallel_scan::ParallelScan;
        let changed = later.each().map(|(key, _)| key.into()).collect();
        grouping.join(&mut self.whole, later)?;
        Ok(changed)
    }
}

/// The rows of a view that is followed: each with what it is known by, and what is told when it is no more.
#[derive(Debug)]
pub(crate) enum Changing {
    /// As they were.
    Same,
    /// They are there from then on: those behind a position.
    Added(VecDeque<Row>),
    /// All there are.
    All(BTreeMap<Box<[u8]>, (Row, Object)>),
}

/// The rows of a view; of one whose rows never change those behind a position. `after` is what was looked at before.
pub(crate) fn changing(
    snapshot: &Snapshot,
    views: &ViewCaches,
    plan: &ReadView,
    after: Option<Position>,
) -> Result<Changing> {
    let budget = Budget::new(snapshot, "a view that is subscribed to");
    let groups = match &plan.rows {
        RowSelection::Groups(groups) => groups,
        RowSelection::Each(kind) => match &**kind {
            ReadKind::Find(find) => {
                if let Some(after) = after
                    && !touches(snapshot, find, after, snapshot.head())?
                {
                    return Ok(Changing::Same);
                }
                let mut rows = BTreeMap::new();
                find::each_row(snapshot, find, |id, row, target| {
                    budget.take(4 * ENTRY + id.len() + row.weight())?;
                    rows.insert(id.as_bytes().into(), (row, target));
                    Ok(())
                })?;
                return Ok(Changing::All(rows));
            }
            kind => {
                let (mut kind, after) = (kind.clone(), after.unwrap_or(Position::START));
                match &mut kind {
                    ReadKind::Events(events) => events.window.after = events.window.after.max(after),
                    ReadKind::Shaped(shaped) => {
                        shaped.events.window.after = shaped.events.window.after.max(after);
                    }
                    _ => {}
                }
                let rows =
                    read(snapshot, views, &ReadPlan { kind, notices: Vec::new(), as_of: None, raw: false })?
                        .rows;
                let mut added = VecDeque::new();
                for row in rows {
                    let row = row?;
                    budget.take(4 * ENTRY + row.weight())?;
                    added.push_back(row);
                }
                return Ok(Changing::Added(added));
            }
        },
    };
    let (mut rows, limits) = (BTreeMap::new(), snapshot.query_limits());
    let taken = |key: &[u8], shown: &Arc<ViewRow>| (Box::<[u8]>::from(key), shown.clone());
    for (key, shown) in
        wanted(snapshot, &views.of(&plan.view, snapshot.forgotten()), plan, groups, false, taken)?
    {
        let row = shown.row(groups, &limits)?;
        budget.take(4 * ENTRY + key.len() + row.weight())?;
        let keys = groups.group.keys.iter().zip(shown.slots.iter());
        let known = keys.map(|(column, datum)| (column.name.clone(), datum.clone().into_value()));
        rows.insert(key, (row, known.collect()));
    }
    Ok(Changing::All(rows))
}

/// `SHOW VIEWS`.
pub(in crate::exec) fn show(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Row>> + Send + use<>> {
    let catalog = snapshot.indexes();
    let mut rows = Vec::new();
    for view in catalog.kept_views().filter(|view| view.kind == DefinitionKind::View) {
        let newest = catalog.view(&view.name).is_some_and(|newest| newest.position == view.position);
        let used = catalog.usable_view(&view.name).is_some_and(|used| used.position == view.position);
        let state = match view.is_complete() {
            _ if view.view().is_err() => "not understood",
            true if used => "ready",
            false if view.index.as_ref().is_some_and(|index| !index.is_kept()) => "invalid",
            false if newest && snapshot.failure(view.position).is_some() => "failed",
            false if newest => "building",
            _ => "dropping",
        };
        let percent = percent(snapshot, view)?;
        let mut row = Object::from_iter(
            [
                ("name", view.name.as_str().into()),
                ("as", query(view).into()),
                ("defined", view.position.0.into()),
                ("state", state.into()),
                ("percent", percent),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        row.extend(why_not_kept(snapshot, view).map(|why| ("error".to_owned(), why.into())));
        rows.push(Ok(Row::from(row)));
    }
    Ok(rows.into_iter())
}

/// Why it is not kept, if it is not.
pub(in crate::exec) fn why_not_kept(snapshot: &Snapshot, view: &DefinedView) -> Option<String> {
    let invalid = view.index.as_ref().and_then(|index| index.why_not_kept());
    invalid.or_else(|| super::super::index::failure(snapshot, view.position))
}

/// What a view is defined as, without its name.
pub(in crate::exec) fn query(view: &DefinedView) -> &str {
    // A name may be any text, even this: the first behind the name is meant.
    let before = format!("DEFINE VIEW {} AS ", crate::entity::NameText(&view.name));
    view.text.strip_prefix(before.as_str()).unwrap_or(&view.text)
}

/// How much of it is kept, of a hundred; null where that is not known.
pub(in crate::exec) fn percent(snapshot: &Snapshot, view: &DefinedView) -> Result<Value> {
    if view.is_complete() {
        return Ok(100.into());
    }
    if let Some(index) = &view.index {
        return Ok(index.percent().into());
    }
    if view.finder.is_some() {
        return Ok(Value::Null);
    }
    let kept = snapshot.kept_through(view.position)?.unwrap_or_default();
    Ok((kept.0 * 100 / snapshot.head().0.max(1)).into())
}

/// The names of its columns; none where its rows are events or entities.
pub(in crate::exec) fn columns(view: &DefinedView) -> Result<Vec<String>> {
    let defined = crate::plan::view_definition(&view.text)?;
    Ok(defined.columns().iter().map(|column| column.name.clone()).collect())
}

/// How far it is, in words.
pub(in crate::exec) fn progress(snapshot: &Snapshot, view: &DefinedView) -> Result<Option<String>> {
    let name = crate::entity::NameText(&view.name);
    let used = snapshot.indexes().usable_view(&view.name).filter(|used| used.position != view.position);
    if let Some(used) = used {
        return Ok(Some(format!(
            "{name} is being built; the definition of {} answers until it is complete",
            used.position
        )));
    }
    if let Some(why) = why_not_kept(snapshot, view) {
        return Ok(Some(format!("{name} is not kept, and worked out of the log when it is read: {why}")));
    }
    if !view.is_complete() {
        return Ok(Some(format!(
            "{name} is being built; until it is complete, what is missing is worked out"
        )));
    }
    if view.groups().is_none() {
        return Ok(None);
    }
    let head = snapshot.head();
    let kept = snapshot.kept_through(view.position)?;
    if kept > Some(Position::START) && !snapshot.has_kept_groups(view.position)? {
        return Ok(Some(format!(
            "a group of {name} is too large to be kept, or damaged: the view is worked out of the log when it is first read"
        )));
    }
    Ok(kept.map(|kept| match head.since(kept) {
        0 => format!("{name} is kept up to the head, {head}"),
        more => format!("{name} is kept up to {kept}; the {more} events behind it are joined as it is read"),
    }))
}
