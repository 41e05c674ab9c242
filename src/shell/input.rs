//! Statements from a stream: a pipe, a file.
//!
//! A statement runs as soon as it is complete, with its semicolon at the end of a line: a program may keep the pipe open
//! and read its answers. Messages count statements and lines from the beginning of the stream.

use std::io::{BufRead, Read};

use bygone::Error;
use bygone::read::Script;

use super::commands::{self, CommandFlow};
use super::failure::CommandFailure;
use super::scripts::ScriptPlace;
use super::session::Session;

/// Whether the stream keeps one waiting, so that Ctrl-C must get through meanwhile. A file does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EofPolicy {
    None,
    Needed,
}

/// Runs all statements of a stream; `name` is for messages.
pub fn run_stream(
    session: &mut Session,
    mut stream: impl BufRead,
    name: &str,
    patience: EofPolicy,
) -> Result<(), CommandFailure> {
    let mut part = InputPart::default();
    let mut place = ScriptPlace::default();
    let mut line = Vec::new();
    let mut lines = 0;
    loop {
        line.clear();
        let signals = session.signals.clone();
        // One byte more tells that it is too long; what is too long is not collected.
        let room = (session.longest - part.text.len()) as u64 + 1;
        let mut read = || (&mut stream).take(room).read_until(b'\n', &mut line);
        let read = if patience == EofPolicy::Needed { signals.waiting(read) } else { Some(read()) };
        let Some(read) = read else {
            return Err(CommandFailure::Interrupted);
        };
        let ended = read.map_err(|e| CommandFailure::reading(name, e))? == 0;
        if line.len() as u64 == room {
            let begins: String =
                part.text.chars().chain(String::from_utf8_lossy(&line).chars()).take(40).collect();
            session.told(Err(too_long(session.longest, name, place.lines + 1, begins.trim_start())))?;
            // Where one goes on, that is behind it.
            let ended = skip(&mut stream, &line, &mut lines).map_err(|e| CommandFailure::reading(name, e))?;
            place.statements += 1;
            place.lines = lines;
            part = InputPart::default();
            if ended {
                return Ok(());
            }
            continue;
        }
        lines += 1;
        match std::str::from_utf8(&line) {
            Ok(text) => part.push(text),
            Err(error) => {
                let column = String::from_utf8_lossy(&line[..error.valid_up_to()]).chars().count() + 1;
                return Err(CommandFailure::Usage(format!(
                    "{name}, line {lines}, column {column}: not UTF-8, the only encoding that statements have"
                )));
            }
        }
        if let Some(command) = part.command() {
            let command = command.to_owned();
            part = InputPart::default();
            place.lines = lines;
            let flow = match session.run_command(&command) {
                Ok(flow) => flow,
                Err(failure) => session.told(Err(failure)).map(|()| CommandFlow::Continue)?,
            };
            if flow == CommandFlow::End {
                return Ok(());
            }
            if ended {
                return Ok(());
            }
            continue;
        }
        if !ended && !part.may_be_complete() {
            continue;
        }
        let Some(statements) = part.run(session, place, ended)? else {
            part.next_look();
            continue;
        };
        place.statements += statements;
        place.lines = lines;
        part = InputPart::default();
        if ended {
            return Ok(());
        }
    }
}

fn too_long(longest: usize, name: &str, line: usize, begins: &str) -> CommandFailure {
    let size = match longest {
        n if n > 0 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n => format!("{n} bytes"),
    };
    CommandFailure::from(Error::Invalid {
        what: format!("the statement that begins in line {line} of {name}"),
        expected: format!("at most {size}, with the line that it ends in (--max-statement allows more)"),
        found: format!("more, beginning with {begins}"),
    })
}

/// Passes over the rest of a statement, to the end of the first line that ends with a semicolon. Says whether the stream ends there.
fn skip(stream: &mut impl BufRead, line: &[u8], lines: &mut usize) -> std::io::Result<bool> {
    let mut last = line.iter().rev().copied().find(|byte| !byte.is_ascii_whitespace());
    if line.ends_with(b"\n") {
        *lines += 1;
        if last == Some(b';') {
            return Ok(false);
        }
    }
    loop {
        let bytes = match stream.fill_buf() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(true);
        }
        let mut passed = 0;
        let mut found = false;
        for byte in bytes {
            passed += 1;
            match byte {
                b'\n' => {
                    *lines += 1;
                    found = last == Some(b';');
                    if found {
                        break;
                    }
                }
                byte if byte.is_ascii_whitespace() => {}
                byte => last = Some(*byte),
            }
        }
        stream.consume(passed);
        if found {
            return Ok(false);
        }
    }
}

/// What was read and not yet run.
#[derive(Default)]
struct InputPart {
    text: String,
    /// Looking again pays from this length on.
    look: usize,
}

impl InputPart {
    fn push(&mut self, text: &str) {
        // A mark that some editors put before everything.
        let text = if self.text.is_empty() { text.trim_start_matches('\u{feff}') } else { text };
        self.text.push_str(text);
    }

    /// Runs it, and says how many statements it has; nothing if it may go on.
    fn run(
        &self,
        session: &mut Session,
        place: ScriptPlace,
        ended: bool,
    ) -> Result<Option<usize>, CommandFailure> {
        match Script::parse_within(&self.text, session.longest) {
            Err(Error::Syntax(fault)) if fault.incomplete && !ended => Ok(None),
            Err(_) => {
                let result = session.run_part(&self.text, place);
                session.told(result)?;
                Ok(Some(1))
            }
            Ok(script) => {
                // What cannot be written is no more than a statement that failed, where that does not end the rest.
                let result = session.run_statements(&script, place).and_then(|()| session.flush());
                session.told(result)?;
                Ok(Some(script.statements().len()))
            }
        }
    }

    /// The command that a line is which stands alone, where a statement could begin.
    fn command(&self) -> Option<&str> {
        commands::of(self.text.trim())
    }

    fn may_be_complete(&self) -> bool {
        self.text.len() >= self.look && self.text.trim_end().ends_with(';')
    }

    /// A long block has many semicolons before its last: each look takes as long as the text, so looks become rarer as it grows.
    fn next_look(&mut self) {
        const SHORT: usize = 64 << 10;
        if self.text.len() > SHORT {
            self.look = self.text.len() + self.text.len() / 4;
        }
    }
}
