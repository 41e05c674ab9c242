//! Binding of what a definition says of events that are yet to be made: in verbs, in reactions and in schedules.

use super::expr::NameScope;
use super::{Binder, id_text};
use crate::entity::{Entity, Position};
use crate::error::Result;
use crate::event::{Expect, is_built_in};
use crate::lang::ast::{
    self, Body, CountLiteral, EntityRef, EventClauses, GuardKind, IdExpr, IndexTag, Name, Span,
};
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::Sort;
use crate::plan::verb::Owned;
use crate::value::Value;

impl Binder<'_> {
    /// The name of something that is defined, as `a verb`.
    pub(super) fn defined_name(&self, name: &Name, what: &str) -> Result<()> {
        if name.text.is_empty() {
            return Err(self.fault(name.span, format!("the name of {what}: expected one that is not empty")));
        }
        if name.text.starts_with('$') {
            return Err(self.fault(name.span, "a name that begins with $ is the database's own"));
        }
        Ok(())
    }

    /// A name is one thing: `what` has it alone.
    pub(super) fn check_free_name(&self, name: &Name, what: &str) -> Result<()> {
        let (text, names) = (&name.text, self.names()?);
        let catalog = names.catalog();
        let shown = crate::entity::NameText(text);
        let taken = |other: &str, position: Position| {
            format!("{shown} is a {other}, defined at {position}: a {what} needs a name of its own")
        };
        let program = catalog.programs().find(|program| program.name == *text && program.kind.word() != what);
        let message = if names.added_verb(text).is_some() {
            format!("{shown} is a verb of this program: a {what} needs a name of its own")
        } else if let Some(verb) = catalog.verb(text).filter(|_| what != "verb") {
            taken("verb", verb.position)
        } else if let Some(view) = catalog.view(text).filter(|_| what != "view") {
            taken("view", view.position)
        } else if let Some(program) = program {
            taken(program.kind.word(), program.position)
        } else if catalog.model(text).is_some() || names.has_kind(text)? {
            format!("{shown} is a kind of entities: a {what} needs a name of its own")
        } else {
            return Ok(());
        };
        Err(self.fault(name.span, message))
    }

    pub(super) fn kind_name(&self, kind: &Name) -> Result<()> {
        self.at(kind.span, Entity::new(&kind.text, "x"))?;
        if kind.text.starts_with('$') {
            return Err(self.fault(kind.span, "a kind that begins with $ is the database's own"));
        }
        Ok(())
    }

    /// An entity whose id is worked out, as a clause says it.
    pub(super) fn owned(&self, owner: &EntityRef, names: NameScope, clause: &str) -> Result<Owned> {
        self.kind_name(&owner.kind)?;
        let (id, text) = match &owner.id {
            IdExpr::Expr(expr) => {
                let node = self.expr(expr, names)?;
                self.check_id(&node, expr.span)?;
                let mut said = expr.clone();
                self.put_values(&mut said)?;
                (node, format!("{clause} {} ({said})", owner.kind))
            }
            _ => {
                let entity = self.entity(owner)?;
                (BoundExpr::value(entity.id()), format!("{clause} {entity}"))
            }
        };
        Ok(Owned { kind: owner.kind.text.clone(), id, text })
    }

    /// What is known never to be an id.
    pub(super) fn check_id(&self, node: &BoundExpr, span: Span) -> Result<()> {
        let expected = "an id: expected a text or a whole number";
        if node.sort() == Sort::Entity {
            let said = self.context.text.get(span.range()).unwrap_or_default();
            let message = format!("{expected}, found an entity");
            return Err(self.fault_meaning(span, message, Some(format!("{said}.id"))));
        }
        match node {
            BoundExpr::Constant(Constant::Value(value)) if id_text(value).is_none() => {
                Err(self.fault(span, format!("{expected}, found {}", value.kind())))
            }
            BoundExpr::Object(_) | BoundExpr::Array(_) => Err(self.fault(
                span,
                format!(
                    "{expected}, found {}",
                    match node {
                        BoundExpr::Object(_) => "an object",
                        _ => "an array",
                    }
                ),
            )),
            _ => Ok(()),
        }
    }

    /// What is to be known of an event that is yet to be made.
    pub(super) fn made_body(&self, body: &Body, names: NameScope) -> Result<BoundExpr> {
        match body {
            Body::Object(object) => self.object(object, names),
            Body::With(expr) => {
                let node = self.expr(expr, names)?;
                match &node {
                    BoundExpr::Constant(Constant::Value(Value::Object(_))) => Ok(node),
                    BoundExpr::Constant(_) | BoundExpr::Array(_) | BoundExpr::Now => {
                        let message =
                            "WITH: expected an object, like WITH {total: 10}, or what is one, like data";
                        Err(self.fault(expr.span, message))
                    }
                    _ => Ok(node),
                }
            }
        }
    }

    /// A name that `BY` gives another meaning would never be found.
    pub(super) fn check_index_name(&self, name: &Name) -> Result<()> {
        let shown = if name.text.is_empty() { "``".to_owned() } else { name.to_string() };
        if name.text.is_empty() || is_built_in(&name.text) {
            let what = match name.text.as_str() {
                "" => "expected a name that is not empty".to_owned(),
                own => format!(
                    "expected a name that is no field of the event: BY {own} finds events by their own {own}; take another, \
                     like order_{own}"
                ),
            };
            return Err(self.fault(name.span, format!("INDEX BY {shown}: {what}")));
        }
        Ok(())
    }

    /// What it is to be found by.
    pub(super) fn made_tags(
        &self,
        tags: &[IndexTag],
        names: NameScope,
    ) -> Result<Vec<(String, Option<BoundExpr>)>> {
        let each = tags.iter().map(|tag| {
            self.check_index_name(&tag.name)?;
            let value = tag.value.as_ref().map(|value| self.expr(value, names)).transpose()?;
            Ok((tag.name.text.clone(), value))
        });
        each.collect()
    }

    /// How the one whose history it joins is to be before it.
    pub(super) fn made_expect(&self, facts: &EventClauses, absent: &str) -> Result<Vec<Expect>> {
        let each = facts.expect.iter();
        each.map(|guard| self.of_target(guard)?.ok_or_else(|| self.fault(guard.span, absent))).collect()
    }

    /// Puts the values of parameters where they stand.
    pub(super) fn put_id_values(&self, id: &mut IdExpr) -> Result<()> {
        match id {
            IdExpr::Expr(expr) => self.put_values(expr),
            id => {
                *id = IdExpr::Text { text: self.id(id)?, span: id.span() };
                Ok(())
            }
        }
    }

    pub(super) fn put_body_values(&self, body: Option<&mut Body>) -> Result<()> {
        match body {
            Some(Body::Object(object)) => self.put_object_values(object),
            Some(Body::With(expr)) => self.put_values(expr),
            None => Ok(()),
        }
    }

    /// Of `META`, `INDEX BY` and `EXPECT`.
    pub(super) fn put_fact_values(&self, facts: &mut EventClauses) -> Result<()> {
        if let Some(meta) = &mut facts.meta {
            self.put_object_values(meta)?;
        }
        for value in facts.index.iter_mut().filter_map(|tag| tag.value.as_mut()) {
            self.put_values(value)?;
        }
        for guard in &mut facts.expect {
            let GuardKind::Version(count) = &mut guard.kind else { continue };
            let number = self.count(count, "EXPECT VERSION")?;
            *count = CountLiteral::Number { number, span: super::model::span_of(count) };
        }
        Ok(())
    }

    fn put_object_values(&self, object: &mut ast::ObjectExpr) -> Result<()> {
        object.members.iter_mut().try_for_each(|(_, value)| self.put_values(value))
    }
}
