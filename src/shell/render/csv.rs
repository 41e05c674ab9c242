//! Comma-separated values as RFC 4180 has them: lines end with CRLF, what needs quotes has them. Values may also be separated by tabs: lines
//! end with LF then, and tabs, ends of lines and backslashes in values are `\t`, `\n`, `\r` and `\\`.
//!
//! A header comes first, and again after an empty line where the columns change. An entity takes two columns, its type
//! and its id, and an event all that events have; other objects are JSON. Null is an empty field, an empty text is `""`.

use std::borrow::Cow;
use std::io::{self, Write};

use bygone::{Entity, Event, Object, Row, Value};

use super::Renderer;
use super::grid::{self, Cell, CellKind, GridBlock, GridRecord, SAMPLE};

/// The columns of events: always all of them, so that every file of events has the same.
const EVENT: [&str; 18] = [
    "position",
    "version",
    "id",
    "type",
    "timestamp",
    "recorded",
    "target.type",
    "target.id",
    "actor.type",
    "actor.id",
    "producer",
    "cause",
    "correlation",
    "namespace",
    "tags",
    "key",
    "data",
    "metadata",
];

/// What separates the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    #[default]
    Comma,
    Tab,
}

#[derive(Default)]
pub struct Csv {
    dialect: Dialect,
    /// The header that stands above what comes next.
    header: Vec<String>,
    block: GridBlock,
    /// Rows that are still learnt from.
    sample: Vec<GridRecord<'static>>,
    sampled: bool,
    safe: bool,
}

impl Renderer for Csv {
    fn begin(&mut self, _statement: usize, _out: &mut dyn Write) -> io::Result<()> {
        self.block = GridBlock::default();
        self.sampled = false;
        Ok(())
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        if let Row::Event { event, .. } = row {
            self.settle(out)?;
            self.head(EVENT.map(str::to_owned).to_vec(), out)?;
            return self.write_row(event_cells(event), out);
        }
        if let Row::Traced(traced) = row {
            self.settle(out)?;
            self.head(["depth"].into_iter().chain(EVENT).map(str::to_owned).collect(), out)?;
            let mut cells = vec![Some(Cell::number(traced.depth))];
            cells.extend(event_cells(&traced.event));
            return self.write_row(cells, out);
        }
        if let Row::Blame(leaf) = row {
            self.settle(out)?;
            self.head(["path", "value"].into_iter().chain(EVENT).map(str::to_owned).collect(), out)?;
            let mut cells = vec![Some(Cell::text(leaf.path.to_string())), Some(Cell::plain(&leaf.value))];
            cells.extend(event_cells(&leaf.event));
            return self.write_row(cells, out);
        }
        if let Row::FieldChange(change) = row {
            self.settle(out)?;
            self.head(
                ["path", "before", "after"].into_iter().chain(EVENT).map(str::to_owned).collect(),
                out,
            )?;
            let values = [&change.before, &change.after].map(|value| value.as_ref().map(Cell::plain));
            let mut cells = vec![Some(Cell::text(change.path.to_string()))];
            cells.extend(values);
            cells.extend(event_cells(&change.event));
            return self.write_row(cells, out);
        }
        let record = flat(grid::members(row));
        if !self.sampled {
            self.block.adopt(&record);
            self.sample.push(record);
            return if self.sample.len() < SAMPLE { Ok(()) } else { self.settle(out) };
        }
        if !self.block.fits(&record) {
            self.block = GridBlock::default();
            self.block.adopt(&record);
        }
        self.write(record, out)
    }

    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.sampled |= !self.sample.is_empty();
        for record in std::mem::take(&mut self.sample) {
            self.write(record, out)?;
        }
        Ok(())
    }
}

impl Csv {
    /// With no texts, if it is to be safe, that a spreadsheet would take for a formula.
    pub fn new(dialect: Dialect, safe: bool) -> Csv {
        Csv { dialect, safe, ..Csv::default() }
    }

    fn write(&mut self, record: GridRecord<'_>, out: &mut dyn Write) -> io::Result<()> {
        self.head(self.block.columns.clone(), out)?;
        let cells = self.block.arrange(record);
        self.write_row(cells, out)
    }

    fn head(&mut self, columns: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
        if self.header == columns {
            return Ok(());
        }
        if !self.header.is_empty() {
            out.write_all(self.dialect.end_of_line())?;
        }
        self.write_row(columns.iter().map(|name| Some(Cell::text(name.as_str()))).collect(), out)?;
        self.header = columns;
        Ok(())
    }

    fn write_row(&self, mut cells: Vec<Option<Cell>>, out: &mut dyn Write) -> io::Result<()> {
        if self.safe {
            cells
                .iter_mut()
                .flatten()
                .filter(|cell| is_formula(cell))
                .for_each(|cell| cell.text.insert(0, '\''));
        }
        self.dialect.write_row(&cells, out)
    }
}

/// Whether a spreadsheet may take a text for a formula: OWASP, "CSV Injection".
fn is_formula(cell: &Cell) -> bool {
    cell.kind == CellKind::Text
        && cell.text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

fn flat(members: Object) -> GridRecord<'static> {
    let mut record = GridRecord::new();
    for (name, value) in members {
        match &value {
            Value::Object(object) if grid::entity(object).is_some() => {
                for (part, value) in object {
                    record.push((format!("{name}.{part}").into(), Cell::plain(value)));
                }
            }
            value => record.push((name.into(), Cell::plain(value))),
        }
    }
    record
}

fn event_cells(event: &Event) -> Vec<Option<Cell>> {
    let json =
        |value: &dyn Fn() -> bygone::Result<Value>| value().ok().map(|value| Cell::text(value.to_string()));
    let entity = |entity: &Option<Entity>| {
        let kind = entity.as_ref().map(|e| Cell::text(e.kind()));
        (kind, entity.as_ref().map(|e| Cell::text(e.id())))
    };
    let (target_type, target_id) = entity(&event.target);
    let (actor_type, actor_id) = entity(&event.actor);
    let tags = event.tag_members();
    vec![
        Some(Cell::number(event.position.0)),
        event.version.map(|version| Cell::number(version.0)),
        Some(Cell::text(event.id.to_string())),
        Some(Cell::text(event.kind.as_str())),
        Some(Cell::text(event.timestamp.to_string())),
        Some(Cell::text(event.recorded.to_string())),
        target_type,
        target_id,
        actor_type,
        actor_id,
        event.producer.as_ref().and_then(|producer| json(&|| Value::of(producer))),
        event.cause.as_ref().and_then(|cause| json(&|| Value::of(cause))),
        event.correlation.as_deref().map(Cell::text),
        event.namespace.as_deref().map(Cell::text),
        (!tags.is_empty()).then(|| Cell::text(Value::from(tags).to_string())),
        event.key.as_deref().map(Cell::text),
        Some(Cell::text(event.data.to_string())),
        (!event.metadata.is_empty()).then(|| Cell::text(event.metadata.to_string())),
    ]
}

impl Dialect {
    fn end_of_line(self) -> &'static [u8] {
        match self {
            Dialect::Comma => b"\r\n",
            Dialect::Tab => b"\n",
        }
    }

    fn write_row(self, cells: &[Option<Cell>], out: &mut dyn Write) -> io::Result<()> {
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                out.write_all(if self == Dialect::Tab { b"\t" } else { b"," })?;
            }
            match (cell, self) {
                (Some(cell), Dialect::Comma) => write_field(cell, out)?,
                (Some(cell), Dialect::Tab) => out.write_all(without_tabs(&cell.text).as_bytes())?,
                (None, _) => {}
            }
        }
        out.write_all(self.end_of_line())
    }
}

/// A value that has neither tabs nor ends of lines.
fn without_tabs(text: &str) -> Cow<'_, str> {
    if !text.contains(['\t', '\n', '\r', '\\']) {
        return text.into();
    }
    let escaped = text.replace('\\', "\\\\").replace('\t', "\\t");
    escaped.replace('\n', "\\n").replace('\r', "\\r").into()
}

fn write_field(cell: &Cell, out: &mut dyn Write) -> io::Result<()> {
    let text = &cell.text;
    let empty = text.is_empty() && cell.kind == CellKind::Text;
    let space = text.starts_with(' ') || text.ends_with(' ');
    if empty || space || text.contains(['"', ',', '\r', '\n']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(rows: &[&str]) -> String {
        let mut out = Vec::new();
        let mut csv = Csv::default();
        csv.begin(1, &mut out).unwrap();
        for row in rows {
            let Value::Object(fields) = row.parse().unwrap() else { panic!("{row}") };
            csv.row(&Row::from(fields), &mut out).unwrap();
        }
        csv.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_have_quotes_where_they_need_them() {
        assert_eq!(
            csv(&[r#"{"a":"x,y","b":"say \"no\"","c":"two\nlines","d":"","e":null,"f":1.5}"#]),
            "a,b,c,d,e,f\r\n\"x,y\",\"say \"\"no\"\"\",\"two\nlines\",\"\",,1.5\r\n"
        );
    }

    #[test]
    fn a_safe_one_has_no_formulas() {
        let fields = r#"{"a":"=1+1","b":"@x","c":"-x, y","d":-1,"e":"\tx","f":"1-1","-g":""}"#;
        let Value::Object(fields) = fields.parse().unwrap() else { panic!() };
        let written = |safe| {
            let (mut out, mut csv) = (Vec::new(), Csv::new(Dialect::Comma, safe));
            csv.row(&Row::from(fields.clone()), &mut out).and_then(|()| csv.end(&mut out)).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(false), "a,b,c,d,e,f,-g\r\n=1+1,@x,\"-x, y\",-1,\tx,1-1,\"\"\r\n");
        assert_eq!(written(true), "a,b,c,d,e,f,'-g\r\n'=1+1,'@x,\"'-x, y\",-1,'\tx,1-1,\"\"\r\n");
    }

    #[test]
    fn tabs_separate_values_that_have_none() {
        let fields = r#"{"a":"x\ty","b":"two\r\nlines","c":"\\n","d":"","e":null,"f":"say \"no\", please"}"#;
        let Value::Object(fields) = fields.parse().unwrap() else { panic!() };
        let (mut out, mut tsv) = (Vec::new(), Csv::new(Dialect::Tab, false));
        tsv.row(&Row::from(fields), &mut out).and_then(|()| tsv.end(&mut out)).unwrap();
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written, "a\tb\tc\td\te\tf\nx\\ty\ttwo\\r\\nlines\t\\\\n\t\t\tsay \"no\", please\n");
    }

    #[test]
    fn rows_with_fewer_members_have_empty_fields() {
        assert_eq!(
            csv(&[r#"{"op":"remove","path":"/a"}"#, r#"{"op":"add","path":"/b","value":{"x":1}}"#]),
            "op,path,value\r\nremove,/a,\r\nadd,/b,\"{\"\"x\"\":1}\"\r\n"
        );
    }

    #[test]
    fn an_entity_takes_two_columns() {
        assert_eq!(csv(&[r#"{"target":{"type":"Order","id":"7"}}"#]), "target.type,target.id\r\nOrder,7\r\n");
    }
}
