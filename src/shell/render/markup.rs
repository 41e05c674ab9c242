//! Tables in the markup of documents: Markdown and HTML. Nothing is shortened, whatever the width of the terminal: it is for pasting.
//!
//! Text is escaped, so that it is shown there as it is: no text of the data is markup of the document.

use std::io::{self, Write};

use bygone::Row;
use unicode_width::UnicodeWidthStr;

use super::Renderer;
use super::grid::{self, Cell, CellKind, GridBlock, GridRecord, SAMPLE};
use super::table::drawn;
use crate::shell::terminal::{harmless, harmless_lines};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Markup {
    Markdown,
    Html,
}

/// Columns of Markdown are padded to this width at most: longer texts do not make all rows as long.
const PADDED: usize = 40;

pub struct MarkupRenderer {
    markup: Markup,
    block: GridBlock,
    sample: Vec<GridRecord<'static>>,
    /// The columns of the table that was begun.
    columns: Option<Vec<MarkupColumn>>,
    /// There is a table above.
    follows: bool,
}

#[derive(Debug, Clone, Copy)]
struct MarkupColumn {
    width: usize,
    right: bool,
}

impl MarkupRenderer {
    pub fn new(markup: Markup) -> MarkupRenderer {
        MarkupRenderer {
            markup,
            block: GridBlock::default(),
            sample: Vec::new(),
            columns: None,
            follows: false,
        }
    }

    fn separate(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.follows, true) { writeln!(out) } else { Ok(()) }
    }

    /// The header, and the rows that were held back.
    fn open(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.separate(out)?;
        let names: Vec<Option<Cell>> =
            self.block.columns.iter().map(|name| Some(Cell::text(harmless(name)))).collect();
        let mut columns: Vec<MarkupColumn> = names
            .iter()
            .map(|name| MarkupColumn { width: self.width(name.as_ref()).max(3), right: true })
            .collect();
        for record in &self.sample {
            for (name, cell) in record {
                if let Some(at) = self.block.columns.iter().position(|column| column == name) {
                    columns[at].width = columns[at].width.max(self.width(Some(cell)).min(PADDED));
                    columns[at].right &= cell.kind != CellKind::Text;
                }
            }
        }
        match self.markup {
            Markup::Markdown => {
                // A header of texts stands left.
                write_markdown(&names, &columns, out)?;
                for column in &columns {
                    let (line, end) = ("-".repeat(column.width - 1), if column.right { ":" } else { "-" });
                    write!(out, "| {line}{end} ")?;
                }
                out.write_all(b"|\n")?;
            }
            Markup::Html => {
                out.write_all(b"<table>\n")?;
                write_html("th", &names, out)?;
            }
        }
        self.columns = Some(columns);
        std::mem::take(&mut self.sample).into_iter().try_for_each(|record| self.write(record, out))
    }

    fn write(&self, record: GridRecord<'_>, out: &mut dyn Write) -> io::Result<()> {
        let cells = self.block.arrange(record);
        match self.markup {
            Markup::Markdown => write_markdown(&cells, self.columns.as_deref().unwrap_or_default(), out),
            Markup::Html => write_html("td", &cells, out),
        }
    }

    /// Writes what is held back, and ends the table.
    fn close(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.settle(out)?;
        match (self.columns.take(), self.markup) {
            (Some(_), Markup::Html) => out.write_all(b"</table>\n"),
            _ => Ok(()),
        }
    }

    /// A text whose lines are its layout.
    fn lines(&mut self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        self.close(out)?;
        self.separate(out)?;
        let text = harmless_lines(text);
        match self.markup {
            Markup::Markdown => {
                let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
                let fence = "`".repeat(longest.max(2) + 1);
                writeln!(out, "{fence}\n{text}\n{fence}")
            }
            Markup::Html => writeln!(out, "<pre>{}</pre>", html(&text)),
        }
    }

    fn width(&self, cell: Option<&Cell>) -> usize {
        match self.markup {
            Markup::Markdown => cell.map_or(0, |cell| markdown(cell).width()),
            Markup::Html => 0,
        }
    }
}

impl Renderer for MarkupRenderer {
    fn begin(&mut self, _statement: usize, _out: &mut dyn Write) -> io::Result<()> {
        (self.block, self.columns) = (GridBlock::default(), None);
        Ok(())
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        if let Some(text) = drawn(row) {
            return self.lines(text, out);
        }
        let record = grid::brief(row);
        if self.columns.is_some() {
            if self.block.fits(&record) {
                return self.write(record, out);
            }
            self.close(out)?;
            self.block = GridBlock::default();
        }
        self.block.adopt(&record);
        self.sample.push(record);
        if self.sample.len() < SAMPLE { Ok(()) } else { self.open(out) }
    }

    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.sample.is_empty() { Ok(()) } else { self.open(out) }
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.close(out)
    }
}

fn write_markdown(cells: &[Option<Cell>], columns: &[MarkupColumn], out: &mut dyn Write) -> io::Result<()> {
    for (cell, column) in cells.iter().zip(columns) {
        let text = cell.as_ref().map(markdown).unwrap_or_default();
        let space = " ".repeat(column.width.saturating_sub(text.width()));
        match column.right {
            true => write!(out, "| {space}{text} ")?,
            false => write!(out, "| {text}{space} ")?,
        }
    }
    out.write_all(b"|\n")
}

/// A text of which nothing is markup. In the middle of a word `_` is none.
fn markdown(cell: &Cell) -> String {
    let text = &cell.text;
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let in_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
        let is_markup = match c {
            '_' => !in_word(before.as_ref()) || !in_word(characters.peek()),
            c => matches!(c, '\\' | '|' | '`' | '*' | '~' | '<' | '[' | '&'),
        };
        if is_markup {
            escaped.push('\\');
        }
        escaped.push(c);
        before = Some(c);
    }
    escaped
}

fn write_html(tag: &str, cells: &[Option<Cell>], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"<tr>")?;
    for cell in cells {
        let text = cell.as_ref().map(|cell| html(&cell.text)).unwrap_or_default();
        write!(out, "<{tag}>{text}</{tag}>")?;
    }
    out.write_all(b"</tr>\n")
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use bygone::Value;

    use super::*;

    fn rendered(markup: Markup, rows: &[&str]) -> String {
        let mut out = Vec::new();
        let mut renderer = MarkupRenderer::new(markup);
        renderer.begin(1, &mut out).unwrap();
        for row in rows {
            let Value::Object(fields) = row.parse().unwrap() else { panic!("{row}") };
            renderer.row(&Row::from(fields), &mut out).unwrap();
        }
        renderer.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn markdown_shows_text_as_it_is() {
        let rows = [
            r#"{"a_b":"x|y","n":5,"t":"<b>*a* [x](y) \\ _a_ `c` &lt; a_b"}"#,
            r#"{"a_b":"two\nlines\u001b","n":null}"#,
        ];
        assert_eq!(
            rendered(Markup::Markdown, &rows),
            "| a_b                |    n | t                                        |\n\
             | ------------------ | ---: | ---------------------------------------- |\n\
             | x\\|y               |    5 | \\<b>\\*a\\* \\[x](y) \\\\ \\_a\\_ \\`c\\` \\&lt; a_b |\n\
             | two\\\\nlines\\\\u001b | null |                                          |\n"
        );
    }

    #[test]
    fn html_shows_text_as_it_is() {
        assert_eq!(
            rendered(Markup::Html, &[r#"{"<a>":"<script>&'\"\u202e","n":null}"#]),
            "<table>\n<tr><th>&lt;a&gt;</th><th>n</th></tr>\n\
             <tr><td>&lt;script&gt;&amp;&#39;&quot;\\u202e</td><td>null</td></tr>\n</table>\n"
        );
    }

    #[test]
    fn a_text_of_lines_is_a_block_of_its_own() {
        let plan = r#"{"plan":"Scan ```\n  Filter <a>\u001b"}"#;
        assert_eq!(rendered(Markup::Markdown, &[plan]), "````\nScan ```\n  Filter <a>\\u001b\n````\n");
        assert_eq!(rendered(Markup::Html, &[plan]), "<pre>Scan ```\n  Filter &lt;a&gt;\\u001b</pre>\n");
    }

    #[test]
    fn other_columns_begin_another_table() {
        let mut rows = vec![r#"{"a":1}"#; SAMPLE];
        rows.push(r#"{"b":2}"#);
        let markdown = rendered(Markup::Markdown, &rows);
        assert!(markdown.ends_with("|   1 |\n\n|   b |\n| --: |\n|   2 |\n"), "{markdown}");
        let html = rendered(Markup::Html, &rows);
        assert!(html.contains("<td>1</td></tr>\n</table>\n\n<table>\n<tr><th>b</th></tr>\n"), "{html}");
    }
}
