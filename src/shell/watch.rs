//! `bygone watch`: each event goes to a command, or is printed, as it comes.
//!
//! A command is run for one event at a time, in the order of the log, by the shell of the system. With a name the database keeps the
//! place, and it moves when the command has succeeded: whatever ends the watch, no event is left out the next time. Who says to keep
//! going leaves out what the command failed for, and the place moves on; the end tells of it.

use std::io::{self, IsTerminal, Write};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bygone::react::SubscriptionCursor;
use bygone::read::Script;
use bygone::share::SharedDb;
use bygone::{Delivery, Event, Parameters, Pattern, Row};

use super::cli::{self, OpenArgs, WatchArgs};
use super::failure::{CommandFailure, Reporter};
use super::open::{self, IfMissing};
use super::pager::shell;
use super::signal::Signals;
use super::terminal::harmless_lines;

/// The wait before a command is run again; it doubles, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How soon a signal ends a wait.
const LOOK: Duration = Duration::from_millis(20);

/// Watches until a signal comes, or what was asked for is done.
pub fn watch(
    watch: &WatchArgs,
    opening: &OpenArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    if watch.until_now && watch.from.is_none() && watch.name.is_none() {
        let message =
            "--until-now without --from: nothing would come; --from START begins with the first event";
        return Err(CommandFailure::Usage(message.to_owned()));
    }
    let db = match watch.live {
        true => open::open_live(&watch.file, opening, IfMissing::Fail, speech)?.into(),
        false => open::open(&watch.file, opening, IfMissing::Fail, speech)?,
    };
    signals.opened(&db);
    let (deliveries, place) = subscribe(&db, watch, signals)?;
    let condition = watch.condition.as_ref().map_or(String::new(), |text| format!(" WHERE ({text}\n)"));
    hint(&db, &format!("SUBSCRIBE $pattern{condition}"), watch.pattern.as_ref(), speech);
    let mut failed = 0;
    let mut reader = DeliveryReader::new(place.is_some() && watch.exec.is_none());
    for delivery in deliveries {
        let Delivery::Event(event) = delivery? else { continue };
        match &watch.exec {
            None => {
                print(&event)?;
                if !reader.takes(signals) {
                    if signals.interrupted() {
                        break;
                    }
                    continue;
                }
            }
            Some(command) => match give(&event, command, watch, speech, signals) {
                // The place stays before it.
                Err(_) if signals.interrupted() => return Ok(()),
                Err(failure) if watch.keep_going => {
                    failed += 1;
                    speech.failure(&failure);
                }
                given => given?,
            },
        }
        if let Some(place) = &place {
            match watch.exec {
                // What the command did is not to be done again because this program, or the machine, ended.
                Some(_) => place.acknowledge_durably(event.position)?,
                None => place.acknowledge(event.position)?,
            }
        }
        if signals.interrupted() {
            break;
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(CommandFailure::Command(format!("the command failed for {failed} of the events"))),
    }
}

/// Says what a statement with a pattern names that the log does not have.
pub fn hint(db: &SharedDb, statement: &str, pattern: Option<&Pattern>, speech: Reporter) {
    let text = pattern.map_or_else(|| "*".to_owned(), Pattern::to_string);
    // What is wrong was said as an error before.
    let (Ok(script), Some(db)) = (Script::parse(statement), db.opened()) else { return };
    let parameters = Parameters::new().set("pattern", text);
    let hints = script.statements().iter().flat_map(|statement| db.hints(statement, &parameters));
    hints.for_each(|hint| speech.notice(&hint));
}

type DeliveryIter = Box<dyn Iterator<Item = bygone::Result<Delivery>>>;

fn subscribe(
    db: &SharedDb,
    watch: &WatchArgs,
    signals: &Signals,
) -> Result<(DeliveryIter, Option<SubscriptionCursor>), CommandFailure> {
    let db = db.cancelled_by(&signals.statement(None));
    let mut events = db.subscribe(watch.pattern.clone().unwrap_or_else(Pattern::all));
    let is_known = match &watch.name {
        Some(name) => is_known(&db, name)?,
        None => false,
    };
    match watch.from.filter(|_| !is_known) {
        Some(cli::StartArg::After(position)) => events = events.after(position),
        Some(cli::StartArg::Since(time)) => events = events.since(time),
        None => {}
    }
    if let Some(condition) = &watch.condition {
        events = events.matching(condition, &Parameters::new());
    }
    if watch.until_now {
        events = events.until_now();
    }
    if let Some(limit) = watch.limit {
        events = events.limit(limit);
    }
    if let Some(name) = &watch.name {
        events = events.durable(name);
    }
    let deliveries = events.open()?;
    let place = deliveries.cursor();
    Ok((Box::new(deliveries), place))
}

/// Whether the database keeps a place under this name.
fn is_known(db: &SharedDb, name: &str) -> Result<bool, CommandFailure> {
    for row in db.query("SHOW SUBSCRIPTIONS")?.rows {
        if let Row::Fields(fields) = row?
            && fields.get("name").is_some_and(|known| known.as_text() == Some(name))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn line(event: &Event) -> Result<String, CommandFailure> {
    serde_json::to_string(event).map_err(|error| CommandFailure::writing("an event", error.into()))
}

fn print(event: &Event) -> Result<(), CommandFailure> {
    let mut output = io::stdout().lock();
    let line = line(event)?;
    let line = if output.is_terminal() { harmless_lines(&line) } else { line.into() };
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(CommandFailure::output)
}

/// Who reads what is printed into a pipe. A place must not move behind lines that nobody took: what is left in a pipe that is closed is
/// lost.
struct DeliveryReader {
    /// Standard output is a pipe, and it matters what is taken of it.
    #[cfg(unix)]
    watched: bool,
}

#[cfg(unix)]
impl DeliveryReader {
    fn new(matters: bool) -> DeliveryReader {
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileTypeExt;
        let is_pipe = || {
            let file = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
            Ok::<bool, io::Error>(file.metadata()?.file_type().is_fifo())
        };
        DeliveryReader { watched: matters && is_pipe().unwrap_or(false) }
    }

    /// Waits until all that was printed is taken. False where the reader has gone, or a signal came before.
    fn takes(&mut self, signals: &Signals) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if !self.watched {
            return true;
        }
        let output = io::stdout();
        let (mut pause, longest) = (Duration::from_micros(5), Duration::from_millis(5));
        loop {
            // Where the system does not tell, nothing is known of it.
            if !matches!(rustix::io::ioctl_fionread(&output), Ok(1..)) {
                return true;
            }
            let mut ends = [PollFd::new(&output, PollFlags::empty())];
            let gone = poll(&mut ends, Some(&Timespec::default())).is_ok()
                && ends[0].revents().intersects(PollFlags::ERR);
            if gone || signals.interrupted() {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}

#[cfg(not(unix))]
impl DeliveryReader {
    fn new(_: bool) -> DeliveryReader {
        DeliveryReader {}
    }

    fn takes(&mut self, _: &Signals) -> bool {
        true
    }
}

/// Runs the command for an event, as often as it is allowed to.
fn give(
    event: &Event,
    command: &str,
    watch: &WatchArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let mut pause = FIRST_PAUSE;
    let mut left = watch.retries;
    loop {
        let status = run(event, command)?;
        if status.success() {
            return Ok(());
        }
        let message = format!("the command failed for {} {}: {}", event.position, event.kind, told(status));
        if left == 0 || signals.interrupted() {
            return Err(CommandFailure::Command(message));
        }
        left -= 1;
        speech.notice(&format!("{message}; it is run again"));
        if !wait(pause, signals) {
            return Err(CommandFailure::Command(message));
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn run(event: &Event, command: &str) -> Result<ExitStatus, CommandFailure> {
    let failed = |source| CommandFailure::Io { doing: "running the command".to_owned(), source };
    let line = line(event)? + "\n";
    let target = event.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut shell = shell(command);
    for (name, value) in [
        ("BYGONE_TYPE", event.kind.as_str()),
        ("BYGONE_POSITION", &event.position.0.to_string()),
        ("BYGONE_ID", &event.id.to_string()),
        ("BYGONE_TARGET", &target),
    ] {
        // No variable can hold a byte 0: it is escaped as in the line.
        shell.env(name, value.replace('\0', "\\u0000"));
    }
    let mut child = shell.stdin(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A command need not read what it is given.
        let _ = input.write_all(line.as_bytes());
    }
    child.wait().map_err(failed)
}

fn told(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "a signal ended it".to_owned(),
    }
}

/// Waits, unless a signal comes.
fn wait(pause: Duration, signals: &Signals) -> bool {
    let end = Instant::now() + pause;
    while Instant::now() < end {
        if signals.interrupted() {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}
