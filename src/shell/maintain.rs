//! Looking after the file: `bygone backup`, `bygone compact`, `bygone verify` and `bygone rescue`.

use std::io::{self, Write};

use bygone::maintain::{BackupMode, BackupOptions, Rescue};
use bygone::share::SharedDb;
use bygone::{Options, Parameters, Position};
use serde::Serialize;

use super::cli::{BackupArgs, CompactArgs, Format, OpenArgs, RescueArgs, RunArgs, VerifyArgs, given};
use super::exit::Exit;
use super::failure::{CommandFailure, Reporter};
use super::meter::{Meter, StatementMeter};
use super::open;
use super::signal::Signals;
use super::terminal::{count, grouped, harmless};

/// So many runs of missing positions are told to a person.
const GAPS: usize = 20;

/// `bygone backup`.
pub fn backup_file(
    arguments: &BackupArgs,
    opening: &OpenArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let db = open::open_to_read(&arguments.file, opening, speech)?;
    signals.opened(&db);
    backup(&db, arguments, speech, signals)
}

/// Makes a backup of a database that is open, here or elsewhere.
pub fn backup(
    db: &SharedDb,
    arguments: &BackupArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let Some(db) = db.opened() else { return attached_backup(db, arguments, speech, signals) };
    let mode = match (arguments.increment, arguments.replace) {
        (true, _) => BackupMode::Increment,
        (_, true) => BackupMode::Replace,
        (false, false) => BackupMode::New,
    };
    let mut options = BackupOptions::from(mode).without_keys(arguments.without_keys);
    if let Some(key) = given("--backup-key", arguments.backup_key.as_ref())? {
        options = options.key(key.clone());
    }
    let mut meter = Meter::new("backed up", speech);
    let cancel = signals.statement(None);
    let shown = StatementMeter::of("BACKUP", &cancel, speech);
    let made = db.cancelled_by(&cancel).backup_with(&arguments.to, options, &mut |so_far| {
        meter.count(so_far.events);
    });
    drop(shown);
    match made {
        Ok(backup) => {
            let at = format!("{} holds everything up to {}", arguments.to.display(), backup.position);
            let done = match backup.events {
                0 => "nothing came since".to_owned(),
                events => meter.summary(events),
            };
            speech.notice(&format!("{done}; {at}, chain {}", backup.chain));
            Ok(())
        }
        Err(_) if signals.interrupted() => Err(meter.interrupted(None)),
        Err(error) => Err(error.into()),
    }
}

/// A backup that the process makes which has the file open.
fn attached_backup(
    db: &SharedDb,
    arguments: &BackupArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    if arguments.backup_key.is_some() {
        let message =
            "--backup-key is for who has the file open; BACKUP TO … KEY names a key of that process";
        return Err(CommandFailure::Usage(message.to_owned()));
    }
    let mode = match (arguments.increment, arguments.replace) {
        (true, _) => " INCREMENT",
        (_, true) => " REPLACE",
        (false, false) => "",
    };
    let keys = if arguments.without_keys { " WITHOUT KEYS" } else { "" };
    let to = std::path::absolute(&arguments.to).map_err(|e| CommandFailure::reading("the folder", e))?;
    let parameters = Parameters::new().set("to", to.display().to_string());
    let cancelled = db.cancelled_by(&signals.statement(None));
    for row in cancelled.query_with(&format!("BACKUP TO $to{mode}{keys}"), &parameters)?.rows {
        let row = row?;
        let (position, chain): (u64, String) = (row.get("position")?, row.get("chain")?);
        let done = match row.get::<u64>("events")? {
            0 => "nothing came since".to_owned(),
            events => format!("backed up {}", count(events, "event")),
        };
        let to = arguments.to.display();
        speech.notice(&format!("{done}; {to} holds everything up to #{position}, chain {chain}"));
    }
    Ok(())
}

/// `bygone rescue`.
pub fn rescue_file(
    arguments: &RescueArgs,
    opening: &OpenArgs,
    format: Format,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let mut meter = Meter::new("rescued", speech);
    let options = opening.options(Options::new());
    let cancel = signals.statement(None);
    let made =
        options.rescue(&arguments.file, &arguments.to, &cancel, &mut |so_far| meter.show(so_far.events));
    meter.clear();
    let rescue = match made {
        Ok(rescue) => rescue,
        Err(_) if signals.interrupted() => return Err(meter.interrupted(None)),
        Err(error) => return Err(error.into()),
    };
    let to = arguments.to.display().to_string();
    let told = match format {
        Format::Json => serde_json::to_string(&RescueJson::of(&rescue, &to)).map_err(io::Error::from),
        _ => Ok(report(&rescue, &meter.summary(rescue.events), &to)),
    };
    told.and_then(|told| writeln!(io::stdout(), "{told}")).map_err(CommandFailure::output)?;
    match is_all(&rescue) {
        true => Ok(()),
        false => Err(CommandFailure::Told(Exit::Failed)),
    }
}

/// Whether all came back that was there, for all that is known.
fn is_all(rescue: &Rescue) -> bool {
    rescue.missing == 0 && rescue.doubts.is_empty() && rescue.faults.is_empty()
}

/// A rescue as a line of JSON.
#[derive(Serialize)]
struct RescueJson<'r> {
    rescued: &'r str,
    events: u64,
    head: Position,
    missing: u64,
    gaps: Vec<[Position; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'r str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    doubts: &'r [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'r [String],
}

impl<'r> RescueJson<'r> {
    fn of(rescue: &'r Rescue, to: &'r str) -> RescueJson<'r> {
        RescueJson {
            rescued: to,
            events: rescue.events,
            head: rescue.head,
            missing: rescue.missing,
            gaps: rescue.gaps.iter().map(|gap| [*gap.start(), *gap.end()]).collect(),
            refusal: rescue.refusal.as_deref(),
            doubts: &rescue.doubts,
            faults: &rescue.faults,
        }
    }
}

/// A rescue in words.
fn report(rescue: &Rescue, summary: &str, to: &str) -> String {
    let mut lines = vec![format!("{summary}; {} reaches {}", harmless(to), rescue.head)];
    if let Some(refusal) = &rescue.refusal {
        lines.push(format!("the damaged file: {refusal}"));
    }
    match rescue.missing {
        0 => lines.push("no event is missing up to there".to_owned()),
        missing => {
            let gaps = rescue.gaps.iter().take(GAPS).map(|gap| match gap.start() == gap.end() {
                true => gap.start().to_string(),
                false => format!("{} to {}", gap.start(), gap.end()),
            });
            let gaps: Vec<_> = gaps.collect();
            let told: u64 = rescue.gaps.iter().take(GAPS).map(|gap| gap.end().0 - gap.start().0 + 1).sum();
            let more = if told < missing { ", …" } else { "" };
            lines.push(format!("{} could not be read: {}{more}", count(missing, "event"), gaps.join(", ")));
            lines.push("a $event.lost stands in the place of each".to_owned());
        }
    }
    lines.extend(rescue.doubts.iter().map(|doubt| format!("in doubt: {doubt}")));
    lines.extend(rescue.faults.iter().map(|fault| format!("a fault in the new file: {fault}")));
    if rescue.faults.is_empty() && !rescue.doubts.iter().any(|doubt| doubt.starts_with("it was not verified"))
    {
        lines.push(format!("verified: {} events, no faults", grouped(rescue.head.0)));
    }
    lines.iter().map(|line| harmless(line)).collect::<Vec<_>>().join("\n")
}

impl VerifyArgs {
    /// The statement that `bygone verify` is short for.
    pub fn run(&self) -> RunArgs {
        let statement = match (&self.against, self.at) {
            (None, _) => "VERIFY".to_owned(),
            (Some(chain), None) => format!("VERIFY AGAINST '{chain}'"),
            (Some(chain), Some(at)) => format!("VERIFY AGAINST '{chain}' AT {at}"),
        };
        RunArgs { texts: vec![statement], file: self.file.clone(), ..RunArgs::default() }
    }
}

impl CompactArgs {
    /// The statement that `bygone compact` is short for.
    pub fn run(&self) -> RunArgs {
        RunArgs { texts: vec!["COMPACT".to_owned()], file: self.file.clone(), ..RunArgs::default() }
    }
}
