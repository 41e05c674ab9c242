//! What a client sends: lines, each of a length that has a limit.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;

use super::{HeldBytes, ServerContext};
use crate::error::{Error, Result, size};
use crate::protocol::MAX_LINE;

/// How much of a long line is accounted for at a time: what short ones take is nothing to speak of.
const STEP: usize = 1 << 20;

/// How many bytes in memory a byte of a line may stand for, at the worst.
const EXPANSION: usize = 8;

/// Reads lines.
pub(super) struct LineReader<R> {
    input: BufReader<R>,
    context: Arc<ServerContext>,
}

impl<R: Read> LineReader<R> {
    pub fn new(input: R, context: &Arc<ServerContext>) -> LineReader<R> {
        LineReader { input: BufReader::with_capacity(64 << 10, input), context: context.clone() }
    }

    /// Whether more than what was read has come already.
    pub fn has_more(&self) -> bool {
        !self.input.buffer().is_empty()
    }

    /// The next line, without its end; none where the input has ended.
    pub fn read(&mut self) -> Result<Option<(String, HeldBytes)>> {
        let (mut line, mut held) = (Vec::new(), HeldBytes::none(&self.context));
        loop {
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("reading a request", error)),
            };
            if piece.is_empty() {
                // Half a request is none, whole as the line may seem: its last bracket is missing.
                return if line.is_empty() { Ok(None) } else { text(line, held).map(Some) };
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let length = end.unwrap_or(piece.len());
            if line.len() + length > MAX_LINE {
                let limit = format!("at most {}", size(MAX_LINE as u64));
                return Err(Error::invalid("a request", limit, "a longer line"));
            }
            let due = (line.len() + length) / STEP * STEP * EXPANSION;
            if due > held.bytes {
                held.grow(due - held.bytes)?;
            }
            line.extend_from_slice(&piece[..length]);
            self.input.consume(length + usize::from(end.is_some()));
            if end.is_some() {
                return text(line, held).map(Some);
            }
        }
    }
}

fn text(line: Vec<u8>, held: HeldBytes) -> Result<(String, HeldBytes)> {
    match String::from_utf8(line) {
        Ok(text) => Ok((text, held)),
        Err(_) => Err(Error::invalid("a request", "text in UTF-8", "other bytes")),
    }
}
