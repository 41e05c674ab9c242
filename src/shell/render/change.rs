//! Changes, for reading: a line for what was there and one for what is, as patches have them.

use std::borrow::Cow;
use std::io::{self, Write};

use bygone::{Change, Step, Value};

use super::table::shortened;
use crate::shell::terminal::{Style, Terminal, harmless};

/// How far the changes of a step stand in.
const INDENT: &str = "  ";

/// Writes changes as lines.
pub struct Changes {
    colors: bool,
    width: Option<usize>,
}

impl Changes {
    pub fn new(terminal: &Terminal) -> Changes {
        Changes { colors: terminal.output_colors, width: terminal.width() }
    }

    /// One difference.
    pub fn change(&self, change: &Change, out: &mut dyn Write) -> io::Result<()> {
        self.lines("", change, out)
    }

    /// An event, and below it what it changed.
    pub fn step(&self, step: &Step, out: &mut dyn Write) -> io::Result<()> {
        let event = &step.event;
        let head = format!("{} {}", event.position, harmless(event.kind.as_str()));
        let mut facts = vec![event.timestamp.to_string()];
        facts.extend(event.version.filter(|_| !step.included).map(|version| version.to_string()));
        facts.extend(event.actor.as_ref().map(|actor| format!("by {}", harmless(&actor.to_string()))));
        let mut marks = Vec::new();
        if step.included {
            let from = event.target.as_ref().map(|target| format!(" from {}", harmless(&target.to_string())));
            marks.push((Style::Cyan, format!("included{}", from.unwrap_or_default())));
        }
        if step.late {
            marks.push((Style::Magenta, "late".to_owned()));
        }
        let facts = facts.join(", ");
        write!(out, "{}  {}", self.paint(Style::Bold, &head), self.paint(Style::Dim, &facts))?;
        for (style, mark) in marks {
            write!(out, "  {}", self.paint(style, &mark))?;
        }
        writeln!(out)?;
        if step.changes.is_empty() {
            writeln!(out, "{INDENT}{}", self.paint(Style::Dim, "no change"))?;
        }
        step.changes.iter().try_for_each(|change| self.lines(INDENT, change, out))
    }

    fn lines(&self, indent: &str, change: &Change, out: &mut dyn Write) -> io::Result<()> {
        let path = change.path.to_string();
        let sides = [(Style::Red, '-', &change.before), (Style::Green, '+', &change.value)];
        for (style, sign, value) in sides {
            let Some(value) = value else { continue };
            for (path, value) in parts(&path, value) {
                let text = format!("{indent}{sign} {path}{value}");
                let text = harmless(&text);
                let text = self.width.map_or(Cow::Borrowed(&*text), |width| shortened(&text, width));
                writeln!(out, "{}", self.paint(style, &text))?;
            }
        }
        Ok(())
    }

    fn paint<'t>(&self, style: Style, text: &'t str) -> Cow<'t, str> {
        style.paint(text, self.colors)
    }
}

/// A whole state that comes or goes is told member by member, and no state not at all; anything else is one line.
fn parts<'v>(path: &str, value: &'v Value) -> Vec<(String, &'v Value)> {
    match value {
        Value::Null if path.is_empty() => Vec::new(),
        Value::Object(members) if path.is_empty() && !members.is_empty() => {
            members.iter().map(|(name, value)| (format!("{}: ", bygone::text::name(name)), value)).collect()
        }
        value if path.is_empty() => vec![(String::new(), value)],
        value => vec![(format!("{path}: "), value)],
    }
}
