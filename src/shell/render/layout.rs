//! How a table is drawn: the widths of its columns, its header, and the lines around its cells.
//!
//! Columns are as wide as the first rows need, and the whole is as wide as the terminal: what does not fit is shortened
//! with `…`, the longest columns first. A pipe has no width, and nothing is shortened there.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::grid::{Cell, CellKind, GridRecord};
use crate::shell::terminal::{Style, Terminal, harmless};

/// Between columns.
const GAP: usize = 2;
/// Between the cells of columns that have a frame: a space, a line and a space.
const FRAME: usize = 3;
/// A time to the second and the mark that there is more of it.
const SHORT_TIME: usize = "2024-01-01T00:00:00…".len() - "…".len() + 1;
/// A date and the mark that there is more of it.
const SHORTER_TIME: usize = "2024-01-01…".len() - "…".len() + 1;
/// The last column takes what is left, but is left that much.
const LAST: usize = 12;

/// How columns are drawn.
pub struct Layout {
    columns: Vec<LayoutColumn>,
    framed: bool,
    limit: Option<usize>,
    colors: bool,
}

#[derive(Debug, Clone, Copy)]
struct LayoutColumn {
    width: usize,
    right: bool,
    /// It had to give: what does not fit is shortened.
    tight: bool,
}

impl Layout {
    /// Decides the widths by some rows. Rows of a live table differ from those seen so far more than the next rows of a finished one, so
    /// its columns are not drawn too tight.
    pub fn new(
        columns: &[String],
        sample: &[GridRecord<'_>],
        live: bool,
        framed: bool,
        terminal: &Terminal,
    ) -> Layout {
        let mut natural: Vec<usize> = columns.iter().map(|name| harmless(name).width()).collect();
        let mut right = vec![true; columns.len()];
        let mut times = vec![true; columns.len()];
        for record in sample {
            for (name, cell) in record {
                if let Some(at) = columns.iter().position(|column| column == name) {
                    natural[at] = natural[at].max(cell.text.width());
                    right[at] &= cell.kind != CellKind::Text;
                    times[at] &= is_time(&cell.text);
                }
            }
        }
        // What stands outside of the frame's outer cells is no room for them.
        let gap = if framed { FRAME } else { GAP };
        let outside = if framed { FRAME + 1 } else { 0 };
        let limit = terminal.width();
        let room = limit.map(|limit| limit.saturating_sub(outside));
        if live {
            widen(&mut natural, columns, gap, room);
        }
        let mut widths = natural.clone();
        if let Some(room) = room {
            fit(&mut widths, &times, gap, room);
        }
        let column =
            |i: usize| LayoutColumn { width: widths[i], right: right[i], tight: widths[i] < natural[i] };
        let columns = (0..columns.len()).map(column).collect();
        Layout { columns, framed, limit, colors: terminal.output_colors }
    }

    /// The names of the columns, and the line below them.
    pub fn head(&self, names: &[String], out: &mut dyn Write) -> io::Result<()> {
        let header: Vec<Option<Cell>> = names.iter().map(|name| Some(Cell::text(harmless(name)))).collect();
        if self.framed {
            self.rule(['┌', '┬', '┐'], out)?;
            self.framed_row(&header, Some(Style::Bold), out)?;
            return self.rule(['├', '┼', '┤'], out);
        }
        let header = self.line(&header);
        let rule: Vec<String> = self.columns.iter().map(|column| "─".repeat(column.width)).collect();
        writeln!(out, "{}", Style::Bold.paint(&header, self.colors))?;
        writeln!(out, "{}", Style::Dim.paint(&rule.join(&" ".repeat(GAP)), self.colors))
    }

    /// A row, in the order of the columns.
    pub fn row(&self, cells: &[Option<Cell>], out: &mut dyn Write) -> io::Result<()> {
        if self.framed { self.framed_row(cells, None, out) } else { writeln!(out, "{}", self.line(cells)) }
    }

    /// What stands below the last row.
    pub fn foot(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.framed { self.rule(['└', '┴', '┘'], out) } else { Ok(()) }
    }

    fn rule(&self, [left, between, right]: [char; 3], out: &mut dyn Write) -> io::Result<()> {
        let rule: Vec<String> = self.columns.iter().map(|column| "─".repeat(column.width + 2)).collect();
        let rule = format!("{left}{}{right}", rule.join(&between.to_string()));
        writeln!(out, "{}", Style::Dim.paint(&rule, self.colors))
    }

    /// A row in its frame. What is wider than its column stands out where there is no width, and is shortened where there is.
    fn framed_row(
        &self,
        cells: &[Option<Cell>],
        style: Option<Style>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let line = Style::Dim.paint("│", self.colors);
        for (cell, column) in cells.iter().zip(&self.columns) {
            let text = cell.as_ref().map_or("", |cell| &cell.text);
            let text = shortened(text, if self.limit.is_some() { column.width } else { usize::MAX });
            let space = " ".repeat(column.width.saturating_sub(text.width()));
            let style = style.or(cell.as_ref().and_then(|cell| cell.style)).filter(|_| !text.is_empty());
            let text = style.map_or_else(|| text.clone(), |style| style.paint(&text, self.colors));
            match column.right {
                true => write!(out, "{line} {space}{text} ")?,
                false => write!(out, "{line} {text}{space} ")?,
            }
        }
        writeln!(out, "{line}")
    }

    /// A line of the table. A cell that is wider than its column takes from the last one while that has some left.
    fn line(&self, cells: &[Option<Cell>]) -> String {
        let (layout, limit) = (&self.columns, self.limit);
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
                Some(style) => line.push_str(&style.paint(&text, self.colors)),
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
fn widen(widths: &mut [usize], columns: &[String], gap: usize, limit: Option<usize>) {
    let wide: Vec<usize> =
        widths.iter().zip(columns).map(|(width, name)| (*width).max(usual(name))).collect();
    let before_last = wide.split_last().map_or(0, |(_, others)| others.iter().map(|w| w + gap).sum());
    if limit.is_none_or(|limit| before_last + 2 * LAST <= limit) {
        widths.copy_from_slice(&wide);
    }
}

/// Makes the columns fit a width: times give their fractions first, then the last gives, then times all but their date, then
/// whoever has most.
fn fit(widths: &mut [usize], times: &[bool], gap: usize, width: usize) {
    let available = width.saturating_sub(gap * widths.len().saturating_sub(1));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(widths: &[usize], width: usize) -> Vec<usize> {
        let mut widths = widths.to_vec();
        let times = vec![false; widths.len()];
        fit(&mut widths, &times, GAP, width);
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
            fit(&mut widths, &[false, true, false, false], GAP, width);
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
}
