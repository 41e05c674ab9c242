//! Rows of CSV that become events on their way to the import.
//!
//! [`rows`] cuts a text into rows, [`columns`] says what is in each column, [`events`] gives the event of each row as a line of JSON.

mod columns;
mod events;
mod rows;

use std::io;

use bygone::{Error, EventType};
use clap::Args;

pub use events::CsvEvents;

/// The longest row: what the import takes of any one event.
const MAX_ROW: usize = 32 << 20;

/// How many columns there are at most.
const MAX_COLUMNS: usize = 10_000;

/// How the rows of a table become events.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rows of CSV")]
pub struct CsvArgs {
    /// Import rows of CSV, each as an event; the first row names the columns
    #[arg(long, conflicts_with_all = ["restore", "kind"])]
    pub csv: bool,

    /// The type of all events, like Order.placed
    #[arg(long = "type", value_name = "TYPE", requires = "csv")]
    pub event_type: Option<EventType>,

    /// The column with the type of the event
    #[arg(long, value_name = "COLUMN", requires = "csv", conflicts_with = "event_type")]
    pub type_column: Option<String>,

    /// The column with the id of the target; its kind is what the type begins with, unless said, as in Customer=cust_no
    #[arg(long, value_name = "[KIND=]COLUMN", requires = "csv")]
    pub target: Option<String>,

    /// The kind of the actor, and the column with its id, as in User=clerk; an empty cell is no actor
    #[arg(long, value_name = "KIND=COLUMN", requires = "csv")]
    pub actor: Option<String>,

    /// The column with the time when it happened, like 2024-01-01 or 2024-01-01T12:00:00Z
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    pub time: Option<String>,

    /// The column with the id of the event: a row that is imported again is known by it
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    pub id: Option<String>,

    /// A column that stays text, like 10.50, which is the number 10.5 otherwise; may be given several times
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    pub text: Vec<String>,

    /// The character between cells, like ';', or tab
    #[arg(long, value_name = "CHARACTER", requires = "csv", default_value = ",", value_parser = delimiter)]
    pub delimiter: u8,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if (one.is_ascii_punctuation() && *one != b'"') || matches!(one, b' ' | b'\t') => Ok(*one),
        _ => Err("expected a comma, ';', '|' or another such character, or tab".to_owned()),
    }
}

/// A fault of what is read, or of an option that does not fit it: the import tells of it as of its own.
fn invalid(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> io::Error {
    let (what, expected, found) = (what.into(), expected.into(), found.into());
    io::Error::new(io::ErrorKind::InvalidData, Error::Invalid { what, expected, found })
}

/// A byte, in words.
fn named(byte: u8) -> String {
    match byte {
        b'\t' => "a tab".to_owned(),
        byte if byte == b' ' || byte.is_ascii_graphic() => format!("'{}'", char::from(byte)),
        byte => format!("the byte {byte:#04x}"),
    }
}

/// The beginning of a text that may be long.
fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests;
