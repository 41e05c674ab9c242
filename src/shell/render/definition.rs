//! A definition, written out: a line for each of its parts, and one of who said so, when and where.

use bygone::{Row, Value};

use super::grid::Cell;

/// What the parts of the definition of an entity begin with.
const PARTS: [&str; 7] =
    [" NAMESPACE ", " INITIAL ", " SNAPSHOT EVERY ", " INCLUDE ", " ON ", " ELSE ", " FORGOTTEN "];
/// And those of the definition of a verb.
const PARTS_OF_VERB: [&str; 4] = [" REQUIRE ", " WHEN ", " EMIT ", " FORGET "];

/// The lines of a row that is a definition, and the line below them; none of any other row.
pub(super) fn told(row: &Row) -> Option<(Vec<String>, String)> {
    let Row::Fields(fields) = row else { return None };
    let text = fields.get("definition")?.as_text()?;
    let kind = ["entity", "verb"].into_iter().find(|kind| fields.contains_key(kind));
    let mut lines = laid_out(kind.unwrap_or_default(), text);
    if let Some(emits) = fields.get("emits").and_then(Value::as_array) {
        let emits: Vec<&str> = emits.iter().filter_map(Value::as_text).collect();
        lines.push(format!("emits {}", emits.join(", ")));
    }
    let shown = |name: &str| {
        let value = fields.get(name).filter(|value| **value != Value::Null)?;
        Some(Cell::shown(value).text)
    };
    let before = match shown("before").as_deref() {
        None | Some("0") => None,
        Some("1") => Some("once otherwise before".to_owned()),
        Some(many) => Some(format!("{many} times otherwise before")),
    };
    let events = match shown("events").as_deref() {
        None => None,
        Some("1") => Some("1 event".to_owned()),
        Some(many) => Some(format!("{many} events")),
    };
    let facts = [
        shown("version").map(|version| format!("version {version}")),
        events,
        shown("position").map(|position| format!("defined at #{position}")),
        shown("recorded"),
        shown("by").map(|by| format!("by {by}")),
        before,
    ];
    Some((lines, facts.into_iter().flatten().collect::<Vec<_>>().join(", ")))
}

/// The lines of the definition of something of a kind. Together they are the same statement.
pub fn laid_out(kind: &str, text: &str) -> Vec<String> {
    match kind {
        "entity" => parts(text, &PARTS),
        "verb" => cases(parts(text, &PARTS_OF_VERB)),
        _ => vec![text.to_owned()],
    }
}

/// The text with its parts below each other. What is in quotes or in brackets is no part.
fn parts(text: &str, parts: &[&str]) -> Vec<String> {
    let (mut lines, mut begun) = (Vec::new(), 0);
    let (mut quote, mut escaped, mut deep) = (None, false, 0usize);
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (quote, c) {
            (Some('"'), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '{' | '[' | '(') => deep += 1,
            (None, '}' | ']' | ')') => deep = deep.saturating_sub(1),
            (None, ' ') if deep == 0 && parts.iter().any(|part| text[at..].starts_with(part)) => {
                lines.push(text[begun..at].trim().to_owned());
                begun = at;
            }
            _ => {}
        }
    }
    lines.push(text[begun..].trim().to_owned());
    lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, "  "));
    lines
}

/// What belongs to a case stands further in.
fn cases(mut lines: Vec<String>) -> Vec<String> {
    let begin = lines.iter().position(|line| line.starts_with("  WHEN ")).unwrap_or(lines.len());
    for line in lines.iter_mut().skip(begin).filter(|line| !line.starts_with("  WHEN ")) {
        line.insert_str(0, "  ");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_below_each_other() {
        let text = r#"DEFINE ENTITY A INITIAL {a: ' ON '} ON ' ON ' SET b = "\" ON x", ` ON ` = if(1, 2, 3) ELSE MERGE"#;
        let lines = [
            "DEFINE ENTITY A",
            "  INITIAL {a: ' ON '}",
            r#"  ON ' ON ' SET b = "\" ON x", ` ON ` = if(1, 2, 3)"#,
            "  ELSE MERGE",
        ];
        assert_eq!(parts(text, &PARTS), lines);
    }

    #[test]
    fn what_belongs_to_a_case_stands_further_in() {
        let text =
            "DEFINE VERB V ON A BY B REQUIRE a = ' WHEN ' WHEN x REQUIRE y EMIT z {a: 1} WHEN TRUE EMIT b";
        let lines = [
            "DEFINE VERB V ON A BY B",
            "  REQUIRE a = ' WHEN '",
            "  WHEN x",
            "    REQUIRE y",
            "    EMIT z {a: 1}",
            "  WHEN TRUE",
            "    EMIT b",
        ];
        assert_eq!(cases(parts(text, &PARTS_OF_VERB)), lines);
    }
}
