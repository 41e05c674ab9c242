//! What a client is sent: whole lines, from all who answer it.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where the lines of a connection go. Who finds that nobody takes them hangs up for all.
pub(super) struct LineOutput<'s> {
    stream: Mutex<Box<dyn Write + Send + 's>>,
    gone: AtomicBool,
    /// Ends what the client sends, too.
    hang_up: Box<dyn Fn() + Send + Sync + 's>,
}

/// The client has gone, or does not read.
#[derive(Debug)]
pub(super) struct ClientGone;

/// What lines are sent by.
pub(super) trait LineSink: Sync {
    /// Sends lines. Returns when the system has taken them.
    fn send(&self, lines: &[u8]) -> Result<(), ClientGone>;
}

impl<'s> LineOutput<'s> {
    pub fn new(stream: impl Write + Send + 's, hang_up: impl Fn() + Send + Sync + 's) -> LineOutput<'s> {
        LineOutput {
            stream: Mutex::new(Box::new(stream)),
            gone: AtomicBool::new(false),
            hang_up: Box::new(hang_up),
        }
    }
}

impl LineSink for LineOutput<'_> {
    fn send(&self, lines: &[u8]) -> Result<(), ClientGone> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if self.gone.load(Ordering::SeqCst) {
            return Err(ClientGone);
        }
        stream.write_all(lines).and_then(|()| stream.flush()).map_err(|_| {
            self.gone.store(true, Ordering::SeqCst);
            (self.hang_up)();
            ClientGone
        })
    }
}

impl fmt::Debug for LineOutput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineOutput").field("gone", &self.gone).finish_non_exhaustive()
    }
}
