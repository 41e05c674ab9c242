//! What the data of a type's events is to be, with its names looked up.

use super::field::FieldStep;
use super::forgotten::{carried, names};
use super::model::Assignment;
use super::verb::BoundCondition;
use crate::entity::EventType;
use crate::event::private::{FieldRoot, ForgottenFields, PrivateField};

/// How many fields of an event are said to be forgotten, after an upcast; of more than these, it is the data as a whole.
const MAX_FORGOTTEN: usize = 1024;

/// `DEFINE EVENT`.
#[derive(Debug, Clone)]
pub(crate) struct EventSchemaPlan {
    pub event_type: EventType,
    pub members: SchemaMembers,
    /// Members that are not named do not fit.
    pub strict: bool,
    /// What does not fit is told, and appended all the same.
    pub warn: bool,
    /// How events of the version before are read; as they are, where nothing is said.
    pub upcast: Option<Upcast>,
}

/// What becomes of the data of an event of the version before.
#[derive(Debug, Clone)]
pub(crate) struct Upcast {
    /// Paths from the data on; the empty one is all of it.
    pub set: Vec<Assignment>,
    pub delete: Vec<Vec<FieldStep>>,
}

impl Upcast {
    /// Which fields are forgotten in the next version: those that stay, and those that are made of them.
    pub fn forgotten(&self, before: &ForgottenFields) -> Option<ForgottenFields> {
        let made = self.set.iter().map(|assign| &assign.path).chain(&self.delete);
        let made: Vec<PrivateField> = made
            .filter(|path| path.iter().all(|step| matches!(step, FieldStep::Member(_))))
            .map(|path| in_data(names(path)))
            .collect();
        let stays = |field: &&PrivateField| !made.iter().any(|path| path.holds(field));
        let mut after: Vec<PrivateField> = before.fields().iter().filter(stays).cloned().collect();
        let mut found = Vec::new();
        for assign in &self.set {
            carried(&names(&assign.path), &assign.value, before, &mut found);
        }
        for field in found.into_iter().map(in_data) {
            if !after.iter().any(|known| known.holds(&field)) {
                after.retain(|known| !field.holds(known));
                after.push(field);
            }
        }
        if after.len() > MAX_FORGOTTEN {
            after.retain(|field| !field.is_in_data());
            after.push(in_data(Vec::new()));
        }
        ForgottenFields::of(after)
    }
}

fn in_data(names: Vec<String>) -> PrivateField {
    PrivateField::new(FieldRoot::Data, names.iter().map(|name| &**name))
}

/// The members of an object, in the order they were said.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchemaMembers {
    members: Vec<SchemaMember>,
    /// Their places, in the order of their names.
    by_name: Vec<usize>,
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(crate) struct SchemaMember {
    pub name: String,
    pub data_type: DataType,
    /// What has to hold of the whole event, where the member is there.
    pub check: Option<BoundCondition>,
}

/// What a value is to be.
#[derive(Debug, Clone)]
pub(crate) struct DataType {
    pub kind: ValueKind,
    /// It may be missing, or null.
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum ValueKind {
    /// Anything but null.
    Any,
    Text,
    Number,
    /// A number without a fraction.
    Integer,
    Boolean,
    /// The text of an instant or of a day.
    Time,
    /// None: of any members.
    Object(Option<SchemaMembers>),
    /// None: of anything.
    Array(Option<Box<DataType>>),
}

impl ValueKind {
    /// Those that have a name.
    pub const NAMES: [&str; 8] = ["any", "text", "number", "integer", "boolean", "time", "object", "array"];

    /// The one of a name.
    pub fn named(name: &str) -> Option<ValueKind> {
        Some(match name {
            "any" => ValueKind::Any,
            "text" => ValueKind::Text,
            "number" => ValueKind::Number,
            "integer" => ValueKind::Integer,
            "boolean" => ValueKind::Boolean,
            "time" => ValueKind::Time,
            "object" => ValueKind::Object(None),
            "array" => ValueKind::Array(None),
            _ => return None,
        })
    }

    /// As a message says what it expects.
    pub fn expected(&self) -> &'static str {
        match self {
            ValueKind::Any => "a value",
            ValueKind::Text => "text",
            ValueKind::Number => "a number",
            ValueKind::Integer => "a whole number",
            ValueKind::Boolean => "a boolean",
            ValueKind::Time => "a time like '2024-01-01T12:00:00Z'",
            ValueKind::Object(_) => "an object",
            ValueKind::Array(_) => "an array",
        }
    }
}

impl SchemaMembers {
    /// These, each name once.
    pub fn new(members: Vec<SchemaMember>) -> SchemaMembers {
        let mut by_name: Vec<usize> = (0..members.len()).collect();
        by_name.sort_unstable_by(|a, b| members[*a].name.cmp(&members[*b].name));
        SchemaMembers { members, by_name }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &SchemaMember> {
        self.members.iter()
    }

    /// The place of a member by its name. Whoever goes through an object says where the last one was: what is written in the order
    /// of the schema is found there at once.
    pub fn place(&self, name: &[u8], after: Option<usize>) -> Option<usize> {
        let next = after.map_or(0, |after| after + 1);
        if self.members.get(next).is_some_and(|member| member.name.as_bytes() == name) {
            return Some(next);
        }
        let found = self.by_name.binary_search_by(|at| self.members[*at].name.as_bytes().cmp(name)).ok()?;
        self.by_name.get(found).copied()
    }
}
