//! What goes wrong, and how it is said: to a person, or as a line of JSON to a program.

use std::io::{self, Write};

use bygone::error::SyntaxFault;
use bygone::{Error, Object, Value};
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
    Error(FailureLine<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum FailureLine<'a> {
    Own {
        kind: &'static str,
        message: String,
    },
    Error(&'a Error),
    /// An error in one of several statements.
    InStatement(Object),
}

impl<'a> FailureLine<'a> {
    fn of(failure: &'a CommandFailure) -> FailureLine<'a> {
        match failure {
            CommandFailure::Error { error, statement } => statement
                .and_then(|statement| FailureLine::in_statement(error, statement))
                .unwrap_or(FailureLine::Error(error)),
            own => FailureLine::Own { kind: own.kind(), message: own.message() },
        }
    }

    /// The same as the error says, and the statement behind what is wrong; none where the error tells that itself.
    fn in_statement(error: &Error, statement: usize) -> Option<FailureLine<'a>> {
        let Ok(Value::Object(members)) = Value::of(error) else { return None };
        if members.contains_key("statement") {
            return None;
        }
        let mut members: Vec<_> = members.into_iter().collect();
        let behind_message = members.len().min(2);
        members.insert(behind_message, ("statement".to_owned(), (statement as u64).into()));
        Some(FailureLine::InStatement(members.into_iter().collect()))
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
            _ if self.json => say_json(&FailureJson::Error(FailureLine::of(failure))),
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
