//! Binding: from a tree to a logical plan, by looking up every name, parameter and point.
//!
//! What a statement is to say is all that is settled here; [`access_path`](super::access_path) settles how it is answered. Of the log it sees
//! [`Names`] alone.
//!
//! A parameter's value is put where the parameter stood, as a value: it is never parsed as language. What does not fit is a
//! fault that points at the text.

mod absence;
mod by;
mod call;
mod circle;
mod column;
mod define;
mod diagnostics;
mod event_schema;
mod event_template;
mod expr;
mod find;
mod hint;
mod instants;
mod json_schema;
mod mismatch;
mod model;
mod names;
mod never_true;
mod point;
mod private;
mod program;
mod reaction;
mod read;
mod read_view;
mod reuse;
mod schedule;
mod shape;
mod sorts;
mod trace;
mod unmatched;
mod unnest;
mod verb;
mod view;
mod webhook;
mod write;

use std::cell::{Cell, OnceCell, RefCell};

use super::expr::{BoundExpr, Constant};
use super::fault;
use super::logical::{DirectRead, LogicalPlan, LogicalRead};
use super::parameters::Parameters;
use super::webhook::Secret;
use super::write::WritePlan;
use crate::allowance::{Allowance, LARGEST};
use crate::entity::{Entity, Position};
use crate::error::{Error, Missing, MissingItem, Result, SyntaxFault, shorten};
use crate::lang::ast::{
    self, Admin, CountLiteral, EntityRef, IdExpr, Param, Query, ShowTarget, Span, Stmt, TextExpr,
};
use crate::time::Timestamp;
use crate::value::Value;
pub(crate) use column::column_definition;
pub(crate) use define::{index_expression, program_definition};
pub(crate) use event_schema::event_schema;
use expr::NameScope;
pub(crate) use instants::compares_instants;
pub(crate) use model::entity_definition;
pub(crate) use names::Names;
pub(crate) use point::recorded;
pub(crate) use private::private_definition;
pub(crate) use program::tagged;
pub(crate) use reaction::reaction_definition;
pub(crate) use read::event_condition;
pub(crate) use reuse::BoundOnce;
pub(crate) use schedule::schedule_definition;
use unnest::UnnestedScope;
pub(crate) use verb::verb_definition;
pub(crate) use view::{row_key, view_definition};
pub(crate) use webhook::webhook_definition;

pub(crate) use hint::hints;

/// Says what a statement asks.
pub(crate) fn bind(statement: &Stmt, input: BindInput, names: Names) -> Result<LogicalPlan> {
    let binder = Binder::new(input, Some(names));
    let read = |read| {
        let (notices, as_of) = (binder.notices.take(), binder.as_of.get());
        Ok(LogicalPlan::Read { read, notices, as_of, raw: binder.raw.get() })
    };
    let direct = |direct| read(LogicalRead::Direct(direct));
    match statement {
        Stmt::Explain { analyze, statement } => {
            let plan = bind(statement, input, names)?;
            match &plan {
                LogicalPlan::Write(_) if *analyze => {
                    Err(explain_only("a write, which is not carried out to see what it costs"))
                }
                LogicalPlan::Subscribe(_) | LogicalPlan::SubscribeView(_) if *analyze => {
                    Err(explain_only("a subscription, which has no end"))
                }
                _ => Ok(LogicalPlan::Explain { plan: Box::new(plan), analyze: *analyze }),
            }
        }
        Stmt::Write(write) => Ok(LogicalPlan::Write(WritePlan::Append(binder.append(write)?))),
        Stmt::Read(ast::ReadStmt::History { entity, of, clauses }) => match of {
            Some(of) => direct(binder.field_history(entity, of, clauses)?),
            None => read(LogicalRead::Events(binder.history(entity, clauses)?)),
        },
        Stmt::Read(ast::ReadStmt::Query(Query::Events { selector, clauses })) => {
            read(LogicalRead::Events(binder.events(selector, clauses)?))
        }
        Stmt::Read(ast::ReadStmt::Query(Query::Find { kind, clauses })) => {
            read(LogicalRead::Find(Box::new(binder.find(kind, clauses)?)))
        }
        Stmt::Read(ast::ReadStmt::At { entity, point, as_of }) => {
            direct(DirectRead::State(binder.state(entity, point.as_ref(), as_of.as_ref())?))
        }
        Stmt::Read(ast::ReadStmt::Replay { entity, steps, as_of }) => {
            let replay = binder.replay(entity, None, as_of.as_ref())?;
            direct(if *steps { DirectRead::Steps(replay) } else { DirectRead::State(replay) })
        }
        Stmt::Read(ast::ReadStmt::Blame { entity, of, point, as_of }) => {
            direct(binder.blame(entity, of.as_ref(), (point.as_ref(), as_of.as_ref()))?)
        }
        Stmt::Read(ast::ReadStmt::Trace { direction, event }) => direct(binder.trace(*direction, event)?),
        Stmt::Read(ast::ReadStmt::Diff { entity, from, to, as_of }) => {
            direct(binder.diff(entity, from, to.as_ref(), as_of.as_ref())?)
        }
        Stmt::Read(ast::ReadStmt::View { view, clauses }) => {
            read(LogicalRead::View(Box::new(binder.read_view(view, clauses)?)))
        }
        Stmt::Read(ast::ReadStmt::Subscribe(subscribe)) => match &subscribe.source {
            ast::SourceClause::View(name) => {
                binder.view_subscription(subscribe, name).map(LogicalPlan::SubscribeView)
            }
            ast::SourceClause::Events(selector) => {
                binder.subscription(subscribe, selector).map(LogicalPlan::Subscribe)
            }
        },
        Stmt::Define(definition) => binder.define(definition).map(LogicalPlan::Write),
        Stmt::Forget(forget) => binder.forget(forget).map(LogicalPlan::Write),
        Stmt::Drop { kind, name } => binder.drop_definition(*kind, name).map(LogicalPlan::Write),
        Stmt::Show(target) => direct(shown(*target)),
        Stmt::Describe(name) => direct(DirectRead::Describe(binder.described(name)?)),
        Stmt::DescribeType(described) => direct(DirectRead::DescribeType(binder.described_type(described)?)),
        Stmt::Admin(Admin::Retry { kind, name, position }) => {
            binder.settle(*kind, name, *position, true).map(LogicalPlan::Write)
        }
        Stmt::Admin(Admin::Skip { kind, name, position }) => {
            binder.settle(*kind, name, *position, false).map(LogicalPlan::Write)
        }
        Stmt::Admin(Admin::Verify { against: None }) => direct(DirectRead::Verify),
        Stmt::Admin(Admin::Verify { against: Some((hash, at)) }) => direct(binder.verify_against(hash, *at)?),
        Stmt::Admin(Admin::Prove { position, as_of }) => direct(DirectRead::Prove(*position, *as_of)),
        Stmt::Admin(Admin::SignHead { key }) => direct(binder.signed_head(key)?),
        Stmt::Admin(Admin::Backup { to, mode, without_keys, key }) => {
            binder.backup(to, *mode, *without_keys, key.as_ref()).map(LogicalPlan::Write)
        }
        Stmt::Admin(Admin::Rekey { key }) => binder.rekey(key).map(LogicalPlan::Write),
        Stmt::Admin(Admin::Checkpoint) => Ok(LogicalPlan::Write(WritePlan::Checkpoint)),
        Stmt::Admin(Admin::Sync | Admin::Compact) => Ok(LogicalPlan::Write(of_all(statement))),
    }
}

/// What is done to all of it.
fn of_all(statement: &Stmt) -> WritePlan {
    match statement {
        Stmt::Admin(Admin::Sync) => WritePlan::Sync,
        _ => WritePlan::Compact,
    }
}

/// What `SHOW` reads.
fn shown(target: ShowTarget) -> DirectRead {
    match target {
        ShowTarget::Definitions(kind) => DirectRead::Definitions(kind),
        ShowTarget::Types => DirectRead::Types,
        ShowTarget::Subscriptions => DirectRead::Subscriptions,
        ShowTarget::Functions => DirectRead::Functions,
        ShowTarget::Stats => DirectRead::Stats,
        ShowTarget::Head => DirectRead::Head,
    }
}

/// Why `ANALYZE` is not for this.
fn explain_only(why: &str) -> Error {
    Error::invalid("EXPLAIN ANALYZE", "a read", format!("{why}; EXPLAIN alone tells its plan"))
}

/// What can be known of a statement without a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BindInput<'a> {
    /// The text that the statement's spans point into.
    pub text: &'a str,
    /// Which statement of the text, counted from 1.
    pub statement: usize,
    /// Callers check once for the whole text that all are used: [`Parameters::check_used`].
    pub parameters: &'a Parameters,
    /// On whose behalf, where a write does not say.
    pub default_actor: Option<&'a Entity>,
    /// What the clock shows.
    pub now: Timestamp,
}

struct Binder<'a> {
    context: BindInput<'a>,
    /// None in a definition: it means the same whatever the log holds, and whenever it is read.
    names: Option<Names<'a>>,
    now: OnceCell<Timestamp>,
    notices: RefCell<Vec<String>>,
    /// How much of the log is seen.
    as_of: Cell<Option<Position>>,
    /// Whether events are read as they are stored.
    raw: Cell<bool>,
    /// What all that is worked out already may take.
    allowance: Allowance<'a>,
    /// Somebody says it now, and is told what is too large. What is stored is understood all the same, so that it can be dropped: it is
    /// then told by what is to be worked out.
    is_new: bool,
    /// Whether an instant is compared with what may be a text.
    instants: Cell<bool>,
    /// Whether anything of the log was looked at but where it ends.
    looked_at_log: Cell<bool>,
    /// How often a value was asked for.
    parameters_taken: Cell<u32>,
    /// What `UNNEST` gives names to.
    unnested: RefCell<UnnestedScope>,
}

impl<'a> Binder<'a> {
    /// For a definition, which means the same whatever the log holds.
    fn definition(&self) -> Binder<'_> {
        Binder { is_new: true, ..Binder::new(self.context, None) }
    }

    fn new(context: BindInput<'a>, names: Option<Names<'a>>) -> Binder<'a> {
        // A definition is worked out wherever it is read, and there are many.
        let largest = names.map_or(LARGEST / 16, Names::largest_value);
        let allowance = Allowance::alone(largest);
        Binder {
            context,
            names,
            now: OnceCell::new(),
            notices: RefCell::default(),
            as_of: Cell::default(),
            raw: Cell::default(),
            allowance,
            is_new: names.is_some(),
            instants: Cell::new(false),
            looked_at_log: Cell::new(false),
            parameters_taken: Cell::new(0),
            unnested: RefCell::default(),
        }
    }

    fn fault(&self, span: Span, message: impl Into<String>) -> Error {
        self.fault_meaning(span, message, None)
    }

    fn fault_meaning(&self, span: Span, message: impl Into<String>, meant: Option<String>) -> Error {
        Error::Syntax(Box::new(self.fault_at(span, message.into(), meant)))
    }

    fn fault_at(&self, span: Span, message: String, meant: Option<String>) -> SyntaxFault {
        fault::fault(self.context.text, self.context.statement, span, message, meant)
    }

    /// The text is right, and what it asks for is not in the log, or not yet.
    fn missing(&self, span: Span, item: MissingItem) -> Error {
        let message = item.to_string();
        self.missing_meaning(span, item, message, None)
    }

    fn missing_meaning(
        &self,
        span: Span,
        item: MissingItem,
        message: String,
        meant: Option<String>,
    ) -> Error {
        let fault = Some(Box::new(self.fault_at(span, message.clone(), meant)));
        Missing { item, message, fault }.into()
    }

    /// Turns an error of a value into one that points at it.
    fn at<T>(&self, span: Span, result: Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            Error::Invalid { .. } => self.fault(span, error.to_string()),
            other => other,
        })
    }

    /// Where a secret is. A text that does not say where may be the secret itself.
    fn secret(&self, said: &TextExpr, clause: &str, example: &str) -> Result<Secret> {
        self.hiding(said, Secret::new(clause, example, &self.text(said, clause)?))
    }

    /// The same as `at`, where what is wrong is not to be shown. What stands there of a parameter is only its name.
    fn hiding<T>(&self, said: &TextExpr, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let fault = self.fault_at(said.span(), error.to_string(), None);
            let text = self.context.text.get(said.span().range()).unwrap_or_default();
            let is_hidden = !text.starts_with('$');
            Error::Syntax(Box::new(if is_hidden { fault::hidden(fault) } else { fault }))
        })
    }

    fn notice(&self, notice: String) {
        self.notices.borrow_mut().push(notice);
    }

    fn names(&self) -> Result<Names<'a>> {
        self.looked_at_log.set(true);
        self.log()
    }

    /// Where the log ends.
    fn head(&self) -> Result<Position> {
        self.log().map(Names::head)
    }

    fn log(&self) -> Result<Names<'a>> {
        let none =
            || Error::invalid("a definition", "what means the same whatever the log holds", "a look at it");
        self.names.ok_or_else(none)
    }

    /// `NOW`, or what is counted from it, at a place of the text.
    fn now_at(&self, span: Span) -> Result<Timestamp> {
        if self.names.is_none() {
            let message =
                "a definition means the same at any time: there is no NOW in it, nor what is counted from it";
            return Err(self.fault(span, message));
        }
        self.now()
    }

    /// The instant that `NOW` is: the later of the clock and the head's `recorded`.
    fn now(&self) -> Result<Timestamp> {
        if let Some(now) = self.now.get() {
            return Ok(*now);
        }
        let names = self.names()?;
        let head = names.event(names.head())?;
        let now = head.map_or(self.context.now, |head| head.recorded.max(self.context.now));
        Ok(*self.now.get_or_init(|| now))
    }

    fn parameter(&self, param: &Param) -> Result<&'a Value> {
        self.parameters_taken.set(self.parameters_taken.get().saturating_add(1));
        self.context.parameters.get(&param.name).ok_or_else(|| {
            let given = self.context.parameters.names().collect::<Vec<_>>();
            let meant = fault::nearest(&param.name, given.iter().copied()).map(|name| format!("${name}"));
            self.fault_meaning(param.span, format!("the parameter ${} was given no value", param.name), meant)
        })
    }

    fn text(&self, text: &TextExpr, what: &str) -> Result<String> {
        match text {
            TextExpr::Literal { text, .. } => Ok(text.clone()),
            TextExpr::Param(param) => match self.parameter(param)? {
                Value::Text(text) => Ok(text.clone()),
                other => Err(self.wrong(param, what, "a text", other)),
            },
        }
    }

    fn count(&self, count: &CountLiteral, what: &str) -> Result<u64> {
        match count {
            CountLiteral::Number { number, .. } => Ok(*number),
            CountLiteral::Param(param) => match self.parameter(param)? {
                Value::Int(n) if *n >= 0 => Ok(n.unsigned_abs()),
                Value::UInt(n) => Ok(*n),
                other => Err(self.wrong(param, what, "a number from 0 on", other)),
            },
        }
    }

    fn wrong(&self, param: &Param, what: &str, expected: &str, found: &Value) -> Error {
        let found = shorten(&found.to_string());
        self.fault(param.span, format!("{what}: expected {expected}, found ${} = {found}", param.name))
    }

    fn entity(&self, entity: &EntityRef) -> Result<Entity> {
        self.one(&entity.kind.text, &entity.id, entity.span)
    }

    fn one(&self, kind: &str, id: &IdExpr, span: Span) -> Result<Entity> {
        let text = self.id(id)?;
        self.at(span, Entity::new(kind, &text))
    }

    /// An id is text; numbers become the digits they are written with.
    fn id(&self, id: &IdExpr) -> Result<String> {
        let value = match id {
            IdExpr::Text { text, .. } => return Ok(text.clone()),
            IdExpr::Param(param) => {
                let value = self.parameter(param)?;
                return id_text(value)
                    .ok_or_else(|| self.wrong(param, "an id", "a text or a whole number", value));
            }
            IdExpr::Expr(expr) => match self.expr(expr, NameScope::None)? {
                BoundExpr::Constant(Constant::Value(value)) => value,
                node if node.has_now() => {
                    let message =
                        "an id made of NOW would be another one each time: say NEW for a new one, or an id";
                    return Err(self.fault(expr.span, message));
                }
                _ => {
                    let message = "an id: expected a text or a whole number, found what is neither";
                    return Err(self.fault(expr.span, message));
                }
            },
        };
        id_text(&value).ok_or_else(|| {
            self.fault(id.span(), format!("an id: expected a text or a whole number, found {}", value.kind()))
        })
    }
}

fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(_) | Value::UInt(_) => Some(value.to_string()),
        _ => None,
    }
}
