//! `.schema` and `.dump`: what is defined, as statements that can be run again.
//!
//! Definitions are events of the log. What holds is the last of each name, unless that ended it; of the schemas of events all since, for a
//! later one may say how to read what the earlier ones let in.

use bygone::editor;
use bygone::share::SharedDb;
use bygone::{Event, Row};
use indexmap::IndexMap;

use super::super::failure::CommandFailure;
use super::super::render;
use super::super::session::Session;
use super::super::terminal::{count, harmless, harmless_lines};

/// The kinds, in an order in which each finds what it needs: reactions and schedules perform verbs.
const KINDS: [&str; 10] =
    ["entity", "event", "private", "verb", "index", "column", "view", "reaction", "webhook", "schedule"];

/// What is defined under a name.
struct DefinitionText {
    /// Its place among the kinds.
    rank: usize,
    name: String,
    /// The statement, or several: the versions of a schema.
    texts: Vec<String>,
}

/// `.schema`: all that is defined, or what a name has to do with.
pub fn schema(name: Option<&str>, session: &mut Session) -> Result<(), CommandFailure> {
    let mut definitions = definitions(&session.db_to_ask()?)?;
    if let Some(name) = name {
        definitions.retain(|definition| {
            definition.name == name || definition.texts.iter().any(|text| mentions(text, name))
        });
    }
    match (definitions.is_empty(), name) {
        (true, Some(name)) => Err(CommandFailure::Usage(format!(
            "nothing that is defined names {name}; DESCRIBE {name} tells of what need not be defined, too"
        ))),
        (true, None) => {
            session.speech.notice("nothing is defined; DEFINE does so, as in DEFINE ENTITY Order");
            Ok(())
        }
        _ => print(statements(&definitions), session),
    }
}

/// `.dump`: all that is defined, and how the events are moved: their ids, times and positions are not for a statement to say.
pub fn dump(session: &mut Session) -> Result<(), CommandFailure> {
    let db = session.db_to_ask()?;
    let (head, definitions) = (db.head()?, definitions(&db)?);
    let file = quoted(&session.file().display().to_string());
    let has_private = definitions.iter().any(|definition| KINDS[definition.rank] == "private");
    let with_private = if has_private { " --with-private" } else { "" };
    let mut text = format!("-- What is defined in {file}, up to {head}.\n{}", statements(&definitions));
    text.push_str(&format!(
        "-- The log has {}. Statements would give them other ids, times and positions.\n\
         -- This moves all of them, and what is defined with them, into a new file:\n\
         --   bygone export{with_private} {file} | bygone import copy.bygone - --restore\n\
         -- And this copies the file:\n\
         --   bygone backup {file} copy.bygone\n",
        count(head.0, "event")
    ));
    print(text, session)
}

/// A name, as a shell of the system reads it. It stays in its line.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    // A dash in front would make an option of it.
    match name.chars().all(plain) && !name.starts_with('-') {
        true => name.to_owned(),
        false if name.starts_with('-') => quoted(&format!("./{name}")),
        false => format!("'{}'", harmless(&name.replace('\'', "'\\''"))),
    }
}

fn print(text: String, session: &mut Session) -> Result<(), CommandFailure> {
    match session.shows() {
        true => session.print(&harmless_lines(&text)),
        false => session.print(&text),
    }
}

/// What holds, in an order in which it can be defined again.
fn definitions(db: &SharedDb) -> Result<Vec<DefinitionText>, CommandFailure> {
    let mut known: IndexMap<(usize, String), DefinitionText> = IndexMap::new();
    let types: Vec<String> = KINDS.iter().map(|kind| format!("${kind}.defined, ${kind}.dropped")).collect();
    for row in db.query(&format!("EVENTS '{}'", types.join(", ")))?.rows {
        let Row::Event { event, .. } = row? else { continue };
        let Some((rank, name)) = about(&event) else { continue };
        let key = (rank, name.to_owned());
        let Some(text) = text(&event) else {
            known.shift_remove(&key);
            continue;
        };
        // What is defined anew may need what was defined meanwhile.
        let earlier = known.shift_remove(&key).map(|definition| definition.texts);
        let mut texts = earlier.filter(|_| KINDS[rank] == "event").unwrap_or_default();
        texts.push(text);
        known.insert(key, DefinitionText { rank, name: name.to_owned(), texts });
    }
    let mut definitions: Vec<DefinitionText> = known.into_values().collect();
    definitions.sort_by_key(|definition| definition.rank);
    Ok(definitions)
}

/// What an event defines, or ends: its kind and its name.
fn about(event: &Event) -> Option<(usize, &str)> {
    let target = event.target.as_ref()?;
    let kind = target.kind().strip_prefix('$')?;
    Some((KINDS.iter().position(|known| *known == kind)?, target.id()))
}

/// The statement that an event came of; none where it ended a definition.
fn text(event: &Event) -> Option<String> {
    let said = |name: &str| event.data.get(name).and_then(|value| value.as_text().map(str::to_owned));
    if event.kind.as_str().ends_with(".dropped") {
        return None;
    }
    said("definition").or_else(|| {
        // An index is told by its parts, and one of states by the kind that it is of.
        let (name, on, expression) = (said("name")?, said("on").or_else(|| said("of"))?, said("as")?);
        Some(format!("DEFINE INDEX {} ON '{on}' AS {expression}", editor::name(&name)))
    })
}

fn statements(definitions: &[DefinitionText]) -> String {
    let mut text = String::new();
    for definition in definitions {
        for said in &definition.texts {
            text.push_str(&render::laid_out(KINDS[definition.rank], said).join("\n"));
            text.push_str(";\n");
        }
    }
    text
}

/// Whether a text has a name as a word.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !name.is_empty() && !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use bygone::Db;

    use super::*;

    const DEFINED: [&str; 13] = [
        "DEFINE VERB Store ON Item REQUIRE state.stock >= 0 AND data.amount > 0 EMIT stored",
        "DEFINE REACTION follow ON 'Order.paid' DO PERFORM Store Item 2 {amount: 1}",
        "DEFINE SCHEDULE daily EVERY 1d DO EMIT Mail.sent 1",
        "DEFINE ENTITY Item INITIAL {stock: 1} ON stored SET stock = state.stock + data.amount",
        "DEFINE ENTITY Item INITIAL {stock: 0} ON stored SET stock = state.stock + data.amount",
        "DEFINE EVENT Item.stored {number: number}",
        "DEFINE EVENT Item.stored {amount: number} UPCAST SET data.amount = data.number DELETE data.number",
        "DEFINE INDEX stock ON 'Item' AS state.stock",
        "DEFINE INDEX amount ON 'Item.*' AS data.amount",
        "DEFINE COLUMN many ON 'Item.*' AS data.amount",
        "DEFINE VIEW sums AS EVENTS 'Item.*' GROUP BY type AS kind SELECT sum(data.amount) AS total",
        "DEFINE VIEW gone AS EVENTS 'Item.*' GROUP BY type AS kind SELECT count() AS total",
        "DROP VIEW gone",
    ];

    fn told(db: &Db) -> String {
        statements(&definitions(&db.clone().into()).unwrap())
    }

    #[test]
    fn what_is_told_defines_the_same_again() {
        let (db, copy) = (Db::in_memory().unwrap(), Db::in_memory().unwrap());
        for text in DEFINED {
            db.query(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let text = told(&db);
        assert_eq!(text.matches("DEFINE ").count(), 10, "{text}");
        assert!(text.contains("{stock: 0}") && !text.contains("gone"), "{text}");
        for statement in copy.script(&text).unwrap().statements() {
            copy.run(statement).unwrap_or_else(|error| panic!("{statement:?}: {error}"));
        }
        assert_eq!(told(&copy), text);
        assert_eq!(told(&Db::in_memory().unwrap()), "");
    }

    #[test]
    fn a_name_is_a_word_of_a_definition() {
        assert!(mentions("DEFINE VERB Store ON Item REQUIRE", "Item"));
        assert!(mentions("DEFINE INDEX i ON 'Item.*' AS data.x", "Item"));
        assert!(mentions("DEFINE EVENT Item.stored {}", "Item.stored"));
        assert!(!mentions("DEFINE INDEX i ON 'Items.*' AS data.Item_x", "Item"));
        assert!(!mentions("DEFINE", ""));
    }
}
