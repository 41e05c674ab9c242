//! Ctrl-C, and the signals like it.
//!
//! The first ends what is running, in good order; a second one ends the program on the spot (the journal keeps what was
//! acknowledged). While the program waits for input nothing is running that could notice, so the signal itself closes
//! the database and ends the program.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bygone::Cancel;
use bygone::share::SharedDb;

use super::exit::Exit;
use super::failure::{CommandFailure, Reporter};
use super::terminal::Mode;

/// What a signal finds. Clones are one.
#[derive(Clone, Default)]
pub struct Signals {
    state: Arc<Mutex<SignalState>>,
    /// Held while the database is closed: the program does not end under whoever closes it.
    closing: Arc<Mutex<()>>,
}

#[derive(Default)]
struct SignalState {
    db: Option<SharedDb>,
    /// What the running statement hangs on.
    statement: Cancel,
    interrupted: bool,
    waiting: bool,
    /// Another program has the terminal, a pager or an editor: signals are meant for that, too.
    lent: bool,
    /// A signal is how it is meant to end.
    well: bool,
}

impl Signals {
    /// Listens from now on. Where the system does not let us, Ctrl-C does what it does to any program.
    pub fn install(speech: Reporter) -> Signals {
        let signals = Signals::default();
        let heard = signals.clone();
        let mode = Mode::now();
        let _ = ctrlc::set_handler(move || heard.arrived(&mode, speech));
        signals
    }

    fn state(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, mode: &Mode, speech: Reporter) {
        let (lent, repeated, waiting, statement) = {
            let mut state = self.state();
            let (lent, statement) = (state.lent, state.statement.clone());
            let repeated = !lent && std::mem::replace(&mut state.interrupted, true);
            (lent, repeated, state.waiting, statement)
        };
        if lent {
            // It ends what is under way; whoever reads goes on reading.
            return statement.cancel();
        }
        if repeated {
            end(mode, Exit::Interrupted);
        }
        if !waiting {
            return statement.cancel();
        }
        // On a thread of its own: closing may wait for what is under way, and the next signal is not to wait for that.
        let (signals, at_work) = (self.clone(), mode.clone());
        let closing = move || signals.close_and_end(&at_work, speech);
        if std::thread::Builder::new().name("bygone-closing".to_owned()).spawn(closing).is_err() {
            self.close_and_end(mode, speech);
        }
    }

    fn close_and_end(&self, mode: &Mode, speech: Reporter) {
        let closed = self.close().map_err(CommandFailure::from);
        let exit = match (&closed, self.ends_well()) {
            (Ok(()), true) => Exit::Success,
            (Err(failure), true) => failure.exit(),
            (_, false) => Exit::Interrupted,
        };
        if let Err(failure) = &closed {
            mode.restore();
            speech.failure(failure);
        }
        end(mode, exit);
    }

    /// From now on there is a database to close.
    pub fn opened(&self, db: &SharedDb) {
        self.state().db = Some(db.clone());
    }

    /// Closes the database, if one was opened.
    pub fn close(&self) -> bygone::Result<()> {
        let _closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        // The state is not locked meanwhile: others look at it.
        let db = self.state().db.take();
        db.map_or(Ok(()), |db| db.close())
    }

    /// What the next statement is to hang on; cancelled already if a signal came before it.
    pub fn statement(&self, limit: Option<Duration>) -> Cancel {
        let mut state = self.state();
        state.statement = limit.map_or_else(Cancel::new, Cancel::after);
        if state.interrupted {
            state.statement.cancel();
        }
        state.statement.clone()
    }

    /// From now on a signal is how the program is meant to end.
    pub fn end_well(&self) {
        self.state().well = true;
    }

    pub fn ends_well(&self) -> bool {
        self.state().well
    }

    /// Whether a signal came.
    pub fn interrupted(&self) -> bool {
        self.state().interrupted
    }

    /// Whether another program has the terminal now.
    pub fn lend(&self, lent: bool) {
        self.state().lent = lent;
    }

    /// A prompt has said that it was interrupted, and goes on.
    pub fn forget(&self) {
        self.state().interrupted = false;
    }

    /// Waits for input. Not if a signal came before: nobody would notice it while the program waits.
    pub fn waiting<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        {
            let mut state = self.state();
            if state.interrupted {
                return None;
            }
            state.waiting = true;
        }
        let got = wait();
        self.state().waiting = false;
        Some(got)
    }
}

/// Ends the program on the spot.
fn end(mode: &Mode, exit: Exit) -> ! {
    mode.restore();
    std::process::exit(exit.code().into())
}

#[cfg(test)]
mod tests {
    use super::super::cli::Format;
    use super::super::terminal::Terminal;
    use super::*;

    #[test]
    fn a_signal_between_two_statements_is_not_waited_over() {
        let signals = Signals::default();
        assert_eq!(signals.waiting(|| 1), Some(1));
        // Nothing runs and nothing waits: the program is on its way from a statement to the next line.
        let speech = Reporter::new(&Terminal::detect(), Format::Json, true);
        signals.arrived(&Mode::now(), speech);
        assert_eq!(signals.waiting(|| 2), None);
        signals.forget();
        assert_eq!(signals.waiting(|| 3), Some(3));
    }
}
