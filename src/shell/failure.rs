//! What goes wrong, and how it is said: to a person, or as a line of JSON to a program.

use std::borrow::Cow;
use std::io::{self, Write};

use bygone::error::{MemberMismatch, MissingItem, SyntaxFault};
use bygone::{Error, Object};
use serde::Serialize;

use super::cli::Format;
use super::exit::Exit;
use super::terminal::{Style, Terminal, harmless_lines};

/// Why a run ended early.
#[derive(Debug)]
pub enum CommandFailure {
    /// The library refused or failed; in which statement, if it was in one of several.
    Error { error: Error, statement: Option<usize> },
    /// The command line, a dot command or an input is wrong in a way that only the shell knows.
    Usage(String),
    /// A command that was run for an event failed.
    Command(String),
    /// An input cannot be read, an output cannot be written.
    Io { doing: String, source: io::Error },
    /// Whoever read the output has gone. Nothing is wrong: `| head` had enough.
    Closed,
    /// Ctrl-C, or a signal like it.
    Interrupted,
    /// What failed was told when it did, and the rest went on.
    Told(Exit),
}

impl From<Error> for CommandFailure {
    fn from(error: Error) -> CommandFailure {
        CommandFailure::Error { error, statement: None }
    }
}

impl CommandFailure {
    /// An error on the way to standard output.
    pub fn output(source: io::Error) -> CommandFailure {
        CommandFailure::writing("standard output", source)
    }

    /// An error on the way to a place that has a name.
    pub fn writing(place: &str, source: io::Error) -> CommandFailure {
        match source.kind() {
            io::ErrorKind::BrokenPipe => CommandFailure::Closed,
            _ => CommandFailure::Io { doing: format!("writing {place}"), source },
        }
    }

    /// An error on the way from a place that has a name.
    pub fn reading(place: &str, source: io::Error) -> CommandFailure {
        CommandFailure::Io { doing: format!("reading {place}"), source }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            CommandFailure::Error { error, .. } => error.class().into(),
            CommandFailure::Usage(_) => Exit::Usage,
            CommandFailure::Io { .. } | CommandFailure::Command(_) => Exit::Failed,
            CommandFailure::Closed => Exit::Success,
            CommandFailure::Interrupted => Exit::Interrupted,
            CommandFailure::Told(exit) => *exit,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            CommandFailure::Error { error, .. } => error.kind(),
            CommandFailure::Usage(_) => "usage",
            CommandFailure::Command(_) => "command",
            CommandFailure::Io { .. } | CommandFailure::Closed => "io",
            CommandFailure::Interrupted => "interrupted",
            CommandFailure::Told(_) => "told",
        }
    }

    fn message(&self) -> String {
        match self {
            CommandFailure::Error { error, .. } => {
                error.fault().map_or_else(|| error.to_string(), SyntaxFault::sentence)
            }
            CommandFailure::Usage(message) | CommandFailure::Command(message) => message.clone(),
            CommandFailure::Io { doing, source } => format!("{doing}: {source}"),
            CommandFailure::Closed => "the output was closed".to_owned(),
            CommandFailure::Interrupted => "interrupted".to_owned(),
            // Whoever made it has said what there is to say.
            CommandFailure::Told(_) => String::new(),
        }
    }
}

/// A line that a program gets on standard error.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum FailureJson<'a> {
    Notice(&'a str),
    Error(Box<FailureLine<'a>>),
}

#[derive(Serialize)]
struct FailureLine<'a> {
    kind: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expected: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Cow<'a, str>>,
    /// Of the event that stood in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(flatten)]
    missing: Option<MissingFields<'a>>,
    #[serde(flatten)]
    large: Option<SizeFields>,
    #[serde(flatten)]
    refusal: Option<RefusalFields<'a>>,
    #[serde(flatten)]
    schema: Option<SchemaFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'a str>,
}

/// Of what is not in the log, or not yet.
#[derive(Serialize, Default)]
struct MissingFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    /// The position or version that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// What has such names.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u64>,
}

impl<'a> MissingFields<'a> {
    fn new(item: &'a MissingItem) -> MissingFields<'a> {
        let none = MissingFields::default();
        match item {
            MissingItem::Position { asked, head } => {
                MissingFields { asked: Some(asked.0), head: Some(head.0), ..none }
            }
            MissingItem::Version { entity, asked, newest } => {
                MissingFields { entity: Some(entity), asked: Some(asked.0), newest: Some(newest.0), ..none }
            }
            MissingItem::Event { id } => MissingFields { id: Some(id), ..none },
            MissingItem::Name { sort, name } => MissingFields { of: Some(sort), name: Some(name), ..none },
            MissingItem::Index { name, percent } => {
                MissingFields { name: Some(name), percent: Some(*percent), ..none }
            }
            _ => none,
        }
    }
}

/// Of what is larger than its limit, in bytes.
#[derive(Serialize)]
struct SizeFields {
    size: u64,
    limit: u64,
}

/// Of a verb that was refused.
#[derive(Serialize)]
struct RefusalFields<'a> {
    verb: &'a str,
    entity: &'a str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'a str>,
    /// What the names in the condition stood for.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Object>,
}

/// Of data that does not fit its schema.
#[derive(Serialize)]
struct SchemaFields<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    version: u64,
    members: Vec<MemberFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u64>,
}

#[derive(Serialize)]
struct MemberFields<'a> {
    path: &'a str,
    expected: &'a str,
    found: &'a str,
}

impl<'a> MemberFields<'a> {
    fn of(mismatch: &'a MemberMismatch) -> MemberFields<'a> {
        MemberFields { path: &mismatch.path, expected: &mismatch.expected, found: &mismatch.found }
    }
}

impl<'a> FailureLine<'a> {
    fn of(failure: &'a CommandFailure) -> FailureLine<'a> {
        let mut line = FailureLine {
            kind: failure.kind(),
            message: failure.message(),
            statement: None,
            line: None,
            column: None,
            expected: Vec::new(),
            found: None,
            position: None,
            missing: None,
            large: None,
            refusal: None,
            schema: None,
            suggestion: None,
        };
        let CommandFailure::Error { error, statement } = failure else { return line };
        line.statement = *statement;
        if let Some(fault) = error.fault() {
            line.statement = Some(fault.statement);
            line.line = Some(fault.line);
            line.column = Some(fault.column);
            line.expected = fault.expected.iter().map(|one| one.as_str().into()).collect();
            line.found = Some(fault.found.as_str().into());
            line.suggestion = fault.suggestion.as_deref();
        }
        match error {
            Error::Missing(missing) => {
                line.missing = Some(MissingFields::new(&missing.item));
            }
            Error::TooLarge { size, limit, .. } => {
                line.large = Some(SizeFields { size: *size, limit: *limit });
            }
            Error::Invalid { expected, found, .. } => {
                line.expected = vec![expected.as_str().into()];
                line.found = Some(found.as_str().into());
            }
            Error::Conflict(conflict) => {
                line.expected = vec![conflict.expected().into()];
                line.found = Some(conflict.found().into());
                line.position = conflict.position();
            }
            Error::Refused(refusal) => {
                line.refusal = Some(RefusalFields {
                    verb: &refusal.verb,
                    entity: &refusal.entity,
                    why: &refusal.why,
                    condition: refusal.condition.as_deref(),
                    values: Some(refusal.values.iter().cloned().collect::<Object>())
                        .filter(|values| !values.is_empty()),
                });
            }
            Error::Upcast { position, .. } => line.position = Some(*position),
            Error::Schema(mismatch) => {
                line.position = mismatch.definition;
                line.schema = Some(SchemaFields {
                    event_type: &mismatch.event_type,
                    version: mismatch.version,
                    members: mismatch.members.iter().map(MemberFields::of).collect(),
                    more: Some(mismatch.more).filter(|more| *more > 0),
                });
            }
            _ => {}
        }
        line
    }
}

/// How the shell speaks on standard error.
#[derive(Debug, Clone, Copy)]
pub struct Reporter {
    json: bool,
    colors: bool,
    /// Somebody reads along: a line may be rewritten in place.
    pub live: bool,
}

impl Reporter {
    /// JSON for a program: where JSON was asked for, or is the default and nobody reads standard error.
    pub fn new(terminal: &Terminal, format: Format, asked: bool) -> Reporter {
        let json = format == Format::Json && (asked || !terminal.errors);
        Reporter { json, colors: terminal.error_colors, live: terminal.errors && !json }
    }

    /// At a prompt somebody reads, whatever the format of the results.
    pub fn to_a_person(self, terminal: &Terminal) -> Reporter {
        Reporter { json: false, live: terminal.errors, ..self }
    }

    /// Says something that is neither a result nor an error.
    pub fn notice(self, text: &str) {
        if self.json {
            say_json(&FailureJson::Notice(text));
        } else {
            say(&Style::Dim.paint(&harmless_lines(text), self.colors));
        }
    }

    /// Says what went wrong. There is nothing to say when the reader has gone.
    pub fn failure(self, failure: &CommandFailure) {
        match failure {
            CommandFailure::Closed | CommandFailure::Told(_) => {}
            _ if self.json => say_json(&FailureJson::Error(Box::new(FailureLine::of(failure)))),
            CommandFailure::Interrupted => say("interrupted"),
            CommandFailure::Error { error, statement } => match (error.fault(), statement) {
                (Some(fault), _) => say(&self.report(fault)),
                (None, Some(n)) => self.error(&format!("statement {n}: "), failure),
                (None, None) => self.error("", failure),
            },
            _ => self.error("", failure),
        }
    }

    fn error(self, place: &str, failure: &CommandFailure) {
        say(&format!(
            "{} {place}{}",
            Style::Red.paint("error:", self.colors),
            harmless_lines(&failure.message())
        ));
    }

    fn report(self, fault: &SyntaxFault) -> String {
        let report = bygone::editor::report(fault);
        let report = harmless_lines(&report);
        let carets = |line: &str| line.trim_start().starts_with('^');
        let paint = |line: &str| match line {
            line if carets(line) => Style::Red.paint(line, self.colors).into_owned(),
            line => line.to_owned(),
        };
        report.lines().map(paint).collect::<Vec<_>>().join("\n")
    }
}

fn say_json(said: &FailureJson<'_>) {
    // Text and numbers always have a JSON form.
    if let Ok(line) = serde_json::to_string(said) {
        say(&harmless_lines(&line));
    }
}

/// Writes to standard error. If that is closed there is nobody left to tell.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
