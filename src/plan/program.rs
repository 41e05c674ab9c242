//! What runs by itself, with its names looked up, whatever its kind.

use super::reaction::{Deed, ReactionPlan, SchedulePlan, StartPoint};
use super::webhook::Webhook;
use crate::store::catalog::Flow;

/// `DEFINE REACTION`, `DEFINE WEBHOOK`, `DEFINE SCHEDULE`.
#[derive(Debug, Clone)]
pub(crate) enum ProgramPlan {
    Reaction(ReactionPlan),
    Webhook(Webhook),
    Schedule(SchedulePlan),
}

impl ProgramPlan {
    pub fn name(&self) -> &str {
        match self {
            ProgramPlan::Reaction(reaction) => &reaction.name,
            ProgramPlan::Webhook(webhook) => &webhook.name,
            ProgramPlan::Schedule(schedule) => &schedule.name,
        }
    }

    /// What leads to what, as far as it tells.
    pub fn flow(&self) -> Flow {
        match self {
            ProgramPlan::Reaction(reaction) => reaction.flow(),
            ProgramPlan::Webhook(_) | ProgramPlan::Schedule(_) => Flow::default(),
        }
    }

    /// `FROM`.
    pub fn from(&self) -> Option<StartPoint> {
        match self {
            ProgramPlan::Reaction(reaction) => reaction.from,
            ProgramPlan::Webhook(webhook) => webhook.events.from.map(StartPoint::Position),
            ProgramPlan::Schedule(_) => None,
        }
    }

    /// The events that it makes.
    pub fn into_deeds(self) -> Vec<Deed> {
        match self {
            ProgramPlan::Reaction(reaction) => reaction.deeds,
            ProgramPlan::Schedule(schedule) => schedule.deeds,
            ProgramPlan::Webhook(_) => Vec::new(),
        }
    }
}
