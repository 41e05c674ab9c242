//! How results are shown: one trait, one file a format.

mod age;
mod bar;
mod change;
mod chart;
mod csv;
mod definition;
mod grid;
mod json;
mod layout;
mod line;
mod markup;
mod table;
mod tree;

pub use definition::laid_out;
pub use layout::shortened;

use std::io::{self, Write};

use bygone::Row;

use super::cli::Format;
use super::escape::Showing;
use super::terminal::Terminal;
use csv::{Csv, Dialect};
use markup::{Markup, MarkupRenderer};

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
        Format::Json if terminal.output => Box::new(Showing::of(json::Json::new(envelope))),
        Format::Json => Box::new(json::Json::new(envelope)),
        Format::Csv if terminal.output => Box::new(Showing::of(Csv::new(Dialect::Comma, csv_safe))),
        Format::Csv => Box::new(Csv::new(Dialect::Comma, csv_safe)),
        Format::Tsv if terminal.output => Box::new(Showing::with_tabs(Csv::new(Dialect::Tab, csv_safe))),
        Format::Tsv => Box::new(Csv::new(Dialect::Tab, csv_safe)),
        Format::Line => Box::new(line::LineRenderer::new(terminal)),
        Format::Table => Box::new(table::Table::new(terminal, false)),
        Format::Box => Box::new(table::Table::new(terminal, true)),
        Format::Chart => Box::new(chart::Chart::new(terminal)),
        Format::Markdown => Box::new(MarkupRenderer::new(Markup::Markdown)),
        Format::Html => Box::new(MarkupRenderer::new(Markup::Html)),
    }
}
