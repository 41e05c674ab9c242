//! `bygone forget`: forgets whoever a list names.

use std::io::BufRead;

use bygone::maintain::ListedSubject;

use super::cli::{ForgetArgs, OpenArgs};
use super::failure::{CommandFailure, Reporter};
use super::signal::Signals;
use super::transfer::open_input;
use super::{open, terminal};

/// `bygone forget FILE LIST`. All of the list is read before anybody is forgotten.
pub fn forget_listed(
    arguments: &ForgetArgs,
    opening: &OpenArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let place = arguments.list.display().to_string();
    let mut listed: Vec<ListedSubject> = Vec::new();
    for (line, number) in open_input(&arguments.list, signals)?.into_stream().lines().zip(1..) {
        let line = line.map_err(|e| CommandFailure::reading(&place, e))?;
        if line.trim().is_empty() {
            continue;
        }
        let said = line.parse();
        listed.push(said.map_err(|error| CommandFailure::Usage(format!("{place}, line {number}: {error}")))?);
    }
    let named = listed.len() as u64;
    let db = open::open(&arguments.file, opening, open::IfMissing::Fail, speech)?;
    signals.opened(&db);
    let db = open::opened(&db, "bygone forget")?;
    let forgotten = db.cancelled_by(&signals.statement(None)).forget_listed(listed)?;
    db.close()?;
    let done = match named - forgotten {
        0 => String::new(),
        others => format!("; {others} of the list already were"),
    };
    speech.notice(&format!("forgot {}{done}", terminal::count(forgotten, "subject")));
    Ok(())
}
