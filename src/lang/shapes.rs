//! Shapes of input that something might take long over: for tests and for measuring. Each grows with a number.

/// A shape: its name, and the text of a size.
pub type Shape = (&'static str, fn(usize) -> String);

/// As deep as may be, again and again: a single nest has a limit.
const DEEP: usize = 90;

fn nests(size: usize, open: &str, inner: &str, close: &str) -> String {
    let nest = format!("{}{inner}{}", open.repeat(DEEP), close.repeat(DEEP));
    format!("EVENTS WHERE x IN ({})", vec![nest; size / DEEP + 1].join(", "))
}

pub(crate) const SHAPES: &[Shape] = &[
    ("nested brackets", |n| nests(n, "(", "a", ")")),
    ("nested lists", |n| nests(n, "[", "1", "]")),
    ("nested objects", |n| nests(n, "{a: ", "1", "}")),
    ("nested calls", |n| nests(n, "f(", "a", ")")),
    ("a list", |n| format!("EVENTS WHERE x IN ({})", vec!["1"; n].join(", "))),
    ("an object", |n| {
        let members: Vec<String> = (0..n).map(|i| format!("k{i}: {i}")).collect();
        format!("EMIT A.b 1 {{{}}}", members.join(", "))
    }),
    ("a long text", |n| {
        format!("EMIT A.b 1 {{x: '{}', y: \"{}\"}}", "it''s ".repeat(n), "\\n\\u00e9".repeat(n))
    }),
    ("comments", |n| format!("EVENTS {} LIMIT 1", "/* a */ -- b\n".repeat(n))),
    ("one long comment", |n| format!("EVENTS /* {} */ LIMIT 1", "* / ".repeat(n))),
    ("a sum", |n| format!("EVENTS WHERE x = {}", vec!["a"; n].join(" + "))),
    ("a product of negatives", |n| format!("EVENTS WHERE x = {}", vec!["- a"; n].join(" * "))),
    ("ANDs and ORs", |n| format!("EVENTS WHERE {}", vec!["a = 1 AND b"; n].join(" OR "))),
    ("NOTs", |n| {
        format!("EVENTS WHERE x IN ({})", vec![format!("{}a", "NOT ".repeat(DEEP)); n / DEEP + 1].join(", "))
    }),
    ("signs", |n| {
        format!("EVENTS WHERE x IN ({})", vec![format!("{}a", "- ".repeat(DEEP)); n / DEEP + 1].join(", "))
    }),
    ("keywords as names", |n| format!("EVENTS SELECT {}", vec!["select.from.where"; n].join(", "))),
    ("numbers", |n| {
        format!("EVENTS WHERE x IN ({})", vec!["1.5e-3, 18446744073709551615, -7"; n].join(", "))
    }),
    ("one long number", |n| format!("HISTORY Order {}", "1".repeat(n))),
    ("dates and durations", |n| {
        format!("EVENTS WHERE x IN ({})", vec!["2024-01-01T10:00:00.5Z, 7d"; n].join(", "))
    }),
    ("a path", |n| format!("EVENTS WHERE a{} = 1", ".b[0]['c']".repeat(n))),
    ("names in backticks", |n| format!("EVENTS SELECT {}", vec!["`a ``b`"; n].join(", "))),
    ("ids of many pieces", |n| format!("HISTORY Order {}", vec!["a-1"; n].join("-"))),
    ("signs behind an id", |n| format!("EVENTS WHERE x IN (User a{})", "-".repeat(n))),
    ("statements", |n| "SHOW HEAD; ".repeat(n)),
    ("semicolons", |n| ";".repeat(n)),
    ("emits in a group", |n| format!("ATOMIC ({})", "EMIT A.b 1; ".repeat(n))),
    ("tags", |n| format!("EVENTS BY {}", vec!["a = 1"; n].join(", "))),
    ("parameters", |n| {
        let params: Vec<String> = (0..n).map(|i| format!("$p{i}")).collect();
        format!("EVENTS WHERE x IN ({})", params.join(", "))
    }),
    ("lines", |n| format!("EVENTS WHERE x = 1\n{}", "AND x = 1\n".repeat(n))),
    ("open brackets", |n| format!("EVENTS WHERE {}", "(".repeat(n))),
    ("an open text", |n| format!("EVENTS WHERE x = '{}", "a''".repeat(n))),
    ("odd characters", |n| format!("EVENTS {}", "\u{1}€ ".repeat(n))),
    ("wrong statements", |n| "EVENTS WHERE; ".repeat(n)),
];
