//! Binding of writes.

use super::{Binder, expr::Names};
use crate::entity::{Entity, Name, Version};
use crate::error::Result;
use crate::event::{self, Expect};
use crate::lang::ast::{self, Act, Body, Cause, EmitId, Facts, Guard, GuardKind, PointKind};
use crate::plan::absence::{is_known, unknown};
use crate::plan::expr::Node;
use crate::plan::later::Later;
use crate::plan::{Absence, Append, By, Emit, Moment, Owner, When};
use crate::value::Value;

impl Binder<'_> {
    pub(super) fn append(&self, write: &ast::Write) -> Result<Append> {
        let own = own_names(write);
        match write {
            ast::Write::Act(act) => {
                let emit = self.act(act, &Facts::default(), &own)?;
                Ok(Append { emits: vec![emit], key: None, expect: None, none: None, now: self.now()? })
            }
            ast::Write::Atomic { acts, facts } => {
                if let Some(index) = facts.index.first() {
                    let message = "INDEX BY is of one event: say it inside the brackets";
                    return Err(self.fault(index.name.span, message));
                }
                let emits = acts.iter().map(|act| self.act(act, facts, &own)).collect::<Result<Vec<_>>>()?;
                let key = facts.key.as_ref().map(|key| self.text(key, "KEY")).transpose()?;
                let (expect, none) = (self.expect(facts)?, self.absence(facts, None, &own)?);
                Ok(Append { emits, key, expect, none, now: self.now()? })
            }
        }
    }

    /// `BY`, `AT`, `META` and `CAUSED BY` of an `ATOMIC` hold for those of its acts that do not say their own.
    fn act(&self, act: &Act, shared: &Facts, own: &[&str]) -> Result<Emit> {
        let Act::Emit(emit) = act else { return Err(Later::Perform.error()) };
        let facts = &emit.facts;
        let actor = match facts.actor.as_ref().or(shared.actor.as_ref()) {
            Some(actor) => Some(self.entity(actor)?),
            None => self.context.default_actor.cloned(),
        };
        let meta = facts.meta.as_ref().or(shared.meta.as_ref());
        let index = facts.index.iter().map(|tag| {
            let value = tag.value.as_ref().map(|value| self.expr(value, Names::None)).transpose()?;
            Ok((tag.name.text.clone(), value))
        });
        let owner = self.owner(emit)?;
        let target = match &owner {
            Owner::Entity(target) => Some(target),
            _ => None,
        };
        Ok(Emit {
            kind: emit.event_type.event_type.clone(),
            none: self.absence(facts, target, own)?,
            owner,
            data: emit.body.as_ref().map(|body| self.body(body)).transpose()?,
            metadata: meta.map(|meta| self.object(meta, Names::None)).transpose()?,
            actor,
            at: self.when(facts.at.as_ref().or(shared.at.as_ref()))?,
            key: facts.key.as_ref().map(|key| self.text(key, "KEY")).transpose()?,
            cause: self.cause(facts.cause.as_ref().or(shared.cause.as_ref()))?,
            expect: self.expect(facts)?,
            index: index.collect::<Result<_>>()?,
        })
    }

    fn owner(&self, emit: &ast::Emit) -> Result<Owner> {
        let kind = &emit.event_type;
        match (&emit.id, &emit.owner) {
            (None, None) => Ok(Owner::Unsaid),
            (None, Some(owner)) => self.entity(owner).map(Owner::Entity),
            (Some(EmitId::New(_)), None) => Ok(Owner::New),
            (Some(EmitId::Id(id)), None) => {
                let target = Entity::new(kind.event_type.prefix(), &self.id(id)?);
                self.at(id.span(), target).map(Owner::Entity)
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

    fn body(&self, body: &Body) -> Result<Node> {
        match body {
            Body::Object(object) => self.object(object, Names::None),
            Body::With(expr) => {
                let node = self.expr(expr, Names::None)?;
                match &node {
                    Node::Object(_) => Ok(node),
                    Node::Constant(crate::plan::expr::Constant::Value(Value::Object(_))) => Ok(node),
                    _ => {
                        let message =
                            "WITH: expected an object, like WITH {total: 10} or a parameter that is one";
                        Err(self.fault(expr.span, message))
                    }
                }
            }
        }
    }

    fn when(&self, at: Option<&ast::Point>) -> Result<Option<When>> {
        let Some(point) = at else { return Ok(None) };
        match &point.kind {
            PointKind::Now => Ok(None),
            PointKind::Ago(duration) => Ok(Some(When::Ago(*duration))),
            _ => match self.point(point, None)? {
                Moment::Time(time) => Ok(Some(When::Time(time))),
                Moment::Position(_) => {
                    Err(self.fault(point.span, "AT of an event is when it occurred: expected a time"))
                }
            },
        }
    }

    fn cause(&self, cause: Option<&Cause>) -> Result<Option<event::Cause>> {
        Ok(match cause {
            None => None,
            Some(Cause::Event(event)) => Some(event::Cause::Event(self.event(event)?)),
            Some(Cause::Elsewhere { event_type, id }) => Some(event::Cause::Named {
                kind: event_type.event_type.as_str().to_owned(),
                id: self.id(id)?,
            }),
        })
    }

    /// How the target is to be before it.
    fn expect(&self, facts: &Facts) -> Result<Option<Expect>> {
        let Some(guard) = &facts.expect else { return Ok(None) };
        Ok(Some(match &guard.kind {
            GuardKind::New => Expect::New,
            GuardKind::Exists => Expect::Exists,
            GuardKind::Version(count) => Expect::Version(Version(self.count(count, "EXPECT VERSION")?)),
            GuardKind::None { .. } => return Ok(None),
        }))
    }

    /// What must not be in the log. `SINCE VERSION n` counts the events of the entity that it is said of; `own` are the index values
    /// that come with it.
    fn absence(&self, facts: &Facts, entity: Option<&Entity>, own: &[&str]) -> Result<Option<Absence>> {
        let Some(Guard { kind: GuardKind::None { selector, since }, span }) = &facts.expect else {
            return Ok(None);
        };
        let by = self.tags_of_absent(selector)?;
        let pattern = self.pattern(selector)?;
        for (tag, by) in selector.tags.iter().zip(&by) {
            if let By::Tag(tagged) = by
                && !is_known(tagged, self.snapshot()?, own)?
            {
                let message = format!("BY {}: {}", Name(&tagged.name), unknown(&tagged.name, &pattern));
                return Err(self.fault(tag.span, message));
            }
        }
        let (mut after, mut from) = (0, None);
        match since.as_ref().map(|point| self.point(point, entity)).transpose()? {
            Some(Moment::Position(position)) => after = position.0,
            Some(Moment::Time(time)) => from = Some(time),
            None => {}
        }
        self.at(*span, Absence::new(pattern, by, after, from)).map(Some)
    }
}

/// The names of the index values that a write appends.
fn own_names(write: &ast::Write) -> Vec<&str> {
    let acts = match write {
        ast::Write::Act(act) => std::slice::from_ref(act),
        ast::Write::Atomic { acts, .. } => acts,
    };
    let names = acts.iter().flat_map(|act| match act {
        Act::Emit(emit) => emit.facts.index.as_slice(),
        Act::Perform(_) => &[],
    });
    names.map(|tag| tag.name.text.as_str()).collect()
}
