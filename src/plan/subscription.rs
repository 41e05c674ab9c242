//! A subscription: which events, from where, until when.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::by::{ConditionText, KeyLiteral};
use super::{By, Derived, Indexed, Parameters, Predicate, Tagged, Test, bind};
use crate::entity::{NameText, Position};
use crate::error::{Error, Result, shorten};
use crate::event::is_built_in;
use crate::pattern::Pattern;
use crate::store::index::term::IndexKey;
use crate::store::snapshot::Snapshot;
use crate::time::Timestamp;
use crate::value::Value;

/// `SUBSCRIBE`, with everything looked up.
#[derive(Debug, Clone)]
pub(crate) struct SubscriptionPlan {
    pub pattern: Pattern,
    /// All of them must hold.
    pub tags: Vec<By>,
    /// `WHERE`.
    pub predicate: Option<Predicate>,
    /// The same as it is written, with the values of parameters in it.
    pub condition: Option<String>,
    /// `FROM`: after this position. None was said: from the head on.
    pub from: Option<Position>,
    pub until: Option<SubscriptionEnd>,
    /// Of matches.
    pub limit: Option<u64>,
    /// `AS`: who keeps its place.
    pub name: Option<String>,
}

/// Where a subscription ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionEnd {
    /// With this event.
    Position(Position),
    /// Before the first event recorded at this instant or later; the instant lies ahead.
    Recorded(Timestamp),
}

impl SubscriptionPlan {
    /// All events of a pattern, from now on.
    pub fn of(pattern: Pattern) -> SubscriptionPlan {
        SubscriptionPlan {
            pattern,
            tags: Vec::new(),
            predicate: None,
            condition: None,
            from: None,
            until: None,
            limit: None,
            name: None,
        }
    }

    /// Which events it delivers, as the language says it: two that say the same deliver the same.
    pub fn said(&self) -> String {
        let mut said = KeyLiteral(&IndexKey::Value(Value::Text(self.pattern.to_string()))).to_string();
        for (at, by) in self.tags.iter().enumerate() {
            // Writing to a text does not fail.
            let _ = write!(said, "{} {}", if at == 0 { " BY" } else { "," }, ConditionText(by));
        }
        if let Some(condition) = &self.condition {
            let _ = write!(said, " WHERE {condition}");
        }
        said
    }

    /// Whether what was said before is the same: the patterns of a list count in any order, and each once.
    pub fn says(&self, before: &str) -> bool {
        let said = self.said();
        said == before || in_order(&said) == in_order(before)
    }

    /// Adds a condition to those that must hold.
    pub fn narrow(&mut self, predicate: Predicate) {
        let text = predicate.text.clone();
        self.condition = Some(match self.condition.take() {
            Some(before) => format!("({before}) AND ({text})"),
            None => text,
        });
        self.predicate = Some(match self.predicate.take() {
            Some(before) => before.and(predicate),
            None => predicate,
        });
    }
}

/// The patterns of what is [`said`](SubscriptionPlan::said), in one order, and what follows them.
fn in_order(said: &str) -> Option<(BTreeSet<&str>, &str)> {
    // No pattern has a quote within it that is not written twice.
    let pattern = said.strip_prefix('\'')?;
    let end = pattern.replace("''", "\0\0").find('\'')?;
    let (patterns, rest) = pattern.split_at_checked(end)?;
    Some((patterns.split(',').map(str::trim).collect(), rest))
}

/// `BY name = value`, as a program says it.
pub(crate) fn tagged<T: Serialize>(snapshot: &Snapshot, name: &str, value: &T) -> Result<By> {
    let what = || format!("BY {}", NameText(name));
    if is_built_in(name) {
        let expected =
            "the name of an index value; there are by_actor, on and by_correlation, and the pattern";
        return Err(Error::invalid(what(), expected, format!("'{name}'")));
    }
    let value = match Value::of(value)? {
        value @ (Value::Null | Value::Array(_) | Value::Object(_)) => {
            let found = format!("{} ({})", value.kind(), shorten(&value.to_string()));
            return Err(Error::invalid(what(), "text, a number or a boolean", found));
        }
        value => value,
    };
    let catalog = snapshot.indexes();
    let index = catalog.usable(name);
    if let Some(index) = catalog.get(name).filter(|_| index.is_none()) {
        let found = format!("one of which {} % are built; wait_for_indexes waits for it", index.percent());
        return Err(Error::invalid(what(), "an index that is complete, or none", found));
    }
    let index = index.map(|index| Derived(index.clone()));
    Ok(By::Tag(Tagged::by(name, Test::Is(IndexKey::Value(value)), index)))
}

/// The indexes that are complete, with what they are of. One that cannot be read is of no use here, and no harm.
pub(crate) fn indexed(snapshot: &Snapshot) -> Vec<Indexed> {
    let usable = snapshot.indexes().iter().filter(|index| index.is_complete());
    let indexed = usable.filter_map(|index| {
        let (node, _) = bind::index_expression(index.text()).ok()?;
        Some(Indexed { node, index: Derived(index.clone()) })
    });
    indexed.collect()
}

/// A condition on events, as a program says it.
pub(crate) fn event_condition(
    snapshot: &Snapshot,
    text: &str,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Predicate> {
    bind::event_condition(snapshot, text, parameters, now)
}

/// The newest position that was recorded before an instant.
pub(crate) fn recorded_before(snapshot: &Snapshot, time: Timestamp) -> Result<Position> {
    bind::recorded(snapshot, time, true)
}
