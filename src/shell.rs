//! The shell: a database at a prompt, in a pipe, or in a script.
//!
//! The life of a run: [`cli`] reads the command line; [`open`] opens or creates the file; statements come from `-c`, from
//! standard input ([`input`]) or from the prompt ([`repl`]); a [`session`] runs them one after the other and [`render`]s
//! what they answer. Results go to an [`output`]: standard output, a file or a [`pager`]; everything else goes to standard
//! error. What goes wrong is a [`failure`], and [`exit`] tells its code.

mod check;
mod cli;
mod commands;
mod config;
mod csv_import;
mod escape;
mod exit;
mod failure;
mod forget;
mod generate;
mod input;
mod maintain;
mod meter;
mod metrics;
mod open;
mod output;
mod pager;
mod render;
mod repl;
mod run;
mod scripts;
mod serve;
mod session;
mod signal;
mod terminal;
mod transfer;
mod unpacked;
mod watch;

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Parser;

use cli::{Cli, CliCommand, Format, OpenArgs, RunArgs};
use exit::Exit;
use failure::{CommandFailure, Reporter};
use input::EofPolicy;
use open::IfMissing;
use scripts::Scripts;
use session::Session;
use signal::Signals;
use terminal::{Terminal, harmless_lines};

/// All of the program.
pub fn main() -> Exit {
    // `bygone help` is what people type who have not read it.
    let is_help = |argument: &std::ffi::OsString| argument == "help";
    let arguments: Vec<_> = std::env::args_os().collect();
    let arguments = match arguments.as_slice() {
        [program, help] if is_help(help) && !std::path::Path::new("help").exists() => {
            vec![program.clone(), "--help".into()]
        }
        _ => arguments,
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, but not to anybody else. A closed output is no reason to fail.
            let _ = match error.use_stderr() && std::io::stderr().is_terminal() {
                // It quotes what was typed, or pasted.
                true => {
                    writeln!(std::io::stderr(), "{}", harmless_lines(error.render().to_string().trim_end()))
                }
                false => error.print(),
            };
            return if error.use_stderr() { Exit::Usage } else { Exit::Success };
        }
    };
    let terminal = Terminal::detect();
    let speech = Reporter::new(&terminal, cli.format(&terminal), cli.chose_format());
    let signals = Signals::install(speech);
    let result = match run(cli, terminal, speech, &signals) {
        // A signal may come just when everything was done; whoever sent it is told that it came.
        Ok(()) if signals.interrupted() && !signals.ends_well() => Err(CommandFailure::Interrupted),
        result => result,
    };
    let exit = match &result {
        Ok(()) => Exit::Success,
        Err(failure) => {
            speech.failure(failure);
            failure.exit()
        }
    };
    match signals.close() {
        Ok(()) => exit,
        // What went wrong first is what the exit code tells.
        Err(error) => {
            let failure = CommandFailure::from(error);
            speech.failure(&failure);
            if exit == Exit::Success { failure.exit() } else { exit }
        }
    }
}

fn run(cli: Cli, terminal: Terminal, speech: Reporter, signals: &Signals) -> Result<(), CommandFailure> {
    let format = cli.format(&terminal);
    cli::given("--key", cli.opening.key.as_ref())?;
    match cli.command {
        Some(CliCommand::Run(live)) => run::run(&live, &cli.opening, format, terminal, speech, signals),
        Some(CliCommand::Serve(serving)) => serve::serve(&serving, &cli.opening, speech, signals),
        Some(CliCommand::Watch(watch)) => watch::watch(&watch, &cli.opening, speech, signals),
        Some(CliCommand::Import(import)) => transfer::import_file(&import, &cli.opening, speech, signals),
        Some(CliCommand::Export(export)) => transfer::export_file(&export, &cli.opening, speech, signals),
        Some(CliCommand::Backup(backup)) => maintain::backup_file(&backup, &cli.opening, speech, signals),
        Some(CliCommand::Check(check)) => {
            check::check_file(&check, &cli.opening, format, &terminal, speech, signals)
        }
        Some(CliCommand::Rescue(rescue)) => {
            maintain::rescue_file(&rescue, &cli.opening, format, speech, signals)
        }
        Some(CliCommand::Completions(asked)) => generate::completions(&asked),
        Some(CliCommand::Man(asked)) => generate::manual(&asked),
        Some(CliCommand::Forget(listed)) => forget::forget_listed(&listed, &cli.opening, speech, signals),
        Some(CliCommand::Compact(compact)) => {
            statements(compact.run(), &cli.opening, format, terminal, speech, signals)
        }
        Some(CliCommand::Verify(verify)) => {
            statements(verify.run(), &cli.opening, format, terminal, speech, signals)
        }
        None => {
            let Some(run) = cli.run else {
                // clap requires it where there is no command.
                return Err(CommandFailure::Usage("a FILE is missing".to_owned()));
            };
            statements(run, &cli.opening, format, terminal, speech, signals)
        }
    }
}

/// `bygone FILE`: statements, or the prompt.
fn statements(
    run: RunArgs,
    opening: &OpenArgs,
    format: Format,
    terminal: Terminal,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    run.check(format)?;
    open::check_is_file(&run)?;
    // Before the file is touched: what is wrong is wrong before anything is made or written.
    let scripts = Scripts::parse(&run.statements(), opening.longest_statement())?;
    scripts.check_parameters(&run)?;
    let creates = !run.has_statements() || scripts.has_write();
    let missing = match (creates, run.create) {
        (true, true) => IfMissing::Create,
        (true, false) => IfMissing::CreateNamed,
        (false, _) => IfMissing::Fail,
    };
    let db = match run.has_statements() && scripts.only_reads() {
        true => open::open_to_read(&run.file, opening, speech)?,
        false => open::open(&run.file, opening, missing, speech)?,
    };
    signals.opened(&db);
    // What cannot be read is told to whoever asks for it.
    if let Some(line) = waiting(&db.behind().unwrap_or_default(), &run.file) {
        speech.notice(&line);
    }
    let mut session = Session::new(db, terminal, speech, signals.clone(), format, (&run, opening));
    converse(&run, &scripts, &mut session, opening.read_only)
}

/// What waits for somebody to run it, in one line, and how that is done.
fn waiting(behind: &[String], file: &Path) -> Option<String> {
    /// So many are told by name.
    const TOLD: usize = 3;
    if behind.is_empty() {
        return None;
    }
    let told = behind.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match behind.len() - behind.len().min(TOLD) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!("{told}{more}: bygone run {} runs what waits", file.display()))
}

fn converse(
    run: &RunArgs,
    scripts: &Scripts,
    session: &mut Session,
    read_only: bool,
) -> Result<(), CommandFailure> {
    if !run.has_statements() && session.terminal.input {
        return repl::run(session, run, read_only);
    }
    let result = if !run.has_statements() {
        input::run_stream(session, std::io::stdin().lock(), "standard input", EofPolicy::Needed)
    } else {
        session.run_scripts(scripts)
    };
    // What was answered before a failure is shown before it.
    session.flush().and(result)
}
