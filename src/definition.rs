//! The kinds of what can be defined, and the names that all floors know them by.

use crate::entity::EventType;

/// A kind of thing that can be defined. A kind more is a variant here, and a row in its `names`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum DefinitionKind {
    Entity,
    /// The schema of a type of events.
    Event,
    Verb,
    Index,
    /// What a field of events is, kept beside the log.
    Column,
    View,
    /// Which fields of events are about a person, and whose they are.
    Private,
    Program(ProgramKind),
}

/// What a program is: what runs by itself as the log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ProgramKind {
    /// It answers events with others.
    Reaction,
    /// It tells them elsewhere.
    Webhook,
    /// It makes events as time goes by.
    Schedule,
}

/// What a kind is called.
struct Names {
    word: &'static str,
    target: &'static str,
    defined: &'static str,
    dropped: &'static str,
}

macro_rules! names {
    ($word:literal) => {
        &Names {
            word: $word,
            target: concat!("$", $word),
            defined: concat!("$", $word, ".defined"),
            dropped: concat!("$", $word, ".dropped"),
        }
    };
}

impl DefinitionKind {
    /// All of them, as messages name them.
    pub const ALL: [DefinitionKind; 10] = [
        DefinitionKind::Entity,
        DefinitionKind::Verb,
        DefinitionKind::Index,
        DefinitionKind::Column,
        DefinitionKind::View,
        DefinitionKind::Private,
        DefinitionKind::Program(ProgramKind::Reaction),
        DefinitionKind::Program(ProgramKind::Webhook),
        DefinitionKind::Program(ProgramKind::Schedule),
        DefinitionKind::Event,
    ];

    const fn names(self) -> &'static Names {
        match self {
            DefinitionKind::Entity => names!("entity"),
            DefinitionKind::Event => names!("event"),
            DefinitionKind::Verb => names!("verb"),
            DefinitionKind::Index => names!("index"),
            DefinitionKind::Column => names!("column"),
            DefinitionKind::View => names!("view"),
            DefinitionKind::Private => names!("private"),
            DefinitionKind::Program(ProgramKind::Reaction) => names!("reaction"),
            DefinitionKind::Program(ProgramKind::Webhook) => names!("webhook"),
            DefinitionKind::Program(ProgramKind::Schedule) => names!("schedule"),
        }
    }

    /// As a person says it.
    pub const fn word(self) -> &'static str {
        self.names().word
    }

    /// The kind of what events about such definitions are about.
    pub const fn target(self) -> &'static str {
        self.names().target
    }

    /// The type of a definition.
    pub const fn defined(self) -> &'static str {
        self.names().defined
    }

    /// The type of the end of a definition.
    pub const fn dropped(self) -> &'static str {
        self.names().dropped
    }

    /// Whether its names are to be told from those of the other kinds: what is named in a statement could be either.
    pub fn has_names_of_its_own(self) -> bool {
        !matches!(
            self,
            DefinitionKind::Index | DefinitionKind::Column | DefinitionKind::Event | DefinitionKind::Private
        )
    }

    /// What runs by itself, if it is such a kind.
    pub fn program(self) -> Option<ProgramKind> {
        match self {
            DefinitionKind::Program(program) => Some(program),
            _ => None,
        }
    }

    /// Of which kind of definition an event is about one, if it is.
    pub fn of(kind: &EventType) -> Option<DefinitionKind> {
        let is_about =
            |target: &str| kind.as_str().strip_prefix(target).is_some_and(|rest| rest.starts_with('.'));
        DefinitionKind::ALL.into_iter().find(|definition| is_about(definition.target()))
    }
}

impl ProgramKind {
    pub const ALL: [ProgramKind; 3] = [ProgramKind::Reaction, ProgramKind::Webhook, ProgramKind::Schedule];

    /// As a person says it.
    pub const fn word(self) -> &'static str {
        DefinitionKind::Program(self).word()
    }

    /// The kind of what events about such a program are about.
    pub const fn target(self) -> &'static str {
        DefinitionKind::Program(self).target()
    }

    /// The kind of the actor on whose behalf it acts.
    pub const fn actor(self) -> &'static str {
        match self {
            ProgramKind::Reaction => "Reaction",
            ProgramKind::Webhook => "Webhook",
            ProgramKind::Schedule => "Schedule",
        }
    }

    /// Whether time sets it off, and no event: its place is an instant, and not one in the log.
    pub fn goes_by_time(self) -> bool {
        self == ProgramKind::Schedule
    }
}
