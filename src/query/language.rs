//! The language reference, `grammar/LANGUAGE.md`: its examples run, and it is about the whole language.
//!
//! A block in a fence that begins ` ```bygone ` is statements, each ended by a semicolon at the end of a line, in an empty database
//! of its own; ` ```bygone shop ` begins with what the block ` ```bygone the shop ` appends. Behind each statement stands
//! what it answers: `-->` a row, `--i` a notice, `--!` an error. Since those are comments, a block can be typed as it stands.
//! `BLESS=1 cargo test language` writes the answers anew; read the difference before you commit it.
//!
//! The clock stands at one instant and goes on a minute a statement. Rows leave out what would say little: `id`, `recorded`, and a
//! `timestamp` that is the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::db::Db;
use crate::error::Result;
use crate::lang::grammar::{Grammar, GrammarNode};
use crate::lang::keyword::Keyword;
use crate::lang::token::{Token, TokenKind, lex};
use crate::plan::Parameters;
use crate::plan::function::{FUNCTIONS, FunctionBody};
use crate::query::{Script, Statement};
use crate::store::Options;
use crate::store::disk::memory::MemoryDisk;
use crate::time::{Clock, Timestamp};
use crate::value::{Object, Value};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/LANGUAGE.md")
}

/// A piece of the document.
enum Piece {
    Prose(String),
    /// The words behind "bygone" in its fence, and its lines.
    Example(String, Vec<String>),
}

fn pieces(document: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        match line.strip_prefix("```bygone") {
            Some(words) => {
                let body = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
                pieces.push(Piece::Example(words.trim().to_owned(), body));
            }
            None => pieces.push(Piece::Prose(line.to_owned())),
        }
    }
    pieces
}

/// The statements of an example: each with the lines before it that are none.
fn statements(lines: &[String]) -> Vec<(Vec<String>, String)> {
    let mut statements = Vec::new();
    let (mut before, mut text) = (Vec::new(), String::new());
    for line in lines {
        let answer = ["-->", "--i", "--!"].iter().any(|mark| line.starts_with(mark));
        if answer {
            continue;
        }
        if text.is_empty() && (line.is_empty() || line.starts_with("--")) {
            before.push(line.clone());
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
        if line.ends_with(';') {
            statements.push((std::mem::take(&mut before), std::mem::take(&mut text)));
        }
    }
    assert!(text.is_empty(), "an example ends without a semicolon: {text}");
    if !before.is_empty() {
        statements.push((before, String::new()));
    }
    statements
}

/// A database whose clock goes a minute on with each statement.
struct ExampleRunner {
    db: Db,
    minutes: Arc<AtomicI64>,
}

/// What it writes stays in memory, backups too.
fn on_a_disk_of_its_own(clock: Clock, own_journal: bool) -> Db {
    let disk = Arc::new(MemoryDisk::new());
    let mut options = Options::new().clock(clock).disk(disk);
    options.own_journal = own_journal;
    options.create("/shop.bygone").unwrap()
}

impl ExampleRunner {
    fn new(own_journal: bool) -> ExampleRunner {
        let minutes = Arc::new(AtomicI64::new(0));
        let read = minutes.clone();
        let start: Timestamp = "2024-06-01T12:00:00Z".parse().unwrap();
        let now = move || Timestamp::from_millis(start.as_millis() + 60_000 * read.load(Ordering::SeqCst));
        ExampleRunner { db: on_a_disk_of_its_own(Clock::new(now), own_journal), minutes }
    }

    /// What a statement answers, as the document shows it.
    fn answer(&self, text: &str) -> Vec<String> {
        self.minutes.fetch_add(1, Ordering::SeqCst);
        let mut shown = Vec::new();
        if let Err(error) = self.run(text.trim_end_matches(';'), &mut shown) {
            let report = error.fault().map_or_else(|| error.to_string(), crate::lang::report);
            shown.extend(report.lines().map(|line| format!("--! {line}").trim_end().to_owned()));
        }
        // The table of functions stands beside it.
        if text == "SHOW FUNCTIONS;" && shown.len() > 1 {
            shown.splice(1.., ["--> …".to_owned()]);
        }
        shown.iter().map(|line| without_ids(line)).collect()
    }

    fn run(&self, text: &str, shown: &mut Vec<String>) -> Result<()> {
        let script = Script::parse(text)?;
        for statement in script.statements() {
            let answer = self.db.run_with(statement, &parameters())?;
            let hints = self.db.hints(statement, &parameters());
            shown.extend(answer.notices.iter().chain(&hints).map(|notice| format!("--i {notice}")));
            for row in answer.rows {
                let row = row?;
                shown.push(format!("--> {}", terse(serde_json::to_string(&row).unwrap().parse().unwrap())));
                // What is shown is acknowledged, as the shell does.
                if let (Some(place), crate::Row::Event { event, .. }) = (&answer.cursor, &row) {
                    place.acknowledge(event.position)?;
                }
            }
            // What is built in the background is shown as it is when it is done.
            assert!(self.db.wait_for_indexes(Duration::from_secs(60))?);
        }
        Ok(())
    }
}

/// The parameters that the document says are given.
fn parameters() -> Parameters {
    let data: Value = r#"{"total":25,"customer":"c-9"}"#.parse().unwrap();
    Parameters::new().set("id", 44).set("data", data).set("least", 20).set("pattern", "Order.*")
}

/// The line without the ids that were made, which are others in each run.
fn without_ids(line: &str) -> String {
    if let Some((before, _)) = line.split_once(r#""milliseconds":"#) {
        return format!(r#"{before}"milliseconds":…}}"#);
    }
    let shape = "xxxxxxxx-xxxx-7xxx-xxxx-xxxxxxxxxxxx".as_bytes();
    let fits =
        |(byte, shape): (&u8, &u8)| if *shape == b'x' { byte.is_ascii_hexdigit() } else { byte == shape };
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let made = rest.len() >= shape.len() && rest.as_bytes().iter().zip(shape).all(fits);
        let length = if made { shape.len() } else { c.len_utf8() };
        out.push_str(if made { "…" } else { &rest[..length] });
        rest = &rest[length..];
    }
    out
}

/// The row without what would say little.
fn terse(row: Value) -> Value {
    let Value::Object(mut members) = row else { return row };
    if members.contains_key("position") && members.contains_key("type") {
        let recorded = members.shift_remove("recorded");
        if members.get("timestamp") == recorded.as_ref() {
            members.shift_remove("timestamp");
        }
        members.shift_remove("id");
    }
    // It is a hash of the ids, too.
    for name in ["chain", "root", "header", "bytesBefore", "bytesAfter", "opened", "journalBytes"] {
        let Some(value) = members.get_mut(name) else { continue };
        *value = "…".into();
    }
    if let Some(Value::Array(path)) = members.get_mut("path") {
        path.fill("…".into());
    }
    // What a database is called in a vector clock, it made.
    if let Some(Value::Text(vector)) = members.get_mut("vector") {
        let counts = vector.split(';').filter_map(|part| Some(format!("…:{}", part.split_once(':')?.1)));
        *vector = counts.collect::<Vec<_>>().join(";");
    }
    let inner = |(name, value)| (name, if matches!(value, Value::Object(_)) { terse(value) } else { value });
    Value::Object(members.into_iter().map(inner).collect::<Object>())
}

/// The document with every answer worked out, every table written.
fn worked_out(document: &str) -> String {
    let pieces = pieces(document);
    let shop = pieces.iter().find_map(|piece| match piece {
        Piece::Example(words, lines) if words == "the shop" => Some(statements(lines)),
        _ => None,
    });
    let shop = shop.expect("the document says what is in the shop");
    let mut out = String::new();
    for piece in &pieces {
        let Piece::Example(words, lines) = piece else {
            let Piece::Prose(line) = piece else { continue };
            out.push_str(line);
            out.push('\n');
            continue;
        };
        // What is private is not appended to a log that is shared.
        let runner = ExampleRunner::new(lines.iter().any(|line| line.contains("PRIVATE")));
        if words == "shop" {
            for (_, text) in &shop {
                let answer = runner.answer(text);
                assert!(!answer.iter().any(|line| line.starts_with("--!")), "{text}\n{answer:?}");
            }
        }
        out.push_str(format!("```bygone {words}").trim_end());
        out.push('\n');
        for (before, text) in statements(lines) {
            let answer = if text.is_empty() { Vec::new() } else { runner.answer(&text) };
            let text = (!text.is_empty()).then_some(text);
            for line in before.into_iter().chain(text).chain(answer) {
                out.push_str(&line);
                out.push('\n');
            }
        }
        out.push_str("```\n");
    }
    tables(&out)
}

/// Lists that the code has: between the marks that name them stands what the code says.
fn tables(document: &str) -> String {
    let keywords: Vec<&str> = Keyword::ALL.iter().map(|keyword| keyword.text()).collect();
    let reserved = Keyword::ALL.iter().filter(|k| k.is_reserved()).map(|k| k.text());
    let mut out = document.to_owned();
    for (name, text) in [
        ("keywords", format!("`{}`", keywords.join("` `"))),
        ("functions", functions()),
        ("reserved", format!("`{}`", reserved.collect::<Vec<_>>().join("` `"))),
    ] {
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
        let start = out.find(&open).unwrap_or_else(|| panic!("no list of {name}")) + open.len();
        let end = start + out[start..].find(&close).unwrap_or_else(|| panic!("no end of {name}"));
        out.replace_range(start..end, &format!("{text}\n"));
    }
    out
}

fn functions() -> String {
    let mut table = String::from("| function | gives |\n|---|---|");
    for function in FUNCTIONS {
        let kind = if matches!(function.work, FunctionBody::Aggregate(_)) { "of many events: " } else { "" };
        table.push_str(&format!("\n| `{}` | {kind}{} |", function.form(), function.doc));
    }
    table
}

#[test]
fn the_language_reference_tells_what_happens() {
    let document = fs::read_to_string(path()).unwrap();
    let actual = worked_out(&document);
    if std::env::var_os("BLESS").is_some() {
        fs::write(path(), &actual).unwrap();
    } else if actual != document {
        let mut differ = actual.lines().zip(document.lines());
        panic!("first difference (is, was): {:#?}", differ.find(|(is, was)| is != was));
    }
}

/// The examples of the document, those that are statements.
fn examples() -> Vec<String> {
    let document = fs::read_to_string(path()).unwrap();
    let examples = pieces(&document).into_iter().filter_map(|piece| match piece {
        Piece::Example(_, lines) => Some(statements(&lines)),
        Piece::Prose(_) => None,
    });
    let texts = examples.flatten().map(|(_, text)| text.trim_end_matches(';').to_owned());
    texts.filter(|text| !text.is_empty() && Script::parse(text).is_ok()).collect()
}

#[test]
fn the_language_reference_has_an_example_of_every_form() {
    let grammar = Grammar::read();
    let mut walk = FolderWalk {
        grammar: &grammar,
        tokens: Vec::new(),
        at: 0,
        taken: BTreeSet::new(),
        text: String::new(),
    };
    for text in examples() {
        walk.take(&text);
    }
    let mut missing = Vec::new();
    for (name, node) in &grammar.rules {
        walk.missing(name, node, &mut 0, &mut missing);
    }
    missing.sort();
    assert!(missing.is_empty(), "no example of\n{}", missing.join("\n"));
}

#[test]
fn the_language_reference_has_an_example_of_every_function() {
    let texts: Vec<String> = examples();
    for function in FUNCTIONS {
        let call = format!("{}(", function.name);
        assert!(texts.iter().any(|text| text.contains(&call)), "no example of {}", function.name);
    }
}

/// A recognizer that the grammar itself drives: it is LL(1), so the next token tells which way to go. It notes each way it went.
struct FolderWalk<'g> {
    grammar: &'g Grammar,
    text: String,
    tokens: Vec<Token>,
    at: usize,
    /// The rule, and which of its choices and options, counted in the order of the text.
    taken: BTreeSet<(String, usize)>,
}

impl FolderWalk<'_> {
    fn take(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.tokens = lex(text);
        self.tokens.retain(|token| token.kind != TokenKind::Comment);
        self.at = 0;
        self.rule("script");
        assert_eq!(self.kind(), TokenKind::End, "the grammar does not read {text} from {}", self.here());
    }

    fn kind(&self) -> TokenKind {
        self.tokens[self.at].kind
    }

    fn here(&self) -> &str {
        &self.text[self.tokens[self.at].span.range()]
    }

    fn rule(&mut self, name: &str) {
        if name == "id" && self.kind() != TokenKind::Text && self.joined() > 1 {
            // Adjacent tokens are one id: the grammar knows it as one word.
            self.taken.insert((name.to_owned(), 2));
            self.at += self.joined();
            return;
        }
        let grammar = self.grammar;
        let mut number = 0;
        self.node(name, &grammar.rules[name], &mut number);
    }

    /// How many tokens from here on stand without space between, and could be an id.
    fn joined(&self) -> usize {
        let joins = |token: &Token| {
            let text = &self.text[token.span.range()];
            text == "-" || text.chars().all(char::is_alphanumeric)
        };
        let tokens = &self.tokens[self.at..];
        let adjacent = tokens
            .windows(2)
            .take_while(|pair| pair[0].span.end() == pair[1].span.start() && joins(&pair[1]));
        if joins(&tokens[0]) { 1 + adjacent.filter(|pair| pair[1].kind != TokenKind::End).count() } else { 0 }
    }

    fn node(&mut self, rule: &str, node: &GrammarNode, number: &mut usize) {
        match node {
            GrammarNode::Literal(_) | GrammarNode::Class(_) => {
                assert!(self.begins(node), "{}: {rule} at {}", self.text, self.here());
                self.at += 1;
            }
            GrammarNode::Rule(name) => self.rule(name),
            GrammarNode::Sequence(nodes) => nodes.iter().for_each(|node| self.node(rule, node, number)),
            GrammarNode::Choice(nodes) => {
                let first = *number;
                *number += nodes.len();
                let mut chosen = nodes.iter().position(|node| self.begins(node));
                if chosen.is_none() {
                    chosen = nodes.iter().position(|node| self.can_be_empty(node));
                }
                let chosen = chosen.unwrap_or_else(|| panic!("{}: {rule} at {}", self.text, self.here()));
                for (i, node) in nodes.iter().enumerate() {
                    if i == chosen {
                        self.taken.insert((rule.to_owned(), first + i));
                        self.node(rule, node, number);
                    } else {
                        count(node, number);
                    }
                }
            }
            GrammarNode::Optional(inner) => {
                let own = *number;
                *number += 1;
                if self.begins(inner) {
                    self.taken.insert((rule.to_owned(), own));
                    self.node(rule, inner, number);
                } else {
                    count(inner, number);
                }
            }
            GrammarNode::Repeated(inner) => {
                let own = *number;
                *number += 1;
                let start = *number;
                while self.begins(inner) {
                    self.taken.insert((rule.to_owned(), own));
                    *number = start;
                    self.node(rule, inner, number);
                }
                *number = start;
                count(inner, number);
            }
        }
    }

    fn can_be_empty(&self, node: &GrammarNode) -> bool {
        match node {
            GrammarNode::Literal(_) | GrammarNode::Class(_) => false,
            GrammarNode::Rule(name) => self.can_be_empty(&self.grammar.rules[name]),
            GrammarNode::Sequence(nodes) => nodes.iter().all(|node| self.can_be_empty(node)),
            GrammarNode::Choice(nodes) => nodes.iter().any(|node| self.can_be_empty(node)),
            GrammarNode::Optional(_) | GrammarNode::Repeated(_) => true,
        }
    }

    /// Whether a part can begin with the token that is here.
    fn begins(&self, node: &GrammarNode) -> bool {
        match node {
            GrammarNode::Literal(text) => match self.kind() {
                TokenKind::Keyword(keyword) => keyword.text() == text,
                TokenKind::Symbol(symbol) => symbol.text() == text,
                _ => false,
            },
            GrammarNode::Class(class) => match (class.as_str(), self.kind()) {
                ("WORD", TokenKind::Word | TokenKind::Quoted) => true,
                ("KEYWORD", TokenKind::Keyword(keyword)) => keyword != Keyword::AsOf,
                ("FIELD", TokenKind::Word | TokenKind::Quoted) => true,
                ("FIELD", TokenKind::Keyword(keyword)) => keyword != Keyword::AsOf && !keyword.is_reserved(),
                ("STRING", TokenKind::Text) | ("INT", TokenKind::Int) | ("NUMBER", TokenKind::Number) => true,
                ("DATE", TokenKind::Date) | ("DURATION", TokenKind::Duration) => true,
                ("POSITION", TokenKind::Position) | ("PARAM", TokenKind::Param) => true,
                _ => false,
            },
            // An id of several tokens may begin with any of these.
            GrammarNode::Rule(name) if name == "id" && self.joined() > 1 => true,
            GrammarNode::Rule(name) => self.begins(&self.grammar.rules[name]),
            GrammarNode::Sequence(nodes) => {
                for node in nodes {
                    if self.begins(node) {
                        return true;
                    }
                    if !self.can_be_empty(node) {
                        return false;
                    }
                }
                false
            }
            GrammarNode::Choice(nodes) => nodes.iter().any(|node| self.begins(node)),
            GrammarNode::Optional(inner) | GrammarNode::Repeated(inner) => self.begins(inner),
        }
    }

    /// The ways of a rule that were not taken.
    fn missing(&self, rule: &str, node: &GrammarNode, number: &mut usize, missing: &mut Vec<String>) {
        let mut check = |number: usize, node: &GrammarNode| {
            if !self.taken.contains(&(rule.to_owned(), number)) {
                missing.push(format!("{rule}: {}", shown(node)));
            }
        };
        match node {
            GrammarNode::Literal(_) | GrammarNode::Class(_) | GrammarNode::Rule(_) => {}
            GrammarNode::Sequence(nodes) => {
                nodes.iter().for_each(|node| self.missing(rule, node, number, missing))
            }
            GrammarNode::Choice(nodes) => {
                for (i, node) in nodes.iter().enumerate() {
                    check(*number + i, node);
                }
                *number += nodes.len();
                nodes.iter().for_each(|node| self.missing(rule, node, number, missing));
            }
            GrammarNode::Optional(inner) | GrammarNode::Repeated(inner) => {
                check(*number, inner);
                *number += 1;
                self.missing(rule, inner, number, missing);
            }
        }
    }
}

/// Counts the choices and options of a part that is passed over.
fn count(node: &GrammarNode, number: &mut usize) {
    match node {
        GrammarNode::Literal(_) | GrammarNode::Class(_) | GrammarNode::Rule(_) => {}
        GrammarNode::Sequence(nodes) => nodes.iter().for_each(|node| count(node, number)),
        GrammarNode::Choice(nodes) => {
            *number += nodes.len();
            nodes.iter().for_each(|node| count(node, number));
        }
        GrammarNode::Optional(inner) | GrammarNode::Repeated(inner) => {
            *number += 1;
            count(inner, number);
        }
    }
}

fn shown(node: &GrammarNode) -> String {
    let joined = |nodes: &[GrammarNode], joint: &str| nodes.iter().map(shown).collect::<Vec<_>>().join(joint);
    match node {
        GrammarNode::Literal(text) => format!("\"{text}\""),
        GrammarNode::Rule(name) | GrammarNode::Class(name) => name.clone(),
        GrammarNode::Sequence(nodes) => joined(nodes, " "),
        GrammarNode::Choice(nodes) => format!("( {} )", joined(nodes, " | ")),
        GrammarNode::Optional(inner) => format!("[ {} ]", shown(inner)),
        GrammarNode::Repeated(inner) => format!("{{ {} }}", shown(inner)),
    }
}

/// What the document shows is canonical too: each example prints as a text that parses to itself.
#[test]
fn the_examples_print_as_they_parse() {
    let examples = examples();
    assert!(examples.len() > 100, "only {}", examples.len());
    for text in examples {
        let canonical = Script::parse(&text).unwrap().statements().first().map(Statement::to_string).unwrap();
        let again = Script::parse(&canonical).unwrap();
        assert_eq!(again.statements()[0].to_string(), canonical, "{text}");
    }
}
