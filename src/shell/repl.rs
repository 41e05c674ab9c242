//! The prompt.

mod assistant;
mod history;
mod watch;

use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Behavior, ColorMode, CompletionType, Config, EditMode, Editor};

use super::cli::RunArgs;
use super::commands::{self, CommandFlow};
use super::config;
use super::failure::{CommandFailure, say};
use super::session::{KeyMode, Session};
use super::terminal::count;
use assistant::Assistant;
use history::History;
pub use watch::Watches;

/// The line editor of this prompt.
pub type LineEditor = Editor<Assistant, FileHistory>;

/// Reads and runs until the person has enough.
pub fn run(session: &mut Session, run: &RunArgs, read_only: bool) -> Result<(), CommandFailure> {
    session.talk_to_a_person();
    let mut editor = editor(session)?;
    let history = History::load(&mut editor);
    let prompt = prompt(run, read_only);
    let events = count(session.db().head().map_err(CommandFailure::from)?.0, "event");
    let version = env!("CARGO_PKG_VERSION");
    session
        .speech
        .notice(&format!("Bygone {version}, {events}. Type .help for help, .quit or Ctrl-D to leave."));

    if !run.no_config
        && let Err(failure) = config::run(session)
    {
        session.speech.failure(&failure);
    }
    let mut watches = Watches::default();
    let (mut cleared, mut offered) = (false, String::new());
    loop {
        let signals = session.signals.clone();
        if let Some(assistant) = editor.helper_mut() {
            assistant.ask_of(session.db());
        }
        editor.set_edit_mode(match session.keys {
            KeyMode::Emacs => EditMode::Emacs,
            KeyMode::Vi => EditMode::Vi,
        });
        let text = std::mem::take(&mut offered);
        let Some(read) = signals.waiting(|| editor.readline_with_initial(&prompt, (&text, ""))) else {
            // It was meant for a statement that has just ended.
            signals.forget();
            continue;
        };
        let line = match entered(read, &mut cleared, session)? {
            PromptEntry::Line(line) => line,
            PromptEntry::Nothing => continue,
            PromptEntry::End => return Ok(()),
        };
        let entry = line.trim();
        if entry.is_empty() {
            continue;
        }
        history.add(&mut editor, entry);
        session.watched = !watches.is_empty();
        let outcome = match commands::of(entry) {
            Some(command) => commands::run(command, session, Some((&mut watches, &mut editor))),
            None => {
                session.last = Some(entry.to_owned());
                session.run_entry(entry).map(|()| CommandFlow::Continue)
            }
        };
        let outcome = session.flush().and(outcome);
        match outcome {
            Ok(CommandFlow::Continue) => {}
            Ok(CommandFlow::End) => return Ok(()),
            Ok(CommandFlow::Offer(text)) => offered = text,
            Err(CommandFailure::Closed) => return Err(CommandFailure::Closed),
            Err(failure) => {
                if matches!(failure, CommandFailure::Interrupted) {
                    // The terminal wrote ^C where the cursor was.
                    say("");
                    session.signals.forget();
                }
                session.speech.failure(&failure);
            }
        }
    }
}

/// What came of a look at the prompt.
enum PromptEntry {
    Line(String),
    Nothing,
    End,
}

fn entered(
    read: rustyline::Result<String>,
    cleared: &mut bool,
    session: &Session,
) -> Result<PromptEntry, CommandFailure> {
    match read {
        Ok(line) => {
            *cleared = false;
            Ok(PromptEntry::Line(line))
        }
        Err(ReadlineError::Interrupted) => {
            // Once clears the line. Who does it again wants something else.
            if std::mem::replace(cleared, true) {
                session.speech.notice("Ctrl-D or .quit leaves");
            }
            Ok(PromptEntry::Nothing)
        }
        Err(ReadlineError::Eof) => {
            // An editor leaves its line, a terminal without one stays behind the prompt.
            if std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
                say("");
            }
            Ok(PromptEntry::End)
        }
        Err(ReadlineError::Io(error)) => Err(CommandFailure::reading("the prompt", error)),
        Err(ReadlineError::Errno(error)) => Err(CommandFailure::reading("the prompt", error.into())),
        // A signal, a window that changed its size: nothing was entered.
        Err(_) => Ok(PromptEntry::Nothing),
    }
}

fn prompt(run: &RunArgs, read_only: bool) -> String {
    let name = run.file.file_stem().unwrap_or(run.file.as_os_str()).to_string_lossy();
    if read_only { format!("{name} (read-only)> ") } else { format!("{name}> ") }
}

fn editor(session: &Session) -> Result<LineEditor, CommandFailure> {
    let colors = session.terminal.output_colors;
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .color_mode(if colors { ColorMode::Enabled } else { ColorMode::Disabled })
        // Results may go elsewhere; the prompt is for the terminal.
        .behavior(if session.terminal.output { Behavior::Stdio } else { Behavior::PreferTerm })
        .build();
    let failed = |e: ReadlineError| CommandFailure::reading("the prompt", std::io::Error::other(e));
    let mut editor = LineEditor::with_config(config).map_err(failed)?;
    editor.set_auto_add_history(false);
    editor.set_helper(Some(Assistant::new(session.db(), colors)));
    Ok(editor)
}
