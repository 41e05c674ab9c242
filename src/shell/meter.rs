//! How far something is that takes long: one line on standard error, rewritten a few times a second, where somebody looks.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bygone::Cancel;
use bygone::maintain::WorkProgress;

use super::failure::{CommandFailure, Reporter};
use super::render::shortened;
use super::terminal::{columns, count, grouped};

/// How soon the line is written anew.
const EVERY: Duration = Duration::from_millis(100);
/// The pace of fewer events, or of a shorter time, says nothing.
const FEW: u64 = 1000;
const MOMENT: Duration = Duration::from_millis(200);
/// Nor is anything said of the time that is left before this.
const SOON: Duration = Duration::from_secs(1);

/// What is known of the whole.
enum MeterTotal {
    Unknown,
    Events(u64),
    /// So many bytes were read of a file that has so many.
    Bytes(Arc<AtomicU64>, u64),
}

/// One line on standard error.
pub struct Meter {
    done: &'static str,
    speech: Reporter,
    total: MeterTotal,
    started: Instant,
    shown: Option<Instant>,
    events: u64,
}

impl Meter {
    pub fn new(done: &'static str, speech: Reporter) -> Meter {
        let total = MeterTotal::Unknown;
        Meter { done, speech, total, started: Instant::now(), shown: None, events: 0 }
    }

    /// The same, of so many events.
    pub fn of_events(self, total: u64) -> Meter {
        Meter { total: MeterTotal::Events(total), ..self }
    }

    /// The same, of what comes from a file.
    pub fn of_bytes(self, read: Arc<AtomicU64>, length: u64) -> Meter {
        Meter { total: MeterTotal::Bytes(read, length), ..self }
    }

    /// So many there are so far, and nothing is shown of that.
    pub fn count(&mut self, events: u64) {
        self.events = events;
    }

    pub fn show(&mut self, events: u64) {
        self.count(events);
        if !self.is_due() {
            return;
        }
        let share = match &self.total {
            MeterTotal::Unknown => None,
            MeterTotal::Events(total) => Some(events as f64 / (*total).max(1) as f64),
            MeterTotal::Bytes(read, length) => {
                Some(read.load(Ordering::Relaxed) as f64 / (*length).max(1) as f64)
            }
        };
        let many = match self.total {
            MeterTotal::Events(total) if total >= events => {
                format!("{} of {}", grouped(events), count(total, "event"))
            }
            _ => count(events, "event"),
        };
        let told = [Some(many), pace(events, self.started.elapsed())];
        self.write(told.into_iter().flatten().collect(), share);
    }

    /// Shows a share where nothing is counted.
    pub fn show_share(&mut self, share: f64) {
        if self.is_due() {
            self.write(Vec::new(), Some(share));
        }
    }

    /// Whether the line is to be written anew: not too often, and only where somebody looks.
    pub fn is_due(&self) -> bool {
        self.speech.live && self.shown.unwrap_or(self.started).elapsed() >= EVERY
    }

    fn write(&mut self, mut told: Vec<String>, share: Option<f64>) {
        told.extend(share.map(|share| share_told(share, self.started.elapsed())));
        let line = format!("{} {}", self.done, told.join(", "));
        self.shown = Some(Instant::now());
        // A line that goes on below could not be taken back.
        let _ = write!(io::stderr(), "\r\x1b[K{}", shortened(&line, columns().saturating_sub(1)));
    }

    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    pub fn summary(&self, events: u64) -> String {
        let told = [Some(count(events, "event")), pace(events, self.started.elapsed())];
        format!("{} {}", self.done, told.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }

    pub fn interrupted(&self, events: Option<u64>) -> CommandFailure {
        let events = count(events.unwrap_or(self.events), "event");
        self.speech.notice(&format!("{} {events} before that", self.done));
        CommandFailure::Interrupted
    }
}

/// The meter of a statement: what does the work tells it. Its line goes with it.
pub struct StatementMeter(Option<Arc<Mutex<Meter>>>);

impl StatementMeter {
    /// One that is told of what hangs on a handle. Where nobody looks there is none.
    pub fn of(statement: &str, cancel: &Cancel, speech: Reporter) -> StatementMeter {
        if !speech.live {
            return StatementMeter(None);
        }
        let meter = Arc::new(Mutex::new(Meter::new(done_by(statement), speech)));
        let told = meter.clone();
        cancel.on_progress(move |so_far: WorkProgress| {
            let mut meter = told.lock().unwrap_or_else(PoisonError::into_inner);
            // It begins once more, as a backup does that is to be without what is kept.
            if so_far.events < meter.events {
                meter.started = Instant::now();
            }
            meter.total = MeterTotal::Events(so_far.of);
            meter.show(so_far.events);
        });
        StatementMeter(Some(meter))
    }
}

impl Drop for StatementMeter {
    fn drop(&mut self) {
        if let Some(meter) = &self.0 {
            meter.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// What a statement does with events, by its first word.
fn done_by(statement: &str) -> &'static str {
    let word = statement.split_whitespace().next().unwrap_or_default();
    match word {
        word if word.eq_ignore_ascii_case("VERIFY") => "verified",
        word if word.eq_ignore_ascii_case("BACKUP") => "backed up",
        word if word.eq_ignore_ascii_case("COMPACT") => "compacted",
        _ => "gone through",
    }
}

fn pace(events: u64, took: Duration) -> Option<String> {
    let is_told = events >= FEW && took >= MOMENT;
    is_told.then(|| format!("{} a second", grouped((events as f64 / took.as_secs_f64()) as u64)))
}

/// A share, and how long the rest takes if it goes on so.
fn share_told(share: f64, took: Duration) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let percent = format!("{}%", (share * 100.0) as u8);
    if share >= 1.0 {
        return format!("{percent}, finishing");
    }
    if took < SOON || share < 0.01 {
        return percent;
    }
    format!("{percent}, {} left", duration(took.as_secs_f64() * (1.0 - share) / share))
}

/// As exactly as a guess is.
fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{} h {minutes} min", grouped(hours)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_tells_the_time_that_is_left_once_it_is_known() {
        let told = |share, seconds| share_told(share, Duration::from_secs_f64(seconds));
        assert_eq!(told(0.25, 2.0), "25%, 6 s left");
        assert_eq!(told(0.25, 0.5), "25%");
        assert_eq!(told(0.001, 60.0), "0%");
        assert_eq!(told(0.5, 125.0), "50%, 2 min 5 s left");
        assert_eq!(told(0.01, 3600.0), "1%, 99 h 0 min left");
        assert_eq!(told(0.999, 100.0), "99%, 1 s left");
        assert_eq!(told(1.0, 9.0), "100%, finishing");
        // A file that grew meanwhile, and nonsense.
        assert_eq!(told(1.2, 9.0), "100%, finishing");
        assert_eq!(told(f64::NAN, 9.0), "0%");
    }

    #[test]
    fn the_pace_of_a_few_says_nothing() {
        assert_eq!(pace(999, Duration::from_secs(9)), None);
        assert_eq!(pace(5000, Duration::from_millis(100)), None);
        assert_eq!(pace(5000, Duration::from_secs(2)).as_deref(), Some("2,500 a second"));
    }

    #[test]
    fn statements_say_what_they_do() {
        assert_eq!(done_by("verify AGAINST 'x'"), "verified");
        assert_eq!(done_by("COMPACT"), "compacted");
        assert_eq!(done_by(""), "gone through");
    }
}
