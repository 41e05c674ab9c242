//! Tables, for reading, with frames or without: [`Layout`] draws them.
//!
//! A state that comes alone is no table: it is written out. Nor are changes, which are lines, and traces, which are trees.

use std::io::{self, Write};

use bygone::{Object, Row, Value};

use super::change::Changes;
use super::grid::{self, Cell, GridBlock, GridRecord, SAMPLE};
use super::layout::Layout;
use super::tree::TreeRenderer;
use super::{Renderer, definition};
use crate::shell::terminal::{Style, Terminal, harmless};

pub struct Table {
    terminal: Terminal,
    block: GridBlock,
    sample: Vec<GridRecord<'static>>,
    /// How the columns are drawn, once that is known.
    layout: Option<Layout>,
    /// Lines stand around its cells.
    framed: bool,
    /// The tree that rows of a trace make.
    tree: TreeRenderer,
    /// The only row so far, if it is a state.
    lone: Option<Object>,
    rows: usize,
    /// There is a table above.
    follows: bool,
}

impl Table {
    pub fn new(terminal: &Terminal, framed: bool) -> Table {
        Table {
            terminal: *terminal,
            framed,
            block: GridBlock::default(),
            sample: Vec::new(),
            layout: None,
            tree: TreeRenderer::new(terminal),
            lone: None,
            rows: 0,
            follows: false,
        }
    }
}

impl Renderer for Table {
    fn begin(&mut self, _statement: usize, out: &mut dyn Write) -> io::Result<()> {
        (self.block, self.layout, self.rows) = (GridBlock::default(), None, 0);
        self.tree = TreeRenderer::new(&self.terminal);
        if std::mem::replace(&mut self.follows, false) { writeln!(out) } else { Ok(()) }
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        self.rows += 1;
        if let Some(text) = drawn(row) {
            self.begin_lines(out)?;
            return text.lines().try_for_each(|line| writeln!(out, "{}", harmless(line)));
        }
        if let Some((lines, facts)) = definition::told(row) {
            self.settle(out)?;
            self.close(out)?;
            self.separate(out)?;
            lines.iter().try_for_each(|line| writeln!(out, "{}", harmless(line)))?;
            return writeln!(out, "{}", Style::Dim.paint(&harmless(&facts), self.terminal.output_colors));
        }
        let changes = Changes::new(&self.terminal);
        let record = match row {
            Row::Change(change) => {
                self.begin_lines(out)?;
                return changes.change(change, out);
            }
            Row::Step(step) => {
                self.begin_lines(out)?;
                return changes.step(step, out);
            }
            Row::Traced(traced) => {
                self.begin_lines(out)?;
                return self.tree.row(traced, out);
            }
            Row::State(_) => {
                let members = grid::members(row);
                let record = state_record(&members);
                self.lone = (self.rows == 1).then_some(members);
                record
            }
            row => grid::brief(row),
        };
        if self.layout.is_some() {
            if self.block.fits(&record) {
                return self.write(record, out);
            }
            self.close(out)?;
            (self.block, self.layout) = (GridBlock::default(), None);
        }
        self.block.adopt(&record);
        self.sample.push(record);
        if self.sample.len() < SAMPLE { Ok(()) } else { self.lay_out(false, out) }
    }

    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.sample.is_empty() { Ok(()) } else { self.lay_out(true, out) }
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.lone.take() {
            Some(state) if self.rows == 1 && !self.sample.is_empty() => {
                self.sample.clear();
                self.separate(out)?;
                write_state(&state, self.terminal.output_colors, out)
            }
            _ if self.sample.is_empty() => self.close(out),
            _ => self.lay_out(false, out).and_then(|()| self.close(out)),
        }
    }
}

impl Table {
    /// Lines follow that are no table: what is held back goes before them.
    fn begin_lines(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.settle(out)?;
        self.close(out)?;
        self.follows = true;
        Ok(())
    }

    /// An empty line between a table and the one before.
    fn separate(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.follows, true) { writeln!(out) } else { Ok(()) }
    }

    /// Decides the widths, and writes the header and the rows that were held back.
    fn lay_out(&mut self, live: bool, out: &mut dyn Write) -> io::Result<()> {
        self.separate(out)?;
        let layout = Layout::new(&self.block.columns, &self.sample, live, self.framed, &self.terminal);
        layout.head(&self.block.columns, out)?;
        self.layout = Some(layout);
        for record in std::mem::take(&mut self.sample) {
            self.write(record, out)?;
        }
        Ok(())
    }

    fn write(&self, record: GridRecord<'_>, out: &mut dyn Write) -> io::Result<()> {
        match &self.layout {
            Some(layout) => layout.row(&self.block.arrange(record), out),
            None => Ok(()),
        }
    }

    /// Nothing more is coming into this frame.
    fn close(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !self.framed {
            return Ok(());
        }
        self.block = GridBlock::default();
        self.layout.take().map_or(Ok(()), |layout| layout.foot(out))
    }
}

/// A row that is one text of several lines, as a plan is: its lines are its layout.
pub(super) fn drawn(row: &Row) -> Option<&str> {
    let Row::Fields(fields) = row else { return None };
    let text = fields.get_index(0)?.1.as_text()?;
    (fields.len() == 1 && text.contains('\n')).then_some(text)
}

fn state_record(state: &Object) -> GridRecord<'static> {
    let all = |(name, value): (&String, &Value)| (name.clone().into(), Cell::shown(value));
    // When it is asked of many, the points are the same for all.
    state.iter().filter(|(name, _)| !matches!(name.as_str(), "at" | "asOf" | "events")).map(all).collect()
}

fn write_state(state: &Object, colors: bool, out: &mut dyn Write) -> io::Result<()> {
    let shown = |name: &str| state.get(name).map(|value| Cell::shown(value).text);
    let point = |name: &str, word: &str| {
        let value = state.get(name).filter(|value| !matches!(value, Value::Null))?;
        let mark = if matches!(value, Value::Int(_)) { "#" } else { "" };
        Some(format!("{word} {mark}{}", Cell::shown(value).text))
    };
    let version = match state.get("version") {
        Some(Value::Int(0)) => Some("no events".to_owned()),
        _ => shown("version").map(|version| format!("version {version}")),
    };
    let parts = [version, point("at", "at"), point("asOf", "as of")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let target = shown("target").unwrap_or_default();
    writeln!(out, "{}  {}", Style::Bold.paint(&target, colors), Style::Dim.paint(&parts.join(", "), colors))?;
    let state = state.get("state").unwrap_or(&Value::Null);
    for line in serde_json::to_string_pretty(state)?.lines() {
        writeln!(out, "{}", harmless(line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&str]) -> String {
        drawn(rows, false)
    }

    fn drawn(rows: &[&str], framed: bool) -> String {
        let terminal = Terminal {
            input: false,
            output: false,
            errors: false,
            output_colors: false,
            error_colors: false,
        };
        let mut out = Vec::new();
        let mut table = Table::new(&terminal, framed);
        table.begin(1, &mut out).unwrap();
        for row in rows {
            let Value::Object(fields) = row.parse().unwrap() else { panic!("{row}") };
            table.row(&Row::from(fields), &mut out).unwrap();
        }
        table.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_right_and_text_left() {
        assert_eq!(
            table(&[r#"{"name":"paid","total":5}"#, r#"{"name":"refunded","total":1250}"#]),
            "name      total\n────────  ─────\npaid          5\nrefunded   1250\n"
        );
    }

    #[test]
    fn a_frame_stands_around_each_table() {
        let mut rows = vec![r#"{"a":"東"}"#; SAMPLE];
        rows.push(r#"{"b":1.5}"#);
        let framed = drawn(&rows, true);
        assert!(framed.starts_with("┌────┐\n│ a  │\n├────┤\n│ 東 │\n│ 東 │\n"), "{framed}");
        assert!(
            framed.ends_with("│ 東 │\n└────┘\n\n┌─────┐\n│   b │\n├─────┤\n│ 1.5 │\n└─────┘\n"),
            "{framed}"
        );
    }

    #[test]
    fn a_text_of_lines_is_written_as_lines() {
        assert_eq!(table(&[r#"{"plan":"Scan\n  Filter\u001b"}"#]), "Scan\n  Filter\\u001b\n");
    }

    #[test]
    fn a_row_with_a_new_column_after_the_sample_begins_another_table() {
        let mut rows = vec![r#"{"a":1}"#; SAMPLE];
        rows.push(r#"{"a":1,"b":2}"#);
        assert!(table(&rows).ends_with("1\n\na  b\n─  ─\n1  2\n"));
    }
}
