//! What events make of entities, and which of those are found: as plainly as it can be said.

use std::cmp::Ordering;
use std::time::Duration;

use super::asked::*;
use super::time;
use crate::event::Event;
use crate::value::{Object, Value};

/// What is told of an entity.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub state: Value,
    pub version: u64,
    pub events: u64,
    pub fault: bool,
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

pub(super) fn object(members: Vec<(&str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Object>())
}

impl Definition {
    fn change(&self, kind: &str, event: &Event) -> Option<&Change> {
        let is = |on: &usize| match *on < NAMES.len() {
            true => event.kind.as_str() == format!("{kind}.{}", NAMES[*on]),
            false => event.kind.as_str() == format!("Vehicle.{}", NAMES[on - NAMES.len()]),
        };
        self.rules.iter().find(|(on, _)| is(on)).map(|(_, change)| change).or(self.otherwise.as_ref())
    }
}

/// What a state becomes; none where it cannot be said.
fn changed(before: &Value, initial: Option<i64>, change: &Change, event: &Event) -> Option<Value> {
    let begun = match before {
        Value::Null => object(initial.map(|n| ("n", n.into())).into_iter().collect()),
        begun => begun.clone(),
    };
    let with = |name: &str, value: Value| {
        let mut members = begun.as_object().unwrap().clone();
        members.insert(name.to_owned(), value);
        Value::Object(members)
    };
    let n = event.data.get("n");
    let had = begun.get("n");
    Some(match change {
        Change::Ignore => before.clone(),
        Change::Delete => Value::Null,
        Change::Merge => {
            let mut members = begun.as_object().unwrap().clone();
            for name in ["n", "c"] {
                let Some(value) = event.data.get(name) else { continue };
                match value {
                    Value::Null => drop(members.shift_remove(name)),
                    value => drop(members.insert(name.to_owned(), value)),
                }
            }
            Value::Object(members)
        }
        Change::Add => {
            let (a, b) = (had.and_then(number)?, n.as_ref().and_then(number)?);
            with("n", (a + b).into())
        }
        Change::Take => {
            let mut members = begun.as_object().unwrap().clone();
            members.insert("n".to_owned(), n?);
            members.insert("c".to_owned(), "set".into());
            Value::Object(members)
        }
        Change::Count => match had {
            None | Some(Value::Null) => with("n", 1.into()),
            Some(had) => with("n", (number(had)? + 1.0).into()),
        },
        Change::Append => {
            let mut items = begun.get("l").and_then(Value::as_array).unwrap_or_default().to_vec();
            items.push(n?);
            with("l", Value::Array(items))
        }
    })
}

/// The fold, as plainly as it can be said.
fn plainly(
    events: &[Event],
    kind: &str,
    id: &str,
    definition: Option<&Definition>,
    known: &dyn Fn(&Event) -> bool,
) -> Told {
    let mut told = Told::default();
    for event in events.iter().filter(|event| known(event)) {
        let own = event.target.as_ref().is_some_and(|target| target.kind() == kind && target.id() == id);
        let tagged = event.tags.iter().any(|tag| tag.name == "trip" && text_of(&tag.value) == id);
        let vehicle = event.kind.as_str().starts_with("Vehicle.");
        let joins = !own && tagged && vehicle && definition.is_some_and(|definition| definition.includes);
        if !own && !joins {
            continue;
        }
        told.events += 1;
        told.version = event.version.filter(|_| own).map_or(told.version, |version| version.0);
        let change = definition.and_then(|definition| definition.change(kind, event));
        let unsaid = match own && event.kind.as_str().ends_with(".deleted") {
            true => Change::Delete,
            false => Change::Merge,
        };
        let change = change.unwrap_or(&unsaid);
        if matches!(change, Change::Delete) {
            (told.state, told.fault) = (Value::Null, false);
        } else if !told.fault {
            match changed(&told.state, definition.and_then(|d| d.initial), change, event) {
                Some(state) => told.state = state,
                None => told.fault = true,
            }
        }
    }
    told
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

fn compared(a: &Value, comparison: &str, b: &Value) -> Option<bool> {
    let equal = same(a, b);
    match comparison {
        "=" => return Some(equal),
        "!=" => return Some(!equal),
        _ => {}
    }
    let order = match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (a, b) => number(a)?.partial_cmp(&number(b)?)?,
    };
    Some(match comparison {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

pub(super) fn same(a: &Value, b: &Value) -> bool {
    rank(a).cmp(&rank(b)).is_eq() && total(a, b).is_eq()
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Text(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        _ => 1,
    }
}

/// The one order over all values.
fn total(a: &Value, b: &Value) -> Ordering {
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| total(a, b));
            items.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        (a, b) => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap(),
            _ => Ordering::Equal,
        },
    })
}

impl Filter {
    fn holds(&self, kind: &str, id: &str, told: &Told) -> Option<bool> {
        let n = told.state.get("n").cloned().unwrap_or_default();
        let value = |n: &N| n.value().unwrap_or_default();
        match self {
            Filter::N(comparison, other) => compared(&n, comparison, &value(other)),
            Filter::Between(low, high) => {
                let (above, below) =
                    (compared(&n, ">=", &(*low).into()), compared(&n, "<=", &(*high).into()));
                both(above, below)
            }
            Filter::In(several) => Some(several.iter().any(|one| same(&n, &value(one)))),
            Filter::Null(is) => Some((n == Value::Null) == *is),
            Filter::Color(color) => {
                compared(&told.state.get("c").cloned().unwrap_or_default(), "=", &(*color).into())
            }
            Filter::Items(other) => {
                compared(&told.state.get("l").cloned().unwrap_or_default(), "=", &value(other))
            }
            Filter::Contains(item) => {
                let items = told.state.get("l")?.as_array()?;
                Some(items.iter().any(|one| same(one, &(*item).into())))
            }
            Filter::More(comparison, other) => {
                let more = match n {
                    Value::Null => Value::from(10),
                    n => number(&n).map_or(Value::Null, |n| (n + 1.0).into()),
                };
                compared(&more, comparison, &(*other).into())
            }
            Filter::Id(named) => Some(IDS[*named] == id),
            Filter::Place(..) | Filter::Places(..) | Filter::Begins(_) => Some(self.holds_of_id(id)),
            Filter::Target(named) => Some(kind == "Trip" && named.iter().any(|named| IDS[*named] == id)),
            Filter::Version(comparison, n) => compared(&told.version.into(), comparison, &(*n).into()),
            Filter::Events(comparison, n) => compared(&told.events.into(), comparison, &(*n).into()),
            Filter::Both(a, b) => both(a.holds(kind, id, told), b.holds(kind, id, told)),
            Filter::Either(a, b) => {
                let not = |truth: Option<bool>| truth.map(|truth| !truth);
                not(both(not(a.holds(kind, id, told)), not(b.holds(kind, id, told))))
            }
            Filter::Not(inner) => inner.holds(kind, id, told).map(|truth| !truth),
        }
    }
}

fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Rows, and whether an error follows them.
pub(super) type Rows = (Vec<Value>, bool);

/// All there is to know: the events, and what is defined.
pub(super) struct Known<'a> {
    pub events: &'a [Event],
    pub definitions: &'a [Option<Definition>; 2],
}

impl Known<'_> {
    pub(super) fn told(&self, kind: usize, id: &str, at: Option<Point>, as_of: Option<Point>) -> Told {
        let head = self.events.len() as u64;
        let minute = |day: i64, minute: i64| {
            time("2024-01-01T00:00:00Z")
                .saturating_add(Duration::from_secs((day * 24 * 60 + minute) as u64 * 60))
        };
        let known = |event: &Event| {
            let occurred = match at {
                None => true,
                Some(Point::Back(back)) => event.position.0 <= head.saturating_sub(back),
                Some(Point::Minute(m)) => event.timestamp <= minute(0, m),
            };
            let recorded = match as_of {
                None => true,
                Some(Point::Back(back)) => event.position.0 <= head.saturating_sub(back),
                Some(Point::Minute(m)) => event.recorded <= minute(1, m),
            };
            occurred && recorded
        };
        plainly(self.events, KINDS[kind], id, self.definitions[kind].as_ref(), &known)
    }

    pub(super) fn found(&self, ask: &Ask) -> Rows {
        let kind = KINDS[ask.kind];
        let named = ask.filter.as_ref().and_then(|filter| filter.named(kind));
        let (mut found, mut faults) = (Vec::new(), false);
        for (number, id) in IDS.iter().enumerate() {
            let told = self.told(ask.kind, id, ask.at, ask.as_of);
            if told.fault {
                let reaches = ask.filter.as_ref().is_none_or(|filter| filter.reaches(id));
                faults |= reaches && named.as_ref().is_none_or(|named| named.contains(&number));
            } else if told.state != Value::Null
                && ask.filter.as_ref().is_none_or(|filter| filter.holds(kind, id, &told) == Some(true))
            {
                found.push((*id, told));
            }
        }
        let limit = ask.limit.unwrap_or(usize::MAX);
        let all = |(id, told): &(&str, Told)| {
            object(vec![
                ("target", object(vec![("type", kind.into()), ("id", (*id).into())])),
                ("version", told.version.into()),
                ("events", told.events.into()),
                ("state", told.state.clone()),
            ])
        };
        let columns = |(id, told): &(&str, Told)| {
            let n = told.state.get("n").cloned().unwrap_or_default();
            object(vec![("id", (*id).into()), ("n", n), ("v", told.version.into())])
        };
        match &ask.shape {
            Shape::None | Shape::Columns => {
                // Who has enough is not told of what comes after.
                let fails = faults && found.len() < limit;
                found.truncate(limit);
                let plain = matches!(ask.shape, Shape::None);
                (found.iter().map(|one| if plain { all(one) } else { columns(one) }).collect(), fails)
            }
            Shape::Group if faults => (Vec::new(), true),
            Shape::Order(..) if faults && limit > 0 => (Vec::new(), true),
            Shape::Order(keys, narrow) => {
                let key = |told: &Told, key: usize| match ORDERS[key] {
                    "version" => told.version.into(),
                    path => told.state.get(&path[6..]).cloned().unwrap_or_default(),
                };
                found.sort_by(|(_, a), (_, b)| {
                    let parts = keys.iter().map(|(k, descending)| {
                        let order = total(&key(a, *k), &key(b, *k));
                        if *descending { order.reverse() } else { order }
                    });
                    parts.fold(Ordering::Equal, Ordering::then)
                });
                found.truncate(limit);
                (found.iter().map(|one| if *narrow { columns(one) } else { all(one) }).collect(), false)
            }
            Shape::Group => {
                let color = |told: &Told| told.state.get("c").cloned().unwrap_or_default();
                let mut groups: Vec<(Value, u64, Value)> = Vec::new();
                found.sort_by(|(_, a), (_, b)| total(&color(a), &color(b)));
                for (_, told) in &found {
                    let n = told.state.get("n").cloned().unwrap_or_default();
                    match groups.last_mut().filter(|(key, ..)| same(key, &color(told))) {
                        Some((_, many, most)) => {
                            *many += 1;
                            if total(&n, most).is_gt() {
                                *most = n;
                            }
                        }
                        None => groups.push((color(told), 1, n)),
                    }
                }
                groups.truncate(limit);
                let row = |(c, many, most): (Value, u64, Value)| {
                    object(vec![("c", c), ("many", many.into()), ("most", most)])
                };
                (groups.into_iter().map(row).collect(), false)
            }
        }
    }
}

pub(super) fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        (a, b) => same(a, b),
    }
}
