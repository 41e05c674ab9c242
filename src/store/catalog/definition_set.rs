//! Shelves: what is defined of a sort, found by its name and by its position.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::Finder;
use super::tree::PersistentTree;
use crate::entity::Position;

/// What stands on a shelf. Of one name there may be several, at other positions; they are ordered by sort first.
pub(super) trait DefinitionEntry {
    fn name(&self) -> &str;
    fn position(&self) -> Position;

    /// Names of different sorts are different.
    fn sort(&self) -> u8 {
        0
    }
}

/// Definitions, in their order. Clones share what they hold.
pub(super) struct DefinitionSet<T> {
    by_position: PersistentTree<Arc<T>>,
    by_name: PersistentTree<Arc<T>>,
    /// Those that have a newer one of their name, by name.
    replaced: PersistentTree<Arc<T>>,
    /// How many were taken away so far.
    ended: u64,
}

impl<T> Clone for DefinitionSet<T> {
    fn clone(&self) -> DefinitionSet<T> {
        let DefinitionSet { by_position, by_name, replaced, ended } = self;
        DefinitionSet {
            by_position: by_position.clone(),
            by_name: by_name.clone(),
            replaced: replaced.clone(),
            ended: *ended,
        }
    }
}

impl<T> Default for DefinitionSet<T> {
    fn default() -> DefinitionSet<T> {
        DefinitionSet {
            by_position: PersistentTree::default(),
            by_name: PersistentTree::default(),
            replaced: PersistentTree::default(),
            ended: 0,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for DefinitionSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_position.fmt(f)
    }
}

fn by_position<T: DefinitionEntry>(a: &Arc<T>, b: &Arc<T>) -> Ordering {
    a.position().cmp(&b.position())
}

fn by_name<T: DefinitionEntry>(a: &Arc<T>, b: &Arc<T>) -> Ordering {
    place(&**a, b.sort(), b.name(), b.position())
}

fn place<T: DefinitionEntry>(item: &T, sort: u8, name: &str, position: Position) -> Ordering {
    item.sort().cmp(&sort).then_with(|| item.name().cmp(name)).then(item.position().cmp(&position))
}

impl<T: DefinitionEntry> DefinitionSet<T> {
    pub fn is_empty(&self) -> bool {
        self.by_position.is_empty()
    }

    pub fn len(&self) -> usize {
        self.by_position.len()
    }

    /// How many were taken away so far.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// All of them, in the order of their definitions.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<T>> {
        self.by_position.iter()
    }

    /// Those behind a position, in the order of their definitions.
    pub fn behind(&self, position: Position) -> impl Iterator<Item = &Arc<T>> {
        let behind =
            |position: Position| self.by_position.first_from(|item| item.position().cmp(&position.next()));
        std::iter::successors(behind(position), move |item| behind(item.position()))
    }

    /// The definition at a position.
    pub fn at(&self, position: Position) -> Option<&Arc<T>> {
        let found = self.by_position.last_through(|item| item.position().cmp(&position));
        found.filter(|item| item.position() == position)
    }

    /// The newest of a name, up to a position.
    fn through(&self, sort: u8, name: &str, end: Position) -> Option<&Arc<T>> {
        let found = self.by_name.last_through(|item| place(&**item, sort, name, end));
        found.filter(|item| item.sort() == sort && item.name() == name)
    }

    /// The newest of a name.
    pub fn get(&self, sort: u8, name: &str) -> Option<&Arc<T>> {
        self.through(sort, name, Position::MAX)
    }

    /// Those of a name, the newest first.
    pub fn named(&self, sort: u8, name: &str) -> impl Iterator<Item = &Arc<T>> {
        std::iter::successors(self.get(sort, name), move |item| {
            self.through(sort, item.name(), item.position().previous())
        })
    }

    /// Adds one, the newest of all; those of its name stay.
    pub fn add(&mut self, item: Arc<T>) {
        if let Some(before) = self.get(item.sort(), item.name()).cloned() {
            self.replaced.insert(before, by_name);
        }
        self.by_position.insert(item.clone(), by_position);
        self.by_name.insert(item, by_name);
    }

    /// Takes one away.
    pub fn remove(&mut self, item: &Arc<T>) {
        if self.at(item.position()).is_none() {
            return;
        }
        self.by_position.remove(item, by_position);
        self.by_name.remove(item, by_name);
        self.replaced.remove(item, by_name);
        if let Some(newest) = self.get(item.sort(), item.name()).cloned() {
            self.replaced.remove(&newest, by_name);
        }
        self.ended += 1;
    }

    /// Takes all of a name away.
    pub fn remove_named(&mut self, sort: u8, name: &str) {
        while let Some(item) = self.get(sort, name).cloned() {
            self.remove(&item);
        }
    }

    /// Those that a newer one of their name has made useless: all but the newest that is complete, and those behind it. Whether one
    /// is complete is asked once: it may become so in between.
    pub fn of_no_use(&self, is_complete: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut useless = Vec::new();
        let mut last: Option<&Arc<T>> = None;
        for item in self.replaced.iter() {
            let is_new = |last: &Arc<T>| (last.sort(), last.name()) != (item.sort(), item.name());
            if last.is_none_or(is_new) {
                let mut served = false;
                for (at, of_name) in self.named(item.sort(), item.name()).enumerate() {
                    let serves = !served && is_complete(of_name);
                    served |= serves;
                    if at > 0 && !serves {
                        useless.push(of_name.clone());
                    }
                }
            }
            last = Some(item);
        }
        useless
    }
}

/// The indexes of states, by the kind that they are of, then by position.
#[derive(Clone, Default)]
pub(super) struct OfKinds(PersistentTree<Arc<Finder>>);

impl OfKinds {
    fn order(a: &Arc<Finder>, b: &Arc<Finder>) -> Ordering {
        a.kind.cmp(&b.kind).then(a.position.cmp(&b.position))
    }

    pub fn add(&mut self, finder: &Arc<Finder>) {
        self.0.insert(finder.clone(), OfKinds::order);
    }

    pub fn remove(&mut self, finder: &Arc<Finder>) {
        self.0.remove(finder, OfKinds::order);
    }

    /// Those of a kind, in the order of their definitions.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Arc<Finder>> {
        let behind = move |position: Position| {
            let order =
                |finder: &Arc<Finder>| finder.kind.as_str().cmp(kind).then(finder.position.cmp(&position));
            self.0.first_from(order).filter(|finder| finder.kind == kind)
        };
        std::iter::successors(behind(Position::START), move |finder| behind(finder.position.next()))
    }
}

impl fmt::Debug for OfKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
