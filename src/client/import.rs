//! Import and export by way of the process that holds the database.

use std::io::{BufRead, Write};
use std::sync::Arc;

use super::ProtocolClient;
use super::answer::{Answer, WINDOW};
use super::arrived::Arrived;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::protocol::MAX_CHUNK;
use crate::protocol::answer::Done;
use crate::protocol::request::{Ask, ExportRequest, ImportRequest, TaskKind, TaskRequest};
use crate::transfer::texts::read_error;
use crate::transfer::{ExportOptions, ImportOptions, ImportReport, placed};

/// Sends an input as it is read, piece by piece.
pub(crate) fn import(
    client: &Arc<ProtocolClient>,
    mut input: impl BufRead,
    options: &ImportOptions,
    (cancel, read_only): (&Cancel, bool),
    progress: &mut dyn FnMut(&ImportReport),
) -> Result<ImportReport> {
    let asked = ImportRequest {
        kind: options.kind.clone(),
        restore: options.restore,
        skip_conflicts: options.on_conflict.is_some(),
    };
    let request = TaskRequest { read_only, ..TaskRequest::of(TaskKind::Import(asked)) };
    let mut answer = client.ask(request, true)?.cancelled_by(cancel);
    let (mut credits, mut chunks, mut fault) = (0, Some(Chunks::default()), None);
    loop {
        while credits > 0
            && let Some(left) = &mut chunks
        {
            let chunk = left.next(&mut input)?;
            if chunk.is_none() {
                fault = left.fault.take();
                chunks = None;
            }
            answer.asking().say(Ask::Chunk(chunk))?;
            credits -= 1;
        }
        match answer.next().transpose()? {
            Some(Arrived::Credits(more)) => credits += more,
            Some(Arrived::Conflict(Error::Conflict(conflict))) => {
                options.on_conflict.iter().for_each(|told| told(&conflict));
            }
            Some(Arrived::Progress(so_far)) => progress(&report(&so_far)),
            Some(Arrived::Done(done)) => {
                let report = report(&done);
                return match fault {
                    None => Ok(report),
                    Some((line, fault)) => {
                        Err(placed(fault, &format!("line {line}"), report.added + report.known))
                    }
                };
            }
            Some(_) => {}
            None => return Err(Error::stopped("an import has no end")),
        }
    }
}

fn report(done: &Done) -> ImportReport {
    let count = |told: Option<u64>| told.unwrap_or_default();
    ImportReport {
        lines: count(done.lines),
        bytes: count(done.bytes),
        added: count(done.added),
        known: count(done.known),
        conflicts: count(done.conflicts),
    }
}

/// Cuts an input between characters.
#[derive(Default)]
struct Chunks {
    /// The beginning of a character.
    rest: Vec<u8>,
    /// Bytes before it.
    read: u64,
    /// Lines that ended.
    lines: u64,
    /// What is wrong in a line, which ended the input: what stands before it is good, and goes in.
    fault: Option<(u64, Error)>,
}

impl Chunks {
    /// The next piece; none where the input has ended.
    fn next(&mut self, input: &mut impl BufRead) -> Result<Option<String>> {
        loop {
            match input.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => match read_error("reading what is imported", error) {
                    fault @ Error::Invalid { .. } => {
                        self.fault = Some((self.lines + 1, fault));
                        return Ok(None);
                    }
                    error => return Err(error),
                },
                Ok(_) => break,
            }
        }
        // Lent anew: what is there is not read again.
        let piece = input.fill_buf().map_err(|error| Error::io("reading what is imported", error))?;
        let taken = piece.len().min(MAX_CHUNK - self.rest.len());
        let ended = taken == 0;
        self.lines += piece[..taken].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(&piece[..taken]);
        input.consume(taken);
        if let Err(error) = std::str::from_utf8(&bytes) {
            if error.error_len().is_some() || ended {
                return Err(self.no_text(&bytes, error.valid_up_to()));
            }
            self.rest = bytes.split_off(error.valid_up_to());
        }
        self.read += bytes.len() as u64;
        let text = String::from_utf8(bytes).map_err(|error| self.no_text(error.as_bytes(), 0))?;
        Ok(Some(text).filter(|text| !(ended && text.is_empty())))
    }

    fn no_text(&self, bytes: &[u8], at: usize) -> Error {
        let found =
            format!("the byte {:#04x} at offset {}", bytes.get(at).unwrap_or(&0), self.read + at as u64);
        Error::invalid("what is imported", "text in UTF-8", found)
    }
}

/// Writes what is exported as it comes.
pub(crate) fn export(
    client: &Arc<ProtocolClient>,
    output: &mut impl Write,
    options: &ExportOptions,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<u64> {
    let asked = ExportRequest {
        pattern: options.pattern.clone(),
        form: options.form,
        source: options.source.clone(),
        with_private: options.with_private,
    };
    let request = TaskRequest { credits: Some(WINDOW), ..TaskRequest::of(TaskKind::Export(asked)) };
    let mut answer: Answer = client.ask(request, false)?.cancelled_by(cancel);
    loop {
        match answer.next().transpose()? {
            Some(Arrived::Text(text, cost)) => {
                answer.pay(cost);
                output.write_all(text.as_bytes()).map_err(|error| Error::io("writing an export", error))?;
            }
            Some(Arrived::Progress(so_far)) => progress(so_far.events.unwrap_or_default()),
            Some(Arrived::Done(done)) => {
                options.tell_left_out(done.left_out.unwrap_or_default());
                return Ok(done.events.unwrap_or_default());
            }
            Some(_) => {}
            None => return Err(Error::stopped("an export has no end")),
        }
    }
}
