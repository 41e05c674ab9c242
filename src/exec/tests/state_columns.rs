//! FIND by columns of states, held against a fold of each.

use super::*;

/// What states have in `v`: what a column holds, and what it does not.
const VALUES: [&str; 12] = [
    "1",
    "1.0",
    "7",
    "-2.5",
    "'a'",
    "'a text that is longer than columns hold'",
    "true",
    "null",
    "[3, 9]",
    "{x: 1}",
    "18446744073709551615",
    "'2024-01-01'",
];

/// Conditions, and what is made of what passes.
const ASKED: [(&str, &str); 13] = [
    ("", "SELECT count()"),
    ("", "SELECT count(state.w)"),
    ("", "SELECT sum(state.w), min(state.v), max(state.v), count(state.v)"),
    ("state.w > 0", "SELECT sum(state.w), avg(state.w)"),
    ("", "GROUP BY state.v SELECT count(), sum(state.w)"),
    ("state.w IN (1, 2)", "GROUP BY state.w SELECT max(state.v), max(version)"),
    ("state.v = 1", ""),
    ("state.v BETWEEN -3 AND 1 AND state.w < 2", ""),
    ("state.v IS NULL OR state.w = 2", ""),
    ("state.v[0] = 3", ""),
    ("NOT state.v = 'a' AND events > 1", "LIMIT 3"),
    ("state.v MATCHES 'a*'", "SELECT target, state.v"),
    ("state.w > 0", "ORDER BY state.v DESC, target LIMIT 5"),
];

fn held(session: &Session) {
    for (condition, made) in ASKED {
        let asked = |condition: &str| session.lines(&format!("FIND Bill {condition} {made}"));
        // Columns say nothing of what an entity is called.
        let (columns, each) = match condition {
            "" => (String::new(), "WHERE target.id != ''".to_owned()),
            condition => (format!("WHERE {condition}"), format!("WHERE ({condition}) AND target.id != ''")),
        };
        assert_eq!(asked(&columns), asked(&each), "{condition} {made}");
    }
}

#[test]
fn what_columns_answer_is_what_the_states_are_whatever_came_since() {
    for memtable in [4, 1000] {
        let store = store(memtable);
        let session = Session::new(&store);
        session
            .rows("DEFINE ENTITY Bill ON paid SET v = coalesce(data.v, NULL), w = data.w ON closed DELETE");
        let pay = |id: usize, at: usize| {
            session.rows(&format!(
                "EMIT Bill.paid 'b{id:03}' {{v: {}, w: {}}}",
                VALUES[at % VALUES.len()],
                at % 4
            ));
        };
        // In every second place, and behind.
        (0..40).for_each(|id| pay(2 * id, id));
        store.checkpoint().unwrap();
        held(&session);
        for id in (0..100).step_by(7) {
            pay(id, id + 1);
            if id % 3 == 0 {
                session.rows(&format!("EMIT Bill.closed 'b{:03}'", (id + 4) % 80));
            }
            if id % 5 == 0 {
                held(&session);
            }
        }
        store.checkpoint().unwrap();
        held(&session);
    }
}
