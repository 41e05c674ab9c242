//! Bars, for numbers that are to be compared: a label, a bar, and the number.
//!
//! How long a bar is, is known once all rows are there. So they are held back, up to a limit; more of them than that are a
//! table, and so is what has no number.

use std::io::{self, Write};
use std::sync::Arc;

use bygone::{Object, Row, Value};
use unicode_width::UnicodeWidthStr;

use super::Renderer;
use super::bar::Axis;
use super::grid::{Cell, CellKind};
use super::layout::shortened;
use super::table::Table;
use crate::shell::cli::Format;
use crate::shell::failure::Reporter;
use crate::shell::terminal::{Style, Terminal, harmless};

/// How many rows a chart has at most.
const MOST: usize = 1000;
/// How many bytes they have at most, about.
const LARGEST: usize = 1 << 20;
/// Between the label, the bar and the number.
const GAP: usize = 1;
/// Before the lines below a label.
const INDENT: usize = 2;
/// The width of a chart where there is no terminal.
const USUAL: usize = 80;
/// A bar of a chart has this much, however narrow the terminal.
const LEAST: usize = 3;

pub struct Chart {
    terminal: Terminal,
    held: Vec<Arc<Object>>,
    /// About how many bytes are held.
    bytes: usize,
    /// What the rows go to that make no chart.
    table: Table,
    /// This statement is a table from here on.
    tabular: bool,
    /// There is a chart above.
    follows: bool,
}

impl Chart {
    pub fn new(terminal: &Terminal) -> Chart {
        Chart {
            terminal: *terminal,
            held: Vec::new(),
            bytes: 0,
            table: Table::new(terminal, false),
            tabular: false,
            follows: false,
        }
    }

    /// What is held back goes into a table, and what follows as well.
    fn fall_back(&mut self, why: &str, out: &mut dyn Write) -> io::Result<()> {
        Reporter::new(&self.terminal, Format::Chart, true).notice(&format!("{why}: shown as a table"));
        self.tabular = true;
        self.bytes = 0;
        if std::mem::replace(&mut self.follows, false) {
            writeln!(out)?;
        }
        std::mem::take(&mut self.held).into_iter().try_for_each(|row| self.table.row(&Row::Fields(row), out))
    }

    /// Draws what is held back, or has a table of it.
    fn draw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let width = self.terminal.width().unwrap_or(USUAL);
        let Some(lines) = drawn(&self.held, width, self.terminal.output_colors) else {
            return self.fall_back("no column has numbers alone", out);
        };
        (self.held, self.bytes) = (Vec::new(), 0);
        if std::mem::replace(&mut self.follows, true) {
            writeln!(out)?;
        }
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

impl Renderer for Chart {
    fn begin(&mut self, statement: usize, out: &mut dyn Write) -> io::Result<()> {
        (self.held, self.bytes, self.tabular) = (Vec::new(), 0, false);
        self.table.begin(statement, out)?;
        if std::mem::replace(&mut self.follows, false) { writeln!(out) } else { Ok(()) }
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        if self.tabular {
            return self.table.row(row, out);
        }
        let Row::Fields(fields) = row else {
            self.fall_back("these rows are no groups with numbers", out)?;
            return self.table.row(row, out);
        };
        self.bytes += fields.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
        self.held.push(fields.clone());
        if self.held.len() > MOST {
            self.fall_back(&format!("more than {MOST} rows are too many for a chart"), out)
        } else if self.bytes > LARGEST {
            self.fall_back("rows this large are too many for a chart", out)
        } else {
            Ok(())
        }
    }

    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.draw(out)?;
        self.table.settle(out)
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.draw(out)?;
        self.table.end(out)
    }
}

/// About how many bytes a value has.
fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Array(_) | Value::Object(_) => value.to_string().len(),
        _ => size_of::<Value>(),
    }
}

/// The columns that make the labels, and those that make the bars.
struct ChartColumns {
    labels: Vec<String>,
    /// Each with its largest number, whatever its sign.
    numbers: Vec<(String, f64)>,
}

impl ChartColumns {
    /// Columns of numbers make bars, all others labels; where there are no others, the first of several is the label.
    /// Nothing, if no column has numbers alone.
    fn of(rows: &[Arc<Object>]) -> Option<ChartColumns> {
        let mut kinds: Vec<(&str, CellKind)> = Vec::new();
        for (name, value) in rows.iter().flat_map(|row| row.iter()) {
            let kind = Cell::shown(value).kind;
            match kinds.iter_mut().find(|(known, _)| *known == name.as_str()) {
                None => kinds.push((name.as_str(), kind)),
                Some((_, so_far)) if kind == CellKind::Text || *so_far == CellKind::Null => *so_far = kind,
                Some(_) => {}
            }
        }
        let first_labels = kinds.len() > 1 && kinds.iter().all(|(_, kind)| *kind == CellKind::Number);
        let (mut labels, mut numbers) = (Vec::new(), Vec::new());
        for (at, (name, kind)) in kinds.into_iter().enumerate() {
            if kind == CellKind::Number && !(first_labels && at == 0) {
                let sizes = rows.iter().filter_map(|row| finite(row.get(name)?)).map(f64::abs);
                numbers.push((name.to_owned(), sizes.fold(0.0, f64::max)));
            } else {
                labels.push(name.to_owned());
            }
        }
        (!numbers.is_empty()).then_some(ChartColumns { labels, numbers })
    }

    fn label(&self, row: &Object, most: usize) -> String {
        let parts = self.labels.iter().filter_map(|name| row.get(name));
        let label = parts.map(|value| Cell::shown(value).text).collect::<Vec<_>>().join(", ");
        shortened(&label, most).into_owned()
    }

    /// A number as a part of the largest of its column.
    fn part(&self, row: &Object, at: usize) -> f64 {
        let (name, largest) = &self.numbers[at];
        match row.get(name).and_then(finite) {
            Some(0.0) => 0.0,
            // What is not nothing stays so, however little it is.
            Some(number) => (number.abs() / largest).max(f64::MIN_POSITIVE).copysign(number),
            None => 0.0,
        }
    }
}

fn finite(value: &Value) -> Option<f64> {
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
            value.as_f64().filter(|number| number.is_finite())
        }
        _ => None,
    }
}

/// The lines of a chart of so many columns; nothing, if there are no numbers.
fn drawn(rows: &[Arc<Object>], width: usize, colors: bool) -> Option<Vec<String>> {
    let columns = ChartColumns::of(rows)?;
    let most = (width / 3).max(1);
    let several = columns.numbers.len() > 1;
    let names = || columns.numbers.iter().map(|(name, _)| shortened(&harmless(name), most).into_owned());
    let names: Vec<String> = names().collect();
    let labels: Vec<String> = rows.iter().map(|row| columns.label(row, most)).collect();
    let widest = |texts: &[String]| texts.iter().map(|text| text.width()).max().unwrap_or(0);
    let (indent, before) = if several { (INDENT, widest(&names)) } else { (0, widest(&labels)) };
    let number =
        |row: &Object, at: usize| row.get(&columns.numbers[at].0).map(|value| Cell::shown(value).text);
    let every = || rows.iter().flat_map(|row| (0..names.len()).map(move |at| (row, at)));
    let after = every().filter_map(|(row, at)| number(row, at)).map(|text| text.width()).max().unwrap_or(0);
    let gaps = if before > 0 { 2 * GAP } else { GAP };
    let room = width.saturating_sub(indent + before + gaps + after).max(LEAST);
    let parts = || every().map(|(row, at)| columns.part(row, at));
    let axis = Axis::new(parts().fold(0.0, f64::min), parts().fold(0.0, f64::max), room);
    let mut lines = Vec::new();
    for (row, label) in rows.iter().zip(&labels) {
        if several && !label.is_empty() {
            lines.push(Style::Bold.paint(label, colors).into_owned());
        }
        for (at, name) in names.iter().enumerate() {
            let name = if several { name } else { label };
            let mut line = format!("{:indent$}{name}", "");
            if before > 0 {
                line.extend(std::iter::repeat_n(' ', before.saturating_sub(name.width()) + GAP));
            }
            let bar = axis.bar(columns.part(row, at));
            if !bar.is_empty() {
                line.push_str(&Style::Cyan.paint(&bar, colors));
                line.push(' ');
            }
            line.push_str(&number(row, at).unwrap_or_default());
            line.truncate(line.trim_end().len());
            lines.push(line);
        }
    }
    Some(lines)
}

#[cfg(test)]
mod tests;
