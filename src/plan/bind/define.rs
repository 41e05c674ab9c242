//! Binding of definitions.

use super::expr::NameScope;
use super::{BindInput, Binder};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::is_built_in;
use crate::lang;
use crate::lang::ast::{
    DefinedKind, DefinitionStmt, Expr, ExprKind, Literal, Name, ObjectExpr, Span, Stmt, TextExpr,
};
use crate::plan::expr::{BoundExpr, Number};
use crate::plan::fault::nearest;
use crate::plan::field::{STATE, Sort};
use crate::plan::parameters::Parameters;
use crate::plan::unsupported::Unsupported;
use crate::plan::write::{Define, DefineIndex, Drop, DropTarget, On, Settle, WritePlan};
use crate::store::catalog::ProgramKind;
use crate::time::Timestamp;
use crate::value::Value;

/// The expression of an index, from its canonical text, and whether it is of states. What it is worth follows from the event
/// alone, or from the state.
pub(crate) fn index_expression(text: &str) -> Result<(BoundExpr, bool)> {
    let whole = format!("DEFINE INDEX x ON '*' AS {text}");
    let parsed = lang::parse_one(&whole)?;
    let Stmt::Define(DefinitionStmt::Index { expr, .. }) = &parsed.statement else {
        return Err(Error::invalid("the text of an index", "an expression", text));
    };
    let parameters = Parameters::new();
    let said = BindInput {
        text: &whole,
        statement: 1,
        parameters: &parameters,
        default_actor: None,
        now: Timestamp::MIN,
    };
    let binder = Binder::new(said, None);
    let names = if names_state(expr) { NameScope::State } else { NameScope::Event };
    Ok((binder.index(expr, names)?, matches!(names, NameScope::State)))
}

impl Binder<'_> {
    pub(super) fn define(&self, definition: &DefinitionStmt) -> Result<WritePlan> {
        Ok(WritePlan::Define(match definition {
            DefinitionStmt::Index { name, pattern, expr } => {
                Define::Index(self.define_index(name, pattern, expr)?)
            }
            DefinitionStmt::Entity(entity) => Define::Entity(self.define_entity(entity)?),
            DefinitionStmt::Verb(verb) => Define::Verb(self.define_verb(verb)?),
            DefinitionStmt::Webhook(webhook) => Define::Program(self.define_webhook(webhook)?),
            DefinitionStmt::Reaction(reaction) => Define::Program(self.define_reaction(reaction)?),
            DefinitionStmt::Schedule { name, every, at, acts } => {
                Define::Program(self.define_schedule(name, every, at.as_ref(), acts)?)
            }
            DefinitionStmt::View { name, query } => Define::View(self.define_view(name, query)?),
        }))
    }

    fn define_index(&self, name: &Name, pattern: &TextExpr, expr: &Expr) -> Result<DefineIndex> {
        self.index_name(name)?;
        let on = self.index_on(pattern, expr)?;
        let names = match on {
            On::Events(_) => NameScope::Event,
            On::States(_) => NameScope::State,
        };
        self.definition().index(expr, names)?;
        let mut said = expr.clone();
        self.put_values(&mut said)?;
        let text = said.to_string();
        // What is kept is the text: it has to mean this again.
        if let Err(error) = index_expression(&text) {
            return Err(self.fault(expr.span, format!("AS: {text} is not understood ({error})")));
        }
        let actor = self.context.default_actor.cloned();
        Ok(DefineIndex { name: name.text.clone(), on, text, actor })
    }

    pub(super) fn drop_definition(&self, kind: DefinedKind, name: &Name) -> Result<WritePlan> {
        let catalog = self.names()?.catalog();
        let cursors = self.names()?.subscriptions();
        let (what, word, known) = match kind {
            DefinedKind::Index => {
                let finders = catalog.finders().map(|finder| finder.name.as_str());
                let known = catalog.iter().map(|index| index.name()).chain(finders).collect::<Vec<_>>();
                (DropTarget::Index, "index", known)
            }
            DefinedKind::Entity => {
                let known = catalog.models().map(|model| model.kind.as_str()).collect();
                (DropTarget::Entity, "entity", known)
            }
            DefinedKind::Verb => {
                (DropTarget::Verb, "verb", catalog.verbs().map(|verb| verb.name.as_str()).collect())
            }
            DefinedKind::Reaction | DefinedKind::Webhook | DefinedKind::Schedule => {
                let Some(kind) = program_of(kind) else { return Err(Unsupported::Form.error()) };
                let programs = catalog.programs().filter(|program| program.kind == kind);
                let known = programs.map(|program| program.name.as_str()).collect();
                (DropTarget::Program(kind), kind.word(), known)
            }
            DefinedKind::Subscription => {
                (DropTarget::Subscription, "subscription", cursors.iter().map(String::as_str).collect())
            }
            DefinedKind::View => {
                (DropTarget::View, "view", catalog.views().map(|view| view.name.as_str()).collect())
            }
        };
        if !known.contains(&name.text.as_str()) {
            if what == DropTarget::Verb && self.names()?.added_verb(&name.text).is_some() {
                let shown = crate::entity::NameText(&name.text);
                return Err(
                    self.fault(name.span, format!("{shown} is a verb of this program, and ends with it"))
                );
            }
            let meant = nearest(&name.text, known).map(|name| crate::entity::NameText(name).to_string());
            return Err(self.fault_meaning(
                name.span,
                match what {
                    DropTarget::Subscription => format!("no {word} is named '{}'", name.text),
                    _ => format!("no {word} '{}' is defined", name.text),
                },
                meant,
            ));
        }
        let actor = self.context.default_actor.cloned();
        Ok(WritePlan::Drop(Drop { what, name: name.text.clone(), actor }))
    }

    /// `RETRY`, `SKIP`.
    pub(super) fn settle(
        &self,
        kind: DefinedKind,
        name: &Name,
        position: Option<Position>,
        again: bool,
    ) -> Result<WritePlan> {
        let Some(kind) = program_of(kind) else {
            let message =
                format!("no {kind} sets anything aside: expected a REACTION, a WEBHOOK or a SCHEDULE");
            return Err(self.fault(name.span, message));
        };
        let catalog = self.names()?.catalog();
        if catalog.program(kind, &name.text).is_none() {
            let programs = catalog.programs().filter(|program| program.kind == kind);
            let known = programs.map(|program| program.name.as_str());
            let meant = nearest(&name.text, known).map(|name| crate::entity::NameText(name).to_string());
            let message = format!("no {} '{}' is defined", kind.word(), name.text);
            return Err(self.fault_meaning(name.span, message, meant));
        }
        let actor = self.context.default_actor.cloned();
        Ok(WritePlan::Settle(Settle { kind, name: name.text.clone(), position, again, actor }))
    }

    /// A name that there is something to tell of.
    pub(super) fn described(&self, name: &Name) -> Result<String> {
        let names = self.names()?;
        let catalog = names.catalog();
        let wanted = name.text.as_str();
        let finders = || catalog.finders().map(|finder| finder.name.as_str());
        let indexes = || catalog.iter().map(|index| index.name()).chain(finders());
        let added = names.added_verbs();
        let added = || added.iter().map(|(name, _)| name.as_str());
        let verbs = || catalog.verbs().map(|verb| verb.name.as_str()).chain(added());
        let programs = || catalog.programs().map(|program| program.name.as_str());
        let views = || catalog.views().map(|view| view.name.as_str());
        let is_defined = indexes().chain(verbs()).chain(views()).chain(programs()).any(|name| name == wanted);
        if is_defined || catalog.model(wanted).is_some() || names.has_kind(wanted)? {
            return Ok(name.text.clone());
        }
        let kinds = names.kinds()?;
        let kinds = kinds.iter().map(String::as_str).filter(|kind| !kind.starts_with('$'));
        let defined = catalog.models().map(|model| model.kind.as_str());
        let known = kinds.chain(defined).chain(verbs()).chain(indexes()).chain(views()).chain(programs());
        let meant = nearest(wanted, known).map(|name| crate::entity::NameText(name).to_string());
        let message =
            format!("nothing is called '{wanted}'; SHOW KINDS tells which kinds of entities there are");
        Err(self.fault_meaning(name.span, message, meant))
    }

    fn index_name(&self, name: &Name) -> Result<()> {
        if name.text.is_empty() {
            return Err(self.fault(name.span, "the name of an index: expected one that is not empty"));
        }
        if is_built_in(&name.text) {
            let message =
                format!("BY {} needs no index, and an index of this name would never be used", name.text);
            return Err(self.fault(name.span, message));
        }
        Ok(())
    }

    /// What an index is of: events, by a pattern; or the states of the entities of a kind, by its name.
    fn index_on(&self, pattern: &TextExpr, expr: &Expr) -> Result<On> {
        let text = self.text(pattern, "ON")?;
        let is_kind = !text.contains(['.', '*', ',']);
        match (is_kind, names_state(expr)) {
            (true, true) => {
                if self.names()?.catalog().model(&text).is_none() {
                    let known = self.names()?.catalog().models().map(|model| model.kind.as_str());
                    let meant = nearest(&text, known).map(|kind| format!("'{kind}'"));
                    let kind = crate::entity::NameText(&text).to_string();
                    let message = format!(
                        "the states of {kind} are not kept: DEFINE ENTITY {kind} keeps them, as the index of them needs"
                    );
                    return Err(self.fault_meaning(pattern.span(), message, meant));
                }
                Ok(On::States(text))
            }
            (true, false)
                if self.names()?.catalog().model(&text).is_some() || self.names()?.has_kind(&text)? =>
            {
                let message = format!(
                    "ON '{text}' is a kind, whose states are indexed (AS state.total); for its events it is '{text}.*'"
                );
                Err(self.fault_meaning(pattern.span(), message, Some(format!("'{text}.*'"))))
            }
            (false, true) => {
                let kind =
                    text.split('.').next().filter(|kind| !kind.contains(['*', ','])).unwrap_or("Order");
                let message = "an index of states is ON the kind of the entities, not on types of events";
                Err(self.fault_meaning(pattern.span(), message, Some(format!("'{kind}'"))))
            }
            (_, false) => self.at(pattern.span(), text.parse()).map(On::Events),
        }
    }

    pub(super) fn pattern_text(&self, pattern: &TextExpr, what: &str) -> Result<crate::pattern::Pattern> {
        let text = self.text(pattern, what)?;
        self.at(pattern.span(), text.parse())
    }

    /// An expression whose values an index holds.
    fn index(&self, expr: &Expr, names: NameScope) -> Result<BoundExpr> {
        let node = self.expr(expr, names)?;
        if matches!(node, BoundExpr::Constant(_)) {
            let said = crate::error::shorten(&expr.to_string());
            return Err(self.fault(
                expr.span,
                format!("{said} is the same for every event: an index of it finds nothing apart"),
            ));
        }
        if node.sort() == Sort::Entity {
            let said = self.context.text.get(expr.span.range()).unwrap_or_default();
            let message =
                "an index holds texts, numbers, booleans and times: expected one of those, found an entity";
            return Err(self.fault_meaning(expr.span, message, Some(format!("{said}.id"))));
        }
        Ok(node)
    }

    /// Puts the values of parameters where they stand.
    pub(super) fn put_values(&self, expr: &mut Expr) -> Result<()> {
        let span = expr.span;
        let all = |exprs: &mut [Expr]| exprs.iter_mut().try_for_each(|expr| self.put_values(expr));
        match &mut expr.kind {
            ExprKind::Literal(_) | ExprKind::Field(_) => Ok(()),
            ExprKind::Param(param) => {
                expr.kind = written(self.parameter(param)?, span);
                Ok(())
            }
            ExprKind::Entity(entity) => {
                let (kind, id) = (entity.kind.clone(), self.entity(entity)?.id().to_owned());
                entity.id = crate::lang::ast::IdExpr::Text { text: id, span: kind.span };
                Ok(())
            }
            ExprKind::Call { args, .. } => all(args),
            ExprKind::Object(object) => {
                object.members.iter_mut().try_for_each(|(_, expr)| self.put_values(expr))
            }
            ExprKind::Array(items) | ExprKind::Or(items) | ExprKind::And(items) => all(items),
            ExprKind::Negate(inner) => {
                // There is no minus before a number, which may be negative itself.
                let negated = match &inner.kind {
                    ExprKind::Param(param) => negated(self.parameter(param)?),
                    _ => None,
                };
                match negated {
                    Some(value) => expr.kind = ExprKind::Literal(Literal::Value(value)),
                    None => self.put_values(inner)?,
                }
                Ok(())
            }
            ExprKind::Not(inner) => self.put_values(inner),
            ExprKind::Arithmetic { first, rest } => {
                self.put_values(first)?;
                rest.iter_mut().try_for_each(|(_, expr)| self.put_values(expr))
            }
            ExprKind::Compare { left, right, .. } => {
                self.put_values(left).and_then(|()| self.put_values(right))
            }
            ExprKind::Matches { subject, pattern, .. } => {
                self.put_values(subject).and_then(|()| self.put_values(pattern))
            }
            ExprKind::Contains { subject, item, .. } => {
                self.put_values(subject).and_then(|()| self.put_values(item))
            }
            ExprKind::Between { subject, low, high, .. } => {
                self.put_values(subject)?;
                self.put_values(low)?;
                self.put_values(high)
            }
            ExprKind::In { subject, items, .. } => {
                self.put_values(subject)?;
                items.iter_mut().try_for_each(|item| self.put_values(item))
            }
            ExprKind::IsNull { subject, .. } => self.put_values(subject),
        }
    }
}

fn negated(value: &Value) -> Option<Value> {
    match Number::of(value)? {
        Number::Integer(n) => Number::Integer(-n).to_value(),
        Number::Float(x) => Number::Float(-x).to_value(),
    }
}

/// A value as it is written in an expression.
fn written(value: &Value, span: Span) -> ExprKind {
    let expr = |value: &Value| Expr { kind: written(value, span), span };
    match value {
        Value::Array(items) => ExprKind::Array(items.iter().map(expr).collect()),
        Value::Object(members) => {
            let members =
                members.iter().map(|(name, value)| (Name { text: name.clone(), span }, expr(value)));
            ExprKind::Object(ObjectExpr { members: members.collect(), span })
        }
        scalar => ExprKind::Literal(Literal::Value(scalar.clone())),
    }
}

/// What runs by itself, of the kinds of what is defined.
pub(super) fn program_of(kind: DefinedKind) -> Option<ProgramKind> {
    match kind {
        DefinedKind::Reaction => Some(ProgramKind::Reaction),
        DefinedKind::Webhook => Some(ProgramKind::Webhook),
        DefinedKind::Schedule => Some(ProgramKind::Schedule),
        _ => None,
    }
}

/// Whether a path in it begins with `state`.
fn names_state(expr: &Expr) -> bool {
    let any = |exprs: &[Expr]| exprs.iter().any(names_state);
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Param(_) | ExprKind::Entity(_) => false,
        ExprKind::Field(path) => path.first.text == STATE,
        ExprKind::Call { args, .. } => any(args),
        ExprKind::Object(object) => object.members.iter().any(|(_, expr)| names_state(expr)),
        ExprKind::Array(items) | ExprKind::Or(items) | ExprKind::And(items) => any(items),
        ExprKind::Negate(inner) | ExprKind::Not(inner) => names_state(inner),
        ExprKind::Arithmetic { first, rest } => {
            names_state(first) || rest.iter().any(|(_, expr)| names_state(expr))
        }
        ExprKind::Compare { left, right, .. } => names_state(left) || names_state(right),
        ExprKind::Matches { subject, pattern, .. } => names_state(subject) || names_state(pattern),
        ExprKind::Contains { subject, item, .. } => names_state(subject) || names_state(item),
        ExprKind::Between { subject, low, high, .. } => {
            names_state(subject) || names_state(low) || names_state(high)
        }
        ExprKind::In { subject, items, .. } => names_state(subject) || any(items),
        ExprKind::IsNull { subject, .. } => names_state(subject),
    }
}
