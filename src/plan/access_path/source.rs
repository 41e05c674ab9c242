//! Sources: where positions come from, and how many there are.

use std::collections::BTreeMap;

use super::conditions::Kinds;
use super::{CHUNK, ENTRY, Gathered, IN_CHUNK};
use crate::entity::{EventType, NameText, Position, PositionRange};
use crate::error::Result;
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::plan::by::{By, KeyLiteral, Tagged, Test};
use crate::store::catalog::Index;
use crate::store::index::term::{self, IndexKey, Term, TermRange};
use crate::store::snapshot::{Estimate, ScanDirection, Snapshot};

/// A union of more lists than this takes more memory than it saves.
const MOST_LISTS: usize = 1000;

/// A range of more terms than this is swept into a set instead of merged.
const FEW_TERMS: usize = 64;

/// Of more texts than this it is not looked at each whether something is a piece of it.
const TEXTS: usize = 256;

/// So many lists of a union are looked at to know how many entries all of them have.
const LOOKED_AT: usize = 16;

/// So many events are looked at to know how many pass a condition, where no list tells.
const EVENTS: u64 = 64;

/// What an entry of a swept range costs: many terms have few entries each, and each has a chunk of its own.
const SWEPT: f64 = 150.0;

/// Where positions come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PositionSource {
    /// Every event of the log.
    Log,
    List(Lookup),
    /// These, ascending.
    Positions(Vec<Position>),
    /// Merged as they are read.
    Union {
        lists: Vec<Lookup>,
        name: String,
        estimate: Estimate,
    },
    /// All terms of some ranges, swept into a set before the first is read.
    Ranges {
        ranges: Vec<TermRange>,
        /// The window.
        within: PositionRange,
        gathered: Gathered,
        name: String,
        estimate: Estimate,
    },
    Intersection(Vec<PositionSource>),
    /// What is in one of them at least, merged as it is read.
    Any(Vec<PositionSource>),
}

/// A list, what it is to be called, and how many entries it has within the window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    pub term: Term,
    pub name: String,
    pub estimate: Estimate,
}

impl PositionSource {
    /// How many positions it has; an intersection has fewer than any of its members.
    pub fn estimate(&self) -> Estimate {
        match self {
            PositionSource::Log => Estimate::about(u64::MAX),
            PositionSource::List(list) => list.estimate,
            PositionSource::Positions(positions) => Estimate::exactly(positions.len() as u64),
            PositionSource::Union { estimate, .. } | PositionSource::Ranges { estimate, .. } => *estimate,
            PositionSource::Intersection(sources) => {
                let least =
                    sources.iter().map(PositionSource::estimate).min_by_key(|estimate| estimate.entries);
                least.map_or(Estimate::NONE, |least| Estimate::about(least.entries))
            }
            PositionSource::Any(sources) => {
                // What is in several of them is counted several times.
                Estimate::about(sources.iter().map(PositionSource::estimate).sum::<Estimate>().entries)
            }
        }
    }

    /// What it costs to read so many of its entries, or that part of all of them.
    pub(super) fn cost(&self, entries: f64, part: f64) -> f64 {
        let list = |entries: f64| (entries / IN_CHUNK).ceil() * CHUNK + entries * ENTRY;
        match self {
            PositionSource::Log => f64::INFINITY,
            PositionSource::Positions(_) => 0.0,
            PositionSource::List(_) => list(entries * part),
            PositionSource::Union { lists, .. } => {
                let several = lists.len() as f64;
                several * CHUNK + list(entries * part) * (1.0 + several.log2().max(0.0))
            }
            PositionSource::Ranges { estimate, .. } => CHUNK + estimate.entries as f64 * SWEPT,
            PositionSource::Intersection(sources) => {
                sources.iter().map(|source| source.cost(entries, part)).sum()
            }
            PositionSource::Any(sources) => {
                let all = self.estimate().entries.max(1) as f64;
                let of = |source: &PositionSource| {
                    let share = source.estimate().entries as f64 / all;
                    source.cost(entries * share, part) + entries * share * part * ENTRY
                };
                sources.iter().map(of).sum()
            }
        }
    }
}

/// Makes sources of conditions, by looking at how long the lists are.
pub(super) struct ListReader<'s> {
    pub snapshot: &'s Snapshot,
    /// The window.
    pub first: u64,
    pub last: u64,
    /// From where few are read, and how many, of one source at most.
    pub few: Option<(ScanDirection, u64)>,
}

impl ListReader<'_> {
    /// The source of what a condition holds for, and whether it holds for all of it.
    pub fn source(&self, by: &By) -> Result<(PositionSource, bool)> {
        if let Some(term) = by.term()? {
            return Ok((PositionSource::List(self.lookup(term, by.to_string())?), true));
        }
        match by {
            // An id that the database made is found by its time, not by a list.
            By::Id(id) => {
                let found = self.snapshot.position_of(id)?;
                Ok((PositionSource::Positions(found.into_iter().collect()), true))
            }
            By::Tag(tagged) => self.tagged(by, tagged),
            By::Any(some) => Ok((self.any(by, some)?, true)),
            // The others have a term.
            _ => Ok((PositionSource::Log, false)),
        }
    }

    /// Whether the lists of a condition hold all that is in the log. Those of an index that was dropped or replaced do not: nobody
    /// keeps them up any more, and whoever goes on asking for it, as a subscription does, looks at the events. Nor do those of one
    /// that is still being built.
    pub fn has_lists(&self, by: &By) -> bool {
        match by {
            By::Tag(Tagged { index: Some(index), .. }) => self
                .snapshot
                .indexes()
                .at(index.0.position)
                .is_some_and(|index| self.snapshot.indexes().serves(index)),
            _ => true,
        }
    }

    fn estimate(&self, term: &Term) -> Result<Estimate> {
        match self.few {
            Some(few) => self.snapshot.estimate_from(term, self.window(), few),
            None => self.snapshot.estimate(term, self.window()),
        }
    }

    fn lookup(&self, term: Term, name: String) -> Result<Lookup> {
        let estimate = self.estimate(&term)?;
        Ok(Lookup { term, name, estimate })
    }

    /// The merged lists of several terms; of many, only some are looked at to know how long all of them are.
    fn union(&self, terms: Vec<(Term, String)>, name: String) -> Result<PositionSource> {
        let step = terms.len().div_ceil(LOOKED_AT).max(1);
        let mut lists = Vec::with_capacity(terms.len());
        let mut estimate = Estimate::NONE;
        for (at, (term, name)) in terms.into_iter().enumerate() {
            if at % step == 0 {
                estimate = self.estimate(&term)?;
            }
            let estimate = Estimate { exact: estimate.exact && step == 1, ..estimate };
            lists.push(Lookup { term, name, estimate });
        }
        if lists.len() == 1 {
            return Ok(PositionSource::List(lists.swap_remove(0)));
        }
        let estimate = lists.iter().map(|list| list.estimate).sum::<Estimate>();
        Ok(PositionSource::Union { lists, name, estimate: estimate.at_most(self.span()) })
    }

    fn window(&self) -> PositionRange {
        PositionRange::new(Position(self.first), Position(self.last))
    }

    fn span(&self) -> u64 {
        (self.last.min(self.snapshot.head().0) + 1).saturating_sub(self.first)
    }

    fn tagged(&self, by: &By, tagged: &Tagged) -> Result<(PositionSource, bool)> {
        if let Test::Contains(piece) = &tagged.test {
            return Ok((self.containing(by, tagged, piece)?, false));
        }
        let instants = tagged.test.instants();
        let keys: Vec<&IndexKey> = tagged.test.keys().into_iter().chain(&instants).collect();
        let derived = tagged.index.as_ref().map(|index| &index.0);
        let is_cut =
            |key: &&IndexKey| derived.and_then(|index| index.term(key)).is_some_and(|term| term.is_cut());
        // Texts that say an instant are found by their years, and looked at.
        let exact = !keys.iter().any(is_cut) && !tagged.test.is_of_instants();
        if let (Test::Is(_) | Test::In(_), false) = (&tagged.test, tagged.test.is_of_instants()) {
            let mut terms = BTreeMap::new();
            for key in keys {
                let name = || match tagged.test {
                    Test::Is(_) => by.to_string(),
                    _ => format!("{} = {}", NameText(&tagged.name), KeyLiteral(key)),
                };
                if let (true, IndexKey::Value(value)) = (tagged.own, key) {
                    match Term::tag(&tagged.name, value) {
                        Ok(term) => drop(terms.insert(term, name())),
                        // No event carries such a value; an index may derive it.
                        Err(_) if derived.is_some() => {}
                        Err(error) => return Err(error),
                    }
                }
                if let Some(term) = derived.and_then(|index| index.term(key)) {
                    terms.insert(term, name());
                }
            }
            return Ok((self.union(terms.into_iter().collect(), by.to_string())?, exact));
        }
        let ranges = prefixes(tagged).flat_map(|prefix| tagged.test.ranges(&prefix)).collect();
        Ok((self.ranges(by, ranges)?, exact))
    }

    /// The lists of the texts that this is a piece of, or may be; the log, where there are many texts.
    fn containing(&self, by: &By, tagged: &Tagged, piece: &str) -> Result<PositionSource> {
        let mut found = Vec::new();
        for prefix in prefixes(tagged) {
            let Some(terms) = self.snapshot.terms_in(&TermRange::texts(&prefix), TEXTS)? else {
                return Ok(PositionSource::Log);
            };
            // Of what is cut nobody knows how it goes on.
            let may = |term: &Term| term.text_behind(&prefix).is_none_or(|text| text.contains(piece));
            found.extend(terms.into_iter().filter(may));
        }
        self.union(found.into_iter().map(|term| (term, by.to_string())).collect(), by.to_string())
    }

    /// Whether an index holds every event of the types in question that it has a value for.
    pub fn covers(&self, index: &Index, pattern: Option<&Pattern>, kinds: &[Kinds]) -> Result<bool> {
        // A history may hold the database's own events.
        let Some(pattern) = pattern else { return Ok(false) };
        if index.on() == pattern {
            return Ok(true);
        }
        let own = pattern.alternatives().iter().any(|glob| glob.prefix().starts_with('$'));
        if index.on().is_all() && !own {
            return Ok(true);
        }
        let types = match self.types_meant(Some(pattern), kinds)? {
            Some(types) => types,
            None => {
                let types = self.snapshot.types("")?.into_iter();
                types.filter(|(kind, _)| pattern.matches_text(kind)).collect()
            }
        };
        Ok(types.keys().all(|kind| index.on().matches_text(kind)))
    }

    fn ranges(&self, by: &By, mut ranges: Vec<TermRange>) -> Result<PositionSource> {
        ranges.retain(|range| !range.is_empty());
        let mut terms = Vec::new();
        for range in &ranges {
            let few = if super::every() { 1 } else { FEW_TERMS };
            match self.snapshot.terms_in(range, few - terms.len().min(few))? {
                Some(more) => terms.extend(more),
                None => {
                    let estimate = self.swept(by, &ranges)?;
                    return Ok(PositionSource::Ranges {
                        ranges,
                        within: self.window(),
                        gathered: Gathered::default(),
                        name: by.to_string(),
                        estimate,
                    });
                }
            }
        }
        self.union(terms.into_iter().map(|term| (term, by.to_string())).collect(), by.to_string())
    }

    /// How many events of the window pass, by looking at a few chunks, and then at a few events.
    fn swept(&self, by: &By, ranges: &[TermRange]) -> Result<Estimate> {
        let (mut entries, mut whole) = (0, true);
        for range in ranges {
            let page = self.snapshot.sweep_page(range, self.window())?;
            entries += page.0;
            whole &= page.1;
        }
        if whole {
            // An event with several values of the name is in several lists.
            return Ok(Estimate::about(entries).at_most(self.span()));
        }
        let (span, mut hits) = (self.span(), 0);
        for sample in 0..EVENTS {
            let position = Position(self.first + span / (2 * EVENTS) * (2 * sample + 1));
            let found = self.snapshot.read(|view| view.event(position))?;
            if let Some(bytes) = found
                && by.holds(&Record::open(position, &bytes)?, &self.snapshot.query_limits())?
            {
                hits += 1;
            }
        }
        Ok(Estimate::about((span * hits / EVENTS).max(entries)))
    }

    /// One of several conditions.
    fn any(&self, by: &By, some: &[By]) -> Result<PositionSource> {
        let mut terms = Vec::new();
        let mut positions = Vec::new();
        for one in some {
            match self.source(one)?.0 {
                PositionSource::List(list) => terms.push((list.term, list.name)),
                PositionSource::Positions(found) => positions.extend(found),
                // What `IN` says of built-in names is lists and positions, of one sort all of them.
                _ => {}
            }
        }
        positions.sort_unstable();
        positions.dedup();
        terms.sort();
        terms.dedup_by(|a, b| a.0 == b.0);
        if terms.is_empty() {
            Ok(PositionSource::Positions(positions))
        } else {
            self.union(terms, by.to_string())
        }
    }

    /// The lists of the types that a pattern and conditions mean; none where neither says anything, or they are too many.
    pub fn types(&self, pattern: Option<&Pattern>, kinds: &[Kinds]) -> Result<Option<PositionSource>> {
        let Some(types) = self.types_meant(pattern, kinds)? else { return Ok(None) };
        if types.len() > MOST_LISTS {
            return Ok(None);
        }
        let name = match (types.len(), pattern) {
            (0, Some(pattern)) => format!("a type like '{pattern}'"),
            (0, None) => "such a type".to_owned(),
            (types, _) => format!("{types} types"),
        };
        let named = types.into_iter().map(|(kind, term)| (term, format!("type {kind}")));
        self.union(named.collect(), name).map(Some)
    }

    fn types_meant(
        &self,
        pattern: Option<&Pattern>,
        kinds: &[Kinds],
    ) -> Result<Option<BTreeMap<String, Term>>> {
        let meant = |kind: &str| {
            pattern.is_none_or(|pattern| pattern.matches_text(kind)) && kinds.iter().all(|k| k.mean(kind))
        };
        let these = kinds.iter().find_map(|kinds| match kinds {
            Kinds::These(kinds) => Some(kinds),
            Kinds::Like(_) => None,
        });
        let mut found = BTreeMap::new();
        if let Some(these) = these {
            for kind in these.iter().filter(|kind| meant(kind.as_str())) {
                found.insert(kind.as_str().to_owned(), Term::kind(kind)?);
            }
            return Ok(Some(found));
        }
        let like = kinds.iter().find_map(|kinds| match kinds {
            Kinds::Like(pattern) => Some(pattern),
            Kinds::These(_) => None,
        });
        let narrow = pattern.into_iter().chain(like).find(|pattern| !pattern.is_all());
        let Some(narrow) = narrow else { return Ok(None) };
        for glob in narrow.alternatives() {
            match glob.literal() {
                Some(kind) => {
                    let kind = EventType::new(kind)?;
                    if meant(kind.as_str()) {
                        found.insert(kind.as_str().to_owned(), Term::kind(&kind)?);
                    }
                }
                None => {
                    let types = self.snapshot.types(glob.prefix())?;
                    found.extend(types.into_iter().filter(|(kind, _)| glob.matches(kind) && meant(kind)));
                }
            }
        }
        Ok(Some(found))
    }
}

/// What the terms begin with that hold what a condition asks for.
fn prefixes(tagged: &Tagged) -> impl Iterator<Item = Vec<u8>> {
    let own = tagged.own.then(|| term::tag_prefix(&tagged.name));
    let derived = tagged.index.as_ref().map(|index| term::derived_prefix(index.0.position));
    own.into_iter().chain(derived)
}
