//! Tables, for reading.
//!
//! Columns are as wide as the first rows need, and the whole is as wide as the terminal: what does not fit is shortened
//! with `…`, the longest columns first. A pipe has no width, and nothing is shortened there. A state that comes alone is
//! no table: it is written out. Nor are changes, which are lines, and traces, which are trees.

use std::io::{self, Write};

use bygone::{Object, Row, Value};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::change::Changes;
use super::grid::{self, Cell, CellKind, GridBlock, GridRecord, SAMPLE};
use super::tree::TreeRenderer;
use super::{Renderer, definition};
use crate::shell::terminal::{Style, Terminal, harmless};

/// Between columns.
const GAP: usize = 2;
/// A time to the second and the mark that there is more of it.
const SHORT_TIME: usize = "2024-01-01T00:00:00…".len() - "…".len() + 1;
/// A date and the mark that there is more of it.
const SHORTER_TIME: usize = "2024-01-01…".len() - "…".len() + 1;
/// The last column takes what is left, but is left that much.
const LAST: usize = 12;

pub struct Table {
    terminal: Terminal,
    block: GridBlock,
    sample: Vec<GridRecord<'static>>,
    /// The widths of the columns, once they are known; the columns that hold numbers.
    layout: Option<Vec<TableColumn>>,
    /// The tree that rows of a trace make.
    tree: TreeRenderer,
    /// The only row so far, if it is a state.
    lone: Option<Object>,
    rows: usize,
    /// There is a table above.
    follows: bool,
}

#[derive(Debug, Clone, Copy)]
struct TableColumn {
    width: usize,
    right: bool,
    /// It had to give: what does not fit is shortened.
    tight: bool,
}

impl Table {
    pub fn new(terminal: &Terminal) -> Table {
        Table {
            terminal: *terminal,
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
            _ if self.sample.is_empty() => Ok(()),
            _ => self.lay_out(false, out),
        }
    }
}

impl Table {
    /// Lines follow that are no table: what is held back goes before them.
    fn begin_lines(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.settle(out)?;
        self.follows = true;
        Ok(())
    }

    /// An empty line between a table and the one before.
    fn separate(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.follows, true) { writeln!(out) } else { Ok(()) }
    }

    /// Decides the widths, and writes the header and the rows that were held back. Rows of a live table differ from
    /// those seen so far more than the next rows of a finished one, so its columns are not drawn too tight.
    fn lay_out(&mut self, live: bool, out: &mut dyn Write) -> io::Result<()> {
        self.separate(out)?;
        let columns = &self.block.columns;
        let mut natural: Vec<usize> = columns.iter().map(|name| name.width()).collect();
        let mut right = vec![true; columns.len()];
        let mut times = vec![true; columns.len()];
        for record in &self.sample {
            for (name, cell) in record {
                if let Some(at) = columns.iter().position(|column| column == name) {
                    natural[at] = natural[at].max(cell.text.width());
                    right[at] &= cell.kind != CellKind::Text;
                    times[at] &= is_time(&cell.text);
                }
            }
        }
        let limit = self.terminal.width();
        if live {
            widen(&mut natural, columns, limit);
        }
        let mut widths = natural.clone();
        if let Some(limit) = limit {
            fit(&mut widths, &times, limit);
        }
        let column =
            |i: usize| TableColumn { width: widths[i], right: right[i], tight: widths[i] < natural[i] };
        let layout: Vec<TableColumn> = (0..columns.len()).map(column).collect();
        let header: Vec<Option<Cell>> = columns.iter().map(|name| Some(Cell::text(harmless(name)))).collect();
        let header = self.line(&header, &layout);
        let rule: Vec<String> = layout.iter().map(|column| "─".repeat(column.width)).collect();
        let colors = self.terminal.output_colors;
        writeln!(out, "{}", Style::Bold.paint(&header, colors))?;
        writeln!(out, "{}", Style::Dim.paint(&rule.join(&" ".repeat(GAP)), colors))?;
        self.layout = Some(layout);
        for record in std::mem::take(&mut self.sample) {
            self.write(record, out)?;
        }
        Ok(())
    }

    fn write(&self, record: GridRecord<'_>, out: &mut dyn Write) -> io::Result<()> {
        let layout = self.layout.as_deref().unwrap_or_default();
        writeln!(out, "{}", self.line(&self.block.arrange(record), layout))
    }

    /// A line of the table. A cell that is wider than its column takes from the last one while that has some left.
    fn line(&self, cells: &[Option<Cell>], layout: &[TableColumn]) -> String {
        let limit = self.terminal.width();
        let mut line = String::new();
        let mut used = 0;
        // Where the next column begins, and where it would begin if all before had kept to theirs.
        let mut planned = 0;
        for (i, (cell, column)) in cells.iter().zip(layout).enumerate() {
            let last = i + 1 == layout.len();
            let text = cell.as_ref().map_or("", |cell| &cell.text);
            let room = match limit {
                None => usize::MAX,
                Some(limit) if last => limit.saturating_sub(used).max(1),
                Some(_) if column.tight => column.width,
                // What this column may take beyond its own, so that the last keeps some.
                Some(limit) => {
                    let others: usize = layout[i + 1..layout.len() - 1].iter().map(|c| c.width + GAP).sum();
                    let least = layout.last().map_or(0, |c| c.width.min(LAST));
                    limit.saturating_sub(used + others + GAP + least).max(column.width.min(limit))
                }
            };
            let text = shortened(text, room);
            planned += column.width;
            let pad = planned.saturating_sub(used + text.width());
            if column.right {
                line.extend(std::iter::repeat_n(' ', pad));
            }
            match cell.as_ref().and_then(|cell| cell.style).filter(|_| !text.is_empty()) {
                Some(style) => line.push_str(&style.paint(&text, self.terminal.output_colors)),
                None => line.push_str(&text),
            }
            used += text.width();
            if column.right {
                used += pad;
            }
            if !last {
                let pad = if column.right { 0 } else { pad } + GAP;
                line.extend(std::iter::repeat_n(' ', pad));
                used += pad;
                planned += GAP;
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A row that is one text of several lines, as a plan is: its lines are its layout.
fn drawn(row: &Row) -> Option<&str> {
    let Row::Fields(fields) = row else { return None };
    let text = fields.first()?.1.as_text()?;
    (fields.len() == 1 && text.contains('\n')).then_some(text)
}

/// What a column of a live table is given at least.
fn usual(name: &str) -> usize {
    match name {
        "position" => 8,
        "timestamp" => 27,
        "type" | "target" => 16,
        "actor" => 10,
        _ => 0,
    }
}

/// Gives the columns of a live table their usual widths, if that leaves enough for the last.
fn widen(widths: &mut [usize], columns: &[String], limit: Option<usize>) {
    let wide: Vec<usize> =
        widths.iter().zip(columns).map(|(width, name)| (*width).max(usual(name))).collect();
    let before_last = wide.split_last().map_or(0, |(_, others)| others.iter().map(|w| w + GAP).sum());
    if limit.is_none_or(|limit| before_last + 2 * LAST <= limit) {
        widths.copy_from_slice(&wide);
    }
}

/// Makes the columns fit a width: times give their fractions first, then the last gives, then times all but their date, then
/// whoever has most.
fn fit(widths: &mut [usize], times: &[bool], width: usize) {
    let available = width.saturating_sub(GAP * widths.len().saturating_sub(1));
    let total = |widths: &[usize]| widths.iter().sum::<usize>();
    if total(widths) <= available {
        return;
    }
    for most in [SHORT_TIME, SHORTER_TIME] {
        for (column, _) in widths.iter_mut().zip(times).filter(|(_, time)| **time) {
            *column = (*column).min(most);
        }
        // The last is the data, mostly, and nobody expects to see all of it.
        if let Some((last, others)) = widths.split_last_mut() {
            let rest = available.saturating_sub(total(others));
            if rest >= LAST.min(*last) {
                *last = rest.min(*last);
                return;
            }
        }
    }
    let (mut low, mut high) = (1, widths.iter().copied().max().unwrap_or(1));
    // The widest cap under which all fit; one column each, where nothing does.
    while low < high {
        let cap = (low + high).div_ceil(2);
        if widths.iter().map(|width| *width.min(&cap)).sum::<usize>() <= available {
            low = cap;
        } else {
            high = cap - 1;
        }
    }
    for column in widths.iter_mut() {
        *column = (*column).min(low);
    }
    // What is left over goes to the last column.
    let rest = available.saturating_sub(total(widths));
    if let Some(last) = widths.last_mut() {
        *last += rest;
    }
}

fn is_time(text: &str) -> bool {
    text.len() >= "2024-01-01T00:00:00Z".len()
        && text.as_bytes()[10] == b'T'
        && text.ends_with('Z')
        && text.bytes().all(|b| b.is_ascii_digit() || b"-:.TZ".contains(&b))
}

/// The text in so many columns, with a mark where something is missing.
pub fn shortened(text: &str, width: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= width || text.width() <= width {
        return text.into();
    }
    let mut short = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        short.push(c);
    }
    short.push('…');
    short.into()
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

    fn fitted(widths: &[usize], width: usize) -> Vec<usize> {
        let mut widths = widths.to_vec();
        let times = vec![false; widths.len()];
        fit(&mut widths, &times, width);
        widths
    }

    #[test]
    fn the_longest_columns_give_most() {
        assert_eq!(fitted(&[4, 10, 100], 60), [4, 10, 42]);
        assert_eq!(fitted(&[4, 10, 20], 60), [4, 10, 20]);
        assert_eq!(fitted(&[40, 40], 21), [9, 10]);
        assert_eq!(fitted(&[40, 40], 0), [1, 1]);
        assert_eq!(fitted(&[], 10), Vec::<usize>::new());
    }

    #[test]
    fn times_give_before_others_do() {
        let fitted = |width| {
            let mut widths = [13, 27, 8, 5];
            fit(&mut widths, &[false, true, false, false], width);
            widths
        };
        assert_eq!(fitted(60), [13, 27, 8, 5]);
        assert_eq!(fitted(58), [13, 20, 8, 5]);
        assert_eq!(fitted(50), [13, 11, 8, 5]);
        assert_eq!(fitted(40), [10, 10, 8, 6]);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("東京都", 5), "東京…");
        assert_eq!(shortened("東京都", 6), "東京都");
        assert_eq!(shortened("abc", 0), "…");
    }

    fn table(rows: &[&str]) -> String {
        let terminal = Terminal {
            input: false,
            output: false,
            errors: false,
            output_colors: false,
            error_colors: false,
        };
        let mut out = Vec::new();
        let mut table = Table::new(&terminal);
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
