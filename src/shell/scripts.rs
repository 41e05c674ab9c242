//! The texts of a command line, parsed before the first of them runs.

use bygone::error::SyntaxFault;
use bygone::read::Script;
use bygone::{Error, Statement};

use super::cli::RunArgs;
use super::commands;
use super::failure::CommandFailure;

/// Where a text stands in the input it was taken from, so that messages name the place there.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScriptPlace {
    /// Statements before it.
    pub statements: usize,
    /// Lines before it.
    pub lines: usize,
}

/// Several texts whose statements are counted on from one to the next. All are parsed before the first runs.
pub struct Scripts(pub Vec<ScriptPart>);

pub enum ScriptPart {
    Statements(ScriptPlace, Script),
    /// A command of the prompt, with its sign.
    Command(String),
}

impl ScriptPart {
    fn statements(&self) -> &[Statement] {
        match self {
            ScriptPart::Statements(_, script) => script.statements(),
            ScriptPart::Command(_) => &[],
        }
    }
}

impl Scripts {
    /// Parses texts of at most so many bytes.
    pub fn parse(texts: &[String], longest: usize) -> Result<Scripts, CommandFailure> {
        let mut scripts = Vec::new();
        let mut place = ScriptPlace::default();
        for text in texts {
            if let Some(command) = commands::of(text.trim()) {
                scripts.push(ScriptPart::Command(command.to_owned()));
                continue;
            }
            let script = Script::parse_within(text, longest).map_err(|error| placed(error, place))?;
            let statements = script.statements().len();
            scripts.push(ScriptPart::Statements(place, script));
            place.statements += statements;
        }
        Ok(Scripts(scripts))
    }

    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.0.iter().flat_map(ScriptPart::statements)
    }

    pub fn has_write(&self) -> bool {
        let appends =
            |part: &ScriptPart| matches!(part, ScriptPart::Command(command) if commands::may_write(command));
        self.statements().any(Statement::is_write) || self.0.iter().any(appends)
    }

    /// Whether nothing of it writes.
    pub fn only_reads(&self) -> bool {
        !self.has_write() && self.statements().all(Statement::is_read)
    }

    /// A value that no statement asks for is a name misspelt; in a stream, or at the prompt, one may yet ask.
    pub fn check_parameters(&self, run: &RunArgs) -> Result<(), CommandFailure> {
        let used = |name: &str| self.statements().any(|s| s.parameters().any(|used| used == name));
        match run.parameters.iter().find(|(name, _)| run.has_statements() && !used(name)) {
            Some((name, _)) => Err(CommandFailure::Usage(format!("no statement has a parameter ${name}"))),
            None => Ok(()),
        }
    }
}

/// A syntax error as of the whole input.
pub fn placed(error: Error, place: ScriptPlace) -> CommandFailure {
    let of_input = |fault: SyntaxFault| SyntaxFault {
        statement: fault.statement + place.statements,
        line: fault.line + place.lines,
        ..fault
    };
    error.map_fault(of_input).into()
}
