//! A writer to a terminal: what is not seen, or would be obeyed, is escaped as JSON does.

use std::borrow::Cow;
use std::io::{self, Write};

use bygone::Row;

use super::render::Renderer;
use super::terminal::{harmless_fields, harmless_lines};

/// Writes to a terminal. Lines may end with CRLF.
pub struct EscapingWriter<W: Write> {
    to: W,
    /// The beginning of a character, or of an end of a line.
    cut: Vec<u8>,
    seen: Escaping,
}

/// What is left of a text that has no CRLF.
type Escaping = fn(&str) -> Cow<'_, str>;

impl<W: Write> EscapingWriter<W> {
    pub fn new(to: W) -> EscapingWriter<W> {
        EscapingWriter { to, cut: Vec::new(), seen: harmless_lines }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        for (at, line) in text.split("\r\n").enumerate() {
            if at > 0 {
                self.to.write_all(b"\r\n")?;
            }
            self.to.write_all((self.seen)(line).as_bytes())?;
        }
        Ok(())
    }

    /// Writes what was held back: nothing follows.
    pub fn end(mut self) -> io::Result<()> {
        let cut = std::mem::take(&mut self.cut);
        self.text(&String::from_utf8_lossy(&cut))
    }
}

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&all) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // It is no text, which nobody writes here.
            Err(_) => all.len(),
        };
        let whole = if all[..whole].ends_with(b"\r") { whole - 1 } else { whole };
        self.cut = all.split_off(whole);
        self.text(&String::from_utf8_lossy(&all))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A renderer that shows no more than what is seen.
pub struct Showing<R> {
    renderer: R,
    seen: Escaping,
}

impl<R: Renderer> Showing<R> {
    pub fn of(renderer: R) -> Showing<R> {
        Showing { renderer, seen: harmless_lines }
    }

    /// Of one that writes tabs between values that have none.
    pub fn with_tabs(renderer: R) -> Showing<R> {
        Showing { renderer, seen: harmless_fields }
    }

    fn show(
        &mut self,
        out: &mut dyn Write,
        render: impl FnOnce(&mut R, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut seen = EscapingWriter { seen: self.seen, ..EscapingWriter::new(out) };
        render(&mut self.renderer, &mut seen)?;
        seen.end()
    }
}

impl<R: Renderer> Renderer for Showing<R> {
    fn begin(&mut self, statement: usize, out: &mut dyn Write) -> io::Result<()> {
        self.show(out, |to, out| to.begin(statement, out))
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        self.show(out, |to, out| to.row(row, out))
    }

    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.show(out, |to, out| to.settle(out))
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.show(out, |to, out| to.end(out))
    }

    fn done(&mut self, statement: usize, rows: u64, out: &mut dyn Write) -> io::Result<()> {
        self.show(out, |to, out| to.done(statement, rows, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_escaped_wherever_a_write_ends() {
        let text = "{\"a\":\"\u{9b}2J \u{202e}é東\"}\nnext,\rline\r\nlast\r\n\u{1b}";
        let shown = "{\"a\":\"\\u009b2J \\u202eé東\"}\nnext,\\rline\r\nlast\r\n\\u001b";
        for piece in 1..=text.len() {
            let mut out = Vec::new();
            let mut writer = EscapingWriter::new(&mut out);
            text.as_bytes().chunks(piece).for_each(|bytes| writer.write_all(bytes).unwrap());
            writer.end().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), shown, "{piece} bytes at once");
        }
        assert_eq!(harmless_lines("plain\n東"), "plain\n東");
    }
}
