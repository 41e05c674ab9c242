//! Rows of a table, as CSV, made into events: one line of JSON a row, for the import to read.
//!
//! Each row stands on the line of JSON that has the number of its first line in the file, so that what is wrong is told of that line.

use std::io::{self, BufRead, Read};

use bygone::{Object, Value};
use csv::{ErrorKind, Position, Reader, ReaderBuilder, StringRecord};

use super::cli::CsvArgs;
use super::failure::CommandFailure;

/// Numbers with more digits than this are no numbers that a float holds: they stay texts.
const DIGITS: usize = 15;

/// Reads as lines of JSON.
pub struct CsvEvents<R> {
    rows: Reader<R>,
    row: StringRecord,
    columns: CsvColumns,
    /// How many lines were given.
    lines: u64,
    line: Vec<u8>,
    read: usize,
}

/// What stands in each column.
struct CsvColumns {
    names: Vec<String>,
    /// What goes into the event itself; all others go into its data.
    uses: Vec<ColumnUse>,
    kind: Option<String>,
    target: Option<String>,
    actor: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ColumnUse {
    Data,
    /// The same, as it is written.
    Text,
    Kind,
    Target,
    Actor,
    Timestamp,
    Id,
}

/// A kind of entity and the column that has its id; of a target the kind may be left out.
fn entity_column(said: &str) -> (Option<&str>, &str) {
    match said.split_once('=') {
        Some((kind, column)) => (Some(kind), column),
        None => (None, said),
    }
}

impl CsvColumns {
    fn new(names: &StringRecord, arguments: &CsvArgs) -> Result<CsvColumns, CommandFailure> {
        let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
        let mut uses = vec![ColumnUse::Data; names.len()];
        let mut take = |option: &str, column: &str, taken: ColumnUse| {
            let at = names.iter().position(|name| name == column).ok_or_else(|| {
                let there = names.join(", ");
                CommandFailure::Usage(format!("{option}: there is no column '{column}'; there are {there}"))
            })?;
            if uses[at] != ColumnUse::Data {
                let message = format!("{option}: the column '{column}' is used for something else already");
                return Err(CommandFailure::Usage(message));
            }
            uses[at] = taken;
            Ok(())
        };
        let (mut target, mut actor) = (None, None);
        if let Some(column) = &arguments.type_column {
            take("--type-column", column, ColumnUse::Kind)?;
        }
        if let Some(said) = &arguments.target {
            let (kind, column) = entity_column(said);
            target = kind.map(str::to_owned);
            take("--target", column, ColumnUse::Target)?;
        }
        if let Some(said) = &arguments.actor {
            let (kind, column) = entity_column(said);
            let message =
                "--actor: say of what kind they are, and which column has the id, as in --actor User=clerk";
            actor = Some(kind.ok_or_else(|| CommandFailure::Usage(message.to_owned()))?.to_owned());
            take("--actor", column, ColumnUse::Actor)?;
        }
        if let Some(column) = &arguments.time {
            take("--time", column, ColumnUse::Timestamp)?;
        }
        if let Some(column) = &arguments.id {
            take("--id", column, ColumnUse::Id)?;
        }
        for column in &arguments.text {
            take("--text", column, ColumnUse::Text)?;
        }
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(CommandFailure::Usage(format!("--csv: two columns are called '{}'", twice.1)));
        }
        Ok(CsvColumns { names, uses, kind: arguments.event_type.clone(), target, actor })
    }

    /// The event of a row.
    fn event(&self, row: &StringRecord) -> Object {
        let (mut event, mut data) = (Object::new(), Object::new());
        let (mut target, mut actor) = (None, None);
        let mut kind = self.kind.as_deref();
        let cells = row.iter().zip(&self.names).zip(&self.uses).filter(|((cell, _), _)| !cell.is_empty());
        for ((cell, name), column) in cells {
            match column {
                ColumnUse::Data => drop(data.insert(name.clone(), typed(cell))),
                ColumnUse::Text => drop(data.insert(name.clone(), cell.into())),
                ColumnUse::Kind => kind = Some(cell),
                ColumnUse::Target => target = Some(cell),
                ColumnUse::Actor => actor = Some(cell),
                ColumnUse::Timestamp => drop(event.insert("timestamp".to_owned(), cell.into())),
                ColumnUse::Id => drop(event.insert("id".to_owned(), cell.into())),
            }
        }
        let kind = kind.unwrap_or_default();
        event.insert("type".to_owned(), kind.into());
        let prefix = kind.split_once('.').map_or(kind, |(prefix, _)| prefix);
        if let Some(id) = target {
            event.insert("target".to_owned(), entity(self.target.as_deref().unwrap_or(prefix), id));
        }
        if let (Some(kind), Some(id)) = (&self.actor, actor) {
            event.insert("actor".to_owned(), entity(kind, id));
        }
        event.insert("data".to_owned(), Value::Object(data));
        event
    }
}

fn entity(kind: &str, id: &str) -> Value {
    Value::Object(Object::from_iter([("type".to_owned(), kind.into()), ("id".to_owned(), id.into())]))
}

/// What a cell is worth: a number, where that is written as this text again, `true` and `false`, or the text.
fn typed(cell: &str) -> Value {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let is_plain = is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && unsigned.len() <= DIGITS;
    match cell {
        "true" => true.into(),
        "false" => false.into(),
        "-0" => cell.into(),
        number if is_plain => match (fraction, number.parse::<i64>(), number.parse::<f64>()) {
            (None, Ok(whole), _) => whole.into(),
            (Some(_), _, Ok(float)) => float.into(),
            _ => number.into(),
        },
        text => text.into(),
    }
}

impl<R: Read> CsvEvents<R> {
    /// Reads the names of the columns.
    pub fn new(input: R, arguments: &CsvArgs, place: &str) -> Result<CsvEvents<R>, CommandFailure> {
        let mut rows = ReaderBuilder::new().delimiter(arguments.delimiter).from_reader(input);
        let names = match rows.headers() {
            Ok(names) => names.clone(),
            Err(error) => return Err(CommandFailure::reading(place, told(error))),
        };
        if names.is_empty() {
            return Err(CommandFailure::Usage(format!("{place} has no line with the names of its columns")));
        }
        let columns = CsvColumns::new(&names, arguments)?;
        Ok(CsvEvents { rows, row: StringRecord::new(), columns, lines: 0, line: Vec::new(), read: 0 })
    }
}

/// What is wrong, as the import tells of lines.
fn told(error: csv::Error) -> io::Error {
    let line = |position: &Option<Position>| position.as_ref().map_or(0, Position::line);
    let message = match error.kind() {
        ErrorKind::Io(_) => return error.into(),
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            format!("line {}: expected {expected_len} columns, as the first line has, found {len}", line(pos))
        }
        ErrorKind::Utf8 { pos, .. } => format!("line {}: expected UTF-8, found other bytes", line(pos)),
        _ => error.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<R: Read> BufRead for CsvEvents<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.line.len() && self.rows.read_record(&mut self.row).map_err(told)? {
            (self.read, self.line) = (0, Vec::new());
            let number = self.row.position().map_or(0, Position::line);
            while self.lines + 1 < number {
                self.line.push(b'\n');
                self.lines += 1;
            }
            serde_json::to_writer(&mut self.line, &self.columns.event(&self.row))?;
            self.line.push(b'\n');
            self.lines += 1;
        }
        Ok(&self.line[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read = (self.read + amount).min(self.line.len());
    }
}

impl<R: Read> Read for CsvEvents<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> CsvArgs {
        CsvArgs {
            csv: true,
            delimiter: b',',
            event_type: Some("Order.placed".to_owned()),
            ..CsvArgs::default()
        }
    }

    fn lines(text: &str, arguments: &CsvArgs) -> Result<Vec<String>, String> {
        let events =
            CsvEvents::new(text.as_bytes(), arguments, "it").map_err(|failure| format!("{failure:?}"))?;
        events.lines().collect::<io::Result<_>>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_is_an_event_on_the_line_where_it_begins() {
        let arguments = CsvArgs {
            target: Some("no".to_owned()),
            actor: Some("Clerk=by".to_owned()),
            time: Some("at".to_owned()),
            text: vec!["zip".to_owned()],
            ..arguments()
        };
        let text = "no,by,at,total,zip,note\n1,ann,2024-01-01,10.5,123,\"two\nlines\"\n\n2,,,true,,007\n";
        let first = concat!(
            r#"{"timestamp":"2024-01-01","type":"Order.placed","target":{"type":"Order","id":"1"},"#,
            r#""actor":{"type":"Clerk","id":"ann"},"data":{"total":10.5,"zip":"123","note":"two\nlines"}}"#
        );
        let second = r#"{"type":"Order.placed","target":{"type":"Order","id":"2"},"data":{"total":true,"note":"007"}}"#;
        assert_eq!(lines(text, &arguments).unwrap(), ["", first, "", "", second]);
    }

    #[test]
    fn a_cell_is_a_number_where_nothing_of_it_is_lost() {
        for (cell, expected) in [
            ("0", "0"),
            ("-12", "-12"),
            ("10.50", "10.5"),
            ("123456789012345", "123456789012345"),
            ("1234567890123456", "\"1234567890123456\""),
            ("007", "\"007\""),
            ("-0", "\"-0\""),
            ("1e5", "\"1e5\""),
            ("+1", "\"+1\""),
            (".5", "\".5\""),
            ("5.", "\"5.\""),
            ("-", "\"-\""),
            ("1,5", "\"1,5\""),
            (" 1", "\" 1\""),
            ("true", "true"),
            ("TRUE", "\"TRUE\""),
        ] {
            assert_eq!(typed(cell).to_string(), expected, "{cell}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let text = "a,b\n1,2\n";
        for (arguments, message) in [
            (
                CsvArgs { target: Some("c".to_owned()), ..arguments() },
                "--target: there is no column 'c'; there are a, b",
            ),
            (CsvArgs { actor: Some("a".to_owned()), ..arguments() }, "--actor: say of what kind they are"),
            (
                CsvArgs { target: Some("a".to_owned()), id: Some("a".to_owned()), ..arguments() },
                "--id: the column 'a' is used for something else already",
            ),
        ] {
            let found = lines(text, &arguments).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
        for (text, message) in [
            ("a,b\n1\n", "line 2: expected 2 columns, as the first line has, found 1"),
            ("a,a\n1,2\n", "two columns are called 'a'"),
            ("", "it has no line with the names of its columns"),
        ] {
            let found = lines(text, &arguments()).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
        let bytes: &[u8] = b"a,b\n1,\xff\n";
        let events = CsvEvents::new(bytes, &arguments(), "it").ok().unwrap();
        let found = events.lines().next().unwrap().unwrap_err().to_string();
        assert_eq!(found, "line 2: expected UTF-8, found other bytes");
    }
}
