//! Rows on the way to another process and back: their lines of JSON, and beside them what those do not tell.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::blame::BlameEntry;
use super::diff::{ChangeKind, StateChange};
use super::field_history::FieldChange;
use super::fold::ReplayStep;
use super::path::StatePath;
use super::result::{EntityState, Row};
use super::trace::TraceEntry;
use crate::entity::{Position, Version};
use crate::error::{Error, Result, shorten};
use crate::event::{CommittedForm, EntityForm};
use crate::plan::PointInTime;
use crate::time::Timestamp;
use crate::value::Value;

/// The values of a row nest in what they are the answer to.
const AROUND: usize = 8;

/// What of a row its JSON does not tell.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct RowExtra<'a> {
    /// Of a state: when the earliest event occurs.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
    /// Of a leaf that is blamed: when that is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Timestamp>,
    /// Of an event of a chain: whether other effects follow.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    /// Of a change, or of those of a step, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<ChangeExtra<'a>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct ChangeExtra<'a> {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    before: Option<Cow<'a, Value>>,
    /// The path, where a pointer could be another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
}

/// What is there, be it null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'a> From<&'a StateChange> for ChangeExtra<'a> {
    fn from(change: &'a StateChange) -> ChangeExtra<'a> {
        let is_told = StatePath::from_pointer(&change.path.pointer()).as_ref() == Some(&change.path);
        ChangeExtra {
            before: change.before.as_ref().map(Cow::Borrowed),
            path: (!is_told).then(|| change.path.to_string().into()),
        }
    }
}

impl Row {
    /// A word for what it is, by which it is [read](Row::read).
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Row::Event { .. } => "event",
            Row::State(_) => "state",
            Row::Blame(_) => "blame",
            Row::FieldChange(_) => "fieldChange",
            Row::Change(_) => "change",
            Row::Step(_) => "step",
            Row::Traced(_) => "traced",
            Row::Fields(_) => "fields",
            Row::CaughtUp(_) | Row::Redefined(_) => "mark",
        }
    }

    /// What else there is to know of it; none of what its JSON tells all of, as that of events and fields does.
    pub(crate) fn extra(&self) -> Option<impl Serialize> {
        let none = RowExtra::default();
        match self {
            Row::State(state) => state.first.map(|first| RowExtra { first: Some(first), ..none }),
            Row::Blame(leaf) => Some(RowExtra { seen: Some(leaf.seen), ..none }),
            Row::Change(change) => Some(RowExtra { changes: vec![change.into()], ..none }),
            Row::Step(step) if !step.changes.is_empty() => {
                Some(RowExtra { changes: step.changes.iter().map(Into::into).collect(), ..none })
            }
            Row::Traced(traced) if !traced.last => Some(RowExtra { more: true, ..none }),
            Row::Step(_) | Row::Traced(_) | Row::FieldChange(_) | Row::Event { .. } | Row::Fields(_) => None,
            Row::CaughtUp(_) | Row::Redefined(_) => None,
        }
    }

    /// The row of a kind that this is the JSON of, with what is said [beside it](Row::extra). An event is as it was but for what the log
    /// alone knows of it: the hash of its key.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is none.
    pub(crate) fn read(kind: &str, json: &str, extra: Option<&str>) -> Result<Row> {
        let unread = |why: serde_json::Error| unread(kind, &why.to_string());
        let extra: RowExtra =
            extra.map_or_else(|| Ok(RowExtra::default()), serde_json::from_str).map_err(unread)?;
        match kind {
            "event" => {
                let form: CommittedForm = serde_json::from_str(json).map_err(unread)?;
                let repeated = form.repeated;
                Ok(Row::Event { event: form.into_event()?, repeated })
            }
            "state" => {
                let form: StateForm = serde_json::from_str(json).map_err(unread)?;
                Ok(Row::State(form.into_state(extra.first)))
            }
            "blame" => {
                let BlameForm { path, value, event } = serde_json::from_str(json).map_err(unread)?;
                let path = StatePath::read(&path).ok_or_else(|| self::unread(kind, "a path that is none"))?;
                let event = event.into_event()?;
                let seen = extra.seen.unwrap_or(event.recorded);
                Ok(Row::Blame(BlameEntry { path, value, event, seen }))
            }
            "fieldChange" => {
                let form: FieldChangeForm = serde_json::from_str(json).map_err(unread)?;
                let path =
                    StatePath::read(&form.path).ok_or_else(|| self::unread(kind, "a path that is none"))?;
                let event = form.event.into_event()?;
                Ok(Row::FieldChange(FieldChange::new(path, (form.before, form.after), event)))
            }
            "change" => {
                let form: ChangeForm = serde_json::from_str(json).map_err(unread)?;
                form.into_change(extra.changes.into_iter().next().unwrap_or_default()).map(Row::Change)
            }
            "step" => {
                let form: StepForm = serde_json::from_str(json).map_err(unread)?;
                form.into_step(extra.changes).map(Row::Step)
            }
            "traced" => {
                let form: CommittedForm = serde_json::from_str(json).map_err(unread)?;
                let depth = form.depth.unwrap_or(0);
                Ok(Row::Traced(TraceEntry { event: form.into_event()?, depth, last: !extra.more }))
            }
            "fields" => match Value::read(json, AROUND)? {
                Value::Object(fields) => Ok(Row::Fields(Arc::new(fields))),
                other => Err(self::unread(kind, other.kind())),
            },
            "mark" => match serde_json::from_str(json).map_err(unread)? {
                MarkForm::CaughtUp { position } => Ok(Row::CaughtUp(position)),
                MarkForm::Redefined { position } => Ok(Row::Redefined(position)),
            },
            other => Err(Error::invalid("a row", "of a kind that this program knows", shorten(other))),
        }
    }
}

fn unread(kind: &str, why: &str) -> Error {
    Error::invalid(format!("a row of the kind {kind}"), "its JSON", why)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateForm<'a> {
    #[serde(borrow)]
    target: EntityForm<'a>,
    version: Version,
    events: u64,
    at: Option<PointForm>,
    as_of: Option<PointForm>,
    state: Value,
}

/// A version became a position before it was answered.
#[derive(Deserialize)]
#[serde(untagged)]
enum PointForm {
    Position(Position),
    Time(Timestamp),
}

impl From<PointForm> for PointInTime {
    fn from(point: PointForm) -> PointInTime {
        match point {
            PointForm::Position(position) => position.into(),
            PointForm::Time(time) => time.into(),
        }
    }
}

impl StateForm<'_> {
    fn into_state(self, first: Option<Timestamp>) -> EntityState {
        EntityState {
            target: self.target.into_entity(),
            version: self.version,
            events: self.events,
            at: self.at.map(Into::into),
            as_of: self.as_of.map(Into::into),
            state: self.state,
            first,
        }
    }
}

#[derive(Deserialize)]
struct BlameForm<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    value: Value,
    #[serde(borrow)]
    event: CommittedForm<'a>,
}

#[derive(Deserialize)]
struct FieldChangeForm<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    before: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    after: Option<Value>,
    #[serde(borrow)]
    event: CommittedForm<'a>,
}

#[derive(Deserialize)]
struct ChangeForm<'a> {
    op: ChangeOp,
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum ChangeOp {
    Add,
    Remove,
    Replace,
}

impl ChangeForm<'_> {
    fn into_change(self, extra: ChangeExtra) -> Result<StateChange> {
        let path = match &extra.path {
            Some(path) => StatePath::read(path),
            None => StatePath::from_pointer(&self.path),
        };
        Ok(StateChange {
            kind: match self.op {
                ChangeOp::Add => ChangeKind::Add,
                ChangeOp::Remove => ChangeKind::Remove,
                ChangeOp::Replace => ChangeKind::Replace,
            },
            path: path.ok_or_else(|| unread("change", "a path that is none"))?,
            before: extra.before.map(Cow::into_owned),
            value: self.value,
        })
    }
}

#[derive(Deserialize)]
struct StepForm<'a> {
    #[serde(borrow)]
    event: CommittedForm<'a>,
    state: Value,
    #[serde(borrow)]
    changes: Vec<ChangeForm<'a>>,
    late: bool,
    #[serde(default)]
    included: bool,
}

impl StepForm<'_> {
    fn into_step(self, extra: Vec<ChangeExtra>) -> Result<ReplayStep> {
        let extra = extra.into_iter().chain(std::iter::repeat_with(ChangeExtra::default));
        let changes = self.changes.into_iter().zip(extra);
        Ok(ReplayStep {
            event: self.event.into_event()?,
            state: self.state,
            changes: changes.map(|(change, extra)| change.into_change(extra)).collect::<Result<_>>()?,
            late: self.late,
            included: self.included,
        })
    }
}

#[derive(Deserialize)]
#[serde(tag = "mark", rename_all = "camelCase")]
enum MarkForm {
    CaughtUp { position: Position },
    Redefined { position: Position },
}
