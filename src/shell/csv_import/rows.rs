//! Text in CSV, cut into rows and cells.
//!
//! A cell in quotes may have delimiters, newlines, and quotes that are written twice. What cannot be right is an error, since it would
//! take in rows after it: a quote that is not closed, and anything but a delimiter or the end of the line after one that is. A quote
//! within a cell that does not begin with one is a quote. Blank lines are no rows. Lines end by a newline, a carriage return, or both.

use std::io::{self, BufRead, ErrorKind};

use super::{MAX_COLUMNS, MAX_ROW, invalid, named, shorten};

/// The rows of a text.
pub struct CsvRows<R> {
    input: R,
    delimiter: u8,
    /// The line that the next byte is in.
    line: u64,
    /// The byte before it was a carriage return: a newline belongs to it.
    after_return: bool,
    begun: bool,
}

/// A row.
#[derive(Debug, Default)]
pub struct CsvRow {
    /// The line that it begins in.
    pub line: u64,
    /// Its cells, one after another, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many bytes of the text were read for it.
    length: usize,
    /// The line that its last quoted cell begins in.
    quoted: u64,
}

/// What the next byte is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellState {
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted cell, which ends the cell, or is the first of two.
    Closed,
}

impl CsvRow {
    /// How many cells it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Its cells.
    pub fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }

    fn begin(&mut self, line: u64) {
        self.text.clear();
        self.ends.clear();
        (self.line, self.length, self.quoted) = (line, 0, line);
    }

    fn end_cell(&mut self) -> io::Result<()> {
        if self.ends.len() == MAX_COLUMNS {
            let expected = format!("at most {MAX_COLUMNS} columns");
            return Err(invalid("a row of CSV", expected, "more"));
        }
        self.ends.push(self.text.len());
        Ok(())
    }

    fn not_closed(&self) -> io::Error {
        let (column, line) = (self.len() + 1, self.quoted);
        let expected = format!(
            "the quote that closes column {column}, which opens in line {line} (a quote within a cell is written twice, like \"\")"
        );
        invalid("a row of CSV", expected, "the end of the input")
    }

    fn not_divided(&self, delimiter: u8, byte: u8, line: u64) -> io::Error {
        let (column, delimiter) = (self.len() + 1, named(delimiter));
        let expected = format!(
            "{delimiter} or the end of the line after the quote that closes column {column} (a quote within a cell is written twice, like \"\")"
        );
        let place = if line == self.line { String::new() } else { format!(" in line {line}") };
        invalid("a row of CSV", expected, format!("{}{place}", named(byte)))
    }

    /// The same as is said of any event that is too long.
    fn too_long(&self) -> io::Error {
        let start = String::from_utf8_lossy(&self.text[..self.text.len().min(100)]).into_owned();
        invalid("an event", format!("at most {} MiB", MAX_ROW >> 20), shorten(&start))
    }
}

impl<R: BufRead> CsvRows<R> {
    pub fn new(input: R, delimiter: u8) -> CsvRows<R> {
        CsvRows { input, delimiter, line: 1, after_return: false, begun: false }
    }

    /// Reads the next row; false at the end. What is wrong is told by an error of ours, and is in the row that begins in `row.line`.
    pub fn read(&mut self, row: &mut CsvRow) -> io::Result<bool> {
        row.begin(self.line);
        if !self.begun {
            self.skip_mark()?;
        }
        let mut state = CellState::Start;
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            let Some(&byte) = chunk.first() else { return end(state, row) };
            // Bytes that mean themselves are taken together.
            let delimiter = self.delimiter;
            let plain = chunk.iter().take(MAX_ROW + 1 - row.length).take_while(|&&byte| match state {
                CellState::Plain => !matches!(byte, b'\r' | b'\n') && byte != delimiter,
                CellState::Quoted => !matches!(byte, b'\r' | b'\n' | b'"'),
                CellState::Start | CellState::Closed => false,
            });
            let plain = plain.count();
            row.text.extend_from_slice(&chunk[..plain]);
            let taken = plain.max(1);
            row.length += taken;
            self.input.consume(taken);
            if row.length > MAX_ROW {
                return Err(row.too_long());
            }
            if plain > 0 {
                self.after_return = false;
                continue;
            }
            let line = self.line;
            self.count(byte);
            let is_end = matches!(byte, b'\r' | b'\n');
            state = match (state, byte) {
                (CellState::Quoted, b'"') => CellState::Closed,
                (CellState::Closed, b'"') | (CellState::Quoted, _) => {
                    row.text.push(byte);
                    CellState::Quoted
                }
                (CellState::Start, _) if is_end && row.len() == 0 => {
                    row.begin(self.line);
                    CellState::Start
                }
                _ if is_end => return row.end_cell().map(|()| true),
                (_, byte) if byte == self.delimiter => {
                    row.end_cell()?;
                    CellState::Start
                }
                (CellState::Start, b'"') => {
                    row.quoted = line;
                    CellState::Quoted
                }
                (CellState::Closed, byte) => return Err(row.not_divided(self.delimiter, byte, line)),
                (CellState::Start | CellState::Plain, byte) => {
                    row.text.push(byte);
                    CellState::Plain
                }
            };
        }
    }

    /// A carriage return and a newline after it end one line.
    fn count(&mut self, byte: u8) {
        let ended = byte == b'\r' || byte == b'\n' && !self.after_return;
        self.line += u64::from(ended);
        self.after_return = byte == b'\r';
    }

    /// Some programs begin a text with a mark that tells how it is encoded.
    fn skip_mark(&mut self) -> io::Result<()> {
        self.begun = true;
        for byte in *b"\xef\xbb\xbf" {
            let next = loop {
                match self.input.fill_buf() {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    chunk => break chunk?.first().copied(),
                }
            };
            if next != Some(byte) {
                break;
            }
            self.input.consume(1);
        }
        Ok(())
    }
}

/// What the end of the input ends.
fn end(state: CellState, row: &mut CsvRow) -> io::Result<bool> {
    match state {
        CellState::Start if row.len() == 0 => Ok(false),
        CellState::Quoted => Err(row.not_closed()),
        CellState::Start | CellState::Plain | CellState::Closed => row.end_cell().map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use proptest::prelude::*;

    use super::*;

    /// The rows of a text that is read so many bytes at a time, with their lines; and what ended it, with its own.
    fn read(text: &[u8], chunk: usize) -> (Vec<(u64, Vec<String>)>, Option<String>) {
        let mut rows = CsvRows::new(BufReader::with_capacity(chunk, text), b',');
        let (mut row, mut found) = (CsvRow::default(), Vec::new());
        loop {
            match rows.read(&mut row) {
                Ok(false) => return (found, None),
                Ok(true) => {
                    let cells = row.cells().map(|cell| String::from_utf8(cell.to_vec()).unwrap());
                    found.push((row.line, cells.collect()));
                }
                Err(error) => return (found, Some(format!("{}: {error}", row.line))),
            }
        }
    }

    fn shown(text: &str) -> String {
        let told = |chunk| {
            let (rows, fault) = read(text.as_bytes(), chunk);
            let rows: Vec<String> =
                rows.iter().map(|(line, cells)| format!("{line}:{}", cells.join("|"))).collect();
            format!("{}{}", rows.join(" "), fault.map_or_else(String::new, |fault| format!(" ! {fault}")))
        };
        assert_eq!(told(1), told(1000), "{text:?}");
        told(1)
    }

    #[test]
    fn rows_begin_in_their_lines() {
        for (text, expected) in [
            ("", ""),
            ("\n\r\n\n", ""),
            ("a,b\n1,2", "1:a|b 2:1|2"),
            ("a,b\r\n1,2\r\n3,4\r\n", "1:a|b 2:1|2 3:3|4"),
            ("a\r1\r2\r", "1:a 2:1 3:2"),
            ("\n\na\n\n\r\n1\n\n", "3:a 6:1"),
            ("a\n\"1\n2\"\n3", "1:a 2:1\n2 4:3"),
            ("a\r\n\"1\r\n\r\n2\"\r\n\r\n3", "1:a 2:1\r\n\r\n2 6:3"),
            ("\u{feff}a,b\n", "1:a|b"),
            ("\u{feff}\"a\",b\n", "1:a|b"),
            (",\n\"\"\n,,", "1:| 2: 3:||"),
            ("5\" pipe,a\"b\"\n", "1:5\" pipe|a\"b\""),
            ("\"a \"\"b\"\", c\",\"\"\"\"", "1:a \"b\", c|\""),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn quotes_that_do_not_fit_are_told_of_the_row() {
        for (text, expected) in [
            (
                "a\n\n1,\"2\n3\n4",
                "1:a ! 3: a row of CSV: expected the quote that closes column 2, which opens in line 3 (a quote within a cell is written twice, like \"\"), found the end of the input",
            ),
            (
                "\"a\nb\",\"",
                " ! 1: a row of CSV: expected the quote that closes column 2, which opens in line 2 (a quote within a cell is written twice, like \"\"), found the end of the input",
            ),
            (
                "a\n\"b\" c",
                "1:a ! 2: a row of CSV: expected ',' or the end of the line after the quote that closes column 1 (a quote within a cell is written twice, like \"\"), found ' '",
            ),
            (
                "a\n1,\"b\n2,\"c\"\n",
                "1:a ! 2: a row of CSV: expected ',' or the end of the line after the quote that closes column 2 (a quote within a cell is written twice, like \"\"), found 'c' in line 3",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_row_has_a_limit_of_bytes_and_of_columns() {
        // A quote that is not closed is no reason to read all there is into memory.
        let endless = b"a,b\n\"".chain(io::repeat(b'x'));
        let mut rows = CsvRows::new(BufReader::with_capacity(1 << 16, endless), b',');
        let mut row = CsvRow::default();
        assert!(rows.read(&mut row).unwrap());
        let found = rows.read(&mut row).unwrap_err().to_string();
        assert!(
            found.starts_with("an event: expected at most 32 MiB, found xxx") && found.len() < 300,
            "{found}"
        );
        assert!(row.text.len() <= MAX_ROW + 1);
        let (found, fault) = read(",".repeat(MAX_COLUMNS - 1).as_bytes(), 1000);
        assert_eq!((found[0].1.len(), fault), (MAX_COLUMNS, None));
        let (_, fault) = read(",".repeat(MAX_COLUMNS).as_bytes(), 1000);
        assert_eq!(fault.unwrap(), "1: a row of CSV: expected at most 10000 columns, found more");
    }

    proptest! {
        #[test]
        fn rows_that_are_written_are_read(
            rows in prop::collection::vec((prop::collection::vec("[a,\"\n\r ]{0,4}", 1..4), 0..3usize), 0..6),
            end in prop::sample::select(&["\n", "\r\n"][..]),
            chunk in 1..20usize,
        ) {
            let (mut text, mut expected) = (String::new(), Vec::new());
            for (cells, blank) in rows {
                text.push_str(&end.repeat(blank));
                // Those that were written before end by their own newlines.
                expected.push((text.replace("\r\n", "\n").replace('\r', "\n").matches('\n').count() as u64 + 1, cells.clone()));
                let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
                text.push_str(&quoted.join(","));
                text.push_str(end);
            }
            let (found, fault) = read(text.as_bytes(), chunk);
            prop_assert_eq!(fault, None);
            prop_assert_eq!(found, expected, "{:?}", text);
        }
    }
}
