//! `bygone run`: a database that is open live, for what is defined to run: reactions, webhooks and schedules.
//!
//! It runs until a signal comes, which is how it is meant to end; or, if asked to, until nothing is left to do. Statements that come from
//! standard input are run meanwhile, as by `bygone FILE`; one that fails is told, and the next is run.

use std::time::Duration;

use bygone::Db;
use bygone::share::SharedDb;

use super::cli::{Format, Live, OpenArgs};
use super::failure::{CommandFailure, Reporter};
use super::input::{self, EofPolicy};
use super::metrics;
use super::open::{self, IfMissing};
use super::scripts::Scripts;
use super::session::Session;
use super::signal::Signals;
use super::terminal::{Terminal, count};

/// How soon to look again whether nothing is left to do, in between.
const LOOK: Duration = Duration::from_millis(10);

/// Runs what is defined to run.
pub fn run(
    live: &Live,
    opening: &OpenArgs,
    format: Format,
    terminal: Terminal,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    live.run.check(format)?;
    let scripts = Scripts::parse(&live.run.statements(), opening.longest_statement())?;
    scripts.check_parameters(&live.run)?;
    // Whoever ends it with a signal has it end well.
    signals.end_well();
    let db = open::open_live(&live.run.file, opening, IfMissing::Fail, speech)?;
    let shared = SharedDb::from(db.clone());
    signals.opened(&shared);
    let metrics = live.metrics.map(|address| metrics::serve(address, &db)).transpose()?;
    if let Some(metrics) = &metrics {
        speech.notice(&format!("metrics are at http://{}/metrics", metrics.address()));
    }
    speech.notice(&begun(&db)?);
    let mut session = Session::new(shared, terminal, speech, signals.clone(), format, (&live.run, opening));
    session.go_on();
    let mut result = session.run_scripts(&scripts);
    if result.is_ok() && !terminal.input {
        result =
            input::run_stream(&mut session, std::io::stdin().lock(), "standard input", EofPolicy::Needed);
    }
    match session.flush().and(result) {
        Err(CommandFailure::Interrupted) => return session.first_failure(),
        result => result?,
    }
    if live.until_idle {
        while !signals.interrupted() && !db.is_idle()? {
            std::thread::sleep(LOOK);
        }
    } else {
        // The signal itself closes the database and ends the program.
        signals.waiting(|| {
            loop {
                std::thread::park();
            }
        });
    }
    session.first_failure()
}

/// What is said as it begins.
fn begun(db: &Db) -> Result<String, CommandFailure> {
    let mut parts = Vec::new();
    for (shown, what) in [("REACTIONS", "reaction"), ("WEBHOOKS", "webhook"), ("SCHEDULES", "schedule")] {
        let rows = match db.query(&format!("SHOW {shown}")) {
            Ok(answer) => answer.rows.count(),
            Err(error) => return Err(error.into()),
        };
        if rows > 0 {
            parts.push(count(rows as u64, what));
        }
    }
    let what = if parts.is_empty() { "what is defined from now on".to_owned() } else { parts.join(", ") };
    Ok(format!("running {what}; Ctrl-C ends it"))
}
