//! Binding of `BY`.

use std::ops::Bound;

use super::absence::named_otherwise;
use super::{Binder, expr::NameScope};
use crate::entity::{Entity, EventType, NameText, Position};
use crate::error::{Error, MissingItem, Result};
use crate::event::{BUILT_IN, Cause, EventId, is_built_in};
use crate::lang::ast::{Comparison, Expr, ExprKind, IdExpr, Literal, Selector, TagCondition, TagTest};
use crate::plan::by::{By, Derived, KeyLiteral, Tagged, Test, order};
use crate::plan::datum::instant_of;
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::fault::nearest;
use crate::plan::function;
use crate::store::index::term::IndexKey;
use crate::value::Value;

/// More index names than this are not gone through for what may have been meant.
const NAMES: usize = 1000;

impl Binder<'_> {
    pub(super) fn tags(&self, selector: &Selector) -> Result<Vec<By>> {
        selector.tags.iter().map(|tag| self.tag(tag, false)).collect()
    }

    /// For what is asked again at the commit: an index may be still being built, whoever asks then goes through the log.
    pub(super) fn tags_of_absent(&self, selector: &Selector) -> Result<Vec<By>> {
        selector.tags.iter().map(|tag| self.tag(tag, true)).collect()
    }

    fn tag(&self, tag: &TagCondition, unbuilt: bool) -> Result<By> {
        let name = tag.name.text.as_str();
        if let TagTest::Is(id) = &tag.test {
            self.check_entity(&tag.name, tag.span, true)?;
            return self.one(name, id, tag.span).map(By::Actor);
        }
        if !is_built_in(name) {
            return self.tagged(name, tag, unbuilt).map(By::Tag);
        }
        let one = |expr: &Expr| match &expr.kind {
            ExprKind::Literal(Literal::Position(position)) if name == "cause" => {
                self.position(*position, expr.span).map(|position| By::Cause(Cause::Event(position)))
            }
            // Its type may be any, with dots too: it is none of this database's kinds.
            ExprKind::Entity(elsewhere) if name == "cause" => {
                Ok(By::Cause(Cause::Named { kind: elsewhere.kind.text.clone(), id: self.id(&elsewhere.id)? }))
            }
            _ => self.built_in(name, tag, &self.constant(name, expr, tag)?),
        };
        match &tag.test {
            TagTest::Compare(Comparison::Equal, expr) => one(expr),
            TagTest::In(exprs) => Ok(By::Any(exprs.iter().map(one).collect::<Result<_>>()?)),
            _ => {
                let message = format!(
                    "BY {name}: it takes = and IN (…); say more in WHERE, which reads what BY and the pattern leave"
                );
                Err(self.fault(tag.span, message))
            }
        }
    }

    fn constant(&self, name: &str, expr: &Expr, tag: &TagCondition) -> Result<Constant> {
        // A call reads as an entity here, whose id is worked out.
        if let ExprKind::Entity(call) = &expr.kind
            && matches!(call.id, IdExpr::Expr(_))
            && function::named(&call.kind.text).is_some()
        {
            let message = "BY takes values, and no call: a time is written 2024-04-01, or 2024-04-01T10:00:00Z; WHERE takes calls";
            return Err(self.fault(expr.span, message));
        }
        match self.expr(expr, NameScope::None)? {
            BoundExpr::Constant(constant) => Ok(constant),
            BoundExpr::Now => self.now_at(expr.span).map(Constant::Time),
            _ => Err(self.fault(tag.span, format!("BY {name}: expected a value, found an expression"))),
        }
    }

    fn built_in(&self, name: &str, tag: &TagCondition, constant: &Constant) -> Result<By> {
        let entity = |what: fn(Entity) -> By| match constant {
            Constant::Entity(entity) => Ok(what(entity.clone())),
            _ => Err(self.fault(tag.span, format!("BY {name}: expected an entity, like {name} = User 7"))),
        };
        let text = |what: &str| {
            let text = match constant {
                Constant::Value(value) => super::id_text(value),
                _ => None,
            };
            text.ok_or_else(|| self.fault(tag.span, format!("BY {name}: expected {what}, in quotes")))
        };
        match name {
            "actor" => entity(By::Actor),
            "target" => entity(By::Target),
            "type" => self.at(tag.span, EventType::new(&text("a type like 'Order.paid'")?)).map(By::Type),
            "id" => self.at(tag.span, EventId::new(&text("the id of an event")?)).map(By::Id),
            "key" => text("a key").map(By::Key),
            "correlation" => text("a correlation").map(By::Correlation),
            _ => self.cause_of(tag, constant).map(By::Cause),
        }
    }

    fn cause_of(&self, tag: &TagCondition, constant: &Constant) -> Result<Cause> {
        match constant {
            Constant::Value(Value::Int(n)) if *n >= 0 => Ok(Cause::Event(Position(n.unsigned_abs()))),
            Constant::Value(Value::Text(id)) => {
                let id = self.at(tag.span, EventId::new(id))?;
                match self.names()?.position_of(&id)? {
                    Some(position) => Ok(Cause::Event(position)),
                    None => {
                        let message = format!("BY cause: no event of this log has the id '{id}'");
                        let item = MissingItem::Event { id: id.to_string() };
                        Err(self.missing_meaning(tag.span, item, message, None))
                    }
                }
            }
            _ => {
                let message = "BY cause: expected a position, like cause = #1207, the id of an event, or the type and id of what \
                               came from elsewhere";
                Err(self.fault(tag.span, message))
            }
        }
    }

    fn tagged(&self, name: &str, tag: &TagCondition, unbuilt: bool) -> Result<Tagged> {
        let test = self.test(name, tag)?;
        // A definition is of what events carry themselves.
        if self.names.is_none() {
            return Ok(Tagged::by(name, test, None));
        }
        if unbuilt {
            return self.at(tag.span, Tagged::new(self.names()?.catalog(), name, test));
        }
        let catalog = self.names()?.catalog();
        let index = catalog.usable(name).map(|index| Derived(index.clone()));
        if index.is_none()
            && let Some(index) = catalog.get(name)
        {
            let field = NameText(name);
            let failed = self.names()?.failure(index.position).map(|error| error.to_string());
            let message = match index.why_not_kept().or(failed) {
                None => {
                    let percent = index.percent();
                    let message = format!(
                        "BY {field}: its index is still being built, {percent} % so far; WHERE {} {test} asks the same without it",
                        index.text()
                    );
                    let item = MissingItem::Index { name: name.to_owned(), percent };
                    return Err(self.missing_meaning(tag.span, item, message, None));
                }
                Some(why) if index.is_understood() => format!(
                    "BY {field}: its index, defined at {}, does not answer: {why}; WHERE {} {test} asks the same without it",
                    index.position,
                    index.text()
                ),
                Some(why) => {
                    format!("BY {field}: its index, defined at {}, does not answer: {why}", index.position)
                }
            };
            return Err(self.fault(tag.span, message));
        }
        Ok(Tagged::by(name, test, index))
    }

    fn test(&self, name: &str, tag: &TagCondition) -> Result<Test> {
        let value = |expr: &Expr| match self.constant(name, expr, tag)? {
            Constant::Value(
                value @ (Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_)),
            ) => Ok(IndexKey::Value(value)),
            Constant::Time(time) => {
                self.instants.set(true);
                Ok(IndexKey::Time(time))
            }
            other => {
                let found = match other {
                    Constant::Entity(entity) => format!(", found the entity {entity}"),
                    _ => String::new(),
                };
                let message = format!(
                    "BY {name}: expected text, a number or a boolean{found}: an index holds no others"
                );
                Err(self.fault(tag.span, message))
            }
        };
        Ok(match &tag.test {
            TagTest::Compare(comparison, expr) => {
                let value = value(expr)?;
                match comparison {
                    Comparison::Equal => Test::Is(value),
                    Comparison::NotEqual => Test::Not(value),
                    Comparison::Less => Test::Between(Bound::Unbounded, Bound::Excluded(value)),
                    Comparison::LessOrEqual => Test::Between(Bound::Unbounded, Bound::Included(value)),
                    Comparison::Greater => Test::Between(Bound::Excluded(value), Bound::Unbounded),
                    Comparison::GreaterOrEqual => Test::Between(Bound::Included(value), Bound::Unbounded),
                }
            }
            TagTest::In(exprs) => Test::In(exprs.iter().map(value).collect::<Result<_>>()?),
            TagTest::Between(low, high) => {
                let (low, high) = of_one_sort(value(low)?, value(high)?);
                if order(&low, &high).is_none() {
                    let message = format!(
                        "BY {name}: {} and {} are of two sorts, and nothing lies between them",
                        KeyLiteral(&low),
                        KeyLiteral(&high)
                    );
                    return Err(self.fault(tag.span, message));
                }
                Test::Between(Bound::Included(low), Bound::Included(high))
            }
            // An actor, and never an index value.
            TagTest::Is(_) => return Err(self.fault(tag.span, format!("BY {name}: expected a comparison"))),
        })
    }

    /// An error for a name that no index answers.
    pub(super) fn check_indexed(&self, selector: &Selector, tags: &[By]) -> Result<()> {
        for (tag, by) in selector.tags.iter().zip(tags) {
            if let By::Tag(Tagged { name, test, index: None, .. }) = by
                && !self.names()?.has_tag(name)?
            {
                return Err(self.unknown_name(selector, tag, name, test)?);
            }
        }
        Ok(())
    }

    /// Names of `BY` that no event is found by yet: what waits for one may wait for ever.
    pub(super) fn unanswered(&self, selector: &Selector) -> Result<Option<String>> {
        for tag in &selector.tags {
            let name = tag.name.text.as_str();
            let names = self.names()?;
            let is_known = matches!(tag.test, TagTest::Is(_)) || is_built_in(name);
            if is_known || names.catalog().get(name).is_some() || names.has_tag(name)? {
                continue;
            }
            let what = named_otherwise(names, name)?.map_or_else(String::new, |what| format!(" ({what})"));
            let field = NameText(name);
            return Ok(Some(format!(
                "BY {field}: no index answers it{what}, and no event was emitted with INDEX BY {field} yet"
            )));
        }
        Ok(None)
    }

    fn unknown_name(
        &self,
        selector: &Selector,
        tag: &TagCondition,
        name: &str,
        test: &Test,
    ) -> Result<Error> {
        let on = selector.pattern.as_ref().map_or(Ok("*".to_owned()), |text| self.text(text, "a pattern"))?;
        let field = NameText(name);
        let elsewhere = match name {
            "timestamp" => Some("times are asked for with SINCE and UNTIL, as in SINCE '2024-01-01'"),
            "position" => Some("positions are asked for with SINCE and UNTIL, as in SINCE #4 UNTIL #5"),
            _ => None,
        };
        if let Some(elsewhere) = elsewhere {
            return Ok(self.fault(tag.span, format!("BY {name} is not needed: {elsewhere}")));
        }
        let message = match named_otherwise(self.names()?, name)? {
            None => format!(
                "BY {name}: no index answers it, and no event was emitted with INDEX BY {name}; \
                 write DEFINE INDEX {field} ON '{on}' AS data.{field}, or WHERE data.{field} {test}"
            ),
            Some(what) => format!(
                "BY {name}: no index answers it ({what}), and no event was emitted with INDEX BY {name}; write WHERE data.{field} {test}, or \
                 DEFINE INDEX with a name that is free"
            ),
        };
        let known = self.names()?.tag_names(NAMES)?;
        let indexes = self.names()?.catalog().iter().map(|index| index.name());
        let known = known.iter().map(String::as_str).chain(indexes).chain(BUILT_IN);
        let meant = nearest(name, known).map(|name| NameText(name).to_string());
        let item = MissingItem::Name { sort: "index", name: name.to_owned() };
        Ok(self.missing_meaning(tag.span, item, message, meant))
    }
}

/// The ends of a range: beside a time, a text that says an instant is that instant.
fn of_one_sort(low: IndexKey, high: IndexKey) -> (IndexKey, IndexKey) {
    let beside = |key: IndexKey, other: &IndexKey| match (&key, other) {
        (IndexKey::Value(Value::Text(text)), IndexKey::Time(_)) => {
            instant_of(text).map_or(key, IndexKey::Time)
        }
        _ => key,
    };
    let low = beside(low, &high);
    let high = beside(high, &low);
    (low, high)
}
