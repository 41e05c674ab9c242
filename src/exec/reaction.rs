//! What runs by itself: what a reaction makes of an event, and a schedule of an instant.
//!
//! Both are worked out against a snapshot and give a group of events and verbs: all of it happens or nothing, and once, for the group has
//! the key of what runs, of the definition that it began with and of what sets it off.

use super::dry_run;
use super::eval::Scope;
pub(crate) use super::recurrence::Recurrence;
use crate::allowance::Unmade;
use crate::document::Document;
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result, shorten};
use crate::event::id::IdSource;
use crate::event::record::Record;
use crate::event::{Cause, NewEvent};
use crate::plan::reaction::{Deed, StartPoint, What, Whose};
use crate::plan::verb::Owned;
use crate::plan::{self, OccurredAt};
use crate::store::append_request::{ANY_CONTENT, AppendRequest};
use crate::store::catalog::{Flow, Program, ProgramKind};
use crate::store::snapshot::{FoldBound, Snapshot};
use crate::store::verb::PerformRequest;
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// A name is part of a key of each effect, and keys have an end.
const LONGEST: usize = 255;

/// Checks the definition of what runs by itself; gives its name, and what leads to what.
pub(crate) fn check(kind: ProgramKind, text: &str) -> Result<(String, Flow)> {
    let program = plan::program_definition(kind, text)?;
    let (name, flow) = (program.name().to_owned(), program.flow());
    if name.len() > LONGEST {
        let what = format!("the name of a {}", kind.word());
        return Err(Error::invalid(
            what,
            format!("at most {LONGEST} bytes"),
            format!("{} bytes", name.len()),
        ));
    }
    Ok((name, flow))
}

/// `FROM` in a definition.
pub(crate) fn from(kind: ProgramKind, text: &str) -> Result<Option<StartPoint>> {
    // A schedule has none, whether or not it is understood.
    if kind == ProgramKind::Schedule {
        return Ok(None);
    }
    plan::program_definition(kind, text).map(|program| program.from())
}

/// Behind which position a program begins that has no place yet: the definition that it began with says so.
pub(crate) fn start(program: &Program, snapshot: &Snapshot) -> Result<Position> {
    behind(from(program.kind, program.begun())?, program.origin, snapshot)
}

/// Behind which position one begins that is defined there.
pub(super) fn behind(
    from: Option<StartPoint>,
    definition: Position,
    snapshot: &Snapshot,
) -> Result<Position> {
    match from {
        None => Ok(definition),
        Some(StartPoint::Position(position)) => Ok(position),
        Some(StartPoint::Time(time)) => plan::recorded_before(snapshot, time),
    }
}

/// What is to be done, or why there is nothing that could be: what it says has no value for this trigger, and never will have.
pub(crate) type ReactionEffects = std::result::Result<AppendRequest, String>;

/// A reaction that is ready to run.
#[derive(Debug)]
pub(crate) struct ReactionExecutor {
    pub plan: plan::reaction::ReactionPlan,
    /// Where the definition is that it began with.
    pub origin: Position,
    actor: Entity,
    sees_state: bool,
}

impl ReactionExecutor {
    pub fn new(text: &str, origin: Position) -> Result<ReactionExecutor> {
        let plan = plan::reaction_definition(text)?;
        let actor = Entity::new("Reaction", &plan.name)?;
        Ok(ReactionExecutor { sees_state: plan.sees_state(), plan, origin, actor })
    }

    /// The key of what it does about an event.
    pub fn key(&self, trigger: Position) -> String {
        format!("$reaction {} {} {}", self.plan.name, self.origin.0, trigger.0)
    }

    /// When it is to react to an event, by when that was recorded.
    pub fn due(&self, recorded: Timestamp) -> Timestamp {
        match &self.plan.after {
            Some(after) => recorded.saturating_add(after.period),
            None => recorded,
        }
    }

    /// What it does about an event; nothing, where that is none of its events.
    pub fn effects(&self, trigger: &Record, snapshot: &Snapshot) -> Result<Option<ReactionEffects>> {
        if !self.plan.pattern.matches_bytes(trigger.kind_bytes()) {
            return Ok(None);
        }
        let state = match trigger.target().filter(|_| self.sees_state) {
            Some(target) => {
                let target = Entity::new(target.kind, target.id)?;
                let until = FoldBound { through: trigger.position(), by: None };
                let folded = snapshot.fold(&target, until)?;
                folded.check(&target)?;
                folded.state
            }
            None => Value::Null,
        };
        let now = self.due(trigger.recorded());
        let limits = snapshot.limits();
        let scope = Scope::reacting(trigger, &state, now, &limits);
        if let Some(filter) = &self.plan.filter {
            let truth = scope.truth(&filter.node);
            match scope.allowance().made() {
                Ok(()) if truth == Some(true) => {}
                Ok(()) => return Ok(None),
                Err(Unmade::Ended(error)) => return Err(error),
                Err(unmade) => return Ok(Some(Err(format!("WHERE: {}", Error::from(unmade))))),
            }
        }
        let doing = Doing {
            scope: &scope,
            now,
            actor: &self.actor,
            cause: Some(Cause::Event(trigger.position())),
            snapshot,
        };
        doing.group(&self.plan.deeds, self.key(trigger.position())).map(Some)
    }
}

/// A schedule that is ready to run.
#[derive(Debug)]
pub(crate) struct ScheduleExecutor {
    pub plan: plan::reaction::SchedulePlan,
    /// Where the definition is that it began with.
    pub origin: Position,
    actor: Entity,
}

impl ScheduleExecutor {
    pub fn new(text: &str, origin: Position) -> Result<ScheduleExecutor> {
        let plan = plan::schedule_definition(text)?;
        let actor = Entity::new("Schedule", &plan.name)?;
        Ok(ScheduleExecutor { plan, origin, actor })
    }

    /// When it runs. The definition was recorded at this instant.
    pub fn rhythm(&self, defined: Timestamp) -> Recurrence {
        Recurrence::new(&self.plan.rhythm, defined)
    }

    /// The key of what it does at an instant.
    pub fn key(&self, instant: Timestamp) -> String {
        format!("$schedule {} {} {}", self.plan.name, self.origin.0, instant.as_millis())
    }

    /// What it does at an instant. Nothing is its cause: each run begins a chain of its own.
    pub fn effects(&self, instant: Timestamp, snapshot: &Snapshot) -> Result<ReactionEffects> {
        let limits = snapshot.limits();
        let scope = Scope::writing(instant, &limits);
        let doing = Doing { scope: &scope, now: instant, actor: &self.actor, cause: None, snapshot };
        doing.group(&self.plan.deeds, self.key(instant))
    }
}

/// What is being done at an instant.
struct Doing<'a, 'v> {
    scope: &'a Scope<'v>,
    now: Timestamp,
    actor: &'a Entity,
    cause: Option<Cause>,
    snapshot: &'a Snapshot,
}

impl<'v> Doing<'_, 'v> {
    fn group(&self, deeds: &'v [Deed], key: String) -> Result<ReactionEffects> {
        let mut group =
            AppendRequest { key: Some(key), content: Some(ANY_CONTENT), ..AppendRequest::default() };
        let mut ids = IdSource::default();
        for deed in deeds {
            let made = match &deed.what {
                What::Emit { kind, owner: Whose::New, .. } => {
                    let id = match &self.snapshot.options().ids {
                        Some(ids) => ids()?,
                        None => ids.next(self.snapshot.options().clock.now())?,
                    };
                    let target = Entity::new(kind.prefix(), &id.to_string())?;
                    self.event(deed, kind).map(|event| group.events.push(event.on(target)))
                }
                What::Emit { kind, owner, .. } => self.event(deed, kind).and_then(|event| {
                    group.events.push(match owner {
                        Whose::One(owned) => event.on(dry_run::entity(self.scope, owned)?),
                        Whose::Unsaid | Whose::New => event,
                    });
                    Ok(())
                }),
                What::Perform { verb, on } => self.perform(deed, verb, on).map(|perform| {
                    group.performs.push((group.events.len(), perform));
                }),
            };
            if let Err(why) = made {
                if let Err(Unmade::Ended(error)) = self.scope.allowance().made() {
                    return Err(error);
                }
                return Ok(Err(format!("{}: {why}", shorten(&deed.text))));
            }
        }
        Ok(Ok(group))
    }

    fn event(&self, deed: &'v Deed, kind: &EventType) -> std::result::Result<NewEvent, String> {
        let mut event = NewEvent::new(kind.as_str()).by(self.actor(deed)?);
        if let Some(data) = &deed.data {
            event = event.data(&Value::Object(dry_run::object(self.scope, data, "data")?));
        }
        if let Some(metadata) = &deed.metadata {
            event = event.metadata(&Value::Object(dry_run::object(self.scope, metadata, "META")?));
        }
        if let What::Emit { index, .. } = &deed.what {
            event = dry_run::tagged(self.scope, event, index)?;
        }
        event.timestamp = self.occurred(deed);
        event.cause.clone_from(&self.cause);
        event.expect.extend(deed.expect.clone());
        event.checked().map(|_| ()).map_err(|error| error.to_string())?;
        Ok(event)
    }

    fn perform(
        &self,
        deed: &'v Deed,
        verb: &str,
        on: &'v Owned,
    ) -> std::result::Result<PerformRequest, String> {
        let document = |node: &'v Option<plan::expr::BoundExpr>, what: &str| {
            let object = node.as_ref().map(|node| dry_run::object(self.scope, node, what)).transpose()?;
            Document::from_object(&object.unwrap_or_else(Object::new)).map_err(|error| error.to_string())
        };
        Ok(PerformRequest {
            data: document(&deed.data, "data")?,
            metadata: document(&deed.metadata, "META")?,
            actor: Some(self.actor(deed)?),
            timestamp: self.occurred(deed),
            cause: self.cause.clone(),
            expect: deed.expect.clone(),
            rule: self.snapshot.added_verb(verb),
            ..PerformRequest::new(verb, dry_run::entity(self.scope, on)?)
        })
    }

    fn actor(&self, deed: &'v Deed) -> std::result::Result<Entity, String> {
        match &deed.actor {
            Some(actor) => dry_run::entity(self.scope, actor),
            None => Ok(self.actor.clone()),
        }
    }

    fn occurred(&self, deed: &Deed) -> Option<Timestamp> {
        match deed.at? {
            OccurredAt::Time(time) => Some(time),
            OccurredAt::Ago(ago) => Some(self.now.saturating_sub(ago)),
        }
    }
}
