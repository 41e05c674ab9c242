//! The server: answers other processes about a database that this one has open, in the words of the [protocol](crate::protocol).
//!
//! A [`connection`] reads requests and runs each on a thread of its own ([`task`]); what they are answered with goes through one
//! [`output`], which a client that is slow holds up for itself alone. A [`socket`] stands beside the file; [`Db::serve`] is for a program that
//! has the other end of a pair of streams.

mod connection;
mod credits;
mod input;
mod output;
#[cfg(unix)]
mod socket;
mod task;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(unix)]
use std::sync::{Mutex, PoisonError};

use crate::db::Db;
use crate::error::{Error, Result, size};
use crate::store::SharedAccess;
use connection::ServerConnection;
use output::LineOutput;
#[cfg(unix)]
use socket::Server;
#[cfg(unix)]
pub(crate) use socket::{check_user, is_readable, path_of, with_address};

/// How many bytes of requests are held at a time, of all connections.
const MAX_HELD: usize = 512 << 20;

/// How many requests run at a time, of one connection and of all.
const MAX_RUNNING: usize = 64;
const MAX_RUNNING_IN_ALL: usize = 512;

/// What all connections of a database share.
#[derive(Debug)]
struct ServerContext {
    access: SharedAccess,
    /// The database is about to be closed: what runs may end, within limits.
    stopping: AtomicBool,
    /// Bytes of requests that are held.
    held: AtomicUsize,
    /// Requests that run.
    running: AtomicUsize,
}

impl ServerContext {
    fn new(access: SharedAccess) -> Arc<ServerContext> {
        Arc::new(ServerContext {
            access,
            stopping: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        })
    }

    /// Counts one more request that runs, while what is given back lives.
    fn count_running(self: &Arc<ServerContext>) -> Result<CountedRequest> {
        let counted = CountedRequest(self.clone());
        if self.running.fetch_add(1, Ordering::Relaxed) < MAX_RUNNING_IN_ALL {
            return Ok(counted);
        }
        Err(Error::busy(format!("{MAX_RUNNING_IN_ALL} requests run, of all clients")))
    }
}

/// One of the requests that run.
#[derive(Debug)]
struct CountedRequest(Arc<ServerContext>);

impl Drop for CountedRequest {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of a request that are held.
#[derive(Debug)]
struct HeldBytes {
    context: Arc<ServerContext>,
    bytes: usize,
}

impl HeldBytes {
    fn none(context: &Arc<ServerContext>) -> HeldBytes {
        HeldBytes { context: context.clone(), bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> Result<()> {
        let before = self.context.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes <= MAX_HELD {
            return Ok(());
        }
        Err(Error::busy(format!("requests of {} are held, of all clients", size(MAX_HELD as u64))))
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.context.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What keeps a database shared: all handles to it have one.
#[derive(Default)]
pub(crate) struct Sharing(#[cfg(unix)] Mutex<SharingState>);

#[cfg(unix)]
#[derive(Default)]
struct SharingState {
    server: Option<Server>,
    /// The database is closed, or about to be: its name may be another one's by now.
    ended: bool,
}

impl Sharing {
    /// Nobody is answered any more.
    pub fn stop(&self) {
        #[cfg(unix)]
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.ended = true;
            if let Some(server) = state.server.take() {
                server.stop();
            }
        }
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sharing")
    }
}

impl Db {
    /// Lets other processes of this user ask this database, by a socket beside its file: until it is closed, or its last handle is dropped.
    /// [`Db::attach`] asks there, and so does the program `bygone`. `Options::share` begins with it.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("shop.bygone");
    /// use bygone::Db;
    /// use bygone::share::SharedAccess;
    /// let db = Db::create(&path)?;
    /// db.share(SharedAccess::Full)?;
    /// let other = Db::attach(&path)?;
    /// other.query("EMIT Order.created 42 {total: 10}")?;
    /// assert_eq!(db.head().0, 1);
    /// # }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unopenable`] for a database that has no file on a disk of the system, that was opened for reading only (others may open it,
    /// too), or that is shared already, and where there are no such sockets; [`Error::Io`] where the socket cannot be made.
    pub fn share(&self, access: SharedAccess) -> Result<()> {
        let shared = self.store().shared();
        let refuse = |reason: &str, advice: &str| Err(Error::unopenable(&shared.path, reason, advice));
        if shared.options.read_only {
            return refuse("what is opened for reading only is not shared", "others can open it so, too");
        }
        if !shared.options.is_on_system_disk() {
            return refuse("what has no file of its own cannot be shared", "create it as a file");
        }
        #[cfg(unix)]
        {
            let mut state = self.sharing().0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.server.is_some() {
                return refuse("it is shared already", "nothing need be done");
            }
            if state.ended {
                return Err(Error::stopped("the database is closed"));
            }
            state.server = Some(Server::start(self.not_sharing(), &shared.path, access)?);
            Ok(())
        }
        #[cfg(not(unix))]
        {
            let _ = access;
            refuse("it cannot be shared: there are no sockets with names here", "open it without sharing")
        }
    }

    /// Answers requests that come on `input` by lines on `output`, until `input` ends and all that was asked is answered. Subscriptions end
    /// with `input`. `docs/PROTOCOL.md` tells what is asked and answered.
    ///
    /// ```
    /// use bygone::Db;
    /// use bygone::share::SharedAccess;
    /// let db = Db::in_memory()?;
    /// let requests = r#"{"id":1,"statement":"EMIT Order.created $order {total: 10}","params":{"order":42}}"#;
    /// let mut answers = Vec::new();
    /// db.serve(requests.as_bytes(), &mut answers, SharedAccess::Full)?;
    /// let answers = String::from_utf8(answers).unwrap();
    /// assert!(answers.starts_with(r#"{"bygone":"#) && answers.ends_with(r#"{"id":1,"done":{"statements":1,"rows":1,"position":1}}
    /// "#), "{answers}");
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `input` cannot be read, or `output` cannot be written. What is asked and fails is answered with an error.
    pub fn serve(
        &self,
        input: impl Read + Send,
        output: impl Write + Send,
        access: SharedAccess,
    ) -> Result<()> {
        let output = LineOutput::new(output, || {});
        let connection = ServerConnection::new(self.clone(), ServerContext::new(access), &output);
        connection.serve(input, None)
    }
}
