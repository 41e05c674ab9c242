//! Binding of definitions.

use super::expr::NameScope;
use super::reaction::reaction_definition;
use super::schedule::schedule_definition;
use super::webhook::webhook_definition;
use super::{BindInput, Binder};
use crate::definition::{DefinitionKind, ProgramKind};
use crate::entity::{EventType, Position};
use crate::error::{Error, MissingItem, Result, shorten};
use crate::event::is_built_in;
use crate::lang;
use crate::lang::ast::{
    BackupClause, DefinitionStmt, Expr, ExprKind, Literal, Name, ObjectExpr, Span, Stmt, TextExpr, TypeRef,
};
use crate::plan::expr::{BoundExpr, Number};
use crate::plan::fault::nearest;
use crate::plan::field::{STATE, Sort};
use crate::plan::logical::{DirectRead, VerifyAgainst};
use crate::plan::parameters::Parameters;
use crate::plan::program::ProgramPlan;
use crate::plan::write::{BackupPlan, Define, Defined, Drop, DropTarget, On, Settle, WritePlan};
use crate::store::BackupMode;
use crate::store::index::term::Term;
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
    binder.index_of(expr)
}

/// What is defined of a program, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn program_definition(kind: ProgramKind, text: &str) -> Result<ProgramPlan> {
    Ok(match kind {
        ProgramKind::Reaction => ProgramPlan::Reaction(reaction_definition(text)?),
        ProgramKind::Webhook => ProgramPlan::Webhook(webhook_definition(text)?),
        ProgramKind::Schedule => ProgramPlan::Schedule(schedule_definition(text)?),
    })
}

impl Binder<'_> {
    /// The expression of an index, and whether it is of states.
    pub(super) fn index_of(&self, expr: &Expr) -> Result<(BoundExpr, bool)> {
        let names = if names_state(expr) { NameScope::State } else { NameScope::Event };
        Ok((self.index(expr, names)?, matches!(names, NameScope::State)))
    }

    pub(super) fn define(&self, definition: &DefinitionStmt) -> Result<WritePlan> {
        Ok(WritePlan::Define(match definition {
            DefinitionStmt::Index { name, pattern, expr } => self.define_index(name, pattern, expr)?,
            DefinitionStmt::Entity(entity) => self.define_entity(entity)?,
            DefinitionStmt::Event(event) => self.define_event(event)?,
            DefinitionStmt::Verb(verb) => self.define_verb(verb)?,
            DefinitionStmt::Webhook(webhook) => self.define_webhook(webhook)?,
            DefinitionStmt::Reaction(reaction) => self.define_reaction(reaction)?,
            DefinitionStmt::Schedule { name, rhythm, acts } => self.define_schedule(name, rhythm, acts)?,
            DefinitionStmt::Column { name, pattern, expr } => self.define_column(name, pattern, expr)?,
            DefinitionStmt::View { name, query } => self.define_view(name, query)?,
            DefinitionStmt::Private(private) => self.define_private(private)?,
        }))
    }

    /// What is defined is kept as its text: it has to mean the same again, for `check`, which is the one who reads it then.
    pub(super) fn said_again<T>(
        &self,
        name: &Name,
        said: DefinitionStmt,
        check: impl FnOnce(&str) -> Result<T>,
    ) -> Result<(String, T)> {
        let text = Stmt::Define(said).to_string();
        match check(&text) {
            Ok(meant) => Ok((text, meant)),
            Err(error) => {
                let message = format!("{} is not understood ({error})", shorten(&text));
                Err(self.fault(name.span, message))
            }
        }
    }

    /// A definition, on whose behalf it is made.
    pub(super) fn defined(&self, name: &Name, what: Defined, text: String) -> Define {
        let actor = self.context.default_actor.cloned();
        Define { name: name.text.clone(), what, text, actor, notices: Vec::new() }
    }

    fn define_index(&self, name: &Name, pattern: &TextExpr, expr: &Expr) -> Result<Define> {
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
        Ok(self.defined(name, Defined::Index(on), text))
    }

    pub(super) fn drop_definition(&self, what: DropTarget, name: &Name) -> Result<WritePlan> {
        let names = self.names()?;
        let cursors = names.subscriptions();
        let known: Vec<&str> = match what {
            DropTarget::Definition(kind) => names.catalog().names_of(kind),
            DropTarget::Subscription => cursors.iter().map(String::as_str).collect(),
        };
        if !known.contains(&name.text.as_str()) {
            if what == DropTarget::Definition(DefinitionKind::Verb) && names.added_verb(&name.text).is_some()
            {
                let shown = crate::entity::NameText(&name.text);
                return Err(
                    self.fault(name.span, format!("{shown} is a verb of this program, and ends with it"))
                );
            }
            let meant = nearest(&name.text, known).map(|name| crate::entity::NameText(name).to_string());
            let (sort, message) = match what {
                DropTarget::Subscription => {
                    ("subscription", format!("no subscription is named '{}'", name.text))
                }
                DropTarget::Definition(kind) => {
                    (kind.word(), format!("no {} '{}' is defined", kind.word(), name.text))
                }
            };
            let item = MissingItem::Name { sort, name: name.text.clone() };
            return Err(self.missing_meaning(name.span, item, message, meant));
        }
        let actor = self.context.default_actor.cloned();
        Ok(WritePlan::Drop(Drop { what, name: name.text.clone(), actor }))
    }

    /// `RETRY`, `SKIP`.
    pub(super) fn settle(
        &self,
        what: DropTarget,
        name: &Name,
        position: Option<Position>,
        again: bool,
    ) -> Result<WritePlan> {
        let DropTarget::Definition(DefinitionKind::Program(kind)) = what else {
            let message =
                format!("no {what} sets anything aside: expected a REACTION, a WEBHOOK or a SCHEDULE");
            return Err(self.fault(name.span, message));
        };
        let known = self.names()?.catalog().names_of(DefinitionKind::Program(kind));
        if !known.contains(&name.text.as_str()) {
            let meant = nearest(&name.text, known).map(|name| crate::entity::NameText(name).to_string());
            let message = format!("no {} '{}' is defined", kind.word(), name.text);
            let item = MissingItem::Name { sort: kind.word(), name: name.text.clone() };
            return Err(self.missing_meaning(name.span, item, message, meant));
        }
        let actor = self.context.default_actor.cloned();
        Ok(WritePlan::Settle(Settle { kind, name: name.text.clone(), position, again, actor }))
    }

    /// Where a backup goes, and what becomes of a file that is there.
    pub(super) fn backup(
        &self,
        to: &TextExpr,
        clause: BackupClause,
        without_keys: bool,
        key: Option<&TextExpr>,
    ) -> Result<WritePlan> {
        let mode = match clause {
            BackupClause::New => BackupMode::New,
            BackupClause::Increment => BackupMode::Increment,
            BackupClause::Replace => BackupMode::Replace,
        };
        let path = self.text(to, "the path of a file")?;
        if path.is_empty() {
            return Err(
                self.fault(to.span(), "BACKUP TO: expected the path of a file, found none".to_owned())
            );
        }
        let key = key.map(|key| self.secret(key, "BACKUP TO … KEY", "env:BACKUP_KEY")).transpose()?;
        Ok(WritePlan::Backup(BackupPlan { to: path.into(), mode, without_keys, key }))
    }

    /// The key that the file is given.
    pub(super) fn rekey(&self, key: &TextExpr) -> Result<WritePlan> {
        self.secret(key, "REKEY", "env:BYGONE_KEY").map(WritePlan::Rekey)
    }

    /// The hash that the log is compared with.
    pub(super) fn verify_against(&self, hash: &TextExpr, at: Option<Position>) -> Result<DirectRead> {
        let text = self.text(hash, "a chain hash")?;
        let chain = text.parse().map_err(|error: Error| self.fault(hash.span(), error.to_string()))?;
        Ok(DirectRead::VerifyAgainst(VerifyAgainst { chain, at }))
    }

    /// The key that the head is signed with.
    pub(super) fn signed_head(&self, key: &TextExpr) -> Result<DirectRead> {
        self.secret(key, "SIGN HEAD WITH", "env:AUDIT_KEY").map(DirectRead::SignedHead)
    }

    /// A name that there is something to tell of.
    pub(super) fn described(&self, name: &Name) -> Result<String> {
        let names = self.names()?;
        let wanted = name.text.as_str();
        // A type of events is described by its name in parts.
        let kinds = DefinitionKind::ALL.into_iter().filter(|kind| *kind != DefinitionKind::Event);
        let defined: Vec<&str> = kinds.flat_map(|kind| names.catalog().names_of(kind)).collect();
        let added = names.added_verbs();
        let known = || defined.iter().copied().chain(added.iter().map(|(name, _)| name.as_str()));
        if known().any(|name| name == wanted) || names.has_kind(wanted)? {
            return Ok(name.text.clone());
        }
        let kinds = names.kinds()?;
        let kinds = kinds.iter().map(String::as_str).filter(|kind| !kind.starts_with('$'));
        let meant =
            nearest(wanted, kinds.chain(known())).map(|name| crate::entity::NameText(name).to_string());
        let message = format!("nothing is called '{wanted}'; SHOW KINDS lists the kinds of entities");
        let item = MissingItem::Name { sort: "kind", name: name.text.clone() };
        Err(self.missing_meaning(name.span, item, message, meant))
    }

    /// A type that has events, or a schema.
    pub(super) fn described_type(&self, described: &TypeRef) -> Result<EventType> {
        let (names, event_type) = (self.names()?, &described.event_type);
        if names.catalog().schema(event_type.as_str()).is_some() || names.has_term(Term::kind(event_type)?)? {
            return Ok(event_type.clone());
        }
        let types = names.types(&format!("{}.", event_type.prefix()))?;
        let defined = names.catalog().names_of(DefinitionKind::Event);
        let known = types.iter().map(|(name, _)| name.as_str()).chain(defined);
        let meant = nearest(event_type.as_str(), known).map(str::to_owned);
        let message = format!("no event is of type '{event_type}'; SHOW TYPES lists the types");
        let item = MissingItem::Name { sort: "type", name: event_type.as_str().to_owned() };
        Err(self.missing_meaning(described.span, item, message, meant))
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
            (_, false) => self.pattern_of(&text, pattern.span()).map(On::Events),
        }
    }

    pub(super) fn pattern_text(&self, pattern: &TextExpr, what: &str) -> Result<crate::pattern::Pattern> {
        self.pattern_of(&self.text(pattern, what)?, pattern.span())
    }

    /// An expression whose values an index holds.
    fn index(&self, expr: &Expr, names: NameScope) -> Result<BoundExpr> {
        let node = self.expr(expr, names)?;
        // That of NULL only declares the name: whoever asks by it, or guards, need not wait for the first event that has it.
        if matches!(node, BoundExpr::Constant(_)) && !node.is_null() {
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
