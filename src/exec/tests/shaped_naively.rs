//! Any log, any shape: grouped, ordered and selected rows are what a plain evaluation over the list of all events gives.
//!
//! The evaluation here knows nothing of the one it is compared with: fields are closures, groups are found by looking at all of them.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::against_naive::{Step, all, filled, steps};
use super::*;
use crate::event::Event;
use crate::value::{Object, Value};

type Read = fn(&Event) -> Value;

fn total_of(event: &Event) -> Option<i64> {
    event.data.get("total").and_then(|total| total.as_i64())
}

const FIELDS: [(&str, Read); 9] = [
    ("type", |event| event.kind.as_str().into()),
    ("data.total", |event| total_of(event).into()),
    ("data.part", |event| event.data.get("part").unwrap_or_default()),
    ("actor.id", |event| event.actor.as_ref().map(|actor| actor.id()).into()),
    ("day(timestamp)", |event| {
        let time = event.timestamp.to_string();
        time[8..10].parse::<i64>().unwrap().into()
    }),
    ("bucket(data.total, 3)", |event| total_of(event).map(|total| total.div_euclid(3) * 3).into()),
    ("coalesce(data.total, target.type)", |event| match total_of(event) {
        Some(total) => total.into(),
        None => event.target.as_ref().map(|target| target.kind()).into(),
    }),
    ("data.total % 2 = 0", |event| total_of(event).is_some_and(|total| total % 2 == 0).into()),
    ("timestamp", |event| event.timestamp.to_string().into()),
];

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => 3,
        Value::Text(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Object(a), Value::Object(b)) => {
            // These have one member each.
            let ((x, a), (y, b)) = (a.get_index(0).unwrap(), b.get_index(0).unwrap());
            x.cmp(y).then_with(|| compare(a, b))
        }
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap(),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

const AGGREGATES: [&str; 8] = ["count", "sum", "avg", "min", "max", "first", "last", "distinct"];

fn aggregate(which: usize, mut values: Vec<Value>) -> Value {
    values.retain(|value| *value != Value::Null);
    let numbers: Vec<i64> = values.iter().filter_map(Value::as_i64).collect();
    let sum = numbers.iter().sum::<i64>();
    let by_order = |a: &&Value, b: &&Value| compare(a, b);
    match AGGREGATES[which] {
        "count" => (values.len() as u64).into(),
        "sum" if numbers.is_empty() => Value::Null,
        "sum" => sum.into(),
        "avg" if numbers.is_empty() => Value::Null,
        "avg" if sum % numbers.len() as i64 == 0 => (sum / numbers.len() as i64).into(),
        "avg" => (sum as f64 / numbers.len() as f64).into(),
        "min" => values.iter().min_by(by_order).cloned().unwrap_or_default(),
        "max" => values.iter().max_by(by_order).cloned().unwrap_or_default(),
        "first" => values.first().cloned().unwrap_or_default(),
        "last" => values.last().cloned().unwrap_or_default(),
        _ => {
            values.sort_by(compare);
            values.dedup_by(|a, b| compare(a, b).is_eq());
            (values.len() as u64).into()
        }
    }
}

#[derive(Debug, Clone)]
struct Question {
    least: Option<i8>,
    keys: Vec<usize>,
    /// Aggregates of fields.
    kept: Vec<(usize, usize)>,
    /// Groups of so many at least.
    having: Option<u8>,
    /// By places in the row, or of fields where there are no groups; descending or not.
    order: Vec<(prop::sample::Index, bool)>,
    limit: Option<u8>,
    selected: Vec<usize>,
    whole: bool,
}

fn question() -> impl Strategy<Value = Question> {
    let fields = |most: usize| {
        prop::sample::subsequence((0..FIELDS.len()).collect::<Vec<_>>(), 0..=most).prop_shuffle()
    };
    let kept = prop::collection::vec((0..AGGREGATES.len(), 0..FIELDS.len()), 0..4);
    let order = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3);
    let some = |most: u8| prop::option::weighted(0.4, 0..most);
    let first = (prop::option::weighted(0.3, -5..5i8), fields(3), kept, some(4));
    (first, (order, some(6), fields(4), any::<bool>())).prop_map(
        |((least, keys, mut kept, having), (order, limit, selected, whole))| {
            kept.sort();
            kept.dedup();
            Question { least, keys, kept, having, order, limit, selected, whole }
        },
    )
}

fn clause(text: &mut String, word: &str, items: Vec<String>) {
    if !items.is_empty() {
        *text += &format!(" {word} {}", items.join(", "));
    }
}

impl Question {
    fn chosen<'e>(&self, events: &'e [Event]) -> Vec<&'e Event> {
        let admits = |event: &&Event| {
            self.least.is_none_or(|least| total_of(event).is_some_and(|total| total >= i64::from(least)))
        };
        events.iter().filter(admits).collect()
    }

    fn opening(&self) -> String {
        let mut text = "EVENTS".to_owned();
        if let Some(least) = self.least {
            text += &format!(" WHERE data.total >= {least}");
        }
        if let Some(limit) = self.limit {
            text += &format!(" LIMIT {limit}");
        }
        text
    }

    fn limited<T>(&self, mut rows: Vec<T>) -> Vec<T> {
        rows.truncate(self.limit.map_or(usize::MAX, usize::from));
        rows
    }

    /// The question by groups, and its answer.
    fn grouped(&self, events: &[Event]) -> (String, Vec<String>) {
        let kept: Vec<String> =
            self.kept.iter().map(|(a, field)| format!("{}({})", AGGREGATES[*a], FIELDS[*field].0)).collect();
        let names: Vec<String> =
            self.keys.iter().map(|key| FIELDS[*key].0.to_owned()).chain(kept.clone()).collect();
        let order: Vec<(usize, bool)> = match names.len() {
            0 => Vec::new(),
            len => self.order.iter().map(|(index, descending)| (index.index(len), *descending)).collect(),
        };
        let mut text = self.opening();
        clause(
            &mut text,
            "ORDER BY",
            order.iter().map(|(i, d)| format!("{}{}", names[*i], if *d { " DESC" } else { "" })).collect(),
        );
        clause(&mut text, "SELECT", kept);
        clause(&mut text, "GROUP BY", self.keys.iter().map(|key| FIELDS[*key].0.to_owned()).collect());
        if let Some(least) = self.having {
            text += &format!(" HAVING count() >= {least}");
        }

        let mut groups: Vec<(Vec<Value>, Vec<&Event>)> = Vec::new();
        if self.keys.is_empty() {
            groups.push((Vec::new(), Vec::new()));
        }
        for event in self.chosen(events) {
            let keys: Vec<Value> = self.keys.iter().map(|key| FIELDS[*key].1(event)).collect();
            match groups.iter_mut().find(|(known, _)| *known == keys) {
                Some((_, members)) => members.push(event),
                None => groups.push((keys, vec![event])),
            }
        }
        groups.retain(|(_, members)| self.having.is_none_or(|least| members.len() >= usize::from(least)));
        let mut rows: Vec<Vec<Value>> = groups
            .into_iter()
            .map(|(mut row, members)| {
                for (which, field) in &self.kept {
                    let values = members.iter().map(|event| FIELDS[*field].1(event)).collect();
                    row.push(aggregate(*which, values));
                }
                row
            })
            .collect();
        rows.sort_by(|a, b| {
            (0..self.keys.len()).map(|i| compare(&a[i], &b[i])).fold(Ordering::Equal, Ordering::then)
        });
        rows.sort_by(|a, b| {
            let orders =
                order.iter().map(|(i, d)| if *d { compare(&b[*i], &a[*i]) } else { compare(&a[*i], &b[*i]) });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let line =
            |row: Vec<Value>| Value::Object(Object::from_iter(names.iter().cloned().zip(row))).to_string();
        (text, self.limited(rows).into_iter().map(line).collect())
    }

    /// The question of each event, and its answer.
    fn plain(&self, events: &[Event]) -> (String, Vec<String>) {
        let order: Vec<(usize, bool)> = self
            .order
            .iter()
            .map(|(index, descending)| (index.index(FIELDS.len() + 1), *descending))
            .collect();
        let name = |field: usize| FIELDS.get(field).map_or("position", |field| field.0);
        let read = |event: &Event, field: usize| match FIELDS.get(field) {
            Some((_, read)) => read(event),
            None => event.position.0.into(),
        };
        let mut text = self.opening();
        clause(
            &mut text,
            "ORDER BY",
            order.iter().map(|(i, d)| format!("{}{}", name(*i), if *d { " DESC" } else { "" })).collect(),
        );
        let selected = if self.whole { &[][..] } else { &self.selected };
        clause(&mut text, "SELECT", selected.iter().map(|field| FIELDS[*field].0.to_owned()).collect());
        let mut events = self.chosen(events);
        events.sort_by(|a, b| {
            let orders = order.iter().map(|(i, d)| {
                let order = compare(&read(a, *i), &read(b, *i));
                if *d { order.reverse() } else { order }
            });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let line = |event: &Event| match selected {
            [] => serde_json::to_string(event).unwrap(),
            some => {
                let columns = some.iter().map(|field| (FIELDS[*field].0.to_owned(), FIELDS[*field].1(event)));
                Value::Object(columns.collect()).to_string()
            }
        };
        (text, self.limited(events).into_iter().map(line).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn rows_equal_a_plain_evaluation(
        steps in steps(),
        questions in prop::collection::vec(question(), 1..12),
        memtable in 1..12usize,
    ) {
        let steps: Vec<Step> = steps;
        let store = filled(&steps, memtable);
        let session = Session::new(&store);
        let events = all(&store.snapshot());
        for question in questions {
            let (text, expected) = question.plain(&events);
            prop_assert_eq!(session.lines(&text), expected, "{}", text);
            if !question.keys.is_empty() || !question.kept.is_empty() {
                let (text, expected) = question.grouped(&events);
                prop_assert_eq!(session.lines(&text), expected, "{}", text);
            }
        }
    }
}
