//! The commands of the session: about it, not the data. Each begins with a dot, and is good at the prompt, in a script and after `-c`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use bygone::Pattern;
use clap::Parser;

use super::cli::{self, Format};
use super::failure::{CommandFailure, say};
use super::input;
use super::repl::{LineEditor, Watches};
use super::session::Session;
use super::terminal::harmless_lines;
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
    Choice(&'static [&'static str]),
    Other,
}

/// What comes after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFlow {
    Continue,
    End,
}

const fn command(name: &'static str, arguments: &'static str, about: &'static str) -> ShellCommand {
    ShellCommand { name, arguments, about }
}

/// All of them, in the order of `.help`.
pub const COMMANDS: &[ShellCommand] = &[
    command("help", "", "this list, and statements to begin with"),
    command("quit", "", "leave; so do .exit and Ctrl-D"),
    command("exit", "", "leave"),
    command("types", "", "the types of events, and how many of each"),
    // command("kinds", "", "the kinds of entities"), once SHOW KINDS is answered
    command("stats", "", "how big everything is"),
    command("format", "[table|json|csv|line]", "how results are shown"),
    command("actor", "[KIND ID|none]", "on whose behalf events are appended"),
    command("param", "[NAME=VALUE|NAME]", "give $NAME a value, or forget it"),
    command("timer", "[on|off]", "say how long statements took"),
    command("watch", "[PATTERN]", "print events above the prompt as they come"),
    command("unwatch", "[PATTERN]", "stop that, or all of it"),
    command("read", "FILE", "run the statements of a file"),
    command("import", "FILE [--restore] [--on-conflict skip]", "append events from JSON"),
    command("export", "FILE [PATTERN] [--format FORM]", "write events as JSON into a new file"),
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
        // psql's begin with a backslash, which begins no statement.
        _ => entry.starts_with(['.', '\\']).then_some(entry),
    }
}

/// What may come after a name.
pub fn argument(name: &str) -> Argument {
    match name {
        "read" | "import" | "export" => Argument::File,
        "watch" | "unwatch" => Argument::Pattern,
        "help" => Argument::Command,
        "format" => Argument::Choice(&["table", "json", "csv", "line"]),
        "timer" => Argument::Choice(&["on", "off"]),
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
    let name = name.strip_prefix(sign).unwrap_or(name);
    let rest = rest.trim();
    if !COMMANDS.iter().any(|command| command.name == name) && name != "kinds" {
        return Err(CommandFailure::Usage(misuse(name, sign)));
    }
    let arguments = words(rest)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (name, arguments.as_slice()) {
        ("quit" | "exit", []) => return Ok(CommandFlow::End),
        ("help", _) => help(),
        ("types" | "kinds" | "stats", []) => session.run_entry(&format!("SHOW {name}"))?,
        ("format", []) => say(session.format().name()),
        ("format", [name]) => session.set_format(format(name)?),
        ("actor", []) => match session.actor() {
            Some(actor) => say(&harmless_lines(&actor.to_string())),
            None => say("none"),
        },
        ("actor", ["none"]) => session.set_actor(None),
        ("actor", _) => session.set_actor(Some(rest.parse()?)),
        ("param", []) => {
            if session.parameters().is_empty() {
                session.speech.notice("no parameter has a value; .param NAME=VALUE gives it one");
            }
            for (name, value) in session.parameters() {
                say(&harmless_lines(&format!("${name} = {value}")));
            }
        }
        ("param", _) if rest.contains('=') => {
            let (name, value) = cli::parameter(rest).map_err(CommandFailure::Usage)?;
            session.set_parameter(name, value);
        }
        ("param", [name]) => {
            if !session.unset_parameter(name.trim_start_matches('$')) {
                return Err(CommandFailure::Usage(format!(
                    "there is no parameter {name}; .param NAME=VALUE makes one"
                )));
            }
        }
        ("timer", []) => session.timer = !session.timer,
        ("timer", ["on"]) => session.timer = true,
        ("timer", ["off"]) => session.timer = false,
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
        _ => return Err(CommandFailure::Usage(misuse(name, sign))),
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

fn help() {
    let widest = COMMANDS.iter().map(|command| usage(command).len()).max().unwrap_or(0);
    for command in COMMANDS {
        say(&format!("{:widest$}  {}", usage(command), command.about));
    }
    say(BEGINNING);
}

fn usage(command: &ShellCommand) -> String {
    format!(".{} {}", command.name, command.arguments).trim_end().to_owned()
}

/// Commands of other shells, and what to write instead.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["tables", "dt", "dn"], "SHOW TYPES lists the types of events, SHOW KINDS the kinds of entities"),
    (&["schema", "d", "d+", "describe", "fullschema"], "DESCRIBE Order shows a kind, SHOW KINDS lists them"),
    (&["indexes", "indices", "di"], "SHOW INDEXES lists the indexes"),
    (&["dv", "views"], "SHOW VIEWS lists the views"),
    (&["df"], "SHOW VERBS lists what can be performed"),
    (&["du", "dp"], "there are no users and no rights: whoever can open the file can use it"),
    (&["mode", "a", "pset", "output"], ".format says how results are shown: table, json, csv or line"),
    (&["x", "G"], ".format line shows one value a line"),
    (&["headers", "header", "t"], "tables and CSV always have a header line; .format json has none"),
    (&["timing"], ".timer on says how long statements took"),
    (&["copy"], ".import FILE reads events from JSON, .export FILE writes them"),
    (&["i", "ir", "source"], ".read FILE runs the statements of a file"),
    (&["dump", "save", "clone", "o", "once"], ".export FILE writes events as JSON"),
    (&["backup"], "BACKUP TO 'copy.bygone' copies the database, while it is used"),
    (&["restore"], ".import FILE --restore rebuilds a log from its export"),
    (
        &["open", "databases", "l", "c", "connect", "attach"],
        "a session has one database; bygone FILE opens another",
    ),
    (&["parameter", "set"], ".param NAME=VALUE gives $NAME a value"),
    (&["clear", "cls"], "Ctrl-L clears the screen"),
    (&["shell", "system", "!"], "commands of the system run outside of bygone"),
    (&["h"], ".help lists the commands, and statements to begin with"),
    (&["version"], "bygone --version prints the version"),
];

/// What to say of a command that is wrong, or none; it began with a sign.
fn misuse(name: &str, sign: char) -> String {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return format!("it is used like this: {}", usage(command));
    }
    let instead = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)).map(|(_, instead)| *instead);
    if let Some(instead) = instead {
        return format!("there is no command {sign}{name}; {instead}");
    }
    let near = COMMANDS.iter().map(|command| (strsim::damerau_levenshtein(name, command.name), command.name));
    match near.min().filter(|(distance, near)| *distance <= 2 && *distance < near.len()) {
        Some((_, near)) => format!("there is no command {sign}{name}; did you mean .{near}?"),
        None => format!("there is no command {sign}{name}; .help lists them"),
    }
}

fn format(name: &str) -> Result<Format, CommandFailure> {
    let known = || Format::ALL.map(Format::name).join(", ");
    let format = Format::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name));
    format.ok_or_else(|| CommandFailure::Usage(format!("there is no format {name}; there are {}", known())))
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
    // The database is the session's.
    let arguments: cli::ImportArgs = arguments_of("import", &[&["session"], arguments].concat())?;
    if arguments.events == Path::new("-") {
        return Err(CommandFailure::Usage(
            "standard input is the prompt's; name a file of events".to_owned(),
        ));
    }
    let source = transfer::open_events(&arguments.events, &session.signals)?;
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
    fn a_slip_finds_its_command() {
        assert_eq!(misuse("typs", '.'), "there is no command .typs; did you mean .types?");
        assert_eq!(misuse("zzzz", '.'), "there is no command .zzzz; .help lists them");
        assert_eq!(misuse("read", '.'), "it is used like this: .read FILE");
        assert_eq!(
            misuse("d", '\\'),
            "there is no command \\d; DESCRIBE Order shows a kind, SHOW KINDS lists them"
        );
    }

    #[test]
    fn leaving_needs_no_dot() {
        assert_eq!(of("exit;"), Some(".quit"));
        assert_eq!(of("HELP"), Some(".help"));
        assert_eq!(of(".types"), Some(".types"));
        assert_eq!(of("SHOW TYPES"), None);
    }
}
