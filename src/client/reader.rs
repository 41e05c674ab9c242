//! Reads what the process that holds a database answers.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::net::UnixStream;

use super::arrived::{Arrived, arrived};
use crate::protocol::answer::AnswerLine;
use crate::protocol::{MAX_LINE, cost};
use crate::server::is_readable;

/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// One long row is no reason to hold on to what it took.
const KEPT: usize = 1 << 20;

/// Reads lines. What has come of one in time is kept for the next time.
#[derive(Debug)]
pub(super) struct AnswerReader {
    input: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl AnswerReader {
    pub fn new(stream: UnixStream) -> AnswerReader {
        AnswerReader { input: BufReader::with_capacity(PIECE, stream), line: Vec::new() }
    }

    /// A line as it is. One that is too long, or not whole at the end, is an error.
    pub fn line(&mut self) -> io::Result<&[u8]> {
        if self.line.last() == Some(&b'\n') {
            self.line.clear();
            self.line.shrink_to(KEPT);
        }
        let left = (MAX_LINE * 2).saturating_sub(self.line.len());
        self.input.by_ref().take(left as u64).read_until(b'\n', &mut self.line)?;
        match self.line.last() {
            Some(b'\n') => Ok(&self.line),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// What comes next, and for which request. None: nothing in time. What is of a later version or for no request is passed over.
    pub fn read(&mut self) -> io::Result<Option<(u64, Arrived)>> {
        loop {
            let line = match self.line() {
                Ok(line) => line,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let Ok(read) = serde_json::from_slice::<AnswerLine<'_>>(line) else { continue };
            if let (Some(id), Some(arrived)) = (read.id, arrived(&read, cost(line.len()))) {
                return Ok(Some((id, arrived)));
            }
        }
    }

    /// All that follows the lines that were read.
    pub fn rest(&mut self) -> impl Read {
        &mut self.input
    }

    /// Whether there is something to read, or nothing any more.
    pub fn is_ready(&self, stream: &UnixStream) -> bool {
        self.input.buffer().contains(&b'\n') || is_readable(stream)
    }
}
