//! The catalog: the indexes and the entities that are defined, as of a position of the log.
//!
//! A definition is an event, `$index.defined`, of the target `$index` with the index's name as its id; its data says of which
//! events (`on`, a pattern) and what of them (`as`, an expression). `$index.dropped` ends all definitions of its name. So the
//! catalog follows from the log, has a history, and travels with it.
//!
//! An index holds an event under each value that its expression has for it. What is appended after the definition is held
//! from the start; what lies before, up to the definition itself, is [backfilled](super::materialize), and an index is used
//! once it is complete. A redefinition is built beside the one before, which is used until then.
//!
//! An entity is defined by an event `$entity.defined` of the target `$entity`, with its kind as the id, and the text of the
//! definition in its data; a newer one takes its place at once. `$entity.dropped` ends it.
//!
//! A verb is defined by an event `$verb.defined` of the target `$verb`, with its name as the id, in the same way; so are views and
//! programs, which are reactions, webhooks and schedules, and so are the schemas of events, by `$event.defined`, with the type as the id;
//! of a type each version is kept. All of these have names of their own: none is that of another.
//!
//! The store cannot work out expressions: it is given a [`Compile`] as it is opened.

pub(crate) mod change;
pub(crate) mod definition;
mod definition_set;
pub(crate) mod index;
mod materializer;
pub(crate) mod model;
mod private;
pub(crate) mod program;
pub(crate) mod schema;
mod tree;
pub(crate) mod verb;
pub(crate) mod view;

use std::any::Any;
use std::sync::Arc;

use super::event_schema::EventSchema;
use super::index::term::{self, IndexKey, Term};
use super::state::fold::Fold;
use super::state::stored_state::StoredState;
use super::tables::{LogTable, Postings, TablesRead};
use super::verb::VerbHandler;
use crate::allowance::{Limits, Unmade};
use crate::entity::{EventType, NameText, Position};
use crate::error::{Error, Result, shorten};
use crate::event::codec;
use crate::event::record::Record;
pub(crate) use change::CatalogChange;
use definition::{
    Definition, DefinitionKind, EntityDefinition, FinderDefinition, PrivateDefinition, VerbDefinition,
};
use definition_set::{DefinitionEntry, DefinitionSet, OfKinds};
pub(crate) use index::Index;
pub(crate) use materializer::{GroupDelta, Keeps, MAX_GROUP, ViewGroups, ViewMaterializer};
pub(crate) use model::{CatalogModel, Finder};
pub(crate) use private::{CatalogPrivate, PrivateFields};
pub(in crate::store) use private::{FoundFields, PrivateStamp};
pub(crate) use program::{ASIDE, Flow, Program, ProgramKind};
pub(crate) use schema::{CatalogSchema, SchemaVersion};
pub(crate) use verb::CatalogVerb;
pub(crate) use view::DefinedView;

/// The kind of what `$index.…` events are about.
pub(crate) const KIND: &str = DefinitionKind::Index.target();
/// The type of a definition.
#[cfg(test)]
pub(crate) const DEFINED: &str = DefinitionKind::Index.defined();
/// The type of the end of a definition.
#[cfg(test)]
pub(crate) const DROPPED: &str = DefinitionKind::Index.dropped();

/// Makes of a text what works it out.
pub(crate) trait Compile: Send + Sync {
    /// Of the expression of an index.
    fn index(&self, text: &str) -> Result<Arc<dyn Derive>>;

    /// Of the definition of an entity: its kind, and what its events make of a state.
    fn entity(&self, text: &str) -> Result<(String, Arc<dyn Fold>)>;

    /// Of the definition of a verb: its name, and what it does.
    fn verb(&self, text: &str) -> Result<(String, Arc<dyn VerbHandler>)> {
        Err(Error::invalid("the definition of a verb", "one that is understood", shorten(text)))
    }

    /// Of the definition of an event: its type, and what its data is to be.
    fn event(&self, text: &str) -> Result<(String, Arc<dyn EventSchema>)> {
        Err(Error::invalid("the definition of an event", "one that is understood", shorten(text)))
    }

    /// Of the definition of a column: its name, and what its blocks are made of.
    fn column(&self, text: &str) -> Result<(String, Arc<dyn ViewMaterializer>)> {
        Err(Error::invalid("the definition of a column", "one that is understood", shorten(text)))
    }

    /// Of the definition of a view: its name, and what it makes of the log.
    fn view(&self, text: &str) -> Result<(String, Arc<dyn ViewMaterializer>)> {
        Err(Error::invalid("the definition of a view", "one that is understood", shorten(text)))
    }

    /// Of the definition of private fields: its name, and which they are.
    fn private(&self, text: &str) -> Result<(String, Arc<PrivateFields>)> {
        Err(Error::invalid("the definition of private fields", "one that is understood", shorten(text)))
    }

    /// Of the definition of a program: its name, and what leads to what. Whoever runs it works out the rest.
    fn program(&self, kind: ProgramKind, text: &str) -> Result<(String, Flow)> {
        Err(Error::invalid(
            format!("the definition of a {}", kind.word()),
            "one that is understood",
            shorten(text),
        ))
    }

    /// Whether a definition compares an instant with what may be a text: earlier versions took them for two sorts.
    fn compares_instants(&self, _definition: &str) -> bool {
        false
    }
}

/// Works out what an event is to be found by.
pub(crate) trait Derive: Send + Sync {
    /// Adds what an event has. The same event has the same, whenever it is asked.
    fn keys(&self, event: &Record, limits: &Limits, found: &mut Vec<IndexKey>) -> Result<(), Unmade>;

    /// What it works out, as whoever compares questions with it knows it; none where nobody does. It is opaque down here.
    fn expression(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }

    /// Whether it is of the states of entities, and events have nothing of it.
    fn is_of_states(&self) -> bool {
        false
    }

    /// Adds what the state of an entity has. Tells whether it is in order where that is, or nowhere: arrays are not, whose items are found.
    fn keys_of_state(
        &self,
        _id: &str,
        _kept: &StoredState,
        _limits: &Limits,
        _found: &mut Vec<IndexKey>,
    ) -> Result<bool, Unmade> {
        Ok(true)
    }
}

/// What evaluates a definition, or why nothing does.
pub(crate) type Understood<T> = std::result::Result<Arc<T>, Error>;

/// What to do where a definition is not evaluated.
fn not_understood(what: &str, name: &str, position: Position, why: &Error) -> Error {
    let name = NameText(name);
    match why {
        Error::Stopped { reason } => {
            Error::stopped(format!("the {what} {name}, defined at {position}, has no effect: {reason}"))
        }
        why => Error::stopped(format!(
            "the {what} {name} is defined at {position} in a way that this version does not understand ({why}); \
             use the version that defined it, or define it anew"
        )),
    }
}

/// The indexes as of a position of the log, in the order of their definitions. It does not change: the next one is another, and
/// shares with it what did not change.
///
/// Whoever holds one may read the lists of its indexes: they are not dropped before it lets go.
#[derive(Debug, Default, Clone)]
pub(crate) struct Catalog {
    indexes: DefinitionSet<Index>,
    /// Of each kind the newest.
    models: DefinitionSet<CatalogModel>,
    /// Of each name the newest.
    finders: DefinitionSet<Finder>,
    /// Those and the ones of views, by kind.
    of_kinds: OfKinds,
    /// Of each type the newest, which has those before.
    schemas: DefinitionSet<CatalogSchema>,
    /// The newest event of the log from which on earlier events are read in another form than before.
    reformed: Position,
    /// Of each name the newest.
    verbs: DefinitionSet<CatalogVerb>,
    /// In the order of their definitions. One that is replaced stays as long as it is of use.
    views: DefinitionSet<DefinedView>,
    /// Of each name the newest.
    privates: DefinitionSet<CatalogPrivate>,
    /// Of each name the newest.
    programs: DefinitionSet<Program>,
}

/// Definitions that newer ones of their names have made useless.
pub(super) struct Useless {
    views: Vec<Arc<DefinedView>>,
    indexes: Vec<Arc<Index>>,
}

impl Useless {
    pub fn is_empty(&self) -> bool {
        self.views.is_empty() && self.indexes.is_empty()
    }

    /// Where those are defined whose indexes hold all that they are to hold. The tables are to say that they do no more before they
    /// are left out: what replaced them may turn out to be incomplete after all, when nobody has kept them up.
    pub fn complete(&self) -> impl Iterator<Item = Position> {
        let of_views = self.views.iter().filter_map(|view| view.index.as_ref());
        let complete = self.indexes.iter().chain(of_views).filter(|index| index.is_complete());
        complete.map(|index| index.position)
    }

    /// Leaves those to the catalog that are complete.
    fn leave_complete(&mut self) {
        self.views.retain(|view| view.index.as_ref().is_none_or(|index| !index.is_complete()));
        self.indexes.retain(|index| !index.is_complete());
    }
}

/// The sort of what has only one, and of an index that is defined as such, not by a view.
const PLAIN: u8 = 0;

/// The sort of columns, among views.
const COLUMN: u8 = 1;

impl Catalog {
    /// Those that somebody defined as such, in the order of their definitions; those that are being built, too.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Index>> {
        self.indexes.iter().filter(|index| !index.is_of_view())
    }

    /// All of them, those of views, too.
    pub fn each(&self) -> impl DoubleEndedIterator<Item = &Arc<Index>> {
        self.indexes.iter()
    }

    /// The newest of a name, where that is an index's or a view's.
    pub fn newest(&self, like: &Index) -> Option<&Arc<Index>> {
        self.indexes.get(like.sort(), like.name())
    }

    /// The definition of this name that holds now, complete or not.
    pub fn get(&self, name: &str) -> Option<&Arc<Index>> {
        self.indexes.get(PLAIN, name)
    }

    /// The index of this name to be used: the newest that is complete. Ask once for a question: another may be completed meanwhile.
    pub fn usable(&self, name: &str) -> Option<&Arc<Index>> {
        self.indexes.named(PLAIN, name).find(|index| self.serves(index))
    }

    /// Whether an index holds all that it is to hold, in the form in which events are read now: one that was replaced because they are
    /// read otherwise by now answers nothing any more.
    pub fn serves(&self, index: &Index) -> bool {
        index.is_complete() && (self.is_of_now(index.position) || self.is_newest(index))
    }

    fn view_serves(&self, view: &DefinedView) -> bool {
        view.is_complete() && self.view_holds(view)
    }

    /// Whether what is kept of a view, or of a column, is of events as they are read now, as far as it is kept.
    pub fn view_holds(&self, view: &DefinedView) -> bool {
        self.is_of_now(view.position) || self.is_newest_view(view)
    }

    /// Whether no newer view, or column, has its name.
    pub fn is_newest_view(&self, view: &DefinedView) -> bool {
        let newest = self.views.get(view.sort(), &view.name);
        newest.is_some_and(|newest| newest.position == view.position)
    }

    /// Whether events are read as they were when something was defined.
    fn is_of_now(&self, definition: Position) -> bool {
        definition >= self.reformed
    }

    fn is_newest(&self, index: &Index) -> bool {
        self.newest(index).is_some_and(|newest| newest.position == index.position)
    }

    /// Those that are still to be completed, behind a position: of each name the newest.
    pub fn building_behind(&self, done: Position) -> impl Iterator<Item = &Arc<Index>> {
        let behind = self.indexes.behind(done);
        behind.filter(|index| !index.is_complete() && index.is_kept() && self.is_newest(index))
    }

    /// What is defined of entities behind a position, in the order of the definitions.
    pub(super) fn models_behind(&self, done: Position) -> impl Iterator<Item = &Arc<CatalogModel>> {
        self.models.behind(done)
    }

    /// The indexes of states that are defined behind a position.
    pub(super) fn finders_behind(&self, done: Position) -> impl Iterator<Item = &Arc<Finder>> {
        self.finders.behind(done)
    }

    /// The views that are kept and defined behind a position.
    pub(super) fn kept_views_behind(&self, done: Position) -> impl Iterator<Item = &Arc<DefinedView>> {
        self.views.behind(done)
    }

    /// What is defined of the entities of a kind.
    pub fn model(&self, kind: &str) -> Option<&Arc<CatalogModel>> {
        self.models.get(PLAIN, kind)
    }

    /// The definition of entities at a position.
    pub fn model_at(&self, position: Position) -> Option<&Arc<CatalogModel>> {
        self.models.at(position)
    }

    /// All that is defined of entities, in the order of the definitions.
    pub fn models(&self) -> impl DoubleEndedIterator<Item = &Arc<CatalogModel>> {
        self.models.iter()
    }

    /// The index of states of this name.
    pub fn finder(&self, name: &str) -> Option<&Arc<Finder>> {
        self.finders.get(PLAIN, name)
    }

    /// The indexes of states, in the order of their definitions.
    pub fn finders(&self) -> impl DoubleEndedIterator<Item = &Arc<Finder>> {
        self.finders.iter()
    }

    /// The schema of a type of events.
    pub fn schema(&self, event_type: &str) -> Option<&Arc<CatalogSchema>> {
        // Most logs have none, and each event asks.
        if self.schemas.is_empty() { None } else { self.schemas.get(PLAIN, event_type) }
    }

    /// The newest event of the log from which on earlier events are read in another form than before; the start where there is none.
    /// What was made of events up to a position before it, and is kept without a definition of its own, holds no more.
    pub fn reformed(&self) -> Position {
        self.reformed
    }

    /// Which definition states of a kind are folded by, and in which form its events are read: whatever is folded by the same is the same.
    pub fn folded_by(&self, kind: &str) -> Option<Position> {
        let reformed = Some(self.reformed).filter(|reformed| *reformed > Position::START);
        self.model(kind).map(|model| model.position).max(reformed)
    }

    /// Whether any type of events has a schema.
    pub fn has_schemas(&self) -> bool {
        !self.schemas.is_empty()
    }

    /// All schemas of events, in the order of their newest versions.
    pub fn schemas(&self) -> impl DoubleEndedIterator<Item = &Arc<CatalogSchema>> {
        self.schemas.iter()
    }

    /// The verb of this name.
    pub fn verb(&self, name: &str) -> Option<&Arc<CatalogVerb>> {
        self.verbs.get(PLAIN, name)
    }

    /// All verbs, in the order of their definitions.
    pub fn verbs(&self) -> impl DoubleEndedIterator<Item = &Arc<CatalogVerb>> {
        self.verbs.iter()
    }

    /// The view of this name as it is defined now, complete or not.
    pub fn view(&self, name: &str) -> Option<&Arc<DefinedView>> {
        self.views.get(PLAIN, name)
    }

    /// The view of this name to be read: the newest that is complete; where there is none, the newest.
    pub fn usable_view(&self, name: &str) -> Option<&Arc<DefinedView>> {
        let complete = self.views.named(PLAIN, name).find(|view| self.view_serves(view));
        complete.or_else(|| self.view(name))
    }

    /// All views as they are defined now, in the order of their definitions.
    pub fn views(&self) -> impl DoubleEndedIterator<Item = &Arc<DefinedView>> {
        self.kept_views().filter(|view| view.sort() == PLAIN && self.is_newest_view(view))
    }

    /// The column of this name, as it is defined now.
    pub fn column(&self, name: &str) -> Option<&Arc<DefinedView>> {
        self.views.get(COLUMN, name)
    }

    /// All columns as they are defined now, in the order of their definitions.
    pub fn columns(&self) -> impl DoubleEndedIterator<Item = &Arc<DefinedView>> {
        self.kept_views().filter(|view| view.sort() == COLUMN && self.is_newest_view(view))
    }

    /// All views and columns that are kept, those that are being replaced, too.
    pub fn kept_views(&self) -> impl DoubleEndedIterator<Item = &Arc<DefinedView>> {
        self.views.iter()
    }

    /// Whether there is anything that is kept up in the background.
    pub(super) fn keeps_anything(&self) -> bool {
        !self.models.is_empty() || !self.views.is_empty()
    }

    /// What is private by this name.
    pub fn private(&self, name: &str) -> Option<&Arc<CatalogPrivate>> {
        self.privates.get(PLAIN, name)
    }

    /// All that is private, in the order of the definitions.
    pub fn privates(&self) -> impl DoubleEndedIterator<Item = &Arc<CatalogPrivate>> {
        self.privates.iter()
    }

    /// The program of this name.
    pub fn program(&self, kind: ProgramKind, name: &str) -> Option<&Arc<Program>> {
        self.programs.get(kind as u8, name)
    }

    /// Whether there is a program that is defined at a position.
    pub fn has_program(&self, definition: Position) -> bool {
        self.programs.at(definition).is_some()
    }

    /// All programs, in the order of their definitions.
    pub fn programs(&self) -> impl DoubleEndedIterator<Item = &Arc<Program>> {
        self.programs.iter()
    }

    /// How many definitions hold: of each name the newest.
    pub fn size(&self) -> usize {
        let newest = self.iter().filter(|index| self.is_newest(index)).count();
        let newest = newest + self.kept_views().filter(|view| self.is_newest_view(view)).count();
        let others = self.models.len() + self.finders.len() + self.schemas.len() + self.verbs.len();
        newest + others + self.privates.len() + self.programs.len()
    }

    /// Whether there are so many, at least. It is quick while there are fewer.
    pub fn has_as_many_as(&self, most: usize) -> bool {
        let Catalog {
            indexes,
            models,
            finders,
            schemas,
            verbs,
            views,
            privates,
            programs,
            of_kinds: _,
            reformed: _,
        } = self;
        let there = indexes.len() + models.len() + finders.len() + schemas.len();
        let there = there + verbs.len() + views.len() + privates.len() + programs.len();
        there >= most && self.size() >= most
    }

    /// What bears a name already, other than what a change says anew.
    pub(super) fn taken(&self, change: &CatalogChange) -> Option<(&'static str, Position)> {
        let CatalogChange::Define(definition) = change else { return None };
        let (kind, name) = (definition.kind(), definition.name());
        let others =
            DefinitionKind::ALL.into_iter().filter(|other| other.has_names_of_its_own() && *other != kind);
        let mut others = others.filter_map(|other| Some((other.word(), self.defined(other, name)?)));
        others.next().filter(|_| kind.has_names_of_its_own())
    }

    /// Where the newest definition of a kind and a name is.
    pub fn defined(&self, kind: DefinitionKind, name: &str) -> Option<Position> {
        match kind {
            DefinitionKind::Index => self
                .get(name)
                .map(|index| index.position)
                .max(self.finder(name).map(|finder| finder.position)),
            DefinitionKind::Entity => self.model(name).map(|model| model.position),
            DefinitionKind::Event => self.schema(name).map(|schema| schema.newest().position),
            DefinitionKind::Verb => self.verb(name).map(|verb| verb.position),
            DefinitionKind::View => self.view(name).map(|view| view.position),
            DefinitionKind::Column => self.column(name).map(|column| column.position),
            DefinitionKind::Private => self.private(name).map(|private| private.position),
            DefinitionKind::Program(kind) => self.program(kind, name).map(|program| program.position),
        }
    }

    /// The names of what is defined of a kind.
    pub fn names_of(&self, kind: DefinitionKind) -> Vec<&str> {
        match kind {
            DefinitionKind::Index => {
                let finders = self.finders().map(|finder| finder.name.as_str());
                self.iter().map(|index| index.name()).chain(finders).collect()
            }
            DefinitionKind::Entity => self.models().map(|model| model.kind.as_str()).collect(),
            DefinitionKind::Event => self.schemas().map(|schema| schema.event_type.as_str()).collect(),
            DefinitionKind::Verb => self.verbs().map(|verb| verb.name.as_str()).collect(),
            DefinitionKind::View => self.views().map(|view| view.name.as_str()).collect(),
            DefinitionKind::Column => self.columns().map(|column| column.name.as_str()).collect(),
            DefinitionKind::Private => self.privates().map(|private| private.name.as_str()).collect(),
            DefinitionKind::Program(kind) => {
                let programs = self.programs().filter(|program| program.kind == kind);
                programs.map(|program| program.name.as_str()).collect()
            }
        }
    }

    /// The indexes of the states of a kind, those of views, and the one that leads to what cannot be folded, too.
    pub fn finders_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Arc<Finder>> {
        self.of_kinds.of(kind)
    }

    /// The index of the definition at a position.
    pub fn at(&self, position: Position) -> Option<&Arc<Index>> {
        self.indexes.at(position)
    }

    /// Whether something is kept of the definition at a position: of an entity, a view, or an index of states.
    pub(super) fn keeps(&self, definition: Position) -> bool {
        self.models.at(definition).is_some()
            || self.finders.at(definition).is_some()
            || self.views.at(definition).is_some()
    }

    /// Whether there is a view at a position, maybe one that is being replaced.
    pub(super) fn keeps_view(&self, definition: Position) -> bool {
        self.views.at(definition).is_some()
    }

    /// How many definitions hold no more: what the tables have of one is to be dropped.
    pub(super) fn ended(&self) -> u64 {
        self.indexes.ended() + self.models.ended() + self.finders.ended() + self.views.ended()
    }

    /// Adds what the indexes hold an event under. An index that cannot be worked out for it is told with why.
    pub(super) fn terms(
        &self,
        position: Position,
        bytes: &[u8],
        limits: &Limits,
        terms: &mut Vec<Term>,
        mut failed: impl FnMut(&Index, Error) -> Result<()>,
    ) -> Result<()> {
        if !self.indexes.is_empty() {
            let event = Record::open(position, bytes)?;
            for index in self.indexes.iter() {
                if let Some(why) = index.terms(&event, limits, terms)? {
                    failed(index, why)?;
                }
            }
        }
        Ok(())
    }

    /// The catalog after a change. One that is replaced stays as long as it is of use: [`Catalog::pruned`] leaves it out then.
    pub(super) fn changed(&self, position: Position, change: CatalogChange) -> Catalog {
        let mut next = self.clone();
        next.change(position, change);
        next
    }

    /// Goes through a change.
    fn change(&mut self, position: Position, change: CatalogChange) {
        match change {
            CatalogChange::Define(definition) => self.define(position, definition),
            CatalogChange::Drop(DefinitionKind::Index, name) => {
                self.indexes.remove_named(PLAIN, &name);
                self.end_finder(&name);
            }
            CatalogChange::Drop(DefinitionKind::Entity, kind) => self.end_model(&kind),
            CatalogChange::Drop(DefinitionKind::Event, name) => {
                if self.schema(&name).is_some_and(|schema| schema.has_upcast()) {
                    self.reformed = position;
                }
                self.schemas.remove_named(PLAIN, &name);
            }
            CatalogChange::Drop(DefinitionKind::Verb, name) => self.verbs.remove_named(PLAIN, &name),
            CatalogChange::Drop(DefinitionKind::View, name) => self.end_views(PLAIN, &name),
            CatalogChange::Drop(DefinitionKind::Column, name) => self.end_views(COLUMN, &name),
            CatalogChange::Drop(DefinitionKind::Private, name) => self.privates.remove_named(PLAIN, &name),
            CatalogChange::Drop(DefinitionKind::Program(kind), name) => {
                self.programs.remove_named(kind as u8, &name)
            }
        }
    }

    fn define(&mut self, position: Position, definition: Definition) {
        match definition {
            Definition::Index(definition) => {
                self.end_finder(&definition.name);
                self.indexes.add(Arc::new(Index::new(position, definition)));
            }
            Definition::Finder(FinderDefinition { name, kind, text, derive }) => {
                self.indexes.remove_named(PLAIN, &name);
                self.end_finder(&name);
                let finder = Arc::new(Finder { position, name, kind, text, derive });
                self.of_kinds.add(&finder);
                self.finders.add(finder);
            }
            Definition::Entity(EntityDefinition { kind, text, fold }) => {
                self.end_model(&kind);
                let model = Arc::new(CatalogModel::new(position, kind, text, fold));
                self.of_kinds.add(&model.unfolded);
                self.models.add(model);
            }
            Definition::Event(definition) => {
                let before = self.schema(&definition.event_type).cloned();
                let schema = CatalogSchema::new(position, definition, before.as_deref());
                if schema.newest().schema().is_some_and(|schema| schema.has_upcast()) {
                    self.reformed = position;
                }
                self.schemas.remove_named(PLAIN, &schema.event_type);
                self.schemas.add(Arc::new(schema));
            }
            Definition::Verb(VerbDefinition { name, text, rule }) => {
                self.verbs.remove_named(PLAIN, &name);
                self.verbs.add(Arc::new(CatalogVerb { position, name, text, rule }));
            }
            Definition::Column(definition) => {
                let column = DefinedView::new(DefinitionKind::Column, position, definition);
                self.views.add(Arc::new(column));
            }
            Definition::View(definition) => {
                let view = DefinedView::new(DefinitionKind::View, position, definition);
                if let Some(index) = &view.index {
                    self.indexes.add(index.clone());
                }
                if let Some(finder) = &view.finder {
                    self.of_kinds.add(finder);
                }
                self.views.add(Arc::new(view));
            }
            Definition::Private(PrivateDefinition { name, text, fields }) => {
                self.privates.remove_named(PLAIN, &name);
                self.privates.add(Arc::new(CatalogPrivate { position, name, text, fields }));
            }
            Definition::Program(defined) => {
                let before = self.program(defined.kind, &defined.name).cloned();
                let program = Program::new(position, defined, before.as_deref());
                self.programs.remove_named(program.kind as u8, &program.name);
                self.programs.add(Arc::new(program));
            }
        }
    }

    fn end_model(&mut self, kind: &str) {
        if let Some(model) = self.model(kind).cloned() {
            self.of_kinds.remove(&model.unfolded);
            self.models.remove(&model);
        }
    }

    fn end_finder(&mut self, name: &str) {
        if let Some(finder) = self.finder(name).cloned() {
            self.of_kinds.remove(&finder);
            self.finders.remove(&finder);
        }
    }

    fn end_views(&mut self, sort: u8, name: &str) {
        while let Some(view) = self.views.get(sort, name).cloned() {
            self.end_view(&view);
        }
    }

    fn end_view(&mut self, view: &Arc<DefinedView>) {
        if let Some(index) = &view.index {
            self.indexes.remove(index);
        }
        if let Some(finder) = &view.finder {
            self.of_kinds.remove(finder);
        }
        self.views.remove(view);
    }

    /// What newer definitions have made useless: of each name the newest stays, and before it the newest that is complete.
    pub(super) fn useless(&self) -> Useless {
        let views = self.views.of_no_use(|view| self.view_serves(view));
        let mut indexes = self.indexes.of_no_use(|index| self.serves(index));
        // That of a view stays as long as the view.
        indexes.retain(|index| !index.is_of_view());
        Useless { views, indexes }
    }

    /// The catalog without what is useless.
    ///
    /// Only whoever completes indexes may ask: one that is left out holds nothing of what comes after, so it must not be completed any
    /// more, nor be [found complete](Useless::complete) when the file is opened again.
    pub(super) fn pruned(&self, useless: &Useless) -> Catalog {
        let mut pruned = self.clone();
        useless.views.iter().for_each(|view| pruned.end_view(view));
        useless.indexes.iter().for_each(|index| pruned.indexes.remove(index));
        pruned
    }

    /// The indexes of this catalog that another one does not have.
    pub(super) fn without<'a>(&'a self, other: &'a Catalog) -> impl Iterator<Item = &'a Arc<Index>> {
        self.indexes.iter().filter(|index| other.at(index.position).is_none())
    }

    /// The catalog at C.
    pub(super) fn load<'c>(
        read: &TablesRead,
        compiler: impl Fn() -> Result<&'c dyn Compile>,
    ) -> Result<Catalog> {
        let (log, postings) = (read.log()?, read.postings()?);
        let mut catalog = Catalog::default();
        for position in positions(postings)? {
            catalog.change(position, stored(log, position, &compiler)?);
        }
        catalog.caught_up(read)
    }

    /// The catalog with what the tables know of each index: also of one whose definition is not in them yet.
    pub(super) fn caught_up(self, read: &TablesRead) -> Result<Catalog> {
        for index in self.indexes.iter() {
            index.set_backfilled(read.backfilled(index.position)?);
        }
        for view in self.views.iter() {
            view.look(read, &self)?;
        }
        let mut useless = self.useless();
        useless.leave_complete();
        Ok(if useless.is_empty() { self } else { self.pruned(&useless) })
    }

    /// Whether something that is kept in the background is defined at a position.
    pub(super) fn has(&self, position: Position) -> bool {
        self.at(position).is_some() || self.keeps(position)
    }

    /// Whether every index is kept up.
    pub(super) fn keeps_all(&self) -> bool {
        self.each().all(|index| index.is_kept()) && self.views.iter().all(|view| view.view().is_ok())
    }

    /// The definitions whose indexes miss an event of a type that is written: they are of no use from there on.
    pub(super) fn missing<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = Position> + 'a {
        let indexes = self.each().filter(|index| !index.is_kept() && index.on().matches_text(kind));
        // Of which events a view is that is not understood is not known.
        let views = self.views.iter().filter(|view| view.view().is_err() && !kind.starts_with('$'));
        indexes.map(|index| index.position).chain(views.map(|view| view.position))
    }
}

fn stored<'c>(
    log: &LogTable,
    position: Position,
    compiler: impl Fn() -> Result<&'c dyn Compile>,
) -> Result<CatalogChange> {
    let missing = || Error::corrupt("the log", format!("no event at {position}, where something is defined"));
    let bytes = log.get(position)?.ok_or_else(missing)?;
    let event = codec::decode(position, bytes)?;
    CatalogChange::of(&event, compiler)?
        .ok_or_else(|| Error::corrupt(format!("the event at {position}"), "nothing about a definition"))
}

/// Where the events about definitions are, in order.
fn positions(postings: &Postings) -> Result<Vec<Position>> {
    let mut found = Vec::new();
    for kind in DefinitionKind::ALL.into_iter().flat_map(|kind| [kind.defined(), kind.dropped()]) {
        let term = Term::kind(&EventType::new(kind)?)?;
        let mut from = Position::START;
        while let Some(chunk) = postings.chunk_after(term.as_bytes(), from)? {
            from = chunk.positions.last().copied().unwrap_or(Position::MAX).next();
            found.extend(chunk.positions);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The definitions that have lists in the tables, or a row that tells of them.
pub(super) fn built(read: &TablesRead) -> Result<Vec<Position>> {
    let postings = read.postings()?;
    let mut found = read.backfills()?;
    let mut from = term::derived_prefix(Position::START);
    while let Some(term) = postings.term_at(&from)? {
        let Some(definition) = term::definition_of(&term) else { break };
        found.push(definition);
        if definition == Position::MAX {
            break;
        }
        from = term::derived_prefix(definition.next());
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests;
