//! The connection to the process that holds a database: requests go out on it, and each line that comes back is put where it is waited for.
//!
//! Whoever waits for an answer reads, one of them at a time: it gives the others what is theirs, and its turn on when its own has come. So
//! an answer wakes one thread. What nobody waits for is read by a thread that looks now and then: the other side would be held up by it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::arrived::Arrived;
use super::reader::AnswerReader;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::store::locked;

/// How soon who waits for an answer looks whether it was ended.
const LOOK: Duration = Duration::from_millis(100);

/// How soon what nobody waits for is read.
const PAUSE: Duration = Duration::from_millis(250);

/// How long the process that holds the database may take to end what is to end.
const GRACE: Duration = Duration::from_secs(2);

/// What those who ask share.
#[derive(Debug)]
pub(super) struct ClientConnection {
    pub path: PathBuf,
    stream: UnixStream,
    sending: Mutex<()>,
    waiting: Mutex<WaitingRequests>,
    /// Of whoever has the turn.
    reader: Mutex<AnswerReader>,
    /// Tells the thread that reads what nobody waits for that there is something to look for.
    asked: Condvar,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct WaitingRequests {
    requests: HashMap<u64, WaitingRequest>,
    /// Those whose end has not come, though nobody may wait for it.
    unended: HashSet<u64>,
    /// Why nothing can be asked any more.
    gone: Option<Error>,
    /// Nothing comes any more.
    ended: bool,
    /// Somebody has the turn to read.
    is_read: bool,
    /// How often somebody has taken it.
    turns: u64,
    /// The thread that reads what nobody waits for waits to be told.
    rests: bool,
}

#[derive(Debug, Default)]
struct WaitingRequest {
    arrived: VecDeque<Arrived>,
    /// Somebody waits for it and does not read.
    waits: bool,
    /// The turn was given to it.
    has_turn: bool,
    changed: Arc<Condvar>,
}

/// What came of waiting.
#[allow(clippy::large_enum_variant)] // what arrives is moved once
enum Waited<'c> {
    Arrived(Arrived),
    Turn(AnswerTurn<'c>),
    Nothing,
    Ended,
}

impl ClientConnection {
    pub fn new(path: &Path, stream: UnixStream, reader: AnswerReader) -> std::io::Result<ClientConnection> {
        // Who reads looks as often whether it is to end.
        stream.set_read_timeout(Some(LOOK))?;
        Ok(ClientConnection {
            path: path.to_owned(),
            stream,
            sending: Mutex::default(),
            waiting: Mutex::default(),
            reader: Mutex::new(reader),
            asked: Condvar::new(),
            next: AtomicU64::new(1),
        })
    }

    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingRequests> {
        locked(&self.waiting)
    }

    /// What comes for this request is kept from now on. No more comes than was asked for by credits.
    pub fn register(&self, id: u64) -> Result<()> {
        let mut waiting = self.waiting();
        if let Some(gone) = &waiting.gone {
            return Err(gone.clone());
        }
        waiting.requests.insert(id, WaitingRequest::default());
        waiting.unended.insert(id);
        if std::mem::take(&mut waiting.rests) {
            self.asked.notify_one();
        }
        Ok(())
    }

    /// Nobody waits for this request any more.
    pub fn forget(&self, id: u64) {
        self.waiting().requests.remove(&id);
    }

    pub fn send(&self, text: &str) -> Result<()> {
        let _sending = locked(&self.sending);
        (&self.stream).write_all(text.as_bytes()).map_err(|error| {
            // It takes no more; what it has taken may be answered still. Otherwise half a line may be on its way, and there is no going on
            // behind that.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
            }
            self.waiting().gone.get_or_insert_with(|| self.gone()).clone()
        })
    }

    pub fn gone(&self) -> Error {
        let path = self.path.display();
        Error::stopped(format!("the process that held {path} has gone; attach again, or open it"))
    }

    /// Whether nothing can be asked any more. What has come is read first: the end may be behind it.
    pub fn is_gone(&self) -> bool {
        let turn = self.turn(&mut self.waiting());
        if let Some(turn) = turn {
            turn.read_what_is_there();
        }
        self.waiting().gone.is_some()
    }

    /// Ends it, for all.
    pub fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.end();
    }

    fn end(&self) {
        let mut waiting = self.waiting();
        waiting.gone.get_or_insert_with(|| self.gone());
        waiting.ended = true;
        waiting.requests.values().for_each(|request| request.changed.notify_one());
        self.asked.notify_one();
    }

    /// The next of the answer to a request; none where the connection has ended. Who ends it waits no longer than a moment for that to be
    /// heard.
    pub fn next(&self, id: u64, cancel: &Cancel) -> Result<Option<Arrived>> {
        let mut since: Option<Instant> = None;
        let mut check = || match cancel.check() {
            Err(error) if since.get_or_insert_with(Instant::now).elapsed() > GRACE => Err(error),
            _ => Ok(()),
        };
        loop {
            match self.wait(id) {
                Waited::Arrived(arrived) => return Ok(Some(arrived)),
                Waited::Ended => return Ok(None),
                Waited::Nothing => check()?,
                Waited::Turn(turn) => loop {
                    match turn.read() {
                        Some((of, arrived)) if of == id => return Ok(Some(arrived)),
                        Some((of, arrived)) => self.put(of, arrived),
                        None => break check()?,
                    }
                    check()?;
                },
            }
        }
    }

    /// Waits a while for what comes for a request, or for the turn to read it.
    fn wait(&self, id: u64) -> Waited<'_> {
        let mut waiting = self.waiting();
        for waited in [false, true] {
            let ended = waiting.ended;
            let Some(request) = waiting.requests.get_mut(&id) else { return Waited::Ended };
            request.waits = false;
            let has_turn = std::mem::take(&mut request.has_turn);
            let changed = request.changed.clone();
            let arrived = request.arrived.pop_front();
            let turn = if has_turn { Some(AnswerTurn { connection: self }) } else { None };
            if let Some(arrived) = arrived {
                // The lock is needed to give the turn on.
                drop(waiting);
                drop(turn);
                return Waited::Arrived(arrived);
            }
            if ended {
                drop(waiting);
                return Waited::Ended;
            }
            if let Some(turn) = turn.or_else(|| self.turn(&mut waiting)) {
                return Waited::Turn(turn);
            }
            if !waited {
                if let Some(request) = waiting.requests.get_mut(&id) {
                    request.waits = true;
                }
                waiting = changed.wait_timeout(waiting, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Waited::Nothing
    }

    /// The turn to read, unless somebody has it.
    fn turn<'c>(&'c self, waiting: &mut WaitingRequests) -> Option<AnswerTurn<'c>> {
        if waiting.is_read || waiting.ended {
            return None;
        }
        waiting.is_read = true;
        waiting.turns += 1;
        Some(AnswerTurn { connection: self })
    }

    /// What is of a request that nobody waits for is passed over.
    fn put(&self, id: u64, arrived: Arrived) {
        if let Some(request) = self.waiting().requests.get_mut(&id) {
            request.arrived.push_back(arrived);
            request.changed.notify_one();
        }
    }

    /// Reads what nobody waits for, now and then, until the connection has ended. Where nothing was asked for a while it rests.
    pub fn read_for_nobody(&self) {
        let mut waiting = self.waiting();
        let mut quiet = false;
        while !waiting.ended {
            if quiet && waiting.unended.is_empty() {
                waiting.rests = true;
                waiting = self.asked.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                waiting.rests = false;
                if waiting.ended {
                    break;
                }
            }
            let before = waiting.turns;
            waiting = self.asked.wait_timeout(waiting, PAUSE).unwrap_or_else(PoisonError::into_inner).0;
            quiet = waiting.turns == before;
            if quiet && let Some(turn) = self.turn(&mut waiting) {
                drop(waiting);
                quiet = !turn.read_what_is_there();
                drop(turn);
                waiting = self.waiting();
            }
        }
    }
}

/// The turn to read. It goes to somebody who waits.
struct AnswerTurn<'c> {
    connection: &'c ClientConnection,
}

impl AnswerTurn<'_> {
    /// The next that comes for any request. None: nothing in time, or nothing any more.
    fn read(&self) -> Option<(u64, Arrived)> {
        let read = locked(&self.connection.reader).read();
        let read = read.unwrap_or_else(|_| {
            let _ = self.connection.stream.shutdown(std::net::Shutdown::Both);
            self.connection.end();
            None
        });
        if let Some((id, arrived)) = &read
            && arrived.is_end()
        {
            self.connection.waiting().unended.remove(id);
        }
        read
    }

    /// Takes what there is without waiting, and says whether there was anything.
    fn read_what_is_there(&self) -> bool {
        let mut any = false;
        while locked(&self.connection.reader).is_ready(&self.connection.stream) {
            any = true;
            match self.read() {
                Some((of, arrived)) => self.connection.put(of, arrived),
                None => break,
            }
        }
        any
    }
}

impl Drop for AnswerTurn<'_> {
    fn drop(&mut self) {
        let mut waiting = self.connection.waiting();
        let next = waiting.requests.values_mut().find(|request| request.waits);
        match next {
            Some(request) => {
                (request.waits, request.has_turn) = (false, true);
                request.changed.notify_one();
            }
            None => waiting.is_read = false,
        }
    }
}
