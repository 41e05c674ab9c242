//! HTTP: a database asked from browsers and by `curl`, and what it tells of itself.
//!
//! One mechanism answers for both. A thread listens; each connection has a thread of its own, of which there are few, and one request to it.
//! Heads are read by httparse ([`request`]), all else is here: what a slow client may take of time is counted wherever it is waited for, so
//! that it holds up nobody but itself. (What answers HTTP in other packages either has no such limits, as tiny_http, or brings a runtime.)
//!
//! A statement, and a subscription, is a request of the [protocol](crate::protocol), whose lines become the body ([`exchange`]): so they are
//! the same where another process has the file open. Who may ask at all is looked at before ([`guard`]).

mod connection;
mod events;
mod exchange;
mod guard;
mod query;
mod request;
mod respond;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::db::Db;
use crate::error::{Error, Result};
use crate::shared_db::SharedDb;
use crate::store::{SharedAccess, locked};
use connection::HttpConnection;
use guard::{AccessToken, Guard};

/// After an error of the system, like too many open files, it takes so long until the next connection is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// Who may ask over HTTP, and what: for [`SharedDb::serve_http`].
///
/// ```
/// use bygone::share::{HttpOptions, SharedAccess};
/// let options = HttpOptions::new(SharedAccess::ReadOnly).token("secret-of-16-characters-or-more")?;
/// assert!(!format!("{options:?}").contains("secret"));
/// assert!(HttpOptions::new(SharedAccess::Full).token("short").is_err());
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    access: SharedAccess,
    token: Option<AccessToken>,
}

impl HttpOptions {
    /// Whoever reaches the address may ask for so much.
    pub fn new(access: SharedAccess) -> HttpOptions {
        HttpOptions { access, token: None }
    }

    /// Whoever asks has to send this, as `Authorization: Bearer …`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one of fewer than 16 characters, or with others than visible ones of ASCII.
    pub fn token(self, token: &str) -> Result<HttpOptions> {
        Ok(HttpOptions { token: Some(AccessToken::new(token)?), ..self })
    }
}

/// What is to be had at an address.
#[derive(Debug)]
enum Site {
    /// `/metrics`.
    Metrics(Db),
    /// `/query` and `/events`.
    Database(DatabaseSite),
}

/// A database that is asked over HTTP.
#[derive(Debug)]
struct DatabaseSite {
    db: SharedDb,
    access: SharedAccess,
    guard: Guard,
    /// Bytes of bodies that are held.
    held: AtomicUsize,
}

impl Site {
    /// How many connections are answered at a time. More are turned away.
    fn max_connections(&self) -> usize {
        match self {
            Site::Metrics(_) => 16,
            Site::Database(_) => 64,
        }
    }

    /// What threads are called.
    fn name(&self) -> &'static str {
        match self {
            Site::Metrics(_) => "bygone-metrics",
            Site::Database(_) => "bygone-http",
        }
    }
}

/// Answers over HTTP, until it is stopped or dropped. It keeps the database open.
pub struct HttpServer {
    address: SocketAddr,
    listening: Arc<Listening>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread that listens shares with who stops it.
struct Listening {
    site: Site,
    stopping: AtomicBool,
    open: Mutex<Vec<OpenHttpConnection>>,
    ended: Mutex<bool>,
    has_ended: Condvar,
}

struct OpenHttpConnection {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl HttpServer {
    fn start(listener: TcpListener, site: impl FnOnce(SocketAddr) -> Result<Site>) -> Result<HttpServer> {
        let failed = |error| Error::io("listening for HTTP", error);
        let address = listener.local_addr().map_err(failed)?;
        // One that does not wait would have the thread turn in circles.
        listener.set_nonblocking(false).map_err(failed)?;
        let listening = Arc::new(Listening {
            site: site(address)?,
            stopping: AtomicBool::new(false),
            open: Mutex::default(),
            ended: Mutex::new(false),
            has_ended: Condvar::new(),
        });
        let own = listening.clone();
        let thread = thread::Builder::new().name(own.site.name().to_owned());
        let thread = thread.spawn(move || own.listen(&listener)).map_err(failed)?;
        Ok(HttpServer { address, listening, thread: Mutex::new(Some(thread)) })
    }

    /// Where it listens, with the port that it got where any was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it is stopped, from another thread.
    pub fn wait(&self) {
        let mut ended = locked(&self.listening.ended);
        while !*ended {
            ended = self.listening.has_ended.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends all connections, and waits until nobody is answered any more. Again it does nothing.
    pub fn stop(&self) {
        self.listening.stopping.store(true, Ordering::SeqCst);
        let mut thread = locked(&self.thread);
        if let Some(thread) = thread.take() {
            self.wake();
            let _ = thread.join();
        }
    }

    /// What listens waits for a connection: here is one.
    fn wake(&self) {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            let local =
                if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            address.set_ip(local);
        }
        let _ = TcpStream::connect_timeout(&address, 10 * PAUSE);
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Listening {
    fn listen(self: &Arc<Listening>, listener: &TcpListener) {
        while !self.is_stopping() {
            match listener.accept() {
                Ok((stream, _)) if !self.is_stopping() => self.begin(stream),
                Ok(_) => {}
                Err(_) => thread::sleep(PAUSE),
            }
        }
        let open = std::mem::take(&mut *locked(&self.open));
        for connection in &open {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        for connection in open {
            let _ = connection.thread.join();
        }
        *locked(&self.ended) = true;
        self.has_ended.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn begin(self: &Arc<Listening>, stream: TcpStream) {
        let mut open = locked(&self.open);
        open.retain(|connection| !connection.thread.is_finished());
        if open.len() >= self.site.max_connections() {
            return connection::turn_away(&stream);
        }
        // Without a second handle, or a thread, it is closed.
        let Ok(own) = stream.try_clone() else { return };
        let listening = self.clone();
        // Who has gone has no use for an answer.
        let answer = move || drop(HttpConnection::new(own).answer(&listening.site));
        let thread = thread::Builder::new().name(self.site.name().to_owned());
        if let Ok(thread) = thread.spawn(answer) {
            open.push(OpenHttpConnection { stream, thread });
        }
    }
}

impl SharedDb {
    /// Answers over HTTP whoever connects: statements at `/query`, subscriptions at `/events`. `docs/guide/http.md` tells what is asked and
    /// answered.
    ///
    /// Without a [token](HttpOptions::token) the address has to be a loopback one: whoever reaches another would have the database.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    /// use bygone::Db;
    /// use bygone::share::{HttpOptions, SharedAccess, SharedDb};
    /// let db = SharedDb::from(Db::in_memory()?);
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let server = db.serve_http(listener, HttpOptions::new(SharedAccess::Full))?;
    ///
    /// let mut client = TcpStream::connect(server.address()).unwrap();
    /// let statement = "EMIT Order.created 42 {total: 10}";
    /// write!(client, "POST /query HTTP/1.0\r\nContent-Length: {}\r\n\r\n{statement}", statement.len()).unwrap();
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer).unwrap();
    /// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(r#"{"done":{"#), "{answer}");
    /// assert_eq!(db.head()?.0, 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that others reach, without a token; [`Error::Io`] where there is no thread to be had.
    pub fn serve_http(&self, listener: TcpListener, options: HttpOptions) -> Result<HttpServer> {
        let HttpOptions { access, token } = options;
        HttpServer::start(listener, |address| {
            let guard = Guard::new(token, address)?;
            let held = AtomicUsize::new(0);
            Ok(Site::Database(DatabaseSite { db: self.clone(), access, guard, held }))
        })
    }
}

impl Db {
    /// Tells over HTTP, at `/metrics`, what [`metrics`](Db::metrics) says, for Prometheus and whatever else reads that. It tells it to whoever
    /// reaches the address.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use bygone::Db;
    /// let db = Db::in_memory()?;
    /// let server = db.serve_metrics(TcpListener::bind("127.0.0.1:0").unwrap())?;
    /// println!("metrics are at http://{}/metrics", server.address());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] where there is no thread to be had.
    pub fn serve_metrics(&self, listener: TcpListener) -> Result<HttpServer> {
        HttpServer::start(listener, |_| Ok(Site::Metrics(self.clone())))
    }
}
