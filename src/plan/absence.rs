//! `EXPECT NONE`: events of which there must be none at the moment of commit.
//!
//! Names mean what they meant when the condition was bound: an index that is defined, replaced or dropped before the commit changes
//! nothing of what is asked, only how it is answered.

use std::fmt;

use super::by::{By, ConditionText, Derived, KeyLiteral, Tagged, Test};
use super::logical::AccessQuery;
use super::window::{LogWindow, RowLimit};
use crate::allowance::Limits;
use crate::entity::{EventType, Position};
use crate::error::Result;
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::store::catalog::Catalog;
use crate::store::index::term::{IndexKey, Term};
use crate::time::Timestamp;

/// The events that must not be. All of it must hold for an event to be one of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AbsenceCheck {
    pattern: Pattern,
    by: Vec<By>,
    /// Only those behind this position.
    after: Position,
    /// Only those that occurred then, or later.
    since: Option<Timestamp>,
    /// Lists of which one at least holds each of them. None where lists do not tell.
    lists: Option<Vec<Term>>,
}

impl AbsenceCheck {
    pub fn new(
        pattern: Pattern,
        by: Vec<By>,
        after: Position,
        since: Option<Timestamp>,
    ) -> Result<AbsenceCheck> {
        let lists = lists(&pattern, &by)?;
        Ok(AbsenceCheck { pattern, by, after, since, lists })
    }

    /// The first of them behind a position, if there is one.
    pub fn question(&self, after: Position, through: Position) -> AccessQuery {
        let after = self.after.max(after);
        AccessQuery {
            pattern: Some(self.pattern.clone()),
            by: self.by.clone(),
            predicate: None,
            window: LogWindow { after, since: self.since, ..LogWindow::through(through) },
            take: RowLimit::First(1),
            indexed: false,
        }
    }

    /// Whether an event is one of them.
    pub fn holds(&self, event: &Record, limits: &Limits) -> Result<bool> {
        if !(event.position() > self.after
            && self.pattern.matches_bytes(event.kind_bytes())
            && self.since.is_none_or(|since| event.timestamp() >= since))
        {
            return Ok(false);
        }
        for by in &self.by {
            if !by.holds(event, limits)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Only those behind this position.
    pub fn after(&self) -> Position {
        self.after
    }

    /// Lists that have what is appended from now on, if this catalog still keeps them up.
    pub fn lists(&self, catalog: &Catalog) -> Option<&[Term]> {
        let lists = self.lists.as_deref()?;
        let kept = |term: &Term| term.definition().is_none_or(|definition| catalog.at(definition).is_some());
        lists.iter().all(kept).then_some(lists)
    }

    /// Lists that have all of them: those of an index that is still being built have not.
    pub fn whole_lists(&self, catalog: &Catalog) -> Option<&[Term]> {
        let lists = self.lists.as_deref()?;
        let whole = |term: &Term| match term.definition() {
            Some(definition) => catalog.at(definition).is_some_and(|index| catalog.serves(index)),
            None => true,
        };
        lists.iter().all(whole).then_some(lists)
    }
}

impl Tagged {
    /// Of the values of events themselves, and of an index.
    pub fn by(name: &str, test: Test, index: Option<Derived>) -> Tagged {
        Tagged { name: name.to_owned(), test, index, own: true }
    }

    /// The lists of which one at least holds each event that passes; none where those are not few.
    fn lists(&self) -> Result<Option<Vec<Term>>> {
        if !matches!(self.test, Test::Is(_) | Test::In(_)) || self.test.is_of_instants() {
            return Ok(None);
        }
        let (mut terms, instants) = (Vec::new(), self.test.instants());
        for key in self.test.keys().into_iter().chain(&instants) {
            if let (true, IndexKey::Value(value)) = (self.own, key) {
                match Term::tag(&self.name, value) {
                    Ok(term) => terms.push(term),
                    // No event carries such a value; an index may derive it.
                    Err(_) if self.index.is_some() => {}
                    Err(error) => return Err(error),
                }
            }
            terms.extend(self.index.as_ref().and_then(|index| index.0.term(key)));
        }
        Ok(Some(terms))
    }
}

impl By {
    fn lists(&self) -> Result<Option<Vec<Term>>> {
        match self {
            By::Tag(tagged) => tagged.lists(),
            By::Any(some) => {
                let mut all = Vec::new();
                for by in some {
                    match by.lists()? {
                        Some(lists) => all.extend(lists),
                        None => return Ok(None),
                    }
                }
                Ok(Some(all))
            }
            by => Ok(by.term()?.map(|term| vec![term])),
        }
    }

    /// How few events it is likely to have: a value of an index fewer than an actor, an actor fewer than a type.
    fn rank(&self) -> u8 {
        match self {
            By::Key(_) | By::Id(_) | By::Cause(_) => 0,
            By::Tag(_) => 1,
            By::Target(_) | By::Correlation(_) => 2,
            By::Actor(_) | By::Any(_) => 3,
            By::Type(_) => 4,
        }
    }
}

/// The lists of what is likely to be the rarest of it.
fn lists(pattern: &Pattern, by: &[By]) -> Result<Option<Vec<Term>>> {
    let mut ranked: Vec<&By> = by.iter().collect();
    ranked.sort_by_key(|by| by.rank());
    for by in ranked {
        if let Some(lists) = by.lists()? {
            return Ok(Some(lists));
        }
    }
    let literal = pattern.alternatives().iter().map(|glob| glob.literal());
    let Some(kinds) = literal.collect::<Option<Vec<_>>>() else { return Ok(None) };
    kinds.into_iter().map(|kind| Term::kind(&EventType::new(kind)?)).collect::<Result<_>>().map(Some)
}

impl fmt::Display for AbsenceCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", KeyLiteral(&IndexKey::Value(self.pattern.to_string().into())))?;
        for (at, by) in self.by.iter().enumerate() {
            write!(f, "{} {}", if at == 0 { " BY" } else { "," }, ConditionText(by))?;
        }
        match self.since {
            Some(since) => write!(f, " SINCE '{since}'"),
            None if self.after > Position::START => write!(f, " SINCE {}", self.after),
            None => Ok(()),
        }
    }
}
