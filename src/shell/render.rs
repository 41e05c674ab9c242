//! How results are shown: one trait, one file a format.

mod age;
mod change;
mod csv;
mod definition;
mod grid;
mod json;
mod line;
mod table;
mod tree;

pub use table::shortened;

use std::io::{self, Write};

use bygone::Row;

use super::cli::Format;
use super::escape::Showing;
use super::terminal::Terminal;

/// Writes rows as they come.
///
/// A renderer may hold rows back to learn how wide they are; it lets go of them at [`settle`](Renderer::settle).
pub trait Renderer {
    /// A statement begins; they are counted from 1. What sets its rows apart from those before is written now, so that its
    /// notices stand with them.
    fn begin(&mut self, statement: usize, out: &mut dyn Write) -> io::Result<()>;

    /// A row of the statement.
    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()>;

    /// Nothing more is coming for now: writes what is held back.
    fn settle(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    /// Nothing more is coming from this statement.
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.settle(out)
    }

    /// The statement ended well, after so many rows.
    fn done(&mut self, _statement: usize, _rows: u64, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// The renderer of a format.
pub fn new(format: Format, envelope: bool, csv_safe: bool, terminal: &Terminal) -> Box<dyn Renderer> {
    match format {
        Format::Json if terminal.output => Box::new(Showing(json::Json::new(envelope))),
        Format::Csv if terminal.output => Box::new(Showing(csv::Csv::new(csv_safe))),
        Format::Json => Box::new(json::Json::new(envelope)),
        Format::Csv => Box::new(csv::Csv::new(csv_safe)),
        Format::Line => Box::new(line::LineRenderer::new(terminal)),
        Format::Table => Box::new(table::Table::new(terminal)),
    }
}
