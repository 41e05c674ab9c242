//! Opening the file, and saying what was found.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use bygone::read::Script;
use bygone::share::{SharedAccess, SharedDb};
use bygone::{Db, Error, Options};
use clap::CommandFactory;

use super::cli::{Cli, OpenArgs, RunArgs};
use super::commands;
use super::failure::{CommandFailure, Reporter};

/// What to do when there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// One is created.
    Create,
    /// One is created where its name has an extension: what has none is likely to be something else.
    CreateNamed,
    Fail,
}

/// Opens the database, or makes one and says so: a name mistyped must not pass for an empty database.
///
/// Where another process has it open and shares it, it is asked there.
pub fn open(
    path: &Path,
    opening: &OpenArgs,
    missing: IfMissing,
    speech: Reporter,
) -> Result<SharedDb, CommandFailure> {
    /// Who opens or closes the file just now is given so long.
    const PATIENCE: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(20);
    if opening.attach {
        return attach(path, opening, speech);
    }
    let since = Instant::now();
    loop {
        let held = match open_here(path, opening, missing, speech) {
            Err(CommandFailure::Error { error: error @ Error::Held { by_name: false, .. }, .. }) => error,
            opened => return opened.map(SharedDb::from),
        };
        match attach(path, opening, speech) {
            Err(CommandFailure::Error { error: Error::Unopenable { .. }, .. }) => {}
            attached => return attached,
        }
        // Who reads it, or does not share it, has it for longer.
        if since.elapsed() > PATIENCE {
            return Err(held.into());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks the process that has the file open.
pub fn attach(path: &Path, opening: &OpenArgs, speech: Reporter) -> Result<SharedDb, CommandFailure> {
    let db = Db::attach(path)?;
    if let Some(process) = db.process() {
        speech.notice(&format!("attached to process {process}"));
    }
    Ok(if opening.read_only { db.for_reading() } else { db })
}

/// Opens the file in this process, and in no other.
pub fn open_here(
    path: &Path,
    opening: &OpenArgs,
    missing: IfMissing,
    speech: Reporter,
) -> Result<Db, CommandFailure> {
    let db = open_with(Options::new(), path, opening, missing, speech)?;
    share(&db, opening, speech);
    Ok(db)
}

/// Lets others ask. Where that cannot be they are not asked, and this one works on.
fn share(db: &Db, opening: &OpenArgs, speech: Reporter) {
    let access = match (opening.private, opening.share_read_only) {
        (true, _) => return,
        (false, true) => SharedAccess::ReadOnly,
        (false, false) => SharedAccess::Full,
    };
    match db.share(access) {
        // Whoever only reads, or has no sockets, has nothing to share.
        Ok(()) | Err(Error::Unopenable { .. }) => {}
        Err(error) => speech.notice(&format!("others cannot attach to it: {error}")),
    }
}

/// Opens the database for statements that only read, so that others may read it meanwhile. What was not closed is recovered first, and
/// what is being built goes on: who finds a file so works on it as ever.
pub fn open_to_read(path: &Path, opening: &OpenArgs, speech: Reporter) -> Result<SharedDb, CommandFailure> {
    if !opening.read_only && !opening.attach && !is_free(path) && !is_only_read(path) {
        // Who holds it, or what is wrong with it, is told by the same words for all.
        let read = opening.options(Options::new()).read_only(true).open(path).ok();
        if let Some(db) = read.filter(is_whole) {
            return Ok(db.into());
        }
        return match open(path, opening, IfMissing::Fail, speech) {
            // Another one makes it whole just now, or reads it as this one did.
            Err(CommandFailure::Error { error: Error::Held { .. }, .. }) => {
                let read_only = OpenArgs { read_only: true, ..opening.clone() };
                open(path, &read_only, IfMissing::Fail, speech)
            }
            opened => opened,
        };
    }
    open(path, opening, IfMissing::Fail, speech)
}

/// Whether there is nothing left to be done in a file: nothing to be recovered, and nothing to be built.
fn is_whole(db: &Db) -> bool {
    let found = db.recovery();
    found.replayed == 0 && found.notices.is_empty() && matches!(db.wait_for_indexes(Duration::ZERO), Ok(true))
}

/// The same, with all running that is defined to run; what becomes of that is said.
pub fn open_live(
    path: &Path,
    opening: &OpenArgs,
    missing: IfMissing,
    speech: Reporter,
) -> Result<Db, CommandFailure> {
    let options = Options::new().live(true).reports(move |report| speech.notice(&report.to_string()));
    let db = open_with(options, path, opening, missing, speech)?;
    share(&db, opening, speech);
    Ok(db)
}

/// The database, where this process has it open.
pub fn opened<'d>(db: &'d SharedDb, command: &str) -> Result<&'d Db, CommandFailure> {
    db.opened().ok_or_else(|| {
        let process = db.process().unwrap_or_default();
        CommandFailure::Usage(format!(
            "{command} opens the file itself: end process {process}, which has it open"
        ))
    })
}

/// Whether a name is surely free: everything else is for opening to judge.
pub fn is_free(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false)) && !path.is_symlink()
}

/// Refuses what is no file: a statement, or the command of another program.
pub fn check_is_file(run: &RunArgs) -> Result<(), CommandFailure> {
    if is_free(&run.file)
        && !run.create
        && let Some(fault) = meant(&run.file)
    {
        return Err(CommandFailure::Usage(fault));
    }
    let file = run.file.display();
    if let Some(command) = run.texts.first().filter(|text| Cli::command().find_subcommand(text).is_some()) {
        return Err(CommandFailure::Usage(format!("a command comes first: bygone {command} {file}")));
    }
    match misplaced(run) {
        Some(fault) => Err(CommandFailure::Usage(fault)),
        None => Ok(()),
    }
}

/// A command that there is not, before its file; or a statement without quotes, of which the shell makes several arguments.
fn misplaced(run: &RunArgs) -> Option<String> {
    let is_statement = |text: &str| commands::of(text.trim()).is_some() || Script::parse(text).is_ok();
    let first = run.texts.first()?;
    let named = Path::new(first);
    let is_file = !first.contains(char::is_whitespace) && (named.is_file() || named.extension().is_some());
    if is_file && !run.create && run.file.extension().is_none() && is_free(&run.file) && !is_statement(first)
    {
        return Some(format!(
            "there is no command {}: the file comes first, as in bygone {first} 'EVENTS LAST 10'",
            run.file.display()
        ));
    }
    let in_pieces = run.texts.len() > 1
        && run.texts.iter().any(|text| !text.contains(char::is_whitespace) && !is_statement(text));
    in_pieces.then(|| {
        let whole = run.texts.join(" ");
        let shown = if whole.contains('\'') { format!("\"{whole}\"") } else { format!("'{whole}'") };
        format!("a statement is one argument, in quotes: bygone {} {shown}", run.file.display())
    })
}

/// What somebody may have meant who named a file that is not there.
fn meant(path: &Path) -> Option<String> {
    let name = path.to_str()?;
    // A statement, or a command of another program.
    let first = name.split_whitespace().next().unwrap_or_default();
    if name.contains(char::is_whitespace) && Script::parse(name).is_ok() {
        let shown = if name.contains('\'') { format!("\"{name}\"") } else { format!("'{name}'") };
        return Some(format!("{shown} is a statement, and the file comes first: bygone FILE {shown}"));
    }
    let statement =
        |statement: &str| format!("there is no command {first}, but a statement: bygone FILE '{statement}'");
    let instead = |instead: &str| format!("there is no command {first}: {instead}");
    Some(match first.to_ascii_lowercase().as_str() {
        "check" => statement("VERIFY"),
        "vacuum" => instead("bygone compact FILE writes the file anew, and smaller"),
        "checkpoint" => statement("CHECKPOINT"),
        "dump" => instead("bygone export FILE writes all events"),
        "restore" | "load" => instead("bygone import FILE EVENTS, with --restore for a whole export"),
        "query" | "sql" | "exec" => instead("bygone FILE 'STATEMENT' runs one"),
        "shell" | "open" | "create" | "init" | "new" => {
            instead("bygone FILE opens the file, and creates it if it is not there")
        }
        _ => return None,
    })
}

/// Whether there is a file that the system lets nobody write who runs this program.
fn is_only_read(path: &Path) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let written = OpenOptions::new().read(true).write(true).open(path);
    let refused = written.is_err_and(|error| matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem));
    refused && File::open(path).is_ok()
}

fn open_with(
    options: Options,
    path: &Path,
    opening: &OpenArgs,
    missing: IfMissing,
    speech: Reporter,
) -> Result<Db, CommandFailure> {
    let only_read = !opening.read_only && is_only_read(path);
    if only_read {
        let path = path.display();
        speech.notice(&format!("{path} may not be written: it is opened for reading, as with --read-only"));
    }
    let options = opening.options(options).read_only(opening.read_only || only_read);
    let missing = match missing {
        IfMissing::Fail if opening.follows_log() => IfMissing::CreateNamed,
        missing => missing,
    };
    // Only such a name is created.
    let free = is_free(path);
    if free && missing == IfMissing::CreateNamed && path.extension().is_none() {
        let name = path.display();
        return Err(CommandFailure::Usage(format!(
            "there is no file {name}; a new database is created where its name has an extension, like {name}.bygone, or \
             with --create"
        )));
    }
    if free && (missing == IfMissing::Fail || opening.read_only) {
        return Err(CommandFailure::from(Error::Unopenable {
            path: path.to_owned(),
            reason: "no such file".to_owned(),
            advice: "check its name; what writes, or the prompt, creates a new one".to_owned(),
        }));
    }
    if free {
        let db = options.create(path)?;
        speech.notice(&format!("created {}", path.display()));
        return Ok(db);
    }
    let db = options.open(path)?;
    let found = db.recovery();
    if found.replayed > 0 {
        let events = super::terminal::count(found.replayed, "event");
        speech.notice(&format!("the file was not closed last time; recovered {events} from its journal"));
    }
    for notice in &found.notices {
        speech.notice(notice);
    }
    if !found.set_aside.is_empty() {
        let names: Vec<_> = found.set_aside.iter().map(|name| name.display().to_string()).collect();
        speech.notice(&format!("nothing of the journal was removed: it is kept as {}", names.join(" and ")));
    }
    Ok(db)
}
