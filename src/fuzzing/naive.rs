//! A plain evaluation of questions, written for clearness alone: every event is looked at, and everything is worked out by the
//! tree of the statement. It shares no code with plans and their execution; what it says is what `grammar/LANGUAGE.md` says.

use std::cmp::Ordering;

use crate::document::Document;
use crate::event::Event;
use crate::lang::ast::{
    Clauses, Comparison, CountLiteral, Expr, ExprKind, Literal, Operator, Path, PointExpr, PointKind, Query,
    ReadStmt, SelectItem, Selector, StepExpr, Stmt, TagCondition, TagTest, TextExpr,
};
use crate::pattern::{Pattern, TextPattern};
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// What an expression is worth.
#[derive(Debug, Clone)]
pub(super) enum Worth {
    Null,
    Bool(bool),
    /// The numbers here are small: a float holds each of them exactly.
    Number(f64),
    Text(String),
    Time(Timestamp),
    /// In seconds.
    Span(f64),
    Entity(String, String),
    Json(Value),
}

use Worth::{Bool, Entity, Json, Null, Number, Span, Time};

/// The rows: the position of an event, or the columns. Events are those of the whole log, in its order.
pub(super) fn answer(statement: &Stmt, events: &[Event]) -> Vec<Value> {
    let states;
    let (selector, clauses, owner) = match statement {
        Stmt::Read(ReadStmt::Query(Query::Events { selector, clauses })) => (Some(selector), clauses, None),
        Stmt::Read(ReadStmt::History { entity, of: None, clauses }) => {
            (None, clauses, Some(entity.to_string()))
        }
        Stmt::Read(ReadStmt::Query(Query::Find { kind, clauses })) => {
            states = self::states(&kind.text, clauses, events);
            return choose(clauses, states.iter().collect());
        }
        other => panic!("no question: {other}"),
    };
    let chosen = events
        .iter()
        .filter(|event| owner.as_ref().is_none_or(|owner| is(event.target.as_ref(), owner)))
        .filter(|event| selector.is_none_or(|selector| selects(selector, event)))
        .filter(|event| within(clauses, event));
    choose(clauses, chosen.collect())
}

/// What clauses make of events.
fn choose(clauses: &Clauses, mut chosen: Vec<&Event>) -> Vec<Value> {
    chosen.retain(|event| {
        clauses
            .filter
            .as_ref()
            .is_none_or(|filter| truth(&worth(filter, &NaiveScope::Event(event))) == Some(true))
    });
    if let Some(last) = &clauses.last {
        chosen.drain(..chosen.len().saturating_sub(number(last)));
    }
    let items = unnested(clauses, &chosen);
    let chosen: Vec<&Event> = if clauses.unnest.is_empty() { chosen } else { items.iter().collect() };
    let mut rows: Vec<NaiveRow> = if clauses.group.is_empty() {
        chosen.iter().map(|event| NaiveRow { group: Vec::new(), events: vec![event] }).collect()
    } else {
        groups(&clauses.group, &chosen)
    };
    if let Some(having) = &clauses.having {
        rows.retain(|row| truth(&worth(having, &row.scope(clauses))) == Some(true));
    }
    let keys: Vec<Vec<Worth>> = rows
        .iter()
        .map(|row| clauses.order.iter().map(|order| worth(&order.expr, &row.scope(clauses))).collect())
        .collect();
    let mut places: Vec<usize> = (0..rows.len()).collect();
    places.sort_by(|a, b| {
        let parts = keys[*a].iter().zip(&keys[*b]).zip(&clauses.order);
        let parts = parts.map(|((a, b), order)| if order.descending { total(b, a) } else { total(a, b) });
        parts.fold(Ordering::Equal, Ordering::then)
    });
    places.truncate(clauses.limit.as_ref().map_or(usize::MAX, number));
    places.into_iter().map(|place| rows[place].shown(clauses)).collect()
}

/// The rows of items, each as the event that it is of, with what has a name in the place of metadata.
fn unnested(clauses: &Clauses, events: &[&Event]) -> Vec<Event> {
    let mut rows: Vec<Event> = Vec::new();
    for event in events {
        rows.push(Event { metadata: Document::empty(), ..(*event).clone() });
    }
    for unnest in &clauses.unnest {
        let mut more = Vec::new();
        for row in rows {
            let Json(Value::Array(items)) = worth(&unnest.list, &NaiveScope::Event(&row)) else { continue };
            for (at, item) in items.into_iter().enumerate() {
                let Value::Object(mut names) = row.metadata.to_value().expect("names are read") else {
                    continue;
                };
                names.insert(unnest.alias.text.clone(), item);
                if let Some(place) = &unnest.place {
                    names.insert(place.text.clone(), (at as u64).into());
                }
                let metadata = Document::from_object(&names).expect("names are written");
                let row = Event { metadata, ..row.clone() };
                let wanted =
                    unnest.filter.as_ref().map(|filter| truth(&worth(filter, &NaiveScope::Event(&row))));
                if wanted.is_none_or(|wanted| wanted == Some(true)) {
                    more.push(row);
                }
            }
        }
        rows = more;
    }
    rows
}

/// The entities of a kind, each as an event that says what it is.
fn states(kind: &str, clauses: &Clauses, events: &[Event]) -> Vec<Event> {
    let mut found: Vec<Event> = Vec::new();
    let known = events.iter().filter(|event| within(clauses, event));
    for event in known.filter(|event| event.target.as_ref().is_some_and(|target| target.kind() == kind)) {
        let place = found.iter().position(|found| found.target == event.target).unwrap_or_else(|| {
            found.push(Event { data: Document::empty(), ..event.clone() });
            found.len() - 1
        });
        let entity = &mut found[place];
        let before = entity.data.get("state").unwrap_or_default();
        let count = entity.data.get("events").and_then(|count| count.as_i64()).unwrap_or(0);
        let state = merged(before, event.data.to_value().expect("data is read"));
        let members = [("state", state), ("events", (count + 1).into())];
        let members = members.map(|(name, value)| (name.to_owned(), value));
        entity.data = Document::from_object(&Object::from_iter(members)).expect("data is written");
        entity.version = event.version;
    }
    found.sort_by(|a, b| a.target.as_ref().map(|t| t.id()).cmp(&b.target.as_ref().map(|t| t.id())));
    found
}

/// JSON merge patch.
fn merged(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut members = match target {
        Value::Object(members) => members,
        _ => Object::new(),
    };
    for (name, value) in patch {
        match (members.shift_remove(&name), value) {
            (_, Value::Null) => {}
            (before, value) => {
                members.insert(name, merged(before.unwrap_or_default(), value));
            }
        }
    }
    Value::Object(members)
}

/// What is told of an entity that was found.
pub(super) fn found(id: Value, version: Value, events: Value, state: Value) -> Value {
    let members = [("id", id), ("version", version), ("events", events), ("state", state)];
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// An event, or a group of them with what it was grouped by.
struct NaiveRow<'e> {
    group: Vec<Worth>,
    events: Vec<&'e Event>,
}

impl<'e> NaiveRow<'e> {
    fn scope<'s>(&'s self, clauses: &'s Clauses) -> NaiveScope<'s> {
        NaiveScope::Row { row: self, clauses }
    }

    fn shown(&self, clauses: &Clauses) -> Value {
        if clauses.group.is_empty() && clauses.select.is_empty() {
            let event = self.events[0];
            if !clauses.unnest.is_empty() {
                return event.metadata.to_value().expect("names are read");
            }
            let state = event.data.get("state");
            return match (state, &event.target, event.version) {
                (Some(state), Some(target), Some(version)) => {
                    let events = event.data.get("events").unwrap_or_default();
                    found(target.id().into(), version.0.into(), events, state)
                }
                _ => event.position.0.into(),
            };
        }
        let keys = clauses.group.iter().zip(&self.group).map(|(item, worth)| (name(item), told(worth)));
        let scope =
            if clauses.group.is_empty() { NaiveScope::Event(self.events[0]) } else { self.scope(clauses) };
        let columns = clauses.select.iter().map(|item| (name(item), told(&worth(&item.expr, &scope))));
        Value::Object(keys.chain(columns).collect::<Object>())
    }
}

fn name(item: &SelectItem) -> String {
    item.alias.as_ref().map_or_else(|| item.expr.to_string(), |alias| alias.text.clone())
}

fn groups<'e>(keys: &[SelectItem], events: &[&'e Event]) -> Vec<NaiveRow<'e>> {
    let mut rows: Vec<NaiveRow> = Vec::new();
    for &event in events {
        let group: Vec<Worth> = keys.iter().map(|key| worth(&key.expr, &NaiveScope::Event(event))).collect();
        let same = |row: &&mut NaiveRow| row.group.iter().zip(&group).all(|(a, b)| total(a, b).is_eq());
        match rows.iter_mut().find(same) {
            Some(row) => row.events.push(event),
            None => rows.push(NaiveRow { group, events: vec![event] }),
        }
    }
    rows.sort_by(|a, b| {
        a.group.iter().zip(&b.group).map(|(a, b)| total(a, b)).fold(Ordering::Equal, Ordering::then)
    });
    rows
}

fn number(count: &CountLiteral) -> usize {
    match count {
        CountLiteral::Number { number, .. } => *number as usize,
        CountLiteral::Param(param) => panic!("no value for {param}"),
    }
}

fn is(entity: Option<&crate::entity::Entity>, written: &str) -> bool {
    entity.is_some_and(|entity| format!("{} {}", entity.kind(), entity.id()) == written)
}

fn selects(selector: &Selector, event: &Event) -> bool {
    let pattern = selector.pattern.as_ref().is_none_or(|text| match text {
        TextExpr::Literal { text, .. } => {
            text.parse::<Pattern>().is_ok_and(|pattern| pattern.matches_text(event.kind.as_str()))
        }
        TextExpr::Param(param) => panic!("no value for {param}"),
    });
    let own = event.kind.as_str().starts_with('$');
    pattern && !own && selector.tags.iter().all(|tag| tagged(tag, event))
}

/// Whether an event is found by a condition of `BY`.
fn tagged(tag: &TagCondition, event: &Event) -> bool {
    let derived = |name: &str| match event.data.get(name).unwrap_or_default() {
        // An array is held under each of its items.
        Value::Array(items) => items.iter().map(of).collect(),
        value => vec![of(&value)],
    };
    let found = match tag.name.text.as_str() {
        "actor" => vec![entity(event.actor.as_ref())],
        "type" => vec![Worth::Text(event.kind.as_str().to_owned())],
        name => {
            let own = event.tags.iter().filter(|tag| tag.name == name).map(|tag| of(&tag.value));
            let mut found: Vec<Worth> = own.collect();
            // And those that are defined.
            if name == "name" || name == "total" && event.kind.as_str().starts_with("Order.") {
                found.extend(derived(name));
            }
            found
        }
    };
    if let TagTest::Is(id) = &tag.test {
        let id = id.to_string();
        return is(event.actor.as_ref(), &format!("{} {}", tag.name.text, id.trim_matches('\'')));
    }
    found.iter().any(|found| passes(&tag.test, found))
}

/// Whether one of the values of an event is what is asked for.
fn passes(test: &TagTest, found: &Worth) -> bool {
    // An index holds text, numbers and booleans; who has nothing there is not found, by `!=` neither.
    let nowhere = NaiveScope::Nothing;
    let held = matches!(found, Bool(_) | Number(_) | Worth::Text(_) | Entity(..));
    match test {
        TagTest::Is(_) => false,
        _ if !held => false,
        TagTest::Compare(comparison, expr) => {
            compare(found, *comparison, &worth(expr, &nowhere)) == Some(true)
        }
        TagTest::In(exprs) => exprs.iter().any(|expr| equal(found, &worth(expr, &nowhere))),
        TagTest::Between(low, high) => {
            compare(found, Comparison::GreaterOrEqual, &worth(low, &nowhere)) == Some(true)
                && compare(found, Comparison::LessOrEqual, &worth(high, &nowhere)) == Some(true)
        }
    }
}

fn within(clauses: &Clauses, event: &Event) -> bool {
    let position = event.position.0;
    let at = |point: &PointExpr| match &point.kind {
        PointKind::Text(text) => Err(text.parse::<Timestamp>().expect("a time")),
        PointKind::Position(position) => Ok(position.0),
        other => panic!("a point of another kind: {other:?}"),
    };
    let since = clauses.since.as_ref().is_none_or(|point| match at(point) {
        Ok(start) => position > start,
        Err(time) => event.timestamp >= time,
    });
    let until = clauses.until.as_ref().is_none_or(|point| match at(point) {
        Ok(end) => position <= end,
        Err(time) => event.timestamp < time,
    });
    let known = clauses.as_of.as_ref().is_none_or(|point| match at(point) {
        Ok(end) => position <= end,
        Err(time) => event.recorded <= time,
    });
    let occurred = clauses.at.as_ref().is_none_or(|point| match at(point) {
        Ok(end) => position <= end,
        Err(time) => event.timestamp <= time,
    });
    since && until && known && occurred
}

/// Where names are looked up.
enum NaiveScope<'s> {
    Nothing,
    Event(&'s Event),
    Row { row: &'s NaiveRow<'s>, clauses: &'s Clauses },
}

fn of(value: &Value) -> Worth {
    match value {
        Value::Null => Null,
        Value::Bool(b) => Bool(*b),
        Value::Text(text) => Worth::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Json(value.clone()),
        number => Number(number.as_f64().expect("a number")),
    }
}

fn entity(entity: Option<&crate::entity::Entity>) -> Worth {
    entity.map_or(Null, |entity| Entity(entity.kind().to_owned(), entity.id().to_owned()))
}

fn field(path: &Path, event: &Event) -> Worth {
    let member = |step: &StepExpr| match step {
        StepExpr::Member(name) => Some(name.text.clone()),
        StepExpr::Element { .. } => None,
    };
    let part = |worth: Worth| match (worth, path.steps.first().and_then(member).as_deref()) {
        (Entity(kind, _), Some("type")) => Worth::Text(kind),
        (Entity(_, id), Some("id")) => Worth::Text(id),
        (worth, None) => worth,
        _ => Null,
    };
    match path.first.text.as_str() {
        "type" => Worth::Text(event.kind.as_str().to_owned()),
        "position" => Number(event.position.0 as f64),
        "version" => event.version.map_or(Null, |version| Number(version.0 as f64)),
        "timestamp" => Time(event.timestamp),
        "target" => part(entity(event.target.as_ref())),
        "actor" => part(entity(event.actor.as_ref())),
        "events" => of(&event.data.get("events").unwrap_or_default()),
        root => {
            let mut value = match root {
                "data" => event.data.to_value().expect("data is read"),
                "state" => event.data.get("state").unwrap_or_default(),
                name => event.metadata.get(name).unwrap_or_default(),
            };
            for step in &path.steps {
                value = match (step, value) {
                    (StepExpr::Member(name), Value::Object(members)) => {
                        members.get(&name.text).cloned().unwrap_or_default()
                    }
                    (StepExpr::Element { index, .. }, Value::Array(items)) => {
                        items.get(*index as usize).cloned().unwrap_or_default()
                    }
                    _ => Value::Null,
                };
            }
            of(&value)
        }
    }
}

/// `OR` is decided by one that is true, `AND` by one that is false; else by one of which it is not known.
fn decided_by(deciding: bool, terms: &[Worth]) -> Option<bool> {
    let truths: Vec<_> = terms.iter().map(truth).collect();
    if truths.contains(&Some(deciding)) {
        Some(deciding)
    } else if truths.contains(&None) {
        None
    } else {
        Some(!deciding)
    }
}

fn contains(subject: &Worth, item: &Worth) -> Option<bool> {
    match (subject, item) {
        (Worth::Text(text), Worth::Text(part)) => Some(text.contains(part)),
        (Json(Value::Array(items)), item) => Some(items.iter().any(|one| equal(&of(one), item))),
        _ => None,
    }
}

/// What a row has by itself: a group knows its keys by what they say, and columns by their names.
fn worth_in_row(expr: &Expr, scope: &NaiveScope<'_>) -> Option<Worth> {
    let NaiveScope::Row { row, clauses } = scope else { return None };
    if let Some(key) = clauses.group.iter().position(|item| item.expr == *expr) {
        return Some(row.group[key].clone());
    }
    if let ExprKind::Field(path) = &expr.kind
        && path.steps.is_empty()
    {
        if let Some(key) = clauses.group.iter().position(|item| name(item) == path.first.text) {
            return Some(row.group[key].clone());
        }
        if let Some(item) = clauses.select.iter().find(|item| name(item) == path.first.text)
            && item.alias.is_some()
        {
            return Some(worth(&item.expr, scope));
        }
    }
    if let ExprKind::Call { name, args } = &expr.kind
        && let Some(worth) = aggregate(&name.text, args, &row.events)
    {
        return Some(worth);
    }
    clauses.group.is_empty().then(|| worth(expr, &NaiveScope::Event(row.events[0])))
}

fn worth(expr: &Expr, scope: &NaiveScope<'_>) -> Worth {
    let all = |exprs: &[Expr]| -> Vec<Worth> { exprs.iter().map(|expr| worth(expr, scope)).collect() };
    if let Some(worth) = worth_in_row(expr, scope) {
        return worth;
    }
    let negated = |truth: Option<bool>, negated: bool| truth_of(truth.map(|truth| truth != negated));
    match &expr.kind {
        ExprKind::Literal(Literal::Value(value)) => of(value),
        ExprKind::Literal(Literal::Time(time)) => Time(*time),
        ExprKind::Literal(other) => panic!("a literal that is not asked for here: {other}"),
        ExprKind::Param(param) => panic!("no value for {param}"),
        ExprKind::Field(path) => match scope {
            NaiveScope::Event(event) => field(path, event),
            _ => Null,
        },
        ExprKind::Entity(entity) => {
            let id = entity.id.to_string();
            Entity(entity.kind.text.clone(), id.trim_matches('\'').to_owned())
        }
        ExprKind::Call { name, args } => call(&name.text, &all(args)),
        ExprKind::Array(items) => Json(Value::Array(all(items).iter().map(told).collect())),
        ExprKind::Object(object) => {
            let members = object.members.iter();
            Json(Value::Object(
                members.map(|(key, expr)| (key.text.clone(), told(&worth(expr, scope)))).collect(),
            ))
        }
        ExprKind::Or(terms) => truth_of(decided_by(true, &all(terms))),
        ExprKind::And(terms) => truth_of(decided_by(false, &all(terms))),
        ExprKind::Not(inner) => negated(truth(&worth(inner, scope)), true),
        ExprKind::Negate(inner) => match worth(inner, scope) {
            Number(n) => Number(-n),
            Span(seconds) => Span(-seconds),
            _ => Null,
        },
        ExprKind::Arithmetic { first, rest } => {
            let first = worth(first, scope);
            rest.iter().fold(first, |a, (operator, b)| calculate(&a, *operator, &worth(b, scope)))
        }
        ExprKind::Compare { left, comparison, right } => {
            truth_of(compare(&worth(left, scope), *comparison, &worth(right, scope)))
        }
        ExprKind::Matches { subject, negated: not, pattern } => {
            let is_type = matches!(&subject.kind, ExprKind::Field(path) if path.steps.is_empty() && path.first.text == "type");
            let (subject, pattern) = (worth(subject, scope), worth(pattern, scope));
            let (Worth::Text(subject), Worth::Text(pattern)) = (subject, pattern) else { return Null };
            let found = match is_type {
                true => pattern.parse::<Pattern>().expect("a pattern").matches_text(&subject),
                false => TextPattern::new(&pattern).matches(&subject),
            };
            negated(Some(found), *not)
        }
        ExprKind::Contains { subject, negated: not, item } => {
            negated(contains(&worth(subject, scope), &worth(item, scope)), *not)
        }
        ExprKind::Between { subject, negated: not, low, high } => {
            let subject = worth(subject, scope);
            let above = compare(&subject, Comparison::GreaterOrEqual, &worth(low, scope));
            let below = compare(&subject, Comparison::LessOrEqual, &worth(high, scope));
            negated(decided_by(false, &[above, below].map(truth_of)), *not)
        }
        ExprKind::In { subject, negated: not, items } => {
            let subject = worth(subject, scope);
            negated(Some(all(items).iter().any(|item| equal(&subject, item))), *not)
        }
        ExprKind::IsNull { subject, negated: not } => {
            negated(Some(matches!(worth(subject, scope), Null)), *not)
        }
    }
}

fn truth(worth: &Worth) -> Option<bool> {
    match worth {
        Bool(b) => Some(*b),
        _ => None,
    }
}

fn truth_of(truth: Option<bool>) -> Worth {
    truth.map_or(Null, Bool)
}

fn equal(a: &Worth, b: &Worth) -> bool {
    match (a, b) {
        (Null, Null) => true,
        (Bool(a), Bool(b)) => a == b,
        (Number(a), Number(b)) | (Span(a), Span(b)) => a == b,
        (Worth::Text(a), Worth::Text(b)) => a == b,
        (Time(a), Time(b)) => a == b,
        (Time(time), Worth::Text(text)) | (Worth::Text(text), Time(time)) => {
            text.parse::<Timestamp>().is_ok_and(|said| said == *time)
        }
        (Entity(a, x), Entity(b, y)) => (a, x) == (b, y),
        (Json(a), Json(b)) => alike(a, b),
        _ => false,
    }
}

fn compare(a: &Worth, comparison: Comparison, b: &Worth) -> Option<bool> {
    match comparison {
        Comparison::Equal => return Some(equal(a, b)),
        Comparison::NotEqual => return Some(!equal(a, b)),
        _ => {}
    }
    let order = match (a, b) {
        (Bool(a), Bool(b)) => a.cmp(b),
        (Number(a), Number(b)) | (Span(a), Span(b)) => a.partial_cmp(b)?,
        (Worth::Text(a), Worth::Text(b)) => a.cmp(b),
        (Time(a), Time(b)) => a.cmp(b),
        (Time(time), Worth::Text(text)) => time.cmp(&text.parse().ok()?),
        (Worth::Text(text), Time(time)) => text.parse::<Timestamp>().ok()?.cmp(time),
        _ => return None,
    };
    Some(match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn calculate(a: &Worth, operator: Operator, b: &Worth) -> Worth {
    let finite = |n: f64| if n.is_finite() { Number(n) } else { Null };
    match (a, operator, b) {
        (Number(a), Operator::Add, Number(b)) => finite(a + b),
        (Number(a), Operator::Subtract, Number(b)) => finite(a - b),
        (Number(a), Operator::Multiply, Number(b)) => finite(a * b),
        (Number(a), Operator::Divide, Number(b)) => finite(a / b),
        (Number(a), Operator::Remainder, Number(b)) => finite(a % b),
        (Time(a), Operator::Subtract, Time(b)) => Span((a.as_millis() - b.as_millis()) as f64 / 1000.0),
        (Span(a), Operator::Add, Span(b)) => Span(a + b),
        (Span(a), Operator::Subtract, Span(b)) => Span(a - b),
        (Time(a), Operator::Add, Span(b)) | (Span(b), Operator::Add, Time(a)) => {
            Time(Timestamp::from_millis(a.as_millis() + (b * 1000.0) as i64))
        }
        (Time(a), Operator::Subtract, Span(b)) => {
            Time(Timestamp::from_millis(a.as_millis() - (b * 1000.0) as i64))
        }
        _ => Null,
    }
}

fn call(name: &str, args: &[Worth]) -> Worth {
    match (name, args) {
        ("coalesce", args) => args.iter().find(|worth| !matches!(worth, Null)).cloned().unwrap_or(Null),
        ("if", [condition, yes, no]) => {
            if truth(condition) == Some(true) {
                yes.clone()
            } else {
                no.clone()
            }
        }
        ("length", [Worth::Text(text)]) => Number(text.chars().count() as f64),
        ("length", [Json(Value::Array(items))]) => Number(items.len() as f64),
        ("length", [Json(Value::Object(members))]) => Number(members.len() as f64),
        ("length", [_]) => Null,
        (other, _) => panic!("a function that is not asked for here: {other}"),
    }
}

fn aggregate(name: &str, arguments: &[Expr], events: &[&Event]) -> Option<Worth> {
    let values: Vec<Worth> = match arguments.first() {
        Some(expr) => events.iter().map(|event| worth(expr, &NaiveScope::Event(event))).collect(),
        None => events.iter().map(|_| Bool(true)).collect(),
    };
    let values: Vec<Worth> = values.into_iter().filter(|worth| !matches!(worth, Null)).collect();
    let numbers: Vec<f64> =
        values.iter().filter_map(|w| if let Number(n) = w { Some(*n) } else { None }).collect();
    let sum: f64 = numbers.iter().sum();
    let least = |a: &&Worth, b: &&Worth| total(a, b);
    Some(match name {
        "count" => Number(values.len() as f64),
        "sum" | "avg" if numbers.is_empty() => Null,
        "sum" => Number(sum),
        "avg" => Number(sum / numbers.len() as f64),
        "min" => values.iter().min_by(least).cloned().unwrap_or(Null),
        "max" => values.iter().max_by(least).cloned().unwrap_or(Null),
        "median" => percentile(numbers, 0.5),
        "percentile" => match worth(arguments.get(1)?, &NaiveScope::Event(events.first()?)) {
            Number(part) => percentile(numbers, part),
            _ => return None,
        },
        "first" => values.first().cloned().unwrap_or(Null),
        "last" => values.last().cloned().unwrap_or(Null),
        "distinct" => {
            let mut values = values;
            values.sort_by(total);
            values.dedup_by(|a, b| total(a, b).is_eq());
            Number(values.len() as f64)
        }
        _ => return None,
    })
}

fn percentile(mut numbers: Vec<f64>, part: f64) -> Worth {
    numbers.sort_by(f64::total_cmp);
    let Some(last) = numbers.len().checked_sub(1) else { return Null };
    let place = part * last as f64;
    let (below, above) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
    Number(if below == above { below } else { below + (above - below) * place.fract() })
}

fn rank(worth: &Worth) -> u8 {
    match worth {
        Null => 0,
        Bool(false) => 1,
        Bool(true) => 2,
        Number(_) => 3,
        Worth::Text(_) => 4,
        Time(_) => 5,
        Span(_) => 6,
        Entity(..) => 7,
        Json(Value::Array(_)) => 8,
        Json(_) => 9,
    }
}

/// The one order over all values.
fn total(a: &Worth, b: &Worth) -> Ordering {
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Number(a), Number(b)) | (Span(a), Span(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Worth::Text(a), Worth::Text(b)) => a.cmp(b),
        (Time(a), Time(b)) => a.cmp(b),
        (Entity(a, x), Entity(b, y)) => (a, x).cmp(&(b, y)),
        (Json(Value::Array(a)), Json(Value::Array(b))) => {
            let items = a.iter().zip(b).map(|(a, b)| total(&of(a), &of(b)));
            items.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        (Json(Value::Object(a)), Json(Value::Object(b))) => {
            let sorted = |members: &Object| {
                let mut members: Vec<_> = members.iter().map(|(k, v)| (k.clone(), of(v))).collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                members
            };
            let (a, b) = (sorted(a), sorted(b));
            let members = a.iter().zip(&b).map(|(a, b)| a.0.cmp(&b.0).then_with(|| total(&a.1, &b.1)));
            members.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        _ => Ordering::Equal,
    })
}

/// As a row tells it.
fn told(worth: &Worth) -> Value {
    match worth {
        Null => Value::Null,
        Bool(b) => (*b).into(),
        Number(n) => (*n).into(),
        Worth::Text(text) => text.as_str().into(),
        Time(time) => time.to_string().into(),
        Span(seconds) => Value::Text(format!("{seconds} s")),
        Entity(kind, id) => {
            let members =
                [("type", kind), ("id", id)].map(|(name, text)| (name.to_owned(), text.as_str().into()));
            Value::Object(members.into_iter().collect())
        }
        Json(value) => value.clone(),
    }
}

/// Whether two rows say the same: numbers by what they are worth.
pub(super) fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        // How a length of time is written is not asked here.
        (Value::Text(a), Value::Text(b)) if b.ends_with(" s") => a.ends_with(['s', 'm', 'h', 'd', 'w']),
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
    }
}
