//! What runs by itself, with its names looked up: reactions and schedules.

use std::fmt;
use std::time::Duration;

use super::cron::Cron;
use super::expr::{BoundExpr, Predicate};
use super::field::Field;
use super::verb::Owned;
use super::write::OccurredAt;
use crate::entity::{EventType, Position};
use crate::event::Expect;
use crate::pattern::Pattern;
use crate::store::catalog::Flow;
use crate::time::{Timestamp, display_duration};

/// What events trigger, and what is then done.
#[derive(Debug, Clone)]
pub(crate) struct ReactionPlan {
    pub name: String,
    pub pattern: Pattern,
    /// None: behind its definition.
    pub from: Option<StartPoint>,
    /// `WHERE`.
    pub filter: Option<Predicate>,
    pub after: Option<Delay>,
    /// Never empty. All of it, or nothing.
    pub deeds: Vec<Deed>,
}

/// Where the first event that triggers it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartPoint {
    /// Behind this position.
    Position(Position),
    /// Recorded at this instant or later.
    Time(Timestamp),
}

/// `AFTER … UNLESS …`.
#[derive(Debug, Clone)]
pub(crate) struct Delay {
    pub period: Duration,
    /// Nothing is done where the trigger's target has such an event meanwhile.
    pub unless: Option<Pattern>,
}

/// What is done at instants of time.
#[derive(Debug, Clone)]
pub(crate) struct SchedulePlan {
    pub name: String,
    pub rhythm: Rhythm,
    /// Never empty.
    pub deeds: Vec<Deed>,
}

/// When a schedule runs.
#[derive(Debug, Clone)]
pub(crate) enum Rhythm {
    Every {
        period: Duration,
        /// How long after the begin of each period; none: as long as the definition is after it.
        offset: Option<Duration>,
    },
    Cron(Cron),
}

impl fmt::Display for Rhythm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rhythm::Every { period, .. } => f.write_str(&display_duration(*period)),
            Rhythm::Cron(cron) => write!(f, "{cron}"),
        }
    }
}

/// `EMIT` or `PERFORM`, in what runs by itself.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub what: What,
    pub data: Option<BoundExpr>,
    pub metadata: Option<BoundExpr>,
    /// None: what runs.
    pub actor: Option<Owned>,
    /// None: when it is recorded.
    pub at: Option<OccurredAt>,
    pub expect: Vec<Expect>,
    /// As it is written.
    pub text: String,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Emit {
        kind: EventType,
        owner: Whose,
        /// Names with values; without one it is the member of `data`.
        index: Vec<(String, Option<BoundExpr>)>,
    },
    Perform {
        verb: String,
        on: Owned,
    },
}

/// Whose history an event joins.
#[derive(Debug, Clone)]
pub(crate) enum Whose {
    /// The actor's, if its kind is the prefix of the type.
    Unsaid,
    /// That of one whose id is yet to be made.
    New,
    One(Owned),
}

impl ReactionPlan {
    /// What it answers, and what it makes of that.
    pub fn flow(&self) -> Flow {
        let mut flow = Flow { on: Some(self.pattern.clone()), ..Flow::default() };
        for deed in &self.deeds {
            match &deed.what {
                What::Emit { kind, .. } => flow.emits.push(kind.clone()),
                What::Perform { verb, .. } => flow.performs.push(verb.clone()),
            }
        }
        flow
    }

    /// Whether it looks at the state of the trigger's target.
    pub fn sees_state(&self) -> bool {
        let sees = |node: &BoundExpr| node.any(&mut |part| matches!(part, BoundExpr::Field(Field::State(_))));
        self.filter.as_ref().is_some_and(|filter| sees(&filter.node))
            || self.deeds.iter().flat_map(Deed::nodes).any(sees)
    }

    /// Whether something may stop it from reacting to an event of its pattern.
    pub fn is_conditional(&self) -> bool {
        self.filter.is_some() || self.after.as_ref().is_some_and(|after| after.unless.is_some())
    }
}

impl Predicate {
    /// Whether it asks for nothing but the event.
    pub fn is_of_event(&self) -> bool {
        !self.node.any(&mut |part| matches!(part, BoundExpr::Now | BoundExpr::Field(Field::State(_))))
    }
}

impl Deed {
    fn nodes(&self) -> impl Iterator<Item = &BoundExpr> {
        let (index, on) = match &self.what {
            What::Emit { owner: Whose::One(owner), index, .. } => (index.as_slice(), Some(&owner.id)),
            What::Emit { index, .. } => (index.as_slice(), None),
            What::Perform { on, .. } => (&[][..], Some(&on.id)),
        };
        let index = index.iter().filter_map(|(_, value)| value.as_ref());
        let actor = self.actor.iter().map(|actor| &actor.id);
        self.data.iter().chain(&self.metadata).chain(on).chain(index).chain(actor)
    }
}
