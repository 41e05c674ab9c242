//! Rows as columns, for the formats that have any.
//!
//! Rows of one statement need not have the same members (a JSON Patch has a `value` only where it adds one), and nobody
//! knows them before they come. So a [`GridBlock`] first learns its columns from a sample; a later row with a member that
//! none had so far begins another block.

use std::borrow::Cow;

use bygone::append::Cause;
use bygone::read::{BlameEntry, FieldChange};
use bygone::{Entity, Event, Object, Row, Value};

use super::age::age;
use crate::shell::terminal::{Style, harmless};

/// How many rows are looked at before the first is written.
pub const SAMPLE: usize = 100;

/// One value, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub kind: CellKind,
    /// How a terminal shows it.
    pub style: Option<Style>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    Text,
    Number,
    Null,
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), kind: CellKind::Text, style: None }
    }

    pub fn number(text: impl ToString) -> Cell {
        Cell { text: text.to_string(), kind: CellKind::Number, style: None }
    }

    fn null(text: &str) -> Cell {
        Cell { text: text.to_owned(), kind: CellKind::Null, style: None }
    }

    fn styled(self, style: Style) -> Cell {
        Cell { style: Some(style), ..self }
    }

    /// For a program: text as it is, all else as JSON, null as nothing.
    pub fn plain(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::null(""),
            Value::Text(text) => Cell::text(text.as_str()),
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => Cell::number(value),
            value => Cell::text(value.to_string()),
        }
    }

    /// For a person, in a table: as the language would write it, and harmless to a terminal. An event in it takes a place
    /// and a type: the rest is a statement away.
    pub fn shown(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::null("null"),
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => Cell::number(value),
            value => Cell::text(shown(value)),
        }
    }

    /// For a person, with nothing left out.
    pub fn whole(value: &Value) -> Cell {
        match value {
            Value::Object(_) => Cell::text(whole(value)),
            value => Cell::shown(value),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(members) => brief_event(members).unwrap_or_else(|| whole(value)),
        value => whole(value),
    }
}

fn whole(value: &Value) -> String {
    let text: Cow<'_, str> = match value {
        Value::Text(text) => text.into(),
        Value::Object(members) => {
            entity(members).map_or_else(|| value.to_string(), |entity| entity.to_string()).into()
        }
        value => value.to_string().into(),
    };
    harmless(&text).into_owned()
}

/// The entity that an object of exactly a type and an id is.
pub fn entity(members: &Object) -> Option<Entity> {
    match (members.len(), members.get("type")?, members.get("id")?) {
        (2, Value::Text(kind), Value::Text(id)) => Some(Entity::from((kind, id))),
        _ => None,
    }
}

fn brief_event(members: &Object) -> Option<String> {
    let (kind, position) = (members.get("type")?.as_text()?, members.get("position")?);
    let event = members.contains_key("recorded") && members.contains_key("data");
    event.then(|| harmless(&format!("#{position} {kind}")).into_owned())
}

/// A row: the names of its columns, and what stands there.
pub type GridRecord<'a> = Vec<(Cow<'a, str>, Cell)>;

/// A row for a table: of an event what one looks for, of anything else all it has.
pub fn brief(row: &Row) -> GridRecord<'static> {
    match row {
        Row::Event { event, .. } => brief_record(event),
        Row::Blame(leaf) => blame_record(leaf),
        Row::FieldChange(change) => field_change_record(change),
        row => {
            let all = |(name, value): (String, Value)| (name.into(), Cell::shown(&value));
            members(row).into_iter().map(all).collect()
        }
    }
}

fn brief_record(event: &Event) -> GridRecord<'static> {
    let entity = |entity: &Option<Entity>| entity.as_ref().map(|e| Cell::text(harmless(&e.to_string())));
    let columns = [
        ("position", Some(Cell::number(event.position))),
        ("timestamp", Some(Cell::text(event.timestamp.to_string()))),
        ("type", Some(Cell::text(harmless(event.kind.as_str())))),
        ("target", entity(&event.target)),
        ("actor", entity(&event.actor)),
        ("data", Some(Cell::text(harmless(&event.data.to_string())))),
    ];
    columns.into_iter().filter_map(|(name, cell)| Some((name.into(), cell?))).collect()
}

/// A leaf, and what one wants to know of whoever is to blame.
fn blame_record(leaf: &BlameEntry) -> GridRecord<'static> {
    let event = &leaf.event;
    let path = if leaf.path.is_empty() { "(all)".to_owned() } else { leaf.path.to_string() };
    let [what, when, actor, cause] = happening_cells(event);
    let columns = [
        ("path", Some(text(path).styled(Style::Cyan))),
        ("value", Some(Cell::shown(&leaf.value).styled(Style::Bold))),
        ("event", what),
        ("when", when),
        ("age", Some(text(age(event.timestamp, leaf.seen)))),
        ("actor", actor),
        ("cause", cause),
    ];
    columns.into_iter().filter_map(|(name, cell)| Some((name.into(), cell?))).collect()
}

/// What a field was and is, and what one wants to know of whoever changed it. The path is the same in all rows.
fn field_change_record(change: &FieldChange) -> GridRecord<'static> {
    let nothing = Cell { kind: CellKind::Null, ..Cell::text("") };
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| nothing.clone(), Cell::shown);
    let [what, when, actor, cause] = happening_cells(&change.event);
    let columns = [
        ("when", when),
        ("before", Some(value(&change.before))),
        ("after", Some(value(&change.after).styled(Style::Bold))),
        ("event", what),
        ("actor", actor),
        ("cause", cause),
    ];
    columns.into_iter().filter_map(|(name, cell)| Some((name.into(), cell?))).collect()
}

/// What happened, when, by whom, and what brought it about.
fn happening_cells(event: &Event) -> [Option<Cell>; 4] {
    let cause = event.cause.as_ref().map(|cause| match cause {
        Cause::Event(position) => position.to_string(),
        Cause::Named { kind, id } => Entity::from((kind, id)).to_string(),
    });
    [
        Some(text(format!("{} {}", event.position, event.kind))),
        Some(text(event.timestamp.to_string()).styled(Style::Dim)),
        event.actor.as_ref().map(|actor| text(actor.to_string())),
        cause.map(text),
    ]
}

fn text(text: String) -> Cell {
    Cell::text(harmless(&text))
}

/// All members of a row's line of JSON.
pub fn members(row: &Row) -> Object {
    match row {
        Row::Fields(fields) => Object::clone(fields),
        // A row that has no JSON form does not exist; it would show as an empty one.
        row => match Value::of(row) {
            Ok(Value::Object(members)) => members,
            _ => Object::new(),
        },
    }
}

/// Rows that have the same columns.
#[derive(Debug, Default)]
pub struct GridBlock {
    pub columns: Vec<String>,
}

impl GridBlock {
    /// Takes in the columns of one more row; where it has a new one, that goes before the first that it shares and follows;
    /// where it shares none, behind all.
    pub fn adopt(&mut self, record: &GridRecord<'_>) {
        let shares = record.iter().any(|(name, _)| self.columns.iter().any(|column| column == name));
        let mut next = if shares { 0 } else { self.columns.len() };
        for (name, _) in record {
            match self.columns.iter().position(|column| column == name) {
                Some(at) => next = at + 1,
                None => {
                    self.columns.insert(next, name.clone().into_owned());
                    next += 1;
                }
            }
        }
    }

    /// Whether a row has no other columns.
    pub fn fits(&self, record: &GridRecord<'_>) -> bool {
        record.iter().all(|(name, _)| self.columns.iter().any(|column| column == name))
    }

    /// The cells of a row in the order of the columns; none where it has nothing there.
    pub fn arrange(&self, record: GridRecord<'_>) -> Vec<Option<Cell>> {
        let mut cells = vec![None; self.columns.len()];
        for (name, cell) in record {
            if let Some(at) = self.columns.iter().position(|column| *column == name) {
                cells[at] = Some(cell);
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(names: &[&'static str]) -> GridRecord<'static> {
        names.iter().map(|name| ((*name).into(), Cell::text(*name))).collect()
    }

    #[test]
    fn columns_keep_the_order_that_rows_have() {
        let mut block = GridBlock::default();
        block.adopt(&record(&["position", "type", "data"]));
        block.adopt(&record(&["position", "type", "actor", "data"]));
        assert_eq!(block.columns, ["position", "type", "actor", "data"]);
        assert!(block.fits(&record(&["data"])) && !block.fits(&record(&["other"])));
        let cells = block.arrange(record(&["data", "position"]));
        assert_eq!(cells[0], Some(Cell::text("position")));
        assert_eq!((&cells[1], &cells[2]), (&None, &None));
        // EXPLAIN ANALYZE: a plan, and then what it took.
        let mut block = GridBlock::default();
        block.adopt(&record(&["plan"]));
        block.adopt(&record(&["rows", "milliseconds"]));
        assert_eq!(block.columns, ["plan", "rows", "milliseconds"]);
    }

    #[test]
    fn values_are_shown_as_the_language_writes_them() {
        let shown = |json: &str| Cell::shown(&json.parse().unwrap()).text;
        assert_eq!(shown(r#"{"type":"Order","id":"42"}"#), "Order 42");
        assert_eq!(shown(r#"{"type":"Order","id":"42","x":1}"#), r#"{"type":"Order","id":"42","x":1}"#);
        assert_eq!(shown(r#"{"position":3,"type":"Order.paid","recorded":"","data":{}}"#), "#3 Order.paid");
        assert_eq!(shown("null"), "null");
        assert_eq!(shown(r#""a\u001b[2J""#), "a\\u001b[2J");
    }
}
