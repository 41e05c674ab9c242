//! One `name = value` a line, an empty line between rows: for rows that are wider than any terminal.

use std::io::{self, Write};

use bygone::Row;
use unicode_width::UnicodeWidthStr;

use super::Renderer;
use super::grid::{self, Cell};
use crate::shell::terminal::{Style, Terminal, harmless};

pub struct LineRenderer {
    colors: bool,
    /// There is a row above.
    follows: bool,
}

impl LineRenderer {
    pub fn new(terminal: &Terminal) -> LineRenderer {
        LineRenderer { colors: terminal.output_colors, follows: false }
    }
}

impl Renderer for LineRenderer {
    fn begin(&mut self, _statement: usize, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.follows, false) { writeln!(out) } else { Ok(()) }
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.follows, true) {
            writeln!(out)?;
        }
        let members = grid::members(row);
        let widest = members.keys().map(|name| name.width()).max().unwrap_or(0);
        for (name, value) in &members {
            let space = " ".repeat(widest - name.width());
            let name = harmless(name);
            writeln!(out, "{space}{} = {}", Style::Bold.paint(&name, self.colors), Cell::whole(value).text)?;
        }
        Ok(())
    }
}
