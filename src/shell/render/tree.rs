//! Chains of causes, for reading: a tree, its lines drawn.
//!
//! A row is drawn as it comes. What is kept is of each level on the way down whether more follows there.

use std::fmt::Write as _;
use std::io::{self, Write};

use bygone::Entity;
use bygone::append::Cause;
use bygone::read::TraceEntry;
use unicode_width::UnicodeWidthStr;

use super::layout::shortened;
use crate::shell::terminal::{Style, Terminal, harmless};

/// How many levels stand further in than the one before: what lies deeper says how deep it is.
const LEVELS: usize = 20;

/// Writes events as a tree of causes and effects.
pub struct TreeRenderer {
    colors: bool,
    width: Option<usize>,
    /// The depth of the first row.
    top: Option<i64>,
    /// Of each level but the topmost, down to the newest row's, whether another row of it follows.
    follows: Vec<bool>,
}

impl TreeRenderer {
    pub fn new(terminal: &Terminal) -> TreeRenderer {
        TreeRenderer {
            colors: terminal.output_colors,
            width: terminal.width(),
            top: None,
            follows: Vec::new(),
        }
    }

    /// One event.
    pub fn row(&mut self, traced: &TraceEntry, out: &mut dyn Write) -> io::Result<()> {
        let first = self.top.is_none();
        let level = usize::try_from(traced.depth - *self.top.get_or_insert(traced.depth)).unwrap_or(0);
        let lines = self.lines(level, traced);
        let event = &traced.event;
        let head = format!("{} {}", event.position, harmless(event.kind.as_str()));
        let mut facts: Vec<String> = event.target.iter().map(ToString::to_string).collect();
        facts.push(event.timestamp.to_string());
        facts.extend(event.actor.as_ref().map(|actor| format!("by {actor}")));
        // Of the others it can be seen.
        if let Some(cause) = event.cause.as_ref().filter(|_| first) {
            facts.push(match cause {
                Cause::Event(position) => format!("caused by {position}"),
                Cause::Named { kind, id } => format!("caused by {}, elsewhere", Entity::from((kind, id))),
            });
        }
        let facts = facts.join(", ");
        let facts = harmless(&facts);
        let before = lines.width() + head.width() + 2;
        let facts =
            self.width.map_or((&*facts).into(), |width| shortened(&facts, width.saturating_sub(before)));
        let style = if traced.depth == 0 { Style::Bold } else { Style::Cyan };
        let (head, facts) = (style.paint(&head, self.colors), Style::Dim.paint(&facts, self.colors));
        writeln!(out, "{}{head}  {facts}", Style::Dim.paint(&lines, self.colors))
    }

    /// What leads to a row from those above.
    fn lines(&mut self, level: usize, traced: &TraceEntry) -> String {
        let mut lines = String::new();
        if level > LEVELS {
            // Nothing is drawn of these levels, and so nothing is kept of them.
            self.follows.truncate(LEVELS);
            self.follows.iter().for_each(|follows| lines.push_str(passing(*follows)));
            // Writing into a text does not fail.
            let _ = write!(lines, "… depth {}: ", traced.depth);
            return lines;
        }
        self.follows.truncate(level.saturating_sub(1));
        self.follows.iter().for_each(|follows| lines.push_str(passing(*follows)));
        if level > 0 {
            lines.push_str(if traced.last { "└─ " } else { "├─ " });
            self.follows.push(!traced.last);
        }
        lines
    }
}

fn passing(follows: bool) -> &'static str {
    if follows { "│  " } else { "   " }
}

#[cfg(test)]
mod tests {
    use bygone::{Db, NewEvent, Position, Row};

    use super::*;

    fn drawn(db: &Db, statement: &str, width: Option<usize>) -> String {
        let mut tree = TreeRenderer { colors: false, width, top: None, follows: Vec::new() };
        let mut out = Vec::new();
        for row in db.query(statement).unwrap().rows {
            let Row::Traced(mut traced) = row.unwrap() else { panic!("a trace") };
            traced.event.timestamp = "2024-01-01".parse().unwrap();
            tree.row(&traced, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_lead_from_a_cause_to_its_effects() {
        let db = Db::in_memory().unwrap();
        for cause in [0, 1, 2, 2, 1, 5] {
            let event = NewEvent::new("Order.paid").on(("Order", cause)).by(("User", "a\u{1b}"));
            let event = if cause == 0 {
                event.caused_by_named("Pay", "cmd-1")
            } else {
                event.caused_by(Position(cause))
            };
            db.append(event).unwrap();
        }
        let facts = "2024-01-01T00:00:00Z, by User \"a\\u001b\"";
        let expected = format!(
            "#1 Order.paid  Order 0, {facts}, caused by Pay 'cmd-1', elsewhere\n\
             ├─ #2 Order.paid  Order 1, {facts}\n\
             │  ├─ #3 Order.paid  Order 2, {facts}\n\
             │  └─ #4 Order.paid  Order 2, {facts}\n\
             └─ #5 Order.paid  Order 1, {facts}\n\
             \u{20}  └─ #6 Order.paid  Order 5, {facts}\n"
        );
        assert_eq!(drawn(&db, "TRACE #1", None), expected);
        let short = drawn(&db, "TRACE #3", Some(30));
        assert_eq!(
            short,
            "#1 Order.paid  Order 0, 2024-…\n└─ #2 Order.paid  Order 1, 20…\n   └─ #3 Order.paid  Order 2,…\n"
        );
        assert!(drawn(&db, "TRACE EFFECTS #5", None).lines().next().unwrap().ends_with("caused by #1"));
    }

    #[test]
    fn what_lies_deep_says_how_deep() {
        let db = Db::in_memory().unwrap();
        db.append(NewEvent::new("A.b")).unwrap();
        for cause in 1..30 {
            db.append(NewEvent::new("A.b").caused_by(Position(cause))).unwrap();
        }
        db.append(NewEvent::new("A.b").caused_by(Position(1))).unwrap();
        let drawn = drawn(&db, "TRACE #1", None);
        assert_eq!(drawn.lines().count(), 31);
        assert!(drawn.lines().all(|line| line.width() < 110), "{drawn}");
        assert!(drawn.lines().nth(29).unwrap().contains("… depth 29: #30 A.b"));
        assert!(drawn.lines().nth(30).unwrap().starts_with("└─ #31 A.b"));
    }
}
