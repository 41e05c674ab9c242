//! Hints: names that nothing in the log bears, and what was probably meant.
//!
//! An unknown kind, type or member of data is no error: nothing bears it yet, and no events is an answer. But who typed it
//! may have meant another. So this is asked for apart, by who has a reader for it, and costs those nothing who have none. It reads
//! little: which types there are, and some of the newest events.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::never_true::{called, no_conditions};
use super::sorts::{Compared, compared};
use super::unmatched::{Told, of_pattern};
use super::{BindInput, Binder, Names};
use crate::document::Raw;
use crate::entity::NameText;
use crate::error::Result;
use crate::event::record::Record;
use crate::lang::ast::{
    ActStmt, ChangeClause, Clauses, DefinitionStmt, EntityDefinitionStmt, EntityRef, Expr, ExprKind,
    GuardClause, GuardKind, IdExpr, Order, Path, Query, ReadStmt, Selector, SourceClause, Start, StepExpr,
    Stmt, TagTest, TextExpr, VerbDefinitionStmt, WriteStmt,
};
use crate::pattern::Pattern;
use crate::plan::fault::nearest;
use crate::plan::field::STATE;
use crate::store::index::term::Term;
use crate::store::state::fold::Fold;

/// How many of the newest events are looked at for a member of data.
const LOOKED_AT: usize = 64;
/// How many types these are taken from.
const TYPES: usize = 16;

/// What a statement names that the log does not have. A statement that is wrong has none: its error says more.
pub(crate) fn hints(statement: &Stmt, input: BindInput, names: Names) -> Result<Vec<String>> {
    let binder = Binder::new(input, Some(names));
    let mut hints = Vec::new();
    match statement {
        Stmt::Explain { statement, .. } => return self::hints(statement, input, names),
        Stmt::Read(ReadStmt::History { entity, of, clauses }) => {
            hints.extend(binder.kind(entity)?);
            if hints.is_empty() {
                hints.extend(binder.field_of(entity, of.as_ref())?);
                let terms = vec![Term::entity(&binder.entity(entity)?)?];
                binder.members(said(clauses), &conditions_of(clauses), (terms, Told::Now), &mut hints)?;
                binder.never_of(clauses, &mut hints)?;
            }
        }
        Stmt::Read(ReadStmt::Query(Query::Events { selector, clauses })) => {
            binder.of_events(selector, clauses, Told::Now, &mut hints)?;
        }
        Stmt::Read(ReadStmt::Subscribe(subscribe)) => {
            if let SourceClause::Events(selector) = &subscribe.source {
                let clauses = Clauses { filter: subscribe.filter.clone(), ..Clauses::default() };
                hints.extend(binder.unanswered(selector)?);
                binder.of_events(selector, &clauses, Told::Yet, &mut hints)?;
            }
            if let Some(Start::Point(from)) = &subscribe.from {
                hints.extend(binder.wrong_way_round(Some((from, "FROM")), subscribe.until.as_ref())?);
            }
        }
        Stmt::Write(write) => {
            for guard in guards(write) {
                let GuardKind::None { selectors, .. } = &guard.kind else { continue };
                for selector in selectors {
                    hints.extend(binder.unmatched(selector, Told::Yet, &binder.types()?)?);
                    hints.extend(binder.other_key(selector)?);
                    binder.never_by(selector, &mut hints);
                }
            }
        }
        Stmt::Read(
            ReadStmt::At { entity, .. } | ReadStmt::Replay { entity, .. } | ReadStmt::Diff { entity, .. },
        ) => {
            hints.extend(binder.kind(entity)?);
        }
        Stmt::Read(ReadStmt::Blame { entity, of, .. }) => {
            hints.extend(binder.kind(entity)?);
            if hints.is_empty() {
                hints.extend(binder.field_of(entity, of.as_ref())?);
            }
        }
        Stmt::Read(ReadStmt::Query(Query::Find { kind, clauses })) => {
            hints.extend(binder.unknown(&kind.text, "")?);
            if hints.is_empty() {
                binder.parts(&kind.text, said(clauses), &conditions_of(clauses), &mut hints)?;
                binder.never_of(clauses, &mut hints)?;
            }
        }
        Stmt::Define(definition) => binder.of_definition(definition, &mut hints)?,
        _ => {}
    }
    Ok(hints)
}

impl Binder<'_> {
    /// What is asked of events: of those that there are, or of those to come.
    fn of_events(
        &self,
        selector: &Selector,
        clauses: &Clauses,
        told: Told,
        hints: &mut Vec<String>,
    ) -> Result<()> {
        let types = self.types()?;
        hints.extend(self.unmatched(selector, told, &types)?);
        if told == Told::Now {
            hints.extend(self.idle(selector)?);
        }
        hints.extend(self.other_key(selector)?);
        if hints.is_empty() {
            let terms = self.matched(selector, &types)?;
            self.members(said(clauses), &conditions_of(clauses), (terms, told), hints)?;
            self.unmatched_types(clauses.filter.as_ref(), told, &types, hints)?;
        }
        self.never_by(selector, hints);
        self.never_of(clauses, hints)
    }

    /// What is defined: what it names may be to come, and what looks like a slip is told.
    fn of_definition(&self, definition: &DefinitionStmt, hints: &mut Vec<String>) -> Result<()> {
        match definition {
            DefinitionStmt::Entity(entity) => {
                self.misnamed(entity, hints)?;
                for include in &entity.includes {
                    hints.extend(self.unmatched_text(&include.pattern, Told::Yet, &self.types()?)?);
                }
            }
            DefinitionStmt::Event(event) => self.never_true(&event.checks(), hints),
            DefinitionStmt::Verb(verb) => {
                // What is not there may be to come: only what looks like a slip is told.
                let unknown = self.unknown(&verb.kind.text, "")?;
                hints.extend(unknown.filter(|hint| hint.contains("did you mean")));
                if hints.is_empty() {
                    let conditions: Vec<&Expr> = conditions(verb).collect();
                    self.parts(&verb.kind.text, conditions.iter().copied(), &conditions, hints)?;
                    self.never_true(&conditions, hints);
                }
            }
            DefinitionStmt::Index { pattern, expr, .. } => {
                let on = self.text(pattern, "ON")?;
                if self.names()?.catalog().model(&on).is_some() {
                    self.parts(&on, std::iter::once(expr), &[], hints)?;
                } else {
                    let clauses = Clauses {
                        order: vec![Order { expr: expr.clone(), descending: false }],
                        ..Clauses::default()
                    };
                    self.of_events(&of_pattern(pattern), &clauses, Told::Yet, hints)?;
                }
            }
            DefinitionStmt::Column { pattern, expr, .. } => {
                let order = vec![Order { expr: expr.clone(), descending: false }];
                let clauses = Clauses { order, ..Clauses::default() };
                self.of_events(&of_pattern(pattern), &clauses, Told::Yet, hints)?;
            }
            DefinitionStmt::Private(private) => {
                hints.extend(self.unmatched_text(&private.pattern, Told::Yet, &self.types()?)?);
            }
            DefinitionStmt::View { query, .. } => match query {
                Query::Events { selector, clauses } => {
                    self.of_events(selector, clauses, Told::Yet, hints)?;
                }
                Query::Find { kind, clauses } => {
                    hints.extend(self.unknown(&kind.text, "")?.map(|hint| Told::Yet.of(hint)));
                    if hints.is_empty() {
                        self.parts(&kind.text, said(clauses), &conditions_of(clauses), hints)?;
                        self.never_of(clauses, hints)?;
                    }
                }
            },
            DefinitionStmt::Reaction(reaction) => {
                self.of_flow(&reaction.pattern, reaction.filter.as_ref(), hints)?;
                if let Some(unless) = reaction.after.as_ref().and_then(|after| after.unless.as_ref()) {
                    hints.extend(self.unmatched_text(unless, Told::Yet, &self.types()?)?);
                }
            }
            DefinitionStmt::Webhook(webhook) => {
                self.of_flow(&webhook.pattern, webhook.filter.as_ref(), hints)?;
            }
            DefinitionStmt::Schedule { .. } => {}
        }
        Ok(())
    }

    /// What leads to what runs by itself.
    fn of_flow(&self, pattern: &TextExpr, filter: Option<&Expr>, hints: &mut Vec<String>) -> Result<()> {
        let clauses = Clauses { filter: filter.cloned(), ..Clauses::default() };
        self.of_events(&of_pattern(pattern), &clauses, Told::Yet, hints)
    }

    /// Clauses that let nothing through, whatever it is.
    fn never_of(&self, clauses: &Clauses, hints: &mut Vec<String>) -> Result<()> {
        self.never_true(&conditions_of(clauses), hints);
        hints.extend(self.empty_window(clauses)?);
        Ok(())
    }

    /// The types in use.
    fn types(&self) -> Result<Vec<(String, Term)>> {
        self.names()?.types("")
    }

    fn kind(&self, entity: &EntityRef) -> Result<Option<String>> {
        let id = match &entity.id {
            IdExpr::Expr(expr) => format!(" ({expr})"),
            id => format!(" {id}"),
        };
        self.unknown(&entity.kind.text, &id)
    }

    /// A kind that no event is about; behind the one that was meant stands what stood behind it.
    fn unknown(&self, kind: &str, behind: &str) -> Result<Option<String>> {
        let names = self.names()?;
        let joined = |fold: &Arc<dyn Fold>| !fold.includes().is_empty();
        let catalog = names.catalog();
        if names.has_kind(kind)? || catalog.model(kind).is_some_and(|m| m.fold().is_ok_and(joined)) {
            return Ok(None);
        }
        let types = self.types()?;
        let defined = catalog.models().map(|model| model.kind.as_str()).filter(|defined| *defined != kind);
        let kinds = types.iter().map(|(name, _)| prefix(name));
        let kinds = kinds.filter(|known| !known.starts_with('$') || kind.starts_with('$'));
        let meant = nearest(kind, kinds.chain(defined));
        Ok(Some(match meant {
            Some(meant) => format!("no events of {kind}; did you mean {}{behind}?", NameText(meant)),
            None => format!("no events of {kind}"),
        }))
    }

    /// An actor on whose behalf nothing happened: `BY Order 42`, where the target was meant, or a tag without its `=`.
    fn idle(&self, selector: &Selector) -> Result<Option<String>> {
        for tag in &selector.tags {
            let TagTest::Is(id) = &tag.test else { continue };
            let (name, names) = (tag.name.text.as_str(), self.names()?);
            let actor = self.one(name, id, tag.span)?;
            let any = |term: Term| names.has_term(term);
            if any(Term::actor(&actor)?)? {
                continue;
            }
            let quoted = format!("'{}'", actor.id().replace('\'', "''"));
            let meant = if names.catalog().get(name).is_some() || names.has_tag(name)? {
                format!("; did you mean BY {} = {}?", NameText(name), quoted)
            } else if any(Term::entity(&actor)?)? {
                format!("; did you mean BY target = {actor}?")
            } else {
                String::new()
            };
            return Ok(Some(format!("no events by {actor}, an actor{meant}")));
        }
        Ok(None)
    }

    /// The lists of the types that a selector means.
    fn matched(&self, selector: &Selector, types: &[(String, Term)]) -> Result<Vec<Term>> {
        let pattern = match &selector.pattern {
            Some(text) => self.pattern_of(&self.text(text, "a pattern")?, text.span())?,
            None => Pattern::all(),
        };
        let meant = types.iter().filter(|(name, _)| pattern.matches_text(name));
        Ok(meant.map(|(_, term)| term.clone()).take(TYPES).collect())
    }

    /// What the rules of a definition are about that never happened, and members of data that what happened has not.
    fn misnamed(&self, entity: &EntityDefinitionStmt, hints: &mut Vec<String>) -> Result<()> {
        let prefix = format!("{}.", entity.name.text);
        let types = self.names()?.types(&prefix)?;
        for rule in &entity.rules {
            let text = rule.on.text.as_str();
            let Ok(on) = Pattern::of_happening(text) else { continue };
            let happened = |name: &str| name.strip_prefix(&prefix).is_some_and(|rest| on.matches_text(rest));
            let terms: Vec<Term> = types
                .iter()
                .filter(|(name, _)| happened(name) || on.matches_text(name))
                .map(|(_, term)| term.clone())
                .collect();
            if terms.is_empty() {
                let names = types.iter().filter_map(|(name, _)| name.strip_prefix(&prefix));
                let meant = nearest(text, names)
                    .map(|meant| format!("no events of {prefix}{text}; did you mean {meant}?"));
                hints.extend(meant);
            } else if let ChangeClause::Set(assigns) = &rule.change {
                let values = assigns.iter().map(|assign| &assign.value);
                let terms = terms.into_iter().take(TYPES).collect();
                self.members(values, &[], (terms, Told::Now), hints)?;
            }
        }
        Ok(())
    }

    /// Members of data that none of the newest events has.
    fn members<'e>(
        &self,
        exprs: impl Iterator<Item = &'e Expr>,
        conditions: &[&Expr],
        (lists, told): (Vec<Term>, Told),
        hints: &mut Vec<String>,
    ) -> Result<()> {
        let exprs: Vec<&Expr> = exprs.collect();
        let comparisons = comparisons(&exprs, &["data", "metadata"]);
        let paths = paths(exprs.iter().copied(), &["data", "metadata"]);
        if paths.is_empty() || lists.is_empty() {
            return Ok(());
        }
        let sample = self.newest(lists)?;
        let mut records = Vec::new();
        for (position, bytes) in &sample {
            records.push(Record::open(*position, bytes)?);
        }
        for path in paths {
            let looked_at = match records.len() {
                1 => "is not in the one event looked at".to_owned(),
                many => format!("is in none of the newest {many} events looked at"),
            };
            let is_data = path.first.text == "data";
            let parts = records.iter().map(|record| if is_data { record.data() } else { record.metadata() });
            let missing = missing(path, parts.collect(), &looked_at);
            // What is not there may be to come: only what looks like a slip is told.
            hints.extend(missing.filter(|hint| told == Told::Now || hint.contains("did you mean")));
        }
        self.other_sorts_in(comparisons, &records, hints);
        let of = called(&records);
        let parts: Vec<Raw> = records.iter().map(Record::data).collect();
        hints.extend(no_conditions(conditions, "data", &parts, &of));
        let parts: Vec<Raw> = records.iter().map(Record::metadata).collect();
        hints.extend(no_conditions(conditions, "metadata", &parts, &of));
        Ok(())
    }

    fn other_sorts_in(&self, comparisons: Vec<Compared<'_>>, records: &[Record], hints: &mut Vec<String>) {
        let of = called(records);
        for (path, other) in comparisons {
            let is_data = path.first.text == "data";
            let parts = records.iter().map(|record| if is_data { record.data() } else { record.metadata() });
            hints.extend(self.other_sort((path, other), parts.collect(), &of));
        }
    }

    /// Parts of states that none of those looked at has.
    fn parts<'e>(
        &self,
        kind: &str,
        exprs: impl Iterator<Item = &'e Expr>,
        conditions: &[&Expr],
        hints: &mut Vec<String>,
    ) -> Result<()> {
        let exprs: Vec<&Expr> = exprs.collect();
        let comparisons = comparisons(&exprs, &[STATE]);
        let paths = paths(exprs.into_iter(), &[STATE]);
        if paths.is_empty() {
            return Ok(());
        }
        let sample = self.names()?.some_states(kind, LOOKED_AT)?;
        hints.extend(paths.into_iter().filter_map(|path| missing_in(path, kind, &sample)));
        let of = match sample.len() {
            1 => format!("the one {kind} looked at"),
            many => format!("the {many} {kind} looked at"),
        };
        let states: Vec<Raw> = sample.iter().map(|state| Raw(state)).collect();
        for compared in comparisons {
            hints.extend(self.other_sort(compared, states.clone(), &of));
        }
        hints.extend(no_conditions(conditions, STATE, &states, &of));
        Ok(())
    }

    /// A field of the state, of an entity, that none of its kind has.
    fn field_of(&self, entity: &EntityRef, of: Option<&Path>) -> Result<Option<String>> {
        let Some(of) = of else { return Ok(None) };
        let entity = self.entity(entity)?;
        let sample = self.names()?.some_states(entity.kind(), LOOKED_AT)?;
        Ok(missing_in(of, entity.kind(), &sample))
    }

    /// Some of the newest events of these lists.
    fn newest(&self, lists: Vec<Term>) -> Result<Vec<(crate::entity::Position, Arc<[u8]>)>> {
        let each = LOOKED_AT.div_ceil(lists.len().max(1));
        let mut sample = Vec::new();
        for term in lists {
            sample.extend(self.names()?.newest(term, each)?);
        }
        Ok(sample)
    }
}

/// The conditions of a verb.
fn conditions(verb: &VerbDefinitionStmt) -> impl Iterator<Item = &Expr> {
    let requires = verb.requires.iter().chain(verb.cases.iter().flat_map(|case| &case.requires));
    requires.map(|require| &require.condition).chain(verb.cases.iter().map(|case| &case.condition))
}

/// The conditions of clauses.
fn conditions_of(clauses: &Clauses) -> Vec<&Expr> {
    clauses.filter.iter().chain(unnested(clauses)).chain(&clauses.having).collect()
}

/// The expressions of clauses.
fn said(clauses: &Clauses) -> impl Iterator<Item = &Expr> {
    let items = clauses.group.iter().chain(&clauses.select).map(|item| &item.expr);
    let order = clauses.order.iter().map(|order| &order.expr);
    let lists = clauses.unnest.iter().map(|unnest| &unnest.list);
    let conditions = clauses.filter.iter().chain(unnested(clauses)).chain(&clauses.having);
    conditions.chain(lists).chain(items).chain(order)
}

/// The conditions of what is unnested.
fn unnested(clauses: &Clauses) -> impl Iterator<Item = &Expr> {
    clauses.unnest.iter().filter_map(|unnest| unnest.filter.as_ref())
}

/// What is expected of the log by what is written.
fn guards(write: &WriteStmt) -> impl Iterator<Item = &GuardClause> {
    let (acts, facts) = match write {
        WriteStmt::Act(act) => (std::slice::from_ref(act), None),
        WriteStmt::Atomic { acts, facts } => (acts.as_slice(), Some(facts)),
    };
    let of_acts = acts.iter().map(|act| match act {
        ActStmt::Emit(emit) => &emit.facts,
        ActStmt::Perform(perform) => &perform.facts,
        ActStmt::Close(close) => &close.facts,
    });
    of_acts.chain(facts).flat_map(|facts| &facts.expect)
}

fn prefix(kind: &str) -> &str {
    crate::entity::prefix(kind)
}

/// The paths that begin with one of these, each once.
fn paths<'e>(exprs: impl Iterator<Item = &'e Expr>, roots: &[&str]) -> Vec<&'e Path> {
    let mut paths = Vec::new();
    exprs.for_each(|expr| collect(expr, &mut paths));
    let mut told = BTreeSet::new();
    paths.retain(|path| roots.contains(&path.first.text.as_str()) && told.insert(path.to_string()));
    paths
}

/// The comparisons of such paths.
fn comparisons<'e>(exprs: &[&'e Expr], roots: &[&str]) -> Vec<Compared<'e>> {
    let mut found = Vec::new();
    exprs.iter().for_each(|expr| compared(expr, &mut found));
    found.retain(|(path, _)| roots.contains(&path.first.text.as_str()) && !path.steps.is_empty());
    found
}

/// The paths with steps.
fn collect<'e>(expr: &'e Expr, paths: &mut Vec<&'e Path>) {
    let mut all = |exprs: &[&'e Expr]| exprs.iter().for_each(|expr| collect(expr, paths));
    match &expr.kind {
        ExprKind::Field(path) => {
            if !path.steps.is_empty() {
                paths.push(path);
            }
        }
        ExprKind::Literal(_) | ExprKind::Param(_) | ExprKind::Entity(_) => {}
        ExprKind::Call { args: exprs, .. }
        | ExprKind::Array(exprs)
        | ExprKind::Or(exprs)
        | ExprKind::And(exprs) => exprs.iter().for_each(|expr| collect(expr, paths)),
        ExprKind::Object(object) => object.members.iter().for_each(|(_, expr)| collect(expr, paths)),
        ExprKind::Not(inner) | ExprKind::Negate(inner) => all(&[inner]),
        ExprKind::Arithmetic { first, rest } => {
            all(&[first]);
            rest.iter().for_each(|(_, expr)| collect(expr, paths));
        }
        ExprKind::Compare { left, right, .. } => all(&[left, right]),
        ExprKind::Matches { subject, pattern, .. } => all(&[subject, pattern]),
        ExprKind::Contains { subject, item, .. } => all(&[subject, item]),
        // Whoever asks whether it is there knows that it may not be.
        ExprKind::IsNull { .. } => {}
        ExprKind::Between { subject, low, high, .. } => all(&[subject, low, high]),
        ExprKind::In { subject, items, .. } => {
            all(&[subject]);
            items.iter().for_each(|expr| collect(expr, paths));
        }
    }
}

/// What to say of a path that leads nowhere in any of these states of a kind.
fn missing_in(path: &Path, kind: &str, sample: &[Vec<u8>]) -> Option<String> {
    let looked_at = match sample.len() {
        1 => format!("is not in the one {kind} looked at"),
        many => format!("is in none of the {many} {kind} looked at"),
    };
    missing(path, sample.iter().map(|state| Raw(state)).collect(), &looked_at)
}

/// What to say of a path that leads nowhere in any of these; nothing where there are none.
fn missing(path: &Path, mut at: Vec<Raw>, looked_at: &str) -> Option<String> {
    if at.is_empty() {
        return None;
    }
    let mut so_far = path.first.text.clone();
    for step in &path.steps {
        // How many items an array has differs from event to event.
        let StepExpr::Member(name) = step else { return None };
        let next: Vec<Raw> = at.iter().filter_map(|raw| raw.member(&name.text)).collect();
        if next.is_empty() {
            let names: BTreeSet<String> = at.iter().flat_map(|raw| names(*raw)).collect();
            let meant = nearest(&name.text, names.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("; did you mean {so_far}.{}?", NameText(meant)));
            return Some(format!("{so_far}{step} {looked_at}{}", meant.unwrap_or_default()));
        }
        so_far.push_str(&step.to_string());
        at = next;
    }
    None
}

fn names(raw: Raw) -> Vec<String> {
    let members = raw.to_value().ok();
    let members = members.as_ref().and_then(|value| value.as_object());
    members.into_iter().flat_map(|members| members.keys().cloned()).collect()
}
