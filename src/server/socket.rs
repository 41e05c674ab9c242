//! The socket beside the file: who may use the file may ask there.
//!
//! Its name is that of the database with `-socket`. Only the user that the process runs as may connect: the socket has the mode 0600, and
//! where the system tells who connects (Linux), that is looked at, too. Whoever holds the database owns the name: what stands there when
//! the database is opened was left by a process that was killed.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::{ClientEnd, ServerConnection};
use super::output::LineOutput;
use super::{ServerContext, SharedAccess};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::protocol::answer::Reply;
use crate::store::disk::folder;
use crate::store::locked;

/// How many clients are connected at a time.
const MAX_CONNECTIONS: usize = 128;

/// How long the system may take to pass on what a client is sent. One that reads at its own pace asks for rows by credits.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same for all of them, once the database is to be closed.
const PATIENCE_AT_END: Duration = Duration::from_secs(3);

/// How soon to look whether all are done, then.
const LOOK: Duration = Duration::from_millis(5);

/// After an error of the system, like too many open files, it takes so long until the next connection is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// How long an address may be, with a byte to end it. Systems differ; all take this.
const LONGEST_ADDRESS: usize = 103;

/// Where the socket of a database stands, by the database's canonical path.
pub(crate) fn path_of(database: &Path) -> PathBuf {
    /// No longer a name is made longer.
    const LONGEST_NAME: usize = 60;
    let name = database.file_name().unwrap_or_default();
    let mut socket = OsString::new();
    if name.len() <= LONGEST_NAME {
        socket.push(name);
    } else {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        socket.push(format!(".bygone-{}", &hash[..24]));
    }
    socket.push("-socket");
    folder(database).join(socket)
}

/// Does something with an address that leads to a socket, whose path may be longer than an address.
pub(crate) fn with_address<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST_ADDRESS {
        return work(path);
    }
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        let error = format!("its path is longer than {LONGEST_ADDRESS} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    let opened = File::open(folder(path))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    work(&short.join(path.file_name().unwrap_or_default()))
}

/// Answers whoever connects, until it is stopped.
pub(crate) struct Server {
    path: PathBuf,
    /// Device and inode of the socket.
    identity: (u64, u64),
    /// Closing it wakes the thread that waits for connections.
    wake: Mutex<Option<UnixStream>>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Begins to answer beside the file. The handle must not be one that keeps the server.
    pub fn start(db: Db, database: &Path, access: SharedAccess) -> Result<Server> {
        let path = path_of(database);
        let failed =
            |error| Error::io(format!("sharing {} by {}", database.display(), path.display()), error);
        remove_stale(&path).map_err(failed)?;
        let listener = with_address(&path, |address| UnixListener::bind(address)).map_err(failed)?;
        let prepare = || {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            let metadata = fs::symlink_metadata(&path)?;
            Ok(((metadata.dev(), metadata.ino()), UnixStream::pair()?))
        };
        let (identity, (wake, woken)) =
            prepare().map_err(failed).inspect_err(|_| drop(fs::remove_file(&path)))?;
        let context = ServerContext::new(access);
        let listen = move || SocketListener { listener, woken, db, context, open: Arc::default() }.listen();
        let thread = thread::Builder::new().name("bygone-server".to_owned()).spawn(listen);
        let thread = thread.map_err(failed).inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(Server { path, identity, wake: Mutex::new(Some(wake)), listening: Mutex::new(Some(thread)) })
    }

    /// Ends all connections, and waits until nobody is answered any more. Again it does nothing.
    pub fn stop(&self) {
        self.remove_socket();
        drop(locked(&self.wake).take());
        if let Some(thread) = locked(&self.listening).take() {
            let _ = thread.join();
        }
    }

    /// Another one may have come to the name, where somebody removed ours.
    fn remove_socket(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Removes what a process that was killed has left. Whatever is no socket is somebody's.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket has its name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What waits for connections.
struct SocketListener {
    listener: UnixListener,
    woken: UnixStream,
    db: Db,
    context: Arc<ServerContext>,
    open: Arc<Mutex<Vec<OpenConnection>>>,
}

struct OpenConnection {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl SocketListener {
    fn listen(self) {
        while self.wait() {
            match self.listener.accept() {
                Ok((stream, _)) => self.begin(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => thread::sleep(PAUSE),
            }
        }
        self.context.stopping.store(true, Ordering::SeqCst);
        let open = std::mem::take(&mut *locked(&self.open));
        for connection in &open {
            // What was sent is answered still, and nothing more is taken.
            let _ = connection.stream.shutdown(std::net::Shutdown::Read);
        }
        let until = Instant::now() + PATIENCE_AT_END;
        while open.iter().any(|connection| !connection.thread.is_finished()) && Instant::now() < until {
            thread::sleep(LOOK);
        }
        // Who takes no answers is waited for no longer.
        for connection in &open {
            let _ = connection.stream.shutdown(std::net::Shutdown::Both);
        }
        for connection in open {
            let _ = connection.thread.join();
        }
    }

    /// Waits for a connection. False once the server is stopped.
    fn wait(&self) -> bool {
        let mut ends = [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
        match poll(&mut ends, None) {
            Ok(_) => ends[1].revents().is_empty(),
            Err(rustix::io::Errno::INTR) => true,
            Err(_) => {
                thread::sleep(PAUSE);
                true
            }
        }
    }

    fn begin(&self, stream: UnixStream) {
        let mut open = locked(&self.open);
        open.retain(|connection| !connection.thread.is_finished());
        if let Err(error) = self.check(&stream, open.len()) {
            // Who has gone meanwhile is told nothing.
            let mut line = Vec::new();
            drop(Reply::Error(&error, None).write(None, &mut line));
            drop(stream.set_write_timeout(Some(PAUSE)));
            drop(io::Write::write_all(&mut &stream, &line));
            return;
        }
        let (db, context) = (self.db.clone(), self.context.clone());
        // Without a second handle, or a thread, it is closed.
        let Ok(own) = stream.try_clone() else { return };
        let answer = move || answer(&own, db, context);
        if let Ok(thread) = thread::Builder::new().name("bygone-connection".to_owned()).spawn(answer) {
            open.push(OpenConnection { stream, thread });
        }
    }

    fn check(&self, stream: &UnixStream, open: usize) -> Result<()> {
        // Some systems hand this on from the listener.
        let failed = |error| Error::io("preparing a connection", error);
        stream.set_nonblocking(false).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        check_user(stream, None)?;
        if open < MAX_CONNECTIONS {
            return Ok(());
        }
        Err(Error::busy(format!("{MAX_CONNECTIONS} clients are connected")))
    }
}

/// Answers one client.
fn answer(stream: &UnixStream, db: Db, context: Arc<ServerContext>) {
    let hang_up = || drop(stream.shutdown(std::net::Shutdown::Both));
    let output = LineOutput::new(stream, hang_up);
    // What went wrong was told to the client, if it is still there.
    let _ = ServerConnection::new(db, context, &output).serve(stream, Some(stream));
    hang_up();
}

impl ClientEnd for UnixStream {
    /// One that only sends no more may wait for answers.
    fn has_gone(&self) -> bool {
        let mut ends = [PollFd::new(self, PollFlags::empty())];
        poll(&mut ends, Some(&Timespec::default())).is_err() || ends[0].revents().contains(PollFlags::HUP)
    }

    fn has_said_more(&self) -> bool {
        is_readable(self)
    }
}

/// Whether there is something to read, or nothing any more.
pub(crate) fn is_readable(stream: &UnixStream) -> bool {
    let mut ends = [PollFd::new(stream, PollFlags::IN)];
    poll(&mut ends, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Refuses others at the other end than the user that this process runs as, the superuser, and the owner of the file.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn check_user(stream: &UnixStream, owner: Option<u32>) -> Result<()> {
    let told = rustix::net::sockopt::socket_peercred(stream);
    let told = told.map_err(|error| Error::io("asking who connects", error.into()))?;
    let is_owner = owner == Some(told.uid.as_raw());
    if told.uid.is_root() || told.uid == rustix::process::geteuid() || is_owner {
        return Ok(());
    }
    let found = format!("user {}", told.uid.as_raw());
    Err(Error::invalid("the other end of the connection", "a process of the same user", found))
}

/// The mode of the socket keeps others away.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn check_user(_: &UnixStream, _: Option<u32>) -> Result<()> {
    Ok(())
}
