//! Import and export, with their progress.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use bygone::maintain::{ExportOptions, ImportOptions, ImportReport};
use bygone::share::SharedDb;
use bygone::{Pattern, Position};

use super::cli::{ConflictPolicy, ExportArgs, ImportArgs, OpenArgs};
use super::csv_import::CsvEvents;
use super::escape::EscapingWriter;
use super::failure::{CommandFailure, Reporter};
use super::meter::Meter;
use super::open::{self, IfMissing};
use super::signal::Signals;
use super::terminal::grouped;
use super::unpacked::UnpackedInput;
use super::watch::hint;

/// So many events that were passed over are told of one by one.
const MOST_CONFLICTS: u64 = 20;

/// How much is read or written at a time.
const CHUNK: usize = 256 << 10;

/// `bygone import`.
pub fn import_file(
    arguments: &ImportArgs,
    opening: &OpenArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let source = open_events(arguments, signals)?;
    let free = matches!(arguments.file.try_exists(), Ok(false));
    let missing = if arguments.create { IfMissing::Create } else { IfMissing::CreateNamed };
    let db = open::open(&arguments.file, opening, missing, speech)?;
    signals.opened(&db);
    let imported = import(&db, source, arguments, speech, signals);
    if imported.is_err() && free && db.head().is_ok_and(|head| head == Position::START) {
        remove_empty(&db, &arguments.file, speech);
    }
    imported
}

/// Removes a database that was created for events of which none came in. Where that fails it is left: the import has failed already.
fn remove_empty(db: &SharedDb, path: &Path, speech: Reporter) {
    if db.close().is_ok() && std::fs::remove_file(path).is_ok() {
        speech.notice(&format!("removed {}: nothing came in", path.display()));
    }
}

/// `bygone export`.
pub fn export_file(
    arguments: &ExportArgs,
    opening: &OpenArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let db = open::open_to_read(&arguments.file, opening, speech)?;
    signals.opened(&db);
    let place = "standard output";
    let mut output = io::stdout().lock();
    if !output.is_terminal() {
        return export(
            &db,
            (&arguments.options(), arguments.pattern.as_ref()),
            &mut output,
            place,
            speech,
            signals,
        );
    }
    let mut output = EscapingWriter::new(output);
    export(&db, (&arguments.options(), arguments.pattern.as_ref()), &mut output, place, speech, signals)?;
    output.end().map_err(CommandFailure::output)
}

/// Opens a file that is to be read; `-` is standard input. What gzip packed is read as it was before.
pub fn open_input(path: &Path, signals: &Signals) -> Result<EventInput, CommandFailure> {
    let mut length = None;
    let bytes: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(Waiting::new(io::stdin(), signals.clone())),
        false => {
            let file = File::open(path).map_err(|e| CommandFailure::reading(&place(path), e))?;
            // A pipe that has a name has no length.
            length = file.metadata().ok().filter(|found| found.is_file()).map(|found| found.len());
            Box::new(file)
        }
    };
    let read = Arc::new(AtomicU64::new(0));
    let counting = Counting { inner: bytes, read: read.clone() };
    let stream = Box::new(UnpackedInput::new(BufReader::with_capacity(CHUNK, counting)));
    Ok(EventInput { stream, read, length })
}

/// An input, and how much was read of it.
pub struct EventInput {
    stream: Box<dyn BufRead>,
    /// So many bytes, as they are stored.
    read: Arc<AtomicU64>,
    /// Of so many, if it is a file.
    length: Option<u64>,
}

impl EventInput {
    /// What it holds.
    pub fn into_stream(self) -> Box<dyn BufRead> {
        self.stream
    }
}

/// A stream that counts what is read of it.
struct Counting<T> {
    inner: T,
    read: Arc<AtomicU64>,
}

impl<T: Read> Read for Counting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn place(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Opens a file of events, or of rows that become events.
pub fn open_events(arguments: &ImportArgs, signals: &Signals) -> Result<EventInput, CommandFailure> {
    let input = open_input(&arguments.events, signals)?;
    if !arguments.table.csv {
        return Ok(input);
    }
    let EventInput { stream, read, length } = input;
    match CsvEvents::new(stream, &arguments.table, &place(&arguments.events)) {
        Ok(events) => Ok(EventInput { stream: Box::new(events), read, length }),
        Err(_) if signals.interrupted() => Err(CommandFailure::Interrupted),
        Err(failure) => Err(failure),
    }
}

/// Imports events, and says how many.
pub fn import(
    db: &SharedDb,
    source: EventInput,
    arguments: &ImportArgs,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    let EventInput { stream, read, length } = source;
    let mut meter = Meter::new("imported", speech);
    if let Some(length) = length {
        meter = meter.of_bytes(read, length);
    }
    let mut options = ImportOptions::new().restore(arguments.restore);
    if let Some(kind) = &arguments.kind {
        options = options.kind(kind);
    }
    if arguments.on_conflict == ConflictPolicy::Skip {
        let told = AtomicU64::new(0);
        options = options.on_conflict(move |conflict| {
            if told.fetch_add(1, Ordering::Relaxed) < MOST_CONFLICTS {
                speech.notice(&format!("passed over: {conflict}"));
            }
        });
    }
    let before = db.head()?.0;
    let source = StopAt { inner: stream, signals };
    let outcome =
        db.import(source, &options, &mut |so_far: &ImportReport| meter.show(so_far.added + so_far.known));
    meter.clear();
    match outcome {
        Ok(imported) => {
            let known = match imported.known {
                0 => String::new(),
                1 => "; 1 was there before".to_owned(),
                known => format!("; {} were there before", grouped(known)),
            };
            let untold = match imported.conflicts.saturating_sub(MOST_CONFLICTS) {
                0 => String::new(),
                untold => format!(", {} of them not told of here", grouped(untold)),
            };
            let conflicts = match imported.conflicts {
                0 => String::new(),
                1 => "; 1 has the id or key of another event and was passed over".to_owned(),
                many => format!(
                    "; {} have the id or key of another event and were passed over{untold}",
                    grouped(many)
                ),
            };
            speech.notice(&format!("{}{known}{conflicts}", meter.summary(imported.added)));
            Ok(())
        }
        Err(_) if signals.interrupted() => {
            // What was read before the signal went in, too.
            let events = db.head().map_or(0, |head| head.0.saturating_sub(before));
            Err(meter.interrupted(Some(events)))
        }
        Err(error) => {
            if !arguments.restore && matches!(&error, bygone::Error::Conflict(_)) {
                speech.notice("--on-conflict skip tells of such events and passes over them");
            }
            Err(error.into())
        }
    }
}

/// Exports events, and says how many where the events themselves do not.
pub fn export(
    db: &SharedDb,
    (options, pattern): (&ExportOptions, Option<&Pattern>),
    target: &mut dyn Write,
    place: &str,
    speech: Reporter,
    signals: &Signals,
) -> Result<(), CommandFailure> {
    if let Some(pattern) = pattern {
        hint(db, "EVENTS $pattern", Some(pattern), speech);
    }
    let mut meter = Meter::new("exported", speech);
    // How many events fit a pattern is not known before.
    if pattern.is_none() {
        meter = meter.of_events(db.head()?.0);
    }
    let mut broken = None;
    let left_out = Arc::new(AtomicU64::new(0));
    let told = left_out.clone();
    let options = options.clone().on_left_out(move |events| told.store(events, Ordering::Relaxed));
    let outcome = {
        let guarded = StopAt { inner: Keeping { inner: target, broken: &mut broken }, signals };
        let mut writer = BufWriter::with_capacity(CHUNK, guarded);
        let outcome = db.export(&options, &mut writer, &mut |events| meter.show(events));
        outcome.and_then(|events| match writer.flush() {
            Ok(()) => Ok(events),
            Err(e) => Err(bygone::Error::Io { doing: format!("writing {place}"), source: e.into() }),
        })
    };
    meter.clear();
    match (outcome, broken) {
        (Ok(events), _) => {
            speech.notice(&meter.summary(events));
            let private = match left_out.load(Ordering::Relaxed) {
                0 => return Ok(()),
                1 => "the private values of 1 event are".to_owned(),
                many => format!("the private values of {} events are", grouped(many)),
            };
            speech.notice(&format!(
                "{private} left out, and null: --with-private writes those that are not forgotten"
            ));
            Ok(())
        }
        (Err(_), _) if signals.interrupted() => Err(meter.interrupted(None)),
        (Err(_), Some(source)) => Err(CommandFailure::writing(place, source)),
        (Err(error), None) => Err(error.into()),
    }
}

/// A stream that fails once a signal has come: so what reads or writes it ends.
struct StopAt<'a, T> {
    inner: T,
    signals: &'a Signals,
}

impl<T> StopAt<'_, T> {
    fn check(&self) -> io::Result<()> {
        // Not `Interrupted`: that kind means to try again.
        if self.signals.interrupted() { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

impl<T: Read> Read for StopAt<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(buffer)
    }
}

impl<T: BufRead> BufRead for StopAt<'_, T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl<T: Write> Write for StopAt<'_, T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A stream that may have nothing to give for long: it is read aside, so that a signal ends the wait for it.
struct Waiting {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: io::Cursor<Vec<u8>>,
    signals: Signals,
}

impl Waiting {
    fn new(mut stream: impl Read + Send + 'static, signals: Signals) -> Waiting {
        let (sender, chunks) = mpsc::sync_channel(2);
        // Ends with the stream, or with the program.
        std::thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = match stream.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read,
                };
                let last = !matches!(read, Ok(1..));
                let sent = sender.send(read.map(|length| {
                    chunk.truncate(length);
                    chunk
                }));
                if last || sent.is_err() {
                    return;
                }
            }
        });
        Waiting { chunks, chunk: io::Cursor::default(), signals }
    }
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const LOOK: Duration = Duration::from_millis(50);
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            StopAt { inner: (), signals: &self.signals }.check()?;
            match self.chunks.recv_timeout(LOOK) {
                Ok(chunk) => self.chunk = io::Cursor::new(chunk?),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

/// A writer that keeps its error: the library wraps it, and a closed pipe must be known as one.
struct Keeping<'a> {
    inner: &'a mut dyn Write,
    broken: &'a mut Option<io::Error>,
}

impl Keeping<'_> {
    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            *self.broken = Some(error);
            kind.into()
        })
    }
}

impl Write for Keeping<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(buffer);
        self.keep(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.keep(result)
    }
}
