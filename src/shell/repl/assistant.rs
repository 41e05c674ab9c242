//! What helps while one types: colours, the next line where a statement goes on, and what could come next.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use bygone::editor::{self, CompletionKind, HighlightClass};
use bygone::share::SharedDb;
use bygone::{Position, Row};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use crate::shell::commands::{self, Argument};
use crate::shell::terminal::Style;

/// Beyond this a text is not coloured or completed: it was pasted, and every key would cost what it is long.
const LONGEST: usize = 32 << 10;

/// No hint is longer than a line or two, nor given of more.
const LONGEST_HINTED: usize = 200;

/// So many ids are offered at most.
const IDS: usize = 30;

/// The fields that every event may have, for completion.
const FIELDS: [&str; 13] = [
    "type",
    "timestamp",
    "recorded",
    "position",
    "version",
    "id",
    "key",
    "target.type",
    "target.id",
    "actor",
    "cause",
    "correlation",
    "metadata.",
];

/// What an entity that is found has beside its state.
const FOUND: [&str; 4] = ["target", "target.id", "version", "events"];

/// What a verb sees beside the state.
const SEEN: [&str; 7] = ["data.", "actor", "actor.id", "actor.state.", "target.id", "version", "metadata."];

/// What `BY` finds without an index.
const OWN: [&str; 7] = ["actor", "target", "type", "id", "key", "cause", "correlation"];

pub struct Assistant {
    db: SharedDb,
    colors: bool,
    types: RefCell<Types>,
    files: FilenameCompleter,
}

/// The types of events that were seen, as of a place in the log.
#[derive(Default)]
struct Types {
    head: Option<Position>,
    names: BTreeSet<String>,
}

impl Assistant {
    /// From now on this is asked.
    pub fn ask_of(&mut self, db: SharedDb) {
        self.db = db;
    }

    pub fn new(db: SharedDb, colors: bool) -> Assistant {
        Assistant { db, colors, types: RefCell::default(), files: FilenameCompleter::new() }
    }

    fn types(&self) -> Vec<String> {
        let mut types = self.types.borrow_mut();
        let head = self.db.head().ok();
        if types.head != head {
            types.head = head;
            types.names.extend(self.ask_types());
        }
        types.names.iter().cloned().collect()
    }

    fn ask_types(&self) -> Vec<String> {
        self.ask("SHOW TYPES").into_iter().filter_map(|row| row.get("type").ok()).collect()
    }

    /// The names in the rows of a `SHOW`.
    fn names(&self, shown: &str) -> BTreeSet<String> {
        self.ask(&format!("SHOW {shown}")).into_iter().filter_map(|row| row.get("name").ok()).collect()
    }

    /// The indexes of events. Those of states are on a kind, and no `BY` takes them.
    fn indexes_of_events(&self) -> BTreeSet<String> {
        let rows = self.ask("SHOW INDEXES").into_iter();
        let of_events =
            rows.filter(|row| row.get::<String>("on").is_ok_and(|on| on.contains(['.', '*', ','])));
        of_events.filter_map(|row| row.get("name").ok()).collect()
    }

    /// The names that some of the newest events carry by `INDEX BY`.
    fn tags(&self) -> BTreeSet<String> {
        let events = self.ask("EVENTS LAST 100").into_iter();
        let tags = events.filter_map(|row| row.get::<bygone::Object>("tags").ok());
        tags.flat_map(|tags| tags.into_iter().map(|(name, _)| name)).collect()
    }

    /// The members that some of the states of a kind have.
    fn parts(&self, kind: &str) -> BTreeSet<String> {
        if kind.is_empty() {
            return BTreeSet::new();
        }
        let found = self.ask(&format!("FIND {} LIMIT 100", editor::name(kind))).into_iter();
        let states = found.filter_map(|row| row.get::<bygone::Object>("state").ok());
        states.flat_map(|members| members.into_iter().map(|(name, _)| name)).collect()
    }

    /// The columns of a view, as its rows have them.
    fn columns(&self, view: &str) -> BTreeSet<String> {
        let rows = self.ask(&format!("READ {} LIMIT 1", editor::name(view))).into_iter();
        rows.filter_map(|row| bygone::Value::of(&row).ok())
            .flat_map(|row| {
                row.as_object().map(|row| row.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
            })
            .collect()
    }

    /// The members that the data of some of the newest events has.
    fn members(&self) -> BTreeSet<String> {
        let events = self.ask("EVENTS LAST 100").into_iter();
        let data = events.filter_map(|row| row.get::<bygone::Object>("data").ok());
        data.flat_map(|members| members.into_iter().map(|(name, _)| name)).collect()
    }

    fn ask(&self, statement: &str) -> Vec<Row> {
        // Completion that fails is no completion; the statement itself will say why.
        let Ok(answer) = self.db.query(statement) else { return Vec::new() };
        answer.rows.map_while(Result::ok).collect()
    }

    /// The first ids of a kind that begin so. What is typed may have a quote before it.
    fn ids(&self, kind: &str, typed: &str) -> Vec<String> {
        let prefix = bygone::Value::from(typed.trim_start_matches(['\'', '"']));
        let found = self.ask(&format!(
            "FIND {} WHERE starts_with(target.id, {prefix}) SELECT target.id AS id LIMIT {IDS}",
            editor::name(kind)
        ));
        found
            .into_iter()
            .filter_map(|row| row.get::<String>("id").ok())
            .map(|id| editor::id(&id) + " ")
            .collect()
    }

    /// What a class of words means in this database.
    fn words(&self, wanted: &CompletionKind) -> Vec<String> {
        let kinds = || -> BTreeSet<String> {
            let seen = self.types().into_iter().filter_map(|name| Some(name.split_once('.')?.0.to_owned()));
            let there = self.ask("SHOW KINDS").into_iter().filter_map(|row| row.get("kind").ok());
            seen.chain(there).collect()
        };
        let named = |shown: &str| self.names(shown).iter().map(|name| editor::name(name) + " ").collect();
        let functions = || editor::functions().map(|function| format!("{}(", function.name));
        match wanted {
            CompletionKind::Word(word) if word.starts_with(char::is_alphabetic) => vec![format!("{word} ")],
            CompletionKind::Kind => kinds().into_iter().map(|kind| kind + " ").collect(),
            CompletionKind::Described => {
                let shown = ["VERBS", "INDEXES", "COLUMNS", "VIEWS", "REACTIONS", "WEBHOOKS", "SCHEDULES"];
                let defined = shown.iter().flat_map(|shown| self.names(shown));
                kinds().into_iter().chain(defined).map(|name| editor::name(&name)).collect()
            }
            CompletionKind::Verb => named("VERBS"),
            CompletionKind::View => named("VIEWS"),
            CompletionKind::Reaction => named("REACTIONS"),
            CompletionKind::Webhook => named("WEBHOOKS"),
            CompletionKind::Schedule => named("SCHEDULES"),
            CompletionKind::Subscription => named("SUBSCRIPTIONS"),
            CompletionKind::Type => self.types().into_iter().map(|name| name + " ").collect(),
            CompletionKind::Pattern => {
                let all = kinds().into_iter().map(|kind| format!("'{kind}.*'"));
                all.chain(self.types().iter().map(|name| format!("'{name}'"))).collect()
            }
            CompletionKind::Member => self.members().into_iter().map(|name| editor::name(&name)).collect(),
            CompletionKind::Index => named("INDEXES"),
            CompletionKind::StoredColumn => named("COLUMNS"),
            CompletionKind::Tag => {
                let names: BTreeSet<String> =
                    self.indexes_of_events().into_iter().chain(self.tags()).collect();
                let names = names.into_iter().map(|name| editor::name(&name) + " ");
                let own = OWN.map(|name| format!("{name} = "));
                names.chain(own).chain(kinds().into_iter().map(|kind| kind + " ")).collect()
            }
            CompletionKind::StateField(kind) => {
                let parts = self.parts(kind).into_iter().map(|name| format!("state.{}", editor::name(&name)));
                let parts: Vec<String> = parts.collect();
                let all = if parts.is_empty() { vec!["state.".to_owned()] } else { parts };
                all.into_iter().chain(FOUND.map(str::to_owned)).chain(functions()).collect()
            }
            CompletionKind::Alias(name) => vec![editor::name(name)],
            CompletionKind::Argument => SEEN.map(str::to_owned).into(),
            CompletionKind::Column(view) => {
                self.columns(view).into_iter().map(|name| editor::name(&name)).chain(functions()).collect()
            }
            CompletionKind::Function => functions().collect(),
            CompletionKind::Field => {
                let functions = functions();
                let members = self.members().into_iter().map(|name| format!("data.{}", editor::name(&name)));
                FIELDS.map(str::to_owned).into_iter().chain(members).chain(functions).collect()
            }
            _ => Vec::new(),
        }
    }

    fn statement(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let wanted = editor::complete(line, at);
        let Some(start) = wanted.first().map(|completion| completion.typed.start) else {
            return (at, Vec::new());
        };
        let said = line.get(start..at).unwrap_or_default();
        let typed = said.to_lowercase();
        let mut words: Vec<String> = Vec::new();
        for completion in wanted.iter().filter(|completion| completion.typed.start == start) {
            if let CompletionKind::Id(kind) = &completion.wanted {
                words.extend(self.ids(kind, said));
            }
            for word in self.words(&completion.wanted) {
                if word.to_lowercase().starts_with(&typed) && !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        (start, words)
    }

    fn command(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let typed = line.get(..at).unwrap_or_default();
        let Some(space) = typed.find(' ') else {
            let names = commands::COMMANDS.iter().map(|command| format!(".{} ", command.name));
            return (0, names.filter(|name| name.starts_with(typed)).collect());
        };
        let word = typed.rfind(' ').map_or(0, |space| space + 1);
        let choices: Vec<String> = match commands::argument(&typed[1..space]) {
            Argument::Choice(choices) => choices.iter().map(|choice| (*choice).to_owned()).collect(),
            Argument::Command => commands::COMMANDS.iter().map(|command| command.name.to_owned()).collect(),
            Argument::Pattern => self.words(&CompletionKind::Pattern),
            Argument::Defined => self.words(&CompletionKind::Described),
            Argument::File | Argument::Other => Vec::new(),
        };
        (word, choices.into_iter().filter(|choice| choice.starts_with(&typed[word..])).collect())
    }
}

impl Helper for Assistant {}

impl Hinter for Assistant {
    type Hint = String;

    /// The rest of what was entered before and began so: the right arrow takes it. Without colours nobody could tell it from what is typed.
    fn hint(&self, line: &str, at: usize, context: &Context<'_>) -> Option<String> {
        if !self.colors || line.len() > LONGEST_HINTED || line.contains('\n') {
            return None;
        }
        let hint = HistoryHinter::new().hint(line, at, context)?;
        (hint.len() <= LONGEST_HINTED && !hint.contains(editor::is_unseen)).then_some(hint)
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.len() > LONGEST {
            return Ok((at, Vec::new()));
        }
        let (start, words) = if let Some(command) = line.strip_prefix('.') {
            let name = command.split(' ').next().unwrap_or_default();
            if line.contains(' ') && commands::argument(name) == Argument::File {
                return self.files.complete(line, at, context);
            }
            self.command(line, at)
        } else {
            self.statement(line, at)
        };
        let pair = |word: String| Pair { display: word.trim_end().to_owned(), replacement: word };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _at: usize) -> Cow<'l, str> {
        if !self.colors || line.len() > LONGEST || line.starts_with('.') {
            return line.into();
        }
        let mut colored = String::with_capacity(line.len() * 2);
        let mut done = 0;
        for (range, class) in editor::highlight(line) {
            let (Some(between), Some(piece)) = (line.get(done..range.start), line.get(range.clone())) else {
                return line.into();
            };
            colored.push_str(between);
            match style(class).filter(|_| !is_capitalized(piece, class)) {
                Some(style) => colored.push_str(&style.paint(piece, true)),
                None => colored.push_str(piece),
            }
            done = range.end;
        }
        colored.push_str(line.get(done..).unwrap_or_default());
        colored.into()
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Style::Dim.paint(hint, self.colors)
    }

    fn highlight_char(&self, line: &str, _at: usize, kind: CmdKind) -> bool {
        self.colors && line.len() <= LONGEST && kind != CmdKind::MoveCursor
    }
}

/// Some keywords are good names too: `Order` is a kind, and nobody writes `Order BY`.
fn is_capitalized(piece: &str, class: HighlightClass) -> bool {
    class == HighlightClass::Keyword
        && piece.starts_with(char::is_uppercase)
        && piece.ends_with(char::is_lowercase)
}

fn style(class: HighlightClass) -> Option<Style> {
    match class {
        HighlightClass::Keyword => Some(Style::Blue),
        HighlightClass::Text => Some(Style::Green),
        HighlightClass::Number | HighlightClass::Position => Some(Style::Cyan),
        HighlightClass::Param => Some(Style::Magenta),
        HighlightClass::Comment => Some(Style::Dim),
        HighlightClass::Error => Some(Style::Red),
        _ => None,
    }
}

impl Validator for Assistant {
    /// Enter runs what is complete, and what is wrong. What only stops too early goes on in another line; an empty line
    /// runs it all the same, so that the message can say what is missing.
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let input = context.input();
        let ends = input.trim().is_empty() || input.ends_with('\n') || commands::of(input.trim()).is_some();
        if !ends && editor::is_incomplete(input) {
            return Ok(ValidationResult::Incomplete);
        }
        Ok(ValidationResult::Valid(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(db: &bygone::Db, line: &str) -> Vec<String> {
        Assistant::new(db.clone().into(), false).statement(line, line.len()).1
    }

    #[test]
    fn what_is_offered_fits_the_statement() {
        let db = bygone::Db::in_memory().unwrap();
        for text in [
            "DEFINE ENTITY Item INITIAL {stock: 0} ON stored SET stock = state.stock + data.amount",
            "EMIT Item.stored 1 {amount: 4} INDEX BY shelf = 'a'",
            "ATOMIC (EMIT Item.stored 10 {amount: 4}; EMIT Item.stored 'a-1' {amount: 4}; EMIT Other.stored 'b-1' {amount: 4})",
            "DEFINE INDEX stock ON 'Item' AS state.stock",
            "DEFINE INDEX amount ON 'Item.*' AS data.amount",
            "DEFINE VIEW sums AS EVENTS 'Item.*' GROUP BY type AS kind SELECT sum(data.amount) AS total",
            "DEFINE REACTION follow ON 'Item.*' DO EMIT Mail.sent 1",
            "DEFINE SCHEDULE daily EVERY 1d DO EMIT Mail.sent 1",
            "DEFINE WEBHOOK tell ON 'Item.*' TO 'https://example.com/hook'",
            "DEFINE VERB Store ON Item REQUIRE data.amount > 0 EMIT stored",
        ] {
            db.query(text).unwrap();
        }
        assert!(db.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
        for (line, has, has_not) in [
            ("EVENTS BY ", &["amount ", "shelf ", "actor = "][..], &["stock ", "sums "][..]),
            ("EVENTS 'Item.*' BY a", &["amount ", "actor = "], &["stock "]),
            ("DROP INDEX ", &["amount ", "stock "], &["sums ", "shelf "]),
            ("DROP VIEW ", &["sums "], &["amount "]),
            ("DROP REACTION ", &["follow "], &["daily ", "tell "]),
            ("DROP SCHEDULE ", &["daily "], &["follow "]),
            ("RETRY WEBHOOK ", &["tell "], &["follow "]),
            ("READ ", &["sums "], &["Item "]),
            ("READ sums WHERE ", &["kind", "total"], &["data.amount", "state.stock", "type"]),
            ("FIND Item WHERE ", &["state.stock", "target.id", "version"], &["data.amount", "correlation"]),
            ("FIND Item ORDER BY s", &["state.stock"], &["data.amount"]),
            ("EVENTS WHERE ", &["data.amount", "type"], &["state.stock"]),
            ("DEFINE INDEX i ON 'Item' AS ", &["state.stock"], &["data.amount"]),
            ("DEFINE INDEX i ON 'Item.*' AS ", &["data.amount"], &["state.stock"]),
            ("DEFINE VERB Take ON Item REQUIRE ", &["state.stock", "data.", "actor"], &["correlation"]),
            ("DEFINE ENTITY Item ON stored SET stock = ", &["state.stock", "data.amount"], &[]),
            ("EMIT Item.stored 1 {amount: ", &["length("], &["data.amount", "type"]),
            ("DESCRIBE ", &["Item", "stock", "sums", "follow", "daily", "tell", "Store"], &[]),
            ("SUBSCRIBE ", &["'Item.*'", "'Item.stored'"], &[]),
            ("HISTORY Item ", &["1 ", "10 ", "'a-1' "], &["'b-1' "]),
            ("AT Item 1", &["1 ", "10 "], &["'a-1' "]),
            ("HISTORY Item a", &["'a-1' "], &["1 "]),
            ("HISTORY Item 'a", &["'a-1' "], &["1 "]),
            ("EMIT Item.stored 1", &["10 "], &["'a-1' "]),
            ("HISTORY Nothing ", &[], &["1 "]),
            ("EVENTS UNNEST data.list AS line, n WHERE l", &["line", "length("], &["n"]),
            ("DEFINE REACTION r ON ", &["'Item.*'"], &[]),
        ] {
            let words = offered(&db, line);
            for word in has {
                assert!(words.iter().any(|one| one == word), "{line}: {word} is not in {words:?}");
            }
            for word in has_not {
                assert!(!words.iter().any(|one| one == word), "{line}: {word} is in {words:?}");
            }
        }
    }
}
