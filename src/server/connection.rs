//! A connection: requests as they come, each answered on a thread of its own, so that none waits for another.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::credits::Credits;
use super::input::LineReader;
use super::output::LineSink;
use super::task;
use super::upload::Upload;
use super::{CountedRequest, HeldBytes, MAX_RUNNING, ServerContext};
use crate::cancel::Cancel;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::protocol::RequestId;
use crate::protocol::answer::{Done, Hello, Reply};
use crate::protocol::request::{Ask, ClientRequest, TaskKind, TaskRequest};
use crate::store::SubscriptionCursor;

/// How soon to look whether a client that sends no more has gone.
const LOOK: Duration = Duration::from_millis(20);

/// How many looks what runs has to end by itself, once the database is to be closed.
const GRACE: u32 = 100;

/// How many threads wait for their turn to read, at most.
const MAX_WAITING: usize = 4;

/// So many requests are read beside the one that is answered, once one came while another one was.
const MAX_BESIDE: usize = 64;

/// So many bytes the system takes at once, though the client reads nothing yet.
const MAX_SENT_AT_ONCE: usize = 4 << 10;

/// How many durable subscriptions of a connection that have ended can be acknowledged still.
const MAX_CURSORS: usize = 1024;

/// A request that runs.
#[derive(Debug)]
pub(super) struct RunningRequest {
    pub id: RequestId,
    pub cancel: Cancel,
    pub credits: Credits,
    /// Of an import.
    upload: Option<Upload>,
    pub chunks: Mutex<Option<Receiver<Option<String>>>>,
    /// All of what is imported has come.
    upload_ended: AtomicBool,
    /// What ends a subscription that would have no end.
    subscription: Mutex<Option<Cancel>>,
    /// What its client did wrong: what it ends with.
    pub fault: OnceLock<Error>,
    _counted: CountedRequest,
}

impl RunningRequest {
    pub fn cancel(&self) {
        self.cancel.cancel();
        self.credits.wake();
    }
}

/// A request on its way to the thread that answers it.
struct Job {
    running: Arc<RunningRequest>,
    request: Box<TaskRequest>,
    _held: HeldBytes,
}

/// What a thread has while it is its turn to read.
struct ReadingTurn<R> {
    lines: LineReader<R>,
    /// How the input ended, once it has.
    ended: Option<Result<()>>,
}

/// The other end of a connection.
pub(super) trait ClientEnd: Sync {
    /// Whether nobody waits for answers any more.
    fn has_gone(&self) -> bool;

    /// Whether something has come that was not read yet.
    fn has_said_more(&self) -> bool;
}

/// Where requests come from, and answers go to.
pub(super) struct ServerConnection<'s> {
    pub db: Db,
    pub context: Arc<ServerContext>,
    output: &'s dyn LineSink,
    running: Mutex<HashMap<RequestId, Arc<RunningRequest>>>,
    /// Those of durable subscriptions, by their requests: what was delivered may be acknowledged after it, too.
    cursors: Mutex<VecDeque<(RequestId, SubscriptionCursor)>>,
    /// Threads that wait for their turn to read.
    waiting: AtomicUsize,
    /// How many of the next requests are to be read on beside, since their client does not wait for one answer after the other.
    beside: AtomicUsize,
    input_ended: AtomicBool,
    /// Whoever asks said so.
    read_only: AtomicBool,
}

impl<'s> ServerConnection<'s> {
    pub fn new(db: Db, context: Arc<ServerContext>, output: &'s dyn LineSink) -> ServerConnection<'s> {
        ServerConnection {
            db,
            context,
            output,
            running: Mutex::default(),
            cursors: Mutex::default(),
            waiting: AtomicUsize::new(0),
            beside: AtomicUsize::new(0),
            input_ended: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<RunningRequest>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn request(&self, id: &RequestId) -> Option<Arc<RunningRequest>> {
        self.running().get(id).cloned()
    }

    /// Nobody takes answers any more.
    pub fn give_up(&self) {
        let running: Vec<_> = self.running().values().cloned().collect();
        running.iter().for_each(|running| running.cancel());
    }

    /// Answers what comes, until nothing comes any more and all is answered. Subscriptions would have no end: they end then, at once where
    /// nothing is known of who waits for answers.
    ///
    /// One thread at a time reads, and answers what it has read itself: so a request waits for no thread to wake. Another one reads on, once
    /// the answer turns out to take its time; at once, where the client does not wait for one answer after the other.
    pub fn serve(&self, input: impl Read + Send, end: Option<&dyn ClientEnd>) -> Result<()> {
        // Who asks for a file by its name is not to be answered for another one.
        if let Err(error) = self.db.store().shared().name.check() {
            return self.refuse(error);
        }
        self.say(None, &Reply::Hello(&self.hello()))?;
        let reading = Mutex::new(ReadingTurn { lines: LineReader::new(input, &self.context), ended: None });
        thread::scope(|scope| self.take_turns(scope, &reading, end, true));
        let ended = reading.into_inner().unwrap_or_else(PoisonError::into_inner).ended;
        ended.unwrap_or(Ok(()))
    }

    /// Reads when it is its turn, and answers what it has read, over and over. Of those who wait for their turn few stay.
    fn take_turns<'scope, R: Read + Send>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        reading: &'scope Mutex<ReadingTurn<R>>,
        end: Option<&'scope dyn ClientEnd>,
        stays: bool,
    ) {
        let mut kept = None;
        loop {
            let mut turn = kept.take().unwrap_or_else(|| self.wait_for_turn(reading));
            if turn.ended.is_some() {
                return;
            }
            let job = match self.next_job(&mut turn.lines) {
                Ok(Some(job)) => job,
                Ok(None) => {
                    turn.ended = Some(Ok(()));
                    drop(turn);
                    return self.finish(end);
                }
                Err(error) => {
                    turn.ended = Some(Err(error));
                    drop(turn);
                    return self.give_up();
                }
            };
            kept = Some(turn);
            let read_on = |kept: &mut Option<_>| {
                if kept.take().is_some() && self.waiting.load(Ordering::SeqCst) == 0 {
                    // Where there is none to be had, this one reads on when it has answered.
                    let follow = move || self.take_turns(scope, reading, end, false);
                    let thread = thread::Builder::new().name("bygone-request".to_owned());
                    let _ = thread.spawn_scoped(scope, follow);
                }
            };
            if end.is_none() || self.is_read_beside() {
                read_on(&mut kept);
            }
            let Job { running, request, _held } = job;
            let last = self.answer(&running, *request, &mut || read_on(&mut kept));
            if let Some(turn) = &kept
                && (turn.lines.has_more() || end.is_some_and(ClientEnd::has_said_more))
            {
                // Its client did not wait for the answer.
                self.beside.store(MAX_BESIDE, Ordering::SeqCst);
            }
            if last.len() > MAX_SENT_AT_ONCE {
                read_on(&mut kept);
            }
            self.end(running, &last);
            if kept.is_none() && !stays && self.waiting.load(Ordering::SeqCst) >= MAX_WAITING {
                return;
            }
        }
    }

    fn wait_for_turn<'r, R>(&self, reading: &'r Mutex<ReadingTurn<R>>) -> MutexGuard<'r, ReadingTurn<R>> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let turn = reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        turn
    }

    /// Whether others are to be read while a request is answered: some came so lately.
    fn is_read_beside(&self) -> bool {
        if self.running().len() > 1 {
            self.beside.store(MAX_BESIDE, Ordering::SeqCst);
            return true;
        }
        let less = |beside: usize| beside.checked_sub(1);
        self.beside.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    /// The client sends no more: what runs ends by itself, or is ended where nobody waits for it.
    fn finish(&self, end: Option<&dyn ClientEnd>) {
        self.end_input();
        let Some(end) = end else { return };
        let mut left = None;
        while !end.has_gone() && !self.running().is_empty() && left != Some(0) {
            if self.context.stopping.load(Ordering::SeqCst) {
                left = Some(left.unwrap_or(GRACE) - 1);
            }
            thread::sleep(LOOK);
        }
        self.give_up();
    }

    /// A request subscribes. Where nothing is sent any more it delivers the past, and ends.
    pub fn subscribes(&self, running: &RunningRequest, cancel: &Cancel) {
        *running.subscription() = Some(cancel.clone());
        if self.input_ended.load(Ordering::SeqCst) {
            cancel.cancel();
        }
    }

    /// What a request delivers from now on is acknowledged here.
    pub fn keep_cursor(&self, id: &RequestId, cursor: SubscriptionCursor) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.retain(|(of, _)| of != id);
        if cursors.len() >= MAX_CURSORS {
            cursors.pop_front();
        }
        cursors.push_back((id.clone(), cursor));
    }

    pub fn cursor(&self, of: &RequestId) -> Option<SubscriptionCursor> {
        let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.iter().find(|(id, _)| id == of).map(|(_, cursor)| cursor.clone())
    }

    fn end_input(&self) {
        self.input_ended.store(true, Ordering::SeqCst);
        for running in self.running().values() {
            running.credits.end();
            running.end_input();
        }
    }

    /// Reads up to a request that takes its time. What is said of others on the way is done at once.
    fn next_job(&self, lines: &mut LineReader<impl Read>) -> Result<Option<Job>> {
        loop {
            let (line, held) = match lines.read() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(error) => return self.refuse(error),
            };
            if line.trim().is_empty() {
                continue;
            }
            match ClientRequest::read(&line) {
                Ok(request) => {
                    drop(line);
                    if let Some(job) = self.take(request, held)? {
                        return Ok(Some(job));
                    }
                }
                Err(fault) if fault.id.is_some() => {
                    self.say(fault.id.as_ref(), &Reply::Error(&fault.error, None))?;
                }
                // Nothing can be told of what follows.
                Err(fault) => return self.refuse(*fault.error),
            }
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            bygone: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: crate::protocol::VERSION,
            database: self.db.store().shared().id.urn(),
            process: std::process::id(),
            head: self.db.head().0,
            read_only: self.is_read_only(),
        }
    }

    pub fn is_read_only(&self) -> bool {
        self.said_read_only()
            || self.context.access == super::SharedAccess::ReadOnly
            || self.db.store().shared().options.read_only
    }

    /// Whether whoever asks said that nothing is to be written.
    pub fn said_read_only(&self) -> bool {
        self.read_only.load(Ordering::SeqCst)
    }

    /// The last thing that is said.
    fn refuse<T>(&self, error: Error) -> Result<T> {
        self.say(None, &Reply::Error(&error, None))?;
        Err(error)
    }

    pub fn say(&self, id: Option<&RequestId>, said: &Reply<'_>) -> Result<()> {
        let mut lines = Vec::new();
        said.write(id, &mut lines)?;
        self.send(&lines)
    }

    pub fn send(&self, lines: &[u8]) -> Result<()> {
        self.output.send(lines).map_err(|_| {
            self.give_up();
            Error::stopped("the client has gone, or takes no answers")
        })
    }

    /// Does what takes no time, or gives what does.
    fn take(&self, request: ClientRequest, held: HeldBytes) -> Result<Option<Job>> {
        let ClientRequest { id, ask } = request;
        match ask {
            Ask::Task(request) => match self.begin(&id, &request) {
                Ok(running) => return Ok(Some(Job { running, request, _held: held })),
                Err(error) => self.say(Some(&id), &Reply::Error(&error, None)),
            },
            Ask::Cancel(of) => {
                if let Some(running) = self.request(&of) {
                    running.cancel();
                }
                self.say(Some(&id), &Reply::Done(Done::default()))
            }
            Ask::ReadOnly => {
                self.read_only.store(true, Ordering::SeqCst);
                self.say(Some(&id), &Reply::Done(Done::default()))
            }
            // A request that has ended meanwhile has no use for them.
            Ask::Credits(more) => {
                self.request(&id).iter().for_each(|running| running.credits.add(more));
                Ok(())
            }
            Ask::Chunk(chunk) => {
                let Some(running) = self.request(&id) else { return Ok(None) };
                match &running.upload {
                    Some(upload) => {
                        running.upload_ended.fetch_or(chunk.is_none(), Ordering::SeqCst);
                        if let Err(error) = upload.put(chunk) {
                            let _ = running.fault.set(error);
                            running.cancel();
                        }
                        Ok(())
                    }
                    None => {
                        let error =
                            Error::invalid("`text`", "the id of an import", "that of another request");
                        self.say(None, &Reply::Error(&error, None))
                    }
                }
            }
        }
        .map(|()| None)
    }

    fn begin(&self, id: &RequestId, request: &TaskRequest) -> Result<Arc<RunningRequest>> {
        let counted = self.context.count_running()?;
        let mut running = self.running();
        if running.contains_key(id) {
            return Err(Error::invalid(
                "the id of a request",
                "one that no other has that runs",
                id.to_string(),
            ));
        }
        if running.len() >= MAX_RUNNING {
            return Err(Error::busy(format!("{MAX_RUNNING} requests run on this connection")));
        }
        let (upload, chunks) = match &request.task {
            TaskKind::Import(_) => {
                let (put, chunks) = Upload::new();
                (Some(put), Some(chunks))
            }
            _ => (None, None),
        };
        let cancel = request.time_limit.map_or_else(Cancel::new, Cancel::after);
        let begun = Arc::new(RunningRequest {
            id: id.clone(),
            cancel,
            credits: Credits::new(request.credits),
            upload,
            chunks: Mutex::new(chunks),
            upload_ended: AtomicBool::new(false),
            subscription: Mutex::new(None),
            fault: OnceLock::new(),
            _counted: counted,
        });
        running.insert(id.clone(), begun.clone());
        Ok(begun)
    }

    /// Answers a request, up to its last lines. What is to be called before it takes its time lets another thread read.
    fn answer(&self, running: &RunningRequest, request: TaskRequest, read_on: &mut dyn FnMut()) -> Vec<u8> {
        let last = catch_unwind(AssertUnwindSafe(|| task::run(self, running, request, read_on)));
        last.unwrap_or_else(|_| {
            let error = Error::stopped("a panic ended the request; this is a fault of Bygone");
            let mut lines = Vec::new();
            drop(Reply::Error(&error, None).write(Some(&running.id), &mut lines));
            lines
        })
    }

    /// Says the last of an answer. Its id is free before its client knows that it has ended.
    fn end(&self, running: Arc<RunningRequest>, last: &[u8]) {
        self.running().remove(&running.id);
        drop(running);
        // Who has gone is told nothing.
        let _ = self.send(last);
    }
}

impl RunningRequest {
    fn subscription(&self) -> MutexGuard<'_, Option<Cancel>> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its subscription has ended.
    pub fn subscribes_no_more(&self) {
        *self.subscription() = None;
    }

    /// Its client sends no more: what would have no end by itself ends.
    fn end_input(&self) {
        if let Some(subscription) = &*self.subscription() {
            subscription.cancel();
        }
        if self.upload.is_some() && !self.upload_ended.load(Ordering::SeqCst) {
            self.cancel();
        }
    }
}
