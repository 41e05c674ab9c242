//! A stand-in until the language is here: just enough to build the shell against.

use crate::cancel::Cancel;
use crate::db::Db;
use crate::entity::Position;
use crate::error::Result;
use crate::event::{Event, NewEvent};
use crate::live::Delivery;
use crate::value::{Object, Value};
use serde::Serialize;
use serde::ser::SerializeMap;

#[derive(Debug, Clone)]
pub struct Script(Vec<Statement>);
#[derive(Debug, Clone)]
pub struct Statement(String, Vec<String>);

impl Script {
    pub fn parse(text: &str) -> Result<Script> {
        let parsed = crate::lang::parse(text)?;
        let one = |s: crate::lang::Sourced| Statement(text[s.span.range()].to_owned(), s.params);
        Ok(Script(parsed.statements.into_iter().map(one).collect()))
    }
    pub fn statements(&self) -> &[Statement] {
        &self.0
    }
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Statement {
    pub fn text(&self) -> &str {
        &self.0
    }
    pub fn parameters(&self) -> Vec<&str> {
        self.1.iter().map(String::as_str).collect()
    }
    pub fn is_subscription(&self) -> bool {
        self.0.starts_with("SUBSCRIBE")
    }
}

#[derive(Debug, Clone, Default)]
pub struct Parameters(Object);
impl Parameters {
    pub fn new() -> Parameters {
        Parameters::default()
    }
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Parameters {
        self.0.insert(name.to_owned(), value.into());
        self
    }
}

pub struct Answer {
    pub notices: Vec<String>,
    pub rows: Rows,
}
pub struct Rows(Box<dyn Iterator<Item = Result<Row>> + Send>);
impl Iterator for Rows {
    type Item = Result<Row>;
    fn next(&mut self) -> Option<Result<Row>> {
        self.0.next()
    }
}

#[derive(Debug, Clone)]
pub struct State {
    pub state: Value,
}

#[derive(Debug, Clone)]
pub enum Row {
    Event { event: Event, repeated: bool },
    State(State),
    Fields(Object),
    CaughtUp(Position),
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Row::Event { event, .. } => event.serialize(s),
            Row::State(state) => {
                let mut map = s.serialize_map(None)?;
                map.serialize_entry("target", &crate::Entity::from(("Order", 1)))?;
                map.serialize_entry("version", &1)?;
                map.serialize_entry("events", &1)?;
                map.serialize_entry("state", &state.state)?;
                map.end()
            }
            Row::Fields(fields) => fields.serialize(s),
            Row::CaughtUp(position) => {
                let mut map = s.serialize_map(None)?;
                map.serialize_entry("mark", "caughtUp")?;
                map.serialize_entry("position", position)?;
                map.end()
            }
        }
    }
}

impl Db {
    pub fn query(&self, text: &str, parameters: &Parameters) -> Result<Answer> {
        self.query_with(text, parameters, &Cancel::new())
    }
    pub fn query_with(&self, text: &str, parameters: &Parameters, cancel: &Cancel) -> Result<Answer> {
        self.run(&Script::parse(text)?.0[0], parameters, cancel)
    }
    pub fn run(&self, statement: &Statement, _: &Parameters, cancel: &Cancel) -> Result<Answer> {
        let mut words = statement.0.splitn(4, ' ');
        let rows: Box<dyn Iterator<Item = Result<Row>> + Send> = match words.next() {
            Some("EMIT") => {
                let kind = words.next().unwrap_or_default();
                let id = words.next().unwrap_or_default();
                let data: Value = words.next().unwrap_or("{}").parse()?;
                let prefix = kind.split('.').next().unwrap_or_default();
                let event = self.append(NewEvent::new(kind).on((prefix, id)).data(&data))?;
                Box::new(std::iter::once(Ok(Row::Event { event, repeated: false })))
            }
            Some("AT") => Box::new(std::iter::once(Ok(Row::State(State {
                state: r#"{"total":10,"lines":[{"a":1}]}"#.parse()?,
            })))),
            Some("SHOW") => {
                let fields: Value = r#"{"type":"Order.paid","events":3,"more":{"a":[1,2]}}"#.parse()?;
                let Value::Object(fields) = fields else { unreachable!() };
                Box::new(std::iter::once(Ok(Row::Fields(fields))))
            }
            word => {
                let mut scan = self.subscribe(crate::Pattern::all()).from_start().cancelled_by(cancel);
                if word == Some("EVENTS") {
                    scan = scan.until(self.head());
                }
                Box::new(scan.map(|d| {
                    d.map(|d| match d {
                        Delivery::Event(event) => Row::Event { event, repeated: false },
                        Delivery::CaughtUp(position) => Row::CaughtUp(position),
                    })
                }))
            }
        };
        Ok(Answer { notices: Vec::new(), rows: Rows(rows) })
    }
}
