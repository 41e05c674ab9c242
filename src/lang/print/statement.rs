//! Statements as text.

use super::{CommaList, Display, DottedName, Formatter, fmt, listed, optional};
use crate::definition::DefinitionKind;
use crate::lang::ast::*;
use crate::value::Value;

impl Display for ScriptTree {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, sourced) in self.statements.iter().enumerate() {
            let separator = if i > 0 { ";\n" } else { "" };
            write!(f, "{separator}{}", sourced.statement)?;
        }
        Ok(())
    }
}

impl Display for Stmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Stmt::Explain { analyze, statement } => {
                write!(f, "EXPLAIN {}{statement}", if *analyze { "ANALYZE " } else { "" })
            }
            Stmt::Write(write) => write!(f, "{write}"),
            Stmt::Read(read) => write!(f, "{read}"),
            Stmt::Define(definition) => write!(f, "DEFINE {definition}"),
            Stmt::Forget(forget) => {
                write!(f, "FORGET {}", forget.subject)?;
                optional(f, "BECAUSE", forget.because.as_ref())
            }
            Stmt::Drop { kind: kind @ DropTarget::Definition(DefinitionKind::Event), name } => {
                write!(f, "DROP {kind} {}", DottedName(&name.text))
            }
            Stmt::Drop { kind, name } => write!(f, "DROP {kind} {name}"),
            Stmt::Show(shown) => write!(f, "SHOW {shown}"),
            Stmt::Describe(name) => write!(f, "DESCRIBE {name}"),
            Stmt::DescribeType(event_type) => write!(f, "DESCRIBE {event_type}"),
            Stmt::Admin(admin) => write!(f, "{admin}"),
        }
    }
}

impl Display for WriteStmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            WriteStmt::Act(act) => write!(f, "{act}"),
            WriteStmt::Atomic { acts, facts } => write!(f, "ATOMIC {}{facts}", ActBlock(acts)),
        }
    }
}

/// Acts in parentheses.
struct ActBlock<'a>(&'a [ActStmt]);

impl Display for ActBlock<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, act) in self.0.iter().enumerate() {
            write!(f, "{}{act}", if i > 0 { "; " } else { "(" })?;
        }
        f.write_str(")")
    }
}

/// One act, or several in parentheses.
struct Do<'a>(&'a [ActStmt]);

impl Display for Do<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            [act] => write!(f, " DO {act}"),
            acts => write!(f, " DO {}", ActBlock(acts)),
        }
    }
}

impl Display for ActStmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ActStmt::Emit(emit) => {
                write!(f, "EMIT {}", emit.event_type)?;
                match &emit.id {
                    Some(EmitId::Id(id)) => write!(f, " {id}")?,
                    Some(EmitId::New(_)) => f.write_str(" NEW")?,
                    None => {}
                }
                optional(f, "ON", emit.owner.as_ref())?;
                body(f, emit.body.as_ref())?;
                write!(f, "{}", emit.facts)
            }
            ActStmt::Perform(perform) => {
                write!(f, "PERFORM {} {}", perform.verb, perform.entity)?;
                body(f, perform.body.as_ref())?;
                write!(f, "{}", perform.facts)
            }
            ActStmt::Close(close) => {
                write!(f, "{} {}", if close.reopens { "REOPEN" } else { "CLOSE" }, close.entity)?;
                optional(f, "BECAUSE", close.because.as_ref())?;
                write!(f, "{}", close.facts)
            }
        }
    }
}

fn body(f: &mut Formatter<'_>, body: Option<&Body>) -> fmt::Result {
    match body {
        Some(Body::Object(object)) => write!(f, " {object}"),
        Some(Body::With(expr)) => write!(f, " WITH {expr}"),
        None => Ok(()),
    }
}

impl Display for EventClauses {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        optional(f, "BY", self.actor.as_ref())?;
        optional(f, "AT", self.at.as_ref())?;
        optional(f, "META", self.meta.as_ref())?;
        optional(f, "KEY", self.key.as_ref())?;
        optional(f, "ID", self.id.as_ref())?;
        optional(f, "CAUSED BY", self.cause.as_ref())?;
        for guard in &self.expect {
            write!(f, " EXPECT {guard}")?;
        }
        listed(f, "INDEX BY", &self.index)
    }
}

impl Display for CauseClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            CauseClause::Event(event) => write!(f, "{event}"),
            CauseClause::Elsewhere { event_type, id } => write!(f, "{event_type} {id}"),
        }
    }
}

impl Display for GuardClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            GuardKind::New => f.write_str("NEW"),
            GuardKind::Exists => f.write_str("EXISTS"),
            GuardKind::Absent => f.write_str("ABSENT"),
            GuardKind::Version(count) => write!(f, "VERSION {count}"),
            GuardKind::None { selectors, since } => {
                let said: Vec<String> = selectors.iter().map(Selector::to_string).collect();
                let since = since.as_ref().map(|since| format!(" SINCE {since}")).unwrap_or_default();
                write!(f, "NONE ({})", format!("{}{since}", said.join(" OR")).trim_start())
            }
        }
    }
}

impl Display for IndexTag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        optional(f, "=", self.value.as_ref())
    }
}

impl Display for ReadStmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ReadStmt::History { entity, of, clauses } => {
                write!(f, "HISTORY {entity}")?;
                optional(f, "OF", of.as_ref())?;
                write!(f, "{clauses}")
            }
            ReadStmt::Query(query) => write!(f, "{query}"),
            ReadStmt::View { view, clauses } => write!(f, "READ {view}{clauses}"),
            ReadStmt::At { entity, point, as_of } => {
                write!(f, "AT {entity}")?;
                optional_point(f, point.as_ref())?;
                optional(f, "AS OF", as_of.as_ref())
            }
            ReadStmt::Replay { entity, steps, as_of } => {
                write!(f, "REPLAY {entity}{}", if *steps { " STEPS" } else { "" })?;
                optional(f, "AS OF", as_of.as_ref())
            }
            ReadStmt::Diff { entity, from, to, as_of } => {
                write!(f, "DIFF {entity} FROM {from}")?;
                optional(f, "TO", to.as_ref())?;
                optional(f, "AS OF", as_of.as_ref())
            }
            ReadStmt::Trace { direction, event } => {
                let direction = match direction {
                    TraceDirection::Both => "",
                    TraceDirection::Causes => "CAUSES ",
                    TraceDirection::Effects => "EFFECTS ",
                };
                write!(f, "TRACE {direction}{event}")
            }
            ReadStmt::Blame { entity, of, point, as_of } => {
                write!(f, "BLAME {entity}")?;
                optional(f, "OF", of.as_ref())?;
                optional_point(f, point.as_ref())?;
                optional(f, "AS OF", as_of.as_ref())
            }
            ReadStmt::Subscribe(subscribe) => write!(f, "{subscribe}"),
        }
    }
}

fn optional_point(f: &mut Formatter<'_>, point: Option<&PointExpr>) -> fmt::Result {
    point.map_or(Ok(()), |point| write!(f, " {point}"))
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Query::Events { selector, clauses } => write!(f, "EVENTS{selector}{clauses}"),
            Query::Find { kind, clauses } => write!(f, "FIND {kind}{clauses}"),
        }
    }
}

impl Display for Subscribe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.source {
            SourceClause::View(view) => write!(f, "SUBSCRIBE VIEW {view}")?,
            SourceClause::Events(selector) => write!(f, "SUBSCRIBE{selector}")?,
        }
        optional(f, "AS", self.name.as_ref())?;
        optional(f, "FROM", self.from.as_ref())?;
        optional(f, "UNTIL", self.until.as_ref())?;
        optional(f, "WHERE", self.filter.as_ref())?;
        optional(f, "LIMIT", self.limit.as_ref())
    }
}

/// With a space before it, as every part that may be absent.
impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(pattern) = &self.pattern {
            write!(f, " {pattern}")?;
        }
        listed(f, "BY", &self.tags)
    }
}

impl Display for TagCondition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        match &self.test {
            TagTest::Compare(comparison, value) => write!(f, "{comparison} {value}"),
            TagTest::In(values) => write!(f, "IN ({})", CommaList(values)),
            TagTest::Between(low, high) => write!(f, "BETWEEN {low} AND {high}"),
            TagTest::Is(id) => write!(f, "{id}"),
        }
    }
}

impl Display for Clauses {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        optional(f, "WHERE", self.filter.as_ref())?;
        self.unnest.iter().try_for_each(|unnest| unnest.fmt(f))?;
        optional(f, "SINCE", self.since.as_ref())?;
        optional(f, "UNTIL", self.until.as_ref())?;
        optional(f, "AT", self.at.as_ref())?;
        optional(f, "AS OF", self.as_of.as_ref())?;
        listed(f, "GROUP BY", &self.group)?;
        listed(f, "SELECT", &self.select)?;
        optional(f, "HAVING", self.having.as_ref())?;
        listed(f, "ORDER BY", &self.order)?;
        optional(f, "LIMIT", self.limit.as_ref())?;
        optional(f, "LAST", self.last.as_ref())?;
        f.write_str(if self.raw.is_some() { " RAW" } else { "" })
    }
}

impl Display for UnnestClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " UNNEST {} AS {}", self.list, self.alias)?;
        self.place.iter().try_for_each(|place| write!(f, ", {place}"))?;
        optional(f, "WHERE", self.filter.as_ref())
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expr)?;
        optional(f, "AS", self.alias.as_ref())
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, if self.descending { " DESC" } else { "" })
    }
}

impl Display for DefinitionStmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DefinitionStmt::Entity(entity) => write!(f, "{entity}"),
            DefinitionStmt::Event(event) => write!(f, "{event}"),
            DefinitionStmt::Verb(verb) => write!(f, "{verb}"),
            DefinitionStmt::Index { name, pattern, expr } => {
                write!(f, "INDEX {name} ON {pattern}")?;
                let declares = matches!(expr.kind, ExprKind::Literal(Literal::Value(Value::Null)));
                if declares { Ok(()) } else { write!(f, " AS {expr}") }
            }
            DefinitionStmt::Column { name, pattern, expr } => {
                write!(f, "COLUMN {name} ON {pattern} AS {expr}")
            }
            DefinitionStmt::Schedule { name, rhythm, acts } => {
                write!(f, "SCHEDULE {name}")?;
                match rhythm {
                    RhythmClause::Every { period, at } => {
                        write!(f, " EVERY {period}")?;
                        optional(f, "AT", at.as_ref())?;
                    }
                    RhythmClause::Cron { fields, zone } => {
                        write!(f, " CRON {fields}")?;
                        optional(f, "IN", zone.as_ref())?;
                    }
                }
                write!(f, "{}", Do(acts))
            }
            DefinitionStmt::View { name, query } => write!(f, "VIEW {name} AS {query}"),
            DefinitionStmt::Private(private) => {
                write!(f, "PRIVATE {} ON {} OF {}", private.name, private.pattern, private.subject)?;
                if let Some(id) = &private.id {
                    write!(f, " ({id})")?;
                }
                listed(f, "FIELDS", &private.fields)?;
                if private.past { f.write_str(" INCLUDING PAST") } else { Ok(()) }
            }
            DefinitionStmt::Reaction(reaction) => {
                write!(f, "REACTION {} ON {}", reaction.name, reaction.pattern)?;
                optional(f, "FROM", reaction.from.as_ref())?;
                optional(f, "WHERE", reaction.filter.as_ref())?;
                if let Some(after) = &reaction.after {
                    write!(f, " AFTER {}", after.period)?;
                    optional(f, "UNLESS", after.unless.as_ref())?;
                }
                write!(f, "{}", Do(&reaction.acts))
            }
            DefinitionStmt::Webhook(webhook) => {
                write!(f, "WEBHOOK {} ON {}", webhook.name, webhook.pattern)?;
                optional(f, "FROM", webhook.from.as_ref())?;
                optional(f, "WHERE", webhook.filter.as_ref())?;
                write!(f, " TO {}", webhook.to)?;
                optional(f, "AS", webhook.form.as_ref())?;
                optional(f, "SECRET", webhook.secret.as_ref())
            }
        }
    }
}

impl Display for EntityDefinitionStmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ENTITY {}", self.name)?;
        optional(f, "NAMESPACE", self.namespace.as_ref())?;
        optional(f, "INITIAL", self.initial.as_ref())?;
        optional(f, "SNAPSHOT EVERY", self.snapshot.as_ref())?;
        for include in &self.includes {
            write!(f, " INCLUDE {} BY {}", include.pattern, include.tag)?;
        }
        for rule in &self.rules {
            write!(f, " ON {} {}", rule.on, rule.change)?;
        }
        optional(f, "ELSE", self.otherwise.as_ref())?;
        listed(f, "FORGOTTEN SET", &self.forgotten)
    }
}

impl Display for ChangeClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ChangeClause::Merge => f.write_str("MERGE"),
            ChangeClause::Ignore => f.write_str("IGNORE"),
            ChangeClause::Delete => f.write_str("DELETE"),
            ChangeClause::Set(assigns) => write!(f, "SET {}", CommaList(assigns)),
        }
    }
}

impl Display for AssignClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.path, self.value)
    }
}

impl Display for VerbDefinitionStmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "VERB {} ON {}", self.name, self.kind)?;
        listed(f, "BY", &self.actors)?;
        each(f, &self.requires)?;
        each(f, &self.emits)?;
        each(f, self.forgets.as_slice())?;
        for case in &self.cases {
            write!(f, " WHEN {}", case.condition)?;
            each(f, &case.requires)?;
            each(f, &case.emits)?;
            each(f, case.forgets.as_slice())?;
        }
        Ok(())
    }
}

fn each<T: Display>(f: &mut Formatter<'_>, parts: &[T]) -> fmt::Result {
    parts.iter().try_for_each(|part| write!(f, " {part}"))
}

impl Display for RequireClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "REQUIRE {}", self.condition)?;
        optional(f, "ELSE", self.otherwise.as_ref())
    }
}

impl Display for ForgetClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "FORGET {}", self.subject)?;
        if let Some(id) = &self.id {
            write!(f, " ({id})")?;
        }
        optional(f, "BECAUSE", self.because.as_ref())
    }
}

impl Display for VerbEmit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "EMIT {}", self.happening)?;
        optional(f, "ON", self.owner.as_ref())?;
        body(f, self.body.as_ref())?;
        write!(f, "{}", self.facts)
    }
}

impl Display for DropTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword().text())
    }
}

impl Display for ShowTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword().text())
    }
}

impl Display for Admin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut follower = |verb: &str, kind: &DropTarget, name: &Name, position| {
            write!(f, "{verb} {kind} {name}")?;
            match position {
                Some(position) => write!(f, " {position}"),
                None => Ok(()),
            }
        };
        match self {
            Admin::Retry { kind, name, position } => follower("RETRY", kind, name, *position),
            Admin::Skip { kind, name, position } => follower("SKIP", kind, name, *position),
            Admin::Backup { to, mode, without_keys, key } => {
                write!(f, "BACKUP TO {to}")?;
                f.write_str(match mode {
                    BackupClause::New => "",
                    BackupClause::Increment => " INCREMENT",
                    BackupClause::Replace => " REPLACE",
                })?;
                f.write_str(if *without_keys { " WITHOUT KEYS" } else { "" })?;
                optional(f, "KEY", key.as_ref())
            }
            Admin::Rekey { key } => write!(f, "REKEY {key}"),
            Admin::Verify { against } => {
                f.write_str("VERIFY")?;
                let Some((hash, position)) = against else { return Ok(()) };
                write!(f, " AGAINST {hash}")?;
                optional(f, "AT", position.as_ref())
            }
            Admin::Prove { position, as_of } => {
                write!(f, "PROVE {position}")?;
                optional(f, "AS OF", as_of.as_ref())
            }
            Admin::SignHead { key } => write!(f, "SIGN HEAD WITH {key}"),
            Admin::Compact => f.write_str("COMPACT"),
            Admin::Checkpoint => f.write_str("CHECKPOINT"),
            Admin::Sync => f.write_str("SYNC"),
        }
    }
}
