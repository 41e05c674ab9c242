//! Binding of reads.

use super::{Binder, expr::Names};
use crate::entity::{Entity, EventType, Position};
use crate::error::Result;
use crate::event::{Cause, EventId};
use crate::lang::ast::{
    Clauses, Comparison, EntityRef, Expr, Point, PointKind, Selector, Source, Subscribe, Tag, TagTest,
};
use crate::pattern::Pattern;
use crate::plan::expr::{Constant, Node};
use crate::plan::later::Later;
use crate::plan::{
    By, Events, Moment, Predicate, ReadKind, Replay, Subscription, Take, Until, Window, source_of,
};
use crate::value::Value;

impl Binder<'_> {
    pub(super) fn history(&self, entity: &EntityRef, clauses: &Clauses) -> Result<ReadKind> {
        let entity = self.entity(entity)?;
        self.query(None, vec![By::Target(entity.clone())], clauses, Some(&entity))
    }

    pub(super) fn events(&self, selector: &Selector, clauses: &Clauses) -> Result<ReadKind> {
        let pattern = self.pattern(selector)?;
        let tags = self.tags(selector)?;
        for (tag, by) in selector.tags.iter().zip(&tags) {
            if let By::Tag { name, value } = by
                && !self.snapshot()?.has_tag(name)?
            {
                let on = selector.pattern.as_ref().map_or("*".to_owned(), |_| pattern.to_string());
                let field = crate::entity::Name(name);
                let message = format!(
                    "BY {name}: no index answers it, and no event was emitted with INDEX BY {name}; \
                     write DEFINE INDEX {field} ON '{on}' AS data.{field}, or WHERE data.{field} = {}",
                    shown(value)
                );
                return Err(self.fault(tag.span, message));
            }
        }
        self.query(Some(pattern), tags, clauses, None)
    }

    fn query(
        &self,
        pattern: Option<Pattern>,
        tags: Vec<By>,
        clauses: &Clauses,
        entity: Option<&Entity>,
    ) -> Result<ReadKind> {
        if let Some(point) = &clauses.at {
            return Err(self.fault(
                point.span,
                "AT tells of states (AT Order 42 …, FIND … AT …); events take SINCE, UNTIL or AS OF",
            ));
        }
        let window = self.window(clauses, entity)?;
        let predicate =
            clauses.filter.as_ref().map(|filter| self.predicate(filter, Names::Event)).transpose()?;
        let (source, pattern) = source_of(self.snapshot()?, pattern, &tags)?;
        let events = Events { source, pattern, window, predicate, take: Take::All };
        self.shape(clauses, events, entity.is_some())
    }

    pub(super) fn predicate(&self, filter: &Expr, names: Names) -> Result<Predicate> {
        let text = self.context.text.get(filter.span.range()).unwrap_or_default();
        Ok(Predicate { node: self.expr(filter, names)?, text: text.to_owned() })
    }

    fn pattern(&self, selector: &Selector) -> Result<Pattern> {
        match &selector.pattern {
            None => Ok(Pattern::all()),
            Some(text) => self.at(text.span(), self.text(text, "a pattern")?.parse()),
        }
    }

    fn tags(&self, selector: &Selector) -> Result<Vec<By>> {
        selector.tags.iter().map(|tag| self.tag(tag)).collect()
    }

    fn tag(&self, tag: &Tag) -> Result<By> {
        let name = tag.name.text.as_str();
        let value = match &tag.test {
            TagTest::Is(id) => return self.one(name, id, tag.span).map(By::Actor),
            TagTest::Compare(Comparison::Equal, expr) => self.expr(expr, Names::None)?,
            TagTest::Compare(..) | TagTest::In(_) | TagTest::Between(..) => {
                return Err(Later::ByRange.error());
            }
        };
        let Node::Constant(constant) = value else {
            return Err(self.fault(tag.span, format!("BY {name}: expected a value, found an expression")));
        };
        let entity = |what: fn(Entity) -> By| match &constant {
            Constant::Entity(entity) => Ok(what(entity.clone())),
            _ => Err(self.fault(tag.span, format!("BY {name}: expected an entity, like {name} = User 7"))),
        };
        let text = || match &constant {
            Constant::Value(value) => super::id_text(value),
            _ => None,
        };
        let text = |what: &str| {
            text().ok_or_else(|| self.fault(tag.span, format!("BY {name}: expected {what}, in quotes")))
        };
        match name {
            "actor" => entity(By::Actor),
            "target" => entity(By::Target),
            "type" => self.at(tag.span, EventType::new(&text("a type like 'Order.paid'")?)).map(By::Type),
            "id" => self.at(tag.span, EventId::new(&text("the id of an event")?)).map(By::Id),
            "key" => text("a key").map(By::Key),
            "correlation" => text("a correlation").map(By::Correlation),
            "cause" => match &constant {
                Constant::Value(Value::Int(n)) if *n >= 0 => {
                    Ok(By::Cause(Cause::Event(Position(n.unsigned_abs()))))
                }
                Constant::Value(Value::Text(id)) => {
                    let id = self.at(tag.span, EventId::new(id))?;
                    match self.snapshot()?.position_of(&id)? {
                        Some(position) => Ok(By::Cause(Cause::Event(position))),
                        None => {
                            Err(self
                                .fault(tag.span, format!("BY cause: no event of this log has the id '{id}'")))
                        }
                    }
                }
                Constant::Entity(entity) => {
                    Ok(By::Cause(Cause::Named { kind: entity.kind().to_owned(), id: entity.id().to_owned() }))
                }
                _ => Err(self.fault(tag.span, "BY cause: expected a position, like cause = 1207, or an id")),
            },
            _ => match constant {
                Constant::Value(value @ (Value::Text(_) | Value::Bool(_))) => {
                    Ok(By::Tag { name: name.to_owned(), value })
                }
                Constant::Value(value @ (Value::Int(_) | Value::UInt(_) | Value::Float(_))) => {
                    Ok(By::Tag { name: name.to_owned(), value })
                }
                Constant::Time(time) => {
                    Ok(By::Tag { name: name.to_owned(), value: Value::Text(time.to_string()) })
                }
                _ => Err(self.fault(
                    tag.span,
                    format!("BY {name}: expected text, a number or a boolean: an index holds no others"),
                )),
            },
        }
    }

    pub(super) fn replay(
        &self,
        entity: &EntityRef,
        at: Option<&Point>,
        as_of: Option<&Point>,
    ) -> Result<Replay> {
        let entity = self.entity(entity)?;
        let at = at.map(|point| self.point(point, Some(&entity))).transpose()?;
        let (through, as_of) = self.as_of(as_of, Some(&entity))?;
        let mut window = Window::through(through.0);
        match at {
            Some(Moment::Position(position)) => window.through = window.through.min(position.0),
            Some(Moment::Time(time)) => window.by = Some(time),
            None => {}
        }
        Ok(Replay { entity, window, at, as_of })
    }

    pub(super) fn subscription(&self, subscribe: &Subscribe) -> Result<Subscription> {
        let Source::Events(selector) = &subscribe.source else { return Err(Later::SubscribeView.error()) };
        let until = match &subscribe.until {
            None => None,
            // What has been recorded by now is what there is: the head, though it was recorded at this very instant.
            Some(Point { kind: PointKind::Now, .. }) => Some(Until::Position(self.snapshot()?.head())),
            Some(point) => Some(match self.point(point, None)? {
                Moment::Position(position) => Until::Position(position),
                Moment::Time(time) if time > self.now()? => Until::Recorded(time),
                Moment::Time(time) => Until::Position(self.recorded(time, true)?),
            }),
        };
        Ok(Subscription {
            pattern: self.pattern(selector)?,
            tags: self.tags(selector)?,
            predicate: subscribe
                .filter
                .as_ref()
                .map(|filter| self.predicate(filter, Names::Event))
                .transpose()?,
            from: subscribe.from.as_ref().map(|start| self.start(start)).transpose()?,
            until,
            limit: subscribe.limit.as_ref().map(|limit| self.count(limit, "LIMIT")).transpose()?,
        })
    }
}

/// A value as the language writes it.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}
