//! The events of a table, as lines of JSON.

use std::io::{self, BufRead, Read};

use bygone::{Error, Object};

use super::columns::CsvColumns;
use super::rows::{CsvRow, CsvRows};
use super::{CsvArgs, invalid};
use crate::shell::failure::CommandFailure;

/// How many bytes of lines are gathered at a time.
const CHUNK: usize = 64 << 10;

/// Reads as lines of JSON. The event of a row is in the line in which the row begins, after blank ones: what is wrong with it, or
/// with the row, is told of that line.
pub struct CsvEvents<R> {
    rows: CsvRows<R>,
    row: CsvRow,
    columns: CsvColumns,
    /// What the row is, once the lines before it are given.
    next: Option<io::Result<Object>>,
    /// How many lines were given.
    lines: u64,
    text: Vec<u8>,
    read: usize,
}

impl<R: BufRead> CsvEvents<R> {
    /// Reads the names of the columns.
    pub fn new(input: R, arguments: &CsvArgs, place: &str) -> Result<CsvEvents<R>, CommandFailure> {
        if arguments.event_type.is_none() && arguments.type_column.is_none() {
            let expected = "the type of the events: --type Order.placed, or --type-column COLUMN";
            return Err(failure(invalid("--csv", expected, "neither"), place));
        }
        let (mut rows, mut row) = (CsvRows::new(input, arguments.delimiter), CsvRow::default());
        let in_line = |error, row: &CsvRow| failure(error, &format!("{place}, line {}", row.line));
        match rows.read(&mut row) {
            Ok(true) => {}
            Ok(false) => {
                let expected = "a first row with the names of the columns";
                return Err(failure(invalid(place, expected, "nothing"), place));
            }
            Err(error) => return Err(in_line(error, &row)),
        }
        let columns = CsvColumns::new(&row, arguments).map_err(|error| in_line(error, &row))?;
        Ok(CsvEvents { rows, row, columns, next: None, lines: 0, text: Vec::new(), read: 0 })
    }

    /// Gives lines up to as many as are read at a time, or up to a fault.
    fn go_on(&mut self) -> io::Result<()> {
        self.read = 0;
        self.text.clear();
        while self.text.len() < CHUNK {
            let next = match self.next.take() {
                Some(next) => next,
                None => match self.rows.read(&mut self.row) {
                    Ok(false) => break,
                    Ok(true) => self.columns.event(&self.row),
                    Err(error) => Err(error),
                },
            };
            let blank = (self.row.line - 1).saturating_sub(self.lines).min(CHUNK as u64);
            self.lines += blank;
            self.text.resize(self.text.len() + blank as usize, b'\n');
            if self.lines + 1 < self.row.line || next.is_err() && !self.text.is_empty() {
                self.next = Some(next);
                break;
            }
            serde_json::to_writer(&mut self.text, &next?)?;
            self.text.push(b'\n');
            self.lines += 1;
        }
        Ok(())
    }
}

/// Why the first row is no names of columns, or is not what the options say.
fn failure(error: io::Error, place: &str) -> CommandFailure {
    match error.downcast::<Error>() {
        Ok(Error::Invalid { what, expected, found }) if !what.starts_with("--") && what != place => {
            CommandFailure::from(Error::Invalid { what: format!("{place}: {what}"), expected, found })
        }
        Ok(error) => error.into(),
        Err(error) => CommandFailure::reading(place, error),
    }
}

impl<R: BufRead> BufRead for CsvEvents<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.text.len() {
            self.go_on()?;
        }
        Ok(&self.text[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read = (self.read + amount).min(self.text.len());
    }
}

impl<R: BufRead> Read for CsvEvents<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}
