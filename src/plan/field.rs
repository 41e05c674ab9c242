//! The fields of an event that expressions name.

use std::fmt;

use crate::entity::NameText;

/// What an event's names lead to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    Position,
    Version,
    Id,
    Type,
    Timestamp,
    Recorded,
    Target(EntityPart),
    Actor(EntityPart),
    Producer(Maker),
    Cause(Caused),
    Correlation,
    Namespace,
    Key,
    /// All of them, as an object; or one, and the way on from it.
    Tags(Vec<FieldStep>),
    Data(Vec<FieldStep>),
    Metadata(Vec<FieldStep>),
    /// What events made of the entity before this one, and the way on from it.
    State(Vec<FieldStep>),
    /// What the actor is, where a verb asks for that, and the way on from it.
    ActorState(Vec<FieldStep>),
    /// How many events made a state.
    Events,
    /// An item of a list that is unnested, and the way on from it.
    Unnested(UnnestedName, Vec<FieldStep>),
    /// Where that stands in its list, counted from 0.
    Place(UnnestedName),
}

/// What `UNNEST` names, and which one it is of those of the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnnestedName {
    pub alias: String,
    pub step: usize,
}

/// A part of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntityPart {
    Whole,
    Type,
    Id,
}

/// A part of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    Model(EntityPart),
    Version,
    Vector,
}

/// A part of a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caused {
    Whole,
    Position,
    Type,
    Id,
}

/// A step into data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum FieldStep {
    Member(String),
    Element(usize),
}

/// The names that a path may begin with, where it is about an entity.
pub(crate) const FOUND_NAMES: [&str; 4] = [STATE, "target", "version", "events"];

/// The names that a path may begin with in a verb.
pub(crate) const VERB_NAMES: [&str; 6] = [STATE, "data", "metadata", "actor", "target", "version"];

/// What a verb knows of the actor.
pub(crate) const ACTOR_PARTS: [&str; 3] = ["type", "id", STATE];

/// The names that a path may begin with, wherever there is an event.
pub(crate) const NAMES: [&str; 16] = [
    "type",
    "timestamp",
    "recorded",
    "position",
    "version",
    "id",
    "target",
    "actor",
    "data",
    "metadata",
    "tags",
    "key",
    "cause",
    "correlation",
    "producer",
    "namespace",
];

/// The name of the state, where there is one.
pub(crate) const STATE: &str = "state";

/// How a verb says what the actor is.
pub(crate) const ACTOR_STATE: &str = "actor.state";

/// What a field is known to be before there is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Time,
    /// The text of a day, like `2024-01-01`.
    Date,
    Entity,
    /// Text that looks like a number as often as not.
    Id,
    /// The type of an event.
    Type,
    Other,
}

impl Field {
    /// The field of this name, and whether it takes further steps as it likes (`data`), before any steps.
    pub fn named(name: &str) -> Option<Field> {
        Some(match name {
            "position" => Field::Position,
            "version" => Field::Version,
            "id" => Field::Id,
            "type" => Field::Type,
            "timestamp" => Field::Timestamp,
            "recorded" => Field::Recorded,
            "target" => Field::Target(EntityPart::Whole),
            "actor" => Field::Actor(EntityPart::Whole),
            "producer" => Field::Producer(Maker::Model(EntityPart::Whole)),
            "cause" => Field::Cause(Caused::Whole),
            "correlation" => Field::Correlation,
            "namespace" => Field::Namespace,
            "key" => Field::Key,
            "tags" => Field::Tags(Vec::new()),
            "data" => Field::Data(Vec::new()),
            "metadata" => Field::Metadata(Vec::new()),
            STATE => Field::State(Vec::new()),
            _ => return None,
        })
    }

    /// The field that a step leads to; else the names that would have.
    pub fn step(self, step: FieldStep) -> Result<Field, &'static [&'static str]> {
        let part = |step: &FieldStep| match step {
            FieldStep::Member(name) if name == "type" => Some(EntityPart::Type),
            FieldStep::Member(name) if name == "id" => Some(EntityPart::Id),
            _ => None,
        };
        const PARTS: &[&str] = &["type", "id"];
        match self {
            Field::Target(EntityPart::Whole) => part(&step).map(Field::Target).ok_or(PARTS),
            Field::Actor(EntityPart::Whole) => part(&step).map(Field::Actor).ok_or(PARTS),
            Field::Producer(Maker::Model(EntityPart::Whole)) => {
                let maker = match &step {
                    FieldStep::Member(name) if name == "version" => Some(Maker::Version),
                    FieldStep::Member(name) if name == "vector" => Some(Maker::Vector),
                    other => part(other).map(Maker::Model),
                };
                maker.map(Field::Producer).ok_or(&["type", "id", "version", "vector"])
            }
            Field::Cause(Caused::Whole) => match &step {
                FieldStep::Member(name) if name == "position" => Ok(Field::Cause(Caused::Position)),
                FieldStep::Member(name) if name == "type" => Ok(Field::Cause(Caused::Type)),
                FieldStep::Member(name) if name == "id" => Ok(Field::Cause(Caused::Id)),
                _ => Err(&["position", "type", "id"]),
            },
            Field::Tags(mut steps) => {
                steps.push(step);
                Ok(Field::Tags(steps))
            }
            Field::Data(mut steps) => {
                steps.push(step);
                Ok(Field::Data(steps))
            }
            Field::Metadata(mut steps) => {
                steps.push(step);
                Ok(Field::Metadata(steps))
            }
            Field::State(mut steps) => {
                steps.push(step);
                Ok(Field::State(steps))
            }
            Field::ActorState(mut steps) => {
                steps.push(step);
                Ok(Field::ActorState(steps))
            }
            Field::Unnested(name, mut steps) => {
                steps.push(step);
                Ok(Field::Unnested(name, steps))
            }
            _ => Err(&[]),
        }
    }

    pub fn sort(&self) -> Sort {
        match self {
            Field::Timestamp | Field::Recorded => Sort::Time,
            Field::Target(EntityPart::Whole)
            | Field::Actor(EntityPart::Whole)
            | Field::Producer(Maker::Model(EntityPart::Whole)) => Sort::Entity,
            Field::Id
            | Field::Key
            | Field::Correlation
            | Field::Target(EntityPart::Id)
            | Field::Actor(EntityPart::Id)
            | Field::Producer(Maker::Model(EntityPart::Id))
            | Field::Cause(Caused::Id) => Sort::Id,
            Field::Type => Sort::Type,
            _ => Sort::Other,
        }
    }
}

/// As it is written.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Position => f.write_str("position"),
            Field::Version => f.write_str("version"),
            Field::Id => f.write_str("id"),
            Field::Type => f.write_str("type"),
            Field::Timestamp => f.write_str("timestamp"),
            Field::Recorded => f.write_str("recorded"),
            Field::Target(part) => write!(f, "target{}", part.said()),
            Field::Actor(part) => write!(f, "actor{}", part.said()),
            Field::Producer(Maker::Model(part)) => write!(f, "producer{}", part.said()),
            Field::Producer(Maker::Version) => f.write_str("producer.version"),
            Field::Producer(Maker::Vector) => f.write_str("producer.vector"),
            Field::Cause(Caused::Whole) => f.write_str("cause"),
            Field::Cause(Caused::Position) => f.write_str("cause.position"),
            Field::Cause(Caused::Type) => f.write_str("cause.type"),
            Field::Cause(Caused::Id) => f.write_str("cause.id"),
            Field::Correlation => f.write_str("correlation"),
            Field::Namespace => f.write_str("namespace"),
            Field::Key => f.write_str("key"),
            Field::Tags(steps) => FieldPath("tags", steps).fmt(f),
            Field::Data(steps) => FieldPath("data", steps).fmt(f),
            Field::Metadata(steps) => FieldPath("metadata", steps).fmt(f),
            Field::State(steps) => FieldPath(STATE, steps).fmt(f),
            Field::ActorState(steps) => FieldPath(ACTOR_STATE, steps).fmt(f),
            Field::Events => f.write_str("events"),
            Field::Unnested(name, steps) => {
                write!(f, "{}", FieldPath(&NameText(&name.alias).to_string(), steps))
            }
            Field::Place(name) => NameText(&name.alias).fmt(f),
        }
    }
}

impl EntityPart {
    fn said(self) -> &'static str {
        match self {
            EntityPart::Whole => "",
            EntityPart::Type => ".type",
            EntityPart::Id => ".id",
        }
    }
}

/// A path into an object: a name, and the steps behind it.
pub(crate) struct FieldPath<'a>(pub &'a str, pub &'a [FieldStep]);

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        self.1.iter().try_for_each(|step| step.fmt(f))
    }
}

/// A field of a state, by the way to it; no way is no field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateField(Vec<FieldStep>);

impl StateField {
    /// The field that some steps lead to; none where there are none.
    pub fn new(steps: Vec<FieldStep>) -> Option<StateField> {
        (!steps.is_empty()).then_some(StateField(steps))
    }

    pub fn steps(&self) -> &[FieldStep] {
        &self.0
    }
}

impl fmt::Display for StateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STATE)?;
        self.0.iter().try_for_each(|step| step.fmt(f))
    }
}

impl fmt::Display for FieldStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldStep::Member(name) => write!(f, ".{}", NameText(name)),
            FieldStep::Element(index) => write!(f, "[{index}]"),
        }
    }
}
