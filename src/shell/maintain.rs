//! Looking after the file: `bygone backup`, `bygone compact` and `bygone verify`.

use bygone::maintain::BackupMode;

use super::cli::{BackupArgs, CompactArgs, OpenArgs, RunArgs, VerifyArgs};
use super::failure::{CommandFailure, Reporter};
use super::open;
use super::signal::Signals;
use super::transfer::Meter;

/// `bygone backup`.
pub fn backup_file(
    arguments: &BackupArgs,
    opening: &OpenArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let db = open::open_to_read(&arguments.file, opening, speech)?;
    signals.opened(&db);
    let mode = match (arguments.increment, arguments.replace) {
        (true, _) => BackupMode::Increment,
        (_, true) => BackupMode::Replace,
        (false, false) => BackupMode::New,
    };
    let mut meter = Meter::new("backed up", speech);
    let cancelled = db.cancelled_by(&signals.statement(None));
    let made = cancelled.backup_with(&arguments.to, mode, &mut |so_far| meter.show(so_far.events));
    meter.clear();
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
        Err(_) if signals.interrupted() => Err(meter.interrupted()),
        Err(error) => Err(error.into()),
    }
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
