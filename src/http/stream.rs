//! Sending within a time, and bodies whose length is not known when they begin.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long the client may take for a piece. One that reads more slowly, or not at all, loses the connection.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// How many bytes a piece has at most.
const PIECE: usize = 64 << 10;

/// How long there is left.
pub(super) fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Whether a time limit has passed, by the name that the system has for it.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Sends all of it, as long as there is time.
pub(super) fn send_until(mut stream: &TcpStream, mut rest: &[u8], until: Instant) -> io::Result<()> {
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends all of it, each piece in its time.
pub(super) fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(PIECE).try_for_each(|piece| send_until(stream, piece, Instant::now() + PATIENCE))
}

/// The head of an answer whose body comes piece by piece. HTTP/1.0 has no pieces: there the end of the connection is its end.
pub(super) fn head(content: &str, version: u8) -> Vec<u8> {
    let encoding = if version == 0 { "" } else { "Transfer-Encoding: chunked\r\n" };
    // X-Accel-Buffering: a proxy in between (nginx) is to pass on what comes when it comes.
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content}\r\n{encoding}Cache-Control: no-store\r\n\
         X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// Adds a piece of a body.
pub(super) fn add_piece(out: &mut Vec<u8>, piece: &[u8], version: u8) {
    if piece.is_empty() {
        // That would be the end.
        return;
    }
    if version == 0 {
        return out.extend_from_slice(piece);
    }
    // A vector takes what it is given.
    let _ = write!(out, "{:x}\r\n", piece.len());
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

/// Adds the end of a body.
pub(super) fn add_end(out: &mut Vec<u8>, version: u8) {
    if version > 0 {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}
