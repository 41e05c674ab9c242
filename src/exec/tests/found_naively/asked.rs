//! What is appended and defined, and what is asked: made at random, and said in the language.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::value::Value;

pub(super) const KINDS: [&str; 2] = ["Trip", "Order"];
pub(super) const IDS: [&str; 6] = ["1", "10", "Z", "a", "a b", "é"];
pub(super) const NAMES: [&str; 4] = ["made", "changed", "noted", "deleted"];
pub(super) const INDEXES: [(&str, &str); 4] =
    [("n", "state.n"), ("c", "state.c"), ("l", "state.l"), ("more", "coalesce(state.n, 9) + 1")];

/// An event, as it is emitted.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub kind: usize,
    pub id: usize,
    pub name: usize,
    pub n: N,
    pub c: Option<bool>,
    pub minute: i64,
    /// A vehicle's, that joins a trip by its tag; as a number where that can be.
    pub joins: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum N {
    Missing,
    Null,
    Number(i64),
    Half(i64),
    Text,
    Long(bool),
}

impl N {
    pub(super) fn value(self) -> Option<Value> {
        match self {
            N::Missing => None,
            N::Null => Some(Value::Null),
            N::Number(n) => Some(n.into()),
            N::Half(n) => Some((n as f64 + 0.5).into()),
            N::Text => Some("3".into()),
            N::Long(other) => Some(format!("{}{}", "x".repeat(600), if other { "b" } else { "a" }).into()),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Merge,
    Ignore,
    Delete,
    /// `n = state.n + data.n`, which is a fault where one is no number.
    Add,
    /// `n = data.n, c = 'set'`, a fault where it is missing.
    Take,
    /// `n = coalesce(state.n, 0) + 1`, a fault where it is a text.
    Count,
    /// `l = append(state.l, data.n)`
    Append,
}

#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub initial: Option<i64>,
    /// The first four are of the entity's own names, the others of vehicles'.
    pub rules: Vec<(usize, Change)>,
    pub otherwise: Option<Change>,
    pub includes: bool,
    pub every: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Emit(Vec<Said>),
    Define(usize, Definition),
    Drop(usize),
    Index(usize, usize),
    NoIndex(usize),
    Work(u8),
    Settle,
    Checkpoint,
    Reopen,
    /// An answer is begun here, and read on after everything that follows.
    Begin,
}

#[derive(Debug, Clone)]
pub(super) enum Filter {
    N(&'static str, N),
    Between(i64, i64),
    In(Vec<N>),
    Null(bool),
    Color(&'static str),
    Items(N),
    Contains(i64),
    More(&'static str, i64),
    Id(usize),
    /// The id, compared with another.
    Place(&'static str, usize),
    Places(usize, usize),
    Begins(&'static str),
    Target(Vec<usize>),
    Version(&'static str, u64),
    Events(&'static str, u64),
    Both(Box<Filter>, Box<Filter>),
    Either(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    None,
    Columns,
    Order(Vec<(usize, bool)>, bool),
    Group,
}

pub(super) const ORDERS: [&str; 4] = ["state.n", "state.c", "version", "state.l"];

#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub kind: usize,
    pub filter: Option<Filter>,
    pub shape: Shape,
    pub limit: Option<usize>,
    pub at: Option<Point>,
    pub as_of: Option<Point>,
}

/// A position before the head, or a minute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Point {
    Back(u64),
    Minute(i64),
}

pub(in crate::exec::tests::found_naively) fn n() -> impl Strategy<Value = N> {
    prop_oneof![
        1 => Just(N::Missing),
        1 => Just(N::Null),
        8 => (0i64..5).prop_map(N::Number),
        1 => (0i64..4).prop_map(N::Half),
        1 => Just(N::Text),
        1 => any::<bool>().prop_map(N::Long),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let name = prop_oneof![4 => Just(0usize), 4 => Just(1), 1 => Just(2), 1 => Just(3)];
    let joins = prop::option::weighted(0.3, any::<bool>());
    (0usize..2, 0usize..6, name, n(), prop::option::of(any::<bool>()), 0i64..60, joins)
        .prop_map(|(kind, id, name, n, c, minute, joins)| Said { kind, id, name, n, c, minute, joins })
}

pub(in crate::exec::tests::found_naively) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => Just(Change::Merge),
        1 => Just(Change::Ignore),
        1 => Just(Change::Delete),
        2 => Just(Change::Add),
        2 => Just(Change::Take),
        2 => Just(Change::Count),
        2 => Just(Change::Append),
    ]
}

pub(in crate::exec::tests::found_naively) fn definition() -> impl Strategy<Value = Definition> {
    let rules = prop::collection::vec((0usize..8, change()), 0..4);
    (prop::option::of(0i64..5), rules, prop::option::weighted(0.3, change()), any::<bool>(), 1u64..6)
        .prop_map(|(initial, rules, otherwise, includes, every)| Definition {
            initial,
            // The first that matches wins: another is refused.
            rules: BTreeMap::from_iter(rules).into_iter().collect(),
            otherwise,
            includes,
            every,
        })
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => prop::collection::vec(said(), 1..6).prop_map(Op::Emit),
        3 => (0usize..2, definition()).prop_map(|(kind, definition)| Op::Define(kind, definition)),
        1 => (0usize..2).prop_map(Op::Drop),
        4 => (0usize..INDEXES.len(), 0usize..2).prop_map(|(index, kind)| Op::Index(index, kind)),
        1 => (0usize..INDEXES.len()).prop_map(Op::NoIndex),
        3 => (1u8..6).prop_map(Op::Work),
        3 => Just(Op::Settle),
        3 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        2 => Just(Op::Begin),
    ]
}

pub(in crate::exec::tests::found_naively) fn filter() -> impl Strategy<Value = Filter> {
    let comparison = || prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        4 => (comparison(), n()).prop_map(|(comparison, n)| Filter::N(comparison, n)),
        2 => (0i64..4, 0i64..4).prop_map(|(low, high)| Filter::Between(low, high)),
        2 => (n(), any::<[bool; 2]>(), n()).prop_map(|(low, [over, under], high)| {
            let low = Filter::N(if over { ">" } else { ">=" }, low);
            Filter::Both(Box::new(low), Box::new(Filter::N(if under { "<" } else { "<=" }, high)))
        }),
        2 => prop::collection::vec(n(), 1..4).prop_map(Filter::In),
        1 => any::<bool>().prop_map(Filter::Null),
        2 => prop::sample::select(vec!["red", "set", "none"]).prop_map(Filter::Color),
        1 => n().prop_map(Filter::Items),
        1 => (0i64..5).prop_map(Filter::Contains),
        2 => (comparison(), 0i64..6).prop_map(|(comparison, n)| Filter::More(comparison, n)),
        1 => (0usize..6).prop_map(Filter::Id),
        2 => (comparison(), 0usize..6).prop_map(|(comparison, id)| Filter::Place(comparison, id)),
        1 => (0usize..6, 0usize..6).prop_map(|(low, high)| Filter::Places(low, high)),
        1 => prop::sample::select(vec!["", "1", "a", "a ", "é", "\u{d7ff}", "\u{10ffff}"]).prop_map(Filter::Begins),
        1 => prop::collection::vec(0usize..6, 1..3).prop_map(Filter::Target),
        1 => (comparison(), 0u64..6).prop_map(|(comparison, n)| Filter::Version(comparison, n)),
        1 => (comparison(), 0u64..6).prop_map(|(comparison, n)| Filter::Events(comparison, n)),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| Filter::Both(Box::new(a), Box::new(b))),
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| Filter::Either(Box::new(a), Box::new(b))),
            1 => inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

fn point() -> impl Strategy<Value = Point> {
    prop_oneof![(0u64..30).prop_map(Point::Back), (0i64..60).prop_map(Point::Minute)]
}

pub(super) fn ask() -> impl Strategy<Value = Ask> {
    let order = prop::collection::vec((0usize..ORDERS.len(), any::<bool>()), 1..3);
    let shape = prop_oneof![
        3 => Just(Shape::None),
        1 => Just(Shape::Columns),
        2 => (order, any::<bool>()).prop_map(|(order, columns)| Shape::Order(order, columns)),
        1 => Just(Shape::Group),
    ];
    let past = || prop::option::weighted(0.25, point());
    (0usize..2, prop::option::weighted(0.8, filter()), shape, prop::option::of(0usize..5), past(), past())
        .prop_map(|(kind, filter, shape, limit, at, as_of)| Ask { kind, filter, shape, limit, at, as_of })
}

impl Said {
    pub(super) fn text(&self) -> String {
        let value = |value: Value| value.to_string();
        let members = [
            self.n.value().map(|n| format!("n: {}", value(n))),
            self.c.map(|red| format!("c: '{}'", if red { "red" } else { "blue" })),
        ];
        let data = members.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let at = format!("AT '2024-01-01T00:{:02}'", self.minute);
        let (kind, id, name) = (KINDS[self.kind], IDS[self.id], NAMES[self.name]);
        match self.joins {
            None => format!("EMIT {kind}.{name} '{id}' {{{data}}} {at}"),
            Some(number) => {
                let tag = if number && self.id < 2 { id.to_owned() } else { format!("'{id}'") };
                format!("EMIT Vehicle.{name} 'v{}' {{{data}}} {at} INDEX BY trip = {tag}", self.kind)
            }
        }
    }
}

impl Change {
    pub(super) fn text(&self) -> &'static str {
        match self {
            Change::Merge => "MERGE",
            Change::Ignore => "IGNORE",
            Change::Delete => "DELETE",
            Change::Add => "SET n = state.n + data.n",
            Change::Take => "SET n = data.n, c = 'set'",
            Change::Count => "SET n = coalesce(state.n, 0) + 1",
            Change::Append => "SET l = append(state.l, data.n)",
        }
    }
}

impl Definition {
    pub(super) fn text(&self, kind: usize) -> String {
        let mut text = format!("DEFINE ENTITY {}", KINDS[kind]);
        if let Some(initial) = self.initial {
            text += &format!(" INITIAL {{n: {initial}}}");
        }
        text += &format!(" SNAPSHOT EVERY {}", self.every);
        if self.includes {
            text += " INCLUDE 'Vehicle.*' BY trip";
        }
        for (on, change) in &self.rules {
            let vehicle = if *on < NAMES.len() { "" } else { "Vehicle." };
            text += &format!(" ON {vehicle}{} {}", NAMES[on % NAMES.len()], change.text());
        }
        match &self.otherwise {
            Some(change) => text + " ELSE " + change.text(),
            None => text,
        }
    }
}

fn written(n: N) -> String {
    n.value().map_or("NULL".to_owned(), |value| value.to_string())
}

impl Filter {
    pub(super) fn text(&self) -> String {
        match self {
            Filter::N(comparison, n) => format!("state.n {comparison} {}", written(*n)),
            Filter::Between(low, high) => format!("state.n BETWEEN {low} AND {high}"),
            Filter::In(several) => {
                format!("state.n IN ({})", several.iter().map(|n| written(*n)).collect::<Vec<_>>().join(", "))
            }
            Filter::Null(is) => format!("state.n IS {}NULL", if *is { "" } else { "NOT " }),
            Filter::Color(color) => format!("state.c = '{color}'"),
            Filter::Items(n) => format!("state.l = {}", written(*n)),
            Filter::Contains(n) => format!("state.l CONTAINS {n}"),
            Filter::More(comparison, n) => format!("coalesce(state.n, 9) + 1 {comparison} {n}"),
            Filter::Id(id) => format!("target.id = '{}'", IDS[*id]),
            Filter::Place(comparison, id) => format!("target.id {comparison} '{}'", IDS[*id]),
            Filter::Places(low, high) => format!("target.id BETWEEN '{}' AND '{}'", IDS[*low], IDS[*high]),
            Filter::Begins(prefix) => format!("starts_with(target.id, '{prefix}')"),
            Filter::Target(ids) => {
                let ids = ids.iter().map(|id| format!("Trip '{}'", IDS[*id])).collect::<Vec<_>>();
                format!("target IN ({})", ids.join(", "))
            }
            Filter::Version(comparison, n) => format!("version {comparison} {n}"),
            Filter::Events(comparison, n) => format!("events {comparison} {n}"),
            Filter::Both(a, b) => format!("({} AND {})", a.text(), b.text()),
            Filter::Either(a, b) => format!("({} OR {})", a.text(), b.text()),
            Filter::Not(inner) => format!("NOT ({})", inner.text()),
        }
    }

    /// Whether an id lies where all that is found does: nothing else is looked at.
    pub(super) fn reaches(&self, id: &str) -> bool {
        match self {
            Filter::Place("=" | "!=", _) => true,
            Filter::Place(..) | Filter::Places(..) | Filter::Begins(_) => self.holds_of_id(id),
            Filter::Both(a, b) => a.reaches(id) && b.reaches(id),
            _ => true,
        }
    }

    /// Whether an id is as it should be.
    pub(super) fn holds_of_id(&self, id: &str) -> bool {
        match self {
            Filter::Place("=", other) => id == IDS[*other],
            Filter::Place("!=", other) => id != IDS[*other],
            Filter::Place("<", other) => id < IDS[*other],
            Filter::Place("<=", other) => id <= IDS[*other],
            Filter::Place(">", other) => id > IDS[*other],
            Filter::Place(_, other) => id >= IDS[*other],
            Filter::Places(low, high) => IDS[*low] <= id && id <= IDS[*high],
            Filter::Begins(prefix) => id.starts_with(prefix),
            other => panic!("{other:?}"),
        }
    }

    /// The ids that it names for all that is found, if it does: targets are trips.
    pub(super) fn named(&self, kind: &str) -> Option<Vec<usize>> {
        match self {
            Filter::Id(id) | Filter::Place("=", id) => Some(vec![*id]),
            Filter::Target(ids) if kind == "Trip" => Some(ids.clone()),
            Filter::Target(_) => Some(Vec::new()),
            Filter::Both(a, b) => a.named(kind).or_else(|| b.named(kind)),
            Filter::Either(a, b) => Some([a.named(kind)?, b.named(kind)?].concat()),
            _ => None,
        }
    }
}

impl Point {
    pub(super) fn text(self, head: u64) -> String {
        match self {
            Point::Back(back) => format!("#{}", head.saturating_sub(back)),
            Point::Minute(minute) => format!("'2024-01-01T00:{minute:02}'"),
        }
    }
}

impl Ask {
    pub(super) fn text(&self, head: u64) -> String {
        let mut text = format!("FIND {}", KINDS[self.kind]);
        if let Some(filter) = &self.filter {
            text += &format!(" WHERE {}", filter.text());
        }
        match &self.shape {
            Shape::None => {}
            Shape::Columns => text += " SELECT target.id AS id, state.n AS n, version AS v",
            Shape::Order(keys, columns) => {
                if *columns {
                    text += " SELECT target.id AS id, state.n AS n, version AS v";
                }
                let keys = keys
                    .iter()
                    .map(|(key, descending)| {
                        format!("{}{}", ORDERS[*key], if *descending { " DESC" } else { "" })
                    })
                    .collect::<Vec<_>>();
                text += &format!(" ORDER BY {}", keys.join(", "));
            }
            Shape::Group => text += " GROUP BY state.c AS c SELECT count() AS many, max(state.n) AS most",
        }
        if let Some(limit) = self.limit {
            text += &format!(" LIMIT {limit}");
        }
        if let Some(at) = self.at {
            text += &format!(" AT {}", at.text(head));
        }
        // What the log knew is by when it was recorded, which begins a day later.
        match self.as_of {
            None => text,
            Some(Point::Minute(minute)) => text + &format!(" AS OF '2024-01-02T00:{minute:02}'"),
            Some(back) => text + &format!(" AS OF {}", back.text(head)),
        }
    }
}
