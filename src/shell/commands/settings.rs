//! Commands that say how the session goes on: formats, outputs, the pager, the actor, parameters.

use clap::ValueEnum;

use super::super::cli::{self, Format};
use super::super::failure::{CommandFailure, say};
use super::super::pager::PagerChoice;
use super::super::session::{KeyMode, Session};
use super::super::terminal::harmless_lines;

/// Sets something, or says how it is. False if it is not used like this.
pub fn set(
    name: &str,
    arguments: &[&str],
    rest: &str,
    session: &mut Session,
) -> Result<bool, CommandFailure> {
    match (name, arguments) {
        ("mode" | "format", []) => say(session.format().name()),
        ("mode" | "format", [name]) => session.set_format(format(name)?),
        ("output", [] | ["stdout" | "-" | "off"]) => session.restore_output()?,
        ("output" | "once", [command, ..]) if command.starts_with('|') => {
            let message = "results go into a file: bygone FILE 'STATEMENT' | COMMAND gives them to a program";
            return Err(CommandFailure::Usage(message.to_owned()));
        }
        ("output", [file]) => session.redirect(file, false)?,
        ("once", [file]) => session.redirect(file, true)?,
        ("show", []) => show(session),
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
        ("keys", []) => say(session.keys.name()),
        ("keys", ["emacs"]) => session.keys = KeyMode::Emacs,
        ("keys", ["vi"]) => session.keys = KeyMode::Vi,
        _ => return Ok(false),
    }
    Ok(true)
}

/// `.show`: how everything is set.
fn show(session: &Session) {
    let switch = |on| if on { "on" } else { "off" };
    let actor = session.actor().map_or_else(|| "none".to_owned(), ToString::to_string);
    for (name, value) in [
        ("mode", session.format().name()),
        ("output", session.output_file().unwrap_or("standard output")),
        ("pager", &format!("{}: {}", switch(session.pager.on), session.pager.command)),
        ("actor", &actor),
        ("timer", switch(session.timer)),
        ("keys", session.keys.name()),
    ] {
        say(&harmless_lines(&format!("{name:>6} = {value}")));
    }
}

/// `.pager`: what it is; on, off, or this command from now on. A script names none: it would run what it likes.
pub fn pager(rest: &str, typed: bool, session: &mut Session) -> Result<(), CommandFailure> {
    match rest {
        "" => {
            let state = if session.pager.on { "on" } else { "off" };
            say(&harmless_lines(&format!("{state}: {}", session.pager.command)));
        }
        "on" => session.pager.on = true,
        "off" => session.pager.on = false,
        command if typed || session.is_own() => session.pager = PagerChoice::of(command),
        _ => {
            let why = "a script names no pager: .pager COMMAND is for the prompt and for bygonerc";
            return Err(CommandFailure::Usage(why.to_owned()));
        }
    }
    Ok(())
}

fn format(name: &str) -> Result<Format, CommandFailure> {
    Format::from_str(name, true).map_err(|_| {
        let known = Format::names().join(", ");
        CommandFailure::Usage(format!("there is no format {name}; there are {known}"))
    })
}
