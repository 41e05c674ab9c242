//! JSON lines: one object a line, and nothing else.

use std::io::{self, Write};

use bygone::Row;

use super::Renderer;

pub struct Json {
    envelope: bool,
    statement: usize,
}

impl Json {
    pub fn new(envelope: bool) -> Json {
        Json { envelope, statement: 0 }
    }
}

impl Renderer for Json {
    fn begin(&mut self, statement: usize, _out: &mut dyn Write) -> io::Result<()> {
        self.statement = statement;
        Ok(())
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        if self.envelope {
            write!(out, r#"{{"statement":{},"result":"#, self.statement)?;
        }
        serde_json::to_writer(&mut *out, row)?;
        out.write_all(if self.envelope { b"}\n" } else { b"\n" })
    }

    fn done(&mut self, statement: usize, rows: u64, out: &mut dyn Write) -> io::Result<()> {
        if self.envelope {
            writeln!(out, r#"{{"statement":{statement},"done":{{"rows":{rows}}}}}"#)?;
        }
        Ok(())
    }
}
