//! Binding of writes.

use std::sync::Arc;

use super::absence::{is_known, unknown};
use super::{Binder, expr::NameScope};
use crate::entity::{Entity, EventType, NameText, Position, Version};
use crate::error::{MissingItem, Result};
use crate::event::{self, EventId, Expect};
use crate::lang::ast::{
    self, Body, CauseClause, EmitId, EventClauses, GuardClause, GuardKind, PointKind, TextExpr,
};
use crate::plan::absence::AbsenceCheck;
use crate::plan::by::By;
use crate::plan::expr::BoundExpr;
use crate::plan::fault::nearest;
use crate::plan::moment::ResolvedPoint;
use crate::plan::write::{Append, AppendAction, EmitPlan, EventOwner, OccurredAt, PerformPlan};
use crate::store::index::term::Term;
use crate::store::verb::VerbHandler;
use crate::value::{Object, Value};

impl Binder<'_> {
    pub(super) fn append(&self, write: &ast::WriteStmt) -> Result<Append> {
        let beside = Beside { own: own_names(write), write };
        match write {
            ast::WriteStmt::Act(act) => {
                let key = match act {
                    // It is one key for all that it makes.
                    ast::ActStmt::Perform(perform) => perform.facts.key.as_ref(),
                    ast::ActStmt::Emit(_) | ast::ActStmt::Close(_) => None,
                };
                let key = key.map(|key| self.text(key, "KEY")).transpose()?;
                let acts = vec![self.act(act, &EventClauses::default(), &beside)?];
                Ok(Append { acts, key, expect: Vec::new(), none: Vec::new(), now: self.now()? })
            }
            ast::WriteStmt::Atomic { acts, facts } => {
                if let Some(index) = facts.index.first() {
                    let message = "INDEX BY is of one event: say it inside the brackets";
                    return Err(self.fault(index.name.span, message));
                }
                if let Some(id) = &facts.id {
                    return Err(self.fault(id.span(), "ID is of one event: say it inside the brackets"));
                }
                for act in acts {
                    if let ast::ActStmt::Perform(perform) = act
                        && let Some(key) = &perform.facts.key
                    {
                        let message = "KEY within ATOMIC is of one event, and a verb may make several: say one KEY \
                                       behind the brackets";
                        return Err(self.fault(key.span(), message));
                    }
                }
                let acts =
                    acts.iter().map(|act| self.act(act, facts, &beside)).collect::<Result<Vec<_>>>()?;
                let key = facts.key.as_ref().map(|key| self.text(key, "KEY")).transpose()?;
                let (expect, none) = (self.expect(facts)?, self.absence(facts, None, &beside)?);
                Ok(Append { acts, key, expect, none, now: self.now()? })
            }
        }
    }

    /// Whether all that it makes was made before, by its keys or ids. It is then given back whatever verbs and names there are by now: those that
    /// ended did so behind it, and this snapshot shows both.
    fn is_retry(&self, write: &ast::WriteStmt) -> Result<bool> {
        let (acts, shared) = match write {
            ast::WriteStmt::Act(act) => (std::slice::from_ref(act), None),
            ast::WriteStmt::Atomic { acts, facts } => (acts.as_slice(), facts.key.as_ref()),
        };
        if let Some(key) = shared {
            return self.is_known_key(key);
        }
        for facts in acts.iter().map(facts_of) {
            let is_known = match (&facts.key, &facts.id) {
                (Some(key), _) => self.is_known_key(key)?,
                (None, Some(id)) => self.position_of(&self.text(id, "ID")?, id.span())?.is_some(),
                (None, None) => false,
            };
            if !is_known {
                return Ok(false);
            }
        }
        Ok(!acts.is_empty())
    }

    fn is_known_key(&self, key: &TextExpr) -> Result<bool> {
        let term = self.at(key.span(), Term::key(&self.text(key, "KEY")?))?;
        self.names()?.has_term(term)
    }

    /// `BY`, `AT`, `META` and `CAUSED BY` of an `ATOMIC` hold for those of its acts that do not say their own.
    fn act(&self, act: &ast::ActStmt, shared: &EventClauses, beside: &Beside) -> Result<AppendAction> {
        match act {
            ast::ActStmt::Emit(emit) => self.emit(emit, shared, beside).map(AppendAction::Emit),
            ast::ActStmt::Perform(perform) => {
                self.perform(perform, shared, beside).map(AppendAction::Perform)
            }
            ast::ActStmt::Close(close) => self.close(close, shared, beside).map(AppendAction::Emit),
        }
    }

    fn emit(&self, emit: &ast::EmitStmt, shared: &EventClauses, beside: &Beside) -> Result<EmitPlan> {
        let data = emit.body.as_ref().map(|body| self.body(body)).transpose()?;
        self.event_to_be(
            emit.event_type.event_type.clone(),
            self.owner(emit)?,
            data,
            &emit.facts,
            shared,
            beside,
        )
    }

    /// `CLOSE` and `REOPEN`: an event of the database's own, on the entity.
    fn close(&self, close: &ast::CloseStmt, shared: &EventClauses, beside: &Beside) -> Result<EmitPlan> {
        let kind = EventType::new(if close.reopens { event::REOPENED } else { event::CLOSED })?;
        let because = close.because.as_ref().map(|because| self.text(because, "BECAUSE")).transpose()?;
        let data = because.map(|because| {
            BoundExpr::value(Value::Object(Object::from_iter([("because".to_owned(), because.into())])))
        });
        let owner = EventOwner::Entity(self.entity(&close.entity)?);
        self.event_to_be(kind, owner, data, &close.facts, shared, beside)
    }

    fn event_to_be(
        &self,
        kind: EventType,
        owner: EventOwner,
        data: Option<BoundExpr>,
        facts: &EventClauses,
        shared: &EventClauses,
        beside: &Beside,
    ) -> Result<EmitPlan> {
        let index = facts.index.iter().map(|tag| {
            self.check_index_name(&tag.name)?;
            let value = tag.value.as_ref().map(|value| self.expr(value, NameScope::None)).transpose()?;
            Ok((tag.name.text.clone(), value))
        });
        let target = match &owner {
            EventOwner::Entity(target) => Some(target),
            _ => None,
        };
        Ok(EmitPlan {
            kind,
            none: self.absence(facts, target, beside)?,
            owner,
            data,
            metadata: self.meta(facts, shared)?,
            actor: self.actor(facts, shared)?,
            at: self.when(facts.at.as_ref().or(shared.at.as_ref()))?,
            key: facts.key.as_ref().map(|key| self.text(key, "KEY")).transpose()?,
            id: facts.id.as_ref().map(|id| self.event_id(id)).transpose()?,
            cause: self.cause(facts.cause.as_ref().or(shared.cause.as_ref()))?,
            expect: self.expect(facts)?,
            index: index.collect::<Result<_>>()?,
        })
    }

    fn perform(
        &self,
        perform: &ast::PerformStmt,
        shared: &EventClauses,
        beside: &Beside,
    ) -> Result<PerformPlan> {
        let facts = &perform.facts;
        let rule = match self.check_verb(perform) {
            Err(_) if self.is_retry(beside.write)? => self.names()?.added_verb(&perform.verb.text),
            rule => rule?,
        };
        if let Some(index) = facts.index.first() {
            let message = "INDEX BY is of one event: the EMIT of the verb says it";
            return Err(self.fault(index.name.span, message));
        }
        self.refuse_id(facts)?;
        let entity = self.entity(&perform.entity)?;
        Ok(PerformPlan {
            verb: perform.verb.text.clone(),
            rule,
            none: self.absence(facts, Some(&entity), beside)?,
            entity,
            data: perform.body.as_ref().map(|body| self.body(body)).transpose()?,
            metadata: self.meta(facts, shared)?,
            actor: self.actor(facts, shared)?,
            at: self.when(facts.at.as_ref().or(shared.at.as_ref()))?,
            cause: self.cause(facts.cause.as_ref().or(shared.cause.as_ref()))?,
            expect: self.expect(facts)?,
        })
    }

    /// An error for a verb that is not there, and for one of other entities: both are looked at again at the commit, and neither matters
    /// to what a known key made before. What it does, where the program said that.
    pub(super) fn check_verb(&self, perform: &ast::PerformStmt) -> Result<Option<Arc<dyn VerbHandler>>> {
        let (name, names) = (&perform.verb, self.names()?);
        let catalog = names.catalog();
        let added = names.added_verb(&name.text);
        let rule = match (&added, catalog.verb(&name.text)) {
            (Some(added), _) => added,
            (None, Some(verb)) => verb.rule()?,
            (None, None) => {
                let added = names.added_verbs();
                let known = catalog.verbs().map(|verb| verb.name.as_str());
                let known = known.chain(added.iter().map(|(name, _)| name.as_str()));
                let meant = nearest(&name.text, known).map(|name| NameText(name).to_string());
                let message = format!("no verb '{}' is defined; SHOW VERBS tells which are", name.text);
                let item = MissingItem::Name { sort: "verb", name: name.text.clone() };
                return Err(self.missing_meaning(name.span, item, message, meant));
            }
        };
        let (kind, of) = (&perform.entity.kind, rule.kind());
        if kind.text != of {
            let message = format!("{} is a verb of {}, not of {kind}", NameText(&name.text), NameText(of));
            return Err(self.fault_meaning(kind.span, message, Some(NameText(of).to_string())));
        }
        Ok(added)
    }

    /// The id that a caller gives an event.
    fn event_id(&self, id: &TextExpr) -> Result<EventId> {
        self.at(id.span(), EventId::new(&self.text(id, "ID")?))
    }

    /// What makes events says no id: they are several, or others each time.
    pub(super) fn refuse_id(&self, facts: &EventClauses) -> Result<()> {
        match &facts.id {
            Some(id) => {
                let message = "ID is of one event, which EMIT appends: what a verb, a reaction or a schedule makes takes effect once by its key";
                Err(self.fault(id.span(), message))
            }
            None => Ok(()),
        }
    }

    fn actor(&self, facts: &EventClauses, shared: &EventClauses) -> Result<Option<Entity>> {
        match facts.actor.as_ref().or(shared.actor.as_ref()) {
            Some(actor) => self.entity(actor).map(Some),
            None => Ok(self.context.default_actor.cloned()),
        }
    }

    fn meta(&self, facts: &EventClauses, shared: &EventClauses) -> Result<Option<BoundExpr>> {
        let meta = facts.meta.as_ref().or(shared.meta.as_ref());
        meta.map(|meta| self.object(meta, NameScope::None)).transpose()
    }

    fn owner(&self, emit: &ast::EmitStmt) -> Result<EventOwner> {
        let kind = &emit.event_type;
        match (&emit.id, &emit.owner) {
            (None, None) => Ok(EventOwner::Unsaid),
            (None, Some(owner)) => self.entity(owner).map(EventOwner::Entity),
            (Some(EmitId::New(_)), None) => Ok(EventOwner::New),
            (Some(EmitId::Id(id)), None) => {
                let target = Entity::new(kind.event_type.prefix(), &self.id(id)?);
                self.at(id.span(), target).map(EventOwner::Entity)
            }
            (Some(_), Some(owner)) => {
                let message = format!(
                    "an event joins one history: the id says {}, and ON says {}; leave one out",
                    kind.event_type.prefix(),
                    owner.kind.text
                );
                Err(self.fault(owner.span, message))
            }
        }
    }

    fn body(&self, body: &Body) -> Result<BoundExpr> {
        match body {
            Body::Object(object) => self.object(object, NameScope::None),
            Body::With(expr) => {
                let node = self.expr(expr, NameScope::None)?;
                match &node {
                    BoundExpr::Object(_) => Ok(node),
                    BoundExpr::Constant(crate::plan::expr::Constant::Value(Value::Object(_))) => Ok(node),
                    _ => {
                        let message =
                            "WITH: expected an object, like WITH {total: 10} or a parameter that is one";
                        Err(self.fault(expr.span, message))
                    }
                }
            }
        }
    }

    fn when(&self, at: Option<&ast::PointExpr>) -> Result<Option<OccurredAt>> {
        let Some(point) = at else { return Ok(None) };
        match &point.kind {
            PointKind::Now => Ok(None),
            PointKind::Ago(duration) => {
                self.time_ago(*duration, point.span)?;
                Ok(Some(OccurredAt::Ago(*duration)))
            }
            _ => match self.point(point, None)? {
                ResolvedPoint::Time(time) => Ok(Some(OccurredAt::Time(time))),
                ResolvedPoint::Position(_) => {
                    Err(self.fault(point.span, "AT of an event is when it occurred: expected a time"))
                }
            },
        }
    }

    fn cause(&self, cause: Option<&CauseClause>) -> Result<Option<event::Cause>> {
        Ok(match cause {
            None => None,
            Some(CauseClause::Event(event)) => Some(event::Cause::Event(self.event(event)?)),
            Some(CauseClause::Elsewhere { event_type, id }) => Some(event::Cause::Named {
                kind: event_type.event_type.as_str().to_owned(),
                id: self.id(id)?,
            }),
        })
    }

    /// How the target is to be before it.
    fn expect(&self, facts: &EventClauses) -> Result<Vec<Expect>> {
        let each = facts.expect.iter().map(|guard| self.of_target(guard));
        each.filter_map(Result::transpose).collect()
    }

    /// How a guard wants the target; none where it is about the log.
    pub(super) fn of_target(&self, guard: &GuardClause) -> Result<Option<Expect>> {
        Ok(Some(match &guard.kind {
            GuardKind::New => Expect::New,
            GuardKind::Exists => Expect::Exists,
            GuardKind::Absent => Expect::Absent,
            GuardKind::Version(count) => Expect::Version(Version(self.count(count, "EXPECT VERSION")?)),
            GuardKind::None { .. } => return Ok(None),
        }))
    }

    /// What must not be in the log. No event that one of several selects: none that the first does, and none that the second does.
    /// `SINCE VERSION n` counts the events of the entity that it is said of.
    fn absence(
        &self,
        facts: &EventClauses,
        entity: Option<&Entity>,
        beside: &Beside,
    ) -> Result<Vec<AbsenceCheck>> {
        let mut checks = Vec::new();
        for guard in &facts.expect {
            let GuardKind::None { selectors, since } = &guard.kind else { continue };
            let since = since.as_ref().map(|point| self.point(point, entity)).transpose()?;
            for selector in selectors {
                checks.push(self.absence_of(selector, since.as_ref(), guard.span, beside)?);
            }
        }
        Ok(checks)
    }

    fn absence_of(
        &self,
        selector: &ast::Selector,
        since: Option<&ResolvedPoint>,
        span: ast::Span,
        beside: &Beside,
    ) -> Result<AbsenceCheck> {
        let by = self.tags_of_absent(selector)?;
        let pattern = self.pattern(selector)?;
        for (tag, by) in selector.tags.iter().zip(&by) {
            if let By::Tag(tagged) = by
                && !is_known(tagged, self.names()?, &beside.own)?
                && !self.is_retry(beside.write)?
            {
                let message = format!(
                    "BY {}: {}",
                    NameText(&tagged.name),
                    unknown(self.names()?, &tagged.name, &pattern)?
                );
                let item = MissingItem::Name { sort: "index", name: tagged.name.clone() };
                return Err(self.missing_meaning(tag.span, item, message, None));
            }
        }
        let (mut after, mut from) = (Position::START, None);
        match since {
            Some(ResolvedPoint::Position(position)) => after = *position,
            Some(ResolvedPoint::Time(time)) => from = Some(*time),
            None => {}
        }
        self.at(span, AbsenceCheck::new(pattern, by, after, from))
    }
}

/// What an act is bound with, of the whole write that it is part of.
struct Beside<'w> {
    /// The names of the index values that come with it.
    own: Vec<&'w str>,
    write: &'w ast::WriteStmt,
}

fn facts_of(act: &ast::ActStmt) -> &EventClauses {
    match act {
        ast::ActStmt::Emit(emit) => &emit.facts,
        ast::ActStmt::Perform(perform) => &perform.facts,
        ast::ActStmt::Close(close) => &close.facts,
    }
}

/// The names of the index values that a write appends.
fn own_names(write: &ast::WriteStmt) -> Vec<&str> {
    let acts = match write {
        ast::WriteStmt::Act(act) => std::slice::from_ref(act),
        ast::WriteStmt::Atomic { acts, .. } => acts,
    };
    let names = acts.iter().flat_map(|act| match act {
        ast::ActStmt::Emit(emit) => emit.facts.index.as_slice(),
        ast::ActStmt::Close(close) => close.facts.index.as_slice(),
        ast::ActStmt::Perform(_) => &[],
    });
    names.map(|tag| tag.name.text.as_str()).collect()
}
