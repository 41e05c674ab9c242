//! Errors as JSON: the members that programs read, the same on standard error of the shell and on the wire.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use super::wire::ErrorDetail;
use super::{Error, MemberMismatch, MissingItem, SyntaxFault};
use crate::value::Object;

/// What an error says, member by member; those that it has nothing to say in are left out.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct ErrorMembers<'a> {
    pub kind: Cow<'a, str>,
    pub message: Cow<'a, str>,
    /// The place in the text, what would do there, and what stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Cow<'a, str>>,
    /// Of the event that stood in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// What was refused, and of what; the entity is also whose version is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<Cow<'a, str>>,
    /// The position or version that was asked for, of what is not in the log, or not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// What has such names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
    /// Of what is larger than its limit, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Why a verb was refused, and what the names in the condition stood for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Object>,
    /// Of data that does not fit the schema of its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberFields<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Cow<'a, str>>,
    /// On the wire: what a reader needs besides, to have the same error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<ErrorDetail<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MemberFields<'a> {
    pub path: Cow<'a, str>,
    pub expected: Cow<'a, str>,
    pub found: Cow<'a, str>,
}

impl<'a> From<&'a MemberMismatch> for MemberFields<'a> {
    fn from(mismatch: &'a MemberMismatch) -> MemberFields<'a> {
        let MemberMismatch { path, expected, found } = mismatch;
        MemberFields { path: path.into(), expected: expected.into(), found: found.into() }
    }
}

impl<'a> ErrorMembers<'a> {
    pub fn of(error: &'a Error) -> ErrorMembers<'a> {
        let message = error.fault().map_or_else(|| error.to_string(), SyntaxFault::sentence);
        let mut members =
            ErrorMembers { kind: error.kind().into(), message: message.into(), ..ErrorMembers::default() };
        if let Some(fault) = error.fault() {
            members.place(fault);
        }
        match error {
            Error::Missing(missing) => members.missing(&missing.item),
            Error::TooLarge { size, limit, .. } => {
                (members.size, members.limit) = (Some(*size), Some(*limit));
            }
            Error::Invalid { expected, found, .. } => {
                members.expected = vec![expected.into()];
                members.found = Some(found.into());
            }
            Error::Conflict(conflict) => {
                members.expected = vec![conflict.expected().into()];
                members.found = Some(conflict.found().into());
                members.position = conflict.position();
            }
            Error::Refused(refusal) => {
                members.verb = Some((&refusal.verb).into());
                members.entity = Some((&refusal.entity).into());
                members.why = Some((&refusal.why).into());
                members.condition = refusal.condition.as_ref().map(Cow::from);
                let values: Object = refusal.values.iter().cloned().collect();
                members.values = Some(values).filter(|values| !values.is_empty());
            }
            Error::Upcast { position, .. } => members.position = Some(*position),
            Error::Schema(mismatch) => {
                members.position = mismatch.definition;
                members.event_type = Some((&mismatch.event_type).into());
                members.version = Some(mismatch.version);
                members.members = Some(mismatch.members.iter().map(Into::into).collect());
                members.more = Some(mismatch.more).filter(|more| *more > 0);
            }
            _ => {}
        }
        members
    }

    fn place(&mut self, fault: &'a SyntaxFault) {
        self.statement = Some(fault.statement);
        self.line = Some(fault.line);
        self.column = Some(fault.column);
        self.expected = fault.expected.iter().map(Cow::from).collect();
        self.found = Some((&fault.found).into());
        self.suggestion = fault.suggestion.as_ref().map(Cow::from);
    }

    fn missing(&mut self, item: &'a MissingItem) {
        match item {
            MissingItem::Position { asked, head } => {
                (self.asked, self.head) = (Some(asked.0), Some(head.0));
            }
            MissingItem::Version { entity, asked, newest } => {
                self.entity = Some(entity.into());
                (self.asked, self.newest) = (Some(asked.0), Some(newest.0));
            }
            MissingItem::Event { id } => self.id = Some(id.into()),
            MissingItem::Name { sort, name } => {
                (self.of, self.name) = (Some((*sort).into()), Some(name.into()));
            }
            MissingItem::Index { name, percent } => {
                (self.name, self.percent) = (Some(name.into()), Some(*percent));
            }
        }
    }
}

/// As the object that the shell prints of it: `{"kind","message",…}`.
///
/// ```
/// use bygone::EventType;
/// let error = EventType::new("paid").unwrap_err();
/// assert_eq!(
///     serde_json::to_string(&error)?,
///     r#"{"kind":"invalid","message":"the type of an event: expected a prefix, a dot and a name, like Order.paid, found 'paid'","expected":["a prefix, a dot and a name, like Order.paid"],"found":"'paid'"}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ErrorMembers::of(self).serialize(serializer)
    }
}
