//! A run of statements: one after the other, up to the first that fails.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bygone::error::ErrorClass;
use bygone::read::{QueryResult, Script};
use bygone::share::SharedDb;
use bygone::{Cancel, Entity, Error, Object, Parameters, Row, Statement, Value};

use super::cli::{Format, OpenArgs, RunArgs};
use super::commands::{self, CommandFlow};
use super::exit::Exit;
use super::failure::{CommandFailure, Reporter, say};
use super::meter::{Meter, StatementMeter};
use super::open::{self, IfMissing};
use super::output::ResultOutput;
use super::pager::PagerChoice;
use super::render::{self, Renderer};
use super::scripts::{ScriptPart, ScriptPlace, Scripts, placed};
use super::signal::Signals;
use super::terminal::{Terminal, count};

/// How long to wait for indexes at a time, before looking whether somebody has had enough.
const BUILDING: Duration = Duration::from_millis(50);

/// How the line is edited at the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMode {
    Emacs,
    Vi,
}

impl KeyMode {
    pub fn name(self) -> &'static str {
        match self {
            KeyMode::Emacs => "emacs",
            KeyMode::Vi => "vi",
        }
    }
}

/// What a statement answered.
struct Answered {
    rows: u64,
    /// It was answered before, by the same key.
    repeated: bool,
}

/// A database, and how one talks with it.
pub struct Session {
    db: SharedDb,
    /// What was opened, and how: who was attached to a process that has gone opens it again.
    file: PathBuf,
    opening: OpenArgs,
    actor: Option<Entity>,
    parameters: Object,
    /// The same, as statements take them.
    bound: Parameters,
    pub terminal: Terminal,
    pub speech: Reporter,
    pub signals: Signals,
    format: Format,
    envelope: bool,
    csv_safe: bool,
    /// Each answer says how much of the log it sees.
    verbose: bool,
    /// How long a statement may take.
    limit: Option<Duration>,
    /// How long its text may be, in bytes.
    pub longest: usize,
    /// Somebody is told how many rows there were.
    pub footer: bool,
    /// What is run was written into the settings of whoever is at the prompt.
    own: bool,
    /// And how long it took.
    pub timer: bool,
    renderer: Box<dyn Renderer>,
    out: ResultOutput,
    pub pager: PagerChoice,
    pub keys: KeyMode,
    /// The last statement that was entered, to be edited.
    pub last: Option<String>,
    /// Events are printed as they come, so that the screen is not another program's.
    pub watched: bool,
    /// Statements of texts before the current one.
    ran: usize,
    /// There is more than one statement, so messages say which.
    several: bool,
    /// Somebody types, and goes on typing when a statement was ended.
    prompt: bool,
    /// A statement that fails does not end the rest; how the first failed is kept for the end.
    goes_on: bool,
    failed: Option<Exit>,
}

impl Session {
    pub fn new(
        db: SharedDb,
        terminal: Terminal,
        speech: Reporter,
        signals: Signals,
        format: Format,
        (run, opening): (&RunArgs, &OpenArgs),
    ) -> Session {
        let parameters: Object = run.parameters.iter().cloned().collect();
        Session {
            db,
            file: run.file.clone(),
            opening: opening.clone(),
            actor: run.actor.clone(),
            bound: parameters.clone().into(),
            parameters,
            terminal,
            speech,
            signals,
            format,
            envelope: run.envelope,
            csv_safe: run.csv_safe,
            verbose: run.verbose,
            limit: run.time_limit,
            longest: opening.longest_statement(),
            footer: false,
            own: false,
            timer: false,
            renderer: render::new(format, run.envelope, run.csv_safe, &terminal),
            out: ResultOutput::new(),
            pager: PagerChoice::from_environment(),
            keys: KeyMode::Emacs,
            last: None,
            watched: false,
            ran: 0,
            several: false,
            prompt: false,
            goes_on: false,
            failed: None,
        }
    }

    /// The file that was opened.
    pub fn file(&self) -> &std::path::Path {
        &self.file
    }

    /// Whether results go to a terminal.
    pub fn shows(&self) -> bool {
        self.out.terminal(&self.terminal).output
    }

    /// Whether somebody is at a prompt.
    pub fn prompts(&self) -> bool {
        self.prompt
    }

    /// Runs what nobody entered: nobody waits for its counts, and what fails does not end the rest.
    pub fn quietly(
        &mut self,
        run: impl FnOnce(&mut Session) -> Result<(), CommandFailure>,
    ) -> Result<(), CommandFailure> {
        let before = (self.footer, self.goes_on, self.own);
        (self.footer, self.goes_on, self.own) = (false, true, true);
        let result = run(self);
        (self.footer, self.goes_on, self.own) = before;
        self.failed = None;
        self.flush().and(result)
    }

    /// Whether what is run stands in the settings of whoever is at the prompt.
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Somebody is at the prompt.
    pub fn talk_to_a_person(&mut self) {
        self.prompt = true;
        self.footer = true;
        self.speech = self.speech.to_a_person(&self.terminal);
    }

    /// A statement that fails is told, and the next is run.
    pub fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// What became of a statement of a stream. Where one goes on, a failure is told now.
    pub fn told(&mut self, result: Result<(), CommandFailure>) -> Result<(), CommandFailure> {
        match result {
            Err(failure) if self.goes_on && !matches!(failure, CommandFailure::Interrupted) => {
                self.flush()?;
                self.speech.failure(&failure);
                self.failed.get_or_insert(failure.exit());
                Ok(())
            }
            result => result,
        }
    }

    /// The first failure that one went on behind.
    pub fn first_failure(&mut self) -> Result<(), CommandFailure> {
        self.failed.take().map_or(Ok(()), |exit| Err(CommandFailure::Told(exit)))
    }

    /// The database, with the actor of this session.
    pub fn db(&self) -> SharedDb {
        match &self.actor {
            Some(actor) => self.db.as_actor(actor),
            None => self.db.clone(),
        }
    }

    pub fn actor(&self) -> Option<&Entity> {
        self.actor.as_ref()
    }

    pub fn set_actor(&mut self, actor: Option<Entity>) {
        self.actor = actor;
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn set_format(&mut self, format: Format) {
        self.format = format;
        self.envelope &= format == Format::Json;
        self.begin_rendering();
    }

    /// What is shown from now on has nothing above it.
    fn begin_rendering(&mut self) {
        let terminal = self.out.terminal(&self.terminal);
        self.renderer = render::new(self.format, self.envelope, self.csv_safe, &terminal);
    }

    /// From now on results go into a file: all of them, or those of one answer.
    pub fn redirect(&mut self, name: &str, once: bool) -> Result<(), CommandFailure> {
        self.out.redirect(name, once, &self.file)?;
        self.begin_rendering();
        Ok(())
    }

    /// From now on results go to standard output again.
    pub fn restore_output(&mut self) -> Result<(), CommandFailure> {
        let restored = self.out.restore();
        self.begin_rendering();
        restored
    }

    /// The file that results go into, if there is one.
    pub fn output_file(&self) -> Option<&str> {
        self.out.file()
    }

    /// Prints a text among the results.
    pub fn print(&mut self, text: &str) -> Result<(), CommandFailure> {
        self.begin_paged(true);
        let written = self.out.write_all(text.as_bytes());
        let written = written.map_err(|error| self.output_failed(error));
        self.end_answer()?;
        written
    }

    /// An answer begins, which goes through a pager where somebody reads it that would have to scroll.
    fn begin_paged(&mut self, ends: bool) {
        if self.prompt && self.terminal.output && ends && !self.watched {
            self.out.begin_paged(&self.pager, &self.signals);
        }
    }

    /// The answer is complete. True if somebody had enough of it before.
    fn end_answer(&mut self) -> Result<bool, CommandFailure> {
        let was_file = self.out.file().is_some();
        let ended = self.out.end();
        if was_file && self.out.file().is_none() {
            self.begin_rendering();
        }
        let (gone, notice) = ended?;
        if let Some(notice) = notice {
            self.flush()?;
            self.speech.notice(&notice);
            self.pager.on = false;
        }
        Ok(gone)
    }

    fn output_failed(&mut self, error: io::Error) -> CommandFailure {
        let was_file = self.out.file().is_some();
        let failure = self.out.failure(error);
        if was_file {
            self.begin_rendering();
        }
        failure
    }

    pub fn parameters(&self) -> &Object {
        &self.parameters
    }

    pub fn set_parameter(&mut self, name: String, value: Value) {
        self.parameters.insert(name, value);
        self.bound = self.parameters.clone().into();
    }

    pub fn unset_parameter(&mut self, name: &str) -> bool {
        let known = self.parameters.shift_remove(name).is_some();
        self.bound = self.parameters.clone().into();
        known
    }

    /// Runs a text of its own: its statements go on counting where the last text ended.
    pub fn run_script(&mut self, text: &str) -> Result<(), CommandFailure> {
        self.run_part(text, ScriptPlace { statements: self.ran, lines: 0 })
    }

    /// Runs several texts, one after the other.
    pub fn run_scripts(&mut self, scripts: &Scripts) -> Result<(), CommandFailure> {
        self.several = scripts.statements().count() > 1;
        for part in &scripts.0 {
            match part {
                ScriptPart::Statements(place, script) => self.run_statements(script, *place)?,
                ScriptPart::Command(command) => {
                    if self.run_command(command)? == CommandFlow::End {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs a command, given with its sign, where there is no prompt.
    pub fn run_command(&mut self, command: &str) -> Result<CommandFlow, CommandFailure> {
        let flow = commands::run(command, self, None);
        // What it prints comes after what statements printed, and before what they will print.
        self.flush()?;
        flow
    }

    /// Runs what somebody entered at the prompt: it is counted for itself.
    pub fn run_entry(&mut self, text: &str) -> Result<(), CommandFailure> {
        self.ran = 0;
        self.begin_rendering();
        self.run_script(text)
    }

    /// Runs a part of a longer text.
    pub fn run_part(&mut self, text: &str, place: ScriptPlace) -> Result<(), CommandFailure> {
        let script = match self.db.opened() {
            Some(db) => db.script(text),
            None => Script::parse_within(text, self.longest),
        };
        let script = script.map_err(|error| placed(error, place))?;
        self.run_statements(&script, place)
    }

    /// Runs statements that were parsed before.
    pub fn run_statements(&mut self, script: &Script, place: ScriptPlace) -> Result<(), CommandFailure> {
        let statements = script.statements();
        let several = self.several || place.statements + statements.len() > 1;
        for (i, statement) in statements.iter().enumerate() {
            let number = place.statements + i + 1;
            let outcome = self.run_statement(statement, number);
            self.ran = number;
            outcome.map_err(|failure| match failure {
                CommandFailure::Error { error, .. } if error.fault().is_some() => placed(error, place),
                CommandFailure::Error { error, .. } => {
                    CommandFailure::Error { error, statement: several.then_some(number) }
                }
                other => other,
            })?;
        }
        Ok(())
    }

    /// Where the process that had the file open has gone, this one opens it, or asks who was faster.
    fn take_over(&mut self) -> Result<(), CommandFailure> {
        if self.db.is_gone() {
            self.speech.notice("the process that had the file open has gone");
            self.db = open::open(&self.file, &self.opening, IfMissing::Fail, self.speech)?;
            self.signals.opened(&self.db);
        }
        Ok(())
    }

    /// The database, for a command that asks it by itself: a signal and the time limit end that as they end a statement.
    pub fn db_to_ask(&mut self) -> Result<SharedDb, CommandFailure> {
        self.take_over()?;
        let cancel = self.signals.statement(self.limit);
        Ok(self.db().cancelled_by(&cancel))
    }

    /// Asks whoever has the file open.
    fn ask(
        &mut self,
        statement: &Statement,
        cancel: &Cancel,
    ) -> Result<bygone::Result<QueryResult>, CommandFailure> {
        // What it shows has gone before there is an answer.
        let _meter = StatementMeter::of(statement.text(), cancel, self.speech);
        loop {
            self.take_over()?;
            match self.db().cancelled_by(cancel).run_with_hints(statement, &self.bound) {
                // It has gone before it was asked for anything: another one is asked.
                Err(Error::Stopped { .. }) if self.db.is_gone() && !cancel.is_cancelled() => {}
                answer => return Ok(answer),
            }
        }
    }

    fn run_statement(&mut self, statement: &Statement, number: usize) -> Result<(), CommandFailure> {
        let started = Instant::now();
        self.begin_paged(!statement.is_subscription());
        let answered = self.answer(statement, number, started);
        let gone = self.end_answer();
        let (answered, gone) = (answered?, gone?);
        if gone {
            return Ok(());
        }
        if answered.repeated && self.format != Format::Json {
            self.notice(
                "this was said before, by its key or id: here is the first outcome, nothing was written",
            );
        }
        self.say_footer(answered.rows, started)
    }

    /// Shows what a statement answers.
    fn answer(
        &mut self,
        statement: &Statement,
        number: usize,
        started: Instant,
    ) -> Result<Answered, CommandFailure> {
        let cancel = self.signals.statement(self.limit);
        let answer = self.ask(statement, &cancel)?;
        // A statement that was cancelled may say so as an error; to whoever cancelled it, it is none.
        let interrupted = |error: Error| match cancel.is_cancelled() && error.class() != ErrorClass::Refused {
            true => CommandFailure::Interrupted,
            false => CommandFailure::from(error),
        };
        let answer = answer.map_err(interrupted)?;
        self.renderer.begin(number, &mut self.out).map_err(|error| self.output_failed(error))?;
        let seen = answer.as_of.filter(|_| self.verbose).map(|position| format!("as of {position}"));
        for notice in seen.iter().chain(&answer.notices) {
            self.notice(notice);
        }
        let (mut rows, mut live, mut repeated) = (0, false, false);
        // How far a subscription that has a name is on its way out.
        let (place, mut printed) = (answer.cursor, None);
        for row in answer.rows {
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    // What came before the error is shown before it.
                    self.renderer.end(&mut self.out).map_err(|error| self.output_failed(error))?;
                    self.acknowledge(place.as_ref(), printed)?;
                    return Err(interrupted(error));
                }
            };
            if let Row::CaughtUp(position) = &row {
                live = true;
                self.caught_up(&row, *position, statement)?;
                self.acknowledge(place.as_ref(), Some(*position))?;
                continue;
            }
            if let Row::Redefined(position) = &row
                && self.format != Format::Json
            {
                self.settle()?;
                let text =
                    format!("the view is what {position} defines from here on: the rows before are void");
                self.speech.notice(&text);
                continue;
            }
            repeated |= matches!(row, Row::Event { repeated: true, .. });
            rows += 1;
            self.renderer.row(&row, &mut self.out).map_err(|error| self.output_failed(error))?;
            if let Row::Event { event, .. } = &row {
                printed = Some(event.position);
            }
            // The past comes at once and may gather; what is live is waited for by somebody.
            if live {
                self.settle()?;
                self.acknowledge(place.as_ref(), printed)?;
            }
            if cancel.is_cancelled() || self.out.is_gone() {
                break;
            }
        }
        self.renderer.end(&mut self.out).map_err(|error| self.output_failed(error))?;
        self.acknowledge(place.as_ref(), printed)?;
        if cancel.is_cancelled() {
            // At a prompt this is how one ends a subscription: nothing went wrong.
            if !(self.prompt && statement.is_subscription()) {
                return Err(CommandFailure::Interrupted);
            }
            self.signals.forget();
            self.flush()?;
            say("");
        }
        if statement.defines_index() && !self.prompt {
            self.wait_for_indexes(&cancel, started)?;
        }
        self.renderer.done(number, rows, &mut self.out).map_err(|error| self.output_failed(error))?;
        Ok(Answered { rows, repeated })
    }

    /// At a prompt one goes on meanwhile. Elsewhere what comes next may ask for it, and after the last statement there is no one to
    /// build it; who interrupts this leaves the rest to the next opening.
    fn wait_for_indexes(&mut self, cancel: &Cancel, started: Instant) -> Result<(), CommandFailure> {
        self.flush()?;
        let mut meter = Meter::new("built", self.speech);
        let mut waited = || loop {
            if self.db().wait_for_indexes(BUILDING).map_err(CommandFailure::from)? {
                return Ok(());
            }
            if cancel.is_cancelled() {
                return Err(CommandFailure::Interrupted);
            }
            if self.limit.is_some_and(|limit| limit <= started.elapsed()) {
                return Ok(());
            }
            if meter.is_due()
                && let Some(percent) = self.percent_built()
            {
                meter.show_share(percent as f64 / 100.0);
            }
        };
        let waited = waited();
        meter.clear();
        waited
    }

    /// How far that is which is built and furthest behind; none where nobody knows.
    fn percent_built(&self) -> Option<u64> {
        let percents = ["INDEXES", "COLUMNS", "VIEWS"].into_iter().filter_map(|shown| {
            let rows = self.db().query(&format!("SHOW {shown}")).ok()?.rows;
            let building = rows.filter_map(|row| {
                let row = row.ok()?;
                let is_building = row.get::<String>("state").ok()? == "building";
                is_building.then(|| row.get::<u64>("percent").ok()).flatten()
            });
            building.min()
        });
        percents.min()
    }

    /// Lets a subscription that has a name go on behind what was printed, once that is out of this program.
    fn acknowledge(
        &mut self,
        place: Option<&bygone::react::SubscriptionCursor>,
        printed: Option<bygone::Position>,
    ) -> Result<(), CommandFailure> {
        let Some((place, printed)) = place.zip(printed) else { return Ok(()) };
        self.flush()?;
        match place.acknowledge(printed) {
            // It is closed by a signal, perhaps: what was printed last comes again.
            Err(Error::Stopped { .. }) => Ok(()),
            other => other.map_err(CommandFailure::from),
        }
    }

    /// The mark is a line among the lines of JSON; elsewhere it is told apart from the rows.
    fn caught_up(
        &mut self,
        row: &Row,
        position: bygone::Position,
        statement: &Statement,
    ) -> Result<(), CommandFailure> {
        if self.format == Format::Json {
            self.renderer.row(row, &mut self.out).map_err(|error| self.output_failed(error))?;
        }
        self.settle()?;
        if self.footer && self.format != Format::Json && statement.is_subscription() {
            self.speech.notice(&format!("caught up at {position}; Ctrl-C ends it"));
        }
        Ok(())
    }

    fn say_footer(&mut self, rows: u64, started: Instant) -> Result<(), CommandFailure> {
        let rows = match rows {
            _ if !self.footer => None,
            0 => Some("no rows".to_owned()),
            1 if !self.timer => None,
            rows => Some(count(rows, "row")),
        };
        let took = self.timer.then(|| format!("{:.1} ms", started.elapsed().as_secs_f64() * 1000.0));
        let parts: Vec<String> = rows.into_iter().chain(took).collect();
        if !parts.is_empty() {
            self.flush()?;
            self.speech.notice(&parts.join(", "));
        }
        Ok(())
    }

    /// Says something beside the results, in its place among them.
    pub fn notice(&mut self, text: &str) {
        // An output that fails will fail again, where it can be said.
        let _ = self.settle();
        self.speech.notice(text);
    }

    /// Shows all there is so far.
    fn settle(&mut self) -> Result<(), CommandFailure> {
        self.renderer.settle(&mut self.out).map_err(|error| self.output_failed(error))?;
        self.flush()
    }

    /// Sends the output on its way.
    pub fn flush(&mut self) -> Result<(), CommandFailure> {
        self.out.flush().map_err(|error| self.output_failed(error))
    }
}
