//! Changes, for reading: a line for what was there and one for what is, as patches have them.

use std::borrow::Cow;
use std::io::{self, Write};

use bygone::Value;
use bygone::read::{ReplayStep, StateChange};

use super::layout::shortened;
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
    pub fn change(&self, change: &StateChange, out: &mut dyn Write) -> io::Result<()> {
        self.lines("", change, out)
    }

    /// An event, and below it what it changed.
    pub fn step(&self, step: &ReplayStep, out: &mut dyn Write) -> io::Result<()> {
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

    fn lines(&self, indent: &str, change: &StateChange, out: &mut dyn Write) -> io::Result<()> {
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
            members.iter().map(|(name, value)| (format!("{}: ", bygone::editor::name(name)), value)).collect()
        }
        value if path.is_empty() => vec![(String::new(), value)],
        value => vec![(format!("{path}: "), value)],
    }
}

#[cfg(test)]
mod tests {
    use bygone::{Db, Row};

    use super::*;

    /// What a statement is shown as, in so many columns, with colours.
    fn shown(db: &Db, text: &str, width: Option<usize>) -> String {
        let changes = Changes { colors: true, width };
        let mut out = Vec::new();
        for row in db.query(text).unwrap().rows {
            match row.unwrap() {
                Row::Change(change) => changes.change(&change, &mut out).unwrap(),
                Row::Step(step) => changes.step(&step, &mut out).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_was_is_red_and_what_is_green() {
        let db = Db::in_memory().unwrap();
        for text in [
            "EMIT Order.created 42 {total: 10, note: \"a\\u001b[2J\"} AT '2024-02-01'",
            "EMIT Order.noted 42 {total: 20, 'post code': null, text: 'a long one'} AT '2024-01-01' BY User ann",
        ] {
            db.query(text).unwrap();
        }
        assert_eq!(
            shown(&db, "DIFF Order 42 FROM VERSION 1", Some(16)),
            "\x1b[31m- total: 10\x1b[0m\n\x1b[32m+ total: 20\x1b[0m\n\x1b[32m+ text: \"a long…\x1b[0m\n"
        );
        assert_eq!(
            shown(&db, "REPLAY Order 42 STEPS", None),
            "\x1b[1m#1 Order.created\x1b[0m  \x1b[2m2024-02-01T00:00:00Z, version 1\x1b[0m\n\
             \x1b[32m  + total: 10\x1b[0m\n\
             \x1b[32m  + note: \"a\\u001b[2J\"\x1b[0m\n\
             \x1b[1m#2 Order.noted\x1b[0m  \x1b[2m2024-01-01T00:00:00Z, version 2, by User ann\x1b[0m  \x1b[35mlate\x1b[0m\n\
             \x1b[31m  - total: 10\x1b[0m\n\
             \x1b[32m  + total: 20\x1b[0m\n\
             \x1b[32m  + text: \"a long one\"\x1b[0m\n"
        );
    }
}
