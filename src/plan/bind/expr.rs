//! Binding of expressions.

use super::Binder;
use super::call::folded;
use super::read_view::Columns;
use super::shape::ColumnScope;
use crate::entity::Entity;
use crate::error::{Error, Result, shorten};
use crate::lang::ast::{self, Expr, ExprKind, Literal, ObjectExpr, Operator, Path, Span};
use crate::pattern::TextPattern;
use crate::plan::expr::{BoundExpr, Constant, Like};
use crate::plan::fault::nearest;
use crate::plan::field::{
    ACTOR_PARTS, EntityPart, FOUND_NAMES, Field, FieldStep, NAMES, STATE, Sort, VERB_NAMES,
};
use crate::time::{Timestamp, why_no_time};
use crate::value::Value;

/// Which names an expression may use.
#[derive(Clone, Copy)]
pub(super) enum NameScope<'f> {
    /// The fields of an event.
    Event,
    /// The same, within an aggregate.
    Inside,
    /// The fields of an event, and of the state that it folds into.
    Fold,
    /// The fields of an entity that is found.
    Found,
    /// The same, within an aggregate.
    InsideFound,
    /// The state of an entity alone.
    State,
    /// The fields of an event, aggregates, and columns that have names already.
    Frame(&'f ColumnScope),
    /// The columns of a view, and nothing else.
    Columns(&'f Columns),
    /// What a verb sees: what it is performed on, its arguments, and who performs it.
    Verb,
    /// What a reaction sees: the event that triggers it, and the state of its target just after it.
    Reaction,
    /// None, and an instant: that of a schedule.
    Schedule,
    /// None: it says what an event is to be.
    None,
}

impl NameScope<'_> {
    /// The names there are, where they are those of an entity.
    fn of_entities(self) -> Option<&'static [&'static str]> {
        match self {
            NameScope::Found | NameScope::InsideFound => Some(&FOUND_NAMES),
            NameScope::State => Some(&FOUND_NAMES[..1]),
            NameScope::Frame(frame) if frame.found => Some(&FOUND_NAMES),
            _ => None,
        }
    }
}

impl Binder<'_> {
    pub(super) fn expr(&self, expr: &Expr, names: NameScope) -> Result<BoundExpr> {
        match names {
            NameScope::Frame(frame) => frame.key(expr).map_or_else(|| self.node(expr, names), Ok),
            NameScope::Columns(columns) => columns.get(expr).map_or_else(|| self.node(expr, names), Ok),
            _ => self.node(expr, names),
        }
    }

    fn node(&self, expr: &Expr, names: NameScope) -> Result<BoundExpr> {
        let each = |exprs: &[Expr]| -> Result<Vec<BoundExpr>> {
            exprs.iter().map(|e| self.expr(e, names)).collect()
        };
        let boxed = |expr: &Expr| self.expr(expr, names).map(Box::new);
        let turned =
            |negated: bool, node: BoundExpr| if negated { BoundExpr::Not(Box::new(node)) } else { node };
        Ok(match &expr.kind {
            ExprKind::Literal(literal) => self.literal(literal, expr.span, names)?,
            ExprKind::Param(param) => BoundExpr::value(self.parameter(param)?.clone()),
            ExprKind::Field(path) => self.named(path, names)?,
            ExprKind::Entity(entity) => {
                self.check_entity(&entity.kind, expr.span, matches!(names, NameScope::None))?;
                self.check_literal(entity, expr.span)?;
                BoundExpr::Constant(Constant::Entity(self.entity(entity)?))
            }
            ExprKind::Call { name, args } => self.call(name, args, expr.span, names)?,
            ExprKind::Object(object) => self.object(object, names)?,
            ExprKind::Array(items) => BoundExpr::Array(each(items)?),
            ExprKind::Or(terms) => BoundExpr::Or(each(terms)?),
            ExprKind::And(terms) => BoundExpr::And(each(terms)?),
            ExprKind::Not(inner) => BoundExpr::Not(boxed(inner)?),
            ExprKind::Negate(inner) => match self.expr(inner, names)? {
                BoundExpr::Constant(Constant::Span(nanos)) => BoundExpr::Constant(Constant::Span(-nanos)),
                node => folded(BoundExpr::Negate(Box::new(node))),
            },
            ExprKind::Arithmetic { first, rest } => self.arithmetic(first, rest, names)?,
            ExprKind::Compare { left, comparison, right } => {
                let [left, right] = self.beside([left, right], names)?;
                BoundExpr::Compare { left: Box::new(left), comparison: *comparison, right: Box::new(right) }
            }
            ExprKind::Matches { subject, negated, pattern } => {
                let (subject, tested) = (boxed(subject)?, subject);
                self.check_text(&subject, tested)?;
                let BoundExpr::Constant(Constant::Value(Value::Text(text))) = self.expr(pattern, names)?
                else {
                    return Err(
                        self.fault(pattern.span, "MATCHES: expected a pattern in quotes, like 'Order.*'")
                    );
                };
                let pattern = match subject.sort() {
                    Sort::Type => Like::Type(self.pattern_of(&text, pattern.span)?),
                    _ => Like::Text(TextPattern::new(&text)),
                };
                turned(*negated, BoundExpr::Matches { subject, pattern })
            }
            ExprKind::Contains { subject, negated, item } => {
                let (subject, item) = (boxed(subject)?, boxed(item)?);
                self.note_instants([&*subject, &*item]);
                turned(*negated, BoundExpr::Contains { subject, item })
            }
            ExprKind::Between { subject, negated, low, high } => {
                let [subject, low, high] = self.beside([subject, low, high], names)?.map(Box::new);
                turned(*negated, BoundExpr::Between { subject, low, high })
            }
            ExprKind::In { subject, negated, items } => {
                let mut all = vec![&**subject];
                all.extend(items);
                let mut nodes = self.beside_all(&all, names)?.into_iter();
                let subject = nodes.next().unwrap_or(BoundExpr::value(Value::Null));
                turned(*negated, BoundExpr::In { subject: Box::new(subject), items: nodes.collect() })
            }
            ExprKind::IsNull { subject, negated } => turned(*negated, BoundExpr::IsNull(boxed(subject)?)),
        })
    }

    fn arithmetic(&self, first: &Expr, rest: &[(Operator, Expr)], names: NameScope) -> Result<BoundExpr> {
        let bound = self.expr(first, names)?;
        let mut nodes = Vec::with_capacity(rest.len());
        for (operator, operand) in rest {
            nodes.push((*operator, self.expr(operand, names)?));
        }
        let said = rest.iter().map(|(_, operand)| operand);
        let operands: Vec<_> =
            std::iter::once((&bound, first)).chain(nodes.iter().map(|(_, node)| node).zip(said)).collect();
        // What is made is worked out strictly: but for times, its error says what was computed.
        let is_strict = matches!(
            names,
            NameScope::None | NameScope::Fold | NameScope::Reaction | NameScope::Schedule | NameScope::Verb
        );
        if !is_strict || operands.iter().any(|(node, _)| node.sort() == Sort::Time) {
            let operators: Vec<Operator> = rest.iter().map(|(operator, _)| *operator).collect();
            self.check_arithmetic(&operands, &operators)?;
        }
        Ok(folded(BoundExpr::Arithmetic { first: Box::new(bound), rest: nodes }))
    }

    pub(super) fn object(&self, object: &ObjectExpr, names: NameScope) -> Result<BoundExpr> {
        let members = object.members.iter();
        let members = members.map(|(name, expr)| Ok((name.text.clone(), self.expr(expr, names)?)));
        Ok(BoundExpr::Object(members.collect::<Result<_>>()?))
    }

    fn literal(&self, literal: &Literal, span: Span, names: NameScope) -> Result<BoundExpr> {
        Ok(match literal {
            Literal::Value(value) => BoundExpr::value(value.clone()),
            Literal::Time(time) => BoundExpr::Constant(Constant::Time(*time)),
            Literal::Duration(duration) => {
                // A u64 of milliseconds at most: far below.
                BoundExpr::Constant(Constant::Span(i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)))
            }
            Literal::Position(position) => {
                let message =
                    format!("{position} is a place in the log: BY cause takes it, and no other value is one");
                return Err(self.fault(span, message));
            }
            Literal::Now => match names {
                // A definition has no instant of its own.
                NameScope::None if self.names.is_some() => BoundExpr::Now,
                // What a verb decides, it decides at an instant; and what runs by itself, runs at one.
                NameScope::Verb | NameScope::Reaction | NameScope::Schedule => BoundExpr::Now,
                _ => BoundExpr::Constant(Constant::Time(self.now_at(span)?)),
            },
        })
    }

    /// A column, where one has the name; else a field.
    fn named(&self, path: &Path, names: NameScope) -> Result<BoundExpr> {
        if let NameScope::Columns(columns) = names {
            return self.column_of_view(columns, path);
        }
        let NameScope::Frame(frame) = names else {
            let unnested = match names {
                NameScope::None => None,
                _ => self.unnested_field(path)?,
            };
            return unnested.map_or_else(|| self.field(path, names), Ok).map(BoundExpr::Field);
        };
        if path.steps.is_empty()
            && let Some(column) = frame.column(&path.first.text)
        {
            return Ok(column);
        }
        let field = self.unnested_field(path)?.map_or_else(|| self.field(path, names), Ok)?;
        frame.met(path.to_string(), path.span);
        Ok(BoundExpr::Field(field))
    }

    fn field(&self, path: &Path, names: NameScope) -> Result<Field> {
        let first = &path.first.text;
        if matches!(names, NameScope::None) {
            let meant = path.steps.is_empty().then(|| format!("'{first}'"));
            let message = format!(
                "'{first}' names a field, and there is no event here to take it from; text goes in quotes"
            );
            return Err(self.fault_meaning(path.first.span, message, meant));
        }
        if matches!(names, NameScope::Schedule) {
            let message = format!(
                "'{first}' names a field, and a schedule has no event to take it from; it has NOW, and text goes in quotes"
            );
            return Err(self.fault(path.first.span, message));
        }
        if let Some(known) = names.of_entities() {
            return self.field_of_entity(path, known, names);
        }
        if matches!(names, NameScope::Verb) {
            return self.field_of_verb(path);
        }
        let has_state = matches!(names, NameScope::Fold | NameScope::Reaction);
        if first == STATE && !has_state {
            let message = "state is what events make of an entity, and here there is an event alone: it is named in \
                           FIND, in the SET of DEFINE ENTITY, and in DEFINE REACTION";
            let meant = format!("data.{path}");
            return Err(self.fault_meaning(path.first.span, message, Some(meant)));
        }
        let field = Field::named(first).ok_or_else(|| {
            let before = self.source(Span::new(0, path.first.span.start())).trim_end();
            if first.eq_ignore_ascii_case("all") && before.to_ascii_uppercase().ends_with("GROUP BY") {
                let message = "GROUP BY names what it groups by, as in GROUP BY type";
                return self.fault(path.first.span, message);
            }
            let columns: Vec<&str> = match names {
                NameScope::Frame(frame) => frame.names().collect(),
                _ => Vec::new(),
            };
            // A column without a name is called by its text, as `count()`.
            let call = columns.iter().find(|column| column.split('(').next() == Some(first.as_str()));
            let state = has_state.then_some(STATE);
            let unnested = self.unnested_names();
            let known = columns.iter().copied().chain(unnested.iter().map(String::as_str)).chain(NAMES).chain(state);
            let elsewhere = elsewhere(first).filter(|_| path.steps.is_empty() && columns.is_empty());
            let meant = match call.copied().or_else(|| nearest(first, known)) {
                _ if elsewhere.is_some() => format!("{} or data.{first}", elsewhere.unwrap_or_default()),
                Some(name) => name.to_owned(),
                // Kinds and types are written with a capital, members of data without.
                None if first.starts_with(char::is_uppercase) => format!("'{path}'"),
                None if state.is_some() => format!("state.{first} or data.{first}"),
                None => format!("data.{first}"),
            };
            let fields = NAMES.join(", ");
            let message = match columns.as_slice() {
                [] if state.is_some() => format!(
                    "there is no field '{first}'; an event has {fields}, and what it folds into is state; a text is \
                     quoted, as '{first}'"
                ),
                [] => format!(
                    "an event has no field '{first}'; it has {fields}; a text is quoted, as '{first}'"
                ),
                some => format!(
                    "there is no column and no field '{first}'; the columns are {}, the fields {fields}",
                    some.join(", ")
                ),
            };
            self.fault_meaning(path.first.span, message, Some(meant))
        })?;
        self.steps(path, field)
    }

    /// A field of an entity.
    fn field_of_entity(&self, path: &Path, known: &[&'static str], names: NameScope) -> Result<Field> {
        let first = path.first.text.as_str();
        let field = match first {
            STATE => Some(Field::State(Vec::new())),
            "events" => Some(Field::Events),
            "target" | "version" => Field::named(first),
            _ => None,
        };
        if let Some(field) = field.filter(|_| known.contains(&first)) {
            return self.steps(path, field);
        }
        let columns: Vec<&str> = match names {
            NameScope::Frame(frame) => frame.names().collect(),
            _ => Vec::new(),
        };
        let unnested = self.unnested_names();
        let names = columns.iter().copied().chain(unnested.iter().map(String::as_str));
        let meant = match nearest(first, names.chain(known.iter().copied())) {
            Some(name) => name.to_owned(),
            None if first == "data" && !path.steps.is_empty() => {
                let rest = path.to_string();
                format!("state{}", rest.strip_prefix("data").unwrap_or_default())
            }
            None if first == "id" => "target.id".to_owned(),
            None => format!("state.{path}"),
        };
        let columns = match columns.as_slice() {
            [] => String::new(),
            some => format!("; the columns are {}", some.join(", ")),
        };
        let message =
            format!("an entity that is found has no '{first}'; it has {}{columns}", known.join(", "));
        Err(self.fault_meaning(path.first.span, message, Some(meant)))
    }

    /// What a verb sees.
    fn field_of_verb(&self, path: &Path) -> Result<Field> {
        let first = path.first.text.as_str();
        if first == "actor"
            && let Some(step) = path.steps.first()
        {
            let (step, span) = taken(step);
            let FieldStep::Member(name) = &step else {
                return self.steps(path, Field::Actor(EntityPart::Whole));
            };
            if name == STATE {
                let (so_far, rest) = (format!("{first}.{STATE}"), path.steps.get(1..).unwrap_or_default());
                return self.steps_on(so_far, rest, Field::ActorState(Vec::new()));
            }
            if !ACTOR_PARTS.contains(&name.as_str()) {
                let message = format!("actor has no '{name}'; it has {}", ACTOR_PARTS.join(", "));
                let meant =
                    nearest(name, ACTOR_PARTS).map_or_else(|| format!("actor.state.{name}"), str::to_owned);
                return Err(self.fault_meaning(span, message, Some(meant)));
            }
        }
        if let Some(field) = Field::named(first).filter(|_| VERB_NAMES.contains(&first)) {
            return self.steps(path, field);
        }
        let meant = match first {
            "id" => "target.id".to_owned(),
            "timestamp" | "recorded" => "NOW".to_owned(),
            // A name alone is rather a member of one of these than one of these.
            _ => match nearest(first, VERB_NAMES)
                .filter(|name| !path.steps.is_empty() || !matches!(*name, STATE | "data" | "metadata"))
            {
                Some(name) => name.to_owned(),
                None => format!("state.{path} or data.{path}"),
            },
        };
        let message = format!(
            "a verb sees no '{first}'; it sees {}: the state before it, and its arguments in data; a text is quoted, as \
             '{first}'",
            VERB_NAMES.join(", ")
        );
        Err(self.fault_meaning(path.first.span, message, Some(meant)))
    }

    pub(super) fn steps(&self, path: &Path, field: Field) -> Result<Field> {
        self.steps_on(path.first.text.clone(), &path.steps, field)
    }

    fn steps_on(&self, mut so_far: String, steps: &[ast::StepExpr], mut field: Field) -> Result<Field> {
        for step in steps {
            let (step, span) = taken(step);
            let written = step.to_string();
            field = field.step(step).map_err(|others| {
                let message = match others {
                    [] => format!("{so_far} has no parts"),
                    some => format!(
                        "{so_far} has no '{}'; it has {}",
                        written.trim_start_matches('.'),
                        some.join(", ")
                    ),
                };
                let meant = nearest(written.trim_start_matches('.'), others.iter().copied());
                self.fault_meaning(span, message, meant.map(str::to_owned))
            })?;
            so_far.push_str(&written);
        }
        Ok(field)
    }

    fn beside<const N: usize>(&self, exprs: [&Expr; N], names: NameScope) -> Result<[BoundExpr; N]> {
        let nodes = self.beside_all(&exprs, names)?;
        nodes
            .try_into()
            .map_err(|_| Error::invalid("an expression", "as many values as were written", "others"))
    }

    /// Expressions that are compared: beside a time a constant is a time, beside a date
    /// and an id it is text.
    pub(super) fn beside_all(&self, exprs: &[&Expr], names: NameScope) -> Result<Vec<BoundExpr>> {
        let mut nodes: Vec<BoundExpr> =
            exprs.iter().map(|expr| self.expr(expr, names)).collect::<Result<_>>()?;
        let is = |sort: Sort, nodes: &[BoundExpr]| nodes.iter().any(|node| node.sort() == sort);
        if is(Sort::Date, &nodes) {
            nodes.iter_mut().for_each(beside_date);
        }
        // The fields among them, and how they are said.
        let fields: Vec<(Sort, &str)> = nodes
            .iter()
            .zip(exprs)
            .filter(|(node, _)| matches!(node, BoundExpr::Field(_)))
            .map(|(node, expr)| (node.sort(), self.source(expr.span)))
            .collect();
        let (time, entity, id) = (is(Sort::Time, &nodes), is(Sort::Entity, &nodes), is(Sort::Id, &nodes));
        for (node, expr) in nodes.iter_mut().zip(exprs) {
            let BoundExpr::Constant(constant) = node else { continue };
            // So long before an instant that is yet to come.
            if time
                && matches!(names, NameScope::Verb | NameScope::Reaction | NameScope::Schedule)
                && matches!(constant, Constant::Span(nanos) if *nanos <= 0)
            {
                *node = BoundExpr::Arithmetic {
                    first: Box::new(BoundExpr::Now),
                    rest: vec![(Operator::Add, BoundExpr::Constant(constant.clone()))],
                };
                continue;
            }
            if time {
                self.beside_time(constant, expr.span)?;
            }
            if entity && let Constant::Value(Value::Text(text)) = constant {
                let path = fields.iter().find_map(|(sort, said)| (*sort == Sort::Entity).then_some(said));
                let alone = path.map_or_else(String::new, |path| format!("; its id alone is {path}.id"));
                let message = format!("a text beside an entity: expected an entity, like User 7{alone}");
                let meant = text.parse::<Entity>().ok().map(|entity| entity.to_string());
                return Err(self.fault_meaning(expr.span, message, meant));
            }
            if id && let Constant::Value(value @ (Value::Int(_) | Value::UInt(_))) = constant {
                *value = Value::Text(value.to_string());
            }
        }
        self.check_beside(&nodes, exprs)?;
        self.note_instants(&nodes);
        Ok(nodes)
    }

    fn beside_time(&self, constant: &mut Constant, span: Span) -> Result<()> {
        let time: Timestamp = match constant {
            Constant::Value(Value::Text(text)) => match text.parse() {
                Ok(time) => time,
                Err(_) => {
                    let why = why_no_time(text).map_or_else(String::new, |why| format!(" ({why})"));
                    let message = format!(
                        "a text beside a time: expected a time like 2024-01-01 or 2024-01-01T12:00:00Z, found '{}'{why}",
                        shorten(text)
                    );
                    return Err(self.fault(span, message));
                }
            },
            Constant::Span(nanos) if *nanos <= 0 => {
                self.now_at(span)?.moved(*nanos).ok_or_else(|| self.too_early(span))?
            }
            Constant::Span(_) => {
                let said = self.context.text.get(span.range()).unwrap_or_default();
                let message = "a length of time beside an instant: expected a time";
                return Err(self.fault_meaning(span, message, Some(format!("NOW - {said}"))));
            }
            _ => return Ok(()),
        };
        *constant = Constant::Time(time);
        Ok(())
    }
}

/// A step, and where it stands.
pub(super) fn taken(step: &ast::StepExpr) -> (FieldStep, Span) {
    match step {
        ast::StepExpr::Member(name) => (FieldStep::Member(name.text.clone()), name.span),
        ast::StepExpr::Element { index, span } => {
            (FieldStep::Element(usize::try_from(*index).unwrap_or(usize::MAX)), *span)
        }
    }
}

/// The field that other databases call so.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "date" | "time" | "datetime" | "ts" | "created" | "created_at" | "occurred_at" => "timestamp",
        "user" | "author" | "who" => "actor",
        "entity" | "stream" | "aggregate" | "subject" => "target",
        "kind" => "target.type",
        "event_type" | "event" => "type",
        "payload" | "body" => "data",
        "seq" | "sequence" | "rowid" | "revision" => "position",
        _ => return None,
    })
}

/// A day is text.
fn beside_date(node: &mut BoundExpr) {
    if let BoundExpr::Constant(Constant::Time(instant)) = node {
        *node = BoundExpr::value(instant.civil().date().to_string());
    }
}
