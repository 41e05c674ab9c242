//! What a client sends to be imported, read as it comes.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::protocol::CHUNKS;

/// How soon to look whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// The end that chunks are put into, as they come; none where it ends.
#[derive(Debug)]
pub(super) struct Upload(Sender<Option<String>>);

impl Upload {
    pub fn new() -> (Upload, Receiver<Option<String>>) {
        // The end needs no credit.
        let (put, take) = bounded(CHUNKS as usize + 1);
        (Upload(put), take)
    }

    /// Puts a chunk in. Whoever sends more than there are credits for is told.
    pub fn put(&self, chunk: Option<String>) -> Result<()> {
        match self.0.try_send(chunk) {
            // Whatever ended it is told by its own answer.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(_)) => {
                let expected = format!("{CHUNKS} pieces at most, and one more for each credit");
                Err(Error::invalid("an import", expected, "more"))
            }
        }
    }
}

/// Reads what is put in.
pub(super) struct UploadReader<'c, F> {
    chunks: Receiver<Option<String>>,
    cancel: &'c Cancel,
    /// Told that a chunk was taken.
    taken: F,
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'c, F: FnMut()> UploadReader<'c, F> {
    pub fn new(chunks: Receiver<Option<String>>, cancel: &'c Cancel, taken: F) -> UploadReader<'c, F> {
        UploadReader { chunks, cancel, taken, chunk: Vec::new(), at: 0, ended: false }
    }

    fn advance(&mut self) -> io::Result<()> {
        loop {
            self.cancel.check().map_err(|error| io::Error::other(error.to_string()))?;
            match self.chunks.recv_timeout(LOOK) {
                Ok(Some(chunk)) => {
                    (self.taken)();
                    (self.chunk, self.at) = (chunk.into_bytes(), 0);
                    if !self.chunk.is_empty() {
                        return Ok(());
                    }
                }
                Ok(None) => {
                    self.ended = true;
                    return Ok(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client has gone"));
                }
            }
        }
    }
}

impl<F: FnMut()> Read for UploadReader<'_, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let length = from.len().min(out.len());
        out[..length].copy_from_slice(&from[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<F: FnMut()> BufRead for UploadReader<'_, F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() && !self.ended {
            self.advance()?;
        }
        let rest = if self.ended { &[] } else { &self.chunk[self.at..] };
        Ok(rest)
    }

    fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.chunk.len());
    }
}
