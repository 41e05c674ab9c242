//! What is asked for and is not in the log, or not yet.

use std::fmt;

use super::{SyntaxFault, shorten};
use crate::position::{Position, Version};

/// What a statement or a call asks for that the log does not have, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// What it is.
    pub item: MissingItem,
    /// What to do about it, in a sentence without a full stop.
    pub message: String,
    /// The place in the text that asks for it, where there is one, and what was probably meant.
    pub fault: Option<Box<SyntaxFault>>,
}

/// What is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingItem {
    /// A position that no event has yet.
    Position {
        /// The one that was asked for.
        asked: Position,
        /// That of the newest event.
        head: Position,
    },
    /// A version that the entity does not have yet.
    Version {
        /// Whose.
        entity: String,
        /// The one that was asked for.
        asked: Version,
        /// That of its newest event; 0 if it has none.
        newest: Version,
    },
    /// An event that no event of this log is, by its id.
    Event {
        /// The id.
        id: String,
    },
    /// A name that nothing has: of an index or a tag, of a view, a verb or anything else that is defined, of a subscription.
    Name {
        /// What has such names: `index`, `view`, `verb`, or another kind of definition; `subscription`; `kind`, of what `DESCRIBE` takes.
        sort: &'static str,
        /// The name.
        name: String,
    },
    /// What an index would answer that is still being built. It is there soon: this is worth another try.
    Index {
        /// Its name.
        name: String,
        /// How much of the log it has, in percent.
        percent: u64,
    },
}

/// What has names that can be missing.
const SORTS: &[&str] = &[
    "index",
    "column",
    "view",
    "verb",
    "entity",
    "event",
    "private",
    "reaction",
    "webhook",
    "schedule",
    "subscription",
    "kind",
    "type",
];

/// The word for what has such names; one that a newer program has is just a name.
pub(super) fn known_sort(word: &str) -> &'static str {
    SORTS.iter().find(|sort| **sort == word).copied().unwrap_or("name")
}

impl MissingItem {
    /// A word for it, as JSON answers carry it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            MissingItem::Position { .. } => "beyondHead",
            MissingItem::Version { .. } => "beyondVersion",
            MissingItem::Event { .. } => "unknownEvent",
            MissingItem::Name { .. } => "unknownName",
            MissingItem::Index { .. } => "building",
        }
    }
}

impl fmt::Display for MissingItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MissingItem::Position { asked, head } => {
                write!(f, "{asked} is beyond the head, which is {head}")
            }
            MissingItem::Version { entity, asked, newest } => {
                write!(f, "{entity} has no {asked}; its newest is {}", newest.0)
            }
            MissingItem::Event { id } => write!(f, "no event of this log has the id '{}'", shorten(id)),
            MissingItem::Name { sort, name } => write!(f, "there is no {sort} {}", shorten(name)),
            MissingItem::Index { name, percent } => {
                write!(f, "the index {} is still being built, {percent} % so far", shorten(name))
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Some(fault) => fault.fmt(f),
            None => f.write_str(&self.message),
        }
    }
}

impl From<MissingItem> for Missing {
    fn from(item: MissingItem) -> Missing {
        Missing { message: item.to_string(), item, fault: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::DefinitionKind;

    #[test]
    fn what_is_defined_has_names() {
        for kind in DefinitionKind::ALL {
            assert_eq!(known_sort(kind.word()), kind.word());
        }
        assert_eq!(known_sort("whatever is new"), "name");
    }
}
