//! Verbs: what a definition decides.
//!
//! Conditions are filters: one that is null does not hold. What is written is worked out strictly: where that fails, the verb is refused.

use std::sync::Arc;

use super::eval::{Scope, VerbInput, written};
use super::{dry_run, private};
use crate::entity::{Entity, EventType, NameText};
use crate::error::{Result, shorten};
use crate::event::NewEvent;
use crate::plan;
use crate::plan::expr::BoundExpr;
use crate::plan::field::{ACTOR_STATE, Field, STATE};
use crate::plan::verb::{
    BoundCondition, Emission, ForgottenSubject, Oblivion, Requirement, VerbCase, VerbPlan,
};
use crate::store::verb::{CommitContext, PerformRequest, VerbHandler};
use crate::value::{Object, Value};

/// What works out the definition of a verb: its name, and what it does.
pub(super) fn compile(text: &str) -> Result<(String, Arc<dyn VerbHandler>)> {
    let defined = DefinedVerbHandler::of(text)?;
    Ok((defined.verb.name.clone(), Arc::new(defined)))
}

/// The rule that a definition says.
#[derive(Debug)]
pub(super) struct DefinedVerbHandler {
    pub verb: VerbPlan,
    sees_actor: bool,
}

impl VerbHandler for DefinedVerbHandler {
    fn kind(&self) -> &str {
        &self.verb.kind
    }

    fn sees_actor(&self) -> bool {
        self.sees_actor
    }

    fn types(&self) -> Vec<EventType> {
        self.verb.types().into_iter().cloned().collect()
    }

    fn forgets(&self) -> bool {
        self.verb.forgets()
    }

    fn decide(&self, asked: &PerformRequest, moment: &mut dyn CommitContext) -> Result<Vec<NewEvent>> {
        let mut lines = Vec::new();
        let mut told: DecisionTrace = if moment.is_told() { Some(&mut lines) } else { None };
        let made = self.weigh(asked, moment, &mut told);
        if moment.is_told() {
            moment.tell(lines)?;
        }
        made
    }
}

/// What is told of a decision, a line for each condition, where somebody asks.
type DecisionTrace<'t> = Option<&'t mut Vec<String>>;

impl DefinedVerbHandler {
    pub fn of(text: &str) -> Result<DefinedVerbHandler> {
        let verb = plan::verb_definition(text)?;
        Ok(DefinedVerbHandler { sees_actor: verb.sees_actor(), verb })
    }

    /// The events that performing it makes; and what was asked on the way.
    fn weigh(
        &self,
        asked: &PerformRequest,
        moment: &mut dyn CommitContext,
        told: &mut DecisionTrace<'_>,
    ) -> Result<Vec<NewEvent>> {
        self.check_actor(asked)?;
        let now = moment.now();
        let before = moment.folded(&asked.entity)?;
        let actor = asked.actor.as_ref().filter(|_| self.sees_actor);
        let actor = actor.map(|actor| moment.folded(actor)).transpose()?;
        let seen = VerbInput {
            data: asked.data.raw(),
            metadata: asked.metadata.raw(),
            target: (&asked.entity).into(),
            version: before.version,
            actor: asked.actor.as_ref().map(Into::into),
            actor_state: actor.as_ref().map_or(&Value::Null, |actor| &actor.state),
        };
        let limits = moment.limits();
        let scope = Scope::deciding(&seen, &before.state, now, &limits);
        let deciding = Decision {
            asked,
            scope: &scope,
            has_state: before.state != Value::Null,
            has_actor_state: *seen.actor_state != Value::Null,
        };
        deciding.require(&self.verb.requires, told)?;
        let case = deciding.choose(&self.verb.cases, told)?;
        deciding.require(&case.requires, told)?;
        let mut events = Vec::with_capacity(case.emits.len() + 1);
        for emission in &case.emits {
            events.push(deciding.emit(emission)?);
        }
        if let Some(oblivion) = &case.forgets {
            events.push(deciding.forget(oblivion)?);
        }
        Ok(events)
    }

    /// Who may act.
    fn check_actor(&self, asked: &PerformRequest) -> Result<()> {
        asked.check_actor(&self.verb.actors).map_err(|why| {
            let listed: Vec<String> =
                self.verb.actors.iter().map(|kind| NameText(kind).to_string()).collect();
            asked.refused(why, Some(format!("BY {}", listed.join(", "))), Vec::new())
        })
    }
}

/// A decision under way.
struct Decision<'a, 'v> {
    asked: &'a PerformRequest,
    scope: &'a Scope<'v>,
    has_state: bool,
    has_actor_state: bool,
}

impl<'v> Decision<'_, 'v> {
    fn holds(
        &self,
        condition: &'v BoundCondition,
        clause: &str,
        told: &mut DecisionTrace<'_>,
    ) -> Result<bool> {
        let holds = self.scope.holds(&condition.node)?;
        if let Some(lines) = told {
            let mut line =
                format!("{clause} {} {}", condition.text, if holds { "holds" } else { "does not hold" });
            for (at, (name, value)) in self.values(&condition.names)?.iter().enumerate() {
                let joint = if at == 0 { ':' } else { ',' };
                line.push_str(&format!("{joint} {name} is {}", value.glimpse()));
            }
            lines.push(line);
        }
        Ok(holds)
    }

    /// What is required.
    fn require(&self, requires: &'v [Requirement], told: &mut DecisionTrace<'_>) -> Result<()> {
        for Requirement { condition, otherwise } in requires {
            if !self.holds(condition, "REQUIRE", told)? {
                let why = otherwise.as_ref().unwrap_or(&condition.text).clone();
                let values = self.values(&condition.names)?;
                return Err(self.asked.refused(why, Some(condition.text.clone()), values));
            }
        }
        Ok(())
    }

    /// The first case that holds.
    fn choose(&self, cases: &'v [VerbCase], told: &mut DecisionTrace<'_>) -> Result<&'v VerbCase> {
        for case in cases {
            let holds = match &case.when {
                Some(when) => self.holds(when, "WHEN", told)?,
                None => true,
            };
            if holds {
                return Ok(case);
            }
        }
        let whens: Vec<&BoundCondition> = cases.iter().filter_map(|case| case.when.as_ref()).collect();
        let (mut values, mut texts) = (Vec::new(), Vec::new());
        for when in whens {
            texts.push(format!("WHEN {}", when.text));
            for value in self.values(&when.names)? {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        let why = "none of its cases holds".to_owned();
        Err(self.asked.refused(why, Some(texts.join(", ")), values))
    }

    /// What names stand for. Where there is nothing on the way to one, that is told.
    fn values(&self, names: &'v [BoundExpr]) -> Result<Vec<(String, Value)>> {
        let mut values: Vec<(String, Value)> = Vec::new();
        for node in names {
            let name = match node {
                BoundExpr::Field(Field::State(_)) if !self.has_state => STATE.to_owned(),
                BoundExpr::Field(Field::Actor(_) | Field::ActorState(_)) if self.asked.actor.is_none() => {
                    "actor".to_owned()
                }
                BoundExpr::Field(Field::ActorState(_)) if !self.has_actor_state => ACTOR_STATE.to_owned(),
                BoundExpr::Field(field) => field.to_string(),
                _ => "NOW".to_owned(),
            };
            if values.iter().all(|(known, _)| *known != name) {
                values.push((name, self.scope.value(node)?));
            }
        }
        Ok(values)
    }

    /// One of the events that it makes.
    fn emit(&self, emission: &'v Emission) -> Result<NewEvent> {
        let fault =
            |why: String| self.asked.refused(format!("{}: {why}", shorten(&emission.text)), None, Vec::new());
        self.event(emission).map_err(fault)
    }

    fn event(&self, emission: &'v Emission) -> Result<NewEvent, String> {
        let mut event = NewEvent::new(emission.kind.as_str()).on(self.owner(emission)?);
        event.data = self.asked.data.clone();
        if let Some(data) = &emission.data {
            event = event.data(&Value::Object(dry_run::object(self.scope, data, "data")?));
        }
        if let Some(metadata) = &emission.metadata {
            let mut merged = match self.asked.metadata.to_value().map_err(|error| error.to_string())? {
                Value::Object(members) => members,
                _ => Object::new(),
            };
            merged.extend(dry_run::object(self.scope, metadata, "META")?);
            event = event.metadata(&Value::Object(merged));
        }
        event = dry_run::tagged(self.scope, event, &emission.index)?;
        event.expect.extend(emission.expect.clone());
        match event.checked() {
            Ok(_) => Ok(event),
            Err(error) => Err(error.to_string()),
        }
    }

    /// That somebody is forgotten, behind all that it makes.
    fn forget(&self, oblivion: &'v Oblivion) -> Result<NewEvent> {
        let fault =
            |why: String| self.asked.refused(format!("{}: {why}", shorten(&oblivion.text)), None, Vec::new());
        let subject = match &oblivion.subject {
            ForgottenSubject::Target => self.asked.entity.clone(),
            ForgottenSubject::Actor => match &self.asked.actor {
                Some(actor) => actor.clone(),
                None => return Err(fault("expected an actor, found nobody".to_owned())),
            },
            ForgottenSubject::Entity(owned) => dry_run::entity(self.scope, owned).map_err(fault)?,
        };
        let because = match &oblivion.because {
            Some(because) => match written(self.scope, because) {
                Ok(Value::Text(text)) => Some(text),
                Ok(Value::Null) => None,
                Ok(other) => {
                    let found = format!("{} {}", other.kind(), other.glimpse());
                    return Err(fault(format!("BECAUSE: expected a text, found {found}")));
                }
                Err(failure) => return Err(fault(format!("BECAUSE: {failure}"))),
            },
            None => None,
        };
        private::forgotten_event(&subject, because.as_deref())
    }

    /// Whose history it joins.
    fn owner(&self, emission: &'v Emission) -> Result<Entity, String> {
        match &emission.owner {
            Some(owner) => dry_run::entity(self.scope, owner),
            None => Ok(self.asked.entity.clone()),
        }
    }
}
