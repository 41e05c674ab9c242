//! A subscription: which events, from where, until when.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::by::{By, ConditionText, KeyLiteral};
use super::expr::Predicate;
use crate::entity::Position;
use crate::pattern::Pattern;
use crate::store::index::term::IndexKey;
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
