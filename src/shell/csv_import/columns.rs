//! What is in each column, and the event of a row.

use std::collections::HashMap;
use std::io;

use bygone::{Object, Value};

use super::rows::CsvRow;
use super::{CsvArgs, invalid, named, shorten};

/// A number with more digits stays text: a float does not hold them all.
const DIGITS: usize = 15;

/// How many columns an error names.
const NAMED: usize = 20;

/// The columns of a table.
pub struct CsvColumns {
    names: Vec<String>,
    uses: Vec<ColumnUse>,
    event_type: Option<String>,
    target_kind: Option<String>,
    actor_kind: Option<String>,
}

/// Where the cells of a column go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnUse {
    /// Into the data: as what they are, or as text.
    Data,
    Text,
    Type,
    Target,
    Actor,
    Time,
    Id,
}

impl ColumnUse {
    /// The option that says so, where an event without it would be another than was meant.
    fn needed_by(self) -> Option<&'static str> {
        match self {
            ColumnUse::Type => Some("--type-column"),
            ColumnUse::Target => Some("--target"),
            ColumnUse::Time => Some("--time"),
            ColumnUse::Id => Some("--id"),
            ColumnUse::Data | ColumnUse::Text | ColumnUse::Actor => None,
        }
    }
}

/// What stands before the column's name, where something does.
fn kind_and_column(said: &str) -> (Option<&str>, &str) {
    match said.split_once('=') {
        Some((kind, column)) => (Some(kind), column),
        None => (None, said),
    }
}

fn text_of(cell: &[u8], column: impl FnOnce() -> String) -> io::Result<&str> {
    std::str::from_utf8(cell).map_err(|_| {
        let found = "other bytes; save it as 'CSV UTF-8', or convert it, like iconv -f WINDOWS-1252 -t UTF-8";
        invalid("a row of CSV", format!("UTF-8 in column {}", column()), found)
    })
}

impl CsvColumns {
    /// The columns that the first row names.
    pub fn new(row: &CsvRow, arguments: &CsvArgs) -> io::Result<CsvColumns> {
        let (names, places) = read_names(row, arguments.delimiter)?;
        let mut uses = vec![ColumnUse::Data; names.len()];
        let mut take = |option: &str, column: &str, taken: ColumnUse| {
            let Some(&at) = places.get(column) else {
                let mut there: Vec<String> = names.iter().take(NAMED).map(|name| shorten(name)).collect();
                if names.len() > NAMED {
                    there.push(format!("… ({} in all)", names.len()));
                }
                let expected = format!("one of the columns {}", there.join(", "));
                return Err(invalid(option, expected, format!("'{}'", shorten(column))));
            };
            if uses[at] != ColumnUse::Data {
                let expected = "a column that no other option names";
                return Err(invalid(option, expected, format!("'{}'", shorten(column))));
            }
            uses[at] = taken;
            Ok(())
        };
        let (mut target_kind, mut actor_kind) = (None, None);
        if let Some(column) = &arguments.type_column {
            take("--type-column", column, ColumnUse::Type)?;
        }
        if let Some(said) = &arguments.target {
            let (kind, column) = kind_and_column(said);
            target_kind = kind.map(str::to_owned);
            take("--target", column, ColumnUse::Target)?;
        }
        if let Some(said) = &arguments.actor {
            let (Some(kind), column) = kind_and_column(said) else {
                let expected = "the kind of the actor, and the column with its id, as in User=clerk";
                return Err(invalid("--actor", expected, format!("'{}'", shorten(said))));
            };
            actor_kind = Some(kind.to_owned());
            take("--actor", column, ColumnUse::Actor)?;
        }
        if let Some(column) = &arguments.time {
            take("--time", column, ColumnUse::Time)?;
        }
        if let Some(column) = &arguments.id {
            take("--id", column, ColumnUse::Id)?;
        }
        for column in &arguments.text {
            take("--text", column, ColumnUse::Text)?;
        }
        let event_type = arguments.event_type.as_ref().map(|said| said.as_str().to_owned());
        Ok(CsvColumns { names, uses, event_type, target_kind, actor_kind })
    }

    /// The event of a row.
    pub fn event(&self, row: &CsvRow) -> io::Result<Object> {
        if row.len() != self.names.len() {
            let expected = format!("{} cells, as many as there are columns", self.names.len());
            return Err(invalid("a row of CSV", expected, row.len().to_string()));
        }
        let (mut event, mut data) = (Object::new(), Object::new());
        let (mut target, mut actor) = (None, None);
        let mut event_type = self.event_type.as_deref();
        let mut is_empty = true;
        for ((cell, name), column) in row.cells().zip(&self.names).zip(&self.uses) {
            if cell.is_empty() {
                if let Some(option) = column.needed_by() {
                    let expected = format!("a cell in column '{}', which {option} names", shorten(name));
                    return Err(invalid("a row of CSV", expected, "an empty one"));
                }
                continue;
            }
            is_empty = false;
            let cell = text_of(cell, || format!("'{}'", shorten(name)))?;
            match column {
                ColumnUse::Data => drop(data.insert(name.clone(), typed(cell))),
                ColumnUse::Text => drop(data.insert(name.clone(), cell.into())),
                ColumnUse::Type => event_type = Some(cell),
                ColumnUse::Target => target = Some(cell),
                ColumnUse::Actor => actor = Some(cell),
                ColumnUse::Time => drop(event.insert("timestamp".to_owned(), cell.into())),
                ColumnUse::Id => drop(event.insert("id".to_owned(), cell.into())),
            }
        }
        if is_empty {
            return Err(invalid("a row of CSV", "a cell that is not empty", "none; take the row out"));
        }
        let event_type = event_type.unwrap_or_default();
        event.insert("type".to_owned(), event_type.into());
        if let Some(id) = target {
            let prefix = event_type.split_once('.').map_or(event_type, |(prefix, _)| prefix);
            event.insert("target".to_owned(), entity(self.target_kind.as_deref().unwrap_or(prefix), id));
        }
        if let (Some(kind), Some(id)) = (&self.actor_kind, actor) {
            event.insert("actor".to_owned(), entity(kind, id));
        }
        event.insert("data".to_owned(), Value::Object(data));
        Ok(event)
    }
}

/// The names of the columns, and where each is.
fn read_names(row: &CsvRow, delimiter: u8) -> io::Result<(Vec<String>, HashMap<String, usize>)> {
    const WHAT: &str = "the names of the columns";
    let (mut names, mut places) = (Vec::new(), HashMap::new());
    for (at, cell) in row.cells().enumerate() {
        let name = text_of(cell, || (at + 1).to_string())?.trim();
        if name.chars().any(|c| c.is_control() && !"\t\r\n".contains(c)) {
            let found = "a control character, as UTF-16 and spreadsheets have; save it as 'CSV UTF-8'";
            return Err(invalid(WHAT, "CSV in UTF-8", found));
        }
        if name.is_empty() {
            return Err(invalid(WHAT, "a name for each column", format!("none for column {}", at + 1)));
        }
        if let Some(first) = places.insert(name.to_owned(), at) {
            let found = format!("'{}' as columns {} and {}", shorten(name), first + 1, at + 1);
            return Err(invalid(WHAT, "each name once", found));
        }
        names.push(name.to_owned());
    }
    // A table of one column is rare, and one whose name has what tables are divided by is another table.
    if let [name] = &names[..]
        && let Some(other) = name.bytes().find(|byte| b";,\t|".contains(byte) && *byte != delimiter)
    {
        let said = if other == b'\t' { "tab".to_owned() } else { named(other) };
        let expected = format!("columns with {} between them", named(delimiter));
        let found = format!("one column '{}'; --delimiter {said} divides it", shorten(name));
        return Err(invalid(WHAT, expected, found));
    }
    Ok((names, places))
}

fn entity(kind: &str, id: &str) -> Value {
    Value::Object(Object::from_iter([("type".to_owned(), kind.into()), ("id".to_owned(), id.into())]))
}

/// The value of a cell: a number, where its digits are written as such; `true` and `false`; or text. Zeros that end a fraction are lost.
pub fn typed(cell: &str) -> Value {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let digits = whole.len() + fraction.map_or(0, str::len);
    let is_plain = digits <= DIGITS
        && is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits);
    // No number is written like this.
    let is_negative_zero = cell.starts_with('-') && !cell.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    match cell {
        "true" => true.into(),
        "false" => false.into(),
        number if is_plain && !is_negative_zero => {
            match (fraction, number.parse::<i64>(), number.parse::<f64>()) {
                (None, Ok(whole), _) => whole.into(),
                (Some(_), _, Ok(float)) => float.into(),
                _ => number.into(),
            }
        }
        text => text.into(),
    }
}
