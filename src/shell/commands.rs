//! The commands of the session: about it, not the data. Each begins with a dot, and is good at the prompt, in a script and after `-c`.

mod edit;
mod foreign;
mod forms;
mod schema;
mod settings;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use bygone::Pattern;
use clap::Parser;

use super::cli;
use super::failure::{CommandFailure, say};
use super::input;
use super::maintain;
use super::repl::{LineEditor, Watches};
use super::session::Session;
use super::transfer;

/// A command, as `.help` and completion know it.
pub struct ShellCommand {
    pub name: &'static str,
    pub arguments: &'static str,
    about: &'static str,
}

/// What may come after the name of a command, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    File,
    Pattern,
    Command,
    /// The name of something that is defined.
    Defined,
    Choice(&'static [&'static str]),
    Other,
}

/// What comes after a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandFlow {
    Continue,
    End,
    /// The prompt begins with this text, which is run once it is entered.
    Offer(String),
}

const fn command(name: &'static str, arguments: &'static str, about: &'static str) -> ShellCommand {
    ShellCommand { name, arguments, about }
}

/// All of them, in the order of `.help`.
pub const COMMANDS: &[ShellCommand] = &[
    command(
        "help",
        "[COMMAND|STATEMENT]",
        "this list, or what a command is for, or how a statement is written",
    ),
    command("quit", "", "leave; so do .exit and Ctrl-D"),
    command("exit", "", "leave"),
    command("types", "", "the types of events, and how many of each"),
    // command("kinds", "", "the kinds of entities"), once SHOW KINDS is answered
    command("stats", "", "how big everything is"),
    command("schema", "[NAME]", "the statements that define all there is, or what NAME names"),
    command("dump", "", "the same, and how the events are moved"),
    command(
        "mode",
        "[FORMAT]",
        "how results are shown: table, box, markdown, json, csv, tsv, line, html or chart",
    ),
    command("format", "[FORMAT]", "the same"),
    command("output", "[FILE]", "results go into FILE, which is written anew; without FILE to the terminal"),
    command("once", "FILE", "the same for the next results"),
    command("pager", "[on|off|COMMAND]", "scroll what is longer than the screen"),
    command("show", "", "how all of these are set"),
    command("actor", "[KIND ID|none]", "on whose behalf events are appended"),
    command("param", "[NAME=VALUE|NAME]", "give $NAME a value, or forget it"),
    command("timer", "[on|off]", "say how long statements took"),
    command("watch", "[PATTERN]", "print events above the prompt as they come"),
    command("unwatch", "[PATTERN]", "stop that, or all of it"),
    command("edit", "[STATEMENT]", "write the last statement anew, or this one, in $VISUAL or $EDITOR"),
    command("keys", "[emacs|vi]", "how the line is edited"),
    command("read", "FILE", "run the statements of a file"),
    command("import", "FILE [--restore] [--on-conflict skip]", "append events from JSON"),
    command("export", "FILE [PATTERN] [--format FORM]", "write events as JSON into a new file"),
    command("backup", "FILE [--increment|--replace]", "copy the database, while it is used"),
];

const BEGINNING: &str = "
To begin with:
  EMIT Order.created 42 {total: 10} BY User ann
  HISTORY Order 42
  AT Order 42 '2024-01-01'
  EVENTS 'Order.*' WHERE data.total > 5 SINCE -30d
  SUBSCRIBE 'Order.*'

Tab completes. A statement that is not finished goes on in the next line;
an empty line ends it.";

/// The command that an entry is, with the sign it begins with; none if it is a statement. What people type to leave or to ask for help, they mean.
pub fn of(entry: &str) -> Option<&str> {
    match entry.trim_end_matches(';').trim_end() {
        word if word.eq_ignore_ascii_case("quit") || word.eq_ignore_ascii_case("exit") || word == "\\q" => {
            Some(".quit")
        }
        word if word.eq_ignore_ascii_case("help") || word == "?" || word == "\\?" => Some(".help"),
        asked if is_help_of(asked) => Some(asked),
        // psql's begin with a backslash, which begins no statement.
        _ => entry.starts_with(['.', '\\']).then_some(entry),
    }
}

/// Whether somebody asks how a statement is written, without the dot.
fn is_help_of(entry: &str) -> bool {
    let mut words = entry.split_whitespace();
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("help"))
        && forms::form_of(&words.collect::<Vec<_>>()).is_some()
}

/// What may come after a name.
pub fn argument(name: &str) -> Argument {
    match name {
        "read" | "import" | "export" | "backup" | "output" | "once" => Argument::File,
        "watch" | "unwatch" => Argument::Pattern,
        "help" => Argument::Command,
        "mode" | "format" => Argument::Choice(&[
            "table", "box", "markdown", "json", "jsonl", "csv", "tsv", "line", "html", "chart",
        ]),
        "timer" | "pager" => Argument::Choice(&["on", "off"]),
        "keys" => Argument::Choice(&["emacs", "vi"]),
        "schema" => Argument::Defined,
        _ => Argument::Other,
    }
}

/// Runs a command, given with its sign.
pub fn run(
    command: &str,
    session: &mut Session,
    prompt: Option<(&mut Watches, &mut LineEditor)>,
) -> Result<CommandFlow, CommandFailure> {
    // What was answered before it stands before what it prints.
    session.flush()?;
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let sign = if name.starts_with('\\') { '\\' } else { '.' };
    let name =
        if name.eq_ignore_ascii_case("help") { "help" } else { name.strip_prefix(sign).unwrap_or(name) };
    let rest = rest.trim();
    if !COMMANDS.iter().any(|command| command.name == name) && name != "kinds" {
        return Err(CommandFailure::Usage(foreign::misuse(name, sign)));
    }
    // A pager and an editor are commands of the system, a statement is one of the language: their quotes are not ours.
    match (name, rest) {
        ("pager", rest) => {
            let typed = prompt.is_some();
            return settings::pager(rest, typed, session).map(|()| CommandFlow::Continue);
        }
        ("edit", rest) if prompt.is_some() => return edit::edit(rest, session).map(CommandFlow::Offer),
        ("edit", _) => return Err(CommandFailure::Usage(".edit is for the prompt".to_owned())),
        _ => {}
    }
    let arguments = words(rest)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (name, arguments.as_slice()) {
        ("quit" | "exit", []) => return Ok(CommandFlow::End),
        ("help", []) => help(session)?,
        ("help", [name]) if COMMANDS.iter().any(|command| is_named(command, name)) => help_of(name, session)?,
        ("help", words) => match forms::form_of(words) {
            Some(form) => say(form.trim_end()),
            None => match words {
                [name] => help_of(name, session)?,
                _ => {
                    return Err(CommandFailure::Usage(format!(
                        "no statement begins with {}",
                        words.join(" ")
                    )));
                }
            },
        },
        ("types" | "kinds" | "stats", []) => session.run_entry(&format!("SHOW {name}"))?,
        ("watch" | "unwatch", [] | [_]) => {
            let Some((watches, editor)) = prompt else {
                let instead = "SUBSCRIBE gives events as they come, and so does bygone watch";
                return Err(CommandFailure::Usage(format!(".{name} is for the prompt; {instead}")));
            };
            watching(name, arguments.first().copied(), session, watches, editor)?;
        }
        ("read", [file]) => read(file, session)?,
        ("import", [file, _]) if !file.starts_with('-') && !arguments[1].starts_with('-') => {
            let message = ".import takes no table: FILE has events as JSON, each with its type";
            return Err(CommandFailure::Usage(message.to_owned()));
        }
        ("import", [_, ..]) => import(&arguments, session)?,
        ("export", [_, ..]) => export(&arguments, session)?,
        ("backup", [_, ..]) => backup(&arguments, session)?,
        ("schema", [] | [_]) => schema::schema(arguments.first().copied(), session)?,
        ("dump", []) => schema::dump(session)?,
        (name, arguments) => match settings::set(name, arguments, rest, session)? {
            true => {}
            false => return Err(CommandFailure::Usage(foreign::misuse(name, sign))),
        },
    }
    Ok(CommandFlow::Continue)
}

/// `.watch` and `.unwatch`.
fn watching(
    name: &str,
    pattern: Option<&str>,
    session: &Session,
    watches: &mut Watches,
    editor: &mut LineEditor,
) -> Result<(), CommandFailure> {
    match (name, pattern) {
        ("watch", None) if watches.is_empty() => {
            session.speech.notice("nothing is watched; .watch 'Order.*' begins to");
        }
        ("watch", None) => watches.patterns().for_each(say),
        ("watch", Some(pattern)) => watch(pattern, session, watches, editor)?,
        (_, None) => drop(watches.stop_all()),
        (_, Some(pattern)) => {
            if !watches.stop(&pattern.parse()?) {
                return Err(CommandFailure::Usage(format!(
                    "'{pattern}' is not watched; .watch lists what is"
                )));
            }
        }
    }
    Ok(())
}

/// Whether a command, given with its sign, may write into the database.
pub fn may_write(command: &str) -> bool {
    let name = command.split_whitespace().next().unwrap_or_default();
    matches!(name.trim_start_matches(['.', '\\']), "import" | "read")
}

/// The list of commands. At a prompt it is read, and may be longer than the screen.
fn help(session: &mut Session) -> Result<(), CommandFailure> {
    let widest = COMMANDS.iter().map(|command| usage(command).len()).max().unwrap_or(0);
    let lines = COMMANDS.iter().map(|command| format!("{:widest$}  {}\n", usage(command), command.about));
    let text = lines.collect::<String>() + BEGINNING;
    // Help is no result: it does not go into the file of those.
    if session.prompts() && session.output_file().is_none() {
        return session.print(&(text + "\n"));
    }
    say(&text);
    Ok(())
}

fn is_named(command: &ShellCommand, name: &str) -> bool {
    command.name == name.trim_start_matches(['.', '\\'])
}

/// What one command is for.
fn help_of(name: &str, session: &mut Session) -> Result<(), CommandFailure> {
    match COMMANDS.iter().find(|command| is_named(command, name)) {
        Some(command) => say(&format!("{}  {}", usage(command), command.about)),
        // Somebody asks for a statement, perhaps.
        None if name.chars().all(char::is_alphabetic) && name == name.to_uppercase() => help(session)?,
        None => {
            return Err(CommandFailure::Usage(foreign::misuse(name.trim_start_matches(['.', '\\']), '.')));
        }
    }
    Ok(())
}

fn usage(command: &ShellCommand) -> String {
    format!(".{} {}", command.name, command.arguments).trim_end().to_owned()
}

fn watch(
    pattern: &str,
    session: &Session,
    watches: &mut Watches,
    editor: &mut LineEditor,
) -> Result<(), CommandFailure> {
    let pattern: Pattern = pattern.parse()?;
    let printer = editor.create_external_printer().map_err(|e| {
        CommandFailure::Usage(format!("this terminal cannot show what happens meanwhile: {e}"))
    })?;
    if !watches.start(&session.db(), pattern, printer, session.terminal.output_colors)? {
        session.speech.notice("that is watched already");
    }
    Ok(())
}

fn read(file: &str, session: &mut Session) -> Result<(), CommandFailure> {
    let stream = File::open(file).map_err(|e| CommandFailure::reading(file, e))?;
    input::run_stream(session, BufReader::new(stream), file, input::EofPolicy::None)
}

/// What may be said on the command line may be said here.
fn import(arguments: &[&str], session: &mut Session) -> Result<(), CommandFailure> {
    // As for a backup.
    let arguments: cli::ImportArgs = arguments_of("import", &[&["session"], arguments].concat())?;
    if arguments.events == Path::new("-") {
        return Err(CommandFailure::Usage(
            "standard input is the prompt's; name a file of events".to_owned(),
        ));
    }
    let source = transfer::open_events(&arguments, &session.signals)?;
    transfer::import(&session.db(), source, &arguments, session.speech, &session.signals)
}

fn export(arguments: &[&str], session: &mut Session) -> Result<(), CommandFailure> {
    let arguments: cli::ExportArgs = arguments_of("export", arguments)?;
    let file = arguments.file.display().to_string();
    let mut target = File::create_new(&file).map_err(|e| CommandFailure::writing(&file, e))?;
    transfer::export(
        &session.db(),
        (&arguments.options(), arguments.pattern.as_ref()),
        &mut target,
        &file,
        session.speech,
        &session.signals,
    )
}

fn backup(arguments: &[&str], session: &mut Session) -> Result<(), CommandFailure> {
    // The database is the session's.
    let arguments: cli::BackupArgs = arguments_of("backup", &[&["session"], arguments].concat())?;
    maintain::backup(&session.db(), &arguments, session.speech, &session.signals)
}

fn arguments_of<T: Parser>(name: &str, arguments: &[&str]) -> Result<T, CommandFailure> {
    T::try_parse_from([name].iter().chain(arguments)).map_err(|error| {
        let error = error.to_string();
        let first = error.lines().next().unwrap_or_default();
        CommandFailure::Usage(first.trim_start_matches("error: ").to_owned())
    })
}

/// The words of a text; quotes hold one together.
fn words(text: &str) -> Result<Vec<String>, CommandFailure> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '\'' | '"' => rest[1..]
                .split_once(first)
                .ok_or_else(|| CommandFailure::Usage(format!("the quote {first} is not closed")))?,
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_have_quotes() {
        assert_eq!(words("a 'b c'  \"d\"").unwrap(), ["a", "b c", "d"]);
        assert!(words("").unwrap().is_empty());
        assert!(words("'a").is_err());
    }

    #[test]
    fn leaving_needs_no_dot() {
        assert_eq!(of("exit;"), Some(".quit"));
        assert_eq!(of("HELP"), Some(".help"));
        assert_eq!(of(".types"), Some(".types"));
        assert_eq!(of("SHOW TYPES"), None);
    }
}
